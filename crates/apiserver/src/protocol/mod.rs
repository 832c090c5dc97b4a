//! What goes over the wire: paths, options, forms, errors.

pub mod json;
pub mod negotiate;
pub mod path;
pub mod protobuf;
pub mod selector;
pub mod status;
