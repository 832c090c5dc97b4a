use crate::access::Access;
use crate::controllers::Queues;
use crate::protocol::status::{Result, Status};
use crate::registry::{Registry, Resource};
use crate::store::{Record, Refused, Store};
use serde_json::Value;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Semaphore;

/// More watches than this are asked to come back later.
const WATCHES_MAX: usize = 20_000;

/// Everything that a request needs.
pub struct Api {
    pub store: Store,
    registry: RwLock<Arc<Registry>>,
    pub access: Access,
    pub queues: Arc<Queues>,
    pub policies: crate::policy::Policies,
    /// What watchers of one view are told is written once.
    pub excerpts: crate::rest::excerpt::Excerpts,
    /// One for each watch that may be open.
    pub watches: Arc<Semaphore>,
    /// Wakes when the server stops: open watches end.
    pub stopping: tokio::sync::watch::Receiver<bool>,
    pub address: std::net::SocketAddr,
    pub ca_pem: String,
}

impl Api {
    pub fn new(
        store: Store,
        access: Access,
        queues: Arc<Queues>,
        stopping: tokio::sync::watch::Receiver<bool>,
        address: std::net::SocketAddr,
        ca_pem: String,
    ) -> Self {
        Self {
            store,
            registry: RwLock::new(Arc::new(Registry::builtin())),
            access,
            queues,
            watches: Arc::new(Semaphore::new(WATCHES_MAX)),
            policies: crate::policy::Policies::default(),
            excerpts: crate::rest::excerpt::Excerpts::default(),
            stopping,
            address,
            ca_pem,
        }
    }

    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set_registry(&self, registry: Registry) {
        *self.registry.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(registry);
    }

    /// The object, or the refusal that names it.
    pub fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Arc<Record>> {
        self.store
            .get(&resource.table, &resource.key(namespace, name))
            .ok_or_else(|| Status::not_found(&resource.group, &resource.name, name))
    }
}

/// Now, as Kubernetes writes times: whole seconds.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Tells a client why a write did not happen.
pub fn refusal(resource: &Resource, namespace: &str, name: &str, refused: Refused) -> Status {
    match refused {
        Refused::Exists(_) => Status::already_exists(&resource.group, &resource.name, name),
        Refused::Changed => Status::modified(&resource.group, &resource.name, name),
        Refused::Missing => Status::not_found(&resource.group, &resource.name, name),
        Refused::NoNamespace => Status::not_found("", "namespaces", namespace),
        Refused::NamespaceEnds => {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            let mut status = Status::forbidden(&resource.group, &resource.name, name, &why);
            if let Some(details) = &mut status.details {
                details.causes.push(crate::protocol::status::Cause::new(
                    "NamespaceTerminating",
                    "metadata.namespace",
                    format!("namespace {namespace} is being terminated"),
                ));
            }
            status
        }
        Refused::Log(error) => {
            tracing::error!(error = %error, "a write could not be kept");
            Status::internal("the write could not be stored")
        }
    }
}

/// A text in an object, empty when it is not there.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The map at a key, made when needed.
pub fn child<'a>(object: &'a mut Value, key: &str) -> &'a mut serde_json::Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(serde_json::Map::new());
    }
    let slot = &mut object[key];
    if !slot.is_object() {
        *slot = Value::Object(serde_json::Map::new());
    }
    slot.as_object_mut().expect("it was made a map above")
}
