//! What Flux makes of a directory and the spec of a Kustomization.

use kustomize::{
    Use,
    flux::{self, Hooks, Image, NoHooks, Patch, Selector, Spec},
};
use serde_json::{Value, json};
use tree::MemoryTree;

fn tree(files: &[(&str, &str)]) -> MemoryTree {
    MemoryTree::from_iter(files.iter().map(|(path, content)| (*path, content.as_bytes().to_vec())))
}

fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: b}}\n")
}

fn names(tree: &MemoryTree, spec: &Spec) -> Vec<String> {
    let build = flux::build(tree, "app", spec, &NoHooks).expect("it builds");
    build.resources.iter().map(|resource| resource.name().to_owned()).collect()
}

#[test]
fn a_directory_without_a_kustomization_gets_one() {
    let tree = tree(&[
        ("app/b.yaml", &config_map("b")),
        ("app/a/z.yml", &config_map("a-z")),
        ("app/readme.md", "no manifest"),
        ("app/k/kustomization.yaml", "resources: [x.yaml]\nnamePrefix: k-"),
        ("app/k/x.yaml", &config_map("x")),
        ("app/k/ignored.yaml", "not: [an object"),
        ("other.yaml", &config_map("other")),
    ]);
    assert_eq!(names(&tree, &Spec::default()), ["a-z", "b", "k-x"]);
}

#[test]
fn an_empty_directory_builds_nothing() {
    assert!(names(&tree(&[("app/readme.md", "")]), &Spec::default()).is_empty());
    assert!(names(&tree(&[("app/kustomization.yaml", "kind: Kustomization")]), &Spec::default()).is_empty());
}

#[test]
fn every_manifest_of_a_generated_kustomization_must_be_one() {
    let tree = tree(&[("app/values.yaml", "replicas: 1\n")]);
    let error = flux::build(&tree, "app", &Spec::default(), &NoHooks).expect_err("values are no object");
    assert!(error.to_string().contains("app/values.yaml"), "{error}");
}

#[test]
fn the_spec_is_merged_into_the_first_kustomization() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: web, image: nginx}, {name: side, image: envoy}]}}}\n";
    let kustomization = "namespace: old\nnamePrefix: old-\nresources: [d.yaml]\nimages: [{name: nginx, newName: mirror/nginx, digest: 'sha256:ab'}]\nunknownField: is dropped\n";
    let component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [c.yaml]\n";
    let tree = tree(&[
        ("app/kustomization.yaml", kustomization),
        ("app/d.yaml", deployment),
        ("comp/kustomization.yaml", component),
        ("comp/c.yaml", &config_map("c")),
    ]);
    let spec = Spec {
        target_namespace: Some("new".to_owned()),
        name_prefix: Some("new-".to_owned()),
        name_suffix: Some("-x".to_owned()),
        patches: vec![Patch {
            patch: "- {op: add, path: /spec/replicas, value: 3}".to_owned(),
            target: Some(Selector { kind: "Deployment".to_owned(), ..Selector::default() }),
        }],
        images: vec![
            Image { name: "nginx".to_owned(), new_tag: "1.27".to_owned(), ..Image::default() },
            Image { name: "envoy".to_owned(), new_tag: "2".to_owned(), ..Image::default() },
        ],
        components: vec!["../comp".to_owned(), "../gone".to_owned()],
        ignore_missing_components: true,
        ..Spec::default()
    };
    let build = flux::build(&tree, "app", &spec, &NoHooks).expect("it builds");
    let deployment = build.resources[0].to_json().expect("it is JSON");
    assert_eq!(deployment["metadata"], json!({"name": "new-web-x", "namespace": "new"}));
    assert_eq!(deployment["spec"]["replicas"], 3);
    let images: Vec<&Value> = deployment["spec"]["template"]["spec"]["containers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|container| &container["image"])
        .collect();
    assert_eq!(images, ["mirror/nginx:1.27", "envoy:2"]);
    assert_eq!(build.resources[1].name(), "new-c-x");
    let missing = Spec { ignore_missing_components: false, ..spec };
    assert!(flux::build(&tree, "app", &missing, &NoHooks).expect_err("a component is missing").to_string().contains("../gone"));
}

