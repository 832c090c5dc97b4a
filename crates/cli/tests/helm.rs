//! The `helm` verbs against the answers of the real Helm.
//!
//! `helm/cases.txt` holds charts and command lines, `helm/answers.jsonl` what Helm 4.3.1 said to each. With `SLUICE_TEST_HELM4=PATH` the
//! answers are recorded anew from that program, and then compared.

#![allow(clippy::expect_used)] // a test that cannot start the program has failed

use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/helm");

struct Cases {
    files: Vec<(String, String)>,
    commands: Vec<String>,
}

fn cases() -> Cases {
    let text = fs::read_to_string(format!("{HERE}/cases.txt")).expect("the cases");
    let mut cases = Cases { files: Vec::new(), commands: Vec::new() };
    let mut in_file = false;
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("-- ").and_then(|rest| rest.strip_suffix(" --")) {
            cases.files.push((path.to_owned(), String::new()));
            in_file = true;
        } else if let Some(command) = line.strip_prefix("$ ") {
            cases.commands.push(command.to_owned());
            in_file = false;
        } else if let (true, Some((_, content))) = (in_file, cases.files.last_mut()) {
            content.push_str(line);
            content.push('\n');
        }
    }
    cases
}

/// Runs all commands in one folder, one after the other: some make what others read.
fn answers(cases: &Cases, program: &str, before: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = fs::canonicalize(folder.path()).expect("a path without links");
    for (path, content) in &cases.files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, content).expect("a file");
    }
    cases.commands.iter().map(|command| answer(command, program, before, &root)).collect()
}

fn answer(command: &str, program: &str, before: &[&str], root: &Path) -> Value {
    let words: Vec<&str> = command.split(' ').collect();
    if words[0] == "cat" {
        let text: String = words[1..].iter().map(|path| fs::read_to_string(root.join(path)).unwrap_or_default()).collect();
        return json!({"$": command, "code": 0, "out": settled(&text, root), "err": ""});
    }
    let output = Command::new(program)
        .args(before)
        .args(&words)
        .current_dir(root)
        .env("HOME", root.join("home"))
        .env("KUBECONFIG", root.join("none"))
        .env("HELM_CACHE_HOME", root.join("home/cache"))
        .env("HELM_CONFIG_HOME", root.join("home/config"))
        .env("HELM_DATA_HOME", root.join("home/data"))
        .env_remove("HELM_NAMESPACE")
        .env_remove("SOURCE_DATE_EPOCH")
        .output()
        .expect("the program starts");
    let text = |bytes: &[u8]| settled(&String::from_utf8_lossy(bytes), root);
    // Logs are the tool's own; so is what is said beyond Helm's text.
    let mut told = String::new();
    let mut lines = text(&output.stderr);
    while let Some((before, rest)) = lines.split_once("\n\nhint: ") {
        lines = format!("{before}{}", rest.find('\n').map_or("", |end| &rest[end..]));
    }
    for line in lines.split_inclusive('\n').filter(|line| !line.starts_with("level=")) {
        told.push_str(line);
    }
    json!({"$": command, "code": output.status.code(), "out": text(&output.stdout), "err": told})
}

/// Without what is different every time: the folder, the program's name, times.
fn settled(text: &str, root: &Path) -> String {
    let text = text.replace(&*root.to_string_lossy(), "$DIR").replace("sluice helm", "helm");
    let lines = text.split_inclusive('\n').map(|line| if line.starts_with("generated: ") { "generated: TIME\n" } else { line });
    lines.collect()
}

