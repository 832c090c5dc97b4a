//! What templates wrote, cut into documents and put in order: manifests and hooks.

use crate::{
    error::Error,
    metadata::stringly,
    skim::{self, Wanted},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// One document that a template wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The template's path with the charts' names.
    pub path: String,
    /// The line of the document in what the template wrote, from one.
    pub line: usize,
    pub content: String,
    pub head: Head,
}

/// The parts of a manifest that Helm looks at.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Head {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub annotations: BTreeMap<String, String>,
}

/// An object that is applied at a moment of a release's life.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub manifest: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    pub last_run: LastRun,
    #[serde(skip_serializing_if = "is_zero")]
    pub weight: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub delete_policies: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output_log_policies: Vec<String>,
    /// The line of the document in what the template wrote, from one; nothing that is stored.
    #[serde(skip)]
    pub line: usize,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// How a hook ran last.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LastRun {
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "crate::release::time")]
    pub started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "crate::release::time")]
    pub completed_at: Option<String>,
    pub phase: String,
}

impl Hook {
    pub fn is_test(&self) -> bool {
        self.events.iter().any(|event| event == "test")
    }
}

/// The order in which kinds are installed; kinds that are not here come after, by name.
const INSTALL_ORDER: &[&str] = &[
    "PriorityClass",
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// The order in which kinds are uninstalled.
const UNINSTALL_ORDER: &[&str] = &[
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "APIService",
    "Ingress",
    "IngressClass",
    "Service",
    "CronJob",
    "Job",
    "StatefulSet",
    "HorizontalPodAutoscaler",
    "Deployment",
    "ReplicaSet",
    "ReplicationController",
    "Pod",
    "DaemonSet",
    "RoleBindingList",
    "RoleBinding",
    "RoleList",
    "Role",
    "ClusterRoleBindingList",
    "ClusterRoleBinding",
    "ClusterRoleList",
    "ClusterRole",
    "CustomResourceDefinition",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "StorageClass",
    "ConfigMap",
    "SecretList",
    "Secret",
    "ServiceAccount",
    "PodDisruptionBudget",
    "PodSecurityPolicy",
    "LimitRange",
    "ResourceQuota",
    "NetworkPolicy",
    "Namespace",
    "PriorityClass",
];

/// A kind's place in an order: known kinds by their place, the others after them by name.
fn place<'k>(order: &[&str], kind: &'k str) -> (usize, &'k str) {
    match order.iter().position(|known| *known == kind) {
        Some(at) => (at, ""),
        None => (order.len(), kind),
    }
}

/// Orders manifests as they are installed; those of one kind stay as they are.
pub fn sort_for_install(manifests: &mut [Manifest]) {
    manifests.sort_by(|a, b| place(INSTALL_ORDER, &a.head.kind).cmp(&place(INSTALL_ORDER, &b.head.kind)));
}

/// Orders manifests as they are uninstalled.
pub fn sort_for_uninstall(manifests: &mut [Manifest]) {
    manifests.sort_by(|a, b| place(UNINSTALL_ORDER, &a.head.kind).cmp(&place(UNINSTALL_ORDER, &b.head.kind)));
}

/// Orders the hooks of one event as they run: by weight, then name.
pub fn sort_hooks_for_running(hooks: &mut [Hook]) {
    hooks.sort_by(|a, b| a.weight.cmp(&b.weight).then_with(|| a.name.cmp(&b.name)));
}

/// Cuts a text at lines that start with `---`, whatever follows on them. With each document the line it starts at.
pub fn split(text: &str) -> Vec<(usize, &str)> {
    let mut documents = Vec::new();
    // Lines are counted on from the last document.
    let (mut counted, mut line) = (0, 1);
    let mut push = |from: usize, to: usize| {
        let document = text[from..to].trim_start();
        if !document.is_empty() {
            let start = to - document.len();
            line += memchr::memchr_iter(b'\n', &text.as_bytes()[counted..start]).count();
            counted = start;
            documents.push((line, document));
        }
    };
    let first = text.len() - text.trim_start().len();
    let mut from = first;
    for at in memchr::memmem::find_iter(text.as_bytes(), b"---") {
        if at != first && (at < first || text.as_bytes()[at - 1] != b'\n') {
            continue;
        }
        push(from, at);
        let after = at + 3;
        from = after + (text[after..].len() - text[after..].trim_start_matches([' ', '\t']).len());
    }
    push(from, text.len());
    documents
}

