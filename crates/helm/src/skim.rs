//! Recognises, line by line, documents that are certainly YAML, as most manifests are: maps and lists in block style, scalars on one line,
//! block scalars. Reading such a document in full would only find what is here known already.

/// An entry at the top of a document that is wanted: all of it, or of its own entries only those that are named.
pub(crate) struct Wanted {
    pub key: &'static str,
    pub within: Option<&'static [&'static str]>,
}

/// The lines of the wanted entries of a document, which are all that its reader needs; `None` where only the real reader can tell whether
/// the document is YAML.
///
/// *Guarantees:* for a text that this recognises, the real reader finds no fault either, and finds the same under the wanted keys.
pub(crate) fn entries(document: &str, wanted: &[Wanted]) -> Option<String> {
    plain_characters(document.as_bytes()).then_some(())?;
    let mut skim = Skim { levels: Vec::with_capacity(16), open: Open::Nothing };
    let mut found = String::new();
    let mut choice = Choice { wanted, taking: false, within: None, inner: None };
    let mut lines = Lines { text: document, at: 0 };
    while let Some((start, line)) = lines.next() {
        let indent = line.iter().take_while(|c| **c == b' ').count();
        match (line.get(indent), skim.open) {
            (None, _) => {}
            (Some(b'#'), Open::Nothing | Open::Key(_)) => {}
            // A comment ends a scalar; what would go on after it is a mistake.
            (Some(b'#'), Open::Plain) => skim.open = Open::Nothing,
            (Some(_), Open::Quote(mark)) => skim.quote_goes_on(&line[indent..], indent, mark)?,
            (Some(_), _) => {
                let block = skim.line(line, indent)?;
                choice.line(&line[indent..], indent);
                if let Some(parent) = block {
                    lines.skip_block(parent)?;
                }
            }
        }
        if choice.taking {
            found.push_str(document.get(start..lines.at)?);
        }
    }
    // Quotes that nothing closes.
    (!matches!(skim.open, Open::Quote(_))).then_some(found)
}

/// Which lines to take. What is written in an unusual way is taken, the real reader will see.
struct Choice<'w> {
    wanted: &'w [Wanted],
    taking: bool,
    /// What is wanted of the entry at the top that is being read, and the indentation of its own entries.
    within: Option<&'static [&'static str]>,
    inner: Option<usize>,
}

impl Choice<'_> {
    /// A line on which something begins.
    fn line(&mut self, text: &[u8], indent: usize) {
        let is = |key: &&str| text.strip_prefix(key.as_bytes()).is_some_and(|rest| rest.first() == Some(&b':'));
        if indent == 0 {
            if !text.starts_with(b"-") {
                let found = self.wanted.iter().find(|one| is(&one.key));
                self.taking = found.is_some() || matches!(text.first(), Some(b'"' | b'\''));
                self.within = found.and_then(|one| one.within);
                self.inner = None;
            }
        } else if let Some(within) = self.within
            && *self.inner.get_or_insert(indent) == indent
        {
            let usual = text.first().is_some_and(u8::is_ascii_alphabetic) && key(text).is_some();
            self.taking = !usual || within.iter().any(is);
        }
    }
}

