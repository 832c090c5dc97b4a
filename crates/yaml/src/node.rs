use crate::Style;
use smol_str::SmolStr;

/// Where a node came from: a number that the reader of the text chose, and the line, from one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    pub source: u32,
    pub line: u32,
}

/// What a scalar stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tag {
    Null,
    Bool,
    Int,
    Float,
    Str,
    Timestamp,
    Binary,
    Merge,
}

impl Tag {
    /// The short form of YAML, `!!str`.
    pub fn name(self) -> &'static str {
        match self {
            Tag::Null => "!!null",
            Tag::Bool => "!!bool",
            Tag::Int => "!!int",
            Tag::Float => "!!float",
            Tag::Str => "!!str",
            Tag::Timestamp => "!!timestamp",
            Tag::Binary => "!!binary",
            Tag::Merge => "!!merge",
        }
    }
}

/// A scalar: its text as written, and what it stands for.
#[derive(Debug, Clone, Eq)]
pub struct Scalar {
    pub text: SmolStr,
    pub tag: Tag,
    pub style: Style,
    /// No type was given with its text: another text may be of another.
    pub untyped: bool,
    /// A mark of whoever works on the nodes, 0 at first, and no part of the value: scalars of one mark are to change together.
    pub shared: u32,
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.tag, self.style) == (&other.text, other.tag, other.style)
    }
}

/// A value of a document: order, scalar texts and places are kept; anchors, comments and block styles are not.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub data: Data,
    pub place: Place,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Map),
}

/// One key of a map with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: SmolStr,
    pub tag: Tag,
    pub value: Node,
}

/// A map in the order of its text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map {
    pub entries: Vec<Entry>,
    /// Written in braces.
    pub flow: bool,
    /// Comments at keys that hold a map of JSON, as tools write them: `key: # {"type":"array"}`, or above the key.
    pub notes: Option<Box<Notes>>,
}

/// Keys, and what is noted at them.
pub type Notes = Vec<(SmolStr, SmolStr)>;

impl Scalar {
    pub fn new(text: impl Into<SmolStr>, tag: Tag, style: Style) -> Self {
        Self { text: text.into(), tag, style, untyped: false, shared: 0 }
    }

    pub fn string(text: impl Into<SmolStr>) -> Self {
        Self::new(text, Tag::Str, Style::Plain)
    }
}

impl Node {
    pub fn string(text: impl Into<SmolStr>) -> Self {
        Data::Scalar(Scalar::string(text)).into()
    }

    pub fn null() -> Self {
        Data::Scalar(Scalar::new(SmolStr::new_static("null"), Tag::Null, Style::Plain)).into()
    }

    /// A scalar of text that says itself what it is, as an unquoted scalar of a document does.
    pub fn plain(text: &str) -> Self {
        let tag = crate::resolve::tag_of(crate::Dialect::Kyaml, text);
        Data::Scalar(Scalar::new(text, tag, Style::Plain)).into()
    }

    pub fn map() -> Self {
        Data::Map(Map::default()).into()
    }

    pub fn list(items: Vec<Node>) -> Self {
        Data::List(items).into()
    }

    pub fn at(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    pub fn is_null(&self) -> bool {
        matches!(&self.data, Data::Scalar(scalar) if scalar.tag == Tag::Null)
    }

    pub fn as_map(&self) -> Option<&Map> {
        if let Data::Map(map) = &self.data { Some(map) } else { None }
    }

    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        if let Data::Map(map) = &mut self.data { Some(map) } else { None }
    }

    pub fn as_list(&self) -> Option<&[Node]> {
        if let Data::List(items) = &self.data { Some(items) } else { None }
    }

    pub fn as_list_mut(&mut self) -> Option<&mut Vec<Node>> {
        if let Data::List(items) = &mut self.data { Some(items) } else { None }
    }

    pub fn as_scalar(&self) -> Option<&Scalar> {
        if let Data::Scalar(scalar) = &self.data { Some(scalar) } else { None }
    }

    /// The text of a scalar, whatever it stands for.
    pub fn text(&self) -> Option<&str> {
        self.as_scalar().map(|scalar| scalar.text.as_str())
    }

    /// The text of a string; `None` for any other value.
    pub fn as_str(&self) -> Option<&str> {
        self.as_scalar().filter(|scalar| scalar.tag == Tag::Str).map(|scalar| scalar.text.as_str())
    }

    /// The value under a key of a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.as_map_mut()?.get_mut(key)
    }

    /// The value at a path of plain keys.
    pub fn at_path(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |at, key| at.get(key))
    }

    /// `a map`, `a list`, `a string` and so on, for messages.
    pub fn describe(&self) -> &'static str {
        match &self.data {
            Data::Map(_) => "a map",
            Data::List(_) => "a list",
            Data::Scalar(scalar) => match scalar.tag {
                Tag::Null => "null",
                Tag::Bool => "a boolean",
                Tag::Int | Tag::Float => "a number",
                _ => "a string",
            },
        }
    }

    /// How many nodes it holds, itself included.
    pub fn size(&self) -> usize {
        1 + match &self.data {
            Data::Scalar(_) => 0,
            Data::List(items) => items.iter().map(Node::size).sum(),
            Data::Map(map) => map.entries.iter().map(|entry| entry.value.size()).sum(),
        }
    }
}

impl From<Data> for Node {
    fn from(data: Data) -> Self {
        Self { data, place: Place::default() }
    }
}

impl Map {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
    }

    pub fn position(&self, key: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.key == key)
    }

    pub fn contains(&self, key: &str) -> bool {
        self.position(key).is_some()
    }

    /// Sets a key in its place, or at the end.
    pub fn insert(&mut self, key: impl Into<SmolStr>, value: Node) {
        let key = key.into();
        match self.position(&key) {
            Some(at) => self.entries[at].value = value,
            None => self.entries.push(Entry { key, tag: Tag::Str, value }),
        }
    }

    pub fn remove(&mut self, key: &str) -> Option<Node> {
        self.position(key).map(|at| self.entries.remove(at).value)
    }

    /// The value under a key, made by `make` where there was none.
    pub fn entry(&mut self, key: &str, make: impl FnOnce() -> Node) -> &mut Node {
        let at = match self.position(key) {
            Some(at) => at,
            None => {
                self.entries.push(Entry { key: key.into(), tag: Tag::Str, value: make() });
                self.entries.len() - 1
            }
        };
        &mut self.entries[at].value
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.entries.iter().map(|entry| (entry.key.as_str(), &entry.value))
    }
}
