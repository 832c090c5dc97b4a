//! Where every part of an object came from, and what a build read, for everything that can set a value.

mod common;

use common::{Case, parse};
use kustomize::{Build, Chart, Charts, Options, build};
use std::{fs, path::Path};
use tree::{MemoryTree, Tree};

/// Renders a chart of one template, as `helm template` prints it.
struct Engine;

impl Charts for Engine {
    fn render(&self, tree: &dyn Tree, directory: &str, chart: &Chart) -> Result<String, String> {
        let template = tree.read(&format!("{directory}/templates/c.yaml")).ok_or("there is no template")?;
        let text = String::from_utf8_lossy(&template).replace("{{ .Release.Name }}", &chart.release_name);
        Ok(format!("---\n# Source: {}/templates/c.yaml\n{text}", chart.name))
    }
}

fn fixture() -> Case {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/provenance.txt");
    parse(&fs::read_to_string(path).expect("it can be read")).1.remove(0)
}

fn built() -> Build {
    let mut tree = MemoryTree::new();
    for (path, bytes) in fixture().files {
        tree.insert(&path, bytes, false);
    }
    let options = Options { charts: Some(&Engine), note_transformers: true, extend_schema: true, ..Options::default() };
    build(&tree, "", &options).expect("it builds")
}

/// Everything that is told of an object.
fn explained(build: &Build, kind: &str, name: &str) -> String {
    let object = build.resources.iter().find(|object| object.kind() == kind && object.name().starts_with(name)).expect("it is there");
    let parts = object.explain().into_iter().map(|touch| format!("{} <- {touch}\n", touch.path));
    let changes = object.transformers().into_iter().map(|touch| format!("changed by {touch}\n"));
    parts.chain(changes).collect()
}

#[test]
fn every_part_has_a_file_and_a_line_whatever_set_it() {
    let build = built();
    let objects = [
        ("Deployment", "pre-web"),
        ("Service", "pre-web"),
        ("ConfigMap", "pre-conf"),
        ("Secret", "pre-pass"),
        ("ConfigMap", "pre-plugged"),
        ("ConfigMap", "pre-charted"),
    ];
    let found: String = objects.iter().map(|(kind, name)| format!("== {kind} {name}\n{}", explained(&build, kind, name))).collect();
    let expected = include_str!("fixtures/provenance-explained.txt");
    let differ = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(found == expected, "{differ:?} in\n{found}");
}

#[test]
fn transformers_are_noted_on_request_only() {
    let mut tree = MemoryTree::new();
    for (path, bytes) in fixture().files {
        tree.insert(&path, bytes, false);
    }
    let silent = build(&tree, "", &Options { charts: Some(&Engine), extend_schema: true, ..Options::default() }).expect("it builds");
    assert!(silent.resources.iter().all(|object| object.transformers().is_empty()));
    assert_eq!(silent.to_yaml().expect("it prints"), built().to_yaml().expect("it prints"), "noting changes nothing");
}

#[test]
fn every_kind_of_reading_is_in_the_set_of_files_with_its_digest() {
    let build = built();
    // Everything in the fixture is read by something.
    let files = fixture().files;
    let read: Vec<&str> = build.files_read.keys().map(String::as_str).collect();
    let mut expected: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    expected.sort_unstable();
    assert_eq!(read, expected);
    for (path, bytes) in &files {
        assert_eq!(build.files_read[path], types::Digest::sha256(bytes), "{path}");
    }
}

