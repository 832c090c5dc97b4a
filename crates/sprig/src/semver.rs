//! Versions and ranges as Masterminds/semver has them.

use crate::args::{Result, string, text};
use gotemplate::{Failure, Function, Kind, Method, Object, Type, Value};
use std::{any::Any, cmp::Ordering, fmt, rc::Rc};

const S: Type = Type::String;

pub(crate) const ALL: &[Function] = &[
    Function::new("semver", &[S], |_, args| {
        let version = Version::parse(&text(args, 0)).map_err(Failure::new)?;
        Ok(Value::Object(Rc::new(version)))
    }),
    Function::new("semverCompare", &[S, S], |run, args| {
        run.charge(text(args, 0).len() as u64 / 8)?;
        let constraint = Constraint::parse(&text(args, 0)).map_err(Failure::new)?;
        let version = Version::parse(&text(args, 1)).map_err(Failure::new)?;
        Ok(Value::Bool(constraint.matches(&version)))
    }),
];

/// A version, read leniently: a leading `v`, missing parts and leading zeros are fine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    prerelease: String,
    metadata: String,
    original: String,
}

fn identifiers(text: &str) -> bool {
    text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
}

impl Version {
    /// The error is Masterminds'.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        const INVALID: &str = "invalid semantic version";
        if text.len() > 256 {
            return Err("version string is too long".to_owned());
        }
        let body = text.strip_prefix('v').unwrap_or(text);
        let (body, metadata) = match body.split_once('+') {
            Some((body, metadata)) if identifiers(metadata) => (body, metadata),
            Some(_) => return Err(INVALID.to_owned()),
            None => (body, ""),
        };
        let (numbers, prerelease) = match body.split_once('-') {
            Some((numbers, prerelease)) if identifiers(prerelease) => (numbers, prerelease),
            Some(_) => return Err(INVALID.to_owned()),
            None => (body, ""),
        };
        let mut parts = [0u64; 3];
        let mut count = 0;
        for part in numbers.split('.') {
            if count == 3 || part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(INVALID.to_owned());
            }
            parts[count] = part
                .parse()
                .map_err(|_| format!("error parsing version segment: strconv.ParseUint: parsing {part:?}: value out of range"))?;
            count += 1;
        }
        if prerelease.split('.').any(|part| part.len() > 1 && part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit())) {
            return Err("version segment starts with 0".to_owned());
        }
        let [major, minor, patch] = parts;
        Ok(Self { major, minor, patch, prerelease: prerelease.to_owned(), metadata: metadata.to_owned(), original: text.to_owned() })
    }

    pub fn compare(&self, other: &Self) -> Ordering {
        let numbers = |v: &Self| (v.major, v.minor, v.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| compare_prerelease(&self.prerelease, &other.prerelease))
    }

    pub fn is_prerelease(&self) -> bool {
        !self.prerelease.is_empty()
    }

    pub fn original(&self) -> &str {
        &self.original
    }

    pub fn major(&self) -> u64 {
        self.major
    }

    pub fn minor(&self) -> u64 {
        self.minor
    }

    fn plain(major: u64, minor: u64, patch: u64) -> Self {
        Self { major, minor, patch, prerelease: String::new(), metadata: String::new(), original: String::new() }
    }
}

fn compare_prerelease(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        _ => {}
    }
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (a.parse::<u64>(), b.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => a.cmp(b),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.prerelease.is_empty() {
            write!(out, "-{}", self.prerelease)?;
        }
        if !self.metadata.is_empty() {
            write!(out, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    Tilde,
    Caret,
}

#[derive(Debug)]
struct Term {
    operator: Operator,
    version: Version,
    minor_missing: bool,
    patch_missing: bool,
    /// A wildcard in place of the whole version, or a missing part.
    dirty: bool,
}

/// A range of versions: alternatives of terms that all must hold.
#[derive(Debug)]
pub struct Constraint {
    alternatives: Vec<Vec<Term>>,
}

impl Constraint {
    /// The error is Masterminds'.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        if text.len() > 4_096 {
            return Err("constraint string is too long".to_owned());
        }
        let expanded = expand_hyphens(text);
        let mut alternatives = Vec::new();
        for part in expanded.split("||") {
            let terms = split_terms(part).ok_or_else(|| format!("improper constraint: {}", gotemplate::number::quote(part.as_bytes())))?;
            alternatives
                .push(terms.into_iter().map(|(operator, version)| Term::parse(operator, version)).collect::<std::result::Result<_, _>>()?);
        }
        Ok(Self { alternatives })
    }

    pub fn matches(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|terms| {
            // A prerelease only fits where the range speaks of prereleases.
            let prereleases = terms.iter().any(|term| term.version.is_prerelease());
            (prereleases || !version.is_prerelease()) && terms.iter().all(|term| term.matches(version))
        })
    }
}

