use crate::{
    Dialect, Error,
    decode::{self, Json},
    node::{Data, Node, Tag},
    order::sort_keys,
    resolve,
    scan::break_len,
};
use serde_json::Value;

/// Writes a JSON value as `sigs.k8s.io/yaml` marshals it: sorted keys, two spaces, lists at the indentation of their key, lines folded at 80.
pub fn emit(value: &Value) -> String {
    let mut out = String::new();
    emit_into(value, &mut out);
    out
}

/// [`emit`] at the end of a text.
pub fn emit_into(value: &Value, out: &mut String) {
    let mut emitter = Emitter::new(out);
    emitter.value(value, Place::Root);
    emitter.end();
}

/// [`emit`] for a node, without making JSON of it first.
pub fn emit_node(node: &Node, out: &mut String) -> Result<(), Error> {
    let mut emitter = Emitter::new(out);
    let result = emitter.node(node, Place::Root, false);
    emitter.end();
    result
}

/// [`emit`] for values that are not JSON: whoever has them walks through them and says what each is.
pub struct Writer<'a> {
    emitter: Emitter<'a>,
    /// Where the next value stands.
    place: Place,
}

impl<'a> Writer<'a> {
    pub fn new(out: &'a mut String) -> Self {
        Self { emitter: Emitter::new(out), place: Place::Root }
    }

    pub fn end(mut self) {
        self.emitter.end();
    }

    pub fn null(&mut self) {
        self.emitter.text("null", self.place);
    }

    pub fn bool(&mut self, value: bool) {
        self.emitter.text(if value { "true" } else { "false" }, self.place);
    }

    pub fn string(&mut self, text: &str) {
        self.emitter.string(text, self.place);
    }

    /// A value that is JSON after all, with all that is in it.
    pub fn json(&mut self, value: &Value) {
        self.emitter.value(value, self.place);
    }

    /// A list, each of whose items `write` writes.
    pub fn list<T, E>(
        &mut self,
        items: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T) -> Result<(), E>,
    ) -> Result<(), E> {
        if items.len() == 0 {
            self.emitter.indicator("[]", true, false, false);
            return Ok(());
        }
        let indent = self.emitter.begin_list(self.place);
        for item in items {
            self.emitter.begin_item();
            self.place = Place::Item;
            write(self, item)?;
        }
        self.emitter.indent = indent;
        Ok(())
    }

    /// A map of entries in any order, each of whose values `write` writes.
    pub fn map<T, E>(&mut self, mut entries: Vec<(&str, T)>, mut write: impl FnMut(&mut Self, T) -> Result<(), E>) -> Result<(), E> {
        if entries.is_empty() {
            self.emitter.indicator("{}", true, false, false);
            return Ok(());
        }
        sort_keys(&mut entries, |entry| entry.0);
        let indent = self.emitter.deepen();
        for (key, value) in entries {
            self.emitter.key(key);
            self.place = Place::Value;
            write(self, value)?;
        }
        self.emitter.indent = indent;
        Ok(())
    }
}

const WIDTH: usize = 80;
const STEP: isize = 2;

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Root,
    Item,
    /// A value, or a key too long to be written before a plain `:`.
    Value,
    Key,
}

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

/// The state of libyaml's emitter, as go-yaml v2 drives it.
struct Emitter<'a> {
    out: &'a mut String,
    column: usize,
    indent: isize,
    /// The last character written was a blank (or nothing was).
    whitespace: bool,
    /// Nothing but indentation and indicators stands on the line.
    indention: bool,
}

/// What a text may be written as.
struct Analysis {
    multiline: bool,
    plain: bool,
    single: bool,
    block: bool,
    ascii_simple: bool,
}

impl<'a> Emitter<'a> {
    fn new(out: &'a mut String) -> Self {
        Self { out, column: 0, indent: -1, whitespace: true, indention: true }
    }

    fn end(&mut self) {
        self.indent = -1;
        self.write_indent();
    }

    fn value(&mut self, value: &Value, place: Place) {
        match value {
            Value::Null => self.text("null", place),
            Value::Bool(value) => self.text(if *value { "true" } else { "false" }, place),
            Value::Number(number) => self.number(number, place),
            Value::String(text) => self.string(text, place),
            Value::Array(items) if items.is_empty() => self.indicator("[]", true, false, false),
            Value::Array(items) => {
                let indent = self.begin_list(place);
                for item in items {
                    self.begin_item();
                    self.value(item, Place::Item);
                }
                self.indent = indent;
            }
            Value::Object(map) if map.is_empty() => self.indicator("{}", true, false, false),
            Value::Object(map) => {
                let mut entries: Vec<(&String, &Value)> = map.iter().collect();
                sort_keys(&mut entries, |entry| entry.0);
                let indent = self.deepen();
                for (key, value) in entries {
                    self.key(key);
                    self.value(value, Place::Value);
                }
                self.indent = indent;
            }
        }
    }

