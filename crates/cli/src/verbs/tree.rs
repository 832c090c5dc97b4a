//! `tree`: what an object consists of, all the way down.

use crate::{
    builtin, discovery,
    kinds::{self, Kind},
    objects,
    shell::{Context, Failure, Flags, Outcome, flags, output},
};
use clap::{ArgMatches, Command};
use serde::Serialize;
use serde_json::Value;
use std::{future::Future, io::Read as _, pin::Pin};

pub fn command() -> Command {
    let format = || flags::string("output", "print as json or yaml").short('o');
    flags::group("tree", "Print the resources that an object consists of")
        .subcommand(
            flags::leaf("kustomization", "Print the resource inventory of a Kustomization")
                .visible_aliases(["ks"])
                .after_help("  # Everything that came from the root\n  sluice tree kustomization flux-system\n\n  # Only Flux objects\n  sluice tree kustomization flux-system --compact")
                .args([flags::switch("compact", "list only Flux resources"), format()]),
        )
        .subcommand(
            flags::group("artifact", "Print the artifacts of a generator")
                .subcommand(flags::leaf("generator", "Print the artifacts of an ArtifactGenerator").arg(format())),
        )
}

/// An object's identity, with the field names that scripts over `flux tree -o json` read.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Identity {
    namespace: String,
    name: String,
    group_kind: GroupKind,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GroupKind {
    group: String,
    kind: String,
}

#[derive(Debug, Serialize)]
struct Node {
    resource: Identity,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resources: Vec<Node>,
}

impl Identity {
    fn new(kind: &Kind, namespace: &str, name: &str) -> Self {
        let group_kind = GroupKind { group: kind.group.to_owned(), kind: kind.kind.to_owned() };
        Self { namespace: namespace.to_owned(), name: name.to_owned(), group_kind }
    }

    /// Reads an inventory id: `namespace_name_group_kind`, in which a doubled underscore of a name stands for a colon.
    fn parse(id: &str) -> Result<Self, Failure> {
        let bad = || Failure::new(format!("unable to parse stored object metadata: {id}"));
        let (namespace, rest) = id.split_once('_').ok_or_else(bad)?;
        let (rest, kind) = rest.rsplit_once('_').ok_or_else(bad)?;
        let (name, group) = rest.rsplit_once('_').ok_or_else(bad)?;
        if name.is_empty() || kind.is_empty() {
            return Err(bad());
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.replace("__", ":"),
            group_kind: GroupKind { group: group.to_owned(), kind: kind.to_owned() },
        })
    }

    fn is(&self, kind: &Kind) -> bool {
        self.group_kind.group == kind.group && self.group_kind.kind == kind.kind
    }

    fn is_flux(&self) -> bool {
        self.group_kind.group.contains("toolkit.fluxcd.io")
    }
}

impl Node {
    fn new(resource: Identity) -> Self {
        Self { resource, resources: Vec::new() }
    }

    fn draw(&self) -> String {
        let mut out = self.label() + "\n";
        self.draw_children("", &mut out);
        out
    }

    fn label(&self) -> String {
        let Identity { namespace, name, group_kind } = &self.resource;
        let kind = &group_kind.kind;
        if namespace.is_empty() { format!("{kind}/{name}") } else { format!("{kind}/{namespace}/{name}") }
    }

    fn draw_children(&self, indent: &str, out: &mut String) {
        for (at, child) in self.resources.iter().enumerate() {
            let last = at + 1 == self.resources.len();
            out.push_str(&format!("{indent}{}{}\n", if last { "└── " } else { "├── " }, child.label()));
            child.draw_children(&format!("{indent}{}", if last { "    " } else { "│   " }), out);
        }
    }
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    let node = if path.last().is_some_and(|word| word == "generator") {
        generator(context, &matches.exactly_one()?).await?
    } else {
        let name = matches.name("kustomization name")?;
        let object = context.get(&kinds::KUSTOMIZATION, &context.namespace, &name).await?;
        let mut node = Node::new(Identity::new(&kinds::KUSTOMIZATION, objects::namespace(&object), &name));
        let mut seen = vec![node.label()];
        node.resources = inventory(context, &object, matches.is_set("compact"), &mut seen).await?;
        node
    };
    match matches.text("output") {
        "json" => output::print(&output::json(&node)?),
        "yaml" => output::print(&(output::yaml(&node)? + "\n")),
        _ => output::print(&(node.draw() + "\n")),
    }
}

async fn generator(context: &Context, name: &str) -> Result<Node, Failure> {
    let object = context.get(&kinds::ARTIFACT_GENERATOR, &context.namespace, name).await?;
    let mut node = Node::new(Identity::new(&kinds::ARTIFACT_GENERATOR, &context.namespace, name));
    for entry in objects::at(&object, &["status", "inventory"]).as_array().into_iter().flatten() {
        let (namespace, name) = (objects::text(entry, &["namespace"]), objects::text(entry, &["name"]));
        node.resources.push(Node::new(Identity::new(&kinds::EXTERNAL_ARTIFACT, namespace, name)));
    }
    Ok(node)
}

type Nodes<'a> = Pin<Box<dyn Future<Output = Result<Vec<Node>, Failure>> + Send + 'a>>;

