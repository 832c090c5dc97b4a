//! Semantic versions and version ranges as Go's Masterminds/semver v3 reads and compares them.
//!
//! ```text
//! Version::parse         lax: v1, 1.2, 01.2.3         what Helm's functions read
//! Version::parse_strict  three parts, no "v", no 01   what a release must look like
//! Constraint::parse      >=1.2 <2 || ~3.1, 4.x, 1 - 2
//! ```
//!
//! Cargo's rules (the `semver` crate) differ: no `||`, no `x` ranges, other prerelease rules.

use std::{cmp::Ordering, fmt};

/// Why a version or a range could not be read. The texts are those that users know from Helm and Flux.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("invalid semantic version")]
    Invalid,
    #[error("version string empty")]
    Empty,
    #[error("invalid characters in version")]
    Characters,
    #[error("version segment starts with 0")]
    LeadingZero,
    #[error("invalid metadata string")]
    Metadata,
    #[error("invalid prerelease string")]
    Prerelease,
    #[error("error parsing version segment: value out of range")]
    OutOfRange,
    #[error("improper constraint: {0:?}")]
    Constraint(String),
    #[error("constraint parser error")]
    ConstraintVersion,
    /// Longer than any version or range that a person writes.
    #[error("the text is longer than {MAX_LEN} bytes")]
    TooLong,
}

/// Longest text that is read; comparing is linear, so this only keeps junk out.
pub const MAX_LEN: usize = 4096;

/// One version. Equality and order ignore build metadata, as the specification says.
#[derive(Debug, Clone)]
pub struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    prerelease: String,
    metadata: String,
    original: String,
}

impl Version {
    /// Reads leniently: an optional `v`, one to three parts, leading zeros.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_LEN {
            return Err(Error::TooLong);
        }
        let (numbers, prerelease, metadata) = split(text.strip_prefix('v').unwrap_or(text));
        let mut parts = [0; 3];
        for (count, part) in numbers.split('.').enumerate() {
            if count == 3 || part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(Error::Invalid);
            }
            parts[count] = part.parse().map_err(|_| Error::OutOfRange)?;
        }
        Self::build(text, parts, prerelease, metadata)
    }

    /// Reads exactly `major.minor.patch[-prerelease][+metadata]`.
    pub fn parse_strict(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(Error::Empty);
        }
        if text.len() > MAX_LEN {
            return Err(Error::TooLong);
        }
        let (numbers, prerelease, metadata) = split(text);
        let mut parts = [0; 3];
        let segments: Vec<&str> = numbers.split('.').collect();
        if segments.len() != 3 {
            return Err(Error::Invalid);
        }
        for (value, segment) in parts.iter_mut().zip(segments) {
            if segment.is_empty() || !segment.bytes().all(|b| b.is_ascii_digit()) {
                return Err(Error::Characters);
            }
            if segment.len() > 1 && segment.starts_with('0') {
                return Err(Error::LeadingZero);
            }
            *value = segment.parse().map_err(|_| Error::OutOfRange)?;
        }
        Self::build(text, parts, prerelease, metadata)
    }

    /// Reads a tag: a strict version with an optional `v` before it. `v1.2` is no version of a tag.
    ///
    /// As Flux reads Git tags, OCI tags and chart versions.
    pub fn parse_tag(text: &str) -> Result<Self, Error> {
        let mut version = Self::parse_strict(text.strip_prefix('v').unwrap_or(text))?;
        version.original = text.to_owned();
        Ok(version)
    }

    fn build(original: &str, [major, minor, patch]: [u64; 3], prerelease: Option<&str>, metadata: Option<&str>) -> Result<Self, Error> {
        if let Some(prerelease) = prerelease {
            for part in prerelease.split('.') {
                if !is_identifier(part) {
                    return Err(Error::Prerelease);
                }
                if part.len() > 1 && part.starts_with('0') && part.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(Error::LeadingZero);
                }
            }
        }
        if let Some(metadata) = metadata
            && !metadata.split('.').all(is_identifier)
        {
            return Err(Error::Metadata);
        }
        Ok(Self {
            major,
            minor,
            patch,
            prerelease: prerelease.unwrap_or_default().to_owned(),
            metadata: metadata.unwrap_or_default().to_owned(),
            original: original.to_owned(),
        })
    }

    pub fn major(&self) -> u64 {
        self.major
    }

    pub fn minor(&self) -> u64 {
        self.minor
    }

    pub fn patch(&self) -> u64 {
        self.patch
    }

    /// Without the `-`; empty for a release.
    pub fn prerelease(&self) -> &str {
        &self.prerelease
    }

    /// Without the `+`; empty when there is none.
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    /// The text as it was given.
    pub fn original(&self) -> &str {
        &self.original
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

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.major, self.minor, self.patch)
            .cmp(&(other.major, other.minor, other.patch))
            .then_with(|| compare_prereleases(&self.prerelease, &other.prerelease))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

