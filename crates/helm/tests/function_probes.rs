//! One-expression templates with the output or the error of the real Helm.
//!
//! `SLUICE_HELM_PROBES=FILE cargo test -p helm --test function_probes` runs another list of the same form: lines of
//! `{"t": template, "out" | "err": text, "random"?: true}`. Lists whose errors start with `Error: ` were recorded with the command line
//! of Helm 4.3, inside `tpl`; the others with the engine of Helm 4.2.

#![allow(clippy::unwrap_used)]

use helm::{Capabilities, Chart, ChartLimits, Environment, Error, Limits, Options, Profile, Release, SeededRandom, Table};
use serde_json::Value;
use std::{path::Path, process::ExitCode, rc::Rc, sync::Arc};
use tree::MemoryTree;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn files_under(directory: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) {
    let mut entries: Vec<_> = std::fs::read_dir(directory).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            files_under(&entry.path(), &format!("{path}/"), files);
        } else {
            files.push((path, std::fs::read(entry.path()).unwrap()));
        }
    }
}

/// How a list was recorded.
#[derive(Clone, Copy, PartialEq)]
enum Recorder {
    /// The engine of Helm 4.2, the template a file of its own.
    Engine,
    /// The command line of Helm 4.3, the template inside `tpl`, some more values.
    CommandLine,
}

/// What stands before the output of a template that the command line rendered.
const PREFIX: &str = "out:";

struct Probes {
    files: Vec<(String, Vec<u8>)>,
    recorder: Recorder,
}

impl Probes {
    fn render(&self, template: &str) -> Result<String, Error> {
        let mut files = self.files.clone();
        let name = if self.recorder == Recorder::Engine { "templates/p.txt" } else { "templates/p.yaml" };
        let text = match self.recorder {
            Recorder::Engine => template.to_owned(),
            Recorder::CommandLine => format!("{PREFIX}{{{{ tpl {} . }}}}", serde_json::to_string(template).unwrap()),
        };
        files.push((name.to_owned(), text.into_bytes()));
        let tree: MemoryTree = files.into_iter().collect();
        let chart = Arc::new(Chart::from_tree(&tree, "", ChartLimits::default())?);
        let now = "2026-03-04T05:06:07Z".parse().unwrap();
        let environment = Rc::new(Environment::new(now, Box::new(SeededRandom::new(b"probes"))));
        let release = Release { name: "rel".into(), namespace: "ns".into(), revision: 1, upgrade: false };
        let profile = if self.recorder == Recorder::Engine { Profile::V4_2 } else { Profile::V4_3 };
        let options = Options {
            profile,
            capabilities: Capabilities::defaults(profile),
            limits: Limits::default(),
            ..Options::new(release, environment)
        };
        let path = format!("probe/{name}");
        helm::render_files(&chart, &Table::new(), &options).map(|files| files.get(&path).cloned().unwrap_or_default())
    }

    fn check(&self, probe: &Value) -> Result<(), String> {
        let template = probe["t"].as_str().unwrap();
        let got = self.render(template);
        let random = probe.get("random").is_some_and(|random| random != &Value::Bool(false));
        let shown = match &got {
            Ok(text) => format!("out {text:?}"),
            Err(error) => format!("err {:?}", error.to_string()),
        };
        let fail = |wanted: &str| Err(format!("{template}\n    wanted {wanted}\n    got    {shown}"));
        if let Some(wanted) = probe.get("out").and_then(Value::as_str) {
            return match &got {
                Ok(text) => {
                    let text = if self.recorder == Recorder::CommandLine { text.strip_prefix(PREFIX).unwrap_or(text) } else { text };
                    if text == wanted || random && shape(text) == shape(wanted) { Ok(()) } else { fail(&format!("out {wanted:?}")) }
                }
                Err(_) => fail(&format!("out {wanted:?}")),
            };
        }
        let wanted = probe["err"].as_str().unwrap_or_default();
        match &got {
            Err(error) => {
                let error = match self.recorder {
                    Recorder::Engine => error.to_string(),
                    Recorder::CommandLine => format!("Error: {error}\n\nUse --debug flag to render out invalid YAML"),
                };
                if error == wanted { Ok(()) } else { fail(&format!("err {wanted:?}")) }
            }
            Ok(_) => fail(&format!("err {wanted:?}")),
        }
    }
}

/// What of a random output can be compared: digits, letters and their number.
fn shape(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_ascii_digit() {
                '0'
            } else if c.is_alphabetic() {
                'a'
            } else {
                c
            }
        })
        .collect()
}

fn run(list: &str) -> (usize, Vec<String>) {
    let probes: Vec<Value> = list.lines().filter(|line| !line.trim().is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_command_line = |probe: &Value| probe.get("err").and_then(Value::as_str).is_some_and(|error| error.starts_with("Error: "));
    let recorder = if probes.iter().any(is_command_line) { Recorder::CommandLine } else { Recorder::Engine };
    let mut files = Vec::new();
    files_under(&Path::new(FIXTURES).join("probe-chart"), "", &mut files);
    if recorder == Recorder::CommandLine {
        for (name, data) in &mut files {
            if name == "values.yaml" {
                data.extend_from_slice(b"\nnum: 3\nnumf: 3.5\nhuge2: 9007199254740993\n");
            }
        }
    }
    let probes_of = Probes { files, recorder };
    let failures: Vec<String> = probes.iter().filter_map(|probe| probes_of.check(probe).err()).collect();
    (probes.len() - failures.len(), failures)
}

/// Tests run in the crate's folder; a relative path is meant from the workspace's, where cargo was called.
fn from_start(path: &str) -> String {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if !Path::new(path).exists() && workspace.exists() { workspace.to_string_lossy().into_owned() } else { path.to_owned() }
}

/// Runs without the harness, so that the count is the last line.
fn main() -> ExitCode {
    let lists: Vec<String> = match std::env::var("SLUICE_HELM_PROBES") {
        Ok(path) => vec![from_start(&path)],
        Err(_) => vec![
            format!("{FIXTURES}/probes.jsonl"),
            format!("{FIXTURES}/probes-4.3.1.jsonl"),
            format!("{FIXTURES}/probes-combinations.jsonl"),
        ],
    };
    let (mut passed, mut failures) = (0, Vec::new());
    for list in lists {
        let text = std::fs::read_to_string(&list).unwrap_or_else(|error| panic!("cannot read {list}: {error}"));
        let (good, bad) = run(&text);
        passed += good;
        failures.extend(bad);
    }
    for failure in &failures {
        println!("FAILED {failure}");
    }
    println!("{passed} passed, {} failed", failures.len());
    ExitCode::from(u8::from(!failures.is_empty()))
}
