//! HTTP client with limits, redirects and digests.
