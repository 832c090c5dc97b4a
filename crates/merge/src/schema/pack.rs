//! One file that holds what a real API server says of its built-in kinds: documents to serve, and types to merge by.
//!
//! ```text
//! "SLSC" version | count | (name, raw length, packed length)* | deflated sections
//! section "types": strings table | kinds | types     (everything is a varint or an index into the strings table)
//! ```
//!
//! Sections inflate one by one, when they are asked for.

use std::collections::HashMap;
use std::io::{Read, Write};

use object::GroupVersionKind;
use serde_json::Value;

use super::{Field, Format, List, ListKind, Map, Patch, Scalar, Schema, Type, TypeId};

const MAGIC: &[u8; 5] = b"SLSC\x01";

/// Why a pack cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("not a schema pack, or one of another version")]
    Magic,
    #[error("the schema pack ends early")]
    Truncated,
    #[error("section {0:?} of the schema pack is damaged")]
    Damaged(String),
    #[error("the schema pack has no section {0:?}")]
    Missing(String),
}

/// A pack whose table of contents has been read.
#[derive(Debug, Clone)]
pub struct Pack<'a> {
    sections: Vec<Section<'a>>,
}

#[derive(Debug, Clone)]
struct Section<'a> {
    name: &'a str,
    raw_len: usize,
    packed: &'a [u8],
}

impl<'a> Pack<'a> {
    pub fn open(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader { bytes: bytes.strip_prefix(MAGIC).ok_or(Error::Magic)? };
        let count = reader.number()?;
        let mut table = Vec::new();
        for _ in 0..count {
            table.push((reader.text()?, reader.number()?, reader.number()?));
        }
        let mut sections = Vec::with_capacity(table.len());
        for (name, raw_len, packed_len) in table {
            sections.push(Section { name, raw_len, packed: reader.take(packed_len)? });
        }
        Ok(Self { sections })
    }

    pub fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.sections.iter().map(|section| section.name)
    }

    /// Inflates one section.
    pub fn section(&self, name: &str) -> Result<Vec<u8>, Error> {
        let section = self.sections.iter().find(|section| section.name == name).ok_or_else(|| Error::Missing(name.to_owned()))?;
        let mut raw = Vec::with_capacity(section.raw_len);
        flate2::read::DeflateDecoder::new(section.packed)
            .take(section.raw_len as u64 + 1)
            .read_to_end(&mut raw)
            .map_err(|_| Error::Damaged(name.to_owned()))?;
        if raw.len() == section.raw_len { Ok(raw) } else { Err(Error::Damaged(name.to_owned())) }
    }

    pub fn schema(&self) -> Result<Schema, Error> {
        decode(&self.section("types")?)
    }
}

/// Collects sections and writes the pack.
#[derive(Debug, Default)]
pub struct PackBuilder {
    sections: Vec<(String, Vec<u8>)>,
}

impl PackBuilder {
    pub fn section(&mut self, name: &str, bytes: Vec<u8>) {
        self.sections.push((name.to_owned(), bytes));
    }

    pub fn schema(&mut self, schema: &Schema) {
        self.section("types", encode(schema));
    }

    pub fn write(&self) -> std::io::Result<Vec<u8>> {
        let mut out = MAGIC.to_vec();
        let mut bodies = Vec::new();
        put(&mut out, self.sections.len());
        for (name, raw) in &self.sections {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(raw)?;
            let packed = encoder.finish()?;
            put_text(&mut out, name);
            put(&mut out, raw.len());
            put(&mut out, packed.len());
            bodies.push(packed);
        }
        bodies.iter().for_each(|body| out.extend_from_slice(body));
        Ok(out)
    }
}

// ---- types ----

#[derive(Default)]
struct Strings {
    list: Vec<String>,
    index: HashMap<String, usize>,
}

impl Strings {
    fn add(&mut self, text: &str) -> usize {
        if let Some(at) = self.index.get(text) {
            return *at;
        }
        self.index.insert(text.to_owned(), self.list.len());
        self.list.push(text.to_owned());
        self.list.len() - 1
    }
}

