//! A look at values that certainly fit a schema of the usual sort, as nearly all charts' schemas are and nearly all values do.
//!
//! The validator checks a schema against the schemas of all drafts before it looks at values, which takes longer than everything else about a
//! chart. It is asked where this look is not enough: for all that does not fit, since it knows the words for that, and for all that is unusual.

use crate::data::{Data, Table};
use serde_json::{Map, Value};

/// A schema in which every keyword is known here, and written as it must be.
pub(crate) struct Plain {
    pub schema: Value,
    draft: u32,
}

/// How a value fits a part of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    Yes,
    No,
    /// Only the validator can say.
    Unsure,
}

use Fit::{No, Unsure, Yes};

/// Parts of a schema, and of those behind references, inside each other.
const DEEPEST: usize = 90;
/// Steps of one look.
const MOST: usize = 500_000;
/// Words that are compared with each other.
const MOST_WORDS: usize = 200;

/// The draft that a schema says it is written in.
fn draft_of(schema: &Map<String, Value>) -> Option<u32> {
    let Some(url) = schema.get("$schema") else { return Some(2020) };
    let url = url.as_str()?;
    let url = url.strip_suffix('#').unwrap_or(url);
    let url = url.strip_prefix("http://").or(url.strip_prefix("https://"))?;
    Some(match url.strip_prefix("json-schema.org/")? {
        "schema" | "draft/2020-12/schema" => 2020,
        "draft/2019-09/schema" => 2019,
        "draft-07/schema" => 7,
        "draft-06/schema" => 6,
        _ => return None,
    })
}

const TYPES: &[&str] = &["array", "boolean", "integer", "null", "number", "object", "string"];

/// Keywords that are known to the validator and not here, or not in all drafts.
const UNUSUAL: &[&str] = &[
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$recursiveAnchor",
    "$recursiveRef",
    "$vocabulary",
    "additionalItems",
    "contains",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "id",
    "maxContains",
    "minContains",
    "multipleOf",
    "pattern",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
];

impl Plain {
    /// Takes a schema that is plain; gives any other back.
    pub fn new(schema: Value) -> Result<Self, Value> {
        let draft = schema.as_object().and_then(draft_of);
        match draft.filter(|draft| is_schema(&schema, &schema, *draft, 0)) {
            Some(draft) => Ok(Self { schema, draft }),
            None => Err(schema),
        }
    }

    pub fn fits(&self, values: &Table) -> Fit {
        let mut look = Look { plain: self, steps: 0 };
        look.at(&self.schema, &Data::Table(values.clone()), 0)
    }

    /// The part that a reference means.
    fn target<'s>(root: &'s Value, reference: &str) -> Option<&'s Value> {
        let (place, name) = reference.strip_prefix("#/")?.split_once('/')?;
        let simple = matches!(place, "definitions" | "$defs") && !name.contains(['/', '~', '%']);
        root.get(place)?.get(name).filter(|_| simple)
    }
}

/// Whether this is a schema of which all is known.
fn is_schema(schema: &Value, root: &Value, draft: u32, depth: usize) -> bool {
    let map = match schema {
        Value::Bool(_) => return true,
        Value::Object(map) if depth < DEEPEST => map,
        _ => return false,
    };
    let inner = |schema: &Value| is_schema(schema, root, draft, depth + 1);
    map.iter().all(|(keyword, value)| match (keyword.as_str(), value) {
        ("$schema", _) => depth == 0,
        ("$ref", Value::String(reference)) => {
            (draft >= 2019 || !reference.starts_with("#/$defs")) && Plain::target(root, reference).is_some()
        }
        ("title" | "description" | "$comment" | "format", value) => value.is_string(),
        ("examples", value) => value.is_array(),
        ("readOnly" | "writeOnly" | "deprecated" | "uniqueItems", value) => value.is_boolean(),
        ("default" | "const", _) => true,
        ("type", Value::String(name)) => TYPES.contains(&name.as_str()),
        ("type", Value::Array(names)) => {
            !names.is_empty() && names.iter().all(|name| name.as_str().is_some_and(|name| TYPES.contains(&name))) && are_different(names)
        }
        ("required", Value::Array(names)) => names.iter().all(Value::is_string) && are_different(names),
        ("enum", Value::Array(words)) => {
            !words.is_empty() && words.iter().all(|word| word.is_string() || word.is_boolean() || word.is_null()) && are_different(words)
        }
        ("minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum", value) => value.is_number(),
        ("minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties", value) => value.is_u64(),
        ("properties" | "definitions", Value::Object(parts)) => parts.values().all(inner),
        ("$defs", Value::Object(parts)) if draft >= 2019 => parts.values().all(inner),
        ("items" | "additionalProperties" | "not", part) => inner(part),
        ("if" | "then" | "else", part) => draft >= 7 && inner(part),
        ("allOf" | "anyOf" | "oneOf", Value::Array(parts)) => !parts.is_empty() && parts.iter().all(inner),
        ("$defs", _) => draft < 2019,
        ("$ref" | "type" | "required" | "enum" | "properties" | "definitions" | "allOf" | "anyOf" | "oneOf", _) => false,
        // What the validator does not know either says nothing.
        (unknown, _) => !UNUSUAL.contains(&unknown),
    })
}

