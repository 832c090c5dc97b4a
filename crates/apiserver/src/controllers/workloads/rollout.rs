//! The arithmetic of rollouts: sizes in, sizes out.

/// What a rolling update may do at a time.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    pub replicas: i64,
    pub max_surge: i64,
    pub max_unavailable: i64,
}

/// A set of pods: how many it was told to have, how many of them are available.
#[derive(Debug, Clone, Copy)]
pub struct Old {
    pub size: i64,
    pub available: i64,
}

/// A set's size, and the largest sum of which that was a share.
#[derive(Debug, Clone, Copy)]
pub struct Share {
    pub size: i64,
    pub of: i64,
}

impl Scale {
    /// The next size of the new set, when all sets together have `all`.
    pub fn of_new(self, current: i64, all: i64) -> i64 {
        if current >= self.replicas {
            return self.replicas;
        }
        let room = (self.replicas + self.max_surge - all).max(0);
        current + room.min(self.replicas - current)
    }

    /// The next sizes of the old sets, oldest first: what is not available goes first, then as much as availability allows.
    pub fn of_old(self, new: Old, old: &[Old]) -> Vec<i64> {
        let mut sizes: Vec<i64> = old.iter().map(|set| set.size).collect();
        let all: i64 = sizes.iter().sum::<i64>() + new.size;
        let floor = self.replicas - self.max_unavailable;
        let mut may_go = (all - floor - (new.size - new.available).max(0)).max(0);
        for (size, set) in sizes.iter_mut().zip(old) {
            let gone = (set.size - set.available).clamp(0, may_go);
            *size -= gone;
            may_go -= gone;
        }
        let mut spare = (new.available + old.iter().map(|set| set.available).sum::<i64>() - floor).max(0).min(may_go);
        for size in &mut sizes {
            let gone = spare.min(*size);
            *size -= gone;
            spare -= gone;
        }
        sizes
    }
}

/// Brings the sum of the sizes to `allowed`, each by its share; what rounding leaves goes to the largest.
pub fn proportional(shares: &[Share], allowed: i64) -> Vec<i64> {
    let sum: i64 = shares.iter().map(|share| share.size).sum();
    let mut rest = allowed - sum;
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(shares[*at].size));
    let mut out: Vec<i64> = shares.iter().map(|share| share.size).collect();
    for at in &order {
        let share = shares[*at];
        let of = if share.of > 0 { share.of } else { sum.max(1) };
        // Rounded to the nearest, as exact halves go up.
        let target = (2 * share.size * allowed + of).div_euclid(2 * of);
        let step = target - share.size;
        let step = if rest >= 0 { step.clamp(0, rest) } else { step.clamp(rest, 0).max(-share.size) };
        out[*at] += step;
        rest -= step;
    }
    if let Some(first) = order.first() {
        out[*first] = (out[*first] + rest).max(0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: Scale = Scale { replicas: 4, max_surge: 1, max_unavailable: 1 };

    /// Plays a rollout to its end, with pods that become available between steps; the most and the fewest that there ever were.
    fn play(scale: Scale, mut old: i64) -> (i64, i64, usize) {
        let (mut new, mut new_available, mut old_available) = (0, 0, old);
        let (mut most, mut fewest, mut steps) = (old, old, 0);
        while (new, old) != (scale.replicas, 0) {
            steps += 1;
            assert!(steps < 100, "it hangs at {new} and {old}");
            let next = scale.of_new(new, new + old);
            if next == new {
                old = scale.of_old(Old { size: new, available: new_available }, &[Old { size: old, available: old_available }])[0];
                old_available = old_available.min(old);
            }
            new = next;
            most = most.max(new + old);
            fewest = fewest.min(new_available + old_available);
            new_available = new;
        }
        (most, fewest, steps)
    }

    #[test]
    fn a_rollout_keeps_its_bounds_and_ends() {
        for replicas in 1..9 {
            for (max_surge, max_unavailable) in [(1, 0), (0, 1), (2, 1), (replicas, replicas)] {
                let scale = Scale { replicas, max_surge, max_unavailable };
                let (most, fewest, _) = play(scale, replicas);
                assert!(most <= replicas + max_surge, "{scale:?} went up to {most}");
                assert!(fewest >= replicas - max_unavailable, "{scale:?} went down to {fewest}");
            }
        }
    }

    #[test]
    fn old_pods_that_are_not_available_go_first() {
        assert_eq!(SCALE.of_old(Old { size: 1, available: 0 }, &[Old { size: 4, available: 1 }]), [3]);
        assert_eq!(SCALE.of_old(Old { size: 4, available: 4 }, &[Old { size: 1, available: 1 }]), [0]);
        assert_eq!(SCALE.of_new(9, 9), 4, "too large a new set shrinks");
    }

    #[test]
    fn sizes_are_shared_in_proportion() {
        let shares = [Share { size: 6, of: 12 }, Share { size: 4, of: 12 }];
        let next = proportional(&shares, 20);
        assert_eq!(next.iter().sum::<i64>(), 20);
        assert!(next[0] > next[1]);
        assert_eq!(proportional(&shares, 0), [0, 0]);
        assert_eq!(proportional(&[], 3), Vec::<i64>::new());
    }
}