fn encode(schema: &Schema) -> Vec<u8> {
    let mut strings = Strings::default();
    let mut body = Vec::new();
    let mut kinds: Vec<_> = schema.kinds().collect();
    kinds.sort();
    put(&mut body, kinds.len());
    for (gvk, id) in kinds {
        for text in [&gvk.group, &gvk.version, &gvk.kind] {
            put(&mut body, strings.add(text));
        }
        put(&mut body, id.0 as usize);
    }
    put(&mut body, schema.len());
    for ty in &schema.types {
        encode_type(&mut body, &mut strings, ty);
    }
    let mut out = Vec::new();
    put(&mut out, strings.list.len());
    strings.list.iter().for_each(|text| put_text(&mut out, text));
    out.extend_from_slice(&body);
    out
}

fn encode_type(out: &mut Vec<u8>, strings: &mut Strings, ty: &Type) {
    put(out, optional(ty.name.as_deref().map(|name| strings.add(name))));
    put(out, ty.scalar.map_or(0, |scalar| 1 + scalar as usize));
    put(out, ty.format as usize);
    put_texts(out, strings, &ty.enumeration);
    put(out, usize::from(ty.list.is_some()) | usize::from(ty.map.is_some()) << 1);
    if let Some(list) = &ty.list {
        put(out, list.kind as usize);
        put_texts(out, strings, &list.keys);
        put(out, list.element.0 as usize);
    }
    if let Some(map) = &ty.map {
        put(out, usize::from(map.atomic));
        put(out, optional(map.element.map(|id| id.0 as usize)));
        put(out, map.fields.len());
        for field in &map.fields {
            put(out, strings.add(&field.name));
            put(out, field.ty.0 as usize);
            let flags = [field.required, field.patch.merge, field.patch.retain_keys, field.patch.replace];
            put(out, flags.iter().enumerate().fold(0, |bits, (at, on)| bits | usize::from(*on) << at));
            put(out, optional(field.patch.merge_key.as_deref().map(|key| strings.add(key))));
            put(out, optional(field.default.as_ref().map(|value| strings.add(&value.to_string()))));
        }
    }
}

fn decode(bytes: &[u8]) -> Result<Schema, Error> {
    let mut reader = Reader { bytes };
    let mut strings: Vec<Box<str>> = Vec::new();
    for _ in 0..reader.number()? {
        strings.push(reader.text()?.into());
    }
    let mut schema = Schema::default();
    for _ in 0..reader.number()? {
        let [group, version, kind] = [reader.string(&strings)?, reader.string(&strings)?, reader.string(&strings)?];
        schema.kinds.insert(GroupVersionKind::new(group, version, kind), reader.id()?);
    }
    let count = reader.number()?;
    for at in 0..count {
        let ty = decode_type(&mut reader, &strings)?;
        if let Some(name) = &ty.name {
            // A later type of the same name is the named one, overridden at a field.
            schema.names.entry(name.clone()).or_insert(TypeId(at as u32));
        }
        schema.types.push(ty);
    }
    Ok(schema)
}

fn decode_type(reader: &mut Reader<'_>, strings: &[Box<str>]) -> Result<Type, Error> {
    let name = reader.optional()?.map(|at| lookup(strings, at)).transpose()?.map(Into::into);
    let scalar = match reader.number()? {
        0 => None,
        1 => Some(Scalar::Numeric),
        2 => Some(Scalar::String),
        3 => Some(Scalar::Boolean),
        _ => Some(Scalar::Untyped),
    };
    let format = match reader.number()? {
        1 => Format::Int32,
        2 => Format::Int64,
        3 => Format::Double,
        4 => Format::Byte,
        5 => Format::DateTime,
        6 => Format::IntOrString,
        7 => Format::Quantity,
        _ => Format::None,
    };
    let enumeration = reader.texts(strings)?;
    let parts = reader.number()?;
    let list = if parts & 1 == 1 {
        let kind = match reader.number()? {
            1 => ListKind::Set,
            2 => ListKind::Map,
            _ => ListKind::Atomic,
        };
        Some(List { kind, keys: reader.texts(strings)?, element: reader.id()? })
    } else {
        None
    };
    let map = if parts & 2 == 2 { Some(decode_map(reader, strings)?) } else { None };
    Ok(Type { name, scalar, list, map, format, enumeration })
}

