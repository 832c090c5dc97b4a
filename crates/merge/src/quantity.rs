//! Quantities (`100m`, `1.5Gi`, `1e3`) as apimachinery reads, compares and writes them.

use std::fmt;

/// An amount in billionths, with the notation that it is written in.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nano: i128,
    notation: Notation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notation {
    Decimal,
    Binary,
    Exponent,
}

/// The text that a wrong quantity is refused with.
pub const FORMAT_ERROR: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

const NANO: i128 = 1_000_000_000;
/// Larger amounts are cut to this, as they are there.
const NANO_MAX: i128 = (i64::MAX as i128) * NANO;

const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

impl Quantity {
    pub const ZERO: Self = Self::whole(0);
    pub const ONE: Self = Self::whole(1);

    pub const fn whole(number: i64) -> Self {
        Self { nano: number as i128 * NANO, notation: Notation::Decimal }
    }

    /// A quantity in an object.
    pub fn of(value: &serde_json::Value) -> Option<Self> {
        value.as_str().and_then(Self::parse)
    }

    /// The sum, in the notation of the first that is not nothing.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let notation = if self.is_zero() { other.notation } else { self.notation };
        Self { nano: self.nano.saturating_add(other.nano).min(NANO_MAX), notation }
    }

    /// The difference, or nothing when it would be less.
    #[must_use]
    pub fn minus_or_zero(self, other: Self) -> Self {
        Self { nano: (self.nano - other.nano).max(0), notation: self.notation }
    }

    /// Reads a quantity; none when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
            return None;
        }
        let (notation, scale) = scale_of(suffix)?;
        let nano = scaled(whole, fraction, scale);
        Some(Self { nano: if negative { -nano } else { nano }, notation })
    }

    /// How many times another amount goes into this one.
    pub fn over(self, other: Self) -> f64 {
        self.nano as f64 / other.nano as f64
    }

    pub fn is_negative(&self) -> bool {
        self.nano < 0
    }

    pub fn is_zero(&self) -> bool {
        self.nano == 0
    }

    pub fn is_whole(&self) -> bool {
        self.nano % NANO == 0
    }
}

/// Two amounts are the same whatever they are written in.
impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.nano.cmp(&other.nano))
    }
}

enum Scale {
    Ten(i32),
    Two(u32),
}

fn scale_of(suffix: &str) -> Option<(Notation, Scale)> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
        return Some((Notation::Decimal, Scale::Ten(*exponent)));
    }
    if let Some((_, bits)) = BINARY.iter().find(|(known, _)| *known == suffix) {
        return Some((Notation::Binary, Scale::Two(*bits)));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    exponent.parse::<i32>().ok().map(|exponent| (Notation::Exponent, Scale::Ten(exponent)))
}

/// The amount in billionths, rounded up.
fn scaled(whole: &str, fraction: &str, scale: Scale) -> i128 {
    let digits: String = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    let Some(mantissa) =
        (if digits.is_empty() { Some(0) } else { digits.get(..digits.len().min(36)).and_then(|digits| digits.parse::<i128>().ok()) })
    else {
        return NANO_MAX;
    };
    let dropped = digits.len().saturating_sub(36) as i32;
    let (power, factor) = match scale {
        Scale::Ten(exponent) => (exponent, 1i128),
        Scale::Two(bits) => (0, 1i128 << bits),
    };
    let exponent = power.saturating_add(9).saturating_sub(fraction.len() as i32).saturating_add(dropped);
    let Some(mantissa) = mantissa.checked_mul(factor) else { return NANO_MAX };
    if mantissa == 0 {
        return 0;
    }
    if exponent >= 0 {
        let grown = 10i128.checked_pow(exponent.unsigned_abs()).and_then(|power| mantissa.checked_mul(power));
        return grown.map_or(NANO_MAX, |nano| nano.min(NANO_MAX));
    }
    match 10i128.checked_pow(exponent.unsigned_abs()) {
        Some(power) => (mantissa / power + i128::from(mantissa % power != 0)).min(NANO_MAX),
        None => 1,
    }
}

/// The canonical form.
impl fmt::Display for Quantity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.nano / NANO;
        let binary = self.notation == Notation::Binary && self.nano % NANO == 0 && whole.abs() >= 1024;
        if binary {
            let (mut mantissa, mut suffix) = (whole, "");
            for (name, _) in BINARY {
                if mantissa % 1024 != 0 {
                    break;
                }
                (mantissa, suffix) = (mantissa / 1024, name);
            }
            return write!(out, "{mantissa}{suffix}");
        }
        let (mut mantissa, mut exponent) = (self.nano, -9);
        while mantissa != 0 && exponent < 18 && mantissa % 1000 == 0 {
            (mantissa, exponent) = (mantissa / 1000, exponent + 3);
        }
        if mantissa == 0 {
            return out.write_str("0");
        }
        if self.notation == Notation::Exponent {
            return if exponent == 0 { write!(out, "{mantissa}") } else { write!(out, "{mantissa}e{exponent}") };
        }
        let suffix = DECIMAL.iter().find(|(_, known)| *known == exponent).map_or("", |(suffix, _)| suffix);
        write!(out, "{mantissa}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_in_their_canonical_form() {
        for (text, canonical) in [
            ("1", "1"),
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("512", "512"),
            ("1000", "1k"),
            ("1e3", "1e3"),
            ("1500", "1500"),
            ("0.5Gi", "512Mi"),
            ("-1.5", "-1500m"),
            ("+2k", "2k"),
            ("0", "0"),
            ("0Gi", "0"),
            ("1.1Ki", "1126400m"),
            ("0.0000000001", "1n"),
            ("100000000000000000000000000000000000000000000", "9223372036854775807"),
            ("1E", "1E"),
            ("12e-3", "12e-3"),
            ("100Ki", "100Ki"),
            (".5", "500m"),
            ("5.", "5"),
        ] {
            assert_eq!(Quantity::parse(text).unwrap().to_string(), canonical, "{text}");
        }
        for bad in ["", "x", "1x", "1.2.3", "1 Gi", "Gi", "--1", "1ki", "é", "1e", "."] {
            assert_eq!(Quantity::parse(bad), None, "{bad}");
        }
        assert!(Quantity::parse("1Gi") > Quantity::parse("1G"));
    }

    #[test]
    fn sums_keep_the_notation_of_what_there_is() {
        let sum = |a: &str, b: &str| Quantity::parse(a).unwrap().plus(Quantity::parse(b).unwrap()).to_string();
        assert_eq!(
            (sum("0", "512Mi"), sum("512Mi", "512Mi"), sum("1", "500m")),
            ("512Mi".to_owned(), "1Gi".to_owned(), "1500m".to_owned())
        );
        assert!(Quantity::ONE.minus_or_zero(Quantity::whole(2)).is_zero());
    }
}
