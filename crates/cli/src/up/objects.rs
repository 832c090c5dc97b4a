//! The applied objects: what is waited for while work goes on, and the table at the end.

use super::view::Id;
use cluster::{Client, Discovery};
use health::Status;
use object::Object;
use plan::Entry;
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeMap, io::Write};

/// One applied object, as the table shows it.
#[derive(Debug, Serialize)]
pub struct Applied {
    pub kustomization: String,
    pub object: String,
    pub status: String,
    pub message: String,
}

fn inventory(kustomization: &Value) -> Vec<Entry> {
    let entries = kustomization["status"]["inventory"]["entries"].as_array();
    entries.into_iter().flatten().filter_map(|entry| Entry::parse(entry["id"].as_str()?, entry["v"].as_str()?)).collect()
}

/// The Kustomizations and HelmReleases that the applied Kustomizations have made.
pub fn expected_kustomizations(objects: &BTreeMap<Id, Value>) -> Vec<Id> {
    objects
        .iter()
        .filter(|(id, _)| id.kind == "Kustomization")
        .flat_map(|(_, object)| inventory(object))
        .map(|entry| entry.key)
        .filter(|key| {
            let kind = (key.kind.as_str(), key.group.as_str());
            matches!(kind, ("Kustomization", "kustomize.toolkit.fluxcd.io") | ("HelmRelease", "helm.toolkit.fluxcd.io"))
        })
        .map(|key| Id { kind: key.kind, namespace: key.namespace, name: key.name })
        .collect()
}

/// For each Kustomization that runs health checks: the first objects that are not ready, with their reasons.
pub async fn waiting(client: &Client, names: &Discovery, objects: &BTreeMap<Id, Value>) -> BTreeMap<Id, String> {
    let mut found = BTreeMap::new();
    for (id, object) in objects {
        let checking = object["status"]["conditions"].as_array().into_iter().flatten().any(|c| {
            c["type"] == "Reconciling"
                && c["status"] == "True"
                && c["message"].as_str().is_some_and(|m| m.starts_with("Running health checks"))
        });
        if !checking {
            continue;
        }
        let mut reasons = Vec::new();
        for entry in inventory(object) {
            let health = assess(client, names, &entry).await;
            if health.0 != Status::Current {
                reasons.push(format!("{}: {}", entry.key, health.1));
            }
        }
        if let Some(first) = reasons.first() {
            let more = if reasons.len() > 1 { format!(" (and {} more)", reasons.len() - 1) } else { String::new() };
            found.insert(id.clone(), format!("{first}{more}"));
        }
    }
    found
}

/// Prints every applied object and how it is.
pub async fn print(client: &Client, names: &Discovery, objects: &BTreeMap<Id, Value>, form: &str) -> std::io::Result<()> {
    let mut applied = Vec::new();
    for (id, object) in objects.iter().filter(|(id, _)| matches!(id.kind.as_str(), "Kustomization" | "HelmRelease")) {
        for entry in inventory(object) {
            let (status, message) = assess(client, names, &entry).await;
            let kustomization = format!("{}/{}", id.namespace, id.name);
            applied.push(Applied { kustomization, object: entry.key.to_string(), status: status.to_string(), message });
        }
    }
    let mut out = std::io::stdout().lock();
    match form {
        "json" => serde_json::to_writer_pretty(&mut out, &applied).map_err(std::io::Error::from).and_then(|()| writeln!(out)),
        "yaml" => write!(out, "{}", yaml::emit(&serde_json::to_value(&applied).unwrap_or_default())),
        _ => table(&mut out, &applied),
    }
}

fn table(out: &mut impl Write, applied: &[Applied]) -> std::io::Result<()> {
    let header = ["KUSTOMIZATION", "OBJECT", "STATUS", "MESSAGE"];
    let cells = |row: &Applied| [row.kustomization.clone(), row.object.clone(), row.status.clone(), row.message.clone()];
    let mut widths = header.map(str::len);
    for row in applied {
        for (width, cell) in widths.iter_mut().zip(cells(row)) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut line = |cells: [String; 4]| {
        let text: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", text.join("  ").trim_end())
    };
    line(header.map(str::to_owned))?;
    applied.iter().try_for_each(|row| line(cells(row)))
}

async fn assess(client: &Client, names: &Discovery, entry: &Entry) -> (Status, String) {
    let resource = match names.resolve(&entry.gvk()).await {
        Ok(resource) => resource,
        Err(error) => return (Status::Unknown, error.to_string()),
    };
    match client.get_opt(&resource, &entry.key.namespace, &entry.key.name).await {
        Ok(Some(bytes)) => match serde_json::from_slice(&bytes).ok().and_then(|value| Object::new(value).ok()) {
            Some(object) => {
                let health = health::assess(&object, jiff::Timestamp::now());
                (health.status, health.message)
            }
            None => (Status::Unknown, "the API server sent something else".to_owned()),
        },
        Ok(None) => (Status::NotFound, "it does not exist".to_owned()),
        Err(error) => (Status::Unknown, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kustomizations_that_others_have_made_are_expected() {
        let root = json!({
            "kind": "Kustomization", "metadata": {"name": "root", "namespace": "ns"},
            "status": {"inventory": {"entries": [{"id": "ns_apps_kustomize.toolkit.fluxcd.io_Kustomization", "v": "v1"}, {"id": "ns_a__ConfigMap", "v": "v1"}]}},
        });
        let expected = expected_kustomizations(&[(Id::of(&root), root)].into());
        assert_eq!(expected.iter().map(ToString::to_string).collect::<Vec<_>>(), ["Kustomization/ns/apps"]);
    }

    #[test]
    fn the_table_aligns() {
        let row = |object: &str| Applied {
            kustomization: "flux-system/apps".into(),
            object: object.into(),
            status: "Current".into(),
            message: String::new(),
        };
        let mut out = Vec::new();
        table(&mut out, &[row("A/b"), row("Deployment/podinfo/podinfo")]).unwrap();
        let text = String::from_utf8(out).unwrap();
        let columns: Vec<_> = text.lines().map(|line| line.find("STATUS").or_else(|| line.find("Current"))).collect();
        assert!(columns.iter().all(|column| *column == columns[0]), "{text}");
        assert!(text.lines().all(|line| !line.ends_with(' ')));
    }
}