struct Lines<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Lines<'t> {
    /// Where the next line starts, and the line without its end.
    fn next(&mut self) -> Option<(usize, &'t [u8])> {
        let start = self.at;
        let rest = self.text.as_bytes().get(start..).filter(|rest| !rest.is_empty())?;
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        self.at = start + (length + 1).min(rest.len());
        Some((start, &rest[..length]))
    }

    /// Goes past the text of a block scalar whose key or dash stands at `parent`.
    fn skip_block(&mut self, parent: usize) -> Option<()> {
        let (mut indent, mut blank) = (None, 0);
        loop {
            let before = self.at;
            let Some((_, line)) = self.next() else { return Some(()) };
            let spaces = match indent {
                // Lines of the text itself need no look beyond its indentation.
                Some(indent) if line.len() > indent && line[..indent].iter().all(|c| *c == b' ') => continue,
                _ => line.iter().take_while(|c| **c == b' ').count(),
            };
            if spaces == line.len() {
                blank = blank.max(spaces);
                continue;
            }
            match indent {
                None if spaces > parent => {
                    // Longer blank lines before the first, or a tab, are errors.
                    if blank > spaces || line[spaces] == b'\t' {
                        return None;
                    }
                    indent = Some(spaces);
                }
                // A line between the two indentations is one more thing for the real reader, and so are tabs.
                _ if spaces > parent || line[spaces] == b'\t' => return None,
                _ => {
                    self.at = before;
                    return Some(());
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Level {
    indent: usize,
    list: bool,
}

/// What the line before leaves open.
#[derive(Clone, Copy, PartialEq)]
enum Open {
    Nothing,
    /// A key at this indentation without a value so far.
    Key(usize),
    /// A scalar without quotes, which deeper lines continue.
    Plain,
    /// A scalar in these quotes, not closed so far.
    Quote(u8),
}

/// What begins with a value's first line.
#[derive(Clone, Copy, PartialEq)]
enum Value {
    Complete,
    Plain,
    Quote(u8),
    Block,
}

struct Skim {
    levels: Vec<Level>,
    open: Open,
}

/// Levels inside each other beyond which the real reader looks at its limit.
const DEEPEST: usize = 60;

impl Skim {
    /// One line that is neither blank nor a comment. Gives the indentation that a block scalar which begins on it hangs on.
    fn line(&mut self, line: &[u8], indent: usize) -> Option<Option<usize>> {
        let (mut at, mut first) = (indent, true);
        let top = self.levels.last().map(|level| level.indent);
        if memchr::memchr(b'\t', line).is_some() || indent == 0 && (line.starts_with(b"---") || line.starts_with(b"...")) {
            return None;
        }
        if self.open == Open::Plain && top.is_some_and(|top| indent > top) {
            self.open = if plain_line(&line[indent..])?.1 { Open::Nothing } else { Open::Plain };
            return Some(None);
        }
        // The indentation of the last dash or key of the line.
        let mut parent = indent;
        while line[at..].starts_with(b"- ") {
            if first {
                self.place_dash(at)?
            } else {
                self.push(at, true)?
            }
            self.open = Open::Nothing;
            (parent, first) = (at, false);
            at += 1 + line[at + 1..].iter().take_while(|c| **c == b' ').count();
        }
        let rest = line.get(at..).filter(|rest| !rest.is_empty())?;
        let Some(length) = key(rest) else {
            // Without a key: the item of a list, or the value of the key on the line before.
            return match self.open {
                Open::Key(open) if first && indent > open => self.value(rest, open),
                _ if first => None,
                _ => self.value(rest, parent),
            };
        };
        if first {
            self.place_key(at)?
        } else {
            self.push(at, false)?
        }
        let after = &rest[length..];
        let after = &after[after.iter().take_while(|c| **c == b' ').count()..];
        if matches!(after.first(), None | Some(b'#')) {
            self.open = Open::Key(at);
            return Some(None);
        }
        self.value(after, at)
    }

    /// The first line of a value of the key or dash at `parent`.
    fn value(&mut self, text: &[u8], parent: usize) -> Option<Option<usize>> {
        let value = value(text)?;
        self.open = match value {
            Value::Complete | Value::Block => Open::Nothing,
            Value::Plain => Open::Plain,
            Value::Quote(mark) => Open::Quote(mark),
        };
        Some((value == Value::Block).then_some(parent))
    }

    /// A further line of a scalar in quotes.
    fn quote_goes_on(&mut self, text: &[u8], indent: usize, mark: u8) -> Option<()> {
        if memchr::memchr(b'\t', text).is_some() || self.levels.last().is_none_or(|level| indent <= level.indent) {
            return None;
        }
        if quoted(text, mark)? == Value::Complete {
            self.open = Open::Nothing;
        }
        Some(())
    }

    fn push(&mut self, indent: usize, list: bool) -> Option<()> {
        self.levels.push(Level { indent, list });
        (self.levels.len() <= DEEPEST).then_some(())
    }

    fn pop_deeper(&mut self, indent: usize) {
        while self.levels.last().is_some_and(|level| level.indent > indent) {
            self.levels.pop();
        }
    }

    fn place_key(&mut self, indent: usize) -> Option<()> {
        match self.open {
            _ if self.levels.is_empty() => return if indent == 0 { self.push(0, false) } else { None },
            Open::Key(open) if indent > open => return self.push(indent, false),
            _ => self.pop_deeper(indent),
        }
        // A list may stand at the indentation of its key; the next key ends it.
        if self.levels.last().is_some_and(|level| level.list && level.indent == indent) {
            self.levels.pop();
        }
        self.levels.last().is_some_and(|level| !level.list && level.indent == indent).then_some(())
    }

    fn place_dash(&mut self, indent: usize) -> Option<()> {
        match self.open {
            Open::Key(open) if indent >= open => return self.push(indent, true),
            _ => self.pop_deeper(indent),
        }
        self.levels.last().is_some_and(|level| level.list && level.indent == indent).then_some(())
    }
}

/// Whether all characters may stand in YAML and none but line feeds end lines. Tabs are looked at where they matter.
fn plain_characters(text: &[u8]) -> bool {
    let odd = text.iter().fold(0u8, |odd, c| {
        let control = *c < b' ' && *c != b'\n' && *c != b'\t' || *c == 0x7f;
        odd | u8::from(control) | (*c & 0x80)
    });
    match odd {
        0 => true,
        // C1 controls and other line ends, byte order marks and the like are rare enough to be left to the real reader.
        0x80 => text.iter().enumerate().all(|(at, c)| match c {
            0xc2 | 0xef => false,
            0xe2 => text.get(at + 1) != Some(&0x80) || !matches!(text.get(at + 2), Some(0xa8 | 0xa9)),
            _ => true,
        }),
        _ => false,
    }
}

/// The length of a simple key with its colon.
fn key(text: &[u8]) -> Option<usize> {
    let length = match text.first()? {
        quote @ (b'"' | b'\'') => 2 + text[1..].iter().position(|c| c == quote || *c == b'\\')?,
        first if first.is_ascii_alphanumeric() || matches!(first, b'_' | b'/') => {
            text.iter().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'/' | b'-' | b'$')).count()
        }
        // Not `.inf` and `.nan`.
        b'.' if !matches!(text.get(1), Some(b'i' | b'I' | b'n' | b'N')) => {
            text.iter().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'/' | b'-')).count()
        }
        _ => return None,
    };
    let name = &text[..length];
    // Numbers become texts, unless they are too large; null is no key.
    let doubtful = length > 200 || matches!(name, b"null" | b"Null" | b"NULL") || name[0].is_ascii_digit() && length > 15;
    let ends = text.get(length) == Some(&b':') && matches!(text.get(length + 1), None | Some(b' '));
    (ends && !doubtful && !name.ends_with(b"\\")).then_some(length + 1)
}

