//! Helm chart repositories over HTTP.
//!
//! ```text
//! Repository --index--> bytes --Index::parse--> Index --to_json--> what Flux stores of it
//!     |                                           |
//!     |                                        Listing --select(name, range)--> Entry
//!     +--chart(Entry)--> bytes, checked against the digest of the index
//! [Packed] --Index::of--> Index --to_yaml--> what a repository serves
//! ```
//!
//! An [`Index`] is read as strictly as Flux reads it and sorted as it is sorted there; a [`Listing`] is the little of it that a choice
//! needs, and may be kept in memory. Credentials go to the repository's own host only, unless the caller says otherwise.

mod fetch;
mod index;
mod listing;
mod time;
mod url;

pub use fetch::{Error, Repository};
pub use index::{Error as IndexError, Index, Packed};
pub use listing::{Entry, Listing, SelectError};
pub use time::Time;
pub use url::normalize;
