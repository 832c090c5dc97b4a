//! Cuts a template into tokens, as `text/template/parse/lex.go` does.

use memchr::{memchr, memchr_iter, memmem::Finder};
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

/// A piece of the source. Sources are shorter than 4 GiB, so that tokens stay small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub kind: Kind,
    pub start: u32,
    pub end: u32,
    pub line: u32,
}

impl Token {
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The token as error messages show it; `problem` is what the lexer stopped at.
    pub fn describe(self, source: &str, problem: &str) -> String {
        let text = &source[self.range()];
        match self.kind {
            Kind::Eof => "EOF".to_owned(),
            Kind::Error => problem.to_owned(),
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
    opening: Finder<'static>,
    /// What an error token says.
    problem: String,
}

const LEFT: &str = "{{";
pub(crate) const RIGHT: &str = "}}";

pub(crate) fn is_space(c: u8) -> bool {
    matches!(c, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_alphanumeric(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The characters of words, as far as they are ASCII.
const WORD: [bool; 256] = {
    let mut word = [false; 256];
    let mut c = 0;
    while c < 128 {
        word[c] = (c as u8).is_ascii_alphanumeric() || c == b'_' as usize;
        c += 1;
    }
    word
};

fn has_left_trim(rest: &[u8]) -> bool {
    matches!(rest, [b'-', space, ..] if is_space(*space))
}

fn has_right_trim(rest: &[u8]) -> bool {
    matches!(rest, [space, b'-', ..] if is_space(*space))
}

fn count_spaces(text: &[u8]) -> usize {
    text.iter().take_while(|c| is_space(**c)).count()
}

impl<'a> Lexer<'a> {
    pub fn new(source: &'a str) -> Self {
        let opening = Finder::new(LEFT);
        let problem = String::new();
        Self { source, position: 0, start: 0, line: 1, start_line: 1, paren_depth: 0, inside: false, done: false, opening, problem }
    }

    pub fn problem(&self) -> &str {
        &self.problem
    }

    /// Where the next token begins.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Goes past the rest of an action whose tokens are known; its right delimiter, with the white space that it trims, begins at `end`.
    pub fn skip_action(&mut self, end: usize) -> Token {
        self.position = end;
        self.ignore();
        let (_, trims) = self.at_right_delimiter();
        self.right_delimiter(trims)
    }

    pub fn next(&mut self) -> Token {
        if self.done {
            self.start = self.source.len();
            self.position = self.start;
            return self.emit(Kind::Eof);
        }
        if self.inside { self.inside_action() } else { self.text() }
    }

    fn rest(&self) -> &'a [u8] {
        &self.source.as_bytes()[self.position..]
    }

    fn byte(&self) -> Option<u8> {
        self.source.as_bytes().get(self.position).copied()
    }

    fn peek(&self) -> Option<char> {
        self.source[self.position..].chars().next()
    }

    fn emit(&mut self, kind: Kind) -> Token {
        let token = self.token(kind);
        self.start = self.position;
        self.start_line = self.line;
        token
    }

    fn token(&self, kind: Kind) -> Token {
        Token { kind, start: self.start as u32, end: self.position as u32, line: self.start_line as u32 }
    }

    fn fail(&mut self, problem: impl Into<String>) -> Token {
        self.done = true;
        self.problem = problem.into();
        self.token(Kind::Error)
    }

    /// Skips what lies between `start` and `position`, counting its lines.
    fn ignore(&mut self) {
        if self.start == self.position {
            return;
        }
        self.line += count_lines(&self.source.as_bytes()[self.start..self.position]);
        self.start = self.position;
        self.start_line = self.line;
    }

    fn text(&mut self) -> Token {
        loop {
            let Some(at) = self.opening.find(self.rest()) else {
                self.position = self.source.len();
                self.done = true;
                if self.position > self.start {
                    self.line += count_lines(&self.source.as_bytes()[self.start..]);
                    return self.emit(Kind::Text);
                }
                return self.emit(Kind::Eof);
            };
            let delimiter = self.position + at;
            let mut text = &self.source.as_bytes()[self.start..delimiter];
            if has_left_trim(&self.source.as_bytes()[delimiter + LEFT.len()..]) {
                while let [before @ .., space] = text
                    && is_space(*space)
                {
                    text = before;
                }
            }
            if !text.is_empty() {
                self.position = self.start + text.len();
                self.line += count_lines(text);
                return self.emit(Kind::Text);
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
        let after = &self.source.as_bytes()[self.position + LEFT.len()..];
        let trim = if has_left_trim(after) { 2 } else { 0 };
        if after[trim..].starts_with(b"/*") {
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
        let Some(at) = memchr::memmem::find(self.rest(), b"*/") else {
            return Some(self.fail("unclosed comment"));
        };
        self.position += at + 2;
        let (closes, trims) = self.at_right_delimiter();
        if !closes {
            return Some(self.fail("comment ends before closing delimiter"));
        }
        self.position += if trims { 2 } else { 0 } + RIGHT.len();
        if trims {
            self.position += count_spaces(self.rest());
        }
        self.ignore();
        None
    }

    fn at_right_delimiter(&self) -> (bool, bool) {
        let rest = self.rest();
        if has_right_trim(rest) && rest[2..].starts_with(RIGHT.as_bytes()) {
            return (true, true);
        }
        (rest.starts_with(RIGHT.as_bytes()), false)
    }

    fn right_delimiter(&mut self, trims: bool) -> Token {
        if trims {
            self.position += 2;
            self.ignore();
        }
        self.position += RIGHT.len();
        let token = self.emit(Kind::RightDelim);
        if trims {
            self.position += count_spaces(self.rest());
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
        let Some(c) = self.byte() else {
            return self.fail("unclosed action");
        };
        self.position += 1;
        match c {
            c if is_space(c) => self.space(c),
            b'=' => self.emit(Kind::Assign),
            b':' => {
                if self.byte() != Some(b'=') {
                    return self.fail("expected :=");
                }
                self.position += 1;
                self.emit(Kind::Declare)
            }
            b'|' => self.emit(Kind::Pipe),
            b'"' => self.quoted(b'"', Kind::String, "unterminated quoted string"),
            b'`' => self.raw_quoted(),
            b'$' => self.field_or_variable(Kind::Variable),
            b'\'' => self.quoted(b'\'', Kind::CharConstant, "unterminated character constant"),
            b'.' if !self.byte().is_some_and(|c| c.is_ascii_digit()) => self.field_or_variable(Kind::Field),
            b'.' | b'+' | b'-' | b'0'..=b'9' => {
                self.position = self.start;
                self.number()
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.identifier(),
            b'(' => {
                self.paren_depth += 1;
                self.emit(Kind::LeftParen)
            }
            b')' => {
                if self.paren_depth == 0 {
                    return self.fail("unexpected right paren");
                }
                self.paren_depth -= 1;
                self.emit(Kind::RightParen)
            }
            b' '..=b'~' => self.emit(Kind::Char),
            _ => {
                self.position = self.start;
                match self.peek() {
                    Some(c) if is_alphanumeric(c) => self.identifier(),
                    c => {
                        self.position += c.map_or(0, char::len_utf8);
                        self.fail(format!("unrecognized character in action: {}", c.map(unicode).unwrap_or_default()))
                    }
                }
            }
        }
    }

    fn space(&mut self, first: u8) -> Token {
        // The space before a trimming right delimiter belongs to the delimiter.
        let more = count_spaces(self.rest());
        self.line += usize::from(first == b'\n') + count_lines(&self.rest()[..more]);
        self.position += more;
        let last = &self.source.as_bytes()[self.position - 1..];
        if has_right_trim(last) && last[2..].starts_with(RIGHT.as_bytes()) {
            self.position -= 1;
            if last.starts_with(b"\n") {
                self.line -= 1;
            }
            if more == 0 {
                if self.paren_depth > 0 {
                    return self.fail("unclosed left paren");
                }
                return self.right_delimiter(true);
            }
        }
        self.emit(Kind::Space)
    }

    /// Goes past letters, digits and underscores.
    fn skip_word(&mut self) {
        loop {
            self.position += self.rest().iter().take_while(|c| WORD[usize::from(**c)]).count();
            match self.byte() {
                Some(0x80..) => {}
                _ => return,
            }
            match self.peek().filter(|c| is_alphanumeric(*c)) {
                Some(c) => self.position += c.len_utf8(),
                None => return,
            }
        }
    }

    fn identifier(&mut self) -> Token {
        self.skip_word();
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
        self.skip_word();
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
        match self.byte() {
            None => true,
            Some(c) if is_space(c) => true,
            Some(b'.' | b',' | b'|' | b':' | b')' | b'(') => true,
            Some(_) => self.rest().starts_with(RIGHT.as_bytes()),
        }
    }

    fn quoted(&mut self, mark: u8, kind: Kind, unterminated: &str) -> Token {
        loop {
            let c = self.byte();
            self.position += usize::from(c.is_some());
            match c {
                Some(b'\\') => {
                    if matches!(self.byte(), None | Some(b'\n')) {
                        return self.fail(unterminated);
                    }
                    self.position += self.peek().map_or(0, char::len_utf8);
                }
                None | Some(b'\n') => return self.fail(unterminated),
                Some(c) if c == mark => return self.emit(kind),
                Some(_) => {}
            }
        }
    }

    fn raw_quoted(&mut self) -> Token {
        let Some(length) = memchr(b'`', self.rest()) else {
            self.position = self.source.len();
            return self.fail("unterminated raw quoted string");
        };
        self.line += count_lines(&self.rest()[..length]);
        self.position += length + 1;
        self.emit(Kind::RawString)
    }

    fn number(&mut self) -> Token {
        if !self.scan_number() {
            return self.bad_number();
        }
        if matches!(self.byte(), Some(b'+' | b'-')) {
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
        if self.byte().is_some_and(|c| set.as_bytes().contains(&c)) {
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
        if let Some(c) = self.peek().filter(|c| is_alphanumeric(*c)) {
            self.position += c.len_utf8();
            return false;
        }
        true
    }
}

fn count_lines(text: &[u8]) -> usize {
    memchr_iter(b'\n', text).count()
}

/// Go's `%#U`.
fn unicode(c: char) -> String {
    if crate::number::is_print(c) { format!("U+{:04X} '{c}'", c as u32) } else { format!("U+{:04X}", c as u32) }
}
