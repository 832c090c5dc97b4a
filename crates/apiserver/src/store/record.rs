use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;

/// An object's identity for life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(u128);

impl Uid {
    pub fn random() -> Self {
        let random: u128 = rand::random();
        // Version 4, variant 1.
        Self((random & !(0xf000 << 64) & !(0xc000 << 48)) | (0x4000 << 64) | (0x8000 << 48))
    }

    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 36 {
            return None;
        }
        let mut value: u128 = 0;
        for (at, c) in text.bytes().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                if c != b'-' {
                    return None;
                }
                continue;
            }
            value = (value << 4) | u128::from((c as char).to_digit(16)?);
        }
        Some(Self(value))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = self.0;
        write!(
            out,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            (v >> 96) as u32,
            (v >> 80) as u16,
            (v >> 64) as u16,
            (v >> 48) as u16,
            v & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// An object as it is kept: its JSON, and the few facts that are needed without reading it.
pub struct Record {
    /// `namespace/name`, or `name` of a cluster-scoped object.
    pub key: Arc<str>,
    pub revision: u64,
    pub bytes: Bytes,
    pub facts: Facts,
}

/// What selectors, garbage collection and termination ask of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    pub uid: Option<Uid>,
    /// `key\0value\0` for every label.
    labels: Box<str>,
    pub owners: Box<[Owner]>,
    pub deleting: bool,
    pub finalizers: Box<[Box<str>]>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Owner {
    pub uid: Uid,
    pub blocks: bool,
    pub controls: bool,
}

impl Facts {
    pub fn of(metadata: &Value) -> Self {
        let text = |key: &str| metadata.get(key).and_then(Value::as_str);
        let mut labels = String::new();
        for (key, value) in metadata.get("labels").and_then(Value::as_object).into_iter().flatten() {
            labels.push_str(key);
            labels.push('\0');
            labels.push_str(value.as_str().unwrap_or(""));
            labels.push('\0');
        }
        let owners = metadata.get("ownerReferences").and_then(Value::as_array).into_iter().flatten().filter_map(|owner| {
            Some(Owner {
                uid: Uid::parse(owner.get("uid")?.as_str()?)?,
                blocks: owner.get("blockOwnerDeletion").and_then(Value::as_bool).unwrap_or(false),
                controls: owner.get("controller").and_then(Value::as_bool).unwrap_or(false),
            })
        });
        let finalizers = metadata.get("finalizers").and_then(Value::as_array).into_iter().flatten();
        Self {
            uid: text("uid").and_then(Uid::parse),
            labels: labels.into_boxed_str(),
            owners: owners.collect(),
            deleting: text("deletionTimestamp").is_some(),
            finalizers: finalizers.filter_map(|f| f.as_str().map(Box::from)).collect(),
        }
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self.labels.split('\0');
        std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
    }

    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|f| &**f == name)
    }
}

impl fmt::Debug for Record {
    /// Never the content: it may be secret.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}@{}", self.key, self.revision)
    }
}

impl Record {
    pub fn namespace(&self) -> &str {
        self.key.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    pub fn name(&self) -> &str {
        self.key.split_once('/').map_or(&self.key, |(_, name)| name)
    }

    /// The whole object. Stored bytes were written by `Draft`, so they parse; a damaged one reads as null.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// The bytes after `"kind":…,"apiVersion":…,`, when the object begins with them: items of a typed list carry neither.
    pub fn without_type(&self) -> Option<&[u8]> {
        let at = self.bytes.windows(12).take(400).position(|w| w == b"\"metadata\":{")?;
        self.bytes.starts_with(b"{\"kind\":").then(|| &self.bytes[at..])
    }

    /// Reads back what a log or snapshot holds.
    pub fn recover(key: Arc<str>, revision: u64, bytes: Bytes) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Envelope {
            metadata: Value,
        }
        let envelope: Envelope = serde_json::from_slice(&bytes)?;
        Ok(Self { key, revision, bytes, facts: Facts::of(&envelope.metadata) })
    }
}

/// An object about to be stored; only its resourceVersion is still open, so the costly part is done outside the lock.
pub struct Draft {
    head: Vec<u8>,
    tail: Vec<u8>,
    pub facts: Facts,
}

/// The order in which Go writes an object's metadata, up to the resource version.
const BEFORE_REVISION: [&str; 4] = ["name", "generateName", "namespace", "uid"];
const AFTER_REVISION: [&str; 10] = [
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
    "selfLink",
];

