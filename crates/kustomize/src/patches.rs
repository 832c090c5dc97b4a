use crate::{
    budget::measure,
    build::Use,
    error::{Error, Place, Result, problem},
    json_patch,
    kustomization::{Patch, PatchOptions},
    load::Root,
    object::{Object, Objects},
    read,
    select::{Selector, SelectorText},
    strategic,
    transform::Run,
};
use std::collections::BTreeMap;

/// A patch read: of either kind.
enum Content {
    Strategic(Vec<Object>),
    Json(json_patch::Patch),
    Nothing,
}

/// The text of a patch, the file that errors name, and the line of it at which the text begins.
struct Text {
    file: String,
    text: String,
    first_line: u32,
}

/// Takes a text that stands in a kustomization, at a line if that is known, or reads a file.
fn text_of(run: &Run<'_, '_>, root: &Root, path: &str, inline: &str, line: u32) -> Result<Text> {
    if path.is_empty() {
        return Ok(Text { file: run.context.place_of(run.place).file, text: inline.to_owned(), first_line: line.max(1) });
    }
    let (file, text) = root.read_text(run.context, path, Use::Patch)?;
    Ok(Text { file, text: text.into_owned(), first_line: 1 })
}

/// Applies one entry of `patches`; `line` is where its text begins in the kustomization, if that is known.
pub(crate) fn apply(run: &Run<'_, '_>, root: &Root, objects: &mut Objects, patch: &Patch, line: u32) -> Result<()> {
    let inline = patch.patch.trim();
    match (inline.is_empty(), patch.path.is_empty()) {
        (true, true) => return Err(problem("a patch needs one of patch and path")),
        (false, false) => return Err(problem("a patch can have one of patch and path, not both")),
        _ => {}
    }
    let text = text_of(run, root, &patch.path, inline, line)?;
    let file = &text.file;
    let place = yaml::Place { source: run.context.source(file), line: text.first_line };
    match content(run, &text, patch.options.as_ref())? {
        Content::Nothing => Ok(()),
        Content::Strategic(patches) => match &patch.target {
            Some(target) => apply_to_target(run, objects, patches, target, file),
            None => patches.into_iter().try_for_each(|patch| apply_to_its_id(run, objects, patch)),
        },
        Content::Json(patch_json) => {
            let target = patch.target.as_ref().ok_or_else(|| Error::invalid(file, "a JSON patch needs a target"))?;
            apply_json(run, objects, &patch_json, target, place, true)
        }
    }
}

fn content(run: &Run<'_, '_>, text: &Text, options: Option<&PatchOptions>) -> Result<Content> {
    let strategic = read::objects_from(run.context, &text.text, &text.file, text.first_line);
    let Text { file, text, .. } = text;
    let json = json_patch::Patch::parse(text);
    match (strategic, json) {
        (Ok(objects), Ok(json)) if !objects.is_empty() && !json.is_empty() => {
            Err(Error::invalid(file, "the patch can be read both as a strategic merge patch and as a JSON patch"))
        }
        (Ok(mut objects), _) => {
            if objects.is_empty() {
                return Ok(Content::Nothing);
            }
            if let Some(options) = options.filter(|options| options.allow_name_change || options.allow_kind_change) {
                for object in &mut objects {
                    object.allow_name_change |= options.allow_name_change;
                    object.allow_kind_change |= options.allow_kind_change;
                    // kustomize notes it in the annotations, and makes strings of them.
                    let annotations = object.pairs("annotations");
                    object.set_pairs("annotations", &annotations);
                }
            }
            Ok(Content::Strategic(objects))
        }
        (Err(_), Ok(json)) => Ok(Content::Json(json)),
        (Err(error), Err(why)) => {
            // A list was meant as a JSON patch.
            if text.trim_start().starts_with(['[', '-']) {
                Err(Error::invalid(file, format!("the patch cannot be read: {why}")))
            } else {
                Err(error)
            }
        }
    }
}

fn apply_to_target(run: &Run<'_, '_>, objects: &mut Objects, mut patches: Vec<Object>, target: &SelectorText, file: &str) -> Result<()> {
    if patches.len() > 1 {
        return Err(Error::invalid(file, "a patch with a target can hold one document only"));
    }
    let Some(patch) = patches.pop() else { return Ok(()) };
    let (bytes, _) = measure(&patch.node);
    let selector = Selector::new(target)?;
    let scopes = run.scopes();
    for object in &mut objects.list {
        run.context.budget.spend(1)?;
        if selector.matches(object, &scopes) {
            run.context.budget.make(bytes)?;
            merge_into(run, object, as_type_of(&patch, object))?;
        }
    }
    after(run, objects)
}

