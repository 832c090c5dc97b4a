//! What is wrong with a schema itself: it must be structural, its extensions must fit together, its rules must compile
//! and must not cost too much.
//!
//! Follows apiextensions-apiserver 1.36; texts and paths are its own. Errors are in the order of the schema: the real
//! server's own order is that of Go's maps, any.

use serde_json::{Map, Value, json};

use super::{Additional, Node};
use crate::cel::REQUEST_BYTES_MAX;
use crate::field::{self, FieldError};

/// One rule may be estimated to cost no more, for all the places where it runs.
const RULE_COST_MAX: u64 = 10_000_000;

/// All rules of one schema may be estimated to cost no more.
const SCHEMA_COST_MAX: u64 = 100_000_000;

/// The real server names so many of the rules that cost most.
const EXPENSIVE_MAX: usize = 4;

/// What the checks depend on beside the schema.
#[derive(Debug, Default, Clone, Copy)]
pub struct Context {
    /// Whether the schema is as it was before: costs that were let pass once are let pass again.
    pub unchanged: bool,
}

/// What is wrong with a schema whose compiled form is given.
pub fn schema_problems(schema: &Value, node: &Node, path: &str, context: Context) -> Vec<FieldError> {
    let mut check = Check { out: Vec::new(), rules: Vec::new(), total: 0, expensive: Vec::new(), context };
    check.structure(schema, path, Level::Root, 0);
    if !check.out.is_empty() {
        // Rules are looked at once the schema can be relied on.
        return check.out;
    }
    check.extensions(schema, path, Place { defaults_forbidden: None, root: true, in_meta: false }, 0);
    if check.out.is_empty() {
        check.rules(schema, node, path, Some(1), None, 0);
        check.out = std::mem::take(&mut check.rules);
        if check.total > SCHEMA_COST_MAX {
            check.expensive.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
            check.expensive.truncate(EXPENSIVE_MAX);
            let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            check.out.extend(check.expensive.iter().map(|(path, _)| field::forbidden(path, why)));
            let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
            check.out.push(field::forbidden(path, &too_expensive(what, check.total, SCHEMA_COST_MAX)));
        }
    }
    check.out
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// What holds for a schema by where it stands.
#[derive(Clone, Copy)]
struct Place {
    /// Why no default may stand here.
    defaults_forbidden: Option<&'static str>,
    root: bool,
    in_meta: bool,
}

struct Check {
    out: Vec<FieldError>,
    rules: Vec<FieldError>,
    total: u64,
    expensive: Vec<(String, u64)>,
    context: Context,
}

fn holds(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key) == Some(&Value::Bool(true))
}

fn text<'m>(map: &'m Map<String, Value>, key: &str) -> &'m str {
    map.get(key).and_then(Value::as_str).unwrap_or("")
}

fn properties(map: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    map.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn list<'m>(map: &'m Map<String, Value>, key: &str) -> impl Iterator<Item = (usize, &'m Value)> {
    map.get(key).and_then(Value::as_array).into_iter().flatten().enumerate()
}

fn is_set(map: &Map<String, Value>, key: &str) -> bool {
    map.get(key).is_some_and(|value| !value.is_null())
}

/// `anyOf: [{type: integer}, {type: string}]`, which may stand beside `x-kubernetes-int-or-string`.
fn is_int_or_string(schemas: Option<&Value>) -> bool {
    schemas == Some(&json!([{"type": "integer"}, {"type": "string"}]))
}

impl Check {
    // ---- structure ----

