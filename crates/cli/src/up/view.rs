//! What a person sees of a running reconciliation: a pure picture, source → Kustomization or HelmRelease → objects.

use health::Status;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// `Kind/namespace/name` of an object.
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
        let Self { kind, namespace, name } = self;
        if namespace.is_empty() { write!(out, "{kind}/{name}") } else { write!(out, "{kind}/{namespace}/{name}") }
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

impl Phase {
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Ready => "✔",
            Self::Suspended => "◌",
            Self::Working => "◎",
            Self::Failing | Self::Stalled => "✗",
        }
    }
}

/// One line of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub id: Id,
    pub phase: Phase,
    pub text: String,
    /// How far it is from the root of its tree.
    pub depth: usize,
    /// Whether it is one of the objects that the reconciled object above it has applied.
    pub applied: bool,
}

/// An object that a Kustomization or HelmRelease has applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub id: Id,
    pub status: Status,
    pub text: String,
}

/// The whole picture at one moment: trees of sources, of what is built from them, and of the objects that those apply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// In the order of the trees: a row comes before everything below it.
    pub rows: Vec<Row>,
}

impl View {
    /// Pictures the reconciled objects; `applied` holds what is known of the objects that they have applied.
    pub fn of(objects: &BTreeMap<Id, Value>, applied: &BTreeMap<Id, Vec<Applied>>) -> Self {
        let mut below: BTreeMap<Option<&Id>, Vec<&Id>> = BTreeMap::new();
        for (id, object) in objects {
            below.entry(parent(id, object, objects)).or_default().push(id);
        }
        for children in below.values_mut() {
            // Sources come first: what they fetch is what the others build.
            children.sort_by_key(|id| (place(id), *id));
        }
        let mut walk = Walk { objects, applied, below, seen: BTreeSet::new(), rows: Vec::new() };
        for root in walk.below.get(&None).cloned().unwrap_or_default() {
            walk.descend(root, 0);
        }
        // Objects that own each other in a circle hang from no root.
        for id in objects.keys() {
            walk.descend(id, 0);
        }
        Self { rows: walk.rows }
    }

    /// Everything is ready (suspended objects are not waited for), and there is something.
    pub fn is_ready(&self) -> bool {
        !self.rows.is_empty() && self.not_ready().next().is_none()
    }

    /// The rows that keep the whole from being ready.
    pub fn not_ready(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.applied && !row.is_done())
    }

    /// The rows with the lines that lead to each, as `tree` draws them.
    pub fn lines(&self) -> Vec<(String, &Row)> {
        // Whether another row of the same depth follows below the same parent, from the last row up.
        let mut more: Vec<bool> = Vec::new();
        let mut lines = Vec::with_capacity(self.rows.len());
        for row in self.rows.iter().rev() {
            more.resize(row.depth + 1, false);
            let mut guide: String = more.iter().take(row.depth).skip(1).map(|more| if *more { "│   " } else { "    " }).collect();
            if row.depth > 0 {
                guide.push_str(if more[row.depth] { "├── " } else { "└── " });
            }
            more[row.depth] = true;
            lines.push((guide, row));
        }
        lines.reverse();
        lines
    }

    /// The same without the branches in which everything is ready; their head says how many rows it stands for.
    pub fn folded(&self) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        let mut at = 0;
        while let Some(row) = self.rows.get(at) {
            let branch = self.rows[at + 1..].iter().take_while(|below| below.depth > row.depth).count();
            let mut row = row.clone();
            if branch > 0 && self.rows[at..=at + branch].iter().all(Row::is_done) {
                row.text = format!("{} (and {branch} below)", row.text);
                at += branch;
            }
            rows.push(row);
            at += 1;
        }
        Self { rows }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}  {}", self.phase.symbol(), self.id, self.text)
    }
}

impl Row {
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Suspended)
    }
}

/// Goes down the trees, once over each object.
struct Walk<'a> {
    objects: &'a BTreeMap<Id, Value>,
    applied: &'a BTreeMap<Id, Vec<Applied>>,
    below: BTreeMap<Option<&'a Id>, Vec<&'a Id>>,
    seen: BTreeSet<&'a Id>,
    rows: Vec<Row>,
}

