//! Changing scalars where they stand: every other byte of the text stays, comments, quotes and line ends with them.
//!
//! ```text
//! text -> spots (every scalar: path, place, comment) -> choose -> Edits -> text, read again and compared
//! ```

use crate::{
    Dialect, Limits, Tag,
    compose::Keys,
    emit::is_plain_in,
    error::Error,
    resolve,
    scan::{self, Style},
};
use smol_str::SmolStr;
use std::{borrow::Cow, ops::Range};

/// One step of the way to a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    Key(SmolStr),
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.into())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// A scalar of a text, and where it stands. Keys are none, nor is what an alias repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// Which document of the text, from zero.
    pub document: usize,
    pub path: Vec<Step>,
    /// What it says.
    pub text: SmolStr,
    pub tag: Tag,
    pub style: Style,
    /// The line, from one.
    pub line: usize,
    /// What a comment behind it on its line says, without the `#`.
    pub comment: Option<SmolStr>,
    /// Its bytes in the text, quotes included.
    pub bytes: Range<usize>,
    /// Inside brackets or braces.
    flow: bool,
}

impl Spot {
    /// Whether it is at a path of its document.
    pub fn is_at(&self, path: &[Step]) -> bool {
        self.path == path
    }
}

/// Every scalar of a text, in its order.
pub fn spots(text: &str, limits: Limits) -> Result<Vec<Spot>, Error> {
    let mut composer = crate::composer(text, Dialect::Kyaml, limits, 0, Keys::Refused)?;
    composer.record();
    while composer.document()?.is_some() {}
    let mut spots = composer.recorded();
    for spot in &mut spots {
        spot.comment = comment_behind(text, spot);
    }
    Ok(spots)
}

fn comment_behind(text: &str, spot: &Spot) -> Option<SmolStr> {
    // The comment of a block scalar stands behind its sign.
    let end = match spot.style {
        Style::Literal | Style::Folded => spot.bytes.start + text[spot.bytes.clone()].find([' ', '\t', '\n', '\r']).unwrap_or(0),
        _ => spot.bytes.end,
    };
    let rest = &text[end..];
    let line = &rest[..rest.find(['\n', '\r']).unwrap_or(rest.len())];
    let comment = line.trim_start_matches([' ', '\t']);
    // Without a blank before it a number sign is no comment.
    let blank = comment.len() < line.len();
    comment.strip_prefix('#').filter(|_| blank).map(|comment| comment.trim().into())
}

/// Sets the scalar at a path of a document.
pub fn set(text: &str, document: usize, path: &[Step], value: &str) -> Result<String, Error> {
    let mut found = false;
    let changed = set_where(text, |spot| {
        let here = spot.document == document && spot.is_at(path);
        found |= here;
        here.then(|| value.into())
    })?;
    if found { Ok(changed.into_owned()) } else { Err(Error::NoScalar { path: show(path) }) }
}

/// Sets every scalar for which `choose` gives a new text; the text as it was where it gives none.
///
/// *Guarantees.* A new text is read back as a string with that text, except in the place of a number, boolean or null, where it says itself
/// what it is. The style stays where the new text can stand in it.
pub fn set_where(text: &str, mut choose: impl FnMut(&Spot) -> Option<SmolStr>) -> Result<Cow<'_, str>, Error> {
    let spots = spots(text, Limits::default())?;
    let mut wanted: Vec<(SmolStr, bool)> = Vec::with_capacity(spots.len());
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for spot in &spots {
        let Some(new) = choose(spot).filter(|new| *new != spot.text) else {
            wanted.push((spot.text.clone(), false));
            continue;
        };
        out.push_str(&text[from..spot.bytes.start]);
        render(text, spot, &new, &mut out);
        from = spot.bytes.end;
        wanted.push((new, true));
    }
    if !wanted.iter().any(|(_, changed)| *changed) {
        return Ok(Cow::Borrowed(text));
    }
    out.push_str(&text[from..]);
    check(&out, &spots, &wanted)?;
    Ok(Cow::Owned(out))
}

/// Reads what was written: it must differ in the chosen scalars and in nothing else.
fn check(out: &str, before: &[Spot], wanted: &[(SmolStr, bool)]) -> Result<(), Error> {
    let after = spots(out, Limits::default())?;
    let same = after.len() == before.len()
        && after.iter().zip(before).zip(wanted).all(|((after, before), (text, changed))| {
            let kept = after.tag == before.tag || (*changed && before.tag != Tag::Str);
            after.path == before.path && after.document == before.document && after.text == *text && kept
        });
    if same { Ok(()) } else { Err(Error::NotEditable) }
}

