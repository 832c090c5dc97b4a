//! Variable substitution in text, as Flux's post-build substitution does it.
//!
//! ```text
//! text -> parse -> pieces -> expand(variables, mode) -> text
//!                              `-> functions (default, length, case, slice, trim, replace)
//! ```
//!
//! `${name}` and its operators are replaced, `$$` prints `$`, and `$name` without braces stays.
//! The grammar is the one of fluxcd/pkg/envsubst, quirks included: every default operator (`:-`, `:=`, `=`, `:+`, `:?`) means
//! "the value, or this", lengths and offsets count bytes, replacement is literal and trimming is by glob.

mod functions;
mod parse;

use parse::{Call, Piece};
use std::collections::BTreeMap;

/// Largest text that a substitution may produce.
const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// Why a text could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("bad substitution")]
    BadSubstitution,
    #[error("missing closing brace")]
    MissingClosingBrace,
    #[error("unable to parse variable name")]
    VariableName,
    #[error("unable to parse substitution within function")]
    Parameter,
    #[error("substitutions are nested too deeply")]
    TooDeep,
    #[error("the result is larger than {OUTPUT_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the value of {0:?} is too long to be trimmed")]
    TooLongToTrim(String),
    #[error("variable not set (strict mode): {0:?}")]
    NotSet(String),
    #[error("'{0}' var name is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'")]
    InvalidName(String),
}

/// What a variable that is not set means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is an error, unless a default operator is used.
    Strict,
    /// It is empty.
    Lenient,
}

/// Replaces every `${…}` in `text`.
pub fn expand(text: &str, variables: &BTreeMap<String, String>, mode: Mode) -> Result<String, Error> {
    let mut out = String::with_capacity(text.len());
    for piece in &parse::parse(text)? {
        write_piece(piece, variables, mode, &mut out)?;
    }
    Ok(out)
}

/// Refuses names that no `${…}` could use.
pub fn check_name(name: &str) -> Result<(), Error> {
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|c| c == '_' || c.is_ascii_alphabetic());
    if first && characters.all(|c| c == '_' || c.is_ascii_alphanumeric()) { Ok(()) } else { Err(Error::InvalidName(name.to_owned())) }
}

fn write_piece(piece: &Piece, variables: &BTreeMap<String, String>, mode: Mode, out: &mut String) -> Result<(), Error> {
    match piece {
        Piece::Text(text) => out.push_str(text),
        Piece::Call(call) => out.push_str(&evaluate(call, variables, mode)?),
    }
    if out.len() > OUTPUT_BYTES_MAX { Err(Error::TooLarge) } else { Ok(()) }
}

