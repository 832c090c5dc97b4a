//! How much memory those can take who send what nobody should, counted at the allocator.
//!
//! One test after the other: what is counted is that of the whole process.

#![allow(clippy::unwrap_used)]
#![allow(unsafe_code, reason = "an allocator that counts is written so")]

mod client;

use apiserver::probe::{Probe, REQUESTS};
use apiserver::{Controllers, Nodes, Options, Server};
use client::Access;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

fn grown(by: usize) {
    let held = HELD.fetch_add(by, Ordering::Relaxed) + by;
    PEAK.fetch_max(held, Ordering::Relaxed);
}

// SAFETY: the system's allocator does the work; this one only adds up sizes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there for a moment.
        grown(size);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that was held at once while something was done, beyond what was held before; and what is still held after it.
fn most<T>(act: impl FnOnce() -> T) -> (T, usize, usize) {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let done = act();
    (done, PEAK.load(Ordering::Relaxed).saturating_sub(before), HELD.load(Ordering::Relaxed).saturating_sub(before))
}

const MIB: usize = 1 << 20;

fn hostile_bodies_take_a_bounded_multiple_of_their_length() {
    let mut probe = Probe::default();
    let find = |method: &str, path: &str, form: &str| {
        let at = REQUESTS.iter().position(|one| one.0 == method && one.1.ends_with(path) && one.2 == form);
        u8::try_from(at.unwrap_or_else(|| panic!("{method} {path} {form}"))).unwrap()
    };
    let maps = find("POST", "configmaps", "application/json");
    let yaml = find("POST", "configmaps", "application/yaml");
    let applied = find("PATCH", "configmaps/probe", "application/apply-patch+yaml");
    let merged = find("PATCH", "configmaps/probe", "application/merge-patch+json");
    let patched = find("PATCH", "configmaps/probe", "application/json-patch+json");
    let strategic = find("PATCH", "deployments/probe", "application/strategic-merge-patch+json");
    let custom = find("POST", "widgets", "application/json");
    let widget = find("PATCH", "widgets/probe", "application/apply-patch+yaml");
    let repeated = |part: &str, length: usize| part.repeat(length / part.len());
    let map =
        |data: &str| format!("{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"probe\"}},\"data\":{{{data}}}}}");
    let of_kind = |spec: &str| {
        format!(
            "{{\"apiVersion\":\"probe.example.com/v1\",\"kind\":\"Widget\",\"metadata\":{{\"name\":\"probe\"}},\"spec\":{{\"size\":1,{spec}}}}}"
        )
    };
    let many = |length: usize| (0..length / 12).map(|at| format!("\"k{at}\":\"v\"")).collect::<Vec<_>>().join(",");
    // A list that is copied into itself, again and again.
    let copies = (0..40)
        .map(|_| "{\"op\":\"copy\",\"from\":\"/data\",\"path\":\"/data/key\"}".to_owned())
        .chain(std::iter::once("{\"op\":\"test\",\"path\":\"/data/no\",\"value\":1}".to_owned()));
    let copies = format!("[{}]", copies.collect::<Vec<_>>().join(","));
    let long = repeated("x", MIB);
    let grown = format!(
        "[{{\"op\":\"add\",\"path\":\"/data/key\",\"value\":\"{long}\"}},{}]",
        (0..500).map(|at| format!("{{\"op\":\"copy\",\"from\":\"/data/key\",\"path\":\"/data/k{at}\"}}")).collect::<Vec<_>>().join(",")
    );
    let bomb: String =
        (1..30).map(|at| format!("a{at}: &a{at} [*a{0},*a{0},*a{0},*a{0},*a{0},*a{0},*a{0},*a{0},*a{0}]\n", at - 1)).collect();
    let bomb = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\na0: &a0 [x,x,x,x,x,x,x,x,x]\n{bomb}");
    let owners = format!(
        "{{\"metadata\":{{\"managedFields\":[{{\"manager\":\"m\",\"operation\":\"Update\",\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{{\"f:data\":{{{}}}}}}}]}}}}",
        (0..8_000).map(|at| format!("\"f:k{at}\":{{}}")).collect::<Vec<_>>().join(",")
    );
    let containers = format!(
        "{{\"spec\":{{\"template\":{{\"spec\":{{\"containers\":[{}]}}}}}}}}",
        repeated("{\"name\":\"a\"},", LENGTH) + "{\"name\":\"b\"}"
    );
    for (what, request, body) in [
        ("numbers", maps, format!("[{}1]", repeated("1,", LENGTH))),
        ("empty maps", maps, map(&format!("\"a\":[{}{{}}]", repeated("{},", LENGTH)))),
        ("nesting", maps, repeated("[", LENGTH)),
        ("maps in maps", merged, repeated("{\"a\":", LENGTH)),
        ("many keys", applied, map(&many(LENGTH))),
        ("many keys, sent twice", merged, map(&many(LENGTH))),
        ("YAML that nests", yaml, format!("metadata: {}", repeated("[", LENGTH))),
        (
            "YAML with many lines",
            yaml,
            format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: many}}\ndata:\n{}",
                (0..8_000).map(|at| format!("  k{at}: v\n")).collect::<String>()
            ),
        ),
        ("aliases that multiply", yaml, bomb),
        ("copies of copies", patched, copies),
        ("copies of something long", patched, grown),
        ("owners of much", merged, owners),
        ("the same element again and again", strategic, containers),
        ("a long list of a custom kind", custom, of_kind(&format!("\"tags\":[{}\"x\"]", repeated("\"a\",", LENGTH)))),
        ("a free field of a custom kind", widget, of_kind(&format!("\"any\":{{\"a\":[{}{{}}]}}", repeated("{\"b\":{}},", LENGTH)))),
        (
            "a custom map list",
            widget,
            of_kind(&format!(
                "\"items\":[{}]",
                (0..3_000).map(|at| format!("{{\"key\":\"k{at}\",\"value\":\"v\"}}")).collect::<Vec<_>>().join(",")
            )),
        ),
    ] {
        let mut input = vec![request, 0];
        input.extend_from_slice(body.as_bytes());
        let begin = std::time::Instant::now();
        let (code, peak, kept) = most(|| probe.send(&input));
        println!(
            "{what}: {} KiB sent, {code}, at most {} KiB, {} KiB kept, {:?}",
            body.len() / 1024,
            peak / 1024,
            kept / 1024,
            begin.elapsed()
        );
        assert!(code != 0 && code != 500 || what == "the same element again and again", "{what}: {code}");
        let bound = ALWAYS + body.len() * TIMES_MAX;
        assert!(peak <= bound, "{what}: {} MiB at once for {} KiB", peak / MIB, body.len() / 1024);
        // What is stored is about what was sent; the past is bounded for itself.
        assert!(kept <= 24 * MIB, "{what}: {} MiB are still held", kept / MIB);
    }
}

