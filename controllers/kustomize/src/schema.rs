use merge::{
    builtin,
    schema::{DEDUCED, Scalar, Schema, TypeId, UNTYPED},
};
use object::Object;
use serde_json::Value;

/// Takes out of an object of a built-in kind what its type does not know, and what says nothing, as a round trip through
/// Go's types does; an object of another kind, or one whose values do not fit their types, stays as it is.
pub(crate) fn known_fields(object: &mut Object) {
    let Some(handle) = builtin::type_of(&object.gvk()) else { return };
    let schema = handle.schema();
    let mut value = Value::Object(std::mem::take(object.as_map_mut()));
    if fits(schema, handle.id(), &value) {
        prune(schema, handle.id(), &mut value);
    }
    if let Value::Object(map) = value {
        *object.as_map_mut() = map;
    }
}

/// A value about which the schema says nothing: what is in it is not ours to tidy up.
fn is_open(id: TypeId) -> bool {
    id == UNTYPED || id == DEDUCED
}

fn fits(schema: &Schema, id: TypeId, value: &Value) -> bool {
    if is_open(id) {
        return true;
    }
    let ty = schema.get(id);
    match value {
        Value::Null => true,
        Value::Object(map) => {
            ty.map.as_ref().is_some_and(|known| map.iter().all(|(key, value)| known.type_of(key).is_none_or(|id| fits(schema, id, value))))
        }
        Value::Array(list) => ty.list.as_ref().is_some_and(|known| list.iter().all(|value| fits(schema, known.element, value))),
        Value::String(_) => matches!(ty.scalar, Some(Scalar::String | Scalar::Untyped)),
        Value::Bool(_) => matches!(ty.scalar, Some(Scalar::Boolean | Scalar::Untyped)),
        Value::Number(_) => matches!(ty.scalar, Some(Scalar::Numeric | Scalar::Untyped)),
    }
}

fn prune(schema: &Schema, id: TypeId, value: &mut Value) {
    if is_open(id) {
        return;
    }
    let ty = schema.get(id);
    match value {
        Value::Object(map) => {
            let Some(known) = &ty.map else { return };
            map.retain(|key, value| known.type_of(key).is_some_and(|id| !is_left_out(schema, id, known.field(key), value)));
            for (key, value) in map.iter_mut() {
                if let Some(id) = known.type_of(key) {
                    prune(schema, id, value);
                }
            }
        }
        Value::Array(list) => {
            if let Some(known) = &ty.list {
                list.iter_mut().for_each(|value| prune(schema, known.element, value));
            }
        }
        _ => {}
    }
}

/// Empty lists and maps are not written, unless a kind cannot be without: of those that may, only roles write their rules.
fn is_left_out(schema: &Schema, id: TypeId, field: Option<&merge::schema::Field>, value: &Value) -> bool {
    let needed = field.is_some_and(|field| field.required || &*field.name == "rules");
    let ty = schema.get(id);
    match value {
        Value::Null => !is_open(id),
        Value::Array(list) => list.is_empty() && !needed && ty.list.as_ref().is_some_and(|known| !is_open(known.element)) && !is_open(id),
        Value::Object(map) => {
            // A struct is written even when it is empty: it says something, such as `emptyDir: {}` or `status: {}` of a definition.
            let texts = ty.map.as_ref().and_then(|known| known.element.filter(|_| known.fields.is_empty()));
            let is_map = texts.is_some_and(|element| schema.get(element).scalar == Some(Scalar::String) && !is_open(element));
            map.is_empty() && is_map && !needed
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn known(value: Value) -> Value {
        let mut object = Object::new(value).unwrap();
        known_fields(&mut object);
        object.into_value()
    }

    #[test]
    fn unknown_fields_of_built_in_kinds_go_and_those_of_others_stay() {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 80, "nope": 1}], "nope": {}}});
        assert_eq!(known(service)["spec"], json!({"ports": [{"port": 80}]}));
        let widget = json!({"apiVersion": "e.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": {"nope": 1}});
        assert_eq!(known(widget.clone()), widget);
    }

    #[test]
    fn empty_lists_and_maps_are_not_written_but_empty_structs_are() {
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "a", "labels": {}}, "subjects": [], "roleRef": {"kind": "ClusterRole", "name": "x", "apiGroup": ""}});
        let sent = known(binding);
        assert!(sent.get("subjects").is_none() && sent["metadata"].get("labels").is_none(), "{sent}");
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "a"}, "rules": []});
        assert_eq!(known(role)["rules"], json!([]));
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [], "volumes": [{"name": "v", "emptyDir": {}}]}});
        assert_eq!(known(pod)["spec"], json!({"containers": [], "volumes": [{"name": "v", "emptyDir": {}}]}));
    }

    #[test]
    fn a_definition_keeps_what_its_schemas_say() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "default": {}}, "list": {"type": "array", "default": [], "items": {"type": "string", "nullable": true, "default": null}}}});
        let version =
            json!({"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}});
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "a"}, "spec": {"group": "e.com", "scope": "Namespaced", "names": {"kind": "A", "plural": "as"}, "versions": [version]}});
        let sent = known(definition.clone());
        assert_eq!(sent["spec"]["versions"][0]["subresources"], json!({"status": {}}));
        let properties = &sent["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
        assert_eq!((&properties["spec"]["default"], &properties["list"]["default"]), (&json!({}), &json!([])), "{sent}");
    }

    #[test]
    fn an_object_with_a_value_of_the_wrong_type_is_left_for_the_server_to_refuse() {
        let service =
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": "x", "nope": 1}]}});
        assert_eq!(known(service.clone()), service);
    }
}
