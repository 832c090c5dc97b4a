//! Git: what a reference points at, and the tree of that commit.
//!
//! ```text
//! Address + Reference + Access
//!        |  ls-refs                 |  fetch (delta into a bare cache per address)
//!        v                          v
//!   Client::resolve -> Target   Client::fetch -> Checkout { commit, GitTree: tree::Tree }
//!
//! session (bounds, credentials) = http | ssh     both are in the process, and gix speaks through them
//!
//! push::NewCommit       edits as the next commit of a branch on the server
//! write::commit_tree   a tree as the next commit of a bare repository
//! serve                bare repositories over smart HTTP, read only
//! ```
//!
//! gix stays behind this crate. It never reads the user's or system's Git configuration, runs no hook, no helper, no
//! `git` and no `ssh`, asks no question, and writes no working tree: a tree is read from the object database.
//! Everything from the network is bounded in time and size, and a panic on hostile data is an error of that one call.
//! All functions block; call them from a thread that may.

mod access;
mod address;
mod cache;
mod checkout;
mod client;
mod error;
mod http;
mod pack;
mod pkt;
pub mod push;
mod reference;
pub mod serve;
mod session;
mod ssh;
mod submodules;
mod tree;
pub mod write;

pub use access::{Access, Credentials, Identity, Proxy};
pub use address::{Address, Scheme};
pub use checkout::{Checkout, Commit, Signature, Tag};
pub use client::{Client, FetchOptions, Limits};
pub use error::{Cause, Error};
pub use reference::{DEFAULT_BRANCH, Reference, Target};
pub use ssh::Algorithms;
pub use tree::GitTree;
