//! The syntax tree, ready to run: variables are slots, functions are entries of a table, text is a range of the source.

use crate::{Str, number};
use std::sync::Arc;

/// One template file: where positions and text point into.
pub(crate) struct Source {
    /// The name under which it was parsed, as errors show it.
    pub name: Arc<str>,
    pub text: Arc<str>,
}

/// One named template.
pub(crate) struct Template {
    pub name: Arc<str>,
    pub source: Arc<Source>,
    pub body: Box<[Node]>,
    /// How many variables can be alive at once, `$` included.
    pub slots: usize,
}

pub(crate) enum Node {
    Text { start: u32, end: u32 },
    Action(Pipe),
    If(Box<Branch>),
    With(Box<Branch>),
    Range(Box<Branch>),
    Template(Box<Call>),
    Break,
    Continue,
}

pub(crate) struct Branch {
    pub pipe: Pipe,
    pub body: Box<[Node]>,
    pub otherwise: Option<Box<[Node]>>,
}

pub(crate) struct Call {
    pub position: u32,
    pub name: Arc<str>,
    pub pipe: Option<Pipe>,
}

pub(crate) struct Pipe {
    pub position: u32,
    pub variables: Box<[Variable]>,
    pub assigns: bool,
    pub commands: Box<[Command]>,
}

/// A variable that a pipeline sets.
pub(crate) struct Variable {
    pub name: Arc<str>,
    /// `None` for an assignment to a variable that was never declared: an error when it runs.
    pub slot: Option<u32>,
}

pub(crate) struct Command {
    pub position: u32,
    pub words: Box<[Word]>,
}

pub(crate) struct Word {
    pub position: u32,
    pub kind: WordKind,
}

pub(crate) enum WordKind {
    Bool(bool),
    Dot,
    Nil,
    Number(Box<Number>),
    /// A literal, and where it ends in the source; it begins at the word's position.
    String {
        value: Str,
        end: u32,
    },
    Field(Box<[Arc<str>]>),
    Variable {
        name: Arc<str>,
        slot: u32,
        fields: Box<[Arc<str>]>,
    },
    Function {
        name: Arc<str>,
        index: u32,
    },
    Chain(Box<Word>, Box<[Arc<str>]>),
    Pipe(Box<Pipe>),
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

/// Part of a tree as errors show it.
pub(crate) trait Shown {
    /// Writes it at the end of `out`; `text` is the source that it was parsed from.
    fn show(&self, text: &str, out: &mut String);

    fn shown(&self, text: &str) -> String {
        let mut out = String::new();
        self.show(text, &mut out);
        out
    }
}

impl Shown for Pipe {
    fn show(&self, text: &str, out: &mut String) {
        for (at, variable) in self.variables.iter().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            out.push_str(&variable.name);
        }
        if !self.variables.is_empty() {
            out.push_str(if self.assigns { " = " } else { " := " });
        }
        for (at, command) in self.commands.iter().enumerate() {
            if at > 0 {
                out.push_str(" | ");
            }
            command.show(text, out);
        }
    }
}

impl Shown for Command {
    fn show(&self, text: &str, out: &mut String) {
        for (at, word) in self.words.iter().enumerate() {
            if at > 0 {
                out.push(' ');
            }
            word.show_within(text, out);
        }
    }
}

impl Word {
    /// As a part of something larger: pipelines get their parentheses.
    fn show_within(&self, text: &str, out: &mut String) {
        match &self.kind {
            WordKind::Pipe(pipe) => {
                out.push('(');
                pipe.show(text, out);
                out.push(')');
            }
            _ => self.show(text, out),
        }
    }
}

impl Shown for Word {
    fn show(&self, text: &str, out: &mut String) {
        let literal = |end: u32| text.get(self.position as usize..end as usize).unwrap_or_default();
        match &self.kind {
            WordKind::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            WordKind::Dot => out.push('.'),
            WordKind::Nil => out.push_str("nil"),
            WordKind::Number(number) => out.push_str(literal(number.end)),
            WordKind::String { end, .. } => out.push_str(literal(*end)),
            WordKind::Field(names) => fields(out, names),
            WordKind::Variable { name, fields: names, .. } => {
                out.push_str(name);
                fields(out, names);
            }
            WordKind::Function { name, .. } => out.push_str(name),
            WordKind::Chain(word, names) => {
                word.show_within(text, out);
                fields(out, names);
            }
            WordKind::Pipe(pipe) => pipe.show(text, out),
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
    fn show(&self, text: &str, out: &mut String) {
        out.push_str("{{template ");
        out.push_str(&number::quote(self.name.as_bytes()));
        if let Some(pipe) = &self.pipe {
            out.push(' ');
            pipe.show(text, out);
        }
        out.push_str("}}");
    }
}

/// Whether a body is nothing but white space, so that it never replaces a template that has content.
pub(crate) fn is_empty(body: &[Node], text: &str) -> bool {
    body.iter().all(|node| match node {
        Node::Text { start, end } => text[*start as usize..*end as usize].trim().is_empty(),
        _ => false,
    })
}
