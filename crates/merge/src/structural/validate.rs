//! Checks values against a schema, with the texts and the order of kube-openapi's validator.
//!
//! On an update, what has not changed is not held against the object ("ratcheting").

use serde_json::{Map, Value};

use super::{Additional, Node, Type, correlated, formats};
use crate::field::{self, FieldError};
use crate::gofmt;
use crate::managed::equal;
use crate::schema::ListKind;

/// Values nest no deeper than this.
const DEPTH_MAX: usize = 250;

/// Errors listed in one answer.
const ERRORS_MAX: usize = 200;

/// Checks an object that is created. `at` is the path of the value in its object, empty for the object itself.
pub fn validate(at: &str, value: &Value, node: &Node) -> Vec<FieldError> {
    run(at, value, None, node)
}

/// Checks an object that is updated.
pub fn validate_update(at: &str, value: &Value, old: &Value, node: &Node) -> Vec<FieldError> {
    run(at, value, Some(old), node)
}

fn run(at: &str, value: &Value, old: Option<&Value>, node: &Node) -> Vec<FieldError> {
    let result = check(value, old, node, "", 0);
    let mut errors: Vec<FieldError> = result.errors.into_iter().map(|problem| problem.into_error(at)).collect();
    embedded(at, value, node, &mut errors, 0);
    let mut lists = Vec::new();
    list_kinds(at, value, node, &mut lists, 0);
    // Lists that were wrong before may stay so.
    let mut old_lists = Vec::new();
    if let Some(old) = old.filter(|_| !lists.is_empty()) {
        list_kinds(at, old, node, &mut old_lists, 0);
    }
    if old_lists.is_empty() {
        errors.append(&mut lists);
    }
    errors.truncate(ERRORS_MAX);
    errors
}

/// A violation as the validator tells it: the name is the path inside the value, the text repeats it.
#[derive(Debug, Clone, PartialEq)]
enum Problem {
    Required(String),
    Enum {
        name: String,
        value: Value,
        values: Vec<String>,
    },
    TooLong {
        name: String,
        max: i64,
    },
    TooMany {
        name: String,
        count: usize,
        max: i64,
    },
    Type {
        name: String,
        found: String,
        text: String,
    },
    Value {
        name: String,
        value: Value,
        text: String,
    },
    /// Of no field in particular.
    Whole(String),
}

impl Problem {
    fn into_error(self, at: &str) -> FieldError {
        let path = |name: &str| match name.trim_start_matches('.') {
            "" => at.to_owned(),
            name => field::child(at, name),
        };
        match self {
            Self::Required(name) => field::required(&path(&name), ""),
            Self::Enum { name, value, values } => {
                field::not_supported(&path(&name), &value, &values.iter().map(String::as_str).collect::<Vec<_>>())
            }
            Self::TooLong { name, max } => field::too_long(&path(&name), max),
            Self::TooMany { name, count, max } => field::too_many(&path(&name), count, max),
            Self::Type { name, found, text } => field::type_invalid(&path(&name), &Value::from(found), &text),
            Self::Value { name, value, text } => field::invalid(&path(&name), &value, &text),
            Self::Whole(text) => field::invalid(at, &Value::from(""), &text),
        }
    }
}

/// Violations and the count of checks that were made: of several alternatives the one with most is told.
#[derive(Debug, Default)]
struct Outcome {
    errors: Vec<Problem>,
    matches: usize,
}

impl Outcome {
    fn push(&mut self, problem: Problem) {
        if self.errors.len() < ERRORS_MAX && !self.errors.contains(&problem) {
            self.errors.push(problem);
        }
    }

    fn merge(&mut self, other: Outcome) {
        self.matches += other.matches;
        other.errors.into_iter().for_each(|problem| self.push(problem));
    }
}

fn check(value: &Value, old: Option<&Value>, node: &Node, name: &str, depth: usize) -> Outcome {
    let mut out = Outcome::default();
    if depth > DEPTH_MAX {
        out.push(Problem::Whole(format!("{name:?} is nested too deeply")));
        return out;
    }
    if value.is_null() {
        check_type(value, node, name, &mut out);
        check_enum(value, node, name, &mut out);
    } else {
        if !node.types().is_empty() || !node.checks.format.is_empty() {
            check_type(value, node, name, &mut out);
        }
        out.merge(check_alternatives(value, old, node, name, depth));
        match value {
            Value::String(text) => check_string(text, node, name, &mut out),
            Value::Number(_) => check_number(value, node, name, &mut out),
            Value::Array(items) => check_list(items, old, node, name, depth, &mut out),
            _ => {}
        }
        check_enum(value, node, name, &mut out);
        if let Value::Object(map) = value {
            check_map(map, old, node, name, depth, &mut out);
        }
        out.matches += 1;
    }
    if !out.errors.is_empty() && old.is_some_and(|old| equal(old, value)) {
        out.errors.clear();
    }
    out
}

