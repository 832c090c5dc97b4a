//! Objects as rows for people.

mod cells;
mod columns;
mod custom;
mod format;

use crate::protocol::status::{Result, Status};
use crate::registry::Resource;
use crate::rest::{Context, view};
use serde_json::{Value, json};

pub use format::age;

/// What each row carries of its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    None,
    Metadata,
    Object,
}

impl Include {
    pub fn of(context: &Context) -> Result<Self> {
        match context.query.text("includeObject") {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => Err(Status::bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: \"{other}\": must be 'Metadata', 'Object', 'None', or empty"
            ))),
        }
    }
}

/// One column of a table.
pub struct Column {
    pub name: String,
    pub kind: &'static str,
    pub format: &'static str,
    pub description: String,
    /// Columns of priority 0 are always shown.
    pub priority: i64,
}

/// A `Table` of objects; `with_columns` is false for all but the first event of a watch.
pub fn table(
    resource: &Resource,
    objects: &[&Value],
    metadata: Value,
    include: Include,
    api_version: &'static str,
    with_columns: bool,
) -> Value {
    let now = jiff::Timestamp::now();
    let (columns, rows): (Vec<Column>, Vec<Vec<Value>>) = match &resource.custom {
        Some(custom) => (custom::columns(custom), objects.iter().map(|o| custom::cells(custom, o, now)).collect()),
        None => (columns::columns(resource), objects.iter().map(|o| columns::cells(resource, o, now)).collect()),
    };
    let rows: Vec<Value> = rows
        .into_iter()
        .zip(objects)
        .map(|(cells, object)| {
            let mut row = json!({"cells": cells});
            match include {
                Include::None => row["object"] = Value::Null,
                Include::Metadata => row["object"] = view::metadata_only(api_version, object),
                Include::Object => row["object"] = (*object).clone(),
            }
            row
        })
        .collect();
    let mut out = json!({"kind": "Table", "apiVersion": api_version, "metadata": metadata, "columnDefinitions": null, "rows": rows});
    if with_columns {
        out["columnDefinitions"] = columns
            .iter()
            .map(|c| json!({"name": c.name, "type": c.kind, "format": c.format, "description": c.description, "priority": c.priority}))
            .collect();
    }
    out
}
