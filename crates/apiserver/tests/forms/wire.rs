//! Answers in protobuf as values, without their schemas: fields by number.

use serde_json::{Map, Value, json};

/// An object (`k8s\0` and an envelope), a frame of a watch, or nothing of the kind.
pub fn read(bytes: &[u8]) -> Option<Value> {
    if let Some(envelope) = bytes.strip_prefix(b"k8s\0") {
        return message(envelope);
    }
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let frame = rest.get(..u32::from_be_bytes(*length) as usize)?;
    message(frame.strip_prefix(b"k8s\0").unwrap_or(frame)).map(|frame| json!({"frame": frame}))
}

fn message(mut bytes: &[u8]) -> Option<Value> {
    let mut out = Map::new();
    while !bytes.is_empty() {
        let tag = number(&mut bytes)?;
        let value = match tag & 7 {
            0 => match number(&mut bytes)? {
                // Seconds of a time.
                1_600_000_000..=4_000_000_000 => json!("<time>"),
                other => json!(other),
            },
            2 => {
                let length = usize::try_from(number(&mut bytes)?).ok()?;
                let (inner, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                field(inner)
            }
            _ => return None,
        };
        let list = out.entry((tag >> 3).to_string()).or_insert_with(|| json!([]));
        list.as_array_mut()?.push(value);
    }
    (!out.is_empty()).then_some(Value::Object(out))
}

/// A text when it can be one, else a message.
fn field(bytes: &[u8]) -> Value {
    let readable = std::str::from_utf8(bytes).ok().filter(|text| text.chars().all(|c| !c.is_control()));
    match readable {
        Some(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => json!("<number>"),
        Some(text) if text.starts_with('{') => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        Some(text) => json!(text),
        None => bytes
            .strip_prefix(b"k8s\0")
            .or(Some(bytes))
            .and_then(message)
            .or_else(|| std::str::from_utf8(bytes).ok().map(|text| json!(text)))
            .unwrap_or_else(|| json!(format!("{} bytes", bytes.len()))),
    }
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut out = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        out |= u64::from(first & 127) << shift;
        if first & 128 == 0 {
            return Some(out);
        }
    }
    None
}
