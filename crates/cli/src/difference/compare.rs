use super::{Detail, Difference, Path};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap, HashSet};
use yaml::sort_keys;

/// Fields that tell the entries of a list apart, the better ones first.
const IDENTIFIERS: &[&str] = &["name", "key", "id", "manager"];
/// Lists of this many entries or fewer may have a distinct field by chance.
const GUESS_MIN: usize = 3;

/// What differs, in the order of keys; a map's or list's own changes come before those inside of it.
pub fn compare(from: &Value, to: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    values(&Path::default(), from, to, &mut found);
    found
}

fn values(path: &Path, from: &Value, to: &Value, found: &mut Vec<Difference>) {
    match (from, to) {
        (Value::Object(from), Value::Object(to)) => maps(path, from, to, found),
        (Value::Array(from), Value::Array(to)) => lists(path, from, to, found),
        _ if from != to => {
            found.push(Difference { path: path.clone(), details: vec![Detail::Changed { from: from.clone(), to: to.clone() }] });
        }
        _ => {}
    }
}

fn sorted_keys(map: &Map<String, Value>) -> Vec<&String> {
    let mut keys: Vec<&String> = map.keys().collect();
    sort_keys(&mut keys, |key| key);
    keys
}

fn maps(path: &Path, from: &Map<String, Value>, to: &Map<String, Value>, found: &mut Vec<Difference>) {
    let only_in = |here: &Map<String, Value>, there: &Map<String, Value>| -> Map<String, Value> {
        sorted_keys(here).into_iter().filter(|key| !there.contains_key(*key)).map(|key| (key.clone(), here[key].clone())).collect()
    };
    let (removed, added) = (only_in(from, to), only_in(to, from));
    let mut details = Vec::new();
    if !removed.is_empty() {
        details.push(Detail::Removed(Value::Object(removed)));
    }
    if !added.is_empty() {
        details.push(Detail::Added(Value::Object(added)));
    }
    push(path, details, found);
    for key in sorted_keys(from) {
        if let Some(new) = to.get(key) {
            values(&path.then(key), &from[key], new, found);
        }
    }
}

fn push(path: &Path, details: Vec<Detail>, found: &mut Vec<Difference>) {
    if !details.is_empty() {
        found.push(Difference { path: path.clone(), details });
    }
}

fn lists(path: &Path, from: &[Value], to: &[Value], found: &mut Vec<Difference>) {
    if from.is_empty() && to.is_empty() {
        return;
    }
    let name: Option<Box<dyn Fn(&Value) -> String>> = if let Some(field) = known_identifier(from, to) {
        Some(Box::new(move |entry| scalar_text(entry.get(field).unwrap_or(&Value::Null))))
    } else if let Some(field) = guessed_identifier(from, to) {
        Some(Box::new(move |entry| scalar_text(entry.get(&field).unwrap_or(&Value::Null))))
    } else if from.iter().chain(to).all(|entry| resource_name(entry).is_some()) {
        Some(Box::new(|entry| resource_name(entry).unwrap_or_default()))
    } else {
        None
    };
    match name {
        Some(name) => named_lists(path, from, to, &*name, found),
        None => plain_lists(path, from, to, found),
    }
}

/// A well-known field that every entry has, each with a value of its own.
fn known_identifier(from: &[Value], to: &[Value]) -> Option<&'static str> {
    let tells_apart = |list: &[Value], field: &str| {
        let values: HashSet<String> = list.iter().filter_map(|entry| entry.get(field)).map(scalar_text).collect();
        !values.is_empty() && values.len() == list.len()
    };
    IDENTIFIERS.iter().copied().find(|field| tells_apart(from, field) && tells_apart(to, field))
}

/// Any field of texts that tells all entries apart, when there are enough of them.
fn guessed_identifier(from: &[Value], to: &[Value]) -> Option<String> {
    fn counts(list: &[Value]) -> BTreeMap<&str, HashSet<&str>> {
        let mut counts: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
        for entry in list {
            let Some(map) = entry.as_object() else { return BTreeMap::new() };
            for (key, value) in map {
                if let Some(text) = value.as_str() {
                    counts.entry(key).or_default().insert(text);
                }
            }
        }
        counts
    }
    let (from_counts, to_counts) = (counts(from), counts(to));
    let fits = |(key, values): &(&&str, &HashSet<&str>)| {
        values.len() == from.len() && values.len() > GUESS_MIN && to_counts.get(*key).is_some_and(|values| values.len() == to.len())
    };
    from_counts.iter().find(fits).map(|(key, _)| (*key).to_owned())
}

