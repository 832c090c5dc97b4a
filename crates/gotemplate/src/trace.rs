//! Where each line of output came from.
//!
//! ```text
//! run of a node -> mark (offset in the output, template line, value)   --lines--> an origin for each line
//! include, tpl into a string -> its lines with their origins, looked up again when an action prints them, indented or not
//! ```
//!
//! A run that is not traced pays one test per node.

use crate::{
    Map, Value,
    ast::{Pipe, Shown as _, Source, Tree, Word, WordKind},
};
use std::{collections::HashMap, sync::Arc};

/// The template line that wrote a line, and the value it shows, where one can be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The name under which the text was parsed.
    pub template: Arc<str>,
    pub line: usize,
    /// A path in the values that were registered.
    pub value: Option<Arc<str>>,
}

/// Lines of strings that are remembered, at most.
const MAX_LINES: usize = 200_000;

#[derive(Default)]
pub(crate) struct Trace {
    /// Paths of maps by their identity.
    paths: HashMap<usize, Arc<str>>,
    pub marks: Vec<(usize, Origin)>,
    /// Lines that templates wrote into strings, without the white space around them.
    pub lines: Vec<(Box<[u8]>, Origin)>,
}

impl Trace {
    /// A trace that knows a map, and the maps in it, by their paths.
    pub fn of(values: &[(Map, String)]) -> Self {
        let mut trace = Self::default();
        values.iter().for_each(|(map, path)| trace.register(map, path, 0));
        trace
    }

    fn register(&mut self, map: &Map, path: &str, depth: usize) {
        if depth > 64 || self.paths.contains_key(&map.identity()) {
            return;
        }
        self.paths.insert(map.identity(), path.into());
        for (key, value) in map.entries() {
            if let Value::Map(inner) = value {
                self.register(&inner, &joined(path, &key), depth + 1);
            }
        }
    }

    pub fn mark(&mut self, at: usize, template: &Arc<str>, line: usize, value: Option<Arc<str>>) {
        self.marks.push((at, Origin { template: template.clone(), line, value }));
    }

    /// Marks a stretch of text and each line that begins in it.
    pub fn text(&mut self, at: usize, text: &[u8], template: &Arc<str>, first_line: usize) {
        self.mark(at, template, first_line, None);
        for (count, end) in memchr_lines(text).enumerate() {
            self.mark(at + end, template, first_line + count + 1, None);
        }
    }

    /// The path that the fields of a word lead to, when a registered map is on the way.
    pub fn path_of(&self, start: &Value, names: &[Arc<str>]) -> Option<Arc<str>> {
        let mut current = start.clone();
        let known = |value: &Value| match value {
            Value::Map(map) => self.paths.get(&map.identity()).cloned(),
            _ => None,
        };
        let mut path = known(&current);
        for name in names {
            let next = match &current {
                Value::Map(map) => map.get(name).unwrap_or(Value::Nil),
                _ => Value::Nil,
            };
            path = known(&next).or_else(|| path.map(|path| joined(&path, name).into()));
            current = next;
        }
        path.filter(|path| !path.is_empty())
    }

    /// What an action wrote, from `start` on: lines that strings brought keep their origins, others get the action's.
    pub fn action(&mut self, out: &[u8], start: usize, seen: usize, origin: Origin, shows_yaml: bool) {
        let written = &out[start.min(out.len())..];
        let known = &self.lines[seen.min(self.lines.len())..];
        let mut by_text: HashMap<&[u8], Vec<usize>> = HashMap::new();
        for (at, (text, _)) in known.iter().enumerate() {
            by_text.entry(text).or_default().push(at);
        }
        // A line break at the start ends a line on which the action shows nothing.
        let breaks = written.first() == Some(&b'\n');
        let first = Origin { value: origin.value.clone().filter(|_| !breaks), ..origin.clone() };
        let (mut marks, mut cursor, mut at) = (vec![(start, first)], 0, start);
        let mut keys = Keys::default();
        for line in written.split_inclusive(|b| *b == b'\n') {
            let text = line.trim_ascii();
            let found = by_text.get(text).filter(|_| !text.is_empty()).map(|places| {
                let next = places.partition_point(|place| *place < cursor);
                places.get(next).or(places.last()).copied().unwrap_or(0)
            });
            if let Some(found) = found {
                cursor = found + 1;
                marks.push((at, known[found].1.clone()));
            } else if shows_yaml && let Some(value) = &origin.value {
                let inner = keys.next(line);
                marks.push((at, Origin { value: Some(joined(value, &inner).into()), ..origin.clone() }));
            } else if at > start {
                marks.push((at, origin.clone()));
            }
            at += line.len();
        }
        self.marks.append(&mut marks);
    }

    /// Remembers the lines that a template wrote into a string.
    pub fn remember(&mut self, written: &[u8]) {
        let origins = self.origins(written);
        for (line, origin) in written.split(|b| *b == b'\n').zip(origins) {
            let text = line.trim_ascii();
            if let Some(origin) = origin.filter(|_| !text.is_empty() && self.lines.len() < MAX_LINES) {
                self.lines.push((text.into(), origin));
            }
        }
    }

