use artifacts::{Storage, StorageFlags};
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};
use runtime::Flags;
use std::{path::PathBuf, time::Duration};
use types::GoDuration;

/// The arguments of Flux's source-watcher, under the same names and with the same defaults.
#[derive(Debug, Parser)]
#[command(name = "artifact-controller", version, about = "Makes artifacts out of parts of other artifacts, and serves them")]
pub struct Args {
    #[command(flatten)]
    pub flags: Flags,
    #[command(flatten)]
    pub storage: StorageFlags,

    /// How often the download of an artifact is tried again
    #[arg(long, default_value_t = 9, value_name = "N")]
    pub http_retry: u32,
    /// The longest time that one reconciliation may take
    #[arg(long, default_value = "10m", value_name = "DURATION")]
    pub reconciliation_timeout: GoDuration,
    /// Refuse references to sources in other namespaces
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = ArgAction::Set)]
    pub no_cross_namespace_refs: bool,
}

/// Reads sources from the API server and not from the watch, as Flux's gate of this name has it.
pub(crate) const DIRECT_SOURCE_FETCH: &str = "DirectSourceFetch";

/// Feature gates of Flux's source-watcher and whether they are on by default.
pub const GATES: [(&str, bool); 1] = [(DIRECT_SOURCE_FETCH, false)];

/// What the controller is told, as values.
#[derive(Debug, Clone)]
pub struct Options {
    pub storage: Storage,
    /// How many generators are reconciled at the same time.
    pub concurrent: usize,
    /// After which time a source that is not there, or not ready, is looked for again. One that appears is seen at once.
    pub requeue_dependency: Duration,
    pub http_retry: u32,
    pub time_limit: Duration,
    pub no_cross_namespace_refs: bool,
    /// Overrides the host of artifact addresses.
    pub source_host: Option<String>,
    /// What one output may cost.
    pub limits: compose::Limits,
}

impl Options {
    /// The defaults of the program, with artifacts in `storage`.
    pub fn new(storage: PathBuf) -> Self {
        Self {
            storage: Storage::new(storage),
            concurrent: 10,
            requeue_dependency: Duration::from_secs(5),
            http_retry: 9,
            time_limit: Duration::from_secs(600),
            no_cross_namespace_refs: false,
            source_host: None,
            limits: compose::Limits::default(),
        }
    }
}

impl Args {
    /// Reads a command line. What is wrong with it is printed, and ends the program.
    pub fn read() -> Self {
        Self::from_command_line(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    fn from_command_line(words: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>) -> Result<Self, clap::Error> {
        // Shorter than with the other controllers.
        let command = Self::command().mut_arg("requeue_dependency", |arg| arg.default_value("5s"));
        Self::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    /// The options that the arguments spell out.
    pub fn options(&self) -> Result<Options, types::Error> {
        let defaults = Options::new(PathBuf::new());
        Ok(Options {
            storage: self.storage.storage()?,
            concurrent: self.flags.concurrent.unwrap_or(defaults.concurrent),
            requeue_dependency: self.flags.requeue_dependency(),
            http_retry: self.http_retry,
            time_limit: self.reconciliation_timeout.to_std(),
            no_cross_namespace_refs: self.no_cross_namespace_refs,
            source_host: artifacts::host_from_environment(),
            limits: defaults.limits,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_of_flux_manifests_are_accepted() {
        let args = Args::from_command_line([
            "artifact-controller",
            "--events-addr=http://notification-controller.flux-system.svc.cluster.local./",
            "--watch-all-namespaces=true",
            "--log-level=info",
            "--enable-leader-election",
            "--storage-path=/data",
            "--storage-adv-addr=source-watcher.$(RUNTIME_NAMESPACE).svc.cluster.local.",
            "--reconciliation-timeout=2m",
            "--no-cross-namespace-refs=true",
            "--feature-gates=DirectSourceFetch=true",
        ]);
        let options = args.unwrap().options().unwrap();
        assert!(options.no_cross_namespace_refs);
        assert_eq!((options.time_limit.as_secs(), options.concurrent, options.http_retry), (120, 10, 9));
        assert_eq!(options.requeue_dependency.as_secs(), 5);
    }
}
