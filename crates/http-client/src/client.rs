use crate::{Retry, explain, redact};
use bytes::{Bytes, BytesMut};
use reqwest::{ClientBuilder, StatusCode, header::RETRY_AFTER, redirect};
use std::time::Duration;
use types::{Digest, Hasher, innermost};

const REDIRECTS_MAX: usize = 10;

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct Options {
    pub user_agent: String,
    pub connect_timeout: Duration,
    /// Longest silence of a server while it sends.
    pub read_timeout: Duration,
    /// Longest time of one attempt.
    pub timeout: Duration,
    pub retry: Retry,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user_agent: concat!("sluice/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(300),
            retry: Retry::default(),
        }
    }
}

/// Who asks. Never printed: there is no `Debug` on purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct Basic {
    pub username: String,
    pub password: String,
}

/// Why nothing could be fetched. Texts keep the wording of Flux's fetcher.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot make an HTTP client: {0}")]
    Build(String),
    #[error("invalid URL {0:?}: {1}")]
    Url(String, String),
    #[error("file not found")]
    NotFound,
    #[error("failed to download archive from {url} (status: {status})")]
    Status { url: String, status: StatusCode, retry_after: Option<Duration> },
    #[error("failed to download archive: GET {url}: {why}")]
    Network { url: String, why: String },
    #[error("artifact is greater than the max download size of {0} bytes")]
    TooLarge(u64),
    #[error("failed to verify archive: computed digest doesn't match provided '{0}' (check whether file size exceeds max download size)")]
    Digest(Digest),
}

impl Error {
    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Network { .. } => true,
            Self::Status { status, .. } => {
                *status == StatusCode::TOO_MANY_REQUESTS || (status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED)
            }
            _ => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Fetches files. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct Client {
    inner: reqwest::Client,
    retry: Retry,
}

impl Client {
    pub fn new(options: &Options) -> Result<Self, Error> {
        Self::with(options, |builder| builder)
    }

    /// A client with settings of its own: certificates, a proxy.
    pub fn with(options: &Options, configure: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Result<Self, Error> {
        let builder = reqwest::Client::builder()
            .user_agent(&options.user_agent)
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.read_timeout)
            .timeout(options.timeout)
            .redirect(redirect::Policy::custom(follow))
            // Artifacts are compressed already, and their digest is that of the bytes as stored.
            .no_gzip();
        let inner = configure(builder).build().map_err(|e| Error::Build(innermost(&e).to_string()))?;
        Ok(Self { inner, retry: options.retry })
    }

    /// Fetches `url`, at most `limit` bytes.
    pub async fn get(&self, url: &str, limit: u64) -> Result<Bytes, Error> {
        self.get_as(url, limit, None).await
    }

    /// Fetches `url` with credentials, which no redirect to another host takes along.
    pub async fn get_as(&self, url: &str, limit: u64, who: Option<&Basic>) -> Result<Bytes, Error> {
        self.again(|| async { self.once(url, limit, who).await }).await
    }

    /// Fetches an artifact and checks it. A wrong digest is an error at once: trying again would hide tampering for minutes.
    pub async fn fetch_artifact(&self, url: &str, digest: &Digest, limit: u64) -> Result<Bytes, Error> {
        let bytes = self.get(url, limit).await?;
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        if hasher.finish() == *digest { Ok(bytes) } else { Err(Error::Digest(digest.clone())) }
    }

    async fn again<F: Future<Output = Result<Bytes, Error>>>(&self, attempt: impl Fn() -> F) -> Result<Bytes, Error> {
        let mut retries = 0;
        loop {
            match attempt().await {
                Err(error) if error.is_transient() && retries < self.retry.count => {
                    retries += 1;
                    let wait = self.retry.wait(retries, error.retry_after());
                    tracing::debug!(%error, retries, ?wait, "fetching again");
                    tokio::time::sleep(wait).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn once(&self, url: &str, limit: u64, who: Option<&Basic>) -> Result<Bytes, Error> {
        let network = |error: reqwest::Error| Error::Network { url: redact(url), why: explain(&error, url) };
        let mut request = self.inner.get(url);
        if let Some(who) = who {
            request = request.basic_auth(&who.username, Some(&who.password));
        }
        let request = request.build().map_err(|e| Error::Url(redact(url), innermost(&e).to_string()))?;
        let mut response = self.inner.execute(request).await.map_err(network)?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND {
            return Err(Error::NotFound);
        }
        if status != StatusCode::OK {
            let seconds = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
            return Err(Error::Status { url: redact(url), status, retry_after: seconds.map(Duration::from_secs) });
        }
        let announced = response.content_length().unwrap_or_default();
        if announced > limit {
            return Err(Error::TooLarge(limit));
        }
        // An announced length is a hint from outside: reserve no more than a little for it.
        let mut bytes = BytesMut::with_capacity(usize::try_from(announced.min(1 << 20)).unwrap_or_default());
        while let Some(chunk) = response.chunk().await.map_err(network)? {
            if bytes.len() as u64 + chunk.len() as u64 > limit {
                return Err(Error::TooLarge(limit));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }
}

/// Follows redirects; reqwest takes credentials off on the way to another host.
fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let downgrade = attempt.previous().last().is_some_and(|from| from.scheme() == "https") && attempt.url().scheme() != "https";
    if attempt.previous().len() > REDIRECTS_MAX {
        attempt.error("too many redirects")
    } else if downgrade {
        attempt.error("redirect from https to http refused")
    } else {
        attempt.follow()
    }
}
