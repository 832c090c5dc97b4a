//! Digests of what was released, to the byte as Flux computes them: a wrong one would release everything anew on a takeover.

use api::{
    helm::{PostRenderer, Snapshot, TestHookStatus},
    meta::Time,
};
use helm::{Hook, Info, Metadata, StoredRelease};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The form of snapshots that is written; those of other forms are not verified.
const API_VERSION: &str = "v2";

/// The digest of values: sha256 of their YAML with sorted keys. No values have the digest of nothing.
pub(crate) fn config_digest(values: &Map<String, Value>) -> String {
    let text = if values.is_empty() { String::new() } else { yaml::emit(&sorted(&Value::Object(values.clone()))) };
    digest(text.as_bytes())
}

/// The digest of a part of the spec, as Flux writes it down when it was last released.
pub(crate) fn spec_digest(part: &impl Serialize) -> String {
    go_digest(part)
}

/// The digest of post-renderers: their fields in the order of Flux's own types.
pub(crate) fn post_renderers_digest(list: &[PostRenderer]) -> String {
    if list.is_empty() {
        return String::new();
    }
    let fields = |pairs: &[(&str, Value)]| -> Value {
        let given = pairs.iter().filter(|(_, value)| !matches!(value, Value::String(text) if text.is_empty()) && !value.is_null());
        Value::Object(given.map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    };
    let text = |text: &String| Value::from(text.as_str());
    let selector = |one: &api::kustomize::Selector| {
        fields(&[
            ("group", text(&one.group)),
            ("version", text(&one.version)),
            ("kind", text(&one.kind)),
            ("namespace", text(&one.namespace)),
            ("name", text(&one.name)),
            ("annotationSelector", text(&one.annotation_selector)),
            ("labelSelector", text(&one.label_selector)),
        ])
    };
    let patch = |one: &api::kustomize::Patch| {
        fields(&[("patch", text(&one.patch)), ("target", one.target.as_ref().map(selector).unwrap_or_default())])
    };
    let image = |one: &api::kustomize::Image| {
        fields(&[
            ("name", text(&one.name)),
            ("newName", text(&one.new_name)),
            ("newTag", text(&one.new_tag)),
            ("digest", text(&one.digest)),
        ])
    };
    let some = |list: Vec<Value>| if list.is_empty() { Value::Null } else { Value::Array(list) };
    let renderer = |one: &PostRenderer| match &one.kustomize {
        None => Value::Object(Map::new()),
        Some(kustomize) => {
            let patches = some(kustomize.patches.iter().map(patch).collect());
            let images = some(kustomize.images.iter().map(image).collect());
            serde_json::json!({"kustomize": fields(&[("patches", patches), ("images", images)])})
        }
    };
    spec_digest(&Value::Array(list.iter().map(renderer).collect()))
}

/// The digest of what Go's encoder writes, which ends its document with a newline.
fn go_digest(value: &impl Serialize) -> String {
    digest((helm::go_json(value).unwrap_or_default() + "\n").as_bytes())
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// The digest of a release as it is stored: Go's JSON of its facts, tests left out.
pub(crate) fn release_digest(release: &StoredRelease, oci_digest: &str) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Facts<'r> {
        name: &'r str,
        version: i64,
        info: &'r Info,
        chart_metadata: &'r Metadata,
        config: Option<Value>,
        manifest: &'r str,
        hooks: Option<Vec<&'r Hook>>,
        namespace: &'r str,
        #[serde(skip_serializing_if = "str::is_empty")]
        oci_digest: &'r str,
    }
    let hooks: Vec<&Hook> = release.hooks.iter().filter(|hook| !hook.is_test()).collect();
    go_digest(&Facts {
        name: &release.name,
        version: release.version,
        info: &release.info,
        chart_metadata: &release.chart.metadata,
        config: (!release.config.is_empty()).then(|| sorted(&Value::Object((*release.config).clone()))),
        manifest: &release.manifest,
        hooks: (!hooks.is_empty()).then_some(hooks),
        namespace: &release.namespace,
        oci_digest,
    })
}

