use crate::{
    budget::DEPTH_MAX,
    build::Use,
    decode::{Decode, Mode},
    error::{Error, Place, Result, problem},
    id::{Gvk, Id},
    kustomization::{FieldOptions, Replacement, ReplacementField, ReplacementTarget, Source},
    load::Root,
    object::{Object, Objects},
    ops,
    path::{self, Create},
    select::Selector,
    shared,
    transform::Run,
};
use serde_json::Value;
use smol_str::SmolStr;
use yaml::{Data, Dialect, Node, Scalar, Style, Tag};

/// Reads the replacements that stand in files.
pub(crate) fn load(run: &Run<'_, '_>, root: &Root, fields: &[ReplacementField]) -> Result<Vec<(String, Replacement)>> {
    let own = run.context.place_of(run.place).file;
    let mut replacements = Vec::new();
    for field in fields {
        if field.path.is_empty() {
            replacements.push((own.clone(), field.replacement.clone()));
            continue;
        }
        if field.replacement.source.is_some() || field.replacement.targets.as_ref().is_some_and(|targets| !targets.is_empty()) {
            return Err(problem("a replacement can have a path or stand inline, not both"));
        }
        let (file, text) = root.read_text(run.context, &field.path, Use::Resource)?;
        let yaml_error = |source| Error::Yaml { place: Place { file: file.clone(), line: 0 }, source };
        let value = yaml::to_json(&text, Dialect::Sigs).map_err(yaml_error)?;
        match value {
            Value::Array(_) => {
                let list = Vec::<Replacement>::decode(&value, "", Mode::PLUGIN).map_err(|error| error.or_in(&file))?;
                replacements.extend(list.into_iter().map(|replacement| (file.clone(), replacement)));
            }
            Value::Object(_) => {
                let one = Replacement::decode(&value, "", Mode::PLUGIN).map_err(|error| error.or_in(&file))?;
                replacements.push((file.clone(), one));
            }
            _ => return Err(Error::invalid(&file, "a replacement file holds one replacement or a list of them")),
        }
    }
    Ok(replacements)
}

/// Carries out replacements, each from one source to its targets.
pub(crate) fn apply(run: &Run<'_, '_>, objects: &mut Objects, replacements: &[(String, Replacement)]) -> Result<()> {
    let own = run.context.place_of(run.place).file;
    for (file, replacement) in replacements {
        // A value of a file of its own came from there.
        let place = if *file == own { run.place } else { yaml::Place { source: run.context.source(file), line: 0 } };
        let run = &Run { context: run.context, place };
        let result = apply_one(run, objects, replacement);
        result.map_err(|error| error.or_at(run.context.place_of(run.place)))?;
    }
    objects.touch();
    Ok(())
}

fn apply_one(run: &Run<'_, '_>, objects: &mut Objects, replacement: &Replacement) -> Result<()> {
    let Some(targets) = &replacement.targets else { return Err(problem("a replacement needs a source and at least one target")) };
    let value = match (&replacement.source, &replacement.source_value) {
        (Some(_), Some(_)) => return Err(problem("a replacement can have a source or a sourceValue, not both")),
        (None, None) => return Err(problem("a replacement needs a source and at least one target")),
        (None, Some(text)) => Node::plain(text).at(run.place),
        (Some(source), None) => source_value(run, objects, source)?,
    };
    targets.iter().try_for_each(|target| apply_target(run, objects, &value, target))
}

/// Every id of an object as replacements see them: the types of old ids are known, scopes are not.
fn ids(object: &Object) -> impl Iterator<Item = Id> + '_ {
    std::iter::once(object.id()).chain(object.former_ids())
}

