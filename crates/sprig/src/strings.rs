//! Text: trimming, cutting, quoting, cases, wrapping.

use crate::{
    args::{Result, any, bytes, int, raw, string, strslice, strval, text},
    cases, environment,
};
use gotemplate::{Failure, Function, MapKind, Run, Str, Type, Value, fmt, number};

const S: Type = Type::String;
const I: Type = Type::Int;

pub(crate) const ALL: &[Function] = &[
    Function::new("hello", &[], |_, _| Ok(Value::string("Hello!"))),
    Function::new("abbrev", &[I, S], |run, args| {
        let (width, source) = (int(args, 0), bytes(args, 1));
        raw(run, if width < 4 { source.to_vec() } else { abbreviate(source, 0, width) })
    }),
    Function::new("abbrevboth", &[I, I, S], |run, args| {
        let (left, right, source) = (int(args, 0), int(args, 1), bytes(args, 2));
        let whole = right < 4 || left > 0 && right < 7;
        raw(run, if whole { source.to_vec() } else { abbreviate(source, left, right) })
    }),
    Function::new("trunc", &[I, S], |run, args| raw(run, trunc(int(args, 0), bytes(args, 1)).to_vec())),
    Function::new("trim", &[S], |run, args| string(run, text(args, 0).trim())),
    Function::new("upper", &[S], |run, args| string(run, text(args, 0).to_uppercase())),
    Function::new("lower", &[S], |run, args| string(run, text(args, 0).to_lowercase())),
    Function::new("title", &[S], |run, args| string(run, cases::title(&text(args, 0)))),
    Function::new("untitle", &[S], |run, args| string(run, cases::untitle(&text(args, 0)))),
    Function::new("substr", &[I, I, S], substr),
    Function::new("repeat", &[I, S], repeat),
    Function::new("trimall", &[S, S], |run, args| string(run, trim_all(&text(args, 1), &text(args, 0)))),
    Function::new("trimAll", &[S, S], |run, args| string(run, trim_all(&text(args, 1), &text(args, 0)))),
    Function::new("trimSuffix", &[S, S], |run, args| {
        let source = bytes(args, 1);
        raw(run, source.strip_suffix(bytes(args, 0)).unwrap_or(source).to_vec())
    }),
    Function::new("trimPrefix", &[S, S], |run, args| {
        let source = bytes(args, 1);
        raw(run, source.strip_prefix(bytes(args, 0)).unwrap_or(source).to_vec())
    }),
    Function::new("nospace", &[S], |run, args| string(run, text(args, 0).chars().filter(|c| !c.is_whitespace()).collect::<String>())),
    Function::new("initials", &[S], |run, args| {
        string(run, text(args, 0).split_whitespace().filter_map(|word| word.chars().next()).collect::<String>())
    }),
    Function::new("swapcase", &[S], |run, args| string(run, cases::swap(&text(args, 0)))),
    Function::new("shuffle", &[S], shuffle),
    Function::new("snakecase", &[S], |run, args| string(run, cases::lower_words(&text(args, 0), '_'))),
    Function::new("kebabcase", &[S], |run, args| string(run, cases::lower_words(&text(args, 0), '-'))),
    Function::new("camelcase", &[S], |run, args| string(run, cases::pascal(&text(args, 0)))),
    Function::new("wrap", &[I, S], |run, args| wrap(run, bytes(args, 1), int(args, 0), b"\n", false)),
    Function::new("wrapWith", &[I, S, S], |run, args| wrap(run, bytes(args, 2), int(args, 0), bytes(args, 1), true)),
    Function::new("contains", &[S, S], |_, args| Ok(Value::Bool(find(bytes(args, 1), bytes(args, 0)).is_some()))),
    Function::new("hasPrefix", &[S, S], |_, args| Ok(Value::Bool(bytes(args, 1).starts_with(bytes(args, 0))))),
    Function::new("hasSuffix", &[S, S], |_, args| Ok(Value::Bool(bytes(args, 1).ends_with(bytes(args, 0))))),
    Function::variadic("quote", &[], Type::Any, |run, args| {
        let text = quote(args)?;
        string(run, text)
    })
    .writing(|run, args| {
        let text = quote(args)?;
        run.write(text.as_bytes())
    }),
    Function::variadic("squote", &[], Type::Any, |run, args| {
        let parts: Vec<String> =
            args.iter().filter(|arg| !arg.is_nil()).map(|arg| Ok(format!("'{}'", fmt::text(arg)?.text()))).collect::<Result<_>>()?;
        string(run, parts.join(" "))
    }),
    Function::variadic("cat", &[], Type::Any, |run, args| {
        let parts: Vec<String> =
            args.iter().filter(|arg| !arg.is_nil()).map(|arg| Ok(fmt::text(arg)?.text().into_owned())).collect::<Result<_>>()?;
        string(run, parts.join(" "))
    }),
    Function::new("indent", &[I, S], |run, args| indent(run, args, false)).writing(|run, args| write_indented(run, args, false)),
    Function::new("nindent", &[I, S], |run, args| indent(run, args, true)).writing(|run, args| write_indented(run, args, true)),
    Function::new("replace", &[S, S, S], replace),
    Function::new("plural", &[S, S, I], |_, args| Ok(any(args, usize::from(int(args, 2) != 1)).clone())),
    Function::new("toString", &[Type::Any], |run, args| {
        let text = strval(&args[0])?;
        string(run, text)
    }),
    Function::new("split", &[S, S], |run, args| split_map(run, bytes(args, 1), bytes(args, 0), -1)),
    Function::new("splitn", &[S, I, S], |run, args| split_map(run, bytes(args, 2), bytes(args, 0), int(args, 1))),
    Function::new("splitList", &[S, S], |run, args| {
        let parts = split(run, bytes(args, 1), bytes(args, 0), -1)?;
        Ok(Value::strings(parts))
    }),
    Function::new("toStrings", &[Type::Any], |_, args| Ok(Value::strings(strslice(&args[0])?))),
    Function::new("join", &[S, Type::Any], |run, args| {
        let parts = strslice(&args[1])?;
        let parts: Vec<&[u8]> = parts.iter().map(Str::as_bytes).collect();
        raw(run, parts.join(bytes(args, 0)))
    }),
];

