//! Path patterns: `@repo/apps/{app}` makes one set of outputs for every folder that matches.

use crate::{Limits, Operation, Output, Sources};
use merge::validation::names;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};
use tree::{Kind, MemoryTree};

/// Why a path pattern gives no outputs. Only a change of the pattern, of the templates or of the sources helps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("invalid pathPattern format: {0}")]
    Format(String),
    #[error("pathPattern {pattern:?}: {problem}")]
    Pattern { pattern: String, problem: Problem },
}

/// What is wrong with a path pattern, or with what it matched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("source alias {0} not found in local sources")]
    Alias(String),
    #[error("invalid capture starting at offset {0}: missing closing brace")]
    Open(usize),
    #[error("invalid capture ending at offset {0}: missing opening brace")]
    Close(usize),
    #[error("empty capture variable")]
    Empty,
    #[error("capture variable {0:?} must be a valid capture name matching [A-Za-z_][A-Za-z0-9_]*")]
    Name(String),
    #[error("duplicate capture variable {0:?}")]
    Duplicate(String),
    #[error("capture variable {0:?} is not a valid Kubernetes label key: {1}")]
    LabelKey(String, String),
    #[error("the pattern is too large")]
    TooLarge,
    #[error("captured value {0:?} for variable {1:?} is not a valid Kubernetes label value: {2}")]
    LabelValue(String, String, String),
    #[error("failed to render artifact {output} for match {folder}: invalid template {template:?}: {problem}")]
    Template { output: String, folder: String, template: String, problem: TemplateProblem },
    #[error("rendered artifact name {0:?} is not a valid Kubernetes object name: {1}")]
    OutputName(String, String),
    #[error("directories {0:?} and {1:?} both resolve to artifact name {2:?}")]
    Collision(String, String, String),
    #[error("it makes more than {0} artifacts")]
    TooMany(usize),
}

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateProblem {
    #[error("capture starting at offset {0} is missing closing brace")]
    Open(usize),
    #[error("capture ending at offset {0} is missing opening brace")]
    Close(usize),
    #[error("empty capture variable")]
    Empty,
    #[error("capture variable {0:?} must be a valid capture name matching [A-Za-z_][A-Za-z0-9_]*")]
    Name(String),
    #[error("capture variable {0:?} is not defined by pathPattern")]
    Undefined(String),
}

/// The outputs of every folder that the pattern matches, in the order of a walk, for each folder in the order of the templates.
///
/// Names and labels take what was captured in lower case, paths take it as it is.
pub fn expand(pattern: &str, templates: &[Output], sources: &Sources, limits: Limits) -> Result<Vec<Output>, PatternError> {
    let (alias, path) =
        pattern.strip_prefix('@').and_then(|rest| rest.split_once('/')).ok_or_else(|| PatternError::Format(pattern.to_owned()))?;
    let wrong = |problem| PatternError::Pattern { pattern: pattern.to_owned(), problem };
    let source = sources.get(alias).ok_or_else(|| wrong(Problem::Alias(alias.to_owned())))?;
    folders(path, source).and_then(|folders| render(folders, templates, limits)).map_err(wrong)
}

/// A folder that matches, with what was captured.
struct Folder {
    path: String,
    captures: BTreeMap<String, String>,
}

fn folders(pattern: &str, source: &MemoryTree) -> Result<Vec<Folder>, Problem> {
    let (matcher, names) = compile(pattern)?;
    let mut found = Vec::new();
    let _ = tree::walk(source, &mut |path, kind| {
        if kind == Kind::Dir
            && let Some(captured) = matcher.captures(path)
        {
            let value = |(at, name): (usize, &String)| Some((name.clone(), captured.get(at + 1)?.as_str().to_owned()));
            found.push(Folder { path: path.to_owned(), captures: names.iter().enumerate().filter_map(value).collect() });
        }
        Ok::<(), ()>(())
    });
    Ok(found)
}

/// The pattern as an expression over whole paths: a capture is some text of one name.
fn compile(pattern: &str) -> Result<(Regex, Vec<String>), Problem> {
    let mut expression = String::from(r"\A");
    let mut names = Vec::new();
    let mut seen = BTreeSet::new();
    for part in parts(pattern) {
        match part {
            Part::Text(text) => expression.push_str(&regex::escape(text)),
            Part::Capture(name) => {
                if !seen.insert(name) {
                    return Err(Problem::Duplicate(name.to_owned()));
                }
                names.push(name.to_owned());
                expression.push_str("([^/]+)");
            }
            Part::Open(at) => return Err(Problem::Open(at)),
            Part::Close(at) => return Err(Problem::Close(at)),
            Part::Empty => return Err(Problem::Empty),
            Part::Name(name) => return Err(Problem::Name(name.to_owned())),
        }
    }
    expression.push_str(r"\z");
    let matcher = Regex::new(&expression).map_err(|_| Problem::TooLarge)?;
    for name in &names {
        let problems = names::qualified(name);
        if !problems.is_empty() {
            return Err(Problem::LabelKey(name.clone(), problems.join("; ")));
        }
    }
    Ok((matcher, names))
}