impl<'a> Walk<'a> {
    fn descend(&mut self, id: &'a Id, depth: usize) {
        let Some(object) = self.objects.get(id).filter(|_| self.seen.insert(id)) else { return };
        let (phase, text) = of_revision(object, self.objects);
        self.rows.push(Row { id: id.clone(), phase, text, depth, applied: false });
        for object in self.applied.get(id).into_iter().flatten() {
            // What has a row of its own is not an object among others.
            if !self.objects.contains_key(&object.id) {
                let phase = match object.status {
                    Status::Current => Phase::Ready,
                    Status::Failed => Phase::Failing,
                    _ => Phase::Working,
                };
                let (id, text) = (object.id.clone(), object.text.clone());
                self.rows.push(Row { id, phase, text, depth: depth + 1, applied: true });
            }
        }
        for child in self.below.get(&Some(id)).cloned().unwrap_or_default() {
            self.descend(child, depth + 1);
        }
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

/// What an object hangs from: who applied it, else who made it, else what it is built from. Only what there is a row for.
fn parent<'a>(id: &Id, object: &Value, objects: &'a BTreeMap<Id, Value>) -> Option<&'a Id> {
    let there = |wanted: Id| objects.get_key_value(&wanted).filter(|_| wanted != *id);
    let label = |kind: &str, name: &str, namespace: &str| {
        let labels = &object["metadata"]["labels"];
        let text = |key: &str| labels[key].as_str().map(str::to_owned);
        there(Id { kind: kind.to_owned(), namespace: text(namespace)?, name: text(name)? })
    };
    let owner = label("Kustomization", api::meta::KUSTOMIZE_NAME_LABEL, api::meta::KUSTOMIZE_NAMESPACE_LABEL)
        .or_else(|| label("HelmRelease", api::meta::HELM_NAME_LABEL, api::meta::HELM_NAMESPACE_LABEL));
    // A source that its own Kustomization applies, as after a bootstrap, is the root all the same.
    if let Some((owner, _)) = owner.filter(|(_, owner)| source_of(owner).as_ref() != Some(id)) {
        return Some(owner);
    }
    there(source_of(object)?).map(|(source, _)| source)
}

/// The source that an object is built from.
fn source_of(object: &Value) -> Option<Id> {
    let spec = &object["spec"];
    let candidates = [&spec["sourceRef"], &spec["chartRef"], &spec["chart"]["spec"]["sourceRef"], &spec["sources"][0]];
    let reference = candidates.into_iter().find_map(Value::as_object)?;
    let text = |key: &str| reference.get(key).and_then(Value::as_str).map(str::to_owned);
    let namespace = text("namespace").or_else(|| object["metadata"]["namespace"].as_str().map(str::to_owned))?;
    Some(Id { kind: text("kind")?, namespace, name: text("name")? })
}

