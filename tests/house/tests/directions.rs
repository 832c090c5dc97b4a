//! Arrows between crates go down only, engines stay pure, and nothing from outside comes in unseen.

#![allow(clippy::unwrap_used)]

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::OnceLock,
};

/// The floor of every crate of the workspace. A crate may use its own floor and those below, except where [`FORBIDDEN`] says no.
const FLOORS: &[(u8, &[&str])] = &[
    (0, &["types", "yaml", "object", "tree"]),
    (1, &["merge", "kustomize", "gotemplate", "sprig", "helm", "health", "envsubst", "plan", "compose", "api"]),
    (2, &["http-client", "git", "oci", "chartrepo", "store", "apiserver"]),
    (3, &["runtime", "cluster", "apply", "artifacts"]),
    (4, &["source-controller", "kustomize-controller", "helm-controller", "artifact-controller"]),
    (5, &["cli", "testing", "e2e", "house", "xtask"]),
];

/// Arrows that are wrong even on one floor or downwards, and why.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("kustomize", "api", "engines never learn of custom resources: a controller translates"),
    ("helm", "api", "engines never learn of custom resources: a controller translates"),
    ("compose", "api", "engines never learn of custom resources: a controller translates"),
    ("plan", "api", "engines never learn of custom resources: a controller translates"),
    ("health", "api", "engines never learn of custom resources: a controller translates"),
    ("apiserver", "kube", "the embedded server is no client"),
    ("git", "kube", "adapters never learn of Kubernetes"),
    ("oci", "kube", "adapters never learn of Kubernetes"),
    ("chartrepo", "kube", "adapters never learn of Kubernetes"),
    ("store", "kube", "adapters never learn of Kubernetes"),
    ("http-client", "kube", "adapters never learn of Kubernetes"),
    ("runtime", "kustomize", "the shell knows no engine"),
    ("runtime", "helm", "the shell knows no engine"),
    ("source-controller", "kustomize-controller", "controllers meet only through the API server"),
    ("kustomize-controller", "source-controller", "controllers meet only through the API server"),
    ("helm-controller", "source-controller", "controllers meet only through the API server"),
    ("helm-controller", "kustomize-controller", "controllers meet only through the API server"),
    ("artifact-controller", "source-controller", "controllers meet only through the API server"),
    ("artifact-controller", "kustomize-controller", "controllers meet only through the API server"),
    ("source-controller", "helm-controller", "controllers meet only through the API server"),
    ("kustomize-controller", "helm-controller", "controllers meet only through the API server"),
];

/// What a pure crate (floors 0 and 1) never depends on.
const IMPURE: &[&str] = &["tokio", "reqwest", "hyper", "gix", "kube-client", "kube-runtime", "notify", "tempfile", "rand"];

const LICENCES: &[&str] = &[
    "Apache-2.0",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CDLA-Permissive-2.0",
    "MPL-2.0",
    "0BSD",
    "CC0-1.0",
    "OpenSSL",
    "BSL-1.0",
    "MIT-0",
    "Unlicense",
    "LLVM-exception",
];

fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
            .output()
            .expect("cargo runs the tests, so it is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
    })
}

/// Name -> names of direct dependencies, without those only for tests.
fn workspace() -> BTreeMap<String, BTreeSet<String>> {
    let members: BTreeSet<&str> = metadata()["workspace_members"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    metadata()["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| members.contains(package["id"].as_str().unwrap()))
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"] != "dev");
            let names = dependencies.map(|d| d["name"].as_str().unwrap().to_owned()).collect();
            (package["name"].as_str().unwrap().to_owned(), names)
        })
        .collect()
}

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, names)| names.contains(&name)).map(|(floor, _)| *floor)
}

#[test]
fn every_crate_has_a_floor() {
    let crates = workspace();
    let homeless: Vec<_> = crates.keys().filter(|name| floor(name).is_none()).collect();
    assert!(homeless.is_empty(), "name a floor in FLOORS and in docs/ARCHITECTURE.md for {homeless:?}");
    let gone: Vec<_> = FLOORS.iter().flat_map(|(_, names)| *names).filter(|name| !crates.contains_key(**name)).collect();
    assert!(gone.is_empty(), "FLOORS names crates that do not exist: {gone:?}");
}

#[test]
fn arrows_go_down_only() {
    for (name, dependencies) in workspace() {
        let own = floor(&name).unwrap_or(u8::MAX);
        for dependency in dependencies {
            if let Some(other) = floor(&dependency) {
                assert!(other <= own, "{name} (floor {own}) must not use {dependency} (floor {other})");
            }
            if let Some((_, _, why)) = FORBIDDEN.iter().find(|(from, to, _)| *from == name && *to == dependency) {
                panic!("{name} must not use {dependency}: {why}");
            }
        }
    }
}

#[test]
fn engines_are_pure() {
    for (name, dependencies) in workspace() {
        if floor(&name).is_some_and(|floor| floor <= 1) {
            let impure: Vec<_> = dependencies.iter().filter(|d| IMPURE.contains(&d.as_str())).collect();
            assert!(impure.is_empty(), "{name} is an engine: values in, values out, but it depends on {impure:?}");
        }
    }
}

/// The depth of the longest chain of our own crates.
#[test]
fn the_house_stays_below_nine_storeys() {
    fn depth(name: &str, crates: &BTreeMap<String, BTreeSet<String>>) -> usize {
        1 + crates[name].iter().filter(|d| crates.contains_key(*d)).map(|d| depth(d, crates)).max().unwrap_or(0)
    }
    let crates = workspace();
    let deepest = crates.keys().map(|name| (depth(name, &crates), name)).max().unwrap();
    assert!(deepest.0 <= 8, "{} stands on a chain of {} crates", deepest.1, deepest.0);
}

#[test]
fn every_dependency_comes_from_the_registry_under_a_known_licence() {
    for package in metadata()["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let Some(source) = package["source"].as_str() else { continue };
        assert!(source.starts_with("registry+"), "{name} comes from {source}");
        let Some(licence) = package["license"].as_str() else {
            assert!(package["license_file"].is_string(), "{name} names no licence");
            continue;
        };
        let known = licence.split(" OR ").flat_map(|part| part.split('/')).any(|part| {
            part.split(" AND ").flat_map(|p| p.split(" WITH ")).all(|word| LICENCES.contains(&word.trim_matches(['(', ')', ' '])))
        });
        assert!(known, "{name}: licence {licence:?} is not on the list");
    }
}
