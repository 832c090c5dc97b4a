//! Subresources, and resources that are only asked and never stored.

use super::body;
use super::delete::{Options, remove};
use super::read::namespace_of;
use super::{Context, Reply, view, write};
use crate::access::{Attributes, Bearer, Claims, User, rules_of};
use crate::api::{child, text};
use crate::engine;
use crate::protocol::negotiate::media_type;
use crate::protocol::status::{Cause, Result, Status};
use crate::store::Record;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub async fn serve(context: &Context) -> Result<Reply> {
    let (resource, target) = (&context.resource, &context.target);
    let Some(sub) = resource.subresource(&target.subresource) else { return Err(Status::no_such_resource()) };
    if !sub.verbs.iter().any(|verb| verb == target.verb) {
        return Err(Status::method_not_allowed());
    }
    if resource.namespaced && target.namespace.is_empty() {
        return Err(Status::no_such_resource());
    }
    match (target.subresource.as_str(), target.verb) {
        ("status" | "finalize" | "approval" | "resize" | "ephemeralcontainers", "get") => super::read::get(context),
        ("status" | "finalize" | "approval" | "resize" | "ephemeralcontainers", "update") => write::update(context),
        ("status" | "approval" | "resize" | "ephemeralcontainers", "patch") => write::patch(context),
        ("scale", _) => scale(context),
        ("token", "create") => token(context),
        ("eviction", "create") => evict(context),
        ("binding", "create") => bind(context),
        ("log", "get") => log(context),
        ("exec" | "attach" | "portforward" | "proxy", _) => {
            context.api.get(resource, namespace_of(resource, &target.namespace), &target.name)?;
            Err(Status::new(501, "", format!("{} needs a node, and this server has none", target.subresource)))
        }
        _ => Err(Status::method_not_allowed()),
    }
}

/// Creating a kind that is an answer, not an object.
pub fn virtual_create(context: &Context) -> Result<Reply> {
    let mut object = body::decode(context)?.value;
    let resource = &context.resource;
    if !object.is_object() {
        return Err(Status::bad_request(format!("the object provided is unrecognized (must be of type {})", resource.kind)));
    }
    let kind = text(&object, "/kind");
    if !kind.is_empty() && kind != resource.kind {
        return Err(Status::bad_request(format!("{kind} in version \"{}\" cannot be handled as a {}", resource.version, resource.kind)));
    }
    object["kind"] = Value::from(resource.kind.as_str());
    object["apiVersion"] = Value::from(resource.api_version());
    engine::read(resource, &mut object)?;
    let at = crate::api::now();
    let writer = engine::Writer { resource, subresource: "", manager: context.manager()?, now: &at };
    object = writer.update(None, object);
    let (api, user) = (&context.api, &context.user);
    match resource.name.as_str() {
        "selfsubjectaccessreviews" => {
            refuse_review(context, &object, review_problems(&object["spec"]))?;
            object["status"] = review(context, user, &object["spec"]);
        }
        "subjectaccessreviews" | "localsubjectaccessreviews" => {
            let spec = &object["spec"];
            let who = subject_of(spec);
            let local = resource.name == "localsubjectaccessreviews";
            let mut problems = review_problems(spec);
            if who.name.is_empty() && who.groups.is_empty() {
                problems.push(Cause::invalid("spec.user", &json!(""), "at least one of user or group must be specified"));
            }
            if local && spec.get("nonResourceAttributes").is_some() {
                problems.push(Cause::invalid("spec.nonResourceAttributes", &path_asked(spec), "disallowed on this kind of request"));
            }
            if local && let Some(of) = spec.get("resourceAttributes").filter(|of| text(of, "/namespace") != context.target.namespace) {
                problems.push(Cause::invalid(
                    "spec.resourceAttributes.namespace",
                    &json!(text(of, "/namespace")),
                    "must match metadata.namespace",
                ));
            }
            refuse_review(context, &object, problems)?;
            object["status"] = review(context, &who, spec);
            if local {
                child(&mut object, "metadata").insert("namespace".to_owned(), Value::from(context.target.namespace.as_str()));
            }
        }
        "selfsubjectrulesreviews" => {
            let namespace = text(&object, "/spec/namespace");
            if namespace.is_empty() {
                return Err(Status::bad_request("no namespace on request"));
            }
            let (resources, paths) = rules_of(api, user, namespace);
            // The answer is a new object: the question is not repeated.
            object["metadata"] = json!({});
            object["spec"] = json!({});
            object["status"] = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
        }
        "selfsubjectreviews" => {
            child(&mut object, "metadata").insert("creationTimestamp".to_owned(), Value::from(at.as_str()));
            object["status"] = json!({"userInfo": user_info(user)});
        }
        "tokenreviews" => {
            let token = text(&object, "/spec/token").to_owned();
            if token.is_empty() {
                return Err(Status::bad_request("token is required for TokenReview in authentication"));
            }
            let asked: Vec<&str> =
                object.pointer("/spec/audiences").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
            let asked = if asked.is_empty() { vec![crate::access::issuer()] } else { asked };
            object["status"] = match api.access.user_of_token(api, &token, &asked) {
                Bearer::Known { user, audiences } => json!({"authenticated": true, "user": user_info(&user), "audiences": audiences}),
                Bearer::NotMeant { audiences } => {
                    let quoted = |list: &[&str]| list.iter().map(|a| format!("{a:?}")).collect::<Vec<_>>().join(" ");
                    let meant: Vec<&str> = audiences.iter().map(String::as_str).collect();
                    let why = format!("token audiences [{}] is invalid for the target audiences [{}]", quoted(&meant), quoted(&asked));
                    json!({"user": {}, "error": format!("[invalid bearer token, {why}]")})
                }
                Bearer::Unknown => json!({"user": {}, "error": "invalid bearer token"}),
            };
        }
        "bindings" => return bind(context),
        _ => return Err(Status::method_not_allowed()),
    }
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    view::any(context, 201, &object)
}

