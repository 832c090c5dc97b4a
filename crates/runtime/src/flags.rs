use clap::{Args, ValueEnum};
use std::time::Duration;
use types::GoDuration;

/// The flags that Flux's controllers have in common, under the same names and with the same defaults.
///
/// A controller flattens them into its own arguments. The defaults of `--concurrent` differ from controller to
/// controller: each names its own when it asks.
#[derive(Debug, Clone, Args)]
pub struct Flags {
    /// Path to a kubeconfig; without it KUBECONFIG, the cluster this runs in, and ~/.kube/config are tried
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<std::path::PathBuf>,
    /// Context of the kubeconfig to use
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,

    /// Address of the metrics endpoint; 0 turns it off
    #[arg(long, default_value = ":8080", env = "METRICS_ADDR", value_name = "ADDRESS")]
    pub metrics_addr: String,
    /// Address of the health endpoints; 0 turns them off
    #[arg(long, default_value = ":9440", value_name = "ADDRESS")]
    pub health_addr: String,
    /// Address of the events receiver
    #[arg(long, default_value = "", env = "EVENTS_ADDR", value_name = "URL")]
    pub events_addr: String,

    /// How many objects are reconciled at the same time
    #[arg(long, value_name = "N")]
    pub concurrent: Option<usize>,
    /// The interval at which failing dependencies are looked at again
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    pub requeue_dependency: GoDuration,
    /// The shortest time to wait before a failed object is tried again
    #[arg(long, default_value = "750ms", value_name = "DURATION")]
    pub min_retry_delay: GoDuration,
    /// The longest time to wait before a failed object is tried again
    #[arg(long, default_value = "15m", value_name = "DURATION")]
    pub max_retry_delay: GoDuration,
    /// By how many percent intervals are varied, up and down
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..100), value_name = "PERCENT")]
    pub interval_jitter_percentage: u8,

    /// Watch all namespaces; otherwise only the one this runs in (RUNTIME_NAMESPACE)
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub watch_all_namespaces: bool,
    /// Watch only objects with matching labels, e.g. sharding.fluxcd.io/key=shard1
    #[arg(long, default_value = "", value_name = "SELECTOR")]
    pub watch_label_selector: String,
    /// Watch only ConfigMaps and Secrets with matching labels
    #[arg(long, default_value = "reconcile.fluxcd.io/watch=Enabled", value_name = "SELECTOR")]
    pub watch_configs_label_selector: String,
    /// Switch features on or off: Name=true,Other=false
    #[arg(long, default_value = "", value_name = "GATES")]
    pub feature_gates: String,

    /// Let only one of several replicas be active
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub enable_leader_election: bool,
    /// Step down at shutdown, so that another replica takes over at once
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub leader_election_release_on_cancel: bool,
    /// How long other replicas wait after the last sign of life of the leader
    #[arg(long, default_value = "35s", value_name = "DURATION")]
    pub leader_election_lease_duration: GoDuration,
    /// How long the leader tries to renew before it gives up
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    pub leader_election_renew_deadline: GoDuration,
    /// How long to wait between tries
    #[arg(long, default_value = "5s", value_name = "DURATION")]
    pub leader_election_retry_period: GoDuration,

    /// Accepted for compatibility: the API server's own fairness and an adaptive limit take its place
    #[arg(long, default_value_t = 50.0, hide = true)]
    pub kube_api_qps: f32,
    /// Accepted for compatibility
    #[arg(long, default_value_t = 300, hide = true)]
    pub kube_api_burst: i64,
    /// How many short-lived credentials are kept
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub token_cache_max_size: usize,
    /// How long short-lived credentials are kept at most
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    pub token_cache_max_duration: GoDuration,

    /// Form of the log
    #[arg(long, value_enum, default_value_t = LogEncoding::Json)]
    pub log_encoding: LogEncoding,
    /// What is logged
    #[arg(long, value_enum, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogEncoding {
    Json,
    Console,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Error,
}

impl Flags {
    /// The common flags as if nothing had been given on the command line or in the environment.
    pub fn defaults() -> Self {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            flags: Flags,
        }
        use clap::{CommandFactory, FromArgMatches};
        // Without the environment: whoever runs controllers as a library says what is meant.
        let command = Only::command().mut_args(|arg| arg.env(None::<&str>));
        let matches = command.get_matches_from(["controller"]);
        Only::from_arg_matches(&matches).expect("every flag has a default").flags
    }

    pub fn requeue_dependency(&self) -> Duration {
        self.requeue_dependency.to_std()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        flags: Flags,
    }

    #[test]
    fn the_arguments_of_flux_manifests_are_accepted() {
        let cli = Cli::parse_from([
            "kustomize-controller",
            "--events-addr=http://notification-controller.flux-system.svc.cluster.local./",
            "--watch-all-namespaces=true",
            "--log-level=info",
            "--log-encoding=json",
            "--enable-leader-election",
            "--concurrent=20",
            "--requeue-dependency=5s",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--watch-label-selector=!sharding.fluxcd.io/key",
            "--feature-gates=DisableStatusPollerCache=true",
            "--interval-jitter-percentage=10",
        ]);
        assert!(cli.flags.enable_leader_election);
        assert_eq!(cli.flags.concurrent, Some(20));
        assert_eq!(cli.flags.requeue_dependency(), Duration::from_secs(5));
        assert_eq!(cli.flags.watch_label_selector, "!sharding.fluxcd.io/key");
    }

    #[test]
    fn defaults_are_those_of_flux() {
        let flags = Flags::defaults();
        assert_eq!((flags.metrics_addr.as_str(), flags.health_addr.as_str()), (":8080", ":9440"));
        assert_eq!(flags.min_retry_delay.to_string(), "750ms");
        assert_eq!(flags.max_retry_delay.to_string(), "15m0s");
        assert_eq!(flags.leader_election_lease_duration.to_string(), "35s");
        assert!(flags.watch_all_namespaces && flags.leader_election_release_on_cancel && !flags.enable_leader_election);
        assert_eq!(flags.concurrent, None);
    }

    #[test]
    fn a_jitter_of_a_hundred_percent_is_refused() {
        assert!(Cli::try_parse_from(["x", "--interval-jitter-percentage=100"]).is_err());
    }
}
