//! The syntax tree, ready to run: variables are slots, functions are entries of a table, text is a range of the source.

use crate::{Str, number};
use bytes::Bytes;
use std::{
    marker::PhantomData,
    ops::{Index, Range},
    sync::Arc,
};

/// One template file: where positions and text point into, and the parts of its trees.
pub(crate) struct Source {
    /// The name under which it was parsed, as errors show it.
    pub name: Arc<str>,
    pub text: Bytes,
    pub tree: Arc<Tree>,
}

impl Source {
    /// What errors are shown from.
    pub fn view(&self) -> View<'_> {
        View { tree: &self.tree, text: std::str::from_utf8(&self.text).unwrap_or_default() }
    }
}

/// One named template.
pub(crate) struct Template {
    pub name: Arc<str>,
    pub source: Arc<Source>,
    pub body: Row<Node>,
    /// How many variables can be alive at once, `$` included.
    pub slots: usize,
}

impl Template {
    /// Whether it is nothing but white space, so that it never replaces a template that has content.
    pub fn is_empty(&self) -> bool {
        is_empty(&self.source.tree[self.body], &self.source.text)
    }
}

/// A part of a tree, kept in one row with all others of its sort: a file is a handful of allocations, however long it is.
pub(crate) trait Part: Sized {
    fn all(tree: &Tree) -> &[Self];
    fn put_together(parts: &Parts) -> &Vec<Self>;
    fn put_more(parts: &mut Parts) -> &mut Vec<Self>;
}

macro_rules! parts {
    ($($field:ident: $part:ty),* $(,)?) => {
        /// The parts of all trees of one file.
        #[derive(Default)]
        pub(crate) struct Tree {
            $($field: Box<[$part]>,)*
        }

        /// A tree that is being put together. Used again for the next file, it needs no new memory.
        #[derive(Default)]
        pub(crate) struct Parts {
            $($field: Vec<$part>,)*
        }

        impl Parts {
            /// Takes what was put together.
            pub fn take(&mut self) -> Tree {
                Tree { $($field: self.$field.drain(..).collect(),)* }
            }

            pub fn clear(&mut self) {
                $(self.$field.clear();)*
            }
        }

        $(
            impl Part for $part {
                fn all(tree: &Tree) -> &[Self] {
                    &tree.$field
                }

                fn put_together(parts: &Parts) -> &Vec<Self> {
                    &parts.$field
                }

                fn put_more(parts: &mut Parts) -> &mut Vec<Self> {
                    &mut parts.$field
                }
            }
        )*
    };
}

parts! {
    nodes: Node,
    branches: Branch,
    calls: Call,
    pipes: Pipe,
    commands: Command,
    words: Word,
    variables: Variable,
    numbers: Number,
    strings: Str,
    names: Arc<str>,
}

/// Parts that stand next to each other.
pub(crate) struct Row<T> {
    start: u32,
    length: u32,
    sort: PhantomData<fn() -> T>,
}

/// Where one part stands.
pub(crate) struct Place<T> {
    at: u32,
    sort: PhantomData<fn() -> T>,
}

impl<T> Clone for Row<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Row<T> {}

impl<T> Default for Row<T> {
    fn default() -> Self {
        Self { start: 0, length: 0, sort: PhantomData }
    }
}

impl<T> Row<T> {
    pub fn len(self) -> usize {
        self.length as usize
    }

    pub fn is_empty(self) -> bool {
        self.length == 0
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.start as usize + self.length as usize
    }
}

impl<T> Clone for Place<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Place<T> {}

impl<T: Part> Index<Row<T>> for Tree {
    type Output = [T];

    fn index(&self, row: Row<T>) -> &[T] {
        &T::all(self)[row.range()]
    }
}

impl<T: Part> Index<Place<T>> for Tree {
    type Output = T;

    fn index(&self, place: Place<T>) -> &T {
        &T::all(self)[place.at as usize]
    }
}

impl<T: Part> Index<Row<T>> for Parts {
    type Output = [T];

    fn index(&self, row: Row<T>) -> &[T] {
        &T::put_together(self)[row.range()]
    }
}

