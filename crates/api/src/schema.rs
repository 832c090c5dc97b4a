//! One declaration for a type and its schema.
//!
//! `record!` writes a struct that reads and writes JSON as Go's `encoding/json` does with `omitempty`, together with its
//! structural OpenAPI schema; `resource!` writes a whole custom resource: its struct, its `kube::Resource` and its CRD.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Pattern of an interval.
pub const INTERVAL: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";
/// Pattern of a timeout, which is never given in hours.
pub const TIMEOUT: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$";

/// A type with a structural schema, as custom resource definitions want it.
pub trait Schema {
    fn schema() -> Value;
}

/// Whether a value is left out when written: Go's `omitempty`.
pub trait Omit {
    fn omit(&self) -> bool;
}

macro_rules! plain {
    ($($ty:ty: $name:literal, $empty:expr;)*) => {$(
        impl Schema for $ty {
            fn schema() -> Value {
                json!({"type": $name})
            }
        }
        impl Omit for $ty {
            fn omit(&self) -> bool {
                let empty: fn(&$ty) -> bool = $empty;
                empty(self)
            }
        }
    )*};
}

plain! {
    String: "string", |text| text.is_empty();
    bool: "boolean", |set| !*set;
    i64: "integer", |number| *number == 0;
    types::GoDuration: "string", |_| false;
}

/// Any JSON, kept as it is.
impl Schema for Value {
    fn schema() -> Value {
        json!({"x-kubernetes-preserve-unknown-fields": true})
    }
}

impl<T: Schema> Schema for Option<T> {
    fn schema() -> Value {
        T::schema()
    }
}

impl<T> Omit for Option<T> {
    fn omit(&self) -> bool {
        self.is_none()
    }
}

impl<T: Schema> Schema for Vec<T> {
    fn schema() -> Value {
        json!({"type": "array", "items": T::schema()})
    }
}

