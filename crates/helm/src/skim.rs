//! Recognises, line by line, documents that are certainly YAML, as most manifests are: maps and lists in block style, scalars on one line,
//! block scalars. Reading such a document in full would only find what is here known already.

/// The lines of the wanted entries at the top of a document, which are all that its reader needs; `None` where only the real reader can
/// tell whether the document is YAML.
///
/// *Guarantees:* for a text that this recognises, the real reader finds no fault either, and finds the same under the wanted keys.
pub(crate) fn entries(document: &str, wanted: &[&str]) -> Option<String> {
    plain_characters(document.as_bytes()).then_some(())?;
    let mut skim = Skim { levels: Vec::with_capacity(16), open: Open::Nothing };
    let mut found = String::new();
    let mut taking = false;
    let mut lines = Lines { text: document, at: 0 };
    while let Some((start, line)) = lines.next() {
        let indent = line.iter().take_while(|c| **c == b' ').count();
        match line.get(indent) {
            None => {}
            Some(b'#') => {}
            Some(_) => {
                let block = skim.line(line, indent)?;
                if indent == 0 && !line.starts_with(b"-") {
                    taking = wanted.iter().any(|key| line.strip_prefix(key.as_bytes()).is_some_and(|rest| rest.first() == Some(&b':')));
                }
                if let Some(parent) = block {
                    lines.skip_block(parent)?;
                }
            }
        }
        if taking {
            found.push_str(document.get(start..lines.at)?);
        }
    }
    Some(found)
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
        if memchr::memchr(b'\t', line).is_some() || indent == 0 && (line.starts_with(b"---") || line.starts_with(b"...")) {
            return None;
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
            // Nothing but a list may begin without a key.
            return if first { None } else { value(rest).map(|block| block.then_some(parent)) };
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
        self.open = Open::Nothing;
        value(after).map(|block| block.then_some(at))
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

/// Whether the value on the rest of a line is complete (`false`) or begins a block scalar (`true`).
fn value(text: &[u8]) -> Option<bool> {
    let first = *text.first()?;
    match first {
        b'"' => {
            let mut at = 1;
            loop {
                match text.get(at)? {
                    b'"' => return ends(&text[at + 1..]),
                    b'\\' if b"\"\\/ntr0abefv".contains(text.get(at + 1)?) => at += 2,
                    b'\\' => return None,
                    _ => at += 1,
                }
            }
        }
        b'\'' => {
            let mut at = 1;
            loop {
                match (text.get(at)?, text.get(at + 1)) {
                    (b'\'', Some(b'\'')) => at += 2,
                    (b'\'', _) => return ends(&text[at + 1..]),
                    _ => at += 1,
                }
            }
        }
        b'{' => ends(text.strip_prefix(b"{}")?),
        b'[' => ends(text.strip_prefix(b"[]")?),
        b'|' | b'>' => {
            let rest = text[1..].strip_prefix(b"-").or(text[1..].strip_prefix(b"+")).unwrap_or(&text[1..]);
            rest.iter().all(|c| *c == b' ').then_some(true)
        }
        b'-' | b'+' => text.get(1).filter(|c| c.is_ascii_digit()).and_then(|_| plain(text)),
        b'.' => text.get(1).filter(|c| !matches!(c, b'i' | b'I' | b'n' | b'N')).and_then(|_| plain(text)),
        c if c.is_ascii_alphanumeric() || c >= 0x80 || b"/_$(~^;\\".contains(&c) => plain(text),
        _ => None,
    }
}

/// Nothing may follow a quoted scalar but a comment.
fn ends(rest: &[u8]) -> Option<bool> {
    let spaces = rest.iter().take_while(|c| **c == b' ').count();
    match rest.get(spaces) {
        None => Some(false),
        Some(b'#') if spaces > 0 => Some(false),
        Some(_) => None,
    }
}

/// A scalar without quotes, on one line.
fn plain(text: &[u8]) -> Option<bool> {
    let mut end = text.len();
    for at in memchr::memchr2_iter(b':', b'#', text) {
        match text[at] {
            b':' if matches!(text.get(at + 1), None | Some(b' ')) => return None,
            b'#' if text[at - 1] == b' ' => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    // Numbers with exponents may be too large for JSON.
    let number = |c: &u8| c.is_ascii_digit() || matches!(c, b'e' | b'E' | b'.' | b'+' | b'-' | b'_' | b' ');
    let text = &text[..end];
    let exponent = text.iter().any(|c| matches!(c, b'e' | b'E')) && text.iter().all(number);
    (!exponent).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_manifests_are_recognised() {
        let text = "# Source: x\napiVersion: v1\nkind: ConfigMap # c\nmetadata:\n  name: \"a\"\n  labels:\n    app.kubernetes.io/name: x\n\n  ownerReferences:\n  - a: 1\n    b:\n    - - x\n      - y\n    - 'z'\n  annotations: {}\nempty:\ndata:\n  t: |-\n\n    text: [\n      more\n  u: >\n    folded\n  \"quoted\": plain text: no\n";
        assert_eq!(entries(text, &["metadata"]), None, "`: ` inside of a plain scalar is no plain scalar");
        let text = text.replace("text: no", "text");
        let metadata = &text[text.find("metadata").unwrap()..text.find("empty").unwrap()];
        assert_eq!(entries(&text, &["metadata", "kind"]), Some(format!("kind: ConfigMap # c\n{metadata}")));
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
        ];
        let mut seed = 7u64;
        let mut recognised = 0;
        for round in 0..60_000 {
            let mut text = String::new();
            for _ in 0..=round % 5 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
            }
            if let Some(found) = entries(&text, &["a", "b", "e"]) {
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
