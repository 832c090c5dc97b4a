//! References to objects on the command line: `[Kind/]name[.namespace]`.

use serde_json::Value;

use super::draft::Fields;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reference {
    pub kind: String,
    pub name: String,
    pub namespace: String,
}

impl Reference {
    /// Everything but one slash makes it all a name, as with Flux.
    pub fn parse(text: &str) -> Self {
        let (kind, rest) = match text.split('/').collect::<Vec<_>>().as_slice() {
            [kind, rest] => (*kind, *rest),
            _ => ("", text),
        };
        let (name, namespace) = rest.rsplit_once('.').unwrap_or((rest, ""));
        Self { kind: kind.to_owned(), name: name.to_owned(), namespace: namespace.to_owned() }
    }

    pub fn to_value(&self) -> Value {
        Fields::new()
            .text("kind", &self.kind)
            .value("name", Value::from(self.name.as_str()))
            .text("namespace", &self.namespace)
            .into_value()
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.kind, self.name)?;
        if self.namespace.is_empty() { Ok(()) } else { write!(out, ".{}", self.namespace) }
    }
}

const KUSTOMIZATION_SOURCES: &[&str] = &["OCIRepository", "GitRepository", "Bucket"];
const CHART_SOURCES: &[&str] = &["HelmRepository", "GitRepository", "Bucket"];

fn known_kind(kind: &str, kinds: &[&str]) -> Result<String, String> {
    match kinds.iter().find(|known| known.eq_ignore_ascii_case(kind)) {
        Some(known) => Ok((*known).to_owned()),
        None => Err(format!("source kind '{kind}' is not supported, must be one of: {}", kinds.join(", "))),
    }
}

/// The source of a Kustomization; a bare name is a GitRepository. Returns the reference in full.
pub fn kustomization_source(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("no Kustomization source given, please specify [<kind>/]<name>[.<namespace>]".to_owned());
    }
    let mut reference = Reference::parse(text);
    if reference.name.is_empty() {
        return Err(format!("no name given for source of kind '{}'", reference.kind));
    }
    if reference.kind.is_empty() {
        if KUSTOMIZATION_SOURCES.contains(&reference.name.as_str()) {
            return Err(format!("no kind specified for source '{}'", reference.name));
        }
        reference.kind = "GitRepository".to_owned();
    }
    reference.kind = known_kind(&reference.kind, KUSTOMIZATION_SOURCES)?;
    Ok(reference.to_string())
}

/// The source of a chart, always with its kind. Returns the reference in full.
pub fn chart_source(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("no helm chart source given, please specify <kind>/<name>[.<namespace>]".to_owned());
    }
    let mut reference = Reference::parse(text);
    if reference.kind.is_empty() || reference.name.is_empty() {
        return Err(format!("invalid helm chart source '{text}', must be in format <kind>/<name>"));
    }
    reference.kind = known_kind(&reference.kind, CHART_SOURCES)?;
    Ok(reference.to_string())
}

/// `name` or `namespace/name`, as dependencies are given.
pub fn dependency(text: &str) -> Value {
    match text.split_once('/') {
        Some((namespace, name)) => Fields::new().text("namespace", namespace).text("name", name).into_value(),
        None => Fields::new().text("name", text).into_value(),
    }
}

/// A path that cannot leave its root, as `./a/b`.
pub fn safe_relative_path(text: &str) -> Result<String, String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.trim().split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    Ok(format!("./{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_named_in_full() {
        assert_eq!(kustomization_source("repo").as_deref(), Ok("GitRepository/repo"));
        assert_eq!(kustomization_source("ocirepository/a.b.ns").as_deref(), Ok("OCIRepository/a.b.ns"));
        for bad in ["", "GitRepository/", "GitRepository", "Foo/x"] {
            assert!(kustomization_source(bad).is_err(), "{bad:?}");
        }
        assert!(chart_source("charts").is_err() && chart_source("HelmRepository/charts").is_ok());
    }

    #[test]
    fn paths_cannot_leave_their_root() {
        for (given, safe) in [("", "./"), ("deploy/x", "./deploy/x"), ("../../up", "./up"), ("/abs/./x//y", "./abs/x/y"), ("a/../..", "./")]
        {
            assert_eq!(safe_relative_path(given).as_deref(), Ok(safe));
        }
    }
}
