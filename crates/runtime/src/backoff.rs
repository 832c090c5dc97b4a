use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long to wait after failures in a row: doubling from `min` to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    pub min: Duration,
    pub max: Duration,
}

impl Backoff {
    /// The delay after the `failures`-th failure in a row, counted from 1; as client-go's exponential limiter.
    pub fn delay(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(40);
        let nanos = self.min.as_nanos().saturating_mul(1 << doublings);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(self.max)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { min: Duration::from_millis(750), max: Duration::from_secs(15 * 60) }
    }
}

/// Spreads intervals, so that what was started together does not stay together.
#[derive(Debug, Clone)]
pub struct Jitter {
    percentage: u8,
    random: Arc<Mutex<SmallRng>>,
}

impl Jitter {
    /// `percentage` is how far a duration may move up or down. The same seed gives the same sequence.
    pub fn new(percentage: u8, seed: u64) -> Self {
        Self { percentage: percentage.min(99), random: Arc::new(Mutex::new(SmallRng::seed_from_u64(seed))) }
    }

    pub fn apply(&self, duration: Duration) -> Duration {
        if self.percentage == 0 {
            return duration;
        }
        let share: f64 = self.random.lock().unwrap_or_else(PoisonError::into_inner).random_range(-1.0..=1.0);
        duration.mul_f64(1.0 + share * f64::from(self.percentage) / 100.0)
    }

    /// A number for whatever else needs one: identifiers, spreading of retries.
    pub fn next_u64(&self) -> u64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_double_the_delay_up_to_the_longest() {
        let backoff = Backoff::default();
        let millis: Vec<_> = (1..=5).map(|n| backoff.delay(n).as_millis()).collect();
        assert_eq!(millis, [750, 1500, 3000, 6000, 12000]);
        assert_eq!(backoff.delay(11), Duration::from_millis(768_000));
        assert_eq!(backoff.delay(12), Duration::from_secs(900));
        assert_eq!(backoff.delay(u32::MAX), Duration::from_secs(900));
    }

    #[test]
    fn jitter_stays_in_its_bounds_and_repeats_with_its_seed() {
        let (a, b) = (Jitter::new(5, 7), Jitter::new(5, 7));
        let hour = Duration::from_secs(3600);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let spread = a.apply(hour);
            assert_eq!(spread, b.apply(hour));
            assert!((3420.0..=3780.0).contains(&spread.as_secs_f64()), "{spread:?}");
            seen.insert(spread);
        }
        assert!(seen.len() > 100);
        assert_eq!(Jitter::new(0, 7).apply(hour), hour);
    }
}
