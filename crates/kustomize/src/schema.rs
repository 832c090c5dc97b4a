use crate::error::{Result, problem};
use serde_json::Value;
use smol_str::SmolStr;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, LazyLock},
};

/// How lists of a type merge: the parts of its fields that matter for strategic merge.
#[derive(Debug, Default)]
pub struct Schema {
    types: BTreeMap<(SmolStr, SmolStr), usize>,
    shapes: Vec<Shape>,
    /// Definitions by name, for references.
    names: BTreeMap<SmolStr, usize>,
    scopes: HashMap<(String, String), bool>,
}

/// One type or field.
#[derive(Debug, Default, Clone)]
struct Shape {
    fields: BTreeMap<SmolStr, usize>,
    /// The shape of the values of a map with any keys.
    values: Option<usize>,
    items: Option<usize>,
    merge: Option<Vec<SmolStr>>,
}

/// A position in a schema.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    schema: &'a Schema,
    /// Where shapes from [`BASE`] on are looked up: a schema of a comment refers to the definitions of the build's.
    base: &'a Schema,
    shape: usize,
}

/// Numbers of shapes that belong to another schema.
const BASE: usize = usize::MAX / 2;

static BUILT_IN: LazyLock<Arc<Schema>> = LazyLock::new(|| Arc::new(Schema::parse_table(include_str!("tables/schema.txt"))));

impl Schema {
    /// Kubernetes v1.21.2, as kustomize 5.8.1 carries it.
    pub fn built_in() -> Arc<Self> {
        BUILT_IN.clone()
    }

    fn parse_table(text: &'static str) -> Self {
        let word = SmolStr::new_static;
        let mut schema = Self::default();
        let mut lines = text.lines();
        let types = lines.by_ref().take_while(|line| !line.is_empty()).filter_map(|line| {
            let mut words = line.split(' ');
            Some(((word(words.next()?), word(words.next()?)), words.next()?.parse().ok()?))
        });
        schema.types = types.collect();
        schema.names = include_str!("tables/definitions.txt").lines().zip(0..).map(|(name, at)| (word(name), at)).collect();
        let definitions: Vec<&str> = lines.collect();
        schema.shapes.resize_with(definitions.len(), Shape::default);
        for (at, line) in definitions.into_iter().enumerate() {
            let fields = line.split(' ').filter(|field| *field != "-").filter_map(|field| {
                if let Some((name, shape)) = field.split_once(':') {
                    return Some((word(name), shape.parse().ok()?));
                }
                let (name, rest) = field.split_once('[')?;
                let (items, merge) = match rest.split_once('!') {
                    Some((items, keys)) => (items, Some(keys.split(',').filter(|key| !key.is_empty()).map(word).collect())),
                    None => (rest, None),
                };
                schema.shapes.push(Shape { items: items.parse().ok(), merge, ..Shape::default() });
                Some((word(name), schema.shapes.len() - 1))
            });
            let fields = fields.collect();
            schema.shapes[at].fields = fields;
        }
        schema
    }

    /// Reads an OpenAPI document with `definitions` (`openapi.path`). With `base`, its types add to those and win over them.
    pub fn from_open_api(document: &Value, base: Option<&Schema>) -> Result<Self> {
        let Some(definitions) = document.get("definitions").and_then(Value::as_object) else {
            return if document.get("definitions").is_none_or(Value::is_null) {
                Ok(base.map_or_else(Self::default, Self::copy))
            } else {
                Err(problem("definitions of the OpenAPI document is not a map"))
            };
        };
        let mut schema = base.map_or_else(Self::default, Self::copy);
        let first = schema.shapes.len();
        schema.names.extend(definitions.keys().enumerate().map(|(at, name)| (name.into(), first + at)));
        schema.shapes.resize_with(first + definitions.len(), Shape::default);
        let names = schema.names.clone();
        let mut reader = Reader { schema: &mut schema, names: &names, offset: 0, depth: 0 };
        for (at, definition) in definitions.values().enumerate().map(|(at, definition)| (first + at, definition)) {
            let shape = reader.shape(definition)?;
            reader.schema.shapes[at] = shape;
            let types = definition.get("x-kubernetes-group-version-kind").and_then(Value::as_array);
            for gvk in types.into_iter().flatten() {
                let part = |key: &str| gvk.get(key).and_then(Value::as_str).unwrap_or("");
                let api_version =
                    if part("group").is_empty() { part("version").to_owned() } else { format!("{}/{}", part("group"), part("version")) };
                reader.schema.types.insert((api_version.into(), part("kind").into()), at);
            }
        }
        schema.read_scopes(document);
        Ok(schema)
    }

    fn copy(&self) -> Self {
        let Self { types, shapes, names, scopes } = self;
        Self { types: types.clone(), shapes: shapes.clone(), names: names.clone(), scopes: scopes.clone() }
    }

