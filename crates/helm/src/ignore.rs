//! `.helmignore`: which files of a directory are no part of the chart.

/// Go's `filepath.Match`: `*` and `?` stop at slashes. `None` for a pattern that is malformed.
pub fn matches(pattern: &str, name: &str) -> Option<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    check(&pattern)?;
    Some(matches_at(&pattern, &name.chars().collect::<Vec<char>>()))
}

/// A class: whether it holds the character, and how long the class is. `None` when malformed.
fn class(pattern: &[char], c: Option<char>) -> Option<(bool, usize)> {
    let mut at = 1;
    let negated = pattern.get(at) == Some(&'^');
    at += usize::from(negated);
    let mut found = false;
    let mut any = false;
    let take = |at: &mut usize| -> Option<char> {
        let c = match *pattern.get(*at)? {
            '-' | ']' => return None,
            '\\' => {
                *at += 1;
                *pattern.get(*at)?
            }
            c => c,
        };
        *at += 1;
        Some(c)
    };
    while !(any && pattern.get(at) == Some(&']')) {
        let low = take(&mut at)?;
        let mut high = low;
        if pattern.get(at) == Some(&'-') {
            at += 1;
            high = take(&mut at)?;
        }
        found |= c.is_some_and(|c| low <= c && c <= high);
        any = true;
    }
    Some((found != negated, at + 1))
}

fn check(mut pattern: &[char]) -> Option<()> {
    while let Some(c) = pattern.first() {
        let size = match c {
            '[' => class(pattern, None)?.1,
            '\\' if pattern.len() < 2 => return None,
            '\\' => 2,
            _ => 1,
        };
        pattern = &pattern[size..];
    }
    Some(())
}

/// Matches with one place to go back to, so that time stays linear in pattern times name.
fn matches_at(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() || p < pattern.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                back = Some((p, n));
                p += 1;
                continue;
            }
            Some('?') if n < name.len() && name[n] != '/' => Some(1),
            Some('[') if n < name.len() => class(&pattern[p..], Some(name[n])).and_then(|(found, size)| found.then_some(size)),
            Some('\\') if n < name.len() && pattern.get(p + 1) == Some(&name[n]) => Some(2),
            Some(c) if !matches!(c, '?' | '[' | '\\') && n < name.len() && name[n] == *c => Some(1),
            _ => None,
        };
        if let Some(size) = step {
            p += size;
            n += 1;
            continue;
        }
        match back {
            Some((star, at)) if at < name.len() && name[at] != '/' => {
                back = Some((star, at + 1));
                p = star + 1;
                n = at + 1;
            }
            _ => return false,
        }
    }
    true
}

struct Rule {
    pattern: Vec<char>,
    /// A pattern that is nothing but a text before or after a star, or a text alone, needs no machinery.
    simple: Option<Simple>,
    negated: bool,
    directories: bool,
    /// With a slash inside the whole path is matched, else the last part.
    whole: bool,
}

enum Simple {
    Text(String),
    After(String),
    Before(String),
}

impl Simple {
    fn of(pattern: &str) -> Option<Self> {
        let plain = |text: &str| !text.is_empty() && !text.contains(['*', '?', '[', '\\']);
        match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            _ if plain(pattern) => Some(Self::Text(pattern.to_owned())),
            (Some(end), _) if plain(end) => Some(Self::After(end.to_owned())),
            (_, Some(start)) if plain(start) => Some(Self::Before(start.to_owned())),
            _ => None,
        }
    }

    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Text(text) => name == text,
            Self::After(end) => name.strip_suffix(end.as_str()).is_some_and(|starred| !starred.contains('/')),
            Self::Before(start) => name.strip_prefix(start.as_str()).is_some_and(|starred| !starred.contains('/')),
        }
    }
}

/// What of a directory is no part of a chart.
pub struct Rules(Vec<Rule>);

impl Rules {
    /// The error is Helm's.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rules = Self(Vec::new());
        for line in text.trim_start_matches('\u{feff}').lines() {
            rules.add(line)?;
        }
        rules.add("templates/.?*")?;
        Ok(rules)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let rule = line.trim();
        if rule.is_empty() || rule.starts_with('#') {
            return Ok(());
        }
        if rule.contains("**") {
            return Err("double-star (**) syntax is not supported".to_owned());
        }
        if matches(rule, "abc").is_none() {
            return Err("syntax error in pattern".to_owned());
        }
        let (negated, rule) = rule.strip_prefix('!').map_or((false, rule), |rule| (true, rule));
        let (directories, rule) = rule.strip_suffix('/').map_or((false, rule), |rule| (true, rule));
        let (rooted, rule) = rule.strip_prefix('/').map_or((false, rule), |rule| (true, rule));
        let whole = rooted || rule.contains('/');
        self.0.push(Rule { pattern: rule.chars().collect(), simple: Simple::of(rule), negated, directories, whole });
        Ok(())
    }

    pub fn ignores(&self, path: &str, is_directory: bool) -> bool {
        let base = path.rsplit('/').next().unwrap_or(path);
        let mut characters: Option<Vec<char>> = None;
        for rule in &self.0 {
            let fits = match (&rule.simple, rule.whole) {
                (Some(simple), whole) => simple.fits(if whole { path } else { base }),
                (None, true) => check(&rule.pattern).is_some() && matches_at(&rule.pattern, &path.chars().collect::<Vec<char>>()),
                (None, false) => {
                    let characters = characters.get_or_insert_with(|| base.chars().collect());
                    check(&rule.pattern).is_some() && matches_at(&rule.pattern, characters)
                }
            };
            if rule.negated {
                if rule.directories && !is_directory || !fits {
                    return true;
                }
                continue;
            }
            if fits && (is_directory || !rule.directories) {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        let cases = [
            ("*.txt", "a.txt", true),
            ("*.txt", "d/a.txt", false),
            ("a?c", "abc", true),
            ("a[b-d]c", "acc", true),
            ("a[^b]c", "abc", false),
            ("*a*b", "xaxxb", true),
            (r"\*", "*", true),
            (".?*", ".x", true),
            (".?*", ".", false),
        ];
        for (pattern, name, fits) in cases {
            assert_eq!(matches(pattern, name), Some(fits), "{pattern} {name}");
        }
        assert_eq!((matches("[a", "a"), matches(r"a\", "a")), (None, None));
        assert_eq!(matches(&"*a".repeat(200), &"a".repeat(5_000)), Some(true), "no blow-up");
    }

    #[test]
    fn rules_ignore_as_helm_does() {
        let rules = Rules::parse("# comment\n*.bak\n/top.txt\nsub/x\ndir/\n").unwrap();
        let cases = [
            ("a.bak", true),
            ("d/a.bak", true),
            ("top.txt", true),
            ("d/top.txt", false),
            ("sub/x", true),
            ("templates/.hidden", true),
            ("dir", false),
        ];
        for (path, ignored) in cases {
            assert_eq!(rules.ignores(path, false), ignored, "{path}");
        }
        assert!(rules.ignores("dir", true) && Rules::parse("a/**").is_err());
    }
}
