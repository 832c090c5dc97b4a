//! `notification.toolkit.fluxcd.io`: alerts, providers and receivers.

use crate::{
    crd::{AGE, READY, STATUS},
    meta::{Condition, LocalObjectReference},
    schema::{INTERVAL, TIMEOUT, record, resource},
};
use std::collections::BTreeMap;
use types::GoDuration;

resource! {
    /// Sends events of objects to a provider.
    pub struct Alert(AlertSpec);
    group: "notification.toolkit.fluxcd.io", version: "v1beta3", plural: "alerts",
    short_names: [], categories: ["all", "fluxcd", "fluxcd-notifications"],
    substitute: true,
    columns: [AGE],
}

record! {
    /// Objects whose events are taken.
    pub struct EventSource {
        /// Kind of the object.
        pub kind: String => {"enum": ["Bucket", "GitRepository", "Kustomization", "HelmRelease", "HelmChart", "HelmRepository", "ImageRepository", "ImagePolicy", "ImageUpdateAutomation", "OCIRepository", "ArtifactGenerator", "ExternalArtifact"]},
        /// Name of the object; * for all.
        pub name: String => {"maxLength": 253, "minLength": 1},
    }
    optional {
        /// Group and version of the object.
        pub api_version: String,
        /// Labels that must be there.
        pub match_labels: BTreeMap<String, String>,
        /// Namespace of the object; this one's when empty.
        pub namespace: String => {"maxLength": 253, "minLength": 1},
    }
}

record! {
    /// Which events to send, and where to.
    pub struct AlertSpec {
        /// Objects whose events are sent.
        pub event_sources: Vec<EventSource>,
        /// Where to send to.
        pub provider_ref: LocalObjectReference,
    }
    optional {
        /// Facts to add to each event.
        pub event_metadata: BTreeMap<String, String>,
        /// The least severity that is sent.
        pub event_severity: String => {"default": "info", "enum": ["info", "error"]},
        /// Regular expressions for what is left out.
        pub exclusion_list: Vec<String>,
        /// Regular expressions for messages that are sent.
        pub inclusion_list: Vec<String>,
        /// Short text that goes with each event; prefer eventMetadata.
        pub summary: String => {"maxLength": 255},
        /// Stops reconciliation while set.
        pub suspend: bool,
    }
}

resource! {
    /// A service that notifications go to.
    pub struct Provider(ProviderSpec);
    group: "notification.toolkit.fluxcd.io", version: "v1beta3", plural: "providers",
    short_names: [], categories: ["all", "fluxcd", "fluxcd-notifications"],
    substitute: true,
    columns: [AGE],
}

record! {
    /// A service that events are sent to.
    pub struct ProviderSpec {
        /// Which service it is.
        pub r#type: String => {"enum": ["slack", "discord", "msteams", "rocket", "generic", "generic-hmac", "github", "gitlab", "gitea", "giteapullrequestcomment", "bitbucketserver", "bitbucket", "azuredevops", "googlechat", "googlepubsub", "webex", "sentry", "azureeventhub", "telegram", "lark", "matrix", "opsgenie", "alertmanager", "grafana", "githubdispatch", "githubpullrequestcomment", "gitlabmergerequestcomment", "pagerduty", "datadog", "nats", "zulip", "otel", "zoom", "incident.io"]},
    }
    optional {
        /// Address of the service.
        pub address: String => {"maxLength": 2048},
        /// Secret with a client certificate and key, or a certificate authority, for TLS.
        pub cert_secret_ref: Option<LocalObjectReference>,
        /// Channel or room to post to.
        pub channel: String => {"maxLength": 2048},
        /// CEL expression for the name of the commit status.
        pub commit_status_expr: String,
        /// How often to look for changes.
        pub interval: Option<GoDuration> => {"pattern": INTERVAL},
        /// Address of a proxy; prefer proxySecretRef.
        pub proxy: String => {"maxLength": 2048, "pattern": "^(http|https)://.*$"},
        /// Secret with the address and credentials of a proxy.
        pub proxy_secret_ref: Option<LocalObjectReference>,
        /// Secret with the credentials.
        pub secret_ref: Option<LocalObjectReference>,
        /// ServiceAccount to act as.
        pub service_account_name: String,
        /// Stops reconciliation while set.
        pub suspend: bool,
        /// How long one attempt may take.
        pub timeout: Option<GoDuration> => {"pattern": TIMEOUT},
        /// Name to post under.
        pub username: String => {"maxLength": 2048},
    }
    rules {
        "self.type == 'github' || self.type == 'gitlab' || self.type == 'gitea' || self.type == 'bitbucketserver' || self.type == 'bitbucket' || self.type == 'azuredevops' || !has(self.commitStatusExpr)" => "spec.commitStatusExpr is only supported for the 'github', 'gitlab', 'gitea', 'bitbucketserver', 'bitbucket', 'azuredevops' provider types",
    }
}

