use clap::{Args, Parser, ValueEnum};
use object::GroupKind;
use runtime::Flags;
use std::time::Duration;

/// How dangerous changes are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum GuardRails {
    /// They are held until somebody lets them through.
    #[default]
    Enforce,
    /// They are carried out, and told.
    Warn,
    /// They are carried out without a word, as Flux does.
    Off,
}

impl From<GuardRails> for plan::GuardRails {
    fn from(guard_rails: GuardRails) -> Self {
        match guard_rails {
            GuardRails::Enforce => Self::Enforce,
            GuardRails::Warn => Self::Warn,
            GuardRails::Off => Self::Off,
        }
    }
}

/// The flags of kustomize-controller, with Flux's names and defaults.
#[derive(Debug, Clone, Parser)]
#[command(name = "kustomize-controller", version, about = "Builds Kustomizations and applies them")]
pub struct Arguments {
    #[command(flatten)]
    pub flags: Flags,
    #[command(flatten)]
    pub own: OwnFlags,
}

#[derive(Debug, Clone, Args)]
pub struct OwnFlags {
    /// What is done with a build that would delete everything, or with encrypted objects that nobody decrypts
    #[arg(long, value_enum, default_value_t)]
    pub guard_rails: GuardRails,
    /// Accepted for compatibility: an adaptive limit takes its place
    #[arg(long, default_value_t = 4, hide = true)]
    pub concurrent_ssa: usize,
    /// Accepted for compatibility: bases that are not in the source are always refused
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub no_remote_bases: bool,
    /// Refuse references to objects in other namespaces
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub no_cross_namespace_refs: bool,
    /// How often the download of an artifact is tried again
    #[arg(long, default_value_t = 9, value_name = "N")]
    pub http_retry: u32,
    /// ServiceAccount to act as where a Kustomization names none
    #[arg(long, default_value = "", value_name = "NAME")]
    pub default_service_account: String,
    /// Accepted for compatibility
    #[arg(long, default_value = "", hide = true)]
    pub default_decryption_service_account: String,
    /// Accepted for compatibility
    #[arg(long, default_value = "", hide = true)]
    pub default_kubeconfig_service_account: String,
    /// Accepted for compatibility
    #[arg(long, default_value = "", hide = true)]
    pub sops_age_secret: String,
    /// Accepted for compatibility
    #[arg(long, default_value = "", hide = true)]
    pub sops_vault_configmap: String,
    /// Further field managers whose fields are taken over
    #[arg(long, value_name = "NAME")]
    pub override_manager: Vec<String>,
    /// Kinds to apply in a stage of their own, as group/kind
    #[arg(long, value_delimiter = ',', value_name = "GROUP/KIND")]
    pub custom_apply_stage_kinds: Vec<String>,
    /// Allow kubeconfigs to run programs that get credentials
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub insecure_kubeconfig_exec: bool,
    /// Allow kubeconfigs to switch off the verification of certificates
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    pub insecure_kubeconfig_tls: bool,
}

/// The feature gates of Flux's controller and their defaults; gates without effect here are known all the same.
pub const FEATURE_GATES: &[(&str, bool)] = &[
    ("CacheSecretsAndConfigMaps", false),
    ("ObjectLevelWorkloadIdentity", false),
    ("DisableStatusPollerCache", true),
    ("DisableFailFastBehavior", false),
    ("StrictPostBuildSubstitutions", true),
    ("GroupChangeLog", false),
    ("AdditiveCELDependencyCheck", false),
    ("ExternalArtifact", false),
    ("CancelHealthCheckOnNewRevision", false),
    ("DisableConfigWatchers", false),
    ("DirectSourceFetch", false),
    ("MigrateAPIVersion", false),
];

/// What the controller is told from outside, as values.
#[derive(Debug, Clone)]
pub struct Options {
    pub guard_rails: GuardRails,
    pub concurrent: usize,
    pub requeue_dependency: Duration,
    pub no_cross_namespace_refs: bool,
    pub http_retry: u32,
    pub default_service_account: String,
    pub override_managers: Vec<String>,
    pub custom_stage_kinds: Vec<GroupKind>,
    pub insecure_kubeconfig_exec: bool,
    pub insecure_kubeconfig_tls: bool,
    pub watch_configs_label_selector: String,
    pub feature_gates: String,
    /// Overrides the host of artifact addresses.
    pub source_host: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        let arguments = Arguments::parse_from(["kustomize-controller"]);
        let mut options = Self::from_arguments(&arguments);
        options.source_host = None;
        options
    }
}

impl Options {
    pub fn from_arguments(arguments: &Arguments) -> Self {
        let Arguments { flags, own } = arguments;
        let group_kind = |text: &String| match text.rsplit_once('/') {
            Some((group, kind)) => GroupKind { group: group.to_owned(), kind: kind.to_owned() },
            None => GroupKind { group: String::new(), kind: text.clone() },
        };
        Self {
            guard_rails: own.guard_rails,
            concurrent: flags.concurrent.unwrap_or(4),
            requeue_dependency: flags.requeue_dependency(),
            no_cross_namespace_refs: own.no_cross_namespace_refs,
            http_retry: own.http_retry,
            default_service_account: own.default_service_account.clone(),
            override_managers: own.override_manager.clone(),
            custom_stage_kinds: own.custom_apply_stage_kinds.iter().map(group_kind).collect(),
            insecure_kubeconfig_exec: own.insecure_kubeconfig_exec,
            insecure_kubeconfig_tls: own.insecure_kubeconfig_tls,
            watch_configs_label_selector: flags.watch_configs_label_selector.clone(),
            feature_gates: flags.feature_gates.clone(),
            source_host: artifacts::host_from_environment(),
        }
    }
}
