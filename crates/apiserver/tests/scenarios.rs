//! Requests and the answers of a real kube-apiserver to them.
//!
//! Each file of `tests/scenarios` is a list of scenarios: requests that are sent in order, in a namespace of their own, and the answers
//! that Kubernetes 1.36.3 gave, with names, versions and times made comparable. They run against an embedded server, or against the
//! cluster that `SLUICE_TEST_KUBECONFIG` names; with `SLUICE_RECORD_SCENARIOS=1` the answers are written anew (real server only, without
//! a controller manager; with `SLUICE_TEST_CONTROLLERS=1` only what needs one runs).

mod client;
mod forms;

use apiserver::{Controllers, Nodes, Options, Running, Server};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use client::Access;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What needs controllers beside the server: of a real one, those of a controller manager.
const WITH_CONTROLLERS: [&str; 1] = ["quotas.json"];

/// What a server does behind the scenes is done by then.
const UNTIL_MAX: Duration = Duration::from_secs(30);

struct Target {
    access: Access,
    _embedded: Option<Running>,
}

impl Target {
    async fn start(controllers: Controllers) -> Self {
        if let Ok(path) = std::env::var("SLUICE_TEST_KUBECONFIG") {
            let text = std::fs::read_to_string(path).expect("the kubeconfig can be read");
            return Self { access: Access::of_kubeconfig(&text), _embedded: None };
        }
        let options = Options { controllers, nodes: Nodes::None, ..Options::default() };
        let running = Server::start(options).await.expect("the server starts");
        Self { access: Access::of_kubeconfig(&running.kubeconfig()), _embedded: Some(running) }
    }

    async fn send(&self, request: &Value, namespace: &str, seen: &Map<String, Value>) -> Value {
        let fill = |text: &str| {
            let mut text = text.replace("{ns}", namespace);
            for (name, value) in seen {
                if let Some(value) = value.as_str() {
                    text = text.replace(&format!("{{{name}}}"), value);
                }
            }
            text
        };
        let text = |key: &str| request.get(key).and_then(Value::as_str);
        let method = text("method").unwrap_or("GET").parse().expect("a method");
        let mut call = self.access.client.request(method, format!("{}{}", self.access.base, fill(text("path").expect("a path"))));
        call = call.bearer_auth(text("token").unwrap_or(&self.access.token));
        call = call.header("user-agent", "scenario/1").header("accept", text("accept").unwrap_or("application/json"));
        for (name, value) in request.get("headers").and_then(Value::as_object).into_iter().flatten() {
            call = call.header(name, fill(value.as_str().unwrap_or("")));
        }
        let bytes = text("bytes").map(|bytes| STANDARD.decode(bytes).expect("base64"));
        let body = text("text").map(fill).or_else(|| request.get("body").map(|body| fill(&body.to_string())));
        if let Some(body) = bytes.or(body.map(String::into_bytes)) {
            call = call.header("content-type", text("type").unwrap_or("application/json")).body(body);
        }
        let mut answer = match call.send().await {
            Ok(answer) => answer,
            // A real server breaks off the stream where its code panics.
            Err(error) if std::env::var_os("SLUICE_TEST_KUBECONFIG").is_some() => {
                return json!({"code": 0, "body": format!("no answer: {}", error.is_request())});
            }
            Err(error) => panic!("no answer to {request}: {error}"),
        };
        let code = answer.status().as_u16();
        let warnings: Vec<String> =
            answer.headers().get_all("warning").iter().map(|w| String::from_utf8_lossy(w.as_bytes()).into_owned()).collect();
        let kind = answer.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
        let body = if let Some(lines) = request.get("events").and_then(Value::as_u64) {
            let mut buffer = Vec::new();
            while (buffer.iter().filter(|b| **b == b'\n').count() as u64) < lines {
                let chunk =
                    tokio::time::timeout(Duration::from_secs(20), answer.chunk()).await.expect("an event in time").expect("a chunk");
                match chunk {
                    Some(chunk) => buffer.extend_from_slice(&chunk),
                    None => break,
                }
            }
            let text = String::from_utf8_lossy(&buffer).into_owned();
            text.lines().take(lines as usize).map(|line| serde_json::from_str(line).unwrap_or(json!(line))).collect()
        } else {
            let bytes = match request.get("first") {
                // The beginning of a watch.
                Some(_) => tokio::time::timeout(Duration::from_secs(20), answer.chunk()).await.expect("an event in time").expect("a chunk"),
                None => Some(answer.bytes().await.expect("a body")),
            };
            let bytes = bytes.unwrap_or_default();
            forms::wire::read(&bytes).unwrap_or_else(|| {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                serde_json::from_str(&text).unwrap_or(Value::String(text))
            })
        };
        let mut out = json!({"code": code, "type": kind, "body": body});
        if !warnings.is_empty() {
            out["warnings"] = json!(warnings);
        }
        out
    }
}

