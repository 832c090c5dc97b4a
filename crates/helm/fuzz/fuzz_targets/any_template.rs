//! The parser and the executor of templates, with all functions: `cargo +nightly fuzz run any_template -s none`, from this crate's directory.

#![no_main]

mod common;

use libfuzzer_sys::fuzz_target;
use tree::MemoryTree;

const VALUES: &str = "a: 1\nb: x\nc: [1, two, {d: 3}]\ne: {f: {g: true}}\nt: '{{ .Values.b }}'\nn: null\nl: 'a,b'\nv: 1.2.3\n";

fuzz_target!(|bytes: &[u8]| {
    let mut tree = MemoryTree::new();
    tree.insert("Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n", false);
    tree.insert("values.yaml", VALUES, false);
    // Texts between bytes that no text has are files.
    for (at, text) in bytes.split(|byte| *byte == 0xff).take(4).enumerate() {
        tree.insert(&format!("templates/{at}.yaml"), text.to_vec(), false);
    }
    common::check(&tree, &helm::Table::new());
});
