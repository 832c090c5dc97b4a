use crate::{
    Credentials, Error, Manifest, Reference,
    auth::{Challenge, challenges},
    error::describe,
};
use bytes::{Bytes, BytesMut};
use oci_client::manifest::OciDescriptor;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LINK, LOCATION, WWW_AUTHENTICATE},
};
use serde::Deserialize;
use std::collections::HashMap;
use tokio::sync::{Mutex, OnceCell};
use types::Digest;

const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json";
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const REDIRECTS_MAX: usize = 5;

/// http or https; plain text only when asked for, or on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
    /// https where the registry speaks it, else http: found out with the first request (as go-containerregistry does).
    Either,
}

impl Scheme {
    /// Plain text is possible when `insecure`, or when the registry is on the loopback interface (as go-containerregistry has it).
    pub fn of(registry: &str, insecure: bool) -> Self {
        let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
        let local = host == "localhost"
            || host.ends_with(".localhost")
            || host == "[::1]"
            || host.parse().is_ok_and(|ip: std::net::Ipv4Addr| ip.is_loopback());
        if insecure || local { Self::Either } else { Self::Https }
    }

    /// Which of both a registry speaks.
    pub async fn settle(self, http: &reqwest::Client, registry: &str) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Either => {
                let url = format!("https://{registry}/v2/");
                match http.get(&url).send().await {
                    // A certificate that is not trusted is told as such: it does not lead to plain text.
                    Err(error) if !http_client::explain(&error, &url).contains("certificate") => "http",
                    _ => "https",
                }
            }
        }
    }
}

/// How much a registry may send.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub manifest_bytes_max: u64,
    pub blob_bytes_max: u64,
    pub tags_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { manifest_bytes_max: 4 << 20, blob_bytes_max: 512 << 20, tags_max: 100_000 }
    }
}

/// A registry, as one identity.
pub struct Client {
    http: reqwest::Client,
    scheme: Scheme,
    settled: OnceCell<&'static str>,
    credentials: Credentials,
    limits: Limits,
    /// What to send for a scope, once the registry told us; the key is `repository:actions`.
    authorization: Mutex<HashMap<String, HeaderValue>>,
}

impl Client {
    /// `http` must not follow redirects by itself (`redirect::Policy::none()`).
    pub fn new(http: reqwest::Client, scheme: Scheme, credentials: Credentials, limits: Limits) -> Self {
        Self { http, scheme, settled: OnceCell::new(), credentials, limits, authorization: Mutex::new(HashMap::new()) }
    }

    /// The digest that a tag points at now (or the digest of the reference itself): HEAD, then GET where HEAD says nothing.
    pub async fn resolve(&self, reference: &Reference) -> Result<Digest, Error> {
        if let Some(digest) = reference.digest() {
            return parse_digest(digest, &self.url(reference, &format!("manifests/{digest}")).await?);
        }
        let url = self.url(reference, &format!("manifests/{}", reference.tag().unwrap_or("latest"))).await?;
        let head = self.send(reference, "pull", Method::HEAD, &url, &[(ACCEPT, MANIFEST_TYPES)], None).await?;
        if head.status().is_success()
            && let Some(digest) = head.headers().get(CONTENT_DIGEST).and_then(|v| v.to_str().ok())
        {
            return parse_digest(digest, &url);
        }
        let (bytes, headers) = self.get(reference, &url, &[(ACCEPT, MANIFEST_TYPES)], self.limits.manifest_bytes_max).await?;
        match headers.get(CONTENT_DIGEST).and_then(|v| v.to_str().ok()) {
            Some(digest) => parse_digest(digest, &url),
            None => Ok(Digest::sha256(&bytes)),
        }
    }

    /// The image manifest with this digest, checked; of an index the one for linux/amd64.
    pub async fn manifest(&self, reference: &Reference, digest: &Digest) -> Result<Manifest, Error> {
        let mut digest = digest.clone();
        for _ in 0..2 {
            let url = self.url(reference, &format!("manifests/{digest}")).await?;
            let (bytes, _) = self.get(reference, &url, &[(ACCEPT, MANIFEST_TYPES)], self.limits.manifest_bytes_max).await?;
            verify(&bytes, &digest, &url)?;
            let malformed = |e: serde_json::Error| Error::Malformed { url: url.to_string(), what: format!("cannot parse manifest: {e}") };
            let parsed: oci_client::manifest::OciManifest = serde_json::from_slice(&bytes).map_err(malformed)?;
            let index = match parsed {
                oci_client::manifest::OciManifest::Image(image) => return Ok(image),
                oci_client::manifest::OciManifest::ImageIndex(index) => index,
            };
            let child = index
                .manifests
                .iter()
                .find(|entry| entry.platform.as_ref().is_none_or(|p| p.os.to_string() == "linux" && p.architecture.to_string() == "amd64"));
            digest = parse_digest(&child.ok_or_else(|| Error::NoPlatform(digest.to_string()))?.digest, &url)?;
        }
        Err(Error::Malformed { url: digest.to_string(), what: "an index inside an index".to_owned() })
    }