/// What begins on the rest of a line.
fn value(text: &[u8]) -> Option<Value> {
    let word = |c: &u8| c.is_ascii_alphanumeric();
    match *text.first()? {
        mark @ (b'"' | b'\'') => quoted(&text[1..], mark),
        b'{' | b'[' => ends(&text[flow(text, 0)?..]),
        b'|' | b'>' => {
            let rest = text[1..].strip_prefix(b"-").or(text[1..].strip_prefix(b"+")).unwrap_or(&text[1..]);
            rest.iter().all(|c| *c == b' ').then_some(Value::Block)
        }
        // Flags of programs and negative numbers, but no infinity.
        b'-' => text[1..].iter().find(|c| **c != b'-').filter(|c| word(c)).and_then(|_| plain(text)),
        b':' => text.get(1).filter(|c| word(c) || **c == b'_').and_then(|_| plain(text)),
        b'.' => text.get(1).filter(|c| !matches!(c, b'i' | b'I' | b'n' | b'N')).and_then(|_| plain(text)),
        c if c.is_ascii_alphanumeric() || c >= 0x80 || b"/_$(~^;\\".contains(&c) => plain(text),
        _ => None,
    }
}

/// The inside of quotes, to the closing one or the end of the line.
fn quoted(text: &[u8], mark: u8) -> Option<Value> {
    let mut at = 0;
    loop {
        match (text.get(at), text.get(at + 1)) {
            (None, _) => return Some(Value::Quote(mark)),
            (Some(b'\\'), next) if mark == b'"' => match next {
                None => return Some(Value::Quote(mark)),
                Some(c) if b"\"\\/ ntr0abefv".contains(c) => at += 2,
                Some(_) => return None,
            },
            (Some(b'\''), Some(b'\'')) if mark == b'\'' => at += 2,
            (Some(c), _) if *c == mark => return ends(&text[at + 1..]),
            _ => at += 1,
        }
    }
}

