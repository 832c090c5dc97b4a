use gotemplate::{Failure, Limit, Location, Origin};

/// Why a chart cannot be loaded or rendered. The first line is Helm's.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The archive or the tree is no chart.
    #[error("{0}")]
    Load(String),
    /// `validation: chart.metadata.name is required` and the like.
    #[error("validation: {0}")]
    Invalid(String),
    /// Values do not fit together.
    #[error("{0}")]
    Values(String),
    #[error("values don't meet the specifications of the schema(s) in the following chart(s):\n{0}")]
    Schema(String),
    #[error("chart requires kubeVersion: {wanted} which is incompatible with Kubernetes {found}")]
    KubeVersion { wanted: String, found: String },
    /// Dependencies that Chart.yaml names are not in charts/.
    #[error("{0}")]
    Dependencies(String),
    /// A template does not parse or fails when it runs.
    #[error("{message}")]
    Template { message: String, at: Option<Location>, missing: Option<String>, limit: Option<Limit> },
    /// What a template wrote is no manifest; the origin is that of the line, where the error names one.
    #[error("YAML parse error on {path}: {why}")]
    Manifest { path: String, why: String, origin: Option<Origin> },
    /// The post-renderer failed, or gave what cannot be read.
    #[error("{0}")]
    PostRender(String),
    /// A stored release cannot be read.
    #[error("{0}")]
    Release(String),
}

impl Error {
    pub(crate) fn template(message: String, failure: &Failure) -> Self {
        let at = failure.layers().filter_map(|layer| layer.location.clone()).last();
        Self::Template { message, at, missing: failure.missing_path().map(str::to_owned), limit: failure.exceeded() }
    }

    /// Whether rendering had begun: Helm then has a release to speak of.
    pub fn while_rendering(&self) -> bool {
        matches!(self, Self::Template { .. } | Self::Manifest { .. } | Self::KubeVersion { .. } | Self::PostRender(_))
    }

    /// What to do about it, where that can be said.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Template { missing: Some(path), at: Some(at), .. } => {
                Some(format!("{at} reads below {path}, which has no value; set it, or guard the template with `with` or `default`"))
            }
            Self::Template { limit: Some(limit), .. } => Some(format!("the budget of a rendering ran out: {limit}")),
            _ => None,
        }
    }
}
