//! Go's text/template language: parsed once, run many times, with Go's typing rules and error texts.
//!
//! ```text
//! text --lex--> tokens --parse (recall: what a file repeats)--> ast --Set::parse--> Set (compiled, shared between threads)
//!                                                      |
//! Value (shared maps, Go kinds) ---------------------> Run (budgets, output, extensions) --> bytes | Failure
//!                                                      |
//! Functions (names, parameter types, calls) -----------+      fmt, number: Go's fmt and strconv
//! ```
//!
//! A [`Run`] is the only thing that changes while a template executes. Functions reach it, and through
//! [`Run::extension`] whatever their library needs (a clock, randomness, a way to look objects up).

mod ast;
mod builtins;
mod error;
mod exec;
pub mod fmt;
mod function;
mod lex;
mod names;
pub mod number;
mod parse;
mod recall;
mod set;
mod trace;
mod value;

pub use error::{Failure, Layer, Limit, Location};
pub use exec::{Limits, MissingKey, Run};
pub use function::{Function, Functions, Type};
pub use parse::{ParseError, Syntax, Workshop};
pub use set::Set;
pub use trace::Origin;
pub use value::{Kind, List, Map, MapKind, Method, Object, Str, Value};
