//! Charts in an OCI registry.

use super::{Limits, too_large};
use crate::oci_repository::select;
use bytes::Bytes;
use oci::{Client, Credentials, Error, Manifest, Reference, Scheme, media_type};
use types::semver::Version;

/// The layer of charts that Helm pushed before it had a media type of its own.
const OLD_CHART: &str = "application/tar+gzip";

/// A registry with charts below one path.
pub(crate) struct Registry {
    /// `host/path`, without a scheme.
    base: String,
    client: Client,
}

impl Registry {
    pub(crate) fn new(base: &str, http: reqwest::Client, insecure: bool, credentials: Credentials, limits: Limits) -> Self {
        // Unlike OCIRepositories, a registry of this machine is spoken to in plain text only when asked for.
        let scheme = if insecure { Scheme::Http } else { Scheme::Https };
        let limits = oci::Limits { blob_bytes_max: limits.chart_max, ..oci::Limits::default() };
        Self { base: base.trim_end_matches('/').to_owned(), client: Client::new(http, scheme, credentials, limits) }
    }

    /// The version that a range means now. One that is written out needs no question.
    pub(crate) async fn version(&self, name: &str, range: &str) -> Result<String, String> {
        if Version::parse_tag(range).is_ok() {
            return Ok(range.to_owned());
        }
        let reference = self.reference(name, "latest")?;
        let tags = self.client.tags(&reference).await;
        let tags =
            tags.map_err(|e| format!("could not get tags for {name:?}: could not fetch tags for \"oci://{}/{name}\": {e}", self.base))?;
        newest(&tags, name, range)
    }

    /// The archive of one version, checked against the digest that the registry has for it.
    pub(crate) async fn chart(&self, name: &str, version: &str) -> Result<Bytes, String> {
        let shown = format!("{}/{name}:{version}", self.base);
        let failed = |why: String| format!("failed to get 'oci://{shown}': {why}");
        let reference = self.reference(name, &version.replace('+', "_")).map_err(failed)?;
        // Worded as Helm's client words them.
        let unresolved = |error: Error| failed(format!("failed to perform \"FetchReference\" on source: {}", worded(&error, &shown)));
        let digest = self.client.resolve(&reference).await.map_err(unresolved)?;
        let manifest = self.client.manifest(&reference, &digest).await.map_err(unresolved)?;
        let layer = layer(&manifest).map_err(failed)?;
        let told = |error: Error| failed(too_large(&error, matches!(error, Error::TooLarge { .. })));
        self.client.blob(&reference, layer).await.map_err(told)
    }

    fn reference(&self, name: &str, tag: &str) -> Result<Reference, String> {
        format!("{}/{name}:{tag}", self.base).parse().map_err(|e| format!("invalid chart reference \"{}/{name}:{tag}\": {e}", self.base))
    }
}

/// The highest version of the range among tags, in which `_` stands for `+`.
fn newest(tags: &[String], name: &str, range: &str) -> Result<String, String> {
    if tags.is_empty() {
        return Err(format!("unable to locate any tags in provided repository: {name}"));
    }
    let versions: Vec<String> = tags.iter().map(|tag| tag.replace('_', "+")).collect();
    if let Some(exact) = versions.iter().find(|version| !range.is_empty() && *version == range) {
        return Ok(exact.clone());
    }
    let wanted = if range.is_empty() { "*" } else { range };
    select::newest(&versions, wanted, "", true).map(str::to_owned).map_err(|error| match error {
        select::Error::Range { why, .. } => why,
        select::Error::NoMatch(_) => format!("could not locate a version matching provided version string {range}"),
        other => other.to_string(),
    })
}

fn layer(manifest: &Manifest) -> Result<&oci::Descriptor, String> {
    let of = |kind: &str| manifest.layers.iter().find(|layer| layer.media_type == kind);
    of(media_type::HELM_CHART)
        .or_else(|| of(OLD_CHART))
        .ok_or_else(|| format!("manifest does not contain a layer with mediatype {}", media_type::HELM_CHART))
}

fn worded(error: &Error, shown: &str) -> String {
    match error {
        error if error.is_not_found() => format!("{shown}: not found"),
        Error::Transport { url, cause, .. } => format!("Get {url:?}: {cause}"),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_choose_among_tags() {
        let tags: Vec<String> = ["1.0.0", "1.2.0_build.5", "2.0.0-rc.1", "latest"].map(str::to_owned).into();
        let chosen = |range: &str| newest(&tags, "demo", range);
        assert_eq!(chosen("*").as_deref(), Ok("1.2.0+build.5"));
        assert_eq!(chosen("latest").as_deref(), Ok("latest"));
        assert_eq!(chosen(">=2.0.0-0").as_deref(), Ok("2.0.0-rc.1"));
        assert_eq!(chosen(">=5").unwrap_err(), "could not locate a version matching provided version string >=5");
        assert_eq!(chosen("one.two").unwrap_err(), "improper constraint: \"one.two\"");
        assert_eq!(newest(&[], "demo", "*").unwrap_err(), "unable to locate any tags in provided repository: demo");
    }

    #[test]
    fn the_layer_of_a_chart_is_found_among_others() {
        let descriptor = |kind: &str| oci::Descriptor { media_type: kind.to_owned(), ..Default::default() };
        let prov = descriptor("application/vnd.cncf.helm.chart.provenance.v1.prov");
        let manifest = Manifest { layers: vec![prov.clone(), descriptor(media_type::HELM_CHART)], ..Default::default() };
        assert_eq!(layer(&manifest).unwrap().media_type, media_type::HELM_CHART);
        assert!(layer(&Manifest { layers: vec![prov], ..Default::default() }).unwrap_err().contains("does not contain a layer"));
    }
}
