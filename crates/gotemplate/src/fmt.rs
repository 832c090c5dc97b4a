//! Go's `fmt`: verbs, flags and the shapes of values.

use crate::{Failure, Kind, Limit, Str, Value, number, value::MAX_NESTING};

type Result<T> = std::result::Result<T, Failure>;

/// A single formatted text may not grow beyond this.
const MAX_TEXT: usize = 256 << 20;
/// Widths and precisions beyond this are refused, as Go refuses them.
const MAX_WIDTH: i64 = 1_000_000;

/// `fmt.Sprint`.
pub fn sprint(args: &[Value]) -> Result<Vec<u8>> {
    let mut printer = Printer::default();
    let mut after_string = false;
    for (at, arg) in args.iter().enumerate() {
        let is_string = matches!(arg, Value::String(_));
        if at > 0 && !is_string && !after_string {
            printer.out.push(b' ');
        }
        printer.argument(arg, 'v');
        after_string = is_string;
    }
    printer.finish()
}

/// `fmt.Sprintln`.
pub fn sprintln(args: &[Value]) -> Result<Vec<u8>> {
    let mut printer = Printer::default();
    for (at, arg) in args.iter().enumerate() {
        if at > 0 {
            printer.out.push(b' ');
        }
        printer.argument(arg, 'v');
    }
    printer.out.push(b'\n');
    printer.finish()
}

/// `fmt.Sprintf`.
pub fn sprintf(format: &[u8], args: &[Value]) -> Result<Vec<u8>> {
    let mut printer = Printer::default();
    printer.format(format, args);
    printer.finish()
}

/// What `%v` prints.
pub fn text(value: &Value) -> Result<Str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        value => sprint(std::slice::from_ref(value)).map(Str::from_bytes),
    }
}

