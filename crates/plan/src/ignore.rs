//! `spec.ignore`: fields of applied objects that are left to others.

use crate::managers;
use object::Object;
use regex::Regex;
use serde_json::Value;

/// Which objects a rule is for; empty parts match all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
    pub label_selector: String,
    pub annotation_selector: String,
}

/// Paths of the objects that a target matches.
#[derive(Debug)]
pub struct Rule {
    parts: [Option<Regex>; 5],
    labels: Vec<Requirement>,
    annotations: Vec<Requirement>,
    paths: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("ignore rule: invalid pattern {0:?}")]
    Pattern(String),
    #[error("ignore rule: invalid selector {0:?}")]
    Selector(String),
    #[error("ignore rule: invalid path {0:?}: a JSON pointer begins with a slash")]
    Path(String),
}

impl Rule {
    pub fn new(target: &Target, paths: &[String]) -> Result<Self, Error> {
        let pattern = |text: &String| match text.as_str() {
            "" => Ok(None),
            text => Regex::new(&format!("^(?:{text})$")).map(Some).map_err(|_| Error::Pattern(text.to_owned())),
        };
        if let Some(bad) = paths.iter().find(|path| !path.starts_with('/')) {
            return Err(Error::Path(bad.clone()));
        }
        Ok(Self {
            parts: [
                pattern(&target.group)?,
                pattern(&target.version)?,
                pattern(&target.kind)?,
                pattern(&target.namespace)?,
                pattern(&target.name)?,
            ],
            labels: selector(&target.label_selector)?,
            annotations: selector(&target.annotation_selector)?,
            paths: paths.to_vec(),
        })
    }

    fn matches(&self, object: &Object) -> bool {
        let gvk = object.gvk();
        let values = [gvk.group.as_str(), gvk.version.as_str(), gvk.kind.as_str(), object.namespace(), object.name()];
        let parts = self.parts.iter().zip(values).all(|(pattern, value)| pattern.as_ref().is_none_or(|p| p.is_match(value)));
        parts
            && self.labels.iter().all(|r| r.holds(object.label(&r.key)))
            && self.annotations.iter().all(|r| r.holds(object.annotation(&r.key)))
    }
}

/// The paths to leave alone in `object`.
pub fn paths<'a>(rules: &'a [Rule], object: &Object) -> Vec<&'a str> {
    rules.iter().filter(|rule| rule.matches(object)).flat_map(|rule| rule.paths.iter().map(String::as_str)).collect()
}

/// One term of a label selector.
#[derive(Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, PartialEq, Eq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        match &self.test {
            Test::In(list) => value.is_some_and(|value| list.iter().any(|one| one == value)),
            Test::NotIn(list) => value.is_none_or(|value| list.iter().all(|one| one != value)),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
        }
    }
}

