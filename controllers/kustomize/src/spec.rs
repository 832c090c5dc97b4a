//! What the fields of a Kustomization mean where the API leaves a default.

use api::kustomize::Kustomization;
use std::time::Duration;
use types::{GoDuration, NamespacedName};

const TIMEOUT_MIN: GoDuration = GoDuration::from_secs(30);

pub(crate) fn key(this: &Kustomization) -> NamespacedName {
    NamespacedName::new(this.metadata.namespace.clone().unwrap_or_default(), this.metadata.name.clone().unwrap_or_default())
}

pub(crate) fn generation(this: &Kustomization) -> i64 {
    this.metadata.generation.unwrap_or_default()
}

pub(crate) fn annotation<'a>(this: &'a Kustomization, key: &str) -> Option<&'a str> {
    this.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The timeout, or the interval less half a minute; never below half a minute.
pub(crate) fn timeout(this: &Kustomization) -> GoDuration {
    let chosen = this.spec.timeout.unwrap_or_else(|| GoDuration::from_nanos(this.spec.interval.as_nanos() - TIMEOUT_MIN.as_nanos()));
    chosen.max(TIMEOUT_MIN)
}

pub(crate) fn retry_interval(this: &Kustomization) -> Duration {
    this.spec.retry_interval.unwrap_or(this.spec.interval).to_std()
}

pub(crate) fn checks_health(this: &Kustomization) -> bool {
    this.spec.wait || !this.spec.health_checks.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_is_never_below_half_a_minute() {
        let of = |interval: &str, given: Option<&str>| {
            let mut this = Kustomization::named("n", "a");
            this.spec.interval = GoDuration::parse(interval).unwrap();
            this.spec.timeout = given.map(|text| GoDuration::parse(text).unwrap());
            timeout(&this).to_string()
        };
        assert_eq!(of("1h", None), "59m30s");
        assert_eq!(of("10s", None), "30s");
        assert_eq!(of("1h", Some("20s")), "30s");
        assert_eq!(of("1h", Some("5m")), "5m0s");
    }
}