/// A `time.Duration` as its `String` prints it.
pub fn duration(nanos: i64) -> String {
    let size = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    let decimal = |value: u64, unit: u64| {
        let fraction = value % unit;
        if fraction == 0 {
            return (value / unit).to_string();
        }
        let width = unit.ilog10() as usize;
        format!("{}.{}", value / unit, format!("{fraction:0width$}").trim_end_matches('0'))
    };
    match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", decimal(size, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", decimal(size, 1_000_000)),
        _ => {
            let (hours, minutes) = (size / 3_600_000_000_000, size / 60_000_000_000 % 60);
            let seconds = decimal(size % 60_000_000_000, 1_000_000_000);
            match (hours, minutes) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[derive(Default, Clone, Copy)]
struct Flags {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    plus_v: bool,
    sharp_v: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

#[derive(Default)]
struct Printer {
    out: Vec<u8>,
    flags: Flags,
    depth: usize,
    stopped: Option<Limit>,
}

impl Printer {
    fn finish(self) -> Result<Vec<u8>> {
        match self.stopped {
            Some(limit) => Err(limit.into()),
            None if self.out.len() > MAX_TEXT => Err(Limit::Size.into()),
            None => Ok(self.out),
        }
    }

    fn format(&mut self, format: &[u8], args: &[Value]) {
        let mut at = 0;
        let mut next = 0;
        let mut reordered = false;
        while at < format.len() && self.out.len() <= MAX_TEXT {
            let plain = format[at..].iter().position(|b| *b == b'%').map_or(format.len(), |n| at + n);
            self.out.extend_from_slice(&format[at..plain]);
            at = plain;
            if at >= format.len() {
                break;
            }
            at += 1;
            self.flags = Flags::default();
            let mut good = true;
            while let Some(flag) = format.get(at) {
                match flag {
                    b'#' => self.flags.sharp = true,
                    b'0' => self.flags.zero = true,
                    b'+' => self.flags.plus = true,
                    b'-' => self.flags.minus = true,
                    b' ' => self.flags.space = true,
                    _ => break,
                }
                at += 1;
            }
            let mut after_index = index(format, &mut at, &mut next, args.len(), &mut good, &mut reordered);
            if format.get(at) == Some(&b'*') {
                at += 1;
                match integer(args, &mut next) {
                    Some(width) => {
                        self.flags.minus |= width < 0;
                        self.flags.width = Some(width.unsigned_abs() as usize);
                    }
                    None => self.out.extend_from_slice(b"%!(BADWIDTH)"),
                }
                after_index = false;
            } else {
                self.flags.width = digits(format, &mut at);
                if after_index && self.flags.width.is_some() {
                    good = false;
                }
            }
            if format.get(at) == Some(&b'.') {
                at += 1;
                if after_index {
                    good = false;
                }
                after_index = index(format, &mut at, &mut next, args.len(), &mut good, &mut reordered);
                if format.get(at) == Some(&b'*') {
                    at += 1;
                    match integer(args, &mut next).filter(|p| *p >= 0) {
                        Some(precision) => self.flags.precision = Some(precision as usize),
                        None => self.out.extend_from_slice(b"%!(BADPREC)"),
                    }
                    after_index = false;
                } else {
                    self.flags.precision = Some(digits(format, &mut at).unwrap_or(0));
                }
            }
            if !after_index {
                index(format, &mut at, &mut next, args.len(), &mut good, &mut reordered);
            }
            let Some((verb, size)) = decode(&format[at.min(format.len())..]) else {
                self.out.extend_from_slice(b"%!(NOVERB)");
                break;
            };
            at += size;
            self.verb(verb, good, args, &mut next);
        }
        if !reordered && next < args.len() {
            self.extra(&args[next..]);
        }
    }

    fn verb(&mut self, verb: char, good: bool, args: &[Value], next: &mut usize) {
        if verb == '%' {
            self.out.push(b'%');
            return;
        }
        if !good {
            self.push(&format!("%!{verb}(BADINDEX)"));
            return;
        }
        let Some(arg) = args.get(*next) else {
            self.push(&format!("%!{verb}(MISSING)"));
            return;
        };
        if verb == 'v' {
            self.flags.sharp_v = std::mem::take(&mut self.flags.sharp);
            self.flags.plus_v = std::mem::take(&mut self.flags.plus);
        }
        *next += 1;
        self.argument(arg, verb);
    }

    fn extra(&mut self, args: &[Value]) {
        self.flags = Flags::default();
        self.push("%!(EXTRA ");
        for (at, arg) in args.iter().enumerate() {
            if at > 0 {
                self.push(", ");
            }
            if arg.is_nil() {
                self.push("<nil>");
            } else {
                self.push(arg.type_name());
                self.out.push(b'=');
                self.argument(arg, 'v');
            }
        }
        self.out.push(b')');
    }

    fn push(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn argument(&mut self, value: &Value, verb: char) {
        if verb == 'T' {
            let name = value.type_name().to_owned();
            return self.string(name.as_bytes(), 's', value);
        }
        if value.is_nil() {
            return if verb == 'v' { self.pad(b"<nil>") } else { self.bad(verb, value) };
        }
        self.value(value, verb);
    }

    fn bad(&mut self, verb: char, value: &Value) {
        self.push(&format!("%!{verb}("));
        if value.is_nil() {
            self.push("<nil>");
        } else {
            self.push(value.type_name());
            self.out.push(b'=');
            self.value(value, 'v');
        }
        self.out.push(b')');
    }

    fn value(&mut self, value: &Value, verb: char) {
        if self.depth > MAX_NESTING || self.out.len() > MAX_TEXT {
            self.stopped = Some(if self.depth > MAX_NESTING { Limit::Depth } else { Limit::Size });
            return;
        }
        match value {
            Value::Invalid | Value::Nil if self.flags.sharp_v => self.push("interface {}(nil)"),
            Value::Invalid | Value::Nil => self.push("<nil>"),
            Value::Bool(v) => match verb {
                't' | 'v' => self.pad(if *v { b"true" } else { b"false" }),
                _ => self.bad(verb, value),
            },
            Value::Int(n) | Value::Int64(n) => self.integer(*n < 0, n.unsigned_abs(), true, verb, value),
            Value::Uint8(n) => self.integer(false, u64::from(*n), false, verb, value),
            Value::Uint64(n) => self.integer(false, *n, false, verb, value),
            Value::Float(f) => self.float(*f, verb, value),
            Value::Duration(n) => match verb {
                'v' | 's' | 'x' | 'X' | 'q' if !self.flags.sharp_v => self.string(duration(*n).as_bytes(), verb, value),
                _ => self.integer(*n < 0, n.unsigned_abs(), true, verb, value),
            },
            Value::String(text) => self.string(text.as_bytes(), verb, value),
            Value::Bytes(bytes) if matches!(verb, 's' | 'q' | 'x' | 'X') => self.string(bytes, verb, value),
            Value::Object(object) if object.is_stringer() && matches!(verb, 'v' | 's' | 'x' | 'X' | 'q') => {
                self.string(object.text().as_bytes(), verb, value);
            }
            Value::Object(object) if !matches!(object.kind(), Kind::Map | Kind::Slice) => match verb {
                'v' | 's' => self.pad(object.text().as_bytes()),
                _ => self.bad(verb, value),
            },
            Value::Map(map) => self.entries(value.type_name(), map.entries().into_vec(), verb),
            Value::Object(object) if object.kind() == Kind::Map => {
                self.entries(object.type_name(), object.entries().unwrap_or_default(), verb);
            }
            _ => self.items(value, verb),
        }
    }

    fn entries(&mut self, type_name: &str, entries: Vec<(std::sync::Arc<str>, Value)>, verb: char) {
        let sharp = self.flags.sharp_v;
        self.push(if sharp { type_name } else { "map" });
        self.out.push(if sharp { b'{' } else { b'[' });
        self.depth += 1;
        for (at, (key, item)) in entries.into_iter().enumerate() {
            if at > 0 {
                self.push(if sharp { ", " } else { " " });
            }
            self.value(&Value::String(Str::Text(key)), verb);
            self.out.push(b':');
            stacker::maybe_grow(crate::parse::RED_ZONE, crate::parse::STACK, || self.value(&item, verb));
        }
        self.depth -= 1;
        self.out.push(if sharp { b'}' } else { b']' });
    }

    fn items(&mut self, value: &Value, verb: char) {
        let sharp = self.flags.sharp_v;
        if sharp {
            self.push(value.type_name());
            if matches!(value, Value::NilSlice(_)) {
                self.push("(nil)");
                return;
            }
        }
        self.out.push(if sharp { b'{' } else { b'[' });
        self.depth += 1;
        for at in 0..value.length().unwrap_or(0) {
            let Some(item) = value.item(at) else { break };
            if at > 0 {
                self.push(if sharp { ", " } else { " " });
            }
            stacker::maybe_grow(crate::parse::RED_ZONE, crate::parse::STACK, || self.value(&item, verb));
            if self.stopped.is_some() {
                break;
            }
        }
        self.depth -= 1;
        self.out.push(if sharp { b'}' } else { b']' });
    }

    fn pad(&mut self, bytes: &[u8]) {
        let width = self.flags.width.unwrap_or(0);
        let length = count_runes(bytes);
        let missing = width.saturating_sub(length);
        if missing == 0 {
            self.out.extend_from_slice(bytes);
        } else if self.flags.minus {
            self.out.extend_from_slice(bytes);
            self.out.extend(std::iter::repeat_n(b' ', missing));
        } else {
            self.out.extend(std::iter::repeat_n(if self.flags.zero { b'0' } else { b' ' }, missing));
            self.out.extend_from_slice(bytes);
        }
    }

    fn string(&mut self, bytes: &[u8], verb: char, value: &Value) {
        match verb {
            'v' if self.flags.sharp_v => self.quoted(bytes),
            'v' | 's' => self.pad(truncate(bytes, self.flags.precision)),
            'q' => self.quoted(truncate(bytes, self.flags.precision)),
            'x' | 'X' => self.hex_string(bytes, verb == 'X'),
            _ => self.bad(verb, value),
        }
    }

    fn quoted(&mut self, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).ok();
        let raw = text.filter(|t| !t.chars().any(|c| c == '`' || c == '\u{feff}' || c.is_control() && c != '\t'));
        match raw {
            Some(raw) if self.flags.sharp => self.pad(format!("`{raw}`").as_bytes()),
            _ if self.flags.plus => self.pad(number::quote_ascii(bytes).as_bytes()),
            _ => self.pad(number::quote(bytes).as_bytes()),
        }
    }

    fn hex_string(&mut self, bytes: &[u8], upper: bool) {
        let bytes = &bytes[..self.flags.precision.unwrap_or(bytes.len()).min(bytes.len())];
        let prefix = if upper { "0X" } else { "0x" };
        let mut text = String::with_capacity(bytes.len() * 2);
        for (at, byte) in bytes.iter().enumerate() {
            if self.flags.space && at > 0 {
                text.push(' ');
            }
            if self.flags.sharp && (self.flags.space || at == 0) {
                text.push_str(prefix);
            }
            text.push_str(&if upper { format!("{byte:02X}") } else { format!("{byte:02x}") });
        }
        self.pad(text.as_bytes());
    }

    fn integer(&mut self, negative: bool, size: u64, signed: bool, verb: char, value: &Value) {
        let text = match verb {
            'v' if self.flags.sharp_v && !signed => format!("{size:#x}"),
            'v' | 'd' => size.to_string(),
            'b' => format!("{size:b}"),
            'o' | 'O' => format!("{size:o}"),
            'x' => format!("{size:x}"),
            'X' => format!("{size:X}"),
            'c' => {
                let c = rune(negative, size);
                return self.pad(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            'q' => {
                let c = rune(negative, size);
                let text = number::quote_with(c.encode_utf8(&mut [0; 4]).as_bytes(), '\'', self.flags.plus);
                return self.pad(text.as_bytes());
            }
            'U' => {
                // A negative number shows as its bits.
                let bits = if negative { size.wrapping_neg() } else { size };
                let mut text = format!("U+{bits:04X}");
                if self.flags.sharp
                    && let Some(c) = u32::try_from(size).ok().and_then(char::from_u32).filter(|c| number::is_print(*c))
                {
                    text.push_str(&format!(" '{c}'"));
                }
                return self.pad(text.as_bytes());
            }
            _ => return self.bad(verb, value),
        };
        let sign = if negative {
            "-"
        } else if self.flags.plus {
            "+"
        } else if self.flags.space {
            " "
        } else {
            ""
        };
        let prefix = match verb {
            'O' => "0o",
            'b' if self.flags.sharp => "0b",
            'o' if self.flags.sharp && !text.starts_with('0') => "0",
            'x' if self.flags.sharp => "0x",
            'X' if self.flags.sharp => "0X",
            _ => "",
        };
        let mut body = text;
        if let Some(precision) = self.flags.precision {
            if precision == 0 && size == 0 {
                let zero = std::mem::take(&mut self.flags.zero);
                self.pad(b"");
                self.flags.zero = zero;
                return;
            }
            body = format!("{}{body}", "0".repeat(precision.saturating_sub(body.len())));
        } else if self.flags.zero && !self.flags.minus {
            // Zero padding goes between the sign and the digits.
            let width = self.flags.width.unwrap_or(0).saturating_sub(sign.len());
            body = format!("{}{body}", "0".repeat(width.saturating_sub(body.len())));
        }
        let zero = std::mem::take(&mut self.flags.zero);
        self.pad(format!("{sign}{prefix}{body}").as_bytes());
        self.flags.zero = zero;
    }

    fn float(&mut self, value: f64, verb: char, original: &Value) {
        let precision = self.flags.precision;
        let text = match verb {
            'v' => number::general(value, precision, 'e'),
            'g' => number::general(value, precision, 'e'),
            'G' => number::general(value, precision, 'E'),
            'e' => number::scientific(value, precision.or(Some(6)), 'e'),
            'E' => number::scientific(value, precision.or(Some(6)), 'E'),
            'f' | 'F' => number::fixed(value, precision.or(Some(6))),
            'x' | 'X' => number::hexadecimal(value, precision, verb == 'X'),
            'b' => binary(value),
            _ => return self.bad(verb, original),
        };
        let text = if self.flags.sharp && verb != 'b' { sharp(&text, verb, precision) } else { text };
        let (negative, body) = match text.strip_prefix('-') {
            Some(body) => (true, body.to_owned()),
            None => (false, text.trim_start_matches('+').to_owned()),
        };
        let sign = if negative || self.flags.plus {
            if negative { "-" } else { "+" }
        } else if self.flags.space {
            " "
        } else if body == "Inf" {
            "+"
        } else {
            ""
        };
        let special = body == "Inf" || body == "NaN";
        let zero = self.flags.zero;
        if special {
            self.flags.zero = false;
        }
        let width = self.flags.width.unwrap_or(0);
        if self.flags.zero && !self.flags.minus && width > sign.len() + body.len() {
            let zeros = "0".repeat(width - sign.len() - body.len());
            self.push(&format!("{sign}{zeros}{body}"));
        } else {
            self.pad(format!("{sign}{body}").as_bytes());
        }
        self.flags.zero = zero;
    }
}

/// A mantissa and a power of two, as `strconv` writes the format `b`.
fn binary(value: f64) -> String {
    if !value.is_finite() {
        return number::general(value, None, 'e');
    }
    let bits = value.to_bits();
    let (exponent, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
    let (mantissa, exponent) = if exponent == 0 { (fraction, -1_074) } else { (fraction | 1 << 52, exponent as i64 - 1_075) };
    format!("{}{mantissa}p{exponent:+}", if value.is_sign_negative() { "-" } else { "" })
}

/// The flag `#` on a float: always a point, and zeros up to the precision.
fn sharp(text: &str, verb: char, precision: Option<usize>) -> String {
    let (sign, text) = text.split_at(text.starts_with(['-', '+']).into());
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return format!("{sign}{text}");
    }
    let hexadecimal = matches!(verb, 'x' | 'X');
    let tail = text.find(|c| matches!(c, 'p' | 'P') || !hexadecimal && matches!(c, 'e' | 'E')).unwrap_or(text.len());
    let (head, tail) = text.split_at(tail);
    let mut missing = if matches!(verb, 'v' | 'g' | 'G' | 'x') { precision.unwrap_or(6) } else { 0 };
    // Go counts from the first character that is no zero, which may be the x of 0x.
    missing = missing.saturating_sub(head.trim_start_matches(['0', '.']).chars().filter(|c| *c != '.').count());
    let point = if head.contains('.') { "" } else { "." };
    if point == "." && head == "0" {
        missing = missing.saturating_sub(1);
    }
    format!("{sign}{head}{point}{}{tail}", "0".repeat(missing))
}

fn rune(negative: bool, size: u64) -> char {
    if negative {
        return char::REPLACEMENT_CHARACTER;
    }
    u32::try_from(size).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn count_runes(bytes: &[u8]) -> usize {
    bytes.utf8_chunks().map(|chunk| chunk.valid().chars().count() + chunk.invalid().len()).sum()
}

fn truncate(bytes: &[u8], precision: Option<usize>) -> &[u8] {
    let Some(precision) = precision else { return bytes };
    let mut runes = 0;
    let mut at = 0;
    for chunk in bytes.utf8_chunks() {
        for size in chunk.valid().chars().map(char::len_utf8).chain(chunk.invalid().iter().map(|_| 1)) {
            if runes == precision {
                return &bytes[..at];
            }
            runes += 1;
            at += size;
        }
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<(char, usize)> {
    bytes.first()?;
    let chunk = bytes.utf8_chunks().next()?;
    match chunk.valid().chars().next() {
        Some(c) => Some((c, c.len_utf8())),
        None => Some((char::REPLACEMENT_CHARACTER, 1)),
    }
}

fn digits(format: &[u8], at: &mut usize) -> Option<usize> {
    let start = *at;
    let mut value: i64 = 0;
    while let Some(digit) = format.get(*at).filter(|b| b.is_ascii_digit()) {
        value = (value * 10 + i64::from(digit - b'0')).min(MAX_WIDTH + 1);
        *at += 1;
    }
    (*at > start && value <= MAX_WIDTH).then_some(value as usize)
}

fn integer(args: &[Value], next: &mut usize) -> Option<i64> {
    let arg = args.get(*next)?;
    *next += 1;
    match arg {
        Value::Int(n) | Value::Int64(n) => Some(*n),
        Value::Uint8(n) => Some(i64::from(*n)),
        Value::Uint64(n) => i64::try_from(*n).ok(),
        _ => None,
    }
    .filter(|n| n.abs() <= MAX_WIDTH)
}

/// An argument index such as `[2]`. Gives whether there was one.
fn index(format: &[u8], at: &mut usize, next: &mut usize, count: usize, good: &mut bool, reordered: &mut bool) -> bool {
    if format.get(*at) != Some(&b'[') {
        return false;
    }
    *reordered = true;
    let Some(close) = format[*at..].iter().position(|b| *b == b']') else {
        *good = false;
        *at += 1;
        return false;
    };
    let number = std::str::from_utf8(&format[*at + 1..*at + close]).ok().and_then(|text| text.parse::<usize>().ok());
    *at += close + 1;
    match number {
        Some(n) if n >= 1 && n <= count => {
            *next = n - 1;
            true
        }
        _ => {
            *good = false;
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Map;

    fn print(format: &str, args: &[Value]) -> String {
        String::from_utf8(sprintf(format.as_bytes(), args).unwrap()).unwrap()
    }

    #[test]
    fn verbs_flags_and_mistakes_print_as_in_go() {
        let s = |text: &str| Value::string(text);
        let cases: &[(&str, Vec<Value>, &str)] = &[
            ("%d %d", vec![Value::Int(1)], "1 %!d(MISSING)"),
            ("%s", vec![Value::Int(1)], "%!s(int=1)"),
            ("%d", vec![s("x"), Value::Int(2)], "%!d(string=x)%!(EXTRA int=2)"),
            ("%[2]d %[1]d", vec![Value::Int(1), Value::Int(2)], "2 1"),
            ("%6.2f|%-10s|%10s|%.3s", vec![Value::Float(3.14159), s("ab"), s("cd"), s("abcdef")], "  3.14|ab        |        cd|abc"),
            ("%x|% x|%X|%#x", vec![s("hi"), s("hi"), s("hi"), Value::Int(255)], "6869|68 69|6869|0xff"),
            ("%08v|%08d|%+d|%05d", vec![s("hello"), Value::Int(-7), Value::Int(3), Value::Int(42)], "000hello|-0000007|+3|00042"),
            (
                "%q %v %t %c %U",
                vec![s("a\tb"), Value::Nil, Value::Bool(true), Value::Int(65), Value::Int(9731)],
                "\"a\\tb\" <nil> true A U+2603",
            ),
            ("%*d|%-*d|", vec![Value::Int(4), Value::Int(1), Value::Int(3), Value::Int(2)], "   1|2  |"),
            ("%5.2f", vec![s("hello")], "%!f(string=   he)"),
            ("%", vec![], "%!(NOVERB)"),
            ("%v %s", vec![Value::Duration(5_400_000_000_000), Value::Duration(1_500_000)], "1h30m0s 1.5ms"),
            ("%e %g %G", vec![Value::Float(1234.5), Value::Float(1e-7), Value::Float(1e21)], "1.234500e+03 1e-07 1E+21"),
        ];
        for (format, args, wanted) in cases {
            assert_eq!(print(format, args), *wanted, "{format}");
        }
    }

    #[test]
    fn lists_and_maps_print_their_elements() {
        let list = Value::list(vec![Value::Int(1), Value::string("a"), Value::Nil]);
        let map = Map::any();
        map.insert("b", Value::Float(1.0));
        map.insert("a", list.clone());
        assert_eq!(
            print("%v %d %#v", &[Value::Map(map), list.clone(), list]),
            "map[a:[1 a <nil>] b:1] [1 %!d(string=a) <nil>] []interface {}{1, \"a\", interface {}(nil)}"
        );
    }

    #[test]
    fn a_map_that_holds_itself_is_an_error() {
        let map = Map::any();
        map.insert("self", Value::Map(map.clone()));
        assert_eq!(sprint(&[Value::Map(map.clone())]).unwrap_err().exceeded(), Some(Limit::Depth));
        map.clear();
    }
}
