//! What is told of a visit: conditions, history, events. Values in, values out.

use crate::{
    operation::Outcome,
    snapshot,
    spec::{self, Operation},
};
use api::{
    Condition, Conditions,
    helm::{HelmRelease, HelmReleaseStatus, Snapshot},
    meta::{self, DRIFTED, FALSE, READY, RECONCILING, RELEASED, REMEDIATED, STALLED, TEST_SUCCESS, TRUE, Time, UNKNOWN, reason},
};
use helm::StoredRelease;
use jiff::Timestamp;
use plan::Entry;
use runtime::Event;
use types::GoDuration;

pub(crate) const PREREQUISITES: &str = "Fulfilling prerequisites";

/// A status that is being written, with what it takes to write it.
pub(crate) struct Draft<'t> {
    pub this: &'t HelmRelease,
    pub status: HelmReleaseStatus,
    pub events: Vec<Event>,
    pub now: Timestamp,
}

impl Draft<'_> {
    pub(crate) fn set(&mut self, kind: &str, value: &str, reason: &str, message: impl Into<String>) {
        let generation = spec::generation(self.this);
        self.status.conditions.set_condition(Condition::new(kind, value, reason, message), generation, Time(self.now));
    }

    pub(crate) fn is_true(&self, kind: &str) -> bool {
        self.status.conditions.condition(kind).is_some_and(Condition::is_true)
    }

    /// Work goes on.
    pub(crate) fn progressing(&mut self, message: &str) {
        self.status.conditions.remove_condition(STALLED);
        self.set(RECONCILING, TRUE, reason::PROGRESSING, message);
        let ready = self.status.conditions.condition(READY).map(|ready| (ready.status.clone(), ready.reason.clone()));
        let open = match &ready {
            None => true,
            Some((status, reason)) => status == UNKNOWN && reason == reason::PROGRESSING,
        };
        if open || (self.status.observed_generation != spec::generation(self.this) && ready.is_some_and(|(status, _)| status == TRUE)) {
            self.set(READY, UNKNOWN, reason::PROGRESSING, message);
        }
    }

    pub(crate) fn running(&mut self, operation: Operation) {
        let word = match operation {
            Operation::UninstallRemediation => "uninstall",
            other => other.word(),
        };
        let timeout = spec::timeout(self.this, operation);
        self.progressing(&format!("Running '{word}' action with timeout of {timeout}"));
    }

    /// Something is in the way before any action.
    pub(crate) fn not_ready(&mut self, reason: &str, message: &str) {
        self.status.conditions.remove_condition(STALLED);
        self.set(RECONCILING, TRUE, reason::PROGRESSING, PREREQUISITES);
        self.set(READY, FALSE, reason, message);
    }

    /// Only a change of the spec helps.
    pub(crate) fn terminal(&mut self, reason: &str, message: &str) {
        self.status.conditions.remove_condition(RECONCILING);
        self.set(STALLED, TRUE, reason, message);
        self.set(READY, FALSE, reason, message);
        self.status.observed_generation = spec::generation(self.this);
    }

    /// No further attempt is made.
    pub(crate) fn stalled(&mut self, reason: &str, message: &str) {
        self.status.conditions.remove_condition(RECONCILING);
        self.set(STALLED, TRUE, reason, message);
        self.status.observed_generation = spec::generation(self.this);
    }

    /// Writes down which requests were answered, whatever came of them.
    pub(crate) fn answer_requests(&mut self) {
        let answered = |key: &str, field: &mut String| {
            if let Some(token) = spec::annotation(self.this, key) {
                token.clone_into(field);
            }
        };
        answered(meta::RECONCILE_REQUEST, &mut self.status.last_handled_reconcile_at);
        answered(meta::FORCE_REQUEST, &mut self.status.last_handled_force_at);
        answered(meta::RESET_REQUEST, &mut self.status.last_handled_reset_at);
    }

    pub(crate) fn reset_failures(&mut self) {
        self.status.failures = 0;
        self.status.install_failures = 0;
        self.status.upgrade_failures = 0;
    }

    fn test_counts(&self) -> bool {
        spec::tests_enabled(self.this) && !spec::ignores_test_failures(self.this)
    }

    /// Makes Ready say what the newest of the other conditions says.
    pub(crate) fn summarize(&mut self) {
        if !spec::tests_enabled(self.this) {
            self.status.conditions.remove_condition(TEST_SUCCESS);
        }
        if self.is_true(RELEASED) && (!spec::tests_enabled(self.this) || self.is_true(TEST_SUCCESS)) {
            self.status.conditions.remove_condition(REMEDIATED);
        }
        let kinds: &[&str] = if self.test_counts() { &[REMEDIATED, TEST_SUCCESS, RELEASED] } else { &[REMEDIATED, RELEASED] };
        let mut found: Vec<&Condition> = kinds.iter().filter_map(|kind| self.status.conditions.condition(kind)).collect();
        found.sort_by_key(|condition| std::cmp::Reverse(condition.observed_generation));
        let Some(first) = found.first().map(|condition| (*condition).clone()) else { return };
        // That it had to be mended is no success.
        let value = if first.r#type == REMEDIATED { FALSE } else { &first.status };
        self.set(READY, value, &first.reason, first.message.clone());
    }

    pub(crate) fn set_inventory(&mut self, entries: &[Entry]) {
        let entries = entries.iter().map(|entry| meta::ResourceRef { id: entry.id(), v: entry.version.clone() }).collect();
        self.status.inventory = Some(meta::ResourceInventory { entries });
    }

    /// Writes down what came of an action. Returns whether it went well.
    pub(crate) fn record(&mut self, outcome: &Outcome, oci_digest: &str) -> bool {
        let word = outcome.operation.word();
        let action = outcome.operation;
        if matches!(action, Operation::Install | Operation::Upgrade) {
            word.clone_into(&mut self.status.last_attempted_release_action);
            let took = outcome.ended.as_nanosecond() - outcome.started.as_nanosecond();
            let took = GoDuration::from_nanos(i64::try_from(took.max(0)).unwrap_or(0));
            self.status.last_attempted_release_action_duration = Some(rounded(took));
            self.status.conditions.remove_condition(REMEDIATED);
        }
        self.observe(outcome, oci_digest);
        if let Some(inventory) = &outcome.inventory {
            self.set_inventory(inventory);
        }
        let Some(release) = &outcome.release else {
            if let Some(failure) = &outcome.failure {
                self.status.failures += 1;
                self.set(READY, FALSE, "ReconciliationFailed", failure.clone());
            }
            return outcome.failure.is_none();
        };
        let current = snapshot::of(release, oci_digest, word);
        match action {
            Operation::Install | Operation::Upgrade => self.told_release(outcome, &current),
            Operation::Test => self.told_test(outcome, &current),
            Operation::Rollback => self.told_rollback(outcome, &current),
            Operation::UninstallRemediation => self.told_remediation(outcome, &current),
            Operation::Uninstall => self.told_uninstall(outcome, &current),
        }
        // As recorded (hr-test-failure-remediation): Ready goes on to say what made the uninstall necessary.
        if action != Operation::UninstallRemediation {
            self.summarize();
        }
        outcome.failure.is_none()
    }

    /// Takes the writes to storage over into the history.
    fn observe(&mut self, outcome: &Outcome, oci_digest: &str) {
        let word = outcome.operation.word();
        let aimed = outcome.release.as_ref().map(|release| release.version);
        let history = &mut self.status.history;
        if (outcome.operation == Operation::Install || outcome.adopts) && !outcome.stored.is_empty() {
            history.clear();
        }
        for release in &outcome.stored {
            let known = history.iter().position(|one| one.version == release.version && one.name == release.name);
            let newest = Some(release.version) == aimed;
            let action = match outcome.operation {
                Operation::Install | Operation::Upgrade if newest => word.to_owned(),
                Operation::Install | Operation::Upgrade => String::new(),
                Operation::Test => known.map(|at| history[at].action.clone()).unwrap_or_default(),
                _ => word.to_owned(),
            };
            let oci = known.map_or(oci_digest, |at| history[at].oci_digest.as_str()).to_owned();
            let mut taken = snapshot::of(release, &oci, &action);
            match known {
                Some(at) => {
                    taken.test_hooks = history[at].test_hooks.clone();
                    history[at] = taken;
                }
                // A release of others is not ours to tell of.
                None if !newest => {}
                None => history.insert(0, taken),
            }
        }
        if outcome.operation == Operation::Test
            && !outcome.cancelled
            && let Some(release) = outcome.stored.last()
            && let Some(tested) = history.iter_mut().find(|one| one.version == release.version)
        {
            tested.test_hooks = Some(snapshot::test_hooks(release));
        }
        history.sort_by_key(|one| std::cmp::Reverse(one.version));
    }

    fn told_release(&mut self, outcome: &Outcome, current: &Snapshot) {
        let (word, install) = (outcome.operation.word(), outcome.operation == Operation::Install);
        match &outcome.failure {
            None => {
                let (name, chart) = (snapshot::full_name(current), snapshot::chart(current));
                let message = format!("Helm {word} succeeded for release {name} with chart {chart}");
                let reason = if install { "InstallSucceeded" } else { "UpgradeSucceeded" };
                self.set(RELEASED, TRUE, reason, message.clone());
                if spec::tests_enabled(self.this) {
                    let awaiting = format!("Helm release {name} with chart {chart} is awaiting tests");
                    self.set(TEST_SUCCESS, UNKNOWN, "AwaitingTests", awaiting);
                }
                self.events.push(about(Event::info(reason, message), current));
            }
            Some(failure) => {
                let reason = if install { "InstallFailed" } else { "UpgradeFailed" };
                let message = format!(
                    "Helm {word} failed for release {}/{} with chart {}: {}",
                    current.namespace,
                    current.name,
                    snapshot::chart(current),
                    failure.trim()
                );
                self.set(RELEASED, FALSE, reason, message.clone());
                self.status.failures += 1;
                if stored_new(outcome) {
                    *(if install { &mut self.status.install_failures } else { &mut self.status.upgrade_failures }) += 1;
                }
                self.events.push(about(Event::error(reason, with_log(message, &outcome.log)), current));
            }
        }
    }

    fn told_test(&mut self, outcome: &Outcome, current: &Snapshot) {
        let (name, chart) = (snapshot::full_name(current), snapshot::chart(current));
        match &outcome.failure {
            None => {
                let count = outcome.release.iter().flat_map(|release| release.hooks.iter()).filter(|hook| hook.is_test()).count();
                let hooks = match count {
                    0 => "no test hooks".to_owned(),
                    1 => "1 test hook completed successfully".to_owned(),
                    count => format!("{count} test hooks completed successfully"),
                };
                let message = format!("Helm test succeeded for release {name} with chart {chart}: {hooks}");
                self.set(TEST_SUCCESS, TRUE, "TestSucceeded", message.clone());
                self.events.push(about(Event::info("TestSucceeded", message), current));
            }
            Some(failure) => {
                let message = format!("Helm test failed for release {name} with chart {chart}: {}", failure.trim());
                self.set(TEST_SUCCESS, FALSE, "TestFailed", message.clone());
                self.events.push(about(Event::error("TestFailed", message), current));
                let install = self.status.last_attempted_release_action == "install";
                let remedy =
                    if install { spec::install_remediation(self.this, false) } else { spec::upgrade_remediation(self.this, false) };
                self.status.failures += 1;
                if !remedy.ignore_test_failures {
                    *(if install { &mut self.status.install_failures } else { &mut self.status.upgrade_failures }) += 1;
                }
            }
        }
    }

    fn told_rollback(&mut self, outcome: &Outcome, current: &Snapshot) {
        // The description of the new revision says where it came from; the history names that release.
        let target =
            outcome.release.as_ref().and_then(|release| release.info.description.strip_prefix("Rollback to ")?.parse::<i64>().ok());
        let previous = Snapshot { version: target.unwrap_or(current.version), ..current.clone() };
        let (name, chart) = (snapshot::full_name(&previous), snapshot::chart(&previous));
        match &outcome.failure {
            None => {
                let message = format!("Helm rollback to previous release {name} with chart {chart} succeeded");
                self.set(REMEDIATED, TRUE, "RollbackSucceeded", message.clone());
                self.events.push(about(Event::info("RollbackSucceeded", message), current));
            }
            Some(failure) => {
                let message = format!("Helm rollback to previous release {name} with chart {chart} failed: {}", failure.trim());
                self.set(REMEDIATED, FALSE, "RollbackFailed", message.clone());
                self.status.failures += 1;
                self.events.push(about(Event::error("RollbackFailed", with_log(message, &outcome.log)), current));
            }
        }
    }

    fn told_remediation(&mut self, outcome: &Outcome, current: &Snapshot) {
        let (name, chart) = (snapshot::full_name(current), snapshot::chart(current));
        match &outcome.failure {
            None => {
                let message = format!("Helm uninstall remediation for release {name} with chart {chart} succeeded");
                self.set(REMEDIATED, TRUE, "UninstallSucceeded", message.clone());
                self.events.push(about(Event::info("UninstallSucceeded", message), current));
            }
            Some(failure) => {
                let message = format!("Helm uninstall remediation for release {name} with chart {chart} failed: {}", failure.trim());
                self.set(REMEDIATED, FALSE, "UninstallFailed", message.clone());
                self.status.failures += 1;
                self.events.push(about(Event::error("UninstallFailed", with_log(message, &outcome.log)), current));
            }
        }
    }

    fn told_uninstall(&mut self, outcome: &Outcome, current: &Snapshot) {
        let (name, chart) = (snapshot::full_name(current), snapshot::chart(current));
        match &outcome.failure {
            None => {
                let message = format!("Helm uninstall succeeded for release {name} with chart {chart}");
                self.set(RELEASED, FALSE, "UninstallSucceeded", message.clone());
                self.events.push(about(Event::info("UninstallSucceeded", message), current));
            }
            Some(failure) => {
                let message = format!("Helm uninstall failed for release {name} with chart {chart}: {}", failure.trim());
                self.set(RELEASED, FALSE, "UninstallFailed", message.clone());
                self.status.failures += 1;
                self.events.push(about(Event::error("UninstallFailed", with_log(message, &outcome.log)), current));
            }
        }
    }

    /// A release that somebody began and did not end may be worked on again.
    pub(crate) fn told_unlock(&mut self, release: &StoredRelease, was: &str) {
        let current = snapshot::of(release, "", "");
        let message =
            format!("Unlocked Helm release {} with chart {} in {was} state", snapshot::full_name(&current), snapshot::chart(&current));
        self.set(RELEASED, FALSE, "PendingRelease", message.clone());
        self.events.push(about(Event::info("PendingRelease", message), &current));
    }

    pub(crate) fn no_drift(&mut self) {
        self.set(DRIFTED, FALSE, "NoDriftDetected", "No drift detected against the cluster state");
    }

    /// The release is as it should be.
    pub(crate) fn succeeded(&mut self) {
        self.status.conditions.remove_condition(RECONCILING);
        self.status.conditions.remove_condition(STALLED);
        if !self.is_true(RELEASED)
            && let Some(current) = self.status.history.first()
        {
            let upgrade = self.status.last_attempted_release_action == "upgrade";
            let (word, reason) = if upgrade { ("upgrade", "UpgradeSucceeded") } else { ("install", "InstallSucceeded") };
            let message =
                format!("Helm {word} succeeded for release {} with chart {}", snapshot::full_name(current), snapshot::chart(current));
            self.set(RELEASED, TRUE, reason, message);
        }
        self.summarize();
        if self.status.conditions.is_ready() {
            self.reset_failures();
        }
        self.status.observed_generation = spec::generation(self.this);
    }
}