    fn structure(&mut self, schema: &Value, path: &str, level: Level, depth: usize) {
        let Some(map) = schema.as_object().filter(|_| depth < super::DEPTH_MAX) else { return };
        let at = |name: &str| field::child(path, name);
        let ty = text(map, "type");
        match map.get("items").filter(|items| items.is_object()) {
            Some(items) => self.structure(items, &at("items"), Level::Item, depth + 1),
            None if ty == "array" => self.out.push(field::required(&at("items"), "must be specified")),
            None => {}
        }
        for (name, below) in properties(map) {
            self.structure(below, &field::key(&at("properties"), name), Level::Field, depth + 1);
        }
        if let Some(additional) = map.get("additionalProperties").filter(|additional| !additional.is_null()) {
            if level == Level::Root {
                self.out.push(field::forbidden(&at("additionalProperties"), "must not be used at the root"));
            }
            self.structure(additional, &at("additionalProperties"), Level::Field, depth + 1);
        }
        let int_or_string = holds(map, "x-kubernetes-int-or-string");
        let embedded = holds(map, "x-kubernetes-embedded-resource");
        let preserve = holds(map, "x-kubernetes-preserve-unknown-fields");
        if int_or_string && preserve {
            let why = "must be false if x-kubernetes-int-or-string is true";
            self.out.push(field::invalid(&at("x-kubernetes-preserve-unknown-fields"), &json!(true), why));
        }
        if int_or_string && embedded {
            let why = "must be false if x-kubernetes-int-or-string is true";
            self.out.push(field::invalid(&at("x-kubernetes-embedded-resource"), &json!(true), why));
        }
        self.values(map, path, depth, int_or_string);
        if embedded && ty != "object" {
            let why = "must be object if x-kubernetes-embedded-resource is true";
            self.out.push(if ty.is_empty() { field::required(&at("type"), why) } else { field::invalid(&at("type"), &json!(ty), why) });
        } else if ty.is_empty() && !int_or_string && !preserve {
            let why = match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            };
            self.out.push(field::required(&at("type"), why));
        }
        if embedded && is_set(map, "additionalProperties") {
            self.out.push(field::forbidden(&at("additionalProperties"), "must not be used if x-kubernetes-embedded-resource is set"));
        }
        if level == Level::Root && !ty.is_empty() && ty != "object" {
            self.out.push(field::invalid(&at("type"), &json!(ty), "must be object at the root"));
        }
        if level == Level::Root || embedded {
            self.type_and_meta(map, path, level);
        }
        if embedded && !preserve && properties(map).next().is_none() {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            self.out.push(field::required(&at("properties"), why));
        }
    }

    fn type_and_meta(&mut self, map: &Map<String, Value>, path: &str, level: Level) {
        for (name, below) in properties(map) {
            let at = field::key(&field::child(path, "properties"), name);
            let ty = below.get("type").and_then(Value::as_str).unwrap_or("");
            match name.as_str() {
                "kind" | "apiVersion" if ty != "string" => {
                    self.out.push(field::invalid(&field::child(&at, "type"), &json!(ty), "must be string"));
                }
                "metadata" => {
                    if ty != "object" {
                        self.out.push(field::invalid(&field::child(&at, "type"), &json!(ty), "must be object"));
                    }
                    if level == Level::Root && !restricts_names_only(below) {
                        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
                        self.out.push(field::forbidden(&at, why));
                    }
                }
                _ => {}
            }
        }
    }

    /// Alternatives may only restrict what the schema around them declares.
    fn values(&mut self, map: &Map<String, Value>, path: &str, depth: usize, int_or_string: bool) {
        for key in ["allOf", "anyOf", "oneOf"] {
            let pattern = int_or_string && key == "anyOf" && is_int_or_string(map.get(key));
            for (index, nested) in list(map, key).filter(|_| !pattern) {
                let first = int_or_string && key == "allOf" && index == 0 && is_int_or_string(nested.get("anyOf"));
                self.nested(nested, &field::index(&field::child(path, key), index), depth + 1, first);
            }
        }
        if let Some(nested) = map.get("not").filter(|not| not.is_object()) {
            self.nested(nested, &field::child(path, "not"), depth + 1, false);
        }
        let pattern = text(map, "pattern");
        if !pattern.is_empty()
            && let Err(error) = super::pattern(pattern)
        {
            let why = format!("must be a valid regular expression, but isn't: {}", error.lines().last().unwrap_or(""));
            self.out.push(field::invalid(&field::child(path, "pattern"), &json!(pattern), &why));
        }
    }

    fn nested(&mut self, schema: &Value, path: &str, depth: usize, skip_any_of: bool) {
        let Some(map) = schema.as_object().filter(|_| depth < super::DEPTH_MAX) else { return };
        self.values(map, path, depth, skip_any_of);
        let at = |name: &str| field::child(path, name);
        if let Some(items) = map.get("items") {
            self.nested(items, &at("items"), depth + 1, false);
        }
        for (name, below) in properties(map) {
            self.nested(below, &field::key(&at("properties"), name), depth + 1, false);
        }
        for (key, why) in [
            ("type", "must be empty to be structural"),
            ("additionalProperties", "must be undefined to be structural"),
            ("default", "must be undefined to be structural"),
            ("title", "must be empty to be structural"),
            ("description", "must be empty to be structural"),
            ("nullable", "must be false to be structural"),
            ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
            ("x-kubernetes-embedded-resource", "must be false to be structural"),
            ("x-kubernetes-int-or-string", "must be false to be structural"),
            ("x-kubernetes-list-map-keys", "must be empty to be structural"),
            ("x-kubernetes-list-type", "must be undefined to be structural"),
            ("x-kubernetes-map-type", "must be undefined to be structural"),
            ("x-kubernetes-validations", "must be empty to be structural"),
        ] {
            let empty = match map.get(key) {
                None | Some(Value::Null | Value::Bool(false)) => key != "additionalProperties" || map.get(key) != Some(&Value::Bool(false)),
                Some(Value::String(text)) => text.is_empty() && key != "default",
                Some(Value::Array(list)) => list.is_empty() && key != "default",
                Some(_) => false,
            };
            if !empty {
                self.out.push(field::forbidden(&at(key), why));
            }
        }
        if properties(map).any(|(name, _)| name == "metadata") {
            self.out.push(field::forbidden(&field::key(&at("properties"), "metadata"), "must not be specified in a nested context"));
        }
    }

    // ---- extensions and defaults ----

    fn extensions(&mut self, schema: &Value, path: &str, place: Place, depth: usize) {
        let Some(map) = schema.as_object().filter(|_| depth < super::DEPTH_MAX) else { return };
        let at = |name: &str| field::child(path, name);
        if is_set(map, "default")
            && let Some(why) = place.defaults_forbidden
        {
            self.out.push(field::forbidden(&at("default"), &format!("must not be set {why}")));
        }
        if holds(map, "uniqueItems") {
            let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.out.push(field::forbidden(&at("uniqueItems"), why));
        }
        let below = Place { root: false, ..place };
        match map.get("additionalProperties") {
            None | Some(Value::Null) => {}
            Some(additional) => {
                if properties(map).next().is_some() && *additional != Value::Bool(true) {
                    self.out
                        .push(field::forbidden(&at("additionalProperties"), "additionalProperties and properties are mutual exclusive"));
                }
                let mut child = below;
                if place.in_meta {
                    child.defaults_forbidden = Some("inside additionalProperties applying to object metadata");
                }
                self.extensions(additional, &at("additionalProperties"), child, depth + 1);
            }
        }
        let embedded = holds(map, "x-kubernetes-embedded-resource");
        for (name, property) in properties(map) {
            let mut child = below;
            let top = match name.as_str() {
                "metadata" => "in top-level metadata",
                "kind" => "in top-level kind",
                _ => "in top-level apiVersion",
            };
            if (place.root || embedded) && matches!(name.as_str(), "metadata" | "kind" | "apiVersion") {
                child.in_meta = true;
                if place.root {
                    child.defaults_forbidden = Some(top);
                }
            }
            self.extensions(property, &field::key(&at("properties"), name), child, depth + 1);
        }
        if let Some(items) = map.get("items") {
            self.extensions(items, &at("items"), below, depth + 1);
        }
        if map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
            self.out.push(field::invalid(&at("x-kubernetes-preserve-unknown-fields"), &json!(false), "must be true or undefined"));
        }
        self.lists_and_maps(map, path);
        self.rule_fields(map, path);
    }

    fn lists_and_maps(&mut self, map: &Map<String, Value>, path: &str) {
        let at = |name: &str| field::child(path, name);
        let ty = text(map, "type");
        for (key, wanted) in [("x-kubernetes-map-type", "object"), ("x-kubernetes-list-type", "array")] {
            if is_set(map, key) && ty != wanted {
                let why = format!("must be {wanted} if {key} is specified");
                self.out.push(if ty.is_empty() {
                    field::required(&at("type"), &why)
                } else {
                    field::invalid(&at("type"), &json!(ty), &why)
                });
            }
        }
        if let Some(kind) = map.get("x-kubernetes-map-type").filter(|kind| !matches!(kind.as_str(), Some("atomic" | "granular"))) {
            self.out.push(field::not_supported(&at("x-kubernetes-map-type"), kind, &["atomic", "granular"]));
        }
        let items = map.get("items").and_then(Value::as_object);
        let kind = text(map, "x-kubernetes-list-type");
        if kind == "set"
            && ty == "array"
            && let Some(items) = items
        {
            let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
            let (key, given) = match text(items, "type") {
                "array" => ("x-kubernetes-list-type", Some(text(items, "x-kubernetes-list-type")).filter(|kind| !kind.is_empty())),
                "object" => ("x-kubernetes-map-type", Some(text(items, "x-kubernetes-map-type"))),
                _ => ("", None),
            };
            if given.is_some_and(|given| given != "atomic") {
                let shown = items.get("x-kubernetes-list-type").cloned().unwrap_or(Value::Null);
                self.out.push(field::invalid(&field::child(&at("items"), key), &shown, why));
            }
        }
        if is_set(map, "x-kubernetes-list-type") && !matches!(kind, "atomic" | "set" | "map") {
            self.out.push(field::not_supported(&at("x-kubernetes-list-type"), &json!(kind), &["atomic", "set", "map"]));
        }
        let keys: Vec<&str> = list(map, "x-kubernetes-list-map-keys").filter_map(|(_, key)| key.as_str()).collect();
        if !keys.is_empty() && kind != "map" {
            let why = "must be map if x-kubernetes-list-map-keys is non-empty";
            let place = at("x-kubernetes-list-type");
            self.out.push(if kind.is_empty() { field::required(&place, why) } else { field::invalid(&place, &json!(kind), why) });
        }
        if kind == "map" {
            self.list_map(map, path, items, &keys);
        }
    }

    fn list_map(&mut self, map: &Map<String, Value>, path: &str, items: Option<&Map<String, Value>>, keys: &[&str]) {
        let at = |name: &str| field::child(path, name);
        let key_path = at("x-kubernetes-list-map-keys");
        if keys.is_empty() {
            self.out.push(field::required(&key_path, "must not be empty if x-kubernetes-list-type is map"));
        }
        let Some(items) = items else {
            self.out.push(field::required(&at("items"), "must have a schema if x-kubernetes-list-type is map"));
            return;
        };
        let ty = text(items, "type");
        if ty != "object" {
            let why = "must be object if parent array's x-kubernetes-list-type is map";
            self.out.push(field::invalid(&field::child(&at("items"), "type"), &json!(ty), why));
            return;
        }
        let shown = map.get("x-kubernetes-list-map-keys").cloned().unwrap_or(Value::Null);
        let required: Vec<&str> = list(items, "required").filter_map(|(_, name)| name.as_str()).collect();
        for (index, key) in keys.iter().enumerate() {
            let place = field::key(&field::child(&at("items"), "properties"), key);
            match properties(items).find(|(name, _)| name == key).map(|(_, property)| property) {
                Some(property) => {
                    if matches!(property.get("type").and_then(Value::as_str), Some("array" | "object")) {
                        let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                        self.out.push(field::invalid(&field::child(&place, "type"), &json!(ty), why));
                    }
                    if property.get("default").is_none() && !required.contains(key) {
                        let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                        self.out.push(field::required(&field::child(&place, "default"), why));
                    }
                    if property.get("nullable") == Some(&Value::Bool(true)) {
                        let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
                        self.out.push(field::forbidden(&field::child(&place, "nullable"), why));
                    }
                }
                None => self.out.push(field::invalid(&key_path, &shown, "entries must all be names of item properties")),
            }
            if keys[..index].contains(key) {
                self.out.push(field::invalid(&key_path, &shown, "must not contain duplicate entries"));
            }
        }
    }

    fn rule_fields(&mut self, map: &Map<String, Value>, path: &str) {
        for (index, rule) in list(map, "x-kubernetes-validations") {
            let at = |name: &str| field::child(&field::index(&field::child(path, "x-kubernetes-validations"), index), name);
            let Some(rule) = rule.as_object() else { continue };
            let message = rule.get("message").and_then(Value::as_str);
            let (has_break, trimmed) = (text(rule, "rule").contains('\n'), message.map(str::trim));
            if text(rule, "rule").trim().is_empty() {
                self.out.push(field::required(&at("rule"), "rule is not specified"));
            }
            let messages = message.is_some_and(|message| !message.is_empty());
            if messages && trimmed == Some("") {
                self.out.push(field::invalid(&at("message"), &json!(message), "must be non-empty if specified"));
            } else if trimmed.is_some_and(|message| message.contains('\n')) {
                self.out.push(field::invalid(&at("message"), &json!(message), "must not contain line breaks"));
            } else if has_break && !messages {
                self.out.push(field::required(&at("message"), "message must be specified if rule contains line breaks"));
            }
            let expression = text(rule, "messageExpression");
            if !expression.is_empty() && expression.trim().is_empty() {
                self.out.push(field::required(&at("messageExpression"), "messageExpression must be non-empty if specified"));
            }
            const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];
            if let Some(reason) = rule.get("reason").filter(|reason| reason.as_str().is_some_and(|reason| !REASONS.contains(&reason))) {
                self.out.push(field::not_supported(&at("reason"), reason, &REASONS));
            }
            let field_path = text(rule, "fieldPath");
            if !field_path.is_empty() {
                if field_path.trim().is_empty() {
                    self.out.push(field::invalid(&at("fieldPath"), &json!(field_path), "must be non-empty if specified"));
                } else if field_path.trim().contains('\n') {
                    self.out.push(field::invalid(&at("fieldPath"), &json!(field_path), "must not contain line breaks"));
                } else if let Err(why) = valid_path(field_path, map) {
                    self.out.push(field::invalid(&at("fieldPath"), &json!(field_path), &format!("fieldPath must be a valid path: {why}")));
                }
            }
        }
    }

    // ---- rules ----

    /// `places` is how often a value of this schema can stand in one object; none when nothing bounds it.
    fn rules(&mut self, schema: &Value, node: &Node, path: &str, places: Option<u64>, old_forbidden: Option<&str>, depth: usize) {
        let Some(map) = schema.as_object().filter(|_| depth < super::DEPTH_MAX) else { return };
        let at = |name: &str| field::child(path, name);
        let count = |key: &str| map.get(key).and_then(Value::as_i64).map(|count| u64::try_from(count).unwrap_or(0));
        let times = |count: Option<u64>| Some(places?.saturating_mul(count?));
        if let (Some(additional), Additional::Node(below)) = (map.get("additionalProperties"), &node.additional) {
            self.rules(additional, below, &at("additionalProperties"), times(count("maxProperties")), old_forbidden, depth + 1);
        }
        // Where a list or map is replaced as a whole, nothing below it has an old value.
        let atomic_map = (text(map, "x-kubernetes-map-type") == "atomic").then_some(path);
        for (name, property) in properties(map) {
            if let Some(below) = node.property(name) {
                let uncorrelated = old_forbidden.or(atomic_map);
                self.rules(property, below, &field::key(&at("properties"), name), places, uncorrelated, depth + 1);
            }
        }
        if let (Some(items), Some(below)) = (map.get("items"), &node.items) {
            let uncorrelated = old_forbidden.or((text(map, "x-kubernetes-list-type") != "map").then_some(path));
            self.rules(items, below, &at("items"), times(count("maxItems")), uncorrelated, depth + 1);
        }
        if let Some(default) = &node.default {
            self.default(default, node, &at("default"));
        }
        for (index, rule) in node.rules.iter().enumerate() {
            let given = &schema["x-kubernetes-validations"][index];
            let at = |name: &str| field::child(&field::index(&field::child(path, "x-kubernetes-validations"), index), name);
            let times = places.unwrap_or(REQUEST_BYTES_MAX / (node.bytes_min + 1));
            let (cost, message_cost) = rule.costs();
            let cost = cost.saturating_mul(times);
            if cost > RULE_COST_MAX && !self.context.unchanged {
                self.rules.push(field::forbidden(&at("rule"), &too_expensive("estimated rule cost", cost, RULE_COST_MAX)));
            }
            self.spend(at("rule"), cost);
            if let Some(error) = rule.error() {
                self.rules.push(field::invalid_struct(&at("rule"), &shown_rule(given), error));
            }
            if let Some(error) = rule.message_error() {
                self.rules.push(field::invalid_struct(&at("messageExpression"), &shown_rule(given), error));
            }
            if let Some(cost) = message_cost {
                if cost > RULE_COST_MAX && !self.context.unchanged {
                    let why = too_expensive("estimated messageExpression cost", cost, RULE_COST_MAX);
                    self.rules.push(field::forbidden(&at("messageExpression"), &why));
                }
                self.spend(at("messageExpression"), cost);
            }
            if rule.uses_old() {
                if let Some(above) = old_forbidden {
                    let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {above}");
                    self.rules.push(field::invalid(&at("rule"), &given["rule"], &why));
                }
            } else if given.get("optionalOldSelf").is_some_and(|optional| !optional.is_null()) && rule.error().is_none() {
                let why = "may not be set if oldSelf is not used in rule";
                self.rules.push(field::invalid(&at("optionalOldSelf"), &given["optionalOldSelf"], why));
            }
        }
    }

    /// A default must itself be what the schema asks for, and nothing more.
    fn default(&mut self, default: &Value, node: &Node, path: &str) {
        let mut pruned = json!({"value": default});
        if !super::prune_value(&mut pruned["value"], node).is_empty() {
            self.rules.push(field::invalid(path, default, "must not have unknown fields"));
        }
        for mut error in super::validate("", default, node) {
            error.field = match error.field.as_str() {
                "" | "<nil>" => path.to_owned(),
                below => field::child(path, below),
            };
            self.rules.push(error);
        }
    }

    fn spend(&mut self, path: String, cost: u64) {
        self.total = self.total.saturating_add(cost);
        if cost >= SCHEMA_COST_MAX / 100 {
            self.expensive.push((path, cost));
        }
    }
}

