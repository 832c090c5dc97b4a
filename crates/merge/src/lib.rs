//! Schemas, JSON patch, strategic merge and structured merge.
