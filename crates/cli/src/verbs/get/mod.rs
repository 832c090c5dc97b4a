//! `get`: what there is, and how it is.

mod columns;
pub use columns::release_revision;
mod watch;

use crate::{
    kinds::{self, Kind},
    objects,
    shell::{Context, Failure, Flags, Outcome, flags, log, output, table},
};
use clap::{ArgMatches, Command};
use cluster::Selection;
use serde_json::{Value, json};

/// Sources in the order in which Flux lists them.
static SOURCES: &[&Kind] = &[
    &kinds::OCI_REPOSITORY,
    &kinds::BUCKET,
    &kinds::GIT_REPOSITORY,
    &kinds::HELM_REPOSITORY,
    &kinds::HELM_CHART,
    &kinds::EXTERNAL_ARTIFACT,
];
static IMAGES: &[&Kind] = &[&kinds::IMAGE_REPOSITORY, &kinds::IMAGE_POLICY, &kinds::IMAGE_UPDATE];
static OTHERS: &[&Kind] = &[&kinds::HELM_RELEASE, &kinds::KUSTOMIZATION, &kinds::RECEIVER, &kinds::PROVIDER, &kinds::ALERT];

pub fn command() -> Command {
    let leaf = |name: &'static str, kind: &Kind| flags::leaf(name, "").about(format!("Get {} statuses", kind.kind));
    let with_source = |command: Command| command.arg(flags::switch("show-source", "show where each object comes from"));
    flags::group("get", "Get the resources and their status")
        .after_help(
            "  # All sources, and what they fetched
  sluice get sources all -A

  # What is not ready
  sluice get kustomizations -A --status-selector ready=false

  # One object as YAML
  sluice get kustomization apps -o yaml",
        )
        .args(
            [
                flags::switch("all-namespaces", "list the objects of all namespaces").short('A'),
                flags::switch("no-header", "leave the heading out"),
                flags::switch("watch", "after listing, watch for changes").short('w'),
                flags::string("status-selector", "only objects with this condition, e.g. ready=false or ready!=true"),
                flags::string("label-selector", "only objects with these labels").short('l'),
                flags::beyond(flags::checked("output", "string", "print as json, yaml, name or wide", output_format).short('o')),
            ]
            .map(|arg| arg.global(true)),
        )
        .subcommand(flags::leaf("all", "Get all resources and statuses"))
        .subcommand(leaf("alerts", &kinds::ALERT).visible_alias("alert"))
        .subcommand(leaf("alert-providers", &kinds::PROVIDER).visible_alias("alert-provider"))
        .subcommand(
            flags::group("artifacts", "Get artifact generators")
                .visible_alias("artifact")
                .subcommand(leaf("generators", &kinds::ARTIFACT_GENERATOR).visible_alias("generator")),
        )
        .subcommand(with_source(leaf("helmreleases", &kinds::HELM_RELEASE).visible_aliases(["hr", "helmrelease"])))
        .subcommand(
            flags::group("images", "Get image automation objects")
                .visible_alias("image")
                .subcommand(flags::leaf("all", "Get all image automation objects"))
                .subcommand(leaf("repository", &kinds::IMAGE_REPOSITORY))
                .subcommand(leaf("policy", &kinds::IMAGE_POLICY))
                .subcommand(leaf("update", &kinds::IMAGE_UPDATE)),
        )
        .subcommand(with_source(leaf("kustomizations", &kinds::KUSTOMIZATION).visible_aliases(["ks", "kustomization"])))
        .subcommand(leaf("receivers", &kinds::RECEIVER).visible_alias("receiver"))
        .subcommand(
            flags::group("sources", "Get sources")
                .visible_alias("source")
                .subcommand(flags::leaf("all", "Get all sources"))
                .subcommand(leaf("git", &kinds::GIT_REPOSITORY))
                .subcommand(leaf("oci", &kinds::OCI_REPOSITORY))
                .subcommand(leaf("helm", &kinds::HELM_REPOSITORY))
                .subcommand(leaf("chart", &kinds::HELM_CHART))
                .subcommand(leaf("bucket", &kinds::BUCKET))
                .subcommand(leaf("external", &kinds::EXTERNAL_ARTIFACT)),
        )
}

fn output_format(text: &str) -> Result<String, String> {
    match text {
        "json" | "yaml" | "wide" | "name" => Ok(text.to_owned()),
        _ => Err(format!("output format '{text}' is not supported, must be one of: json, yaml, name, wide")),
    }
}

