//! Keys that no order fits: go-yaml compares `a1`, `a10`, `a1b` and `a2` in a circle, and kustomize prints them in another order from run to run.

use kustomize::{Options, Order, build};
use std::collections::BTreeSet;
use tree::MemoryTree;

/// The keys of the lines that are indented so, in their order.
fn keys(text: &str, indent: &str) -> Vec<String> {
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix(indent))
        .filter(|line| line.starts_with('a') && line[1..].starts_with(|c: char| c.is_ascii_digit()));
    lines.filter_map(|line| line.split_once(':')).map(|(key, _)| key.to_owned()).collect()
}

#[test]
fn keys_that_no_order_fits_are_printed_in_one_order_and_none_is_lost() {
    for count in [4, 5, 7, 20, 21, 40] {
        let all: Vec<String> = (0..count).flat_map(|n| [format!("a{n}"), format!("a{n}b"), format!("a{n}{n}")]).collect();
        let all: BTreeSet<String> = all.into_iter().collect();
        let map = |indent: &str| all.iter().rev().map(|key| format!("{indent}{key}: v\n")).collect::<String>();
        let object = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n  labels:\n{0}  annotations:\n{0}data:\n{1}",
            map("    "),
            map("  ")
        );
        let literals: String = all.iter().map(|key| format!("  - {key}=v\n")).collect();
        let kustomization = format!(
            "resources: [c.yaml]\nnamePrefix: p-\ncommonAnnotations: {{a1c: v}}\nlabels: [{{pairs: {{a1c: v}}}}]\n\
             configMapGenerator:\n- name: g\n  literals:\n{literals}"
        );
        let files = [("app/kustomization.yaml", kustomization), ("app/c.yaml", object)];
        let tree = MemoryTree::from_iter(files.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())));
        for order in [Order::Legacy, Order::Fifo] {
            let options = Options { order, ..Options::default() };
            let text = build(&tree, "app", &options).and_then(|build| build.to_yaml()).expect("it builds");
            assert_eq!(build(&tree, "app", &options).and_then(|build| build.to_yaml()).expect("it builds"), text);
            let objects: Vec<&str> = text.split("---\n").collect();
            assert_eq!(objects.len(), 2);
            for object in objects {
                let data = keys(object, "  ");
                assert_eq!(data.iter().cloned().collect::<BTreeSet<_>>(), all, "{count} keys");
                // Neighbours are in order, which is all that can be asked.
                for pair in data.windows(2) {
                    let mut sorted = vec![pair[1].clone(), pair[0].clone()];
                    yaml::sort_keys(&mut sorted, |key| key);
                    assert_eq!(sorted, pair, "{count} keys");
                }
            }
            let metadata = keys(&text, "    ");
            assert_eq!(metadata.len(), 2 * (all.len() + 1) + 2, "{count} keys");
        }
    }
}
