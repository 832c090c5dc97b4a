use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below what Linux gives to outgoing connections (32768 and more): a connection of a test beside this one cannot take the port.
const FIRST: u16 = 10_000;
const COUNT: u16 = 20_000;

/// A port of loopback that nobody listens on, for a process that has to be told its port before it starts. No two calls of a process
/// give the same one, and other processes begin their search elsewhere.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // A prime, so that processes with ids in a row lie far from each other.
    let begin = std::process::id().wrapping_mul(7919) % u32::from(COUNT);
    for _ in 0..COUNT {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let offset = u16::try_from((begin + step) % u32::from(COUNT)).unwrap_or_default();
        if TcpListener::bind(("127.0.0.1", FIRST + offset)).is_ok() {
            return FIRST + offset;
        }
    }
    panic!("no port of loopback is free")
}
