//! What the cluster can do, as templates see it.

use gotemplate::{Failure, Kind, Method, Object, Type, Value};
use std::{any::Any, borrow::Cow, rc::Rc};

/// Which Helm's functions and defaults to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// Helm 4.2, which Flux 2.9 has inside.
    #[default]
    V4_2,
    /// Helm 4.3: duration functions, newer defaults.
    V4_3,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeVersion {
    /// As the cluster says it: `v1.33.4-gke.1245000`.
    pub version: String,
    pub major: String,
    pub minor: String,
}

impl KubeVersion {
    /// The error is that of Kubernetes' version parser.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("could not parse {text:?} as version");
        let body = text.trim().trim_start_matches('v');
        let end = body.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(body.len());
        let numbers = body[..end].trim_end_matches('.');
        let parts: Vec<&str> = numbers.split('.').collect();
        let good = |part: &&str| !part.is_empty() && part.len() < 10 && (part.len() == 1 || !part.starts_with('0'));
        if parts.len() < 2 || !parts.iter().all(good) {
            return Err(bad());
        }
        let version = if text.starts_with('v') { text.to_owned() } else { format!("v{text}") };
        Ok(Self { version, major: parts[0].to_owned(), minor: parts[1].to_owned() })
    }

    /// Without suffixes, for comparing with ranges.
    pub fn normalized(&self) -> String {
        let body = self.version.trim_start_matches('v');
        let end = body.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(body.len());
        format!("v{}", body[..end].trim_end_matches('.'))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    pub kube_version: KubeVersion,
    /// `group/version`, and with a cluster `group/version/Kind`.
    pub api_versions: Vec<Cow<'static, str>>,
    pub helm_version: String,
}

impl Capabilities {
    /// What Helm assumes without a cluster.
    pub fn defaults(profile: Profile) -> Self {
        let (minor, helm) = match profile {
            Profile::V4_2 => ("36", "v4.2"),
            Profile::V4_3 => ("37", "v4.3.1"),
        };
        Self {
            kube_version: KubeVersion { version: format!("v1.{minor}.0"), major: "1".to_owned(), minor: minor.to_owned() },
            api_versions: KNOWN_VERSIONS.iter().map(|version| Cow::Borrowed(*version)).collect(),
            helm_version: helm.to_owned(),
        }
    }

    pub(crate) fn to_value(&self) -> Value {
        Value::Object(Rc::new(CapabilitiesObject {
            kube: Value::Object(Rc::new(KubeObject(self.kube_version.clone()))),
            versions: Value::Object(Rc::new(VersionSet(self.api_versions.clone()))),
            helm: Value::Object(Rc::new(BuildInfo(self.helm_version.clone()))),
        }))
    }
}

/// The group versions of client-go's scheme, in its order.
const KNOWN_VERSIONS: &[&str] = &[
    "v1",
    "admissionregistration.k8s.io/v1",
    "admissionregistration.k8s.io/v1alpha1",
    "admissionregistration.k8s.io/v1beta1",
    "internal.apiserver.k8s.io/v1alpha1",
    "apps/v1",
    "apps/v1beta1",
    "apps/v1beta2",
    "authentication.k8s.io/v1",
    "authentication.k8s.io/v1alpha1",
    "authentication.k8s.io/v1beta1",
    "authorization.k8s.io/v1",
    "authorization.k8s.io/v1beta1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "batch/v1beta1",
    "certificates.k8s.io/v1",
    "certificates.k8s.io/v1beta1",
    "certificates.k8s.io/v1alpha1",
    "coordination.k8s.io/v1alpha2",
    "coordination.k8s.io/v1beta1",
    "coordination.k8s.io/v1",
    "discovery.k8s.io/v1",
    "discovery.k8s.io/v1beta1",
    "events.k8s.io/v1",
    "events.k8s.io/v1beta1",
    "extensions/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1",
    "flowcontrol.apiserver.k8s.io/v1beta1",
    "flowcontrol.apiserver.k8s.io/v1beta2",
    "flowcontrol.apiserver.k8s.io/v1beta3",
    "networking.k8s.io/v1",
    "networking.k8s.io/v1beta1",
    "node.k8s.io/v1",
    "node.k8s.io/v1alpha1",
    "node.k8s.io/v1beta1",
    "policy/v1",
    "policy/v1beta1",
    "rbac.authorization.k8s.io/v1",
    "rbac.authorization.k8s.io/v1beta1",
    "rbac.authorization.k8s.io/v1alpha1",
    "resource.k8s.io/v1",
    "resource.k8s.io/v1beta2",
    "resource.k8s.io/v1beta1",
    "resource.k8s.io/v1alpha3",
    "scheduling.k8s.io/v1alpha2",
    "scheduling.k8s.io/v1beta1",
    "scheduling.k8s.io/v1",
    "storage.k8s.io/v1beta1",
    "storage.k8s.io/v1",
    "storage.k8s.io/v1alpha1",
    "storagemigration.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1beta1",
    "apiextensions.k8s.io/v1",
];

struct CapabilitiesObject {
    kube: Value,
    versions: Value,
    helm: Value,
}

