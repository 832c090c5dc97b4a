//! Cuts a template into tokens, as `text/template/parse/lex.go` does.

use std::ops::Range;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Error,
    Bool,
    Char,
    CharConstant,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Complex,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    Dot,
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

impl Kind {
    fn keyword(word: &str) -> Option<Self> {
        Some(match word {
            "." => Self::Dot,
            "block" => Self::Block,
            "break" => Self::Break,
            "continue" => Self::Continue,
            "define" => Self::Define,
            "else" => Self::Else,
            "end" => Self::End,
            "if" => Self::If,
            "range" => Self::Range,
            "nil" => Self::Nil,
            "template" => Self::Template,
            "with" => Self::With,
            _ => return None,
        })
    }

    fn is_keyword(self) -> bool {
        self as u8 >= Self::Dot as u8
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub kind: Kind,
    pub range: Range<usize>,
    pub line: usize,
    /// What an error token says.
    pub message: Option<String>,
}

impl Token {
    /// The token as error messages show it.
    pub fn describe(&self, source: &str) -> String {
        let text = &source[self.range.clone()];
        match self.kind {
            Kind::Eof => "EOF".to_owned(),
            Kind::Error => self.message.clone().unwrap_or_default(),
            kind if kind.is_keyword() => format!("<{text}>"),
            _ if text.len() > 10 => {
                let head: String = text.chars().take(10).collect();
                format!("{}...", crate::number::quote(head.as_bytes()))
            }
            _ => crate::number::quote(text.as_bytes()),
        }
    }
}

pub(crate) struct Lexer<'a> {
    source: &'a str,
    position: usize,
    start: usize,
    line: usize,
    start_line: usize,
    paren_depth: usize,
    inside: bool,
    done: bool,
}

const LEFT: &str = "{{";
const RIGHT: &str = "}}";

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn has_left_trim(rest: &str) -> bool {
    let mut chars = rest.chars();
    chars.next() == Some('-') && chars.next().is_some_and(is_space)
}

fn has_right_trim(rest: &str) -> bool {
    let mut chars = rest.chars();
    chars.next().is_some_and(is_space) && chars.next() == Some('-')
}

impl<'a> Lexer<'a> {
    pub fn new(source: &'a str) -> Self {
        Self { source, position: 0, start: 0, line: 1, start_line: 1, paren_depth: 0, inside: false, done: false }
    }

    pub fn next(&mut self) -> Token {
        if self.done {
            self.start = self.source.len();
            self.position = self.start;
            return self.emit(Kind::Eof);
        }
        if self.inside { self.inside_action() } else { self.text() }
    }

