//! The syntax tree, ready to run: variables are slots, functions are entries of a table, text is a range of the source.

use crate::{Str, number};
use std::{fmt, sync::Arc};

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
    pub body: Vec<Node>,
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
    pub body: Vec<Node>,
    pub otherwise: Option<Vec<Node>>,
}

pub(crate) struct Call {
    pub position: u32,
    pub name: Arc<str>,
    pub pipe: Option<Pipe>,
}

pub(crate) struct Pipe {
    pub position: u32,
    pub variables: Vec<Variable>,
    pub assigns: bool,
    pub commands: Vec<Command>,
}

/// A variable that a pipeline sets.
pub(crate) struct Variable {
    pub name: Arc<str>,
    /// `None` for an assignment to a variable that was never declared: an error when it runs.
    pub slot: Option<u32>,
}

pub(crate) struct Command {
    pub position: u32,
    pub words: Vec<Word>,
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
    String { value: Str, literal: Arc<str> },
    Field(Box<[Arc<str>]>),
    Variable { name: Arc<str>, slot: u32, fields: Box<[Arc<str>]> },
    Function { name: Arc<str>, index: u32 },
    Chain(Box<Word>, Box<[Arc<str>]>),
    Pipe(Box<Pipe>),
}

/// A number literal with every reading it has.
pub(crate) struct Number {
    pub text: Arc<str>,
    pub int: Option<i64>,
    pub uint: Option<u64>,
    pub float: Option<f64>,
    /// The value where no type is asked for: int, or float when written as one.
    pub is_float_literal: bool,
    pub complex: bool,
}

impl Number {
    /// Reads a literal as Go's parser does; `None` when it is no number.
    pub fn parse(text: &str, char_constant: bool) -> Option<Self> {
        let mut number = Self { text: text.into(), int: None, uint: None, float: None, is_float_literal: false, complex: false };
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

impl fmt::Display for Pipe {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, variable) in self.variables.iter().enumerate() {
            if at > 0 {
                out.write_str(", ")?;
            }
            out.write_str(&variable.name)?;
        }
        if !self.variables.is_empty() {
            out.write_str(if self.assigns { " = " } else { " := " })?;
        }
        for (at, command) in self.commands.iter().enumerate() {
            if at > 0 {
                out.write_str(" | ")?;
            }
            write!(out, "{command}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, word) in self.words.iter().enumerate() {
            if at > 0 {
                out.write_str(" ")?;
            }
            match &word.kind {
                WordKind::Pipe(pipe) => write!(out, "({pipe})")?,
                _ => write!(out, "{word}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Word {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            WordKind::Bool(value) => write!(out, "{value}"),
            WordKind::Dot => out.write_str("."),
            WordKind::Nil => out.write_str("nil"),
            WordKind::Number(number) => out.write_str(&number.text),
            WordKind::String { literal, .. } => out.write_str(literal),
            WordKind::Field(names) => fields(out, names),
            WordKind::Variable { name, fields: names, .. } => {
                out.write_str(name)?;
                fields(out, names)
            }
            WordKind::Function { name, .. } => out.write_str(name),
            WordKind::Chain(word, names) => {
                match &word.kind {
                    WordKind::Pipe(pipe) => write!(out, "({pipe})")?,
                    _ => write!(out, "{word}")?,
                }
                fields(out, names)
            }
            WordKind::Pipe(pipe) => write!(out, "{pipe}"),
        }
    }
}

fn fields(out: &mut fmt::Formatter<'_>, names: &[Arc<str>]) -> fmt::Result {
    names.iter().try_for_each(|name| write!(out, ".{name}"))
}

impl fmt::Display for Call {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{{{{template {}", number::quote(self.name.as_bytes()))?;
        if let Some(pipe) = &self.pipe {
            write!(out, " {pipe}")?;
        }
        out.write_str("}}")
    }
}

/// Whether a body is nothing but white space, so that it never replaces a template that has content.
pub(crate) fn is_empty(body: &[Node], text: &str) -> bool {
    body.iter().all(|node| match node {
        Node::Text { start, end } => text[*start as usize..*end as usize].trim().is_empty(),
        _ => false,
    })
}
