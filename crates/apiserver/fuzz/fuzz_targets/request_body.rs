//! Request bodies of every form, past the network: nothing may panic, and what is stored must be readable.

#![no_main]

use apiserver::probe::Probe;
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

thread_local! {
    static PROBE: RefCell<Probe> = RefCell::default();
}

fuzz_target!(|input: &[u8]| {
    PROBE.with_borrow_mut(|probe| probe.send(input));
});
