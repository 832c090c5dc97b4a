//! PEM blocks as Go's encoding/pem writes and reads them.

use base64::{Engine, engine::general_purpose::STANDARD};

pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for at in (0..body.len()).step_by(64) {
        out.push_str(&body[at..(at + 64).min(body.len())]);
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// The first block: its label and content.
pub(crate) fn decode(text: &str) -> Option<(String, Vec<u8>)> {
    let mut lines = text.lines();
    let label = lines.find_map(|line| line.trim_end().strip_prefix("-----BEGIN ")?.strip_suffix("-----"))?;
    let end = format!("-----END {label}-----");
    let mut body = String::new();
    for line in lines {
        let line = line.trim();
        if line == end {
            return Some((label.to_owned(), STANDARD.decode(body).ok()?));
        }
        if !line.contains(": ") {
            body.push_str(line);
        }
    }
    None
}
