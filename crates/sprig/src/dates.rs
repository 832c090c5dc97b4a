//! Times, durations and Go's reference layouts.

use crate::{
    args::{Result, any, string, text, to_int},
    environment,
    layout::{self, Moment},
};
use gotemplate::{Failure, Function, Kind, Method, Object, Run, Type, Value, fmt, number};
use jiff::{Timestamp, tz::TimeZone};
use std::{any::Any, rc::Rc};
use types::GoDuration;

const A: Type = Type::Any;
const S: Type = Type::String;
const TIME: Type = Type::Named("time.Time");

pub(crate) const ALL: &[Function] = &[
    Function::new("now", &[], |run, _| {
        let environment = environment(run)?;
        Ok(time(environment.now(), environment.zone().clone()))
    }),
    Function::new("ago", &[A], |run, args| {
        let environment = environment(run)?;
        let then = instant(&args[0]).unwrap_or(environment.now());
        let seconds = (environment.now().as_nanosecond() - then.as_nanosecond() + 500_000_000).div_euclid(1_000_000_000);
        string(run, fmt::duration(i64::try_from(seconds * 1_000_000_000).unwrap_or(i64::MAX)))
    }),
    Function::new("date", &[S, A], |run, args| format_in(run, &text(args, 0), &args[1], "Local")),
    Function::new("dateInZone", &[S, A, S], |run, args| format_in(run, &text(args, 0), &args[1], &text(args, 2))),
    Function::new("date_in_zone", &[S, A, S], |run, args| format_in(run, &text(args, 0), &args[1], &text(args, 2))),
    Function::new("htmlDate", &[A], |run, args| format_in(run, "2006-01-02", &args[0], "Local")),
    Function::new("htmlDateInZone", &[A, S], |run, args| format_in(run, "2006-01-02", &args[0], &text(args, 1))),
    Function::new("dateModify", &[S, TIME], |_, args| modify(args).or_else(|_| Ok(args[1].clone()))),
    Function::new("date_modify", &[S, TIME], |_, args| modify(args).or_else(|_| Ok(args[1].clone()))),
    Function::new("mustDateModify", &[S, TIME], |_, args| modify(args)),
    Function::new("must_date_modify", &[S, TIME], |_, args| modify(args)),
    Function::new("duration", &[A], |run, args| {
        let seconds = match &args[0] {
            Value::String(text) => text.text().parse().unwrap_or(0),
            Value::Int64(n) => *n,
            _ => 0,
        };
        string(run, fmt::duration(seconds.saturating_mul(1_000_000_000)))
    }),
    Function::new("durationRound", &[A], |run, args| {
        let nanos = match &args[0] {
            Value::String(text) => parse_duration(&text.text()).unwrap_or(0),
            Value::Int64(n) => *n,
            Value::Object(_) => match instant(&args[0]) {
                Some(then) => i64::try_from(environment(run)?.now().as_nanosecond() - then.as_nanosecond()).unwrap_or(0),
                None => 0,
            },
            _ => 0,
        };
        string(run, rounded(nanos))
    }),
    Function::new("toDate", &[S, S], |run, args| {
        let zone = environment(run)?.zone().clone();
        Ok(layout::parse(&text(args, 0), &text(args, 1), &zone).map_or_else(|_| zero_time(), |moment| time(moment.at, moment.zone)))
    }),
    Function::new("mustToDate", &[S, S], |run, args| {
        let zone = environment(run)?.zone().clone();
        layout::parse(&text(args, 0), &text(args, 1), &zone).map(|moment| time(moment.at, moment.zone)).map_err(Failure::new)
    }),
    Function::new("unixEpoch", &[TIME], |run, args| {
        let seconds = instant(&args[0]).map_or(0, seconds_of);
        string(run, seconds.to_string())
    }),
];

/// Go's `time.ParseDuration`, in nanoseconds. The error is Go's.
pub fn parse_duration(text: &str) -> std::result::Result<i64, String> {
    GoDuration::parse(text).map(GoDuration::as_nanos).map_err(|_| {
        let quoted = number::quote(text.as_bytes());
        let unsigned = text.trim_start_matches(['-', '+']);
        let digits = unsigned.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(unsigned.len());
        if digits == 0 || unsigned[..digits].bytes().all(|b| b == b'.') {
            format!("time: invalid duration {quoted}")
        } else if digits == unsigned.len() {
            format!("time: missing unit in duration {quoted}")
        } else {
            let unit: String = unsigned[digits..].chars().take_while(|c| !(c.is_ascii_digit() || *c == '.')).collect();
            match unit.as_str() {
                "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h" => format!("time: invalid duration {quoted}"),
                unit => format!("time: unknown unit {} in duration {quoted}", number::quote(unit.as_bytes())),
            }
        }
    })
}