/// An object is as far as its conditions say, but not before it has applied what its source offers.
fn of_revision(object: &Value, objects: &BTreeMap<Id, Value>) -> (Phase, String) {
    let (phase, text) = phase(object);
    if let (Phase::Ready, Some(source)) = (phase, source_of(object).and_then(|source| objects.get(&source)))
        && let (Some(wanted), Some(applied)) = (artifact_revision(source), object["status"]["lastAppliedRevision"].as_str())
        && wanted != applied
    {
        return (Phase::Working, format!("revision {} follows", short(wanted)));
    }
    (phase, text)
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

    fn named(kind: &str, name: &str, more: Value) -> Value {
        let mut object = json!({"kind": kind, "metadata": {"name": name, "namespace": "n", "generation": 1}, "spec": {}, "status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True", "message": "well"}]}});
        for (key, value) in more.as_object().unwrap() {
            match key.as_str() {
                "labels" => object["metadata"]["labels"] = value.clone(),
                _ => object["spec"][key] = value.clone(),
            }
        }
        object
    }

    /// A repository that holds its own source, as after a bootstrap, a release, and the chart made for it.
    fn platform() -> BTreeMap<Id, Value> {
        let by = |name: &str| json!({"kustomize.toolkit.fluxcd.io/name": name, "kustomize.toolkit.fluxcd.io/namespace": "n"});
        let of = |name: &str| json!({"helm.toolkit.fluxcd.io/name": name, "helm.toolkit.fluxcd.io/namespace": "n"});
        let repo = json!({"kind": "GitRepository", "name": "repo"});
        let objects = [
            named("GitRepository", "repo", json!({"labels": by("repo")})),
            named("Kustomization", "repo", json!({"labels": by("repo"), "sourceRef": repo})),
            named("Kustomization", "apps", json!({"labels": by("repo"), "sourceRef": repo})),
            named("HelmRelease", "web", json!({"labels": by("apps"), "chart": {"spec": {"sourceRef": repo}}})),
            named("HelmChart", "n-web", json!({"labels": of("web"), "sourceRef": repo})),
            named("ArtifactGenerator", "cut", json!({"sources": [{"kind": "GitRepository", "name": "repo"}]})),
            named("ExternalArtifact", "part", json!({"sourceRef": {"kind": "ArtifactGenerator", "name": "cut"}})),
        ];
        objects.into_iter().map(|object| (Id::of(&object), object)).collect()
    }

    #[test]
    fn sources_carry_what_is_built_from_them_and_that_what_it_has_applied() {
        let objects = platform();
        let deployment = Id { kind: "Deployment".into(), namespace: "n".into(), name: "web".into() };
        let release = Id { kind: "HelmRelease".into(), namespace: "n".into(), name: "web".into() };
        let applied = [(release, vec![Applied { id: deployment, status: Status::InProgress, text: "0 of 1".into() }])].into();
        let view = View::of(&objects, &applied);
        let drawn: Vec<String> = view.lines().iter().map(|(guide, row)| format!("{guide}{row}")).collect();
        assert_eq!(
            drawn,
            [
                "✔ GitRepository/n/repo  well",
                "├── ✔ ArtifactGenerator/n/cut  well",
                "│   └── ✔ ExternalArtifact/n/part  well",
                "└── ✔ Kustomization/n/repo  well",
                "    └── ✔ Kustomization/n/apps  well",
                "        └── ✔ HelmRelease/n/web  well",
                "            ├── ◎ Deployment/n/web  0 of 1",
                "            └── ✔ HelmChart/n/n-web  well",
            ]
        );
        // An object that its owner did not wait for keeps nothing from being ready.
        assert!(view.is_ready());
    }

    #[test]
    fn branches_in_which_everything_is_ready_fold_into_their_head() {
        let mut objects = platform();
        let broken = Id { kind: "ArtifactGenerator".into(), namespace: "n".into(), name: "cut".into() };
        objects.get_mut(&broken).unwrap()["status"]["conditions"][0]["status"] = "False".into();
        let drawn: Vec<String> = View::of(&objects, &BTreeMap::new()).folded().rows.iter().map(ToString::to_string).collect();
        assert_eq!(
            drawn,
            [
                "✔ GitRepository/n/repo  well",
                "✗ ArtifactGenerator/n/cut  well",
                "✔ ExternalArtifact/n/part  well",
                "✔ Kustomization/n/repo  well (and 3 below)",
            ]
        );
    }

    #[test]
    fn objects_that_own_each_other_are_all_shown() {
        let by = |name: &str| json!({"labels": {"kustomize.toolkit.fluxcd.io/name": name, "kustomize.toolkit.fluxcd.io/namespace": "n"}});
        let view = view(&[named("Kustomization", "a", by("b")), named("Kustomization", "b", by("a"))]);
        assert_eq!(view.rows.iter().map(|row| row.depth).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn long_hashes_are_cut_and_short_ones_kept() {
        assert_eq!(short("main@sha1:0123456789abcdef"), "main@sha1:0123456789ab");
        assert_eq!(short("main@sha1:01"), "main@sha1:01");
    }
}
