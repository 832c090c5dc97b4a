//! Speaking to Kubernetes API servers.
//!
//! ```text
//! kubeconfig of a user -> sanitised ─┐
//! kube::Config ─────────────────────┴> connection pool          TLS, HTTP/2, pings; one per cluster
//!                   |- Limit   requests under way, halves on 429
//!                   |- Counts  requests by verb and code
//!                   `- Fence   no write after the lease ran out
//!                 Client { connection, identity }               a header per request, cheap to clone
//!                   |- get list create apply patch delete       bytes in, bytes out
//!                   `- watch -> Stream<WatchEvent>              lists, watches, heals itself, for ever
//! Discovery       GroupVersionKind -> Resource                  asked once, again on a miss and when definitions change
//! ```
//!
//! Objects stay the JSON that was sent until somebody needs a field of them: a decoded tree is thirteen times as large.

mod client;
mod connect;
mod counts;
mod discovery;
mod error;
mod fence;
mod limit;
mod remote;
mod resource;
mod watch;

pub use client::{Apply, Client, Delete, Identity, Page, PatchKind, Propagation, Selection};
pub use counts::{Counts, Verb};
pub use discovery::Discovery;
pub use error::{Error, Status, StatusCause, StatusDetails};
pub use fence::Fence;
pub use limit::{Limit, Permit};
pub use remote::{RemoteOptions, remote_config};
pub use resource::{Resource, is_older_or_same};
pub use watch::{WatchEvent, WatchStream, watch};
