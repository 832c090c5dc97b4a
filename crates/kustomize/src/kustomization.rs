use crate::{
    decode::{Decode, Mode, Record, record},
    error::{Result, problem},
    lines::Lines,
    select::SelectorText,
};
use serde_json::Value;
use std::collections::BTreeMap;

pub(crate) type Pairs = BTreeMap<String, String>;

/// The names a kustomization file may have.
pub(crate) const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

const VERSION: &str = "kustomize.config.k8s.io/v1beta1";
const COMPONENT_VERSION: &str = "kustomize.config.k8s.io/v1alpha1";

record! {
    /// A kustomization file (kustomize api/types/kustomization.go, 5.8.1).
    pub(crate) struct Kustomization {
        api_version: String = "apiversion",
        kind: String = "kind",
        metadata: Option<Metadata> = "metadata",
        openapi: Pairs = "openapi",
        name_prefix: String = "nameprefix",
        name_suffix: String = "namesuffix",
        namespace: String = "namespace",
        common_labels: Option<Pairs> = "commonlabels",
        labels: Vec<Label> = "labels",
        common_annotations: Pairs = "commonannotations",
        patches_strategic_merge: Option<Vec<String>> = "patchesstrategicmerge",
        patches_json6902: Option<Vec<Patch>> = "patchesjson6902",
        patches: Vec<Patch> = "patches",
        images: Vec<Image> = "images",
        image_tags: Option<Vec<Image>> = "imagetags",
        replacements: Vec<ReplacementField> = "replacements",
        replicas: Vec<Replica> = "replicas",
        vars: Option<Vec<Var>> = "vars",
        sort_options: Option<SortOptions> = "sortoptions",
        resources: Vec<String> = "resources",
        components: Vec<String> = "components",
        crds: Vec<String> = "crds",
        bases: Option<Vec<String>> = "bases",
        config_map_generator: Vec<GeneratorArgs> = "configmapgenerator",
        secret_generator: Vec<SecretArgs> = "secretgenerator",
        helm_globals: Option<HelmGlobals> = "helmglobals",
        helm_charts: Vec<HelmChart> = "helmcharts",
        helm_chart_inflation_generator: Vec<HelmChartArgs> = "helmchartinflationgenerator",
        generator_options: Option<GeneratorOptions> = "generatoroptions",
        configurations: Vec<String> = "configurations",
        generators: Vec<String> = "generators",
        transformers: Vec<String> = "transformers",
        validators: Vec<String> = "validators",
        build_metadata: Vec<String> = "buildmetadata",
    }
}

record! {
    pub(crate) struct Metadata {
        name: String = "name",
        namespace: String = "namespace",
        labels: Pairs = "labels",
        annotations: Pairs = "annotations",
    }
}

record! {
    pub(crate) struct Label {
        pairs: Pairs = "pairs",
        include_selectors: bool = "includeselectors",
        include_templates: bool = "includetemplates",
        fields: Vec<Field> = "fields",
    }
}

record! {
    pub(crate) struct Field {
        path: String = "path",
        create: bool = "create",
        ..of: TypeNames,
    }
}

record! {
    pub(crate) struct TypeNames {
        group: String = "group",
        version: String = "version",
        kind: String = "kind",
    }
}

record! {
    pub(crate) struct Patch {
        path: String = "path",
        patch: String = "patch",
        target: Option<SelectorText> = "target",
        options: Option<PatchOptions> = "options",
    }
}

record! {
    pub(crate) struct PatchOptions {
        allow_name_change: bool = "allownamechange",
        allow_kind_change: bool = "allowkindchange",
    }
}

impl Record for SelectorText {
    fn field(&mut self, name: &str, value: &Value, path: &str, mode: Mode) -> Result<bool> {
        let field = match name {
            "group" => &mut self.group,
            "version" => &mut self.version,
            "kind" => &mut self.kind,
            "name" => &mut self.name,
            "namespace" => &mut self.namespace,
            "labelselector" => &mut self.label_selector,
            "annotationselector" => &mut self.annotation_selector,
            _ => return Ok(false),
        };
        // All but the last two are of an embedded record in kustomize.
        *field = String::decode(value, path, Mode { coerce: mode.coerce && name.ends_with("selector"), ..mode })?;
        Ok(true)
    }
}

record! {
    pub(crate) struct Image {
        name: String = "name",
        new_name: String = "newname",
        tag_suffix: String = "tagsuffix",
        new_tag: String = "newtag",
        digest: String = "digest",
    }
}