/// What is wrong with the question of an access review.
fn review_problems(spec: &Value) -> Vec<Cause> {
    match (spec.get("resourceAttributes"), spec.get("nonResourceAttributes")) {
        (Some(_), Some(_)) => {
            let why = "cannot be specified in combination with resourceAttributes";
            vec![Cause::invalid("spec.nonResourceAttributes", &path_asked(spec), why)]
        }
        (None, None) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            vec![Cause::invalid("spec.resourceAttributes", &Value::Null, why)]
        }
        _ => Vec::new(),
    }
}

fn path_asked(spec: &Value) -> Value {
    json!({"Path": text(spec, "/nonResourceAttributes/path"), "Verb": text(spec, "/nonResourceAttributes/verb")})
}

/// A review is no object: it has no metadata of its own, and errors do not name it.
fn refuse_review(context: &Context, object: &Value, mut problems: Vec<Cause>) -> Result<()> {
    let named = object.get("metadata").and_then(Value::as_object).is_some_and(|metadata| {
        metadata.iter().any(|(key, value)| !matches!(key.as_str(), "managedFields" | "namespace") && !value.is_null() && *value != "")
    });
    if named {
        problems.push(Cause::invalid("metadata", &object["metadata"], "must be empty"));
    }
    if problems.is_empty() { Ok(()) } else { Err(Status::invalid(&context.resource.group, "", "", problems)) }
}

fn subject_of(spec: &Value) -> User {
    let strings = |value: Option<&Value>| -> Vec<String> {
        value.and_then(Value::as_array).into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    };
    let mut extra = BTreeMap::new();
    for (key, values) in spec.get("extra").and_then(Value::as_object).into_iter().flatten() {
        extra.insert(key.clone(), strings(Some(values)));
    }
    User { name: text(spec, "/user").to_owned(), uid: text(spec, "/uid").to_owned(), groups: strings(spec.get("groups")), extra }
}

fn user_info(user: &User) -> Value {
    let mut out = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        out["uid"] = Value::from(user.uid.as_str());
    }
    if !user.extra.is_empty() {
        out["extra"] = json!(user.extra);
    }
    out
}