impl Draft {
    pub fn new(object: &Value) -> Self {
        let empty = Map::new();
        let map = object.as_object().unwrap_or(&empty);
        let metadata = map.get("metadata").unwrap_or(&Value::Null);
        let meta = metadata.as_object().unwrap_or(&empty);
        let mut head = Vec::with_capacity(1024);
        head.push(b'{');
        for key in ["kind", "apiVersion"] {
            if let Some(value) = map.get(key) {
                write_entry(&mut head, key, value);
                head.push(b',');
            }
        }
        head.extend_from_slice(b"\"metadata\":{");
        for key in BEFORE_REVISION {
            if let Some(value) = meta.get(key) {
                write_entry(&mut head, key, value);
                head.push(b',');
            }
        }
        head.extend_from_slice(b"\"resourceVersion\":\"");
        let mut tail = Vec::with_capacity(1024);
        tail.push(b'"');
        for key in AFTER_REVISION {
            if let Some(value) = meta.get(key) {
                tail.push(b',');
                write_entry(&mut tail, key, value);
            }
        }
        for (key, value) in meta {
            if key != "resourceVersion" && !BEFORE_REVISION.contains(&key.as_str()) && !AFTER_REVISION.contains(&key.as_str()) {
                tail.push(b',');
                write_entry(&mut tail, key, value);
            }
        }
        tail.push(b'}');
        for (key, value) in map {
            if !matches!(key.as_str(), "kind" | "apiVersion" | "metadata") {
                tail.push(b',');
                write_entry(&mut tail, key, value);
            }
        }
        tail.push(b'}');
        Self { head, tail, facts: Facts::of(metadata) }
    }

    /// The object as it would be, without ever having been stored.
    pub fn unversioned(self, key: Arc<str>) -> Record {
        let open = b"\"resourceVersion\":\"";
        let mut bytes = self.head[..self.head.len() - open.len()].to_vec();
        // What follows begins with the closing quote, and a comma when there is more metadata.
        match self.tail.get(1) {
            Some(b',') => bytes.extend_from_slice(&self.tail[2..]),
            _ => {
                if bytes.last() == Some(&b',') {
                    bytes.pop();
                }
                bytes.extend_from_slice(&self.tail[1..]);
            }
        }
        Record { key, revision: 0, bytes: Bytes::from(bytes), facts: self.facts }
    }

    pub fn finish(self, key: Arc<str>, revision: u64) -> Record {
        let number = revision.to_string();
        let mut bytes = Vec::with_capacity(self.head.len() + number.len() + self.tail.len());
        bytes.extend_from_slice(&self.head);
        bytes.extend_from_slice(number.as_bytes());
        bytes.extend_from_slice(&self.tail);
        Record { key, revision, bytes: Bytes::from(bytes), facts: self.facts }
    }
}

fn write_entry(out: &mut Vec<u8>, key: &str, value: &Value) {
    // Writing JSON values into memory cannot fail.
    let _ = serde_json::to_writer(&mut *out, key);
    out.push(b':');
    let _ = serde_json::to_writer(&mut *out, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn uids_print_and_parse() {
        let uid = Uid::random();
        assert_eq!(Uid::parse(&uid.to_string()), Some(uid));
        assert_eq!(&uid.to_string()[14..15], "4");
        assert_eq!(Uid::parse("nonsense"), None);
    }

    #[test]
    fn a_draft_takes_its_revision_last() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"},
            "metadata": {"labels": {"x": "y"}, "name": "n", "resourceVersion": "1", "uid": Uid::random().to_string()}});
        let record = Draft::new(&object).finish("default/n".into(), 42);
        let mut expected = object;
        expected["metadata"]["resourceVersion"] = json!("42");
        assert_eq!(record.value(), expected);
        assert_eq!(record.facts.label("x"), Some("y"));
        assert_eq!((record.namespace(), record.name()), ("default", "n"));
        assert!(record.without_type().unwrap().starts_with(b"\"metadata\":{\"name\":\"n\""));
        let mut without = record.value();
        without["metadata"].as_object_mut().unwrap().shift_remove("resourceVersion");
        assert_eq!(Draft::new(&record.value()).unversioned("default/n".into()).value(), without);
        let back = Record::recover("default/n".into(), 42, record.bytes.clone()).unwrap();
        assert_eq!(back.facts, record.facts);
    }
}
