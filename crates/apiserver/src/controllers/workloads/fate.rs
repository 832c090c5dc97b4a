//! What becomes of a simulated pod: its images say so.
//!
//! `sluice.dev/fail:TAG` fails, `sluice.dev/hang:TAG` never becomes ready, `sluice.dev/flap:TAG` is ready and is not, in turns, and
//! `sluice.dev/ready:TAG` is like any other image. A TAG that is a duration (`500ms`, `10s`, `2m`) says after how long.

use crate::api::text;
use serde_json::Value;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Ready,
    Fail,
    Hang,
    Flap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fate {
    pub end: End,
    /// Other than the delay that is common to all.
    pub after: Option<Duration>,
}

/// The fate of a pod with this spec; the worst of its images counts.
pub fn of(pod_spec: Option<&Value>) -> Fate {
    let mut out = Fate { end: End::Ready, after: None };
    for list in ["initContainers", "containers"] {
        for container in pod_spec.and_then(|spec| spec.get(list)).and_then(Value::as_array).into_iter().flatten() {
            let Some((name, tag)) = text(container, "/image").strip_prefix("sluice.dev/").and_then(|rest| rest.split_once(':')) else {
                continue;
            };
            let end = match name {
                "fail" => End::Fail,
                "hang" => End::Hang,
                "flap" => End::Flap,
                "ready" => End::Ready,
                _ => continue,
            };
            if severity(end) >= severity(out.end) {
                out = Fate { end, after: duration(tag).or(out.after) };
            }
        }
    }
    out
}

fn severity(end: End) -> u8 {
    match end {
        End::Ready => 0,
        End::Flap => 1,
        End::Hang => 2,
        End::Fail => 3,
    }
}

/// One number and one unit, at most a day.
fn duration(tag: &str) -> Option<Duration> {
    let digits = tag.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = tag[..digits].parse().ok()?;
    let milliseconds = match &tag[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(milliseconds)?.min(86_400_000)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn images_say_what_becomes_of_a_pod() {
        let fate = |images: &[&str]| {
            let containers: Vec<Value> = images.iter().map(|image| json!({"image": image})).collect();
            let fate = of(Some(&json!({"containers": containers})));
            (fate.end, fate.after.map(|after| after.as_millis()))
        };
        assert_eq!(fate(&["nginx:1"]), (End::Ready, None));
        assert_eq!(fate(&["sluice.dev/ready:2s"]), (End::Ready, Some(2000)));
        assert_eq!(fate(&["sluice.dev/hang:x", "sluice.dev/fail:500ms", "nginx"]), (End::Fail, Some(500)));
        assert_eq!(fate(&["sluice.dev/flap:1m"]), (End::Flap, Some(60_000)));
        assert_eq!(fate(&["sluice.dev/other:1", "sluice.dev/fail"]), (End::Ready, None));
        assert_eq!(fate(&["sluice.dev/fail:99999999999999999999h"]), (End::Fail, None));
    }
}