fn are_different(words: &[Value]) -> bool {
    words.len() <= MOST_WORDS && words.iter().enumerate().all(|(at, word)| !words[..at].contains(word))
}

/// A number of a schema. All of them can be floats.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn size(value: &Value) -> usize {
    value.as_u64().and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX)
}

fn is_type(name: &str, value: &Data) -> bool {
    match (name, value) {
        ("null", Data::Null)
        | ("boolean", Data::Bool(_))
        | ("string", Data::String(_))
        | ("array", Data::List(_))
        | ("object", Data::Table(_))
        | ("number", Data::Int(_) | Data::Float(_))
        | ("integer", Data::Int(_)) => true,
        ("integer", Data::Float(number)) => number.fract() == 0.0,
        _ => false,
    }
}

fn is_same(word: &Value, value: &Data) -> Fit {
    Fit::of(match (word, value) {
        (Value::Null, Data::Null) => true,
        (Value::Bool(a), Data::Bool(b)) => a == b,
        (Value::String(a), Data::String(b)) => **a == **b,
        (Value::Number(_), Data::Int(_) | Data::Float(_)) | (Value::Array(_), Data::List(_)) | (Value::Object(_), Data::Table(_)) => {
            return Unsure;
        }
        _ => false,
    })
}

impl Fit {
    fn of(fits: bool) -> Self {
        if fits { Yes } else { No }
    }

    /// Both must fit.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (No, _) | (_, No) => No,
            (Yes, Yes) => Yes,
            _ => Unsure,
        }
    }
}

struct Look<'p> {
    plain: &'p Plain,
    steps: usize,
}

impl<'p> Look<'p> {
    fn at(&mut self, schema: &'p Value, value: &Data, depth: usize) -> Fit {
        self.steps += 1;
        let map = match schema {
            Value::Bool(fits) => return Fit::of(*fits),
            Value::Object(map) if depth < DEEPEST && self.steps < MOST => map,
            _ => return Unsure,
        };
        let mut fit = Yes;
        if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
            let Some(target) = Plain::target(&self.plain.schema, reference) else { return Unsure };
            fit = self.at(target, value, depth + 1);
            // Older drafts see nothing beside a reference.
            if self.plain.draft < 2019 {
                return fit;
            }
        }
        for (keyword, part) in map {
            fit = fit.and(self.keyword(map, keyword, part, value, depth + 1));
            if fit == No {
                return No;
            }
        }
        fit
    }

    fn keyword(&mut self, map: &'p Map<String, Value>, keyword: &str, part: &'p Value, value: &Data, depth: usize) -> Fit {
        match (keyword, part, value) {
            ("type", Value::String(name), _) => Fit::of(is_type(name, value)),
            ("type", Value::Array(names), _) => Fit::of(names.iter().filter_map(Value::as_str).any(|name| is_type(name, value))),
            ("const", word, _) => is_same(word, value),
            ("enum", Value::Array(words), _) => any(words.iter().map(|word| is_same(word, value))),
            // Whether formats count is a question of the draft.
            ("format", _, Data::String(_)) => Unsure,
            ("allOf", Value::Array(parts), _) => {
                parts.iter().fold(Yes, |fit, part| if fit == No { No } else { fit.and(self.at(part, value, depth)) })
            }
            ("anyOf", Value::Array(parts), _) => any(parts.iter().map(|part| self.at(part, value, depth))),
            ("oneOf", Value::Array(parts), _) => {
                let fits: Vec<Fit> = parts.iter().map(|part| self.at(part, value, depth)).collect();
                if fits.contains(&Unsure) { Unsure } else { Fit::of(fits.iter().filter(|fit| **fit == Yes).count() == 1) }
            }
            ("not", part, _) => match self.at(part, value, depth) {
                Yes => No,
                No => Yes,
                Unsure => Unsure,
            },
            ("if", part, _) => match self.at(part, value, depth) {
                Yes => map.get("then").map_or(Yes, |then| self.at(then, value, depth)),
                No => map.get("else").map_or(Yes, |otherwise| self.at(otherwise, value, depth)),
                Unsure => Unsure,
            },
            (_, _, Data::Table(table)) => self.table(map, keyword, part, table, depth),
            (_, _, Data::List(items)) => match keyword {
                "items" => items.iter().fold(Yes, |fit, item| if fit == No { No } else { fit.and(self.at(part, item, depth)) }),
                "minItems" => Fit::of(items.len() >= size(part)),
                "maxItems" => Fit::of(items.len() <= size(part)),
                "uniqueItems" if *part == Value::Bool(true) && items.len() > 1 => Unsure,
                _ => Yes,
            },
            ("minLength", part, Data::String(text)) => Fit::of(text.chars().count() >= size(part)),
            ("maxLength", part, Data::String(text)) => Fit::of(text.chars().count() <= size(part)),
            (keyword, part, Data::Int(_) | Data::Float(_)) => {
                let found = match value {
                    Data::Int(found) => *found as f64,
                    Data::Float(found) if found.is_finite() => *found,
                    _ => return Unsure,
                };
                match keyword {
                    "minimum" => Fit::of(found >= number(part)),
                    "maximum" => Fit::of(found <= number(part)),
                    "exclusiveMinimum" => Fit::of(found > number(part)),
                    "exclusiveMaximum" => Fit::of(found < number(part)),
                    _ => Yes,
                }
            }
            _ => Yes,
        }
    }

    fn table(&mut self, map: &'p Map<String, Value>, keyword: &str, part: &'p Value, table: &Table, depth: usize) -> Fit {
        let each = |look: &mut Self, parts: &mut dyn Iterator<Item = (&'p Value, &Data)>| {
            parts.fold(Yes, |fit, (part, value)| if fit == No { No } else { fit.and(look.at(part, value, depth)) })
        };
        match (keyword, part) {
            ("properties", Value::Object(parts)) => each(self, &mut parts.iter().filter_map(|(key, part)| Some((part, table.get(key)?)))),
            ("additionalProperties", part) => {
                let named = map.get("properties").and_then(Value::as_object);
                let others = table.iter().filter(|(key, _)| !named.is_some_and(|named| named.contains_key(&***key)));
                each(self, &mut others.map(|(_, value)| (part, value)))
            }
            ("required", Value::Array(names)) => Fit::of(names.iter().filter_map(Value::as_str).all(|name| table.contains(name))),
            ("minProperties", part) => Fit::of(table.len() >= size(part)),
            ("maxProperties", part) => Fit::of(table.len() <= size(part)),
            _ => Yes,
        }
    }
}