/// Nothing may follow what has an end of its own but a comment.
fn ends(rest: &[u8]) -> Option<Value> {
    let spaces = rest.iter().take_while(|c| **c == b' ').count();
    match rest.get(spaces) {
        None => Some(Value::Complete),
        Some(b'#') if spaces > 0 => Some(Value::Complete),
        Some(_) => None,
    }
}

/// The length of a list or map of simple words in brackets, on one line.
fn flow(text: &[u8], depth: usize) -> Option<usize> {
    let space = |at: usize| text[at..].iter().take_while(|c| **c == b' ').count();
    let (close, map) = if text.first() == Some(&b'{') { (b'}', true) } else { (b']', false) };
    let mut at = 1 + space(1);
    if text.get(at) == Some(&close) {
        return Some(at + 1);
    }
    loop {
        if map {
            at += flow_word(&text[at..])?;
            text[at..].starts_with(b": ").then_some(())?;
            at += 1 + space(at + 1);
        }
        at += match text.get(at)? {
            b'[' | b'{' if depth < 8 => flow(&text[at..], depth + 1)?,
            _ => flow_word(&text[at..])?,
        };
        at += space(at);
        match text.get(at)? {
            b',' => at += 1 + space(at + 1),
            c if *c == close => return Some(at + 1),
            _ => return None,
        }
    }
}

/// The length of a word in brackets: in quotes, or made of harmless characters.
fn flow_word(text: &[u8]) -> Option<usize> {
    match *text.first()? {
        mark @ (b'"' | b'\'') => Some(2 + text[1..].iter().position(|c| *c == mark || *c == b'\\').filter(|end| text[1 + end] == mark)?)
            .filter(|end| text.get(*end) != Some(&b'\'') && *end < 200),
        first if first.is_ascii_alphanumeric() || matches!(first, b'/' | b'_') => {
            let harmless = |c: &&u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'/' | b'-');
            let length = text.iter().take_while(harmless).count();
            // Numbers may be too large, and null is no key.
            let doubtful = first.is_ascii_digit() && (length > 15 || text[..length].contains(&b'e') || text[..length].contains(&b'E'));
            let null = text[..length].eq_ignore_ascii_case(b"null");
            (!doubtful && !null && length < 200).then_some(length)
        }
        _ => None,
    }
}

/// The first line of a scalar without quotes.
fn plain(text: &[u8]) -> Option<Value> {
    let (text, ended) = plain_line(text)?;
    // Numbers with exponents may be too large for JSON.
    let number = |c: &u8| c.is_ascii_digit() || matches!(c, b'e' | b'E' | b'.' | b'+' | b'-' | b'_' | b' ');
    let exponent = text.iter().any(|c| matches!(c, b'e' | b'E')) && text.iter().all(number);
    (!exponent).then_some(if ended { Value::Complete } else { Value::Plain })
}