#[test]
fn what_a_plugin_in_a_file_set_is_told_with_the_file_and_the_kind() {
    let image = "spec.template.spec.containers[0].image";
    let plugins = [
        (
            "ImageTagTransformer",
            "metadata: {name: t}\nimageTag: {name: nginx, newTag: \"2\"}\nfieldSpecs: [{path: 'spec/template/spec/containers[]/image'}]\n",
            image,
        ),
        (
            "NamespaceTransformer",
            "metadata: {name: t, namespace: n}\nfieldSpecs: [{path: metadata/namespace, create: true}]\n",
            "metadata.namespace",
        ),
        ("PrefixTransformer", "metadata: {name: t}\nprefix: p-\nfieldSpecs: [{path: metadata/name}]\n", "metadata.name"),
        ("SuffixTransformer", "metadata: {name: t}\nsuffix: -s\nfieldSpecs: [{path: metadata/name}]\n", "metadata.name"),
        (
            "PrefixSuffixTransformer",
            "metadata: {name: t}\nprefix: p-\nsuffix: -s\nfieldSpecs: [{path: spec/template/spec/hostname, create: true}]\n",
            "spec.template.spec.hostname",
        ),
        (
            "PatchStrategicMergeTransformer",
            "metadata: {name: t}\npatches: |-\n  {apiVersion: apps/v1, kind: Deployment, metadata: {name: web}, spec: {replicas: 3}}\n",
            "spec.replicas",
        ),
        (
            "LabelTransformer",
            "metadata: {name: t}\nlabels: {a: b}\nfieldSpecs: [{path: metadata/labels, create: true}]\n",
            "metadata.labels",
        ),
    ];
    for (kind, fields, path) in plugins {
        let found = touch_of_plugin("transformers", kind, fields, "Deployment", path);
        assert_eq!(found, ("t.yaml".to_owned(), kind.to_owned()), "{path}");
    }
    // What a generator made is its own from the root on.
    let account = "metadata: {name: t}\ncloud: gke\nkubernetesService: {name: k}\nserviceAccount: {name: s, projectId: p}\n";
    let generators = [
        ("SecretGenerator", "metadata: {name: made}\nliterals: [x=y]\n", "Secret"),
        ("ConfigMapGenerator", "metadata: {name: made}\nliterals: [x=y]\n", "ConfigMap"),
        ("IAMPolicyGenerator", account, "ServiceAccount"),
    ];
    for (kind, fields, made) in generators {
        let found = touch_of_plugin("generators", kind, fields, made, "");
        assert_eq!(found, ("t.yaml".to_owned(), kind.to_owned()));
    }
}

#[test]
fn a_chart_asked_for_by_a_plugin_is_told_by_its_templates() {
    let mut tree = MemoryTree::new();
    tree.insert("kustomization.yaml", "generators: [t.yaml]\n", false);
    let plugin =
        "apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: t}\nname: chart\nreleaseName: rel\nchartHome: .\n";
    tree.insert("t.yaml", plugin, false);
    for (path, bytes) in fixture().files.into_iter().filter(|(path, _)| path.starts_with("chart/")) {
        tree.insert(&path, bytes, false);
    }
    let options = Options { charts: Some(&Engine), note_transformers: true, ..Options::default() };
    let build = build(&tree, "", &options).expect("it builds");
    assert_eq!(explained(&build, "ConfigMap", "charted"), " <- chart/templates/c.yaml\n");
}

#[test]
fn a_name_with_a_hash_is_told_from_what_named_it_and_the_hash_from_who_asked() {
    let mut tree = MemoryTree::new();
    tree.insert("kustomization.yaml", "generators: [g.yaml]\ntransformers: [t.yaml]\n", false);
    tree.insert("g.yaml", "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: made}\nliterals: [x=y]\n", false);
    tree.insert("t.yaml", "apiVersion: builtin\nkind: HashTransformer\nmetadata: {name: t}\n", false);
    let build = build(&tree, "", &Options { note_transformers: true, ..Options::default() }).expect("it builds");
    let told = explained(&build, "ConfigMap", "made-");
    assert!(told.starts_with(" <- g.yaml:1 ConfigMapGenerator\nchanged by t.yaml:1 HashTransformer\n"), "{told}");
}

/// The file and the name of what set a field of the object of `of_kind`, where a plugin of its own file works on a Deployment.
fn touch_of_plugin(list: &str, kind: &str, fields: &str, of_kind: &str, path: &str) -> (String, String) {
    let object =
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: a, image: nginx}]}}}\n";
    let mut tree = MemoryTree::new();
    tree.insert("kustomization.yaml", format!("resources: [d.yaml]\n{list}: [t.yaml]\n").into_bytes(), false);
    tree.insert("d.yaml", object.as_bytes().to_vec(), false);
    tree.insert("t.yaml", format!("apiVersion: builtin\nkind: {kind}\n{fields}").into_bytes(), false);
    let build = build(&tree, "", &Options::default()).unwrap_or_else(|error| panic!("{kind}: {error}"));
    let object = build.resources.iter().find(|object| object.kind() == of_kind).expect("it is there");
    let touches = object.explain();
    let touch = touches.iter().find(|touch| touch.path == path);
    let touch = touch.unwrap_or_else(|| {
        panic!("{kind}: nothing is told of {path}, but of {:?}", touches.iter().map(|touch| &touch.path).collect::<Vec<_>>())
    });
    (touch.file.clone(), touch.by.clone())
}
