//! Artifact storage and server.
