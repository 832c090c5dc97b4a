//! Second beat: what to do, from what was seen. Pure.

use super::observe::{Head, Seen};
use super::reference;
use crate::draft::same_artifacts;
use crate::kept::Kept;
use crate::problem::{Problem, chain};
use api::Artifact;
use api::meta::FETCH_FAILED;
use api::source::{GitRepository, GitRepositorySpec, GitRepositoryStatus};

/// What a reconcile will do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plan {
    /// Nothing can be done.
    Stop(Problem),
    /// The stored artifact is that of the commit on the server, made as the spec says.
    Keep { revision: String },
    /// Objects are needed; the rest is decided once the commit is known.
    Fetch,
}

pub(super) fn plan(this: &GitRepository, seen: &Seen) -> Plan {
    let includes = match (&seen.access, &seen.includes) {
        (Err(problem), _) | (_, Err(problem)) => return Plan::Stop(problem.clone()),
        (Ok(_), Ok(includes)) => includes,
    };
    match &seen.head {
        Head::Failed(error) => {
            let message = format!("failed to checkout and determine revision: {}", chain(error));
            Plan::Stop(Problem::of(FETCH_FAILED, super::GIT_FAILED, message))
        }
        Head::Is(target) => {
            let revision = target.revision(&reference(&this.spec)).to_string();
            let status = this.status.clone().unwrap_or_default();
            if is_up_to_date(&this.spec, &status, &seen.artifact, &revision, includes) { Plan::Keep { revision } } else { Plan::Fetch }
        }
        Head::Unknown => Plan::Fetch,
    }
}

/// Whether the stored artifact is what would be made now.
pub(super) fn is_up_to_date(
    spec: &GitRepositorySpec,
    status: &GitRepositoryStatus,
    kept: &Kept,
    revision: &str,
    includes: &[Artifact],
) -> bool {
    matches!(kept, Kept::Intact(artifact) if artifact.revision == revision) && !content_changed(spec, status, includes)
}

/// Whether anything but the commit calls for another artifact: what was observed when the last one was made against what is asked now.
pub(super) fn content_changed(spec: &GitRepositorySpec, status: &GitRepositoryStatus, includes: &[Artifact]) -> bool {
    spec.ignore != status.observed_ignore
        || spec.recurse_submodules != status.observed_recurse_submodules
        || spec.sparse_checkout != status.observed_sparse_checkout
        || spec.include != status.observed_include
        || !same_artifacts(includes, &status.included_artifacts)
        || needs_verification(spec, status)
}

/// Whether the spec asks for more verification than was done.
pub(super) fn needs_verification(spec: &GitRepositorySpec, status: &GitRepositoryStatus) -> bool {
    let Some(verify) = &spec.verify else { return false };
    let (done, asked) = (status.source_verification_mode.as_str(), mode(&verify.mode));
    matches!((done, asked), ("", _) | ("Tag", "HEAD" | "TagAndHEAD") | ("HEAD", "Tag" | "TagAndHEAD"))
}

/// The mode under its present name.
pub(super) fn mode(mode: &str) -> &str {
    if mode == "head" || mode.is_empty() { "HEAD" } else { mode }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::meta::LocalObjectReference;
    use api::source::{GitRepositoryInclude, GitRepositoryVerification};
    use git::{Access, Address, Target};

    const COMMIT: &str = "1111111111111111111111111111111111111111";

    fn artifact(revision: &str) -> Artifact {
        Artifact { revision: revision.into(), digest: "sha256:ab".into(), ..Artifact::default() }
    }

    fn seen(head: Head) -> Seen {
        let address = Address::parse("https://example.com/x").unwrap().0;
        Seen {
            collected: 0,
            artifact: Kept::Intact(artifact(&format!("master@sha1:{COMMIT}"))),
            access: Ok((address, Access::default())),
            includes: Ok(vec![]),
            head,
            keys: None,
        }
    }

    fn head() -> Head {
        Head::Is(Target { name: Some("refs/heads/master".into()), commit: COMMIT.into() })
    }

    #[test]
    fn an_unchanged_commit_is_kept_and_a_changed_spec_is_not() {
        let mut this = GitRepository::default();
        assert_eq!(plan(&this, &seen(head())), Plan::Keep { revision: format!("master@sha1:{COMMIT}") });
        assert_eq!(plan(&this, &Seen { artifact: Kept::Gone, ..seen(head()) }), Plan::Fetch);
        assert_eq!(plan(&this, &Seen { includes: Ok(vec![artifact("x@sha1:1")]), ..seen(head()) }), Plan::Fetch);
        assert_eq!(plan(&this, &seen(Head::Unknown)), Plan::Fetch);
        let changes: [fn(&mut GitRepositorySpec); 5] = [
            |spec| spec.ignore = Some(String::new()),
            |spec| spec.recurse_submodules = true,
            |spec| spec.sparse_checkout = vec!["a".into()],
            |spec| spec.include = vec![GitRepositoryInclude::default()],
            |spec| spec.verify = Some(GitRepositoryVerification { secret_ref: LocalObjectReference::default(), mode: "HEAD".into() }),
        ];
        for change in changes {
            this.spec = GitRepositorySpec::default();
            change(&mut this.spec);
            assert_eq!(plan(&this, &seen(head())), Plan::Fetch, "{:?}", this.spec);
        }
    }

    #[test]
    fn what_is_in_the_way_stops_the_plan_with_its_own_words() {
        let problem = Problem::of(FETCH_FAILED, "AuthenticationFailed", "no secret");
        let stopped = plan(&GitRepository::default(), &Seen { access: Err(problem.clone()), ..seen(Head::Unknown) });
        assert_eq!(stopped, Plan::Stop(problem));
        let failed = Head::Failed(git::Error::List { url: "u".into(), source: git::Cause::NotFound("gone".into()) });
        let Plan::Stop(problem) = plan(&GitRepository::default(), &seen(failed)) else { panic!("it must stop") };
        assert_eq!(problem.message, "failed to checkout and determine revision: unable to list remote for 'u': repository not found: gone");
    }

    #[test]
    fn verification_is_asked_for_again_when_the_mode_covers_more() {
        let spec = |mode: &str| GitRepositorySpec {
            verify: Some(GitRepositoryVerification { secret_ref: LocalObjectReference::default(), mode: mode.into() }),
            ..GitRepositorySpec::default()
        };
        let status = |mode: &str| GitRepositoryStatus { source_verification_mode: mode.into(), ..GitRepositoryStatus::default() };
        for (asked, done, needed) in
            [("HEAD", "", true), ("head", "HEAD", false), ("Tag", "HEAD", true), ("TagAndHEAD", "Tag", true), ("HEAD", "TagAndHEAD", false)]
        {
            assert_eq!(needs_verification(&spec(asked), &status(done)), needed, "{asked} after {done}");
        }
    }
}
