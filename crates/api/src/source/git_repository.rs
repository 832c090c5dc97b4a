//! Git repositories.

use crate::{
    crd::{AGE, READY, STATUS, text},
    meta::{Artifact, Condition, LocalObjectReference},
    schema::{INTERVAL, TIMEOUT, record, resource},
};
use types::GoDuration;

resource! {
    /// A Git repository, packed into an artifact.
    pub struct GitRepository(GitRepositorySpec, GitRepositoryStatus);
    group: "source.toolkit.fluxcd.io", version: "v1", plural: "gitrepositories",
    short_names: ["gitrepo"], categories: ["all", "fluxcd", "fluxcd-sources"],
    substitute: true, status_default: {"observedGeneration": -1},
    columns: [text("URL", ".spec.url"), AGE, READY, STATUS],
}

record! {
    /// Another GitRepository whose artifact is laid into this one.
    pub struct GitRepositoryInclude {
        /// The other repository.
        pub repository: LocalObjectReference,
    }
    optional {
        /// Path in the other artifact to copy from; its root when empty.
        pub from_path: String,
        /// Path to copy to; the name of the other repository when empty.
        pub to_path: String,
    }
}

record! {
    /// Which Git reference to follow; the most exact field that is set wins.
    pub struct GitRepositoryRef {
    }
    optional {
        /// Name of a branch; master when nothing else is set.
        pub branch: String,
        /// Hash of a commit; wins over everything else.
        pub commit: String,
        /// Full name of a reference, such as refs/pull/420/head; wins over branch, tag and version.
        pub name: String,
        /// Range of versions; the highest tag inside it is taken. Wins over the tag.
        pub semver: String,
        /// Name of a tag; wins over the branch.
        pub tag: String,
    }
}

record! {
    /// How the signatures of a commit or tag are checked.
    pub struct GitRepositoryVerification {
        /// Secret with the public keys that are trusted.
        pub secret_ref: LocalObjectReference,
    }
    optional {
        /// Whether the commit, the tag or both are verified.
        pub mode: String => {"default": "HEAD", "enum": ["head", "HEAD", "Tag", "TagAndHEAD"]},
    }
}

record! {
    /// Where a Git repository is, and which commit of it becomes an artifact.
    pub struct GitRepositorySpec {
        /// How often to look for changes.
        pub interval: GoDuration => {"pattern": INTERVAL},
        /// Address of the repository, over http, https or ssh.
        pub url: String => {"pattern": "^(http|https|ssh)://.*$"},
    }
    optional {
        /// Patterns of files to leave out, written as in .gitignore; replaces the built-in list.
        pub ignore: Option<String>,
        /// Artifacts of other repositories to lay into this one.
        pub include: Vec<GitRepositoryInclude>,
        /// How to authenticate: plainly, or as a workload of a cloud or as a GitHub App.
        pub provider: String => {"enum": ["generic", "aws", "azure", "github"]},
        /// Secret with the address and credentials of a proxy.
        pub proxy_secret_ref: Option<LocalObjectReference>,
        /// Fetches submodules too.
        pub recurse_submodules: bool,
        /// What to follow; the branch master when empty.
        pub r#ref: Option<GitRepositoryRef>,
        /// Secret with the credentials.
        pub secret_ref: Option<LocalObjectReference>,
        /// ServiceAccount to act as.
        pub service_account_name: String,
        /// Folders to keep; everything when empty.
        pub sparse_checkout: Vec<String>,
        /// Stops reconciliation while set.
        pub suspend: bool,
        /// How long one attempt may take.
        pub timeout: Option<GoDuration> => {"default": "60s", "pattern": TIMEOUT},
        /// Checks signatures before anything is used.
        pub verify: Option<GitRepositoryVerification>,
    }
    rules {
        "!has(self.serviceAccountName) || (has(self.provider) && (self.provider == 'azure' || self.provider == 'aws'))" => "serviceAccountName can only be set when provider is 'azure' or 'aws'",
    }
}

record! {
    /// What was last seen of a Git repository.
    pub struct GitRepositoryStatus {
    }
    optional {
        /// The artifact that is served now.
        pub artifact: Option<Artifact>,
        /// The state of the object, one aspect each.
        pub conditions: Vec<Condition>,
        /// Artifacts that were laid into this one.
        pub included_artifacts: Vec<Artifact>,
        /// The last reconcile request that was answered.
        pub last_handled_reconcile_at: String,
        /// The generation that was last acted on.
        pub observed_generation: i64 => {"format": "int64"},
        /// The ignore patterns that the artifact was made with.
        pub observed_ignore: Option<String>,
        /// The includes that the artifact was made with.
        pub observed_include: Vec<GitRepositoryInclude>,
        /// Whether the artifact was made with submodules.
        pub observed_recurse_submodules: bool,
        /// The folders that the artifact was made with.
        pub observed_sparse_checkout: Vec<String>,
        /// What was verified last.
        pub source_verification_mode: String,
    }
}