/// Writes a new text in the style of the old one, or in double quotes where it cannot stand there.
fn render(text: &str, spot: &Spot, new: &str, out: &mut String) {
    let printable = !new.chars().any(|c| c.is_control());
    match spot.style {
        Style::Plain if is_plain_in(new, spot.flow) && fits(spot, new) => out.push_str(new),
        Style::Single if printable => {
            out.push('\'');
            out.push_str(&new.replace('\'', "''"));
            out.push('\'');
        }
        Style::Literal | Style::Folded if block(text, spot, new, out) => {}
        _ => {
            quote(new, out);
            // What stood on lines of its own ended them.
            if matches!(spot.style, Style::Literal | Style::Folded) && text[spot.bytes.clone()].ends_with('\n') {
                out.push('\n');
            }
        }
    }
}

/// Whether plain text stays what it was: a string where a string stood.
fn fits(spot: &Spot, new: &str) -> bool {
    !new.is_empty()
        && (spot.tag != Tag::Str || (resolve::tag_of(Dialect::Kyaml, new) == Tag::Str && resolve::tag_of(Dialect::Sigs, new) == Tag::Str))
}

/// Writes a block scalar anew with the old sign, line ends and indentation; false where the text needs others.
fn block(text: &str, spot: &Spot, new: &str, out: &mut String) -> bool {
    let old = &text[spot.bytes.clone()];
    let Some((sign, body)) = old.split_once('\n') else { return false };
    let indent = body.lines().find(|line| !line.trim().is_empty()).map_or(0, |line| line.len() - line.trim_start_matches(' ').len());
    let (head, line_end) = sign.strip_suffix('\r').map_or((sign, "\n"), |head| (head, "\r\n"));
    let indicators = head.split([' ', '\t', '#']).next().unwrap_or("");
    let chomp = match new.len() - new.trim_end_matches('\n').len() {
        0 => "-",
        1 => "",
        _ => return false,
    };
    let plain = !new.starts_with([' ', '\n', '\t']) && !new.chars().any(|c| c.is_control() && c != '\n') && !new.trim().is_empty();
    // Folding would join the lines of a new text.
    let folds = spot.style == Style::Folded && new.trim_end_matches('\n').contains('\n');
    if !plain || folds || indent == 0 || indicators.contains(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let old_chomp = indicators.trim_start_matches(['|', '>']);
    out.push_str(&indicators[..1]);
    out.push_str(if old_chomp == "+" && chomp.is_empty() { "" } else { chomp });
    out.push_str(&head[indicators.len()..]);
    for line in new.trim_end_matches('\n').split('\n') {
        out.push_str(line_end);
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent));
            out.push_str(line);
        }
    }
    // Empty lines behind it are none of its own, unless it keeps them.
    let trailing = if old_chomp == "+" { if old.ends_with('\n') { line_end } else { "" } } else { tail(body) };
    out.push_str(trailing);
    true
}

/// The line end of the last line with text, and the empty lines that follow it.
fn tail(body: &str) -> &str {
    let content = body.trim_end_matches(['\n', '\r', ' ']);
    let end = body[content.len()..].find(['\r', '\n']).map_or(body.len(), |at| content.len() + at);
    &body[end..]
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{FEFF}' | '\u{2028}' | '\u{2029}' | '\u{FFFE}' | '\u{FFFF}') => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn show(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Key(key) if out.is_empty() => out.push_str(key),
            Step::Key(key) => {
                out.push('.');
                out.push_str(key);
            }
            Step::Index(at) => out.push_str(&format!("[{at}]")),
        }
    }
    out
}

/// Notes where scalars stand while a text is read.
#[derive(Default)]
pub(crate) struct Recorder {
    pub path: Vec<Step>,
    pub document: usize,
    /// Positive while a key is read.
    pub in_key: usize,
    pub flow: usize,
    pub spots: Vec<Spot>,
}

impl Recorder {
    pub fn scalar(&mut self, scalar: &crate::Scalar, mark: scan::Mark, end: usize) {
        if self.in_key > 0 {
            return;
        }
        self.spots.push(Spot {
            document: self.document,
            path: self.path.clone(),
            text: scalar.text.clone(),
            tag: scalar.tag,
            style: scalar.style,
            line: mark.line + 1,
            comment: None,
            bytes: mark.index..end,
            flow: self.flow > 0,
        });
    }
}
