//! When a CronJob runs: five fields, or a word for them. What no schedule can be was refused when the object was written.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    Every(i64),
    At(Fields),
}

/// Which minutes, hours and so on: one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// With both days restricted, either may hold.
    any_day: bool,
    any_weekday: bool,
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(every) = text.strip_prefix("@every ") {
            return Some(Self::Every(duration_seconds(every)?.max(1)));
        }
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else { return None };
        let is_any = |field: &str| field.starts_with(['*', '?']);
        Some(Self::At(Fields {
            minutes: bits(minutes, 0, 59, &[], 0)?,
            hours: bits(hours, 0, 23, &[], 0)?,
            days: bits(days, 1, 31, &[], 0)?,
            months: bits(months, 1, 12, &MONTHS, 1)?,
            weekdays: bits(weekdays, 0, 6, &DAYS, 0)?,
            any_day: is_any(days),
            any_weekday: is_any(weekdays),
        }))
    }

    /// The first time after this one, in seconds; none when there is none within some years (30 February).
    pub fn next(&self, after: i64, zone: &TimeZone) -> Option<i64> {
        match self {
            Self::Every(seconds) => after.checked_add(*seconds),
            Self::At(fields) => fields.next(after, zone),
        }
    }

    /// The last time in `(after, now]`, and whether it was not the only one.
    pub fn last_in(&self, after: i64, now: i64, zone: &TimeZone) -> Option<(i64, bool)> {
        const LOOKED_AT: usize = 10_000;
        let mut last = self.next(after, zone).filter(|at| *at <= now)?;
        let mut many = false;
        for _ in 0..LOOKED_AT {
            match self.next(last, zone).filter(|at| *at <= now) {
                Some(next) => {
                    last = next;
                    many = true;
                }
                None => return Some((last, many)),
            }
        }
        // So far behind that it is cheaper to begin shortly before now.
        let near = now - 366 * 24 * 3600;
        Some((self.next(near.max(last), zone).filter(|at| *at <= now).unwrap_or(last), true))
    }
}

impl Fields {
    fn fits_day(&self, at: DateTime) -> bool {
        let day = self.days & (1 << at.day()) != 0;
        let weekday = self.weekdays & (1 << at.weekday().to_sunday_zero_offset()) != 0;
        if self.any_day || self.any_weekday { day && weekday } else { day || weekday }
    }

    fn next(&self, after: i64, zone: &TimeZone) -> Option<i64> {
        let first = after.checked_add(60)? / 60 * 60;
        let mut at = zone.to_datetime(Timestamp::from_second(first).ok()?).with().second(0).subsec_nanosecond(0).build().ok()?;
        let end = at.year().checked_add(8)?;
        while at.year() <= end {
            if self.months & (1 << at.month()) == 0 {
                at = midnight(at.date().first_of_month().checked_add(jiff::Span::new().months(1)).ok()?);
            } else if !self.fits_day(at) {
                at = midnight(at.date().tomorrow().ok()?);
            } else if self.hours & (1 << at.hour()) == 0 {
                at = at.with().minute(0).build().ok()?.checked_add(jiff::Span::new().hours(1)).ok()?;
            } else if self.minutes & (1 << at.minute()) == 0 {
                at = at.checked_add(jiff::Span::new().minutes(1)).ok()?;
            } else {
                // A time that a change of clocks leaves out comes with the next that there is.
                let found = zone.to_timestamp(at).ok()?.as_second();
                if found > after {
                    return Some(found);
                }
                at = at.checked_add(jiff::Span::new().minutes(1)).ok()?;
            }
        }
        None
    }
}

fn midnight(date: jiff::civil::Date) -> DateTime {
    date.at(0, 0, 0, 0)
}

fn bits(field: &str, min: u32, max: u32, words: &[&str], first: u32) -> Option<u64> {
    let mut out = 0;
    for part in field.split(',').filter(|part| !part.is_empty()) {
        let number = |text: &str| -> Option<u32> {
            match words.iter().position(|word| text.eq_ignore_ascii_case(word)) {
                Some(at) => Some(u32::try_from(at).ok()? + first),
                None => text.parse().ok(),
            }
        };
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<u32>().ok().filter(|step| *step > 0)?)),
            None => (part, None),
        };
        let (start, end) = match range.split_once('-') {
            _ if matches!(range, "*" | "?") => (min, max),
            Some((start, end)) => (number(start)?, number(end)?),
            None => {
                let start = number(range)?;
                (start, if step.is_some() { max } else { start })
            }
        };
        if start < min || end > max || start > end {
            return None;
        }
        let mut at = start;
        while at <= end {
            out |= 1 << at;
            at += step.unwrap_or(1);
        }
    }
    (out != 0).then_some(out)
}

/// A duration as Go writes it, in whole seconds.
fn duration_seconds(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        total += number
            * match &rest[digits..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                _ => 0.0,
            };
        rest = &rest[unit..];
    }
    // Far beyond any schedule, and still a number.
    Some(total.clamp(0.0, 1e12) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str) -> String {
        let after: Timestamp = after.parse().unwrap();
        let at = Schedule::parse(schedule).unwrap().next(after.as_second(), &TimeZone::UTC).unwrap();
        Timestamp::from_second(at).unwrap().to_string()
    }

    #[test]
    fn schedules_name_their_next_time() {
        for (schedule, after, expected) in [
            ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "2026-01-01T00:59:59Z", "2026-01-01T01:00:00Z"),
            ("30 2 * * mon-fri", "2026-01-02T02:30:00Z", "2026-01-05T02:30:00Z"),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 0 13 * fri", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ("0 9-17/4 1 jan,JUL *", "2026-01-01T13:00:00Z", "2026-01-01T17:00:00Z"),
            ("@hourly", "2026-12-31T23:30:00Z", "2027-01-01T00:00:00Z"),
            ("@every 1h30m", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z"),
        ] {
            assert_eq!(next(schedule, after), expected, "{schedule}");
        }
        assert!(Schedule::parse("0 0 30 2 *").unwrap().next(0, &TimeZone::UTC).is_none());
    }

    #[test]
    fn the_last_of_missed_times_counts() {
        let schedule = Schedule::parse("*/10 * * * *").unwrap();
        assert_eq!(schedule.last_in(0, 599, &TimeZone::UTC), None);
        assert_eq!(schedule.last_in(0, 600, &TimeZone::UTC), Some((600, false)));
        assert_eq!(schedule.last_in(0, 2000, &TimeZone::UTC), Some((1800, true)));
    }
}