/// Whole seconds since 1970, rounded down.
fn seconds_of(at: Timestamp) -> i64 {
    at.as_nanosecond().div_euclid(1_000_000_000) as i64
}

/// A `time.Time`.
pub fn time(at: Timestamp, zone: TimeZone) -> Value {
    Value::Object(Rc::new(Time(Moment { at, zone })))
}

/// Go's zero time, the first second of the year 1.
fn zero_time() -> Value {
    time(Timestamp::from_second(-62_135_596_800).unwrap_or(Timestamp::UNIX_EPOCH), TimeZone::UTC)
}

fn instant(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Int(n) | Value::Int64(n) => Timestamp::from_second(*n).ok(),
        Value::Object(object) => object.as_any().downcast_ref::<Time>().map(|time| time.0.at),
        _ => None,
    }
}

fn format_in(run: &mut Run<'_>, layout: &str, value: &Value, zone: &str) -> Result {
    let environment = environment(run)?;
    let at = instant(value).unwrap_or(environment.now());
    let zone = match zone {
        "Local" => environment.zone().clone(),
        "" | "UTC" => TimeZone::UTC,
        name => environment.zone_named(name).unwrap_or(TimeZone::UTC),
    };
    string(run, layout::format(&Moment { at, zone }, layout))
}

fn modify(args: &[Value]) -> Result {
    let nanos = parse_duration(&text(args, 0)).map_err(Failure::new)?;
    match &args[1] {
        Value::Object(object) => match object.as_any().downcast_ref::<Time>() {
            Some(time) => Ok(time.plus(nanos)),
            None => Ok(args[1].clone()),
        },
        _ => Ok(args[1].clone()),
    }
}

fn rounded(nanos: i64) -> String {
    const HOUR: u64 = 3_600_000_000_000;
    let size = nanos.unsigned_abs();
    let units = [(HOUR * 24 * 365, "y"), (HOUR * 24 * 30, "mo"), (HOUR * 24, "d"), (HOUR, "h"), (HOUR / 60, "m"), (1_000_000_000, "s")];
    units.iter().find(|(unit, _)| size > *unit).map_or_else(|| "0s".to_owned(), |(unit, name)| format!("{}{name}", size / unit))
}

struct Time(Moment);

impl Time {
    fn plus(&self, nanos: i64) -> Value {
        let at = Timestamp::from_nanosecond(self.0.at.as_nanosecond().saturating_add(i128::from(nanos)));
        time(at.unwrap_or(self.0.at), self.0.zone.clone())
    }
}

fn receiver(object: &Rc<dyn Object>) -> Result<&Moment> {
    object.as_any().downcast_ref::<Time>().map(|time| &time.0).ok_or_else(|| Failure::new("receiver is no time.Time"))
}