    /// Reads the schema of one field that stands in a comment behind or above it; `None` for comments that say something else.
    pub(crate) fn of_comment(text: &str, base: &Schema) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        if value.as_object().is_none_or(serde_json::Map::is_empty) {
            return None;
        }
        let mut schema = Self::default();
        let root = Reader { schema: &mut schema, names: &base.names, offset: BASE, depth: 0 }.place(&value).ok()?;
        schema.names.insert(SmolStr::default(), root.unwrap_or(usize::MAX));
        Some(schema)
    }

    /// The field that [`Self::of_comment`] has read.
    pub(crate) fn root<'a>(&'a self, base: &'a Schema) -> Option<At<'a>> {
        Some(At { schema: self, base, shape: *self.names.get("")? })
    }

    /// A type is namespaced when a path of it holds `namespaces/{namespace}`.
    fn read_scopes(&mut self, document: &Value) {
        for (path, item) in document.get("paths").and_then(Value::as_object).into_iter().flatten() {
            let Some(gvk) = item.get("get").and_then(|get| get.get("x-kubernetes-group-version-kind")) else { continue };
            let part = |key: &str| gvk.get(key).and_then(Value::as_str).unwrap_or("");
            let api_version =
                if part("group").is_empty() { part("version").to_owned() } else { format!("{}/{}", part("group"), part("version")) };
            let namespaced = path.contains("namespaces/{namespace}");
            let cluster = self.scopes.entry((api_version, part("kind").to_owned())).or_insert(true);
            if namespaced {
                *cluster = false;
            }
        }
    }

    /// Which types of a loaded schema are cluster-scoped.
    pub(crate) fn scopes(&self) -> HashMap<(String, String), bool> {
        self.scopes.clone()
    }

    pub fn of_type(&self, api_version: &str, kind: &str) -> Option<At<'_>> {
        let shape = *self.types.get(&(api_version.into(), kind.into()))?;
        Some(At { schema: self, base: self, shape })
    }
}

struct Reader<'a> {
    schema: &'a mut Schema,
    names: &'a BTreeMap<SmolStr, usize>,
    /// What is added to the numbers of the names.
    offset: usize,
    depth: usize,
}

impl Reader<'_> {
    fn shape(&mut self, definition: &Value) -> Result<Shape> {
        self.depth += 1;
        if self.depth > 100 {
            return Err(problem("the OpenAPI document nests deeper than 100 levels"));
        }
        let mut shape = Shape::default();
        for (name, field) in definition.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if let Some(at) = self.place(field)? {
                shape.fields.insert(name.into(), at);
            }
        }
        if let Some(values) = definition.get("additionalProperties").filter(|values| values.is_object()) {
            shape.values = self.place(values)?;
        }
        if definition.get("type").is_some_and(|kind| kind == "array")
            && let Some(items) = definition.get("items")
        {
            shape.items = self.place(items)?;
        }
        let text = |key: &str| definition.get(key).and_then(Value::as_str);
        if text("x-kubernetes-patch-strategy").is_some_and(|strategy| strategy.split(',').any(|word| word == "merge")) {
            let keys = definition.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
            let keys = match (keys, text("x-kubernetes-patch-merge-key")) {
                (Some(keys), _) => keys.iter().filter_map(Value::as_str).map(SmolStr::from).collect(),
                (None, Some(key)) => vec![key.into()],
                (None, None) => Vec::new(),
            };
            shape.merge = Some(keys);
        }
        self.depth -= 1;
        Ok(shape)
    }

    fn place(&mut self, field: &Value) -> Result<Option<usize>> {
        if let Some(reference) = field.get("$ref").and_then(Value::as_str) {
            return Ok(self.names.get(reference.trim_start_matches("#/definitions/")).map(|at| at + self.offset));
        }
        let shape = self.shape(field)?;
        self.schema.shapes.push(shape);
        Ok(Some(self.schema.shapes.len() - 1))
    }
}

impl<'a> At<'a> {
    fn shape(self) -> Option<&'a Shape> {
        match self.shape.checked_sub(BASE) {
            Some(shape) => self.base.shapes.get(shape),
            None => self.schema.shapes.get(self.shape),
        }
    }

    fn to(self, shape: usize) -> Self {
        // What a shape of the base names is of the base.
        if self.shape >= BASE { Self { schema: self.base, base: self.base, shape } } else { Self { shape, ..self } }
    }

    pub(crate) fn field(self, name: &str) -> Option<Self> {
        let shape = self.shape()?;
        let next = shape.fields.get(name).copied().or(shape.values)?;
        Some(self.to(next))
    }

    pub(crate) fn items(self) -> Option<Self> {
        Some(self.to(self.shape()?.items?))
    }

    /// The merge keys of a list that is merged; empty for a set of scalars, `None` for a list that is replaced.
    pub(crate) fn merge_keys(self) -> Option<&'a [SmolStr]> {
        self.shape()?.merge.as_deref()
    }
}
