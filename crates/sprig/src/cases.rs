//! Upper, lower, camel, snake: as Go's strings, goutils and xstrings 1.5 do them.

/// Go's `strings.Title`: the first letter of every word.
pub(crate) fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut start = true;
    for c in text.chars() {
        if start {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        start = if c.is_ascii() { !(c.is_ascii_alphanumeric() || c == '_') } else { !c.is_alphanumeric() && c.is_whitespace() };
    }
    out
}

/// goutils' `Uncapitalize`: the first letter of every word between white space.
pub(crate) fn untitle(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut start = true;
    for c in text.chars() {
        if c.is_whitespace() {
            start = true;
            out.push(c);
        } else if start {
            out.extend(c.to_lowercase());
            start = false;
        } else {
            out.push(c);
        }
    }
    out
}

/// goutils' `SwapCase`.
pub(crate) fn swap(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_uppercase() {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
    }
    out
}

fn is_connector(c: char) -> bool {
    c == '-' || c == '_' || c.is_whitespace()
}

fn is_letter(c: char) -> bool {
    c.is_uppercase() || c.is_lowercase()
}

fn is_punctuation(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_punctuation() && !matches!(c, '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~')
    } else {
        matches!(c, '\u{2010}'..='\u{2027}' | '\u{3001}'..='\u{3003}' | '¡' | '§' | '«' | '¶' | '·' | '»' | '¿')
    }
}

/// xstrings' `ToPascalCase`.
pub(crate) fn pascal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    let mut current = loop {
        match chars.next() {
            None => return out,
            Some(c) if is_connector(c) => out.push(c),
            Some(c) => break c,
        }
    };
    let mut after_upper = current.is_uppercase();
    current = upper(current);
    for next in chars {
        let previous = std::mem::replace(&mut current, next);
        if is_connector(current) && is_connector(previous) {
            out.push(previous);
            continue;
        }
        if is_connector(previous) {
            after_upper = current.is_uppercase();
            current = upper(current);
            continue;
        }
        if after_upper {
            if current.is_uppercase() {
                current = lower(current);
            } else {
                after_upper = false;
            }
        }
        out.push(previous);
    }
    out.push(current);
    out
}

fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(u), None) => u,
        _ => c,
    }
}

fn lower(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(l), None) => l,
        _ => c,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Nothing,
    Number,
    Upper,
    Letters,
    Connector,
    Punctuation,
    Other,
}

/// The first word of a text and what follows.
fn next_word(text: &str) -> (Word, &str, &str) {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return (Word::Nothing, "", "") };
    let run = |accept: &dyn Fn(char) -> bool| text.find(|c| !accept(c)).unwrap_or(text.len());
    let lowers = |from: usize| from + text[from..].find(|c: char| !is_letter(c) || c.is_uppercase()).unwrap_or(text.len() - from);
    let (kind, end) = match first {
        c if is_connector(c) => (Word::Connector, run(&is_connector)),
        c if is_punctuation(c) => (Word::Punctuation, run(&is_punctuation)),
        c if c.is_uppercase() => {
            let after = first.len_utf8();
            match chars.next() {
                Some(second) if second.is_uppercase() => {
                    let end = run(&char::is_uppercase);
                    // In "HTTPStatus" the S belongs to the next word.
                    let keeps = text[end..].chars().next().is_none_or(|c| !is_letter(c));
                    let last = text[..end].chars().next_back().map_or(0, char::len_utf8);
                    (Word::Upper, if keeps { end } else { end - last })
                }
                Some(second) if is_letter(second) => (Word::Upper, lowers(after)),
                _ => (Word::Upper, after),
            }
        }
        c if is_letter(c) => (Word::Letters, lowers(first.len_utf8())),
        c if c.is_numeric() => (Word::Number, run(&char::is_numeric)),
        _ => (Word::Other, run(&|c| !(is_connector(c) || is_letter(c) || c.is_numeric() || is_punctuation(c)))),
    };
    let end = end.max(first.len_utf8());
    (kind, &text[..end], &text[end..])
}

fn push_lower(out: &mut String, kind: Word, word: &str, connector: char) {
    if !matches!(kind, Word::Upper | Word::Connector) {
        out.push_str(word);
        return;
    }
    for c in word.chars() {
        out.push(if is_connector(c) { connector } else { lower(c) });
    }
}

/// xstrings' `ToSnakeCase` and `ToKebabCase`.
pub(crate) fn lower_words(text: &str, connector: char) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let separates = |kind: Word| !matches!(kind, Word::Nothing | Word::Punctuation | Word::Connector);
    let (mut kind, mut word, mut rest) = next_word(text);
    while !rest.is_empty() {
        if kind != Word::Connector {
            push_lower(&mut out, kind, word, connector);
        }
        let (previous, last) = (kind, word);
        (kind, word, rest) = next_word(rest);
        match previous {
            Word::Number => {
                while matches!(kind, Word::Letters | Word::Number) {
                    push_lower(&mut out, kind, word, connector);
                    (kind, word, rest) = next_word(rest);
                }
                if separates(kind) {
                    out.push(connector);
                }
            }
            Word::Connector => push_lower(&mut out, previous, last, connector),
            Word::Punctuation => {}
            _ if kind != Word::Number => {
                if !matches!(kind, Word::Connector | Word::Punctuation) {
                    out.push(connector);
                }
            }
            _ => {
                if rest.is_empty() {
                    break;
                }
                let number = word;
                (kind, word, rest) = next_word(rest);
                // A number belongs to the word before it, unless lower-case letters follow: "http_2xx".
                if kind != Word::Letters {
                    push_lower(&mut out, Word::Number, number, connector);
                    if !matches!(kind, Word::Connector | Word::Punctuation) {
                        out.push(connector);
                    }
                    continue;
                }
                out.push(connector);
                push_lower(&mut out, Word::Number, number, connector);
                while matches!(kind, Word::Letters | Word::Number) {
                    push_lower(&mut out, kind, word, connector);
                    (kind, word, rest) = next_word(rest);
                }
                if separates(kind) {
                    out.push(connector);
                }
            }
        }
    }
    push_lower(&mut out, kind, word, connector);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_snakes_kebabs_and_camels() {
        assert_eq!(lower_words("FirstName fooBar HTTPServer v2Name", '_'), "first_name_foo_bar_http_server_v2_name");
        assert_eq!(lower_words("HTTP2xx Bld4Floor", '-'), "http-2xx-bld4-floor");
        assert_eq!(lower_words("GO PATH_x", '_'), "go_path_x");
        assert_eq!(pascal("http_server foo-bar baz"), "HttpServerFooBarBaz");
        assert_eq!((title("hello wOrld foo-bar").as_str(), untitle("Hello World").as_str()), ("Hello WOrld Foo-Bar", "hello world"));
    }
}
