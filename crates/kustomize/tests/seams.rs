//! What a caller hands in: who fetches, who renders charts, who sees files and objects.

use kustomize::{Build, Chart, Charts, Fetch, Limits, Options, Repository, Use, build};
use std::sync::{Arc, Mutex};
use tree::{MemoryTree, Tree};

fn tree(files: &[(&str, &str)]) -> MemoryTree {
    MemoryTree::from_iter(files.iter().map(|(path, content)| (*path, content.as_bytes().to_vec())))
}

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
}

/// Has one file and one repository, and writes down what it was asked for.
#[derive(Default)]
struct Remote {
    asked: Mutex<Vec<String>>,
}

impl Remote {
    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panicked").clone()
    }
}

impl Fetch for Remote {
    fn file(&self, url: &str) -> Result<Vec<u8>, String> {
        self.asked.lock().expect("nobody panicked").push(url.to_owned());
        if url.contains("missing") { Err("404 Not Found".to_owned()) } else { Ok(config_map("from-url").into_bytes()) }
    }

    fn repository(&self, repository: &Repository) -> Result<Arc<dyn Tree>, String> {
        self.asked.lock().expect("nobody panicked").push(repository.to_string());
        Ok(Arc::new(tree(&[
            ("base/kustomization.yaml", "resources: [a.yaml, ../more]\nnamePrefix: r-\n"),
            ("base/a.yaml", &config_map("a")),
            ("more/kustomization.yaml", "resources: [b.yaml]\nconfigMapGenerator: [{name: g, files: [text.txt]}]\n"),
            ("more/b.yaml", &config_map("b")),
            ("more/text.txt", "text"),
            ("up/kustomization.yaml", "resources: [../../outside]\n"),
            ("file/kustomization.yaml", "resources: [../base/a.yaml]\n"),
            ("again/kustomization.yaml", "resources: ['https://example.com/org/repo//again?ref=v1']\n"),
            ("other/kustomization.yaml", "resources: ['https://example.com/org/repo//more?ref=v1']\n"),
            ("comp/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnameSuffix: -c\n"),
        ])))
    }
}

fn fetching(kustomization: &str, fetch: &dyn Fetch) -> kustomize::Result<Build> {
    let local = tree(&[("app/kustomization.yaml", kustomization), ("app/l.yaml", &config_map("l"))]);
    build(&local, "app", &Options { fetch: Some(fetch), ..Options::default() })
}

fn names(build: &Build) -> Vec<&str> {
    build.resources.iter().map(|resource| resource.name()).collect()
}

#[test]
fn a_fetcher_gives_files_and_repositories() {
    let remote = Remote::default();
    let kustomization = "resources:\n- l.yaml\n- https://example.com/x.yaml?token=1\n- https://user:secret@example.com/org/repo//base?ref=v1\nnameSuffix: -s\nbuildMetadata: [originAnnotations]\n";
    let built = fetching(kustomization, &remote).expect("it builds");
    assert_eq!(names(&built)[..3], ["from-url-s", "l-s", "r-a-s"]);
    let text = built.to_yaml().expect("it prints");
    assert!(text.contains("path: base/a.yaml\n      repo: https://example.com/org/repo\n      ref: v1\n"), "{text}");
    assert!(text.contains("configuredIn: more/kustomization.yaml"), "{text}");
    assert!(!text.contains("secret"), "{text}");
    let read: Vec<&str> = built.files_read.keys().map(String::as_str).collect();
    assert_eq!(
        read,
        [
            "app/kustomization.yaml",
            "app/l.yaml",
            "https://example.com/org/repo?ref=v1//base/a.yaml",
            "https://example.com/org/repo?ref=v1//base/kustomization.yaml",
            "https://example.com/org/repo?ref=v1//more/b.yaml",
            "https://example.com/org/repo?ref=v1//more/kustomization.yaml",
            "https://example.com/org/repo?ref=v1//more/text.txt",
            "https://example.com/x.yaml?token=1",
        ]
    );
    assert_eq!(built.resources[1].origin(), ("app/l.yaml", 1));
}

#[test]
fn a_repository_is_fetched_once() {
    let remote = Remote::default();
    let kustomization =
        "resources: ['https://example.com/org/repo//other?ref=v1']\ncomponents: ['https://example.com/org/repo//comp?ref=v1']\n";
    let built = fetching(kustomization, &remote).expect("it builds");
    assert_eq!(names(&built), ["b-c", "g-c-tb6f646m4c"]);
    assert_eq!(remote.asked(), ["https://example.com/org/repo?ref=v1"]);
}

