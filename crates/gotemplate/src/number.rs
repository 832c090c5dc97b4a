//! Go's `strconv`: how numbers and quoted strings are written and read.

use std::fmt::Write;

/// The decimal digits and the exponent of a finite float: `0.d1d2d3… * 10^point`, shortest form that reads back the same.
fn shortest(value: f64) -> (String, i32) {
    split_scientific(&format!("{:e}", value.abs()))
}

fn split_scientific(text: &str) -> (String, i32) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    (digits, exponent.parse::<i32>().unwrap_or(0) + 1)
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

fn sign(value: f64) -> &'static str {
    if value.is_sign_negative() { "-" } else { "" }
}

fn exponent_form(out: &mut String, digits: &str, point: i32, letter: char) {
    let (first, rest) = digits.split_at(1);
    out.push_str(first);
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    let exponent = if digits.bytes().all(|d| d == b'0') { 0 } else { point - 1 };
    let _ = write!(out, "{letter}{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
}

fn plain_form(out: &mut String, digits: &str, point: i32) {
    if point <= 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', point.unsigned_abs() as usize));
        out.push_str(digits);
        return;
    }
    let point = point as usize;
    if digits.len() <= point {
        out.push_str(digits);
        out.extend(std::iter::repeat_n('0', point - digits.len()));
    } else {
        out.push_str(&digits[..point]);
        out.push('.');
        out.push_str(&digits[point..]);
    }
}

/// `%v` of a float64: the shortest form, with an exponent below 1e-04 and from 1e+06.
pub fn float(value: f64) -> String {
    general(value, None, 'e')
}

/// `%g`, with a precision or in the shortest form.
pub fn general(value: f64, precision: Option<usize>, letter: char) -> String {
    // Small whole numbers, as most numbers of values are.
    if precision.is_none() && value.fract() == 0.0 && value.abs() < 1e6 && value != 0.0 {
        return (value as i64).to_string();
    }
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let mut out = sign(value).to_owned();
    if value == 0.0 {
        out.push('0');
        return out;
    }
    let (digits, point, threshold) = match precision {
        None => {
            let (digits, point) = shortest(value);
            (digits, point, 6)
        }
        Some(precision) => {
            let precision = precision.max(1);
            let (digits, point) = split_scientific(&format!("{:.*e}", precision - 1, value.abs()));
            let trimmed = digits.trim_end_matches('0').to_owned();
            let threshold = if precision > trimmed.len() && trimmed.len() as i32 >= point { trimmed.len() } else { precision };
            (trimmed, point, threshold as i32)
        }
    };
    let exponent = point - 1;
    if exponent < -4 || exponent >= threshold {
        exponent_form(&mut out, &digits, point, letter);
    } else {
        plain_form(&mut out, &digits, point);
    }
    out
}

/// `%e`, with a precision or in the shortest form.
pub fn scientific(value: f64, precision: Option<usize>, letter: char) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let mut out = sign(value).to_owned();
    let (digits, point) = match precision {
        None => shortest(value),
        Some(precision) => split_scientific(&format!("{:.*e}", precision, value.abs())),
    };
    exponent_form(&mut out, &digits, point, letter);
    out
}

/// `%f`, with a precision or with as many digits as it takes.
pub fn fixed(value: f64, precision: Option<usize>) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    match precision {
        Some(precision) => format!("{value:.precision$}"),
        None => {
            let mut out = sign(value).to_owned();
            if value == 0.0 {
                out.push('0');
            } else {
                let (digits, point) = shortest(value);
                plain_form(&mut out, &digits, point);
            }
            out
        }
    }
}

