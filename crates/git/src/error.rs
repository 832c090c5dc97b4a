/// Why a repository could not be read. Texts keep Flux's wording, which users search for; print the chain of sources with ": ".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to parse url '{url}': {why}")]
    Address { url: String, why: String },
    #[error("unable to clone '{url}'")]
    Clone { url: String, source: Cause },
    #[error("unable to list remote for '{url}'")]
    List { url: String, source: Cause },
    #[error("unable to push to '{url}'")]
    Push { url: String, source: Cause },
    /// Others pushed each time in between.
    #[error("unable to push to '{url}': branch '{branch}' moved {times} times meanwhile")]
    Moved { url: String, branch: String, times: usize },
    #[error("'{0}' is no name of a branch")]
    Branch(String),
    #[error("cannot make the files of the commit: {0}")]
    Edit(String),
    #[error("git repository is empty")]
    Empty,
    #[error("unable to clone: remote repository is empty: git repository: '{url}'")]
    EmptyAtReference { url: String },
    #[error("semver parse error")]
    Semver(#[source] types::semver::Error),
    #[error("no match found for semver: {0}")]
    NoVersion(String),
    #[error("unable to resolve commit object for '{0}': object not found")]
    CommitNotFound(String),
    #[error("unable to resolve ref '{0}' to a specific commit")]
    NameNotFound(String),
    #[error("ref {0} is invalid; Git refs cannot begin or end with a slash '/'")]
    SlashedName(String),
    #[error("sparse checkout dir '{0}' does not exist in repository")]
    SparsePath(String),
    #[error("unable to fetch submodule {path:?}")]
    Submodule { path: String, source: Box<Error> },
    #[error("submodules nest deeper than {0} levels")]
    SubmoduleDepth(usize),
    #[error("unable to read the tree of commit {commit}")]
    Tree { commit: String, source: Cause },
    #[error("cannot use the Git cache")]
    Cache(#[source] std::io::Error),
    #[error("TLS configuration is not valid: {0}")]
    Tls(String),
    #[error("proxy is not valid: {0}")]
    Proxy(String),
    #[error("unable to construct auth method with options: {0}")]
    SshKey(String),
    #[error("{0}")]
    SshAlgorithm(String),
    /// gix or this crate panicked on what it read.
    #[error("internal error while reading the repository; please report it")]
    Internal,
}

/// What went wrong on the way.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Cause {
    #[error("authentication required: {0}")]
    AuthenticationRequired(String),
    #[error("authorization failed: {0}")]
    AuthorizationFailed(String),
    #[error("repository not found: {0}")]
    NotFound(String),
    #[error("unexpected client error: unexpected requesting {url:?} status code: {status}")]
    Status { url: String, status: u16 },
    #[error("{verb} {url:?}: {why}")]
    Network { verb: &'static str, url: String, why: String },
    #[error("couldn't find remote ref {0:?}")]
    ReferenceNotFound(String),
    #[error("remote repository is empty")]
    EmptyRepository,
    #[error("redirect to {0:?} refused")]
    Redirect(String),
    #[error("the server sent more than {0} bytes")]
    TooLarge(u64),
    #[error("the tree holds more than {0} entries")]
    TooManyEntries(usize),
    #[error("the tree holds files of more than {0} bytes")]
    TreeTooLarge(u64),
    #[error("the file {path:?} is larger than {limit} bytes")]
    FileTooLarge { path: String, limit: u64 },
    #[error("the path {0:?} is not allowed")]
    Path(String),
    #[error("{reference} was rejected: {why}")]
    Rejected { reference: String, why: String },
    #[error("the server could not unpack what was sent: {0}")]
    NotUnpacked(String),
    /// What SSH says, in the words of Go's client, which users know from Flux.
    #[error("{0}")]
    Ssh(String),
    #[error("{0}")]
    Protocol(String),
}

impl Error {
    /// Whether another attempt with the same input can only fail the same way.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Address { .. })
    }
}
