//! What every verb shares: flags and their errors, help, the log on standard error, the cluster, tables.

pub mod ages;
pub mod cluster;
pub mod files;
pub mod flags;
pub mod help;
pub mod log;
pub mod output;
pub mod parse;
pub mod prompt;
pub mod table;

pub use cluster::Context;
pub use flags::Flags;

/// Why a command did not succeed, and the exit code that says so.
#[derive(Debug)]
pub struct Failure {
    pub message: String,
    pub code: u8,
    /// Not an error but what was looked for, such as a difference.
    pub is_finding: bool,
}

pub type Outcome = Result<(), Failure>;

impl Failure {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1, is_finding: false }
    }

    pub fn with_code(code: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), code, is_finding: false }
    }

    /// An error with its causes.
    pub fn from_error(error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        Self::new(message)
    }

    /// Puts what was being done before what went wrong.
    pub fn context(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }
}

impl From<::cluster::Error> for Failure {
    fn from(error: ::cluster::Error) -> Self {
        Self::new(error.chain())
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}