/// `1.2 - 1.4` becomes `>= 1.2, <= 1.4`.
fn expand_hyphens(text: &str) -> String {
    let mut out = String::new();
    for (at, part) in text.split("||").enumerate() {
        if at > 0 {
            out.push_str("||");
        }
        let mut rest = part;
        while let Some(at) = rest.find(" - ").filter(|_| true) {
            let left = rest[..at].trim_end();
            let right = rest[at + 3..].trim_start();
            let start = left.rfind([' ', ',']).map_or(0, |at| at + 1);
            let end = right.find([' ', ',']).unwrap_or(right.len());
            if left[start..].is_empty() || end == 0 {
                break;
            }
            out.push_str(&left[..start]);
            out.push_str(&format!(">={} , <={}", &left[start..], &right[..end]).replace(" ,", ","));
            rest = &right[end..];
        }
        out.push_str(rest);
    }
    out
}

/// Cuts `>=1.2, <2` into terms; `None` where the syntax is wrong.
fn split_terms(text: &str) -> Option<Vec<(Operator, &str)>> {
    let mut terms = Vec::new();
    let mut rest = text.trim();
    loop {
        let (operator, after) = take_operator(rest);
        let after = after.trim_start();
        let end = after.find([' ', ',', '\t', '\n']).unwrap_or(after.len());
        // An operator may follow a version without a space: ">1.2<1.4".
        let end = after[..end].find(['<', '>', '=', '!', '~', '^']).unwrap_or(end);
        if end == 0 {
            return None;
        }
        terms.push((operator, &after[..end]));
        let tail = after[end..].trim_start();
        if tail.is_empty() {
            return Some(terms);
        }
        rest = match tail.strip_prefix(',') {
            Some(tail) if tail.trim_start().is_empty() => return None,
            Some(tail) => tail.trim_start(),
            None => tail,
        };
    }
}

fn take_operator(text: &str) -> (Operator, &str) {
    const OPERATORS: &[(&str, Operator)] = &[
        (">=", Operator::GreaterEqual),
        ("=>", Operator::GreaterEqual),
        ("<=", Operator::LessEqual),
        ("=<", Operator::LessEqual),
        ("!=", Operator::NotEqual),
        ("~>", Operator::Tilde),
        ("~", Operator::Tilde),
        ("^", Operator::Caret),
        (">", Operator::Greater),
        ("<", Operator::Less),
        ("=", Operator::Equal),
    ];
    OPERATORS.iter().find_map(|(mark, operator)| text.strip_prefix(mark).map(|rest| (*operator, rest))).unwrap_or((Operator::Equal, text))
}

fn is_wildcard(part: &str) -> bool {
    matches!(part, "x" | "X" | "*")
}

