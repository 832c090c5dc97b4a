//! Regular expressions: RE2's syntax and Go's replacement templates.

use crate::args::{Result, int, raw, text};
use gotemplate::{Failure, Function, Run, Str, Type, Value};
use regex::Regex;
use std::{cell::RefCell, collections::HashMap, rc::Rc};

const S: Type = Type::String;
const I: Type = Type::Int;

pub(crate) const ALL: &[Function] = &[
    Function::new("regexMatch", &[S, S], |run, args| {
        run.charge(text(args, 1).len() as u64 / 16)?;
        Ok(Value::Bool(compile(run, &text(args, 0)).is_ok_and(|regex| regex.is_match(&text(args, 1)))))
    }),
    Function::new("mustRegexMatch", &[S, S], |run, args| {
        run.charge(text(args, 1).len() as u64 / 16)?;
        Ok(Value::Bool(compile(run, &text(args, 0))?.is_match(&text(args, 1))))
    }),
    Function::new("regexFindAll", &[S, S, I], |run, args| find_all(run, args, true)),
    Function::new("mustRegexFindAll", &[S, S, I], |run, args| find_all(run, args, false)),
    Function::new("regexFind", &[S, S], |run, args| find(run, args, true)),
    Function::new("mustRegexFind", &[S, S], |run, args| find(run, args, false)),
    Function::new("regexReplaceAll", &[S, S, S], |run, args| replace(run, args, true, true)),
    Function::new("mustRegexReplaceAll", &[S, S, S], |run, args| replace(run, args, true, false)),
    Function::new("regexReplaceAllLiteral", &[S, S, S], |run, args| replace(run, args, false, true)),
    Function::new("mustRegexReplaceAllLiteral", &[S, S, S], |run, args| replace(run, args, false, false)),
    Function::new("regexSplit", &[S, S, I], |run, args| split(run, args, true)),
    Function::new("mustRegexSplit", &[S, S, I], |run, args| split(run, args, false)),
    Function::new("regexQuoteMeta", &[S], |run, args| {
        let mut out = String::new();
        for c in text(args, 0).chars() {
            if r"\.+*?()|[]{}^$".contains(c) {
                out.push('\\');
            }
            out.push(c);
        }
        raw(run, out.into_bytes())
    }),
];

/// Compiled expressions larger than this are refused.
const MAX_PROGRAM: usize = 4 << 20;
thread_local! {
    /// Charts ask for the same few expressions over and over.
    static COMPILED: RefCell<HashMap<String, Rc<Regex>>> = RefCell::new(HashMap::new());
}

/// Compiles a Go expression. The error is shaped as Go's.
fn compile(run: &mut Run<'_>, pattern: &str) -> Result<Rc<Regex>> {
    if let Some(regex) = COMPILED.with(|cache| cache.borrow().get(pattern).cloned()) {
        return Ok(regex);
    }
    run.charge(256 + pattern.len() as u64 * 4)?;
    let refuse = |why: &str| Failure::new(format!("error parsing regexp: {why}"));
    let translated = types::re2::translate(pattern).map_err(|why| refuse(&why))?;
    let regex = regex::RegexBuilder::new(&translated).size_limit(MAX_PROGRAM).dfa_size_limit(MAX_PROGRAM).nest_limit(200).build();
    let regex = Rc::new(regex.map_err(|error| refuse(&explain(&error, pattern)))?);
    COMPILED.with(|cache| {
        let mut cache = cache.borrow_mut();
        if cache.len() >= 256 {
            cache.clear();
        }
        cache.insert(pattern.to_owned(), regex.clone());
    });
    Ok(regex)
}

fn explain(error: &regex::Error, pattern: &str) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    let go = match last {
        l if l.contains("unclosed group") => "missing closing )",
        l if l.contains("unopened group") => "unexpected )",
        l if l.contains("unclosed character class") => "missing closing ]",
        l if l.contains("repetition operator missing expression") => "missing argument to repetition operator",
        l if l.contains("invalid character class range") => "invalid character class range",
        l if l.contains("unrecognized escape") => "invalid escape sequence",
        l if l.contains("look-around") => "invalid or unsupported Perl syntax",
        l if l.contains("size limit") || l.contains("exceeds size") => "expression nests too deeply",
        l => l,
    };
    format!("{go}: `{pattern}`")
}