    fn rest(&self) -> &'a str {
        &self.source[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position += c.len_utf8();
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn emit(&mut self, kind: Kind) -> Token {
        let token = Token { kind, range: self.start..self.position, line: self.start_line, message: None };
        self.start = self.position;
        self.start_line = self.line;
        token
    }

    fn fail(&mut self, message: impl Into<String>) -> Token {
        self.done = true;
        Token { kind: Kind::Error, range: self.start..self.position, line: self.start_line, message: Some(message.into()) }
    }

    /// Skips what lies between `start` and `position`, counting its lines.
    fn ignore(&mut self) {
        self.line += count_lines(&self.source[self.start..self.position]);
        self.start = self.position;
        self.start_line = self.line;
    }

    fn text(&mut self) -> Token {
        loop {
            let Some(at) = self.rest().find(LEFT) else {
                self.position = self.source.len();
                if self.position > self.start {
                    self.line += count_lines(&self.source[self.start..]);
                    let token = self.emit(Kind::Text);
                    self.done = true;
                    return token;
                }
                self.done = true;
                return self.emit(Kind::Eof);
            };
            let delimiter = self.position + at;
            let after = &self.source[delimiter + LEFT.len()..];
            let text = &self.source[self.start..delimiter];
            let kept = if has_left_trim(after) { text.trim_end_matches(is_space) } else { text };
            if !kept.is_empty() {
                self.position = self.start + kept.len();
                self.line += count_lines(kept);
                let token = self.emit(Kind::Text);
                return token;
            }
            self.position = delimiter;
            self.ignore();
            if let Some(token) = self.left_delimiter() {
                return token;
            }
        }
    }

    /// Past text: a comment is skipped (`None`), anything else opens an action.
    fn left_delimiter(&mut self) -> Option<Token> {
        let after = &self.source[self.position + LEFT.len()..];
        let trim = if has_left_trim(after) { 2 } else { 0 };
        if after[trim..].starts_with("/*") {
            self.position += LEFT.len() + trim;
            self.ignore();
            return self.comment();
        }
        self.position += LEFT.len();
        let token = self.emit(Kind::LeftDelim);
        self.inside = true;
        self.position += trim;
        self.ignore();
        self.paren_depth = 0;
        Some(token)
    }

    fn comment(&mut self) -> Option<Token> {
        self.position += 2;
        let Some(at) = self.rest().find("*/") else {
            return Some(self.fail("unclosed comment"));
        };
        self.position += at + 2;
        let (closes, trims) = self.at_right_delimiter();
        if !closes {
            return Some(self.fail("comment ends before closing delimiter"));
        }
        self.position += if trims { 2 } else { 0 } + RIGHT.len();
        if trims {
            self.position += self.rest().len() - self.rest().trim_start_matches(is_space).len();
        }
        self.ignore();
        None
    }

    fn at_right_delimiter(&self) -> (bool, bool) {
        let rest = self.rest();
        if has_right_trim(rest) && rest[2..].starts_with(RIGHT) {
            return (true, true);
        }
        (rest.starts_with(RIGHT), false)
    }

    fn right_delimiter(&mut self, trims: bool) -> Token {
        if trims {
            self.position += 2;
            self.ignore();
        }
        self.position += RIGHT.len();
        let token = self.emit(Kind::RightDelim);
        if trims {
            self.position += self.rest().len() - self.rest().trim_start_matches(is_space).len();
            self.ignore();
        }
        self.inside = false;
        token
    }

    fn inside_action(&mut self) -> Token {
        let (closes, trims) = self.at_right_delimiter();
        if closes {
            if self.paren_depth == 0 {
                return self.right_delimiter(trims);
            }
            return self.fail("unclosed left paren");
        }
        let Some(c) = self.bump() else {
            return self.fail("unclosed action");
        };
        match c {
            c if is_space(c) => self.space(),
            '=' => self.emit(Kind::Assign),
            ':' => {
                if self.bump() != Some('=') {
                    return self.fail("expected :=");
                }
                self.emit(Kind::Declare)
            }
            '|' => self.emit(Kind::Pipe),
            '"' => self.quoted('"', Kind::String, "unterminated quoted string"),
            '`' => self.raw_quoted(),
            '$' => self.field_or_variable(Kind::Variable),
            '\'' => self.quoted('\'', Kind::CharConstant, "unterminated character constant"),
            '.' if !self.peek().is_some_and(|c| c.is_ascii_digit()) => self.field_or_variable(Kind::Field),
            '.' | '+' | '-' | '0'..='9' => {
                self.position = self.start;
                self.number()
            }
            c if is_alphanumeric(c) => self.identifier(),
            '(' => {
                self.paren_depth += 1;
                self.emit(Kind::LeftParen)
            }
            ')' => {
                if self.paren_depth == 0 {
                    return self.fail("unexpected right paren");
                }
                self.paren_depth -= 1;
                self.emit(Kind::RightParen)
            }
            ' '..='~' => self.emit(Kind::Char),
            c => self.fail(format!("unrecognized character in action: {}", unicode(c))),
        }
    }

    fn space(&mut self) -> Token {
        // The space before a trimming right delimiter belongs to the delimiter.
        let mut spaces = 1;
        while let Some(c) = self.peek().filter(|c| is_space(*c)) {
            self.position += c.len_utf8();
            if c == '\n' {
                self.line += 1;
            }
            spaces += 1;
        }
        let last = &self.source[self.position - 1..];
        if has_right_trim(last) && last[2..].starts_with(RIGHT) {
            self.position -= 1;
            if last.starts_with('\n') {
                self.line -= 1;
            }
            if spaces == 1 {
                if self.paren_depth > 0 {
                    return self.fail("unclosed left paren");
                }
                return self.right_delimiter(true);
            }
        }
        self.emit(Kind::Space)
    }

    fn identifier(&mut self) -> Token {
        while self.peek().is_some_and(is_alphanumeric) {
            self.bump();
        }
        if !self.at_terminator() {
            return self.bad_character();
        }
        let word = &self.source[self.start..self.position];
        self.emit(match word {
            "true" | "false" => Kind::Bool,
            word => Kind::keyword(word).unwrap_or(Kind::Identifier),
        })
    }

    fn field_or_variable(&mut self, kind: Kind) -> Token {
        if self.at_terminator() {
            return self.emit(if kind == Kind::Variable { Kind::Variable } else { Kind::Dot });
        }
        while self.peek().is_some_and(is_alphanumeric) {
            self.bump();
        }
        if !self.at_terminator() {
            return self.bad_character();
        }
        self.emit(kind)
    }

    fn bad_character(&mut self) -> Token {
        let c = self.peek().map_or_else(|| "U+FFFFFFFFFFFFFFFF".to_owned(), unicode);
        self.fail(format!("bad character {c}"))
    }

    fn at_terminator(&self) -> bool {
        match self.peek() {
            None => true,
            Some(c) if is_space(c) => true,
            Some('.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(_) => self.rest().starts_with(RIGHT),
        }
    }

    fn quoted(&mut self, mark: char, kind: Kind, unterminated: &str) -> Token {
        loop {
            match self.bump() {
                Some('\\') => {
                    if matches!(self.bump(), None | Some('\n')) {
                        return self.fail(unterminated);
                    }
                }
                None | Some('\n') => return self.fail(unterminated),
                Some(c) if c == mark => return self.emit(kind),
                Some(_) => {}
            }
        }
    }

    fn raw_quoted(&mut self) -> Token {
        loop {
            match self.bump() {
                None => return self.fail("unterminated raw quoted string"),
                Some('`') => return self.emit(Kind::RawString),
                Some(_) => {}
            }
        }
    }

    fn number(&mut self) -> Token {
        if !self.scan_number() {
            return self.bad_number();
        }
        if matches!(self.peek(), Some('+' | '-')) {
            if !self.scan_number() || !self.source[..self.position].ends_with('i') {
                return self.bad_number();
            }
            return self.emit(Kind::Complex);
        }
        self.emit(Kind::Number)
    }

    fn bad_number(&mut self) -> Token {
        let text = crate::number::quote(&self.source.as_bytes()[self.start..self.position]);
        self.fail(format!("bad number syntax: {text}"))
    }

    fn accept(&mut self, set: &str) -> bool {
        if self.peek().is_some_and(|c| set.contains(c)) {
            self.position += 1;
            return true;
        }
        false
    }

    fn accept_run(&mut self, set: &str) {
        while self.accept(set) {}
    }

    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        let mut exponent = "eE";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
                exponent = "pP";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        if (digits.len() == 11 || digits.len() == 23) && self.accept(exponent) {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.bump();
            return false;
        }
        true
    }
}

fn count_lines(text: &str) -> usize {
    text.bytes().filter(|b| *b == b'\n').count()
}

/// Go's `%#U`.
fn unicode(c: char) -> String {
    if crate::number::is_print(c) { format!("U+{:04X} '{c}'", c as u32) } else { format!("U+{:04X}", c as u32) }
}
