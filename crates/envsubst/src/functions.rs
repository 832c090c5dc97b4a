use crate::{Error, parse::Operator};

/// Values longer than this are not trimmed: matching takes the square of their length.
const TRIM_BYTES_MAX: usize = 16 << 10;

pub(crate) fn call(operator: Operator, name: &str, value: &str, arguments: &[String]) -> Result<String, Error> {
    let first = arguments.first().map_or("", String::as_str);
    let second = arguments.get(1).map_or("", String::as_str);
    if matches!(
        operator,
        Operator::TrimShortestPrefix | Operator::TrimLongestPrefix | Operator::TrimShortestSuffix | Operator::TrimLongestSuffix
    ) && value.len() > TRIM_BYTES_MAX
    {
        return Err(Error::TooLongToTrim(name.to_owned()));
    }
    Ok(match operator {
        Operator::Plain => value.to_owned(),
        Operator::Length => value.len().to_string(),
        Operator::Default if value.is_empty() => arguments.concat(),
        Operator::Default => value.to_owned(),
        Operator::Slice => slice(value, arguments),
        Operator::LowerFirst => map_first(value, |c| c.to_lowercase().collect()),
        Operator::LowerAll => value.to_lowercase(),
        Operator::UpperFirst => map_first(value, |c| c.to_uppercase().collect()),
        Operator::UpperAll => value.to_uppercase(),
        Operator::TrimShortestPrefix => trim(value, first, false),
        Operator::TrimLongestPrefix => trim(value, first, true),
        Operator::TrimShortestSuffix => reversed(&trim(&reversed(value), &reversed(first), false)),
        Operator::TrimLongestSuffix => reversed(&trim(&reversed(value), &reversed(first), true)),
        Operator::ReplaceFirst => value.replacen(first, second, 1),
        Operator::ReplaceAll => value.replace(first, second),
        Operator::ReplacePrefix => value.strip_prefix(first).map_or_else(|| value.to_owned(), |rest| format!("{second}{rest}")),
        Operator::ReplaceSuffix => value.strip_suffix(first).map_or_else(|| value.to_owned(), |rest| format!("{rest}{second}")),
    })
}

fn map_first(value: &str, map: impl Fn(char) -> String) -> String {
    let mut characters = value.chars();
    match characters.next() {
        Some(first) => map(first) + characters.as_str(),
        None => String::new(),
    }
}

fn reversed(text: &str) -> String {
    text.chars().rev().collect()
}

/// Bytes from an offset, at most a length of them; a number that cannot be read leaves the value as it is.
fn slice(value: &str, arguments: &[String]) -> String {
    let size = value.len() as i64;
    let Some(Ok(offset)) = arguments.first().map(|a| a.parse::<i64>()) else { return value.to_owned() };
    let start = if offset < 0 { size.saturating_add(offset).max(0) } else { offset };
    let end = match arguments.get(1).map(|a| a.parse::<i64>()) {
        None => size,
        Some(Err(_)) => return value.to_owned(),
        // As in the shell, a negative length counts from the end.
        Some(Ok(length)) if length < 0 => size.saturating_add(length),
        Some(Ok(length)) => start.saturating_add(length).min(size),
    };
    if start >= end {
        return String::new();
    }
    String::from_utf8_lossy(&value.as_bytes()[start as usize..end as usize]).into_owned()
}

/// Removes the shortest or longest prefix that matches a glob; an empty match removes nothing.
fn trim(value: &str, pattern: &str, longest: bool) -> String {
    let pattern: Vec<char> = pattern.chars().collect();
    let characters: Vec<char> = value.chars().collect();
    let mut lengths: Box<dyn Iterator<Item = usize>> =
        if longest { Box::new((1..=characters.len()).rev()) } else { Box::new(1..=characters.len()) };
    match lengths.find(|length| glob(&pattern, &characters[..*length])) {
        Some(length) => characters[length..].iter().collect(),
        None => value.to_owned(),
    }
}

/// One step of a glob pattern.
enum Token {
    Star,
    Any,
    Literal(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// Shell patterns, where `*` and `?` match a slash too; a malformed pattern matches nothing.
fn glob(pattern: &[char], text: &[char]) -> bool {
    let Some(tokens) = tokens(pattern) else { return false };
    let (mut token, mut at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if matches!(tokens.get(token), Some(Token::Star)) {
            retry = Some((token, at));
            token += 1;
            continue;
        }
        match (tokens.get(token), text.get(at)) {
            (None, None) => return true,
            (Some(step), Some(c)) if matches(step, *c) => {
                token += 1;
                at += 1;
            }
            _ => match retry {
                Some((star, from)) if from < text.len() => {
                    retry = Some((star, from + 1));
                    (token, at) = (star + 1, from + 1);
                }
                _ => return false,
            },
        }
    }
}

fn matches(token: &Token, c: char) -> bool {
    match token {
        Token::Star => false,
        Token::Any => true,
        Token::Literal(literal) => *literal == c,
        Token::Class { negated, ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated,
    }
}

fn tokens(pattern: &[char]) -> Option<Vec<Token>> {
    let mut out = Vec::new();
    let mut rest = pattern.iter().copied().peekable();
    while let Some(c) = rest.next() {
        out.push(match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '\\' => Token::Literal(rest.next()?),
            '[' => {
                let negated = rest.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                loop {
                    let low = match rest.next()? {
                        ']' if !ranges.is_empty() => break,
                        ']' | '-' => return None,
                        '\\' => rest.next()?,
                        c => c,
                    };
                    let high = if rest.next_if_eq(&'-').is_some() {
                        match rest.next()? {
                            ']' | '-' => return None,
                            '\\' => rest.next()?,
                            c => c,
                        }
                    } else {
                        low
                    };
                    ranges.push((low, high));
                }
                Token::Class { negated, ranges }
            }
            c => Token::Literal(c),
        });
    }
    Some(out)
}
