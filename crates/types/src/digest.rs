use crate::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// A hash function that artifacts may be named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Algorithm {
    Sha1,
    #[default]
    Sha256,
    Sha384,
    Sha512,
    Blake3,
}

impl Algorithm {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Blake3 => "blake3",
        }
    }

    /// Length of the hash in bytes.
    pub const fn size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Hashes `bytes` in one go.
    pub fn digest(self, bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new(self);
        hasher.update(bytes);
        hasher.finish()
    }
}

impl FromStr for Algorithm {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512, Self::Blake3]
            .into_iter()
            .find(|a| a.name() == text)
            .ok_or_else(|| Error::Digest(text.to_owned(), "unknown algorithm; use sha1, sha256, sha384, sha512 or blake3"))
    }
}

/// `algorithm:hex`, as in `sha256:e3b0…`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hex: Box<str>,
}

impl Digest {
    /// Parses `algorithm:hex`; bare hexadecimal of 64 digits is taken as sha256, as Flux's fetcher does.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (algorithm, hex) = match text.split_once(':') {
            Some((algorithm, hex)) => {
                (algorithm.parse::<Algorithm>().map_err(|_| Error::Digest(text.to_owned(), "unknown algorithm"))?, hex)
            }
            None => (Algorithm::Sha256, text),
        };
        if hex.len() != algorithm.size() * 2 {
            return Err(Error::Digest(text.to_owned(), "wrong length"));
        }
        if !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(Error::Digest(text.to_owned(), "not lower-case hexadecimal"));
        }
        Ok(Self { algorithm, hex: hex.into() })
    }

    /// sha256 of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Self {
        Algorithm::Sha256.digest(bytes)
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal part alone.
    pub fn hex(&self) -> &str {
        &self.hex
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl FromStr for Digest {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Hashes bytes as they come by.
pub struct Hasher(Inner);

enum Inner {
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
    Sha384(sha2::Sha384),
    Sha512(sha2::Sha512),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha1 => Inner::Sha1(Default::default()),
            Algorithm::Sha256 => Inner::Sha256(Default::default()),
            Algorithm::Sha384 => Inner::Sha384(Default::default()),
            Algorithm::Sha512 => Inner::Sha512(Default::default()),
            Algorithm::Blake3 => Inner::Blake3(Box::new(blake3::Hasher::new())),
        })
    }

    pub fn update(&mut self, bytes: &[u8]) {
        use sha2::Digest as _;
        match &mut self.0 {
            Inner::Sha1(h) => h.update(bytes),
            Inner::Sha256(h) => h.update(bytes),
            Inner::Sha384(h) => h.update(bytes),
            Inner::Sha512(h) => h.update(bytes),
            Inner::Blake3(h) => {
                h.update(bytes);
            }
        }
    }

    pub fn finish(self) -> Digest {
        use sha2::Digest as _;
        let (algorithm, hex) = match self.0 {
            Inner::Sha1(h) => (Algorithm::Sha1, hex::encode(h.finalize())),
            Inner::Sha256(h) => (Algorithm::Sha256, hex::encode(h.finalize())),
            Inner::Sha384(h) => (Algorithm::Sha384, hex::encode(h.finalize())),
            Inner::Sha512(h) => (Algorithm::Sha512, hex::encode(h.finalize())),
            Inner::Blake3(h) => (Algorithm::Blake3, h.finalize().to_hex().to_string()),
        };
        Digest { algorithm, hex: hex.into() }
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_hashes_the_empty_string_as_published() {
        let empty = [
            (Algorithm::Sha1, "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (Algorithm::Sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (Algorithm::Blake3, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        ];
        for (algorithm, hex) in empty {
            assert_eq!(algorithm.digest(b"").hex(), hex);
            assert_eq!(Digest::parse(&format!("{}:{hex}", algorithm.name())).unwrap(), algorithm.digest(b""));
        }
    }

    #[test]
    fn refuses_unknown_algorithms_wrong_lengths_and_upper_case() {
        for bad in ["md5:00", "sha256:00", "sha1:DA39A3EE5E6B4B0D3255BFEF95601890AFD80709", "", "sha256:"] {
            assert!(Digest::parse(bad).is_err(), "{bad:?}");
        }
    }
}
