//! Who asks, and whether they may.
//!
//! ```text
//! Authorization ──► User ── Impersonate-* (itself a permission) ──► User ──► RBAC (Roles and bindings in the store)
//! ```

pub mod bootstrap;
pub mod escalation;
mod rbac;
mod tokens;

pub use rbac::{Attributes, reason, rules_of};
pub use tokens::{Bound, Claims, Reference, Tokens};

use crate::api::Api;
use crate::protocol::status::{Result, Status};
use crate::rest::Context;
use http::HeaderMap;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

pub const MASTERS: &str = "system:masters";
pub const AUTHENTICATED: &str = "system:authenticated";

impl User {
    pub fn admin() -> Self {
        Self { name: "admin".to_owned(), groups: vec![MASTERS.to_owned(), AUTHENTICATED.to_owned()], ..Self::default() }
    }

    pub fn service_account(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            uid: uid.to_owned(),
            groups: vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}"), AUTHENTICATED.to_owned()],
            ..Self::default()
        }
    }
}

/// Authentication and authorization.
pub struct Access {
    admin_token: String,
    pub tokens: Tokens,
    parsed: rbac::Parsed,
}

/// Whose a token is.
pub enum Bearer {
    Known {
        user: User,
        /// For which of the asked audiences it is meant.
        audiences: Vec<String>,
    },
    /// It is good, for somebody else.
    NotMeant {
        audiences: Vec<String>,
    },
    Unknown,
}

impl Access {
    pub fn new(admin_token: String, tokens: Tokens) -> Self {
        Self { admin_token, tokens, parsed: rbac::Parsed::default() }
    }

    /// The user behind a bearer token, for one of these audiences.
    pub fn user_of_token(&self, api: &Api, token: &str, audiences: &[&str]) -> Bearer {
        if equal_in_constant_time(token.as_bytes(), self.admin_token.as_bytes()) {
            return Bearer::Known { user: User::admin(), audiences: audiences.iter().map(|a| (*a).to_owned()).collect() };
        }
        let Some(claims) = self.tokens.verify(token).filter(|claims| claims.is_alive(api)) else { return Bearer::Unknown };
        let shared: Vec<String> = claims.aud.iter().filter(|of| audiences.contains(&of.as_str())).cloned().collect();
        if shared.is_empty() {
            Bearer::NotMeant { audiences: claims.aud }
        } else {
            Bearer::Known { user: claims.user(), audiences: shared }
        }
    }

    pub fn authenticate(&self, api: &Api, headers: &HeaderMap) -> Result<User> {
        let header = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("");
        let (scheme, token) = header.split_once(' ').unwrap_or(("", ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Status::unauthorized());
        }
        let Bearer::Known { user, .. } = self.user_of_token(api, token.trim(), &[issuer()]) else { return Err(Status::unauthorized()) };
        self.impersonate(api, user, headers)
    }

    fn impersonate(&self, api: &Api, user: User, headers: &HeaderMap) -> Result<User> {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
        let name = text("impersonate-user");
        let groups: Vec<String> = headers.get_all("impersonate-group").iter().filter_map(|v| v.to_str().ok().map(str::to_owned)).collect();
        let uid = text("impersonate-uid");
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (header, value) in headers {
            if let Some(key) = header.as_str().strip_prefix("impersonate-extra-")
                && let Ok(value) = value.to_str()
            {
                extra.entry(crate::protocol::path::percent_decode(key, false)).or_default().push(value.to_owned());
            }
        }
        if name.is_empty() {
            if groups.is_empty() && uid.is_empty() && extra.is_empty() {
                return Ok(user);
            }
            let shown = if groups.is_empty() {
                "(nil)".to_owned()
            } else {
                format!("{{{}}}", groups.iter().map(|g| format!("{g:?}")).collect::<Vec<_>>().join(", "))
            };
            return Err(Status::bad_request(format!(
                "requested &user.DefaultInfo{{Name:\"\", UID:{uid:?}, Groups:[]string{shown}, Extra:map[string][]string(nil)}} without impersonating a user name"
            )));
        }
        let account = name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
        let check = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
            let attributes = Attributes { verb: "impersonate", group, resource, subresource, namespace, name, path: "" };
            self.check(api, &user, &attributes)
        };
        match account {
            Some((namespace, account)) => check("", "serviceaccounts", "", namespace, account)?,
            None => check("", "users", "", "", &name)?,
        }
        for group in &groups {
            check("", "groups", "", "", group)?;
        }
        if !uid.is_empty() {
            check("authentication.k8s.io", "uids", "", "", &uid)?;
        }
        for (key, values) in &extra {
            for value in values {
                check("authentication.k8s.io", "userextras", key, "", value)?;
            }
        }
        let namespace = account.map(|(namespace, _)| namespace.to_owned());
        let mut out = User { name, uid, groups, extra };
        if let Some(namespace) = namespace
            && out.groups.is_empty()
        {
            out.groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        }
        if out.name != "system:anonymous" && !out.groups.iter().any(|g| g == AUTHENTICATED) {
            out.groups.push(AUTHENTICATED.to_owned());
        }
        Ok(out)
    }

    /// Refuses what the user may not do, in the words of RBAC.
    pub fn check(&self, api: &Api, user: &User, attributes: &Attributes<'_>) -> Result<()> {
        if rbac::allowed(api, user, attributes) {
            return Ok(());
        }
        let what = match (attributes.subresource, attributes.path) {
            (_, path) if !path.is_empty() => {
                let why = format!("User \"{}\" cannot {} path \"{path}\"", user.name, attributes.verb);
                let mut status = Status::forbidden("", "", "", &why);
                status.message = format!("forbidden: {why}");
                return Err(status);
            }
            ("", _) => attributes.resource.to_owned(),
            (sub, _) => format!("{}/{sub}", attributes.resource),
        };
        let scope = match attributes.namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let why =
            format!("User \"{}\" cannot {} resource \"{what}\" in API group \"{}\" {scope}", user.name, attributes.verb, attributes.group);
        Err(Status::forbidden(attributes.group, attributes.resource, attributes.name, &why))
    }
}

impl Context {
    /// What this request asks to be allowed.
    pub fn attributes(&self) -> Attributes<'_> {
        let target = &self.target;
        Attributes {
            verb: target.verb,
            group: &target.group,
            resource: &target.resource,
            subresource: &target.subresource,
            namespace: &target.namespace,
            name: &target.name,
            path: "",
        }
    }
}

/// Who signs tokens of ServiceAccounts, and for whom they are unless something else is asked.
pub fn issuer() -> &'static str {
    tokens::ISSUER
}

/// A comparison whose time tells nothing about where two secrets differ.
fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}
