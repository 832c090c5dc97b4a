//! The words of an expression.

use super::ast::Literal;

#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    Ident(String),
    Literal(Literal),
    /// An operator or a bracket.
    Mark(&'static str),
    End,
}

const MARKS: [&str; 25] =
    ["&&", "||", "==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",", "(", ")", "[", "]", "{", "}", "="];

/// Splits a text into tokens and where they begin; what cannot be one is told with its place.
pub fn tokens(source: &str) -> Result<Vec<(usize, Token)>, (usize, String)> {
    let mut out = Vec::new();
    let bytes = source.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte.is_ascii_whitespace() {
            at += 1;
        } else if source[at..].starts_with("//") {
            at += source[at..].find('\n').unwrap_or(source.len() - at);
        } else if let Some((length, literal)) = text(source, at)? {
            out.push((at, Token::Literal(literal)));
            at += length;
        } else if byte.is_ascii_digit() || (byte == b'.' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)) {
            let (length, literal) = number(source, at)?;
            out.push((at, Token::Literal(literal)));
            at += length;
        } else if byte.is_ascii_alphabetic() || byte == b'_' {
            let end = source[at..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(source.len(), |length| at + length);
            out.push((at, Token::Ident(source[at..end].to_owned())));
            at = end;
        } else if let Some(mark) = MARKS.iter().find(|mark| source[at..].starts_with(**mark)).filter(|mark| **mark != "=") {
            out.push((at, Token::Mark(mark)));
            at += mark.len();
        } else {
            let shown: String = source[at..].chars().take(1).collect();
            return Err((at, format!("Syntax error: token recognition error at: '{shown}'")));
        }
    }
    out.push((source.len(), Token::End));
    Ok(out)
}

fn number(source: &str, at: usize) -> Result<(usize, Literal), (usize, String)> {
    let rest = &source[at..];
    let bad = |what: &str| (at, format!("invalid {what} literal"));
    let digits = |text: &str, hex: bool| text.find(|c: char| !(c.is_ascii_digit() || hex && c.is_ascii_hexdigit())).unwrap_or(text.len());
    if let Some(hex) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        let length = digits(hex, true);
        if hex[length..].starts_with(['u', 'U']) {
            return Ok((2 + length + 1, Literal::Uint(u64::from_str_radix(&hex[..length], 16).map_err(|_| bad("uint"))?)));
        }
        // The sign is not read yet: the smallest number fits a u64 only.
        let value = u64::from_str_radix(&hex[..length], 16).map_err(|_| bad("int"))?;
        return Ok((2 + length, int(value)));
    }
    let mut length = digits(rest, false);
    let mut real = false;
    if rest[length..].starts_with('.') && rest[length + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        real = true;
        length += 1;
        length += digits(&rest[length..], false);
    }
    if rest[length..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[length + 1..].starts_with(['+', '-']));
        let exponent = digits(&rest[length + 1 + sign..], false);
        if exponent > 0 {
            real = true;
            length += 1 + sign + exponent;
        }
    }
    if real {
        return Ok((length, Literal::Double(rest[..length].parse().map_err(|_| bad("double"))?)));
    }
    let value: u64 = rest[..length].parse().map_err(|_| bad("int"))?;
    if rest[length..].starts_with(['u', 'U']) {
        return Ok((length + 1, Literal::Uint(value)));
    }
    Ok((length, int(value)))
}

/// A number too large for an int is kept, for a sign before it may make it fit; the parser refuses the others.
fn int(value: u64) -> Literal {
    i64::try_from(value).map_or(Literal::Uint(value), Literal::Int)
}

/// A string or bytes with its prefix and quotes, if one begins here.
fn text(source: &str, at: usize) -> Result<Option<(usize, Literal)>, (usize, String)> {
    let rest = &source[at..];
    let prefix = rest.find(|c: char| !matches!(c, 'r' | 'R' | 'b' | 'B')).unwrap_or(0);
    if prefix > 2 || !rest[prefix..].starts_with(['"', '\'']) {
        return Ok(None);
    }
    let (raw, bytes) = (rest[..prefix].contains(['r', 'R']), rest[..prefix].contains(['b', 'B']));
    if prefix == 2 && !(raw && bytes) {
        return Ok(None);
    }
    let body = &rest[prefix..];
    let quote = [r#"""""#, "'''"].into_iter().find(|quote| body.starts_with(quote)).unwrap_or(&body[..1]);
    let unterminated = || (at, format!("Syntax error: token recognition error at: '{}'", rest.lines().next().unwrap_or("")));
    let (mut chars, mut out) = (body[quote.len()..].char_indices(), Vec::new());
    let invalid = || (at, "invalid escape sequence".to_owned());
    while let Some((offset, c)) = chars.next() {
        if body[quote.len() + offset..].starts_with(quote) {
            let length = prefix + quote.len() + offset + quote.len();
            let literal = if bytes { Literal::Bytes(out) } else { Literal::String(String::from_utf8(out).map_err(|_| invalid())?) };
            return Ok(Some((length, literal)));
        }
        if c == '\n' && quote.len() == 1 {
            return Err(unterminated());
        }
        if c != '\\' || raw {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let (_, escaped) = chars.next().ok_or_else(unterminated)?;
        let digits = match escaped {
            'x' | 'X' => 2,
            'u' => 4,
            'U' => 8,
            '0'..='3' => 2,
            _ => 0,
        };
        if digits == 0 {
            out.push(match escaped {
                'a' => 7,
                'b' => 8,
                'f' => 12,
                'n' => b'\n',
                'r' => b'\r',
                't' => b'\t',
                'v' => 11,
                '\\' | '\'' | '"' | '`' | '?' => u8::try_from(escaped).unwrap_or(b'?'),
                _ => return Err(invalid()),
            });
            continue;
        }
        let mut number = String::new();
        let radix = if escaped.is_ascii_digit() { 8 } else { 16 };
        if radix == 8 {
            number.push(escaped);
        }
        for _ in 0..digits {
            number.push(chars.next().ok_or_else(unterminated)?.1);
        }
        let value = u32::from_str_radix(&number, radix).map_err(|_| invalid())?;
        match (bytes, digits) {
            (true, 2) => out.push(u8::try_from(value).map_err(|_| invalid())?),
            _ => out.extend_from_slice(char::from_u32(value).ok_or_else(invalid)?.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Err(unterminated())
}
