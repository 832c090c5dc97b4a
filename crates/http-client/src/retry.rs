use std::time::Duration;

/// How often and after which waits a transient failure is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts after the first; Flux's `--http-retry`.
    pub count: u32,
    pub wait_min: Duration,
    pub wait_max: Duration,
}

impl Default for Retry {
    /// What Flux's controllers do: nine times, after 5 s to 30 s.
    fn default() -> Self {
        Self { count: 9, wait_min: Duration::from_secs(5), wait_max: Duration::from_secs(30) }
    }
}

impl Retry {
    pub const NEVER: Self = Self { count: 0, wait_min: Duration::ZERO, wait_max: Duration::ZERO };

    /// The wait before attempt `attempt` (the first retry is 1); a server's `Retry-After` wins, within reason.
    pub(crate) fn wait(&self, attempt: u32, retry_after: Option<Duration>) -> Duration {
        let doubled = self.wait_min.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
        retry_after.unwrap_or(doubled).min(self.wait_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_largest() {
        let retry = Retry::default();
        let waits: Vec<u64> = (1..=5).map(|n| retry.wait(n, None).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 30, 30]);
        assert_eq!(retry.wait(40, None).as_secs(), 30);
        assert_eq!(retry.wait(1, Some(Duration::from_secs(7))).as_secs(), 7);
        assert_eq!(retry.wait(1, Some(Duration::from_secs(7000))).as_secs(), 30);
    }
}
