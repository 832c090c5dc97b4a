//! What a release is like, and what is done about it: one table.

use crate::{
    snapshot,
    spec::{DriftMode, Mending, Remediation},
};
use api::helm::Snapshot;
use helm::StoredRelease;

/// What a release is like, seen from what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// There is no release, or it was uninstalled.
    Absent,
    /// Somebody began and did not end.
    Locked,
    /// Somebody else released it, or changed our release. `as_wanted`: chart and values are those that we want.
    Unmanaged {
        as_wanted: bool,
    },
    /// It, or one of its tests, failed.
    Failed,
    /// Chart, values or what is laid over them changed.
    OutOfSync(String),
    Untested,
    /// Objects in the cluster are not as released. Only known after a look at the cluster.
    Drifted,
    InSync,
}

/// What is done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Install,
    Upgrade,
    Unlock,
    /// Forget what was known of other releases, then upgrade.
    Adopt,
    /// Take the release as it is.
    Accept,
    Test,
    Rollback {
        version: i64,
    },
    UninstallRemediation,
    CorrectDrift,
    /// Say that there is drift.
    ReportDrift,
    /// Nothing is left to do.
    Settle,
    /// Too many failures: only a change helps.
    Stall {
        attempts: i64,
        action: &'static str,
    },
    /// There is no release to go back to.
    NoTarget,
}

/// Which kind of step an action is: each is taken once in a round, so that no release is made in a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Release,
    Remediate,
    Test,
    Unlock,
    Drift,
}

impl Action {
    pub(crate) fn step(&self) -> Option<Step> {
        match self {
            Self::Install | Self::Upgrade | Self::Adopt => Some(Step::Release),
            Self::Unlock => Some(Step::Unlock),
            Self::Test => Some(Step::Test),
            Self::Rollback { .. } | Self::UninstallRemediation => Some(Step::Remediate),
            Self::CorrectDrift | Self::ReportDrift => Some(Step::Drift),
            Self::Accept | Self::Settle | Self::Stall { .. } | Self::NoTarget => None,
        }
    }
}

/// The last release action that was attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempted {
    Nothing,
    Install,
    Upgrade,
}

/// What the spec and the past say about failures.
#[derive(Clone)]
pub(crate) struct Policy<'a> {
    /// A release is asked for, whatever the state.
    pub forced: bool,
    /// Releases of others that are as wanted are taken without a new revision.
    pub accepts: bool,
    pub attempted: Attempted,
    pub install: Remediation,
    pub upgrade: Remediation,
    pub failures: i64,
    pub install_failures: i64,
    pub upgrade_failures: i64,
    pub drift: DriftMode,
    pub history: &'a [Snapshot],
    /// Whether a snapshot's release is still stored, unchanged.
    pub is_stored: &'a (dyn Fn(&Snapshot) -> bool + Sync),
}

impl Policy<'_> {
    /// What happens after a failure of the last attempt, with the failures that count for it.
    fn active(&self) -> Option<(Remediation, i64, &'static str)> {
        match self.attempted {
            Attempted::Nothing => None,
            Attempted::Install => Some((self.install, self.install_failures, "install")),
            Attempted::Upgrade => Some((self.upgrade, self.upgrade_failures, "upgrade")),
        }
    }
}

/// The table of reference: a state and a policy give an action.
pub(crate) fn decide(state: &State, policy: &Policy<'_>) -> Action {
    let stall = |failures: i64, action| Action::Stall { attempts: failures, action };
    match state {
        State::Absent => match policy.install {
            remedy if policy.forced || remedy.retry_after.is_some() => Action::Install,
            remedy if policy.install_failures > 0 && remedy.exhausted(policy.install_failures) => stall(policy.install_failures, "install"),
            _ => Action::Install,
        },
        State::Locked => Action::Unlock,
        State::Unmanaged { as_wanted: true } if policy.accepts && !policy.forced => Action::Accept,
        State::Unmanaged { .. } => Action::Adopt,
        State::Failed => decide_failed(policy),
        State::OutOfSync(_) => match policy.upgrade {
            remedy if policy.forced || remedy.retry_after.is_some() => Action::Upgrade,
            remedy if policy.upgrade_failures > 0 && remedy.exhausted(policy.upgrade_failures) => stall(policy.upgrade_failures, "upgrade"),
            _ => Action::Upgrade,
        },
        State::Untested => Action::Test,
        State::Drifted if policy.forced => Action::Upgrade,
        State::Drifted if policy.drift == DriftMode::Enabled => Action::CorrectDrift,
        State::Drifted => Action::ReportDrift,
        State::InSync if policy.forced => Action::Upgrade,
        State::InSync => Action::Settle,
    }
}

