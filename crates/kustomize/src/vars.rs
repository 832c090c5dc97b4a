//! Vars, the deprecated forerunner of replacements: `$(NAME)` in the fields that `varReference` lists.

use crate::{
    error::{Result, problem},
    fields::{FieldSpec, Make},
    id::{Gvk, Id},
    kustomization::Var,
    object::Objects,
    path,
    transform::Run,
};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};
use yaml::{Data, Node, Scalar, Style, Tag};

fn target(var: &Var) -> Id {
    let target = &var.objref;
    let (mut group, mut version) = (target.group.as_str(), target.version.as_str());
    match target.api_version.split('/').collect::<Vec<_>>().as_slice() {
        [""] => {}
        [only] => version = only,
        [first, second] => (group, version) = (first, second),
        _ => {}
    }
    Id {
        gvk: Gvk { group: group.into(), version: version.into(), kind: target.kind.as_str().into() },
        name: target.name.as_str().into(),
        namespace: target.namespace.as_str().into(),
    }
}

/// Adds vars to those of the build, and notes on each object the vars that it gives.
pub(crate) fn collect(run: &Run<'_, '_>, objects: &mut Objects, vars: &mut BTreeMap<String, Var>, incoming: &[Var]) -> Result<()> {
    let scopes = run.scopes();
    for var in incoming {
        let id = target(var);
        let any_namespace = id.namespace.is_empty();
        let matched: Vec<usize> = objects
            .list
            .iter()
            .enumerate()
            .filter(|(_, object)| {
                object.former_ids().chain([object.id()]).any(|other| {
                    other.name == id.name
                        && other.gvk == id.gvk
                        && (any_namespace || other.effective_namespace(&scopes) == id.effective_namespace(&scopes))
                })
            })
            .map(|(at, _)| at)
            .collect();
        run.context.budget.spend(objects.list.len() as u64)?;
        match matched.as_slice() {
            [] => {}
            [at] => objects.list[*at].vars.push(var.name.clone()),
            [first, second, ..] => {
                let (first, second) = (objects.list[*first].id(), objects.list[*second].id());
                return Err(problem(format!("var {} matches several objects: {first} and {second}", var.name)));
            }
        }
    }
    for var in incoming {
        add(vars, var.clone())?;
    }
    Ok(())
}

/// Adds one var; names are unique.
pub(crate) fn add(vars: &mut BTreeMap<String, Var>, mut var: Var) -> Result<()> {
    if var.fieldref.field_path.is_empty() {
        var.fieldref.field_path = "metadata.name".to_owned();
    }
    let name = var.name.clone();
    if vars.insert(name.clone(), var).is_some() { Err(problem(format!("var {name} is defined twice"))) } else { Ok(()) }
}

#[derive(Clone)]
enum Value {
    Scalar(Scalar),
    /// A map or a list cannot stand in a string.
    Other,
}

/// Replaces the vars at the end of a build.
pub(crate) fn resolve(run: &Run<'_, '_>, objects: &mut Objects, vars: &BTreeMap<String, Var>, specs: &[FieldSpec]) -> Result<()> {
    if vars.is_empty() {
        return Ok(());
    }
    let mut values: BTreeMap<&str, Value> = BTreeMap::new();
    for (name, var) in vars {
        let object = objects
            .list
            .iter()
            .find(|object| object.vars.contains(name))
            .ok_or_else(|| problem(format!("var {name}: its objref matches no object")))?;
        let parts: Vec<_> = path::split(&var.fieldref.field_path).into_iter().flat_map(|part| split_index(&part)).collect();
        let found = path::lookup(&object.node, &parts).map_err(|error| error.on(object.id()))?;
        let found = found.ok_or_else(|| problem(format!("var {name}: there is no field {}", var.fieldref.field_path)).on(object.id()))?;
        values.insert(name, found.as_scalar().map_or(Value::Other, |scalar| Value::Scalar(scalar.clone())));
    }
    let used: RefCell<BTreeSet<String>> = RefCell::default();
    let longest = values.values().map(|value| if let Value::Scalar(scalar) = value { scalar.text.len() } else { 0 }).max().unwrap_or(0);
    let replace = |node: &mut Node| -> Result<()> {
        if let Data::Scalar(scalar) = &node.data
            && scalar.tag == Tag::Str
            && scalar.text.contains('$')
        {
            // A reference takes four bytes and may stand for as much as the longest value.
            run.context.budget.make(scalar.text.len() + scalar.text.matches("$(").count() * longest)?;
            let new = Scalar { shared: scalar.shared, ..expand(&scalar.text, &values, &used) };
            *node = Node { data: Data::Scalar(new), place: run.place };
        }
        Ok(())
    };
    for object in &mut objects.list {
        run.context.budget.spend(1)?;
        let gvk = object.gvk();
        for spec in specs.iter().filter(|spec| gvk.selected_by(&spec.gvk)) {
            let result = spec.apply(&mut object.node, Make::Nothing, run.place, &mut |node| match &mut node.data {
                Data::Scalar(_) => replace(node),
                Data::Map(map) => map.entries.iter_mut().try_for_each(|entry| replace(&mut entry.value)),
                Data::List(items) => items.iter_mut().try_for_each(|item| {
                    if item.as_str().is_none() {
                        return Err(problem(format!("an element must be a string, but is {}", item.describe())));
                    }
                    replace(item)
                }),
            });
            if let Err(error) = result {
                return Err(error.on(object.id()));
            }
        }
        object.shared.spread(&mut object.node);
    }
    let used = used.into_inner();
    let unused: Vec<&str> = values.keys().copied().filter(|name| !used.contains(*name)).collect();
    if !unused.is_empty() {
        run.context.warnings.borrow_mut().push(format!("well-defined vars that were never replaced: {}", unused.join(",")));
    }
    Ok(())
}

/// `ports[0]` is `ports` and `0`.
fn split_index(part: &str) -> Vec<smol_str::SmolStr> {
    if let Some((name, rest)) = part.split_once('[')
        && let Some(index) = rest.strip_suffix(']')
        && !name.is_empty()
        && index.parse::<usize>().is_ok()
    {
        return vec![name.into(), index.into()];
    }
    vec![part.into()]
}

/// Replaces `$(NAME)`; `$$` is a dollar. Text that is one reference and nothing else takes the type of the value.
fn expand(text: &str, values: &BTreeMap<&str, Value>, used: &RefCell<BTreeSet<String>>) -> Scalar {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        match after.chars().next() {
            Some('$') => {
                out.push('$');
                rest = &after[1..];
            }
            Some('(') => {
                let Some(end) = after.find(')') else {
                    out.push_str("$(");
                    rest = &after[1..];
                    continue;
                };
                let name = &after[1..end];
                rest = &after[end + 1..];
                match values.get(name) {
                    Some(Value::Scalar(value)) => {
                        used.borrow_mut().insert(name.to_owned());
                        if text.len() == name.len() + 3 {
                            return Scalar::new(value_text(value), value.tag, Style::Plain);
                        }
                        out.push_str(&value_text(value));
                    }
                    Some(Value::Other) | None => {
                        out.push_str("$(");
                        out.push_str(name);
                        out.push(')');
                    }
                }
            }
            Some(c) => {
                out.push('$');
                out.push(c);
                rest = &after[c.len_utf8()..];
            }
            None => {
                out.push('$');
                rest = "";
            }
        }
    }
    out.push_str(rest);
    Scalar::string(out)
}

fn value_text(value: &Scalar) -> String {
    value.text.to_string()
}
