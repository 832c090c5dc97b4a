//! A repository over HTTP: its index and its charts.

use crate::{Entry, url};
use bytes::Bytes;
use http_client::{Basic, Client, redact};
use reqwest::{StatusCode, Url};
use types::Digest;

/// Why something could not be fetched. The texts are Helm's; no text holds a credential or a query.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("invalid URL {url:?}: {why}")]
    Url { url: String, why: String },
    #[error("the scheme of {0:?} is not http or https")]
    Scheme(String),
    #[error("failed to fetch {url} : {status}")]
    Status { url: String, status: StatusCode },
    #[error("Get {url:?}: {why}")]
    Network { url: String, why: String },
    #[error("{url} is larger than the limit of {limit} bytes")]
    TooLarge { url: String, limit: u64 },
    #[error("chart '{0}' has no downloadable URLs")]
    NoUrl(String),
    #[error("{url} has the digest {found}, but the index of the repository says {wanted}")]
    Digest { url: String, wanted: String, found: String },
}

impl Error {
    /// Whether the address itself is at fault, so that only a change of it helps.
    pub fn is_address(&self) -> bool {
        matches!(self, Self::Url { .. } | Self::Scheme(_))
    }
}

/// A repository, as one identity.
pub struct Repository {
    url: Url,
    client: Client,
    credentials: Option<Basic>,
    /// Whether other hosts that the index names get the credentials, too.
    pass_credentials: bool,
}

impl Repository {
    pub fn new(address: &str, client: Client, credentials: Option<Basic>, pass_credentials: bool) -> Result<Self, Error> {
        let url = Url::parse(address).map_err(|e| Error::Url { url: redact(address), why: e.to_string() })?;
        http_only(&url)?;
        Ok(Self { url, client, credentials, pass_credentials })
    }

    /// The bytes of index.yaml, at most `limit` of them.
    pub async fn index(&self, limit: u64) -> Result<Bytes, Error> {
        self.get(&url::index(&self.url), limit).await
    }

    /// The archive of a chart, at most `limit` bytes. One that is not what the index says is refused.
    pub async fn chart(&self, entry: &Entry, limit: u64) -> Result<Bytes, Error> {
        let reference = entry.urls.first().ok_or_else(|| Error::NoUrl(entry.name.clone()))?;
        let url = url::chart(&self.url, reference).map_err(|why| Error::Url { url: redact(reference), why })?;
        http_only(&url)?;
        let bytes = self.get(&url, limit).await?;
        if let Some(wanted) = digest(entry) {
            let found = Digest::sha256(&bytes);
            if found != wanted {
                return Err(Error::Digest { url: shown(&url), wanted: wanted.to_string(), found: found.to_string() });
            }
        }
        Ok(bytes)
    }

    async fn get(&self, url: &Url, limit: u64) -> Result<Bytes, Error> {
        let ours = url.scheme() == self.url.scheme() && url.host() == self.url.host() && url.port() == self.url.port();
        let who = self.credentials.as_ref().filter(|_| ours || self.pass_credentials);
        self.client.get_as(url.as_str(), limit, who).await.map_err(|error| match error {
            http_client::Error::NotFound => Error::Status { url: shown(url), status: StatusCode::NOT_FOUND },
            http_client::Error::Status { status, .. } => Error::Status { url: shown(url), status },
            http_client::Error::TooLarge(limit) => Error::TooLarge { url: shown(url), limit },
            http_client::Error::Network { why, .. } => Error::Network { url: shown(url), why },
            other => Error::Url { url: shown(url), why: other.to_string() },
        })
    }
}

/// The digest that an index gives for a chart; `None` where it gives none that can be read.
pub(crate) fn digest(entry: &Entry) -> Option<Digest> {
    let hex = entry.digest.strip_prefix("sha256:").unwrap_or(&entry.digest);
    Digest::parse(&format!("sha256:{}", hex.to_ascii_lowercase())).ok()
}

impl Entry {
    /// The digest of the archive, where the index gives one that can be read.
    pub fn archive_digest(&self) -> Option<Digest> {
        digest(self)
    }
}