record! {
    pub(crate) struct Replica {
        name: String = "name",
        count: i64 = "count",
    }
}

record! {
    pub(crate) struct ReplacementField {
        path: String = "path",
        ..replacement: Replacement,
    }
}

record! {
    pub(crate) struct Replacement {
        source: Option<Source> = "source",
        source_value: Option<String> = "sourcevalue",
        targets: Option<Vec<ReplacementTarget>> = "targets",
    }
}

record! {
    pub(crate) struct Source {
        group: String = "group",
        version: String = "version",
        kind: String = "kind",
        name: String = "name",
        namespace: String = "namespace",
        field_path: String = "fieldpath",
        options: Option<FieldOptions> = "options",
    }
}

record! {
    pub(crate) struct ReplacementTarget {
        select: Option<SelectorText> = "select",
        reject: Vec<SelectorText> = "reject",
        field_paths: Vec<String> = "fieldpaths",
        options: Option<FieldOptions> = "options",
    }
}

record! {
    pub(crate) struct FieldOptions {
        delimiter: String = "delimiter",
        index: i64 = "index",
        encoding: String = "encoding",
        create: bool = "create",
    }
}

record! {
    pub(crate) struct Var {
        name: String = "name",
        objref: VarTarget = "objref",
        fieldref: FieldRef = "fieldref",
    }
}

record! {
    pub(crate) struct VarTarget {
        api_version: String = "apiversion",
        group: String = "group",
        version: String = "version",
        kind: String = "kind",
        name: String = "name",
        namespace: String = "namespace",
    }
}

record! {
    pub(crate) struct FieldRef {
        field_path: String = "fieldpath",
    }
}

record! {
    pub(crate) struct SortOptions {
        order: String = "order",
        legacy_sort_options: Option<LegacySortOptions> = "legacysortoptions",
    }
}

record! {
    pub(crate) struct LegacySortOptions {
        order_first: Vec<String> = "orderfirst",
        order_last: Vec<String> = "orderlast",
    }
}

record! {
    pub(crate) struct GeneratorArgs {
        namespace: String = "namespace",
        name: String = "name",
        behavior: String = "behavior",
        literals: Vec<String> = "literals",
        files: Vec<String> = "files",
        envs: Vec<String> = "envs",
        env: String = "env",
        options: Option<GeneratorOptions> = "options",
    }
}

record! {
    pub(crate) struct SecretArgs {
        secret_type: String = "type",
        ..args: GeneratorArgs,
    }
}

record! {
    pub(crate) struct HelmGlobals {
        chart_home: String = "charthome",
        config_home: String = "confighome",
    }
}

record! {
    pub(crate) struct HelmChart {
        name: String = "name",
        version: String = "version",
        repo: String = "repo",
        release_name: String = "releasename",
        namespace: String = "namespace",
        additional_values_files: Vec<String> = "additionalvaluesfiles",
        values_file: String = "valuesfile",
        values_inline: Option<Value> = "valuesinline",
        values_merge: String = "valuesmerge",
        include_crds: bool = "includecrds",
        skip_hooks: bool = "skiphooks",
        api_versions: Vec<String> = "apiversions",
        kube_version: String = "kubeversion",
        name_template: String = "nametemplate",
        skip_tests: bool = "skiptests",
        debug: bool = "debug",
        devel: bool = "devel",
    }
}

record! {
    /// The deprecated form of a chart.
    pub(crate) struct HelmChartArgs {
        chart_name: String = "chartname",
        chart_version: String = "chartversion",
        chart_repo_url: String = "chartrepourl",
        chart_home: String = "charthome",
        chart_repo_name: String = "chartreponame",
        helm_bin: String = "helmbin",
        helm_home: String = "helmhome",
        values: String = "values",
        values_local: Option<Value> = "valueslocal",
        values_merge: String = "valuesmerge",
        release_name: String = "releasename",
        release_namespace: String = "releasenamespace",
        extra_args: Vec<String> = "extraargs",
    }
}

record! {
    pub(crate) struct GeneratorOptions {
        labels: Pairs = "labels",
        annotations: Pairs = "annotations",
        disable_name_suffix_hash: bool = "disablenamesuffixhash",
        immutable: bool = "immutable",
    }
}