fn decode_map(reader: &mut Reader<'_>, strings: &[Box<str>]) -> Result<Map, Error> {
    let atomic = reader.number()? == 1;
    let element = reader.optional()?.map(|id| TypeId(id as u32));
    let mut fields = Vec::new();
    for _ in 0..reader.number()? {
        let name = reader.string(strings)?.into();
        let ty = reader.id()?;
        let flags = reader.number()?;
        let merge_key = reader.optional()?.map(|at| lookup(strings, at)).transpose()?.map(Into::into);
        let default = reader.optional()?.map(|at| lookup(strings, at)).transpose()?;
        let default: Option<Value> = default.map(|text| serde_json::from_str(text).map_err(|_| damaged())).transpose()?;
        let patch = Patch { merge: flags & 2 != 0, retain_keys: flags & 4 != 0, replace: flags & 8 != 0, merge_key };
        fields.push(Field { name, ty, required: flags & 1 != 0, default, patch });
    }
    Ok(Map { atomic, fields, element })
}

fn damaged() -> Error {
    Error::Damaged("types".to_owned())
}

fn lookup(strings: &[Box<str>], at: usize) -> Result<&str, Error> {
    strings.get(at).map(|text| &**text).ok_or_else(damaged)
}

fn optional(value: Option<usize>) -> usize {
    value.map_or(0, |value| value + 1)
}

fn put(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_texts(out: &mut Vec<u8>, strings: &mut Strings, texts: &[Box<str>]) {
    put(out, texts.len());
    texts.iter().for_each(|text| put(out, strings.add(text)));
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<usize, Error> {
        let mut value = 0usize;
        for shift in (0..35).step_by(7) {
            let (byte, rest) = self.bytes.split_first().ok_or(Error::Truncated)?;
            self.bytes = rest;
            value |= ((byte & 0x7f) as usize) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged())
    }

    fn optional(&mut self) -> Result<Option<usize>, Error> {
        Ok(self.number()?.checked_sub(1))
    }

    fn id(&mut self) -> Result<TypeId, Error> {
        Ok(TypeId(self.number()? as u32))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self.bytes.split_at_checked(len).ok_or(Error::Truncated)?;
        self.bytes = rest;
        Ok(head)
    }

    fn text(&mut self) -> Result<&'a str, Error> {
        let len = self.number()?;
        std::str::from_utf8(self.take(len)?).map_err(|_| damaged())
    }

    fn string<'s>(&mut self, strings: &'s [Box<str>]) -> Result<&'s str, Error> {
        lookup(strings, self.number()?)
    }

    fn texts(&mut self, strings: &[Box<str>]) -> Result<Vec<Box<str>>, Error> {
        let count = self.number()?;
        (0..count).map(|_| self.string(strings).map(Into::into)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Compiler;
    use serde_json::json;

    fn sample() -> Schema {
        let mut compiler = Compiler::default();
        let definitions = json!({
            "a.Pod": {"type": "object", "required": ["spec"], "properties": {
                "spec": {"allOf": [{"$ref": "#/components/schemas/a.Spec"}], "x-kubernetes-map-type": "atomic", "default": {}},
                "ports": {"type": "array", "items": {"type": "integer", "format": "int32"}, "x-kubernetes-list-type": "set"}
            }, "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Pod"}]},
            "a.Spec": {"type": "object", "properties": {"policy": {"type": "string", "enum": ["A", "B"]}}}
        });
        compiler.definitions(definitions.as_object().unwrap());
        compiler.finish()
    }

    #[test]
    fn a_schema_comes_out_of_the_pack_as_it_went_in() {
        let schema = sample();
        let mut builder = PackBuilder::default();
        builder.schema(&schema);
        builder.section("x", b"document".to_vec());
        let bytes = builder.write().unwrap();
        let pack = Pack::open(&bytes).unwrap();
        assert_eq!(pack.schema().unwrap(), schema);
        assert_eq!(pack.section("x").unwrap(), b"document");
        assert_eq!(pack.section("y"), Err(Error::Missing("y".into())));
    }

    #[test]
    fn a_damaged_pack_is_an_error_wherever_it_is_cut() {
        let mut builder = PackBuilder::default();
        builder.schema(&sample());
        let bytes = builder.write().unwrap();
        for cut in 0..bytes.len() {
            let damaged = Pack::open(&bytes[..cut]).and_then(|pack| pack.schema());
            assert!(damaged.is_err(), "cut at {cut}");
        }
    }
}
