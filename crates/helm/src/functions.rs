//! The functions that Helm adds to sprig's: templates in templates, YAML, JSON, TOML, lookups, durations.

use crate::{Profile, data::number, durations, toml};
use gotemplate::{Failure, Function, Functions, Limit, Map, MapKind, Run, Str, Type, Value, number::quote};
use serde_json::Value as Json;
use sprig::json;
use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::{Arc, LazyLock},
};
use yaml::Dialect;

const A: Type = Type::Any;
const S: Type = Type::String;

/// What Helm's functions need to know of a rendering.
pub(crate) struct Host {
    pub lookup: Option<Lookup>,
    /// Lint goes on where `required` and `fail` would stop.
    pub lint: bool,
    /// How often each template is being included right now.
    pub included: RefCell<HashMap<String, u32>>,
}

/// Finds objects in a cluster: API version, kind, namespace, name (empty for a list). `None` is not found.
pub type Lookup = Rc<dyn Fn(&str, &str, &str, &str) -> Result<Option<Json>, String>>;

const ALL: &[Function] = &[
    Function::new("include", &[S, A], |run, args| {
        let text = include(run, args)?;
        Ok(Value::String(Str::from_bytes(text)))
    })
    .writing(|run, args| included(run, args, |run, name| run.execute_here(name, &args[1]))),
    Function::new("tpl", &[S, A], |run, args| {
        let Value::String(text) = &args[0] else { return Ok(Value::string("")) };
        let written = run.execute_text("gotpl", text, &args[1])?;
        Ok(Value::String(Str::from_bytes(without_no_value(written))))
    }),
    Function::new("required", &[S, A], |run, args| {
        let missing = args[1].is_nil() || args[1].as_str().is_some_and(Str::is_empty);
        if !missing {
            return Ok(args[1].clone());
        }
        if host(run)?.lint { Ok(Value::string("")) } else { Err(warning(&args[0])) }
    }),
    Function::new("fail", &[S], |run, args| if host(run)?.lint { Ok(Value::string("")) } else { Err(warning(&args[0])) }),
    Function::new("lookup", &[S, S, S, S], lookup),
    Function::new("toYaml", &[A], |run, args| {
        let text = to_yaml(run, &args[0])?;
        Ok(Value::string(text))
    })
    .writing(|run, args| {
        let text = to_yaml(run, &args[0])?;
        run.write(text.as_bytes())
    }),
    Function::new("mustToYaml", &[A], |run, args| {
        let text = emit(run, &args[0])?.map_err(Failure::new)?;
        Ok(Value::string(text))
    }),
    Function::new("toYamlPretty", &[A], |run, args| {
        run.charge(weight(&args[0]))?;
        let text = crate::pretty::write(&args[0]).unwrap_or_default();
        run.reserve(text.len())?;
        Ok(Value::string(text))
    }),
    Function::new("fromYaml", &[S], |run, args| {
        charge_text(run, &args[0])?;
        Ok(match from_yaml(&args[0]) {
            Ok(Value::Map(map)) => Value::Map(map),
            Ok(Value::Nil) => Value::Map(Map::any()),
            Ok(other) => error_map(cannot_unmarshal(&other, "map[string]interface {}", true)),
            Err(why) => error_map(why),
        })
    }),
    Function::new("fromYamlArray", &[S], |run, args| {
        charge_text(run, &args[0])?;
        Ok(match from_yaml(&args[0]) {
            Ok(Value::List(list)) => Value::List(list),
            Ok(Value::Nil) => Value::list(Vec::new()),
            Ok(other) => Value::list(vec![Value::string(cannot_unmarshal(&other, "[]interface {}", true))]),
            Err(why) => Value::list(vec![Value::string(why)]),
        })
    }),
    Function::new("toJson", &[A], |run, args| {
        run.charge(weight(&args[0]))?;
        let text = json::encode(&args[0], json::Style::Html).unwrap_or_default();
        run.reserve(text.len())?;
        Ok(Value::string(text))
    }),
    Function::new("fromJson", &[S], |run, args| {
        charge_text(run, &args[0])?;
        Ok(match decode(&args[0]) {
            Ok(Value::Map(map)) => Value::Map(map),
            Ok(Value::Nil) => Value::Map(Map::any()),
            Ok(other) => error_map(cannot_unmarshal(&other, "map[string]interface {}", false)),
            Err(why) => error_map(why),
        })
    }),
    Function::new("fromJsonArray", &[S], |run, args| {
        charge_text(run, &args[0])?;
        Ok(match decode(&args[0]) {
            Ok(Value::List(list)) => Value::List(list),
            Ok(Value::Nil) => Value::list(Vec::new()),
            Ok(other) => Value::list(vec![Value::string(cannot_unmarshal(&other, "[]interface {}", false))]),
            Err(why) => Value::list(vec![Value::string(why)]),
        })
    }),
    Function::new("toToml", &[A], |run, args| {
        let text = match to_toml(run, &args[0])? {
            Ok(text) | Err(text) => text,
        };
        Ok(Value::string(text))
    }),
    Function::new("mustToToml", &[A], |run, args| to_toml(run, &args[0])?.map(Value::string).map_err(Failure::new)),
    Function::new("fromToml", &[S], |run, args| {
        charge_text(run, &args[0])?;
        let text = args[0].as_str().map(Str::text).unwrap_or_default();
        Ok(toml::decode(&text).map_or_else(error_map, Value::Map))
    }),
];

