//! The simple transformers: each sets values at places that field specs name.

use crate::{
    budget::Budget,
    error::{Error, Result, problem},
    fields::{FieldSpec, Make},
    id::{Gvk, Scopes},
    kustomization::{Image, Pairs, Replica},
    load::Context,
    object::{Object, Objects},
    ops, select,
};
use regex::Regex;
use yaml::{Data, Node, Place, Tag};

/// What a transformer runs with.
pub(crate) struct Run<'c, 't> {
    pub context: &'c Context<'t>,
    pub place: Place,
}

impl Run<'_, '_> {
    fn fail(&self, object: &Object, error: Error) -> Error {
        error.on(object.id()).or_at(self.context.place_of(self.place))
    }

    pub fn scopes(&self) -> Scopes {
        self.context.scopes()
    }
}

/// The specs that apply to an object, as `FieldSpec` and the object's type stand now.
fn specs_for<'a>(specs: &'a [FieldSpec], gvk: &Gvk) -> Vec<&'a FieldSpec> {
    specs.iter().filter(|spec| gvk.selected_by(&spec.gvk)).collect()
}

/// Sets the same pairs in every map that the specs name: labels and annotations.
pub(crate) fn set_pairs(run: &Run<'_, '_>, objects: &mut Objects, pairs: &Pairs, specs: &[FieldSpec]) -> Result<()> {
    if pairs.is_empty() {
        return Ok(());
    }
    for object in &mut objects.list {
        run.context.budget.spend(1)?;
        let specs = specs_for(specs, &object.gvk());
        for (key, value) in pairs {
            let mark = object.shared.mark();
            let (mut places, mut changed) = (0, false);
            for spec in &specs {
                let result = spec.apply(&mut object.node, Make::Map, run.place, &mut |node| {
                    run.context.budget.make(key.len() + value.len())?;
                    match ops::set_entry(node, key, value, run.place, mark)? {
                        Some(set) if set == mark => places += 1,
                        Some(set) => changed |= set != 0,
                        None => {}
                    }
                    Ok(())
                });
                if let Err(error) = result {
                    return Err(run.fail(object, error));
                }
            }
            if places > 1 {
                object.shared.remember(mark, value);
            }
            if changed {
                object.shared.spread(&mut object.node);
            }
        }
    }
    Ok(())
}

/// Whether a name is before or after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Affix {
    Prefix,
    Suffix,
}

pub(crate) fn add_affix(run: &Run<'_, '_>, objects: &mut Objects, affix: Affix, text: &str, specs: &[FieldSpec]) -> Result<()> {
    let scopes = run.scopes();
    for object in &mut objects.list {
        let original = object.original_id();
        if keeps_its_name(&original.gvk) {
            continue;
        }
        for spec in specs.iter().filter(|spec| original.gvk.selected_by(&spec.gvk)) {
            if spec.path == "metadata/name" && !text.is_empty() {
                let list = if affix == Affix::Prefix { &mut object.prefixes } else { &mut object.suffixes };
                list.push(text.into());
                object.store_id(&scopes);
            }
            // The spec's own type is asked of the current object again.
            if !object.gvk().selected_by(&spec.gvk) {
                continue;
            }
            let result = spec.apply(&mut object.node, Make::Scalar(Tag::Str), run.place, &mut |node| {
                let old = node.text().unwrap_or("").to_owned();
                run.context.budget.make(text.len() + old.len())?;
                let new = if affix == Affix::Prefix { format!("{text}{old}") } else { format!("{old}{text}") };
                ops::set_text(node, &new, run.place)
            });
            if let Err(error) = result {
                return Err(run.fail(object, error));
            }
            object.shared.spread(&mut object.node);
        }
    }
    objects.touch();
    Ok(())
}

/// Kinds whose names mean something to the API server.
fn keeps_its_name(gvk: &Gvk) -> bool {
    matches!(gvk.kind.as_str(), "CustomResourceDefinition" | "Namespace")
        || (gvk.kind == "APIService" && gvk.group == "apiregistration.k8s.io")
}

/// Which subjects of role bindings follow a namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Subjects {
    #[default]
    DefaultOnly,
    AllServiceAccounts,
    None,
}

