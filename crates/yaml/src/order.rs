use std::cmp::Ordering;

/// Orders keys as go-yaml does: letters after everything else, runs of digits by their number (go-yaml sorter.go).
///
/// The rule is not transitive for mixes such as `a1`, `a10`, `a1b`, `a2`, where Go prints another order from run to run; ours is one of them.
pub fn compare_keys(a: &str, b: &str) -> Ordering {
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
        keys.sort_by(|a, b| compare_keys(a, b));
        assert_eq!(keys, ["_x", "1", "9", "10", "A", "a", "a.b", "a9", "a10", "ab", "b"]);
    }
}
