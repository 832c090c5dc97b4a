//! What every kind shares: conditions, artifacts, references, and the names of labels, annotations, conditions and reasons.

mod conditions;
pub mod names;
mod records;
mod time;

pub use conditions::{Conditions, FALSE, TRUE, UNKNOWN};
pub use names::*;
pub use records::*;
pub use time::Time;
