//! Kinds that Kubernetes has deprecated. The table holds what the linter of Helm 4.3 says of every kind it knows:
//! API version, kind, deprecated and removed in 1.x, replacement.

use super::Check;
use crate::KubeVersion;

const TABLE: &str = include_str!("deprecations.tsv");

pub(super) fn check(api_version: &str, kind: &str, version: &KubeVersion) -> Check {
    if kind.is_empty() || api_version.is_empty() {
        return Ok(());
    }
    let number = |text: &str| text.parse::<u32>().map_err(|_| format!("strconv.Atoi: parsing {text:?}: invalid syntax"));
    let asked = (number(&version.major)?, number(&version.minor)?);
    for line in TABLE.lines() {
        let mut cells = line.split('\t');
        if cells.next() != Some(api_version) || cells.next() != Some(kind) {
            continue;
        }
        let (deprecated, removed) = (cells.next().unwrap_or(""), cells.next().unwrap_or(""));
        if asked < (1, number(deprecated)?) {
            return Ok(());
        }
        let mut text = format!("{api_version} {kind} is deprecated in v1.{deprecated}+");
        if !removed.is_empty() {
            text.push_str(&format!(", unavailable in v1.{removed}+"));
        }
        if let Some(replacement) = cells.next().filter(|replacement| !replacement.is_empty()) {
            text.push_str(&format!("; use {replacement}"));
        }
        return Err(text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_deprecated_from_a_version_on() {
        let at = |version: &str| check("batch/v1beta1", "CronJob", &KubeVersion::parse(version).unwrap());
        assert_eq!(at("v1.20.0"), Ok(()));
        assert_eq!(
            at("v1.21.0").unwrap_err(),
            "batch/v1beta1 CronJob is deprecated in v1.21+, unavailable in v1.25+; use batch/v1 CronJob"
        );
    }
}
