//! How much work it is to check values against a schema, found before it is done: the validator itself cannot be stopped.
//!
//! A schema may refer to itself and to its parts. Each part that refers twice to the next doubles the work; a few dozen of them are a short
//! text and take years. Counting is quick, since a part and a value that meet again cost what they cost before.

use serde_json::{Map, Value};
use std::collections::HashMap;

/// Parts of a schema that are held against parts of the values, words of lists of allowed values included. A second or two.
const MOST: u64 = 20_000_000;
/// Different pairs of a part and a value.
const MOST_PAIRS: usize = 2_000_000;
/// Parts inside each other or behind each other's references: the validator's recursion.
const DEEPEST: usize = 100;
/// Parts with a name of their own.
const MOST_NAMES: usize = 1_000;
/// Parts of a schema: the validator compares each with all others.
const MOST_PARTS: usize = 20_000;
/// Regular expressions in a schema, and the memory that one may take. Each is compiled.
const MOST_PATTERNS: usize = 5_000;
const LARGEST_PATTERN: usize = 2 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("checking the values against the schema takes more than {MOST} steps")]
    Steps,
    #[error("parts of the schema lead to each other more than {DEEPEST} levels deep")]
    Depth,
    #[error("the schema has more than {MOST_NAMES} parts with a name")]
    Names,
    #[error("the schema has more than {MOST_PARTS} parts")]
    Parts,
    #[error("the schema has more than {MOST_PATTERNS} regular expressions")]
    Patterns,
    #[error("a regular expression of the schema is too large")]
    Pattern,
}

/// Looks at what the schema brings, whatever the values are.
pub(crate) fn check_patterns(schema: &Value) -> Result<(), Error> {
    let mut patterns = Vec::new();
    collect(schema, &mut |map| {
        patterns.extend(map.get("pattern").and_then(Value::as_str));
        patterns.extend(map.get("patternProperties").and_then(Value::as_object).into_iter().flatten().map(|(pattern, _)| pattern.as_str()));
    });
    patterns.sort_unstable();
    patterns.dedup();
    if patterns.len() > MOST_PATTERNS {
        return Err(Error::Patterns);
    }
    let too_large = |pattern: &&str| {
        let built = regex::RegexBuilder::new(pattern).size_limit(LARGEST_PATTERN).build();
        matches!(built, Err(regex::Error::CompiledTooBig(_)))
    };
    if patterns.iter().any(too_large) { Err(Error::Pattern) } else { Ok(()) }
}

/// Whether checking is worth its time.
pub(crate) fn check(schema: &Value, values: &Value) -> Result<(), Error> {
    let (mut named, mut parts, mut refers) = (Vec::new(), 0, false);
    collect(schema, &mut |map| {
        parts += 1;
        refers |= ["$ref", "$dynamicRef", "$recursiveRef"].iter().any(|key| map.contains_key(*key));
        if ["$id", "id", "$anchor", "$dynamicAnchor"].iter().any(|key| map.get(*key).is_some_and(Value::is_string)) {
            named.push(map);
        }
    });
    if named.len() > MOST_NAMES {
        return Err(Error::Names);
    }
    if parts > MOST_PARTS {
        return Err(Error::Parts);
    }
    // A small schema without references has no way to be much work.
    if !refers && size(schema).saturating_mul(size(values)) <= MOST as usize {
        return Ok(());
    }
    let mut meter = Meter { root: schema, named, known: HashMap::new() };
    meter.cost(schema, values, 0).map(|_| ())
}

/// Shows every object of a document. Its depth was bounded before.
fn collect<'s>(value: &'s Value, take: &mut dyn FnMut(&'s Map<String, Value>)) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, take)),
        Value::Object(map) => {
            take(map);
            map.values().for_each(|value| collect(value, take));
        }
        _ => {}
    }
}

/// How many values a document holds.
fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(map) => map.values().map(size).sum(),
        _ => 0,
    }
}

