//! One question each, and what kustomize 5.8.1 answered.
//!
//! A file of `fixtures/cases` is a list of cases. Files before the first `==== ` belong to all of them:
//!
//! ```text
//! ==== name of the case | arguments
//! .... path of a file          the first one tells the directory to build; "(escaped)" after it allows \r, \t, \xNN and \\
//! .... => output               or `=> error`: what kustomize printed
//! ```
//!
//! With the path of a kustomize 5.8.1 in `SLUICE_KUSTOMIZE` the answers are asked for again and compared, and with `SLUICE_RECORD=1` written.

use kustomize::{LoadRestriction, Options, Order, build};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tree::MemoryTree;

#[derive(Debug, Clone, Default)]
struct Case {
    name: String,
    arguments: String,
    files: Vec<(String, Vec<u8>)>,
    answer: Option<Answer>,
}

#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Output(String),
    Error(String),
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            out.push(*first);
            continue;
        }
        let (escape, after) = rest.split_first().expect("a character follows a backslash");
        rest = after;
        match escape {
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'n' => out.push(b'\n'),
            b'x' => {
                let hex = std::str::from_utf8(&rest[..2]).expect("two digits follow");
                out.push(u8::from_str_radix(hex, 16).expect("two digits follow"));
                rest = &rest[2..];
            }
            b'\n' => {}
            other => out.push(*other),
        }
    }
    out
}

/// The shared files and the cases of a fixture, and the text before the first case.
fn parse(text: &str) -> (String, Vec<Case>) {
    let mut head = String::new();
    let mut shared = Case::default();
    let mut cases: Vec<Case> = Vec::new();
    let mut part: Option<(String, String)> = None;
    fn close(case: &mut Case, part: &mut Option<(String, String)>) {
        let Some((title, content)) = part.take() else { return };
        match title.as_str() {
            "=> output" => case.answer = Some(Answer::Output(content)),
            "=> error" => case.answer = Some(Answer::Error(content)),
            title => {
                let (path, bytes) = match title.strip_suffix(" (escaped)") {
                    Some(path) => (path, unescape(&content)),
                    None => (title, content.into_bytes()),
                };
                case.files.retain(|(known, _)| known != path);
                case.files.push((path.to_owned(), bytes));
            }
        }
    }
    for line in text.split_inclusive('\n') {
        if let Some(title) = line.strip_prefix("==== ") {
            close(cases.last_mut().unwrap_or(&mut shared), &mut part);
            let (name, arguments) = title.trim_end().split_once(" | ").unwrap_or((title.trim_end(), ""));
            cases.push(Case { name: name.to_owned(), arguments: arguments.to_owned(), ..Case::default() });
            continue;
        }
        if cases.is_empty() {
            head.push_str(line);
        }
        if let Some(title) = line.strip_prefix(".... ") {
            close(cases.last_mut().unwrap_or(&mut shared), &mut part);
            part = Some((title.trim_end().to_owned(), String::new()));
        } else if let Some((_, content)) = &mut part {
            content.push_str(line);
        }
    }
    close(cases.last_mut().unwrap_or(&mut shared), &mut part);
    for case in &mut cases {
        for (path, bytes) in &shared.files {
            if !case.files.iter().any(|(known, _)| known == path) {
                case.files.push((path.clone(), bytes.clone()));
            }
        }
    }
    (head, cases)
}

impl Case {
    /// The directory of the first file.
    fn root(&self) -> &str {
        let first = self.files.first().map_or("", |(path, _)| path.as_str());
        first.rsplit_once('/').map_or("", |(dir, _)| dir)
    }

    fn ours(&self) -> Answer {
        let mut tree = MemoryTree::new();
        for (path, bytes) in &self.files {
            tree.insert(&format!("case/{path}"), bytes.clone(), false);
        }
        let none = self.arguments.contains("LoadRestrictionsNone");
        let options = Options {
            order: if self.arguments.contains("--reorder none") { Order::Fifo } else { Order::Legacy },
            load_restriction: if none { LoadRestriction::None } else { LoadRestriction::RootOnly },
            ..Options::default()
        };
        let root = format!("case/{}", self.root());
        match build(&tree, root.trim_end_matches('/'), &options).and_then(|build| build.to_yaml()) {
            Ok(text) => Answer::Output(text),
            Err(error) => Answer::Error(format!("{error}\n")),
        }
    }

