use crate::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr, time::Duration};

/// A length of time in Go's text form: `1h30m`, `1.5s`, `250ms`.
///
/// Reads what Go's `time.ParseDuration` reads and prints what its `String` prints
/// (`90s` prints as `1m30s`). Negative lengths are kept, since Go keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GoDuration {
    nanos: i64,
}

impl GoDuration {
    pub const ZERO: Self = Self { nanos: 0 };

    pub const fn from_nanos(nanos: i64) -> Self {
        Self { nanos }
    }

    pub const fn from_secs(secs: i64) -> Self {
        Self { nanos: secs * 1_000_000_000 }
    }

    pub const fn as_nanos(self) -> i64 {
        self.nanos
    }

    /// Negative lengths become zero.
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanos).unwrap_or(0))
    }

    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |why| Error::Duration(text.to_owned(), why);
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self::ZERO);
        }
        if rest.is_empty() {
            return Err(bad("it is empty"));
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let whole: i128 = if digits == 0 { 0 } else { rest[..digits].parse().map_err(|_| bad("a number is too large"))? };
            let mut tail = &rest[digits..];
            let (mut fraction, mut scale): (i128, i128) = (0, 1);
            let mut fraction_digits = 0;
            if let Some(after) = tail.strip_prefix('.') {
                fraction_digits = after.bytes().take_while(u8::is_ascii_digit).count();
                for digit in after[..fraction_digits].bytes().take(18) {
                    fraction = fraction * 10 + i128::from(digit - b'0');
                    scale *= 10;
                }
                tail = &after[fraction_digits..];
            }
            if digits + fraction_digits == 0 {
                return Err(bad("a number is missing"));
            }
            let unit_len = tail.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(tail.len());
            let unit: i128 = match &tail[..unit_len] {
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                "" => return Err(bad("a unit is missing; use ns, us, ms, s, m or h")),
                _ => return Err(bad("a unit is unknown; use ns, us, ms, s, m or h")),
            };
            total = whole
                .checked_mul(unit)
                .and_then(|n| n.checked_add(fraction * unit / scale))
                .and_then(|n| n.checked_add(total))
                .filter(|n| *n <= i128::from(i64::MAX))
                .ok_or_else(|| bad("it is too long"))?;
            rest = &tail[unit_len..];
        }
        let nanos = i64::try_from(total).map_err(|_| bad("it is too long"))?;
        Ok(Self { nanos: if negative { -nanos } else { nanos } })
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.nanos.unsigned_abs();
        if self.nanos < 0 {
            out.write_str("-")?;
        }
        if nanos == 0 {
            return out.write_str("0s");
        }
        if nanos < 1_000_000_000 {
            let (unit, name) = match nanos {
                0..1_000 => return write!(out, "{nanos}ns"),
                1_000..1_000_000 => (1_000, "µs"),
                _ => (1_000_000, "ms"),
            };
            return write!(out, "{}{name}", decimal(nanos, unit));
        }
        let (hours, minutes) = (nanos / 3_600_000_000_000, nanos / 60_000_000_000 % 60);
        if hours > 0 {
            write!(out, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(out, "{minutes}m")?;
        }
        write!(out, "{}s", decimal(nanos % 60_000_000_000, 1_000_000_000))
    }
}

/// `nanos / unit` without trailing zeros.
fn decimal(nanos: u64, unit: u64) -> String {
    let (whole, fraction) = (nanos / unit, nanos % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{fraction:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

impl FromStr for GoDuration {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl From<Duration> for GoDuration {
    fn from(duration: Duration) -> Self {
        Self { nanos: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX) }
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_go_prints() {
        let cases = [
            ("0", "0s"),
            ("90s", "1m30s"),
            ("1h", "1h0m0s"),
            ("1.5s", "1.5s"),
            ("1500ms", "1.5s"),
            ("250ms", "250ms"),
            ("1.5ms", "1.5ms"),
            ("2us", "2µs"),
            ("3ns", "3ns"),
            ("-1m", "-1m0s"),
            ("100h0m1s", "100h0m1s"),
            (".5s", "500ms"),
            ("1h1ns", "1h0m0.000000001s"),
        ];
        for (text, printed) in cases {
            assert_eq!(GoDuration::parse(text).unwrap().to_string(), printed, "{text}");
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for bad in ["", "-", "1", "s", "1x", ".s", "1h-1m", "9999999999h", "1 s"] {
            assert!(GoDuration::parse(bad).is_err(), "{bad:?}");
        }
    }
}
