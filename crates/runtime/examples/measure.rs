#![allow(clippy::unwrap_used, dead_code)]
#[path = "../tests/common/mod.rs"]
mod common;
use common::*;
use futures::{FutureExt, StreamExt};
use runtime::{Report, Visit};
use serde_json::json;
use std::time::{Duration, Instant};

fn status(field: &str) -> String {
    std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l| l.starts_with(field)).unwrap_or("").to_owned()
}
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}

#[tokio::main]
async fn main() {
    let n: usize = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(1000);
    let lab = Lab::open("measure").await.unwrap();
    let (t, c) = (Instant::now(), cpu());
    futures::stream::iter(0..n)
        .for_each_concurrent(200, |i| {
            let lab = &lab;
            async move {
                lab.widget(&format!("w{i}"), json!({"size": 1, "source": "x".repeat(500)})).await;
            }
        })
        .await;
    println!("apply {n}: {:?} cpu {:.2}s limit {} {}", t.elapsed(), cpu() - c, lab.client.limit().current(), status("VmRSS"));
    let conns = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let _ = conns;
    let bench = Bench::new(|widget, context| {
        async move { Report::new(Visit::Interval(Duration::from_secs(3600))).status(&ready(&widget, context)) }.boxed()
    });
    let (t, c) = (Instant::now(), cpu());
    let running = lab.start(&bench).await;
    while running.writes() < 2 * n as u64 || bench.calls.lock().unwrap().len() < n {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("first pass: {:?} cpu {:.2}s writes {} {}", t.elapsed(), cpu() - c, running.writes(), status("VmRSS"));
    let fds = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter(|e| std::fs::read_link(e.as_ref().unwrap().path()).is_ok_and(|l| l.to_string_lossy().starts_with("socket")))
        .count();
    println!("sockets {fds}");
    let (t, c) = (Instant::now(), cpu());
    running.store.keys().iter().for_each(|k| running.handle.trigger(k));
    while bench.calls.lock().unwrap().len() < 2 * n {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("no-op pass: {:?} cpu {:.2}s writes {}", t.elapsed(), cpu() - c, running.writes());
    running.end().await;
    let (t, c) = (Instant::now(), cpu());
    let running = lab.start(&bench).await;
    while bench.calls.lock().unwrap().len() < 3 * n {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    println!("restart: {:?} cpu {:.2}s writes {} counts {:?}", t.elapsed(), cpu() - c, running.writes(), running.process.client().counts());
    println!("{} {}", status("VmRSS"), status("VmHWM"));
    running.end().await;
    lab.close().await;
}