impl Node {
    fn types(&self) -> Vec<&'static str> {
        if self.int_or_string { vec!["integer", "string"] } else { self.ty.map(Type::as_str).into_iter().collect() }
    }
}

fn is_whole(value: &Value) -> bool {
    value.as_f64().is_some_and(|float| float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0)
}

fn check_type(value: &Value, node: &Node, name: &str, out: &mut Outcome) {
    out.matches += 1;
    let types = node.types();
    let format = node.checks.format.as_str();
    let mut wrong = |wanted: &str, found: &str| {
        // The text quotes what was found, itself a name of a type.
        let text = format!("{name} in body must be of type {wanted}: {}", gofmt::quote(found));
        out.push(Problem::Type { name: name.to_owned(), found: found.to_owned(), text });
    };
    let (found, found_format) = match value {
        Value::Null => {
            if !types.is_empty() && !node.nullable {
                wrong(&types.join(","), "null");
            }
            return;
        }
        Value::Bool(_) => ("boolean", ""),
        Value::String(_) => ("string", ""),
        Value::Number(number) if number.is_i64() || number.is_u64() => ("integer", "int64"),
        Value::Number(_) => ("number", "float64"),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
    };
    let numeric = types.contains(&"integer") || types.contains(&"number");
    let fits = types.contains(&found)
        || (found == "number" && is_whole(value) && types.contains(&"integer"))
        || (found == "integer" && types.contains(&"number"));
    let textual = matches!(value, Value::String(_) | Value::Array(_));
    if !textual && !format.is_empty() && !fits && found_format != format {
        return wrong(format, found_format);
    }
    if !numeric && !format.is_empty() && textual {
        return;
    }
    if !fits {
        wrong(&types.join(","), found);
    }
}

fn check_enum(value: &Value, node: &Node, name: &str, out: &mut Outcome) {
    let Some(allowed) = &node.checks.enumeration else { return };
    if !value.is_null() && allowed.iter().any(|one| equal(one, value)) {
        return;
    }
    let values = allowed.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)).collect();
    out.push(Problem::Enum { name: name.to_owned(), value: value.clone(), values });
}

fn check_string(text: &str, node: &Node, name: &str, out: &mut Outcome) {
    out.matches += 1;
    let checks = &node.checks;
    let told = |detail: String| Problem::Value { name: name.to_owned(), value: Value::from(text), text: detail };
    let length = text.chars().count() as i64;
    // The first that fails is told.
    if let Some(max) = checks.max_length.filter(|max| length > *max) {
        out.push(Problem::TooLong { name: name.to_owned(), max });
    } else if let Some(min) = checks.min_length.filter(|min| length < *min) {
        out.push(told(format!("{name} in body should be at least {min} chars long")));
    } else if let Some((pattern, compiled)) = &checks.pattern {
        match compiled {
            Ok(regex) if regex.is_match(text) => {}
            Ok(_) => out.push(told(format!("{name} in body should match '{pattern}'"))),
            Err(error) => out.push(told(format!("{name} in body should match '{pattern}, but pattern is invalid: {error}'"))),
        }
    }
    if !checks.format.is_empty() {
        if formats::is(&checks.format, text) {
            out.matches += 1;
        } else {
            let detail = format!("{name} in body must be of type {}: {}", checks.format, gofmt::quote(text));
            out.push(Problem::Type { name: name.to_owned(), found: text.to_owned(), text: detail });
        }
    }
}

fn check_number(value: &Value, node: &Node, name: &str, out: &mut Outcome) {
    out.matches += 2;
    let checks = &node.checks;
    let integer = value.as_i64();
    let float = value.as_f64().unwrap_or(0.0);
    let in_range = match (node.ty, checks.format.as_str()) {
        (Some(Type::Integer), "int32") => {
            integer.map_or(float.fract() == 0.0 && float.abs() < 2_147_483_648.0, |int| i32::try_from(int).is_ok())
        }
        (Some(Type::Integer), _) => integer.is_some() || is_whole(value),
        (Some(Type::Number), "float") => float.abs() <= f64::from(f32::MAX),
        _ => true,
    };
    if !in_range {
        let ty = node.ty.map(Type::as_str).unwrap_or("number");
        let format = if checks.format.is_empty() { "(default format)".to_owned() } else { format!("with format {}", checks.format) };
        out.push(Problem::Whole(format!("Checked value must be of type {ty} {format} in {name}")));
    }
    // An integer is compared with the whole part of a limit.
    let limit = |limit: f64| if integer.is_some() { limit.trunc() } else { limit };
    let mut tell = |text: &str, limit: f64| {
        let number = if integer.is_some() { (limit as i64).to_string() } else { gofmt::float(limit, -4, 21) };
        out.push(Problem::Value { name: name.to_owned(), value: value.clone(), text: format!("{name} in body should be {text} {number}") });
    };
    if let Some(factor) = checks.multiple_of {
        let factor = limit(factor);
        let whole = match integer {
            _ if factor <= 0.0 => true,
            Some(int) => int % (factor as i64).max(1) == 0,
            None if factor < 1.0 => (1.0 / factor * float).fract().abs() < 1e-9,
            None => (float / factor).fract().abs() < 1e-9,
        };
        if !whole {
            tell("a multiple of", factor);
        }
    }
    if let Some(min) = checks.minimum.map(limit) {
        if checks.exclusive_minimum && float <= min {
            tell("greater than", min);
        } else if !checks.exclusive_minimum && float < min {
            tell("greater than or equal to", min);
        }
    }
    if let Some(max) = checks.maximum.map(limit) {
        if checks.exclusive_maximum && float >= max {
            tell("less than", max);
        } else if !checks.exclusive_maximum && float > max {
            tell("less than or equal to", max);
        }
    }
}

