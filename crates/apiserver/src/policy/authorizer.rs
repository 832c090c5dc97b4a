//! What expressions may ask about permissions: `authorizer.group('apps').resource('deployments').check('create').allowed()`.

use crate::access::{self, Attributes, User};
use crate::api::Api;
use merge::cel::{Cel, Failure};
use std::sync::Arc;

pub const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
pub const RESOURCE_CHECK: &str = "kubernetes.authorization.ResourceCheck";
const PATH_CHECK: &str = "kubernetes.authorization.PathCheck";
const GROUP_CHECK: &str = "kubernetes.authorization.GroupCheck";
const DECISION: &str = "kubernetes.authorization.Decision";

/// A question that is not finished yet, or its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    Whose(User),
    Path(User, String),
    Group(User, String),
    Resource(Box<Asked>),
    Answer { allowed: bool, reason: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub user: User,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
}

impl merge::cel::Opaque for Question {
    fn runtime_type_name(&self) -> &str {
        match self {
            Self::Whose(_) => AUTHORIZER,
            Self::Path(..) => PATH_CHECK,
            Self::Group(..) => GROUP_CHECK,
            Self::Resource(_) => RESOURCE_CHECK,
            Self::Answer { .. } => DECISION,
        }
    }
}

pub fn value(question: Question) -> Cel {
    Cel::Opaque(Arc::new(question))
}

/// A function on a question; none when the value is none, or the function is none of its own.
pub fn method(api: &Api, name: &str, target: &Cel, args: &[Cel]) -> Option<Result<Cel, Failure>> {
    let Cel::Opaque(opaque) = target else { return None };
    let question = opaque.downcast_ref::<Question>()?;
    let texts: Vec<&str> = args
        .iter()
        .map(|arg| match arg {
            Cel::String(text) => Some(text.as_str()),
            _ => None,
        })
        .collect::<Option<_>>()?;
    Some(Ok(match (question, name, texts.as_slice()) {
        (Question::Whose(user), "path", [path]) => value(Question::Path(user.clone(), (*path).to_owned())),
        (Question::Whose(user), "group", [group]) => value(Question::Group(user.clone(), (*group).to_owned())),
        (Question::Whose(_), "serviceAccount", [namespace, name]) => value(Question::Whose(User::service_account(namespace, name, ""))),
        (Question::Group(user, group), "resource", [resource]) => value(Question::Resource(Box::new(Asked {
            user: user.clone(),
            group: group.clone(),
            resource: (*resource).to_owned(),
            subresource: String::new(),
            namespace: String::new(),
            name: String::new(),
        }))),
        (Question::Resource(asked), "subresource", [text]) => with(asked, |asked| asked.subresource = (*text).to_owned()),
        (Question::Resource(asked), "namespace", [text]) => with(asked, |asked| asked.namespace = (*text).to_owned()),
        (Question::Resource(asked), "name", [text]) => with(asked, |asked| asked.name = (*text).to_owned()),
        // Roles know no selectors: a narrower question has the same answer.
        (Question::Resource(asked), "fieldSelector" | "labelSelector", [_]) => with(asked, |_| ()),
        (Question::Resource(asked), "check", [verb]) => {
            let attributes = Attributes {
                verb,
                group: &asked.group,
                resource: &asked.resource,
                subresource: &asked.subresource,
                namespace: &asked.namespace,
                name: &asked.name,
                path: "",
            };
            answer(api, &asked.user, &attributes)
        }
        (Question::Path(user, path), "check", [verb]) => answer(api, user, &Attributes { verb, path, ..Attributes::default() }),
        (Question::Answer { allowed, .. }, "allowed", []) => Cel::Bool(*allowed),
        (Question::Answer { reason, .. }, "reason", []) => merge::cel::string(reason),
        (Question::Answer { .. }, "errored", []) => Cel::Bool(false),
        (Question::Answer { .. }, "error", []) => merge::cel::string(""),
        _ => return None,
    }))
}

fn with(asked: &Asked, change: impl FnOnce(&mut Asked)) -> Cel {
    let mut asked = asked.clone();
    change(&mut asked);
    value(Question::Resource(Box::new(asked)))
}

fn answer(api: &Api, user: &User, attributes: &Attributes<'_>) -> Cel {
    let reason = access::reason(api, user, attributes);
    value(Question::Answer { allowed: reason.is_some(), reason: reason.unwrap_or_default() })
}
