use http::Method;

/// What a request asks for, read from its method and path alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// `get list watch create update patch delete deletecollection`, or nothing for a method that no resource knows.
    pub verb: &'static str,
    pub group: String,
    pub version: String,
    /// Empty when the path is no resource.
    pub resource: String,
    pub subresource: String,
    /// What follows the subresource (`proxy/a/b`).
    pub rest: String,
    pub namespace: String,
    pub name: String,
}

/// A query string, decoded once.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: &str) -> Self {
        Self(
            text.split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (percent_decode(key, true), percent_decode(value, true))
                })
                .collect(),
        )
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    pub fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or("")
    }

    /// As Go reads a boolean option: present and neither `false` nor `0` is true.
    pub fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| !value.eq_ignore_ascii_case("false") && value != "0")
    }

    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

pub fn percent_decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |byte: Option<&u8>| byte.and_then(|b| (*b as char).to_digit(16)).map(|digit| digit as u8);
        match bytes[at] {
            b'%' => match (hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
                (Some(high), Some(low)) => {
                    out.push(high * 16 + low);
                    at += 2;
                }
                _ => out.push(b'%'),
            },
            b'+' if plus_is_space => out.push(b' '),
            other => out.push(other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Reads the path of a resource request; `None` when it is not below `/api/V` or `/apis/G/V`.
pub fn resource_target(method: &Method, path: &str, query: &Query) -> Option<Target> {
    let mut parts: Vec<String> = path.trim_matches('/').split('/').map(|part| percent_decode(part, false)).collect();
    let mut target = Target::default();
    match parts.first().map(String::as_str) {
        Some("api") if parts.len() >= 3 => {
            target.version = std::mem::take(&mut parts[1]);
            parts.drain(..2);
        }
        Some("apis") if parts.len() >= 4 => {
            target.group = std::mem::take(&mut parts[1]);
            target.version = std::mem::take(&mut parts[2]);
            parts.drain(..3);
        }
        _ => return None,
    }
    let mut watching = false;
    // The old form of a watch: `/api/v1/watch/namespaces/x/pods`.
    if parts.first().is_some_and(|part| part == "watch") && parts.len() > 1 {
        watching = true;
        parts.remove(0);
    }
    if parts.first().is_some_and(|part| part == "namespaces") && parts.len() > 2 && !matches!(parts[2].as_str(), "status" | "finalize") {
        target.namespace = std::mem::take(&mut parts[1]);
        parts.drain(..2);
    }
    let mut parts = parts.into_iter();
    target.resource = parts.next().unwrap_or_default();
    target.name = parts.next().unwrap_or_default();
    target.subresource = parts.next().unwrap_or_default();
    target.rest = parts.collect::<Vec<_>>().join("/");
    // A namespace is in itself: rules about its objects hold for it too.
    if target.group.is_empty() && target.resource == "namespaces" {
        target.namespace.clone_from(&target.name);
    }
    let whole = target.name.is_empty();
    target.verb = match *method {
        Method::GET | Method::HEAD if watching || (whole && query.is_true("watch")) => "watch",
        Method::GET | Method::HEAD if whole => "list",
        Method::GET | Method::HEAD if query.is_true("watch") && target.subresource.is_empty() => "watch",
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if whole => "deletecollection",
        Method::DELETE => "delete",
        // No verb has this method.
        _ => "",
    };
    Some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(method: Method, path: &str, query: &str) -> Target {
        resource_target(&method, path, &Query::parse(query)).unwrap()
    }

    #[test]
    fn a_path_names_group_namespace_name_and_subresource() {
        let scale = target(Method::PATCH, "/apis/apps/v1/namespaces/web/deployments/a/scale", "");
        assert_eq!((scale.group.as_str(), scale.namespace.as_str(), scale.name.as_str()), ("apps", "web", "a"));
        assert_eq!((scale.verb, scale.subresource.as_str()), ("patch", "scale"));
        let all = target(Method::GET, "/api/v1/pods", "watch=1");
        assert_eq!((all.verb, all.namespace.as_str()), ("watch", ""));
        let old = target(Method::GET, "/api/v1/watch/namespaces/x/pods", "");
        assert_eq!((old.verb, old.namespace.as_str(), old.resource.as_str()), ("watch", "x", "pods"));
    }

    #[test]
    fn a_namespace_is_a_resource_and_a_prefix() {
        let one = target(Method::GET, "/api/v1/namespaces/web", "");
        assert_eq!((one.resource.as_str(), one.name.as_str(), one.verb), ("namespaces", "web", "get"));
        let status = target(Method::PUT, "/api/v1/namespaces/web/finalize", "");
        assert_eq!((status.resource.as_str(), status.subresource.as_str()), ("namespaces", "finalize"));
        let inside = target(Method::DELETE, "/api/v1/namespaces/web/pods", "");
        assert_eq!((inside.resource.as_str(), inside.verb), ("pods", "deletecollection"));
    }

    #[test]
    fn escapes_are_decoded_after_the_path_is_split() {
        assert_eq!(target(Method::GET, "/api/v1/namespaces/a/pods/b%2Fc", "").name, "b/c");
        assert_eq!(Query::parse("labelSelector=a+in+%28b%2Cc%29").text("labelSelector"), "a in (b,c)");
        assert_eq!(percent_decode("%zz%4", false), "%zz%4");
    }
}
