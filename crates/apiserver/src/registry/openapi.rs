//! OpenAPI documents: those of the built-in groups come with the merge engine's data, those of CRDs are made here.

use super::{Registry, Resource, Version};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

/// The index at `/openapi/v3`.
pub fn index(registry: &Registry) -> Value {
    let mut paths = Map::new();
    for (path, hash) in merge::builtin::openapi_v3_paths() {
        paths.insert(path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}));
    }
    for group in registry.groups().iter().filter(|g| g.custom) {
        for version in &group.versions {
            let path = format!("apis/{}/{}", group.name, version.version);
            let hash = hex::encode_upper(Sha512::digest(document(&group.name, version).to_string()));
            paths.insert(path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}));
        }
    }
    paths.sort_keys();
    json!({"paths": paths})
}

/// The document of one path, such as `apis/apps/v1`.
pub fn v3(registry: &Registry, path: &str) -> Option<Vec<u8>> {
    if let Some(rest) = path.strip_prefix("apis/")
        && let Some((group, version)) = rest.split_once('/')
        && let Some(found) = registry.groups().iter().find(|g| g.custom && g.name == group)
    {
        let version = found.versions.iter().find(|v| v.version == version)?;
        return Some(document(group, version).to_string().into_bytes());
    }
    merge::builtin::openapi_v3(path)
}

/// `com.example.v1.Widget`.
fn schema_name(group: &str, version: &str, kind: &str) -> String {
    let reversed: Vec<&str> = group.rsplit('.').collect();
    format!("{}.{version}.{kind}", reversed.join("."))
}

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// The document of a group version of custom resources.
fn document(group: &str, version: &Version) -> Value {
    let mut schemas = common_schemas();
    let mut paths = Map::new();
    for resource in &version.resources {
        let gvk = json!([{"group": group, "version": version.version, "kind": resource.kind}]);
        let name = schema_name(group, &version.version, &resource.kind);
        let list_name = schema_name(group, &version.version, &resource.list_kind);
        schemas.insert(name.clone(), published_schema(resource, gvk.clone()));
        schemas.insert(
            list_name.clone(),
            json!({"description": format!("{} is a list of {}", resource.list_kind, resource.kind), "type": "object", "required": ["items"],
                "properties": {
                    "apiVersion": {"type": "string"}, "kind": {"type": "string"},
                    "items": {"type": "array", "items": {"$ref": format!("#/components/schemas/{name}")}},
                    "metadata": {"allOf": [{"$ref": format!("#/components/schemas/{META}.ListMeta")}]}},
                "x-kubernetes-group-version-kind": [{"group": group, "version": version.version, "kind": resource.list_kind}]}),
        );
        add_paths(&mut paths, group, version, resource, &name, &list_name);
    }
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes CRD Swagger", "version": "v0.1.0"}, "paths": paths,
        "components": {"schemas": schemas}})
}

/// The types that every resource refers to, from the built-in documents.
fn common_schemas() -> Map<String, Value> {
    let mut out = Map::new();
    let Some(bytes) = merge::builtin::openapi_v3("apis/apps/v1") else { return out };
    let Ok(document) = serde_json::from_slice::<Value>(&bytes) else { return out };
    for (name, schema) in document.pointer("/components/schemas").and_then(Value::as_object).into_iter().flatten() {
        if name.starts_with(META) && !name.ends_with("LabelSelector") && !name.ends_with("LabelSelectorRequirement") {
            out.insert(name.clone(), schema.clone());
        }
    }
    if let Some(properties) = out.get_mut(&format!("{META}.ObjectMeta")).and_then(|meta| meta["properties"].as_object_mut()) {
        for (name, text) in META_FIELDS {
            if let Some(field) = properties.get_mut(*name).and_then(Value::as_object_mut) {
                field.insert("description".to_owned(), Value::from(*text));
            }
        }
    }
    out
}

/// What `kubectl explain` says of metadata: the schemas of built-in kinds come without descriptions.
const META_FIELDS: &[(&str, &str)] = &[
    ("annotations", "Annotations hold any text that tools keep with the object; nothing selects by them."),
    ("creationTimestamp", "CreationTimestamp is a timestamp of when the server first stored the object. Set by the server."),
    ("deletionGracePeriodSeconds", "The seconds that the object has to end once its deletion has begun. Set by the server."),
    ("deletionTimestamp", "When the object was asked to go; it stays while finalizers hold it. Set by the server."),
    ("finalizers", "Each of these must be removed by whoever set it before a deleted object goes."),
    ("generateName", "The beginning of a name that the server makes when none is given."),
    ("generation", "Counts the changes of what is wanted of the object. Set by the server."),
    ("labels", "Labels are short texts by which objects are selected."),
    ("managedFields", "Which field was set by whom, for server-side apply. Kept by the server."),
    ("name", "Names the object within its namespace and kind. Cannot be changed."),
    ("namespace", "The namespace that holds the object. Cannot be changed."),
    ("ownerReferences", "The objects that this one depends on; it is collected when all of them are gone."),
    ("resourceVersion", "The version of the stored object, for watches and to keep from overwriting others. Set by the server."),
    ("selfLink", "No longer filled."),
    ("uid", "Tells the object apart from all others that ever had its name. Set by the server."),
];

