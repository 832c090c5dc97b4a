//! Asking people.

use super::{Failure, output};
use std::io;

/// Asks for a yes; anything else, and the end of input, is a no.
pub fn confirm(question: &str) -> Result<bool, Failure> {
    output::print(&format!("{question}? [y/N] "))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| Failure::new(format!("could not read from stdin: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