/// `apiVersion/kind/namespace/name` of a Kubernetes object.
fn resource_name(entry: &Value) -> Option<String> {
    let text = |path: &[&str]| path.iter().try_fold(entry, |at, key| at.get(*key)).map(scalar_text);
    let mut parts = vec![text(&["apiVersion"])?, text(&["kind"])?];
    parts.extend(text(&["metadata", "namespace"]));
    parts.push(text(&["metadata", "name"])?);
    Some(parts.join("/"))
}

fn named_lists(path: &Path, from: &[Value], to: &[Value], name: &dyn Fn(&Value) -> String, found: &mut Vec<Difference>) {
    fn by_name<'a>(list: &'a [Value], name: &dyn Fn(&Value) -> String) -> HashMap<String, &'a Value> {
        list.iter().rev().map(|entry| (name(entry), entry)).collect()
    }
    let (in_from, in_to) = (by_name(from, name), by_name(to, name));
    let split = |list: &[Value], there: &HashMap<String, &Value>| -> (Vec<String>, Vec<Value>) {
        let (mut common, mut only) = (Vec::new(), Vec::new());
        for entry in list {
            let name = name(entry);
            if there.contains_key(&name) {
                common.push(name);
            } else {
                only.push(entry.clone());
            }
        }
        (common, only)
    };
    let (from_names, removed) = split(from, &in_to);
    let (to_names, added) = split(to, &in_from);
    let texts = |names: &[String]| names.iter().map(|name| Value::from(name.as_str())).collect();
    let order = (from_names != to_names).then(|| (texts(&from_names), texts(&to_names)));
    list_details(path, order, removed, added, found);
    for name in &from_names {
        if let (Some(from), Some(to)) = (in_from.get(name), in_to.get(name)) {
            values(&path.then(name), from, to, found);
        }
    }
}

fn plain_lists(path: &Path, from: &[Value], to: &[Value], found: &mut Vec<Difference>) {
    if let ([from], [to]) = (from, to) {
        return values(&path.then("0"), from, to, found);
    }
    let count = |list: &[Value]| {
        let mut counts: HashMap<String, usize> = HashMap::new();
        list.iter().for_each(|entry| *counts.entry(fingerprint(entry)).or_default() += 1);
        counts
    };
    let (from_counts, to_counts) = (count(from), count(to));
    let split = |list: &[Value], here: &HashMap<String, usize>, there: &HashMap<String, usize>| -> (Vec<Value>, Vec<Value>) {
        let (mut common, mut only) = (Vec::new(), Vec::new());
        let mut surplus_told = HashSet::new();
        for entry in list {
            let print = fingerprint(entry);
            let (own, other) = (here.get(&print).copied().unwrap_or(0), there.get(&print).copied().unwrap_or(0));
            if other > 0 {
                common.push(entry.clone());
            }
            if other == 0 {
                only.push(entry.clone());
            } else if own > other && surplus_told.insert(print) {
                only.extend(std::iter::repeat_n(entry.clone(), own - other));
            }
        }
        (common, only)
    };
    let (from_common, removed) = split(from, &from_counts, &to_counts);
    let (to_common, added) = split(to, &to_counts, &from_counts);
    let same_order = from_common.iter().map(fingerprint).eq(to_common.iter().map(fingerprint));
    let order = (from_common.len() == to_common.len() && !same_order).then_some((from_common, to_common));
    list_details(path, order, removed, added, found);
}

fn list_details(path: &Path, order: Option<(Vec<Value>, Vec<Value>)>, removed: Vec<Value>, added: Vec<Value>, found: &mut Vec<Difference>) {
    let mut details = Vec::new();
    if let Some((from, to)) = order {
        details.push(Detail::Reordered { from, to });
    }
    if !removed.is_empty() {
        details.push(Detail::Removed(Value::Array(removed)));
    }
    if !added.is_empty() {
        details.push(Detail::Added(Value::Array(added)));
    }
    push(path, details, found);
}

/// The text of a scalar; empty for maps and lists.
pub fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => String::new(),
    }
}

/// Equal for entries that count as the same: scalars by type and text, others by their texts.
fn fingerprint(value: &Value) -> String {
    fn write(value: &Value, out: &mut String) {
        match value {
            Value::Object(map) => {
                out.push('{');
                for key in sorted_keys(map) {
                    out.push_str(&format!("{key:?}:"));
                    write(&map[key], out);
                    out.push(',');
                }
                out.push('}');
            }
            Value::Array(items) => {
                out.push('[');
                items.iter().for_each(|item| {
                    write(item, out);
                    out.push(',');
                });
                out.push(']');
            }
            scalar => out.push_str(&format!("{:?}", scalar_text(scalar))),
        }
    }
    match value {
        Value::Object(_) | Value::Array(_) => {
            let mut out = String::new();
            write(value, &mut out);
            out
        }
        scalar => scalar.to_string(),
    }
}