fn check_list(items: &[Value], old: Option<&Value>, node: &Node, name: &str, depth: usize, out: &mut Outcome) {
    let checks = &node.checks;
    if let Some(of_items) = &node.items {
        for (at, item) in items.iter().enumerate() {
            out.merge(check(item, correlated(node, old, item), of_items, &format!("{name}[{at}]"), depth + 1));
        }
    }
    let count = items.len();
    if let Some(min) = checks.min_items.filter(|min| (count as i64) < *min) {
        let text = format!("{name} in body should have at least {min} items");
        out.push(Problem::Value { name: name.to_owned(), value: Value::from(count), text });
    }
    if let Some(max) = checks.max_items.filter(|max| count as i64 > *max) {
        out.push(Problem::TooMany { name: name.to_owned(), count, max });
    }
    if checks.unique_items && items.iter().enumerate().any(|(at, item)| items[..at].iter().any(|other| equal(other, item))) {
        out.push(Problem::Value {
            name: name.to_owned(),
            value: Value::from(""),
            text: format!("{name} in body shouldn't contain duplicates"),
        });
    }
    out.matches += 2;
}

fn check_map(map: &Map<String, Value>, old: Option<&Value>, node: &Node, name: &str, depth: usize, out: &mut Outcome) {
    let checks = &node.checks;
    let count = map.len();
    if let Some(min) = checks.min_properties.filter(|min| (count as i64) < *min) {
        let text = format!("{name} in body should have at least {min} properties");
        out.push(Problem::Value { name: name.to_owned(), value: Value::from(count), text });
    }
    if let Some(max) = checks.max_properties.filter(|max| count as i64 > *max) {
        out.push(Problem::TooMany { name: name.to_owned(), count, max });
    }
    let old_of = |key: &str| old.and_then(|old| old.get(key));
    for (key, value) in map.iter().filter(|(key, _)| node.property(key).is_none()) {
        match &node.additional {
            Additional::None => out.push(Problem::Value {
                name: name.to_owned(),
                value: Value::from(key.as_str()),
                text: format!("{name}.{key} in body is a forbidden property"),
            }),
            Additional::Node(values) => out.merge(check(value, old_of(key), values, &format!("{name}.{key}"), depth + 1)),
            Additional::Any | Additional::Unsaid => {}
        }
    }
    for (key, property) in &node.properties {
        if let Some(value) = map.get(key) {
            let below = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            out.merge(check(value, old_of(key), property, &below, depth + 1));
        }
    }
    for key in checks.required.iter().filter(|key| !map.contains_key(*key)) {
        out.push(Problem::Required(format!("{name}.{key}")));
    }
    out.matches += 1;
}

