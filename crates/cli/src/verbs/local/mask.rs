//! Encrypted values of Secrets are not shown, nor taken for drift.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

const MASK: &str = "**SOPS**";
const DOCKER: &str = "kubernetes.io/dockerconfigjson";

fn is_sops(bytes: &[u8]) -> bool {
    let has = |word: &[u8]| bytes.windows(word.len()).any(|window| window == word);
    has(b"sops") && has(b"ENC[")
}

/// Replaces what SOPS encrypted in a Secret.
pub fn secret(object: &mut Value) -> Result<(), String> {
    if object.get("kind").and_then(Value::as_str) != Some("Secret") {
        return Ok(());
    }
    let name = crate::objects::name(object).to_owned();
    let whole = object.pointer("/sops/mac").and_then(Value::as_str).is_some_and(|mac| mac.starts_with("ENC["));
    let docker = object.get("type").and_then(Value::as_str) == Some(DOCKER);
    let Some(fields) = object.as_object_mut() else { return Ok(()) };
    if whole {
        fields.remove("sops");
        let plain = if docker { json!({"mask": MASK}).to_string() } else { MASK.to_owned() };
        each(fields, "data", |value| *value = STANDARD.encode(&plain).into());
        each(fields, "stringData", |value| *value = plain.clone().into());
        return Ok(());
    }
    let mut broken = None;
    each(fields, "data", |value| match STANDARD.decode(value.as_str().unwrap_or("").replace(['\n', '\r'], "")) {
        Ok(bytes) if is_sops(&bytes) => *value = STANDARD.encode(MASK).into(),
        Ok(_) => {}
        Err(error) => broken = Some(error.to_string()),
    });
    each(fields, "stringData", |value| {
        if is_sops(value.as_str().unwrap_or("").as_bytes()) {
            *value = STANDARD.encode(MASK).into();
        }
    });
    broken.map_or(Ok(()), |error| Err(format!("failed to mask secret {name} sops data: {error}")))
}

fn each(fields: &mut Map<String, Value>, field: &str, mut change: impl FnMut(&mut Value)) {
    fields.get_mut(field).and_then(Value::as_object_mut).into_iter().flat_map(|data| data.values_mut()).for_each(&mut change);
}

/// Whether a Secret that was built has values that are masked.
pub fn is_masked(object: &Value) -> bool {
    let data = object.get("data").and_then(Value::as_object);
    let contains = |bytes: &[u8]| bytes.windows(MASK.len()).any(|window| window == MASK.as_bytes());
    data.into_iter().flat_map(Map::values).filter_map(|value| STANDARD.decode(value.as_str()?).ok()).any(|bytes| contains(&bytes))
}

/// Hides the values of two states of a Secret: only whether they differ remains.
pub fn both(live: &mut Value, merged: &mut Value) {
    let data = |object: &Value| object.get("data").and_then(Value::as_object).cloned();
    let (before, after) = (data(live), data(merged));
    let marked = |own: Option<Map<String, Value>>, other: Option<&Map<String, Value>>, mark: &str| {
        own.map(|own| {
            let value = |key: &str, value: &Value| match other.and_then(|other| other.get(key)) {
                Some(other) if other != value => mark.to_owned(),
                _ => "***".to_owned(),
            };
            own.iter().map(|(key, content)| (key.clone(), Value::String(value(key, content)))).collect::<Map<String, Value>>()
        })
    };
    let shown_before = marked(before.clone(), after.as_ref(), "*** (before)");
    let shown_after = marked(after, before.as_ref(), "*** (after)");
    for (object, shown) in [(live, shown_before), (merged, shown_after)] {
        if let (Some(fields), Some(shown)) = (object.as_object_mut(), shown) {
            fields.insert("data".to_owned(), shown.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encrypted_secrets_are_masked_whole_and_others_by_value() {
        let mut whole = json!({"kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "ENC[x]"}, "sops": {"mac": "ENC[y]"}});
        assert_eq!(secret(&mut whole), Ok(()));
        assert_eq!(whole, json!({"kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "KipTT1BTKio="}}));
        assert!(is_masked(&whole));
        let mut plain = json!({"kind": "Secret", "data": {"a": "YQ==", "b": STANDARD.encode("sops: ENC[x]")}});
        assert_eq!(secret(&mut plain), Ok(()));
        assert_eq!(plain, json!({"kind": "Secret", "data": {"a": "YQ==", "b": "KipTT1BTKio="}}));
    }

    #[test]
    fn values_show_only_whether_they_differ() {
        let (mut live, mut merged) = (json!({"data": {"a": "1", "b": "2", "c": "3"}}), json!({"data": {"a": "1", "b": "9", "d": "4"}}));
        both(&mut live, &mut merged);
        assert_eq!(live, json!({"data": {"a": "***", "b": "*** (before)", "c": "***"}}));
        assert_eq!(merged, json!({"data": {"a": "***", "b": "*** (after)", "d": "***"}}));
    }
}