/// What a Kustomization applied. `above` are the Kustomizations that lead here: one that contains itself is not followed again.
fn inventory<'a>(context: &'a Context, object: &'a Value, compact: bool, above: &'a mut Vec<String>) -> Nodes<'a> {
    Box::pin(async move {
        let mut nodes = Vec::new();
        let remote = !objects::at(object, &["spec", "kubeConfig"]).is_null();
        for entry in objects::at(object, &["status", "inventory", "entries"]).as_array().into_iter().flatten() {
            let identity = Identity::parse(objects::text(entry, &["id"]))?;
            let itself = identity.is(&kinds::KUSTOMIZATION)
                && identity.namespace == objects::namespace(object)
                && identity.name == objects::name(object);
            if itself || (compact && !identity.is_flux()) {
                continue;
            }
            let mut node = Node::new(identity);
            if node.resource.is(&kinds::HELM_RELEASE) {
                let release = release(context, &node.resource).await?;
                node.resources = release.into_iter().filter(|child| !compact || child.is_flux()).map(Node::new).collect();
            } else if node.resource.is(&kinds::KUSTOMIZATION) && !remote {
                let label = node.label();
                if !above.contains(&label) {
                    let child = context.get(&kinds::KUSTOMIZATION, &node.resource.namespace, &node.resource.name).await;
                    let child = child.map_err(|failure| failure.context("failed to find object"))?;
                    above.push(label);
                    node.resources = inventory(context, &child, compact, above).await?;
                    above.pop();
                }
            }
            nodes.push(node);
        }
        Ok(nodes)
    })
}

/// What the latest release of a HelmRelease holds, read from Helm's storage.
async fn release(context: &Context, identity: &Identity) -> Result<Vec<Identity>, Failure> {
    let object = context.get(&kinds::HELM_RELEASE, &identity.namespace, &identity.name).await?;
    let storage = objects::text(&object, &["status", "storageNamespace"]);
    let latest = objects::at(&object, &["status", "history"]).get(0);
    let (Some(latest), false, true) = (latest, storage.is_empty(), objects::at(&object, &["spec", "kubeConfig"]).is_null()) else {
        return Ok(Vec::new());
    };
    let version = objects::at(latest, &["version"]).as_i64().unwrap_or(0);
    let secret = format!("sh.helm.release.v1.{}.v{version}", objects::text(latest, &["name"]));
    let Some(secret) = context.find_resource(&builtin::secrets(), storage, &secret).await? else { return Ok(Vec::new()) };
    let broken =
        || Failure::new(format!("failed to decode the Helm storage object for HelmRelease '{}/{}'", identity.namespace, identity.name));
    let manifest = manifest(objects::text(&secret, &["data", "release"])).ok_or_else(broken)?;
    let mut found = Vec::new();
    let documents = crate::manifests::read(&manifest).map_err(|_| broken())?;
    for document in documents {
        let (api_version, kind) = (objects::text(&document, &["apiVersion"]), objects::text(&document, &["kind"]));
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let mut namespace = objects::namespace(&document).to_owned();
        if namespace.is_empty() && discovery::find(context, api_version, kind).await?.is_some_and(|resource| resource.namespaced) {
            namespace = objects::text(latest, &["namespace"]).to_owned();
        }
        found.push(Identity {
            namespace,
            name: objects::name(&document).to_owned(),
            group_kind: GroupKind { group: group.to_owned(), kind: kind.to_owned() },
        });
    }
    add_definitions(context, &object, &mut found).await;
    Ok(found)
}

/// CRDs that the release manages live outside its manifest.
async fn add_definitions(context: &Context, release: &Value, found: &mut Vec<Identity>) {
    let manages = |action: &str| !matches!(objects::text(release, &["spec", action, "crds"]), "" | "Skip");
    if !manages("install") && !manages("upgrade") {
        return;
    }
    let (name, namespace) = (objects::name(release), objects::namespace(release));
    let labels = format!("{}={name},{}={namespace}", api::meta::HELM_NAME_LABEL, api::meta::HELM_NAMESPACE_LABEL);
    let definitions = context.list(&builtin::definitions(), &cluster::Selection::labels(labels)).await.unwrap_or_default();
    for definition in definitions {
        let name = objects::name(&definition);
        if !found.iter().any(|known| known.group_kind.kind == "CustomResourceDefinition" && known.name == name) {
            let group_kind = GroupKind { group: "apiextensions.k8s.io".to_owned(), kind: "CustomResourceDefinition".to_owned() };
            found.push(Identity { namespace: String::new(), name: name.to_owned(), group_kind });
        }
    }
}

/// The manifest inside a release record: base64 of base64 of gzip of JSON.
fn manifest(data: &str) -> Option<String> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    const LIMIT: u64 = 64 << 20;
    let mut bytes = STANDARD.decode(STANDARD.decode(data).ok()?).ok()?;
    if bytes.starts_with(&[0x1f, 0x8b, 0x08]) {
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_slice()).take(LIMIT).read_to_end(&mut unpacked).ok()?;
        bytes = unpacked;
    }
    let record: Value = serde_json::from_slice(&bytes).ok()?;
    Some(record.get("manifest")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inventory_ids_are_read_with_colons_and_without_namespaces() {
        let identity = Identity::parse("_system__node_rbac.authorization.k8s.io_ClusterRole").ok().unwrap();
        assert_eq!((identity.namespace.as_str(), identity.name.as_str()), ("", "system:node"));
        assert_eq!(Identity::parse("apps_web__ConfigMap").ok().unwrap().group_kind.group, "");
        for bad in ["nonsense", "a_b", "", "a__b_"] {
            assert!(Identity::parse(bad).is_err(), "{bad:?}");
        }
    }
}