/// Makes answers of different servers and runs comparable.
#[derive(Default)]
struct Names {
    uids: HashMap<String, usize>,
    versions: HashMap<String, usize>,
}

fn is_uid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| if matches!(at, 8 | 13 | 18 | 23) { b == b'-' } else { b.is_ascii_hexdigit() })
}

fn is_age(text: &str) -> bool {
    text.len() <= 4 && text.strip_suffix('s').is_some_and(|seconds| seconds.parse::<u32>().is_ok())
}

fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 20 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[10] == b'T' && bytes[13] == b':' && text.ends_with('Z')
}

impl Names {
    fn version(&mut self, text: &str) -> String {
        let next = self.versions.len() + 1;
        format!("<version {}>", self.versions.entry(text.to_owned()).or_insert(next))
    }

    fn text(&mut self, text: &str, namespace: &str) -> String {
        if is_time(text) {
            return "<time>".to_owned();
        }
        if text.contains("  creationTimestamp: ") || text.contains("\ncolumnDefinitions:") {
            // An object in YAML.
            let line = |line: &str| match line.trim_start().split_once(": ") {
                None if is_age(line.trim_start().trim_start_matches("- ")) => "- <age>".to_owned(),
                Some((key @ ("creationTimestamp" | "time" | "resourceVersion" | "uid"), _)) => format!("{key}: <some>"),
                _ => line.to_owned(),
            };
            let text = text.replace(namespace, "{ns}");
            let mut lines = text.lines().peekable();
            let mut out = Vec::new();
            while let Some(one) = lines.next() {
                // Descriptions of columns are texts of Kubernetes, not ours.
                if one.starts_with("- description: ") {
                    out.push("- description: <some>".to_owned());
                    while lines.next_if(|next| !next.starts_with("  format: ")).is_some() {}
                    continue;
                }
                out.push(line(one));
            }
            return out.join("\n");
        }
        let mut out = text.replace(namespace, "{ns}");
        // Uids and versions that a message speaks of.
        let mut at = 0;
        while at + 36 <= out.len() {
            if out.is_char_boundary(at) && out.is_char_boundary(at + 36) && is_uid(&out[at..at + 36]) {
                let uid = out[at..at + 36].to_owned();
                let next = self.uids.len() + 1;
                let name = format!("<uid {}>", self.uids.entry(uid).or_insert(next));
                out.replace_range(at..at + 36, &name);
            }
            at += 1;
        }
        let known: Vec<(String, usize)> = self.versions.iter().map(|(k, v)| (k.clone(), *v)).collect();
        for (version, number) in known {
            if version.len() > 1 {
                out = out.replace(&format!("({version})"), &format!("(<version {number}>)"));
            }
        }
        out
    }

    fn value(&mut self, value: &mut Value, namespace: &str) {
        match value {
            Value::String(text) => *text = self.text(text, namespace),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item, namespace)),
            Value::Object(map) => {
                let list = map.contains_key("items") || map.contains_key("rows");
                if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
                    if list && metadata.contains_key("resourceVersion") {
                        metadata.insert("resourceVersion".to_owned(), json!("<list>"));
                    }
                    if metadata.contains_key("continue") {
                        metadata.insert("continue".to_owned(), json!("<continue>"));
                    }
                    if let Some(base) = metadata.get("generateName").and_then(Value::as_str).map(str::to_owned)
                        && metadata.get("name").and_then(Value::as_str).is_some_and(|n| n.starts_with(&base) && n.len() == base.len() + 5)
                    {
                        metadata.insert("name".to_owned(), json!("<generated>"));
                    }
                }
                for key in ["clusterIP", "clusterIPs", "nodePort", "healthCheckNodePort"] {
                    if map.get(key).is_some_and(|v| !v.is_null() && v != "None" && *v != json!(["None"])) {
                        map.insert(key.to_owned(), json!("<allocated>"));
                    }
                }
                for (key, value) in map.iter_mut() {
                    match (key.as_str(), value.as_str()) {
                        ("resourceVersion", Some(text)) if text.parse::<u64>().is_ok_and(|n| n > 0) => *value = json!(self.version(text)),
                        _ => self.value(value, namespace),
                    }
                }
                // Ages are times too.
                if let Some(cells) = map.get_mut("cells").and_then(Value::as_array_mut) {
                    for cell in cells {
                        let given = cell.as_str().and_then(|t| t.parse::<std::net::Ipv4Addr>().ok()).map(|ip| ip.octets());
                        // An address of the service network.
                        if given.is_some_and(|ip| ip[0] == 10 && (96..112).contains(&ip[1])) {
                            *cell = json!("<allocated>");
                        }
                        if cell.as_str().is_some_and(is_age) {
                            *cell = json!("<age>");
                        }
                    }
                }
                // Descriptions are texts of Kubernetes, not ours.
                for column in map.get_mut("columnDefinitions").and_then(Value::as_array_mut).into_iter().flatten() {
                    column["description"] = json!("");
                }
                sort(map);
            }
            _ => {}
        }
    }
}