    /// The bytes of a layer or config, checked against its digest and size.
    pub async fn blob(&self, reference: &Reference, descriptor: &OciDescriptor) -> Result<Bytes, Error> {
        let url = self.url(reference, &format!("blobs/{}", descriptor.digest)).await?;
        let digest = parse_digest(&descriptor.digest, &url)?;
        let size = u64::try_from(descriptor.size).unwrap_or(0);
        if size > self.limits.blob_bytes_max {
            return Err(Error::TooLarge { url: url.to_string(), limit: self.limits.blob_bytes_max });
        }
        let (bytes, _) = self.get(reference, &url, &[], self.limits.blob_bytes_max).await?;
        verify(&bytes, &digest, &url)?;
        Ok(bytes)
    }

    /// Every tag of the repository, page by page.
    pub async fn tags(&self, reference: &Reference) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let mut url = self.url(reference, "tags/list?n=1000").await?;
        let mut tags = Vec::new();
        loop {
            let (bytes, headers) = self.get(reference, &url, &[], self.limits.manifest_bytes_max).await?;
            let page: Page = serde_json::from_slice(&bytes)
                .map_err(|e| Error::Malformed { url: url.to_string(), what: format!("cannot parse list of tags: {e}") })?;
            tags.extend(page.tags.unwrap_or_default());
            if tags.len() > self.limits.tags_max {
                return Err(Error::Malformed { url: url.to_string(), what: format!("more than {} tags", self.limits.tags_max) });
            }
            // Only the Link header says that there is more: registries that ignore `n` would be asked for ever otherwise.
            match headers.get(LINK).and_then(|v| v.to_str().ok()).and_then(next_link).and_then(|next| url.join(next).ok()) {
                Some(next) if next != url && next.origin() == url.origin() => url = next,
                _ => return Ok(tags),
            }
        }
    }

    /// Uploads bytes unless the registry has them; returns their descriptor.
    pub async fn push_blob(&self, reference: &Reference, media_type: &str, bytes: Bytes) -> Result<OciDescriptor, Error> {
        let digest = Digest::sha256(&bytes);
        let descriptor = OciDescriptor {
            media_type: media_type.to_owned(),
            digest: digest.to_string(),
            size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
            ..Default::default()
        };
        let url = self.url(reference, &format!("blobs/{digest}")).await?;
        if self.send(reference, "pull,push", Method::HEAD, &url, &[], None).await?.status().is_success() {
            return Ok(descriptor);
        }
        let start = self.url(reference, "blobs/uploads/").await?;
        let answer =
            expect(Method::POST, &start, self.send(reference, "pull,push", Method::POST, &start, &[], Some(Bytes::new())).await?).await?;
        let location = answer.headers().get(LOCATION).and_then(|v| v.to_str().ok());
        let mut upload = location
            .and_then(|location| start.join(location).ok())
            .ok_or_else(|| Error::Malformed { url: start.to_string(), what: "the registry named no upload location".to_owned() })?;
        upload.query_pairs_mut().append_pair("digest", &digest.to_string());
        let headers = [(CONTENT_TYPE, "application/octet-stream")];
        expect(Method::PUT, &upload, self.send(reference, "pull,push", Method::PUT, &upload, &headers, Some(bytes)).await?).await?;
        Ok(descriptor)
    }

    /// Uploads a manifest under the reference's tag; returns its digest.
    pub async fn push_manifest(&self, reference: &Reference, manifest: &Manifest) -> Result<Digest, Error> {
        let bytes = serde_json::to_vec(manifest).map_err(|e| Error::Malformed { url: reference.whole(), what: e.to_string() })?;
        self.push_raw_manifest(reference, crate::media_type::MANIFEST, bytes.into()).await
    }

    /// Gives what `from` points at another tag.
    pub async fn tag(&self, from: &Reference, tag: &str) -> Result<Digest, Error> {
        let digest = self.resolve(from).await?;
        let url = self.url(from, &format!("manifests/{digest}")).await?;
        let (bytes, headers) = self.get(from, &url, &[(ACCEPT, MANIFEST_TYPES)], self.limits.manifest_bytes_max).await?;
        verify(&bytes, &digest, &url)?;
        let media_type = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or(crate::media_type::MANIFEST).to_owned();
        let to = Reference::with_tag(from.registry().to_owned(), from.repository().to_owned(), tag.to_owned());
        self.push_raw_manifest(&to, &media_type, bytes).await
    }

    async fn push_raw_manifest(&self, reference: &Reference, media_type: &str, bytes: Bytes) -> Result<Digest, Error> {
        let digest = Digest::sha256(&bytes);
        let name = reference.tag().map_or_else(|| digest.to_string(), str::to_owned);
        let url = self.url(reference, &format!("manifests/{name}")).await?;
        expect(Method::PUT, &url, self.send(reference, "pull,push", Method::PUT, &url, &[(CONTENT_TYPE, media_type)], Some(bytes)).await?)
            .await?;
        Ok(digest)
    }

    async fn url(&self, reference: &Reference, path: &str) -> Result<Url, Error> {
        let registry = reference.resolve_registry();
        let scheme = self.settled.get_or_init(|| self.scheme.settle(&self.http, registry)).await;
        let text = format!("{scheme}://{registry}/v2/{}/{path}", reference.repository());
        Url::parse(&text).map_err(|e| Error::Malformed { url: text, what: e.to_string() })
    }

    async fn get(&self, reference: &Reference, url: &Url, headers: &[(HeaderName, &str)], limit: u64) -> Result<(Bytes, HeaderMap), Error> {
        let response = expect(Method::GET, url, self.send(reference, "pull", Method::GET, url, headers, None).await?).await?;
        let answer_headers = response.headers().clone();
        Ok((read(response, url, limit).await?, answer_headers))
    }

    /// Sends with what is known for the scope; on 401 answers the challenge and sends once more. Follows redirects.
    async fn send(
        &self,
        reference: &Reference,
        actions: &str,
        method: Method,
        url: &Url,
        headers: &[(HeaderName, &str)],
        body: Option<Bytes>,
    ) -> Result<Response, Error> {
        let scope = format!("{}:{actions}", reference.repository());
        let mut asked = false;
        loop {
            let authorization = self.authorization.lock().await.get(&scope).cloned();
            let response = self.follow(&method, url, headers, body.clone(), authorization).await?;
            if response.status() != StatusCode::UNAUTHORIZED || asked {
                return Ok(response);
            }
            asked = true;
            let offered: Vec<Challenge> =
                response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok()).flat_map(challenges).collect();
            match self.answer(&offered, &scope, url).await? {
                Some(value) => self.authorization.lock().await.insert(scope.clone(), value),
                None => return Ok(response),
            };
        }
    }

    async fn follow(
        &self,
        method: &Method,
        url: &Url,
        headers: &[(HeaderName, &str)],
        body: Option<Bytes>,
        authorization: Option<HeaderValue>,
    ) -> Result<Response, Error> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let mut request = self.http.request(method.clone(), at.clone());
            for (name, value) in headers {
                request = request.header(name, *value);
            }
            if let Some(body) = &body {
                request = request.header(CONTENT_LENGTH, body.len()).body(body.clone());
            }
            // Storage behind a registry has signed URLs of its own: our credentials stay with the registry.
            if let Some(value) = authorization.as_ref().filter(|_| at.origin() == url.origin()) {
                request = request.header(AUTHORIZATION, value.clone());
            }
            let response = request.send().await.map_err(|e| transport(method, url, e))?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let next = response.headers().get(LOCATION).and_then(|v| v.to_str().ok()).and_then(|location| at.join(location).ok());
            match next {
                Some(next) if next.scheme() == "https" || next.scheme() == at.scheme() => at = next,
                Some(_) => {
                    return Err(Error::Malformed { url: url.to_string(), what: "refused a redirect from https to plain text".to_owned() });
                }
                None => return Ok(response),
            }
        }
        Err(Error::Malformed { url: url.to_string(), what: format!("stopped after {REDIRECTS_MAX} redirects") })
    }

    /// The value of an Authorization header that answers one of the challenges; `None` when none can be answered.
    async fn answer(&self, offered: &[Challenge], scope: &str, registry: &Url) -> Result<Option<HeaderValue>, Error> {
        if let Credentials::RegistryToken(token) = &self.credentials {
            return Ok(secret_header(&format!("Bearer {token}")));
        }
        if let Some(bearer) = offered.iter().find(|c| c.scheme == "bearer") {
            return self.token(bearer, scope, registry).await;
        }
        match &self.credentials {
            Credentials::Basic { username, password } if offered.iter().any(|c| c.scheme == "basic") => Ok(basic(username, password)),
            _ => Ok(None),
        }
    }

    /// Docker's token exchange: GET with basic credentials, or POST with a refresh token.
    async fn token(&self, challenge: &Challenge, scope: &str, registry: &Url) -> Result<Option<HeaderValue>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            token: String,
            #[serde(default)]
            access_token: String,
        }
        let Some(realm) = challenge.parameters.get("realm").and_then(|realm| Url::parse(realm).ok()) else { return Ok(None) };
        let known = !matches!(self.credentials, Credentials::Anonymous);
        if known && realm.scheme() != "https" && realm.origin() != registry.origin() {
            let what = format!("refused to send credentials in plain text to {}", realm.host_str().unwrap_or("another host"));
            return Err(Error::Malformed { url: registry.to_string(), what });
        }
        let scope = challenge.parameters.get("scope").cloned().unwrap_or_else(|| format!("repository:{scope}"));
        let service = challenge.parameters.get("service").cloned().unwrap_or_default();
        let (method, request) = match &self.credentials {
            Credentials::IdentityToken(token) => {
                let mut form = Url::parse("form:").map_err(|e| Error::Malformed { url: realm.to_string(), what: e.to_string() })?;
                form.query_pairs_mut().extend_pairs([
                    ("grant_type", "refresh_token"),
                    ("service", &service),
                    ("scope", &scope),
                    ("client_id", "sluice"),
                    ("refresh_token", token),
                ]);
                let body = form.query().unwrap_or_default().to_owned();
                (Method::POST, self.http.post(realm.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body))
            }
            credentials => {
                let mut url = realm.clone();
                url.query_pairs_mut().append_pair("scope", &scope);
                if !service.is_empty() {
                    url.query_pairs_mut().append_pair("service", &service);
                }
                let request = self.http.get(url);
                match credentials {
                    Credentials::Basic { username, password } => (Method::GET, request.basic_auth(username, Some(password))),
                    _ => (Method::GET, request),
                }
            }
        };
        let response = request.send().await.map_err(|e| transport(&method, &realm, e))?;
        let response = expect(method, &realm, response).await?;
        let bytes = read(response, &realm, self.limits.manifest_bytes_max).await?;
        // No parser message here: it could quote the token.
        let answer: Answer = serde_json::from_slice(&bytes)
            .map_err(|_| Error::Malformed { url: realm.to_string(), what: "the token service answered no JSON token".to_owned() })?;
        let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
        Ok(secret_header(&format!("Bearer {token}")))
    }
}

