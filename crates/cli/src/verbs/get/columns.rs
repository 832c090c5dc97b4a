//! The columns of each kind's table.

use crate::{
    kinds::{self, Kind},
    objects,
};
use serde_json::Value;

pub struct Column {
    pub title: &'static str,
    pub value: fn(&Value) -> String,
}

const fn column(title: &'static str, value: fn(&Value) -> String) -> Column {
    Column { title, value }
}

const SUSPENDED: Column = column("Suspended", |object| if objects::is_suspended(object) { "True" } else { "False" }.to_owned());
const READY: Column = column("Ready", |object| ready(object).0);
const MESSAGE: Column = column("Message", |object| ready(object).1);
const SHORT_MESSAGE: Column = column("Message", |object| truncate_hex(&ready(object).1));
const SHORT_REVISION: Column = column("Revision", |object| truncate_hex(objects::text(object, &["status", "artifact", "revision"])));

/// The columns after the name.
pub fn of(kind: &Kind, show_source: bool, wide: bool) -> Vec<Column> {
    let mut columns = match kind {
        k if *k == kinds::KUSTOMIZATION => {
            vec![
                column("Revision", |o| truncate_hex(objects::text(o, &["status", "lastAppliedRevision"]))),
                SUSPENDED,
                READY,
                SHORT_MESSAGE,
            ]
        }
        k if *k == kinds::HELM_RELEASE => vec![column("Revision", |o| release_revision(o).to_owned()), SUSPENDED, READY, MESSAGE],
        k if *k == kinds::HELM_REPOSITORY => vec![
            SHORT_REVISION,
            SUSPENDED,
            column("Ready", |o| if is_oci(o) { "True".to_owned() } else { ready(o).0 }),
            column("Message", |o| if is_oci(o) { "Helm repository is Ready".to_owned() } else { truncate_hex(&ready(o).1) }),
        ],
        // A chart's revision is a version, which may hold what looks like a hash.
        k if *k == kinds::HELM_CHART => {
            vec![column("Revision", |o| objects::text(o, &["status", "artifact", "revision"]).to_owned()), SUSPENDED, READY, SHORT_MESSAGE]
        }
        k if *k == kinds::EXTERNAL_ARTIFACT => vec![SHORT_REVISION, column("Source", external_source), READY, SHORT_MESSAGE],
        k if *k == kinds::ARTIFACT_GENERATOR => {
            vec![column("Suspended", |o| if is_disabled(o) { "True" } else { "False" }.to_owned()), READY, MESSAGE]
        }
        k if *k == kinds::ALERT => {
            vec![SUSPENDED, column("Ready", |_| "True".to_owned()), column("Message", |_| "Alert is Ready".to_owned())]
        }
        k if *k == kinds::PROVIDER => vec![column("Ready", |_| "True".to_owned()), column("Message", |_| "Provider is Ready".to_owned())],
        k if *k == kinds::RECEIVER => vec![SUSPENDED, READY, MESSAGE],
        k if *k == kinds::IMAGE_REPOSITORY => {
            vec![column("Last scan", |o| objects::text(o, &["status", "lastScanResult", "scanTime"]).to_owned()), SUSPENDED, READY, MESSAGE]
        }
        k if *k == kinds::IMAGE_POLICY => vec![
            column("Image", |o| objects::text(o, &["status", "latestRef", "name"]).to_owned()),
            column("Tag", |o| objects::text(o, &["status", "latestRef", "tag"]).to_owned()),
            READY,
            MESSAGE,
        ],
        k if *k == kinds::IMAGE_UPDATE => {
            vec![column("Last run", |o| objects::text(o, &["status", "lastAutomationRunTime"]).to_owned()), SUSPENDED, READY, MESSAGE]
        }
        _ => vec![SHORT_REVISION, SUSPENDED, READY, SHORT_MESSAGE],
    };
    let source: Option<fn(&Value) -> String> = match kind {
        k if *k == kinds::KUSTOMIZATION => Some(kustomization_source),
        k if *k == kinds::HELM_RELEASE => Some(release_source),
        _ => None,
    };
    if let (true, Some(source)) = (show_source || wide, source) {
        columns.insert(0, column("Source", source));
    }
    if wide {
        columns.insert(columns.len() - 1, column("Reason", |o| condition_text(o, "reason")));
        columns.insert(columns.len() - 1, column("Since", |o| condition_text(o, "lastTransitionTime")));
    }
    columns
}

fn condition_text(object: &Value, field: &str) -> String {
    objects::condition(object, "Ready").map(|condition| objects::text(condition, &[field]).to_owned()).unwrap_or_default()
}

/// Status and message of the Ready condition.
fn ready(object: &Value) -> (String, String) {
    match objects::condition(object, "Ready") {
        Some(condition) => (objects::text(condition, &["status"]).to_owned(), objects::text(condition, &["message"]).to_owned()),
        None => ("False".to_owned(), "waiting to be reconciled".to_owned()),
    }
}

/// The chart version that was released last, or tried last.
pub fn release_revision(object: &Value) -> &str {
    match objects::at(object, &["status", "history"]).get(0) {
        Some(latest) => objects::text(latest, &["chartVersion"]),
        None => objects::text(object, &["status", "lastAttemptedRevision"]),
    }
}

fn is_oci(object: &Value) -> bool {
    objects::text(object, &["spec", "type"]) == "oci"
}

fn is_disabled(object: &Value) -> bool {
    objects::text(object, &["metadata", "annotations", api::meta::GENERATOR_RECONCILE]).eq_ignore_ascii_case("disabled")
}

fn reference(object: &Value, reference: &Value) -> String {
    let namespace = objects::reference_namespace(object, reference);
    format!("{}/{namespace}/{}", objects::text(reference, &["kind"]), objects::text(reference, &["name"]))
}

fn kustomization_source(object: &Value) -> String {
    reference(object, objects::at(object, &["spec", "sourceRef"]))
}

fn release_source(object: &Value) -> String {
    match objects::at(object, &["spec", "chartRef"]) {
        Value::Null => reference(object, objects::at(object, &["spec", "chart", "spec", "sourceRef"])),
        chart => reference(object, chart),
    }
}

fn external_source(object: &Value) -> String {
    match objects::at(object, &["spec", "sourceRef"]) {
        Value::Null => String::new(),
        source => {
            let part = |key| objects::text(source, &[key]);
            format!("{}/{}/{}", part("kind"), part("namespace"), part("name"))
        }
    }
}

/// Shortens every hash of 40 to 128 lower-case hexadecimal digits to its first eight.
pub fn truncate_hex(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_hash = |word: &str| (40..=128).contains(&word.len()) && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
        out.push_str(if is_hash(word) { &word[..8] } else { word });
        rest = &rest[word.len()..];
        let gap = rest.find(is_word).unwrap_or(rest.len());
        out.push_str(&rest[..gap]);
        rest = &rest[gap..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::truncate_hex;

    #[test]
    fn only_whole_hashes_are_shortened() {
        let hash = "1f2e3d4c5b6a79880716253443526170abcdef01";
        assert_eq!(
            truncate_hex(&format!("main@sha1:{hash} and x{hash}y, größer {hash}.")),
            format!("main@sha1:1f2e3d4c and x{hash}y, größer 1f2e3d4c.")
        );
        for kept in [&hash[1..], &hash.to_uppercase(), &"a".repeat(129)] {
            assert_eq!(truncate_hex(kept), kept);
        }
    }
}
