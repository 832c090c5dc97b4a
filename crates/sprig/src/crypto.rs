//! Passwords, random text and ciphers.

use crate::{
    args::{Result, bytes, int, raw, string, text},
    encodings::decode_base64,
    environment::environment,
};
use aws_lc_rs::{
    cipher::{AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey},
    hmac, pbkdf2,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use gotemplate::{Failure, Function, Run, Type, Value};
use std::num::NonZeroU32;

const S: Type = Type::String;
const I: Type = Type::Int;

pub(crate) const ALL: &[Function] = &[
    Function::new("randAlphaNum", &[I], |run, args| random_text(run, args, |b| b.is_ascii_alphanumeric())),
    Function::new("randAlpha", &[I], |run, args| random_text(run, args, |b| b.is_ascii_alphabetic())),
    Function::new("randNumeric", &[I], |run, args| random_text(run, args, |b| b.is_ascii_digit())),
    Function::new("randAscii", &[I], |run, args| random_text(run, args, |b| (32..127).contains(&b))),
    Function::new("randBytes", &[I], |run, args| {
        let mut buffer = vec![0; length(run, args)?];
        environment(run)?.random_bytes(&mut buffer);
        string(run, STANDARD.encode(buffer))
    }),
    Function::new("uuidv4", &[], |run, _| {
        let mut id = [0u8; 16];
        environment(run)?.random_bytes(&mut id);
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        let hex = hex::encode(id);
        string(run, format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
    }),
    Function::new("bcrypt", &[S], |run, args| {
        let hash = bcrypt(run, bytes(args, 0))?;
        string(run, hash)
    }),
    Function::new("htpasswd", &[S, S], |run, args| {
        let user = text(args, 0);
        if user.contains(':') {
            return string(run, format!("invalid username: {user}"));
        }
        let hash = bcrypt(run, bytes(args, 1))?;
        string(run, format!("{user}:{hash}"))
    }),
    Function::new("derivePassword", &[Type::Uint32, S, S, S, S], derive_password),
    Function::new("encryptAES", &[S, S], encrypt),
    Function::new("decryptAES", &[S, S], decrypt),
];

fn length(run: &mut Run<'_>, args: &[Value]) -> Result<usize> {
    let Ok(count) = usize::try_from(int(args, 0)) else {
        return Err(Failure::new("runtime error: makeslice: len out of range"));
    };
    run.reserve(count)?;
    run.charge(count as u64)?;
    Ok(count)
}

fn random_text(run: &mut Run<'_>, args: &[Value], wanted: fn(u8) -> bool) -> Result {
    // goutils gives nothing, not an error, for a negative count.
    if int(args, 0) <= 0 {
        return string(run, "");
    }
    let count = length(run, args)?;
    let environment = environment(run)?;
    let alphabet: Vec<u8> = (0..128).filter(|b| wanted(*b)).collect();
    let text: String = (0..count).map(|_| alphabet[environment.random_below(alphabet.len() as u64) as usize] as char).collect();
    Ok(Value::string(text))
}

/// Steps that a slow hash costs: about as many as templates run in the same time.
const SLOW_HASH_COST: u64 = 1_000_000;

fn bcrypt(run: &mut Run<'_>, password: &[u8]) -> Result<String> {
    const COST: u32 = 10;
    if password.len() > 72 {
        return Ok("failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes".to_owned());
    }
    run.charge(SLOW_HASH_COST)?;
    let mut salt = [0; 16];
    environment(run)?.random_bytes(&mut salt);
    match bcrypt::hash_with_salt(password, COST, salt) {
        Ok(hash) => Ok(hash.format_for_version(bcrypt::Version::TwoA)),
        Err(why) => Ok(format!("failed to encrypt string with bcrypt: {why}")),
    }
}

const MASTER_PASSWORD: &[u8] = b"com.lyndir.masterpassword";

/// Templates of passwords by type, of the Master Password algorithm.
const PASSWORDS: &[(&str, &[&str])] = &[
    ("maximum", &["anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"]),
    (
        "long",
        &[
            "CvcvnoCvcvCvcv",
            "CvcvCvcvnoCvcv",
            "CvcvCvcvCvcvno",
            "CvccnoCvcvCvcv",
            "CvccCvcvnoCvcv",
            "CvccCvcvCvcvno",
            "CvcvnoCvccCvcv",
            "CvcvCvccnoCvcv",
            "CvcvCvccCvcvno",
            "CvcvnoCvcvCvcc",
            "CvcvCvcvnoCvcc",
            "CvcvCvcvCvccno",
            "CvccnoCvccCvcv",
            "CvccCvccnoCvcv",
            "CvccCvccCvcvno",
            "CvcvnoCvccCvcc",
            "CvcvCvccnoCvcc",
            "CvcvCvccCvccno",
            "CvccnoCvcvCvcc",
            "CvccCvcvnoCvcc",
            "CvccCvcvCvccno",
        ],
    ),
    ("medium", &["CvcnoCvc", "CvcCvcno"]),
    ("short", &["Cvcn"]),
    ("basic", &["aaanaaan", "aannaaan", "aaannaaa"]),
    ("pin", &["nnnn"]),
];

fn characters(class: u8) -> &'static [u8] {
    match class {
        b'V' => b"AEIOU",
        b'C' => b"BCDFGHJKLMNPQRSTVWXYZ",
        b'v' => b"aeiou",
        b'c' => b"bcdfghjklmnpqrstvwxyz",
        b'A' => b"AEIOUBCDFGHJKLMNPQRSTVWXYZ",
        b'a' => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
        b'n' => b"0123456789",
        b'o' => b"@&%?,=[]_:-+*$#!'^~;()/.",
        _ => b"AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
    }
}

fn derive_password(run: &mut Run<'_>, args: &[Value]) -> Result {
    let counter = match args[0] {
        Value::Uint64(n) => n as u32,
        _ => 0,
    };
    let kind = text(args, 1);
    let Some((_, templates)) = PASSWORDS.iter().find(|(name, _)| *name == kind) else {
        return string(run, format!("cannot find password template {kind}"));
    };
    run.charge(SLOW_HASH_COST * 4)?;
    let (password, user, site) = (bytes(args, 2), bytes(args, 3), bytes(args, 4));
    let salt = [MASTER_PASSWORD, &(user.len() as u32).to_be_bytes(), user].concat();
    let key = scrypt(password, &salt);
    let message = [MASTER_PASSWORD, &(site.len() as u32).to_be_bytes(), site, &counter.to_be_bytes()].concat();
    let seed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &message);
    let seed = seed.as_ref();
    let template = templates[usize::from(seed[0]) % templates.len()];
    let text: String = template
        .bytes()
        .zip(&seed[1..])
        .map(|(class, byte)| characters(class)[usize::from(*byte) % characters(class).len()] as char)
        .collect();
    string(run, text)
}

