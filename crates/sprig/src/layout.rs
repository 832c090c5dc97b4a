//! Go's reference layout: `Mon Jan 2 15:04:05 2006 -0700`, formatted and parsed.

use gotemplate::number::quote;
use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::{Offset, TimeZone},
};
use std::fmt::Write;

pub(crate) const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
pub(crate) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// An instant seen from a place.
pub(crate) struct Moment {
    pub at: Timestamp,
    pub zone: TimeZone,
}

impl Moment {
    pub fn civil(&self) -> DateTime {
        self.zone.to_datetime(self.at)
    }

    fn offset_seconds(&self) -> i32 {
        self.zone.to_offset(self.at).seconds()
    }

    fn abbreviation(&self) -> String {
        if self.zone == TimeZone::UTC {
            return "UTC".to_owned();
        }
        self.zone.to_offset_info(self.at).abbreviation().to_owned()
    }

    /// Go's `AddDate`: overflowing months and days roll over.
    pub fn add_date(&self, years: i64, months: i64, days: i64) -> Option<Timestamp> {
        let civil = self.civil();
        let month0 = i64::from(civil.month()) - 1 + months.clamp(-200_000, 200_000);
        let year = i64::from(civil.year()) + years.clamp(-20_000, 20_000) + month0.div_euclid(12);
        let first = Date::new(i16::try_from(year).ok()?, month0.rem_euclid(12) as i8 + 1, 1).ok()?;
        let span = jiff::Span::new().try_days(i64::from(civil.day()) - 1 + days.clamp(-4_000_000, 4_000_000)).ok()?;
        let date = first.checked_add(span).ok()?;
        self.zone.to_timestamp(DateTime::from_parts(date, civil.time())).ok()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Piece {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    Pm,
    LowerPm,
    Zone,
    /// `-0700` and its kin.
    Offset {
        iso: bool,
        colon: bool,
        minutes: bool,
        seconds: bool,
    },
    /// `.000` keeps its digits, `.999` drops zeros.
    Fraction {
        digits: usize,
        trims: bool,
    },
}

/// The first piece of a layout: what stands before it, the piece, what follows.
fn next_piece(layout: &str) -> Option<(&str, Piece, &str)> {
    let bytes = layout.as_bytes();
    for at in 0..bytes.len() {
        let rest = &bytes[at..];
        let found = match rest[0] {
            b'J' if rest.starts_with(b"January") => Some((Piece::LongMonth, 7)),
            b'J' if rest.starts_with(b"Jan") && !starts_lower(&rest[3..]) => Some((Piece::Month, 3)),
            b'M' if rest.starts_with(b"Monday") => Some((Piece::LongWeekday, 6)),
            b'M' if rest.starts_with(b"Mon") && !starts_lower(&rest[3..]) => Some((Piece::Weekday, 3)),
            b'M' if rest.starts_with(b"MST") => Some((Piece::Zone, 3)),
            b'0' if rest.len() >= 2 && (b'1'..=b'6').contains(&rest[1]) => Some((
                [Piece::ZeroMonth, Piece::ZeroDay, Piece::ZeroHour12, Piece::ZeroMinute, Piece::ZeroSecond, Piece::Year]
                    [(rest[1] - b'1') as usize],
                2,
            )),
            b'0' if rest.starts_with(b"002") => Some((Piece::ZeroYearDay, 3)),
            b'1' if rest.starts_with(b"15") => Some((Piece::Hour, 2)),
            b'1' => Some((Piece::NumMonth, 1)),
            b'2' if rest.starts_with(b"2006") => Some((Piece::LongYear, 4)),
            b'2' => Some((Piece::Day, 1)),
            b'_' if rest.starts_with(b"_2006") => {
                return Some((&layout[..at + 1], Piece::LongYear, &layout[at + 5..]));
            }
            b'_' if rest.starts_with(b"__2") => Some((Piece::UnderYearDay, 3)),
            b'_' if rest.starts_with(b"_2") => Some((Piece::UnderDay, 2)),
            b'3' => Some((Piece::Hour12, 1)),
            b'4' => Some((Piece::Minute, 1)),
            b'5' => Some((Piece::Second, 1)),
            b'P' if rest.starts_with(b"PM") => Some((Piece::Pm, 2)),
            b'p' if rest.starts_with(b"pm") => Some((Piece::LowerPm, 2)),
            first @ (b'-' | b'Z') => {
                let iso = first == b'Z';
                let body = &rest[1..];
                let offset = |colon, minutes, seconds| Piece::Offset { iso, colon, minutes, seconds };
                if body.starts_with(b"070000") {
                    Some((offset(false, true, true), 7))
                } else if body.starts_with(b"07:00:00") {
                    Some((offset(true, true, true), 9))
                } else if body.starts_with(b"0700") {
                    Some((offset(false, true, false), 5))
                } else if body.starts_with(b"07:00") {
                    Some((offset(true, true, false), 6))
                } else if body.starts_with(b"07") {
                    Some((offset(false, false, false), 3))
                } else {
                    None
                }
            }
            b'.' | b',' if rest.len() >= 2 && matches!(rest[1], b'0' | b'9') => {
                let count = rest[1..].iter().take_while(|b| **b == rest[1]).count();
                let ends = !rest.get(1 + count).is_some_and(u8::is_ascii_digit);
                ends.then_some((Piece::Fraction { digits: count, trims: rest[1] == b'9' }, 1 + count))
            }
            _ => None,
        };
        if let Some((piece, size)) = found {
            return Some((&layout[..at], piece, &layout[at + size..]));
        }
    }
    None
}

fn starts_lower(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_lowercase)
}

pub(crate) fn format(moment: &Moment, layout: &str) -> String {
    let civil = moment.civil();
    let mut out = String::new();
    let mut rest = layout;
    while let Some((before, piece, after)) = next_piece(rest) {
        out.push_str(before);
        let hour12 = if civil.hour() % 12 == 0 { 12 } else { civil.hour() % 12 };
        let (year, day_of_year) = (civil.year(), civil.date().day_of_year());
        let weekday = DAYS[civil.weekday().to_sunday_zero_offset() as usize];
        let month = MONTHS[(civil.month() - 1) as usize];
        let _ = match piece {
            Piece::LongMonth => out.write_str(month),
            Piece::Month => out.write_str(&month[..3]),
            Piece::NumMonth => write!(out, "{}", civil.month()),
            Piece::ZeroMonth => write!(out, "{:02}", civil.month()),
            Piece::LongWeekday => out.write_str(weekday),
            Piece::Weekday => out.write_str(&weekday[..3]),
            Piece::Day => write!(out, "{}", civil.day()),
            Piece::UnderDay => write!(out, "{:>2}", civil.day()),
            Piece::ZeroDay => write!(out, "{:02}", civil.day()),
            Piece::UnderYearDay => write!(out, "{day_of_year:>3}"),
            Piece::ZeroYearDay => write!(out, "{day_of_year:03}"),
            Piece::Hour => write!(out, "{:02}", civil.hour()),
            Piece::Hour12 => write!(out, "{hour12}"),
            Piece::ZeroHour12 => write!(out, "{hour12:02}"),
            Piece::Minute => write!(out, "{}", civil.minute()),
            Piece::ZeroMinute => write!(out, "{:02}", civil.minute()),
            Piece::Second => write!(out, "{}", civil.second()),
            Piece::ZeroSecond => write!(out, "{:02}", civil.second()),
            Piece::LongYear => write!(out, "{year:04}"),
            Piece::Year => write!(out, "{:02}", year.rem_euclid(100)),
            Piece::Pm => out.write_str(if civil.hour() >= 12 { "PM" } else { "AM" }),
            Piece::LowerPm => out.write_str(if civil.hour() >= 12 { "pm" } else { "am" }),
            Piece::Zone => out.write_str(&moment.abbreviation()),
            Piece::Offset { iso, colon, minutes, seconds } => {
                push_offset(&mut out, moment.offset_seconds(), iso, colon, minutes, seconds);
                Ok(())
            }
            Piece::Fraction { digits, trims } => {
                let nanos = format!("{:09}", civil.subsec_nanosecond());
                let mut text = format!("{nanos:0<digits$}");
                text.truncate(digits);
                if trims {
                    text.truncate(text.trim_end_matches('0').len());
                }
                let mark = &rest[before.len()..before.len() + 1];
                if text.is_empty() { Ok(()) } else { write!(out, "{mark}{text}") }
            }
        };
        rest = after;
    }
    out.push_str(rest);
    out
}

fn push_offset(out: &mut String, offset: i32, iso: bool, colon: bool, minutes: bool, seconds: bool) {
    if iso && offset == 0 {
        out.push('Z');
        return;
    }
    let size = offset.unsigned_abs();
    let _ = write!(out, "{}{:02}", if offset < 0 { '-' } else { '+' }, size / 3600);
    let separator = if colon { ":" } else { "" };
    if minutes {
        let _ = write!(out, "{separator}{:02}", size / 60 % 60);
    }
    if seconds {
        let _ = write!(out, "{separator}{:02}", size % 60);
    }
}

#[derive(Default)]
struct Parsed {
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    nanos: i64,
    pm: Option<bool>,
    offset: Option<i32>,
    utc: bool,
}

/// Reads a time in a layout. The error is Go's.
pub(crate) fn parse(layout: &str, text: &str, zone: &TimeZone) -> Result<Moment, String> {
    let fail = |piece: &str, rest: &str| {
        format!(
            "parsing time {} as {}: cannot parse {} as {}",
            quote(text.as_bytes()),
            quote(layout.as_bytes()),
            quote(rest.as_bytes()),
            quote(piece.as_bytes())
        )
    };
    let range = |what: &str| format!("parsing time {}: {what} out of range", quote(text.as_bytes()));
    let mut parsed = Parsed::default();
    let (mut pattern, mut rest) = (layout, text);
    loop {
        let (before, piece, after) = match next_piece(pattern) {
            Some((before, piece, after)) => (before, Some(piece), after),
            None => (pattern, None, ""),
        };
        rest = skip(rest, before).ok_or_else(|| fail(before, rest))?;
        let Some(piece) = piece else {
            if !rest.is_empty() {
                return Err(format!("parsing time {}: extra text: {}", quote(text.as_bytes()), quote(rest.as_bytes())));
            }
            break;
        };
        let name = &pattern[before.len()..pattern.len() - after.len()];
        let held = rest;
        rest = take(&mut parsed, piece, rest, after).ok_or_else(|| fail(name, held))?;
        pattern = after;
    }
    if let Some(what) = out_of_range(&parsed) {
        return Err(range(what));
    }
    let hour = match parsed.pm {
        Some(true) if parsed.hour < 12 => parsed.hour + 12,
        Some(false) if parsed.hour == 12 => 0,
        _ => parsed.hour,
    };
    let year = i16::try_from(parsed.year).map_err(|_| range("year"))?;
    let date = match parsed.day_of_year {
        Some(day) => Date::new(year, 1, 1).ok().and_then(|first| first.checked_add(jiff::Span::new().days(day - 1)).ok()),
        None => Date::new(year, parsed.month.unwrap_or(1) as i8, parsed.day.unwrap_or(1) as i8).ok(),
    };
    let date = date.ok_or_else(|| range("day"))?;
    let civil = date.at(hour as i8, parsed.minute as i8, parsed.second as i8, parsed.nanos as i32);
    let zone = match parsed.offset {
        _ if parsed.utc => TimeZone::UTC,
        Some(0) => TimeZone::UTC,
        Some(seconds) => TimeZone::fixed(Offset::from_seconds(seconds).map_err(|_| range("time zone offset"))?),
        None => zone.clone(),
    };
    let at = zone.to_timestamp(civil).map_err(|_| range("day"))?;
    Ok(Moment { at, zone })
}

fn out_of_range(parsed: &Parsed) -> Option<&'static str> {
    let within = |value: Option<i64>, low: i64, high: i64| value.is_none_or(|value| (low..=high).contains(&value));
    [
        (within(parsed.month, 1, 12), "month"),
        (within(parsed.day, 1, 31), "day"),
        (within(parsed.day_of_year, 1, 366), "day-of-year"),
        (within(Some(parsed.hour), 0, 23), "hour"),
        (within(Some(parsed.minute), 0, 59), "minute"),
        (within(Some(parsed.second), 0, 59), "second"),
    ]
    .iter()
    .find(|(good, _)| !good)
    .map(|(_, what)| *what)
}