/// The rule as the real server shows it in an error.
fn shown_rule(rule: &Value) -> Value {
    let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or("");
    json!({
        "Rule": text("rule"), "Message": text("message"), "MessageExpression": text("messageExpression"),
        "Reason": rule.get("reason"), "FieldPath": text("fieldPath"), "OptionalOldSelf": rule.get("optionalOldSelf"),
    })
}

#[expect(clippy::cast_precision_loss, reason = "the factor is shown with one decimal")]
fn too_expensive(what: &str, cost: u64, max: u64) -> String {
    let factor = cost as f64 / max as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

/// At the root, metadata may restrict its two names and say nothing else.
fn restricts_names_only(metadata: &Value) -> bool {
    let Some(map) = metadata.as_object() else { return false };
    map.iter().all(|(key, value)| match key.as_str() {
        "type" | "default" | "description" => true,
        "properties" => {
            value.as_object().is_some_and(|properties| properties.keys().all(|name| matches!(name.as_str(), "name" | "generateName")))
        }
        _ => value.is_null() || *value == Value::Bool(false),
    })
}

/// `.spec.list['key']` must name properties of the schema.
fn valid_path(path: &str, map: &Map<String, Value>) -> Result<(), String> {
    let mut rest = path;
    let mut here = map;
    while !rest.is_empty() {
        let name;
        if let Some(after) = rest.strip_prefix("['") {
            let end = after.find("']").ok_or_else(|| "unexpected end of JSON path".to_owned())?;
            name = &after[..end];
            rest = &after[end + 2..];
        } else if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            name = &after[..end];
            rest = &after[end..];
        } else {
            return Err(format!("expected [ or . but got: {}", rest.chars().next().unwrap_or(' ')));
        }
        if name.is_empty() {
            return Err("unexpected end of JSON path".to_owned());
        }
        let additional = here.get("additionalProperties").filter(|additional| additional.is_object());
        let below = properties(here).find(|(known, _)| *known == name).map(|(_, below)| below).or(additional);
        here = below.and_then(Value::as_object).ok_or_else(|| format!("does not refer to a valid field: {name}"))?;
    }
    Ok(())
}
