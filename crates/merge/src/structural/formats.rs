//! The `format` of strings, as apiextensions-apiserver knows them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::Regex;

use super::Type;

const STRING_FORMATS: [&str; 27] = [
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "date-time",
    "k8s-short-name",
    "k8s-long-name",
];

/// The format if it is one that is checked for the type; others are ignored.
pub(super) fn supported(format: &str, ty: Option<Type>, int_or_string: bool) -> &str {
    let known = match ty {
        _ if int_or_string => false,
        None | Some(Type::String) => STRING_FORMATS.contains(&format) || STRING_FORMATS.contains(&format.replace('-', "").as_str()),
        Some(Type::Integer) => matches!(format, "int32" | "int64"),
        Some(Type::Number) => matches!(format, "float" | "double"),
        Some(_) => false,
    };
    if known { format } else { "" }
}

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("the pattern is part of the program and tested"));
    };
}

pattern!(
    HOSTNAME,
    r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$"
);
pattern!(UUID, r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$");
pattern!(UUID3, r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$");
pattern!(UUID4, r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$");
pattern!(UUID5, r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?5[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}$");
pattern!(
    CREDIT_CARD,
    r"^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})$"
);
pattern!(SSN, r"^\d{3}[- ]?\d{2}[- ]?\d{4}$");
pattern!(HEX_COLOR, r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$");
pattern!(
    RGB_COLOR,
    r"^rgb\(\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*\)$"
);
pattern!(BASE64, r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$");
pattern!(
    EMAIL,
    r#"^(?:[^<>\r\n]*<)?\s*(?:"[^"\r\n]+"|[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+)@(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+|\[[^\]]+\])\s*>?$"#
);
pattern!(OBJECT_ID, r"^[0-9a-fA-F]{24}$");
pattern!(SHORT_NAME, r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$");
pattern!(LONG_NAME, r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$");
pattern!(DATE, r"^\d{4}-\d{2}-\d{2}$");
pattern!(TIME, r"^([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))$");
pattern!(WORDED_DURATION, r"(?i)((\d+)\s*([a-zµ]+))");

/// Whether a text is of a format that [`supported`] gave.
pub(super) fn is(format: &str, text: &str) -> bool {
    match format.replace('-', "").as_str() {
        "bsonobjectid" => OBJECT_ID.is_match(text),
        "uri" => is_uri(text),
        "email" => EMAIL.is_match(text),
        "hostname" => HOSTNAME.is_match(text) && text.len() <= 255 && text.split('.').all(|part| part.len() <= 63),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "uuid" => UUID.is_match(text),
        "uuid3" => UUID3.is_match(text),
        "uuid4" => UUID4.is_match(text),
        "uuid5" => UUID5.is_match(text),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "creditcard" => is_credit_card(text),
        "ssn" => SSN.is_match(text),
        "hexcolor" => HEX_COLOR.is_match(text),
        "rgbcolor" => RGB_COLOR.is_match(text),
        "byte" => BASE64.is_match(text),
        "date" => is_date(text),
        "duration" => is_duration(text),
        "datetime" => is_date_time(text),
        "k8sshortname" => text.len() <= 63 && SHORT_NAME.is_match(text),
        "k8slongname" => text.len() <= 253 && LONG_NAME.is_match(text),
        _ => true,
    }
}

/// As Go's `url.ParseRequestURI`: absolute, or an absolute path.
fn is_uri(text: &str) -> bool {
    if text.is_empty() || text.chars().any(|char| char.is_control() || char == ' ') {
        return false;
    }
    if text.starts_with('/') || text == "*" {
        return true;
    }
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let mut letters = scheme.chars();
    let scheme_ok = letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|char| char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.'));
    let port_ok = rest.strip_prefix("//").is_none_or(|rest| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
        let host = authority.rsplit('@').next().unwrap_or("");
        let after = if host.starts_with('[') { host.rsplit(']').next().unwrap_or("") } else { host };
        after.split_once(':').is_none_or(|(_, port)| port.chars().all(|char| char.is_ascii_digit()))
    });
    scheme_ok && port_ok
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let max = if address.is_ipv4() { 32 } else { 128 };
    bits.bytes().all(|byte| byte.is_ascii_digit()) && bits.parse::<u32>().is_ok_and(|bits| bits <= max)
}

fn is_mac(text: &str) -> bool {
    let separator = if text.contains(':') {
        ':'
    } else if text.contains('-') {
        '-'
    } else {
        '.'
    };
    let (width, counts): (usize, &[usize]) = if separator == '.' { (4, &[3, 4, 10]) } else { (2, &[6, 8, 20]) };
    let parts: Vec<&str> = text.split(separator).collect();
    counts.contains(&parts.len()) && parts.iter().all(|part| part.len() == width && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn digits(text: &str) -> Vec<u32> {
    text.chars()
        .filter(|char| !matches!(char, '-' | ' '))
        .map(|char| char.to_digit(10).unwrap_or(if matches!(char, 'x' | 'X') { 10 } else { 99 }))
        .collect()
}

fn is_isbn10(text: &str) -> bool {
    let digits = digits(text);
    digits.len() == 10
        && digits[..9].iter().all(|digit| *digit < 10)
        && digits[9] <= 10
        && (1..=10).zip(&digits).map(|(weight, digit)| weight * digit).sum::<u32>() % 11 == 0
}

fn is_isbn13(text: &str) -> bool {
    let digits = digits(text);
    digits.len() == 13
        && digits.iter().all(|digit| *digit < 10)
        && [1, 3].iter().cycle().zip(&digits).map(|(weight, digit)| weight * digit).sum::<u32>() % 10 == 0
}

fn is_credit_card(text: &str) -> bool {
    let number: String = text.chars().filter(char::is_ascii_digit).collect();
    let sum: u32 = number
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, byte)| {
            let digit = u32::from(byte - b'0') * if at % 2 == 1 { 2 } else { 1 };
            if digit > 9 { digit - 9 } else { digit }
        })
        .sum();
    CREDIT_CARD.is_match(&number) && sum.is_multiple_of(10)
}

fn is_date(text: &str) -> bool {
    if !DATE.is_match(text) {
        return false;
    }
    let number = |range: std::ops::Range<usize>| text.get(range).and_then(|part| part.parse::<u32>().ok()).unwrap_or(0);
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    (1..=days).contains(&day)
}

fn is_date_time(text: &str) -> bool {
    let lower = text.to_lowercase();
    let Some((date, rest)) = lower.split_once('t') else { return false };
    let time = rest.split('t').next().unwrap_or("");
    is_date(date) && TIME.captures(time).is_some_and(|parts| &parts[1] <= "23" && &parts[2] <= "59" && &parts[3] <= "59")
}

fn is_duration(text: &str) -> bool {
    if is_go_duration(text) {
        return true;
    }
    const UNITS: [&str; 24] = [
        "ns",
        "nano",
        "nanos",
        "nanosecond",
        "us",
        "µs",
        "micro",
        "micros",
        "microsecond",
        "ms",
        "milli",
        "millis",
        "millisecond",
        "s",
        "sec",
        "secs",
        "second",
        "m",
        "min",
        "minute",
        "h",
        "hr",
        "hour",
        "d",
    ];
    WORDED_DURATION.captures_iter(text).any(|parts| {
        let unit = parts[3].to_lowercase();
        UNITS.contains(&unit.as_str())
            || ["nanosecond", "microsecond", "millisecond", "second", "minute", "hour", "day", "week", "w"]
                .iter()
                .any(|long| unit.starts_with(long))
    })
}

/// As Go's `time.ParseDuration`: `1h30m`, `-1.5s`, `0`.
pub fn is_go_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut any = false;
    while !rest.is_empty() {
        let number_len = rest.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_len);
        if number.is_empty() || number == "." || number.matches('.').count() > 1 {
            return false;
        }
        let unit_len = after.find(|char: char| char.is_ascii_digit() || char == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_len);
        if !matches!(unit, "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h") {
            return false;
        }
        any = true;
        rest = next;
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_take_what_go_takes() {
        for (format, good, bad) in [
            ("uri", "https://a.b/c?d=e", "a b"),
            ("email", "a@b.c", "a.b.c"),
            ("hostname", "a.example.com", "a_b.c"),
            ("ipv4", "1.2.3.4", "1.2.3"),
            ("ipv6", "::1", "1.2.3.4"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("mac", "00:00:5e:00:53:01", "00:00:5e"),
            ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "x"),
            ("uuid4", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-3ef8-bb6d-6bb9bd380a11"),
            ("isbn", "0321751043", "0321751044"),
            ("isbn13", "978-0321751041", "978-0321751042"),
            ("creditcard", "4111-1111-1111-1111", "4111-1111-1111-1112"),
            ("ssn", "111-22-3333", "1"),
            ("hexcolor", "#FFFFFF", "#GG"),
            ("rgbcolor", "rgb(255,255,25)", "rgb(256,1,1)"),
            ("byte", "aGVsbG8=", "a"),
            ("date", "2024-02-29", "2023-02-29"),
            ("duration", "1h30m", "x"),
            ("duration", "22 ns", "1y"),
            ("date-time", "2014-12-15T19:30:20.000Z", "2014-12-15 19:30:20"),
            ("k8s-short-name", "a-b", "A"),
            ("bsonobjectid", "507f1f77bcf86cd799439011", "x"),
        ] {
            assert!(is(format, good), "{format} {good}");
            assert!(!is(format, bad), "{format} {bad}");
        }
    }
}