/// Who wrote in the same second comes in any order, and where a long text of YAML is broken depends on the length of the namespace.
fn steady(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("\nkind: Status\n") => {
            let mut lines: Vec<String> = Vec::new();
            for line in text.lines() {
                match lines.last_mut().filter(|last| last.starts_with("message: '") && !last.ends_with('\'')) {
                    Some(last) => last.extend([" ", line.trim_start()]),
                    None => lines.push(line.to_owned()),
                }
            }
            *text = lines.join("\n");
        }
        Value::Array(items) => items.iter_mut().for_each(steady),
        Value::Object(map) => {
            if let Some(owners) = map.get_mut("managedFields").and_then(Value::as_array_mut) {
                owners.sort_by_key(Value::to_string);
            }
            // The hash of a group that is named after the run.
            if map.get("groupVersion").and_then(Value::as_str).is_some_and(|group| group.contains("{ns}")) {
                for resource in map.get_mut("resources").and_then(Value::as_array_mut).into_iter().flatten() {
                    if resource.get("storageVersionHash").is_some() {
                        resource["storageVersionHash"] = json!("<hash>");
                    }
                }
            }
            map.values_mut().for_each(steady);
        }
        _ => {}
    }
}

fn sort(map: &mut Map<String, Value>) {
    map.sort_keys();
}

/// Keeps a part of an answer for later requests: `{"name": "/metadata/resourceVersion"}`.
fn keep(request: &Value, answer: &Value, seen: &mut Map<String, Value>) {
    for (name, pointer) in request.get("keep").and_then(Value::as_object).into_iter().flatten() {
        if let Some(value) = answer["body"].pointer(pointer.as_str().unwrap_or("")) {
            seen.insert(name.clone(), value.clone());
        }
    }
}

async fn run(target: &Target, scenario: &Value, namespace: &str) -> Vec<Value> {
    let made = json!({"method": "POST", "path": "/api/v1/namespaces", "body": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}});
    let answer = target.send(&made, namespace, &Map::new()).await;
    assert_eq!(answer["code"], 201, "{answer}");
    let (mut seen, mut names, mut out) = (Map::new(), Names::default(), Vec::new());
    for request in scenario["requests"].as_array().into_iter().flatten() {
        let begun = Instant::now();
        let mut answer = loop {
            let answer = target.send(request, namespace, &seen).await;
            // A definition is served a moment after it was made.
            match request.get("until").and_then(Value::as_u64) {
                Some(code) if answer["code"] != code => {
                    assert!(begun.elapsed() < UNTIL_MAX, "{request} is still answered with {answer}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                _ => break answer,
            }
        };
        keep(request, &answer, &mut seen);
        if request.get("silent").is_some() {
            continue;
        }
        names.value(&mut answer, namespace);
        out.push(answer);
    }
    let gone = json!({"method": "DELETE", "path": format!("/api/v1/namespaces/{namespace}")});
    target.send(&gone, namespace, &Map::new()).await;
    for request in scenario["cleanup"].as_array().into_iter().flatten() {
        target.send(request, namespace, &seen).await;
    }
    out
}

/// The first places where two values differ.
fn differences(path: &str, real: &Value, ours: &Value, out: &mut String) {
    if real == ours || out.len() > 6000 {
        return;
    }
    match (real, ours) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                let none = json!("<absent>");
                differences(&format!("{path}.{key}"), a.get(key).unwrap_or(&none), b.get(key).unwrap_or(&none), out);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}[{at}]"), a, b, out);
            }
        }
        _ => {
            let _ = writeln!(out, "    {path}\n      real: {real}\n      ours: {ours}");
        }
    }
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// The scenarios of a file. Those that loops make are made anew when their answers are recorded.
fn read(file: &Path, recording: bool) -> Vec<Value> {
    let text = std::fs::read_to_string(file).expect("a file");
    let mut kept: Vec<Value> = serde_json::from_str(&text).expect("a list of scenarios");
    if file.file_name().is_some_and(|name| name == forms::FILE) {
        let made = forms::scenarios();
        if recording {
            let differs = |name: &Value| kept.iter().find(|old| old["name"] == *name).and_then(|old| old.get("differs")).cloned();
            return made
                .into_iter()
                .map(|mut new| {
                    if let Some(why) = differs(&new["name"]) {
                        new["differs"] = why;
                    }
                    new
                })
                .collect();
        }
        let requests = |all: &[Value]| -> Vec<Value> { all.iter().map(|one| one["requests"].clone()).collect() };
        assert!(requests(&kept) == requests(&made), "the loops make other scenarios than those that were recorded: record them anew");
        kept.truncate(made.len());
    }
    kept
}

