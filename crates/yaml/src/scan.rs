use crate::error::Error;
use memchr::{memchr2, memchr2_iter};
use std::{borrow::Cow, cell::Cell, collections::VecDeque};

/// A place in the text; line and column count from zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub index: usize,
    pub line: usize,
    pub column: usize,
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Single,
    Double,
    Literal,
    Folded,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind<'a> {
    StreamEnd,
    Version(u32, u32),
    TagDirective(&'a str, String),
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(&'a str),
    Anchor(&'a str),
    Tag(&'a str, String),
    Scalar(Cow<'a, str>, Style),
}

#[derive(Debug, Clone)]
pub(crate) struct Token<'a> {
    pub kind: Kind<'a>,
    pub mark: Mark,
    /// Where its text ends.
    pub end: usize,
}

/// A comment that holds a map of JSON, and the line that it is about: its own, or that of the token below it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Note<'a> {
    pub line: usize,
    pub text: &'a str,
}

#[derive(Clone, Copy, Default)]
struct SimpleKey {
    possible: bool,
    required: bool,
    token: usize,
    mark: Mark,
}

/// Turns text into tokens by the rules of libyaml, which both of Go's YAML packages carry: what they accept and refuse, and the words they
/// refuse it with, are theirs.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    ascii: bool,
    at: usize,
    line: usize,
    line_start: usize,
    /// The last place whose column was counted: line start, place, column.
    counted: Cell<(usize, usize, usize)>,
    notes: Vec<Note<'a>>,
    flow_level: usize,
    indent: isize,
    indents: Vec<isize>,
    depth_max: usize,
    simple_key_allowed: bool,
    simple_keys: Vec<SimpleKey>,
    tokens: VecDeque<Token<'a>>,
    tokens_taken: usize,
    ended: bool,
}

type Result<T> = std::result::Result<T, Error>;

impl<'a> Scanner<'a> {
    /// The text must have passed [`check_characters`].
    pub fn new(text: &'a str, depth_max: usize) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            ascii: text.is_ascii(),
            at: 0,
            line: 0,
            line_start: 0,
            counted: Cell::default(),
            notes: Vec::new(),
            flow_level: 0,
            indent: -1,
            indents: Vec::new(),
            depth_max,
            simple_key_allowed: true,
            simple_keys: vec![SimpleKey::default()],
            tokens: VecDeque::new(),
            tokens_taken: 0,
            ended: false,
        }
    }

    pub fn begin_at_line(&mut self, line: usize) {
        self.line = line;
    }

    /// The next token, left in place.
    pub fn peek(&mut self) -> Result<&Token<'a>> {
        self.fill()?;
        self.tokens.front().ok_or(Error::Internal)
    }

    /// The next token, taken. The stream end is never taken away.
    pub fn take(&mut self) -> Result<Token<'a>> {
        self.fill()?;
        if let Some(Token { kind: Kind::StreamEnd, .. }) = self.tokens.front() {
            return self.tokens.front().cloned().ok_or(Error::Internal);
        }
        self.tokens_taken += 1;
        self.tokens.pop_front().ok_or(Error::Internal)
    }

    /// Reads on until so many tokens wait, or the text ends: yaml.v3 reads two ahead of the one it asks for, and fails where they do.
    pub fn look_ahead(&mut self, tokens: usize) -> Result<()> {
        while self.tokens.len() < tokens && !self.ended {
            self.fetch()?;
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<()> {
        loop {
            if !self.tokens.is_empty() {
                let head = self.tokens_taken;
                let Some(level) = self.simple_keys.iter().position(|key| key.possible && key.token == head) else { return Ok(()) };
                if !self.simple_key_is_valid(level)? {
                    return Ok(());
                }
            }
            if self.ended {
                return Ok(());
            }
            self.fetch()?;
        }
    }

    // --- characters -------------------------------------------------------------------------------------------------

    fn byte(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn column(&self) -> usize {
        if self.ascii {
            return self.at - self.line_start;
        }
        // Counted on from the last place, so that a long line is not counted again for every token of it.
        let (line_start, at, column) = self.counted.get();
        let (from, before) = if line_start == self.line_start && at <= self.at { (at, column) } else { (self.line_start, 0) };
        let column = before + self.text[from..self.at].chars().count();
        self.counted.set((self.line_start, self.at, column));
        column
    }

    fn mark(&self) -> Mark {
        Mark { index: self.at, line: self.line, column: self.column() }
    }

    /// Bytes of the line break at an offset; none is 0.
    fn break_len(&self, ahead: usize) -> usize {
        break_len(self.bytes, self.at + ahead)
    }

    fn is_blank(&self, ahead: usize) -> bool {
        matches!(self.byte(ahead), b' ' | b'\t')
    }

    fn is_blankz(&self, ahead: usize) -> bool {
        self.at + ahead >= self.bytes.len() || self.is_blank(ahead) || self.break_len(ahead) > 0
    }

    fn is_breakz(&self) -> bool {
        self.at_end() || self.break_len(0) > 0
    }

    fn skip_line(&mut self) {
        self.at += self.break_len(0);
        self.line += 1;
        self.line_start = self.at;
    }

    /// Takes a line break and appends what it means: `\n`, except that the two Unicode separators stay.
    fn read_line(&mut self, into: &mut String) {
        let len = self.break_len(0);
        if len == 3 {
            into.push_str(&self.text[self.at..self.at + len]);
        } else if len > 0 {
            into.push('\n');
        }
        self.skip_line();
    }

    fn skip_to_line_end(&mut self) {
        let rest = &self.bytes[self.at..];
        let mut length = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        if !self.ascii {
            // Line breaks that are no ASCII are as good as never there.
            length = memchr2_iter(0xC2, 0xE2, &rest[..length]).find(|at| break_len(rest, *at) > 0).unwrap_or(length);
        }
        self.at += length;
    }

    fn at_document_indicator(&self) -> bool {
        self.at == self.line_start && matches!(&self.bytes[self.at..], [b'-', b'-', b'-', ..] | [b'.', b'.', b'.', ..]) && self.is_blankz(3)
    }

    fn error(&self, context: Option<Mark>, problem: &str) -> Error {
        Error::scan(problem, self.mark(), context)
    }

    // --- simple keys and indentation --------------------------------------------------------------------------------

    fn simple_key_is_valid(&mut self, level: usize) -> Result<bool> {
        let key = self.simple_keys[level];
        if !key.possible {
            return Ok(false);
        }
        if key.mark.line < self.line || key.mark.index + 1024 < self.at {
            if key.required {
                return Err(self.error(Some(key.mark), "could not find expected ':'"));
            }
            self.simple_keys[level].possible = false;
            return Ok(false);
        }
        Ok(true)
    }

    fn save_simple_key(&mut self) -> Result<()> {
        if self.simple_key_allowed {
            let mark = self.mark();
            let required = self.flow_level == 0 && self.indent == mark.column as isize;
            self.remove_simple_key()?;
            let token = self.tokens_taken + self.tokens.len();
            *self.last_simple_key() = SimpleKey { possible: true, required, token, mark };
        }
        Ok(())
    }

    fn last_simple_key(&mut self) -> &mut SimpleKey {
        if self.simple_keys.is_empty() {
            self.simple_keys.push(SimpleKey::default());
        }
        let last = self.simple_keys.len() - 1;
        &mut self.simple_keys[last]
    }

    fn remove_simple_key(&mut self) -> Result<()> {
        let key = *self.last_simple_key();
        if key.possible && key.required {
            return Err(self.error(Some(key.mark), "could not find expected ':'"));
        }
        self.last_simple_key().possible = false;
        Ok(())
    }

    fn roll_indent(&mut self, column: usize, number: Option<usize>, kind: Kind<'a>, mark: Mark) -> Result<()> {
        if self.flow_level > 0 || self.indent >= column as isize {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = column as isize;
        if self.indents.len() > self.depth_max {
            return Err(self.error(Some(mark), &format!("exceeded max depth of {}", self.depth_max)));
        }
        let token = Token { kind, mark, end: mark.index };
        match number {
            Some(number) => self.tokens.insert(number.saturating_sub(self.tokens_taken), token),
            None => self.tokens.push_back(token),
        }
        Ok(())
    }

    fn unroll_indent(&mut self, column: isize) {
        if self.flow_level > 0 {
            return;
        }
        while self.indent > column {
            let mark = self.mark();
            self.tokens.push_back(Token { kind: Kind::BlockEnd, mark, end: mark.index });
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    // --- tokens -----------------------------------------------------------------------------------------------------

    fn push(&mut self, kind: Kind<'a>, mark: Mark) {
        self.tokens.push_back(Token { kind, mark, end: self.at });
    }

    /// Takes `len` ASCII characters as one token.
    fn push_indicator(&mut self, kind: Kind<'a>, len: usize) {
        let mark = self.mark();
        self.at += len;
        self.push(kind, mark);
    }

    fn fetch(&mut self) -> Result<()> {
        self.skip_to_next_token();
        let column = self.column() as isize;
        self.unroll_indent(column);
        if self.at_end() {
            return self.fetch_stream_end();
        }
        let first = self.byte(0);
        if column == 0 && first == b'%' {
            return self.fetch_directive();
        }
        if column == 0 && self.at_document_indicator() {
            self.unroll_indent(-1);
            self.remove_simple_key()?;
            self.simple_key_allowed = false;
            self.push_indicator(if first == b'-' { Kind::DocumentStart } else { Kind::DocumentEnd }, 3);
            return Ok(());
        }
        match first {
            b'[' => self.fetch_flow_start(Kind::FlowSequenceStart),
            b'{' => self.fetch_flow_start(Kind::FlowMappingStart),
            b']' => self.fetch_flow_end(Kind::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(Kind::FlowMappingEnd),
            b',' => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                self.push_indicator(Kind::FlowEntry, 1);
                Ok(())
            }
            b'-' if self.is_blankz(1) => self.fetch_block_entry(),
            b'?' if self.flow_level > 0 || self.is_blankz(1) => self.fetch_key(),
            b':' if self.flow_level > 0 || self.is_blankz(1) => self.fetch_value(),
            b'*' | b'&' => self.fetch_anchor(),
            b'!' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                let token = self.scan_tag()?;
                self.tokens.push_back(token);
                Ok(())
            }
            b'|' | b'>' if self.flow_level == 0 => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                let token = self.scan_block_scalar(first == b'|')?;
                self.tokens.push_back(token);
                Ok(())
            }
            b'\'' | b'"' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                let token = self.scan_quoted(first == b'\'')?;
                self.tokens.push_back(token);
                Ok(())
            }
            _ if self.starts_plain(first) => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                let token = self.scan_plain()?;
                self.tokens.push_back(token);
                Ok(())
            }
            _ => Err(self.error(Some(self.mark()), "found character that cannot start any token")),
        }
    }

    fn starts_plain(&self, first: u8) -> bool {
        match first {
            b'-' => !self.is_blank(1),
            b'?' | b':' => self.flow_level == 0 && !self.is_blankz(1),
            b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"' | b'%' | b'@' | b'`' => false,
            _ => !self.is_blankz(0),
        }
    }

    /// Takes the comments noted so far at a line.
    pub fn note_at(&mut self, line: usize) -> Option<&'a str> {
        if self.notes.is_empty() {
            return None;
        }
        let found = self.notes.iter().rfind(|note| note.line == line).map(|note| note.text);
        // What lies before is read already, and asked for already.
        self.notes.retain(|note| note.line > line);
        found
    }

    fn skip_to_next_token(&mut self) {
        let (first_line, first_note) = (self.line, self.notes.len());
        let behind_token = self.at > self.line_start;
        self.skip_blanks_and_comments();
        // A comment on a line of its own is about what comes below.
        for note in &mut self.notes[first_note..] {
            if note.line > first_line || !behind_token {
                note.line = self.line;
            }
        }
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            if self.at == self.line_start && self.bytes[self.at..].starts_with(BOM) {
                self.at += BOM.len();
                // A byte order mark is no column of its own.
                self.line_start = self.at;
            }
            while self.byte(0) == b' ' || ((self.flow_level > 0 || !self.simple_key_allowed) && self.byte(0) == b'\t') {
                self.at += 1;
            }
            if self.byte(0) == b'#' {
                let start = self.at;
                self.skip_to_line_end();
                let text = self.text[start..self.at].trim_start_matches('#').trim();
                if text.starts_with('{') {
                    self.notes.push(Note { line: self.line, text });
                }
            }
            if self.break_len(0) == 0 {
                return;
            }
            self.skip_line();
            if self.flow_level == 0 {
                self.simple_key_allowed = true;
            }
        }
    }

    fn fetch_stream_end(&mut self) -> Result<()> {
        if self.column() != 0 {
            self.line += 1;
            self.line_start = self.at;
        }
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        self.ended = true;
        let mark = self.mark();
        self.push(Kind::StreamEnd, mark);
        Ok(())
    }

    fn fetch_flow_start(&mut self, kind: Kind<'a>) -> Result<()> {
        self.save_simple_key()?;
        self.simple_keys.push(SimpleKey::default());
        self.flow_level += 1;
        if self.flow_level > self.depth_max {
            return Err(self.error(Some(self.mark()), &format!("exceeded max depth of {}", self.depth_max)));
        }
        self.simple_key_allowed = true;
        self.push_indicator(kind, 1);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: Kind<'a>) -> Result<()> {
        self.remove_simple_key()?;
        if self.flow_level > 0 {
            self.flow_level -= 1;
            self.simple_keys.pop();
        }
        self.simple_key_allowed = false;
        self.push_indicator(kind, 1);
        Ok(())
    }

    fn fetch_block_entry(&mut self) -> Result<()> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return Err(self.error(Some(self.mark()), "block sequence entries are not allowed in this context"));
            }
            let mark = self.mark();
            self.roll_indent(mark.column, None, Kind::BlockSequenceStart, mark)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        self.push_indicator(Kind::BlockEntry, 1);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<()> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return Err(self.error(Some(self.mark()), "mapping keys are not allowed in this context"));
            }
            let mark = self.mark();
            self.roll_indent(mark.column, None, Kind::BlockMappingStart, mark)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = self.flow_level == 0;
        self.push_indicator(Kind::Key, 1);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<()> {
        let level = self.simple_keys.len().saturating_sub(1);
        let key = *self.last_simple_key();
        if self.simple_key_is_valid(level)? {
            let place = key.token.saturating_sub(self.tokens_taken);
            self.tokens.insert(place.min(self.tokens.len()), Token { kind: Kind::Key, mark: key.mark, end: key.mark.index });
            self.roll_indent(key.mark.column, Some(key.token), Kind::BlockMappingStart, key.mark)?;
            self.last_simple_key().possible = false;
            self.simple_key_allowed = false;
        } else {
            if self.flow_level == 0 {
                if !self.simple_key_allowed {
                    return Err(self.error(Some(self.mark()), "mapping values are not allowed in this context"));
                }
                let mark = self.mark();
                self.roll_indent(mark.column, None, Kind::BlockMappingStart, mark)?;
            }
            self.simple_key_allowed = self.flow_level == 0;
        }
        self.push_indicator(Kind::Value, 1);
        Ok(())
    }

    fn fetch_anchor(&mut self) -> Result<()> {
        self.save_simple_key()?;
        self.simple_key_allowed = false;
        let mark = self.mark();
        let alias = self.byte(0) == b'*';
        self.at += 1;
        let start = self.at;
        while is_word(self.byte(0)) {
            self.at += 1;
        }
        let end_allowed = self.is_blankz(0) || matches!(self.byte(0), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if start == self.at || !end_allowed {
            return Err(self.error(Some(mark), "did not find expected alphabetic or numeric character"));
        }
        let name = &self.text[start..self.at];
        self.push(if alias { Kind::Alias(name) } else { Kind::Anchor(name) }, mark);
        Ok(())
    }

    // --- directives and tags ----------------------------------------------------------------------------------------

    fn fetch_directive(&mut self) -> Result<()> {
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        let mark = self.mark();
        self.at += 1;
        let start = self.at;
        while is_word(self.byte(0)) {
            self.at += 1;
        }
        let name = &self.text[start..self.at];
        if name.is_empty() {
            return Err(self.error(Some(mark), "could not find expected directive name"));
        }
        if !self.is_blankz(0) {
            return Err(self.error(Some(mark), "found unexpected non-alphabetical character"));
        }
        let kind = match name {
            "YAML" => {
                self.skip_blanks();
                let major = self.scan_version_number(mark)?;
                if self.byte(0) != b'.' {
                    return Err(self.error(Some(mark), "did not find expected digit or '.' character"));
                }
                self.at += 1;
                Kind::Version(major, self.scan_version_number(mark)?)
            }
            "TAG" => {
                self.skip_blanks();
                let handle = self.scan_tag_handle(mark, true)?;
                if !self.is_blank(0) {
                    return Err(self.error(Some(mark), "did not find expected whitespace"));
                }
                self.skip_blanks();
                let prefix = self.scan_tag_uri(mark, "", "did not find expected tag URI")?;
                if !self.is_blankz(0) {
                    return Err(self.error(Some(mark), "did not find expected whitespace or line break"));
                }
                Kind::TagDirective(handle, prefix)
            }
            _ => return Err(self.error(Some(mark), "found unknown directive name")),
        };
        self.skip_blanks();
        if self.byte(0) == b'#' {
            self.skip_to_line_end();
        }
        if !self.is_breakz() {
            return Err(self.error(Some(mark), "did not find expected comment or line break"));
        }
        if self.break_len(0) > 0 {
            self.skip_line();
        }
        self.push(kind, mark);
        Ok(())
    }

    fn skip_blanks(&mut self) {
        while self.is_blank(0) {
            self.at += 1;
        }
    }

    fn scan_version_number(&mut self, mark: Mark) -> Result<u32> {
        let start = self.at;
        while self.byte(0).is_ascii_digit() {
            self.at += 1;
            if self.at - start > 2 {
                return Err(self.error(Some(mark), "found extremely long version number"));
            }
        }
        self.text[start..self.at].parse().map_err(|_| self.error(Some(mark), "did not find expected version number"))
    }

    fn scan_tag(&mut self) -> Result<Token<'a>> {
        let mark = self.mark();
        let (handle, suffix): (&'a str, String);
        if self.byte(1) == b'<' {
            self.at += 2;
            suffix = self.scan_tag_uri(mark, "", "did not find expected tag URI")?;
            handle = "";
            if self.byte(0) != b'>' {
                return Err(self.error(Some(mark), "did not find the expected '>'"));
            }
            self.at += 1;
        } else {
            let head = self.scan_tag_handle(mark, false)?;
            if head.len() >= 2 && head.ends_with('!') {
                handle = head;
                suffix = self.scan_tag_uri(mark, "", "did not find expected tag URI")?;
            } else {
                let tail = self.scan_tag_tail(&head[1..]);
                // A lone `!` is the non-specific tag: no handle, suffix `!`.
                (handle, suffix) = if tail.is_empty() { ("", "!".to_owned()) } else { ("!", tail) };
            }
        }
        if !(self.is_blankz(0) || self.flow_level > 0 && self.byte(0) == b',') {
            return Err(self.error(Some(mark), "did not find expected whitespace or line break"));
        }
        Ok(Token { kind: Kind::Tag(handle, suffix), mark, end: self.at })
    }

    fn scan_tag_handle(&mut self, mark: Mark, directive: bool) -> Result<&'a str> {
        let start = self.at;
        if self.byte(0) != b'!' {
            return Err(self.error(Some(mark), "did not find expected '!'"));
        }
        self.at += 1;
        while is_word(self.byte(0)) {
            self.at += 1;
        }
        if self.byte(0) == b'!' {
            self.at += 1;
        } else if directive && self.at - start > 1 {
            return Err(self.error(Some(mark), "did not find expected '!'"));
        }
        Ok(&self.text[start..self.at])
    }

    fn scan_tag_tail(&mut self, head: &str) -> String {
        let mut uri = head.to_owned();
        self.read_uri(&mut uri);
        uri
    }

    fn scan_tag_uri(&mut self, mark: Mark, head: &str, missing: &str) -> Result<String> {
        let mut uri = head.to_owned();
        self.read_uri(&mut uri);
        if uri.is_empty() { Err(self.error(Some(mark), missing)) } else { Ok(uri) }
    }

    fn read_uri(&mut self, uri: &mut String) {
        let mut octets = Vec::new();
        loop {
            match self.byte(0) {
                b'%' if self.byte(1).is_ascii_hexdigit() && self.byte(2).is_ascii_hexdigit() => {
                    octets.push(u8::from_str_radix(&self.text[self.at + 1..self.at + 3], 16).unwrap_or(b'?'));
                    self.at += 3;
                }
                c if is_word(c) || (c != 0 && b";/?:@&=+$.!~*'()[]%".contains(&c)) || (c == b',' && self.flow_level == 0) => {
                    octets.push(c);
                    self.at += 1;
                }
                _ => break,
            }
        }
        uri.push_str(&String::from_utf8_lossy(&octets));
    }

    // --- scalars ----------------------------------------------------------------------------------------------------

    fn scan_plain(&mut self) -> Result<Token<'a>> {
        let mark = self.mark();
        let indent = (self.indent + 1) as usize;
        let start = self.at;
        let mut end = self.at;
        // Only a scalar over several lines differs from the text it stands in.
        let mut folded: Option<String> = None;
        let mut gap_start = self.at;
        let mut breaks = String::new();
        let mut leading_blanks = false;
        loop {
            if self.at_document_indicator() || self.byte(0) == b'#' {
                break;
            }
            let run = self.at;
            while let Some(&c) = self.bytes.get(self.at) {
                match c {
                    b' ' | b'\t' | b'\n' | b'\r' => break,
                    b':' if self.is_blankz(1) => break,
                    b',' | b'?' | b'[' | b']' | b'{' | b'}' if self.flow_level > 0 => break,
                    0xC2 | 0xE2 if self.break_len(0) > 0 => break,
                    _ => self.at += 1,
                }
            }
            if self.at > run {
                if leading_blanks {
                    let text = folded.get_or_insert_with(|| self.text[start..end].to_owned());
                    fold(text, &breaks);
                    breaks.clear();
                    leading_blanks = false;
                } else if let Some(text) = &mut folded {
                    text.push_str(&self.text[gap_start..run]);
                }
                if let Some(text) = &mut folded {
                    text.push_str(&self.text[run..self.at]);
                }
                end = self.at;
            }
            if !(self.is_blank(0) || self.break_len(0) > 0) {
                break;
            }
            gap_start = self.at;
            while self.is_blank(0) || self.break_len(0) > 0 {
                if self.is_blank(0) {
                    if leading_blanks && self.byte(0) == b'\t' && self.column() < indent {
                        return Err(self.error(Some(mark), "found a tab character that violates indentation"));
                    }
                    self.at += 1;
                } else {
                    self.read_line(&mut breaks);
                    leading_blanks = true;
                }
            }
            if self.flow_level == 0 && self.column() < indent {
                break;
            }
        }
        if leading_blanks {
            self.simple_key_allowed = true;
        }
        let text = match folded {
            Some(text) => Cow::Owned(text),
            None => Cow::Borrowed(&self.text[start..end]),
        };
        Ok(Token { kind: Kind::Scalar(text, Style::Plain), mark, end })
    }

    fn scan_quoted(&mut self, single: bool) -> Result<Token<'a>> {
        let mark = self.mark();
        let quote = if single { b'\'' } else { b'"' };
        self.at += 1;
        let start = self.at;
        // The common case: no escape, no line break.
        if let Some(len) = self.bytes[start..].iter().position(|&c| c == quote || c < b' ' || c == b'\\' || c == 0xC2 || c == 0xE2)
            && self.bytes[start + len] == quote
            && !(single && self.bytes.get(start + len + 1) == Some(&b'\''))
        {
            self.at = start + len + 1;
            let text = Cow::Borrowed(&self.text[start..start + len]);
            return Ok(Token { kind: Kind::Scalar(text, if single { Style::Single } else { Style::Double }), mark, end: self.at });
        }
        let mut text = String::new();
        let mut breaks = String::new();
        loop {
            if self.at_document_indicator() {
                return Err(self.error(Some(mark), "found unexpected document indicator"));
            }
            if self.at_end() {
                return Err(self.error(Some(mark), "found unexpected end of stream"));
            }
            // An escaped line break joins two lines with nothing between.
            let mut leading_blanks = false;
            let mut joined = false;
            while !self.is_blankz(0) {
                let c = self.byte(0);
                if single && c == b'\'' && self.byte(1) == b'\'' {
                    text.push('\'');
                    self.at += 2;
                } else if c == quote {
                    break;
                } else if !single && c == b'\\' && self.break_len(1) > 0 {
                    self.at += 1;
                    self.skip_line();
                    leading_blanks = true;
                    joined = true;
                    break;
                } else if !single && c == b'\\' {
                    self.scan_escape(mark, &mut text)?;
                } else {
                    let len = char_len(c).max(1);
                    text.push_str(&self.text[self.at..self.at + len]);
                    self.at += len;
                }
            }
            if self.byte(0) == quote {
                break;
            }
            let gap = self.at;
            let mut gap_end = gap;
            while self.is_blank(0) || self.break_len(0) > 0 {
                if self.is_blank(0) {
                    self.at += 1;
                    if !leading_blanks {
                        gap_end = self.at;
                    }
                } else {
                    self.read_line(&mut breaks);
                    leading_blanks = true;
                }
            }
            if !leading_blanks {
                text.push_str(&self.text[gap..gap_end]);
            } else if joined {
                text.push_str(&breaks);
            } else {
                fold(&mut text, &breaks);
            }
            breaks.clear();
        }
        self.at += 1;
        Ok(Token { kind: Kind::Scalar(Cow::Owned(text), if single { Style::Single } else { Style::Double }), mark, end: self.at })
    }

    fn scan_escape(&mut self, mark: Mark, text: &mut String) -> Result<()> {
        let digits = match self.byte(1) {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            c => {
                text.push(match c {
                    b'0' => '\0',
                    b'a' => '\x07',
                    b'b' => '\x08',
                    b't' | b'\t' => '\t',
                    b'n' => '\n',
                    b'v' => '\x0B',
                    b'f' => '\x0C',
                    b'r' => '\r',
                    b'e' => '\x1B',
                    b' ' => ' ',
                    b'"' => '"',
                    b'\'' => '\'',
                    b'\\' => '\\',
                    b'N' => '\u{85}',
                    b'_' => '\u{A0}',
                    b'L' => '\u{2028}',
                    b'P' => '\u{2029}',
                    _ => return Err(self.error(Some(mark), "found unknown escape character")),
                });
                self.at += 2;
                return Ok(());
            }
        };
        self.at += 2;
        let mut code: u32 = 0;
        for ahead in 0..digits {
            let Some(digit) = (self.byte(ahead) as char).to_digit(16) else {
                return Err(self.error(Some(mark), "did not find expected hexdecimal number"));
            };
            code = (code << 4) | digit;
        }
        let Some(c) = char::from_u32(code) else { return Err(self.error(Some(mark), "found invalid Unicode character escape code")) };
        text.push(c);
        self.at += digits;
        Ok(())
    }

    fn scan_block_scalar(&mut self, literal: bool) -> Result<Token<'a>> {
        let mark = self.mark();
        self.at += 1;
        let (mut chomp, mut increment) = (None, 0);
        for _ in 0..2 {
            match self.byte(0) {
                c @ (b'+' | b'-') if chomp.is_none() => chomp = Some(c),
                b'0' if increment == 0 => return Err(self.error(Some(mark), "found an indentation indicator equal to 0")),
                c @ b'1'..=b'9' if increment == 0 => increment = (c - b'0') as isize,
                _ => break,
            }
            self.at += 1;
        }
        self.skip_blanks();
        if self.byte(0) == b'#' {
            self.skip_to_line_end();
        }
        if !self.is_breakz() {
            return Err(self.error(Some(mark), "did not find expected comment or line break"));
        }
        if self.break_len(0) > 0 {
            self.skip_line();
        }
        let mut indent = if increment > 0 { (self.indent.max(0) + increment) as usize } else { 0 };
        let mut text = String::new();
        let mut leading_break = String::new();
        let mut breaks = String::new();
        self.scan_block_breaks(&mut indent, &mut breaks, mark)?;
        let mut leading_blank = false;
        while self.column() == indent && !self.at_end() {
            let trailing_blank = self.is_blank(0);
            if !literal && !leading_blank && !trailing_blank && leading_break.starts_with('\n') {
                if breaks.is_empty() {
                    text.push(' ');
                }
            } else {
                text.push_str(&leading_break);
            }
            leading_break.clear();
            text.push_str(&breaks);
            breaks.clear();
            leading_blank = trailing_blank;
            let start = self.at;
            self.skip_to_line_end();
            text.push_str(&self.text[start..self.at]);
            self.read_line(&mut leading_break);
            self.scan_block_breaks(&mut indent, &mut breaks, mark)?;
        }
        if chomp != Some(b'-') {
            text.push_str(&leading_break);
        }
        if chomp == Some(b'+') {
            text.push_str(&breaks);
        }
        Ok(Token {
            kind: Kind::Scalar(Cow::Owned(text), if literal { Style::Literal } else { Style::Folded }),
            mark,
            end: if self.at_end() { self.at } else { self.line_start },
        })
    }

    fn scan_block_breaks(&mut self, indent: &mut usize, breaks: &mut String, mark: Mark) -> Result<()> {
        let mut indent_max = 0;
        loop {
            // Only blanks stand before this place, so bytes are columns.
            while (*indent == 0 || self.at - self.line_start < *indent) && self.byte(0) == b' ' {
                self.at += 1;
            }
            let column = self.at - self.line_start;
            indent_max = indent_max.max(column);
            if (*indent == 0 || column < *indent) && self.byte(0) == b'\t' {
                return Err(self.error(Some(mark), "found a tab character where an indentation space is expected"));
            }
            if self.break_len(0) == 0 {
                break;
            }
            self.read_line(breaks);
        }
        if *indent == 0 {
            *indent = indent_max.max((self.indent + 1).max(1) as usize);
        }
        Ok(())
    }
}

