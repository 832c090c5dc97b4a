//! What the definition of the kind does not check.

use api::extensions::ArtifactGenerator;
use merge::validation::names;
use std::collections::BTreeSet;

pub(crate) const VALIDATION_FAILED: &str = "ValidationFailed";

/// Why a generator cannot be reconciled as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("duplicate source alias '{0}' found")]
    Alias(String),
    #[error("cross-namespace reference to source {kind}/{namespace}/{name} is not allowed")]
    Namespace { kind: String, namespace: String, name: String },
    #[error("duplicate artifact name '{0}' found")]
    Output(String),
    #[error("artifact name {0:?} is not a valid Kubernetes object name: {1}")]
    Name(String, String),
    #[error("artifact {0} revision source alias '{1}' not found")]
    Revision(String, String),
}

impl Invalid {
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Namespace { .. } => api::meta::reason::ACCESS_DENIED,
            _ => VALIDATION_FAILED,
        }
    }
}

pub(crate) fn validate(this: &ArtifactGenerator, no_cross_namespace_refs: bool) -> Result<(), Invalid> {
    let mut aliases = BTreeSet::new();
    for source in &this.spec.sources {
        if !aliases.insert(source.alias.as_str()) {
            return Err(Invalid::Alias(source.alias.clone()));
        }
        let foreign = !source.namespace.is_empty() && Some(&source.namespace) != this.metadata.namespace.as_ref();
        if no_cross_namespace_refs && foreign {
            let (kind, namespace, name) = (source.kind.clone(), source.namespace.clone(), source.name.clone());
            return Err(Invalid::Namespace { kind, namespace, name });
        }
    }
    let mut outputs = BTreeSet::new();
    for output in &this.spec.artifacts {
        if !outputs.insert(output.name.as_str()) {
            return Err(Invalid::Output(output.name.clone()));
        }
        let problems = if this.spec.path_pattern.is_empty() { names::subdomain(&output.name) } else { Vec::new() };
        if !problems.is_empty() {
            return Err(Invalid::Name(output.name.clone(), problems.join("; ")));
        }
        let alias = output.revision.trim_start_matches('@');
        if !output.revision.is_empty() && !aliases.contains(alias) {
            return Err(Invalid::Revision(output.name.clone(), alias.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::extensions::{OutputArtifact, SourceReference};

    fn generator() -> ArtifactGenerator {
        let mut this = ArtifactGenerator::named("apps", "gen");
        let source = |alias: &str, namespace: &str| SourceReference {
            alias: alias.into(),
            kind: "GitRepository".into(),
            name: "repo".into(),
            namespace: namespace.into(),
        };
        this.spec.sources = vec![source("repo", ""), source("other", "elsewhere")];
        let output =
            |name: &str, revision: &str| OutputArtifact { name: name.into(), revision: revision.into(), ..OutputArtifact::default() };
        this.spec.artifacts = vec![output("one", "@repo"), output("two", "")];
        this
    }

    fn failure(change: impl Fn(&mut ArtifactGenerator)) -> (&'static str, String) {
        let mut this = generator();
        change(&mut this);
        let invalid = validate(&this, true).unwrap_err();
        (invalid.reason(), invalid.to_string())
    }

    #[test]
    fn each_rule_has_its_words() {
        assert_eq!(validate(&generator(), false), Ok(()));
        let (reason, text) = failure(|_| ());
        assert_eq!(
            (reason, text.as_str()),
            ("AccessDenied", "cross-namespace reference to source GitRepository/elsewhere/repo is not allowed")
        );
        let here = |this: &mut ArtifactGenerator| this.spec.sources[1].namespace = "apps".into();
        let (reason, text) = failure(|this| {
            here(this);
            this.spec.sources[1].alias = "repo".into();
        });
        assert_eq!((reason, text.as_str()), ("ValidationFailed", "duplicate source alias 'repo' found"));
        let text = failure(|this| {
            here(this);
            this.spec.artifacts[1].name = "one".into();
        });
        assert_eq!(text.1, "duplicate artifact name 'one' found");
        let text = failure(|this| {
            here(this);
            this.spec.artifacts[0].revision = "@none".into();
        });
        assert_eq!(text.1, "artifact one revision source alias 'none' not found");
        let text = failure(|this| {
            here(this);
            this.spec.artifacts[0].name = "{app}".into();
        });
        assert!(text.1.starts_with(r#"artifact name "{app}" is not a valid Kubernetes object name: a lowercase RFC 1123"#));
        let mut this = generator();
        this.spec.artifacts[0].name = "{app}".into();
        this.spec.path_pattern = "@repo/{app}".into();
        assert_eq!(validate(&this, false), Ok(()), "a template is no name yet");
    }
}
