use crate::{
    id::{Gvk, Id, Key, Scopes, field_text},
    metadata::Origin,
    ops,
    shared::{self, Shared},
};
use smol_str::SmolStr;
use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    sync::Arc,
};
use yaml::{Data, Node, Place};

/// What to do when a generated object meets one of its id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Behavior {
    #[default]
    Unspecified,
    Create,
    Replace,
    Merge,
}

impl Behavior {
    pub fn parse(text: &str) -> Self {
        match text {
            "create" => Self::Create,
            "replace" => Self::Replace,
            "merge" => Self::Merge,
            _ => Self::Unspecified,
        }
    }
}

/// An id that an object had before a transformer changed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Former {
    pub name: SmolStr,
    pub namespace: SmolStr,
    pub kind: SmolStr,
}

/// An object in the making: its data, and the history that name references are resolved from.
///
/// kustomize keeps the history in annotations; here it stands beside the data, where patches do not reach it.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub node: Node,
    pub former: Vec<Former>,
    pub prefixes: Vec<SmolStr>,
    pub suffixes: Vec<SmolStr>,
    pub needs_hash: bool,
    pub behavior: Behavior,
    pub allow_name_change: bool,
    pub allow_kind_change: bool,
    pub deleted: bool,
    /// Rendered from a chart, which knows its own namespace.
    pub helm_generated: bool,
    pub vars: Vec<String>,
    pub origin: Option<Arc<Origin>>,
    pub transformations: Vec<Arc<Origin>>,
    /// Which transformers changed it, where that is noted.
    pub changes: Changes,
    /// Which of its scalars are one.
    pub shared: Shared,
}

/// The places of the transformers that changed an object, and how it looked at last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    look: u64,
    pub places: Vec<Place>,
}

impl Object {
    pub fn new(node: Node) -> Self {
        let mut object = Self {
            node,
            former: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            needs_hash: false,
            behavior: Behavior::Unspecified,
            allow_name_change: false,
            allow_kind_change: false,
            deleted: false,
            helm_generated: false,
            vars: Vec::new(),
            origin: None,
            transformations: Vec::new(),
            changes: Changes::default(),
            shared: Shared::default(),
        };
        object.take_build_annotations();
        object
    }

    /// Reads the annotations by which other tools hand over history, or ask for a hash or a behavior; none of them stays.
    fn take_build_annotations(&mut self) {
        let Some(annotations) =
            self.node.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations")).and_then(Node::as_map_mut)
        else {
            return;
        };
        if !annotations.entries.iter().any(|entry| is_build_annotation(&entry.key)) {
            return;
        }
        let (mut names, mut namespaces, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
        let words = |value: &str| value.split(',').map(SmolStr::from).collect::<Vec<_>>();
        for entry in &annotations.entries {
            let value = entry.value.text().unwrap_or("");
            match entry.key.as_str() {
                "internal.config.kubernetes.io/needsHashSuffix" => self.needs_hash = value == "enabled",
                "internal.config.kubernetes.io/generatorBehavior" => self.behavior = Behavior::parse(value),
                "internal.config.kubernetes.io/allowNameChange" => self.allow_name_change = value == "enabled",
                "internal.config.kubernetes.io/allowKindChange" => self.allow_kind_change = value == "enabled",
                "internal.config.kubernetes.io/helm-generated" => self.helm_generated = value == "true",
                "internal.config.kubernetes.io/previousNames" => names = words(value),
                "internal.config.kubernetes.io/previousNamespaces" => namespaces = words(value),
                "internal.config.kubernetes.io/previousKinds" => kinds = words(value),
                "internal.config.kubernetes.io/prefixes" => self.prefixes = words(value),
                "internal.config.kubernetes.io/suffixes" => self.suffixes = words(value),
                _ => {}
            }
        }
        // The output of another build that was cut short carries its history; the lists go together.
        if names.len() == namespaces.len() && names.len() == kinds.len() {
            let formers = names.into_iter().zip(namespaces).zip(kinds);
            self.former = formers.map(|((name, namespace), kind)| Former { name, namespace, kind }).collect();
        }
        annotations.entries.retain(|entry| !is_build_annotation(&entry.key));
    }

    pub fn name(&self) -> &str {
        meta_text(&self.node, "name")
    }

    pub fn namespace(&self) -> &str {
        meta_text(&self.node, "namespace")
    }

    pub fn kind(&self) -> &str {
        field_text(&self.node, "kind")
    }

    pub fn gvk(&self) -> Gvk {
        Gvk::of(&self.node)
    }

    pub fn id(&self) -> Id {
        Id { gvk: self.gvk(), name: self.name().into(), namespace: self.namespace().into() }
    }

    /// The id it was read or generated with.
    pub fn original_id(&self) -> Id {
        let mut id = self.id();
        if let Some(former) = self.former.first() {
            id.name = former.name.clone();
            id.namespace = former.namespace.clone();
            id.gvk.kind = former.kind.clone();
        }
        id
    }

    /// Every id it had, oldest first, without the current one.
    pub fn former_ids(&self) -> impl Iterator<Item = Id> + '_ {
        let gvk = self.gvk();
        self.former.iter().map(move |former| Id {
            gvk: Gvk { kind: former.kind.clone(), ..gvk.clone() },
            name: former.name.clone(),
            namespace: former.namespace.clone(),
        })
    }