/// `numbers[-prerelease][+metadata]` in its three parts.
fn split(text: &str) -> (&str, Option<&str>, Option<&str>) {
    let (rest, metadata) = match text.split_once('+') {
        Some((rest, metadata)) => (rest, Some(metadata)),
        None => (text, None),
    };
    match rest.split_once('-') {
        Some((numbers, prerelease)) => (numbers, Some(prerelease), metadata),
        None => (rest, None, metadata),
    }
}

fn is_identifier(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn compare_prereleases(left: &str, right: &str) -> Ordering {
    match (left.is_empty(), right.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut lefts, mut rights) = (left.split('.'), right.split('.'));
    loop {
        let order = match (lefts.next(), rights.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(left), Some(right)) => match (left.parse::<u64>(), right.parse::<u64>()) {
                (Ok(left), Ok(right)) => left.cmp(&right),
                (Ok(_), Err(_)) => Ordering::Less,
                (Err(_), Ok(_)) => Ordering::Greater,
                (Err(_), Err(_)) => left.cmp(right),
            },
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// A range of versions: alternatives, each a list of comparisons that all must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    alternatives: Vec<Vec<Comparison>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    /// None or `=`: equal, or a tilde range when parts are missing.
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterEqual,
    LessEqual,
    Tilde,
    Caret,
}

/// Which part of a version was left out or an `x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Nothing,
    Patch,
    Minor,
    Major,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Comparison {
    operator: Operator,
    version: Version,
    missing: Missing,
}

impl Constraint {
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_LEN {
            return Err(Error::TooLong);
        }
        let alternatives = rewrite_ranges(text).split("||").map(comparisons).collect::<Result<_, _>>()?;
        Ok(Self { alternatives })
    }

    /// Whether `version` lies in the range. A prerelease does only where the alternative names one itself.
    pub fn matches(&self, version: &Version) -> bool {
        self.alternatives.iter().any(|all| {
            let prereleases = all.iter().any(|c| !c.version.prerelease.is_empty());
            all.iter().all(|c| c.holds(version, prereleases))
        })
    }
}

impl Comparison {
    fn holds(&self, version: &Version, prereleases: bool) -> bool {
        if !version.prerelease.is_empty() && !prereleases {
            return false;
        }
        match self.operator {
            Operator::Equal if self.missing == Missing::Nothing => *version == self.version,
            Operator::Equal | Operator::Tilde => self.tilde(version),
            Operator::NotEqual => self.not_equal(version),
            Operator::Greater => self.greater(version),
            Operator::Less => *version < self.version,
            Operator::GreaterEqual => *version >= self.version,
            Operator::LessEqual => self.less_equal(version),
            Operator::Caret => self.caret(version),
        }
    }

    fn not_equal(&self, version: &Version) -> bool {
        let own = &self.version;
        match self.missing {
            Missing::Nothing => version != own,
            // `!= *` is read as "not 0.0.0": the whole-version wildcard leaves no part to compare.
            Missing::Major => (version.major, version.minor, version.patch) != (0, 0, 0) || version != own,
            Missing::Minor => version.major != own.major,
            Missing::Patch => {
                (version.major, version.minor) != (own.major, own.minor)
                    || ((!version.prerelease.is_empty() || !own.prerelease.is_empty())
                        && compare_prereleases(&version.prerelease, &own.prerelease) != Ordering::Equal)
            }
        }
    }

    fn greater(&self, version: &Version) -> bool {
        match self.missing {
            Missing::Nothing | Missing::Major => *version > self.version,
            Missing::Minor => version.major > self.version.major,
            Missing::Patch => (version.major, version.minor) > (self.version.major, self.version.minor),
        }
    }

    fn less_equal(&self, version: &Version) -> bool {
        match self.missing {
            Missing::Nothing => *version <= self.version,
            Missing::Minor => version.major <= self.version.major,
            Missing::Patch | Missing::Major => (version.major, version.minor) <= (self.version.major, self.version.minor),
        }
    }

    /// `~1.2.3` is `>=1.2.3 <1.3.0`; `~1` is `>=1.0.0 <2.0.0`; `~0.0.0` and `~*` admit everything from 0.0.0 on.
    fn tilde(&self, version: &Version) -> bool {
        let own = &self.version;
        if version < own {
            return false;
        }
        let all = (own.major, own.minor, own.patch) == (0, 0, 0) && matches!(self.missing, Missing::Nothing | Missing::Major);
        all || (version.major == own.major && (version.minor == own.minor || self.missing == Missing::Minor))
    }

    /// `^` keeps the left-most part that is not zero: `^1.2` is `<2.0.0`, `^0.2` is `<0.3.0`, `^0.0.3` is `<0.0.4`.
    fn caret(&self, version: &Version) -> bool {
        let own = &self.version;
        if version < own {
            return false;
        }
        if own.major > 0 || self.missing == Missing::Minor {
            return version.major == own.major;
        }
        // `^*` is read as `^0.0.0`, against what Masterminds' own comments say.
        if version.major > 0 {
            return false;
        }
        if own.minor > 0 || self.missing == Missing::Patch {
            return version.minor == own.minor;
        }
        version.minor == own.minor && version.patch == own.patch
    }
}

/// Reads one alternative: comparisons divided by spaces or commas.
fn comparisons(segment: &str) -> Result<Vec<Comparison>, Error> {
    let improper = || Error::Constraint(segment.to_owned());
    let mut all = Vec::new();
    let mut rest = segment.trim_start_matches(is_space);
    loop {
        let (operator, tail) = operator(rest);
        let tail = tail.trim_start_matches(is_space);
        let len = version_len(tail).ok_or_else(improper)?;
        all.push(comparison(operator, &tail[..len])?);
        let after = &tail[len..];
        rest = after.trim_start_matches(is_space);
        if rest.is_empty() {
            return Ok(all);
        }
        match rest.strip_prefix(',') {
            Some(next) => rest = next.trim_start_matches(is_space),
            None if rest.len() == after.len() => return Err(improper()),
            None => {}
        }
    }
}

fn operator(text: &str) -> (Operator, &str) {
    const OPERATORS: [(&str, Operator); 11] = [
        ("!=", Operator::NotEqual),
        (">=", Operator::GreaterEqual),
        ("=>", Operator::GreaterEqual),
        ("<=", Operator::LessEqual),
        ("=<", Operator::LessEqual),
        ("~>", Operator::Tilde),
        ("=", Operator::Equal),
        (">", Operator::Greater),
        ("<", Operator::Less),
        ("~", Operator::Tilde),
        ("^", Operator::Caret),
    ];
    OPERATORS
        .into_iter()
        .find_map(|(sign, operator)| text.strip_prefix(sign).map(|rest| (operator, rest)))
        .unwrap_or((Operator::Equal, text))
}

fn comparison(operator: Operator, text: &str) -> Result<Comparison, Error> {
    let (numbers, prerelease, _) = split(text.strip_prefix('v').unwrap_or(text));
    let mut parts = numbers.split('.');
    let is_wild = |part: Option<&str>| matches!(part, None | Some("x" | "X" | "*"));
    let (major, minor, patch) = (parts.next(), parts.next(), parts.next());
    let suffix = prerelease.map(|p| format!("-{p}")).unwrap_or_default();
    let (missing, text) = match (major, minor, patch) {
        (major, _, _) if is_wild(major) => (Missing::Major, format!("0.0.0{suffix}")),
        (Some(major), minor, _) if is_wild(minor) => (Missing::Minor, format!("{major}.0.0{suffix}")),
        (Some(major), Some(minor), patch) if is_wild(patch) => (Missing::Patch, format!("{major}.{minor}.0{suffix}")),
        _ => (Missing::Nothing, text.to_owned()),
    };
    let version = Version::parse(&text).map_err(|_| Error::ConstraintVersion)?;
    Ok(Comparison { operator, version, missing })
}

/// The spaces of Go's `\s`.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

/// Length of the version (with wildcards) that `text` begins with.
fn version_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let run = |from: usize, accept: fn(u8) -> bool| bytes[from..].iter().take_while(|b| accept(**b)).count();
    let number = |b: u8| b.is_ascii_digit() || matches!(b, b'x' | b'X' | b'*');
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let mut at = usize::from(bytes.first() == Some(&b'v'));
    let first = run(at, number);
    if first == 0 {
        return None;
    }
    at += first;
    for _ in 0..2 {
        if bytes.get(at) == Some(&b'.') && run(at + 1, number) > 0 {
            at += 1 + run(at + 1, number);
        }
    }
    for sign in [b'-', b'+'] {
        if bytes.get(at) == Some(&sign) && run(at + 1, word) > 0 {
            at += 1 + run(at + 1, word);
            while bytes.get(at) == Some(&b'.') && run(at + 1, word) > 0 {
                at += 1 + run(at + 1, word);
            }
        }
    }
    Some(at)
}