impl Subjects {
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "" | "defaultOnly" => Self::DefaultOnly,
            "allServiceAccounts" => Self::AllServiceAccounts,
            "none" => Self::None,
            other => {
                return Err(problem(format!("setRoleBindingSubjects is \"{other}\"; it can be defaultOnly, allServiceAccounts or none")));
            }
        })
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Namespacing {
    pub namespace: String,
    pub specs: Vec<FieldSpec>,
    pub unset_only: bool,
    pub subjects: Subjects,
}

pub(crate) fn set_namespace(run: &Run<'_, '_>, objects: &mut Objects, with: &Namespacing) -> Result<()> {
    if with.namespace.is_empty() {
        return Ok(());
    }
    let scopes = run.scopes();
    let metadata = FieldSpec::new(Gvk::default(), "metadata/namespace", true);
    for object in &mut objects.list {
        if object.helm_generated {
            continue;
        }
        object.store_id(&scopes);
        if let Err(error) = set_namespace_of(run, object, with, &metadata, &scopes) {
            return Err(run.fail(object, error));
        }
    }
    objects.touch();
    if let Some((first, second)) = objects.conflict(&scopes) {
        let of = |at: usize| objects.list[at].original_id();
        let text = format!("namespace \"{}\" makes one object of two: {} and {}", with.namespace, of(first), of(second));
        return Err(problem(text).or_at(run.context.place_of(run.place)));
    }
    Ok(())
}

/// Sets the namespace in one object without touching its history.
pub(crate) fn set_namespace_of(
    run: &Run<'_, '_>,
    object: &mut Object,
    with: &Namespacing,
    metadata: &FieldSpec,
    scopes: &Scopes,
) -> Result<()> {
    let mut set = |node: &mut Node| -> Result<()> {
        if with.unset_only && node.as_scalar().is_some_and(|scalar| scalar.tag != Tag::Null && !scalar.text.is_empty()) {
            return Ok(());
        }
        run.context.budget.make(with.namespace.len())?;
        ops::set_tagged(node, &with.namespace, Tag::Str, run.place)
    };
    let gvk = object.gvk();
    if !scopes.is_cluster_scoped(&gvk) {
        metadata.apply(&mut object.node, Make::Scalar(Tag::Str), run.place, &mut set)?;
    }
    let binding = matches!(gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding");
    if binding && with.subjects != Subjects::None {
        let wanted = if with.subjects == Subjects::DefaultOnly { ("name", "default") } else { ("kind", "ServiceAccount") };
        if let Some(subjects) = object.node.get_mut("subjects").filter(|subjects| !subjects.is_null()) {
            let found = subjects.describe();
            let subjects = subjects.as_list_mut().ok_or_else(|| problem(format!("subjects must be a list, but is {found}")))?;
            for subject in subjects {
                if subject.as_map().is_none() && !subject.is_null() {
                    return Err(problem(format!("a subject must be a map, but is {}", subject.describe())));
                }
                if subject.get(wanted.0).and_then(Node::text) != Some(wanted.1) {
                    continue;
                }
                if let Some(map) = subject.as_map_mut() {
                    set(map.entry("namespace", || Node::string("").at(run.place)))?;
                }
            }
        }
    }
    let api_version = gvk.api_version();
    for spec in with.specs.iter().filter(|spec| gvk.selected_by(&spec.gvk)) {
        let handled = spec.path == "metadata/namespace"
            || (spec.path == "metadata/name" && api_version != "v1")
            || (binding && spec.path == "subjects/namespace" && matches!(spec.gvk.kind.as_str(), "RoleBinding" | "ClusterRoleBinding"));
        if !handled {
            spec.apply(&mut object.node, Make::Scalar(Tag::Str), run.place, &mut set)?;
        }
    }
    Ok(())
}

/// Sets replica counts of workloads of one name, in any of their ids.
pub(crate) fn set_replicas(run: &Run<'_, '_>, objects: &mut Objects, replica: &Replica, specs: &[FieldSpec]) -> Result<()> {
    let mut found = false;
    for spec in specs {
        for object in &mut objects.list {
            run.context.budget.spend(1)?;
            let named = object.former_ids().chain([object.id()]).any(|id| id.name == replica.name && id.gvk.selected_by(&spec.gvk));
            if !named {
                continue;
            }
            found = true;
            if !object.gvk().selected_by(&spec.gvk) {
                continue;
            }
            let count = replica.count.to_string();
            let result = spec
                .apply(&mut object.node, Make::Scalar(Tag::Int), run.place, &mut |node| ops::set_tagged(node, &count, Tag::Int, run.place));
            if let Err(error) = result {
                return Err(run.fail(object, error));
            }
        }
    }
    if found {
        return Ok(());
    }
    let kinds: Vec<&str> = specs.iter().map(|spec| spec.gvk.kind.as_str()).collect();
    Err(problem(format!("nothing named \"{}\" to set replicas of; looked at {}", replica.name, kinds.join(", "))))
}

/// An image rule, its name compiled.
pub(crate) struct ImageRule<'a> {
    image: &'a Image,
    name: Name,
}

