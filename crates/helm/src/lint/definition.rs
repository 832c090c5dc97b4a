//! The rules of Chart.yaml.

use super::{Check, Findings, Place, Severity, text_of};
use crate::{
    metadata::{self, Dependency, Maintainer, Metadata},
    values,
};
use tree::Kind;
use types::semver::Version;
use yaml::Dialect;

const FILE: &str = "Chart.yaml";

pub(super) fn check(place: &Place<'_>, shown: &str, findings: &mut Findings) {
    let is_directory = place.kind(FILE) == Some(Kind::Dir);
    findings.rule(Severity::Error, FILE, if is_directory { Err("should be a file, not a directory".into()) } else { Ok(()) });
    let text = match place.text(FILE) {
        Some(text) if !is_directory => text,
        _ => return findings.error(FILE, format!("unable to parse YAML\n\tread {shown}/{FILE}: is a directory")),
    };
    let definition: Metadata = match metadata::read(&text) {
        Ok(definition) => definition,
        Err(why) => return findings.error(FILE, format!("unable to parse YAML\n\t{why}")),
    };
    let strict = strict(&text).map_err(|why| format!("failed to strictly parse chart metadata file\n\t{why}"));
    findings.rule(Severity::Warning, FILE, strict);
    let untyped = values::read_table(&text).unwrap_or_default();
    let is_text = |key: &str| match text_of(&untyped, key) {
        Some(crate::Data::String(_)) | None => Ok(()),
        Some(other) => Err(format!("{key} should be of type string but it's of type {}", other.type_name())),
    };
    let mut rule = |severity, check: Check| {
        findings.rule(severity, FILE, check);
    };
    rule(Severity::Error, name(&definition));
    rule(Severity::Error, api_version(&definition));
    rule(Severity::Error, is_text("version"));
    rule(Severity::Error, version(&definition));
    rule(Severity::Error, is_text("appVersion"));
    rule(Severity::Error, maintainers(&untyped, &definition));
    rule(Severity::Error, sources(&definition));
    rule(Severity::Info, if definition.icon.is_empty() { Err("icon is recommended".into()) } else { Ok(()) });
    let icon = &definition.icon;
    rule(Severity::Error, if icon.is_empty() || is_request_url(icon) { Ok(()) } else { Err(format!("invalid icon URL '{icon}'")) });
    rule(Severity::Error, kind(&definition));
    rule(Severity::Error, dependencies(&definition));
    let strict = Version::parse_strict(&definition.version).map(drop);
    rule(Severity::Warning, strict.map_err(|_| format!("version '{}' is not a valid SemVerV2", definition.version)));
}

/// Reads once more, where keys may not come twice and unknown ones are refused.
fn strict(text: &str) -> Result<(), String> {
    let value = yaml::to_json_strict(text, Dialect::Sigs)
        .map_err(|error| format!("error converting YAML to JSON: {}", error.go_message(Dialect::Sigs)))?;
    let Some(object) = value.as_object() else { return Ok(()) };
    // encoding/json complains at the first field it does not know, in the order of the text it reads, which is sorted.
    let unknown = |map: &serde_json::Map<String, serde_json::Value>, known: &[&str]| {
        map.keys().filter(|key| !known.iter().any(|known| known.eq_ignore_ascii_case(key))).min().cloned()
    };
    let mut keys: Vec<&String> = object.keys().collect();
    keys.sort();
    for key in keys {
        let inner: &[&str] = match key.as_str() {
            "maintainers" => Maintainer::FIELDS,
            "dependencies" => Dependency::FIELDS,
            key if Metadata::FIELDS.iter().any(|known| known.eq_ignore_ascii_case(key)) => continue,
            key => return Err(unknown_field(key)),
        };
        for item in object[key].as_array().into_iter().flatten().filter_map(serde_json::Value::as_object) {
            if let Some(key) = unknown(item, inner) {
                return Err(unknown_field(&key));
            }
        }
    }
    Ok(())
}

fn unknown_field(key: &str) -> String {
    format!("error unmarshaling JSON: while decoding JSON: json: unknown field {}", crate::functions::quoted(key))
}

fn name(definition: &Metadata) -> Check {
    match definition.name.as_str() {
        "" => Err("name is required".into()),
        name if name.contains('/') => Err(format!("chart name {name:?} is invalid")),
        _ => Ok(()),
    }
}

fn api_version(definition: &Metadata) -> Check {
    match definition.api_version.as_str() {
        "v1" | "v2" => Ok(()),
        "" => Err("apiVersion is required. The value must be either \"v1\" or \"v2\"".into()),
        other => Err(format!("apiVersion '{other}' is not valid. The value must be either \"v1\" or \"v2\"")),
    }
}

