//! What the fields of a HelmRelease mean where the API leaves a default.

use api::helm::{HelmRelease, HelmReleaseStatus};
use sha2::{Digest, Sha256};
use std::time::Duration;
use types::{GoDuration, NamespacedName};

const DEFAULT_TIMEOUT: GoDuration = GoDuration::from_secs(300);
const DEFAULT_RETRY_INTERVAL: GoDuration = GoDuration::from_secs(300);
const DEFAULT_MAX_HISTORY: i64 = 5;
/// Helm's limit: names of hosts and labels are made of release names.
const RELEASE_NAME_MAX: usize = 53;

/// What is done to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Install,
    Upgrade,
    Test,
    Rollback,
    Uninstall,
    /// An uninstall that mends a failed release.
    UninstallRemediation,
}

impl Operation {
    /// The word in messages and in `status.history[].action`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::Test => "test",
            Self::Rollback => "rollback",
            Self::Uninstall => "uninstall",
            Self::UninstallRemediation => "uninstall-remediation",
        }
    }
}

pub(crate) fn key(this: &HelmRelease) -> NamespacedName {
    NamespacedName::new(namespace(this), this.metadata.name.clone().unwrap_or_default())
}

pub(crate) fn namespace(this: &HelmRelease) -> &str {
    this.metadata.namespace.as_deref().unwrap_or_default()
}

pub(crate) fn generation(this: &HelmRelease) -> i64 {
    this.metadata.generation.unwrap_or_default()
}

pub(crate) fn annotation<'a>(this: &'a HelmRelease, key: &str) -> Option<&'a str> {
    this.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

pub(crate) fn stored(this: &HelmRelease) -> HelmReleaseStatus {
    this.status.clone().unwrap_or_else(|| HelmReleaseStatus { observed_generation: -1, ..Default::default() })
}

/// The name of the release, not longer than Helm allows.
pub(crate) fn release_name(this: &HelmRelease) -> String {
    let name = this.metadata.name.as_deref().unwrap_or_default();
    if !this.spec.release_name.is_empty() {
        return shortened(&this.spec.release_name);
    }
    if this.spec.target_namespace.is_empty() { shortened(name) } else { shortened(&format!("{}-{name}", this.spec.target_namespace)) }
}

/// As helm-controller shortens: forty characters, and twelve of the digest of the whole name.
pub(crate) fn shortened(name: &str) -> String {
    if name.len() <= RELEASE_NAME_MAX {
        return name.to_owned();
    }
    let digest = hex::encode(Sha256::digest(name));
    let head: String = name.chars().take(40).collect();
    format!("{head}-{}", &digest[..12])
}

pub(crate) fn release_namespace(this: &HelmRelease) -> &str {
    if this.spec.target_namespace.is_empty() { namespace(this) } else { &this.spec.target_namespace }
}

pub(crate) fn storage_namespace(this: &HelmRelease) -> &str {
    if this.spec.storage_namespace.is_empty() { namespace(this) } else { &this.spec.storage_namespace }
}

pub(crate) fn max_history(this: &HelmRelease) -> usize {
    usize::try_from(this.spec.max_history.unwrap_or(DEFAULT_MAX_HISTORY)).unwrap_or_default()
}

pub(crate) fn timeout(this: &HelmRelease, operation: Operation) -> GoDuration {
    let spec = &this.spec;
    let own = match operation {
        Operation::Install => spec.install.as_ref().and_then(|one| one.timeout),
        Operation::Upgrade => spec.upgrade.as_ref().and_then(|one| one.timeout),
        Operation::Test => spec.test.as_ref().and_then(|one| one.timeout),
        Operation::Rollback => spec.rollback.as_ref().and_then(|one| one.timeout),
        Operation::Uninstall | Operation::UninstallRemediation => spec.uninstall.as_ref().and_then(|one| one.timeout),
    };
    own.or(spec.timeout).unwrap_or(DEFAULT_TIMEOUT)
}

pub(crate) fn tests_enabled(this: &HelmRelease) -> bool {
    this.spec.test.as_ref().is_some_and(|test| test.enable)
}

pub(crate) fn ignores_test_failures(this: &HelmRelease) -> bool {
    this.spec.test.as_ref().is_some_and(|test| test.ignore_failures)
}

/// What is done about drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DriftMode {
    Disabled,
    Warn,
    Enabled,
}

pub(crate) fn drift_mode(this: &HelmRelease) -> DriftMode {
    match this.spec.drift_detection.as_ref().map(|drift| drift.mode.as_str()) {
        Some("enabled") => DriftMode::Enabled,
        Some("warn") => DriftMode::Warn,
        _ => DriftMode::Disabled,
    }
}

/// How a failed release is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mending {
    Rollback,
    Uninstall,
}

/// What happens after a failed install or upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remediation {
    /// Negative: for ever.
    pub retries: i64,
    pub remediate_last_failure: bool,
    pub ignore_test_failures: bool,
    pub mending: Mending,
    /// The strategy RetryOnFailure: the action is tried again, nothing is mended.
    pub retry_after: Option<Duration>,
}