enum Name {
    Plain,
    Pattern(Regex),
    /// No expression; an error once it meets an image.
    Refused(String),
}

impl<'a> ImageRule<'a> {
    /// The name is a regular expression in kustomize; most are plain texts.
    pub fn new(image: &'a Image) -> Self {
        let name = if select::is_nearly_plain(&image.name) {
            Name::Plain
        } else {
            // As kustomize 5.8.1: the digest is of sha256 only.
            match select::compile(&format!("^{}(:[a-zA-Z0-9_.{{}}-]*)?(@sha256:[a-zA-Z0-9_.{{}}-]*)?$", image.name)) {
                Ok(pattern) => Name::Pattern(pattern),
                Err(error) => Name::Refused(error.to_string()),
            }
        };
        Self { image, name }
    }

    fn matches(&self, text: &str) -> Result<bool> {
        let allowed = |text: &str| text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'{' | b'}' | b'-'));
        Ok(match &self.name {
            Name::Refused(why) => return Err(problem(why.clone())),
            Name::Pattern(pattern) => pattern.is_match(text),
            Name::Plain => {
                let Some(rest) = select::strip_nearly_plain(text, &self.image.name) else { return Ok(false) };
                let (tag, digest) = match rest.split_once("@sha256:") {
                    Some((tag, digest)) => (tag, Some(digest)),
                    None => (rest, None),
                };
                tag.strip_prefix(':').map_or(tag.is_empty(), allowed) && digest.is_none_or(allowed)
            }
        })
    }

    /// Gives an image reference its new parts.
    fn set(&self, node: &mut Node, place: Place, budget: &Budget) -> Result<()> {
        let Some(text) = node.text() else {
            return Err(problem(format!("an image must be a string, but is {}", node.describe())));
        };
        if !self.matches(text)? {
            return Ok(());
        }
        let image = self.image;
        let (name, tag, digest) = split_image(text);
        let name = if image.new_name.is_empty() { name } else { &image.new_name };
        let (tag, digest) = match (image.new_tag.as_str(), image.digest.as_str()) {
            ("", "") if image.tag_suffix.is_empty() => (tag.to_owned(), digest),
            ("", "") => (format!("{tag}{}", image.tag_suffix), ""),
            (tag, "") => (tag.to_owned(), ""),
            ("", digest) => (String::new(), digest),
            (tag, digest) => (tag.to_owned(), digest),
        };
        let mut new = name.to_owned();
        if !tag.is_empty() {
            new = format!("{new}:{tag}");
        }
        if !digest.is_empty() {
            new = format!("{new}@{digest}");
        }
        budget.make(new.len())?;
        ops::set_text(node, &new, place)
    }
}

/// Name, tag and digest of a reference; a colon in the host is none of a tag.
fn split_image(image: &str) -> (&str, &str, &str) {
    let host = image.find('/').filter(|at| *at > 0).unwrap_or(0);
    let (at, colon) = (image[host..].find('@').map(|at| at + host), image[host..].find(':').map(|at| at + host));
    match (at, colon) {
        (None, None) => (image, "", ""),
        (Some(at), colon) if colon.is_none_or(|colon| at < colon) => (&image[..at], "", &image[at + 1..]),
        (Some(at), Some(colon)) => (&image[..colon], &image[colon + 1..at], &image[at + 1..]),
        (_, Some(colon)) => (&image[..colon], &image[colon + 1..], ""),
        (Some(at), None) => (&image[..at], "", &image[at + 1..]),
    }
}