    fn node(&mut self, node: &Node, place: Place, flow: bool) -> Result<(), Error> {
        match &node.data {
            Data::Scalar(scalar) if scalar.tag == Tag::Str => {
                let text = decode::rewritten(scalar);
                check_json(&text, node)?;
                self.string(&text, place);
            }
            Data::Scalar(scalar) if flow && decode::is_blank(scalar) => self.string("", place),
            Data::Scalar(scalar) => match decode::scalar(scalar, node, Dialect::Kyaml)? {
                Json::Null => self.text("null", place),
                Json::Bool(value) => self.text(if value { "true" } else { "false" }, place),
                Json::Number(number) => self.number(&number, place),
                Json::Str(text) => self.string(&text, place),
            },
            Data::List(items) if items.is_empty() => self.indicator("[]", true, false, false),
            Data::List(items) => {
                let indent = self.begin_list(place);
                for item in items {
                    self.begin_item();
                    self.node(item, Place::Item, flow)?;
                }
                self.indent = indent;
            }
            Data::Map(map) if map.is_empty() => self.indicator("{}", true, false, false),
            Data::Map(map) => {
                let mut entries: Vec<&crate::Entry> = map.entries.iter().collect();
                sort_keys(&mut entries, |entry| &entry.key);
                if let Some(pair) = entries.windows(2).find(|pair| pair[0].key == pair[1].key) {
                    return Err(decode::given_twice(pair[1], &map.entries));
                }
                let indent = self.deepen();
                for entry in entries {
                    if !decode::key_stays(entry, place == Place::Root)? {
                        continue;
                    }
                    check_json(&entry.key, &entry.value)?;
                    self.key(&entry.key);
                    self.node(&entry.value, Place::Value, flow || map.flow)?;
                }
                self.indent = indent;
            }
        }
        Ok(())
    }

    // --- structure --------------------------------------------------------------------------------------------------

    /// One step to the right; returns where it was.
    fn deepen(&mut self) -> isize {
        let before = self.indent;
        self.indent = if before < 0 { 0 } else { before + STEP };
        before
    }

    fn begin_list(&mut self, place: Place) -> isize {
        let before = self.indent;
        let indentless = place == Place::Value && !self.indention;
        if before < 0 {
            self.indent = 0;
        } else if !indentless {
            self.indent += STEP;
        }
        before
    }

    fn begin_item(&mut self) {
        self.write_indent();
        self.indicator("-", true, false, true);
    }

    fn key(&mut self, key: &str) {
        self.write_indent();
        let (analysis, plain) = self.plan(key);
        if !analysis.multiline && key.len() <= 128 {
            self.scalar(key, &analysis, plain, Place::Key);
            self.indicator(":", false, false, false);
        } else {
            self.indicator("?", true, false, true);
            self.scalar(key, &analysis, plain, Place::Value);
            self.write_indent();
            self.indicator(":", true, false, true);
        }
    }

    // --- scalars ----------------------------------------------------------------------------------------------------

    /// Text that needs no quotes, and no question whether it does.
    fn text(&mut self, text: &str, _place: Place) {
        if !self.whitespace {
            self.put(' ');
        }
        self.out.push_str(text);
        self.column += text.len();
        self.whitespace = false;
        self.indention = false;
    }

