//! The cases of `fixtures/cases`, as files.

#![allow(dead_code, reason = "each test uses its own part")]

use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(Debug, Clone, Default)]
pub struct Case {
    pub name: String,
    pub arguments: String,
    pub files: Vec<(String, Vec<u8>)>,
    pub answer: Option<Answer>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
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
pub fn parse(text: &str) -> (String, Vec<Case>) {
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
    pub fn root(&self) -> &str {
        let first = self.files.first().map_or("", |(path, _)| path.as_str());
        first.rsplit_once('/').map_or("", |(dir, _)| dir)
    }
}

pub fn fixtures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cases");
    let mut files: Vec<PathBuf> = fs::read_dir(dir).expect("the fixtures are there").flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}