/// The functions of a profile. Environment and shell functions of sprig are not among them.
pub(crate) fn functions(profile: Profile) -> Arc<Functions> {
    fn table(more: &[Function]) -> Arc<Functions> {
        let mut functions = sprig::functions();
        functions.add(ALL);
        functions.add(more);
        Arc::new(functions)
    }
    static V4_2: LazyLock<Arc<Functions>> = LazyLock::new(|| table(&[]));
    static V4_3: LazyLock<Arc<Functions>> = LazyLock::new(|| table(durations::ALL));
    match profile {
        Profile::V4_2 => V4_2.clone(),
        Profile::V4_3 => V4_3.clone(),
    }
}

fn host(run: &Run<'_>) -> Result<Rc<Host>, Failure> {
    run.extension::<Host>().ok_or_else(|| Failure::new("no host: this function only works inside Helm's rendering"))
}

/// Marks that the outermost error shows instead of the trace.
pub(crate) const WARNING: (&str, &str) = ("HELM_ERR_START", "HELM_ERR_END");

fn warning(message: &Value) -> Failure {
    let text = message.as_str().map(Str::text).unwrap_or_default();
    Failure::new(format!("{}{text}{}", WARNING.0, WARNING.1))
}

/// Includes of one template inside itself that Helm allows.
const MAX_INCLUDES: u32 = 1_000;

fn include(run: &mut Run<'_>, args: &[Value]) -> Result<Vec<u8>, Failure> {
    let mut written = Vec::new();
    included(run, args, |run, name| {
        written = run.execute(name, &args[1])?;
        Ok(())
    })?;
    Ok(written)
}

fn included(run: &mut Run<'_>, args: &[Value], execute: impl FnOnce(&mut Run<'_>, &str) -> Result<(), Failure>) -> Result<(), Failure> {
    let name = args[0].as_str().map(Str::text).unwrap_or_default();
    let host = host(run)?;
    {
        let mut included = host.included.borrow_mut();
        match included.get_mut(&*name) {
            Some(count) if *count > MAX_INCLUDES => {
                return Err(
                    Failure::new("unable to execute template").wrap(format!("rendering template has a nested reference name: {name}: "))
                );
            }
            Some(count) => *count += 1,
            None => drop(included.insert(name.to_string(), 1)),
        }
    }
    let done = execute(run, &name);
    if let Some(count) = host.included.borrow_mut().get_mut(&*name) {
        *count -= 1;
    }
    done
}