resource! {
    /// A webhook that asks for reconciliation.
    pub struct Receiver(ReceiverSpec, ReceiverStatus);
    group: "notification.toolkit.fluxcd.io", version: "v1", plural: "receivers",
    short_names: [], categories: ["all", "fluxcd", "fluxcd-notifications"],
    substitute: true, status_default: {"observedGeneration": -1},
    columns: [AGE, READY, STATUS],
}

record! {
    /// A check on the claims of a token.
    pub struct OIDCValidation {
        /// CEL expression.
        pub expression: String,
        /// What the caller is told when the check fails.
        pub message: String,
    }
}

record! {
    /// A name for a value that checks can use.
    pub struct OIDCVariable {
        /// CEL expression.
        pub expression: String,
        /// Name that checks use.
        pub name: String,
    }
}

record! {
    /// An issuer whose tokens may call the webhook.
    pub struct OIDCProvider {
        /// Address of the issuer.
        pub issuer_url: String as "issuerURL" => {"pattern": "^https?://"},
        /// Checks on the claims.
        pub validations: Vec<OIDCValidation> => {"minItems": 1},
    }
    optional {
        /// Audience that the token must name.
        pub audience: String,
        /// Values to be used in checks.
        pub variables: Vec<OIDCVariable>,
    }
}

record! {
    /// Objects to reconcile when the webhook is called.
    pub struct ReceiverResource {
        /// Kind of the object.
        pub kind: String => {"enum": ["Bucket", "GitRepository", "Kustomization", "HelmRelease", "HelmChart", "HelmRepository", "ImageRepository", "ImagePolicy", "ImageUpdateAutomation", "OCIRepository", "ArtifactGenerator", "ExternalArtifact"]},
        /// Name of the object; * for all.
        pub name: String => {"maxLength": 253, "minLength": 1},
    }
    optional {
        /// Group and version of the object.
        pub api_version: String,
        /// CEL expression that the object must satisfy.
        pub filter: String,
        /// Labels that must be there.
        pub match_labels: BTreeMap<String, String>,
        /// Namespace of the object; this one's when empty.
        pub namespace: String => {"maxLength": 253, "minLength": 1},
    }
}

record! {
    /// A webhook that asks for reconciliation of objects.
    pub struct ReceiverSpec {
        /// Objects to reconcile.
        pub resources: Vec<ReceiverResource>,
        /// Whose webhooks are understood.
        pub r#type: String => {"enum": ["generic", "generic-hmac", "generic-oidc", "github", "gitlab", "bitbucket", "harbor", "dockerhub", "quay", "gcr", "nexus", "acr", "cdevents"]},
    }
    optional {
        /// Events that are heard; all when empty.
        pub events: Vec<String>,
        /// How often to look for changes.
        pub interval: Option<GoDuration> => {"default": "10m", "pattern": INTERVAL},
        /// Issuers whose tokens are accepted.
        pub oidc_providers: Vec<OIDCProvider> => {"x-kubernetes-list-map-keys": ["issuerURL"], "x-kubernetes-list-type": "map"},
        /// CEL expression that objects must satisfy.
        pub resource_filter: String,
        /// Secret with the credentials.
        pub secret_ref: Option<LocalObjectReference>,
        /// Stops reconciliation while set.
        pub suspend: bool,
    }
    rules {
        "self.type != 'generic-oidc' || (has(self.oidcProviders) && size(self.oidcProviders) > 0)" => "generic-oidc receivers must define at least one oidcProvider",
        "self.type == 'generic-oidc' || !has(self.oidcProviders) || size(self.oidcProviders) == 0" => "oidcProviders can only be set when type is generic-oidc",
        "self.type != 'generic-oidc' || !has(self.secretRef)" => "secretRef cannot be set when type is generic-oidc",
        "self.type == 'generic-oidc' || has(self.secretRef)" => "secretRef is required when type is not generic-oidc",
    }
}

record! {
    /// The webhook's address and state.
    pub struct ReceiverStatus {
    }
    optional {
        /// The state of the object, one aspect each.
        pub conditions: Vec<Condition>,
        /// The last reconcile request that was answered.
        pub last_handled_reconcile_at: String,
        /// The generation that was last acted on.
        pub observed_generation: i64 => {"format": "int64"},
        /// Path of the webhook.
        pub webhook_path: String,
    }
}
