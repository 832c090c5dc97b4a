//! The verbs on resources.
//!
//! ```text
//! Context (who asks, for what, in which form)
//!   ├── read    get, list          ──► view (conversion, projection, table) ──► Reply
//!   ├── watch   history, bookmarks ──► view, event by event ──► excerpt (shared by watchers of one view)
//!   ├── write   create, update, patch, apply ──► strategy, engine ──► store
//!   ├── delete  policies, preconditions, collections
//!   └── sub     scale, eviction, token, reviews …
//! ```

pub mod body;
pub mod delete;
pub mod excerpt;
pub mod list;
pub mod read;
pub mod sub;
pub mod view;
pub mod watch;
pub mod write;

use crate::access::User;
use crate::api::Api;
use crate::protocol::negotiate::{Accepted, media_type};
use crate::protocol::path::{Query, Target};
use crate::protocol::status::{Result, Status, qualified};
use crate::registry::Resource;
use bytes::Bytes;
use futures::stream::Stream;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

/// One request to a resource.
pub struct Context {
    pub api: Arc<Api>,
    pub user: User,
    pub target: Target,
    pub query: Query,
    pub accepted: Accepted,
    pub resource: Arc<Resource>,
    pub user_agent: String,
    pub content_type: String,
    pub body: Bytes,
    warnings: Mutex<Vec<String>>,
}

pub enum Reply {
    /// An answer made of parts that are sent one after the other.
    Parts {
        code: u16,
        content_type: &'static str,
        parts: Vec<Bytes>,
    },
    Stream {
        content_type: &'static str,
        stream: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
    },
}

const WARNINGS_MAX: usize = 64;

impl Context {
    pub fn new(
        api: Arc<Api>,
        user: User,
        target: Target,
        query: Query,
        accepted: Accepted,
        resource: Arc<Resource>,
        user_agent: String,
        content_type: String,
        body: Bytes,
    ) -> Self {
        Self { api, user, target, query, accepted, resource, user_agent, content_type, body, warnings: Mutex::default() }
    }

    pub fn warn(&self, text: impl Into<String>) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        let text = text.into();
        if warnings.len() < WARNINGS_MAX && !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who owns what this request writes: the given manager, or the program's name.
    pub fn manager(&self) -> Result<&str> {
        let given = self.query.text("fieldManager");
        if given.len() > 128 {
            return Err(options_invalid(self, "fieldManager", "Too long: may not be more than 128 bytes", "FieldValueTooLong"));
        }
        if !given.is_empty() {
            return Ok(given);
        }
        let program = self.user_agent.split('/').next().unwrap_or("");
        Ok(program.get(..128).unwrap_or(program))
    }

    pub fn dry_run(&self) -> Result<bool> {
        let mut any = false;
        for value in self.query.all("dryRun").filter(|v| !v.is_empty()) {
            if value != "All" {
                let why = format!("Unsupported value: [\"{value}\"]: supported values: \"All\"");
                return Err(options_invalid(self, "dryRun", &why, "FieldValueNotSupported"));
            }
            any = true;
        }
        Ok(any)
    }
}

fn options_invalid(context: &Context, field: &str, why: &str, reason: &str) -> Status {
    let kind = match context.target.verb {
        "create" => "CreateOptions",
        "update" => "UpdateOptions",
        "patch" => "PatchOptions",
        _ => "DeleteOptions",
    };
    Status::invalid("meta.k8s.io", kind, "", vec![crate::protocol::status::Cause::new(reason, field, why)])
}

const CUSTOM_PATCH_TYPES: &str = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

/// What is refused before anybody looks at which form of answer is asked for.
pub fn check_method(target: &Target, resource: &Resource, content_type: &str) -> Result<()> {
    if resource.custom.is_none() {
        return if target.verb.is_empty() { Err(Status::method_not_allowed()) } else { Ok(()) };
    }
    match target.verb {
        "" => {
            let kind = qualified(&resource.group, &resource.name);
            Err(Status::method_not_supported(&resource.group, &resource.name, format!(" is not supported on resources of kind \"{kind}\"")))
        }
        "patch"
            if !matches!(
                media_type(content_type),
                "application/json-patch+json" | "application/merge-patch+json" | "application/apply-patch+yaml"
            ) =>
        {
            Err(Status::unsupported_media_type(CUSTOM_PATCH_TYPES))
        }
        _ => Ok(()),
    }
}

/// Serves a request to a resource that exists and that the user may use.
pub async fn serve(context: &Context) -> Result<Reply> {
    let resource = &context.resource;
    let target = &context.target;
    if let Some(warning) = resource.custom.as_ref().and_then(|c| c.deprecation.as_deref()) {
        context.warn(warning);
    }
    if resource.is("", "endpoints") {
        context.warn("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice");
    }
    if !target.subresource.is_empty() {
        return sub::serve(context).await;
    }
    let verb = match target.verb {
        "watch" => "list",
        verb => verb,
    };
    let can = resource.can(verb) || (verb == "list" && resource.can("get"));
    if !can {
        return Err(Status::method_not_allowed());
    }
    let whole = target.name.is_empty();
    if (whole && matches!(target.verb, "update" | "patch")) || (!whole && target.verb == "create") {
        return Err(Status::method_not_allowed());
    }
    if resource.namespaced && target.namespace.is_empty() && !matches!(target.verb, "list" | "watch" | "deletecollection") {
        return Err(if target.verb == "create" { Status::method_not_allowed() } else { Status::no_such_resource() });
    }
    if !resource.can("get") && target.verb == "create" {
        return sub::virtual_create(context);
    }
    match target.verb {
        "get" => read::get(context),
        "list" => list::list(context).await,
        "watch" => watch::watch(context).await,
        "create" => write::create(context),
        "update" => write::update(context),
        "patch" => write::patch(context),
        "delete" => delete::delete(context),
        "deletecollection" if resource.namespaced && target.namespace.is_empty() => Err(Status::method_not_allowed()),
        "deletecollection" => delete::delete_collection(context),
        _ => Err(Status::method_not_allowed()),
    }
}