/// Helm removes what Go writes for values that are not there.
pub(crate) fn without_no_value(text: Vec<u8>) -> Vec<u8> {
    const NO_VALUE: &[u8] = b"<no value>";
    let Some(first) = memchr::memmem::find(&text, NO_VALUE) else { return text };
    let mut out = text[..first].to_vec();
    let mut rest = &text[first + NO_VALUE.len()..];
    while let Some(at) = memchr::memmem::find(rest, NO_VALUE) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + NO_VALUE.len()..];
    }
    out.extend_from_slice(rest);
    out
}

fn lookup(run: &mut Run<'_>, args: &[Value]) -> Result<Value, Failure> {
    let host = host(run)?;
    let text = |at: usize| args[at].as_str().map(Str::text).unwrap_or_default();
    let Some(lookup) = host.lookup.as_ref().filter(|_| !host.lint) else { return Ok(Value::Map(Map::any())) };
    run.charge(1_000)?;
    match lookup(&text(0), &text(1), &text(2), &text(3)) {
        Ok(Some(object)) => {
            run.reserve(object.to_string().len())?;
            from_json(&object, true, 0)
        }
        Ok(None) => Ok(Value::Map(Map::any())),
        Err(why) => Err(Failure::new(why)),
    }
}

/// About how much there is to write.
fn weight(value: &Value) -> u64 {
    match value {
        Value::Map(map) => map.len() as u64,
        value => value.length().unwrap_or(0) as u64 / 8,
    }
}

fn charge_text(run: &mut Run<'_>, text: &Value) -> Result<(), Failure> {
    let length = text.length().unwrap_or(0);
    run.reserve(length)?;
    run.charge(length as u64 / 8)
}

fn error_map(why: String) -> Value {
    Value::Map(Map::from_entries(MapKind::Any, vec![("Error".into(), Value::string(why))]))
}

fn cannot_unmarshal(value: &Value, wanted: &str, yaml: bool) -> String {
    let what = match value {
        Value::Bool(_) => "bool",
        Value::String(_) => "string",
        Value::Map(_) => "object",
        Value::List(_) => "array",
        _ => "number",
    };
    let text = format!("json: cannot unmarshal {what} into Go value of type {wanted}");
    if yaml { format!("error unmarshaling JSON: while decoding JSON: {text}") } else { text }
}

fn decode(text: &Value) -> Result<Value, String> {
    json::decode(&text.as_str().map(Str::text).unwrap_or_default())
}

fn from_yaml(text: &Value) -> Result<Value, String> {
    let text = text.as_str().map(Str::text).unwrap_or_default();
    let json = yaml::to_json(&text, Dialect::Sigs)
        .map_err(|error| format!("error converting YAML to JSON: {}", error.go_message(Dialect::Sigs)))?;
    from_json(&json, false, 0).map_err(|failure| failure.to_string())
}

/// Nesting that conversions follow, within the stack that a thread has.
const MAX_DEPTH: usize = 300;

/// JSON as template values. Numbers are floats; objects of a cluster keep their integers, as the dynamic client reads them.
pub(crate) fn from_json(json: &Json, integers: bool, depth: usize) -> Result<Value, Failure> {
    if depth > MAX_DEPTH {
        return Err(Limit::Depth.into());
    }
    Ok(match json {
        Json::Null => Value::Nil,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => match n.as_i64().filter(|_| integers) {
            Some(n) => Value::Int64(n),
            None => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::string(text.as_str()),
        Json::Array(items) => Value::list(items.iter().map(|item| from_json(item, integers, depth + 1)).collect::<Result<_, _>>()?),
        Json::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, value)| Ok((key.as_str().into(), from_json(value, integers, depth + 1)?)))
                .collect::<Result<_, Failure>>()?;
            Value::Map(Map::from_entries(MapKind::Any, entries))
        }
    })
}