fn basic(username: &str, password: &str) -> Option<HeaderValue> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    secret_header(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn parse_digest(text: &str, url: &Url) -> Result<Digest, Error> {
    Digest::parse(text).map_err(|e| Error::Malformed { url: url.to_string(), what: e.to_string() })
}

fn verify(bytes: &[u8], digest: &Digest, url: &Url) -> Result<(), Error> {
    let actual = digest.algorithm().digest(bytes);
    if actual == *digest {
        return Ok(());
    }
    Err(Error::Digest { url: url.to_string(), expected: digest.to_string(), actual: actual.to_string() })
}

/// The target of `<…>; rel="next"`.
fn next_link(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        parameters.split(';').any(|p| matches!(p.trim(), "rel=\"next\"" | "rel=next")).then_some(target)
    })
}

/// The response when it succeeded; else the registry's error.
async fn expect(method: Method, url: &Url, response: Response) -> Result<Response, Error> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = read(response, url, 64 << 10).await.unwrap_or_default();
    let text = describe(status.as_u16(), status.canonical_reason().unwrap_or(""), &body);
    Err(Error::Registry { method: static_method(&method), url: url.to_string(), status: status.as_u16(), text })
}

async fn read(mut response: Response, url: &Url, limit: u64) -> Result<Bytes, Error> {
    let too_large = || Error::TooLarge { url: url.to_string(), limit };
    if response.content_length().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| transport(&Method::GET, url, e))? {
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn transport(method: &Method, url: &Url, error: reqwest::Error) -> Error {
    let cause = http_client::explain(&error, url.as_str());
    Error::Transport { method: static_method(method), url: url.to_string(), cause }
}

fn static_method(method: &Method) -> &'static str {
    match *method {
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "GET",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_in_plain_text_unasked() {
        for local in ["localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000", "registry.localhost"] {
            assert_eq!(Scheme::of(local, false), Scheme::Either, "{local}");
        }
        for remote in ["ghcr.io", "10.0.0.1:5000", "localhost.example.com"] {
            assert_eq!(Scheme::of(remote, false), Scheme::Https, "{remote}");
            assert_eq!(Scheme::of(remote, true), Scheme::Either, "{remote}");
        }
    }

    #[test]
    fn the_next_page_is_found_among_links() {
        assert_eq!(next_link("</v2/a/tags/list?last=x&n=2>; rel=\"next\""), Some("/v2/a/tags/list?last=x&n=2"));
        assert_eq!(next_link("</first>; rel=\"first\", </n>; rel=next"), Some("/n"));
        assert_eq!(next_link("</first>; rel=\"first\""), None);
    }
}
