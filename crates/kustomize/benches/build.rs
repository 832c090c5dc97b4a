//! How fast a build is, in process and without a file system: `cargo bench -p kustomize`.

use kustomize::{Options, build};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use tree::MemoryTree;

fn app(name: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\n  labels: {{app: {name}}}\nspec:\n  replicas: 1\n  selector:\n    matchLabels: {{app: {name}}}\n  template:\n    metadata:\n      labels: {{app: {name}}}\n    spec:\n      \
         containers:\n      - name: app\n        image: ghcr.io/example/app:1.0.0\n        envFrom:\n        - configMapRef: {{name: {name}-config}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}-config\ndata:\n  key: value\n"
    )
}

fn many(apps: usize) -> MemoryTree {
    let mut tree = MemoryTree::new();
    let names: Vec<String> = (0..apps).map(|at| format!("app-{at}")).collect();
    for name in &names {
        tree.insert(&format!("{name}.yaml"), app(name), false);
    }
    let resources: Vec<String> = names.iter().map(|name| format!("- {name}.yaml\n")).collect();
    let kustomization = format!(
        "namePrefix: p-\nnamespace: ns\nlabels:\n- pairs: {{team: a}}\n  includeSelectors: true\nimages:\n- name: ghcr.io/example/app\n  newTag: 2.0.0\nresources:\n{}",
        resources.concat()
    );
    tree.insert("kustomization.yaml", kustomization, false);
    tree
}

fn overlay() -> MemoryTree {
    let mut tree = MemoryTree::new();
    tree.insert("base/kustomization.yaml", "resources: [app.yaml]\n", false);
    tree.insert("base/app.yaml", app("web"), false);
    let patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n";
    let kustomization = "resources: [../base]\nnamespace: prod\nimages: [{name: ghcr.io/example/app, newTag: 2.0.0}]\npatches: [{path: p.yaml}]\nconfigMapGenerator: [{name: g, literals: [a=b]}]\n";
    tree.insert("overlay/kustomization.yaml", kustomization, false);
    tree.insert("overlay/p.yaml", patch, false);
    tree
}

/// The median of several runs of a share of a second each.
fn measure(name: &str, tree: &MemoryTree, path: &str) -> Duration {
    let once = || {
        let build = build(tree, path, &Options::flux()).expect("it builds");
        black_box(build.to_yaml().expect("it prints"));
    };
    once();
    let mut times = Vec::new();
    for _ in 0..7 {
        let start = Instant::now();
        let mut runs = 0u32;
        while start.elapsed() < Duration::from_millis(200) {
            once();
            runs += 1;
        }
        times.push(start.elapsed() / runs);
    }
    times.sort();
    let median = times[times.len() / 2];
    println!("{name:28} {:>12.3} ms {:>10.0} builds/s", median.as_secs_f64() * 1e3, 1.0 / median.as_secs_f64());
    median
}

/// Builds of one thread while others build too: nothing is shared, so each should be as fast as alone.
fn measure_parallel(tree: &MemoryTree, path: &str, threads: usize) {
    let time = Duration::from_secs(2);
    let count = |_| {
        let (start, mut runs) = (Instant::now(), 0u64);
        while start.elapsed() < time {
            let build = build(tree, path, &Options::flux()).expect("it builds");
            black_box(build.to_yaml().expect("it prints"));
            runs += 1;
        }
        runs
    };
    let total: u64 = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|at| scope.spawn(move || count(at))).collect();
        running.into_iter().map(|thread| thread.join().expect("no build panics")).sum()
    });
    println!("{:28} {:>27.0} builds/s together", format!("small overlay, {threads} threads"), total as f64 / time.as_secs_f64());
}

fn main() {
    measure("small overlay", &overlay(), "overlay");
    for threads in [1, 2] {
        measure_parallel(&overlay(), "overlay", threads);
    }
    let mut before: Option<(usize, Duration)> = None;
    for apps in [500, 2500, 5000, 25000] {
        let time = measure(&format!("{} objects", apps * 2), &many(apps), "");
        if let Some((fewer, less)) = before {
            let growth = (time.as_secs_f64() / less.as_secs_f64()) / (apps as f64 / fewer as f64);
            println!("{:28} {growth:>12.2} x of linear", "");
        }
        before = Some((apps, time));
    }
}