/// Template values as JSON. The error is Go's.
pub(crate) fn to_json(value: &Value, depth: usize) -> Result<Json, String> {
    nested(value, depth)?;
    Ok(match value {
        Value::Invalid | Value::Nil | Value::NilSlice(_) => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(n) | Value::Int64(n) | Value::Duration(n) => Json::from(*n),
        Value::Uint8(n) => Json::from(*n),
        Value::Uint64(n) => Json::from(*n),
        Value::Float(f) if f.is_finite() => number(*f),
        Value::Float(f) => return Err(format!("json: unsupported value: {}", gotemplate::number::float(*f))),
        Value::String(text) => Json::String(text.text().into_owned()),
        Value::Bytes(bytes) => Json::String(sprig::base64(bytes)),
        Value::Map(map) => {
            let mut object = serde_json::Map::with_capacity(map.len());
            map.visit(|key, value| {
                object.insert(key.to_string(), to_json(value, depth + 1)?);
                Ok::<(), String>(())
            })?;
            Json::Object(object)
        }
        Value::Object(object) => match (object.as_json(), object.entries()) {
            (Some(value), _) => to_json(&value, depth + 1)?,
            (None, Some(entries)) => Json::Object(
                entries.iter().map(|(key, value)| Ok((key.to_string(), to_json(value, depth + 1)?))).collect::<Result<_, String>>()?,
            ),
            (None, None) => items_to_json(value, depth)?,
        },
        _ => items_to_json(value, depth)?,
    })
}

fn items_to_json(value: &Value, depth: usize) -> Result<Json, String> {
    let count = value.length().unwrap_or(0);
    let items = (0..count).filter_map(|at| value.item(at)).map(|item| to_json(&item, depth + 1));
    Ok(Json::Array(items.collect::<Result<_, _>>()?))
}

/// The YAML of a value. What JSON cannot hold is Go's error of it.
fn emit(run: &mut Run<'_>, value: &Value) -> Result<Result<String, String>, Failure> {
    let mut text = String::new();
    let mut writer = yaml::Writer::new(&mut text);
    if let Err(why) = write_yaml(&mut writer, value, 0) {
        return Ok(Err(why));
    }
    writer.end();
    run.charge(text.len() as u64 / 16)?;
    run.reserve(text.len())?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(Ok(text))
}

/// Writes a value as the YAML of its JSON.
fn write_yaml(writer: &mut yaml::Writer<'_>, value: &Value, depth: usize) -> Result<(), String> {
    match value {
        Value::Invalid | Value::Nil | Value::NilSlice(_) => writer.null(),
        Value::Bool(b) => writer.bool(*b),
        Value::String(text) => writer.string(&text.text()),
        Value::List(list) | Value::Lists(list) => {
            nested(value, depth)?;
            writer.list(list.items.iter(), |writer, item| write_yaml(writer, item, depth + 1))?;
        }
        Value::Strings(list) => writer.list(list.iter(), |writer, text| {
            writer.string(&text.text());
            Ok::<(), String>(())
        })?,
        Value::Map(map) => {
            nested(value, depth)?;
            map.with_entries(|entries| {
                let entries = entries.iter().map(|(key, value)| (&**key, value)).collect();
                writer.map(entries, |writer, value| write_yaml(writer, value, depth + 1))
            })?;
        }
        // Rare ones, and numbers, which become JSON in many ways.
        other => writer.json(&to_json(other, depth)?),
    }
    Ok(())
}

/// Refuses what is nested too deeply, and so what holds itself.
fn nested(value: &Value, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("json: unsupported value: encountered a cycle via {}", value.type_name()));
    }
    Ok(())
}

/// Helm's `toYaml`: an error gives nothing.
pub(crate) fn to_yaml(run: &mut Run<'_>, value: &Value) -> Result<String, Failure> {
    run.charge(weight(value))?;
    Ok(emit(run, value)?.unwrap_or_default())
}

fn to_toml(run: &mut Run<'_>, value: &Value) -> Result<Result<String, String>, Failure> {
    run.charge(weight(value))?;
    if value.is_nil() {
        // Go's reflection panics, and the panic's text is what users see.
        return Err(Failure::new("reflect: call of reflect.Value.Type on zero Value"));
    }
    let text = toml::encode(value);
    run.reserve(text.as_ref().map_or(0, String::len))?;
    Ok(text)
}

/// Shows a text as Go's `%q`.
pub(crate) fn quoted(text: &str) -> String {
    quote(text.as_bytes())
}