const BOM: &[u8] = "\u{FEFF}".as_bytes();

/// Joins two lines of a flow scalar: one line break is a space, more of them stay but the first.
fn fold(text: &mut String, breaks: &str) {
    match breaks.strip_prefix('\n') {
        Some("") => text.push(' '),
        Some(rest) => text.push_str(rest),
        None => text.push_str(breaks),
    }
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_' || c == b'-'
}

fn char_len(first: u8) -> usize {
    match first {
        0..0x80 => 1,
        0xC0..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0.. => 4,
        _ => 0,
    }
}

/// Bytes of the line break at a place: CR LF, CR, LF, NEL, LS or PS; 0 for none.
pub(crate) fn break_len(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at) {
        Some(b'\n') => 1,
        Some(b'\r') => 1 + usize::from(bytes.get(at + 1) == Some(&b'\n')),
        Some(0xC2) => 2 * usize::from(bytes.get(at + 1) == Some(&0x85)),
        Some(0xE2) => 3 * usize::from(bytes.get(at + 1) == Some(&0x80) && matches!(bytes.get(at + 2), Some(0xA8 | 0xA9))),
        _ => 0,
    }
}

/// Refuses characters that may stand in no YAML text.
pub(crate) fn check_characters(text: &str) -> Result<()> {
    // Nearly all text is of printable ASCII, which is told of many bytes at once.
    const BLOCK: usize = 64;
    let suspect = |block: &[u8]| block.iter().fold(false, |is, c| is | (*c < b' ') & !matches!(c, b'\t' | b'\n' | b'\r') | (*c >= 0x7F));
    let blocks = text.as_bytes().chunks(BLOCK).zip((0..).step_by(BLOCK)).filter(|(block, _)| suspect(block));
    for (at, c) in blocks.flat_map(|(block, from)| (from..).zip(block.iter().copied())) {
        let bad = match c {
            b'\t' | b'\n' | b'\r' => false,
            0..0x20 | 0x7F => true,
            0xC2 => matches!(text.as_bytes().get(at + 1), Some(0x80..=0x84 | 0x86..=0x9F)),
            0xEF => text[at..].starts_with('\u{FFFE}') || text[at..].starts_with('\u{FFFF}'),
            _ => false,
        };
        if bad {
            let before = &text[..at];
            let line = before.bytes().filter(|c| *c == b'\n').count();
            let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
            return Err(Error::Character { line: line + 1, column: column + 1 });
        }
    }
    Ok(())
}
