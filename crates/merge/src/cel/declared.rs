//! The types of whole kinds, as admission policies see their objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::types::{Declared, REQUEST_BYTES_MAX, Type};
use super::values::escape;
use crate::schema::{Format, Scalar, Schema, TypeHandle, TypeId};

/// Schemas nest no deeper than this before they are taken as unknown.
const DEPTH_MAX: usize = 30;

/// The type of the values of a schema; named so that two of one schema are the same.
pub fn declared_of(ty: &TypeHandle) -> Arc<Declared> {
    declare(ty.schema(), ty.id(), &mut Vec::new())
}

fn declare(schema: &Schema, id: TypeId, above: &mut Vec<TypeId>) -> Arc<Declared> {
    // A type that holds itself is unknown below.
    if above.contains(&id) || above.len() > DEPTH_MAX {
        return Declared::dynamic();
    }
    let ty = schema.get(id);
    // A time may be null, which leaves it without a type in the schema.
    if ty.format == Format::DateTime {
        return Declared::scalar(Type::Timestamp, 32, 21);
    }
    let several = usize::from(ty.scalar.is_some()) + usize::from(ty.list.is_some()) + usize::from(ty.map.is_some()) > 1;
    if several {
        return Declared::dynamic();
    }
    above.push(id);
    let out = if let Some(list) = &ty.list {
        let element = declare(schema, list.element, above);
        let fits = (REQUEST_BYTES_MAX - 2) / (element.bytes_min + 1);
        Declared::list(element, fits)
    } else if let Some(map) = &ty.map {
        match map.element {
            Some(element) if map.fields.is_empty() => {
                let element = declare(schema, element, above);
                let fits = (REQUEST_BYTES_MAX - 2) / (element.bytes_min + 6);
                Declared::map(element, fits)
            }
            _ => {
                let mut fields = BTreeMap::new();
                for field in &map.fields {
                    if let Some(name) = escape(&field.name) {
                        fields.insert(name, declare(schema, field.ty, above));
                    }
                }
                Declared::object(ty.name.as_deref().unwrap_or("object"), fields, 2)
            }
        }
    } else {
        scalar(ty.scalar, ty.format)
    };
    above.pop();
    out
}

fn scalar(scalar: Option<Scalar>, format: Format) -> Arc<Declared> {
    match (scalar, format) {
        (_, Format::IntOrString) => Declared::dynamic(),
        (Some(Scalar::Numeric), Format::Double) => Declared::scalar(Type::Double, 0, 1),
        (Some(Scalar::Numeric), _) => Declared::scalar(Type::Int, 0, 1),
        (Some(Scalar::Boolean), _) => Declared::scalar(Type::Bool, 0, 4),
        (Some(Scalar::String), Format::Byte) => Declared::scalar(Type::Bytes, REQUEST_BYTES_MAX - 2, 2),
        (Some(Scalar::String) | None, _) => Declared::string(),
        (Some(Scalar::Untyped), Format::Quantity) => Declared::string(),
        (Some(Scalar::Untyped), _) => Declared::dynamic(),
    }
}