struct Meter<'s> {
    root: &'s Value,
    named: Vec<&'s Map<String, Value>>,
    /// What a pair costs, by where its two halves lie; nothing while it is being counted.
    known: HashMap<(usize, usize), u64>,
}

fn address<T>(value: &T) -> usize {
    std::ptr::from_ref(value) as usize
}

impl<'s> Meter<'s> {
    fn cost(&mut self, schema: &'s Value, value: &Value, depth: usize) -> Result<u64, Error> {
        match schema {
            Value::Object(map) => self.cost_of(map, value, depth),
            _ => Ok(1),
        }
    }

    fn cost_of(&mut self, map: &'s Map<String, Value>, value: &Value, depth: usize) -> Result<u64, Error> {
        if depth > DEEPEST {
            return Err(Error::Depth);
        }
        let pair = (address(map), address(value));
        if let Some(known) = self.known.get(&pair) {
            return Ok(*known);
        }
        if self.known.len() >= MOST_PAIRS {
            return Err(Error::Steps);
        }
        // What leads back to itself without a step into the values is refused by the validator.
        self.known.insert(pair, 0);
        let mut total = 1;
        for (keyword, part) in map {
            let more = self.keyword(map, keyword, part, value, depth + 1)?;
            total = u64::saturating_add(total, more);
            if total > MOST {
                return Err(Error::Steps);
            }
        }
        self.known.insert(pair, total);
        Ok(total)
    }

    fn keyword(&mut self, map: &'s Map<String, Value>, keyword: &str, part: &'s Value, value: &Value, depth: usize) -> Result<u64, Error> {
        match (keyword, part) {
            ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(reference)) => {
                let mut most = 0;
                for target in self.targets(reference) {
                    most = most.max(self.cost_of(target, value, depth)?);
                }
                Ok(most)
            }
            ("not" | "if" | "then" | "else", part) => self.cost(part, value, depth),
            ("allOf" | "anyOf" | "oneOf", Value::Array(parts)) => self.sum(parts.iter().map(|part| (part, value)), depth),
            ("dependentSchemas" | "dependencies", Value::Object(parts)) => self.sum(parts.values().map(|part| (part, value)), depth),
            ("enum", Value::Array(allowed)) => Ok(allowed.len() as u64),
            ("properties", Value::Object(parts)) => {
                let Value::Object(values) = value else { return Ok(0) };
                self.sum(parts.iter().filter_map(|(key, part)| Some((part, values.get(key)?))), depth)
            }
            ("patternProperties", Value::Object(parts)) => {
                let Value::Object(values) = value else { return Ok(0) };
                self.sum(parts.values().flat_map(|part| values.values().map(move |value| (part, value))), depth)
            }
            ("additionalProperties" | "unevaluatedProperties", part) => {
                let Value::Object(values) = value else { return Ok(0) };
                let named = map.get("properties").and_then(Value::as_object);
                let others = values.iter().filter(|(key, _)| !named.is_some_and(|named| named.contains_key(*key)));
                self.sum(others.map(|(_, value)| (part, value)), depth)
            }
            ("propertyNames", part) => {
                let Value::Object(values) = value else { return Ok(0) };
                // A name is a text: whatever this text is, it has no parts.
                let each = self.cost(part, &Value::Null, depth)?;
                Ok(each.saturating_mul(values.len() as u64))
            }
            ("items" | "prefixItems", Value::Array(parts)) => {
                let Value::Array(items) = value else { return Ok(0) };
                self.sum(parts.iter().zip(items), depth)
            }
            ("items" | "additionalItems" | "unevaluatedItems" | "contains", part) => {
                let Value::Array(items) = value else { return Ok(0) };
                self.sum(items.iter().map(|item| (part, item)), depth)
            }
            _ => Ok(0),
        }
    }

    fn sum<'v>(&mut self, pairs: impl Iterator<Item = (&'s Value, &'v Value)>, depth: usize) -> Result<u64, Error> {
        let mut total = 0u64;
        for (part, value) in pairs {
            total = total.saturating_add(self.cost(part, value, depth)?);
            if total > MOST {
                return Err(Error::Steps);
            }
        }
        Ok(total)
    }

    /// The parts that a reference may mean. Which of them it is depends on names around it; the dearest counts.
    fn targets(&self, reference: &str) -> Vec<&'s Map<String, Value>> {
        let (place, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let fragment = decoded(fragment);
        let last = |text: &str| text.trim_end_matches('#').rsplit(['/', ':']).next().unwrap_or_default().to_owned();
        let named = |map: &Map<String, Value>, keys: &[&str], wanted: &str| {
            keys.iter().filter_map(|key| map.get(*key)?.as_str()).any(|name| last(name) == wanted)
        };
        if !fragment.is_empty() && !fragment.starts_with('/') {
            let anchors = ["$anchor", "$dynamicAnchor", "$id", "id"];
            return self.named.iter().copied().filter(|map| named(map, &anchors, &fragment) || self.is_anchor(map, &fragment)).collect();
        }
        let wanted = last(place);
        let whole = self.root.as_object().filter(|_| place.is_empty());
        let below = self.named.iter().copied().filter(|map| place.is_empty() || named(map, &["$id", "id"], &wanted));
        let bases = whole.into_iter().chain(below);
        let at = |base: &'s Map<String, Value>| match fragment.strip_prefix('/') {
            None => Some(base),
            Some(path) => {
                let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
                let found = base.get(&first.replace("~1", "/").replace("~0", "~"))?;
                match rest {
                    None => found.as_object(),
                    Some(rest) => found.pointer(&format!("/{rest}"))?.as_object(),
                }
            }
        };
        bases.filter_map(at).collect()
    }

    /// Old drafts name anchors in `$id`: `#name`.
    fn is_anchor(&self, map: &Map<String, Value>, name: &str) -> bool {
        ["$id", "id"]
            .iter()
            .filter_map(|key| map.get(*key)?.as_str())
            .any(|id| id.split_once('#').is_some_and(|(_, anchor)| anchor == name))
    }
}

