use crate::{
    budget::DEPTH_MAX,
    error::{Result, problem},
    id::Gvk,
    ops,
};
use smol_str::SmolStr;
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};
use yaml::{Data, Map, Node, Place, Scalar, Style, Tag};

/// One place in objects of some types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldSpec {
    pub gvk: Gvk,
    pub path: SmolStr,
    pub create: bool,
    parts: Arc<[Part]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: SmolStr,
    /// Written `name[]`: a list is expected.
    list: bool,
    /// A number, `-`, `*` or `[...]`: kyaml takes it for a choice among elements, but lists are walked without one.
    picks: bool,
}

impl Part {
    fn new(text: SmolStr) -> Self {
        let (name, list) = match text.strip_suffix("[]") {
            Some(name) => (name.into(), true),
            None => (text, false),
        };
        let picks = matches!(name.as_str(), "-" | "*") || name.parse::<i64>().is_ok() || name.starts_with('[') && name.ends_with(']');
        Self { name, list, picks }
    }
}

/// What is made where a field is missing and the spec says `create`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    Nothing,
    Map,
    Scalar(Tag),
}

impl FieldSpec {
    pub fn new(gvk: Gvk, path: &str, create: bool) -> Self {
        let parts = ops::split_path(path, '/').into_iter().map(Part::new);
        Self { gvk, path: path.into(), create, parts: parts.collect() }
    }

    /// A place of the built-in table.
    fn of_table(gvk: Gvk, path: &'static str, create: bool) -> Self {
        if path.contains('\\') {
            return Self::new(gvk, path, create);
        }
        let parts = path.split('/').map(|part| match part.strip_suffix("[]") {
            Some(name) => Part { name: SmolStr::new_static(name), list: true, picks: false },
            None => Part { name: SmolStr::new_static(part), list: false, picks: false },
        });
        Self { gvk, path: SmolStr::new_static(path), create, parts: parts.collect() }
    }

    /// Calls `set` on the field of an object, or on every such field when lists lie on the way.
    pub fn apply(&self, node: &mut Node, make: Make, place: Place, set: &mut dyn FnMut(&mut Node) -> Result<()>) -> Result<()> {
        if self.parts.len() > DEPTH_MAX {
            return Err(problem(format!("a field of {} parts is nested too deeply; {DEPTH_MAX} are allowed", self.parts.len())));
        }
        let make = if self.create { make } else { Make::Nothing };
        walk(node, &self.parts, make, place, set).map_err(|error| match error {
            crate::Error::Invalid { place, problem } => crate::Error::Invalid { place, problem: format!("field {}: {problem}", self.path) },
            other => other,
        })
    }
}

fn walk(node: &mut Node, parts: &[Part], make: Make, place: Place, set: &mut dyn FnMut(&mut Node) -> Result<()>) -> Result<()> {
    let Some((part, rest)) = parts.split_first() else { return set(node) };
    if node.is_null() {
        return Ok(());
    }
    let map = match &mut node.data {
        Data::List(items) => return items.iter_mut().try_for_each(|item| walk(item, parts, make, place, set)),
        Data::Scalar(_) => return Err(problem("expected a map or a list on the way to it, found a scalar")),
        Data::Map(map) => map,
    };
    if part.name.is_empty() {
        return Err(problem("cannot set or create an empty field name"));
    }
    if part.picks {
        return Err(problem(format!("\"{}\" picks elements of a list, but a map stands there", part.name)));
    }
    let make_here = match make {
        _ if part.list => Make::Nothing,
        Make::Nothing => Make::Nothing,
        make if rest.is_empty() => make,
        _ => Make::Map,
    };
    let field = match (map.position(&part.name), make_here) {
        (Some(at), _) => &mut map.entries[at].value,
        (None, Make::Nothing) => return Ok(()),
        (None, make) => map.entry(&part.name, || blank(make, place)),
    };
    if field.is_null() {
        match make_here {
            Make::Nothing if part.list => field.data = Data::List(Vec::new()),
            Make::Nothing => {}
            Make::Map => field.data = Data::Map(Map::default()),
            Make::Scalar(tag) => {
                if let Data::Scalar(scalar) = &mut field.data {
                    scalar.tag = tag;
                }
            }
        }
    }
    walk(field, rest, make, place, set)
}

fn blank(make: Make, place: Place) -> Node {
    match make {
        Make::Map | Make::Nothing => Node::map().at(place),
        Make::Scalar(tag) => Node { data: Data::Scalar(Scalar::new(SmolStr::default(), tag, Style::Plain)), place },
    }
}

/// A type, and the fields of others that name objects of it.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub target: Gvk,
    pub referrers: Vec<FieldSpec>,
}

/// Where each transformer looks: the defaults, and what `configurations` and `crds` add.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    pub name_prefix: Vec<FieldSpec>,
    pub name_suffix: Vec<FieldSpec>,
    pub namespace: Vec<FieldSpec>,
    pub common_labels: Vec<FieldSpec>,
    pub labels: Vec<FieldSpec>,
    pub template_labels: Vec<FieldSpec>,
    pub common_annotations: Vec<FieldSpec>,
    pub references: Vec<Reference>,
    pub var_references: Vec<FieldSpec>,
    pub images: Vec<FieldSpec>,
    pub replicas: Vec<FieldSpec>,
}