    /// An origin for each line of the output that the marks are about.
    pub fn origins(&self, out: &[u8]) -> Vec<Option<Origin>> {
        let mut origins = Vec::new();
        let (mut next, mut last, mut at) = (0, None::<usize>, 0);
        for line in out.split_inclusive(|b| *b == b'\n') {
            // The line's template is the one that wrote its first visible byte; its value the first that is named in it.
            let first = at + line.iter().take_while(|b| b.is_ascii_whitespace()).count().min(line.len().saturating_sub(1));
            let end = at + line.len();
            let mut value = None;
            while next < self.marks.len() && self.marks[next].0 <= first {
                last = Some(next);
                next += 1;
            }
            let main = last;
            value = value.or_else(|| main.and_then(|main| self.marks[main].1.value.clone()));
            while next < self.marks.len() && self.marks[next].0 < end {
                value = value.or_else(|| self.marks[next].1.value.clone());
                last = Some(next);
                next += 1;
            }
            origins.push(main.map(|main| Origin { value, ..self.marks[main].1.clone() }));
            at = end;
        }
        origins
    }
}

fn memchr_lines(text: &[u8]) -> impl Iterator<Item = usize> {
    text.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1)
}

fn joined(path: &str, key: &str) -> String {
    match (path, key) {
        (path, "") => path.to_owned(),
        ("", key) => key.to_owned(),
        (path, key) if key.starts_with('[') => format!("{path}{key}"),
        (path, key) => format!("{path}.{key}"),
    }
}

/// Follows the keys of block YAML from line to line.
#[derive(Default)]
struct Keys {
    /// Indentation, key or place in a list.
    stack: Vec<(usize, String)>,
    /// How many items a list at an indentation had.
    counts: Vec<(usize, usize)>,
    base: Option<usize>,
}

impl Keys {
    fn next(&mut self, line: &[u8]) -> String {
        let text = String::from_utf8_lossy(line);
        let trimmed = text.trim_start_matches(' ');
        let mut indent = text.len() - trimmed.len();
        let mut rest = trimmed.trim_end();
        let base = *self.base.get_or_insert(indent);
        if rest.is_empty() || indent < base {
            return self.path();
        }
        // A sequence may stand at the indentation of its key.
        while let Some(item) = rest.strip_prefix("- ").or((rest == "-").then_some("")) {
            self.stack.retain(|(at, key)| *at < indent || *at == indent && !key.starts_with('['));
            let next = self.count(indent);
            self.stack.push((indent, format!("[{next}]")));
            let inner = item.trim_start_matches(' ');
            indent += rest.len() - inner.len();
            rest = inner;
        }
        let key = rest
            .split_once(':')
            .filter(|(_, after)| after.is_empty() || after.starts_with(' '))
            .map(|(key, _)| key.trim_matches(['"', '\'']));
        if let Some(key) = key.filter(|key| !key.is_empty()) {
            // A list at the indentation of this key is over; one that the key opens may stand there again.
            self.stack.retain(|(at, _)| *at < indent);
            self.counts.retain(|(at, _)| *at < indent);
            self.stack.push((indent, key.to_owned()));
        }
        self.path()
    }

    /// The place of the next item of the list at an indentation.
    fn count(&mut self, indent: usize) -> usize {
        self.counts.retain(|(at, _)| *at <= indent);
        match self.counts.iter_mut().find(|(at, _)| *at == indent) {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                self.counts.push((indent, 0));
                0
            }
        }
    }

    fn path(&self) -> String {
        self.stack.iter().fold(String::new(), |path, (_, key)| joined(&path, key))
    }
}

/// The first word of a pipeline with fields in it: what it most likely shows.
pub(crate) fn words_with_fields<'p>(tree: &'p Tree, pipe: &'p Pipe, visit: &mut dyn FnMut(&'p Word) -> bool) -> bool {
    fn word<'p>(tree: &'p Tree, one: &'p Word, visit: &mut dyn FnMut(&'p Word) -> bool) -> bool {
        match &one.kind {
            WordKind::Field(_) => visit(one),
            WordKind::Variable { fields, .. } if !fields.is_empty() => visit(one),
            WordKind::Pipe(pipe) => words_with_fields(tree, &tree[*pipe], visit),
            WordKind::Chain(inner, _) => word(tree, &tree[*inner], visit),
            _ => false,
        }
    }
    tree[pipe.commands].iter().flat_map(|command| &tree[command.words]).any(|one| word(tree, one, visit))
}

/// Whether a pipeline prints YAML of a value as it is.
pub(crate) fn shows_yaml(source: &Source, pipe: &Pipe) -> bool {
    let words = source.tree[pipe.commands].iter().flat_map(|command| source.tree[command.words].first());
    words.into_iter().any(|word| matches!(word.kind, WordKind::Function { .. }) && word.shown(source).starts_with("toYaml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_yaml_are_followed() {
        let text = "  a:\n    b: 1\n  l:\n  - x: 1\n    y: 2\n  - x: 3\n  m:\n  - - p\n    - q\n  z: |\n    text\n";
        let mut keys = Keys::default();
        let paths: Vec<String> = text.split_inclusive('\n').map(|line| keys.next(line.as_bytes())).collect();
        let wanted = ["a", "a.b", "l", "l[0].x", "l[0].y", "l[1].x", "m", "m[0][0]", "m[0][1]", "z", "z"];
        assert_eq!(paths, wanted);
    }
}