/// A fragment of an address without its percent signs.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%').and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_work_of_schemas_is_counted_through_references() {
        let cost = |schema: Value, values: Value| {
            let mut meter = Meter { root: &schema, named: Vec::new(), known: HashMap::new() };
            meter.cost(&schema, &values, 0)
        };
        assert_eq!(cost(json!({"properties": {"a": {"type": "string"}, "b": {}}}), json!({"a": "x"})), Ok(2));
        assert_eq!(cost(json!({"items": {"enum": [1, 2, 3]}}), json!([1, 2])), Ok(9));
        assert_eq!(cost(json!({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{}, {}]}}}), json!(1)), Ok(4));
        assert_eq!(cost(json!({"$ref": "#/$defs/a%25~1b", "$defs": {"a%/b": {}}}), json!(1)), Ok(2));
        let doubling: Map<String, Value> = (0..40)
            .map(|n| {
                let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
                (format!("d{n}"), json!({"anyOf": [next, next]}))
            })
            .collect();
        assert_eq!(cost(json!({"$ref": "#/$defs/d0", "$defs": doubling}), json!(1)), Err(Error::Steps));
    }

    #[test]
    fn references_by_name_count_too() {
        let named = json!({
            "$defs": {"a": {"$id": "https://example.com/a", "allOf": [{}, {}, {}]}, "b": {"$anchor": "b", "anyOf": [{}, {}]}},
            "properties": {"a": {"$ref": "https://example.com/a"}, "b": {"$ref": "#b"}},
        });
        let mut found = Vec::new();
        collect(&named, &mut |map| found.extend((map.contains_key("$id") || map.contains_key("$anchor")).then_some(map)));
        let mut meter = Meter { root: &named, named: found, known: HashMap::new() };
        assert_eq!(meter.cost(&named, &json!({"a": 1, "b": 2}), 0), Ok(1 + 5 + 4));
    }
}
