//! Charts of kustomizations, rendered by the Helm engine in this process.

use helm::{Capabilities, Chart, ChartLimits, Environment, KubeVersion, Options, Profile, Release, Rendered, SystemRandom};
use std::{fmt::Write as _, rc::Rc, sync::Arc};
use tree::Tree;

/// Renders charts as `helm template` does. What the command says about the cluster wins over the kustomization.
#[derive(Debug, Default)]
pub struct Engine {
    pub kube_version: Option<String>,
    pub api_versions: Vec<String>,
}

impl kustomize::Charts for Engine {
    fn render(&self, tree: &dyn Tree, directory: &str, wanted: &kustomize::Chart) -> Result<String, String> {
        if !wanted.name_template.is_empty() {
            return Err("nameTemplate is not supported; give a releaseName".to_owned());
        }
        let chart = Chart::from_tree(tree, directory, ChartLimits::default()).map(Arc::new).map_err(|error| error.to_string())?;
        chart.missing_dependencies().map_err(|error| error.to_string())?;
        let mut values = helm::Table::new();
        for text in &wanted.values {
            helm::merge_over(&mut values, &helm::read_values(text)?);
        }
        let profile = Profile::V4_3;
        let mut capabilities = Capabilities::defaults(profile);
        let version = self.kube_version.as_deref().unwrap_or(&wanted.kube_version);
        if !version.is_empty() {
            capabilities.kube_version = KubeVersion::parse(version).map_err(|why| format!("invalid kube version \"{version}\": {why}"))?;
        }
        let api_versions = if self.api_versions.is_empty() { &wanted.api_versions } else { &self.api_versions };
        capabilities.api_versions.extend(api_versions.iter().cloned().map(Into::into));
        let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
        let release = Release {
            name: or(&wanted.release_name, "release-name"),
            namespace: or(&wanted.namespace, "default"),
            revision: 1,
            upgrade: false,
        };
        let environment = Rc::new(Environment::new(jiff::Timestamp::now(), Box::new(SystemRandom)));
        let options = Options { profile, capabilities, ..Options::new(release, environment) };
        let rendered = helm::render(&chart, &values, &options).map_err(|error| error.to_string())?;
        Ok(text(&rendered, wanted))
    }
}

/// What `helm template` prints: definitions if asked for, manifests, hooks.
fn text(rendered: &Rendered, wanted: &kustomize::Chart) -> String {
    let mut out = String::new();
    if wanted.include_crds {
        for crd in &rendered.crds {
            helm::push_document(&mut out, &crd.path, &crd.text());
        }
    }
    let _ = write!(out, "{}", rendered.manifest());
    if !wanted.skip_hooks {
        for hook in &rendered.hooks {
            let is_test = hook.events.iter().any(|event| event.starts_with("test"));
            if !(wanted.skip_tests && is_test) {
                helm::push_document(&mut out, &hook.path, &hook.manifest);
            }
        }
    }
    out
}