fn published_schema(resource: &Resource, gvk: Value) -> Value {
    let mut schema = resource.custom.as_ref().map(|c| c.schema.clone()).unwrap_or_else(|| json!({"type": "object"}));
    if let Some(map) = schema.as_object_mut() {
        if map.get("type").is_none() {
            map.insert("type".to_owned(), json!("object"));
        }
        let properties = map.entry("properties").or_insert_with(|| json!({}));
        properties["apiVersion"] = json!({"type": "string", "description": "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"});
        properties["kind"] = json!({"type": "string", "description": "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"});
        properties["metadata"] = json!({"description": "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
            "allOf": [{"$ref": format!("#/components/schemas/{META}.ObjectMeta")}]});
        map.insert("x-kubernetes-group-version-kind".to_owned(), gvk);
    }
    schema
}

fn add_paths(paths: &mut Map<String, Value>, group: &str, version: &Version, resource: &Resource, name: &str, list_name: &str) {
    let base = format!("/apis/{group}/{}", version.version);
    let gvk = json!({"group": group, "version": version.version, "kind": resource.kind});
    let reference = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let content = |schema: Value| json!({"application/json": {"schema": schema}, "application/yaml": {"schema": schema}});
    let answer = |schema: Value| json!({"200": {"description": "OK", "content": content(schema)}, "401": {"description": "Unauthorized"}});
    let query = |name: &str, kind: &str| json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}});
    let writing = || vec![query("dryRun", "string"), query("fieldManager", "string"), query("fieldValidation", "string")];
    let listing = || {
        [
            "allowWatchBookmarks",
            "continue",
            "fieldSelector",
            "labelSelector",
            "limit",
            "resourceVersion",
            "resourceVersionMatch",
            "sendInitialEvents",
            "timeoutSeconds",
            "watch",
        ]
        .iter()
        .map(|name| {
            query(
                name,
                match *name {
                    "allowWatchBookmarks" | "sendInitialEvents" | "watch" => "boolean",
                    "limit" | "timeoutSeconds" => "integer",
                    _ => "string",
                },
            )
        })
        .collect::<Vec<_>>()
    };
    let operation = |action: &str, parameters: Vec<Value>, body: Option<Value>, schema: Value| {
        let scope = if resource.namespaced { "Namespaced" } else { "" };
        let mut out = json!({"tags": [format!("{}_{}", group.replace('.', ""), version.version)],
            "operationId": format!("{action}{}{}{scope}{}", capital(group), capital(&version.version), resource.kind),
            "parameters": parameters, "responses": answer(schema), "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk});
        if let Some(body) = body {
            out["requestBody"] = body;
        }
        out
    };
    let body = |schema: Value| Some(json!({"content": {"application/json": {"schema": schema}, "application/yaml": {"schema": schema}}}));
    let patch_body = || {
        let schema = reference(&format!("{META}.Patch"));
        let types = ["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
        let content: Map<String, Value> = types.iter().map(|t| ((*t).to_owned(), json!({"schema": schema}))).collect();
        Some(json!({"content": content}))
    };
    let status = || reference(&format!("{META}.Status"));
    let delete_body = || body(reference(&format!("{META}.DeleteOptions")));
    let path_parameter =
        |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}});
    let mut common = vec![query("pretty", "string")];
    let collection = if resource.namespaced {
        paths.insert(
            format!("{base}/{}", resource.name),
            json!({"get": operation("list", listing(), None, reference(list_name)), "parameters": common}),
        );
        common.insert(0, path_parameter("namespace"));
        format!("{base}/namespaces/{{namespace}}/{}", resource.name)
    } else {
        format!("{base}/{}", resource.name)
    };
    paths.insert(
        collection.clone(),
        json!({
            "get": operation("list", listing(), None, reference(list_name)),
            "post": operation("post", writing(), body(reference(name)), reference(name)),
            "delete": operation("deletecollection", listing(), delete_body(), status()),
            "parameters": common,
        }),
    );
    common.insert(0, path_parameter("name"));
    let mut patching = writing();
    patching.push(query("force", "boolean"));
    let one = format!("{collection}/{{name}}");
    let deleting = vec![query("dryRun", "string"), query("gracePeriodSeconds", "integer"), query("propagationPolicy", "string")];
    paths.insert(
        one.clone(),
        json!({
            "get": operation("get", vec![query("resourceVersion", "string")], None, reference(name)),
            "put": operation("put", writing(), body(reference(name)), reference(name)),
            "patch": operation("patch", patching.clone(), patch_body(), reference(name)),
            "delete": operation("delete", deleting, delete_body(), status()),
            "parameters": common,
        }),
    );
    for sub in resource.subresources.iter().filter(|s| s.name == "status") {
        paths.insert(
            format!("{one}/{}", sub.name),
            json!({
                "get": operation("get", vec![query("resourceVersion", "string")], None, reference(name)),
                "put": operation("put", writing(), body(reference(name)), reference(name)),
                "patch": operation("patch", patching.clone(), patch_body(), reference(name)),
                "parameters": common,
            }),
        );
    }
}

