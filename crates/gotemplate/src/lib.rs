//! The Go text/template language.
