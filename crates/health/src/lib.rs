//! Readiness of Kubernetes objects.
