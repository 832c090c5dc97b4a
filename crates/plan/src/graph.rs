//! The graph of `dependsOn`.

use std::collections::HashSet;
use types::NamespacedName;

/// The shortest way from `start` along its dependencies back to itself, `start` at both ends; `None` where there is none.
pub fn cycle_through(start: &NamespacedName, dependencies: &dyn Fn(&NamespacedName) -> Vec<NamespacedName>) -> Option<Vec<NamespacedName>> {
    let mut seen: HashSet<NamespacedName> = HashSet::new();
    let mut ways = std::collections::VecDeque::from([vec![start.clone()]]);
    while let Some(way) = ways.pop_front() {
        let Some(last) = way.last() else { continue };
        for next in dependencies(last) {
            if next == *start {
                return Some(way.into_iter().chain([next]).collect());
            }
            if seen.insert(next.clone()) {
                ways.push_back(way.iter().cloned().chain([next]).collect());
            }
        }
    }
    None
}

/// `a/x -> a/y -> a/x`.
pub fn print_cycle(cycle: &[NamespacedName]) -> String {
    cycle.iter().map(ToString::to_string).collect::<Vec<_>>().join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> NamespacedName {
        NamespacedName::new("n", name)
    }

    #[test]
    fn the_shortest_cycle_is_printed() {
        let edges = |from: &NamespacedName| match from.name.as_str() {
            "a" => vec![name("b"), name("c")],
            "b" => vec![name("d")],
            "c" => vec![name("a")],
            "d" => vec![name("a")],
            "self" => vec![name("self")],
            "out" => vec![name("a")],
            _ => vec![],
        };
        let printed = |start: &str| cycle_through(&name(start), &edges).map(|cycle| print_cycle(&cycle));
        assert_eq!(printed("a").as_deref(), Some("n/a -> n/c -> n/a"));
        assert_eq!(printed("d").as_deref(), Some("n/d -> n/a -> n/b -> n/d"));
        assert_eq!(printed("self").as_deref(), Some("n/self -> n/self"));
        assert_eq!(printed("out"), None, "it only leads into a cycle");
        assert_eq!(printed("alone"), None);
    }
}
