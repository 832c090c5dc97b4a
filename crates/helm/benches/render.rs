//! How fast charts render, in process: `cargo bench -p helm [-- CHART-DIRECTORY ...]`.
//!
//! For each chart: loading it, the first rendering (templates are compiled), and the renderings after it.

use helm::{Cache, Chart, ChartLimits, Environment, Options, Release, SeededRandom, Table};
use std::{
    fs,
    hint::black_box,
    path::Path,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tree::MemoryTree;

fn files_under(directory: &Path, prefix: &str, tree: &mut MemoryTree) {
    for entry in fs::read_dir(directory).expect("a directory").flatten() {
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files_under(&entry.path(), &format!("{path}/"), tree);
        } else {
            tree.insert(&path, fs::read(entry.path()).expect("a file"), false);
        }
    }
}

/// A chart with helpers, includes and loops, as charts have them.
fn made() -> MemoryTree {
    let mut tree = MemoryTree::new();
    tree.insert("Chart.yaml", "apiVersion: v2\nname: made\nversion: 1.0.0\n", false);
    tree.insert(
        "values.yaml",
        "replicas: 2\nimage: {name: web, tag: '1'}\nresources: {limits: {cpu: 1, memory: 1Gi}}\nenv: {A: a, B: b, C: c}\n",
        false,
    );
    tree.insert(
        "templates/_helpers.tpl",
        "{{- define \"labels\" -}}\napp.kubernetes.io/name: {{ .Chart.Name }}\napp.kubernetes.io/instance: {{ .Release.Name | trunc 63 | quote }}\n{{- end -}}",
        false,
    );
    for at in 0..20 {
        let template = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}-NUMBER\n  labels: {{- include \"labels\" . | nindent 4 }}\nspec:\n  replicas: {{ .Values.replicas }}\n  template:\n    spec:\n      containers:\n      - name: web\n        image: {{ printf \"%s:%s\" .Values.image.name .Values.image.tag }}\n        env:\n        {{- range $k, $v := .Values.env }}\n        - {name: {{ $k }}, value: {{ $v | quote }}}\n        {{- end }}\n        resources: {{- toYaml .Values.resources | nindent 10 }}\n";
        tree.insert(&format!("templates/d{at}.yaml"), template.replace("NUMBER", &at.to_string()), false);
    }
    tree
}

/// The least of several runs of a share of a second each.
fn measure(mut once: impl FnMut()) -> Duration {
    once();
    let mut times = Vec::new();
    for _ in 0..7 {
        let start = Instant::now();
        let mut runs = 0u32;
        while start.elapsed() < Duration::from_millis(150) {
            once();
            runs += 1;
        }
        times.push(start.elapsed() / runs);
    }
    times.sort();
    times[0]
}

fn bench(name: &str, tree: &MemoryTree) {
    let load = || Chart::from_tree(tree, "", ChartLimits::default()).expect("a chart");
    let chart = Arc::new(load());
    let render = |cache: Option<&Cache>| {
        let environment = Environment::new(jiff::Timestamp::UNIX_EPOCH, Box::new(SeededRandom::new(b"bench")));
        let release = Release { name: "rel".into(), namespace: "ns".into(), revision: 1, upgrade: false };
        let options = Options { cache, ..Options::new(release, Rc::new(environment)) };
        black_box(helm::render(&chart, &Table::new(), &options).expect("it renders").manifest());
    };
    let cache = Cache::new();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    let (loading, first, warm) = (measure(|| drop(black_box(load()))), measure(|| render(None)), measure(|| render(Some(&cache))));
    println!(
        "{name:32} load {:>8.3} ms   first {:>8.3} ms   warm {:>8.3} ms",
        milliseconds(loading),
        milliseconds(first),
        milliseconds(warm)
    );
}

fn main() {
    bench("20 deployments", &made());
    for place in std::env::args().skip(1).filter(|argument| !argument.starts_with("--")) {
        let mut tree = MemoryTree::new();
        files_under(Path::new(&place), "", &mut tree);
        bench(&place.chars().rev().take(32).collect::<String>().chars().rev().collect::<String>(), &tree);
    }
}