/// Whether the user may do what the review asks about.
fn review(context: &Context, user: &User, spec: &Value) -> Value {
    let api = &context.api;
    let asked = match (spec.get("resourceAttributes"), spec.get("nonResourceAttributes")) {
        (Some(of), _) => Attributes {
            verb: text(of, "/verb"),
            group: text(of, "/group"),
            resource: text(of, "/resource"),
            subresource: text(of, "/subresource"),
            namespace: text(of, "/namespace"),
            name: text(of, "/name"),
            path: "",
        },
        (None, Some(of)) => Attributes { verb: text(of, "/verb"), path: text(of, "/path"), ..Attributes::default() },
        (None, None) => return json!({"allowed": false, "evaluationError": "nothing was asked"}),
    };
    match crate::access::reason(api, user, &asked) {
        Some(reason) if reason.is_empty() => json!({"allowed": true}),
        Some(reason) => json!({"allowed": true, "reason": reason}),
        None => json!({"allowed": false}),
    }
}

/// A token for a ServiceAccount (`TokenRequest`).
fn token(context: &Context) -> Result<Reply> {
    let (api, target) = (&context.api, &context.target);
    let account = api.get(&context.resource, &target.namespace, &target.name)?;
    let mut request = body::decode(context)?.value;
    if !request.is_object() {
        request = json!({});
    }
    let invalid = |cause| Status::invalid("authentication.k8s.io", "TokenRequest", "", vec![cause]);
    let seconds = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64).unwrap_or(3600);
    let given = json!(seconds);
    if seconds < 600 {
        return Err(invalid(Cause::invalid("spec.expirationSeconds", &given, "may not specify a duration less than 10 minutes")));
    }
    if seconds > 1 << 32 {
        return Err(invalid(Cause::invalid("spec.expirationSeconds", &given, "may not specify a duration larger than 2^32 seconds")));
    }
    let uid = |record: &Record| record.facts.uid.map(|uid| uid.to_string()).unwrap_or_default();
    let mut bound = crate::access::Bound {
        namespace: target.namespace.clone(),
        serviceaccount: crate::access::Reference { name: target.name.clone(), uid: uid(&account) },
        secret: None,
        pod: None,
    };
    let reference = request.pointer("/spec/boundObjectRef").filter(|r| r.is_object()).cloned();
    if let Some(reference) = &reference {
        let table = match text(reference, "/kind") {
            "Secret" => "secrets",
            "Pod" => "pods",
            other => {
                let (group, version) = text(reference, "/apiVersion").split_once('/').unwrap_or(("", text(reference, "/apiVersion")));
                return Err(Status::bad_request(format!("cannot bind token to object of type {group}/{version}, Kind={other}")));
            }
        };
        let name = text(reference, "/name");
        let found = api.store.get(table, &format!("{}/{name}", target.namespace)).ok_or_else(|| Status::not_found("", table, name))?;
        let to = crate::access::Reference { name: name.to_owned(), uid: uid(&found) };
        if table == "pods" { bound.pod = Some(to) } else { bound.secret = Some(to) }
    }
    let now = jiff::Timestamp::now().as_second();
    let audiences: Vec<String> = request
        .pointer("/spec/audiences")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|a| a.as_str().map(str::to_owned))
        .collect();
    let audiences = if audiences.is_empty() { vec![crate::access::issuer().to_owned()] } else { audiences };
    let claims = Claims {
        aud: audiences.clone(),
        exp: now + seconds,
        iat: now,
        iss: crate::access::issuer().to_owned(),
        jti: crate::store::Uid::random().to_string(),
        bound,
        nbf: now,
        sub: format!("system:serviceaccount:{}:{}", target.namespace, target.name),
    };
    let token = api.access.tokens.sign(&claims).map_err(|_| Status::internal("the token cannot be signed"))?;
    let until = jiff::Timestamp::from_second(now + seconds).map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default();
    let answer = json!({
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": target.name, "namespace": target.namespace, "creationTimestamp": crate::api::now()},
        "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": reference},
        "status": {"token": token, "expirationTimestamp": until},
    });
    view::encoded(context.accepted, 201, &answer)
}

