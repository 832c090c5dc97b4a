use crate::{
    builtin, objects, readiness,
    shell::{Context, Failure, cluster::POLL_EVERY, log},
};
use cluster::{Apply, Discovery, Resource, Selection};
use object::GroupVersionKind;
use serde_json::Value;
use std::time::Duration;

/// Who applies, as in Flux's command line.
const FIELD_MANAGER: &str = "flux";
/// How long definitions and namespaces may take.
const FIRST_STAGE: Duration = Duration::from_secs(60);

/// Applies objects by server-side apply: definitions and namespaces first, the others once those are there.
pub async fn apply(context: &Context, objects: &[Value]) -> Result<(), Failure> {
    let is_first = |object: &&Value| matches!(object["kind"].as_str(), Some("CustomResourceDefinition" | "Namespace"));
    let (first, rest): (Vec<&Value>, Vec<&Value>) = objects.iter().partition(is_first);
    let discovery = Discovery::new(context.client().await?.clone());
    for object in &first {
        apply_one(context, &discovery, object).await?;
    }
    established(context, &first).await?;
    for object in rest {
        apply_one(context, &discovery, object).await?;
    }
    Ok(())
}

async fn apply_one(context: &Context, discovery: &Discovery, object: &Value) -> Result<(), Failure> {
    let gvk = GroupVersionKind::from_api_version(objects::text(object, &["apiVersion"]), objects::text(object, &["kind"]));
    let resource = discovery.resolve(&gvk).await?;
    let (namespace, name) = (objects::namespace(object), objects::name(object));
    let shown = resource.key(namespace, name);
    let before = context.find_resource(&resource, namespace, name).await?;
    let options = Apply { field_manager: FIELD_MANAGER, force: true, ..Apply::default() };
    let answer = context.client().await?.apply(&resource, namespace, name, object.to_string().into_bytes(), options).await;
    let after: Value = serde_json::from_slice(&answer.map_err(|error| Failure::new(format!("{shown}: {}", error.chain())))?)
        .map_err(|error| Failure::new(format!("{shown}: {error}")))?;
    let version = |object: &Value| objects::text(object, &["metadata", "resourceVersion"]).to_owned();
    match before {
        None => log::success(format!("{shown} created")),
        Some(before) if version(&before) != version(&after) => log::success(format!("{shown} configured")),
        Some(_) => {}
    }
    Ok(())
}

/// Waits until definitions are served: their objects may follow at once.
async fn established(context: &Context, first: &[&Value]) -> Result<(), Failure> {
    let deadline = tokio::time::Instant::now() + FIRST_STAGE;
    for object in first.iter().filter(|object| object["kind"] == "CustomResourceDefinition") {
        let name = objects::name(object);
        loop {
            let found = context.get_resource(&builtin::definitions(), "", name).await?;
            if objects::condition(&found, "Established").is_some_and(|condition| condition["status"] == "True") {
                break;
            }
            if tokio::time::Instant::now() > deadline {
                return Err(Failure::new(format!("CustomResourceDefinition/{name} was not established within {}s", FIRST_STAGE.as_secs())));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

/// Waits until the controllers run; says which, and why one does not.
pub async fn verify(context: &Context, components: &[String]) -> Result<(), Failure> {
    let deadline = context.deadline();
    for component in components {
        loop {
            let mut deployment = context.get_resource(&builtin::deployments(), &context.namespace, component).await?;
            deployment["apiVersion"] = "apps/v1".into();
            deployment["kind"] = "Deployment".into();
            if readiness::settled(&deployment)? {
                log::success(format!("{component}: deployment ready"));
                break;
            }
            if tokio::time::Instant::now() + POLL_EVERY > deadline {
                let why = reason(context, component).await.unwrap_or_default();
                return Err(Failure::new(format!("{component}: deployment not ready after {}{why}", context.timeout)));
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
    Ok(())
}

/// What the pods of a controller wait for, as far as they tell.
async fn reason(context: &Context, component: &str) -> Option<String> {
    let selection = Selection { namespace: context.namespace.clone(), labels: format!("app={component}"), ..Selection::default() };
    let pods = context.list(&builtin::pods(), &selection).await.ok()?;
    let waiting = pods.iter().flat_map(|pod| objects::at(pod, &["status", "containerStatuses"]).as_array().into_iter().flatten());
    let why = waiting.map(|status| objects::text(status, &["state", "waiting", "reason"])).find(|reason| !reason.is_empty())?;
    Some(format!(": {why}"))
}

/// The kinds that an installation consists of besides definitions and the namespace, in the order in which they are deleted.
pub fn parts() -> [Resource; 6] {
    let rbac = |kind, plural| Resource::cluster_scoped("rbac.authorization.k8s.io", "v1", kind, plural);
    [
        builtin::deployments(),
        Resource::namespaced("", "v1", "Service", "services"),
        Resource::namespaced("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
        builtin::service_accounts(),
        rbac("ClusterRoleBinding", "clusterrolebindings"),
        rbac("ClusterRole", "clusterroles"),
    ]
}
