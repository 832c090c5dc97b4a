//! What an unquoted scalar stands for, as Go's two YAML packages decide it.

use crate::{Dialect, Tag};
use serde_json::Number;

/// A scalar read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Resolved {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Timestamp,
    Merge,
    Str,
}

impl Resolved {
    pub fn tag(self) -> Tag {
        match self {
            Self::Null => Tag::Null,
            Self::Bool(_) => Tag::Bool,
            Self::Int(_) | Self::UInt(_) => Tag::Int,
            Self::Float(_) => Tag::Float,
            Self::Timestamp => Tag::Timestamp,
            Self::Merge => Tag::Merge,
            Self::Str => Tag::Str,
        }
    }
}

pub(crate) fn tag_of(dialect: Dialect, text: &str) -> Tag {
    resolve(dialect, text).tag()
}

/// What an unquoted text would be read as.
pub fn plain_tag(dialect: Dialect, text: &str) -> Tag {
    tag_of(dialect, text)
}

/// Reads an untagged plain scalar.
///
/// Both packages accept octal `0777`, `0o7`, underscores, hexadecimal and binary; only yaml.v2 (sigs.k8s.io/yaml) takes `yes`, `no`, `on`,
/// `off`, `y` and `n` for booleans (go-yaml resolve.go of v2 and v3).
pub(crate) fn resolve(dialect: Dialect, text: &str) -> Resolved {
    let Some(&first) = text.as_bytes().first() else { return Resolved::Null };
    match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => word(dialect, text),
        b'.' => match text {
            ".nan" | ".NaN" | ".NAN" => Resolved::Float(f64::NAN),
            ".inf" | ".Inf" | ".INF" => Resolved::Float(f64::INFINITY),
            _ => go_float(text).map_or(Resolved::Str, Resolved::Float),
        },
        b'+' | b'-' | b'0'..=b'9' => number(text),
        b'<' if dialect == Dialect::Kyaml && text == "<<" => Resolved::Merge,
        _ => Resolved::Str,
    }
}

fn word(dialect: Dialect, text: &str) -> Resolved {
    match text {
        "true" | "True" | "TRUE" => Resolved::Bool(true),
        "false" | "False" | "FALSE" => Resolved::Bool(false),
        "~" | "null" | "Null" | "NULL" => Resolved::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" if dialect == Dialect::Sigs => Resolved::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" if dialect == Dialect::Sigs => Resolved::Bool(false),
        _ => Resolved::Str,
    }
}

