//! The three kinds of patch that kube-apiserver takes besides server-side apply.
//!
//! ```text
//! json      RFC 6902, with the habits of the evanphx library
//! merge     RFC 7396, likewise
//! strategic strategic merge, by the patch strategies and merge keys of the schema
//! ```

mod json;
mod merge;
mod strategic;

pub use json::apply as json;
pub use merge::apply as merge;
pub use strategic::apply as strategic;

/// A JSON patch with more operations is refused.
pub const OPERATIONS_MAX: usize = 10_000;

/// Values nest no deeper than this.
const DEPTH_MAX: usize = 150;

/// Why a patch cannot be applied; the variant is the status that a server answers with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 400 `BadRequest`.
    #[error("{0}")]
    BadRequest(String),
    /// 413 `RequestEntityTooLarge`.
    #[error("The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {0}")]
    TooMany(usize),
    /// 422 `Invalid`. A real server hides this text: it answers `the server rejected our request due to an error in our
    /// request`.
    #[error("{0}")]
    Unprocessable(String),
    /// 500 `InternalError`.
    #[error("{0}")]
    Internal(String),
}
