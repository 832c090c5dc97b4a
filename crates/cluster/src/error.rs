use serde::Deserialize;
use std::time::Duration;

/// Why a request to an API server did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with a failure. The text is the server's own, as kubectl prints it.
    #[error("{}", .0.message)]
    Api(Box<Status>),
    /// No answer came: connection, TLS, or credentials.
    #[error("cannot reach the Kubernetes API server")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the Kubernetes API server did not answer within {}s", .0.as_secs())]
    Timeout(Duration),
    #[error("cannot read the answer of the Kubernetes API server")]
    Decode(#[source] serde_json::Error),
    #[error("the answer of the Kubernetes API server is larger than {0} bytes")]
    TooLarge(usize),
    /// The holder of this client lost its leadership; the write was not sent.
    #[error("not the leader any more: the write was held back")]
    Fenced,
    #[error("invalid request")]
    Request(#[source] http::Error),
    /// No resource of the cluster serves this kind. The wording is client-go's.
    #[error("no matches for kind {kind:?} in version {version:?}")]
    NoMatch { kind: String, version: String },
    #[error("invalid kubeconfig: {0}")]
    Kubeconfig(String),
    #[error("no Kubernetes cluster is configured: {0}")]
    NoConfig(String),
}

/// The failure object of the Kubernetes API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Status {
    pub message: String,
    pub reason: String,
    pub code: u16,
    pub details: Option<StatusDetails>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StatusDetails {
    pub name: String,
    pub group: String,
    pub kind: String,
    pub causes: Vec<StatusCause>,
    pub retry_after_seconds: u64,
}

/// One field, or one field manager, that stands in the way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StatusCause {
    pub reason: String,
    pub message: String,
    pub field: String,
}

impl Error {
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Api(status) => Some(status),
            _ => None,
        }
    }

    fn is(&self, code: u16, reason: &str) -> bool {
        self.status().is_some_and(|status| status.code == code && (reason.is_empty() || status.reason == reason))
    }

    pub fn is_not_found(&self) -> bool {
        self.is(404, "")
    }

    /// The object was changed since it was read, or fields belong to another manager.
    pub fn is_conflict(&self) -> bool {
        self.is(409, "Conflict")
    }

    pub fn is_already_exists(&self) -> bool {
        self.is(409, "AlreadyExists")
    }

    pub fn is_forbidden(&self) -> bool {
        self.is(403, "")
    }

    pub fn is_invalid(&self) -> bool {
        self.is(422, "")
    }

    /// The resourceVersion, or the continue token, is too old to go on from.
    pub fn is_expired(&self) -> bool {
        self.is(410, "")
    }

    /// True when the same request may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport(_) | Self::Timeout(_) => true,
            Self::Api(status) => matches!(status.code, 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// The error with its causes, as one line.
    pub fn chain(&self) -> String {
        types::chain(self)
    }
}