/// The patch as kustomize hands it to a selected object: of its type, its labels and annotations made strings.
fn as_type_of(patch: &Object, object: &Object) -> Object {
    let mut copy = patch.clone();
    for field in ["labels", "annotations"] {
        let pairs: BTreeMap<_, _> = patch.pairs(field);
        copy.set_pairs(field, &pairs);
    }
    let place = patch.node.place;
    copy.set_namespace(patch.namespace(), place);
    let version = object.gvk().api_version();
    match copy.node.as_map_mut().filter(|_| version.is_empty()) {
        // What has none gets a null.
        Some(map) => map.insert("apiVersion", yaml::Node::string("").at(place)),
        None => crate::ops::set_field_text(&mut copy.node, "apiVersion", &version, place),
    }
    copy
}

fn apply_to_its_id(run: &Run<'_, '_>, objects: &mut Objects, patch: Object) -> Result<()> {
    let at = its_target(run, objects, &patch)?;
    let changes_id = patch.allow_name_change || patch.allow_kind_change;
    merge_into(run, &mut objects.list[at], patch)?;
    if changes_id {
        objects.touch();
    }
    Ok(())
}

/// The one object that has or had the id of a patch.
fn its_target(run: &Run<'_, '_>, objects: &mut Objects, patch: &Object) -> Result<usize> {
    let id = patch.original_id();
    let places = objects.by_any_id(&id, &run.scopes());
    let place = run.context.place_of(patch.node.place);
    match places.as_slice() {
        [at] => Ok(*at),
        [] => {
            let same = objects.list.iter().find(|object| object.name() == id.name && object.kind() == id.gvk.kind);
            let near = same.map(|object| format!("; there is {}", object.id())).unwrap_or_default();
            Err(Error::Invalid { place, problem: format!("no object matches the patch of {id}{near}") })
        }
        _ => Err(Error::Invalid { place, problem: format!("several objects match the patch of {id}") }),
    }
}

fn after(run: &Run<'_, '_>, objects: &mut Objects) -> Result<()> {
    objects.drop_deleted();
    objects.touch();
    if let Some((first, _)) = objects.conflict(&run.scopes()) {
        return Err(problem(format!("after the patch two objects are {}", objects.list[first].id())));
    }
    Ok(())
}

fn merge_into(run: &Run<'_, '_>, object: &mut Object, patch: Object) -> Result<()> {
    let id = object.id();
    let place = run.context.place_of(patch.node.place);
    if patch.allow_name_change || patch.allow_kind_change {
        object.store_id(&run.scopes());
    }
    if patch.node.get("$patch").and_then(yaml::Node::text) == Some("replace") {
        // kustomize drops what a replacement of the whole object makes, and the object stays as it was.
        return Ok(());
    }
    let schema = run.context.schema.borrow().clone();
    let at = {
        let gvk = &id.gvk;
        // A patch of another kind brings its own schema where the object's is unknown.
        schema.of_type(&gvk.api_version(), &gvk.kind).or_else(|| {
            let gvk = patch.gvk();
            schema.of_type(&gvk.api_version(), &gvk.kind)
        })
    };
    let (allow_name, allow_kind) = (patch.allow_name_change, patch.allow_kind_change);
    let api_version_place = object.node.get("apiVersion").map(|node| node.place);
    let kept = |node: &yaml::Node, path: &[&str]| node.at_path(path).map_or(yaml::Place::default(), |node| node.place);
    let (kind_place, name_place, namespace_place) =
        (kept(&object.node, &["kind"]), kept(&object.node, &["metadata", "name"]), kept(&object.node, &["metadata", "namespace"]));
    let node = std::mem::replace(&mut object.node, yaml::Node::null());
    let merged =
        strategic::merge(node, patch.node, &schema, at, strategic::Options::default(), &run.context.budget).map_err(
            |error| match error {
                Error::Invalid { problem, .. } => {
                    Error::Object { place: place.clone(), object: id.to_string(), problem: format!("the patch does not fit: {problem}") }
                }
                other => other,
            },
        )?;
    let Some(merged) = merged.filter(|merged| !crate::ops::is_empty(merged)) else {
        object.node = yaml::Node::map();
        object.deleted = true;
        return Ok(());
    };
    object.node = merged;
    if let Some(version) = object.node.get_mut("apiVersion").filter(|version| version.as_str() == Some("")) {
        *version = yaml::Node::plain("").at(version.place);
    }
    if let (Some(place), Some(node)) = (api_version_place, object.node.get_mut("apiVersion")) {
        node.place = place;
    }
    if !allow_kind {
        crate::ops::set_field_text(&mut object.node, "kind", &id.gvk.kind, kind_place);
    }
    if !allow_name {
        object.set_name(&id.name, name_place);
    }
    object.set_namespace(&id.namespace, namespace_place);
    object.shared.spread(&mut object.node);
    Ok(())
}

