//! `logs`: what the controllers say, of all or of one object.

use super::version::PART_OF_FLUX;
use crate::{
    builtin, objects,
    shell::{Context, Failure, Flags, Outcome, flags, log, output},
};
use clap::{ArgMatches, Command};
use cluster::Selection;
use futures::{AsyncBufReadExt as _, StreamExt as _, stream::select_all};
use serde_json::Value;
use types::GoDuration;

pub fn command() -> Command {
    flags::leaf("logs", "Display formatted logs for Flux components")
        .after_help("  # Errors anywhere\n  sluice logs --level=error -A\n\n  # One Kustomization, as it happens\n  sluice logs --kind=Kustomization --name=apps --follow")
        .args([
            flags::checked("level", "debug|info|error", "only this level", |level| match level {
                "debug" | "info" | "error" => Ok(level.to_owned()),
                _ => Err(format!("unsupported log level '{level}', must be one of: debug, info, error")),
            }),
            flags::string("kind", "only objects of this kind, such as GitRepository"),
            flags::string("name", "only the object of this name"),
            flags::switch("follow", "go on printing as lines come").short('f'),
            flags::int("tail", "only the last lines; -1 for all").default_value("-1"),
            flags::string("flux-namespace", "namespace of the controllers").default_value("flux-system"),
            flags::switch("all-namespaces", "objects of all namespaces").short('A'),
            flags::duration("since", "only lines newer than this, such as 5m; not with --since-time"),
            flags::string("since-time", "only lines after this moment (RFC3339); not with --since"),
        ])
}

pub async fn run(context: &Context, _path: &[String], matches: &ArgMatches) -> Outcome {
    if !matches.arguments().is_empty() {
        return Err(Failure::new("no argument required"));
    }
    let namespace = matches.text("flux-namespace");
    let pods = pods(context, namespace).await?;
    let query = query(matches)?;
    let filter = Filter::new(context, matches);
    let mut streams = Vec::new();
    for pod in &pods {
        let containers = objects::at(pod, &["spec", "containers"]).as_array().map_or(0, Vec::len);
        let container = if containers > 1 { "&container=manager" } else { "" };
        let path = format!("/api/v1/namespaces/{namespace}/pods/{}/log?{query}{container}", objects::name(pod));
        let request = http::Request::get(path).body(Vec::new()).map_err(|error| Failure::new(error.to_string()))?;
        match context.client().await?.kube().request_stream(request).await {
            Ok(reader) => streams.push(reader.lines().boxed_local()),
            Err(error) => {
                eprintln!("failed getting logs: {error}");
                return Err(Failure::new("failed to collect logs from all Flux pods"));
            }
        }
    }
    // Followed pods are read together, others one after the other.
    let mut lines =
        if matches.is_set("follow") { select_all(streams).boxed_local() } else { futures::stream::iter(streams).flatten().boxed_local() };
    while let Some(line) = lines.next().await {
        let line = line.map_err(|error| Failure::new(format!("failed getting logs: {error}")))?;
        if !line.starts_with('{') {
            continue;
        }
        match serde_json::from_str::<Value>(&line) {
            Ok(entry) if filter.admits(&entry) => output::print(&render(&entry))?,
            Ok(_) => {}
            Err(error) => log::failure(format!("parse error: {error}")),
        }
    }
    Ok(())
}

/// One pod of each deployment of Flux, a running one if there is one.
async fn pods(context: &Context, namespace: &str) -> Result<Vec<Value>, Failure> {
    let select = |labels: String| Selection { namespace: namespace.to_owned(), labels, ..Selection::default() };
    let mut found = Vec::new();
    for deployment in context.list(&builtin::deployments(), &select(PART_OF_FLUX.to_owned())).await? {
        let labels = objects::at(&deployment, &["spec", "template", "metadata", "labels"]).as_object();
        let labels: Vec<String> =
            labels.into_iter().flatten().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or(""))).collect();
        let mut pods = context.list(&builtin::pods(), &select(labels.join(","))).await?;
        pods.sort_by_key(|pod| objects::text(pod, &["status", "phase"]) != "Running");
        found.extend(pods.into_iter().next());
    }
    if found.is_empty() { Err(Failure::new(format!("no Flux pods found in namespace {namespace:?}"))) } else { Ok(found) }
}

fn query(matches: &ArgMatches) -> Result<String, Failure> {
    let mut query = format!("follow={}", matches.is_set("follow"));
    if let Some(tail) = matches.number("tail").filter(|tail| *tail > -1) {
        query.push_str(&format!("&tailLines={tail}"));
    }
    let (since, since_time) = (matches.length("since").filter(|since| *since != GoDuration::ZERO), matches.text("since-time"));
    if since.is_some() && !since_time.is_empty() {
        return Err(Failure::new("at most one of `sinceTime` or `sinceDuration` may be specified"));
    }
    if !since_time.is_empty() {
        let time: jiff::Timestamp = since_time.parse().map_err(|_| Failure::new(format!("{since_time} is not a valid (RFC3339) time")))?;
        query.push_str(&format!("&sinceTime={}", time.strftime("%Y-%m-%dT%H:%M:%SZ")));
    }
    if let Some(since) = since {
        query.push_str(&format!("&sinceSeconds={}", (since.as_nanos() + 500_000_000) / 1_000_000_000));
    }
    Ok(query)
}

struct Filter {
    level: String,
    kind: String,
    name: String,
    /// Empty for all.
    namespace: String,
}

impl Filter {
    fn new(context: &Context, matches: &ArgMatches) -> Self {
        Self {
            level: matches.text("level").to_owned(),
            kind: matches.text("kind").to_owned(),
            name: matches.text("name").to_owned(),
            namespace: if matches.is_set("all-namespaces") { String::new() } else { context.namespace.clone() },
        }
    }

    fn admits(&self, entry: &Value) -> bool {
        let same = |wanted: &str, key: &str| objects::text(entry, &[key]).eq_ignore_ascii_case(wanted);
        (self.level.is_empty() || objects::text(entry, &["level"]) == self.level)
            && (self.kind.is_empty() || same(&self.kind, "reconciler kind") || same(&self.kind, "controllerKind"))
            && (self.name.is_empty() || same(&self.name, "name"))
            && (self.namespace.is_empty() || same(&self.namespace, "namespace"))
    }
}

fn render(entry: &Value) -> String {
    let text = |key: &str| objects::text(entry, &[key]);
    let kind = if text("reconciler kind").is_empty() { text("controllerKind") } else { text("reconciler kind") };
    let object = if text("name").is_empty() { String::new() } else { format!("/{}.{}", text("name"), text("namespace")) };
    format!("{} {} {kind}{object} - {} {}\n", text("ts"), text("level"), text("msg"), text("error"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_names_its_object() {
        let entry = json!({"ts": "T", "level": "error", "msg": "failed", "error": "why", "controllerKind": "Kustomization", "name": "apps", "namespace": "prod"});
        assert_eq!(render(&entry), "T error Kustomization/apps.prod - failed why\n");
        let filter = Filter { level: "error".into(), kind: "kustomization".into(), name: String::new(), namespace: "PROD".into() };
        assert!(filter.admits(&entry));
        assert!(!Filter { level: "info".into(), ..filter }.admits(&entry));
    }
}