fn source_value(run: &Run<'_, '_>, objects: &Objects, source: &Source) -> Result<Node> {
    let wanted = Gvk { group: source.group.as_str().into(), version: source.version.as_str().into(), kind: source.kind.as_str().into() };
    let effective = |namespace: &str| if namespace.is_empty() { "default".to_owned() } else { namespace.to_owned() };
    let selected = |id: &Id| {
        (source.name.is_empty() || source.name == id.name)
            && (source.namespace.is_empty() || effective(&source.namespace) == effective(&id.namespace))
            && id.gvk.selected_by(&wanted)
    };
    run.context.budget.spend(objects.list.len() as u64)?;
    let mut matches = objects.list.iter().filter(|object| ids(object).any(|id| selected(&id)));
    let named = [&source.kind, &source.name].iter().filter(|part| !part.is_empty()).map(|part| part.as_str()).collect::<Vec<_>>().join(" ");
    let object = matches.next().ok_or_else(|| problem(format!("the source of a replacement ({named}) matches no object")))?;
    if let Some(second) = matches.next() {
        return Err(problem(format!("the source of a replacement ({named}) matches several objects: {} and {}", object.id(), second.id())));
    }
    let field_path = if source.field_path.is_empty() { "metadata.name" } else { &source.field_path };
    let found = path::lookup(&object.node, &path::split(field_path)).map_err(|error| error.on(object.id()))?;
    let found = found
        .filter(|node| !ops::is_empty(node))
        .ok_or_else(|| problem(format!("field {field_path} is missing or empty; it is the source of a replacement")).on(object.id()))?;
    let Some(options) = source.options.as_ref().filter(|options| !options.delimiter.is_empty()) else {
        let mut value = found.clone();
        shared::unmark(&mut value);
        return Ok(value);
    };
    let scalar = found.as_scalar().ok_or_else(|| problem("a delimiter works on scalars only").on(object.id()))?;
    let parts: Vec<&str> = scalar.text.split(options.delimiter.as_str()).collect();
    let part = usize::try_from(options.index).ok().and_then(|index| parts.get(index));
    let part = part.ok_or_else(|| {
        problem(format!("options.index {} is out of bounds: field {field_path} has {} parts", options.index, parts.len())).on(object.id())
    })?;
    Ok(Node { data: Data::Scalar(Scalar::new(*part, scalar.tag, scalar.style)), place: found.place })
}

fn apply_target(run: &Run<'_, '_>, objects: &mut Objects, value: &Node, target: &ReplacementTarget) -> Result<()> {
    let select = target.select.as_ref().ok_or_else(|| problem("the target of a replacement needs a select"))?;
    let select = Selector::new(select)?;
    let mut reject_ids = Vec::new();
    let mut reject_metadata = Vec::new();
    for reject in &target.reject {
        let selector = Selector::new(reject)?;
        if !reject.label_selector.is_empty() || !reject.annotation_selector.is_empty() {
            reject_metadata.push(selector.clone());
        }
        if !reject.is_unnamed() {
            reject_ids.push(selector);
        }
    }
    let default_path = vec!["metadata.name".to_owned()];
    let field_paths = if target.field_paths.is_empty() { &default_path } else { &target.field_paths };
    let field_paths: Vec<(&String, Vec<SmolStr>)> = field_paths.iter().map(|path| (path, path::split(path))).collect();
    if let Some((text, _)) = field_paths.iter().find(|(_, parts)| parts.len() > DEPTH_MAX) {
        return Err(problem(format!("field path {}… has more than {DEPTH_MAX} parts", text.chars().take(40).collect::<String>())));
    }
    for object in &mut objects.list {
        run.context.budget.spend(1)?;
        if !select.matches_metadata(object) || reject_metadata.iter().any(|reject| reject.matches_metadata(object)) {
            continue;
        }
        let of: Vec<Id> = ids(object).collect();
        if of.iter().any(|id| reject_ids.iter().any(|reject| reject.matches_id(id))) || !of.iter().any(|id| select.matches_id(id)) {
            continue;
        }
        for (text, parts) in &field_paths {
            run.context.budget.spend(1 + value.size() as u64)?;
            copy_to(run, &mut object.node, value, text, parts, target.options.as_ref()).map_err(|error| error.on(&of[0]))?;
            object.shared.spread(&mut object.node);
        }
    }
    Ok(())
}

fn copy_to(run: &Run<'_, '_>, node: &mut Node, value: &Node, text: &str, parts: &[SmolStr], options: Option<&FieldOptions>) -> Result<()> {
    let create = match (options.is_some_and(|options| options.create), &value.data) {
        (false, _) => Create::Never,
        (true, Data::Scalar(_)) => Create::Scalar,
        (true, Data::Map(_)) => Create::Map,
        (true, Data::List(_)) => Create::List,
    };
    match set_in_text(run, node, value, parts, create) {
        Ok(()) => return Ok(()),
        Err(error @ Error::Limit { .. }) => return Err(error),
        Err(_) => {}
    }
    let what = if create == Create::Never { "find" } else { "find or create" };
    let context = |why: &str| problem(format!("cannot {what} field {text}, a target of a replacement{why}"));
    let mut failed = None;
    let count = path::for_each(node, parts, create, run.place, &mut |field| {
        set(field, value, options)
            .and_then(|()| run.context.budget.place(field, parts.len()))
            .inspect_err(|error| failed = Some(error.clone()))
    })
    .map_err(|error| match (failed.take(), error) {
        (Some(error), _) => error,
        (None, Error::Invalid { problem, .. }) => context(&format!(": {problem}")),
        (None, other) => other,
    })?;
    if count == 0 { Err(context("")) } else { Ok(()) }
}

