//! The types of expressions, and what schemas say of the values behind them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The type of an expression.
#[derive(Debug, Clone)]
pub enum Type {
    /// Known only when it runs.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Box<Type>),
    Map(Box<Type>, Box<Type>),
    Object(Arc<ObjectType>),
    Optional(Box<Type>),
    /// The type of a type.
    Type(Box<Type>),
    /// A type of a library: `kubernetes.Quantity`.
    Opaque(&'static str),
    /// A parameter in a declaration of a function.
    Parameter(char),
    /// What the elements of an empty list are.
    Free,
    /// An error that was told already.
    Error,
}

/// An object with declared fields.
#[derive(Debug, Default)]
pub struct ObjectType {
    pub name: String,
    pub fields: BTreeMap<String, Arc<Declared>>,
}

/// A value that a schema describes: its type, and how large it can be.
#[derive(Debug)]
pub struct Declared {
    pub ty: Type,
    /// Of a list or map: what it holds.
    pub element: Option<Arc<Declared>>,
    /// The most characters, elements or entries.
    pub max: u64,
    /// The fewest bytes that it takes as JSON.
    pub bytes_min: u64,
}

impl Declared {
    pub fn scalar(ty: Type, max: u64, bytes_min: u64) -> Arc<Self> {
        Arc::new(Self { ty, element: None, max, bytes_min })
    }

    pub fn list(element: Arc<Self>, max: u64) -> Arc<Self> {
        Arc::new(Self { ty: Type::List(Box::new(element.ty.clone())), element: Some(element), max, bytes_min: 2 })
    }

    pub fn map(element: Arc<Self>, max: u64) -> Arc<Self> {
        let ty = Type::Map(Box::new(Type::String), Box::new(element.ty.clone()));
        Arc::new(Self { ty, element: Some(element), max, bytes_min: 2 })
    }

    pub fn object(name: &str, fields: BTreeMap<String, Arc<Self>>, bytes_min: u64) -> Arc<Self> {
        let ty = Type::Object(Arc::new(ObjectType { name: name.to_owned(), fields }));
        Arc::new(Self { ty, element: None, max: 0, bytes_min })
    }

    pub fn dynamic() -> Arc<Self> {
        Self::scalar(Type::Dyn, UNKNOWN, 1)
    }

    /// A string of any length.
    pub fn string() -> Arc<Self> {
        Self::scalar(Type::String, REQUEST_BYTES_MAX - 2, 2)
    }

    pub fn field(&self, name: &str) -> Option<&Arc<Self>> {
        match &self.ty {
            Type::Object(object) => object.fields.get(name),
            Type::Map(..) => self.element.as_ref(),
            _ => None,
        }
    }
}

/// A size of which nothing is known.
pub const UNKNOWN: u64 = u64::MAX;

/// What Kubernetes assumes the largest request to be when it bounds sizes.
pub const REQUEST_BYTES_MAX: u64 = 3 * 1024 * 1024;

impl Type {
    /// Whether a value of the other type can stand where this one is wanted.
    pub fn takes(&self, other: &Self) -> bool {
        use Type::{Bytes, Dyn, Error, Free, Null, Object, Opaque, Optional, Parameter};
        match (self, other) {
            (Dyn | Error | Free, _) | (_, Dyn | Error | Free) => true,
            (Parameter(a), Parameter(b)) => a == b,
            (Type::List(a), Type::List(b)) | (Optional(a), Optional(b)) => a.takes(b),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::Map(k, v), Type::Map(l, w)) => k.takes(l) && v.takes(w),
            (Object(a), Object(b)) => Arc::ptr_eq(a, b) || (a.name == b.name && !a.name.is_empty()),
            (Opaque(a), Opaque(b)) => a == b,
            // What may be absent may be compared with nothing.
            (Null, Object(_) | Opaque(_) | Optional(_) | Type::Timestamp | Type::Duration)
            | (Object(_) | Opaque(_) | Optional(_) | Type::Timestamp | Type::Duration, Null) => true,
            (Null, Null)
            | (Type::Bool, Type::Bool)
            | (Type::Int, Type::Int)
            | (Type::Uint, Type::Uint)
            | (Type::Double, Type::Double)
            | (Type::String, Type::String)
            | (Bytes, Bytes)
            | (Type::Timestamp, Type::Timestamp)
            | (Type::Duration, Type::Duration) => true,
            _ => false,
        }
    }

    /// Whether nothing is known of the type before it runs.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Dyn | Self::Free | Self::Error)
    }

    /// The one of two types that says more, or neither.
    pub fn joined(self, other: &Self) -> Self {
        match (&self, other) {
            (Self::Free | Self::Error, _) => other.clone(),
            (_, Self::Free | Self::Error) => self,
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.as_ref().clone().joined(b))),
            (Self::Map(k, v), Self::Map(l, w)) => Self::Map(Box::new(k.as_ref().clone().joined(l)), Box::new(v.as_ref().clone().joined(w))),
            (Self::Optional(a), Self::Optional(b)) => Self::Optional(Box::new(a.as_ref().clone().joined(b))),
            (Self::Null, Self::Object(_) | Self::Opaque(_) | Self::Timestamp | Self::Duration) => other.clone(),
            _ if self.takes(other) && !other.is_open() && !self.is_open() => self,
            _ => Self::Dyn,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn | Self::Free => out.write_str("dyn"),
            Self::Null => out.write_str("null"),
            Self::Bool => out.write_str("bool"),
            Self::Int => out.write_str("int"),
            Self::Uint => out.write_str("uint"),
            Self::Double => out.write_str("double"),
            Self::String => out.write_str("string"),
            Self::Bytes => out.write_str("bytes"),
            Self::Timestamp => out.write_str("timestamp"),
            Self::Duration => out.write_str("duration"),
            Self::List(element) => write!(out, "list({element})"),
            Self::Map(key, value) => write!(out, "map({key}, {value})"),
            Self::Object(object) => out.write_str(&object.name),
            Self::Optional(inner) => write!(out, "optional_type({inner})"),
            Self::Type(inner) => write!(out, "type({inner})"),
            Self::Opaque(name) => out.write_str(name),
            Self::Parameter(name) => write!(out, "{name}"),
            Self::Error => out.write_str("!error!"),
        }
    }
}