fn decide_failed(policy: &Policy<'_>) -> Action {
    if policy.forced {
        return Action::Upgrade;
    }
    let Some((remedy, failures, action)) = policy.active() else { return Action::Upgrade };
    // Nothing failed since the spec changed or somebody reset the counters.
    if remedy.retry_after.is_some() || policy.failures == 0 {
        return Action::Upgrade;
    }
    if remedy.exhausted(failures) && !remedy.remediate_last_failure {
        return Action::Stall { attempts: failures, action };
    }
    match remedy.mending {
        Mending::Uninstall => Action::UninstallRemediation,
        Mending::Rollback => match snapshot::previous(policy.history, remedy.ignore_test_failures) {
            None => Action::NoTarget,
            Some(target) if (policy.is_stored)(target) => Action::Rollback { version: target.version },
            // Someone changed it: an upgrade makes it what it should be.
            Some(_) => Action::Upgrade,
        },
    }
}

/// What a release should be.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub chart_name: String,
    pub chart_version: String,
    pub config_digest: String,
    pub post_renderers_digest: String,
    pub common_metadata_digest: String,
    pub tests: bool,
    pub ignore_test_failures: bool,
}

/// What is remembered of what was last applied.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remembered<'a> {
    pub history: &'a [Snapshot],
    /// The spec changed since it was last observed.
    pub spec_changed: bool,
    pub post_renderers_digest: &'a str,
    pub common_metadata_digest: &'a str,
}

/// Compares the newest stored release with what is wanted.
pub(crate) fn determine(last: Option<&StoredRelease>, wanted: &Wanted, known: &Remembered<'_>) -> State {
    let Some(last) = last else { return State::Absent };
    match last.info.status.as_str() {
        "uninstalled" => return State::Absent,
        "pending-install" | "pending-upgrade" | "pending-rollback" => return State::Locked,
        _ => {}
    }
    let metadata = &last.chart.metadata;
    let difference = difference(last, wanted);
    let Some(current) = known.history.first().filter(|current| snapshot::matches(current, last)) else {
        let deployed = last.info.status == "deployed";
        return State::Unmanaged { as_wanted: deployed && difference.is_none() && metadata.name == wanted.chart_name };
    };
    match last.info.status.as_str() {
        "failed" => return State::Failed,
        "deployed" => {}
        // Superseded, uninstalling, unknown: not ours to judge, so it is released anew.
        status => return State::OutOfSync(format!("release is {status}")),
    }
    if let Some(difference) = difference {
        return State::OutOfSync(difference);
    }
    if known.spec_changed {
        if known.post_renderers_digest != wanted.post_renderers_digest {
            return State::OutOfSync("the post-renderers changed".to_owned());
        }
        if known.common_metadata_digest != wanted.common_metadata_digest {
            return State::OutOfSync("the common metadata changed".to_owned());
        }
    }
    if wanted.tests && !snapshot::has_been_tested(current) {
        return State::Untested;
    }
    if wanted.tests && snapshot::has_failed_test(current) && !wanted.ignore_test_failures {
        return State::Failed;
    }
    State::InSync
}