/// Changes images: in every list called `containers` or `initContainers` of any object, and at the places of the specs.
pub(crate) fn set_image(run: &Run<'_, '_>, objects: &mut Objects, image: &Image, specs: &[FieldSpec]) -> Result<()> {
    let rule = ImageRule::new(image);
    for object in &mut objects.list {
        run.context.budget.spend(1)?;
        if object.kind() == "CustomResourceDefinition" {
            continue;
        }
        if let Err(error) = in_containers(&mut object.node, &rule, run.place, &run.context.budget) {
            return Err(run.fail(object, error));
        }
    }
    for object in &mut objects.list {
        if object.kind() == "CustomResourceDefinition" {
            continue;
        }
        let gvk = object.gvk();
        for spec in specs.iter().filter(|spec| gvk.selected_by(&spec.gvk)) {
            if let Err(error) =
                spec.apply(&mut object.node, Make::Nothing, run.place, &mut |node| rule.set(node, run.place, &run.context.budget))
            {
                return Err(run.fail(object, error));
            }
        }
    }
    Ok(())
}

fn in_containers(node: &mut Node, rule: &ImageRule<'_>, place: Place, budget: &Budget) -> Result<()> {
    match &mut node.data {
        Data::Scalar(_) => Ok(()),
        Data::List(items) => items.iter_mut().try_for_each(|item| in_containers(item, rule, place, budget)),
        Data::Map(map) => {
            for entry in &mut map.entries {
                in_containers(&mut entry.value, rule, place, budget)?;
                if !matches!(entry.key.as_str(), "containers" | "initContainers") {
                    continue;
                }
                for item in entry.value.as_list_mut().into_iter().flatten() {
                    if item.is_null() {
                        continue;
                    }
                    let found = item.describe();
                    let map =
                        item.as_map_mut().ok_or_else(|| problem(format!("an element of {} must be a map, but is {found}", entry.key)))?;
                    if let Some(image) = map.get_mut("image") {
                        rule.set(image, place, budget)?;
                    }
                }
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_taken_apart() {
        for (image, parts) in [
            ("nginx", ("nginx", "", "")),
            ("nginx:1", ("nginx", "1", "")),
            ("host:5000/nginx", ("host:5000/nginx", "", "")),
            ("host:5000/nginx:1@sha256:ab", ("host:5000/nginx", "1", "sha256:ab")),
            ("nginx@sha256:ab", ("nginx", "", "sha256:ab")),
        ] {
            assert_eq!(split_image(image), parts, "{image}");
        }
    }

    #[test]
    fn nearly_plain_names_match_as_the_expressions_that_they_are() {
        for name in ["nginx", "ghcr.io/a/b", "a.b", ".", "..", "a@b", "host:5000/x.y", ""] {
            let image = Image { name: name.to_owned(), ..Image::default() };
            let rule = ImageRule::new(&image);
            assert!(matches!(rule.name, Name::Plain), "{name}");
            let tail = "(:[a-zA-Z0-9_.{}-]*)?(@sha256:[a-zA-Z0-9_.{}-]*)?";
            let pattern = Regex::new(&format!("^{name}{tail}$")).unwrap();
            for base in [
                "nginx",
                "ghcr.io/a/b",
                "ghcr-io/a/b",
                "a.b",
                "axb",
                "a\nb",
                "é",
                "éé",
                "a",
                "ab",
                "a@b",
                "host:5000/x.y",
                "host:5000/xéy",
                "",
            ] {
                for end in ["", ":", ":1.0", "@sha256:ab", ":1@sha256:ab", ":1:2", "@sha512:ab", "/c", "\n", ":é", "@sha256:a@sha256:b"] {
                    let text = format!("{base}{end}");
                    assert_eq!(rule.matches(&text).unwrap(), pattern.is_match(&text), "{name:?} and {text:?}");
                }
            }
        }
    }

    #[test]
    fn image_names_match_whole_references() {
        let image = Image { name: "nginx".to_owned(), ..Image::default() };
        let rule = ImageRule::new(&image);
        for (text, expected) in [
            ("nginx", true),
            ("nginx:1", true),
            ("nginx:1@sha256:ab", true),
            ("nginx@sha512:ab", false),
            ("nginx-x", false),
            ("a/nginx", false),
        ] {
            assert_eq!(rule.matches(text).unwrap(), expected, "{text}");
        }
    }
}