const HOOK: &str = "helm.sh/hook";
const HOOK_WEIGHT: &str = "helm.sh/hook-weight";
const HOOK_DELETE: &str = "helm.sh/hook-delete-policy";
const HOOK_LOGS: &str = "helm.sh/hook-output-log-policy";
const EVENTS: &[&str] =
    &["pre-install", "post-install", "pre-delete", "post-delete", "pre-upgrade", "post-upgrade", "pre-rollback", "post-rollback", "test"];

/// Manifests and hooks a rendering may have.
const MAX_DOCUMENTS: usize = 100_000;

/// Sorts rendered files (path to text) into hooks and manifests, in install order. Post-renderers use it for what they made.
pub fn sort(files: BTreeMap<String, String>, warnings: &mut Vec<String>) -> Result<(Vec<Hook>, Vec<Manifest>), Error> {
    let mut hooks = Vec::new();
    let mut manifests = Vec::new();
    for (path, text) in files {
        let base = path.rsplit('/').next().unwrap_or(&path);
        if base.starts_with('_') || text.trim().is_empty() {
            continue;
        }
        for (line, document) in split_owned(text) {
            if hooks.len() + manifests.len() >= MAX_DOCUMENTS {
                return Err(Error::Manifest { path, why: format!("more than {MAX_DOCUMENTS} documents"), origin: None });
            }
            let head = match head(&document) {
                Ok(head) => head,
                Err(why) => return Err(Error::Manifest { path, why, origin: None }),
            };
            match head.annotations.get(HOOK) {
                None => manifests.push(Manifest { path: path.clone(), line, content: document, head }),
                Some(events) => match events_of(events) {
                    Some(events) => hooks.push(hook(head, events, &path, line, document)),
                    None => warnings.push(format!("skipping unknown hooks {events:?} in {path}")),
                },
            }
        }
    }
    hooks.sort_by(|a: &Hook, b| place(INSTALL_ORDER, &a.kind).cmp(&place(INSTALL_ORDER, &b.kind)));
    sort_for_install(&mut manifests);
    Ok((hooks, manifests))
}

/// The documents of a text; one that is alone in it keeps the memory of the text.
fn split_owned(mut text: String) -> Vec<(usize, String)> {
    match split(&text)[..] {
        [(line, only)] if text.ends_with(only) => {
            text.drain(..text.len() - only.len());
            vec![(line, text)]
        }
        ref documents => documents.iter().map(|(line, document)| (*line, (*document).to_owned())).collect(),
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(',').map(|word| word.trim().to_lowercase()).collect()
}

/// The events of a hook; `None` when one of them is unknown.
fn events_of(text: &str) -> Option<Vec<String>> {
    let known = |event: String| match event.as_str() {
        "test-success" => Some("test".to_owned()),
        known if EVENTS.contains(&known) => Some(event),
        _ => None,
    };
    words(text).into_iter().map(known).collect()
}

fn hook(head: Head, events: Vec<String>, path: &str, line: usize, document: String) -> Hook {
    let list = |key: &str| head.annotations.get(key).map(|text| words(text)).unwrap_or_default();
    Hook {
        path: path.to_owned(),
        manifest: document,
        events,
        last_run: LastRun::default(),
        weight: head.annotations.get(HOOK_WEIGHT).and_then(|weight| weight.parse().ok()).unwrap_or(0),
        delete_policies: list(HOOK_DELETE),
        output_log_policies: list(HOOK_LOGS),
        line,
        name: head.name,
        kind: head.kind,
    }
}

/// The entries of a manifest that make up its head.
const HEAD: &[Wanted] = &[
    Wanted { key: "apiVersion", within: None },
    Wanted { key: "kind", within: None },
    Wanted { key: "metadata", within: Some(&["name", "annotations"]) },
];

/// Reads the head of a manifest. The whole document must be YAML. The error is Helm's.
fn head(document: &str) -> Result<Head, String> {
    // Where the document is YAML at a glance, its head alone is read. Errors are told of the whole.
    let skimmed = skim::entries(document, HEAD);
    match skimmed.map(|entries| plain_head(&entries).map_or_else(|| whole_head(&entries), Ok)) {
        Some(Ok(head)) => Ok(head),
        _ => whole_head(document),
    }
}

/// The head in lines that are written as nearly everybody writes them: words without quotes that can be nothing but texts. `None` where a
/// look is not enough.
fn plain_head(entries: &str) -> Option<Head> {
    let harmless = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'/');
    let usual = |text: &str| text.len() > 5 && text.as_bytes()[0].is_ascii_alphabetic();
    let word = |text: &str| {
        let text = text.strip_prefix(' ')?;
        let version = matches!(text, "v1" | "Job" | "Pod" | "Role");
        (version || usual(text) && text.bytes().all(harmless)).then(|| text.to_owned())
    };
    // Quotes around what needs no escapes.
    let quoted = |text: &str| {
        let mark = text.chars().next().filter(|mark| matches!(mark, '"' | '\''))?;
        let inner = text.strip_prefix(mark)?.strip_suffix(mark)?;
        (!inner.contains([mark, '\\', '\t'])).then(|| inner.to_owned())
    };
    let mut head = Head::default();
    let (mut within, mut annotations) = (false, false);
    for line in entries.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(line) = line.strip_prefix("    ").filter(|_| annotations) {
            let (key, value) = line.split_once(": ")?;
            let plain = usual(key) && key.bytes().all(|c| harmless(c) || c == b'_');
            let key = if plain { key.to_owned() } else { quoted(key)? };
            let plain = usual(value) && value.bytes().all(|c| harmless(c) || c == b',');
            let value = if plain { value.to_owned() } else { quoted(value)? };
            head.annotations.insert(key, value);
            continue;
        }
        annotations = false;
        let (key, rest) = line.split_once(':')?;
        let place = match key {
            "metadata" if rest.is_empty() && !within => {
                within = true;
                continue;
            }
            "  annotations" if within && head.annotations.is_empty() && rest.is_empty() => {
                annotations = true;
                continue;
            }
            "apiVersion" => &mut head.api_version,
            "kind" => &mut head.kind,
            "  name" if within => &mut head.name,
            _ => return None,
        };
        if !std::mem::replace(place, word(rest)?).is_empty() {
            return None;
        }
    }
    Some(head)
}

