use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// How many requests may be under way at once: grows while the server keeps up, halves when it says that it does not.
///
/// Additive increase, multiplicative decrease, as TCP does it. The server's own fairness decides between clients;
/// this keeps one client from queueing hundreds of requests at a server that is already refusing them.
#[derive(Debug, Clone)]
pub struct Limit {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    limit: f64,
    max: f64,
    running: usize,
    /// The limit is halved once per round: answers to requests sent before the last halving do not halve again.
    round: u64,
    waiting: VecDeque<oneshot::Sender<()>>,
}

const MIN: f64 = 2.0;

/// The right to have one request under way.
#[derive(Debug)]
pub struct Permit {
    state: Arc<Mutex<State>>,
    round: u64,
}

impl Limit {
    pub fn new(start: usize, max: usize) -> Self {
        let state = State { limit: (start as f64).max(MIN), max: (max as f64).max(MIN), running: 0, round: 0, waiting: VecDeque::new() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Waits for its turn; first come, first served.
    pub async fn acquire(&self) -> Permit {
        loop {
            let turn = {
                let mut state = lock(&self.state);
                if state.has_room() {
                    state.running += 1;
                    return Permit { state: self.state.clone(), round: state.round };
                }
                let (wake, turn) = oneshot::channel();
                state.waiting.push_back(wake);
                turn
            };
            // A dropped sender cannot happen while `self` lives; either way the loop looks again.
            let _ = turn.await;
        }
    }

    /// The present limit, rounded down.
    pub fn current(&self) -> usize {
        lock(&self.state).limit as usize
    }

    pub fn running(&self) -> usize {
        lock(&self.state).running
    }
}

impl Permit {
    /// Tells that the server took the request in its stride.
    pub fn succeeded(&self) {
        let mut state = lock(&self.state);
        // Growing while the limit is not reached would make it meaningless.
        if state.running as f64 + 1.0 >= state.limit {
            state.limit = (state.limit + 1.0 / state.limit).min(state.max);
        }
        state.wake();
    }

    /// Tells that the server refused the request for load.
    pub fn overloaded(&self) {
        let mut state = lock(&self.state);
        if self.round == state.round {
            state.limit = (state.limit / 2.0).max(MIN);
            state.round += 1;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.running -= 1;
        state.wake();
    }
}

impl State {
    fn has_room(&self) -> bool {
        (self.running as f64) < self.limit.floor()
    }

    /// Wakes as many as there is room for. A waiter that gave up is passed over; one that lost the race waits again.
    fn wake(&mut self) {
        let mut room = (self.limit as usize).saturating_sub(self.running);
        while room > 0 {
            match self.waiting.pop_front() {
                Some(waiter) => room -= usize::from(waiter.send(()).is_ok()),
                None => break,
            }
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_limit_halves_once_per_round_and_grows_again() {
        let limit = Limit::new(16, 32);
        let mut permits = Vec::new();
        for _ in 0..16 {
            permits.push(limit.acquire().await);
        }
        permits[0].overloaded();
        permits[1].overloaded();
        assert_eq!(limit.current(), 8, "requests of the same round halve once");
        permits.clear();
        for _ in 0..8 {
            permits.push(limit.acquire().await);
        }
        permits[0].overloaded();
        assert_eq!(limit.current(), 4);
        permits.clear();
        for _ in 0..20 {
            let held: Vec<_> = [limit.acquire().await, limit.acquire().await, limit.acquire().await, limit.acquire().await].into();
            held.iter().for_each(Permit::succeeded);
        }
        assert!(limit.current() > 4, "{}", limit.current());
    }

    #[tokio::test]
    async fn whoever_waits_gets_the_next_place_even_when_one_before_gave_up() {
        let limit = Limit::new(2, 2);
        let first = limit.acquire().await;
        let _second = limit.acquire().await;
        let mut gives_up = Box::pin(limit.acquire());
        assert!(futures::poll!(&mut gives_up).is_pending());
        let mut stays = Box::pin(limit.acquire());
        assert!(futures::poll!(&mut stays).is_pending());
        drop(gives_up);
        drop(first);
        stays.await;
        assert_eq!(limit.running(), 1);
    }
}