/// Arguments are evaluated even when they are not used, so a nested variable that is not set fails in strict mode.
fn evaluate(call: &Call, variables: &BTreeMap<String, String>, mode: Mode) -> Result<String, Error> {
    let mut arguments = Vec::with_capacity(call.arguments.len());
    for argument in &call.arguments {
        let mut text = String::new();
        write_piece(argument, variables, mode, &mut text)?;
        arguments.push(text);
    }
    let value = variables.get(&call.name).map(String::as_str);
    if value.is_none() && mode == Mode::Strict && !call.operator.has_default() {
        return Err(Error::NotSet(call.name.clone()));
    }
    functions::call(call.operator, &call.name, value.unwrap_or(""), &arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> BTreeMap<String, String> {
        [("a", "1"), ("word", "hello"), ("path", "/usr/local/bin"), ("empty", ""), ("umlaut", "über"), ("b", "two")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into()
    }

    #[test]
    fn expands_what_flux_expands() {
        let table = [
            ("x ${a} y", "x 1 y"),
            ("$${a} $a $$a", "${a} $a $a"),
            ("$", "$"),
            ("}{", "}{"),
            ("${none:-d}", "d"),
            ("${none:=d}", "d"),
            ("${none=d}", "d"),
            ("${none:+d}", "d"),
            ("${none:?d}", "d"),
            ("${empty:-d}", "d"),
            ("${a:-d}", "1"),
            ("${none:-}", ""),
            ("${none:-a b/c:d}", "a b/c:d"),
            ("${none:=${a}-${b}}", "1-two"),
            ("${none:=${nope:-x}}", "x"),
            ("${#word}", "5"),
            ("${#umlaut}", "5"),
            ("${word^}", "Hello"),
            ("${word^^}", "HELLO"),
            ("${umlaut^}", "Über"),
            ("${word,}", "hello"),
            ("${word:1}", "ello"),
            ("${word:1:3}", "ell"),
            ("${word:9}", ""),
            ("${word:1:99}", "ello"),
            ("${word:x}", "hello"),
            ("${path#/usr}", "/local/bin"),
            ("${path#/*/}", "local/bin"),
            ("${path##*/}", "bin"),
            ("${path%/*}", "/usr/local"),
            ("${path%%/*}", ""),
            ("${word#?}", "ello"),
            ("${word#*l}", "lo"),
            ("${word##*l}", "o"),
            ("${word%l*}", "hel"),
            ("${word%%l*}", "he"),
            ("${word/l/L}", "heLlo"),
            ("${word//l/L}", "heLLo"),
            ("${word//l/}", "heo"),
            ("${word/#he/HE}", "HEllo"),
            ("${word/%lo/LO}", "helLO"),
            ("${word/.*/x}", "hello"),
            ("${path//\\//-}", "-usr-local-bin"),
            ("${!word}", "${!word}"),
        ];
        for (text, want) in table {
            assert_eq!(expand(text, &variables(), Mode::Strict).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn refuses_what_flux_refuses() {
        let table = [
            ("${a", Error::MissingClosingBrace),
            ("${a.b}", Error::MissingClosingBrace),
            ("${a-b}", Error::MissingClosingBrace),
            ("${a+b}", Error::MissingClosingBrace),
            ("${a b}", Error::MissingClosingBrace),
            ("${}", Error::VariableName),
            ("${", Error::VariableName),
            ("${.a}", Error::VariableName),
            ("${a:-b", Error::Parameter),
            ("${word#}", Error::Parameter),
            ("${word/x}", Error::BadSubstitution),
            ("${word^^x}", Error::BadSubstitution),
            ("${#}", Error::BadSubstitution),
            ("${none}", Error::NotSet("none".into())),
            ("${#none}", Error::NotSet("none".into())),
            ("${a:=${none}}", Error::NotSet("none".into())),
        ];
        for (text, want) in table {
            assert_eq!(expand(text, &variables(), Mode::Strict), Err(want), "{text}");
        }
        assert_eq!(expand("[${none}]", &variables(), Mode::Lenient).as_deref(), Ok("[]"));
    }

    #[test]
    fn hostile_text_is_bounded() {
        assert_eq!(expand(&"${a:=".repeat(5_000), &variables(), Mode::Strict), Err(Error::TooDeep));
        let big = BTreeMap::from([("v".to_owned(), "x".repeat(1 << 20))]);
        assert_eq!(expand(&"${v}".repeat(20), &big, Mode::Strict), Err(Error::TooLarge));
        assert_eq!(expand("${v##*y*y*y*y}", &big, Mode::Strict), Err(Error::TooLongToTrim("v".into())));
    }

    #[test]
    fn what_a_value_holds_is_not_expanded_again() {
        let hostile = "\"}: ${a:=${b}} ${v} $${a}\n---\nkind: Secret";
        let variables = BTreeMap::from([("v".to_owned(), hostile.to_owned()), ("a".to_owned(), "${v}".to_owned())]);
        assert_eq!(expand("x ${v} ${a} ${none:=${v}}", &variables, Mode::Strict), Ok(format!("x {hostile} ${{v}} {hostile}")));
    }

    #[test]
    fn names_are_checked() {
        for good in ["a", "_", "A_1"] {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in ["", "1a", "a-b", "some.file", "ä", "$(x)", "a\n"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