/// Sets one field: a scalar keeps its type and takes the new text, anything else is replaced.
fn set(field: &mut Node, value: &Node, options: Option<&FieldOptions>) -> Result<()> {
    let mut value = value.clone();
    if let Some(options) = options.filter(|options| !options.delimiter.is_empty()) {
        let old = field.as_scalar().ok_or_else(|| problem("a delimiter works on scalars only"))?.text.clone();
        let mut parts: Vec<&str> = old.split(options.delimiter.as_str()).collect();
        let new = value.text().unwrap_or("").to_owned();
        match usize::try_from(options.index) {
            Err(_) => parts.insert(0, &new),
            Ok(index) if index >= parts.len() => parts.push(&new),
            Ok(index) => parts[index] = &new,
        }
        let joined = parts.join(&options.delimiter);
        let place = value.place;
        let (tag, style) = value.as_scalar().map_or((Tag::Str, Style::Plain), |scalar| (scalar.tag, scalar.style));
        value = Node { data: Data::Scalar(Scalar::new(joined, tag, style)), place };
    }
    match (&mut field.data, &value.data) {
        (Data::Scalar(old), new) => {
            // The old tag stays: text in the place of a number must still be one.
            let new_text = match new {
                Data::Scalar(new) => new.text.clone(),
                _ => SmolStr::default(),
            };
            if old.untyped {
                old.tag =
                    if new_text.is_empty() || old.style != Style::Plain { Tag::Str } else { yaml::plain_tag(Dialect::Kyaml, &new_text) };
            }
            old.text = new_text;
            field.place = value.place;
        }
        _ => *field = value,
    }
    Ok(())
}

/// A path may lead into YAML or JSON that stands in a string (kustomize setValueInStructuredData).
fn set_in_text(run: &Run<'_, '_>, node: &mut Node, value: &Node, parts: &[SmolStr], create: Create) -> Result<()> {
    if parts.len() < 2 {
        return Err(problem("not a path into text"));
    }
    for len in 1..parts.len() {
        let Ok(Some(found)) = path::lookup(node, &parts[..len]) else { continue };
        let Some(scalar) = found.as_scalar() else { continue };
        let text = scalar.text.clone();
        let Ok(Some(mut inner)) = yaml::first_document(&text, yaml::Limits::default(), found.place.source, 1) else { continue };
        // Options but create do not reach into text (kustomize 5.8.1).
        let count = path::for_each(&mut inner, &parts[len..], create, run.place, &mut |field| {
            set(field, value, None)?;
            run.context.budget.place(field, parts.len())
        })?;
        if count == 0 {
            return Err(problem("nothing there"));
        }
        let new = print_like(&inner, &text)?;
        run.context.budget.make(new.len())?;
        let mut done = false;
        path::for_each(node, &exact(&parts[..len]), Create::Never, run.place, &mut |field| {
            if let Data::Scalar(scalar) = &mut field.data
                && !std::mem::replace(&mut done, true)
            {
                scalar.text = new.as_str().into();
                field.place = run.place;
            }
            Ok(())
        })?;
        return if done { Ok(()) } else { Err(problem("nothing there")) };
    }
    Err(problem("no text on the path"))
}

/// Brackets are plain texts for a lookup and expressions for targets.
fn exact(parts: &[SmolStr]) -> Vec<SmolStr> {
    parts
        .iter()
        .map(|part| match part.strip_prefix('[').and_then(|part| part.strip_suffix(']')).and_then(|part| part.split_once('=')) {
            Some((name, value)) => format!("[{name}=^{}$]", regex::escape(value)).into(),
            None => part.clone(),
        })
        .collect()
}

/// Writes structured text the way it was: compact or pretty JSON, or YAML.
fn print_like(node: &Node, old: &str) -> Result<String> {
    if old.trim_start().starts_with(['{', '[']) {
        let json = yaml::node_json(node).map_err(|error| problem(error.to_string()))?;
        let pretty = old.contains('\n') && old.contains("  ");
        return Ok(crate::json::write(&json, pretty));
    }
    Ok(crate::json::write_yaml(node).trim().to_owned())
}
