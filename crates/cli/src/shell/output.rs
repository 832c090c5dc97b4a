//! JSON and YAML on standard output.

use super::Failure;
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::{self, Write as _};

/// Bytes that are gathered before they are written.
const PIECE: usize = 64 << 10;

/// Writes text to standard output; a reader that went away is no error.
pub fn print(text: &str) -> Result<(), Failure> {
    write(|out| out.write_all(text.as_bytes()))
}

/// Writes to standard output, piece by piece; a reader that went away is no error.
pub fn write(pieces: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = io::BufWriter::with_capacity(PIECE, io::stdout().lock());
    match pieces(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(format!("cannot write to standard output: {error}"))),
        _ => Ok(()),
    }
}

/// Indented JSON with the fields in their own order.
pub fn json(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(error.to_string()))?;
    Ok(text + "\n")
}

/// YAML as sigs.k8s.io/yaml writes it: keys sorted.
pub fn yaml(value: &impl Serialize) -> Result<String, Failure> {
    let value = serde_json::to_value(value).map_err(|error| Failure::new(error.to_string()))?;
    Ok(yaml::emit(&value))
}

/// A multi-document YAML stream: each document opened by `---`, ended by an empty line.
pub fn documents<T: Serialize>(values: impl IntoIterator<Item = T>) -> Result<String, Failure> {
    values.into_iter().map(|value| Ok(format!("---\n{}", yaml(&value)?))).collect()
}

/// Keys in alphabetical order, all the way down.
pub fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}
