//! Git fetch into trees.