impl GeneratorOptions {
    /// A generator's own options over those for all.
    pub fn merged(own: Option<&Self>, global: Option<&Self>) -> Self {
        let mut merged = global.cloned().unwrap_or_default();
        if let Some(own) = own {
            merged.labels.extend(own.labels.clone());
            merged.annotations.extend(own.annotations.clone());
            merged.disable_name_suffix_hash |= own.disable_name_suffix_hash;
            merged.immutable |= own.immutable;
        }
        merged
    }
}

impl Kustomization {
    /// Reads a kustomization file, and says whether it has a list or a map, be it empty: such a file is not empty. Errors name no file yet.
    pub fn parse(text: &str) -> Result<(Self, bool, Lines)> {
        let in_text = |source| crate::Error::Yaml { place: crate::Place::default(), source };
        let document = yaml::first(text, yaml::Dialect::Sigs).map_err(in_text)?;
        let value = document.as_ref().map_or(Ok(Value::Null), yaml::Document::to_json).map_err(in_text)?;
        let lines = document.map_or_else(Lines::default, |document| Lines::of(&document.root));
        let lists = |map: &serde_json::Map<String, Value>| {
            map.iter().any(|(key, value)| {
                (value.is_array() || value.is_object()) && !matches!(key.to_lowercase().as_str(), "bases" | "imagetags")
            })
        };
        let wrote_lists = value.as_object().is_some_and(lists);
        Ok((Self::decode(&value, "", Mode::FILE)?, wrote_lists, lines))
    }

    pub fn is_component(&self) -> bool {
        self.kind == "Component"
    }

    /// One warning per deprecated field, in kustomize's words.
    pub fn deprecations(&self) -> Vec<String> {
        let fix = "Run 'kustomize edit fix' to update your Kustomization automatically.";
        let warn = |used: bool, old: &str, new: &str, experimental: &str| {
            used.then(|| format!("# Warning: '{old}' is deprecated. Please use '{new}' instead. {experimental}{fix}"))
        };
        [
            warn(self.bases.is_some(), "bases", "resources", ""),
            warn(self.common_labels.is_some(), "commonLabels", "labels", ""),
            warn(self.image_tags.is_some(), "imageTags", "images", ""),
            warn(self.patches_json6902.is_some(), "patchesJson6902", "patches", ""),
            warn(self.patches_strategic_merge.is_some(), "patchesStrategicMerge", "patches", ""),
            warn(self.vars.is_some(), "vars", "replacements", "[EXPERIMENTAL] "),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Fills in the type and moves deprecated fields to their successors.
    pub fn fix(&mut self) {
        if self.kind.is_empty() {
            self.kind = "Kustomization".to_owned();
        }
        if self.api_version.is_empty() {
            self.api_version = if self.is_component() { COMPONENT_VERSION } else { VERSION }.to_owned();
        }
        self.resources.extend(self.bases.take().unwrap_or_default());
        self.images.extend(self.image_tags.take().unwrap_or_default());
        let args = self.config_map_generator.iter_mut().chain(self.secret_generator.iter_mut().map(|secret| &mut secret.args));
        for args in args.filter(|args| !args.env.is_empty()) {
            let env = std::mem::take(&mut args.env);
            args.envs.push(env);
        }
        for old in std::mem::take(&mut self.helm_chart_inflation_generator) {
            // The last home that is given is that of all.
            if !old.chart_home.is_empty() {
                self.helm_globals.get_or_insert_default().chart_home = old.chart_home;
            }
            self.helm_charts.push(HelmChart {
                name: old.chart_name,
                version: old.chart_version,
                repo: old.chart_repo_url,
                values_file: old.values,
                values_inline: old.values_local,
                values_merge: old.values_merge,
                release_name: old.release_name,
                ..HelmChart::default()
            });
        }
    }

    /// Refuses an empty file, and types of other tools. To be called after [`Self::fix`].
    pub fn check(&self, wrote_lists: bool) -> Result<()> {
        let nothing = Self { api_version: self.api_version.clone(), kind: self.kind.clone(), ..Self::default() };
        if *self == nothing && !wrote_lists {
            return Err(problem("the kustomization is empty; it needs at least resources"));
        }
        if self.kind != "Kustomization" && !self.is_component() {
            return Err(problem(format!("kind should be Kustomization or Component, but is {}", self.kind)));
        }
        let version = if self.is_component() { COMPONENT_VERSION } else { VERSION };
        if self.api_version != version {
            return Err(problem(format!("apiVersion for {} should be {version}, but is {}", self.kind, self.api_version)));
        }
        Ok(())
    }
}
