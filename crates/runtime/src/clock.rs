use jiff::Timestamp;
use std::fmt;
use std::sync::Arc;

/// What time it is.
///
/// Wall-clock time goes into statuses, events and leases only; intervals, back-off and deadlines run on the
/// monotonic clock of Tokio, which a test can stop. A jump of the wall clock never triggers or delays a reconcile.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    pub fn system() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that shows what the function says.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Clock({})", self.now())
    }
}

/// The form of `metav1.Time`: UTC, whole seconds.
pub fn rfc3339_secs(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The form of `metav1.MicroTime`.
pub fn rfc3339_micros(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_the_kubernetes_api_prints_them() {
        let time: Timestamp = "2026-11-24T01:02:03.456789Z".parse().unwrap();
        assert_eq!(rfc3339_secs(time), "2026-11-24T01:02:03Z");
        assert_eq!(rfc3339_micros(time), "2026-11-24T01:02:03.456789Z");
    }
}