/// `a=b,c!=d,e,!f,g in (h,i),j notin (k)`.
fn selector(text: &str) -> Result<Vec<Requirement>, Error> {
    let bad = || Error::Selector(text.to_owned());
    let mut terms = Vec::new();
    let (mut depth, mut start) = (0usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or_else(bad)?,
            ',' if depth == 0 => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms.into_iter().map(str::trim).filter(|term| !term.is_empty()).map(|term| requirement(term).ok_or_else(bad)).collect()
}

fn requirement(term: &str) -> Option<Requirement> {
    let make = |key: &str, test| (!key.trim().is_empty()).then(|| Requirement { key: key.trim().to_owned(), test });
    let list = |text: &str| {
        let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some(inner.split(',').map(|value| value.trim().to_owned()).collect::<Vec<_>>())
    };
    if let Some((key, values)) = term.split_once(" notin ") {
        return make(key, Test::NotIn(list(values)?));
    }
    if let Some((key, values)) = term.split_once(" in ") {
        return make(key, Test::In(list(values)?));
    }
    if let Some((key, value)) = term.split_once("!=") {
        return make(key, Test::NotIn(vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return make(key, Test::In(vec![value.trim().to_owned()]));
    }
    match term.strip_prefix('!') {
        Some(key) => make(key, Test::Absent),
        None => make(term, Test::Exists),
    }
}

/// Takes a path out of a value.
pub fn remove(value: &mut Value, pointer: &str) -> Option<Value> {
    let (parent, last) = pointer.rsplit_once('/')?;
    let key = last.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(parent)? {
        Value::Object(map) => map.shift_remove(&key),
        Value::Array(list) => {
            let index = key.parse::<usize>().ok().filter(|index| *index < list.len())?;
            Some(list.remove(index))
        }
        _ => None,
    }
}

/// What is sent for an object that exists: an ignored path is dropped where another manager applies it, and keeps its live value otherwise.
pub fn payload(desired: &Object, live: &Object, paths: &[&str]) -> Object {
    let live_value = Value::Object(live.as_map().clone());
    let mut sent = desired.clone().into_value();
    for path in paths.iter().rev() {
        if sent.pointer(path).is_none() {
            continue;
        }
        match live_value.pointer(path) {
            Some(value) if !applied_by_another(live, path) => {
                if let Some(slot) = sent.pointer_mut(path) {
                    *slot = value.clone();
                }
            }
            _ => {
                remove(&mut sent, path);
            }
        }
    }
    Object::new(sent).unwrap_or_else(|_| desired.clone())
}

fn applied_by_another(live: &Object, pointer: &str) -> bool {
    managers::entries(live).iter().any(|entry| {
        !managers::is_of(entry, crate::FIELD_MANAGER)
            && entry.get("operation").and_then(Value::as_str) == Some("Apply")
            && entry.get("fieldsV1").is_some_and(|fields| owns(fields, live, pointer))
    })
}

/// Whether a set of fields has the path or something under it; list elements are found by their keys.
fn owns(fields: &Value, live: &Object, pointer: &str) -> bool {
    let live = Value::Object(live.as_map().clone());
    let (mut fields, mut at) = (fields, Some(&live));
    for part in pointer.split('/').skip(1) {
        let key = part.replace("~1", "/").replace("~0", "~");
        let next = match at {
            Some(Value::Array(list)) => {
                let element = key.parse::<usize>().ok().and_then(|index| list.get(index));
                at = element;
                element.and_then(|element| crate::drift::element_fields(fields, element))
            }
            Some(value) => {
                at = value.get(&key);
                fields.get(format!("f:{key}"))
            }
            None => None,
        };
        match next {
            Some(next) => fields = next,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(managed: Value) -> Object {
        Object::new(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "n", "labels": {"app": "web"}, "managedFields": managed},
            "spec": {"replicas": 5, "paused": true},
        }))
        .unwrap()
    }

    #[test]
    fn targets_match_whole_words() {
        let object = deployment(json!([]));
        let matches = |target: Target| !paths(&[Rule::new(&target, &["/spec/replicas".to_owned()]).unwrap()], &object).is_empty();
        assert!(matches(Target::default()));
        assert!(matches(Target { kind: "Deploy.*".into(), ..Default::default() }));
        assert!(!matches(Target { kind: "Deploy".into(), ..Default::default() }));
        assert!(matches(Target { label_selector: "app in (web, api),!x".into(), ..Default::default() }));
        assert!(!matches(Target { label_selector: "app!=web".into(), ..Default::default() }));
        assert!(Rule::new(&Target { name: "(".into(), ..Default::default() }, &[]).is_err());
        assert!(Rule::new(&Target::default(), &["spec".to_owned()]).is_err());
    }

    #[test]
    fn an_ignored_field_keeps_its_live_value_or_is_left_to_its_manager() {
        let mut desired = deployment(json!([]));
        desired.as_map_mut()["spec"]["replicas"] = json!(1);
        let sent = payload(&desired, &deployment(json!([])), &["/spec/replicas"]);
        assert_eq!(sent.field(&["spec", "replicas"]), Some(&json!(5)));
        let scaler = json!([{"manager": "scaler", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
        let sent = payload(&desired, &deployment(scaler), &["/spec/replicas"]);
        assert_eq!(sent.field(&["spec", "replicas"]), None);
        assert_eq!(sent.field(&["spec", "paused"]), Some(&json!(true)));
    }
}