/// `%x` of a float: hexadecimal with a binary exponent.
pub fn hexadecimal(value: f64, precision: Option<usize>, upper: bool) -> String {
    if let Some(text) = special(value) {
        return text.to_owned();
    }
    let mut out = sign(value).to_owned();
    out.push_str("0x");
    let bits = value.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i32;
    let mut mantissa = bits & ((1 << 52) - 1);
    if exponent == 0 && mantissa == 0 {
        out.push('0');
        if let Some(precision) = precision.filter(|p| *p > 0) {
            out.push('.');
            out.extend(std::iter::repeat_n('0', precision));
        }
        out.push_str("p+00");
    } else {
        if exponent == 0 {
            exponent = 1;
        } else {
            mantissa |= 1 << 52;
        }
        exponent -= 1023;
        // Normalise to 1.xxx with 60 bits after the point.
        let mut wide = u128::from(mantissa) << 8;
        while wide & (1 << 60) == 0 {
            wide <<= 1;
            exponent -= 1;
        }
        if let Some(precision) = precision.filter(|p| *p < 15) {
            let shift = 60 - precision as u32 * 4;
            let extra = wide & ((1 << shift) - 1);
            let half = 1u128 << (shift.max(1) - 1);
            wide >>= shift;
            if shift > 0 && (extra > half || extra == half && wide & 1 == 1) {
                wide += 1;
            }
            wide <<= shift;
            if wide >= 1 << 61 {
                wide >>= 1;
                exponent += 1;
            }
        }
        let _ = write!(out, "{:x}", wide >> 60);
        let fraction = format!("{:015x}", wide & ((1 << 60) - 1));
        let fraction = match precision {
            Some(precision) if precision <= 15 => &fraction[..precision],
            Some(_) => fraction.as_str(),
            None => fraction.trim_end_matches('0'),
        };
        if !fraction.is_empty() {
            out.push('.');
            out.push_str(fraction);
            if let Some(more) = precision.and_then(|p| p.checked_sub(15)) {
                out.extend(std::iter::repeat_n('0', more));
            }
        }
        let _ = write!(out, "p{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    if upper { out.to_uppercase() } else { out }
}

/// A float as `encoding/json` writes it: plain up to 1e21.
pub fn json_float(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = scientific(value, None, 'e');
        // Go cleans e-09 to e-9.
        if let Some(at) = text.len().checked_sub(4).filter(|at| text[*at..].starts_with("e-0")) {
            return format!("{}e-{}", &text[..at], &text[at + 3..]);
        }
        return text;
    }
    fixed(value, None)
}

/// `strconv.Quote`: a Go string literal.
pub fn quote(bytes: &[u8]) -> String {
    quote_with(bytes, '"', false)
}

/// `strconv.QuoteToASCII`.
pub fn quote_ascii(bytes: &[u8]) -> String {
    quote_with(bytes, '"', true)
}

pub(crate) fn quote_with(bytes: &[u8], mark: char, ascii: bool) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push(mark);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            quote_char(&mut out, c, mark, ascii);
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push(mark);
    out
}

