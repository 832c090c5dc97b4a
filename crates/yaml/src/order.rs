use std::cmp::Ordering;

/// Sorts what has keys as go-yaml sorts the keys of a map.
pub fn sort_keys<T>(entries: &mut Vec<T>, key: impl Fn(&T) -> &str) {
    merge_sort(entries, &|a, b| compare_keys(key(a), key(b)));
}

/// A stable sort by a rule of which nothing is asked: where it is not transitive, the result is one of many, and always the same.
/// The standard library's sort may panic then.
pub fn merge_sort<T>(items: &mut Vec<T>, compare: &impl Fn(&T, &T) -> Ordering) {
    const INSERTED: usize = 20;
    if items.is_sorted_by(|a, b| compare(a, b) != Ordering::Greater) {
        return;
    }
    if items.len() <= INSERTED {
        for end in 1..items.len() {
            let mut at = end;
            while at > 0 && compare(&items[at - 1], &items[at]) == Ordering::Greater {
                items.swap(at - 1, at);
                at -= 1;
            }
        }
        return;
    }
    let mut right = items.split_off(items.len() / 2);
    merge_sort(items, compare);
    merge_sort(&mut right, compare);
    let mut left = std::mem::replace(items, Vec::with_capacity(items.len() + right.len())).into_iter().peekable();
    let mut right = right.into_iter().peekable();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if compare(a, b) == Ordering::Greater { right.next() } else { left.next() };
        items.extend(next);
    }
    items.extend(left);
    items.extend(right);
}

/// Orders keys as go-yaml does: letters after everything else, runs of digits by their number (go-yaml sorter.go).
///
/// The rule is not transitive for mixes such as `a1`, `a10`, `a1b`, `a2`, where Go prints another order from run to run; ours is one of them.
fn compare_keys(a: &str, b: &str) -> Ordering {
    // All but a few keys part at a letter of ASCII, where the rule is that of bytes.
    let (x, y) = (a.as_bytes(), b.as_bytes());
    let same = x.iter().zip(y).take_while(|(p, q)| p == q).count();
    match (x.get(same), y.get(same)) {
        (None, None) => return Ordering::Equal,
        (None, Some(_)) => return Ordering::Less,
        (Some(_), None) => return Ordering::Greater,
        (Some(p), Some(q)) if p.is_ascii_alphabetic() && q.is_ascii_alphabetic() => return p.cmp(q),
        _ => {}
    }
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let at = a.iter().zip(&b).take_while(|(p, q)| p == q).count();
    let (Some(&p), Some(&q)) = (a.get(at), b.get(at)) else { return a.len().cmp(&b.len()) };
    match (p.is_alphabetic(), q.is_alphabetic()) {
        (true, true) => return p.cmp(&q),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut number_a, mut number_b) = (0i64, 0i64);
    if p == '0' || q == '0' {
        let mut before = a[..at].iter().rev().take_while(|c| c.is_numeric());
        if before.any(|c| *c != '0') {
            (number_a, number_b) = (1, 1);
        }
    }
    let run = |chars: &[char], mut number: i64| {
        let digits = chars.iter().take_while(|c| c.is_numeric()).count();
        for c in &chars[..digits] {
            number = number.wrapping_mul(10).wrapping_add(i64::from(*c as u32) - 48);
        }
        (number, digits)
    };
    run(&a[at..], number_a).cmp(&run(&b[at..], number_b)).then(p.cmp(&q))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_keys_count_and_letters_come_last() {
        let mut keys = vec!["b", "a10", "a9", "1", "10", "9", "_x", "A", "a", "a.b", "ab"];
        sort_keys(&mut keys, |key| key);
        assert_eq!(keys, ["_x", "1", "9", "10", "A", "a", "a.b", "a9", "a10", "ab", "b"]);
    }

    #[test]
    fn keys_that_no_order_fits_are_sorted_all_the_same_and_none_is_lost() {
        let keys: Vec<String> = (0..40).flat_map(|n| [format!("a{n}"), format!("a{n}b"), format!("a{n}{n}"), format!("a0{n}")]).collect();
        let mut random = 1u64;
        for _ in 0..300 {
            let mut shuffled = keys.clone();
            for at in (1..shuffled.len()).rev() {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                shuffled.swap(at, (random >> 33) as usize % (at + 1));
            }
            sort_keys(&mut shuffled, |key| key);
            shuffled.sort();
            let mut all = keys.clone();
            all.sort();
            assert_eq!(shuffled, all);
        }
    }

    #[test]
    fn a_long_list_is_sorted_and_what_is_equal_keeps_its_place() {
        let mut items: Vec<(usize, usize)> = (0..1000).map(|at| (at * 7919 % 50, at)).collect();
        let mut expected = items.clone();
        expected.sort_by_key(|item| item.0);
        merge_sort(&mut items, &|a, b| a.0.cmp(&b.0));
        assert_eq!(items, expected);
    }
}