    fn theirs(&self, binary: &Path) -> Answer {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        for (path, bytes) in &self.files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("it has a parent")).expect("it can be made");
            fs::write(path, bytes).expect("it can be written");
        }
        let root = dir.path().join(self.root());
        let mut command = Command::new(binary);
        command.arg("build").args(self.arguments.split_whitespace()).arg(&root).current_dir(&root);
        let output = command.output().expect("kustomize runs");
        if output.status.success() {
            return Answer::Output(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let here = dir.path().to_string_lossy().into_owned();
        let message = String::from_utf8_lossy(&output.stderr).replace(&format!("/private{here}"), "").replace(&here, "");
        let message: Vec<&str> = message.lines().filter(|line| !line.starts_with("# Warning")).map(str::trim_end).collect();
        // A stack trace says nothing to a reader.
        let message = if message.iter().any(|line| line.starts_with("goroutine ")) { vec![message[0]] } else { message };
        Answer::Error(message.join("\n") + "\n")
    }
}

fn fixtures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases");
    let mut files: Vec<PathBuf> = fs::read_dir(dir).expect("the fixtures are there").flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn difference(found: &str, expected: &str) -> String {
    let line = found.lines().zip(expected.lines()).position(|(a, b)| a != b).unwrap_or(found.lines().count().min(expected.lines().count()));
    format!("line {}: found {:?}, expected {:?}", line + 1, found.lines().nth(line), expected.lines().nth(line))
}

#[test]
fn answers_are_those_of_kustomize() {
    let (mut wrong, mut total) = (Vec::new(), 0);
    for file in fixtures() {
        let topic = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (_, cases) = parse(&fs::read_to_string(&file).expect("it can be read"));
        for case in cases {
            total += 1;
            let name = format!("{topic}: {}", case.name);
            match (case.ours(), &case.answer) {
                (_, None) => wrong.push(format!("{name}: no answer is recorded")),
                (Answer::Output(found), Some(Answer::Output(expected))) if found == *expected => {}
                (Answer::Output(found), Some(Answer::Output(expected))) => wrong.push(format!("{name}: {}", difference(&found, expected))),
                (Answer::Error(_), Some(Answer::Error(_))) => {}
                (Answer::Output(_), Some(Answer::Error(why))) => wrong.push(format!("{name}: it builds, but kustomize fails: {why}")),
                (Answer::Error(why), Some(Answer::Output(_))) => wrong.push(format!("{name}: it fails: {why}")),
            }
        }
    }
    println!("cases: {} of {total} exact", total - wrong.len());
    assert!(total > 0, "no cases found");
    assert!(wrong.is_empty(), "{} of {total} cases are not exact:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn recorded_answers_are_what_kustomize_says_now() {
    let Some(binary) = std::env::var_os("SLUICE_KUSTOMIZE").map(PathBuf::from) else {
        println!("skipped: SLUICE_KUSTOMIZE names no kustomize 5.8.1");
        return;
    };
    let record = std::env::var_os("SLUICE_RECORD").is_some();
    let mut other = Vec::new();
    for file in fixtures() {
        let text = fs::read_to_string(&file).expect("it can be read");
        let (head, cases) = parse(&text);
        // The text of each case is kept as it is, but for the answer.
        let mut bodies = text[head.len()..].split_inclusive('\n').collect::<Vec<_>>();
        let mut out = head;
        for case in &cases {
            let answer = case.theirs(&binary);
            let same = match (&answer, &case.answer) {
                (Answer::Error(_), Some(Answer::Error(_))) => true,
                (answer, known) => Some(answer) == known.as_ref(),
            };
            if !same {
                other.push(format!("{}: {}", file.display(), case.name));
            }
            let len = bodies.iter().skip(1).position(|line| line.starts_with("==== ")).map_or(bodies.len(), |at| at + 1);
            let body: Vec<&str> = bodies.drain(..len).collect();
            let end = body.iter().position(|line| line.starts_with(".... => ")).unwrap_or(body.len());
            out.push_str(&body[..end].concat());
            if !out.ends_with('\n') {
                out.push('\n');
            }
            match answer {
                Answer::Output(text) => out.push_str(&format!(".... => output\n{text}")),
                Answer::Error(text) => out.push_str(&format!(".... => error\n{text}")),
            }
        }
        if record {
            fs::write(&file, out).expect("it can be written");
        }
    }
    assert!(record || other.is_empty(), "kustomize answers otherwise:\n{}", other.join("\n"));
}
