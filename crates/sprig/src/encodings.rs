//! Base64, base32, digests.

use crate::args::{bytes, raw, string};
use base64::{Engine, engine::general_purpose::STANDARD};
use gotemplate::{Function, Type};
use sha1::Digest;

const S: Type = Type::String;

pub(crate) const ALL: &[Function] = &[
    Function::new("b64enc", &[S], |run, args| string(run, STANDARD.encode(bytes(args, 0)))),
    Function::new("b64dec", &[S], |run, args| match decode_base64(bytes(args, 0)) {
        Ok(decoded) => raw(run, decoded),
        Err(at) => string(run, format!("illegal base64 data at input byte {at}")),
    }),
    Function::new("b32enc", &[S], |run, args| string(run, encode_base32(bytes(args, 0)))),
    Function::new("b32dec", &[S], |run, args| match decode_base32(bytes(args, 0)) {
        Ok(decoded) => raw(run, decoded),
        Err(at) => string(run, format!("illegal base32 data at input byte {at}")),
    }),
    Function::new("sha1sum", &[S], |run, args| {
        run.charge(bytes(args, 0).len() as u64 / 64)?;
        string(run, hex::encode(sha1::Sha1::digest(bytes(args, 0))))
    }),
    Function::new("sha256sum", &[S], |run, args| {
        run.charge(bytes(args, 0).len() as u64 / 64)?;
        string(run, hex::encode(sha2::Sha256::digest(bytes(args, 0))))
    }),
    Function::new("sha512sum", &[S], |run, args| {
        run.charge(bytes(args, 0).len() as u64 / 64)?;
        string(run, hex::encode(sha2::Sha512::digest(bytes(args, 0))))
    }),
    Function::new("adler32sum", &[S], |run, args| string(run, adler32(bytes(args, 0)).to_string())),
];

/// Standard base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Go's decoder: line ends are skipped; the error is the place of the first wrong byte.
pub(crate) fn decode_base64(text: &[u8]) -> Result<Vec<u8>, usize> {
    let places: Vec<usize> = (0..text.len()).filter(|at| !matches!(text[*at], b'\r' | b'\n')).collect();
    let clean: Vec<u8> = places.iter().map(|at| text[*at]).collect();
    let lenient = base64::engine::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    lenient.decode(&clean).map_err(|_| {
        let wrong = clean.iter().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')));
        match wrong {
            // Padding that comes where it may, but leaves the text short, is wrong at the end.
            Some(at) if clean[at] == b'=' && at % 4 >= 2 => {
                let padding = 4 - at % 4;
                let end = at + padding;
                if clean.len() < end || clean[at..end].iter().any(|b| *b != b'=') {
                    places.get(clean.len()).copied().unwrap_or(text.len())
                } else {
                    places.get(end).copied().unwrap_or(text.len())
                }
            }
            Some(at) => places.get(at).copied().unwrap_or(text.len()),
            None => places.get(clean.len() / 4 * 4).copied().unwrap_or(text.len()),
        }
    })
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn encode_base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for chunk in bytes.chunks(5) {
        let mut buffer = [0u8; 8];
        buffer[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(buffer);
        let used = (chunk.len() * 8).div_ceil(5);
        for at in 0..8 {
            out.push(if at < used { BASE32[(bits >> (35 - at * 5) & 31) as usize] as char } else { '=' });
        }
    }
    out
}

fn decode_base32(text: &[u8]) -> Result<Vec<u8>, usize> {
    let places: Vec<usize> = (0..text.len()).filter(|at| !matches!(text[*at], b'\r' | b'\n')).collect();
    let mut out = Vec::with_capacity(text.len() * 5 / 8);
    for (group, chunk) in places.chunks(8).enumerate() {
        let data = chunk.iter().take_while(|at| text[**at] != b'=').count();
        let mut bits: u64 = 0;
        for at in 0..8 {
            let value = match chunk.get(at) {
                Some(place) if at < data => match BASE32.iter().position(|b| *b == text[*place]) {
                    Some(value) => value as u64,
                    None => return Err(*place),
                },
                Some(place) if text[*place] != b'=' => return Err(*place),
                Some(_) => 0,
                None => return Err(text.len()),
            };
            bits = bits << 5 | value;
        }
        if !matches!(data, 2 | 4 | 5 | 7 | 8) {
            return Err(chunk.get(data).copied().unwrap_or(text.len()));
        }
        out.extend_from_slice(&bits.to_be_bytes()[3..3 + data * 5 / 8]);
        if data < 8 && places.len() > (group + 1) * 8 {
            return Err(places[(group + 1) * 8]);
        }
    }
    Ok(out)
}

fn adler32(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1u32, 0u32);
    for chunk in bytes.chunks(5_552) {
        for byte in chunk {
            a += u32::from(*byte);
            b += a;
        }
        a %= 65_521;
        b %= 65_521;
    }
    b << 16 | a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_round_trips_and_names_the_wrong_byte() {
        for text in ["", "a", "ab", "abc", "abcd", "abcde", "abcdef"] {
            assert_eq!(decode_base32(encode_base32(text.as_bytes()).as_bytes()).unwrap(), text.as_bytes());
        }
        assert_eq!((encode_base32(b"a").as_str(), decode_base32(b"1")), ("ME======", Err(0)));
    }

    #[test]
    fn base64_skips_line_ends_and_names_the_wrong_byte() {
        assert_eq!(decode_base64(b"aGVs\nbG8=").unwrap(), b"hello");
        assert_eq!(decode_base64(b"aGV!bG8="), Err(3));
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
    }
}