#[test]
fn a_build_knows_what_it_read() {
    let tree = tree(&[
        ("app/kustomization.yaml", "resources: [a.yaml]\nconfigMapGenerator: [{name: g, files: [f.txt]}]"),
        ("app/a.yaml", &config_map("a")),
        ("app/f.txt", "x"),
        ("app/unused.yaml", ""),
    ]);
    let build = flux::build(&tree, "app", &Spec::default(), &NoHooks).expect("it builds");
    assert_eq!(build.files_read.keys().collect::<Vec<_>>(), ["app/a.yaml", "app/f.txt", "app/kustomization.yaml"]);
    assert_eq!(build.files_read["app/f.txt"], types::Digest::sha256(b"x"));
}

/// Turns `ENC(x)` into x: in files of generators and patches, and in objects.
struct Decrypting;

impl Hooks for Decrypting {
    fn file(&self, _: &str, use_of: Use, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let text = String::from_utf8_lossy(bytes);
        if text.contains("ENC(broken)") {
            return Err("cannot decrypt: no key matches".to_owned());
        }
        let wanted = matches!(use_of, Use::GeneratorEnv | Use::GeneratorFile | Use::Patch) && text.contains("ENC(");
        Ok(wanted.then(|| text.replace("ENC(", "").replace(')', "").into_bytes()))
    }

    fn resource(&self, resource: &kustomize::Resource) -> Result<Option<Value>, String> {
        let value = resource.to_json().map_err(|error| error.to_string())?;
        let text = value.to_string();
        Ok(text.contains("ENC(").then(|| serde_json::from_str(&text.replace("ENC(", "").replace(')', "")).expect("still JSON")))
    }
}

#[test]
fn hooks_see_files_and_objects() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: ENC(object)}\n";
    let kustomization = "resources: [s.yaml]\nsecretGenerator: [{name: g, envs: [e.env], options: {disableNameSuffixHash: true}}]\npatches: [{path: p.yaml}]";
    let patch = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {b: ENC(patch)}\n";
    let files = [("app/kustomization.yaml", kustomization), ("app/s.yaml", secret), ("app/e.env", "K=ENC(env)\n"), ("app/p.yaml", patch)];
    let build = flux::build(&tree(&files), "app", &Spec::default(), &Decrypting).expect("it builds");
    assert_eq!(build.resources[0].to_json().expect("it is JSON")["stringData"], json!({"a": "object", "b": "patch"}));
    assert_eq!(build.resources[1].to_json().expect("it is JSON")["data"], json!({"K": "ZW52"}));
    let broken = [files[0], files[1], ("app/e.env", "K=ENC(broken)\n"), files[3]];
    let error = flux::build(&tree(&broken), "app", &Spec::default(), &Decrypting).expect_err("the hook fails");
    assert_eq!(error.to_string(), "app/e.env: cannot decrypt: no key matches");
}

#[test]
fn every_part_of_an_object_knows_where_it_came_from() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 1\n  template: {spec: {containers: [{name: web, image: nginx}]}}\n";
    let patch = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  paused: true\n";
    let kustomization =
        "resources: [d.yaml]\nnamePrefix: p-\npatches: [{path: p.yaml}]\nimages: [{name: nginx, newTag: '1'}]\nnamespace: ns\n";
    let files = tree(&[("app/kustomization.yaml", kustomization), ("app/d.yaml", deployment), ("app/p.yaml", patch)]);
    let build = flux::build(&files, "app", &Spec::default(), &NoHooks).expect("it builds");
    let touches: Vec<String> = build.resources[0].explain().iter().map(|touch| format!("{} <- {touch}", touch.path)).collect();
    assert_eq!(
        touches,
        [
            " <- app/d.yaml:1",
            "metadata.name <- app/kustomization.yaml namePrefix",
            "metadata.namespace <- app/kustomization.yaml namespace",
            "spec.template.spec.containers[0].image <- app/kustomization.yaml images",
            "spec.paused <- app/p.yaml:5",
        ]
    );
}
