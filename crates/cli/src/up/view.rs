//! What a person sees of a running reconciliation: a pure picture of the sources and Kustomizations.

use serde_json::Value;
use std::{collections::BTreeMap, fmt};

/// `Kind/namespace/name` of a Flux object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub kind: String,
    pub namespace: String,
    pub name: String,
}

impl Id {
    pub fn of(object: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self { kind: text(&object["kind"]), namespace: text(&object["metadata"]["namespace"]), name: text(&object["metadata"]["name"]) }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// How far an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Ready,
    Suspended,
    /// Work goes on, or something is waited for.
    Working,
    /// The last try failed; another one follows.
    Failing,
    /// It needs a change of its configuration.
    Stalled,
}

/// One line of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub id: Id,
    pub phase: Phase,
    pub text: String,
}

/// The whole picture at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    pub rows: Vec<Row>,
}

impl View {
    /// Pictures sources and Kustomizations; `waiting` says for a Kustomization what it waits for, where that is known.
    pub fn of(objects: &BTreeMap<Id, Value>, waiting: &BTreeMap<Id, String>) -> Self {
        let mut rows: Vec<Row> = objects
            .iter()
            .map(|(id, object)| {
                let (phase, mut text) = phase(object);
                if let Some(what) = waiting.get(id).filter(|_| matches!(phase, Phase::Working)) {
                    text = format!("waiting for {what}");
                }
                if let (Phase::Ready, Some(source)) = (phase, source_of(object).and_then(|source| objects.get(&source)))
                    && let (Some(wanted), Some(applied)) = (artifact_revision(source), object["status"]["lastAppliedRevision"].as_str())
                    && wanted != applied
                {
                    return Row { id: id.clone(), phase: Phase::Working, text: format!("revision {} follows", short(wanted)) };
                }
                Row { id: id.clone(), phase, text }
            })
            .collect();
        // Sources come first: what they fetch is what the others build.
        rows.sort_by(|a, b| place(&a.id).cmp(&place(&b.id)).then_with(|| a.id.cmp(&b.id)));
        Self { rows }
    }

    /// Everything is ready (suspended objects are not waited for), and there is something.
    pub fn is_ready(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| matches!(row.phase, Phase::Ready | Phase::Suspended))
    }

    /// The rows that keep the whole from being ready.
    pub fn not_ready(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !matches!(row.phase, Phase::Ready | Phase::Suspended))
    }
}

/// Sources, then what is built from them, then releases.
fn place(id: &Id) -> u8 {
    match id.kind.as_str() {
        "Kustomization" => 1,
        "HelmRelease" => 2,
        _ => 0,
    }
}

/// The source that a Kustomization builds from.
fn source_of(object: &Value) -> Option<Id> {
    let reference = object["spec"]["sourceRef"].as_object()?;
    let text = |key: &str| reference.get(key).and_then(Value::as_str).map(str::to_owned);
    let namespace = text("namespace").or_else(|| object["metadata"]["namespace"].as_str().map(str::to_owned))?;
    Some(Id { kind: text("kind")?, namespace, name: text("name")? })
}

/// The revision of the artifact that a source offers.
pub fn artifact_revision(object: &Value) -> Option<&str> {
    object["status"]["artifact"]["revision"].as_str()
}

/// `main@sha1:0123456789` of a full revision.
pub fn short(revision: &str) -> String {
    match revision.rsplit_once(':') {
        Some((head, hash)) if hash.len() > 12 => {
            format!("{head}:{}", &hash[..hash.char_indices().nth(12).map_or(hash.len(), |(at, _)| at)])
        }
        _ => revision.to_owned(),
    }
}

