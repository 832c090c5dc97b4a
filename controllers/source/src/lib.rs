//! Fetches sources into artifacts.
