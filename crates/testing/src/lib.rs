//! Servers and builders for tests.
//!
//! ```text
//! git::Server       real `git http-backend` over loopback, with credentials, counters and faults
//! git::Repository   commits and tags in a repository of such a server
//! ```

pub mod git;