/// Maps of Go have no order: their keys are written sorted.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<&String, &Value> = map.iter().collect();
            Value::Object(ordered.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn time(text: Option<&String>) -> Time {
    // Helm writes nanoseconds and zones; a status has seconds in UTC.
    let at = text.and_then(|text| text.parse::<Timestamp>().ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

/// The snapshot of a release, for the history.
pub(crate) fn of(release: &StoredRelease, oci_digest: &str, action: &str) -> Snapshot {
    Snapshot {
        api_version: API_VERSION.to_owned(),
        digest: release_digest(release, oci_digest),
        name: release.name.clone(),
        namespace: release.namespace.clone(),
        version: release.version,
        status: release.info.status.clone(),
        action: action.to_owned(),
        chart_name: release.chart.metadata.name.clone(),
        chart_version: release.chart.metadata.version.clone(),
        app_version: release.chart.metadata.app_version.clone(),
        config_digest: config_digest(&release.config),
        first_deployed: time(release.info.first_deployed.as_ref()),
        last_deployed: time(release.info.last_deployed.as_ref()),
        deleted: release.info.deleted.as_ref().map(|deleted| time(Some(deleted))),
        oci_digest: oci_digest.to_owned(),
        test_hooks: None,
    }
}

/// How the tests of a release went, for its snapshot.
pub(crate) fn test_hooks(release: &StoredRelease) -> BTreeMap<String, TestHookStatus> {
    let hooks = release.hooks.iter().filter(|hook| hook.is_test());
    hooks
        .map(|hook| {
            let run = &hook.last_run;
            let status = TestHookStatus {
                last_started: run.started_at.as_ref().map(|at| time(Some(at))),
                last_completed: run.completed_at.as_ref().map(|at| time(Some(at))),
                phase: run.phase.clone(),
            };
            (hook.name.clone(), status)
        })
        .collect()
}

/// Whether a snapshot speaks of this release, unchanged since.
pub(crate) fn matches(snapshot: &Snapshot, release: &StoredRelease) -> bool {
    snapshot.name == release.name
        && snapshot.namespace == release.namespace
        && snapshot.version == release.version
        && (snapshot.api_version != API_VERSION || snapshot.digest == release_digest(release, &snapshot.oci_digest))
}

pub(crate) fn has_been_tested(snapshot: &Snapshot) -> bool {
    snapshot.test_hooks.is_some()
}

pub(crate) fn has_failed_test(snapshot: &Snapshot) -> bool {
    snapshot.test_hooks.iter().flatten().any(|(_, test)| test.phase == "Failed")
}

/// The release that a failed one goes back to: deployed before, its tests not failed unless that does not count.
pub(crate) fn previous(history: &[Snapshot], ignore_tests: bool) -> Option<&Snapshot> {
    let good = |one: &&Snapshot| matches!(one.status.as_str(), "deployed" | "superseded") && (ignore_tests || !has_failed_test(one));
    history.iter().skip(1).find(good)
}

/// Forgets what no rollback needs any more.
pub(crate) fn truncate(history: &mut Vec<Snapshot>, ignore_tests: bool) {
    const HISTORY_MAX: usize = 5;
    history.sort_by_key(|one| std::cmp::Reverse(one.version));
    let target = previous(history, ignore_tests).map(|one| one.version);
    match target.and_then(|version| history.iter().position(|one| one.version == version)) {
        Some(at) => history.truncate(at + 1),
        None => history.truncate(HISTORY_MAX),
    }
}

/// `ns/name.v3`.
pub(crate) fn full_name(snapshot: &Snapshot) -> String {
    format!("{}/{}.v{}", snapshot.namespace, snapshot.name, snapshot.version)
}

/// `demo@1.0.0`.
pub(crate) fn chart(snapshot: &Snapshot) -> String {
    format!("{}@{}", snapshot.chart_name, snapshot.chart_version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn snapshot(version: i64, status: &str) -> Snapshot {
        Snapshot { version, status: status.into(), ..Default::default() }
    }

    #[test]
    fn digests_are_those_of_flux() {
        // internal/release/digest_test.go of helm-controller.
        let release = StoredRelease { name: "foo".into(), ..Default::default() };
        assert_eq!(release_digest(&release, ""), "sha256:f1498f27a16a09cd7e1ee610d924df065c03d30035638babc95dd9a8d412ce4d");
        let config = |value: Value| config_digest(value.as_object().expect("a map"));
        assert_eq!(config(json!({})), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        // status.lastAttemptedConfigDigest in recorded scenarios: hr-upgrade-fail-uninstall.
        assert_eq!(config(json!({"replicas": 0})), "sha256:d1a28e31cfba0b3897584ffb3a07394b2ca3df72f7f2d85f1212b76168aeb594");
        assert_eq!(config(json!({"replicas": 1})), "sha256:64c510504df97ba5ad76d9dab24c7550b4b53a6d31adc47a75e6efbe8851ae8c");
        assert_eq!(config(json!({"b": 1, "a": {"d": 1, "c": 2}})), config(json!({"a": {"c": 2, "d": 1}, "b": 1})));
    }

    #[test]
    fn post_renderers_have_the_digest_of_flux() {
        let renderers: Vec<PostRenderer> = serde_json::from_value(json!([{"kustomize": {
            "images": [{"name": "example.com/web", "newName": "example.com/other", "newTag": "2.0"}],
            "patches": [
                {"target": {"kind": "ConfigMap"}, "patch": "- op: add\n  path: /data/patched\n  value: 'yes'\n"},
                {"patch": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app-web}\nspec: {paused: false, minReadySeconds: 1}\n"},
            ],
        }}]))
        .unwrap();
        // As recorded: hr-post-renderers.
        assert_eq!(post_renderers_digest(&renderers), "sha256:945281e9baef92dea290a531dd12f877933633ca36ae6ff5981bb1ccc9108a01");
        assert_eq!(post_renderers_digest(&[]), "");
    }

    #[test]
    fn a_changed_release_does_not_match_its_snapshot() {
        let mut release = StoredRelease { name: "a".into(), namespace: "n".into(), version: 1, ..Default::default() };
        let snapshot = of(&release, "", "install");
        assert!(matches(&snapshot, &release));
        release.manifest = "x".into();
        assert!(!matches(&snapshot, &release));
        assert!(matches(&Snapshot { api_version: "v1".into(), ..snapshot }, &release), "an older form is not verified");
    }

    #[test]
    fn history_reaches_back_to_the_release_that_a_rollback_would_take() {
        let versions = |mut history: Vec<Snapshot>| {
            truncate(&mut history, false);
            history.iter().map(|one| one.version).collect::<Vec<_>>()
        };
        let all = |states: &[&str]| states.iter().zip((1..=states.len() as i64).rev()).map(|(s, v)| snapshot(v, s)).collect::<Vec<_>>();
        assert_eq!(versions(all(&["deployed", "superseded", "superseded"])), [3, 2]);
        assert_eq!(versions(all(&["deployed", "failed", "superseded", "failed", "superseded"])), [5, 4, 3]);
        assert_eq!(versions(all(&["failed"; 7])), [7, 6, 5, 4, 3]);
        let mut tested = all(&["failed", "superseded", "superseded"]);
        let failed = TestHookStatus { phase: "Failed".into(), ..Default::default() };
        tested[1].test_hooks = Some([("t".to_owned(), failed)].into());
        assert_eq!(previous(&tested, false).map(|one| one.version), Some(1));
        assert_eq!(previous(&tested, true).map(|one| one.version), Some(2));
    }
}
