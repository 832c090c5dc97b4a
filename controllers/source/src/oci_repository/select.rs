//! Which tag, and which layer: pure choices.

use oci::{Descriptor, Manifest, media_type};
use regex::Regex;
use types::semver::{self, Constraint, Version};

/// Why there is nothing to choose. The texts are Flux's: users know them from conditions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("semver '{range}' parse error: {why}")]
    Range { range: String, why: String },
    #[error("semverFilter '{filter}' parse error: {why}")]
    Filter { filter: String, why: String },
    #[error("no match found for semver: {0}")]
    NoMatch(String),
    #[error("no layers found in artifact")]
    NoLayers,
    #[error("failed to find layer with media type '{0}' in artifact")]
    NoSuchLayer(String),
}

/// The highest version of the range among the tags that pass the filter.
///
/// A chart's version may hold `+`, which no tag can: Helm writes `_` instead, so with a chart layer wanted it is read back.
pub fn newest<'a>(tags: &'a [String], range: &str, filter: &str, is_chart: bool) -> Result<&'a str, Error> {
    let constraint = Constraint::parse(range).map_err(|e| Error::Range { range: range.to_owned(), why: e.to_string() })?;
    let filter = match filter {
        "" => None,
        filter => Some(Regex::new(filter).map_err(|e| Error::Filter { filter: filter.to_owned(), why: e.to_string() })?),
    };
    let passing = tags.iter().map(String::as_str).filter(|tag| filter.as_ref().is_none_or(|filter| filter.is_match(tag)));
    let version = |tag: &str| Version::parse_tag(&if is_chart { tag.replace('_', "+") } else { tag.to_owned() }).ok();
    semver::newest(passing, &constraint, version).ok_or_else(|| Error::NoMatch(range.to_owned()))
}

/// The first layer, or the first of a media type.
pub fn layer<'a>(manifest: &'a Manifest, wanted: Option<&str>) -> Result<&'a Descriptor, Error> {
    if manifest.layers.is_empty() {
        return Err(Error::NoLayers);
    }
    match wanted.filter(|wanted| !wanted.is_empty()) {
        None => Ok(&manifest.layers[0]),
        Some(wanted) => {
            manifest.layers.iter().find(|layer| layer.media_type == wanted).ok_or_else(|| Error::NoSuchLayer(wanted.to_owned()))
        }
    }
}

/// Whether the layer that is wanted is a Helm chart.
pub fn is_chart(wanted: Option<&str>) -> bool {
    wanted == Some(media_type::HELM_CHART)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(list: &[&str]) -> Vec<String> {
        list.iter().map(|tag| (*tag).to_owned()).collect()
    }

    #[test]
    fn the_newest_tag_of_the_range_is_taken() {
        let all = tags(&["1.0.0", "v1.2.0", "1.1.0", "2.0.0-rc.1", "latest", "sha256-ab.sig"]);
        assert_eq!(newest(&all, ">=1.0.0", "", false), Ok("v1.2.0"));
        assert_eq!(newest(&all, ">=1.0.0-0", "", false), Ok("2.0.0-rc.1"));
        assert_eq!(newest(&all, ">=1.0.0", "^1\\.", false), Ok("1.1.0"));
        assert_eq!(newest(&all, ">=3.0.0", "", false), Err(Error::NoMatch(">=3.0.0".into())));
        assert_eq!(newest(&all, "what", "", false).unwrap_err().to_string(), "semver 'what' parse error: improper constraint: \"what\"");
        assert!(matches!(newest(&all, "1.x", "(", false), Err(Error::Filter { .. })));
    }

    #[test]
    fn a_chart_version_with_build_metadata_is_read_back_from_its_tag() {
        let all = tags(&["1.2.0_build.5", "1.1.0"]);
        assert_eq!(newest(&all, ">=1.0.0", "", true), Ok("1.2.0_build.5"));
        assert_eq!(newest(&all, ">=1.0.0", "", false), Ok("1.1.0"));
    }

    #[test]
    fn layers_are_chosen_by_media_type_or_come_first() {
        let descriptor = |kind: &str| Descriptor { media_type: kind.to_owned(), ..Default::default() };
        let manifest = Manifest { layers: vec![descriptor("a"), descriptor("b")], ..Default::default() };
        assert_eq!(layer(&manifest, None).unwrap().media_type, "a");
        assert_eq!(layer(&manifest, Some("b")).unwrap().media_type, "b");
        assert_eq!(layer(&manifest, Some("c")).err(), Some(Error::NoSuchLayer("c".into())));
        assert_eq!(layer(&Manifest::default(), None).err(), Some(Error::NoLayers));
    }
}
