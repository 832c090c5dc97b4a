//! Two dialects of patterns, as Flux uses them: Go's for what is copied, doublestar's for archives and for what stays out.

use crate::staging::lexical;
use regex::Regex;
use tree::{Kind, MemoryTree, Tree};

/// Whether a path is a pattern. A backslash alone makes none.
pub(crate) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '[', ']'])
}

/// A pattern that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The paths that a pattern of Go's `fs.Glob` names: each part of it is held against one name, so `**` means no more than `*`.
pub(crate) fn select(tree: &MemoryTree, pattern: &str) -> Result<Vec<String>, Malformed> {
    tree::ignore::matches_name(pattern, "").ok_or(Malformed)?;
    expand(tree, pattern)
}

fn expand(tree: &MemoryTree, pattern: &str) -> Result<Vec<String>, Malformed> {
    if !is_pattern(pattern) && !pattern.contains('\\') {
        let there = is_valid(pattern) && tree.kind(inside(pattern)).is_some();
        return Ok(if there { vec![pattern.to_owned()] } else { Vec::new() });
    }
    let (folder, name) = match pattern.rsplit_once('/') {
        Some((folder, name)) => (folder, name),
        None => (".", pattern),
    };
    if !is_pattern(folder) && !folder.contains('\\') {
        return in_folder(tree, folder, name);
    }
    let mut found = Vec::new();
    for folder in expand(tree, folder)? {
        found.extend(in_folder(tree, &folder, name)?);
    }
    Ok(found)
}

fn in_folder(tree: &MemoryTree, folder: &str, pattern: &str) -> Result<Vec<String>, Malformed> {
    let names = if is_valid(folder) { tree.list(inside(folder)) } else { None };
    let mut found = Vec::new();
    for name in names.unwrap_or_default() {
        if tree::ignore::matches_name(pattern, &name).ok_or(Malformed)? {
            found.push(lexical(&format!("{folder}/{name}")));
        }
    }
    Ok(found)
}

/// What Go's `fs.ValidPath` admits: `a/b`, and `.` for the root.
fn is_valid(path: &str) -> bool {
    path == "." || path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn inside(path: &str) -> &str {
    if path == "." { "" } else { path }
}

/// A doublestar pattern: `**` is any number of folders, `{a,b}` one of several texts.
pub(crate) struct Doublestar {
    whole: Regex,
    /// It names no folder, so it is held against names, too.
    pub(crate) is_name: bool,
    /// Its last part is `**`.
    ends_in_any: bool,
}

impl Doublestar {
    pub(crate) fn parse(pattern: &str) -> Result<Self, Malformed> {
        if !is_well_formed(pattern) {
            return Err(Malformed);
        }
        let whole = Regex::new(&translate(pattern)).map_err(|_| Malformed)?;
        Ok(Self { whole, is_name: !pattern.contains('/'), ends_in_any: pattern == "**" || pattern.ends_with("/**") })
    }

    pub(crate) fn matches(&self, path: &str) -> bool {
        self.whole.is_match(path)
    }

    /// Every path that matches, in doublestar's order: folder by folder, those above before those below.
    pub(crate) fn select(&self, tree: &MemoryTree) -> Vec<String> {
        let (mut found, mut folders) = (Vec::new(), vec![String::new()]);
        let _ = tree::walk(tree, &mut |path, kind| {
            if kind == Kind::Dir {
                folders.push(path.to_owned());
            }
            if self.ends_in_any && self.matches(path) {
                found.push(path.to_owned());
            }
            Ok::<(), ()>(())
        });
        if self.ends_in_any {
            return found;
        }
        for folder in folders {
            for name in tree.list(&folder).unwrap_or_default() {
                let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if self.matches(&path) {
                    found.push(path);
                }
            }
        }
        found
    }
}

/// Braces are paired, classes end, and nothing is left to escape.
fn is_well_formed(pattern: &str) -> bool {
    let mut depth = 0;
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' if rest.next().is_none() => return false,
            '[' => {
                let mut first = rest.next();
                if matches!(first, Some('^' | '!')) {
                    first = rest.next();
                }
                let mut member = match first {
                    None | Some(']') => return false,
                    first => first,
                };
                loop {
                    match member {
                        None => return false,
                        Some(']') => break,
                        Some('\\') => {
                            rest.next();
                        }
                        Some(_) => {}
                    }
                    member = rest.next();
                }
            }
            '{' => depth += 1,
            '}' if depth == 0 => return false,
            '}' => depth -= 1,
            _ => {}
        }
    }
    depth == 0
}

/// A pattern as a regular expression, which is linear whatever the pattern.
fn translate(pattern: &str) -> String {
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::from(r"(?s)\A(?:");
    let (mut at, mut depth) = (0, 0);
    let literal = |c: char, out: &mut String| out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    while let Some(&c) = chars.get(at) {
        let begins = at == 0 || matches!(chars[at - 1], '/') || depth > 0 && matches!(chars[at - 1], '{' | ',');
        match c {
            '*' if begins && chars.get(at + 1) == Some(&'*') => {
                let after = chars.get(at + 2);
                let ends = after.is_none() || depth > 0 && matches!(after, Some(',' | '}'));
                if after == Some(&'/') {
                    out.push_str("(?:.*/)?");
                    at += 2;
                } else if ends {
                    out.push_str(".*");
                    at += 1;
                } else {
                    out.push_str("[^/]*");
                    at += 1;
                }
            }
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            // The folder itself matches `folder/**`, too.
            '/' if depth == 0 && chars[at..] == ['/', '*', '*'] => {
                out.push_str("(?:/.*)?");
                at += 2;
            }
            '[' => at = class(&chars, at, &mut out),
            '{' => {
                depth += 1;
                out.push_str("(?:");
            }
            '}' => {
                depth -= 1;
                out.push(')');
            }
            ',' if depth > 0 => out.push('|'),
            '\\' => {
                at += 1;
                if let Some(&escaped) = chars.get(at) {
                    literal(escaped, &mut out);
                }
            }
            c => literal(c, &mut out),
        }
        at += 1;
    }
    out.push_str(r")\z");
    out
}

