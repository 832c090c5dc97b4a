//! `image.toolkit.fluxcd.io`: image repositories, policies and updates.

use crate::{
    crd::{AGE, READY, STATUS, text, wide},
    meta::{AccessFrom, Condition, LocalObjectReference, NamespacedObjectReference, Time},
    schema::{INTERVAL, TIMEOUT, record, resource},
    source::GitRepositoryRef,
};
use std::collections::BTreeMap;
use types::GoDuration;

resource! {
    /// The tags of an image.
    pub struct ImageRepository(ImageRepositorySpec, ImageRepositoryStatus);
    group: "image.toolkit.fluxcd.io", version: "v1", plural: "imagerepositories",
    short_names: ["imgrepo", "imagerepo"], categories: ["all", "fluxcd", "fluxcd-images"],
    substitute: false, status_default: {"observedGeneration": -1},
    columns: [text("Image", ".spec.image"), text("Tags", ".status.lastScanResult.tagCount"), READY, STATUS, wide("Last scan", ".status.lastScanResult.scanTime"), AGE],
}

record! {
    /// Which image's tags to read.
    pub struct ImageRepositorySpec {
        /// Name of the image without tag.
        pub image: String,
        /// How often to look for changes.
        pub interval: GoDuration => {"pattern": INTERVAL},
    }
    optional {
        /// Which other namespaces may use this object.
        pub access_from: Option<AccessFrom>,
        /// Secret with a client certificate and key, or a certificate authority, for TLS.
        pub cert_secret_ref: Option<LocalObjectReference>,
        /// Regular expressions for what is left out.
        pub exclusion_list: Vec<String> => {"default": [r"^.*\.sig$"], "maxItems": 25},
        /// Allows plain HTTP.
        pub insecure: bool,
        /// Which kind of service or engine this is.
        pub provider: String => {"default": "generic", "enum": ["generic", "aws", "azure", "gcp"]},
        /// Secret with the address and credentials of a proxy.
        pub proxy_secret_ref: Option<LocalObjectReference>,
        /// Secret with the credentials.
        pub secret_ref: Option<LocalObjectReference>,
        /// ServiceAccount to act as.
        pub service_account_name: String => {"maxLength": 253},
        /// Stops reconciliation while set.
        pub suspend: bool,
        /// How long one attempt may take.
        pub timeout: Option<GoDuration> => {"pattern": TIMEOUT},
    }
}

record! {
    /// What the last reading of tags found.
    pub struct ScanResult {
        /// Number of tags.
        pub tag_count: i64,
    }
    optional {
        /// Some of the newest tags.
        pub latest_tags: Vec<String>,
        /// Readable name of what was fetched, with its hash.
        pub revision: String,
        /// When tags were last read.
        pub scan_time: Option<Time>,
    }
}

record! {
    /// What was last read.
    pub struct ImageRepositoryStatus {
    }
    optional {
        /// Full name of the image.
        pub canonical_image_name: String,
        /// The state of the object, one aspect each.
        pub conditions: Vec<Condition>,
        /// The last reconcile request that was answered.
        pub last_handled_reconcile_at: String,
        /// What the last scan found.
        pub last_scan_result: Option<ScanResult>,
        /// The exclusion list that was used.
        pub observed_exclusion_list: Vec<String>,
        /// The generation that was last acted on.
        pub observed_generation: i64 => {"format": "int64"},
    }
}

resource! {
    /// Chooses one tag of an image.
    pub struct ImagePolicy(ImagePolicySpec, ImagePolicyStatus);
    group: "image.toolkit.fluxcd.io", version: "v1", plural: "imagepolicies",
    short_names: ["imgpol", "imagepol"], categories: ["all", "fluxcd", "fluxcd-images"],
    substitute: false, status_default: {"observedGeneration": -1},
    columns: [text("Image", ".status.latestRef.name"), text("Tag", ".status.latestRef.tag"), READY, STATUS, AGE],
}

