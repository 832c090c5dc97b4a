//! Helm charts: values, rendering, hooks, releases.
