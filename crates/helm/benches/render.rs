//! How fast charts render, in process: `cargo bench -p helm [-- [load|first|warm] [CHART-DIRECTORY[=VALUES-FILE] ...]]`.
//!
//! For each chart, or one that is made up where none is named: loading it, the first rendering (templates are compiled), and the renderings after it. A word before the charts leaves
//! the other measurements out, for profilers. Times are those that the thread ran, where Linux tells them; so other work on the same
//! machine hardly changes them.

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

/// Nanoseconds that this thread has run, or the time on the clock where that is not told.
fn ran(start: Instant) -> Duration {
    let told = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = told.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    nanoseconds.filter(|ran| *ran > 0).map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// The least of several runs of a share of a second each.
fn measure(mut once: impl FnMut()) -> Duration {
    once();
    let mut times = Vec::new();
    for _ in 0..7 {
        let (start, mut runs) = (Instant::now(), 0u32);
        let before = ran(start);
        while start.elapsed() < Duration::from_millis(150) {
            once();
            runs += 1;
        }
        times.push((ran(start) - before) / runs);
    }
    times.sort();
    times[0]
}

fn bench(name: &str, tree: &MemoryTree, values: &Table, only: &str) {
    let load = || Chart::from_tree(tree, "", ChartLimits::default()).expect("a chart");
    let chart = Arc::new(load());
    let render = |cache: Option<&Cache>| {
        let environment = Environment::new(jiff::Timestamp::UNIX_EPOCH, Box::new(SeededRandom::new(b"bench")));
        let release = Release { name: "rel".into(), namespace: "ns".into(), revision: 1, upgrade: false };
        let options = Options { cache, ..Options::new(release, Rc::new(environment)) };
        black_box(helm::render(&chart, values, &options).expect("it renders").manifest());
    };
    let cache = Cache::new();
    let measured: [(&str, &mut dyn FnMut()); 3] =
        [("load", &mut || drop(black_box(load()))), ("first", &mut || render(None)), ("warm", &mut || render(Some(&cache)))];
    print!("{name:32}");
    for (what, once) in measured {
        if only.is_empty() || only == what {
            print!(" {what} {:>8.3} ms  ", measure(once).as_secs_f64() * 1e3);
        }
    }
    println!();
}

fn main() {
    let (words, charts): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .partition(|argument| ["load", "first", "warm"].contains(&argument.as_str()));
    let only = words.first().map_or("", String::as_str);
    if charts.is_empty() {
        bench("20 deployments", &made(), &Table::new(), only);
    }
    for chart in charts {
        let (place, file) = chart.split_once('=').unwrap_or((&chart, ""));
        let values = if file.is_empty() { String::new() } else { fs::read_to_string(file).expect("a values file") };
        let mut tree = MemoryTree::new();
        files_under(Path::new(place), "", &mut tree);
        let shown: String = place.chars().skip(place.chars().count().saturating_sub(32)).collect();
        bench(&shown, &tree, &helm::read_values(&values).expect("values"), only);
    }
}