/// Turns each `1.2 - 2.3` into `>= 1.2, <= 2.3`.
fn rewrite_ranges(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if let Some((low, high, tail)) = hyphen_range(rest) {
            out.push_str(&format!(">= {low}, <= {high} "));
            rest = tail;
            continue;
        }
        // A version that is no range is passed whole, so that its own end is not taken for a beginning.
        let step = version_len(rest).unwrap_or(next.len_utf8());
        out.push_str(&rest[..step]);
        rest = &rest[step..];
    }
    out
}

fn hyphen_range(text: &str) -> Option<(&str, &str, &str)> {
    let low = version_len(text)?;
    let gap = text[low..].trim_start_matches(is_space);
    let tail = gap.strip_prefix('-').filter(|_| gap.len() < text.len() - low)?;
    let high_text = tail.trim_start_matches(is_space);
    let high = version_len(high_text).filter(|_| high_text.len() < tail.len())?;
    Some((&text[..low], &high_text[..high], high_text[high..].trim_start_matches(is_space)))
}

/// The tag with the highest version of a range; `version` reads a tag. Of tags of the same version the first counts.
pub fn newest<'t>(
    tags: impl IntoIterator<Item = &'t str>,
    range: &Constraint,
    version: impl Fn(&str) -> Option<Version>,
) -> Option<&'t str> {
    let mut best: Option<(Version, &str)> = None;
    for tag in tags {
        let Some(version) = version(tag).filter(|version| range.matches(version)) else { continue };
        if best.as_ref().is_none_or(|(known, _)| version > *known) {
            best = Some((version, tag));
        }
    }
    best.map(|(_, tag)| tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(range: &str, version: &str) -> bool {
        Constraint::parse(range).unwrap().matches(&Version::parse(version).unwrap())
    }

    #[test]
    fn ranges_admit_what_masterminds_admits() {
        // (range, admitted, refused)
        let table: &[(&str, &[&str], &[&str])] = &[
            ("1.2.3", &["1.2.3", "1.2.3+meta", "v1.2.3"], &["1.2.4", "1.2.3-rc.1"]),
            ("=1.2", &["1.2.0", "1.2.9"], &["1.3.0", "1.1.9"]),
            ("1.x", &["1.0.0", "1.9.9"], &["2.0.0", "0.9.0", "1.0.0-alpha"]),
            ("*", &["0.0.0", "9.9.9"], &["1.0.0-rc.1"]),
            ("!=1.2.3", &["1.2.4"], &["1.2.3", "1.2.4-rc.1"]),
            ("!=1.x", &["2.0.0"], &["1.5.0", "2.0.0-rc.1"]),
            ("!=4.5.x", &["4.6.0", "5.5.0"], &["4.5.1"]),
            (">11", &["12.0.0"], &["11.1.0", "11.0.0"]),
            (">11.1", &["11.2.0"], &["11.1.1"]),
            (">1.2.3", &["1.2.4"], &["1.2.3"]),
            ("<2", &["1.9.9"], &["2.0.0", "2.0.0-beta"]),
            ("<=2", &["2.9.9"], &["3.0.0"]),
            ("=<2.1", &["2.1.9"], &["2.2.0"]),
            ("<=11.1.0", &["11.1.0"], &["11.1.1"]),
            (">=1.0.0-0", &["1.0.0-alpha", "1.0.0", "2.0.0-rc"], &["0.9.0"]),
            ("=>1", &["1.0.0"], &["0.9.9"]),
            ("~1.2.3", &["1.2.3", "1.2.9"], &["1.3.0", "1.2.2"]),
            ("~>1", &["1.0.0", "1.9.0"], &["2.0.0"]),
            ("~1.2", &["1.2.0"], &["1.3.0"]),
            ("~0.0.0", &["0.0.0", "7.1.0"], &[]),
            ("^1.2.3", &["1.2.3", "1.9.0"], &["2.0.0", "1.2.2", "1.3.0-rc"]),
            ("^0.2.3", &["0.2.3", "0.2.9"], &["0.3.0"]),
            ("^0.0.3", &["0.0.3"], &["0.0.4", "0.1.0"]),
            ("^0.0", &["0.0.9"], &["0.1.0"]),
            ("^0", &["0.9.9"], &["1.0.0"]),
            ("^1.2.0-alpha", &["1.2.0-beta", "1.3.0-rc"], &["1.2.0-aa"]),
            (">=1.0 <2", &["1.5.0"], &["2.0.0"]),
            (">=1.0, <2, !=1.5.0", &["1.4.0"], &["1.5.0"]),
            ("1.0 - 2.0", &["1.0.0", "2.0.9"], &["2.1.0", "0.9.0"]),
            ("1 - 2 || 5 - 6", &["1.0.0", "6.5.0"], &["4.0.0"]),
            ("<1 || >=3.1.0", &["0.9.0", "3.1.0"], &["2.0.0"]),
            // A prerelease anywhere in an alternative opens it for all of its comparisons, since 3.4.
            (">=1.0.0-0 <2", &["1.5.0-rc.1"], &["2.0.0"]),
        ];
        for (range, admitted, refused) in table {
            for version in *admitted {
                assert!(matches(range, version), "{range:?} must admit {version}");
            }
            for version in *refused {
                assert!(!matches(range, version), "{range:?} must refuse {version}");
            }
        }
    }

    #[test]
    fn refuses_ranges_that_are_none() {
        for bad in ["not a range", "1.2.3.4", ">=", "1,", "1 2x3 y", "==1", ">>1", "1.0.0-", "||", "a||1", "", " ", "1.2 -3"] {
            assert!(Constraint::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Constraint::parse("not a range").unwrap_err().to_string(), r#"improper constraint: "not a range""#);
        assert_eq!(Constraint::parse(&"1".repeat(5000)), Err(Error::TooLong));
    }

    #[test]
    fn versions_sort_as_the_specification_says() {
        let sorted = [
            "0.9.0",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
        ];
        for pair in sorted.windows(2) {
            assert!(Version::parse(pair[0]).unwrap() < Version::parse(pair[1]).unwrap(), "{pair:?}");
        }
        assert_eq!(Version::parse("1.0.0+a").unwrap(), Version::parse("v1.0.0+b").unwrap());
    }

    #[test]
    fn tags_need_three_parts_and_keep_their_text() {
        assert_eq!(Version::parse_tag("v1.2.3").unwrap().original(), "v1.2.3");
        for bad in ["v1.2", "1", "vv1.2.3", "1.02.3", "release-1.2.3", "", "1.2.3-01", "1.2.3+", "99999999999999999999.0.0"] {
            assert!(Version::parse_tag(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Version::parse("v01.2").unwrap().to_string(), "1.2.0");
    }
}
