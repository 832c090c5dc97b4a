//! Regular expressions of Go: RE2's syntax, in the words of the `regex` crate, whose engine is of the same family.

/// RE2 refuses more repetitions than this.
const MAX_REPEAT: u32 = 1_000;

/// The length of a repetition that a pattern begins with.
fn repetition(pattern: &str) -> Option<usize> {
    match pattern.as_bytes().first()? {
        b'*' | b'+' | b'?' => Some(1),
        b'{' => repeat(&pattern[1..]).and_then(|_| Some(pattern.find('}')? + 1)),
        _ => None,
    }
}

/// An expression of RE2 in the syntax of the `regex` crate, or why RE2 refuses it.
///
/// Perl classes are ASCII in RE2; `\Q…\E` quotes; `\z` is the end, `\C` and look-around do not exist.
pub fn translate(pattern: &str) -> std::result::Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut in_class = false;
    // What a repetition would repeat, the repetition before it, and the member of a class before a dash.
    let (mut operand, mut repeated, mut member) = (false, None::<usize>, None::<char>);
    while let Some(c) = rest.chars().next() {
        let tail = &rest[c.len_utf8()..];
        let at = pattern.len() - rest.len();
        if !in_class && let Some(length) = repetition(rest) {
            let end = at + length + usize::from(rest[length..].starts_with('?'));
            if let Some(start) = repeated {
                return Err(format!("invalid nested repetition operator: `{}`", &pattern[start..end]));
            }
            if !operand {
                return Err(format!("missing argument to repetition operator: `{}`", &pattern[at..end]));
            }
            if rest.strip_prefix('{').and_then(repeat).is_some_and(|count| count > MAX_REPEAT) {
                return Err(format!("invalid repeat count: `{}`", &pattern[at..at + length]));
            }
            out.push_str(&pattern[at..end]);
            repeated = Some(at);
            rest = &pattern[end..];
            continue;
        }
        if in_class && c != '\\' {
            let high = rest.strip_prefix('-').and_then(|after| after.chars().next()).filter(|high| *high != ']' && *high != '\\');
            if let (Some(low), Some(high)) = (member, high)
                && high < low
            {
                return Err(format!("invalid character class range: `{low}-{high}`"));
            }
        }
        member = (in_class && c != '\\' && c != '[').then_some(c);
        (operand, repeated) = (in_class || !matches!(c, '(' | '|'), None);
        if c == '\\' {
            let Some(escaped) = tail.chars().next() else { return Err("trailing backslash at end of expression: ``".to_owned()) };
            let after = &tail[escaped.len_utf8()..];
            rest = after;
            match escaped {
                'd' => out.push_str(if in_class { "0-9" } else { "[0-9]" }),
                's' => out.push_str(if in_class { r"\t\n\f\r " } else { r"[\t\n\f\r ]" }),
                'w' => out.push_str(if in_class { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                'D' => out.push_str("[^0-9]"),
                'S' => out.push_str(r"[^\t\n\f\r ]"),
                'W' => out.push_str("[^0-9A-Za-z_]"),
                'b' if !in_class => out.push_str(r"(?-u:\b)"),
                'Q' => {
                    let (quoted, after) = after.split_once("\\E").unwrap_or((after, ""));
                    for c in quoted.chars() {
                        if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
                            out.push('\\');
                        }
                        out.push(c);
                    }
                    rest = after;
                }
                'E' => {}
                'p' | 'P' | 'x' if after.starts_with('{') => {
                    let end = after.find('}').map_or(after.len(), |end| end + 1);
                    out.push('\\');
                    out.push(escaped);
                    out.push_str(&after[..end]);
                    rest = &after[end..];
                }
                'C' | 'Z' => return Err(format!("invalid escape sequence: `\\{escaped}`")),
                'h' | 'H' | 'R' | 'X' | 'K' | 'G' | '<' | '>' | 'u' | 'U' if escaped.is_ascii_alphabetic() => {
                    return Err(format!("invalid escape sequence: `\\{escaped}`"));
                }
                '1'..='9' => return Err(format!("invalid escape sequence: `\\{escaped}`")),
                escaped => {
                    out.push('\\');
                    out.push(escaped);
                }
            }
            continue;
        }
        rest = tail;
        match c {
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if let Some(after) = rest.strip_prefix('^') {
                    out.push('^');
                    rest = after;
                }
                // A closing bracket that comes first is a member.
                if let Some(after) = rest.strip_prefix(']') {
                    out.push_str(r"\]");
                    rest = after;
                }
            }
            '[' if rest.starts_with(':') => {
                let Some(end) = rest.find(":]") else {
                    out.push_str(r"\[");
                    continue;
                };
                out.push('[');
                out.push_str(&rest[..end + 2]);
                rest = &rest[end + 2..];
            }
            '[' => out.push_str(r"\["),
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            // Set operations of Rust's syntax that Go does not know.
            '&' | '~' | '-' if in_class && rest.starts_with(c) => {
                out.push('\\');
                out.push(c);
            }
            '(' if !in_class && rest.starts_with('?') => {
                if let Some(bad) = ["?=", "?!", "?<=", "?<!", "?>", "?#", "?|"].iter().find(|bad| rest.starts_with(**bad)) {
                    return Err(format!("invalid or unsupported Perl syntax: `({bad}`"));
                }
                out.push_str("(?");
                rest = &rest[1..];
            }
            // Not a repetition: a plain brace.
            '{' if !in_class => out.push_str(r"\{"),
            '}' if !in_class && !closes_repeat(&out) => out.push_str(r"\}"),
            c => out.push(c),
        }
    }
    Ok(out)
}

/// The largest count of a repetition that starts after its brace.
fn repeat(rest: &str) -> Option<u32> {
    let body = &rest[..rest.find('}')?];
    let (low, high) = body.split_once(',').unwrap_or((body, body));
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u32>().unwrap_or(u32::MAX));
    let low = (!low.is_empty()).then(|| number(low)).flatten()?;
    if high.is_empty() { Some(low) } else { number(high).map(|high| high.max(low)) }
}

fn closes_repeat(out: &str) -> bool {
    out.rfind('{').is_some_and(|at| {
        !out[..at].ends_with('\\') && out[at + 1..].chars().all(|c| c.is_ascii_digit() || c == ',')
            || out[..at].ends_with("\\p")
            || out[..at].ends_with("\\P")
            || out[..at].ends_with("\\x")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_reads_otherwise_is_written_otherwise() {
        for (go, ours) in [
            ("a{2}", "a{2}"),
            ("a{b}", r"a\{b\}"),
            ("^${X}$", r"^$\{X\}$"),
            (r"\d+", "[0-9]+"),
            (r"[\w-]", "[0-9A-Za-z_-]"),
            ("[[a]", r"[\[a]"),
            ("[]a]", r"[\]a]"),
            ("[a&&b]", r"[a\&&b]"),
            (r"\Qa.b*\E", r"a\.b\*"),
            ("[[:alpha:]]", "[[:alpha:]]"),
        ] {
            assert_eq!(translate(go).as_deref(), Ok(ours), "{go}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for pattern in ["*a", "a**", "(?=a)", r"\Z", r"a\", "a{1001}", "[b-a]", r"\1"] {
            assert!(translate(pattern).is_err(), "{pattern}");
        }
    }
}