/// What the function does with an expression that cannot be compiled: the plain form panics, the `must` form reports.
fn regex(run: &mut Run<'_>, pattern: &str, panics: bool) -> Result<Rc<Regex>> {
    compile(run, pattern).map_err(|error| match error.exceeded() {
        None if panics => Failure::new(format!("regexp: Compile({}): {error}", backquoted(pattern))),
        _ => error,
    })
}

fn backquoted(pattern: &str) -> String {
    if pattern.contains('`') || pattern.chars().any(char::is_control) {
        gotemplate::number::quote(pattern.as_bytes())
    } else {
        format!("`{pattern}`")
    }
}

fn count_limit(args: &[Value]) -> usize {
    usize::try_from(int(args, 2)).unwrap_or(usize::MAX)
}

/// Go's rule for matches: an empty match right after a match does not count.
fn matches<'t>(regex: &Regex, source: &'t str, limit: usize) -> Vec<regex::Match<'t>> {
    let mut found: Vec<regex::Match<'t>> = Vec::new();
    for m in regex.find_iter(source) {
        if found.len() >= limit {
            break;
        }
        if m.is_empty() && found.last().is_some_and(|last| last.end() == m.start()) {
            continue;
        }
        found.push(m);
    }
    found
}

fn find_all(run: &mut Run<'_>, args: &[Value], panics: bool) -> Result {
    let regex = regex(run, &text(args, 0), panics)?;
    let source = text(args, 1);
    run.charge(source.len() as u64 / 8)?;
    let found = matches(&regex, &source, count_limit(args));
    if found.is_empty() {
        return Ok(Value::NilSlice("[]string"));
    }
    run.reserve(source.len())?;
    Ok(Value::strings(found.iter().map(|m| Str::from(m.as_str())).collect()))
}

fn find(run: &mut Run<'_>, args: &[Value], panics: bool) -> Result {
    let regex = regex(run, &text(args, 0), panics)?;
    let source = text(args, 1);
    run.charge(source.len() as u64 / 16)?;
    Ok(Value::string(regex.find(&source).map_or("", |m| m.as_str())))
}

fn replace(run: &mut Run<'_>, args: &[Value], expand: bool, panics: bool) -> Result {
    let regex = regex(run, &text(args, 0), panics)?;
    let (source, replacement) = (text(args, 1), text(args, 2));
    run.charge(source.len() as u64 / 8)?;
    let mut out = String::with_capacity(source.len());
    let mut last = 0;
    let mut counted = 0;
    for captures in regex.captures_iter(&source) {
        let Some(whole) = captures.get(0) else { continue };
        if whole.is_empty() && whole.start() == last && last > 0 {
            continue;
        }
        out.push_str(&source[last..whole.start()]);
        if expand {
            expand_into(&mut out, &replacement, &captures);
        } else {
            out.push_str(&replacement);
        }
        last = whole.end();
        run.reserve(out.len() - counted)?;
        counted = out.len();
    }
    out.push_str(&source[last..]);
    run.reserve(out.len() - counted)?;
    Ok(Value::string(out))
}

/// `$name`, `${name}`, `$1`, `$$`; what names no group is nothing.
fn expand_into(out: &mut String, template: &str, captures: &regex::Captures<'_>) {
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let (name, after) = match rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, after)) => (name, after),
            None => rest.split_at(rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len())),
        };
        if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            out.push('$');
            continue;
        }
        rest = after;
        let group =
            if name.bytes().all(|b| b.is_ascii_digit()) { name.parse().ok().and_then(|n| captures.get(n)) } else { captures.name(name) };
        out.push_str(group.map_or("", |m| m.as_str()));
    }
    out.push_str(rest);
}

fn split(run: &mut Run<'_>, args: &[Value], panics: bool) -> Result {
    let pattern = text(args, 0);
    let regex = regex(run, &pattern, panics)?;
    let source = text(args, 1);
    let count = int(args, 2);
    run.charge(source.len() as u64 / 8)?;
    run.reserve(source.len())?;
    if count == 0 {
        return Ok(Value::NilSlice("[]string"));
    }
    if !pattern.is_empty() && source.is_empty() {
        return Ok(Value::strings(vec!["".into()]));
    }
    let mut parts: Vec<Str> = Vec::new();
    let (mut start, mut end) = (0, 0);
    for m in matches(&regex, &source, count_limit(args)) {
        if count > 0 && parts.len() as i64 == count - 1 {
            break;
        }
        end = m.start();
        if m.end() != 0 {
            parts.push(source[start..end].into());
        }
        start = m.end();
    }
    if end != source.len() {
        parts.push(source[start..].into());
    }
    Ok(Value::strings(parts))
}