fn version(definition: &Metadata) -> Check {
    if definition.version.is_empty() {
        return Err("version is required".into());
    }
    let Ok(version) = Version::parse(&definition.version) else {
        return Err(format!("version '{}' is not a valid SemVer", definition.version));
    };
    match types::semver::Constraint::parse(">0.0.0-0") {
        Ok(range) if !range.matches(&version) => Err(format!("version {} is less than or equal to 0.0.0-0", definition.version)),
        _ => Ok(()),
    }
}

fn maintainers(untyped: &crate::Table, definition: &Metadata) -> Check {
    if let Some(crate::Data::List(items)) = untyped.get("maintainers")
        && items.iter().any(crate::Data::is_null)
    {
        return Err("a maintainer entry is empty".into());
    }
    for maintainer in &definition.maintainers {
        if maintainer.name.is_empty() {
            return Err("each maintainer requires a name".into());
        }
        if !maintainer.email.is_empty() && !is_email(&maintainer.email) {
            return Err(format!("invalid email '{}' for maintainer '{}'", maintainer.email, maintainer.name));
        }
        if !maintainer.url.is_empty() && !is_url(&maintainer.url) {
            return Err(format!("invalid url '{}' for maintainer '{}'", maintainer.url, maintainer.name));
        }
    }
    Ok(())
}

fn sources(definition: &Metadata) -> Check {
    match definition.sources.iter().find(|source| !is_request_url(source)) {
        Some(source) => Err(format!("invalid source URL '{source}'")),
        None => Ok(()),
    }
}

fn kind(definition: &Metadata) -> Check {
    if definition.kind.is_empty() || definition.api_version == "v2" {
        return Ok(());
    }
    Err(format!("chart type is not valid in apiVersion '{}'. It is valid in apiVersion 'v2'", definition.api_version))
}

fn dependencies(definition: &Metadata) -> Check {
    if definition.dependencies.is_empty() || definition.api_version == "v2" {
        return Ok(());
    }
    let version = &definition.api_version;
    Err(format!("dependencies are not valid in the Chart file with apiVersion '{version}'. They are valid in apiVersion 'v2'"))
}

/// A scheme, and something after it.
fn is_request_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let first = scheme.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    first && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) && !rest.chars().any(|c| c.is_ascii_control())
}

/// An address that a person may have given: with or without a scheme, but with a host that can be one.
fn is_url(text: &str) -> bool {
    if text.chars().count() <= 3 || text.len() >= 2_083 || text.starts_with('.') || text.chars().any(char::is_whitespace) {
        return false;
    }
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("", text.trim_start_matches("//")),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            (host, port.parse::<u32>().unwrap_or(u32::MAX))
        }
        Some(_) if !host.starts_with('[') => return false,
        _ => (host, 0),
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let known =
        ["", "http", "https", "ftp", "tcp", "udp", "ws", "wss", "irc", "rtmp", "mailto"].contains(&scheme.to_ascii_lowercase().as_str());
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let named = host == "localhost" || host.split('.').all(label) && (host.contains('.') || !scheme.is_empty());
    known && port <= 65_535 && (bracketed || named)
}

/// A local part, and a domain with a dot.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let atom = |c: char| c.is_alphanumeric() || "!#$%&'*+/=?^_`{|}~-.".contains(c);
    let local_fits =
        !local.is_empty() && local.chars().all(atom) && !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    let labels: Vec<&str> = domain.split('.').collect();
    let label = |label: &&str| {
        !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-') && !label.starts_with('-') && !label.ends_with('-')
    };
    let top = labels.last().is_some_and(|top| top.chars().next().is_some_and(char::is_alphabetic));
    local_fits && labels.len() > 1 && labels.iter().all(label) && top
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_words() {
        for good in ["a@b.co", "first.last+tag@sub.example.org"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["bad", "a@b", "@b.co", "a@.co", "a b@c.de", "a..b@c.de"] {
            assert!(!is_email(bad), "{bad}");
        }
        for good in ["e.com", "https://e.com/~x?y=1", "http://local", "https://github.com/a/b", "http://127.0.0.1:80"] {
            assert!(is_url(good), "{good}");
        }
        for bad in ["bad", ".e.com", "https://", "https://e.com:99999999", "a b.com"] {
            assert!(!is_url(bad), "{bad}");
        }
        assert!(is_request_url("data:image/png;base64,AA") && !is_request_url("/x") && !is_request_url("x") && !is_request_url(""));
    }
}