fn quote(args: &[Value]) -> Result<String> {
    if let [Value::String(text)] = args {
        return Ok(number::quote(text.as_bytes()));
    }
    let parts: Vec<String> =
        args.iter().filter(|arg| !arg.is_nil()).map(|arg| Ok(number::quote(strval(arg)?.as_bytes()))).collect::<Result<_>>()?;
    Ok(parts.join(" "))
}

fn trunc(count: i64, source: &[u8]) -> &[u8] {
    let length = source.len() as i64;
    if count < 0 && length + count > 0 {
        return &source[(length + count) as usize..];
    }
    if count >= 0 && length > count {
        return &source[..count as usize];
    }
    source
}

fn trim_all<'a>(source: &'a str, set: &str) -> &'a str {
    source.trim_matches(|c| set.contains(c))
}

fn substr(run: &mut Run<'_>, args: &[Value]) -> Result {
    let (start, end, source) = (int(args, 0), int(args, 1), bytes(args, 2));
    let length = source.len() as i64;
    let (from, to) = if start < 0 {
        (0, end)
    } else if end < 0 || end > length {
        (start, length)
    } else {
        (start, end)
    };
    if to < 0 || to > length {
        return Err(Failure::new(format!(
            "runtime error: slice bounds out of range [:{to}]{}",
            if to > length { format!(" with length {length}") } else { String::new() }
        )));
    }
    if from > to {
        return Err(Failure::new(format!("runtime error: slice bounds out of range [{from}:{to}]")));
    }
    raw(run, source[from as usize..to as usize].to_vec())
}

fn repeat(run: &mut Run<'_>, args: &[Value]) -> Result {
    let count = int(args, 0);
    let Ok(count) = usize::try_from(count) else {
        return Err(Failure::new("strings: negative Repeat count"));
    };
    let source = bytes(args, 1);
    run.reserve(source.len().saturating_mul(count))?;
    Ok(Value::String(Str::from_bytes(source.repeat(count))))
}

/// goutils' `AbbreviateFull`, which counts bytes.
fn abbreviate(source: &[u8], offset: i64, width: i64) -> Vec<u8> {
    let length = source.len() as i64;
    if length <= width {
        return source.to_vec();
    }
    let mut offset = offset.min(length);
    if length - offset < width - 3 {
        offset = length - (width - 3);
    }
    if offset <= 4 {
        return [&source[..(width - 3) as usize], b"..."].concat();
    }
    if width < 7 {
        return Vec::new();
    }
    if offset + width - 3 < length {
        let rest = &source[offset as usize..];
        let inner = if width - 3 < 4 { Vec::new() } else { abbreviate(rest, 0, width - 3) };
        return [b"...", inner.as_slice()].concat();
    }
    [b"...", &source[(length - (width - 3)) as usize..]].concat()
}

/// goutils' `WrapCustom`, which counts bytes.
fn wrap(run: &mut Run<'_>, source: &[u8], width: i64, separator: &[u8], long_words: bool) -> Result {
    let separator = if separator.is_empty() { b"\n" } else { separator };
    let width = usize::try_from(width.max(1)).unwrap_or(1);
    run.reserve(source.len().saturating_add((source.len() / width).saturating_mul(separator.len())))?;
    let mut out = Vec::with_capacity(source.len());
    let mut at = 0;
    while source.len() - at > width {
        if source[at] == b' ' {
            at += 1;
            continue;
        }
        if let Some(space) = source[at..=at + width].iter().rposition(|b| *b == b' ') {
            out.extend_from_slice(&source[at..at + space]);
            out.extend_from_slice(separator);
            at += space + 1;
        } else if long_words {
            out.extend_from_slice(&source[at..at + width]);
            out.extend_from_slice(separator);
            at += width;
        } else if let Some(space) = source[at + width..].iter().position(|b| *b == b' ') {
            out.extend_from_slice(&source[at..at + width + space]);
            out.extend_from_slice(separator);
            at += width + space + 1;
        } else {
            out.extend_from_slice(&source[at..]);
            at = source.len();
        }
    }
    out.extend_from_slice(&source[at..]);
    Ok(Value::String(Str::from_bytes(out)))
}