/// Skips literal text; a space of the layout stands for any number of spaces.
fn skip<'t>(mut text: &'t str, literal: &str) -> Option<&'t str> {
    let mut pattern = literal;
    while !pattern.is_empty() {
        if pattern.starts_with(' ') {
            if !text.is_empty() && !text.starts_with(' ') {
                return None;
            }
            pattern = pattern.trim_start_matches(' ');
            text = text.trim_start_matches(' ');
            continue;
        }
        let c = pattern.chars().next()?;
        text = text.strip_prefix(c)?;
        pattern = &pattern[c.len_utf8()..];
    }
    Some(text)
}

/// A number of one to `most` digits; with `fixed`, of exactly `most`.
fn digits(text: &str, most: usize, fixed: bool) -> Option<(i64, &str)> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count == 0 || fixed && count < most {
        return None;
    }
    Some((text[..count].parse().ok()?, &text[count..]))
}

fn name<'t>(text: &'t str, names: &[&str], size: Option<usize>) -> Option<(i64, &'t str)> {
    names.iter().enumerate().find_map(|(at, name)| {
        let name = &name[..size.unwrap_or(name.len())];
        let head = text.get(..name.len())?;
        head.eq_ignore_ascii_case(name).then(|| (at as i64, &text[name.len()..]))
    })
}