/// What to get and how to show it.
struct Request {
    /// Empty for all namespaces.
    namespace: String,
    /// Empty for all names.
    name: String,
    labels: String,
    condition: Option<ConditionFilter>,
    header: bool,
    show_source: bool,
    format: String,
    /// Part of `all`: names carry their kind, and nothing found is no failure.
    one_of_many: bool,
}

/// `type=status`, or `type!=status`.
struct ConditionFilter {
    kind: String,
    status: String,
    equal: bool,
}

impl Request {
    fn new(context: &Context, matches: &ArgMatches) -> Result<Self, Failure> {
        Ok(Self {
            namespace: if matches.is_set("all-namespaces") { String::new() } else { context.namespace.clone() },
            name: matches.arguments().into_iter().next().unwrap_or_default(),
            labels: matches.text("label-selector").to_owned(),
            condition: ConditionFilter::parse(matches.text("status-selector"))?,
            header: !matches.is_set("no-header"),
            show_source: matches.is_set("show-source"),
            format: matches.text("output").to_owned(),
            one_of_many: false,
        })
    }

    fn selection(&self) -> Selection {
        let fields = if self.name.is_empty() { String::new() } else { format!("metadata.name={}", self.name) };
        Selection { namespace: self.namespace.clone(), labels: self.labels.clone(), fields, metadata_only: false }
    }

    fn where_(&self) -> String {
        if self.namespace.is_empty() { "any".to_owned() } else { format!("{:?}", self.namespace) }
    }

    fn admits(&self, kind: &Kind, object: &Value) -> bool {
        self.condition.as_ref().is_none_or(|filter| filter.admits(kind, object))
    }

    fn is_data(&self) -> bool {
        matches!(self.format.as_str(), "json" | "yaml")
    }
}

impl ConditionFilter {
    fn parse(text: &str) -> Result<Option<Self>, Failure> {
        if text.is_empty() {
            return Ok(None);
        }
        let (parts, equal) = if text.contains("!=") { (text.split_once("!="), false) } else { (text.split_once('='), true) };
        match parts {
            Some((kind, status)) => Ok(Some(Self { kind: kind.to_owned(), status: status.to_owned(), equal })),
            None => Err(Failure::new(format!("expected status selector in type=status or type!=status format, but found: {text}"))),
        }
    }

    fn admits(&self, kind: &Kind, object: &Value) -> bool {
        // Alerts and providers have no status: they are ready by being there.
        let matches = if *kind == kinds::ALERT || *kind == kinds::PROVIDER {
            self.kind.eq_ignore_ascii_case("ready") && self.status.eq_ignore_ascii_case("true")
        } else {
            let last = objects::conditions(object).iter().rev().find(|c| objects::text(c, &["type"]).eq_ignore_ascii_case(&self.kind));
            last.is_some_and(|c| objects::text(c, &["status"]).eq_ignore_ascii_case(&self.status))
        };
        matches == self.equal
    }
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    let words: Vec<&str> = path.iter().skip(1).map(String::as_str).collect();
    let request = Request::new(context, matches)?;
    let many: Vec<&'static Kind> = match words.as_slice() {
        ["all"] => SOURCES.iter().chain(IMAGES).chain(OTHERS).copied().collect(),
        ["sources", "all"] => SOURCES.to_vec(),
        ["images", "all"] => IMAGES.to_vec(),
        _ => Vec::new(),
    };
    if many.is_empty() {
        let kind = kind_of(&words)?;
        return if matches.is_set("watch") { watch::run(context, kind, &request).await } else { one(context, kind, &request).await };
    }
    if matches.is_set("watch") {
        return Err(Failure::new("expected a single resource type, but found all"));
    }
    all(context, &many, Request { one_of_many: true, ..request }).await
}

fn kind_of(words: &[&str]) -> Result<&'static Kind, Failure> {
    let kind = match words {
        ["alerts"] => &kinds::ALERT,
        ["alert-providers"] => &kinds::PROVIDER,
        ["artifacts", "generators"] => &kinds::ARTIFACT_GENERATOR,
        ["helmreleases"] => &kinds::HELM_RELEASE,
        ["kustomizations"] => &kinds::KUSTOMIZATION,
        ["receivers"] => &kinds::RECEIVER,
        [group, last] => {
            let words = [group.trim_end_matches('s').to_owned(), (*last).to_owned()];
            return kinds::of_words(&words).ok_or_else(|| Failure::new(format!("unknown kind of object: {group} {last}")));
        }
        _ => return Err(Failure::new("unknown kind of object")),
    };
    Ok(kind)
}

