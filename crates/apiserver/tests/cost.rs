//! What a server costs, counted rather than timed where that is possible.

#![allow(clippy::unwrap_used)]

use apiserver::{Options, Server};

/// Processor time of this process so far, in milliseconds; nothing where the system does not tell.
fn processor_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) * 10.0)
}

#[tokio::test]
async fn a_fresh_server_starts_in_an_instant() {
    // The first reads the schemas of all kinds, which the others share.
    Server::start(Options::default()).await.unwrap().shutdown().await;
    let (begin, before) = (std::time::Instant::now(), processor_time());
    const STARTS: u32 = 20;
    for _ in 0..STARTS {
        drop(Server::start(Options::default()).await.unwrap());
    }
    let each = begin.elapsed().as_secs_f64() * 1000.0 / f64::from(STARTS);
    println!("a fresh server takes {each:.1} ms");
    if let (Some(before), Some(after)) = (before, processor_time()) {
        let each = (after - before) / f64::from(STARTS);
        println!("and {each:.1} ms of processor time");
        // Without optimisation it is about half of that; in a release build, a tenth.
        assert!(each <= 20.0, "{each:.1} ms of processor time for each start");
    }
}