impl Remediation {
    pub(crate) fn exhausted(&self, failures: i64) -> bool {
        self.retries >= 0 && failures > self.retries
    }
}

pub(crate) fn install_remediation(this: &HelmRelease, retry_by_default: bool) -> Remediation {
    let install = this.spec.install.as_ref();
    let given = install.and_then(|one| one.remediation.as_ref());
    let strategy = install.and_then(|one| one.strategy.as_ref()).map(|one| (one.name.as_str(), one.retry_interval));
    Remediation {
        retries: given.map_or(0, |one| one.retries),
        remediate_last_failure: given.and_then(|one| one.remediate_last_failure).unwrap_or(false),
        ignore_test_failures: given.and_then(|one| one.ignore_test_failures).unwrap_or(ignores_test_failures(this)),
        mending: Mending::Uninstall,
        retry_after: retry_after(strategy, retry_by_default),
    }
}

pub(crate) fn upgrade_remediation(this: &HelmRelease, retry_by_default: bool) -> Remediation {
    let upgrade = this.spec.upgrade.as_ref();
    let given = upgrade.and_then(|one| one.remediation.as_ref());
    let strategy = upgrade.and_then(|one| one.strategy.as_ref()).map(|one| (one.name.as_str(), one.retry_interval));
    let retries = given.map_or(0, |one| one.retries);
    Remediation {
        retries,
        remediate_last_failure: given.and_then(|one| one.remediate_last_failure).unwrap_or(retries > 0),
        ignore_test_failures: given.and_then(|one| one.ignore_test_failures).unwrap_or(ignores_test_failures(this)),
        mending: match given.and_then(|one| one.strategy.as_deref()) {
            Some("uninstall") => Mending::Uninstall,
            _ => Mending::Rollback,
        },
        retry_after: retry_after(strategy, retry_by_default),
    }
}

fn retry_after(strategy: Option<(&str, Option<GoDuration>)>, by_default: bool) -> Option<Duration> {
    match strategy {
        Some(("RetryOnFailure", interval)) => Some(interval.unwrap_or(DEFAULT_RETRY_INTERVAL).to_std()),
        None if by_default => Some(DEFAULT_RETRY_INTERVAL.to_std()),
        _ => None,
    }
}

/// What becomes of the CRDs in a chart's crds/ folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CrdPolicy {
    Skip,
    Create,
    CreateReplace,
}

/// Flux documents Skip as the default of an upgrade, but creates; recorded in its tests.
pub(crate) fn crd_policy(this: &HelmRelease, operation: Operation) -> CrdPolicy {
    let given = match operation {
        Operation::Upgrade => this.spec.upgrade.as_ref().map(|one| one.crds.as_str()),
        _ => this.spec.install.as_ref().map(|one| if one.skip_crds && one.crds.is_empty() { "Skip" } else { one.crds.as_str() }),
    };
    match given {
        Some("Skip") => CrdPolicy::Skip,
        Some("CreateReplace") => CrdPolicy::CreateReplace,
        _ => CrdPolicy::Create,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, target: &str, release: &str) -> String {
        let mut this = HelmRelease::named("n", name);
        target.clone_into(&mut this.spec.target_namespace);
        release.clone_into(&mut this.spec.release_name);
        release_name(&this)
    }

    #[test]
    fn a_release_is_called_after_its_object_unless_it_is_given_a_name() {
        assert_eq!(named("app", "", ""), "app");
        assert_eq!(named("app", "prod", ""), "prod-app");
        assert_eq!(named("app", "prod", "web"), "web");
        let long = named("a-helm-release-with-a-really-long-name-that-goes-on-and-on", "", "");
        assert_eq!(long, "a-helm-release-with-a-really-long-name-t-".to_owned() + &long[41..]);
        assert_eq!(long.len(), 53);
        assert_eq!(named(&"x".repeat(53), "", "").len(), 53);
    }

    #[test]
    fn the_last_failed_upgrade_is_mended_when_there_were_retries_and_a_failed_install_is_not() {
        let mut this = HelmRelease::named("n", "a");
        assert!(!upgrade_remediation(&this, false).remediate_last_failure);
        this.spec.upgrade = Some(api::helm::Upgrade {
            remediation: Some(api::helm::UpgradeRemediation { retries: 2, ..Default::default() }),
            ..Default::default()
        });
        assert!(upgrade_remediation(&this, false).remediate_last_failure);
        this.spec.install = Some(api::helm::Install {
            remediation: Some(api::helm::InstallRemediation { retries: 2, ..Default::default() }),
            ..Default::default()
        });
        let install = install_remediation(&this, false);
        assert!(!install.remediate_last_failure && !install.exhausted(2) && install.exhausted(3));
        assert_eq!(install_remediation(&HelmRelease::named("n", "a"), true).retry_after, Some(Duration::from_secs(300)));
    }
}
