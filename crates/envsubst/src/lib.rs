//! Variable substitution.