/// Every kind in turn; what fails is said and passed over.
async fn all(context: &Context, kinds: &[&'static Kind], request: Request) -> Outcome {
    let mut found = Vec::new();
    for kind in kinds {
        match fetch(context, kind, &request).await {
            Ok(objects) if request.is_data() => found.extend(objects),
            Ok(objects) if !objects.is_empty() => {
                output::print(&(render(kind, &objects, &request, request.header) + "\n"))?;
            }
            Ok(_) => {}
            Err(NotGot::NotServed) => {}
            Err(NotGot::Failed(failure)) => log::failure(failure.message),
        }
    }
    if request.is_data() { data(found, &request) } else { Ok(()) }
}

async fn one(context: &Context, kind: &'static Kind, request: &Request) -> Outcome {
    let objects = fetch(context, kind, request).await.map_err(|why| why.into_failure(kind))?;
    if request.is_data() {
        return data(objects, request);
    }
    output::print(&render(kind, &objects, request, request.header))
}

enum NotGot {
    /// The cluster does not have the kind.
    NotServed,
    Failed(Failure),
}

impl NotGot {
    fn into_failure(self, kind: &Kind) -> Failure {
        match self {
            Self::NotServed => Failure::new(format!("no matches for kind {:?} in version {:?}", kind.kind, kind.api_version())),
            Self::Failed(failure) => failure,
        }
    }
}

/// The objects that the request admits. Nothing at all is a failure; nothing left by the status selector is not.
async fn fetch(context: &Context, kind: &'static Kind, request: &Request) -> Result<Vec<Value>, NotGot> {
    let client = context.client().await.map_err(NotGot::Failed)?;
    let items = match client.list(&kind.resource(), &request.selection()).await {
        Ok(items) => items,
        Err(error) if error.is_not_found() => return Err(NotGot::NotServed),
        Err(error) => return Err(NotGot::Failed(error.into())),
    };
    let mut objects = Vec::with_capacity(items.len());
    for item in items {
        let object: Value = serde_json::from_str(item.get()).map_err(|error| NotGot::Failed(Failure::new(error.to_string())))?;
        objects.push(kind.stamp(object));
    }
    if objects.is_empty() {
        if !request.name.is_empty() {
            let text = format!("{} object '{}' not found in {} namespace", kind.kind, request.name, request.where_());
            return Err(NotGot::Failed(Failure::new(text)));
        }
        if !request.one_of_many {
            return Err(NotGot::Failed(Failure::new(format!("no {} objects found in {} namespace", kind.kind, request.where_()))));
        }
    }
    objects.retain(|object| request.admits(kind, object));
    Ok(objects)
}

fn render(kind: &Kind, objects: &[Value], request: &Request, header: bool) -> String {
    if request.format == "name" {
        let line = |object: &Value| format!("{}.{}/{}\n", kind.kind.to_lowercase(), kind.group, objects::name(object));
        return objects.iter().map(line).collect();
    }
    let columns = columns::of(kind, request.show_source, request.format == "wide");
    let mut heading: Vec<String> = Vec::new();
    if header {
        heading.extend(request.namespace.is_empty().then(|| "Namespace".to_owned()));
        heading.push("Name".to_owned());
        heading.extend(columns.iter().map(|column| column.title.to_owned()));
    }
    let rows: Vec<Vec<String>> = objects
        .iter()
        .map(|object| {
            let mut row: Vec<String> = Vec::new();
            row.extend(request.namespace.is_empty().then(|| objects::namespace(object).to_owned()));
            let name = objects::name(object);
            row.push(if request.one_of_many { format!("{}/{name}", kind.kind.to_lowercase()) } else { name.to_owned() });
            row.extend(columns.iter().map(|column| (column.value)(object)));
            row
        })
        .collect();
    table::render(&heading, &rows)
}

/// Objects as JSON or YAML: one as itself, several as a list, as kubectl prints them.
fn data(mut objects: Vec<Value>, request: &Request) -> Outcome {
    for object in &mut objects {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    }
    let value = match (request.name.is_empty(), objects.len()) {
        (false, 1) => objects.remove(0),
        _ => json!({"apiVersion": "v1", "kind": "List", "items": objects}),
    };
    let value = output::sorted(value);
    output::print(&if request.format == "json" { output::json(&value)? } else { output::yaml(&value)? })
}
