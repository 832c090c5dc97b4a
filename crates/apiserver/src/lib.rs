//! An embedded Kubernetes API server.
//!
//! ```text
//!             Server::start(Options) ──► Running { address, kubeconfig, shutdown }
//!                                │
//!   connection (TLS, HTTP/1.1, HTTP/2) ── server, turns
//!        │ request                        protocol: path, query, forms, selectors, protobuf, Status
//!        ▼
//!   handler ── access (token, impersonation, RBAC)
//!        │
//!        ├── registry: discovery, OpenAPI ◄── built-in kinds (merge::builtin), CRDs
//!        └── rest: get list watch create update patch apply delete, subresources, tables
//!              │            ▲ engine: schema, patches, ownership (merge); policy: admission rules in CEL
//!              ▼            │
//!            store ─────────┴──► controllers: namespaces, garbage, definitions, roles, workloads
//!              └── log, snapshot (when a data directory is given)
//! ```
//!
//! `probe` sends requests from bytes, past the network: it is what fuzzing drives.
//!
//! Objects are kept as the bytes that a GET answers; only what selectors and garbage collection ask for is taken out of them.

mod access;
mod allocate;
mod api;
mod certificates;
mod controllers;
mod engine;
mod handler;
mod limits;
mod policy;
pub mod probe;
mod protocol;
mod quota;
mod registry;
mod rest;
mod server;
mod store;
mod strategy;
mod table;
mod turns;
mod yaml_text;

pub use certificates::Error as CertificateError;
pub use controllers::workloads::{Controllers, Nodes, UnknownController};
pub use server::{Error, Options, Running, Server};
pub use store::LogError;
