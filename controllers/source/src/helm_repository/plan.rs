//! Second beat: what to do, from what was seen. Pure.

use super::observe::Seen;
use crate::kept::Kept;
use crate::problem::Problem;

/// What a reconcile will do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plan {
    /// Nothing can be done.
    Stop(Problem),
    /// The stored index is that of this revision.
    Keep(String),
    Store {
        revision: String,
    },
}

pub(super) fn plan(seen: &Seen) -> Plan {
    let revision = match &seen.index {
        Ok(fetched) => fetched.revision.to_string(),
        Err(problem) => return Plan::Stop(problem.clone()),
    };
    match &seen.artifact {
        Kept::Intact(artifact) if artifact.revision == revision => Plan::Keep(revision),
        _ => Plan::Store { revision },
    }
}

#[cfg(test)]
mod tests {
    use super::super::observe::Fetched;
    use super::*;
    use api::Artifact;
    use types::Digest;

    fn seen(artifact: Kept) -> Seen {
        let bytes = bytes::Bytes::from_static(b"index");
        Seen { collected: 0, artifact, index: Ok(Fetched { revision: Digest::sha256(&bytes), bytes }) }
    }

    #[test]
    fn the_same_index_is_kept_and_another_or_a_lost_one_is_stored() {
        let revision = Digest::sha256(b"index").to_string();
        let stored = |revision: &str| Kept::Intact(Artifact { revision: revision.into(), ..Artifact::default() });
        assert_eq!(plan(&seen(stored(&revision))), Plan::Keep(revision.clone()));
        for artifact in [stored("sha256:other"), Kept::Gone, Kept::Never, Kept::Damaged("x".into())] {
            assert_eq!(plan(&seen(artifact)), Plan::Store { revision: revision.clone() });
        }
        let problem = Problem::of("FetchFailed", "Failed", "no");
        assert_eq!(plan(&Seen { index: Err(problem.clone()), ..seen(Kept::Never) }), Plan::Stop(problem));
    }
}
