use std::fmt;

/// Where something is wrong: a file of the tree, and the line from one where it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.is_empty(), self.line) {
            (true, _) => out.write_str("the kustomization"),
            (false, 0) => out.write_str(&self.file),
            (false, line) => match self.file.split_once(": ") {
                // A field of a kustomization file.
                Some((file, field)) => write!(out, "{file} line {line}: {field}"),
                None => write!(out, "{} line {line}", self.file),
            },
        }
    }
}

/// Why a build failed, in one sentence that names file, line, object and field.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    #[error("{place}: {source}")]
    Yaml { place: Place, source: yaml::Error },
    #[error("{place}: {problem}")]
    Invalid { place: Place, problem: String },
    #[error("{place}: {object}: {problem}")]
    Object { place: Place, object: String, problem: String },
    #[error("{place}: \"{path}\" {why}")]
    Path { place: Place, path: String, why: String },
    #[error("no kustomization file in \"{dir}\"; a directory needs one of kustomization.yaml, kustomization.yml or Kustomization")]
    NoKustomization { dir: String },
    #[error("{place}: cycle: \"{root}\" is already being built or contains a directory that is")]
    Cycle { place: Place, root: String },
    #[error("{place}: {what} is not supported: {why}")]
    Unsupported { place: Place, what: String, why: String },
    #[error("the build asks for more than {max} {what}")]
    Limit { what: &'static str, max: u64 },
    /// A hook of the caller failed.
    #[error("{place}: {message}")]
    Hook { place: Place, message: String },
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What a user can do, where it is not said already.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Cycle { .. } => Some("resources may name sibling directories, not parents"),
            Self::Unsupported { .. } => Some("render it before, and add the result to resources"),
            Self::Limit { .. } => Some("split the kustomization"),
            _ => None,
        }
    }

    pub(crate) fn invalid(file: &str, problem: impl Into<String>) -> Self {
        Self::Invalid { place: Place { file: file.to_owned(), line: 0 }, problem: problem.into() }
    }

    /// Fills in the file where a deeper function knew none.
    pub(crate) fn or_in(self, file: &str) -> Self {
        self.or_at(Place { file: file.to_owned(), line: 0 })
    }

    /// Fills in the file and the line where a deeper function knew none.
    pub(crate) fn or_at(mut self, found: Place) -> Self {
        match &mut self {
            Self::Invalid { place, .. } | Self::Object { place, .. } | Self::Path { place, .. } | Self::Unsupported { place, .. }
                if place.file.is_empty() =>
            {
                *place = found;
            }
            _ => {}
        }
        self
    }

    /// Names the object where a deeper function knew none.
    pub(crate) fn on(self, object: impl fmt::Display) -> Self {
        match self {
            Self::Invalid { place, problem } => Self::Object { place, object: object.to_string(), problem },
            other => other,
        }
    }
}

/// A problem whose file and object a caller will name.
pub(crate) fn problem(text: impl Into<String>) -> Error {
    Error::Invalid { place: Place::default(), problem: text.into() }
}