impl Object for CapabilitiesObject {
    fn type_name(&self) -> &str {
        "*common.Capabilities"
    }

    fn kind(&self) -> Kind {
        Kind::Pointer
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn text(&self) -> String {
        let show = |value: &Value| gotemplate::fmt::text(value).map(|text| text.text().into_owned()).unwrap_or_default();
        format!("&{{{} {} {}}}", show(&self.kube), show(&self.versions), show(&self.helm))
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "KubeVersion" => Some(self.kube.clone()),
            "APIVersions" => Some(self.versions.clone()),
            "HelmVersion" => Some(self.helm.clone()),
            _ => None,
        }
    }

    fn as_json(&self) -> Option<Value> {
        Some(map(&[("APIVersions", self.versions.clone()), ("HelmVersion", self.helm.clone()), ("KubeVersion", self.kube.clone())]))
    }
}

fn map(entries: &[(&str, Value)]) -> Value {
    let entries = entries.iter().map(|(key, value)| ((*key).into(), value.clone())).collect();
    Value::Map(gotemplate::Map::from_entries(gotemplate::MapKind::Any, entries))
}

struct KubeObject(KubeVersion);

const KUBE_METHODS: &[Method] = &[
    Method { name: "String", params: &[], rest: None, call: |this, _, _| Ok(Value::string(kube(this)?.normalized())) },
    Method { name: "GitVersion", params: &[], rest: None, call: |this, _, _| Ok(Value::string(kube(this)?.version.as_str())) },
];

fn kube(this: &Rc<dyn Object>) -> Result<&KubeVersion, Failure> {
    this.as_any().downcast_ref::<KubeObject>().map(|object| &object.0).ok_or_else(|| Failure::new("receiver is no KubeVersion"))
}

impl Object for KubeObject {
    fn type_name(&self) -> &str {
        "common.KubeVersion"
    }

    fn kind(&self) -> Kind {
        Kind::Struct
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn text(&self) -> String {
        format!("{{{} {} {} {}}}", self.0.version, self.0.normalized(), self.0.major, self.0.minor)
    }

    // `String` is a method of the pointer, which an action has and a function's argument has not.
    fn printed(&self) -> String {
        self.0.normalized()
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Version" => Some(Value::string(self.0.version.as_str())),
            "Major" => Some(Value::string(self.0.major.as_str())),
            "Minor" => Some(Value::string(self.0.minor.as_str())),
            _ => None,
        }
    }

    fn method(&self, name: &str) -> Option<&'static Method> {
        KUBE_METHODS.iter().find(|method| method.name == name)
    }

    fn as_json(&self) -> Option<Value> {
        let text = |text: &str| Value::string(text);
        Some(map(&[("Major", text(&self.0.major)), ("Minor", text(&self.0.minor)), ("Version", text(&self.0.version))]))
    }
}

struct VersionSet(Vec<Cow<'static, str>>);

const SET_METHODS: &[Method] = &[Method {
    name: "Has",
    params: &[Type::String],
    rest: None,
    call: |this, run, args| {
        let set = this.as_any().downcast_ref::<VersionSet>().ok_or_else(|| Failure::new("receiver is no VersionSet"))?;
        run.charge(set.0.len() as u64 / 16)?;
        let wanted = args[0].as_str().map(gotemplate::Str::text).unwrap_or_default();
        Ok(Value::Bool(set.0.iter().any(|version| **version == *wanted)))
    },
}];

impl Object for VersionSet {
    fn type_name(&self) -> &str {
        "common.VersionSet"
    }

    fn kind(&self) -> Kind {
        Kind::Slice
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn text(&self) -> String {
        format!("[{}]", self.0.join(" "))
    }

    fn method(&self, name: &str) -> Option<&'static Method> {
        SET_METHODS.iter().find(|method| method.name == name)
    }

    fn length(&self) -> Option<usize> {
        Some(self.0.len())
    }

    fn item(&self, at: usize) -> Option<Value> {
        self.0.get(at).map(|version| Value::string(&**version))
    }
}

struct BuildInfo(String);

impl Object for BuildInfo {
    fn type_name(&self) -> &str {
        "version.BuildInfo"
    }

    fn kind(&self) -> Kind {
        Kind::Struct
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn text(&self) -> String {
        format!("{{{}    }}", self.0)
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Version" => Some(Value::string(self.0.as_str())),
            "GitCommit" | "GitTreeState" | "GoVersion" | "KubeClientVersion" => Some(Value::string("")),
            _ => None,
        }
    }

    fn as_json(&self) -> Option<Value> {
        Some(map(&[("version", Value::string(self.0.as_str()))]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_lose_their_suffixes_only_for_comparing() {
        let version = KubeVersion::parse("1.33.4-gke.1245000").unwrap();
        assert_eq!(
            (version.version.as_str(), version.normalized().as_str(), version.minor.as_str()),
            ("v1.33.4-gke.1245000", "v1.33.4", "33")
        );
        assert!(KubeVersion::parse("1").is_err() && KubeVersion::parse("x.y").is_err());
    }
}