#[test]
fn what_is_fetched_stays_in_its_repository_and_ends() {
    let remote = Remote::default();
    for (path, expected) in [
        ("https://example.com/org/repo//up?ref=v1", "is not in or below the root of the tree"),
        ("https://example.com/org/repo//file?ref=v1", "is not in or below \"file\""),
        ("https://example.com/org/repo//again?ref=v1", "cycle: \"https://example.com/org/repo?ref=v1//again\""),
        ("https://example.com/org/repo//nowhere?ref=v1", "is no directory of the repository"),
        ("https://user:secret@example.com/missing.yaml", "https://example.com/missing.yaml: cannot be fetched: 404 Not Found"),
    ] {
        let message = fetching(&format!("resources: ['{path}']"), &remote).expect_err(path).to_string();
        assert!(message.contains(expected) && !message.contains("secret"), "{path}: {message}");
    }
}

#[test]
fn fetches_are_counted() {
    let many: String = (0..20).map(|at| format!("- https://example.com/{at}.yaml\n")).collect();
    let local = tree(&[("app/kustomization.yaml", &format!("configurations:\n{many}"))]);
    let limits = Limits { fetches: 10, ..Limits::default() };
    struct Empty;
    impl Fetch for Empty {
        fn file(&self, _: &str) -> Result<Vec<u8>, String> {
            Ok(Vec::new())
        }
        fn repository(&self, _: &Repository) -> Result<Arc<dyn Tree>, String> {
            Err("none".to_owned())
        }
    }
    let error = build(&local, "app", &Options { fetch: Some(&Empty), limits, ..Options::default() }).expect_err("too many");
    assert!(matches!(error, kustomize::Error::Limit { what: "fetches", max: 10 }), "{error}");
}

/// Writes down what it is asked to render, and gives one object.
#[derive(Default)]
struct Double {
    asked: Mutex<Vec<(String, Chart)>>,
}

impl Charts for Double {
    fn render(&self, tree: &dyn Tree, directory: &str, chart: &Chart) -> Result<String, String> {
        let definition = tree.read(&format!("{directory}/Chart.yaml")).ok_or("Chart.yaml is missing")?;
        self.asked.lock().map_err(|error| error.to_string())?.push((directory.to_owned(), chart.clone()));
        Ok(format!(
            "---\n# Source: x\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: made}}\ndata: {{lines: \"{}\"}}\n",
            definition.split(|c| *c == b'\n').count()
        ))
    }
}

fn with_chart(kustomization: &str, charts: &dyn Charts) -> kustomize::Result<Build> {
    let local = tree(&[
        ("app/kustomization.yaml", kustomization),
        ("app/charts/web/Chart.yaml", "name: web\n"),
        ("app/charts/web/values.yaml", "a: 1\nmap: {x: 1, gone: 2}\nlist: [1]\n"),
        ("app/charts/web-1.0/web/Chart.yaml", "name: web\n"),
        ("app/charts/web-1.0/web/values.yaml", "pinned: true\n"),
        ("app/more.yaml", "more: 1\n"),
        ("charts/web/Chart.yaml", "name: web\n"),
    ]);
    build(&local, "app", &Options { charts: Some(charts), ..Options::default() })
}

#[test]
fn charts_are_rendered_by_the_caller() {
    let charts = Double::default();
    let kustomization = "namespace: ns\nnamePrefix: p-\nhelmCharts:\n- name: web\n  releaseName: rel\n  includeCRDs: true\n  additionalValuesFiles: [more.yaml]\n  valuesInline: {map: {x: 2, gone: null}, list: [2]}\n- {name: web, version: '1.0', repo: 'https://example.com', namespace: other}\n";
    let error = with_chart(kustomization, &charts).expect_err("both make one object").to_string();
    assert!(error.contains("exists"), "{error}");
    let asked = charts.asked.lock().expect("nobody panicked").clone();
    assert_eq!(asked[0].0, "app/charts/web");
    assert_eq!(asked[0].1.values, ["a: 1\nlist:\n- 2\nmap:\n  x: 2\n", "more: 1\n"]);
    assert_eq!((asked[0].1.release_name.as_str(), asked[0].1.namespace.as_str(), asked[0].1.include_crds), ("rel", "ns", true));
    assert_eq!((asked[1].0.as_str(), asked[1].1.namespace.as_str()), ("app/charts/web-1.0/web", "other"));
    assert_eq!(asked[1].1.values, ["pinned: true\n"]);
}

