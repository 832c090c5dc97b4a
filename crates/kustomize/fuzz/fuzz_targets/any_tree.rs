//! `cargo +nightly fuzz run any_tree`, from this crate's directory. The mutation test of the crate runs the same body.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = kustomize::fuzz::run(bytes) {
        panic!("{broken}");
    }
});