/// What of a line belongs to a scalar without quotes, and whether a comment ends it.
fn plain_line(text: &[u8]) -> Option<(&[u8], bool)> {
    for at in memchr::memchr2_iter(b':', b'#', text) {
        match text[at] {
            b':' if matches!(text.get(at + 1), None | Some(b' ')) => return None,
            b'#' if at == 0 || text[at - 1] == b' ' => return Some((&text[..at], true)),
            _ => {}
        }
    }
    Some((text, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(keys: &[&'static str]) -> Vec<Wanted> {
        keys.iter().map(|key| Wanted { key, within: None }).collect()
    }

    #[test]
    fn of_an_entry_only_what_is_wanted_within_is_taken() {
        let wanted = [Wanted { key: "kind", within: None }, Wanted { key: "metadata", within: Some(&["name", "annotations"]) }];
        let taken = |text: &str| entries(text, &wanted).unwrap();
        assert_eq!(
            taken(
                "kind: A\nmetadata:\n  labels:\n    name: x\n  name: n\n  annotations:\n    a: b\n  namespace: s\n# c\nspec:\n  name: no\n"
            ),
            "kind: A\nmetadata:\n  name: n\n  annotations:\n    a: b\n"
        );
        assert_eq!(taken("metadata:\n  \"labels\":\n    a: b\n  labels: x\n"), "metadata:\n  \"labels\":\n    a: b\n");
        assert_eq!(taken("metadata:\n- name\n- x: 1\n"), "metadata:\n- name\n- x: 1\n");
        assert_eq!(taken("\"kind\": A\nmetadata: {name: x}\n"), "\"kind\": A\nmetadata: {name: x}\n");
        assert_eq!(taken("metadata:\n  labels: x\n"), "metadata:\n");
    }

    #[test]
    fn usual_manifests_are_recognised() {
        let text = "# Source: x\napiVersion: v1\nkind: ConfigMap # c\nmetadata:\n  name: \"a\"\n  labels:\n    app.kubernetes.io/name: x\n\n  ownerReferences:\n  - a: 1\n    b:\n    - - x\n      - y\n    - 'z'\n  annotations: {}\nempty:\ndata:\n  t: |-\n\n    text: [\n      more\n  u: >\n    folded\n  \"quoted\": plain text: no\n";
        assert_eq!(entries(text, &wanted(&["metadata"])), None, "`: ` inside of a plain scalar is no plain scalar");
        let text = text.replace("text: no", "text");
        let metadata = &text[text.find("metadata").unwrap()..text.find("empty").unwrap()];
        assert_eq!(entries(&text, &wanted(&["metadata", "kind"])), Some(format!("kind: ConfigMap # c\n{metadata}")));
    }

    #[test]
    fn what_is_recognised_is_yaml() {
        let pieces = [
            "a: 1\n",
            "b:\n",
            "  c: x\n",
            "  - y\n",
            "- z\n",
            "    d: |\n",
            "      text\n",
            "   odd\n",
            "e: 'q'\n",
            "f: \"q\n",
            "\n",
            "# c\n",
            "  g: [1]\n",
            "- - h: 1\n",
            "    - i\n",
            "j: .nan\n",
            "k: {}\n",
            "  l: >-\n",
            "m: 1e999\n",
            " \n",
            "      \n",
            "\tn: 1\n",
            "o: a: b\n",
            "p: x #c\n",
            "- q:\n",
            "  r:\n",
            "---\n",
            "s: *a\n",
            "t: &a x\n",
            "  - |\n",
            "null: 1\n",
            "u: é\n",
            "v: \"\\q\"\n",
            "w: '''\n",
            "x: -\n",
            "y: \"q\n",
            "  more\n",
            "  \"\n",
            "    more: x\n",
            "z: 'q\n",
            "  it''s'\n",
            "  # no'\n",
            "aa: [a, \"b\"]\n",
            "ab: {a: b, c: [d]}\n",
            "- --x\n",
            "  {}\n",
            "    plain\n",
            "ac: :x\n",
            "- -e1\n",
            "  - \"\\\n",
            "ad: [1e9]\n",
            "  \\ x\"\n",
            "ae: [null, a]\n",
            "af: [a, ]\n",
        ];
        let mut seed = 7u64;
        let mut recognised = 0;
        for round in 0..60_000 {
            let mut text = String::new();
            for _ in 0..=round % 5 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
            }
            if let Some(found) = entries(&text, &wanted(&["a", "b", "e"])) {
                recognised += 1;
                let whole = yaml::to_json(&text, yaml::Dialect::Sigs).unwrap_or_else(|error| panic!("{text:?}: {error}"));
                let part = yaml::to_json(&found, yaml::Dialect::Sigs).unwrap_or_else(|error| panic!("{found:?} of {text:?}: {error}"));
                for key in ["a", "b", "e"] {
                    assert_eq!(whole.get(key), part.get(key), "{text:?}");
                }
            }
        }
        assert!(recognised > 500, "{recognised}");
    }
}