fn take<'t>(parsed: &mut Parsed, piece: Piece, text: &'t str, after: &str) -> Option<&'t str> {
    let rest;
    match piece {
        Piece::LongYear => (parsed.year, rest) = digits(text, 4, true)?,
        Piece::Year => {
            let (year, tail) = digits(text, 2, true)?;
            parsed.year = year + if year >= 69 { 1900 } else { 2000 };
            rest = tail;
        }
        Piece::LongMonth | Piece::Month => {
            let (month, tail) = name(text, &MONTHS, (piece == Piece::Month).then_some(3))?;
            parsed.month = Some(month + 1);
            rest = tail;
        }
        Piece::NumMonth | Piece::ZeroMonth => {
            let (month, tail) = digits(text, 2, piece == Piece::ZeroMonth)?;
            parsed.month = Some(month);
            rest = tail;
        }
        Piece::LongWeekday => rest = name(text, &DAYS, None)?.1,
        Piece::Weekday => rest = name(text, &DAYS, Some(3))?.1,
        Piece::Day | Piece::UnderDay | Piece::ZeroDay => {
            let text = if piece == Piece::UnderDay { text.strip_prefix(' ').unwrap_or(text) } else { text };
            let (day, tail) = digits(text, 2, piece == Piece::ZeroDay)?;
            parsed.day = Some(day);
            rest = tail;
        }
        Piece::UnderYearDay | Piece::ZeroYearDay => {
            let trimmed = if piece == Piece::UnderYearDay { text.trim_start_matches(' ') } else { text };
            let (day, tail) = digits(trimmed, 3, piece == Piece::ZeroYearDay)?;
            parsed.day_of_year = Some(day);
            rest = tail;
        }
        Piece::Hour => (parsed.hour, rest) = digits(text, 2, false)?,
        Piece::Hour12 | Piece::ZeroHour12 => {
            (parsed.hour, rest) = digits(text, 2, piece == Piece::ZeroHour12)?;
        }
        Piece::Minute | Piece::ZeroMinute => (parsed.minute, rest) = digits(text, 2, piece == Piece::ZeroMinute)?,
        Piece::Second | Piece::ZeroSecond => {
            let (second, tail) = digits(text, 2, piece == Piece::ZeroSecond)?;
            parsed.second = second;
            // A fraction may follow the seconds though the layout has none.
            let unasked = tail.starts_with(['.', ',']) && !matches!(next_piece(after), Some(("", Piece::Fraction { .. }, _)));
            let count = tail.get(1..).map_or(0, |t| t.bytes().take_while(u8::is_ascii_digit).count());
            if unasked && count > 0 {
                parsed.nanos = fraction(&tail[1..=count]);
                rest = &tail[1 + count..];
            } else {
                rest = tail;
            }
        }
        Piece::Pm | Piece::LowerPm => {
            let head = text.get(..2)?;
            parsed.pm = Some(match (piece, head) {
                (Piece::Pm, "PM") | (Piece::LowerPm, "pm") => true,
                (Piece::Pm, "AM") | (Piece::LowerPm, "am") => false,
                _ => return None,
            });
            rest = &text[2..];
        }
        Piece::Zone => {
            if let Some(tail) = text.strip_prefix("UTC") {
                parsed.utc = true;
                rest = tail;
            } else {
                let count = text.bytes().take(5).take_while(u8::is_ascii_uppercase).count();
                if count < 3 {
                    return None;
                }
                // An abbreviation that is not known stands for no offset.
                parsed.offset = Some(parsed.offset.unwrap_or(0));
                rest = &text[count..];
            }
        }
        Piece::Offset { iso, colon, minutes, seconds } => {
            if let Some(tail) = text.strip_prefix('Z').filter(|_| iso) {
                parsed.utc = true;
                return Some(tail);
            }
            let sign = match text.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let (hours, mut tail) = digits(&text[1..], 2, true)?;
            let mut total = hours * 3600;
            for (wanted, unit) in [(minutes, 60), (seconds, 1)] {
                if wanted {
                    let body = if colon { tail.strip_prefix(':')? } else { tail };
                    let (value, after) = digits(body, 2, true)?;
                    total += value * unit;
                    tail = after;
                }
            }
            parsed.offset = Some(sign * i32::try_from(total).ok()?);
            rest = tail;
        }
        Piece::Fraction { digits: count, trims } => {
            let tail = text.strip_prefix(['.', ',']);
            let found = tail.map_or(0, |t| t.bytes().take_while(u8::is_ascii_digit).count());
            if trims {
                let Some(tail) = tail.filter(|_| found > 0) else { return Some(text) };
                parsed.nanos = fraction(&tail[..found]);
                rest = &tail[found..];
            } else {
                let tail = tail.filter(|_| found >= count)?;
                parsed.nanos = fraction(&tail[..count]);
                rest = &tail[count..];
            }
        }
    }
    Some(rest)
}

