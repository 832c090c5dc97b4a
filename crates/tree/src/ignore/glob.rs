/// Matches a name against a shell pattern as Go's `filepath.Match` does; `None` when the pattern is malformed
/// as far as it had to be read.
///
/// Linear for patterns without `*`, quadratic with: one star is remembered, never a stack of them.
pub fn matches(pattern: &str, name: &str) -> Option<bool> {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p + 1, n));
            p += 1;
            continue;
        }
        let step = match (pattern.get(p), name.get(n)) {
            (None, None) => return Some(true),
            (None, Some(_)) => None,
            // Go checks what is left of a pattern even where the name has ended.
            (Some(_), None) => {
                check(&pattern[p..])?;
                return Some(false);
            }
            (Some(_), Some(&c)) => one(&pattern[p..], c)?,
        };
        match (step, star) {
            (Some(len), _) => {
                p += len;
                n += 1;
            }
            (None, Some((after, from))) => {
                p = after;
                n = from + 1;
                star = Some((after, n));
            }
            (None, None) => {
                check(&pattern[p..])?;
                return Some(false);
            }
        }
    }
}

/// Matches one character; the inner value is how much of the pattern it took, or `None` when it does not match.
fn one(pattern: &[char], c: char) -> Option<Option<usize>> {
    match pattern[0] {
        '?' => Some((c != '/').then_some(1)),
        '\\' => {
            let escaped = *pattern.get(1)?;
            Some((escaped == c).then_some(2))
        }
        '[' => {
            let (hit, len) = class(pattern, c)?;
            Some(hit.then_some(len))
        }
        literal => Some((literal == c).then_some(1)),
    }
}

/// `[a-z]`, `[^a-z]`: whether `c` is in it, and its length.
fn class(pattern: &[char], c: char) -> Option<(bool, usize)> {
    let negated = pattern.get(1) == Some(&'^');
    let mut at = 1 + usize::from(negated);
    let (mut hit, mut ranges) = (false, 0);
    loop {
        if pattern.get(at) == Some(&']') && ranges > 0 {
            return Some((hit != negated, at + 1));
        }
        let low = member(pattern, &mut at)?;
        let mut high = low;
        if pattern.get(at) == Some(&'-') {
            at += 1;
            high = member(pattern, &mut at)?;
        }
        hit |= (low..=high).contains(&c);
        ranges += 1;
    }
}

fn member(pattern: &[char], at: &mut usize) -> Option<char> {
    match *pattern.get(*at)? {
        '-' | ']' => return None,
        '\\' => *at += 1,
        _ => {}
    }
    let c = *pattern.get(*at)?;
    *at += 1;
    // A class must be closed somewhere.
    pattern.get(*at).map(|_| c)
}

/// Whether the rest of a pattern is well formed.
fn check(pattern: &[char]) -> Option<()> {
    let mut at = 0;
    while at < pattern.len() {
        at += match pattern[at] {
            '\\' => {
                pattern.get(at + 1)?;
                2
            }
            '[' => class(&pattern[at..], '\0')?.1,
            _ => 1,
        };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn names_match_as_in_go() {
        let table = [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*", "a", Some(true)),
            ("a*b*c*d*e*", "axbxcxdxexxx", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Some(true)),
            ("a*b?c*x", "abxbbxdbxebxczzy", Some(false)),
            ("ab[c]", "abc", Some(true)),
            ("ab[b-d]", "abc", Some(true)),
            ("ab[^e-g]", "abc", Some(true)),
            ("ab[^b-d]", "abc", Some(false)),
            ("a\\*b", "a*b", Some(true)),
            ("a\\*b", "ab", Some(false)),
            ("a?b", "a☺b", Some(true)),
            ("[a-ζ]*", "α", Some(true)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[\\]a]", "]", Some(true)),
            ("[x-]", "x", None),
            ("[", "a", None),
            ("[^", "a", None),
            ("a[", "a", None),
            ("*x", "xxx", Some(true)),
            ("\\", "a", None),
            ("", "", Some(true)),
            ("", "a", Some(false)),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(matches(pattern, name), expected, "{pattern:?} on {name:?}");
        }
    }

    #[test]
    fn many_stars_do_not_explode() {
        assert_eq!(matches(&"*a".repeat(200), &"a".repeat(150)), Some(false));
    }
}
