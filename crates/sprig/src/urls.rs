//! URLs taken apart and put together, as Go's net/url does.

use crate::args::{NIL_POINTER, Result, any, string, text};
use gotemplate::{Failure, Function, Map, MapKind, Run, Type, Value, number::quote};

pub(crate) const ALL: &[Function] = &[Function::new("urlParse", &[Type::String], parse), Function::new("urlJoin", &[Type::Map], join)];

#[derive(Default)]
struct Url {
    scheme: String,
    opaque: String,
    user: Option<String>,
    host: String,
    path: String,
    raw_path: String,
    query: String,
    force_query: bool,
    fragment: String,
}

fn unescape(text: &str, host: bool) -> std::result::Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let code = text.get(at + 1..at + 3).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
            let Some(code) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) else {
                let end = (at + 3).min(bytes.len());
                return Err(format!("invalid URL escape {}", quote(&bytes[at..end])));
            };
            out.push(code);
            at += 3;
        } else {
            if host && matches!(bytes[at], b' ' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'}' | b'|' | b'\\') {
                return Err(format!("invalid character {} in host name", quote(&bytes[at..=at])));
            }
            out.push(bytes[at]);
            at += 1;
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn scheme(text: &str) -> std::result::Result<(String, &str), String> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            ':' => return Ok((text[..at].to_lowercase(), &text[at + 1..])),
            _ => break,
        }
    }
    Ok((String::new(), text))
}

fn read(text: &str) -> std::result::Result<Url, String> {
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let mut url = Url::default();
    let (body, fragment) = text.split_once('#').unwrap_or((text, ""));
    url.fragment = unescape(fragment, false)?;
    let (found, mut rest) = scheme(body)?;
    url.scheme = found;
    if let Some((before, query)) = rest.split_once('?') {
        url.force_query = query.is_empty();
        url.query = query.to_owned();
        rest = before;
    }
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            url.opaque = rest.to_owned();
            return Ok(url);
        }
        let segment = rest.split('/').next().unwrap_or(rest);
        if segment.contains(':') {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    if let Some(authority) = rest.strip_prefix("//").filter(|_| !url.scheme.is_empty() || !rest.starts_with("///")) {
        let end = authority.find('/').unwrap_or(authority.len());
        let (authority, path) = authority.split_at(end);
        rest = path;
        let host = match authority.rsplit_once('@') {
            Some((user, host)) => {
                url.user = Some(userinfo(user)?);
                host
            }
            None => authority,
        };
        let port = host.rsplit_once(']').map_or_else(|| host.find(':').map_or("", |at| &host[at..]), |(_, port)| port);
        let digits = port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        if !port.is_empty() && !digits {
            return Err(format!("invalid port {} after host", quote(port.as_bytes())));
        }
        url.host = unescape(host, true)?;
    }
    url.path = unescape(rest, false)?;
    url.raw_path = rest.to_owned();
    Ok(url)
}

/// User information, escaped as Go prints it.
fn userinfo(text: &str) -> std::result::Result<String, String> {
    let valid = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if !text.chars().all(valid) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    let escaped = |part: &str| unescape(part, false).map(|part| escape(&part, b"-_.~$&+,;="));
    match text.split_once(':') {
        Some((user, password)) => Ok(format!("{}:{}", escaped(user)?, escaped(password)?)),
        None => escaped(text),
    }
}

fn escape(text: &str, keep: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || keep.contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn parse(run: &mut Run<'_>, args: &[Value]) -> Result {
    let source = text(args, 0);
    run.reserve(source.len() * 2)?;
    let url = read(&source).map_err(|why| Failure::new(format!("unable to parse url: parse {}: {why}", quote(source.as_bytes()))))?;
    let hostname = match url.host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((host, _)) => host,
        None => url.host.split(':').next().unwrap_or_default(),
    };
    let entry = |key: &str, value: &str| (key.into(), Value::string(value));
    let entries = vec![
        entry("fragment", &url.fragment),
        entry("host", &url.host),
        entry("hostname", hostname),
        entry("opaque", &url.opaque),
        entry("path", &url.path),
        entry("query", &url.query),
        entry("scheme", &url.scheme),
        entry("userinfo", url.user.as_deref().unwrap_or_default()),
    ];
    Ok(Value::Map(Map::from_entries(MapKind::Any, entries)))
}

fn join(run: &mut Run<'_>, args: &[Value]) -> Result {
    let map = any(args, 0).as_map();
    let get = |key: &str| -> Result<String> {
        match map.and_then(|map| map.get(key)) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.text().into_owned()),
            Some(value) if value.is_nil() => Err(Failure::new(NIL_POINTER)),
            Some(value) => {
                Err(Failure::new(format!("unable to parse {key} key, must be of type string, but {} found", value.kind().name())))
            }
        }
    };
    let (scheme, host, path, query) = (get("scheme")?, get("host")?, get("path")?, get("query")?);
    let (opaque, fragment, user) = (get("opaque")?, get("fragment")?, get("userinfo")?);
    let mut out = String::new();
    if !scheme.is_empty() {
        out.push_str(&scheme);
        out.push(':');
    }
    if !opaque.is_empty() {
        out.push_str(&opaque);
    } else {
        if !scheme.is_empty() || !host.is_empty() || !user.is_empty() {
            if !host.is_empty() || !path.is_empty() || !user.is_empty() {
                out.push_str("//");
            }
            if !user.is_empty() {
                out.push_str(&userinfo(&user).map_err(|why| Failure::new(format!("unable to parse userinfo in dict: {why}")))?);
                out.push('@');
            }
            out.push_str(&escape(&host, b"-_.~!$&'()*+,;=:[]<>\""));
        }
        let path = escape(&path, b"-_.~$&+,/:;=@!'()*");
        if !path.is_empty() && !path.starts_with('/') && !host.is_empty() {
            out.push('/');
        }
        if out.is_empty() && path.split('/').next().is_some_and(|segment| segment.contains(':')) {
            out.push_str("./");
        }
        out.push_str(&path);
    }
    if !query.is_empty() {
        out.push('?');
        out.push_str(&query);
    }
    if !fragment.is_empty() {
        out.push('#');
        out.push_str(&escape(&fragment, b"-_.~$&+,/:;=?@!()*'"));
    }
    string(run, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let url = read("https://u:p%40@example.com:8443/a%20b/c?x=1&y=2#frag").unwrap();
        assert_eq!(
            (url.scheme.as_str(), url.host.as_str(), url.path.as_str(), url.query.as_str()),
            ("https", "example.com:8443", "/a b/c", "x=1&y=2")
        );
        assert_eq!(
            (url.user.as_deref(), url.fragment.as_str(), read("mailto:a@b").unwrap().opaque.as_str()),
            (Some("u:p%40"), "frag", "a@b")
        );
        assert_eq!(read("http://a:b/").err().as_deref(), Some("invalid port \":b\" after host"));
        assert!(read("http://%zz").is_err() && read(":x").is_err());
    }
}