fn whole_head(document: &str) -> Result<Head, String> {
    let value = yaml::to_json(document, yaml::Dialect::Sigs)
        .map_err(|error| format!("error converting YAML to JSON: {}", error.go_message(yaml::Dialect::Sigs)))?;
    let cannot = |value: &Value, place: &str| {
        let what = match value {
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            _ => "object",
        };
        format!("error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {what} into Go {place}")
    };
    let mut top = match value {
        Value::Null => return Ok(Head::default()),
        Value::Object(top) => top,
        other => return Err(cannot(&other, "value of type util.SimpleHead")),
    };
    let text = |map: &mut serde_json::Map<String, Value>, key: &str, place: &str| match map.remove(key) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(mut value) => {
            stringly(&mut value);
            match value {
                Value::String(text) => Ok(text),
                other => Err(cannot(&other, &format!("struct field {place} of type string"))),
            }
        }
    };
    let api_version = text(&mut top, "apiVersion", ".apiVersion")?;
    let kind = text(&mut top, "kind", ".kind")?;
    let mut metadata = match top.remove("metadata") {
        None | Some(Value::Null) => return Ok(Head { api_version, kind, ..Head::default() }),
        Some(Value::Object(metadata)) => metadata,
        Some(other) => {
            return Err(cannot(
                &other,
                "struct field .metadata of type struct { Name string \"json:\\\"name\\\"\"; Annotations map[string]string \"json:\\\"annotations\\\"\" }",
            ));
        }
    };
    let name = text(&mut metadata, "name", ".metadata.name")?;
    let mut annotations = BTreeMap::new();
    match metadata.remove("annotations") {
        None | Some(Value::Null) => {}
        Some(Value::Object(map)) => {
            for (key, mut value) in map {
                stringly(&mut value);
                match value {
                    Value::String(text) => drop(annotations.insert(key, text)),
                    Value::Null => drop(annotations.insert(key, String::new())),
                    other => return Err(cannot(&other, &format!("struct field .metadata.annotations.{key} of type string"))),
                }
            }
        }
        Some(other) => return Err(cannot(&other, "struct field .metadata.annotations of type map[string]string")),
    }
    Ok(Head { api_version, kind, name, annotations })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_in_plain_words_are_what_the_reader_says() {
        let plain = [
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a-name\n  annotations:\n    \"helm.sh/hook\": test-success\n    'helm.sh/hook-delete-policy': before-hook-creation,hook-succeeded\n    sidecar.istio.io/inject: \"false\"\n    empty-text: ''\n",
            "metadata:\n  annotations:\n    prometheus.io/scrape: \"true: # yes\"\n    prometheus.io/scrape: \"last\"\n  name: after-it\nkind: Deployment\n",
            "metadata:\n  annotations:\n  name: after-nothing\n",
        ];
        for text in plain {
            assert_eq!(plain_head(text).ok_or_else(|| "nothing".to_owned()), whole_head(text), "{text}");
        }
        let odd_values = ["true", "12345678", "'it''s'", "\"a\\nb\"", "words apart", "{}", "\"open", "\"a\" # b", "&anchor x", ""];
        for odd in odd_values {
            assert_eq!(plain_head(&format!("kind: Secret\nmetadata:\n  annotations:\n    a.b/c-d: {odd}\n")), None, "{odd}");
        }
        for odd in ["yes", "null", "\"a\\n\"", "? complex", "- listed", "   deeper"] {
            assert_eq!(plain_head(&format!("metadata:\n  annotations:\n    {odd}: \"x\"\n")), None, "{odd}");
        }
    }

    #[test]
    fn texts_are_cut_at_dashes_wherever_a_line_starts_with_them() {
        let text = "\n\n---\n# c\na: 1\n---apiVersion: v1\n--- # x\n\n---\n  \nb: 2\n";
        assert_eq!(split(text), [(4, "# c\na: 1\n"), (6, "apiVersion: v1\n"), (7, "# x\n\n"), (11, "b: 2\n")]);
        assert_eq!(split("x: |\n  ---\n"), [(1, "x: |\n  ---\n")]);
    }

    fn sorted(files: &[(&str, &str)]) -> (Vec<Hook>, Vec<Manifest>) {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        sort(files, &mut Vec::new()).unwrap()
    }

    #[test]
    fn kinds_are_ordered_and_hooks_set_apart() {
        let (hooks, manifests) = sorted(&[
            ("c/a.yaml", "kind: Widget\n---\nkind: Deployment\n---\nkind: Namespace"),
            (
                "c/b.yaml",
                "kind: Alpha\n---\nkind: Job\nmetadata:\n  name: j\n  annotations: {helm.sh/hook: 'Pre-Install, test-success', helm.sh/hook-weight: '-5', other: 1}",
            ),
            ("c/c.yaml", "kind: Pod\nmetadata: {annotations: {helm.sh/hook: nonsense}}"),
            ("c/_d.yaml", "not: [yaml"),
        ]);
        let kinds: Vec<&str> = manifests.iter().map(|m| m.head.kind.as_str()).collect();
        assert_eq!(kinds, ["Namespace", "Deployment", "Alpha", "Widget"]);
        assert_eq!((hooks.len(), hooks[0].weight, hooks[0].events.join(",").as_str()), (1, -5, "pre-install,test"));
    }

    #[test]
    fn a_head_in_plain_words_is_what_the_reader_finds() {
        let plain = "# c\napiVersion: apps/v1\nkind: Deployment\n\nmetadata:\n  name: rel-web.1\n";
        assert_eq!(plain_head(plain), Some(whole_head(plain).unwrap()));
        assert_eq!(plain_head("kind: Secret\n"), Some(whole_head("kind: Secret\n").unwrap()));
        let other = [
            "kind: \"Secret\"",
            "kind: false",
            "kind: Secret # c",
            "kind: 1234567",
            "metadata:\n  name: rel-web\n  annotations: {}",
            "metadata: {name: rel-web}",
            "metadata:\n    name: rel-web",
            "name: rel-web",
            "kind: Secret\nkind: Service",
            "kind: Secret\n  Service",
            "metadata:\n  name: rel-web\nmetadata:\n  name: rel-api",
        ];
        other.iter().for_each(|text| assert_eq!(plain_head(text), None, "{text:?}"));
    }

    #[test]
    fn what_is_no_manifest_names_its_file() {
        let files = BTreeMap::from([("c/x.json".to_owned(), "[1]".to_owned())]);
        let error = sort(files, &mut Vec::new()).unwrap_err().to_string();
        assert_eq!(
            error,
            "YAML parse error on c/x.json: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type util.SimpleHead"
        );
    }
}
