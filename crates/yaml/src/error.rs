use crate::{Dialect, scan::Mark};

/// Why a text is no YAML, or no value that JSON can hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("line {line}, column {column}: {problem}")]
    Syntax {
        /// From one, as people count.
        line: usize,
        column: usize,
        problem: String,
        go: GoPlace,
    },
    #[error("line {line}, column {column}: control characters are not allowed")]
    Character { line: usize, column: usize },
    #[error("line {line}, column {column}: {problem}")]
    Value {
        line: usize,
        column: usize,
        problem: String,
        /// What Go says of it, without its `yaml: `.
        go: String,
    },
    #[error("the text is larger than {max} bytes")]
    TooLarge { max: usize },
    #[error("the text is not UTF-8 at byte {at}")]
    NotUtf8 { at: usize },
    #[error("there is no scalar at {path}")]
    NoScalar { path: String },
    #[error("the text cannot be changed in place; an anchor, a tag or its indentation is in the way")]
    NotEditable,
    #[error("the scanner lost its place; please report the text")]
    Internal,
}

/// Where Go's packages place a syntax error: they keep two lines and count them differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoPlace {
    problem: usize,
    context: usize,
    scanner: bool,
}

impl Error {
    pub(crate) fn scan(problem: &str, at: Mark, context: Option<Mark>) -> Self {
        let go = GoPlace { problem: at.line, context: context.map_or(0, |mark| mark.line), scanner: true };
        Self::Syntax { line: at.line + 1, column: at.column + 1, problem: problem.to_owned(), go }
    }

    pub(crate) fn parse(problem: &str, at: Mark, context: Option<Mark>) -> Self {
        let go = GoPlace { problem: at.line, context: context.map_or(0, |mark| mark.line), scanner: false };
        Self::Syntax { line: at.line + 1, column: at.column + 1, problem: problem.to_owned(), go }
    }

    pub(crate) fn value(at: Mark, problem: impl Into<String>, go: impl Into<String>) -> Self {
        Self::Value { line: at.line + 1, column: at.column + 1, problem: problem.into(), go: go.into() }
    }

    /// The line of the error, from one; 0 where it has none.
    pub fn line(&self) -> usize {
        match self {
            Self::Syntax { line, .. } | Self::Character { line, .. } | Self::Value { line, .. } => *line,
            _ => 0,
        }
    }

    /// The words of Go's package for this error, `yaml: line 3: did not find expected key` and the like. People search for them.
    pub fn go_message(&self, dialect: Dialect) -> String {
        match self {
            Self::Syntax { problem, go, .. } => {
                let plus = usize::from(go.scanner);
                // yaml.v2 looks at the problem first and counts a context line from zero; yaml.v3 looks at the context first.
                let line = match dialect {
                    Dialect::Sigs if go.problem != 0 => go.problem + plus,
                    Dialect::Sigs => go.context,
                    Dialect::Kyaml if go.context != 0 => go.context + plus,
                    Dialect::Kyaml if go.problem != 0 => go.problem + plus,
                    Dialect::Kyaml => 0,
                };
                if line == 0 { format!("yaml: {problem}") } else { format!("yaml: line {line}: {problem}") }
            }
            Self::Character { .. } => "yaml: control characters are not allowed".to_owned(),
            Self::Value { go, .. } => go.clone(),
            Self::NotUtf8 { .. } => "yaml: invalid leading UTF-8 octet".to_owned(),
            other => format!("yaml: {other}"),
        }
    }
}
