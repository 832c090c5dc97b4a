//! HTTP client: artifacts and other files, bounded in size and time, checked against a digest, tried again when that can help.
//!
//! ```text
//! Client::get(url, limit)                    bytes
//! Client::get_as(url, limit, basic)           bytes, as somebody
//! Client::fetch_artifact(url, digest, limit) bytes that hash to the digest
//!     transient failure -> wait (Retry: backoff, Retry-After) -> again
//!     404, wrong digest, too large -> error at once
//! ```
//!
//! Tls: trusted certificates and an identity of one's own, for any client of reqwest
//!
//! Redirects are followed, never from https to http, and never with credentials to another host.
//! No error shows user information or query of a URL: signed URLs carry secrets there.

mod client;
mod explain;
mod retry;
mod tls;
mod url;

pub use client::{Basic, Client, Error, Options};
pub use explain::{dial, explain};
pub use retry::Retry;
pub use tls::{Tls, TlsBuilder, TlsError};
pub use url::{redact, with_host};