fn apply_json(
    run: &Run<'_, '_>,
    objects: &mut Objects,
    patch: &json_patch::Patch,
    target: &SelectorText,
    place: yaml::Place,
    store_id: bool,
) -> Result<()> {
    let selector = Selector::new(target)?;
    let scopes = run.scopes();
    let file = run.context.place_of(place);
    for object in &mut objects.list {
        run.context.budget.spend(1)?;
        if !selector.matches(object, &scopes) {
            continue;
        }
        let id = object.id();
        if store_id {
            object.store_id(&scopes);
        }
        patch.apply(&mut object.node, place, &run.context.budget).map_err(|error| match error {
            Error::Invalid { problem, .. } => {
                Error::Object { place: Place { file: file.file.clone(), line: 0 }, object: id.to_string(), problem }
            }
            other => other,
        })?;
        object.shared.forget();
    }
    objects.touch();
    Ok(())
}

/// Applies `patchesStrategicMerge`: each entry is a file, or the patch itself.
/// `line_of` tells the line of an entry's text, `inline` is one more text with its line.
pub(crate) fn apply_strategic(
    run: &Run<'_, '_>,
    root: &Root,
    objects: &mut Objects,
    entries: &[String],
    line_of: &dyn Fn(usize) -> u32,
    inline: Option<(&str, u32)>,
) -> Result<()> {
    let mut patches = Vec::new();
    let file = run.context.place_of(run.place).file;
    for (at, entry) in entries.iter().enumerate() {
        match read::objects_from(run.context, entry, &file, line_of(at)) {
            Ok(found) => patches.extend(found),
            Err(error) if entry.contains('\n') => return Err(error),
            Err(_) => {
                let (file, text) = root.read_text(run.context, entry, Use::Patch)?;
                patches.extend(read::objects(run.context, &text, &file)?);
            }
        }
    }
    if let Some((text, line)) = inline.filter(|(text, _)| !text.is_empty()) {
        patches.extend(read::objects_from(run.context, text, &file, line)?);
    }
    if patches.is_empty() {
        return Err(problem("the patch is empty"));
    }
    for patch in patches {
        let at = its_target(run, objects, &patch)?;
        let copy = as_type_of(&patch, &objects.list[at]);
        merge_into(run, &mut objects.list[at], copy)?;
        if objects.list[at].deleted {
            objects.drop_deleted();
        }
        if patch.allow_name_change || patch.allow_kind_change {
            after(run, objects)?;
        }
    }
    Ok(())
}

/// Applies one entry of `patchesJson6902`.
pub(crate) fn apply_json6902(
    run: &Run<'_, '_>,
    root: &Root,
    objects: &mut Objects,
    path: &str,
    operations: &str,
    target: Option<&SelectorText>,
    line: u32,
) -> Result<()> {
    let target = target.ok_or_else(|| problem("a JSON patch needs a target"))?;
    if target.name.is_empty() {
        return Err(problem("the target of a JSON patch needs a name"));
    }
    match (path.is_empty(), operations.is_empty()) {
        (true, true) => return Err(problem("a JSON patch needs one of path and patch")),
        (false, false) => return Err(problem("a JSON patch can have one of path and patch, not both")),
        _ => {}
    }
    let Text { file, text, first_line } = text_of(run, root, path, operations, line)?;
    let patch = json_patch::Patch::parse(&text).map_err(|why| Error::invalid(&file, why))?;
    if patch.is_empty() {
        return Err(Error::invalid(&file, "the patch is empty"));
    }
    let place = yaml::Place { source: run.context.source(&file), line: first_line };
    apply_json(run, objects, &patch, target, place, false)
}