impl Term {
    fn parse(operator: Operator, text: &str) -> std::result::Result<Self, String> {
        let improper = || format!("improper constraint: {}", gotemplate::number::quote(text.as_bytes()));
        let body = text.strip_prefix('v').unwrap_or(text);
        let split = body.find(['-', '+']).unwrap_or(body.len());
        let (numbers, suffix) = body.split_at(split);
        let parts: Vec<&str> = numbers.split('.').collect();
        if parts.len() > 3 || parts.iter().any(|part| !(is_wildcard(part) || !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())))
        {
            return Err(improper());
        }
        let mut term = Self { operator, version: Version::plain(0, 0, 0), minor_missing: false, patch_missing: false, dirty: false };
        if is_wildcard(parts[0]) {
            // A wildcard in place of the version is any version at all.
            term.version = Version::plain(0, 0, 0);
            term.operator = if matches!(operator, Operator::Equal) { Operator::GreaterEqual } else { operator };
            term.minor_missing = true;
            term.patch_missing = true;
            term.dirty = true;
            return Ok(term);
        }
        let minor = parts.get(1).filter(|part| !is_wildcard(part));
        let patch = parts.get(2).filter(|part| !is_wildcard(part));
        term.minor_missing = minor.is_none();
        term.patch_missing = patch.is_none() || minor.is_none();
        term.dirty = term.minor_missing || term.patch_missing;
        let full =
            format!("{}.{}.{}{suffix}", parts[0], minor.unwrap_or(&"0"), if term.patch_missing { "0" } else { patch.unwrap_or(&"0") });
        term.version = Version::parse(&full).map_err(|_| "constraint Parser Error".to_owned())?;
        Ok(term)
    }

    fn matches(&self, version: &Version) -> bool {
        let bound = &self.version;
        let order = version.compare(bound);
        match self.operator {
            Operator::Equal if self.dirty => self.tilde(version),
            Operator::Equal => order.is_eq(),
            Operator::NotEqual if self.dirty => {
                version.major != bound.major
                    || !self.minor_missing && version.minor != bound.minor
                    || !self.minor_missing && !self.patch_missing && order.is_ne()
            }
            Operator::NotEqual => order.is_ne(),
            Operator::Greater if !self.dirty => order.is_gt(),
            Operator::Greater if version.major != bound.major => version.major > bound.major,
            Operator::Greater if self.minor_missing => false,
            Operator::Greater => version.minor > bound.minor,
            Operator::Less => order.is_lt(),
            Operator::GreaterEqual => order.is_ge(),
            Operator::LessEqual if !self.dirty => order.is_le(),
            Operator::LessEqual if version.major != bound.major => version.major < bound.major,
            Operator::LessEqual => self.minor_missing || version.minor <= bound.minor,
            Operator::Tilde => self.tilde(version),
            Operator::Caret => self.caret(version),
        }
    }

    fn tilde(&self, version: &Version) -> bool {
        let bound = &self.version;
        if version.compare(bound).is_lt() {
            return false;
        }
        // "~0.0.0" on a wildcard is everything.
        if bound.major == 0 && bound.minor == 0 && bound.patch == 0 && self.minor_missing && self.patch_missing && bound.original.is_empty()
        {
            return true;
        }
        version.major == bound.major && (self.minor_missing || version.minor == bound.minor)
    }

    fn caret(&self, version: &Version) -> bool {
        let bound = &self.version;
        if version.compare(bound).is_lt() {
            return false;
        }
        if bound.major > 0 || self.minor_missing {
            return version.major == bound.major;
        }
        if version.major != 0 {
            return false;
        }
        if bound.minor > 0 || self.patch_missing {
            return version.minor == bound.minor;
        }
        version.minor == 0 && version.patch == bound.patch
    }
}

fn receiver(object: &Rc<dyn Object>) -> Result<&Version> {
    object.as_any().downcast_ref::<Version>().ok_or_else(|| Failure::new("receiver is no *semver.Version"))
}

const VERSION: Type = Type::Named("*semver.Version");

fn compare(this: &Rc<dyn Object>, args: &[Value]) -> Result<Ordering> {
    match &args[0] {
        Value::Object(other) => Ok(receiver(this)?.compare(receiver(other)?)),
        _ => Err(Failure::new(crate::args::NIL_POINTER)),
    }
}

