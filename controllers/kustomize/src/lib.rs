//! Builds and applies Kustomizations.