fn shown(url: &Url) -> String {
    redact(url.as_str())
}

/// Files of this machine and other schemes are nobody's chart repository.
fn http_only(url: &Url) -> Result<(), Error> {
    if matches!(url.scheme(), "http" | "https") { Ok(()) } else { Err(Error::Scheme(shown(url))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_client::{Options, Retry};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers every request with what `answer` makes of its path and its Authorization header.
    async fn serve(answer: fn(&str, &str) -> (u16, Vec<u8>)) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|count| count == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let who = head.lines().find_map(|line| line.to_ascii_lowercase().starts_with("authorization:").then(|| line.to_owned()));
                let (status, body) = answer(&path, who.as_deref().unwrap_or_default());
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                stream.write_all(&[head.as_bytes(), &body].concat()).await.ok();
            }
        });
        format!("http://{address}")
    }

    fn repository(url: &str, pass: bool) -> Repository {
        let client = Client::new(&Options { retry: Retry::NEVER, ..Options::default() }).unwrap();
        Repository::new(url, client, Some(Basic { username: "me".into(), password: "s3cret".into() }), pass).unwrap()
    }

    fn entry(url: &str, digest: &str) -> Entry {
        Entry {
            name: "demo".into(),
            version: "1.0.0".into(),
            created: jiff::Timestamp::UNIX_EPOCH,
            digest: digest.into(),
            urls: vec![url.into()],
        }
    }

    #[tokio::test]
    async fn credentials_go_to_the_repository_and_only_when_told_to_others() {
        let home = serve(|path, who| if who.is_empty() { (401, vec![]) } else { (200, path.as_bytes().to_vec()) }).await;
        let other = serve(|_, who| (200, who.as_bytes().to_vec())).await;
        let stable = format!("{home}/stable");
        assert_eq!(&*repository(&stable, false).index(100).await.unwrap(), b"/stable/index.yaml");
        assert_eq!(&*repository(&stable, false).chart(&entry("a.tgz", ""), 100).await.unwrap(), b"/stable/a.tgz");
        let foreign = entry(&format!("{other}/a.tgz"), "");
        assert_eq!(repository(&stable, false).chart(&foreign, 100).await.unwrap().len(), 0);
        assert!(!repository(&stable, true).chart(&foreign, 100).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_is_missing_too_large_or_another_file_is_refused() {
        let home = serve(|path, _| if path.contains("none") { (404, vec![]) } else { (200, vec![7; 50]) }).await;
        let repository = repository(&home, false);
        let told = |outcome: Result<Bytes, Error>| outcome.unwrap_err().to_string();
        assert_eq!(told(repository.chart(&entry("none.tgz", ""), 100).await), format!("failed to fetch {home}/none.tgz : 404 Not Found"));
        assert_eq!(told(repository.index(49).await), format!("{home}/index.yaml is larger than the limit of 49 bytes"));
        let wrong = "0".repeat(64);
        assert!(told(repository.chart(&entry("a.tgz", &wrong), 100).await).contains("the index of the repository says sha256:0000"));
        let right = Digest::sha256(&[7; 50]).to_string();
        assert!(repository.chart(&entry("a.tgz", &right), 100).await.is_ok());
        for bad in ["file:///etc/passwd", "ftp://h/x"] {
            assert!(told(repository.chart(&entry(bad, ""), 100).await).contains("is not http or https"), "{bad}");
        }
        assert_eq!(told(repository.chart(&Entry { urls: vec![], ..entry("", "") }, 1).await), "chart 'demo' has no downloadable URLs");
    }

    #[tokio::test]
    async fn no_secret_of_an_address_is_shown() {
        let gone = repository("http://me:s3cret@127.0.0.1:1/x?token=s3cret", false).index(10).await.unwrap_err().to_string();
        assert_eq!(gone, "Get \"http://127.0.0.1:1/x/index.yaml\": dial tcp 127.0.0.1:1: connect: connection refused");
    }
}