fn capital(text: &str) -> String {
    text.split('.').map(|part| part.chars().take(1).flat_map(char::to_uppercase).chain(part.chars().skip(1)).collect::<String>()).collect()
}

/// The OpenAPI v2 document, for clients that know no other.
pub fn v2(registry: &Registry) -> Vec<u8> {
    let bytes = merge::builtin::openapi_v2();
    if !registry.groups().iter().any(|g| g.custom) {
        return bytes;
    }
    let Ok(mut document) = serde_json::from_slice::<Value>(&bytes) else { return bytes };
    for group in registry.groups().iter().filter(|g| g.custom) {
        for version in &group.versions {
            let text = self::document(&group.name, version).to_string().replace("#/components/schemas/", "#/definitions/");
            let Ok(custom) = serde_json::from_str::<Value>(&text) else { continue };
            for (name, schema) in custom.pointer("/components/schemas").and_then(Value::as_object).into_iter().flatten() {
                if !name.starts_with(META) {
                    // Old clients take named properties for the only ones: of an object that may hold anything nothing is said.
                    document["definitions"][name] = if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true)) {
                        json!({"type": "object", "x-kubernetes-group-version-kind": schema["x-kubernetes-group-version-kind"]})
                    } else {
                        as_v2(schema)
                    };
                }
            }
            for (path, item) in custom.get("paths").and_then(Value::as_object).into_iter().flatten() {
                document["paths"][path] = path_as_v2(item);
            }
        }
    }
    document.to_string().into_bytes()
}

/// What OpenAPI v2 cannot say of a schema is left out: `nullable` fields, and the combinations of schemas.
fn as_v2(schema: &Value) -> Value {
    match schema {
        Value::Object(map) => {
            if let Some(all) = map.get("allOf").and_then(Value::as_array)
                && let [one] = all.as_slice()
                && one.get("$ref").is_some()
            {
                let mut out = one.clone();
                if let Some(description) = map.get("description") {
                    out["description"] = description.clone();
                }
                return out;
            }
            let nullable = map.get("nullable") == Some(&Value::Bool(true));
            let preserves = map.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
            map.iter()
                .filter(|(key, _)| {
                    !matches!(key.as_str(), "nullable" | "anyOf" | "oneOf" | "not" | "allOf")
                        && !(key.as_str() == "type" && (nullable || preserves))
                        && !(matches!(key.as_str(), "properties" | "items") && nullable)
                })
                .map(|(key, value)| (key.clone(), as_v2(value)))
                .collect::<Map<_, _>>()
                .into()
        }
        Value::Array(items) => items.iter().map(as_v2).collect(),
        other => other.clone(),
    }
}

fn path_as_v2(item: &Value) -> Value {
    let mut out = item.clone();
    for (_, operation) in out.as_object_mut().into_iter().flatten() {
        let Some(map) = operation.as_object_mut() else { continue };
        let schema = |content: &Value| content.as_object().and_then(|c| c.values().next()).and_then(|c| c.get("schema")).cloned();
        if let Some(body) = map.shift_remove("requestBody")
            && let Some(schema) = schema(&body["content"])
        {
            let consumed: Vec<String> = body["content"].as_object().into_iter().flatten().map(|(k, _)| k.clone()).collect();
            map.insert("consumes".to_owned(), json!(consumed));
            if let Some(parameters) = map.get_mut("parameters").and_then(Value::as_array_mut) {
                parameters.push(json!({"name": "body", "in": "body", "required": true, "schema": schema}));
            }
        }
        for (_, answer) in map.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten() {
            if let Some(schema) = answer.get("content").and_then(schema) {
                answer["schema"] = schema;
            }
            if let Some(answer) = answer.as_object_mut() {
                answer.shift_remove("content");
            }
        }
        for parameter in map.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
            flatten_parameter(parameter);
        }
    }
    for parameter in out.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        flatten_parameter(parameter);
    }
    out
}

/// In v2 the type of a parameter stands in the parameter itself.
fn flatten_parameter(parameter: &mut Value) {
    if parameter["in"] == "body" {
        return;
    }
    if let Some(map) = parameter.as_object_mut()
        && let Some(Value::Object(schema)) = map.shift_remove("schema")
    {
        map.extend(schema);
    }
}
