//! Host keys that somebody vouched for: the text of a `known_hosts` file, as OpenSSH reads it.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use russh::keys::{Algorithm, PublicKey, parse_public_key_base64};

/// Lines that are read; the rest of a longer file is refused with it.
const LINES_MAX: usize = 10_000;

/// What the entries of a host say of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Known,
    /// No entry names the host.
    Unknown,
    /// The host is known by other keys.
    Mismatch,
    Revoked,
}

pub(crate) struct KnownHosts {
    entries: Vec<Entry>,
}

struct Entry {
    revoked: bool,
    hosts: Vec<Pattern>,
    key: PublicKey,
}

enum Pattern {
    /// `|1|salt|hash`: HMAC-SHA1 of the name.
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
    /// With `*` and `?`; refused with `!` before it.
    Plain { text: String, negated: bool },
}

impl KnownHosts {
    /// Reads the text. Lines that cannot be read, and authorities of certificates, vouch for nothing.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut entries = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if at >= LINES_MAX {
                return Err(format!("known_hosts has more than {LINES_MAX} lines"));
            }
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut fields = line.split_ascii_whitespace().peekable();
            let marker = fields.next_if(|field| field.starts_with('@'));
            if marker.is_some_and(|marker| marker != "@revoked") {
                continue;
            }
            let (Some(hosts), Some(_kind), Some(key)) = (fields.next(), fields.next(), fields.next()) else { continue };
            let Ok(key) = parse_public_key_base64(key) else { continue };
            entries.push(Entry { revoked: marker.is_some(), hosts: hosts.split(',').filter_map(Pattern::parse).collect(), key });
        }
        if entries.is_empty() {
            return Err("known_hosts holds no host key".to_owned());
        }
        Ok(Self { entries })
    }

    pub(crate) fn judge(&self, host: &str, port: u16, key: &PublicKey) -> Verdict {
        let name = name(host, port);
        let (mut found, mut known) = (false, false);
        for entry in self.entries.iter().filter(|entry| entry.is_for(&name)) {
            let same = entry.key.key_data() == key.key_data();
            match entry.revoked {
                true if same => return Verdict::Revoked,
                true => {}
                false => {
                    found = true;
                    known |= same;
                }
            }
        }
        match (found, known) {
            (_, true) => Verdict::Known,
            (true, false) => Verdict::Mismatch,
            (false, false) => Verdict::Unknown,
        }
    }

    /// The kinds of keys that the host is known by: the server is asked for one of these.
    pub(crate) fn algorithms(&self, host: &str, port: u16) -> Vec<Algorithm> {
        let name = name(host, port);
        let of_host = self.entries.iter().filter(|entry| !entry.revoked && entry.is_for(&name));
        of_host.map(|entry| entry.key.algorithm()).collect()
    }
}

/// As `known_hosts` names a host: the port only when it is not the usual one.
fn name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

impl Entry {
    fn is_for(&self, name: &str) -> bool {
        let matching = |pattern: &Pattern| pattern.matches(name);
        let refused = self.hosts.iter().any(|pattern| matches!(pattern, Pattern::Plain { negated: true, .. }) && matching(pattern));
        !refused && self.hosts.iter().any(|pattern| !matches!(pattern, Pattern::Plain { negated: true, .. }) && matching(pattern))
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        if let Some(hashed) = text.strip_prefix("|1|") {
            let (salt, hash) = hashed.split_once('|')?;
            return Some(Self::Hashed { salt: STANDARD.decode(salt).ok()?, hash: STANDARD.decode(hash).ok()? });
        }
        let (negated, text) = text.strip_prefix('!').map_or((false, text), |text| (true, text));
        (!text.is_empty()).then(|| Self::Plain { text: text.to_ascii_lowercase(), negated })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Hashed { salt, hash } => {
                // What OpenSSH wrote: a digest that hides names, not one that protects.
                let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
                hmac::verify(&key, name.as_bytes(), hash).is_ok()
            }
            Self::Plain { text, .. } => glob(text.as_bytes(), name.as_bytes()),
        }
    }
}

/// `*` stands for anything, `?` for one character. In steps that the product of the lengths bounds.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    p = at + 1;
                    n = from + 1;
                    star = Some((at, n));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    // Keys made for this test.
    const ONE: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const TWO: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    fn judged(text: &str, host: &str, port: u16) -> Verdict {
        KnownHosts::parse(text).unwrap().judge(host, port, &parse_public_key_base64(ONE).unwrap())
    }

    fn hashed(name: &str) -> String {
        let salt = b"0123456789abcdefghij";
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
        format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hmac::sign(&key, name.as_bytes())))
    }

    #[test]
    fn hosts_are_found_by_name_port_pattern_and_hash() {
        let line = |hosts: &str| format!("# comment\n\n{hosts} ssh-ed25519 {ONE} comment of the key\n");
        for (hosts, host, port, verdict) in [
            ("git.example.com", "git.example.com", 22, Verdict::Known),
            ("git.example.com", "GIT.example.com", 22, Verdict::Known),
            ("git.example.com", "git.example.com", 2222, Verdict::Unknown),
            ("[git.example.com]:2222", "git.example.com", 2222, Verdict::Known),
            ("a,b,c", "b", 22, Verdict::Known),
            ("*.example.com", "git.example.com", 22, Verdict::Known),
            ("*.example.com,!git.example.com", "git.example.com", 22, Verdict::Unknown),
            ("g?t.*", "git.example.com", 22, Verdict::Known),
            ("g?t.*", "giit.example.com", 22, Verdict::Unknown),
        ] {
            assert_eq!(judged(&line(hosts), host, port), verdict, "{hosts} {host}:{port}");
        }
        assert_eq!(judged(&line(&hashed("git.example.com")), "git.example.com", 22), Verdict::Known);
        assert_eq!(judged(&line(&hashed("[git.example.com]:7999")), "git.example.com", 7999), Verdict::Known);
        assert_eq!(judged(&line(&hashed("git.example.com")), "evil.example.com", 22), Verdict::Unknown);
    }

    #[test]
    fn other_and_revoked_keys_are_told_from_unknown_hosts() {
        assert_eq!(judged(&format!("h ssh-ed25519 {TWO}"), "h", 22), Verdict::Mismatch);
        assert_eq!(judged(&format!("h ssh-ed25519 {TWO}\nh ssh-ed25519 {ONE}"), "h", 22), Verdict::Known);
        assert_eq!(judged(&format!("h ssh-ed25519 {ONE}\n@revoked * ssh-ed25519 {ONE}"), "h", 22), Verdict::Revoked);
        assert_eq!(judged(&format!("x ssh-ed25519 {TWO}\n@cert-authority h ssh-ed25519 {ONE}"), "h", 22), Verdict::Unknown);
    }

    #[test]
    fn a_text_without_a_key_vouches_for_nothing() {
        for text in ["", "# nothing", "h", "h ssh-ed25519", "h ssh-ed25519 nonsense", "@cert-authority h ssh-ed25519 x"] {
            assert!(KnownHosts::parse(text).is_err(), "{text}");
        }
        assert!(KnownHosts::parse(&"h\n".repeat(LINES_MAX + 1)).is_err());
    }

    #[test]
    fn the_server_is_asked_for_the_kinds_that_are_known() {
        let hosts = KnownHosts::parse(&format!("h ssh-ed25519 {ONE}\nother ssh-ed25519 {TWO}")).unwrap();
        assert_eq!(hosts.algorithms("h", 22), [Algorithm::Ed25519]);
        assert_eq!(hosts.algorithms("nobody", 22), []);
    }
}