    /// Remembers the current id before a change of it.
    pub fn store_id(&mut self, scopes: &Scopes) {
        self.annotate();
        let id = self.id();
        self.former.push(Former { namespace: id.effective_namespace(scopes), name: id.name, kind: id.gvk.kind });
    }

    /// Notes how it looks, and which transformer made it look so if it did otherwise before.
    pub fn note_change(&mut self, by: Option<Place>) {
        let mut text = String::new();
        // What cannot be printed ends the build later.
        let look = yaml::emit_node(&self.node, &mut text).map_or(0, |()| BuildHasherDefault::<DefaultHasher>::default().hash_one(&text));
        if let Some(place) = by.filter(|_| look != self.changes.look) {
            self.changes.places.push(place);
        }
        self.changes.look = look;
    }

    /// Makes the map of annotations where there is none. kustomize keeps the history of an object in it, so that patches find it; empty ones
    /// are dropped at the end.
    pub fn annotate(&mut self) {
        let place = self.node.place;
        if let Some(annotations) =
            ops::child_map(&mut self.node, "metadata", place).and_then(|metadata| ops::child_map(metadata, "annotations", place))
            && annotations.as_map().is_none()
        {
            *annotations = Node::map().at(place);
        }
    }

    /// Takes note of a transformer in its annotations, which kustomize writes anew then: what they had in common with others is over.
    pub fn touched_by(&mut self, origin: &Arc<Origin>) {
        if self.origin.is_none() {
            self.origin = Some(origin.clone());
        } else {
            self.transformations.push(origin.clone());
        }
        if !self.shared.is_empty()
            && let Some(annotations) = self.node.get_mut("metadata").and_then(|metadata| metadata.get_mut("annotations"))
        {
            shared::unmark(annotations);
        }
    }

    pub fn set_name(&mut self, name: &str, place: Place) {
        if let Some(metadata) = ops::child_map(&mut self.node, "metadata", place) {
            ops::set_field_text(metadata, "name", name, place);
        }
    }

    pub fn set_namespace(&mut self, namespace: &str, place: Place) {
        let Some(metadata) = ops::child_map(&mut self.node, "metadata", place) else { return };
        if namespace.is_empty() {
            if let Some(map) = metadata.as_map_mut() {
                map.remove("namespace");
            }
        } else {
            ops::set_field_text(metadata, "namespace", namespace, place);
        }
    }

