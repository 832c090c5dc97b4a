//! The program as people call it, where no cluster is needed.

#![allow(clippy::expect_used)] // a test that cannot start the program has failed

mod common;

use common::{Answer, folder};
use std::{fs, path::Path, process::Command};

fn sluice(folder: &Path, line: &str) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(line.split_whitespace()).current_dir(folder).env("HOME", folder).env("KUBECONFIG", folder.join("none"));
    Answer::of(&mut command)
}

#[test]
fn a_helm_release_is_built_without_a_cluster() {
    let release = "apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: web, namespace: apps}
spec:
  interval: 1m
  chart: {spec: {chart: charts/web, sourceRef: {kind: GitRepository, name: repo, namespace: flux-system}, valuesFiles: [charts/web/values.yaml, values-prod.yaml]}}
  valuesFrom:
  - {kind: ConfigMap, name: given}
  - {kind: Secret, name: token, valuesKey: text, targetPath: token}
  values: {colour: inline}
  commonMetadata: {labels: {team: a}}
  postRenderers:
  - kustomize: {patches: [{target: {kind: ConfigMap}, patch: '[{\"op\": \"add\", \"path\": \"/data/patched\", \"value\": \"yes\"}]'}]}
";
    let values = "apiVersion: v1
kind: ConfigMap
metadata: {name: given, namespace: apps}
data: {values.yaml: 'size: large'}
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: apps}
stringData: {text: hidden}
";
    let template = "apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-{{ .Release.Namespace }}}
data: {values: '{{ .Values.colour }} {{ .Values.size }} {{ .Values.stage }} {{ .Values.token }} {{ .Values.base }}'}
";
    let files = folder(&[
        ("release.yaml", release),
        ("values.yaml", values),
        ("values-prod.yaml", "stage: prod\n"),
        ("charts/web/Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
        ("charts/web/values.yaml", "base: default\ncolour: red\n"),
        ("charts/web/templates/config.yaml", template),
    ]);
    let line = "build helmrelease web -f release.yaml,values.yaml --local-sources GitRepository/flux-system/repo=. --dry-run";
    let answer = sluice(files.path(), line);
    assert_eq!((answer.code, answer.err.as_str()), (Some(0), ""));
    assert_eq!(
        answer.out,
        "---
# Source: web/templates/config.yaml
apiVersion: v1
data:
  patched: \"yes\"
  values: inline large prod hidden default
kind: ConfigMap
metadata:
  labels:
    helm.toolkit.fluxcd.io/name: web
    helm.toolkit.fluxcd.io/namespace: apps
    team: a
  name: web-apps
"
    );
    let told = |line: &str| {
        let answer = sluice(files.path(), line);
        assert_eq!(answer.code, Some(1), "{line}");
        answer.err
    };
    let err = told("build hr web -f release.yaml --chart charts/web --dry-run");
    assert!(err.contains("values file found at path") || err.contains("configmaps \"given\" not found"), "{err}");
    assert!(told("build hr web -f release.yaml,values.yaml --dry-run").contains("--chart"));
    assert!(told("build hr web --dry-run").contains("--file or --path"));
    assert!(told("build hr other -f release.yaml --dry-run").contains("no HelmRelease \"other\""));
}

#[test]
fn complaints_have_the_words_of_flux() {
    let empty = folder(&[]);
    for (line, code, err) in [
        ("nonsense", 1, "✗ unknown command \"nonsense\" for \"sluice\"\n"),
        ("get ks --nonsense", 1, "✗ unknown flag: --nonsense\n"),
        ("get ks --timeout=x", 1, "✗ invalid argument \"x\" for \"--timeout\" flag: time: invalid duration \"x\"\n"),
        ("build ks", 1, "✗ kustomization name is required\n"),
        ("build ks x", 1, "✗ invalid resource path \"\"\n"),
        ("diff ks x --path none", 2, "✗ invalid resource path \"none\"\n"),
        (
            "build ks x --path . --local-sources y",
            1,
            "✗ invalid argument \"y\" for \"--local-sources\" flag: y must be formatted as key=value\n",
        ),
    ] {
        let answer = sluice(empty.path(), line);
        assert_eq!((answer.code, answer.err.as_str()), (Some(code), err), "{line}");
    }
}