/// One must fit.
fn any(fits: impl Iterator<Item = Fit>) -> Fit {
    let mut found = No;
    for fit in fits {
        match fit {
            Yes => return Yes,
            Unsure => found = Unsure,
            No => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Full;
    use serde_json::json;

    fn look(schema: &Value, values: &Value) -> Fit {
        Plain::new(schema.clone()).map_or(Unsure, |plain| plain.fits(&Table::from_json(values).unwrap_or_default()))
    }

    #[test]
    fn usual_schemas_are_seen_through() {
        let schema = json!({
            "$schema": "http://json-schema.org/draft-07/schema#", "title": "x", "type": "object", "form": true, "required": ["a"],
            "properties": {
                "a": {"type": ["string", "null"], "enum": ["x", null], "default": 1},
                "n": {"type": "integer", "minimum": 1, "maximum": 9},
                "l": {"type": "array", "items": {"$ref": "#/definitions/word"}, "maxItems": 2},
                "o": {"oneOf": [{"type": "string"}, {"type": "object", "additionalProperties": false}]},
                "c": {"if": {"type": "string"}, "then": {"minLength": 2}, "else": {"not": {"type": "object"}}},
            },
            "definitions": {"word": {"type": "string", "maxLength": 3}},
        });
        let cases = [
            (json!({"a": "x", "n": 3.0, "l": ["b", "ccc"], "o": {}, "c": "cc", "z": 1}), Yes),
            (json!({"a": null, "o": "t", "c": [1]}), Yes),
            (json!({"n": 1}), No),
            (json!({"a": "y"}), No),
            (json!({"a": "x", "n": 1.5}), No),
            (json!({"a": "x", "n": 10}), No),
            (json!({"a": "x", "l": ["four"]}), No),
            (json!({"a": "x", "l": ["", "", ""]}), No),
            (json!({"a": "x", "o": {"p": 1}}), No),
            (json!({"a": "x", "c": "c"}), No),
            (json!({"a": "x", "c": {}}), No),
        ];
        for (values, wanted) in cases {
            assert_eq!(look(&schema, &values), wanted, "{values}");
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_the_validator() {
        let unusual = [
            json!({"$id": "https://example.com/x"}),
            json!({"$schema": "https://example.com/schema"}),
            json!({"$schema": "http://json-schema.org/draft-04/schema#"}),
            json!({"$ref": "#"}),
            json!({"$ref": "#/definitions/none"}),
            json!({"properties": {"a": {"pattern": "("}}}),
            json!({"properties": {"a": {"required": true}}}),
            json!({"properties": {"a": {"type": "text"}}}),
            json!({"properties": {"a": {"$schema": "http://json-schema.org/schema#"}}}),
            json!({"definitions": {"a": {"items": [{}]}}}),
            json!({"type": ["string", "string"]}),
            json!({"allOf": []}),
            json!({"minProperties": -1}),
        ];
        for schema in unusual {
            assert_eq!(look(&schema, &json!({})), Unsure, "{schema}");
        }
        let circle = json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}});
        assert_eq!(look(&circle, &json!({})), Unsure);
        let doubling: Map<String, Value> =
            (0..60).map(|n| (format!("d{n}"), json!({"allOf": vec![json!({"$ref": format!("#/$defs/d{}", n + 1)}); 2]}))).collect();
        let mut doubling = json!({"$ref": "#/$defs/d0", "$defs": doubling});
        doubling["$defs"]["d60"] = json!({});
        assert_eq!(look(&doubling, &json!({})), Unsure);
    }

    /// A number below `n`, the next of a row that is always the same.
    fn next(seed: &mut u64, n: usize) -> usize {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) as usize % n
    }

    fn some_value(seed: &mut u64, depth: usize) -> Value {
        match next(seed, if depth > 2 { 7 } else { 10 }) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(1),
            3 => json!(2.5),
            4 => json!("a"),
            5 => json!("long text"),
            6 => json!(-3),
            7 => Value::Array((0..next(seed, 3)).map(|_| some_value(seed, depth + 1)).collect()),
            _ => {
                let keys = ["a", "b", "c"];
                Value::Object((0..next(seed, 4)).map(|_| (keys[next(seed, 3)].to_owned(), some_value(seed, depth + 1))).collect())
            }
        }
    }

    fn some_schema(seed: &mut u64, depth: usize) -> Value {
        let mut schema = Map::new();
        let inner = |seed: &mut u64| if depth > 2 { json!({}) } else { some_schema(seed, depth + 1) };
        for _ in 0..=next(seed, 3) {
            let (keyword, value) = match next(seed, 20) {
                0 => ("type", json!(TYPES[next(seed, 7)])),
                1 => ("type", json!([TYPES[next(seed, 7)], TYPES[next(seed, 7)]])),
                2 => ("enum", json!(["a", null, true])),
                3 => ("enum", json!([1, "a", "a"])),
                4 => ("const", some_value(seed, 3)),
                5 => ("required", json!(["a"])),
                6 => ("required", json!(true)),
                7 => ("properties", json!({"a": inner(seed), "b": inner(seed)})),
                8 => ("additionalProperties", json!(false)),
                9 => ("additionalProperties", inner(seed)),
                10 => ("items", inner(seed)),
                11 => ("oneOf", json!([inner(seed), inner(seed)])),
                12 => ("anyOf", json!([inner(seed), inner(seed)])),
                13 => ("not", inner(seed)),
                14 => ("if", inner(seed)),
                15 => ("then", inner(seed)),
                16 => ("minimum", json!(next(seed, 3))),
                17 => ("maxLength", json!(next(seed, 4))),
                18 => ("format", json!("ipv4")),
                _ => ("$ref", json!("#/definitions/d")),
            };
            schema.insert(keyword.to_owned(), value);
        }
        Value::Object(schema)
    }

    #[test]
    fn the_validator_agrees() {
        let drafts = ["draft-06/schema#", "draft-07/schema#", "draft/2019-09/schema", "schema#"];
        let (mut seed, mut seen) = (11, [0; 2]);
        for round in 0..3_000 {
            let mut schema = some_schema(&mut seed, 0);
            schema["$schema"] = json!(format!("http://json-schema.org/{}", drafts[round % drafts.len()]));
            schema["definitions"] = json!({"d": some_schema(&mut seed, 2)});
            let Ok(plain) = Plain::new(schema.clone()) else { continue };
            let full = Full::new(&schema).unwrap_or_else(|why| panic!("{schema}: {why}"));
            for _ in 0..6 {
                let values = json!({"a": some_value(&mut seed, 0), "b": some_value(&mut seed, 1)});
                let fit = plain.fits(&Table::from_json(&values).unwrap_or_default());
                let found = full.schemas.validate(&values, full.index).is_ok();
                assert!(fit == Unsure || (fit == Yes) == found, "{fit:?} {schema} {values}");
                seen[usize::from(fit == Yes)] += usize::from(fit != Unsure);
            }
        }
        assert!(seen[0] > 500 && seen[1] > 500, "{seen:?}");
    }
}
