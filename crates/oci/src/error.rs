use serde::Deserialize;
use serde_json::Value;

/// Why a registry did not do what was asked. No text holds a credential.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry answered with errors of the distribution specification.
    /// The text is go-containerregistry's, since Flux users know it from conditions.
    #[error("{method} {url}: {text}")]
    Registry { method: &'static str, url: String, status: u16, text: String },
    /// The registry could not be reached, or broke off.
    #[error("{method} {url}: {cause}")]
    Transport { method: &'static str, url: String, cause: String },
    /// Bytes did not hash to their name.
    #[error("{url}: expected digest {expected}, got {actual}")]
    Digest { url: String, expected: String, actual: String },
    /// More bytes than allowed.
    #[error("{url}: larger than the limit of {limit} bytes")]
    TooLarge { url: String, limit: u64 },
    /// An answer that is not what the specification says.
    #[error("{url}: {what}")]
    Malformed { url: String, what: String },
    /// The index has no image for the platform.
    #[error("no child with platform linux/amd64 in index {0}")]
    NoPlatform(String),
    /// A Docker config file that cannot be read.
    #[error("invalid docker config: {0}")]
    DockerConfig(&'static str),
}

impl Error {
    /// Whether the same call may work later: the network, an overloaded or failing registry.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            Self::Registry { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    /// The thing asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Registry { status: 404, .. })
    }

    /// The registry refused the credentials.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Registry { status: 401 | 403, .. })
    }
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    errors: Vec<One>,
}

#[derive(Deserialize)]
struct One {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    detail: Value,
}

/// Words a failing answer as go-containerregistry does: `CODE: message; detail`, or the status with the body.
pub(crate) fn describe(status: u16, reason: &str, body: &[u8]) -> String {
    let errors = serde_json::from_slice::<Body>(body).map(|b| b.errors).unwrap_or_default();
    match errors.as_slice() {
        [] if body.is_empty() => format!("unexpected status code {status} {reason}"),
        [] => {
            let text = String::from_utf8_lossy(&body[..body.len().min(512)]);
            format!("unexpected status code {status} {reason}: {}", text.trim())
        }
        [one] => one.text(),
        many => format!("multiple errors returned: {}", many.iter().map(One::text).collect::<Vec<_>>().join("; ")),
    }
}

impl One {
    fn text(&self) -> String {
        let mut text = format!("{}: {}", self.code, self.message);
        if !self.detail.is_null() {
            text.push_str("; ");
            go_value(&self.detail, &mut text);
        }
        text
    }
}

/// Prints a JSON value as Go's `%v` prints the decoded one: maps as `map[a:1 b:2]`, keys sorted.
fn go_value(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                go_value(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort();
            out.push_str("map[");
            for (at, key) in keys.into_iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                go_value(&map[key.as_str()], out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_go_containerregistry_words_them() {
        let one = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"v1","Name":"a/b"}}]}"#;
        assert_eq!(describe(404, "Not Found", one), "MANIFEST_UNKNOWN: manifest unknown; map[Name:a/b Tag:v1]");
        assert_eq!(describe(500, "Internal Server Error", b""), "unexpected status code 500 Internal Server Error");
        assert_eq!(describe(502, "Bad Gateway", b"oops\n"), "unexpected status code 502 Bad Gateway: oops");
    }
}
