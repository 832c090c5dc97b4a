use std::fmt;

/// Where in a template something went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The name under which the text was parsed: a path in the chart, or `gotpl` for a text given to `tpl`.
    pub template: String,
    pub line: usize,
    /// In bytes from the start of the line, from zero, as Go counts.
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}", self.template, self.line, self.column)
    }
}

/// A budget that ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Steps,
    Output,
    Depth,
    /// The caller's interrupt said stop: time is over.
    Time,
    /// A single value (a string, a list) would be too large.
    Size,
}

impl fmt::Display for Limit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Steps => "template takes too many steps",
            Self::Output => "template writes too much",
            Self::Depth => "exceeded maximum template depth",
            Self::Time => "template takes too long",
            Self::Size => "value is too large",
        })
    }
}

/// One layer of an error, as one `fmt.Errorf("…: %w")` of Go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// What this layer says before what it wraps.
    pub text: String,
    /// Set for an error of the executor, Go's `template.ExecError`.
    pub location: Option<Location>,
}

/// Why a template, or a function called in it, failed. The text is Go's, to the letter.
///
/// Results are small where nothing failed, so what is known of a failure is kept apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure(Box<Known>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    /// Innermost first.
    layers: Vec<Layer>,
    limit: Option<Limit>,
    missing: Option<String>,
}

impl Failure {
    pub fn new(text: impl Into<String>) -> Self {
        Self::of(Layer { text: text.into(), location: None })
    }

    fn of(layer: Layer) -> Self {
        Self(Box::new(Known { layers: vec![layer], limit: None, missing: None }))
    }

    pub fn limit(limit: Limit) -> Self {
        let mut failure = Self::new(limit.to_string());
        failure.0.limit = Some(limit);
        failure
    }

    /// Puts `text` before this error.
    pub fn wrap(mut self, text: impl Into<String>) -> Self {
        self.0.layers.push(Layer { text: text.into(), location: None });
        self
    }

    pub(crate) fn wrap_at(mut self, text: String, location: Location) -> Self {
        self.0.layers.push(Layer { text, location: Some(location) });
        self
    }

    pub(crate) fn missing(mut self, path: String) -> Self {
        self.0.missing = Some(path);
        self
    }

    /// The layers, outermost first.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = &Layer> {
        self.0.layers.iter().rev()
    }

    /// The budget that ran out, if one did.
    pub fn exceeded(&self) -> Option<Limit> {
        self.0.limit
    }

    /// The path of the value that was not there, where that is what went wrong.
    pub fn missing_path(&self) -> Option<&str> {
        self.0.missing.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.layers().try_for_each(|layer| out.write_str(&layer.text))
    }
}

impl std::error::Error for Failure {}

impl From<Limit> for Failure {
    fn from(limit: Limit) -> Self {
        Self::limit(limit)
    }
}

impl Failure {
    pub(crate) fn at(text: String, location: Location) -> Self {
        Self::of(Layer { text, location: Some(location) })
    }
}