static DEFAULTS: LazyLock<Arc<Config>> = LazyLock::new(|| Arc::new(Config::parse_table(include_str!("tables/fields.txt"))));

impl Config {
    pub fn defaults() -> Arc<Self> {
        DEFAULTS.clone()
    }

    /// The table is in the order of [`Self::sort`].
    fn parse_table(text: &'static str) -> Self {
        let mut config = Self::default();
        let mut section = "";
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("= ") {
                section = name;
                continue;
            }
            if let Some(target) = line.strip_prefix("> ") {
                section = "references";
                config.references.push(Reference { target: Gvk::from_table(target), referrers: Vec::new() });
                continue;
            }
            let mut words = line.split(' ');
            let (Some(gvk), Some(path)) = (words.next(), words.next()) else { continue };
            let spec = FieldSpec::of_table(Gvk::from_table(gvk), path, words.next().is_some());
            match (section, config.references.last_mut()) {
                ("references", Some(reference)) => reference.referrers.push(spec),
                _ => {
                    if let Some(list) = config.list_mut(section) {
                        list.push(spec);
                    }
                }
            }
        }
        config
    }

    /// The list of a field of a `configurations` file.
    pub fn list_mut(&mut self, name: &str) -> Option<&mut Vec<FieldSpec>> {
        Some(match name {
            "namePrefix" => &mut self.name_prefix,
            "nameSuffix" => &mut self.name_suffix,
            "namespace" => &mut self.namespace,
            "commonLabels" => &mut self.common_labels,
            "labels" => &mut self.labels,
            "templateLabels" => &mut self.template_labels,
            "commonAnnotations" => &mut self.common_annotations,
            "varReference" => &mut self.var_references,
            "images" => &mut self.images,
            "replicas" => &mut self.replicas,
            _ => return None,
        })
    }

    pub const LISTS: [&'static str; 10] = [
        "namePrefix",
        "nameSuffix",
        "namespace",
        "commonLabels",
        "labels",
        "templateLabels",
        "commonAnnotations",
        "varReference",
        "images",
        "replicas",
    ];

    /// Takes over another's entries; the same place with another `create` is a conflict.
    pub fn merge(&mut self, other: &Config) -> Result<()> {
        let mut other = other.clone();
        for name in Self::LISTS {
            let incoming = other.list_mut(name).map(std::mem::take).unwrap_or_default();
            if let Some(list) = self.list_mut(name) {
                merge_specs(list, &incoming)?;
            }
        }
        for reference in other.references {
            match self.references.iter_mut().find(|known| known.target == reference.target) {
                Some(known) => merge_specs(&mut known.referrers, &reference.referrers)?,
                None => self.references.push(reference),
            }
        }
        self.sort();
        Ok(())
    }

    fn sort(&mut self) {
        for name in Self::LISTS {
            if let Some(list) = self.list_mut(name) {
                list.sort_by_cached_key(|spec| sort_key(&spec.gvk));
            }
        }
        self.references.sort_by_cached_key(|reference| sort_key(&reference.target));
    }
}

/// Appends what is not there yet.
pub(crate) fn merge_specs(list: &mut Vec<FieldSpec>, incoming: &[FieldSpec]) -> Result<()> {
    let mut by_path: HashMap<SmolStr, Vec<usize>> = HashMap::new();
    for (at, spec) in list.iter().enumerate() {
        by_path.entry(spec.path.clone()).or_default().push(at);
    }
    for spec in incoming {
        let places = by_path.entry(spec.path.clone()).or_default();
        match places.iter().find(|at| list[**at].gvk.selected_by(&spec.gvk)) {
            Some(at) if list[*at].create != spec.create => {
                return Err(problem(format!("conflicting field specs for {}: create is both true and false", spec.path)));
            }
            Some(_) => {}
            None => {
                places.push(list.len());
                list.push(spec.clone());
            }
        }
    }
    Ok(())
}

/// kustomize's order of types: what others build on first, webhooks last, the rest by group, version, kind.
fn sort_key(gvk: &Gvk) -> (i32, String) {
    (crate::order::rank(&gvk.kind), gvk.sort_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_its_paths_are_taken_apart_as_any_others() {
        let table = Config::defaults();
        let mut sorted = Config::clone(&table);
        sorted.sort();
        let targets = |config: &Config| config.references.iter().map(|reference| reference.target.clone()).collect::<Vec<_>>();
        assert_eq!(targets(&table), targets(&sorted));
        for name in Config::LISTS {
            let mut table = Config::clone(&table);
            assert_eq!(table.list_mut(name), sorted.list_mut(name), "{name}");
            for spec in table.list_mut(name).into_iter().flatten() {
                assert_eq!(*spec, FieldSpec::new(spec.gvk.clone(), &spec.path, spec.create));
            }
        }
        for spec in table.references.iter().flat_map(|reference| &reference.referrers) {
            assert_eq!(*spec, FieldSpec::new(spec.gvk.clone(), &spec.path, spec.create));
        }
    }
}