/// So many bytes at most for each byte of a body: a value that takes two bytes to write takes thirty-two in memory, and may be there in a
/// few forms at a time.
const TIMES_MAX: usize = 160;
/// Reading YAML takes a stack of its own, and what a patch copies is bounded by what a body may hold.
const ALWAYS: usize = 64 * MIB;
/// Of most bodies: enough to tell what grows faster than they do.
const LENGTH: usize = 64 * 1024;

const WATCHERS: usize = 50;

async fn watchers_that_do_not_read_share_what_they_have_not_read() {
    use tokio::io::AsyncWriteExt;
    let running = Server::start(Options { controllers: Controllers::NONE, nodes: Nodes::None, ..Options::default() }).await.unwrap();
    let access = Access::of_kubeconfig(&running.kubeconfig());
    let mut open = Vec::new();
    for _ in 0..WATCHERS {
        let mut stream = client::connect(&running).await;
        let request = format!(
            "GET /api/v1/namespaces/default/configmaps?watch=1&resourceVersion=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
            access.token
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        open.push(stream);
    }
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    for at in 0..40 {
        let text = format!("{at:02}").repeat(MIB / 4);
        let map = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"text": text}});
        let url = format!("{}/api/v1/namespaces/default/configmaps/a?fieldManager=t&force=true", access.base);
        let call = access.client.patch(url).bearer_auth(&access.token).header("content-type", "application/apply-patch+yaml");
        assert!(call.body(map.to_string()).send().await.unwrap().status().is_success());
    }
    let held = HELD.load(Ordering::Relaxed).saturating_sub(before);
    println!("{WATCHERS} watchers that do not read 40 changes of half a MiB: {} KiB held", held / 1024);
    // The past, what is shared of it, and a little for each: not a copy of their own.
    assert!(held <= 24 * MIB + WATCHERS * MIB / 2, "{} MiB", held / MIB);
    drop(open);
}

#[test]
fn memory_is_bounded() {
    hostile_bodies_take_a_bounded_multiple_of_their_length();
    tokio::runtime::Runtime::new().unwrap().block_on(watchers_that_do_not_read_share_what_they_have_not_read());
}