fn evict(context: &Context) -> Result<Reply> {
    let (api, target) = (&context.api, &context.target);
    let request = body::decode(context)?.value;
    let pod = api.get(&context.resource, &target.namespace, &target.name)?;
    // A disruption budget without room keeps the pod.
    for budget in api.store.all("poddisruptionbudgets.policy", &format!("{}/", target.namespace)) {
        let budget = budget.value();
        let selects = budget
            .pointer("/spec/selector")
            .and_then(crate::protocol::selector::LabelSelector::from_value)
            .is_some_and(|selector| selector.matches(|key| pod.facts.label(key)));
        let room = budget.pointer("/status/disruptionsAllowed").and_then(Value::as_i64).unwrap_or(0);
        if selects && room < 1 {
            let mut status = Status::too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.");
            if let Some(details) = &mut status.details {
                let name = text(&budget, "/metadata/name");
                details.causes = vec![Cause::new(
                    "DisruptionBudget",
                    "",
                    format!("The disruption budget {name} needs healthy pods and has no room for a disruption"),
                )];
            }
            return Err(status);
        }
    }
    let options = Options {
        uid: request.pointer("/deleteOptions/preconditions/uid").and_then(Value::as_str).map(str::to_owned),
        dry_run: context.dry_run()?,
        ..Options::default()
    };
    remove(api, &context.user, &context.resource, &target.namespace, &target.name, &options)?;
    view::encoded(context.accepted, 201, &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}))
}

fn bind(context: &Context) -> Result<Reply> {
    let (api, target) = (&context.api, &context.target);
    let request = body::decode(context)?.value;
    let name = if target.name.is_empty() { text(&request, "/metadata/name") } else { &target.name };
    let node = text(&request, "/target/name").to_owned();
    let registry = api.registry();
    let Some(pods) = registry.of_kind("", "v1", "Pod") else { return Err(Status::no_such_resource()) };
    api.get(pods, &target.namespace, name)?;
    write::change_own(api, pods, &pods.key(&target.namespace, name), None, |mut pod| {
        child(&mut pod, "spec").insert("nodeName".to_owned(), Value::from(node.as_str()));
        Some(pod)
    })?;
    view::encoded(context.accepted, 201, &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
}

/// No container ever ran here, so there is nothing to read; the simulator says what it did.
fn log(context: &Context) -> Result<Reply> {
    let target = &context.target;
    let pod = context.api.get(&context.resource, &target.namespace, &target.name)?.value();
    let names: Vec<&str> =
        pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten().map(|c| text(c, "/name")).collect();
    let wanted = context.query.text("container");
    if wanted.is_empty() && names.len() > 1 {
        return Err(Status::bad_request(format!(
            "a container name must be specified for pod {}, choose one of: [{}]",
            target.name,
            names.join(" ")
        )));
    }
    if !wanted.is_empty() && !names.contains(&wanted) {
        return Err(Status::bad_request(format!("container {wanted} is not valid for pod {}", target.name)));
    }
    Ok(Reply::Parts { code: 200, content_type: "text/plain", parts: vec![Bytes::new()] })
}

/// `scale`: the replica count alone, of whatever kind.
fn scale(context: &Context) -> Result<Reply> {
    let (resource, target, api) = (&context.resource, &context.target, &context.api);
    let namespace = namespace_of(resource, &target.namespace);
    let record = api.get(resource, namespace, &target.name)?;
    let mut object = view::value(resource, &record);
    if target.verb != "get" {
        // Who sets the count need not find one there.
        set_replicas(&mut object, &resource.replicas_path(), None);
    }
    let current = scale_of(context, &object)?;
    let mut wanted = match target.verb {
        "get" => return view::encoded(context.accepted, 200, &current),
        "update" => body::decode(context)?.value,
        _ => {
            let patch = match media_type(&context.content_type) {
                "application/apply-patch+yaml" => body::yaml(&context.body)?.value,
                _ => body::json(&context.body)?.value,
            };
            let mut out = current.clone();
            match media_type(&context.content_type) {
                "application/json-patch+json" => engine::json_patch(&mut out, &patch)?,
                "application/merge-patch+json" | "application/strategic-merge-patch+json" | "application/apply-patch+yaml" => {
                    engine::merge_patch(&mut out, &patch)?;
                }
                _ => return Err(Status::unsupported_media_type(write::PATCH_TYPES)),
            }
            out
        }
    };
    if !wanted.is_object() {
        return Err(Status::bad_request("the object provided is no Scale"));
    }
    let name = text(&wanted, "/metadata/name").to_owned();
    if name != target.name {
        return Err(Status::bad_request(format!("the name of the object ({name}) does not match the name on the URL ({})", target.name)));
    }
    let replicas = wanted.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(0);
    if replicas < 0 {
        let why = "must be greater than or equal to 0";
        let cause = Cause::invalid("spec.replicas", &json!(replicas), why);
        return Err(Status::invalid("autoscaling", "Scale", &target.name, vec![cause]));
    }
    let revision = text(&wanted, "/metadata/resourceVersion").to_owned();
    wanted.take();
    let path = resource.replicas_path();
    let manager = context.manager()?.to_owned();
    let change = |old: &Value| {
        let mut new = old.clone();
        set_replicas(&mut new, &path, Some(replicas));
        if !revision.is_empty() {
            new["metadata"]["resourceVersion"] = Value::from(revision.as_str());
        }
        Ok(new)
    };
    let stored = write::replace(context, "scale", &manager, context.dry_run()?, false, &change)?;
    let answer = scale_of(context, &view::value(resource, &stored))?;
    view::encoded(context.accepted, 200, &answer)
}

/// Sets the number of replicas, or one of zero where there is none.
fn set_replicas(object: &mut Value, path: &[String], replicas: Option<i64>) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut at = object;
    for key in parents {
        child(at, key);
        at = &mut at[key.as_str()];
    }
    if !at.is_object() {
        *at = json!({});
    }
    match replicas {
        Some(replicas) => at[last.as_str()] = json!(replicas),
        None if at.get(last).is_some_and(Value::is_i64) => {}
        None => at[last.as_str()] = json!(0),
    }
}