/// `anyOf`, `oneOf`, `allOf` and `not`.
fn check_alternatives(value: &Value, old: Option<&Value>, node: &Node, name: &str, depth: usize) -> Outcome {
    let mut out = Outcome::default();
    let checks = &node.checks;
    let check = |node: &Node| check(value, old, node, name, depth + 1);
    let whole = |text: &str| Problem::Whole(format!("{} {text}", gofmt::quote(name)));
    // Of those that fail the first with most matches is told.
    let best = |outcomes: Vec<Outcome>| {
        outcomes.into_iter().fold(None, |best: Option<Outcome>, one| match best {
            Some(best) if best.matches >= one.matches => Some(best),
            _ => Some(one),
        })
    };
    if !checks.any_of.is_empty() {
        let mut outcomes: Vec<Outcome> = checks.any_of.iter().map(check).collect();
        if let Some(at) = outcomes.iter().position(|outcome| outcome.errors.is_empty()) {
            out.merge(outcomes.swap_remove(at));
        } else {
            out.push(whole("must validate at least one schema (anyOf)"));
            best(outcomes).into_iter().for_each(|best| out.merge(best));
        }
    }
    if !checks.one_of.is_empty() {
        let mut outcomes: Vec<Outcome> = checks.one_of.iter().map(check).collect();
        let valid = outcomes.iter().filter(|outcome| outcome.errors.is_empty()).count();
        match valid {
            1 => {
                if let Some(at) = outcomes.iter().position(|outcome| outcome.errors.is_empty()) {
                    out.merge(outcomes.swap_remove(at));
                }
            }
            0 => {
                out.push(whole("must validate one and only one schema (oneOf). Found none valid"));
                best(outcomes).into_iter().for_each(|best| out.merge(best));
            }
            _ => out.push(whole(&format!("must validate one and only one schema (oneOf). Found {valid} valid alternatives"))),
        }
    }
    if !checks.all_of.is_empty() {
        let outcomes: Vec<Outcome> = checks.all_of.iter().map(check).collect();
        let valid = outcomes.iter().filter(|outcome| outcome.errors.is_empty()).count();
        outcomes.into_iter().for_each(|outcome| out.merge(outcome));
        if valid != checks.all_of.len() {
            out.push(whole(if valid == 0 {
                "must validate all the schemas (allOf). None validated"
            } else {
                "must validate all the schemas (allOf)"
            }));
        }
    }
    if let Some(not) = &checks.not
        && check(not).errors.is_empty()
    {
        out.push(whole("must not validate the schema (not)"));
    }
    out.matches += 2;
    out
}

const NOT_A_STRING: &str = "must be a string";

/// Objects inside the object need a type.
fn embedded(at: &str, value: &Value, node: &Node, errors: &mut Vec<FieldError>, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(map) => {
            if node.embedded {
                for key in ["apiVersion", "kind"] {
                    let path = field::child(at, key);
                    match map.get(key) {
                        None => errors.push(field::required(&path, "")),
                        Some(Value::String(text)) if text.is_empty() => {
                            errors.push(field::invalid(&path, &Value::from(""), "must not be empty"))
                        }
                        Some(Value::String(_)) => {}
                        Some(other) => errors.push(field::invalid(&path, other, NOT_A_STRING)),
                    }
                }
            }
            for (key, child) in map {
                if let Some(below) = node.property(key) {
                    embedded(&field::child(at, key), child, below, errors, depth + 1);
                } else if let Additional::Node(below) = &node.additional {
                    embedded(&field::key(at, key), child, below, errors, depth + 1);
                }
            }
        }
        Value::Array(items) => {
            if let Some(below) = &node.items {
                for (index, item) in items.iter().enumerate() {
                    embedded(&field::index(at, index), item, below, errors, depth + 1);
                }
            }
        }
        _ => {}
    }
}

/// An object inside an object whose type is no text cannot be read at all.
pub fn check_embedded_types(value: &Value, node: &Node) -> Result<(), FieldError> {
    let mut errors = Vec::new();
    embedded("", value, node, &mut errors, 0);
    match errors.into_iter().find(|error| error.message.ends_with(NOT_A_STRING)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Elements of sets and of lists with keys may not be there twice.
fn list_kinds(at: &str, value: &Value, node: &Node, errors: &mut Vec<FieldError>, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Object(map) => {
            for (key, child) in map {
                if let Some(below) = node.property(key) {
                    list_kinds(&field::child(at, key), child, below, errors, depth + 1);
                } else if let Additional::Node(below) = &node.additional {
                    list_kinds(&field::key(at, key), child, below, errors, depth + 1);
                }
            }
        }
        Value::Array(items) => {
            match node.list_kind {
                Some(ListKind::Set) => duplicates(at, items.clone(), errors),
                Some(ListKind::Map) => {
                    if let Some(index) = items.iter().position(|item| !item.is_object() && !item.is_null()) {
                        errors.push(field::invalid(
                            &field::index(at, index),
                            &items[index],
                            "must be an object for an array of list-type map",
                        ));
                    } else {
                        let key = |item: &Value| {
                            Value::Object(node.list_keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone()))).collect())
                        };
                        duplicates(at, items.iter().map(key).collect(), errors);
                    }
                }
                _ => {}
            }
            if let Some(below) = &node.items {
                for (index, item) in items.iter().enumerate() {
                    list_kinds(&field::index(at, index), item, below, errors, depth + 1);
                }
            }
        }
        _ => {}
    }
}

/// Tells the second appearance of each value, once.
fn duplicates(at: &str, keys: Vec<Value>, errors: &mut Vec<FieldError>) {
    let mut seen: std::collections::HashMap<String, usize> = std::collections::HashMap::with_capacity(keys.len());
    for (index, key) in keys.iter().enumerate() {
        let count = seen.entry(key.to_string()).or_default();
        *count += 1;
        if *count == 2 {
            errors.push(field::duplicate(&field::index(at, index), key));
        }
    }
}
