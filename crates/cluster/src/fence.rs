use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Holds back writes when the right to write has run out.
///
/// The holder of a lease moves the end forward at each renewal. The end is kept on the monotonic clock, so a process
/// that was stopped and continued, or whose wall clock jumped, finds the fence closed before its first late write.
#[derive(Debug, Clone)]
pub struct Fence {
    start: Instant,
    /// Milliseconds after `start` up to which writes may be sent; `OPEN` for ever.
    until: Arc<AtomicU64>,
}

const OPEN: u64 = u64::MAX;

impl Fence {
    /// A fence that never closes by itself: no leader election.
    pub fn open() -> Self {
        Self { start: Instant::now(), until: Arc::new(AtomicU64::new(OPEN)) }
    }

    /// A fence that is closed until it is extended.
    pub fn closed() -> Self {
        let fence = Self::open();
        fence.close();
        fence
    }

    /// Lets writes through until `duration` after `from`.
    pub fn extend(&self, from: Instant, duration: Duration) {
        let until = from.duration_since(self.start) + duration;
        self.until.store(u64::try_from(until.as_millis()).unwrap_or(OPEN - 1), Ordering::Release);
    }

    pub fn close(&self) {
        self.until.store(0, Ordering::Release);
    }

    pub fn allows_writes(&self) -> bool {
        let until = self.until.load(Ordering::Acquire);
        until == OPEN || u128::from(until) > self.start.elapsed().as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_closes_when_its_time_has_passed() {
        assert!(Fence::open().allows_writes());
        let fence = Fence::closed();
        assert!(!fence.allows_writes());
        fence.extend(Instant::now(), Duration::from_secs(30));
        assert!(fence.allows_writes());
        fence.extend(Instant::now(), Duration::ZERO);
        assert!(!fence.allows_writes());
    }
}