fn quote_char(out: &mut String, c: char, mark: char, ascii: bool) {
    match c {
        c if c == mark || c == '\\' => {
            out.push('\\');
            out.push(c);
        }
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        ' '..='~' => out.push(c),
        c if (c as u32) < 0x20 || c == '\x7f' => {
            let _ = write!(out, "\\x{:02x}", c as u32);
        }
        c if !ascii && is_print(c) => out.push(c),
        c if (c as u32) < 0x10000 => {
            let _ = write!(out, "\\u{:04x}", c as u32);
        }
        c => {
            let _ = write!(out, "\\U{:08x}", c as u32);
        }
    }
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the plain space.
pub fn is_print(c: char) -> bool {
    if c == ' ' {
        return true;
    }
    if c.is_control() || c.is_whitespace() {
        return false;
    }
    // Rust's Debug escapes what is not printable: unassigned, private, format and separator characters (and grapheme extenders, which Go prints).
    let escaped = c.escape_debug().next() == Some('\\') && !matches!(c, '\\' | '\'' | '"');
    !escaped || is_mark(c)
}

/// Combining marks, which Rust's Debug escapes and Go prints.
fn is_mark(c: char) -> bool {
    thread_local! {
        static MARK: Option<regex::Regex> = regex::Regex::new(r"^\p{M}$").ok();
    }
    let mut buffer = [0; 4];
    let text = c.encode_utf8(&mut buffer);
    MARK.with(|mark| mark.as_ref().is_some_and(|mark| mark.is_match(text)))
}

/// `strconv.Unquote` of a Go string or raw string literal; `None` where the syntax is wrong.
pub fn unquote(literal: &str) -> Option<Vec<u8>> {
    if literal.len() < 2 {
        return None;
    }
    let inner = &literal[1..literal.len() - 1];
    match literal.as_bytes()[0] {
        b'`' => Some(inner.bytes().filter(|b| *b != b'\r').collect()),
        mark @ b'"' => {
            let mut out = Vec::with_capacity(inner.len());
            let mut rest = inner;
            while let Some(c) = rest.chars().next() {
                if c == '\n' {
                    return None;
                }
                let (bytes, tail) = unescape(rest, mark)?;
                match bytes {
                    Unescaped::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                    Unescaped::Byte(b) => out.push(b),
                }
                rest = tail;
            }
            Some(out)
        }
        _ => None,
    }
}

enum Unescaped {
    Char(char),
    Byte(u8),
}

fn unescape(text: &str, mark: u8) -> Option<(Unescaped, &str)> {
    let mut chars = text.chars();
    let c = chars.next()?;
    if c != '\\' {
        if c as u32 == u32::from(mark) {
            return None;
        }
        return Some((Unescaped::Char(c), chars.as_str()));
    }
    let c = chars.next()?;
    let rest = chars.as_str();
    let plain = |c| Some((Unescaped::Char(c), rest));
    match c {
        'a' => plain('\x07'),
        'b' => plain('\x08'),
        'f' => plain('\x0c'),
        'n' => plain('\n'),
        'r' => plain('\r'),
        't' => plain('\t'),
        'v' => plain('\x0b'),
        '\\' => plain('\\'),
        '\'' | '"' if c as u32 == u32::from(mark) => plain(c),
        'x' => {
            let byte = u8::from_str_radix(digits(rest, 2, 16)?, 16).ok()?;
            Some((Unescaped::Byte(byte), &rest[2..]))
        }
        'u' | 'U' => {
            let n = if c == 'u' { 4 } else { 8 };
            let code = u32::from_str_radix(digits(rest, n, 16)?, 16).ok()?;
            Some((Unescaped::Char(char::from_u32(code)?), &rest[n..]))
        }
        '0'..='7' => {
            let octal = &text[1..];
            let byte = u16::from_str_radix(digits(octal, 3, 8)?, 8).ok()?;
            Some((Unescaped::Byte(u8::try_from(byte).ok()?), &octal[3..]))
        }
        _ => None,
    }
}

fn digits(text: &str, n: usize, radix: u32) -> Option<&str> {
    let part = text.get(..n)?;
    part.chars().all(|c| c.is_digit(radix)).then_some(part)
}

/// A character constant such as `'a'` or `'\n'`.
pub fn unquote_char(literal: &str) -> Option<i64> {
    let inner = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    if inner.is_empty() {
        return None;
    }
    match unescape(inner, b'\'')? {
        (Unescaped::Char(c), "") => Some(i64::from(c as u32)),
        (Unescaped::Byte(b), "") => Some(i64::from(b)),
        _ => None,
    }
}

/// `strconv.ParseInt(text, 0, 64)`: a sign, a base prefix (`0x`, `0o`, `0b`, `0`), underscores between digits.
pub fn parse_int(text: &str) -> Option<i64> {
    let (negative, magnitude) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = i128::from(parse_uint(magnitude)?);
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// `strconv.ParseUint(text, 0, 64)`.
pub fn parse_uint(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (radix, body, prefixed) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..], true),
        [b'0', b'o', ..] => (8, &lower[2..], true),
        [b'0', b'b', ..] => (2, &lower[2..], true),
        [b'0', _, ..] => (8, &lower[1..], true),
        _ => (10, lower.as_str(), false),
    };
    if !underscores_ok(body, prefixed) {
        return None;
    }
    let body = body.replace('_', "");
    if body.is_empty() || !body.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    u64::from_str_radix(&body, radix).ok()
}

