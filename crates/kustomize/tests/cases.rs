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
//! With the path of a kustomize 5.8.1 in `SLUICE_TEST_KUSTOMIZE` the answers are asked for again and compared, and with `SLUICE_RECORD=1` written.

mod common;

use common::{Answer, Case, fixtures, parse};
use kustomize::{LoadRestriction, Options, Order, build};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tree::MemoryTree;

/// Asks the two engines.
trait Ask {
    fn ours(&self) -> Answer;
    fn theirs(&self, binary: &Path) -> Answer;
}

impl Ask for Case {
    fn ours(&self) -> Answer {
        let mut tree = MemoryTree::new();
        for (path, bytes) in &self.files {
            tree.insert(&format!("case/{path}"), bytes.clone(), false);
        }
        let none = self.arguments.contains("LoadRestrictionsNone");
        let options = Options {
            order: if self.arguments.contains("--reorder none") { Order::Fifo } else { Order::Legacy },
            managed_by: self.arguments.contains("--enable-managedby-label").then(|| "kustomize-(devel)".to_owned()),
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
    let Some(binary) = std::env::var_os("SLUICE_TEST_KUSTOMIZE").map(PathBuf::from) else {
        println!("skipped: SLUICE_TEST_KUSTOMIZE names no kustomize 5.8.1");
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