impl<T> Omit for Vec<T> {
    fn omit(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Schema> Schema for BTreeMap<String, T> {
    fn schema() -> Value {
        json!({"type": "object", "additionalProperties": T::schema()})
    }
}

impl<T> Omit for BTreeMap<String, T> {
    fn omit(&self) -> bool {
        self.is_empty()
    }
}

/// One property of a record, gathered by `record!`.
pub struct Property {
    pub name: String,
    pub doc: String,
    pub schema: Value,
    pub constraints: Value,
}

/// The schema of an object from its parts.
pub fn object(doc: &str, required: Vec<Property>, optional: Vec<Property>, rules: &[(&str, &str)]) -> Value {
    let mut names: Vec<String> = required.iter().map(|p| p.name.clone()).collect();
    names.sort();
    let properties: Map<String, Value> = required
        .into_iter()
        .chain(optional)
        .map(|property| {
            let mut schema = property.schema;
            describe(&mut schema, &property.doc);
            overlay(&mut schema, property.constraints);
            (property.name, schema)
        })
        .collect();
    let mut schema = json!({"type": "object", "properties": properties});
    describe(&mut schema, doc);
    if !names.is_empty() {
        schema["required"] = json!(names);
    }
    if !rules.is_empty() {
        schema["x-kubernetes-validations"] = rules.iter().map(|(rule, message)| json!({"message": message, "rule": rule})).collect();
    }
    schema
}

/// Sets the description, when there is one.
pub fn describe(schema: &mut Value, doc: &str) {
    if let (Some(map), false) = (schema.as_object_mut(), doc.is_empty()) {
        map.insert("description".to_owned(), Value::from(doc));
    }
}

/// Lays constraints over a schema; maps are merged, everything else is replaced.
pub fn overlay(schema: &mut Value, constraints: Value) {
    match (schema, constraints) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                overlay(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Joins the lines of a doc comment into one text.
pub fn doc(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// `last_applied_revision` as `lastAppliedRevision`.
pub fn camel(name: &str) -> String {
    let mut words = name.trim_start_matches("r#").split('_');
    let first = words.next().unwrap_or("").to_owned();
    words.fold(first, |mut text, word| {
        let (head, rest) = word.split_at(word.len().min(1));
        text.push_str(&head.to_uppercase());
        text.push_str(rest);
        text
    })
}

/// A struct with its schema. Fields come as required ones, then `optional` ones, then CEL `rules`; a field may carry
/// schema constraints after `=>` and another JSON name in `as "…"`.
macro_rules! record {
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident {
            $($(#[doc = $rdoc:literal])* pub $rfield:ident: $rty:ty $(as $rname:literal)? $(=> $rmore:tt)?,)*
        }
        $(optional {
            $($(#[doc = $odoc:literal])* pub $ofield:ident: $oty:ty $(as $oname:literal)? $(=> $omore:tt)?,)*
        })?
        $(rules { $($rule:literal => $message:literal,)* })?
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $(
                $(#[doc = $rdoc])*
                $(#[serde(rename = $rname)])?
                pub $rfield: $rty,
            )*
            $($(
                $(#[doc = $odoc])*
                $(#[serde(rename = $oname)])?
                #[serde(default, skip_serializing_if = "crate::schema::Omit::omit")]
                pub $ofield: $oty,
            )*)?
        }

        impl $crate::schema::Schema for $name {
            fn schema() -> serde_json::Value {
                $crate::schema::object(
                    &$crate::schema::doc(&[$($doc),*]),
                    vec![$($crate::schema::property!($($rdoc)*; $rfield: $rty; $($rname)?; $($rmore)?),)*],
                    vec![$($($crate::schema::property!($($odoc)*; $ofield: $oty; $($oname)?; $($omore)?),)*)?],
                    &[$($(($rule, $message)),*)?],
                )
            }
        }
    };
}
pub(crate) use record;

macro_rules! property {
    ($($doc:literal)*; $field:ident: $ty:ty; $($name:literal)?; $($more:tt)?) => {
        $crate::schema::Property {
            name: {
                #[allow(unused_mut, unused_assignments)]
                let mut name = $crate::schema::camel(stringify!($field));
                $(name = $name.to_owned();)?
                name
            },
            doc: $crate::schema::doc(&[$($doc),*]),
            schema: <$ty as $crate::schema::Schema>::schema(),
            constraints: {
                #[allow(unused_mut, unused_assignments)]
                let mut constraints = serde_json::json!({});
                $(constraints = serde_json::json!($more);)?
                constraints
            },
        }
    };
}
pub(crate) use property;

/// A custom resource: struct, serialisation with `apiVersion` and `kind`, `kube::Resource`, and what its CRD says.
macro_rules! resource {
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident($spec:ty $(, $status:ty)?);
        group: $group:literal, version: $version:literal, plural: $plural:literal,
        short_names: [$($short:literal),*], categories: [$($category:literal),*],
        substitute: $substitute:literal $(, status_default: $default:tt)?,
        columns: [$($column:expr),* $(,)?],
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Deserialize)]
        pub struct $name {
            #[serde(default)]
            pub metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
            #[serde(default)]
            pub spec: $spec,
            $(
                #[serde(default)]
                pub status: Option<$status>,
            )?
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("apiVersion", Self::API_VERSION)?;
                map.serialize_entry("kind", Self::KIND)?;
                map.serialize_entry("metadata", &self.metadata)?;
                map.serialize_entry("spec", &self.spec)?;
                $(
                    let status: &Option<$status> = &self.status;
                    if let Some(status) = status {
                        map.serialize_entry("status", status)?;
                    }
                )?
                map.end()
            }
        }

        impl $name {
            pub const KIND: &'static str = stringify!($name);
            pub const GROUP: &'static str = $group;
            pub const VERSION: &'static str = $version;
            pub const API_VERSION: &'static str = concat!($group, "/", $version);

            /// An object of this kind with nothing but a name.
            pub fn named(namespace: &str, name: &str) -> Self {
                let mut object = Self::default();
                object.metadata.namespace = Some(namespace.to_owned());
                object.metadata.name = Some(name.to_owned());
                object
            }
        }

        impl kube::Resource for $name {
            type DynamicType = ();
            type Scope = k8s_openapi::NamespaceResourceScope;
            fn kind(_: &()) -> std::borrow::Cow<'_, str> {
                Self::KIND.into()
            }
            fn group(_: &()) -> std::borrow::Cow<'_, str> {
                Self::GROUP.into()
            }
            fn version(_: &()) -> std::borrow::Cow<'_, str> {
                Self::VERSION.into()
            }
            fn api_version(_: &()) -> std::borrow::Cow<'_, str> {
                Self::API_VERSION.into()
            }
            fn plural(_: &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }

        impl $crate::crd::Defined for $name {
            fn definition() -> $crate::crd::Definition {
                #[allow(unused_mut, unused_assignments)]
                let mut status: Option<serde_json::Value> = None;
                $(
                    status = Some(<$status as $crate::schema::Schema>::schema());
                )?
                $(if let Some(schema) = &mut status {
                    $crate::schema::overlay(schema, serde_json::json!({"default": $default}));
                })?
                $crate::crd::Definition {
                    group: $group,
                    version: $version,
                    kind: stringify!($name),
                    plural: $plural,
                    short_names: &[$($short),*],
                    categories: &[$($category),*],
                    substitute_disabled: $substitute,
                    doc: $crate::schema::doc(&[$($doc),*]),
                    spec: <$spec as $crate::schema::Schema>::schema(),
                    status,
                    columns: vec![$($column),*],
                }
            }
        }
    };
}
pub(crate) use resource;