record! {
    /// Which tags take part, and which part of them is compared.
    pub struct TagFilter {
    }
    optional {
        /// What of the match is compared.
        pub extract: String,
        /// Regular expression for tags.
        pub pattern: String,
    }
}

record! {
    /// Ascending or descending order.
    pub struct OrderPolicy {
    }
    optional {
        /// asc or desc.
        pub order: String => {"default": "asc", "enum": ["asc", "desc"]},
    }
}

record! {
    /// A range of semantic versions.
    pub struct SemVerPolicy {
        /// Range of versions.
        pub range: String,
    }
}

record! {
    /// The order by which the newest tag is found; exactly one may be set.
    pub struct ImagePolicyChoice {
    }
    optional {
        /// By the alphabet.
        pub alphabetical: Option<OrderPolicy>,
        /// By number.
        pub numerical: Option<OrderPolicy>,
        /// Range of versions; the highest inside it is taken.
        pub semver: Option<SemVerPolicy>,
    }
}

record! {
    /// How to choose one tag of an image.
    pub struct ImagePolicySpec {
        /// Where the tags come from.
        pub image_repository_ref: NamespacedObjectReference,
        /// How to choose.
        pub policy: ImagePolicyChoice,
    }
    optional {
        /// When the digest is looked up too.
        pub digest_reflection_policy: String => {"default": "Never", "enum": ["Always", "IfNotPresent", "Never"]},
        /// Which tags take part.
        pub filter_tags: Option<TagFilter>,
        /// How often to look up the digest when it is always followed.
        pub interval: Option<GoDuration> => {"pattern": INTERVAL},
        /// Stops reconciliation while set.
        pub suspend: bool,
    }
    rules {
        "!has(self.interval) || (has(self.digestReflectionPolicy) && self.digestReflectionPolicy == 'Always')" => "spec.interval is only accepted when spec.digestReflectionPolicy is set to 'Always'",
        "has(self.interval) || !has(self.digestReflectionPolicy) || self.digestReflectionPolicy != 'Always'" => "spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'",
    }
}

record! {
    /// An image with its tag and digest.
    pub struct ImageRef {
        /// Name of the image.
        pub name: String,
        /// Name of a tag.
        pub tag: String,
    }
    optional {
        /// Checksum, as algorithm:hex.
        pub digest: String,
    }
}

record! {
    /// The image that was chosen.
    pub struct ImagePolicyStatus {
    }
    optional {
        /// The state of the object, one aspect each.
        pub conditions: Vec<Condition>,
        /// The last reconcile request that was answered.
        pub last_handled_reconcile_at: String,
        /// The image chosen now.
        pub latest_ref: Option<ImageRef>,
        /// The generation that was last acted on.
        pub observed_generation: i64 => {"format": "int64"},
        /// The image chosen before.
        pub observed_previous_ref: Option<ImageRef>,
    }
}

resource! {
    /// Commits new images to Git.
    pub struct ImageUpdateAutomation(ImageUpdateAutomationSpec, ImageUpdateAutomationStatus);
    group: "image.toolkit.fluxcd.io", version: "v1", plural: "imageupdateautomations",
    short_names: ["iua", "imgupd", "imgauto"], categories: ["all", "fluxcd", "fluxcd-images"],
    substitute: true, status_default: {"observedGeneration": -1},
    columns: [READY, STATUS, wide("Last run", ".status.lastAutomationRunTime"), AGE],
}

record! {
    /// What to check out.
    pub struct GitCheckoutSpec {
        /// What to follow.
        pub r#ref: GitRepositoryRef,
    }
}

record! {
    /// A name and an email address.
    pub struct CommitUser {
        /// Email address.
        pub email: String,
    }
    optional {
        /// Name of the author.
        pub name: String,
    }
}

record! {
    /// The key that signs commits.
    pub struct SigningKey {
        /// Secret with the credentials.
        pub secret_ref: LocalObjectReference,
    }
    optional {
        /// Which kind this is.
        pub r#type: String => {"enum": ["gpg", "ssh"]},
    }
}

