use clap::{Args, Parser};
use runtime::Flags;
use std::time::Duration;
use types::GoDuration;

/// The flags of helm-controller, with Flux's names and defaults.
#[derive(Debug, Clone, Parser)]
#[command(name = "helm-controller", version, about = "Releases Helm charts")]
pub struct Arguments {
    #[command(flatten)]
    pub flags: Flags,
    #[command(flatten)]
    pub own: OwnFlags,
}

#[derive(Debug, Clone, Args)]
pub struct OwnFlags {
    /// Refuse references to objects in other namespaces
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub no_cross_namespace_refs: bool,
    /// How often the download of a chart is tried again
    #[arg(long, default_value_t = 9, value_name = "N")]
    pub http_retry: u32,
    /// How long one download of a chart may take
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    pub http_timeout: GoDuration,
    /// ServiceAccount to act as where a HelmRelease names none
    #[arg(long, default_value = "", value_name = "NAME")]
    pub default_service_account: String,
    /// Accepted for compatibility
    #[arg(long, default_value = "", hide = true)]
    pub default_kubeconfig_service_account: String,
    /// Accepted for compatibility: an interrupted action is taken up again by the next process
    #[arg(long, default_value = "600s", hide = true)]
    pub graceful_shutdown_timeout: GoDuration,
    /// Accepted for compatibility: sha256 is always used
    #[arg(long, default_value = "sha256", hide = true)]
    pub snapshot_digest_algo: String,
    /// Field managers whose fields are taken over when drift is corrected
    #[arg(long, value_name = "NAME")]
    pub override_manager: Vec<String>,
    /// Allow kubeconfigs to run programs that get credentials
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub insecure_kubeconfig_exec: bool,
    /// Allow kubeconfigs to switch off the verification of certificates
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub insecure_kubeconfig_tls: bool,
    /// Accepted for compatibility
    #[arg(long, default_value_t = 95, hide = true)]
    pub oom_watch_memory_threshold: u8,
    /// Accepted for compatibility
    #[arg(long, default_value = "500ms", hide = true)]
    pub oom_watch_interval: GoDuration,
    /// Accepted for compatibility
    #[arg(long, default_value = "", hide = true)]
    pub oom_watch_max_memory_path: String,
    /// Accepted for compatibility
    #[arg(long, default_value = "", hide = true)]
    pub oom_watch_current_memory_path: String,
}

/// The feature gates of Flux's controller and their defaults; gates without effect here are known all the same.
pub const FEATURE_GATES: &[(&str, bool)] = &[
    ("CacheSecretsAndConfigMaps", false),
    ("ObjectLevelWorkloadIdentity", false),
    ("AdditiveCELDependencyCheck", false),
    ("ExternalArtifact", false),
    ("CancelHealthCheckOnNewRevision", false),
    ("DisableConfigWatchers", false),
    ("DirectSourceFetch", false),
    ("AllowDNSLookups", false),
    ("OOMWatch", false),
    ("DisableChartDigestTracking", false),
    ("UseHelm3Defaults", false),
    ("DefaultToRetryOnFailure", false),
    ("DetectDrift", false),
    ("CorrectDrift", false),
    ("AdoptLegacyReleases", false),
];

/// What the controller is told from outside, as values.
#[derive(Debug, Clone)]
pub struct Options {
    pub concurrent: usize,
    pub requeue_dependency: Duration,
    pub no_cross_namespace_refs: bool,
    pub http_retry: u32,
    pub http_timeout: Duration,
    pub default_service_account: String,
    pub override_managers: Vec<String>,
    pub insecure_kubeconfig_exec: bool,
    pub insecure_kubeconfig_tls: bool,
    pub watch_configs_label_selector: String,
    pub feature_gates: String,
    /// Overrides the host of artifact addresses.
    pub source_host: Option<String>,
    /// The field manager of release Secrets: the program's own name, as client-go takes it.
    pub storage_manager: String,
}

impl Default for Options {
    fn default() -> Self {
        let arguments = Arguments::parse_from(["helm-controller"]);
        let mut options = Self::from_arguments(&arguments);
        options.source_host = None;
        "helm-controller".clone_into(&mut options.storage_manager);
        options
    }
}

impl Options {
    pub fn from_arguments(arguments: &Arguments) -> Self {
        let Arguments { flags, own } = arguments;
        let program = std::env::args_os().next().map(std::path::PathBuf::from);
        let program = program.as_deref().and_then(|path| path.file_name()).and_then(|name| name.to_str());
        Self {
            concurrent: flags.concurrent.unwrap_or(4),
            requeue_dependency: flags.requeue_dependency(),
            no_cross_namespace_refs: own.no_cross_namespace_refs,
            http_retry: own.http_retry,
            http_timeout: own.http_timeout.to_std(),
            default_service_account: own.default_service_account.clone(),
            override_managers: own.override_manager.clone(),
            insecure_kubeconfig_exec: own.insecure_kubeconfig_exec,
            insecure_kubeconfig_tls: own.insecure_kubeconfig_tls,
            watch_configs_label_selector: flags.watch_configs_label_selector.clone(),
            feature_gates: flags.feature_gates.clone(),
            source_host: std::env::var("SOURCE_CONTROLLER_LOCALHOST").ok().filter(|host| !host.is_empty()),
            storage_manager: program.unwrap_or("helm-controller").to_owned(),
        }
    }
}
