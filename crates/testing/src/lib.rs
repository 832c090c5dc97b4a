//! Servers and builders for tests.
//!
//! ```text
//! git::Server       real `git http-backend` over loopback, with credentials, counters and faults
//! sshd::Sshd        the real OpenSSH server over loopback, with keys of its own
//! git::Repository   commits and tags in a repository of such a server
//! server()          a fresh embedded API server in memory and its client,
//!                   or the cluster that SLUICE_TEST_KUBECONFIG names
//! free_port()       for a process that has to be told its port
//! lab::Lab          a namespace of it for the tests of a controller, lab::Files  artifacts that a test writes
//! ```

pub mod git;
#[cfg(feature = "lab")]
pub mod lab;
mod port;
#[cfg(feature = "cluster")]
mod server;
pub mod sshd;

pub use port::free_port;

#[cfg(feature = "cluster")]
pub use server::{Error, TestServer, namespace, server, server_with};