#[test]
fn the_verbs_answer_as_helm_does() {
    let cases = cases();
    let file = format!("{HERE}/answers.jsonl");
    if let Ok(helm) = std::env::var("SLUICE_TEST_HELM4") {
        let recorded: String = answers(&cases, &helm, &[]).iter().map(|answer| format!("{answer}\n")).collect();
        fs::write(&file, recorded).expect("the answers are written");
    }
    let recorded = fs::read_to_string(&file).expect("the answers");
    let recorded: Vec<Value> = recorded.lines().map(|line| serde_json::from_str(line).expect("an answer")).collect();
    let ours = answers(&cases, env!("CARGO_BIN_EXE_sluice"), &["helm"]);
    assert_eq!(ours.len(), recorded.len(), "answers are recorded for all commands");
    let mut wrong = Vec::new();
    for (ours, helm) in ours.iter().zip(&recorded) {
        if ours != helm {
            wrong.push(format!("$ {}\n--- Helm\n{}\n--- ours\n{}", helm["$"].as_str().unwrap_or(""), shown(helm), shown(ours)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} answers differ\n{}", wrong.len(), recorded.len(), wrong.join("\n"));
}

fn shown(answer: &Value) -> String {
    format!("{}{}exit {}", answer["out"].as_str().unwrap_or(""), answer["err"].as_str().unwrap_or(""), answer["code"])
}

#[test]
fn the_same_chart_is_packed_to_the_same_bytes() {
    let cases = cases();
    let bytes = || {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = fs::canonicalize(folder.path()).expect("a path");
        for (path, content) in &cases.files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, content).expect("a file");
        }
        answer("package web", env!("CARGO_BIN_EXE_sluice"), &["helm"], &root);
        fs::read(root.join("web-1.2.3.tgz")).expect("the archive")
    };
    assert_eq!(bytes(), bytes());
}

#[test]
fn errors_and_lines_say_where_they_come_from() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = fs::canonicalize(folder.path()).expect("a path");
    for (path, content) in [
        ("c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 1.0.0\n"),
        ("c/values.yaml", "image: {name: web}\nports: [{port: 80}]\ncount: 1\n"),
        ("c/values.schema.json", "{\"properties\": {\"count\": {\"type\": \"integer\"}}}"),
        (
            "c/templates/a.yaml",
            "kind: ConfigMap\nmetadata:\n  name: a\ndata:\n  image: {{ .Values.image.name }}\n  all:\n    {{- toYaml .Values.ports | nindent 4 }}\n  x: {{ .Values.text }}\n{{- if .Values.deep }}\n  y: {{ .Values.image.tag.major }}\n{{- end }}\n{{- if .Values.need }}\n  z: {{ required \"a tag\" .Values.image.tag }}\n{{- end }}\n",
        ),
        ("prod.yaml", "image: {name: prod}\n"),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, content).expect("a file");
    }
    let run = |line: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["helm", "template"])
            .args(line.split(' '))
            .current_dir(&root)
            .env("KUBECONFIG", root.join("none"))
            .output()
            .expect("the program starts");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let explained = run("c -f prod.yaml --explain configmap/a");
    for wanted in [
        "  image: prod    # c/templates/a.yaml:5 image.name (prod.yaml)",
        "    - port: 80   # c/templates/a.yaml:7 ports[0].port (values.yaml of chart c)",
    ] {
        assert!(explained.contains(wanted), "{explained}");
    }
    let errors = [
        ("c --set deep=1", "hint: c/templates/a.yaml:10:15 reads below .Values.image.tag, which has no value"),
        ("c --set deep=1 -f prod.yaml", "hint: the nearest value above it, image, comes from prod.yaml"),
        ("c --set need=1", "hint: c/templates/a.yaml:13 reads image.tag, which has no value"),
        ("c --set text=a:", "hint: the line was written by c/templates/a.yaml:8 from text, which comes from --set"),
        ("c --set count=x", "hint: count comes from --set"),
    ];
    for (line, wanted) in errors {
        let said = run(line);
        assert!(said.starts_with("Error: ") && said.contains(wanted), "{line}: {said}");
    }
}

#[test]
fn what_cannot_be_checked_is_refused_and_charts_that_need_each_other_come_to_an_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = fs::canonicalize(folder.path()).expect("a path");
    for (name, other) in [("a", "b"), ("b", "a")] {
        let below = root.join(name).join("templates");
        fs::create_dir_all(&below).expect("a folder");
        let definition = format!(
            "apiVersion: v2\nname: {name}\nversion: 1.0.0\ndependencies: [{{name: {other}, version: 1.0.0, repository: 'file://../{other}'}}]\n"
        );
        fs::write(root.join(name).join("Chart.yaml"), definition).expect("a file");
        fs::write(below.join("c.yaml"), format!("kind: ConfigMap\nmetadata: {{name: {name}}}\n")).expect("a file");
    }
    let run = |line: &str| answer(line, env!("CARGO_BIN_EXE_sluice"), &["helm"], &root);
    for line in ["template r a --verify", "show chart a --verify", "dependency update a --verify", "dependency build a --verify"] {
        let said = run(line);
        let why = said["err"].as_str().unwrap_or_default();
        assert!(said["code"] == 1 && said["out"] == "" && why.contains("leave --verify away"), "{line}: {said}");
    }
    let said = run("package a --sign");
    assert!(said["code"] == 1 && said["err"].as_str().unwrap_or_default().contains("leave --sign away"), "{said}");
    assert!(!root.join("a-1.0.0.tgz").exists(), "nothing unsigned is made where a signature was asked for");
    // Each takes the other as it is now: one round more nests them one level deeper, and no command goes round.
    for round in 1..=2 {
        for name in ["a", "b"] {
            let said = run(&format!("dependency update {name}"));
            assert_eq!(said["code"], 0, "{said}");
        }
        let said = run("template r a");
        let made = said["out"].as_str().unwrap_or_default().matches("kind: ConfigMap").count();
        assert!(said["code"] == 0 && made == 2 * round, "{round}: {said}");
    }
}