/// Underscores may only stand between digits, or between a base prefix and a digit.
fn underscores_ok(body: &str, prefixed: bool) -> bool {
    if !body.contains('_') {
        return true;
    }
    !(body.ends_with('_') || body.contains("__") || body.starts_with('_') && !prefixed)
}

/// `strconv.ParseFloat`, hexadecimal floats and `Inf`/`NaN` included; `None` where the syntax is wrong or it is out of range.
pub fn parse_float(text: &str) -> Option<f64> {
    let (sign, body) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    let lower = body.to_ascii_lowercase();
    if matches!(lower.as_str(), "inf" | "infinity") {
        return Some(sign * f64::INFINITY);
    }
    if lower == "nan" {
        return Some(f64::NAN);
    }
    if let Some(hex) = lower.strip_prefix("0x") {
        return parse_hex_float(hex).map(|value| sign * value);
    }
    if !lower.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let value: f64 = lower.parse().ok()?;
    value.is_finite().then_some(sign * value)
}

fn parse_hex_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let mut exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() || whole.len() + fraction.len() > 15 {
        return None;
    }
    exponent = exponent.checked_sub(4 * fraction.len() as i32)?;
    let digits = u64::from_str_radix(&format!("{whole}{fraction}"), 16).ok()?;
    let value = digits as f64 * 2f64.powi(exponent);
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_go_prints_them() {
        let cases = [
            (3.0, "3"),
            (100000.0, "100000"),
            (1234567.0, "1.234567e+06"),
            (1e6, "1e+06"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (3.14, "3.14"),
            (-0.5, "-0.5"),
            (12345678901234568.0, "1.2345678901234568e+16"),
            (f64::INFINITY, "+Inf"),
        ];
        for (value, text) in cases {
            assert_eq!(float(value), text);
        }
        assert_eq!((fixed(3.14159, Some(2)).as_str(), scientific(1234.5, Some(3), 'e').as_str()), ("3.14", "1.234e+03"));
        assert_eq!((general(1234.5678, Some(3), 'e').as_str(), general(0.5, Some(3), 'e').as_str()), ("1.23e+03", "0.5"));
        assert_eq!((hexadecimal(3.14, None, false).as_str(), hexadecimal(1.0, None, false).as_str()), ("0x1.91eb851eb851fp+01", "0x1p+00"));
        assert_eq!(
            (json_float(1e20).as_str(), json_float(1.5e21).as_str(), json_float(1e-7).as_str()),
            ("100000000000000000000", "1.5e+21", "1e-7")
        );
    }

    #[test]
    fn integers_read_as_go_reads_them() {
        let cases = [
            ("0x1f", Some(31)),
            ("017", Some(15)),
            ("0b11", Some(3)),
            ("1_000", Some(1000)),
            ("-7", Some(-7)),
            ("08", None),
            ("", None),
            ("_1", None),
        ];
        for (text, value) in cases {
            assert_eq!(parse_int(text), value, "{text:?}");
        }
    }

    #[test]
    fn quoting_round_trips() {
        assert_eq!(quote("a\t\"é☃\u{200b}\x01".as_bytes()), r#""a\t\"é☃\u200b\x01""#);
        assert_eq!(quote(&[0xff, b'a']), r#""\xffa""#);
        assert_eq!(unquote(r#""a\t\"\x41é""#).unwrap(), "a\t\"Aé".as_bytes());
        assert_eq!(unquote("`a\\n`").unwrap(), b"a\\n");
        assert_eq!(
            (unquote(r#""\q""#), unquote_char("'a'"), unquote_char(r"'\n'"), unquote_char("'ab'")),
            (None, Some(97), Some(10), None)
        );
    }
}