impl Parts {
    pub fn add<T: Part>(&mut self, part: T) -> Place<T> {
        let all = T::put_more(self);
        all.push(part);
        Place { at: all.len() as u32 - 1, sort: PhantomData }
    }

    pub fn add_row<T: Part>(&mut self, row: impl IntoIterator<Item = T>) -> Row<T> {
        let all = T::put_more(self);
        let start = all.len();
        all.extend(row);
        Row { start: start as u32, length: (all.len() - start) as u32, sort: PhantomData }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Node {
    Text {
        start: u32,
        end: u32,
    },
    /// A pipeline, and how far behind it this action stands that is written the same.
    Action {
        pipe: Place<Pipe>,
        shift: u32,
    },
    If(Place<Branch>),
    With(Place<Branch>),
    Range(Place<Branch>),
    Template(Place<Call>),
    Break,
    Continue,
}

pub(crate) struct Branch {
    pub pipe: Place<Pipe>,
    /// How far behind the pipeline this branch stands, whose own is written the same.
    pub shift: u32,
    pub body: Row<Node>,
    pub otherwise: Option<Row<Node>>,
}

pub(crate) struct Call {
    pub position: u32,
    pub name: Arc<str>,
    pub pipe: Option<Pipe>,
}

pub(crate) struct Pipe {
    pub position: u32,
    pub variables: Row<Variable>,
    pub assigns: bool,
    pub commands: Row<Command>,
}

/// A variable that a pipeline sets.
pub(crate) struct Variable {
    pub name: Arc<str>,
    /// `None` for an assignment to a variable that was never declared: an error when it runs.
    pub slot: Option<u32>,
}

pub(crate) struct Command {
    pub position: u32,
    pub words: Row<Word>,
}

pub(crate) struct Word {
    pub position: u32,
    pub kind: WordKind,
}

/// The names behind the dots of `.a.b`.
pub(crate) type Fields = Row<Arc<str>>;

pub(crate) enum WordKind {
    Bool(bool),
    Dot,
    Nil,
    Number(Place<Number>),
    /// A literal, and where it ends in the source; it begins at the word's position.
    String {
        value: Place<Str>,
        end: u32,
    },
    Field(Fields),
    Variable {
        name: Place<Arc<str>>,
        slot: u32,
        fields: Fields,
    },
    /// A function, and where its name ends in the source; it begins at the word's position.
    Function {
        index: u32,
        end: u32,
    },
    Chain(Place<Word>, Fields),
    Pipe(Place<Pipe>),
}

/// A number literal with every reading it has.
pub(crate) struct Number {
    /// Where it ends in the source; it begins at the word's position.
    pub end: u32,
    pub int: Option<i64>,
    pub uint: Option<u64>,
    pub float: Option<f64>,
    /// The value where no type is asked for: int, or float when written as one.
    pub is_float_literal: bool,
    pub complex: bool,
}

impl Number {
    /// Reads a literal as Go's parser does; `None` when it is no number.
    pub fn parse(text: &str, char_constant: bool, end: u32) -> Option<Self> {
        let mut number = Self { end, int: None, uint: None, float: None, is_float_literal: false, complex: false };
        if char_constant {
            let code = number::unquote_char(text)?;
            number.int = Some(code);
            number.uint = u64::try_from(code).ok();
            number.float = Some(code as f64);
            return Some(number);
        }
        if let Some(imaginary) = text.strip_suffix('i') {
            number::parse_float(imaginary.rsplit(['+', '-']).next().unwrap_or(imaginary))?;
            number.complex = true;
            return Some(number);
        }
        number.uint = number::parse_uint(text);
        number.int = number::parse_int(text);
        if let Some(int) = number.int {
            number.float = Some(int as f64);
            if int == 0 {
                number.uint = Some(0);
            }
        } else if let Some(uint) = number.uint {
            number.float = Some(uint as f64);
        } else {
            let value = number::parse_float(&text.replace('_', ""))?;
            // An integer literal that is too large is refused; it needs an exponent or a point to be a float.
            if !text.contains(['.', 'e', 'E', 'p', 'P']) {
                return None;
            }
            number.float = Some(value);
            if value as i64 as f64 == value {
                number.int = Some(value as i64);
            }
            if value >= 0.0 && value as u64 as f64 == value {
                number.uint = Some(value as u64);
            }
        }
        let hex_int = text.len() > 2 && (text.starts_with("0x") || text.starts_with("0X")) && !text.contains(['p', 'P']);
        number.is_float_literal = number.float.is_some() && !hex_int && text.contains(['.', 'e', 'E', 'p', 'P']);
        Some(number)
    }
}

/// What parts of a tree are shown from.
#[derive(Clone, Copy)]
pub(crate) struct View<'s> {
    tree: &'s Tree,
    text: &'s str,
}

/// Part of a tree as errors show it.
pub(crate) trait Shown {
    /// Writes it at the end of `out`.
    fn show(&self, view: View<'_>, out: &mut String);

    fn shown(&self, source: &Source) -> String {
        let mut out = String::new();
        self.show(source.view(), &mut out);
        out
    }
}

impl Shown for Pipe {
    fn show(&self, view: View<'_>, out: &mut String) {
        for (at, variable) in view.tree[self.variables].iter().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            out.push_str(&variable.name);
        }
        if !self.variables.is_empty() {
            out.push_str(if self.assigns { " = " } else { " := " });
        }
        for (at, command) in view.tree[self.commands].iter().enumerate() {
            if at > 0 {
                out.push_str(" | ");
            }
            command.show(view, out);
        }
    }
}

impl Shown for Command {
    fn show(&self, view: View<'_>, out: &mut String) {
        for (at, word) in view.tree[self.words].iter().enumerate() {
            if at > 0 {
                out.push(' ');
            }
            word.show_within(view, out);
        }
    }
}

impl Word {
    /// As a part of something larger: pipelines get their parentheses.
    fn show_within(&self, view: View<'_>, out: &mut String) {
        match &self.kind {
            WordKind::Pipe(pipe) => {
                out.push('(');
                view.tree[*pipe].show(view, out);
                out.push(')');
            }
            _ => self.show(view, out),
        }
    }
}

impl Shown for Word {
    fn show(&self, view: View<'_>, out: &mut String) {
        let literal = |end: u32| view.text.get(self.position as usize..end as usize).unwrap_or_default();
        match &self.kind {
            WordKind::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            WordKind::Dot => out.push('.'),
            WordKind::Nil => out.push_str("nil"),
            WordKind::Number(number) => out.push_str(literal(view.tree[*number].end)),
            WordKind::String { end, .. } | WordKind::Function { end, .. } => out.push_str(literal(*end)),
            WordKind::Field(names) => fields(out, &view.tree[*names]),
            WordKind::Variable { name, fields: names, .. } => {
                out.push_str(&view.tree[*name]);
                fields(out, &view.tree[*names]);
            }
            WordKind::Chain(word, names) => {
                view.tree[*word].show_within(view, out);
                fields(out, &view.tree[*names]);
            }
            WordKind::Pipe(pipe) => view.tree[*pipe].show(view, out),
        }
    }
}

fn fields(out: &mut String, names: &[Arc<str>]) {
    for name in names {
        out.push('.');
        out.push_str(name);
    }
}

impl Shown for Call {
    fn show(&self, view: View<'_>, out: &mut String) {
        out.push_str("{{template ");
        out.push_str(&number::quote(self.name.as_bytes()));
        if let Some(pipe) = &self.pipe {
            out.push(' ');
            pipe.show(view, out);
        }
        out.push_str("}}");
    }
}

/// Whether nodes are nothing but white space.
pub(crate) fn is_empty(nodes: &[Node], text: &[u8]) -> bool {
    let blank = |text: &[u8]| std::str::from_utf8(text).is_ok_and(|text| text.trim().is_empty());
    nodes.iter().all(|node| match node {
        Node::Text { start, end } => text.get(*start as usize..*end as usize).is_some_and(blank),
        _ => false,
    })
}