#[tokio::test]
async fn answers_are_those_of_a_real_server() {
    let recording = std::env::var_os("SLUICE_RECORD_SCENARIOS").is_some();
    let external = std::env::var_os("SLUICE_TEST_KUBECONFIG").is_some();
    // What is listed as different is shown too.
    let listed = std::env::var_os("SLUICE_SHOW_LISTED").is_some();
    let only = std::env::var("SLUICE_SCENARIO").unwrap_or_default();
    let alone = Target::start(Controllers::NONE).await;
    let together = Target::start(Controllers::parse("resourcequota").expect("a controller")).await;
    let managed = std::env::var_os("SLUICE_TEST_CONTROLLERS").is_some();
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory())
        .expect("scenarios")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    let (mut count, mut apart, mut known, mut report) = (0, 0, 0, String::new());
    let process = std::process::id();
    for file in files {
        let controlled = WITH_CONTROLLERS.iter().any(|name| file.ends_with(name));
        if external && controlled != managed {
            continue;
        }
        let target = if controlled { &together } else { &alone };
        let mut scenarios = read(&file, recording);
        for scenario in &mut scenarios {
            let name = scenario["name"].as_str().expect("a name").to_owned();
            if !only.is_empty() && !name.contains(&only) && !file.ends_with(&only) {
                continue;
            }
            count += 1;
            let namespace = format!("s{process}x{count}");
            let answers = run(target, scenario, &namespace).await;
            if recording {
                scenario["answers"] = json!(answers);
                continue;
            }
            let mut text = String::new();
            let recorded = scenario["answers"].as_array().cloned().unwrap_or_default();
            for (at, (real, ours)) in recorded.iter().zip(&answers).enumerate() {
                let (mut real, mut ours) = (real.clone(), ours.clone());
                steady(&mut real);
                steady(&mut ours);
                differences(&format!("{at}"), &real, &ours, &mut text);
            }
            if recorded.len() != answers.len() {
                let _ = writeln!(text, "    {} answers instead of {}", answers.len(), recorded.len());
            }
            match scenario.get("differs").and_then(Value::as_str) {
                Some(why) if !text.is_empty() => {
                    known += 1;
                    if listed {
                        println!("  {name} ({why}):\n{text}");
                    }
                }
                // The real server is what the others are listed against.
                Some(_) if external => known += 1,
                Some(why) => {
                    apart += 1;
                    let _ = writeln!(report, "  {name}: is listed as different ({why}) and is not");
                }
                None if !text.is_empty() => {
                    apart += 1;
                    let _ = writeln!(report, "  {name}:\n{text}");
                }
                None => {}
            }
        }
        let chosen = only.is_empty() || file.ends_with(&only);
        if recording && chosen {
            // One answer a line keeps the file short and its changes readable.
            let mut out = String::from("[\n");
            for (at, scenario) in scenarios.iter().enumerate() {
                let _ = writeln!(out, "{{\"name\": {},", scenario["name"]);
                if let Some(why) = scenario.get("differs") {
                    let _ = writeln!(out, " \"differs\": {why},");
                }
                for part in ["requests", "answers", "cleanup"] {
                    let Some(list) = scenario.get(part).and_then(Value::as_array) else { continue };
                    let lines: Vec<String> = list.iter().map(|v| format!("  {v}")).collect();
                    let _ = write!(out, " \"{part}\": [\n{}]", lines.join(",\n"));
                    let more = part != "cleanup" && (part == "requests" || scenario.get("cleanup").is_some());
                    out.push_str(if more { ",\n" } else { "\n" });
                }
                out.push_str(if at + 1 < scenarios.len() { "},\n" } else { "}\n" });
            }
            out.push_str("]\n");
            std::fs::write(&file, out).expect("the answers can be written");
        }
    }
    println!("{count} scenarios, {apart} differ, {known} differ as listed");
    assert!(apart == 0, "{apart} of {count} scenarios differ from the recorded answers\n{report}");
}
