use serde_json::{Number, Value};
use std::sync::Arc;
use yaml::{Dialect, Json, Node};

/// Values of charts: shared, copied only where they are changed. Numbers are floats, as Helm reads them; `--set` makes integers.
#[derive(Clone, PartialEq)]
pub enum Data {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(Arc<str>),
    List(Arc<Vec<Data>>),
    Table(Table),
}

/// A table with keys in byte order.
#[derive(Clone, Default, PartialEq)]
pub struct Table(Arc<Vec<(Arc<str>, Data)>>);

impl Table {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(k, _)| (**k).cmp(key))
    }

    pub fn get(&self, key: &str) -> Option<&Data> {
        self.find(key).ok().map(|at| &self.0[at].1)
    }

    pub fn contains(&self, key: &str) -> bool {
        self.find(key).is_ok()
    }

    pub fn insert(&mut self, key: Arc<str>, value: Data) {
        match self.find(&key) {
            Ok(at) => Arc::make_mut(&mut self.0)[at].1 = value,
            Err(at) => Arc::make_mut(&mut self.0).insert(at, (key, value)),
        }
    }

    pub fn remove(&mut self, key: &str) -> Option<Data> {
        let at = self.find(key).ok()?;
        Some(Arc::make_mut(&mut self.0).remove(at).1)
    }

    /// Takes a value out to change it, leaving null in its place.
    pub fn take(&mut self, key: &str) -> Option<Data> {
        let at = self.find(key).ok()?;
        Some(std::mem::replace(&mut Arc::make_mut(&mut self.0)[at].1, Data::Null))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Data)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    pub fn from_entries(mut entries: Vec<(Arc<str>, Data)>) -> Self {
        if !entries.is_sorted_by(|a, b| a.0 < b.0) {
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.reverse();
            entries.dedup_by(|later, first| later.0 == first.0);
            entries.reverse();
        }
        Self(Arc::new(entries))
    }

    /// Whether both are the very same table.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The table below a dotted path.
    pub fn table_at(&self, path: &str) -> Option<&Table> {
        path.split('.').try_fold(self, |table, part| table.get(part)?.as_table())
    }

    /// The value at a dotted path that is no table.
    pub fn value_at(&self, path: &str) -> Option<&Data> {
        let (table, key) = match path.rsplit_once('.') {
            Some((before, key)) => (self.table_at(before)?, key),
            None => (self, path),
        };
        table.get(key).filter(|value| value.as_table().is_none())
    }

    /// Reads an object; anything else is no table.
    pub fn from_json(value: &Value) -> Option<Self> {
        match Data::from_json(value) {
            Data::Table(table) => Some(table),
            _ => None,
        }
    }

    pub fn to_json(&self) -> Value {
        Value::Object(self.iter().map(|(key, value)| (key.to_string(), value.to_json())).collect())
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may hold secrets.
        write!(out, "Table({} keys)", self.len())
    }
}

impl std::fmt::Debug for Data {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Data({})", self.type_name())
    }
}

impl Data {
    pub fn string(text: &str) -> Self {
        Self::String(text.into())
    }

    pub fn as_table(&self) -> Option<&Table> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Go's name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int64",
            Self::Float(_) => "float64",
            Self::String(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Table(_) => "map[string]interface {}",
        }
    }

    /// All numbers become floats, as `encoding/json` reads them.
    pub fn from_json(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(b) => Self::Bool(*b),
            Value::Number(n) => Self::Float(n.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) => Self::String(text.as_str().into()),
            Value::Array(items) => Self::List(Arc::new(items.iter().map(Self::from_json).collect())),
            Value::Object(map) => {
                Self::Table(Table::from_entries(map.iter().map(|(key, value)| (key.as_str().into(), Self::from_json(value))).collect()))
            }
        }
    }

    /// A document as [`Data::from_json`] would read its JSON, which is not made first.
    pub fn from_yaml(node: &Node, dialect: Dialect) -> Result<Self, yaml::Error> {
        Ok(match &node.data {
            yaml::Data::List(items) => {
                Self::List(Arc::new(items.iter().map(|item| Self::from_yaml(item, dialect)).collect::<Result<_, _>>()?))
            }
            yaml::Data::Map(map) => {
                let entry = |entry: &yaml::Entry| Ok((entry.key.as_str().into(), Self::from_yaml(&entry.value, dialect)?));
                Self::Table(Table::from_entries(map.entries.iter().map(entry).collect::<Result<_, _>>()?))
            }
            yaml::Data::Scalar(_) => match yaml::scalar_view(node, dialect).transpose()? {
                None | Some(Json::Null) => Self::Null,
                Some(Json::Bool(b)) => Self::Bool(b),
                Some(Json::Number(n)) => Self::Float(n.as_f64().unwrap_or(f64::NAN)),
                Some(Json::Str(text)) => Self::String(text.into()),
            },
        })
    }

    /// Whole floats are written as integers where JSON writes them so.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(b) => Value::Bool(*b),
            Self::Int(n) => Value::from(*n),
            Self::Float(f) => number(*f),
            Self::String(text) => Value::String(text.to_string()),
            Self::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Self::Table(table) => table.to_json(),
        }
    }
}

/// A float as the JSON number that Go writes for it.
pub(crate) fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 9.2e18 {
        return Value::from(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}