#[test]
fn objects_of_charts_keep_their_namespace_and_take_part_in_the_rest() {
    let built =
        with_chart("namespace: ns\nnamePrefix: p-\nhelmCharts: [{name: web}]\nbuildMetadata: [originAnnotations]\n", &Double::default());
    let text = built.as_ref().expect("it builds").to_yaml().expect("it prints");
    assert!(text.contains("name: p-made") && !text.contains("namespace") && text.contains("kind: HelmChartInflationGenerator"), "{text}");
    assert!(text.contains("lines: \"2\""), "{text}");
    let read = &built.expect("it builds").files_read;
    assert!(read.contains_key("app/charts/web/Chart.yaml") && read.contains_key("app/charts/web/values.yaml"), "{read:?}");
}

#[test]
fn values_are_merged_in_three_ways() {
    for (way, expected) in [
        ("merge", "a: 1\nlist:\n- 1\nmap:\n  gone: 2\n  m: 3\n  x: 1\n"),
        ("override", "a: 1\nlist:\n- 9\nmap:\n  gone: 2\n  m: 3\n  x: 8\n"),
        ("replace", "list:\n- 9\nmap:\n  m: 3\n  x: 8\n"),
    ] {
        let charts = Double::default();
        let k = format!("helmCharts: [{{name: web, valuesMerge: {way}, valuesInline: {{list: [9], map: {{x: 8, m: 3}}}}}}]");
        with_chart(&k, &charts).expect("it builds");
        assert_eq!(charts.asked.lock().expect("nobody panicked")[0].1.values, [expected], "{way}");
    }
}

#[test]
fn charts_that_cannot_be_had_are_named() {
    for (k, expected) in [
        ("helmCharts: [{name: none}]", "there is no chart at \"charts/none\""),
        ("helmCharts: [{name: none, repo: 'https://u:secret@example.com'}]", "it can be pulled from https://example.com"),
        ("helmCharts: [{version: '1'}]", "a chart needs a name"),
        ("helmGlobals: {chartHome: ../charts}\nhelmCharts: [{name: web}]", "is not in or below \"app\""),
        ("helmGlobals: {chartHome: ../../..}\nhelmCharts: [{name: web}]", "is not in or below the root"),
        ("helmCharts: [{name: web, valuesFile: ../x.yaml}]", "../x.yaml"),
        ("helmCharts: [{name: web, valuesMerge: upsert, valuesInline: {a: 1}}]", "valuesMerge is \"upsert\""),
        ("helmCharts: [{name: web, unknown: 1}]", "unknown"),
    ] {
        let message = with_chart(k, &Double::default()).expect_err(k).to_string();
        assert!(message.contains(expected) && !message.contains("secret"), "{k}: {message}");
    }
}

#[test]
fn a_hook_sees_every_file_before_it_is_read_and_what_it_is_for() {
    let files = tree(&[
        (
            "app/kustomization.yaml",
            "resources: [a.yaml]\npatches: [{path: p.yaml}]\nsecretGenerator: [{name: s, files: [f.txt], envs: [e.env]}]\n",
        ),
        ("app/a.yaml", &config_map("a")),
        ("app/p.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {p: ENC}\n"),
        ("app/f.txt", "ENC"),
        ("app/e.env", "K=ENC\n"),
    ]);
    let seen = Mutex::new(Vec::new());
    let decrypt = |path: &str, use_of: Use, bytes: &[u8]| {
        seen.lock().map_err(|error| error.to_string())?.push((path.to_owned(), use_of));
        let text = String::from_utf8_lossy(bytes);
        Ok(text.contains("ENC").then(|| text.replace("ENC", "clear").into_bytes()))
    };
    let built = build(&files, "app", &Options { on_read: Some(&decrypt), ..Options::default() }).expect("it builds");
    let text = built.to_yaml().expect("it prints");
    // Base64 of "clear".
    assert!(text.contains("p: clear") && text.matches("Y2xlYXI=").count() == 2, "{text}");
    let seen = seen.into_inner().expect("nobody panicked");
    let expected = [
        ("app/kustomization.yaml", Use::Kustomization),
        ("app/a.yaml", Use::Resource),
        ("app/e.env", Use::GeneratorEnv),
        ("app/f.txt", Use::GeneratorFile),
        ("app/p.yaml", Use::Patch),
    ];
    assert_eq!(seen, expected.map(|(path, use_of)| (path.to_owned(), use_of)));
    // The digests are of what is stored, so that nothing of the secret is in them.
    assert_eq!(built.files_read["app/f.txt"], types::Digest::sha256(b"ENC"));
}
