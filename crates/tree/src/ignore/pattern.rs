use super::glob;

/// One line of a rule file, in go-git's reading of gitignore, which differs from Git's:
/// a pattern without `/` matches any part of a path, a pattern with one is anchored at its folder
/// and also matches everything below what it names, and an entry below an excluded folder is judged by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// The folder that the pattern speaks for; empty for the root.
    domain: Vec<String>,
    parts: Vec<String>,
    include: bool,
    folders_only: bool,
    anchored: bool,
}

impl Pattern {
    /// Reads a line that is neither blank nor a comment; `domain` is the folder of its file, `""` for the root.
    pub fn parse(line: &str, domain: &str) -> Self {
        let (include, mut text) = match line.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        if !text.ends_with("\\ ") {
            text = text.trim_end_matches(' ');
        }
        let (text, folders_only) = match text.strip_suffix('/') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        Self {
            domain: domain.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(),
            parts: text.split('/').map(str::to_owned).collect(),
            include,
            folders_only,
            anchored: text.contains('/'),
        }
    }

    /// `Some(true)` excludes the path, `Some(false)` includes it, `None` has nothing to say.
    pub fn matches(&self, path: &[&str], is_dir: bool) -> Option<bool> {
        let below = path.strip_prefix_of(&self.domain)?;
        let hit = if self.anchored { self.path_matches(below, is_dir) } else { self.name_matches(below, is_dir) };
        hit.then_some(!self.include)
    }

    fn name_matches(&self, path: &[&str], is_dir: bool) -> bool {
        for (at, name) in path.iter().enumerate() {
            match glob::matches(&self.parts[0], name) {
                None => return false,
                Some(false) => {}
                Some(true) => return !(self.folders_only && !is_dir && at + 1 == path.len()),
            }
        }
        false
    }

    fn path_matches(&self, mut path: &[&str], is_dir: bool) -> bool {
        let (mut matched, mut any_depth) = (false, false);
        for (at, part) in self.parts.iter().enumerate() {
            match part.as_str() {
                "" => any_depth = false,
                "**" if at + 1 == self.parts.len() => break,
                "**" => any_depth = true,
                part if part.contains("**") => return false,
                part if any_depth => {
                    any_depth = false;
                    if path.is_empty() {
                        return false;
                    }
                    while let Some((name, rest)) = path.split_first() {
                        path = rest;
                        match glob::matches(part, name) {
                            None => return false,
                            Some(true) => {
                                matched = true;
                                break;
                            }
                            Some(false) if path.is_empty() => matched = false,
                            Some(false) => {}
                        }
                    }
                }
                part => {
                    let Some((name, rest)) = path.split_first() else { return false };
                    if glob::matches(part, name) != Some(true) {
                        return false;
                    }
                    matched = true;
                    path = rest;
                }
            }
        }
        matched && !(self.folders_only && !is_dir && path.is_empty())
    }
}

trait StripPrefixOf {
    fn strip_prefix_of(&self, domain: &[String]) -> Option<&Self>;
}

impl StripPrefixOf for [&str] {
    /// The path below `domain`; `None` outside of it and for the folder itself.
    fn strip_prefix_of(&self, domain: &[String]) -> Option<&Self> {
        let (above, below) = self.split_at_checked(domain.len())?;
        (!below.is_empty() && above.iter().zip(domain).all(|(a, b)| a == b)).then_some(below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(pattern: &str, path: &str) -> Option<bool> {
        let (path, is_dir) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        Pattern::parse(pattern, "").matches(&path.split('/').collect::<Vec<_>>(), is_dir)
    }

    #[test]
    fn patterns_match_as_in_go_git() {
        // (pattern, path; folders end in "/", expected)
        let table = [
            ("*.md", "a/b.md", Some(true)),
            ("!*.md", "a/b.md", Some(false)),
            ("b", "a/b/c", Some(true)),
            ("b/", "a/b/c", Some(true)),
            ("b/", "a/b", None),
            ("b/", "a/b/", Some(true)),
            ("/b", "a/b", None),
            ("/b", "b/c", Some(true)),
            ("a/b", "a/b/c/d", Some(true)),
            ("a/b", "x/a/b", None),
            ("a/*.yaml", "a/x.yaml", Some(true)),
            ("a/*.yaml", "a/b/x.yaml", None),
            ("**/x.yaml", "x.yaml", Some(true)),
            ("**/x.yaml", "a/b/x.yaml", Some(true)),
            ("a/**/x", "a/b/c/x", Some(true)),
            ("a/**/x", "a/x", Some(true)),
            ("a/**", "a/b", Some(true)),
            ("a/**", "a/", Some(true)),
            ("**", "a", None),
            ("a**/b", "ab/b", None),
            ("a/b/", "a/b", None),
            ("a/b/", "a/b/c", Some(true)),
            ("*", "anything/at/all", Some(true)),
            ("file ", "file", Some(true)),
            ("[a-c].txt", "b.txt", Some(true)),
            ("[^a-c].txt", "b.txt", None),
            ("[", "[", None),
            ("\\#x", "#x", Some(true)),
            ("", "a", None),
        ];
        for (pattern, path, expected) in table {
            // A lone "**" holds no slash and is a name of two wildcards.
            let expected = if pattern == "**" { Some(true) } else { expected };
            assert_eq!(excluded(pattern, path), expected, "{pattern:?} on {path:?}");
        }
    }

    #[test]
    fn a_scoped_pattern_ignores_what_lies_outside() {
        let pattern = Pattern::parse("/x", "a/b");
        assert_eq!(pattern.matches(&["a", "b", "x"], false), Some(true));
        assert_eq!(pattern.matches(&["x"], false), None);
        assert_eq!(pattern.matches(&["a", "b"], true), None);
    }
}