/// scrypt with N = 32768, r = 8, p = 2 and 64 bytes of output.
fn scrypt(password: &[u8], salt: &[u8]) -> [u8; 64] {
    const N: usize = 32_768;
    const WORDS: usize = 256; // 128 bytes * r / 4
    let one = NonZeroU32::MIN;
    let mut blocks = vec![0u8; WORDS * 4 * 2];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, one, salt, password, &mut blocks);
    let mut table = vec![0u32; N * WORDS];
    for block in blocks.chunks_mut(WORDS * 4) {
        let mut x: Vec<u32> = block.chunks(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        for row in table.chunks_mut(WORDS) {
            row.copy_from_slice(&x);
            mix(&mut x);
        }
        for _ in 0..N {
            let row = x[WORDS - 16] as usize % N * WORDS;
            x.iter_mut().zip(&table[row..row + WORDS]).for_each(|(x, t)| *x ^= t);
            mix(&mut x);
        }
        block.chunks_mut(4).zip(&x).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
    }
    let mut out = [0; 64];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, one, &blocks, password, &mut out);
    out
}

/// scrypt's BlockMix: even blocks first, then the odd ones.
fn mix(x: &mut [u32]) {
    let mut state = [0u32; 16];
    state.copy_from_slice(&x[x.len() - 16..]);
    let source = x.to_vec();
    let half = x.len() / 32;
    for (at, block) in source.chunks(16).enumerate() {
        state.iter_mut().zip(block).for_each(|(s, b)| *s ^= b);
        salsa(&mut state);
        let target = if at % 2 == 0 { at / 2 } else { half + at / 2 };
        x[target * 16..][..16].copy_from_slice(&state);
    }
}

