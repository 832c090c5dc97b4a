//! `version`: of this program, and of the controllers in the cluster.

use crate::{
    builtin, objects,
    shell::{Context, Failure, Flags, Outcome, flags, output},
};
use clap::{ArgMatches, Command};
use cluster::Selection;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub fn command() -> Command {
    flags::leaf("version", "Print the client and server-side components version information")
        .after_help("  # This program alone\n  sluice version --client\n\n  # Also the controllers in the cluster, as JSON\n  sluice version -o json")
        .arg(flags::switch("client", "print only the version of this program"))
        .arg(flags::string("output", "print as yaml or json").short('o').default_value("yaml"))
}

pub async fn run(context: &Context, _path: &[String], matches: &ArgMatches) -> Outcome {
    let format = matches.text("output");
    if format != "yaml" && format != "json" {
        return Err(Failure::new(format!("--output must be json or yaml, not {format}")));
    }
    let own = format!("v{}", env!("CARGO_PKG_VERSION"));
    let mut distribution = String::new();
    let mut controllers = BTreeMap::new();
    if !matches.is_set("client") {
        distribution = Installation::find(context).await?.map(|installation| installation.distribution()).unwrap_or_default();
        let selection = Selection { namespace: context.namespace.clone(), labels: PART_OF_FLUX.to_owned(), ..Selection::default() };
        let deployments = context.list(&builtin::deployments(), &selection).await?;
        if deployments.is_empty() {
            return Err(Failure::new(format!("no deployments found in {} namespace", context.namespace)));
        }
        for deployment in &deployments {
            for image in images(deployment) {
                let (name, tag) = split_image(image)?;
                controllers.insert(name, tag);
            }
        }
    }
    let mut entries: Vec<(String, String)> = vec![(context.program().to_owned(), own)];
    entries.extend((!distribution.is_empty()).then(|| ("distribution".to_owned(), distribution)));
    entries.extend(controllers);
    if format == "json" {
        let map: BTreeMap<String, String> = entries.into_iter().collect();
        return output::print(&output::json(&map)?);
    }
    // The order says what is whose: the program first, then the distribution, then the controllers.
    entries.iter().try_for_each(|(key, value)| output::print(&yaml::emit(&json!({key: value}))))
}

/// The label of everything that Flux consists of in a cluster.
pub const PART_OF_FLUX: &str = "app.kubernetes.io/part-of=flux";

pub fn images(deployment: &Value) -> Vec<&str> {
    let containers = objects::at(deployment, &["spec", "template", "spec", "containers"]).as_array();
    containers.into_iter().flatten().map(|container| objects::text(container, &["image"])).collect()
}

/// `registry/org/name:tag` as name and tag; a digest stays with the tag.
fn split_image(image: &str) -> Result<(String, String), Failure> {
    let last = image.rsplit_once('/').map_or(image, |(_, last)| last);
    // A digest holds a slash in none of its forms, but `rsplit` must not cut inside `name:tag@sha256:…`.
    match last.split_once(':') {
        Some((name, tag)) if !name.is_empty() && !tag.is_empty() => Ok((name.to_owned(), tag.to_owned())),
        _ => Err(Failure::new(format!("missing image tag in image {image}"))),
    }
}

/// What the labels of the installed definitions tell.
pub struct Installation {
    version: String,
    part_of: String,
    pub bootstrapped: bool,
}

impl Installation {
    pub async fn find(context: &Context) -> Result<Option<Self>, Failure> {
        let name = crate::kinds::GIT_REPOSITORY.full_name();
        let Some(definition) = context.find_resource(&builtin::definitions(), "", &name).await? else { return Ok(None) };
        let label = |key: &str| objects::text(&definition, &["metadata", "labels", key]).to_owned();
        Ok(Some(Self {
            version: label("app.kubernetes.io/version"),
            part_of: label("app.kubernetes.io/part-of"),
            bootstrapped: !objects::at(&definition, &["metadata", "labels", api::meta::KUSTOMIZE_NAMESPACE_LABEL]).is_null(),
        }))
    }

    pub fn distribution(&self) -> String {
        if self.part_of.is_empty() { self.version.clone() } else { format!("{}-{}", self.part_of, self.version) }
    }
}