/// Writes the class that begins at `at`, and gives the place of its end.
fn class(chars: &[char], mut at: usize, out: &mut String) -> usize {
    at += 1;
    let negated = matches!(chars.get(at), Some('^' | '!'));
    at += usize::from(negated);
    let member = |at: &mut usize| {
        if chars.get(*at) == Some(&'\\') {
            *at += 1;
        }
        let c = chars.get(*at).copied();
        *at += 1;
        c
    };
    out.push_str(if negated { "[[^" } else { "[[" });
    while chars.get(at).is_some_and(|c| *c != ']') {
        let Some(low) = member(&mut at) else { break };
        let mut high = low;
        if chars.get(at) == Some(&'-') && chars.get(at + 1).is_some_and(|c| *c != ']') {
            at += 1;
            high = member(&mut at).unwrap_or(low);
        }
        // A range that is the wrong way round holds nothing; its lower end still counts for doublestar.
        let high = high.max(low);
        out.push_str(&format!("\\x{{{:x}}}-\\x{{{:x}}}", low as u32, high as u32));
    }
    out.push_str("]&&[^/]]");
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> MemoryTree {
        MemoryTree::from_iter(
            ["a.yaml", "b.yaml", "README.md", "conf/one.yaml", "conf/deep/two.yaml", "conf/deep/er/three.yaml", "other/x.yaml", ".hidden"]
                .map(|path| (path, "")),
        )
    }

    #[test]
    fn copies_are_selected_name_by_name() {
        let tree = tree();
        let table: [(&str, &[&str]); 11] = [
            ("*.yaml", &["a.yaml", "b.yaml"]),
            ("**", &[".hidden", "README.md", "a.yaml", "b.yaml", "conf", "other"]),
            ("conf/**", &["conf/deep", "conf/one.yaml"]),
            ("**/*.yaml", &["conf/one.yaml", "other/x.yaml"]),
            ("*/*/*", &["conf/deep/er", "conf/deep/two.yaml"]),
            ("*/one.yaml", &["conf/one.yaml"]),
            ("./*.yaml", &["a.yaml", "b.yaml"]),
            ("[ab].yaml", &["a.yaml", "b.yaml"]),
            ("../*", &[]),
            ("conf/*/", &[]),
            ("/*", &[]),
        ];
        for (pattern, expected) in table {
            assert_eq!(select(&tree, pattern).unwrap(), expected, "{pattern:?}");
        }
        assert_eq!(select(&tree, "conf/[a-"), Err(Malformed));
        assert_eq!(select(&tree, "[]a]"), Err(Malformed));
    }

    #[test]
    fn doublestar_patterns_match_as_they_do_there() {
        let table = [
            ("**", "a/b", true),
            ("a/**", "a", true),
            ("a/**", "a/b/c", true),
            ("a/**", "ab", false),
            ("**/a", "a", true),
            ("**/a", "x/y/a", true),
            ("**/a", "xa", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "ab", false),
            ("a**b", "axxb", true),
            ("a**b", "a/b", false),
            ("*", "a/b", false),
            ("?", "/", false),
            ("{a,b}.yaml", "b.yaml", true),
            ("{a,b/c}.yaml", "b/c.yaml", true),
            ("{**/x,y}", "a/x", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "/x", false),
            ("[\\]]", "]", true),
            ("[a&&b]", "&", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a,b", "a,b", true),
            ("a+(b)", "a+(b)", true),
        ];
        for (pattern, path, expected) in table {
            assert_eq!(Doublestar::parse(pattern).unwrap().matches(path), expected, "{pattern:?} on {path:?}");
        }
        for bad in ["[a-", "[", "[]", "[!]", "{a", "a}", "x\\", "[a\\"] {
            assert!(Doublestar::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn archives_are_selected_folder_by_folder() {
        let found = Doublestar::parse("**/*.yaml").unwrap().select(&tree());
        assert_eq!(found, ["a.yaml", "b.yaml", "conf/one.yaml", "conf/deep/two.yaml", "conf/deep/er/three.yaml", "other/x.yaml"]);
        let found = Doublestar::parse("conf/**").unwrap().select(&tree());
        assert_eq!(found, ["conf", "conf/deep", "conf/deep/er", "conf/deep/er/three.yaml", "conf/deep/two.yaml", "conf/one.yaml"]);
    }

    #[test]
    fn a_pattern_of_many_choices_stays_cheap() {
        let pattern = Doublestar::parse(&"{a,b,c,d,e,f,g,h,i,j}".repeat(60)).unwrap();
        assert!(pattern.matches(&"j".repeat(60)) && !pattern.matches(&"k".repeat(60)));
    }
}
