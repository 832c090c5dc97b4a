//! The applied objects: what is waited for while work goes on, and the table at the end.

use super::view::{Applied, Id, View};
use cluster::{Client, Discovery};
use health::Status;
use object::Object;
use plan::Entry;
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeMap, io::Write};

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

/// Objects of one owner that are looked at while it is not ready: enough to see what is missing.
const LOOKED_AT_MAX: usize = 100;

/// The objects of those who are not ready yet, and how each is.
pub async fn unfinished(client: &Client, names: &Discovery, objects: &BTreeMap<Id, Value>, view: &View) -> BTreeMap<Id, Vec<Applied>> {
    let mut found = BTreeMap::new();
    for row in view.not_ready().filter(|row| is_owner(&row.id)) {
        let entries = objects.get(&row.id).map(inventory).unwrap_or_default();
        found.insert(row.id.clone(), look(client, names, entries.iter().take(LOOKED_AT_MAX)).await);
    }
    found
}

/// Every applied object, and how it is.
pub async fn all(client: &Client, names: &Discovery, objects: &BTreeMap<Id, Value>) -> BTreeMap<Id, Vec<Applied>> {
    let mut found = BTreeMap::new();
    for (id, object) in objects.iter().filter(|(id, _)| is_owner(id)) {
        found.insert(id.clone(), look(client, names, inventory(object).iter()).await);
    }
    found
}

fn is_owner(id: &Id) -> bool {
    matches!(id.kind.as_str(), "Kustomization" | "HelmRelease")
}

async fn look(client: &Client, names: &Discovery, entries: impl Iterator<Item = &Entry>) -> Vec<Applied> {
    let mut found = Vec::new();
    for entry in entries {
        let (status, text) = assess(client, names, entry).await;
        let key = &entry.key;
        let id = Id { kind: key.kind.clone(), namespace: key.namespace.clone(), name: key.name.clone() };
        found.push(Applied { id, status, text });
    }
    found
}

/// One line of the table.
#[derive(Debug, Serialize)]
struct Line {
    kustomization: String,
    object: String,
    status: String,
    message: String,
}

/// Prints the applied objects in one of the forms: a table, a tree, or data.
pub fn print(objects: &BTreeMap<Id, Value>, applied: &BTreeMap<Id, Vec<Applied>>, form: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if form == "tree" {
        return View::of(objects, applied).lines().into_iter().try_for_each(|(guide, row)| writeln!(out, "{guide}{row}"));
    }
    let lines: Vec<Line> = applied
        .iter()
        .flat_map(|(owner, objects)| {
            objects.iter().map(|object| Line {
                kustomization: format!("{}/{}", owner.namespace, owner.name),
                object: object.id.to_string(),
                status: object.status.to_string(),
                message: object.text.clone(),
            })
        })
        .collect();
    match form {
        "json" => serde_json::to_writer_pretty(&mut out, &lines).map_err(std::io::Error::from).and_then(|()| writeln!(out)),
        "yaml" => write!(out, "{}", yaml::emit(&serde_json::to_value(&lines).unwrap_or_default())),
        _ => table(&mut out, &lines),
    }
}

fn table(out: &mut impl Write, applied: &[Line]) -> std::io::Result<()> {
    let header = ["KUSTOMIZATION", "OBJECT", "STATUS", "MESSAGE"];
    let cells = |row: &Line| [row.kustomization.clone(), row.object.clone(), row.status.clone(), row.message.clone()];
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
        let row = |object: &str| Line {
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