fn render(folders: Vec<Folder>, templates: &[Output], limits: Limits) -> Result<Vec<Output>, Problem> {
    let mut outputs = Vec::new();
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for folder in folders {
        let lower: BTreeMap<String, String> = folder.captures.iter().map(|(k, v)| (k.clone(), v.to_lowercase())).collect();
        for (name, value) in &lower {
            let problems = names::label_value(value);
            if !problems.is_empty() {
                return Err(Problem::LabelValue(value.clone(), name.clone(), problems.join("; ")));
            }
        }
        for (template, output) in templates.iter().enumerate() {
            let fill = |text: &str, values: &BTreeMap<String, String>| {
                fill(text, values).map_err(|problem| Problem::Template {
                    output: output.name.clone(),
                    folder: folder.path.clone(),
                    template: text.to_owned(),
                    problem,
                })
            };
            let name = fill(&output.name, &lower)?;
            let rendered = output.operations.iter().map(|operation| {
                let (from, to) = (fill(&operation.from, &folder.captures)?, fill(&operation.to, &folder.captures)?);
                Ok(Operation { from, to, ..operation.clone() })
            });
            let operations = rendered.collect::<Result<_, _>>()?;
            let problems = names::subdomain(&name);
            if !problems.is_empty() {
                return Err(Problem::OutputName(name, problems.join("; ")));
            }
            if let Some(before) = seen.insert(name.clone(), folder.path.clone()) {
                return Err(Problem::Collision(before, folder.path, name));
            }
            if outputs.len() == limits.outputs_max {
                return Err(Problem::TooMany(limits.outputs_max));
            }
            outputs.push(Output { name, operations, labels: lower.clone(), template });
        }
    }
    Ok(outputs)
}

/// A template with captures put in.
fn fill(template: &str, values: &BTreeMap<String, String>) -> Result<String, TemplateProblem> {
    let mut out = String::new();
    for part in parts(template) {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Capture(name) => {
                out.push_str(values.get(name).ok_or_else(|| TemplateProblem::Undefined(name.to_owned()))?);
            }
            Part::Open(at) => return Err(TemplateProblem::Open(at)),
            Part::Close(at) => return Err(TemplateProblem::Close(at)),
            Part::Empty => return Err(TemplateProblem::Empty),
            Part::Name(name) => return Err(TemplateProblem::Name(name.to_owned())),
        }
    }
    Ok(out)
}

