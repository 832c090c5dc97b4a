//! Definitions, values, schemas and `--set` texts: `cargo +nightly fuzz run any_chart -s none`, from this crate's directory.

#![no_main]

mod common;

use libfuzzer_sys::fuzz_target;
use tree::MemoryTree;

const PLACES: &[&str] =
    &["values.yaml", "values.schema.json", "Chart.yaml", "charts/sub/values.yaml", "charts/sub/Chart.yaml", "templates/t.yaml", ".helmignore"];

fuzz_target!(|bytes: &[u8]| {
    let mut tree = MemoryTree::new();
    let sub = "{name: sub, version: '>=1', condition: sub.on, tags: [t], import-values: [x, {child: a, parent: b}]}";
    tree.insert("Chart.yaml", format!("apiVersion: v2\nname: c\nversion: 1.0.0\ndependencies: [{sub}]\n"), false);
    tree.insert("charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 1.0.0\n", false);
    tree.insert("templates/t.yaml", "a: {{ .Values | toYaml | nindent 2 }}\n", false);
    // Texts between bytes that no text has: one that is set, then files.
    let mut texts = bytes.split(|byte| *byte == 0xff);
    let set = String::from_utf8_lossy(texts.next().unwrap_or_default()).into_owned();
    for (place, text) in PLACES.iter().zip(texts).filter(|(_, text)| !text.is_empty()) {
        tree.insert(place, text.to_vec(), false);
    }
    let mut values = helm::Table::new();
    // What was set before a mistake stays.
    let _ = helm::set(&mut values, &set, helm::SetMode::Typed);
    common::check(&tree, &values);
});