fn fraction(digits: &str) -> i64 {
    let head: String = digits.chars().take(9).collect();
    format!("{head:0<9}").parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(seconds: i64) -> Moment {
        Moment { at: Timestamp::from_second(seconds).unwrap(), zone: TimeZone::UTC }
    }

    #[test]
    fn layouts_format_as_in_go() {
        let at = moment(1_700_000_000);
        let cases = [
            ("2006-01-02T15:04:05Z07:00", "2023-11-14T22:13:20Z"),
            ("Mon Jan _2 15:04:05 2006", "Tue Nov 14 22:13:20 2023"),
            ("Monday, January 2, 2006 3:04pm MST -0700", "Tuesday, November 14, 2023 10:13pm UTC +0000"),
            ("02/01/06 03:04PM .000", "14/11/23 10:13PM .000"),
            ("002 .999", "318 "),
        ];
        for (layout, text) in cases {
            assert_eq!(format(&at, layout), text, "{layout}");
        }
    }

    #[test]
    fn layouts_parse_as_in_go() {
        let utc = TimeZone::UTC;
        let read = |layout: &str, text: &str| parse(layout, text, &utc).map(|moment| format(&moment, "2006-01-02T15:04:05.999Z07:00"));
        assert_eq!(read("2006-01-02", "2024-01-02").unwrap(), "2024-01-02T00:00:00Z");
        assert_eq!(read("2006-01-02T15:04:05Z07:00", "2024-01-02T03:04:05.25+02:00").unwrap(), "2024-01-02T03:04:05.25+02:00");
        assert_eq!(read("2006-01-02", "nope").unwrap_err(), "parsing time \"nope\" as \"2006-01-02\": cannot parse \"nope\" as \"2006\"");
        assert_eq!(read("2006-01-02", "2024-13-01").unwrap_err(), "parsing time \"2024-13-01\": month out of range");
        assert_eq!(read("2006-01-02", "2024-01-01x").unwrap_err(), "parsing time \"2024-01-01x\": extra text: \"x\"");
    }

    #[test]
    fn months_roll_over() {
        let at = parse("2006-01-02", "2024-01-31", &TimeZone::UTC).unwrap();
        let next = at.add_date(0, 1, 0).unwrap();
        assert_eq!(format(&Moment { at: next, zone: TimeZone::UTC }, "2006-01-02"), "2024-03-02");
    }
}