record! {
    /// Author, message and signature of commits.
    pub struct CommitSpec {
        /// Who commits.
        pub author: CommitUser,
    }
    optional {
        /// Template of the commit message.
        pub message_template: String,
        /// Values for the template.
        pub message_template_values: BTreeMap<String, String>,
        /// Key to sign with.
        pub signing_key: Option<SigningKey>,
    }
}

record! {
    /// Where commits are pushed to.
    pub struct PushSpec {
    }
    optional {
        /// Name of a branch.
        pub branch: String,
        /// Push options.
        pub options: BTreeMap<String, String>,
        /// Refspec to push.
        pub refspec: String,
    }
}

record! {
    /// How the repository is checked out, committed to and pushed.
    pub struct GitSpec {
        /// How to commit.
        pub commit: CommitSpec,
    }
    optional {
        /// What to check out; the source's reference when empty.
        pub checkout: Option<GitCheckoutSpec>,
        /// Where to push; the checked-out branch when empty.
        pub push: Option<PushSpec>,
    }
}

record! {
    /// One condition on a label.
    pub struct LabelSelectorRequirement {
        /// Label to look at.
        pub key: String,
        /// How values are compared.
        pub operator: String,
    }
    optional {
        /// Values to compare with.
        pub values: Vec<String> => {"x-kubernetes-list-type": "atomic"},
    }
}

record! {
    /// Objects, chosen by labels.
    pub struct LabelSelector {
    }
    optional {
        /// Conditions on labels that must hold.
        pub match_expressions: Vec<LabelSelectorRequirement> => {"x-kubernetes-list-type": "atomic"},
        /// Labels that must be there.
        pub match_labels: BTreeMap<String, String>,
    }
}

record! {
    /// The source that this object builds on, possibly in another namespace.
    pub struct CrossNamespaceSourceReference {
        /// Kind of the object.
        pub kind: String => {"default": "GitRepository", "enum": ["GitRepository"]},
        /// Name of the object.
        pub name: String,
    }
    optional {
        /// Group and version of the object.
        pub api_version: String,
        /// Namespace of the object; this one's when empty.
        pub namespace: String,
    }
}

record! {
    /// How files are rewritten.
    pub struct UpdateStrategy {
    }
    optional {
        /// Path inside the source.
        pub path: String,
        /// How it is done.
        pub strategy: String => {"default": "Setters", "enum": ["Setters"]},
    }
}

record! {
    /// Which files to rewrite with new images, and how to commit them.
    pub struct ImageUpdateAutomationSpec {
        /// How often to look for changes.
        pub interval: GoDuration => {"pattern": INTERVAL},
        /// Where it comes from.
        pub source_ref: CrossNamespaceSourceReference,
    }
    optional {
        /// How Git is used.
        pub git: Option<GitSpec>,
        /// Which policies take part; all when empty.
        pub policy_selector: Option<LabelSelector> => {"x-kubernetes-map-type": "atomic"},
        /// Stops reconciliation while set.
        pub suspend: bool,
        /// How files are changed.
        pub update: Option<UpdateStrategy> => {"default": {"strategy": "Setters"}},
    }
}

record! {
    /// What was last committed.
    pub struct ImageUpdateAutomationStatus {
    }
    optional {
        /// The state of the object, one aspect each.
        pub conditions: Vec<Condition>,
        /// When it last ran.
        pub last_automation_run_time: Option<Time>,
        /// The last reconcile request that was answered.
        pub last_handled_reconcile_at: String,
        /// The commit that was last pushed.
        pub last_push_commit: String,
        /// When a commit was last pushed.
        pub last_push_time: Option<Time>,
        /// The generation that was last acted on.
        pub observed_generation: i64 => {"format": "int64"},
        /// Policies that were used, with their images.
        pub observed_policies: BTreeMap<String, ImageRef>,
        /// Revision of the source that was last changed.
        pub observed_source_revision: String,
    }
}