#[test]
fn every_verb_has_help_with_an_example() {
    let empty = folder(&[]);
    let help = sluice(empty.path(), "--help");
    assert_eq!(help.code, Some(0));
    for verb in ["build", "create", "diff", "get", "reconcile", "resume", "suspend", "trace", "kustomize"] {
        assert!(help.out.contains(&format!("  {verb} ")), "{verb} in:\n{}", help.out);
    }
    for leaf in ["get", "build kustomization", "diff kustomization", "push artifact", "kustomize build", "trigger receiver"] {
        let help = sluice(empty.path(), &format!("{leaf} --help"));
        assert!(help.out.contains("Examples:\n  # "), "{leaf}:\n{}", help.out);
    }
}

#[test]
fn a_kustomization_is_built_without_a_cluster() {
    let files = folder(&[
        (
            "ks.yaml",
            "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: apps, namespace: flux-system}\nspec:\n  targetNamespace: prod\n  postBuild: {substitute: {region: eu}}\n",
        ),
        ("apps/.sourceignore", "skip.yaml\n"),
        ("apps/cm.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {region: '${region}', default: '${none:-x}'}\n"),
        ("apps/skip.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n"),
    ]);
    let answer = sluice(files.path(), "build ks apps --path apps --kustomization-file ks.yaml --dry-run");
    assert_eq!(
        answer.out,
        "apiVersion: v1\ndata:\n  default: x\n  region: eu\nkind: ConfigMap\nmetadata:\n  labels:\n    kustomize.toolkit.fluxcd.io/name: apps\n    kustomize.toolkit.fluxcd.io/namespace: flux-system\n  name: a\n  namespace: prod\n---\n",
        "{}",
        answer.err
    );
    assert_eq!(fs::read_dir(files.path().join("apps")).expect("a folder").count(), 3, "the build leaves no files behind");
    let strict = folder(&[]);
    fs::copy(files.path().join("ks.yaml"), strict.path().join("ks.yaml")).expect("a copy");
    fs::write(strict.path().join("cm.yaml"), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: v}\ndata: {a: '${missing}'}\n")
        .expect("a file");
    fs::create_dir(strict.path().join("d")).expect("a folder");
    fs::rename(strict.path().join("cm.yaml"), strict.path().join("d/cm.yaml")).expect("a move");
    let answer = sluice(strict.path(), "build ks apps --path d --kustomization-file ks.yaml --dry-run --strict-substitute");
    assert_eq!(
        answer.err,
        "✗ var substitution failed for 'v': envsubst error: variable substitution failed: variable not set (strict mode): \"missing\"\n"
    );
}

#[test]
fn equal_folders_make_equal_artifacts() {
    let files = folder(&[("m/b.yaml", "b: 1\n"), ("m/a/c.yaml", "c: 1\n"), ("m/pic.png", "no")]);
    for name in ["one.tgz", "two.tgz"] {
        let answer = sluice(files.path(), &format!("build artifact --path=./m --output={name}"));
        assert_eq!(
            (answer.code, answer.err.as_str()),
            (Some(0), format!("► building artifact from ./m\n✔ artifact created at {name}\n").as_str())
        );
    }
    let read = |name: &str| fs::read(files.path().join(name)).expect("an artifact");
    assert_eq!(read("one.tgz"), read("two.tgz"));
    let content = tree::archive::read(&read("one.tgz"), tree::archive::Limits::default()).expect("a tar.gz");
    let paths: Vec<&str> = content.entries().map(|(path, _)| path).collect();
    assert_eq!(paths, ["a", "a/c.yaml", "b.yaml"]);
}

#[test]
fn completions_exist_for_every_shell() {
    let empty = folder(&[]);
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let answer = sluice(empty.path(), &format!("completion {shell}"));
        assert!(answer.code == Some(0) && answer.out.contains("reconcile"), "{shell}: {}", answer.err);
    }
}
