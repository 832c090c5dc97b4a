//! YAML files merged as Helm merges values: maps into maps, everything else replaced.

use serde_json::{Map, Number, Value};
use yaml::Dialect;

/// Why two files could not be merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    #[error("cannot unmarshal YAML document: error converting YAML to JSON: {0}")]
    Yaml(String),
    #[error(
        "cannot unmarshal YAML document: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {0} into Go value of type map[string]interface {{}}"
    )]
    NotAMap(&'static str),
}

/// The text of `base` with the values of `overlay` over it. The documents of a file count as one, the later over the earlier.
pub(crate) fn merge(base: &[u8], overlay: &[u8]) -> Result<String, MergeError> {
    let overlay = read(overlay)?;
    let mut merged = read(base)?;
    put_over(&mut merged, overlay);
    Ok(yaml::emit(&Value::Object(merged)))
}

fn read(bytes: &[u8]) -> Result<Map<String, Value>, MergeError> {
    let failed = |error: yaml::Error| MergeError::Yaml(error.go_message(Dialect::Sigs));
    let text = yaml::text(bytes).map_err(failed)?;
    let mut all = Map::new();
    for document in documents(text) {
        let kind = match yaml::to_json(document, Dialect::Sigs).map_err(failed)? {
            Value::Null => continue,
            Value::Object(map) => {
                put_over(&mut all, map.into_iter().map(|(key, value)| (key, as_go_keeps(value))).collect());
                continue;
            }
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Number(_) => "number",
            Value::Bool(_) => "bool",
        };
        return Err(MergeError::NotAMap(kind));
    }
    Ok(all)
}

/// A text cut at lines of `---`, which may be followed by a comment.
fn documents(text: &str) -> Vec<&str> {
    let (mut documents, mut start, mut at) = (Vec::new(), 0, 0);
    for line in text.split_inclusive('\n') {
        let separates = line.strip_prefix("---").is_some_and(|rest| matches!(rest.trim().chars().next(), None | Some('#')));
        if separates && at > start {
            documents.push(&text[start..at]);
            start = at + line.len();
        }
        at += line.len();
    }
    documents.push(text.get(start..).unwrap_or_default());
    documents
}

fn put_over(base: &mut Map<String, Value>, overlay: Map<String, Value>) {
    for (key, value) in overlay {
        match (base.get_mut(&key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => put_over(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Numbers as they come through Go's JSON: every one is a float on the way, so long integers lose digits.
fn as_go_keeps(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(rounded(number)),
        Value::Array(items) => Value::Array(items.into_iter().map(as_go_keeps).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (key, as_go_keeps(value))).collect()),
        other => other,
    }
}

fn rounded(number: Number) -> Number {
    const EXACT_MAX: u64 = 1 << 53;
    if number.as_i64().is_some_and(|n| n.unsigned_abs() <= EXACT_MAX) {
        return number;
    }
    let Some(float) = number.as_f64() else { return number };
    // Go writes floats below 1e21 without exponent; what has no fraction is then read as an integer again.
    if float.fract() == 0.0 && float.abs() < 1e21 {
        // Rust prints the shortest digits that mean the float, filled up with zeros, as Go does.
        let text = format!("{float}");
        if let Ok(integer) = text.parse::<i64>() {
            return integer.into();
        }
        if let Ok(integer) = text.parse::<u64>() {
            return integer.into();
        }
    }
    Number::from_f64(float).unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(base: &str, overlay: &str) -> String {
        merge(base.as_bytes(), overlay.as_bytes()).unwrap()
    }

    #[test]
    fn maps_merge_and_everything_else_is_replaced() {
        assert_eq!(
            merged("# note\nlist: [1, 2]\nmap:\n  b: 2\n  a: 1\nkeep: x\n", "map: {a: 3, c: null}\nlist: [9]\n"),
            "keep: x\nlist:\n- 9\nmap:\n  a: 3\n  b: 2\n  c: null\n"
        );
        assert_eq!(merged("a: {x: 1}\nb: 1\n", "a: text\nb: {x: 1}\n"), "a: text\nb:\n  x: 1\n");
    }

    #[test]
    fn an_empty_file_changes_nothing_but_the_form() {
        assert_eq!(merged("b: 1 # one\na: 2\n", ""), "a: 2\nb: 1\n");
        assert_eq!(merged("", ""), "{}\n");
    }

    #[test]
    fn documents_of_one_file_count_as_one() {
        assert_eq!(merged("a: 1\n--- # next\nb: 2\n", "---\nb: 3\n---\n---\nc: 4\n"), "a: 1\nb: 3\nc: 4\n");
        assert_eq!(merged("a: |\n  ---x\n", ""), "a: |\n  ---x\n");
    }

    #[test]
    fn numbers_come_through_as_floats() {
        assert_eq!(
            merged("big: 12345678901234567890\nf: 1.50\nwhole: 2.0\nsmall: -3\n", "huge: 1e25\n"),
            "big: 12345678901234567000\nf: 1.5\nhuge: 1e+25\nsmall: -3\nwhole: 2\n"
        );
    }

    #[test]
    fn what_is_no_map_is_an_error_that_says_so() {
        let text = |base: &str| merge(b"a: 1\n", base.as_bytes()).unwrap_err().to_string();
        assert!(text("- 1\n").ends_with("json: cannot unmarshal array into Go value of type map[string]interface {}"));
        assert!(text("just text\n").contains("cannot unmarshal string"));
        assert_eq!(
            text("a: [1\n"),
            "cannot unmarshal YAML document: error converting YAML to JSON: yaml: line 1: did not find expected ',' or ']'"
        );
        assert!(merge(b"\xff", b"").is_err());
    }
}