fn phase(object: &Value) -> (Phase, String) {
    let condition = |kind: &str| object["status"]["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == kind);
    let message = |condition: &Value| {
        let (reason, text) = (condition["reason"].as_str().unwrap_or_default(), condition["message"].as_str().unwrap_or_default());
        if text.is_empty() { reason.to_owned() } else { first_line(text) }
    };
    if object["spec"]["suspend"] == true {
        return (Phase::Suspended, "suspended".to_owned());
    }
    // Nobody reconciles the address of a registry.
    if object["kind"] == "HelmRepository" && object["spec"]["type"] == "oci" {
        return (Phase::Ready, "an OCI registry".to_owned());
    }
    if let Some(stalled) = condition("Stalled").filter(|c| c["status"] == "True") {
        return (Phase::Stalled, message(stalled));
    }
    let ready = condition("Ready");
    // Kinds without one of their own say it with the condition.
    let observed = object["status"]["observedGeneration"].as_i64().or_else(|| ready?["observedGeneration"].as_i64());
    let current = observed == object["metadata"]["generation"].as_i64();
    let reconciling = condition("Reconciling").filter(|c| c["status"] == "True");
    match (ready, reconciling) {
        (Some(ready), _) if ready["status"] == "False" => {
            // A dependency or source that is not there yet is waited for, not failing.
            let waits =
                matches!(ready["reason"].as_str(), Some("DependencyNotReady" | "ArtifactFailed" | "SourceNotReady" | "SourceFetchFailed"));
            (if waits { Phase::Working } else { Phase::Failing }, message(ready))
        }
        (_, Some(reconciling)) => (Phase::Working, message(reconciling)),
        (Some(ready), None) if ready["status"] == "True" && current => (Phase::Ready, message(ready)),
        (Some(ready), None) => (Phase::Working, message(ready)),
        (None, None) => (Phase::Working, "waiting for its controller".to_owned()),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn view(objects: &[Value]) -> View {
        View::of(&objects.iter().map(|object| (Id::of(object), object.clone())).collect(), &BTreeMap::new())
    }

    fn kustomization(conditions: Value, applied: &str) -> Value {
        json!({
            "kind": "Kustomization", "metadata": {"name": "apps", "namespace": "flux-system", "generation": 1},
            "spec": {"sourceRef": {"kind": "GitRepository", "name": "repo"}},
            "status": {"observedGeneration": 1, "conditions": conditions, "lastAppliedRevision": applied},
        })
    }

    fn source(revision: &str) -> Value {
        json!({
            "kind": "GitRepository", "metadata": {"name": "repo", "namespace": "flux-system", "generation": 1}, "spec": {},
            "status": {"observedGeneration": 1, "artifact": {"revision": revision}, "conditions": [{"type": "Ready", "status": "True", "message": "stored"}]},
        })
    }

    #[test]
    fn ready_means_ready_at_the_revision_that_the_source_offers() {
        let ready = json!([{"type": "Ready", "status": "True", "message": "Applied revision: main@sha1:aa"}]);
        assert!(view(&[source("main@sha1:aa"), kustomization(ready.clone(), "main@sha1:aa")]).is_ready());
        let behind = view(&[source("main@sha1:bb"), kustomization(ready, "main@sha1:aa")]);
        assert!(!behind.is_ready());
        assert_eq!(behind.not_ready().next().unwrap().text, "revision main@sha1:bb follows");
        assert!(!view(&[]).is_ready(), "nothing is not ready");
    }

    #[test]
    fn failures_and_waits_are_told_apart() {
        let phase_of = |conditions| view(&[kustomization(conditions, "")]).rows[0].phase;
        assert_eq!(phase_of(json!([{"type": "Ready", "status": "False", "reason": "BuildFailed", "message": "x"}])), Phase::Failing);
        assert_eq!(phase_of(json!([{"type": "Ready", "status": "False", "reason": "DependencyNotReady", "message": "x"}])), Phase::Working);
        assert_eq!(phase_of(json!([{"type": "Stalled", "status": "True"}, {"type": "Ready", "status": "False"}])), Phase::Stalled);
        assert_eq!(phase_of(json!([])), Phase::Working);
    }

    #[test]
    fn a_generator_is_ready_when_its_condition_speaks_of_its_newest_spec() {
        let generator = |observed: i64| {
            let ready = json!({"type": "Ready", "status": "True", "message": "generated", "observedGeneration": observed});
            json!({"kind": "ArtifactGenerator", "metadata": {"name": "gen", "namespace": "apps", "generation": 2}, "spec": {}, "status": {"conditions": [ready]}})
        };
        assert!(view(&[generator(2)]).is_ready() && !view(&[generator(1)]).is_ready());
    }

    #[test]
    fn long_hashes_are_cut_and_short_ones_kept() {
        assert_eq!(short("main@sha1:0123456789abcdef"), "main@sha1:0123456789ab");
        assert_eq!(short("main@sha1:01"), "main@sha1:01");
    }
}