/// Salsa20/8.
fn salsa(state: &mut [u32; 16]) {
    let start = *state;
    const ROUNDS: [[usize; 4]; 8] =
        [[4, 0, 12, 8], [9, 5, 1, 13], [14, 10, 6, 2], [3, 15, 11, 7], [1, 0, 3, 2], [6, 5, 4, 7], [11, 10, 9, 8], [12, 15, 14, 13]];
    for _ in 0..4 {
        for [a, b, c, d] in ROUNDS {
            // Each quarter updates a, then d', c', b' of its column or row.
            state[a] ^= state[b].wrapping_add(state[c]).rotate_left(7);
            state[d] ^= state[a].wrapping_add(state[b]).rotate_left(9);
            state[c] ^= state[d].wrapping_add(state[a]).rotate_left(13);
            state[b] ^= state[c].wrapping_add(state[d]).rotate_left(18);
        }
    }
    state.iter_mut().zip(start).for_each(|(s, start)| *s = s.wrapping_add(start));
}

/// The password cut or filled with zeros to 32 bytes.
fn cipher_key(password: &[u8]) -> Result<UnboundCipherKey> {
    let mut key = [0; 32];
    let used = password.len().min(32);
    key[..used].copy_from_slice(&password[..used]);
    UnboundCipherKey::new(&AES_256, &key).map_err(|_| Failure::new("crypto/aes: invalid key size"))
}

fn encrypt(run: &mut Run<'_>, args: &[Value]) -> Result {
    let mut content = bytes(args, 1).to_vec();
    if content.is_empty() {
        return string(run, "");
    }
    let mut iv = [0; 16];
    environment(run)?.random_bytes(&mut iv);
    let failed = |_| Failure::new("encryption failed");
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(cipher_key(bytes(args, 0))?).map_err(failed)?;
    key.less_safe_encrypt(&mut content, EncryptionContext::Iv128(iv.into())).map_err(failed)?;
    string(run, STANDARD.encode([&iv[..], &content].concat()))
}

fn decrypt(run: &mut Run<'_>, args: &[Value]) -> Result {
    let source = bytes(args, 1);
    if source.is_empty() {
        return string(run, "");
    }
    let mut content = decode_base64(source).map_err(|at| Failure::new(format!("illegal base64 data at input byte {at}")))?;
    if content.len() < 16 {
        return Err(Failure::new(format!("runtime error: slice bounds out of range [:16] with capacity {}", content.len())));
    }
    let mut body = content.split_off(16);
    if body.is_empty() || body.len() % 16 != 0 {
        return Err(Failure::new("crypto/cipher: input not full blocks"));
    }
    let iv: [u8; 16] = content.try_into().unwrap_or_default();
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(cipher_key(bytes(args, 0))?).map_err(|_| Failure::new("decryption failed"))?;
    match key.decrypt(&mut body, DecryptionContext::Iv128(iv.into())) {
        Ok(plain) => raw(run, plain.to_vec()),
        Err(_) => Err(Failure::new("runtime error: slice bounds out of range [:-1]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn salsa_mixes_as_rfc_7914_says() {
        let hex = "7e879a214f3ec9867ca940e641718f26baee555b8c61c1b50df846116dcd3b1dee24f319df9b3d8514121e4b5ac5aa3276021d2909c74829edebc68db8b8c25e";
        let input = hex::decode(hex).unwrap();
        let mut state = [0u32; 16];
        state.iter_mut().zip(input.chunks(4)).for_each(|(s, b)| *s = u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        salsa(&mut state);
        let output: Vec<u8> = state.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(hex::encode(&output[..16]), "a41f859c6608cc993b81cacb020cef05");
    }
}
