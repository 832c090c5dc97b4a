use crate::remote::{Repository, is_url, names_file, without_credentials};
use smol_str::SmolStr;

/// What `buildMetadata: [originAnnotations]` says of an object, and `transformerAnnotations` of each transformer that ran over it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    pub path: String,
    /// The repository and the reference, for what was fetched.
    pub repo: String,
    pub reference: String,
    pub configured_in: String,
    pub configured_by: Option<Plugin>,
}

/// The object that configured a generator or transformer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plugin {
    pub api_version: SmolStr,
    pub kind: SmolStr,
    pub name: SmolStr,
    pub namespace: SmolStr,
}

impl Plugin {
    pub fn builtin(kind: &str) -> Self {
        Self { api_version: "builtin".into(), kind: kind.into(), ..Self::default() }
    }
}

impl Origin {
    /// What a path names, as seen from here: another place in the same repository, or a repository of its own.
    pub fn append(&self, path: &str) -> Self {
        if is_url(path) && names_file(path) {
            return Self { path: without_credentials(path), ..Self::default() };
        }
        match Repository::parse(path) {
            Some(repository) => Self {
                path: repository.path,
                repo: without_credentials(&repository.url),
                reference: repository.reference,
                ..Self::default()
            },
            None => Self {
                path: join_relative(&self.path, path),
                repo: self.repo.clone(),
                reference: self.reference.clone(),
                ..Self::default()
            },
        }
    }

    /// The text of the annotation, as kustomize writes it.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write("", &mut out);
        if out.is_empty() { "{}\n".to_owned() } else { out }
    }

    fn write(&self, indent: &str, out: &mut String) {
        let mut line = |key: &str, value: &str| {
            if !value.is_empty() {
                out.push_str(&format!("{indent}{key}: {}\n", scalar(value)));
            }
        };
        line("path", &self.path);
        line("repo", &self.repo);
        line("ref", &self.reference);
        line("configuredIn", &self.configured_in);
        if let Some(plugin) = &self.configured_by {
            out.push_str(&format!("{indent}configuredBy:\n"));
            for (key, value) in
                [("apiVersion", &plugin.api_version), ("kind", &plugin.kind), ("name", &plugin.name), ("namespace", &plugin.namespace)]
            {
                if !value.is_empty() {
                    out.push_str(&format!("{indent}  {key}: {}\n", scalar(value)));
                }
            }
        }
    }
}

/// The text of the annotation that lists transformations.
pub(crate) fn transformations_text<'a>(list: impl Iterator<Item = &'a Origin>) -> String {
    let mut out = String::new();
    for origin in list {
        let mut item = String::new();
        origin.write("  ", &mut item);
        if item.is_empty() {
            out.push_str("- {}\n");
        } else {
            out.push_str("- ");
            out.push_str(&item[2..]);
        }
    }
    out
}

/// A string as YAML writes it; names and paths rarely need quotes.
fn scalar(text: &str) -> String {
    let mut out = String::new();
    yaml::emit_into(&serde_json::Value::from(text), &mut out);
    out.trim_end().to_owned()
}

/// A path below another, as Go's `filepath.Join` cleans it: it may climb above the start.
fn join_relative(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_read_as_kustomize_writes_them() {
        let origin = Origin {
            configured_in: "../base/k.yaml".to_owned(),
            configured_by: Some(Plugin::builtin("PatchTransformer")),
            ..Origin::default()
        };
        assert_eq!(origin.text(), "configuredIn: ../base/k.yaml\nconfiguredBy:\n  apiVersion: builtin\n  kind: PatchTransformer\n");
        assert_eq!(
            transformations_text([&origin].into_iter()),
            "- configuredIn: ../base/k.yaml\n  configuredBy:\n    apiVersion: builtin\n    kind: PatchTransformer\n"
        );
        assert_eq!(join_relative("../base", "../x/y.yaml"), "../x/y.yaml");
        assert_eq!(join_relative("", "../../a"), "../../a");
    }
}