fn difference(last: &StoredRelease, wanted: &Wanted) -> Option<String> {
    let metadata = &last.chart.metadata;
    if metadata.name != wanted.chart_name {
        return Some(format!("the chart changed from {} to {}", metadata.name, wanted.chart_name));
    }
    if metadata.version != wanted.chart_version {
        return Some(format!("the chart's version changed from {} to {}", metadata.version, wanted.chart_version));
    }
    (snapshot::config_digest(&last.config) != wanted.config_digest).then(|| "the values changed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::helm::TestHookStatus;
    use std::time::Duration;

    fn remedy(mending: Mending, retries: i64) -> Remediation {
        Remediation { retries, remediate_last_failure: false, ignore_test_failures: false, mending, retry_after: None }
    }

    fn policy() -> Policy<'static> {
        Policy {
            forced: false,
            accepts: false,
            attempted: Attempted::Nothing,
            install: remedy(Mending::Uninstall, 0),
            upgrade: remedy(Mending::Rollback, 0),
            failures: 0,
            install_failures: 0,
            upgrade_failures: 0,
            drift: DriftMode::Disabled,
            history: &[],
            is_stored: &|_| true,
        }
    }

    fn failed_upgrade(failures: i64, retries: i64) -> Policy<'static> {
        Policy {
            attempted: Attempted::Upgrade,
            upgrade: remedy(Mending::Rollback, retries),
            failures,
            upgrade_failures: failures,
            ..policy()
        }
    }

    #[test]
    fn every_line_of_the_table_gives_its_action() {
        let out = || State::OutOfSync("x".into());
        let stall = |action, attempts| Action::Stall { attempts, action };
        let forced = |policy: Policy<'static>| Policy { forced: true, ..policy };
        let install_failed = || Policy { attempted: Attempted::Install, failures: 1, install_failures: 1, ..policy() };
        let again = |mut policy: Policy<'static>| {
            policy.install.retry_after = Some(Duration::from_secs(1));
            policy.upgrade.retry_after = Some(Duration::from_secs(1));
            policy
        };
        let table: Vec<(State, Policy<'static>, Action)> = vec![
            (State::Absent, policy(), Action::Install),
            (State::Absent, install_failed(), stall("install", 1)),
            (State::Absent, forced(install_failed()), Action::Install),
            (State::Absent, again(install_failed()), Action::Install),
            (State::Absent, Policy { install: remedy(Mending::Uninstall, 1), ..install_failed() }, Action::Install),
            (State::Absent, Policy { install: remedy(Mending::Uninstall, -1), ..install_failed() }, Action::Install),
            (State::Absent, failed_upgrade(3, 0), Action::Install),
            (State::Locked, policy(), Action::Unlock),
            (State::Locked, forced(policy()), Action::Unlock),
            (State::Unmanaged { as_wanted: false }, policy(), Action::Adopt),
            (State::Unmanaged { as_wanted: true }, policy(), Action::Adopt),
            (State::Unmanaged { as_wanted: true }, Policy { accepts: true, ..policy() }, Action::Accept),
            (State::Unmanaged { as_wanted: false }, Policy { accepts: true, ..policy() }, Action::Adopt),
            (State::Unmanaged { as_wanted: true }, forced(Policy { accepts: true, ..policy() }), Action::Adopt),
            (State::Failed, policy(), Action::Upgrade),
            (State::Failed, failed_upgrade(0, 0), Action::Upgrade),
            (State::Failed, failed_upgrade(1, 0), stall("upgrade", 1)),
            (State::Failed, forced(failed_upgrade(1, 0)), Action::Upgrade),
            (State::Failed, again(failed_upgrade(9, 0)), Action::Upgrade),
            (State::Failed, failed_upgrade(1, 1), Action::NoTarget),
            (State::Failed, install_failed(), stall("install", 1)),
            (State::Failed, Policy { install: remedy(Mending::Uninstall, 1), ..install_failed() }, Action::UninstallRemediation),
            (State::Failed, Policy { upgrade: remedy(Mending::Uninstall, 1), ..failed_upgrade(1, 1) }, Action::UninstallRemediation),
            (out(), policy(), Action::Upgrade),
            (out(), failed_upgrade(1, 0), stall("upgrade", 1)),
            (out(), failed_upgrade(1, 1), Action::Upgrade),
            (out(), failed_upgrade(99, -1), Action::Upgrade),
            (out(), forced(failed_upgrade(1, 0)), Action::Upgrade),
            (out(), again(failed_upgrade(1, 0)), Action::Upgrade),
            (State::Untested, policy(), Action::Test),
            (State::Drifted, Policy { drift: DriftMode::Enabled, ..policy() }, Action::CorrectDrift),
            (State::Drifted, Policy { drift: DriftMode::Warn, ..policy() }, Action::ReportDrift),
            (State::Drifted, forced(policy()), Action::Upgrade),
            (State::InSync, policy(), Action::Settle),
            (State::InSync, forced(policy()), Action::Upgrade),
        ];
        for (at, (state, policy, action)) in table.into_iter().enumerate() {
            assert_eq!(decide(&state, &policy), action, "line {at}: {state:?} {policy:?}", policy = policy.attempted);
        }
    }

    #[test]
    fn a_failed_upgrade_goes_back_to_what_is_stored_unchanged() {
        let history: Vec<Snapshot> = [("failed", 3), ("failed", 2), ("superseded", 1)]
            .map(|(s, v)| Snapshot { status: s.into(), version: v, ..Default::default() })
            .into();
        let mut policy = Policy { history: &history, ..failed_upgrade(1, 1) };
        assert_eq!(decide(&State::Failed, &policy), Action::Rollback { version: 1 });
        policy.is_stored = &|_| false;
        assert_eq!(decide(&State::Failed, &policy), Action::Upgrade);
        policy.is_stored = &|_| true;
        policy.upgrade_failures = 2;
        policy.failures = 2;
        assert_eq!(decide(&State::Failed, &policy), Action::Stall { attempts: 2, action: "upgrade" });
        policy.upgrade.remediate_last_failure = true;
        assert_eq!(decide(&State::Failed, &policy), Action::Rollback { version: 1 });
    }

    fn wanted() -> Wanted {
        Wanted {
            chart_name: "demo".into(),
            chart_version: "1.0.0".into(),
            config_digest: snapshot::config_digest(&Default::default()),
            post_renderers_digest: String::new(),
            common_metadata_digest: String::new(),
            tests: false,
            ignore_test_failures: false,
        }
    }

    fn release(status: &str) -> StoredRelease {
        let mut release = StoredRelease { name: "a".into(), namespace: "n".into(), version: 1, ..Default::default() };
        release.info.status = status.into();
        let chart = std::sync::Arc::make_mut(&mut release.chart);
        let metadata = std::sync::Arc::make_mut(&mut chart.metadata);
        (metadata.name, metadata.version) = ("demo".into(), "1.0.0".into());
        release
    }

    #[test]
    fn a_state_is_read_from_storage_and_history() {
        let of = |release: Option<&StoredRelease>, history: &[Snapshot], wanted: &Wanted| {
            determine(release, wanted, &Remembered { history, ..Default::default() })
        };
        assert_eq!(of(None, &[], &wanted()), State::Absent);
        assert_eq!(of(Some(&release("uninstalled")), &[], &wanted()), State::Absent);
        for status in ["pending-install", "pending-upgrade", "pending-rollback"] {
            assert_eq!(of(Some(&release(status)), &[], &wanted()), State::Locked);
        }
        let deployed = release("deployed");
        assert_eq!(of(Some(&deployed), &[], &wanted()), State::Unmanaged { as_wanted: true });
        assert_eq!(of(Some(&release("failed")), &[], &wanted()), State::Unmanaged { as_wanted: false });
        let history = [snapshot::of(&deployed, "", "install")];
        assert_eq!(of(Some(&deployed), &history, &wanted()), State::InSync);
        let touched = StoredRelease { manifest: "by hand".into(), ..deployed.clone() };
        assert!(matches!(of(Some(&touched), &history, &wanted()), State::Unmanaged { .. }));
        let newer = Wanted { chart_version: "1.1.0".into(), ..wanted() };
        assert!(matches!(of(Some(&deployed), &history, &newer), State::OutOfSync(_)));
        let values = Wanted { config_digest: "sha256:x".into(), ..wanted() };
        assert!(matches!(of(Some(&deployed), &history, &values), State::OutOfSync(_)));
        let failed = release("failed");
        assert_eq!(of(Some(&failed), &[snapshot::of(&failed, "", "install")], &wanted()), State::Failed);
    }

    #[test]
    fn what_is_laid_over_a_chart_counts_only_when_the_spec_changed() {
        let deployed = release("deployed");
        let history = [snapshot::of(&deployed, "", "install")];
        let wanted = Wanted { post_renderers_digest: "sha256:x".into(), ..wanted() };
        let mut known = Remembered { history: &history, ..Default::default() };
        assert_eq!(determine(Some(&deployed), &wanted, &known), State::InSync);
        known.spec_changed = true;
        assert!(matches!(determine(Some(&deployed), &wanted, &known), State::OutOfSync(_)));
    }

    #[test]
    fn tests_are_run_once_and_a_failed_one_counts_unless_it_is_ignored() {
        let deployed = release("deployed");
        let mut history = [snapshot::of(&deployed, "", "install")];
        let tests = Wanted { tests: true, ..wanted() };
        let of = |history: &[Snapshot], wanted: &Wanted| determine(Some(&deployed), wanted, &Remembered { history, ..Default::default() });
        assert_eq!(of(&history, &tests), State::Untested);
        history[0].test_hooks = Some(Default::default());
        assert_eq!(of(&history, &tests), State::InSync);
        let failed = TestHookStatus { phase: "Failed".into(), ..Default::default() };
        history[0].test_hooks = Some([("t".to_owned(), failed)].into());
        assert_eq!(of(&history, &tests), State::Failed);
        assert_eq!(of(&history, &Wanted { ignore_test_failures: true, ..tests }), State::InSync);
    }
}