/// Whether the new release was stored: an attempt that left nothing behind is tried again without counting.
pub(crate) fn stored_new(outcome: &Outcome) -> bool {
    let aimed = outcome.release.as_ref().map(|release| release.version);
    outcome.stored.iter().any(|release| Some(release.version) == aimed)
}

/// Go rounds to what a person reads.
fn rounded(duration: GoDuration) -> GoDuration {
    duration
}

fn with_log(message: String, log: &[String]) -> String {
    if log.is_empty() { message } else { format!("{message}\n\nLast Helm logs:\n\n{}", log.join("\n")) }
}

/// Puts on an event what all events of a release carry.
pub(crate) fn about(event: Event, release: &Snapshot) -> Event {
    event.with("revision", &release.chart_version).with("app-version", &release.app_version).with("oci-digest", &release.oci_digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Known;
    use helm::StoredRelease;
    use std::sync::Arc;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn release(version: i64, status: &str) -> Known {
        let mut release = StoredRelease { name: "app".into(), namespace: "n".into(), version, ..Default::default() };
        release.info.status = status.into();
        let chart = Arc::make_mut(&mut release.chart);
        let metadata = Arc::make_mut(&mut chart.metadata);
        (metadata.name, metadata.version) = ("demo".into(), "1.0.0".into());
        Known::wanted(release)
    }

    fn outcome(operation: Operation, stored: &[Known], failure: Option<&str>) -> Outcome {
        Outcome {
            operation,
            started: at(0),
            ended: at(1),
            stored: stored.to_vec(),
            release: stored.last().cloned(),
            inventory: None,
            failure: failure.map(str::to_owned),
            log: Vec::new(),
            cancelled: false,
            oci_digest: String::new(),
            version: 0,
            adopts: false,
        }
    }

    fn draft(this: &HelmRelease) -> Draft<'_> {
        Draft { this, status: spec::stored(this), events: Vec::new(), now: at(1) }
    }

    fn this() -> HelmRelease {
        let mut this = HelmRelease::named("n", "app");
        this.metadata.generation = Some(1);
        this
    }

    fn history<'d>(draft: &'d Draft<'_>) -> Vec<(i64, &'d str, &'d str)> {
        draft.status.history.iter().map(|one| (one.version, one.status.as_str(), one.action.as_str())).collect()
    }

    #[test]
    fn history_is_kept_as_flux_keeps_it() {
        let this = this();
        let mut draft = draft(&this);
        assert!(draft.record(&outcome(Operation::Install, &[release(1, "pending-install"), release(1, "deployed")], None), ""));
        assert_eq!(history(&draft), [(1, "deployed", "install")]);
        draft.record(
            &outcome(Operation::Upgrade, &[release(2, "pending-upgrade"), release(1, "superseded"), release(2, "deployed")], None),
            "",
        );
        // As recorded: hr-upgrade-values. The older release loses its action when it is written again.
        assert_eq!(history(&draft), [(2, "deployed", "upgrade"), (1, "superseded", "")]);
        draft.record(
            &outcome(Operation::Upgrade, &[release(3, "pending-upgrade"), release(2, "deployed"), release(3, "failed")], Some("x")),
            "",
        );
        assert_eq!((draft.status.failures, draft.status.upgrade_failures), (1, 1));
        draft.record(
            &outcome(Operation::Rollback, &[release(4, "pending-rollback"), release(2, "superseded"), release(4, "deployed")], None),
            "",
        );
        // As recorded: hr-upgrade-fail-rollback-reset.
        assert_eq!(
            history(&draft),
            [(4, "deployed", "rollback"), (3, "failed", "upgrade"), (2, "superseded", "rollback"), (1, "superseded", "")]
        );
        assert!(!draft.status.conditions.is_ready(), "what had to be mended is not ready");
        draft.record(&outcome(Operation::Install, &[release(1, "pending-install"), release(1, "deployed")], None), "");
        assert_eq!(history(&draft), [(1, "deployed", "install")], "an install begins anew");
    }

    #[test]
    fn releases_of_others_do_not_get_into_the_history() {
        let this = this();
        let mut draft = draft(&this);
        draft.record(
            &outcome(Operation::Upgrade, &[release(2, "pending-upgrade"), release(1, "superseded"), release(2, "deployed")], None),
            "",
        );
        assert_eq!(history(&draft), [(2, "deployed", "upgrade")]);
    }

    #[test]
    fn an_attempt_that_stored_nothing_does_not_count_as_an_install() {
        let this = this();
        let mut draft = draft(&this);
        let mut failed = outcome(Operation::Install, &[], Some("template error"));
        failed.release = Some(release(1, ""));
        assert!(!draft.record(&failed, ""));
        assert_eq!((draft.status.failures, draft.status.install_failures), (1, 0));
        let ready = draft.status.conditions.condition(READY).unwrap();
        assert_eq!(ready.message, "Helm install failed for release n/app with chart demo@1.0.0: template error");
        assert_eq!(draft.events[0].metadata["revision"], "1.0.0");
    }

    #[test]
    fn ready_says_what_the_newest_condition_says() {
        let mut this = this();
        let mut draft = draft(&this);
        draft.set(RELEASED, TRUE, "InstallSucceeded", "released");
        draft.summarize();
        assert!(draft.status.conditions.is_ready());
        let status = draft.status;
        this.metadata.generation = Some(2);
        this.spec.test = Some(api::helm::Test { enable: true, ..Default::default() });
        let mut draft = Draft { this: &this, status, events: Vec::new(), now: at(2) };
        draft.set(TEST_SUCCESS, FALSE, "TestFailed", "tested");
        draft.summarize();
        let ready = draft.status.conditions.condition(READY).unwrap();
        assert_eq!((ready.status.as_str(), ready.message.as_str(), ready.observed_generation), ("False", "tested", 2));
    }

    #[test]
    fn a_release_that_is_in_sync_again_is_ready_again() {
        let this = this();
        let mut draft = draft(&this);
        draft.record(&outcome(Operation::Upgrade, &[release(2, "pending-upgrade"), release(2, "failed")], Some("x")), "");
        draft.record(&outcome(Operation::Rollback, &[release(3, "pending-rollback"), release(3, "deployed")], None), "");
        draft.succeeded();
        let ready = draft.status.conditions.condition(READY).unwrap();
        // As recorded: hr-upgrade-fail-rollback-values-back.
        assert_eq!(ready.message, "Helm upgrade succeeded for release n/app.v3 with chart demo@1.0.0");
        assert!(ready.is_true() && draft.status.conditions.condition(REMEDIATED).is_none());
        assert_eq!(draft.status.failures, 0);
    }
}
