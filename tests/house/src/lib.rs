//! Nothing here: the rules are in `tests/`.
