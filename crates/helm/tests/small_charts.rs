//! Small charts with odd combinations, and what the real Helm 4.3.1 made of each.
//!
//! `SLUICE_HELM_CHARTS=FILE cargo test -p helm --test small_charts` runs another list of the same form: lines of
//! `{"name", "files": {path: text}, "values": text, "args": [flag, …], "out" | "err": text}`, rendered as `helm template rel CHART -n ns`.

#![allow(clippy::unwrap_used)]

use helm::{Capabilities, Chart, ChartLimits, Environment, KubeVersion, Options, Profile, Release, SeededRandom, SetMode, Table};
use serde_json::Value;
use std::{process::ExitCode, rc::Rc, sync::Arc};
use tree::MemoryTree;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/charts.jsonl");

/// The flags of `helm template` that the lists use.
#[derive(Default)]
struct Flags {
    include_crds: bool,
    no_hooks: bool,
    upgrade: bool,
    skip_schema: bool,
    kube_version: Option<String>,
    api_versions: Vec<String>,
    json: Vec<String>,
    typed: Vec<String>,
    text: Vec<String>,
    literal: Vec<String>,
}

fn flags(case: &Value) -> Flags {
    let mut flags = Flags::default();
    let mut words = case["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
    while let Some(word) = words.next() {
        match word.as_str() {
            "--include-crds" => flags.include_crds = true,
            "--no-hooks" => flags.no_hooks = true,
            "--is-upgrade" => flags.upgrade = true,
            "--skip-schema-validation" => flags.skip_schema = true,
            "--kube-version" => flags.kube_version = words.next(),
            "--api-versions" | "-a" => flags.api_versions.extend(words.next()),
            "--set-json" => flags.json.extend(words.next()),
            "--set" => flags.typed.extend(words.next()),
            "--set-string" => flags.text.extend(words.next()),
            "--set-literal" => flags.literal.extend(words.next()),
            other => panic!("a flag that this test does not know: {other}"),
        }
    }
    flags
}

/// What `helm template` would print, or its error.
fn template(case: &Value) -> Result<String, String> {
    let flags = flags(case);
    let files = case["files"].as_object().unwrap();
    let tree: MemoryTree = files.iter().map(|(path, text)| (path.as_str(), text.as_str().unwrap().as_bytes().to_vec())).collect();
    let mut values: Table = helm::read_values(case["values"].as_str().unwrap())?;
    flags.json.iter().try_for_each(|line| helm::set_json(&mut values, line))?;
    let set = |why: String| format!("failed parsing --set data: {why}");
    flags.typed.iter().try_for_each(|line| helm::set(&mut values, line, SetMode::Typed)).map_err(set)?;
    flags.text.iter().try_for_each(|line| helm::set(&mut values, line, SetMode::Text))?;
    flags.literal.iter().try_for_each(|line| helm::set_literal(&mut values, line))?;
    let plain = |error: helm::Error| {
        let more = if error.while_rendering() { "\n\nUse --debug flag to render out invalid YAML" } else { "" };
        format!("{error}{more}")
    };
    let chart = Arc::new(Chart::from_tree(&tree, "", ChartLimits::default()).map_err(plain)?);
    chart.missing_dependencies().map_err(plain)?;
    let mut capabilities = Capabilities::defaults(Profile::V4_3);
    if let Some(version) = flags.kube_version {
        capabilities.kube_version = KubeVersion::parse(&version)?;
    }
    capabilities.api_versions.extend(flags.api_versions.into_iter().map(Into::into));
    let environment = Rc::new(Environment::new("2026-03-04T05:06:07Z".parse().unwrap(), Box::new(SeededRandom::new(b"charts"))));
    let release = Release { name: "rel".into(), namespace: "ns".into(), revision: 1, upgrade: flags.upgrade };
    let options = Options { profile: Profile::V4_3, capabilities, skip_schema: flags.skip_schema, ..Options::new(release, environment) };
    let rendered = helm::render(&chart, &values, &options).map_err(plain)?;
    // What is told about each line must not change what is rendered.
    let traced = helm::render(&chart, &values, &Options { provenance: true, ..options }).map_err(plain)?;
    assert_eq!(traced.manifest(), rendered.manifest());
    let mut manifests = String::new();
    for crd in rendered.crds.iter().filter(|_| flags.include_crds) {
        helm::push_document(&mut manifests, &crd.path, &crd.text());
    }
    manifests.push_str(&rendered.manifest());
    let mut out = manifests.trim().to_owned() + "\n";
    for hook in rendered.hooks.iter().filter(|_| !flags.no_hooks) {
        helm::push_document(&mut out, &hook.path, &hook.manifest);
    }
    Ok(out)
}

fn check(case: &Value) -> Result<(), String> {
    let wanted = match (case.get("out"), case.get("err")) {
        (Some(out), _) => Ok(out.as_str().unwrap().to_owned()),
        (_, err) => Err(err.unwrap().as_str().unwrap().trim_start_matches("Error: ").to_owned()),
    };
    let got = template(case).map_err(|error| error.trim_end_matches('\n').to_owned());
    if settled(&got) == settled(&wanted) {
        return Ok(());
    }
    let shown = |answer: &Result<String, String>| match answer {
        Ok(text) => format!("out\n{text}"),
        Err(text) => format!("err\n{text}"),
    };
    Err(format!("{}\n--- wanted {}\n--- got {}", case["name"], shown(&wanted), shown(&got)))
}

/// The library inside Helm lists what a schema refuses in a random order.
fn settled(answer: &Result<String, String>) -> Result<String, String> {
    answer.clone().map_err(|text| {
        if !text.starts_with("values don't meet") {
            return text;
        }
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    })
}

/// Runs without the harness, so that the count is the last line.
fn main() -> ExitCode {
    let list = std::env::var("SLUICE_HELM_CHARTS").unwrap_or_else(|_| FIXTURES.to_owned());
    let text = std::fs::read_to_string(&list).unwrap_or_else(|error| panic!("cannot read {list}: {error}"));
    let cases: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failures: Vec<String> = cases.iter().filter_map(|case| check(case).err()).collect();
    for failure in &failures {
        println!("FAILED {failure}");
    }
    println!("{} passed, {} failed", cases.len() - failures.len(), failures.len());
    ExitCode::from(u8::from(!failures.is_empty()))
}