/// What a text with captures is made of; the last four are mistakes, and end it.
enum Part<'a> {
    Text(&'a str),
    Capture(&'a str),
    Open(usize),
    Close(usize),
    Empty,
    Name(&'a str),
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(brace) = text[at..].find(['{', '}']).map(|brace| at + brace) {
        if brace > at {
            parts.push(Part::Text(&text[at..brace]));
        }
        if text[brace..].starts_with('}') {
            parts.push(Part::Close(brace));
            return parts;
        }
        let Some(end) = text[brace..].find('}').map(|end| brace + end) else {
            parts.push(Part::Open(brace));
            return parts;
        };
        let name = &text[brace + 1..end];
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        parts.push(match name {
            "" => Part::Empty,
            name if begins && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => Part::Capture(name),
            name => Part::Name(name),
        });
        at = end + 1;
    }
    if at < text.len() {
        parts.push(Part::Text(&text[at..]));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn sources(paths: &[&str]) -> Sources {
        Sources::from([("repo".to_owned(), Arc::new(MemoryTree::from_iter(paths.iter().map(|path| (*path, "")))))])
    }

    fn template(name: &str) -> Output {
        let operation = Operation { from: "@repo/apps/{app}/**".into(), to: "@artifact/{app}/".into(), ..Operation::default() };
        Output { name: name.into(), operations: vec![operation], ..Output::default() }
    }

    fn failure(pattern: &str, name: &str, paths: &[&str]) -> String {
        expand(pattern, &[template(name)], &sources(paths), Limits::default()).unwrap_err().to_string()
    }

    #[test]
    fn every_folder_that_matches_makes_its_outputs() {
        let sources = sources(&["apps/Web/base/a", "apps/auth/base/b", "apps/file", "other/x/y", "apps/Web/more/deep/c"]);
        let outputs = expand("@repo/apps/{app}", &[template("x-{app}"), template("{app}")], &sources, Limits::default()).unwrap();
        let seen: Vec<_> =
            outputs.iter().map(|o| (o.name.as_str(), o.operations[0].from.as_str(), o.labels["app"].as_str(), o.template)).collect();
        assert_eq!(
            seen,
            [
                ("x-web", "@repo/apps/Web/**", "web", 0),
                ("web", "@repo/apps/Web/**", "web", 1),
                ("x-auth", "@repo/apps/auth/**", "auth", 0),
                ("auth", "@repo/apps/auth/**", "auth", 1)
            ]
        );
        assert_eq!(outputs[0].operations[0].to, "@artifact/Web/");
        assert!(expand("@repo/none/{app}", &[template("{app}")], &sources, Limits::default()).unwrap().is_empty());
        assert!(
            expand("@repo/apps/{app}/", &[template("{app}")], &sources, Limits::default()).unwrap().is_empty(),
            "no folder ends in a slash"
        );
    }

    #[test]
    fn captures_share_a_name_and_dots_are_dots() {
        let outputs = expand(
            "@repo/v1.0/{a}-{b}",
            &[Output { name: "{a}.{b}".into(), ..Output::default() }],
            &sources(&["v1.0/x-y-z/f", "v1x0/x-y/f"]),
            Limits::default(),
        );
        let outputs = outputs.unwrap();
        assert_eq!((outputs.len(), outputs[0].name.as_str()), (1, "x-y.z"), "the first takes as much as it can");
    }

    #[test]
    fn wrong_patterns_are_told_by_what_is_wrong() {
        let table = [
            (
                "@repo/{1app}",
                r#"pathPattern "@repo/{1app}": capture variable "1app" must be a valid capture name matching [A-Za-z_][A-Za-z0-9_]*"#,
            ),
            ("@repo/{app}/{app}", r#"pathPattern "@repo/{app}/{app}": duplicate capture variable "app""#),
            ("@repo/a{b", r#"pathPattern "@repo/a{b": invalid capture starting at offset 1: missing closing brace"#),
            ("@repo/a}b", r#"pathPattern "@repo/a}b": invalid capture ending at offset 1: missing opening brace"#),
            ("@repo/{}", r#"pathPattern "@repo/{}": empty capture variable"#),
            ("@none/{app}", r#"pathPattern "@none/{app}": source alias none not found in local sources"#),
            ("repo", "invalid pathPattern format: repo"),
        ];
        for (pattern, expected) in table {
            assert_eq!(failure(pattern, "{app}", &[]), expected);
        }
        assert!(
            failure("@repo/{_app}", "{_app}", &[])
                .starts_with(r#"pathPattern "@repo/{_app}": capture variable "_app" is not a valid Kubernetes label key: name part must"#)
        );
    }

    #[test]
    fn what_a_pattern_matches_must_make_good_names() {
        let wrong = failure("@repo/apps/{app}", "{name}", &["apps/auth/x"]);
        assert_eq!(
            wrong,
            r#"pathPattern "@repo/apps/{app}": failed to render artifact {name} for match apps/auth: invalid template "{name}": capture variable "name" is not defined by pathPattern"#
        );
        let wrong = failure("@repo/apps/{app}", "{app}", &["apps/Auth/x", "apps/auth/x"]);
        assert_eq!(
            wrong,
            r#"pathPattern "@repo/apps/{app}": directories "apps/Auth" and "apps/auth" both resolve to artifact name "auth""#
        );
        assert!(
            failure("@repo/apps/{app}", "{app}", &["apps/a_b/x"])
                .contains(r#"rendered artifact name "a_b" is not a valid Kubernetes object name: a lowercase RFC 1123"#)
        );
        assert!(
            failure("@repo/apps/{app}", "{app}", &["apps/.git/x"])
                .contains(r#"captured value ".git" for variable "app" is not a valid Kubernetes label value"#)
        );
        assert!(failure("@repo/apps/{app}", "same", &["apps/a/x", "apps/b/x"]).contains(r#"both resolve to artifact name "same""#));
    }

    #[test]
    fn outputs_are_counted() {
        let limits = Limits { outputs_max: 1, ..Limits::default() };
        let error = expand("@repo/{app}", &[template("{app}")], &sources(&["a/x", "b/x"]), limits).unwrap_err();
        assert_eq!(error.to_string(), r#"pathPattern "@repo/{app}": it makes more than 1 artifacts"#);
    }
}