fn number(text: &str) -> Resolved {
    match text {
        "+.inf" | "+.Inf" | "+.INF" => return Resolved::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Resolved::Float(f64::NEG_INFINITY),
        _ => {}
    }
    // The last character of every number is a digit of some base or a point; most strings that begin like a number are told apart by their middle.
    if text.bytes().any(|c| !(c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.' | b'_' | b':' | b' '))) {
        return Resolved::Str;
    }
    if timestamp(text).is_some() {
        return Resolved::Timestamp;
    }
    let joined;
    let plain = if text.contains('_') {
        joined = text.replace('_', "");
        joined.as_str()
    } else {
        text
    };
    if let Some(int) = go_int(plain) {
        return int;
    }
    if is_float(plain)
        && let Some(float) = go_float(plain)
    {
        return Resolved::Float(float);
    }
    Resolved::Str
}

/// Go's `strconv.ParseInt(text, 0, 64)`, then `ParseUint`.
fn go_int(text: &str) -> Option<Resolved> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || digits.starts_with(['+', '-']) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        if value <= i64::MIN.unsigned_abs() { Some(Resolved::Int((value as i64).wrapping_neg())) } else { None }
    } else if let Ok(value) = i64::try_from(value) {
        Some(Resolved::Int(value))
    } else if text.starts_with('+') {
        // ParseUint takes no sign.
        None
    } else {
        Some(Resolved::UInt(value))
    }
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`
fn is_float(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let whole = digits(text);
    let mut rest = &text[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let len = digits(fraction);
        if whole == 0 && len == 0 {
            return false;
        }
        rest = &fraction[len..];
    } else if whole == 0 {
        return false;
    }
    match rest.strip_prefix(['e', 'E']) {
        Some(exponent) => {
            let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        None => rest.is_empty(),
    }
}

/// Go's `strconv.ParseFloat` on decimal text: what overflows is no number.
fn go_float(text: &str) -> Option<f64> {
    if !is_float(text) {
        return None;
    }
    text.parse::<f64>().ok().filter(|float| float.is_finite())
}

/// `^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$`: numbers of YAML 1.1 that Go does not read, but quotes.
pub(crate) fn is_base60(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let mut parts = text.split(':');
    let first = parts.next().unwrap_or_default();
    if !first.bytes().all(|c| c.is_ascii_digit() || c == b'_') {
        return false;
    }
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else { return false };
    let sixty = |part: &str| match part.as_bytes() {
        [a] => a.is_ascii_digit(),
        [a, b] => (b'0'..=b'5').contains(a) && b.is_ascii_digit(),
        _ => false,
    };
    let (last, fraction) = last.split_once('.').unwrap_or((last, ""));
    middle.iter().all(|part| sixty(part)) && sixty(last) && fraction.bytes().all(|c| c.is_ascii_digit() || c == b'_')
}

/// A timestamp that Go reads, as RFC 3339.
pub(crate) fn timestamp(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || bytes[4] != b'-' || !bytes[..4].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut at = 5;
    let month = two_digits(bytes, &mut at)?;
    expect(bytes, &mut at, b'-')?;
    let day = two_digits(bytes, &mut at)?;
    let year: u32 = text[..4].parse().ok()?;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day == 0 || day > days {
        return None;
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    if at == bytes.len() {
        return Some(format!("{date}T00:00:00Z"));
    }
    let spaced = bytes[at] == b' ';
    if !spaced && !matches!(bytes[at], b'T' | b't') {
        return None;
    }
    at += 1;
    let hour = two_digits(bytes, &mut at)?;
    expect(bytes, &mut at, b':')?;
    let minute = two_digits(bytes, &mut at)?;
    expect(bytes, &mut at, b':')?;
    let second = two_digits(bytes, &mut at)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut fraction = "";
    if at < bytes.len() && matches!(bytes[at], b'.' | b',') && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
        let start = at + 1;
        at += 1;
        while at < bytes.len() && bytes[at].is_ascii_digit() {
            at += 1;
        }
        fraction = text[start..at.min(start + 9)].trim_end_matches('0');
    }
    let zone = &text[at..];
    let zone = if spaced {
        if !zone.is_empty() {
            return None;
        }
        "Z"
    } else if matches!(zone, "Z" | "+00:00" | "-00:00") {
        "Z"
    } else {
        match zone.as_bytes() {
            [b'+' | b'-', h1, h2, b':', m1, m2] if [h1, h2, m1, m2].iter().all(|c| c.is_ascii_digit()) => {
                if zone[1..3].parse::<u32>().ok()? > 24 || zone[4..6].parse::<u32>().ok()? >= 60 {
                    return None;
                }
                zone
            }
            _ => return None,
        }
    };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{date}T{hour:02}:{minute:02}:{second:02}{point}{fraction}{zone}"))
}

fn two_digits(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let first = bytes.get(*at).filter(|c| c.is_ascii_digit())?;
    *at += 1;
    let mut value = u32::from(first - b'0');
    if let Some(second) = bytes.get(*at).filter(|c| c.is_ascii_digit()) {
        *at += 1;
        value = value * 10 + u32::from(second - b'0');
    }
    Some(value)
}

fn expect(bytes: &[u8], at: &mut usize, byte: u8) -> Option<()> {
    (bytes.get(*at) == Some(&byte)).then(|| *at += 1)
}

/// Shortest digits of a positive finite number and the place of its point: `0.d1d2d3... * 10^point`.
fn digits(float: f64) -> (String, i32) {
    let text = format!("{float:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    (mantissa.chars().filter(char::is_ascii_digit).collect(), exponent + 1)
}

/// Go's `strconv.FormatFloat(float, 'g', -1, 64)`, with YAML's words for what is not finite.
pub fn format_float(float: f64) -> String {
    if float.is_nan() {
        return ".nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let (digits, point) = digits(float.abs());
    let sign = if float.is_sign_negative() { "-" } else { "" };
    let exponent = point - 1;
    // strconv decides with a precision of 6 when it prints the shortest digits.
    if float != 0.0 && !(-4..6).contains(&exponent) {
        return format!("{sign}{}", scientific(&digits, exponent));
    }
    format!("{sign}{}", decimal(&digits, point))
}

/// The same with `'g', -1, 32`.
pub(crate) fn format_float32(float: f32) -> String {
    if !float.is_finite() {
        return format_float(f64::from(float));
    }
    // The shortest digits of the 32-bit number, read as a longer one, print the same.
    format!("{float:e}").parse::<f64>().map_or_else(|_| float.to_string(), format_float)
}

/// `d.ddde-07`: at least two digits of exponent.
fn scientific(digits: &str, exponent: i32) -> String {
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}e{sign}{:02}", exponent.abs())
}

fn decimal(digits: &str, point: i32) -> String {
    if point <= 0 {
        format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize))
    } else if point as usize >= digits.len() {
        format!("{digits}{}", "0".repeat(point as usize - digits.len()))
    } else {
        format!("{}.{}", &digits[..point as usize], &digits[point as usize..])
    }
}

/// The JSON number that Go writes for a float and reads back: whole numbers come back as integers where they fit.
pub(crate) fn json_number(float: f64) -> Option<Number> {
    if !float.is_finite() {
        return None;
    }
    if float.fract() == 0.0 && float.abs() < 1e21 {
        let (digits, point) = digits(float.abs());
        let text = if float == 0.0 { "0".to_owned() } else { decimal(&digits, point) };
        if float < 0.0 {
            if let Ok(int) = format!("-{text}").parse::<i64>() {
                return Some(int.into());
            }
        } else if let Ok(int) = text.parse::<u64>() {
            return Some(int.into());
        }
    }
    Number::from_f64(float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_what_go_takes_them_for() {
        use Resolved::*;
        let table: &[(&str, Resolved)] = &[
            ("", Null),
            ("~", Null),
            ("nUll", Str),
            ("0644", Int(420)),
            ("0o644", Int(420)),
            ("09", Float(9.0)),
            ("1_000", Int(1000)),
            ("0x1F", Int(31)),
            ("-0b11", Int(-3)),
            ("0x", Str),
            ("1e3", Float(1000.0)),
            ("12e345", Str),
            ("1234567e8", Float(123456700000000.0)),
            ("18446744073709551615", UInt(u64::MAX)),
            ("18446744073709551616", Float(18446744073709552000.0)),
            ("-9223372036854775808", Int(i64::MIN)),
            ("1:30", Str),
            ("--", Str),
            ("-", Str),
            ("1.2.3", Str),
            ("5.", Float(5.0)),
            (".", Str),
            ("2001-12-14", Timestamp),
            ("2001-13-14", Str),
        ];
        for (text, expected) in table {
            assert_eq!(resolve(Dialect::Kyaml, text), *expected, "{text}");
            assert_eq!(resolve(Dialect::Sigs, text), *expected, "{text}");
        }
        assert_eq!((resolve(Dialect::Sigs, "yes"), resolve(Dialect::Kyaml, "yes")), (Bool(true), Str));
        assert_eq!((resolve(Dialect::Sigs, "<<"), resolve(Dialect::Kyaml, "<<")), (Str, Merge));
    }

    #[test]
    fn floats_print_as_go_prints_them() {
        for (float, text) in [
            (1234567.5, "1.2345675e+06"),
            (0.1, "0.1"),
            (1e20, "1e+20"),
            (1.5e-7, "1.5e-07"),
            (18446744073709551616.0, "1.8446744073709552e+19"),
            (123456.5, "123456.5"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (f64::INFINITY, ".inf"),
        ] {
            assert_eq!(format_float(float), text);
        }
    }

    #[test]
    fn timestamps_become_rfc_3339() {
        for (text, expected) in [
            ("2001-12-14", Some("2001-12-14T00:00:00Z")),
            ("2001-1-2", Some("2001-01-02T00:00:00Z")),
            ("2001-12-14t21:59:43.10-05:00", Some("2001-12-14T21:59:43.1-05:00")),
            ("2001-12-14 21:59:43.10", Some("2001-12-14T21:59:43.1Z")),
            ("2001-12-14 21:59:43.10 -5", None),
            ("2023-02-29", None),
            ("2001-12-14T21:59:43", None),
        ] {
            assert_eq!(timestamp(text).as_deref(), expected, "{text}");
        }
    }
}
