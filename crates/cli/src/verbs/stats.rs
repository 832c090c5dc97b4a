//! `stats`: how many objects there are, and how many are not well.

use super::no_arguments;
use crate::{
    kinds::{self, Kind},
    objects,
    shell::{Context, Failure, Flags, Outcome, flags, output, table},
};
use clap::{ArgMatches, Command};
use cluster::Selection;
use serde_json::json;

static COUNTED: &[&Kind] = &[
    &kinds::GIT_REPOSITORY,
    &kinds::OCI_REPOSITORY,
    &kinds::HELM_REPOSITORY,
    &kinds::HELM_CHART,
    &kinds::BUCKET,
    &kinds::KUSTOMIZATION,
    &kinds::HELM_RELEASE,
    &kinds::ALERT,
    &kinds::PROVIDER,
    &kinds::RECEIVER,
    &kinds::IMAGE_UPDATE,
    &kinds::IMAGE_POLICY,
    &kinds::IMAGE_REPOSITORY,
];

pub fn command() -> Command {
    flags::leaf("stats", "Stats of reconcilers and the storage of sources").after_help("  # The whole cluster\n  sluice stats -A").args([
        flags::switch("all-namespaces", "count the objects of all namespaces").short('A'),
        flags::beyond(flags::string("output", "print as json or yaml").short('o')),
    ])
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    no_arguments(context, path, matches)?;
    let format = matches.text("output");
    if !["", "json", "yaml"].contains(&format) {
        return Err(Failure::new(format!("--output must be json or yaml, not {format}")));
    }
    let namespace = if matches.is_set("all-namespaces") { String::new() } else { context.namespace.clone() };
    let selection = Selection { namespace, ..Selection::default() };
    context.client().await?;
    let (mut rows, mut counts) = (Vec::with_capacity(COUNTED.len()), Vec::new());
    for kind in COUNTED {
        // A kind that the cluster does not have, or does not show, counts as none.
        let found = context.list(&kind.resource(), &selection).await.unwrap_or_default();
        let suspended = found.iter().filter(|object| objects::is_suspended(object)).count();
        let failing = found
            .iter()
            .filter(|object| objects::condition(object, "Ready").is_some_and(|ready| objects::text(ready, &["status"]) == "False"))
            .count();
        let bytes: i64 = found.iter().filter_map(|object| objects::at(object, &["status", "artifact", "size"]).as_i64()).sum();
        let running = found.len() - suspended;
        counts.push(json!({"kind": kind.kind, "running": running, "failing": failing, "suspended": suspended, "storageBytes": bytes}));
        rows.push(vec![kind.kind.to_owned(), running.to_string(), failing.to_string(), suspended.to_string(), size(bytes)]);
    }
    match format {
        "json" => return output::print(&output::json(&counts)?),
        "yaml" => return output::print(&output::yaml(&counts)?),
        _ => {}
    }
    let header = ["Reconcilers", "Running", "Failing", "Suspended", "Storage"].map(str::to_owned);
    output::print(&table::render(&header, &rows))
}

/// Bytes in the largest unit that leaves a whole number before the point.
fn size(bytes: i64) -> String {
    const UNITS: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];
    match bytes {
        ..=0 => "-".to_owned(),
        1..1024 => format!("{bytes} B"),
        _ => {
            let exponent = ((bytes.ilog2() / 10) as usize).min(UNITS.len());
            format!("{:.1} {}iB", bytes as f64 / 1024f64.powi(exponent as i32), UNITS[exponent - 1])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [(0, "-"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB"), (i64::MAX, "8.0 EiB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