fn padding(run: &mut Run<'_>, args: &[Value]) -> Result<usize> {
    let Ok(spaces) = usize::try_from(int(args, 0)) else {
        return Err(Failure::new("strings: negative Repeat count"));
    };
    let source = bytes(args, 1);
    let lines = 1 + source.iter().filter(|b| **b == b'\n').count();
    run.reserve(source.len().saturating_add(1).saturating_add(spaces.saturating_mul(lines)))?;
    Ok(spaces)
}

fn indent_into(out: &mut Vec<u8>, source: &[u8], spaces: usize) {
    let pad = |out: &mut Vec<u8>| out.resize(out.len() + spaces, b' ');
    pad(out);
    let mut rest = source;
    while let Some(end) = rest.iter().position(|b| *b == b'\n') {
        out.extend_from_slice(&rest[..=end]);
        pad(out);
        rest = &rest[end + 1..];
    }
    out.extend_from_slice(rest);
}

fn indent(run: &mut Run<'_>, args: &[Value], newline: bool) -> Result {
    let spaces = padding(run, args)?;
    let source = bytes(args, 1);
    let mut out = Vec::with_capacity(source.len() + spaces * 4 + 1);
    if newline {
        out.push(b'\n');
    }
    indent_into(&mut out, source, spaces);
    Ok(Value::String(Str::from_bytes(out)))
}

fn write_indented(run: &mut Run<'_>, args: &[Value], newline: bool) -> Result<()> {
    let spaces = padding(run, args)?;
    if newline {
        run.output().push(b'\n');
    }
    indent_into(run.output(), bytes(args, 1), spaces);
    Ok(())
}

pub(crate) fn find(source: &[u8], what: &[u8]) -> Option<usize> {
    if what.is_empty() {
        return Some(0);
    }
    memchr::memmem::find(source, what)
}

fn replace(run: &mut Run<'_>, args: &[Value]) -> Result {
    let (old, new, source) = (bytes(args, 0), bytes(args, 1), bytes(args, 2));
    let mut out = Vec::with_capacity(source.len());
    if old.is_empty() {
        // Before every rune and at the end.
        let source = text(args, 2);
        run.reserve(source.len().saturating_add(source.len().saturating_add(1).saturating_mul(new.len())))?;
        out.extend_from_slice(new);
        for c in source.chars() {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            out.extend_from_slice(new);
        }
        return Ok(Value::String(Str::from_bytes(out)));
    }
    let mut rest = source;
    while let Some(at) = find(rest, old) {
        run.reserve(at.saturating_add(new.len()))?;
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(new);
        rest = &rest[at + old.len()..];
    }
    run.reserve(rest.len())?;
    out.extend_from_slice(rest);
    Ok(Value::String(Str::from_bytes(out)))
}

/// Go's `strings.SplitN`; a negative count has no limit, zero gives nothing.
fn split(run: &mut Run<'_>, source: &[u8], separator: &[u8], count: i64) -> Result<Vec<Str>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let limit = usize::try_from(count).unwrap_or(usize::MAX);
    run.charge(source.len() as u64 / 16)?;
    let mut parts = Vec::new();
    let mut rest = source;
    while parts.len() + 1 < limit {
        let at = if separator.is_empty() {
            let text = String::from_utf8_lossy(rest);
            match text.chars().next().map(char::len_utf8) {
                Some(size) if size < rest.len() => size,
                _ => break,
            }
        } else {
            match find(rest, separator) {
                Some(at) => at,
                None => break,
            }
        };
        parts.push(Str::from_bytes(rest[..at].to_vec()));
        rest = &rest[at + separator.len()..];
    }
    if !(separator.is_empty() && rest.is_empty()) {
        parts.push(Str::from_bytes(rest.to_vec()));
    }
    run.charge(parts.len() as u64)?;
    Ok(parts)
}

fn split_map(run: &mut Run<'_>, source: &[u8], separator: &[u8], count: i64) -> Result {
    let parts = split(run, source, separator, count)?;
    let entries = parts.into_iter().enumerate().map(|(at, part)| (format!("_{at}").into(), Value::String(part))).collect();
    Ok(Value::Map(gotemplate::Map::from_entries(MapKind::Strings, entries)))
}

fn shuffle(run: &mut Run<'_>, args: &[Value]) -> Result {
    let mut runes: Vec<char> = text(args, 0).chars().collect();
    let environment = environment(run)?;
    for at in (1..runes.len()).rev() {
        let other = environment.random_below(at as u64 + 1) as usize;
        runes.swap(at, other);
    }
    string(run, runes.into_iter().collect::<String>())
}
