//! Signatures of commits and tags. Pure.
//!
//! Checking a PGP or SSH signature needs code that is not there yet: until it is, a signed object is refused like an unsigned one,
//! so that nothing unverified is ever published under a spec that asks for verification.

use super::plan::mode;
use crate::problem::Problem;
use crate::secret::Secret;
use api::meta::SOURCE_VERIFIED;
use api::source::GitRepositorySpec;
use git::{Commit, Signature, Tag};

/// What was verified, as the condition tells it; `None` when the spec asks for nothing.
pub(super) fn verify(
    spec: &GitRepositorySpec,
    keys: Option<&Result<Secret, String>>,
    commit: &Commit,
    tag: Option<&Tag>,
) -> Result<Option<String>, Problem> {
    let Some(verification) = &spec.verify else { return Ok(None) };
    if let Some(Err(error)) = keys {
        return Err(Problem::not(SOURCE_VERIFIED, "VerificationError", format!("public keys secret error: {error}")));
    }
    let mode = mode(&verification.mode);
    if matches!(mode, "Tag" | "TagAndHEAD") {
        let Some(tag) = tag else {
            let message = "cannot verify tag object's signature if a tag reference is not specified";
            return Err(Problem::not(SOURCE_VERIFIED, "InvalidVerificationMode", message).stalls());
        };
        let Some(signature) = &tag.signature else {
            let message = format!("cannot verify signature of tag '{tag}' since it is not signed");
            return Err(Problem::not(SOURCE_VERIFIED, "InvalidGitObject", message));
        };
        let message = format!("signature verification of tag '{tag}' failed: {}", refused(Some(signature)));
        return Err(Problem::not(SOURCE_VERIFIED, "InvalidTagSignature", message));
    }
    let message = format!("signature verification of commit '{}' failed: {}", commit.id, refused(commit.signature.as_ref()));
    Err(Problem::not(SOURCE_VERIFIED, "InvalidCommitSignature", message))
}

fn refused(signature: Option<&Signature>) -> String {
    match signature.map(Signature::kind) {
        None => "unsupported signature type: empty".to_owned(),
        Some(kind @ ("openpgp" | "ssh")) => format!("this version cannot verify signatures of type {kind}"),
        Some(kind) => format!("unsupported signature type: {kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::source::GitRepositoryVerification;

    fn outcome(mode: &str, keys: Result<Secret, String>, commit: Commit, tag: Option<Tag>) -> String {
        let spec =
            GitRepositorySpec { verify: Some(GitRepositoryVerification { mode: mode.into(), ..Default::default() }), ..Default::default() };
        let problem = verify(&spec, Some(&keys), &commit, tag.as_ref()).unwrap_err();
        format!("{} {}", problem.reason, problem.message)
    }

    fn commit(signature: Option<&str>) -> Commit {
        let signature = signature.map(|armored| Signature { armored: armored.into(), signed: vec![] });
        Commit { id: "c".into(), signature, ..Commit::default() }
    }

    #[test]
    fn whatever_is_not_verified_is_refused_with_its_reason() {
        let keys = || Ok(Secret::default());
        let tag = |signature: Option<&str>| {
            let signature = signature.map(|armored| Signature { armored: armored.into(), signed: vec![] });
            Some(Tag { name: "v1".into(), id: None, signature })
        };
        let table = [
            (
                outcome("HEAD", keys(), commit(None), None),
                "InvalidCommitSignature signature verification of commit 'c' failed: unsupported signature type: empty",
            ),
            (outcome("head", Err("gone".into()), commit(None), None), "VerificationError public keys secret error: gone"),
            (
                outcome("Tag", keys(), commit(None), None),
                "InvalidVerificationMode cannot verify tag object's signature if a tag reference is not specified",
            ),
            (
                outcome("Tag", keys(), commit(None), tag(None)),
                "InvalidGitObject cannot verify signature of tag 'v1' since it is not signed",
            ),
        ];
        for (got, expected) in table {
            assert_eq!(got, expected);
        }
        let signed = "-----BEGIN SSH SIGNATURE-----\n";
        assert!(outcome("HEAD", keys(), commit(Some(signed)), None).starts_with("InvalidCommitSignature"));
        assert!(outcome("TagAndHEAD", keys(), commit(None), tag(Some(signed))).starts_with("InvalidTagSignature"));
        assert_eq!(verify(&GitRepositorySpec::default(), None, &commit(None), None), Ok(None));
    }
}