const METHODS: &[Method] = &[
    Method { name: "Major", params: &[], rest: None, call: |this, _, _| Ok(Value::Uint64(receiver(this)?.major)) },
    Method { name: "Minor", params: &[], rest: None, call: |this, _, _| Ok(Value::Uint64(receiver(this)?.minor)) },
    Method { name: "Patch", params: &[], rest: None, call: |this, _, _| Ok(Value::Uint64(receiver(this)?.patch)) },
    Method { name: "Prerelease", params: &[], rest: None, call: |this, _, _| Ok(Value::string(receiver(this)?.prerelease.as_str())) },
    Method { name: "Metadata", params: &[], rest: None, call: |this, _, _| Ok(Value::string(receiver(this)?.metadata.as_str())) },
    Method { name: "Original", params: &[], rest: None, call: |this, _, _| Ok(Value::string(receiver(this)?.original.as_str())) },
    Method { name: "String", params: &[], rest: None, call: |this, run, _| string(run, receiver(this)?.to_string()) },
    Method { name: "Compare", params: &[VERSION], rest: None, call: |this, _, args| Ok(Value::Int(compare(this, args)? as i64)) },
    Method { name: "Equal", params: &[VERSION], rest: None, call: |this, _, args| Ok(Value::Bool(compare(this, args)?.is_eq())) },
    Method { name: "GreaterThan", params: &[VERSION], rest: None, call: |this, _, args| Ok(Value::Bool(compare(this, args)?.is_gt())) },
    Method {
        name: "GreaterThanEqual",
        params: &[VERSION],
        rest: None,
        call: |this, _, args| Ok(Value::Bool(compare(this, args)?.is_ge())),
    },
    Method { name: "LessThan", params: &[VERSION], rest: None, call: |this, _, args| Ok(Value::Bool(compare(this, args)?.is_lt())) },
    Method { name: "LessThanEqual", params: &[VERSION], rest: None, call: |this, _, args| Ok(Value::Bool(compare(this, args)?.is_le())) },
    Method {
        name: "IncMajor",
        params: &[],
        rest: None,
        call: |this, _, _| {
            let next = receiver(this)?.major.saturating_add(1);
            Ok(incremented(Version::plain(next, 0, 0)))
        },
    },
    Method {
        name: "IncMinor",
        params: &[],
        rest: None,
        call: |this, _, _| {
            let version = receiver(this)?;
            Ok(incremented(Version::plain(version.major, version.minor.saturating_add(1), 0)))
        },
    },
    Method {
        name: "IncPatch",
        params: &[],
        rest: None,
        call: |this, _, _| {
            let version = receiver(this)?;
            let step = u64::from(!version.is_prerelease());
            Ok(incremented(Version::plain(version.major, version.minor, version.patch.saturating_add(step))))
        },
    },
];

fn incremented(mut version: Version) -> Value {
    version.original = version.to_string();
    Value::Object(Rc::new(version))
}

impl Object for Version {
    fn type_name(&self) -> &str {
        "*semver.Version"
    }

    fn kind(&self) -> Kind {
        Kind::Pointer
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn is_stringer(&self) -> bool {
        true
    }

    fn method(&self, name: &str) -> Option<&'static Method> {
        METHODS.iter().find(|method| method.name == name)
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.as_any().downcast_ref::<Version>().is_some_and(|other| self == other)
    }

    fn as_json(&self) -> Option<Value> {
        Some(Value::string(self.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_match_as_masterminds_does() {
        let cases = [
            (">=1.19", "v1.27.3-gke.100", false),
            (">=1.19-0", "v1.27.3-gke.100", true),
            ("^1.2", "1.9.9", true),
            ("^1.2", "2.0.0", false),
            ("~1.2.3", "1.2.2", false),
            ("~1", "1.9.0", true),
            ("1.2.x", "1.2.7", true),
            ("*", "1.2.3-rc1", false),
            (">1.2 <1.4", "1.3.0", true),
            ("1.2 - 1.4", "1.4.9", true),
            ("1.2 - 1.4.5", "1.4.9", false),
            ("^0.2.3", "0.3.0", false),
            ("^0.0.3", "0.0.4", false),
            ("!=1.2.3", "1.2.4", true),
            ("!=1.2", "1.2.4", false),
            (">1.2", "1.2.4", false),
            ("<=1.2", "1.2.9", true),
            (">1", "1.5", false),
            ("<1.14-0", "1.14.0", false),
            ("^1.2.3-alpha", "1.2.3-beta", true),
            ("1.x || >=2.5.0 || 5.0.0 - 7.2.3", "5.1.0", true),
            (">=1.25.0-0 <2", "1.31.0-alpha", true),
        ];
        for (constraint, version, fits) in cases {
            assert_eq!(Constraint::parse(constraint).unwrap().matches(&Version::parse(version).unwrap()), fits, "{constraint} {version}");
        }
        assert_eq!(Constraint::parse("bad").unwrap_err(), "improper constraint: \"bad\"");
        assert_eq!(Constraint::parse(">=1.0.0,").unwrap_err(), "improper constraint: \">=1.0.0,\"");
        assert_eq!(Constraint::parse("").unwrap_err(), "improper constraint: \"\"");
        assert_eq!(Version::parse("1.28+").unwrap_err(), "invalid semantic version");
    }
}
