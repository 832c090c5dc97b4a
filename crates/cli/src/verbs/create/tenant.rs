use super::{Request, check_qualified_name};
use crate::{
    builtin,
    shell::{Failure, Flags, Outcome, flags, log, output},
};
use clap::Command;
use cluster::{Delete, Resource};
use serde_json::{Value, json};

const TENANT_LABEL: &str = "toolkit.fluxcd.io/tenant";

pub fn command() -> Command {
    flags::leaf("tenant", "Create or update a tenant: namespaces, each with an account and its rights")
        .after_help("  # Two namespaces for a team\n  sluice create tenant team-a --with-namespace=frontend --with-namespace=backend --export > team-a.yaml")
        .args([
            flags::strings("with-namespace", "namespace of the tenant"),
            flags::string("cluster-role", "ClusterRole that the tenant has in its namespaces").default_value("cluster-admin"),
            flags::string("with-service-account", "name of the ServiceAccount; the tenant's when empty"),
            flags::switch("skip-namespace", "do not make the namespaces"),
        ])
}

pub async fn run(request: &Request<'_>) -> Outcome {
    let tenant = &request.name;
    let role = request.text("cluster-role");
    if role.is_empty() {
        return Err(Failure::new("cluster-role is required"));
    }
    let namespaces = request.matches.texts("with-namespace");
    if namespaces.is_empty() {
        return Err(Failure::new("with-namespace is required"));
    }
    let skips = request.matches.is_set("skip-namespace");
    let parts: Vec<Parts> = namespaces.iter().map(|namespace| Parts::new(request, tenant, namespace, role)).collect::<Result<_, _>>()?;
    for part in &parts {
        if request.is_export() {
            let objects = [Some(&part.namespace).filter(|_| !skips), Some(&part.account), Some(&part.binding)];
            output::print(&output::documents(objects.into_iter().flatten())?)?;
            continue;
        }
        let name = crate::objects::name;
        if !skips {
            log::action(format!("applying namespace {}", name(&part.namespace)));
            upsert(request, &builtin::namespaces(), &part.namespace).await?;
        }
        log::action(format!("applying service account {}", name(&part.account)));
        upsert(request, &builtin::service_accounts(), &part.account).await?;
        log::action(format!("applying role binding {}", name(&part.binding)));
        upsert(request, &builtin::role_bindings(), &part.binding).await?;
    }
    if !request.is_export() {
        log::success("tenant setup completed");
    }
    Ok(())
}

struct Parts {
    namespace: Value,
    account: Value,
    binding: Value,
}

impl Parts {
    fn new(request: &Request<'_>, tenant: &str, namespace: &str, role: &str) -> Result<Self, Failure> {
        let bad = |what: &str, name: &str, why: String| Failure::new(format!("invalid {what} '{name}': [{why}]"));
        check_qualified_name(namespace).map_err(|why| bad("namespace", namespace, why))?;
        let mut labels = request.labels()?;
        labels.insert(TENANT_LABEL.to_owned(), tenant.to_owned());
        let account = match request.text("with-service-account") {
            "" => tenant,
            given => given,
        };
        check_qualified_name(account).map_err(|why| bad("service-account name", account, why))?;
        Ok(Self {
            namespace: json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}),
            account: json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": account, "namespace": namespace, "labels": labels},
            }),
            binding: json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": format!("{tenant}-reconciler"), "namespace": namespace, "labels": labels},
                "subjects": [
                    {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": format!("gotk:{namespace}:reconciler")},
                    {"kind": "ServiceAccount", "name": account, "namespace": namespace},
                ],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            }),
        })
    }
}

/// Creates an object, or brings an existing one to these labels; a binding that differs is made anew, since its role cannot be changed.
async fn upsert(request: &Request<'_>, resource: &Resource, object: &Value) -> Outcome {
    let context = request.context;
    let (namespace, name) = (crate::objects::namespace(object), crate::objects::name(object));
    let Some(mut existing) = context.find_resource(resource, namespace, name).await? else {
        context.create(resource, namespace, object).await?;
        return Ok(());
    };
    let holds = |part: &str, path: &[&str]| match (crate::objects::at(object, path), crate::objects::at(&existing, path)) {
        (Value::Null, _) => true,
        (Value::Object(wanted), found) => wanted.iter().all(|(key, value)| found.get(key) == Some(value)),
        (wanted, found) if part == "subjects" => subjects_equal(wanted, found),
        (wanted, found) => wanted == found,
    };
    let labels = holds("labels", &["metadata", "labels"]);
    if !holds("subjects", &["subjects"]) || !holds("roleRef", &["roleRef"]) || (!labels && resource.kind == "RoleBinding") {
        context.client().await?.delete(resource, namespace, name, Delete::default()).await?;
        context.create(resource, namespace, object).await?;
    } else if !labels {
        existing["metadata"]["labels"] = object["metadata"]["labels"].clone();
        context.replace(resource, namespace, name, &existing).await?;
    }
    Ok(())
}

/// Every field that we set is as we set it; the server fills in others.
fn subjects_equal(wanted: &Value, found: &Value) -> bool {
    let (Some(wanted), Some(found)) = (wanted.as_array(), found.as_array()) else { return false };
    let same =
        |(wanted, found): (&Value, &Value)| wanted.as_object().into_iter().flatten().all(|(key, value)| found.get(key) == Some(value));
    wanted.len() == found.len() && wanted.iter().zip(found).all(same)
}