fn scale_of(context: &Context, object: &Value) -> Result<Value> {
    let resource = &context.resource;
    let pointer = |path: &[String]| format!("/{}", path.join("/"));
    let (spec, status, selector) = match resource.custom.as_ref().and_then(|c| c.scale.as_ref()) {
        Some(scale) => {
            let selector = scale.selector.as_ref().map(|p| text(object, &pointer(p)).to_owned());
            (object.pointer(&pointer(&scale.spec_replicas)), object.pointer(&pointer(&scale.status_replicas)), selector)
        }
        None => {
            let selector = object.pointer("/spec/selector").map(selector_text);
            (object.pointer("/spec/replicas"), object.pointer("/status/replicas"), selector)
        }
    };
    let Some(spec) = spec.and_then(Value::as_i64).or_else(|| resource.custom.is_none().then_some(0)) else {
        return Err(Status::internal(&format!("the spec replicas field \".{}\" does not exist", resource.replicas_path().join("."))));
    };
    let mut metadata = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object.pointer(&format!("/metadata/{field}")) {
            metadata[field] = value.clone();
        }
    }
    let mut out = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {"replicas": spec},
        "status": {"replicas": status.and_then(Value::as_i64).unwrap_or(0)},
    });
    if spec == 0 {
        out["spec"] = json!({});
    }
    if let Some(selector) = selector.filter(|s| !s.is_empty()) {
        out["status"]["selector"] = Value::from(selector);
    }
    Ok(out)
}

/// A selector in one line, as `labels.Selector.String` prints it.
pub fn selector_text(selector: &Value) -> String {
    let mut parts: Vec<String> = Vec::new();
    let labels = selector.get("matchLabels").unwrap_or(selector);
    for (key, value) in labels.as_object().into_iter().flatten() {
        if let Some(value) = value.as_str() {
            parts.push(format!("{key}={value}"));
        }
    }
    for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let mut values: Vec<&str> =
            expression.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let key = text(expression, "/key");
        parts.push(match text(expression, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    parts.sort();
    parts.join(",")
}
