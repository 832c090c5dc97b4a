//! The applied objects: what is waited for while work goes on, and the table at the end.

use super::view::Id;
use cluster::{Client, Resource};
use health::Status;
use object::Object;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    io::Write,
};

/// One applied object, as the table shows it.
#[derive(Debug, Serialize)]
pub struct Applied {
    pub kustomization: String,
    pub object: String,
    pub status: String,
    pub message: String,
}

/// An entry of an inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    namespace: String,
    name: String,
    group: String,
    kind: String,
    version: String,
}

impl Entry {
    /// Reads `namespace_name_group_kind`; a double underscore in the name stands for a colon.
    fn parse(entry: &Value) -> Option<Self> {
        let id = entry["id"].as_str()?;
        let (namespace, rest) = id.split_once('_')?;
        let (rest, kind) = rest.rsplit_once('_')?;
        let (name, group) = rest.rsplit_once('_')?;
        Some(Self {
            namespace: namespace.to_owned(),
            name: name.replace("__", ":"),
            group: group.to_owned(),
            kind: kind.to_owned(),
            version: entry["v"].as_str()?.to_owned(),
        })
    }

    fn shown(&self) -> String {
        if self.namespace.is_empty() { format!("{}/{}", self.kind, self.name) } else { format!("{}/{}/{}", self.kind, self.namespace, self.name) }
    }
}

fn inventory(kustomization: &Value) -> Vec<Entry> {
    kustomization["status"]["inventory"]["entries"].as_array().into_iter().flatten().filter_map(Entry::parse).collect()
}

/// The Kustomizations that the applied ones have made.
pub fn expected_kustomizations(objects: &BTreeMap<Id, Value>) -> Vec<Id> {
    objects
        .iter()
        .filter(|(id, _)| id.kind == "Kustomization")
        .flat_map(|(_, object)| inventory(object))
        .filter(|entry| entry.kind == "Kustomization" && entry.group == "kustomize.toolkit.fluxcd.io")
        .map(|entry| Id { kind: entry.kind, namespace: entry.namespace, name: entry.name })
        .collect()
}

/// For each Kustomization that runs health checks: the first objects that are not ready, with their reasons.
pub async fn waiting(client: &Client, objects: &BTreeMap<Id, Value>) -> BTreeMap<Id, String> {
    let mut found = BTreeMap::new();
    for (id, object) in objects {
        let checking = object["status"]["conditions"].as_array().into_iter().flatten().any(|c| {
            c["type"] == "Reconciling" && c["status"] == "True" && c["message"].as_str().is_some_and(|m| m.starts_with("Running health checks"))
        });
        if !checking {
            continue;
        }
        let mut names = Names::default();
        let mut reasons = Vec::new();
        for entry in inventory(object) {
            let health = assess(client, &mut names, &entry).await;
            if health.0 != Status::Current {
                reasons.push(format!("{}: {}", entry.shown(), health.1));
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
pub async fn print(client: &Client, objects: &BTreeMap<Id, Value>, form: &str) -> Result<(), cluster::Error> {
    let mut names = Names::default();
    let mut applied = Vec::new();
    for (id, object) in objects.iter().filter(|(id, _)| id.kind == "Kustomization") {
        for entry in inventory(object) {
            let (status, message) = assess(client, &mut names, &entry).await;
            let kustomization = format!("{}/{}", id.namespace, id.name);
            applied.push(Applied { kustomization, object: entry.shown(), status: status.to_string(), message });
        }
    }
    let mut out = std::io::stdout().lock();
    // A closed pipe is the reader's choice, not our failure.
    let _ = match form {
        "json" => serde_json::to_writer_pretty(&mut out, &applied).map_err(std::io::Error::from).and_then(|()| writeln!(out)),
        "yaml" => write!(out, "{}", yaml::emit(&serde_json::to_value(&applied).unwrap_or_default())),
        _ => table(&mut out, &applied),
    };
    Ok(())
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

async fn assess(client: &Client, names: &mut Names, entry: &Entry) -> (Status, String) {
    let Some(resource) = names.resource(client, entry).await else {
        return (Status::Unknown, format!("the API server knows no {} in {}/{}", entry.kind, entry.group, entry.version));
    };
    match client.get_opt(&resource, &entry.namespace, &entry.name).await {
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

/// What kinds are called in URLs, asked once per group and version.
#[derive(Default)]
struct Names(HashMap<String, Vec<Resource>>);

impl Names {
    async fn resource(&mut self, client: &Client, entry: &Entry) -> Option<Resource> {
        #[derive(Deserialize)]
        struct List {
            resources: Vec<Item>,
        }
        #[derive(Deserialize)]
        struct Item {
            name: String,
            kind: String,
            namespaced: bool,
        }
        let path = if entry.group.is_empty() { format!("/api/{}", entry.version) } else { format!("/apis/{}/{}", entry.group, entry.version) };
        if !self.0.contains_key(&path) {
            let bytes = client.get_path(&path, "application/json").await.ok()?;
            let list: List = serde_json::from_slice(&bytes).ok()?;
            let resources = list.resources.into_iter().filter(|item| !item.name.contains('/')).map(|item| Resource {
                group: entry.group.clone(),
                version: entry.version.clone(),
                kind: item.kind,
                plural: item.name,
                namespaced: item.namespaced,
            });
            self.0.insert(path.clone(), resources.collect());
        }
        self.0.get(&path)?.iter().find(|resource| resource.kind == entry.kind).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn inventory_ids_are_read_as_flux_writes_them() {
        let entry = Entry::parse(&json!({"id": "_apps__crb_rbac.authorization.k8s.io_ClusterRoleBinding", "v": "v1"})).unwrap();
        assert_eq!((entry.namespace.as_str(), entry.name.as_str(), entry.group.as_str()), ("", "apps:crb", "rbac.authorization.k8s.io"));
        let core = Entry::parse(&json!({"id": "ns_name__ConfigMap", "v": "v1"})).unwrap();
        assert_eq!(core.shown(), "ConfigMap/ns/name");
        assert_eq!(Entry::parse(&json!({"id": "nonsense", "v": "v1"})), None);
    }

    #[test]
    fn the_table_aligns() {
        let row = |object: &str| Applied { kustomization: "flux-system/apps".into(), object: object.into(), status: "Current".into(), message: String::new() };
        let mut out = Vec::new();
        table(&mut out, &[row("A/b"), row("Deployment/podinfo/podinfo")]).unwrap();
        let text = String::from_utf8(out).unwrap();
        let columns: Vec<_> = text.lines().map(|line| line.find("STATUS").or_else(|| line.find("Current"))).collect();
        assert!(columns.iter().all(|column| *column == columns[0]), "{text}");
        assert!(text.lines().all(|line| !line.ends_with(' ')));
    }
}