    pub fn pairs(&self, field: &str) -> BTreeMap<SmolStr, SmolStr> {
        ops::pairs(&self.node, &["metadata", field]).map(|(key, value)| (key.into(), value.into())).collect()
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.node.at_path(&["metadata", "annotations", key]).map(|value| value.text().unwrap_or(""))
    }

    /// Sets a map of strings of the metadata anew; an empty one is removed.
    pub fn set_pairs(&mut self, field: &str, pairs: &BTreeMap<SmolStr, SmolStr>) {
        let place = self.node.at_path(&["metadata", field]).map_or(self.node.place, |node| node.place);
        let Some(metadata) = ops::child_map(&mut self.node, "metadata", place).and_then(Node::as_map_mut) else { return };
        // Values that are kept keep the place they came from.
        let mut old: HashMap<SmolStr, Place> = HashMap::new();
        if let Some(Node { data: Data::Map(map), .. }) = metadata.remove(field) {
            old.extend(map.entries.into_iter().map(|entry| (entry.key, entry.value.place)));
        }
        if pairs.is_empty() {
            return;
        }
        let mut map = yaml::Map::default();
        for (key, value) in pairs {
            let value = Node::string(value.clone()).at(old.get(key).copied().unwrap_or(place));
            map.entries.push(yaml::Entry { key: key.clone(), tag: yaml::plain_tag(yaml::Dialect::Kyaml, key), value });
        }
        metadata.insert(field, Node::from(Data::Map(map)).at(place));
    }

    /// Takes over labels, annotations and the name of the object it replaces or merges into; its own win.
    pub fn inherit_metadata(&mut self, other: &Object) {
        for field in ["labels", "annotations"] {
            let mut pairs = other.pairs(field);
            pairs.extend(self.pairs(field));
            self.set_pairs(field, &pairs);
        }
        let place = other.node.at_path(&["metadata", "name"]).map_or(self.node.place, |node| node.place);
        self.set_name(other.name(), place);
        self.set_namespace(other.namespace(), place);
        self.former = other.former.clone();
        self.prefixes = other.prefixes.clone();
        self.suffixes = other.suffixes.clone();
        // The hash stays only where both ask for it.
        self.needs_hash = self.needs_hash && other.needs_hash;
        self.behavior = other.behavior;
        self.vars = other.vars.clone();
        self.changes.places.clone_from(&other.changes.places);
        if self.transformations.is_empty() {
            self.transformations = other.transformations.clone();
        }
    }

    /// Whether a field holds a map of strings; merges `other`'s under its own.
    pub fn merge_data_from(&mut self, other: &Object, field: &str) {
        let mut merged: BTreeMap<SmolStr, Node> = BTreeMap::new();
        for node in [&other.node, &self.node] {
            if let Some(map) = node.get(field).and_then(Node::as_map) {
                merged.extend(map.iter().map(|(key, value)| (key.into(), Node::string(value.text().unwrap_or("")).at(value.place))));
            }
        }
        let place = self.node.get(field).map_or(self.node.place, |node| node.place);
        let Some(root) = self.node.as_map_mut() else { return };
        root.remove(field);
        if merged.is_empty() {
            return;
        }
        let mut map = yaml::Map::default();
        map.entries.extend(merged.into_iter().map(|(key, value)| yaml::Entry {
            tag: yaml::plain_tag(yaml::Dialect::Kyaml, &key),
            key,
            value,
        }));
        root.insert(field, Node::from(Data::Map(map)).at(place));
    }
}

fn meta_text<'a>(node: &'a Node, key: &str) -> &'a str {
    match node.at_path(&["metadata", key]) {
        Some(value) if !ops::is_empty(value) => value.text().unwrap_or(""),
        _ => "",
    }
}