const METHODS: &[Method] = &[
    Method {
        name: "Format",
        params: &[S],
        rest: None,
        call: |this, run, args| {
            let text = layout::format(receiver(this)?, &text(args, 0));
            string(run, text)
        },
    },
    Method { name: "String", params: &[], rest: None, call: |this, run, _| string(run, this.text()) },
    Method { name: "Unix", params: &[], rest: None, call: |this, _, _| Ok(Value::Int64(seconds_of(receiver(this)?.at))) },
    Method { name: "UnixMilli", params: &[], rest: None, call: |this, _, _| Ok(Value::Int64(receiver(this)?.at.as_millisecond())) },
    Method {
        name: "UnixNano",
        params: &[],
        rest: None,
        call: |this, _, _| Ok(Value::Int64(i64::try_from(receiver(this)?.at.as_nanosecond()).unwrap_or(i64::MAX))),
    },
    Method { name: "Year", params: &[], rest: None, call: |this, _, _| Ok(Value::Int(i64::from(receiver(this)?.civil().year()))) },
    Method {
        name: "Month",
        params: &[],
        rest: None,
        call: |this, _, _| {
            Ok(named(receiver(this)?.civil().month(), "time.Month", layout::MONTHS[(receiver(this)?.civil().month() - 1) as usize]))
        },
    },
    Method { name: "Day", params: &[], rest: None, call: |this, _, _| Ok(Value::Int(i64::from(receiver(this)?.civil().day()))) },
    Method { name: "Hour", params: &[], rest: None, call: |this, _, _| Ok(Value::Int(i64::from(receiver(this)?.civil().hour()))) },
    Method { name: "Minute", params: &[], rest: None, call: |this, _, _| Ok(Value::Int(i64::from(receiver(this)?.civil().minute()))) },
    Method { name: "Second", params: &[], rest: None, call: |this, _, _| Ok(Value::Int(i64::from(receiver(this)?.civil().second()))) },
    Method {
        name: "Nanosecond",
        params: &[],
        rest: None,
        call: |this, _, _| Ok(Value::Int(i64::from(receiver(this)?.civil().subsec_nanosecond()))),
    },
    Method {
        name: "YearDay",
        params: &[],
        rest: None,
        call: |this, _, _| Ok(Value::Int(i64::from(receiver(this)?.civil().date().day_of_year()))),
    },
    Method {
        name: "Weekday",
        params: &[],
        rest: None,
        call: |this, _, _| {
            let day = receiver(this)?.civil().weekday().to_sunday_zero_offset();
            Ok(named(day, "time.Weekday", layout::DAYS[day as usize]))
        },
    },
    Method {
        name: "IsZero",
        params: &[],
        rest: None,
        call: |this, _, _| Ok(Value::Bool(seconds_of(receiver(this)?.at) == -62_135_596_800)),
    },
    Method { name: "UTC", params: &[], rest: None, call: |this, _, _| Ok(time(receiver(this)?.at, TimeZone::UTC)) },
    Method { name: "Local", params: &[], rest: None, call: |this, run, _| Ok(time(receiver(this)?.at, environment(run)?.zone().clone())) },
    Method {
        name: "Add",
        params: &[A],
        rest: None,
        call: |this, _, args| {
            let nanos = match any(args, 0) {
                Value::Duration(nanos) => *nanos,
                other => to_int(other),
            };
            let moment = receiver(this)?;
            Ok(Time(Moment { at: moment.at, zone: moment.zone.clone() }).plus(nanos))
        },
    },
    Method {
        name: "AddDate",
        params: &[Type::Int, Type::Int, Type::Int],
        rest: None,
        call: |this, _, args| {
            let moment = receiver(this)?;
            let (years, months, days) = (to_int(&args[0]), to_int(&args[1]), to_int(&args[2]));
            Ok(moment.add_date(years, months, days).map_or_else(zero_time, |at| time(at, moment.zone.clone())))
        },
    },
    Method {
        name: "Sub",
        params: &[TIME],
        rest: None,
        call: |this, _, args| {
            let other = instant(&args[0]).unwrap_or(Timestamp::UNIX_EPOCH);
            let nanos = receiver(this)?.at.as_nanosecond() - other.as_nanosecond();
            Ok(Value::Duration(nanos.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64))
        },
    },
    Method {
        name: "Before",
        params: &[TIME],
        rest: None,
        call: |this, _, args| Ok(Value::Bool(Some(receiver(this)?.at) < instant(&args[0]))),
    },
    Method {
        name: "After",
        params: &[TIME],
        rest: None,
        call: |this, _, args| Ok(Value::Bool(Some(receiver(this)?.at) > instant(&args[0]))),
    },
    Method {
        name: "Equal",
        params: &[TIME],
        rest: None,
        call: |this, _, args| Ok(Value::Bool(Some(receiver(this)?.at) == instant(&args[0]))),
    },
];

impl Object for Time {
    fn type_name(&self) -> &str {
        "time.Time"
    }

    fn kind(&self) -> Kind {
        Kind::Struct
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn text(&self) -> String {
        layout::format(&self.0, "2006-01-02 15:04:05.999999999 -0700 MST")
    }

    fn is_stringer(&self) -> bool {
        true
    }

    fn method(&self, name: &str) -> Option<&'static Method> {
        METHODS.iter().find(|method| method.name == name)
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.as_any().downcast_ref::<Time>().is_some_and(|other| self.0.at == other.0.at)
    }

    fn as_json(&self) -> Option<Value> {
        Some(Value::string(layout::format(&self.0, "2006-01-02T15:04:05.999999999Z07:00")))
    }
}

/// A number that prints its name: a month or a day of the week.
struct Named {
    number: i64,
    type_name: &'static str,
    name: &'static str,
}

fn named(number: i8, type_name: &'static str, name: &'static str) -> Value {
    Value::Object(Rc::new(Named { number: i64::from(number), type_name, name }))
}

impl Object for Named {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn kind(&self) -> Kind {
        Kind::Struct
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn text(&self) -> String {
        self.name.to_owned()
    }

    fn is_stringer(&self) -> bool {
        true
    }

    fn as_json(&self) -> Option<Value> {
        Some(Value::Int(self.number))
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.as_any().downcast_ref::<Named>().is_some_and(|other| self.number == other.number && self.type_name == other.type_name)
    }
}
