//! Artifacts on disk, and the server that hands them out.
//!
//! ```text
//! write(path, content) -> temporary file -> fsync -> rename -> Stored { digest, size }
//! verify(path, digest)    hashed when written, again when the file changed or a scrub is due
//! collect(path)           old files of one object go, by age and by count
//! serve(listener, store)  GET, HEAD, Range, listings; nothing outside of the root
//! ```
//!
//! The layout is Flux's: `<kind>/<namespace>/<name>/<file>` below one root, files of mode 0600, folders 0700.
//! A file is never changed in place, so a reader that has it open reads it to its end.

mod garbage;
mod path;
mod serve;
mod store;

pub use garbage::Retention;
pub use path::artifact_path;
pub use serve::{serve, serve_requests};
pub use store::{Error, Store, Stored, Verdict};