/// Annotations that kustomize itself writes during a build and strips at its end (kustomize api/resource/resource.go).
pub(crate) fn is_build_annotation(key: &str) -> bool {
    matches!(
        key,
        "internal.config.kubernetes.io/previousKinds"
            | "internal.config.kubernetes.io/previousNames"
            | "internal.config.kubernetes.io/prefixes"
            | "internal.config.kubernetes.io/suffixes"
            | "internal.config.kubernetes.io/previousNamespaces"
            | "internal.config.kubernetes.io/allowNameChange"
            | "internal.config.kubernetes.io/allowKindChange"
            | "internal.config.kubernetes.io/refBy"
            | "internal.config.kubernetes.io/generatorBehavior"
            | "internal.config.kubernetes.io/needsHashSuffix"
            | "internal.config.kubernetes.io/helm-generated"
            | "internal.config.kubernetes.io/path"
            | "internal.config.kubernetes.io/index"
            | "internal.config.kubernetes.io/seqindent"
            | "internal.config.kubernetes.io/id"
            | "internal.config.kubernetes.io/annotations-migration-resource-id"
            | "config.kubernetes.io/path"
            | "config.kubernetes.io/index"
            | "config.k8s.io/id"
    )
}

/// Objects in the order they were added, found by id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Objects {
    pub list: Vec<Object>,
    /// Places by current id; `None` when objects may have changed theirs since.
    current: Option<HashMap<Key, Vec<usize>>>,
    /// The same by every id an object has or had.
    any: Option<HashMap<Key, Vec<usize>>>,
}

impl Objects {
    /// To be called whenever ids or places may have changed.
    pub fn touch(&mut self) {
        self.current = None;
        self.any = None;
    }

    pub fn current_index(&mut self, scopes: &Scopes) -> &mut HashMap<Key, Vec<usize>> {
        let list = &self.list;
        self.current.get_or_insert_with(|| {
            let mut index: HashMap<Key, Vec<usize>> = HashMap::with_capacity(list.len());
            for (at, object) in list.iter().enumerate() {
                index.entry(object.id().key(scopes)).or_default().push(at);
            }
            index
        })
    }

    /// Adds an object, unless one of its id is there: then gives back the place of that one.
    pub fn append(&mut self, object: Object, scopes: &Scopes) -> std::result::Result<(), (usize, Object)> {
        let key = object.id().key(scopes);
        let place = self.list.len();
        let index = self.current_index(scopes);
        if let Some(at) = index.get(&key).and_then(|places| places.first()) {
            return Err((*at, object));
        }
        index.insert(key.clone(), vec![place]);
        if let Some(any) = &mut self.any {
            for key in object.former_ids().map(|id| id.key(scopes)).chain([key]) {
                let places = any.entry(key).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        }
        self.list.push(object);
        Ok(())
    }

    /// Objects that have or had an id.
    pub fn by_any_id(&mut self, id: &Id, scopes: &Scopes) -> Vec<usize> {
        let list = &self.list;
        let index = self.any.get_or_insert_with(|| {
            let mut index: HashMap<Key, Vec<usize>> = HashMap::with_capacity(list.len());
            for (at, object) in list.iter().enumerate() {
                for id in object.former_ids().chain([object.id()]) {
                    let places = index.entry(id.key(scopes)).or_default();
                    if places.last() != Some(&at) {
                        places.push(at);
                    }
                }
            }
            index
        });
        let mut found = index.get(&id.key(scopes)).cloned().unwrap_or_default();
        found.retain(|at| !self.list[*at].deleted);
        found
    }

    pub fn drop_deleted(&mut self) {
        if self.list.iter().any(|object| object.deleted) {
            self.list.retain(|object| !object.deleted);
            self.touch();
        }
    }

    /// Two objects of one current id, if there are any.
    pub fn conflict(&mut self, scopes: &Scopes) -> Option<(usize, usize)> {
        self.current = None;
        let index = self.current_index(scopes);
        index.values().filter(|places| places.len() > 1).map(|places| (places[0], places[1])).min()
    }
}