    fn number(&mut self, number: &serde_json::Number, place: Place) {
        match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => match resolve::json_number(float) {
                Some(int) if !int.is_f64() => self.text(&int.to_string(), place),
                _ => self.text(&resolve::format_float(float), place),
            },
            None => self.text(&number.to_string(), place),
        }
    }

    fn string(&mut self, text: &str, place: Place) {
        let text = as_json_text(text);
        let (analysis, plain) = self.plan(&text);
        self.scalar(&text, &analysis, plain, place);
    }

    /// Analyses a string, and asks whether it would be read back as one without quotes.
    fn plan(&self, text: &str) -> (Analysis, bool) {
        (analyze(text), resolve::tag_of(Dialect::Sigs, text) == Tag::Str && !resolve::is_base60(text))
    }

    fn scalar(&mut self, text: &str, analysis: &Analysis, plain: bool, place: Place) {
        let mut style = if text.contains('\n') {
            Style::Literal
        } else if plain {
            Style::Plain
        } else {
            Style::Double
        };
        let key = place == Place::Key;
        if key && analysis.multiline {
            style = Style::Double;
        }
        if style == Style::Plain && (!analysis.plain || (text.is_empty() && key)) {
            style = Style::Single;
        }
        if style == Style::Single && !analysis.single {
            style = Style::Double;
        }
        if style == Style::Literal && (!analysis.block || key) {
            style = Style::Double;
        }
        let indent = self.indent;
        self.indent = if indent < 0 { STEP } else { indent + STEP };
        match style {
            Style::Plain => self.write_plain(text, analysis, !key),
            Style::Single => self.write_single(text, !key),
            Style::Double => self.write_double(text, !key),
            Style::Literal => self.write_literal(text),
        }
        self.indent = indent;
    }

    fn write_plain(&mut self, text: &str, analysis: &Analysis, breaks: bool) {
        if !self.whitespace {
            self.put(' ');
        }
        if analysis.ascii_simple && (!breaks || self.column + text.len() <= WIDTH || !text.contains(' ')) {
            self.out.push_str(text);
            self.column += text.len();
        } else {
            self.write_folding(text, breaks, false);
        }
        self.whitespace = false;
        self.indention = false;
    }

    fn write_single(&mut self, text: &str, breaks: bool) {
        self.indicator("'", true, false, false);
        self.write_folding(text, breaks, true);
        self.indicator("'", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    /// The inside of a plain or single-quoted scalar: a line may break at a single space beyond the width.
    fn write_folding(&mut self, text: &str, allow_breaks: bool, single: bool) {
        let bytes = text.as_bytes();
        let (mut spaces, mut broke) = (false, false);
        let mut at = 0;
        while at < bytes.len() {
            let c = bytes[at];
            let break_len = break_len(bytes, at);
            if c == b' ' {
                let may = allow_breaks && !spaces && self.column > WIDTH && bytes.get(at + 1) != Some(&b' ');
                if may && (!single || (at > 0 && at + 1 < bytes.len())) {
                    self.write_indent();
                } else {
                    self.put(' ');
                }
                at += 1;
                spaces = true;
            } else if break_len > 0 {
                if !broke && c == b'\n' {
                    self.put_break();
                }
                self.write_break(&text[at..at + break_len]);
                at += break_len;
                self.indention = true;
                broke = true;
            } else {
                if broke {
                    self.write_indent();
                }
                if single && c == b'\'' {
                    self.put('\'');
                }
                let next = at + text[at..].chars().next().map_or(1, char::len_utf8);
                self.out.push_str(&text[at..next]);
                self.column += 1;
                at = next;
                self.indention = false;
                (spaces, broke) = (false, false);
            }
        }
    }

    fn write_double(&mut self, text: &str, allow_breaks: bool) {
        self.indicator("\"", true, false, false);
        let mut spaces = false;
        let len = text.len();
        // go-yaml asks for a byte order mark at the beginning of the text, whatever character it is at.
        let marked = text.starts_with('\u{FEFF}');
        for (at, c) in text.char_indices() {
            if marked || !is_printable(c) || matches!(c, '\u{FEFF}' | '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' | '"' | '\\') {
                self.write_escape(c);
                spaces = false;
            } else if c == ' ' {
                if allow_breaks && !spaces && self.column > WIDTH && at > 0 && at + 1 < len {
                    self.write_indent();
                    if text.as_bytes().get(at + 1) == Some(&b' ') {
                        self.put('\\');
                    }
                } else {
                    self.put(' ');
                }
                spaces = true;
            } else {
                self.put(c);
                spaces = false;
            }
        }
        self.indicator("\"", false, false, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn write_escape(&mut self, c: char) {
        let short = match c {
            '\0' => '0',
            '\x07' => 'a',
            '\x08' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\x0B' => 'v',
            '\x0C' => 'f',
            '\r' => 'r',
            '\x1B' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{A0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ => {
                let code = c as u32;
                let text = match code {
                    0..=0xFF => format!("\\x{code:02X}"),
                    0x100..=0xFFFF => format!("\\u{code:04X}"),
                    _ => format!("\\U{code:08X}"),
                };
                self.column += text.len();
                self.out.push_str(&text);
                return;
            }
        };
        self.put('\\');
        self.put(short);
    }

    fn write_literal(&mut self, text: &str) {
        self.indicator("|", true, false, false);
        let bytes = text.as_bytes();
        if bytes.first() == Some(&b' ') || break_len(bytes, 0) > 0 {
            self.indicator("2", false, false, false);
        }
        match chomp(text) {
            Some('-') => self.indicator("-", false, false, false),
            Some(_) => self.indicator("+", false, false, false),
            None => {}
        }
        self.put_break();
        self.indention = true;
        self.whitespace = true;
        let mut broke = true;
        let mut at = 0;
        while at < bytes.len() {
            let len = break_len(bytes, at);
            if len > 0 {
                self.write_break(&text[at..at + len]);
                at += len;
                self.indention = true;
                broke = true;
                continue;
            }
            if broke {
                self.write_indent();
            }
            let start = at;
            while at < bytes.len() && break_len(bytes, at) == 0 {
                at += 1;
            }
            self.out.push_str(&text[start..at]);
            self.column += at - start;
            self.indention = false;
            broke = false;
        }
    }

    // --- characters -------------------------------------------------------------------------------------------------

    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn put_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    fn write_break(&mut self, text: &str) {
        self.out.push_str(text);
        self.column = 0;
    }

    fn write_indent(&mut self) {
        let indent = self.indent.max(0) as usize;
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.put_break();
        }
        const SPACES: &str = "                                                                ";
        while self.column < indent {
            let step = (indent - self.column).min(SPACES.len());
            self.out.push_str(&SPACES[..step]);
            self.column += step;
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn indicator(&mut self, text: &str, need_whitespace: bool, is_whitespace: bool, is_indention: bool) {
        if need_whitespace && !self.whitespace {
            self.put(' ');
        }
        self.out.push_str(text);
        self.column += text.len();
        self.whitespace = is_whitespace;
        self.indention = self.indention && is_indention;
    }
}

/// What JSON that is read as YAML makes of a text: Go writes NEL as it is, and YAML folds it as a line break.
fn as_json_text(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains('\u{85}') {
        return text.into();
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\u{85}') {
        out.push_str(rest[..at].trim_end_matches([' ', '\t']));
        let after = rest[at..].trim_start_matches(['\u{85}', ' ', '\t']);
        let breaks = rest[at..rest.len() - after.len()].matches('\u{85}').count();
        out.push_str(&if breaks == 1 { " ".to_owned() } else { "\n".repeat(breaks - 1) });
        rest = after;
    }
    out.push_str(rest);
    out.into()
}

/// Go's JSON writes some characters as they are that YAML does not let in.
fn check_json(text: &str, node: &Node) -> Result<(), Error> {
    let refused = |c: char| matches!(c, '\u{7F}' | '\u{80}'..='\u{84}' | '\u{86}'..='\u{9F}' | '\u{FFFE}' | '\u{FFFF}');
    match text.chars().find(|c| !c.is_ascii_graphic() && refused(*c)) {
        None => Ok(()),
        Some(c) => {
            let problem = format!("the control character U+{:04X} cannot be printed", c as u32);
            Err(Error::value(decode::mark(node), problem, "yaml: control characters are not allowed"))
        }
    }
}

/// `-` drops the last line break, `+` keeps all of several, nothing keeps the one.
fn chomp(text: &str) -> Option<char> {
    let is_break = |c: char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut last = text.chars().rev();
    match (last.next(), last.next()) {
        (Some(c), _) if !is_break(c) => Some('-'),
        (None, _) => Some('-'),
        (Some(_), None) => Some('+'),
        (Some(_), Some(c)) => is_break(c).then_some('+'),
    }
}

/// What libyaml calls printable: four-byte characters are not, although é and 日本 are.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{A0}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}') && c != '\u{FEFF}'
}

fn analyze(text: &str) -> Analysis {
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return Analysis { multiline: false, plain: true, single: true, block: false, ascii_simple: true };
    }
    let mut indicators = bytes.starts_with(b"---") || bytes.starts_with(b"...");
    match bytes[0] {
        b'#' | b',' | b'[' | b']' | b'{' | b'}' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"' | b'%' | b'@' | b'`' => indicators = true,
        b'?' | b':' | b'-' if bytes.len() == 1 || matches!(bytes[1], b' ' | b'\t') => indicators = true,
        _ => {}
    }
    let (mut line_breaks, mut special) = (false, false);
    let (mut break_space, mut space_break) = (false, false);
    let (mut previous_space, mut previous_break) = (false, false);
    let (mut leading, mut trailing_space, mut trailing_break) = (false, false, false);
    let mut ascii = true;
    let mut at = 0;
    while at < bytes.len() {
        let c = bytes[at];
        if c.is_ascii_graphic() {
            match c {
                b':' if at > 0 && bytes.get(at + 1).is_none_or(|next| matches!(next, b' ' | b'\t')) => indicators = true,
                b'#' if at > 0 && is_blank_before(bytes, at) => indicators = true,
                _ => {}
            }
            (previous_space, previous_break) = (false, false);
            at += 1;
            continue;
        }
        let width = if c < 0x80 { 1 } else { text[at..].chars().next().map_or(1, char::len_utf8) };
        if c >= 0x80 {
            ascii = false;
        }
        let last = at + width == bytes.len();
        if c == b' ' {
            leading |= at == 0;
            trailing_space |= last;
            break_space |= previous_break;
            (previous_space, previous_break) = (true, false);
        } else if break_len(bytes, at) > 0 {
            // CR and NEL are breaks, but not printable.
            special |= c == b'\r' || c == 0xC2;
            line_breaks = true;
            leading |= at == 0;
            trailing_break |= last;
            space_break |= previous_space;
            (previous_space, previous_break) = (false, true);
        } else {
            special |= c < 0x80 || !text[at..].chars().next().is_some_and(is_printable);
            (previous_space, previous_break) = (false, false);
        }
        at += width;
    }
    let edges = leading || trailing_space || trailing_break;
    let broken = space_break || special;
    Analysis {
        multiline: line_breaks,
        plain: !(edges || break_space || broken || line_breaks || indicators),
        single: !(break_space || broken),
        block: !(trailing_space || broken),
        ascii_simple: ascii,
    }
}

/// Whether a string can stand without quotes in a document of kyaml, outside of brackets and on one line.
pub fn is_plain(text: &str) -> bool {
    !text.contains('\n') && is_plain_in(text, false) && resolve::tag_of(Dialect::Kyaml, text) == Tag::Str
}

/// Whether text can stand without quotes, inside brackets or outside of them.
pub(crate) fn is_plain_in(text: &str, flow: bool) -> bool {
    analyze(text).plain && !(flow && (text.contains([',', '?', '[', ']', '{', '}']) || text.starts_with(':') || text.ends_with(':')))
}

/// libyaml asks whether the character before is blank; after a character of several bytes it looks at the wrong place, and so do we not need to.
fn is_blank_before(bytes: &[u8], at: usize) -> bool {
    matches!(bytes[at - 1], b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_written_as_go_writes_them() {
        let long = "word ".repeat(30).trim_end().to_owned();
        let value = json!({
            "b": [1, [2, {"x": []}], {}],
            "a": {"y": "yes", "n": null, "s": "a: b", "e": "", "q": "it's", "#": "#c", "t": "x\ty", "f": 1.5, "big": 1e21},
            "lit": "one\ntwo\n",
            "keep": "one\n\n",
            "strip": "one\ntwo",
            "lead": " one\ntwo\n",
            "trail": "one \ntwo",
            "long": long,
            "emoji": "😀é",
        });
        let expected = "a:\n  '#': '#c'\n  big: 1e+21\n  e: \"\"\n  f: 1.5\n  \"n\": null\n  q: it's\n  s: 'a: b'\n  t: \"x\\ty\"\n  \"y\": \"yes\"\n\
            b:\n- 1\n- - 2\n  - x: []\n- {}\nemoji: \"\\U0001F600é\"\nkeep: |+\n  one\n\nlead: |2\n   one\n  two\nlit: |\n  one\n  two\n\
            long: word word word word word word word word word word word word word word word word\n  word word word word word word word word word word word word word word\n\
            strip: |-\n  one\n  two\ntrail: \"one \\ntwo\"\n";
        assert_eq!(emit(&value), expected);
    }

    #[test]
    fn a_lone_scalar_is_a_document() {
        assert_eq!(emit(&json!("x")), "x\n");
        assert_eq!(emit(&json!(null)), "null\n");
        assert_eq!(emit(&json!([])), "[]\n");
        assert_eq!(emit(&json!({})), "{}\n");
    }

    #[test]
    fn long_keys_are_asked_for() {
        let key = "k".repeat(129);
        assert_eq!(emit(&json!({ &key: [1] })), format!("? {key}\n: - 1\n"));
    }
}
