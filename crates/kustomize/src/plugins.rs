//! Builtin plugins that are configured by objects of their own in `generators`, `transformers` and `validators`. Programs and containers are
//! refused.

use crate::{
    build::Use,
    charts,
    decode::{Decode, Mode, record},
    error::{Error, Result, problem},
    fields::{FieldSpec, Make},
    generate,
    id::Gvk,
    kustomization::{
        Field, GeneratorArgs, GeneratorOptions, Image, Metadata, Pairs, Patch, PatchOptions, ReplacementField, Replica, SecretArgs,
    },
    lines::text_line,
    load::Root,
    object::{Object, Objects},
    ops, patches, read, replacements,
    select::{Selector, SelectorText},
    target::{spec_of, unsupported},
    transform::{self, Affix, Namespacing, Run, Subjects},
};
use serde_json::Value;
use yaml::{Node, Tag};

fn config(plugin: &Object) -> Result<Value> {
    yaml::node_json(&plugin.node).map_err(|error| problem(error.to_string()))
}

fn decode<T: Decode>(plugin: &Object) -> Result<T> {
    T::decode(&config(plugin)?, "", Mode::PLUGIN).map_err(|error| error.on(plugin.id()))
}

/// Refuses what is no builtin.
fn builtin_kind(plugin: &Object) -> Result<String> {
    yaml::check_keys(&plugin.node).map_err(|error| problem(error.to_string()))?;
    let gvk = plugin.gvk();
    if gvk.group.is_empty() && gvk.version == "builtin" {
        return Ok(gvk.kind.to_string());
    }
    Err(unsupported(
        &format!("the plugin {}", plugin.id()),
        "only builtin generators and transformers run; no program or container is started",
    ))
}

fn specs(fields: &[Field]) -> Vec<FieldSpec> {
    fields.iter().map(spec_of).collect()
}

record! {
    struct ConfigMapPlugin {
        metadata: Metadata = "metadata",
        ..args: GeneratorArgs,
    }
}

record! {
    struct SecretPlugin {
        metadata: Metadata = "metadata",
        ..secret: SecretArgs,
    }
}

record! {
    struct IamPolicyPlugin {
        ..args: IamPolicyArgs,
    }
}

record! {
    struct IamPolicyArgs {
        cloud: String = "cloud",
        kubernetes_service: Account = "kubernetesservice",
        service_account: Account = "serviceaccount",
    }
}

record! {
    struct Account {
        name: String = "name",
        namespace: String = "namespace",
        project_id: String = "projectid",
    }
}

/// Runs a generator plugin.
pub(crate) fn generate(run: &Run<'_, '_>, root: &Root, plugin: &Object) -> Result<Vec<Object>> {
    let kind = builtin_kind(plugin)?;
    let complete = |args: &mut GeneratorArgs, metadata: &Metadata| {
        if args.name.is_empty() {
            args.name = metadata.name.clone();
        }
        if args.namespace.is_empty() {
            args.namespace = metadata.namespace.clone();
        }
    };
    match kind.as_str() {
        "ConfigMapGenerator" => {
            let mut with: ConfigMapPlugin = decode(plugin)?;
            complete(&mut with.args, &with.metadata);
            let options = GeneratorOptions::merged(with.args.options.as_ref(), None);
            generate::generate(run, root, generate::Kind::ConfigMap, &with.args, "", &options).map(|object| vec![object])
        }
        "SecretGenerator" => {
            let mut with: SecretPlugin = decode(plugin)?;
            complete(&mut with.secret.args, &with.metadata);
            let options = GeneratorOptions::merged(with.secret.args.options.as_ref(), None);
            let secret_type = with.secret.secret_type;
            generate::generate(run, root, generate::Kind::Secret, &with.secret.args, &secret_type, &options).map(|object| vec![object])
        }
        "IAMPolicyGenerator" => {
            let IamPolicyPlugin { args: with } = decode(plugin)?;
            if with.cloud != "gke" {
                return Err(problem(format!("cloud {} is not supported; gke is", with.cloud)));
            }
            let namespace = if with.kubernetes_service.namespace.is_empty() {
                String::new()
            } else {
                format!("\n  namespace: {}", with.kubernetes_service.namespace)
            };
            let text = format!(
                "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  annotations:\n    iam.gke.io/gcp-service-account: {}@{}.iam.gserviceaccount.com\n  name: {}{namespace}\n",
                with.service_account.name, with.service_account.project_id, with.kubernetes_service.name
            );
            let mut objects = read::objects(run.context, &text, &run.context.place_of(plugin.node.place).file)?;
            objects.iter_mut().for_each(|object| ops::stamp(&mut object.node, run.place));
            Ok(objects)
        }
        "HelmChartInflationGenerator" => charts::generate_plugin(run, root, &config(plugin)?),
        other => Err(problem(format!("there is no builtin generator {other}"))),
    }
}

record! {
    struct PairsPlugin {
        labels: Pairs = "labels",
        annotations: Pairs = "annotations",
        field_specs: Vec<Field> = "fieldspecs",
    }
}

record! {
    struct AffixPlugin {
        prefix: String = "prefix",
        suffix: String = "suffix",
        field_specs: Option<Vec<Field>> = "fieldspecs",
    }
}

record! {
    struct NamespacePlugin {
        metadata: Metadata = "metadata",
        field_specs: Vec<Field> = "fieldspecs",
        unset_only: bool = "unsetonly",
        subjects: String = "setrolebindingsubjects",
    }
}

record! {
    struct ImagePlugin {
        image_tag: Image = "imagetag",
        field_specs: Vec<Field> = "fieldspecs",
    }
}

record! {
    struct ReplicaPlugin {
        replica: Replica = "replica",
        field_specs: Vec<Field> = "fieldspecs",
    }
}

record! {
    struct PatchPlugin {
        path: String = "path",
        patch: String = "patch",
        target: Option<SelectorText> = "target",
        options: Option<PatchOptions> = "options",
    }
}

record! {
    struct JsonPatchPlugin {
        path: String = "path",
        json_op: String = "jsonop",
        target: Option<SelectorText> = "target",
    }
}

record! {
    struct StrategicPlugin {
        paths: Vec<String> = "paths",
        patches: String = "patches",
    }
}

record! {
    struct ReplacementPlugin {
        replacements: Vec<ReplacementField> = "replacements",
    }
}

record! {
    struct ValueAddPlugin {
        value: String = "value",
        targets: Vec<ValueTarget> = "targets",
        target_file_path: String = "targetfilepath",
    }
}

record! {
    struct ValueTarget {
        selector: Option<SelectorText> = "selector",
        field_path: String = "fieldpath",
        file_path_position: i64 = "filepathposition",
    }
}

/// What a plugin runs with: what it makes came from its configuration.
pub(crate) fn run_of<'c, 't>(run: &Run<'c, 't>, plugin: &Object) -> Run<'c, 't> {
    let configured = run.context.place_of(plugin.node.place);
    let place = run.context.field_place(&configured.file, plugin.kind());
    Run { context: run.context, place: yaml::Place { line: configured.line, ..place } }
}

/// Runs a transformer plugin.
pub(crate) fn transform(run: &Run<'_, '_>, root: &Root, plugin: &Object, objects: &mut Objects) -> Result<()> {
    match builtin_kind(plugin)?.as_str() {
        "LabelTransformer" => {
            let with: PairsPlugin = decode(plugin)?;
            transform::set_pairs(run, objects, &with.labels, &specs(&with.field_specs))
        }
        "AnnotationsTransformer" => {
            let with: PairsPlugin = decode(plugin)?;
            transform::set_pairs(run, objects, &with.annotations, &specs(&with.field_specs))
        }
        kind @ ("PrefixTransformer" | "SuffixTransformer" | "PrefixSuffixTransformer") => {
            let with: AffixPlugin = decode(plugin)?;
            let specs = specs(&with.field_specs.ok_or_else(|| problem("fieldSpecs are missing"))?);
            if kind != "SuffixTransformer" {
                transform::add_affix(run, objects, Affix::Prefix, &with.prefix, &specs)?;
            }
            if kind != "PrefixTransformer" {
                transform::add_affix(run, objects, Affix::Suffix, &with.suffix, &specs)?;
            }
            Ok(())
        }
        "NamespaceTransformer" => {
            let with: NamespacePlugin = decode(plugin)?;
            let with = Namespacing {
                namespace: with.metadata.namespace,
                specs: specs(&with.field_specs),
                unset_only: with.unset_only,
                subjects: Subjects::parse(&with.subjects)?,
            };
            transform::set_namespace(run, objects, &with)
        }
        "ImageTagTransformer" => {
            let with: ImagePlugin = decode(plugin)?;
            transform::set_image(run, objects, &with.image_tag, &specs(&with.field_specs))
        }
        "ReplicaCountTransformer" => {
            let with: ReplicaPlugin = decode(plugin)?;
            transform::set_replicas(run, objects, &with.replica, &specs(&with.field_specs))
        }
        "PatchTransformer" => {
            let with: PatchPlugin = decode(plugin)?;
            let patch = Patch { path: with.path, patch: with.patch, target: with.target, options: with.options };
            patches::apply(run, root, objects, &patch, text_line(&plugin.node, "patch"))
        }
        "PatchJson6902Transformer" => {
            let with: JsonPatchPlugin = decode(plugin)?;
            patches::apply_json6902(run, root, objects, &with.path, &with.json_op, with.target.as_ref(), text_line(&plugin.node, "jsonOp"))
        }
        "PatchStrategicMergeTransformer" => {
            let with: StrategicPlugin = decode(plugin)?;
            patches::apply_strategic(run, root, objects, &with.paths, &|_| 0, Some((&with.patches, text_line(&plugin.node, "patches"))))
        }
        "ReplacementTransformer" => {
            let with: ReplacementPlugin = decode(plugin)?;
            let replacements = replacements::load(run, root, &with.replacements)?;
            replacements::apply(run, objects, &replacements)
        }
        "ValueAddTransformer" => add_value(run, root, decode(plugin)?, objects),
        "HashTransformer" => generate::add_hashes(run, &mut objects.list),
        other => Err(problem(format!("there is no builtin transformer {other}"))),
    }
}

/// Sets a value at paths, making them; a field that holds a file path can take it as one part.
fn add_value(run: &Run<'_, '_>, root: &Root, mut with: ValueAddPlugin, objects: &mut Objects) -> Result<()> {
    let mut value = with.value.trim().to_owned();
    if value.is_empty() {
        value = root.dir.rsplit('/').next().unwrap_or("").to_owned();
    }
    if !with.target_file_path.is_empty() {
        let (file, text) = root.read_text(run.context, &with.target_file_path, Use::Resource)?;
        let json = yaml::to_json(&text, yaml::Dialect::Sigs).map_err(|error| Error::invalid(&file, error.to_string()))?;
        let more = ValueAddPlugin::decode(&json, "", Mode::PLUGIN).map_err(|error| error.or_in(&file))?;
        with.targets.extend(more.targets);
    }
    if with.targets.is_empty() {
        return Err(problem("at least one target is needed"));
    }
    let scopes = run.scopes();
    for target in &with.targets {
        if target.field_path.is_empty() {
            return Err(problem("a target needs a fieldPath"));
        }
        if target.file_path_position < 0 {
            return Err(problem("filePathPosition cannot be negative"));
        }
        let selector = target.selector.as_ref().map(Selector::new).transpose()?;
        for object in &mut objects.list {
            if selector.as_ref().is_some_and(|selector| !selector.matches(object, &scopes)) {
                continue;
            }
            if target.field_path == "metadata/namespace" {
                let with = Namespacing { namespace: value.clone(), ..Namespacing::default() };
                let spec = FieldSpec::new(Gvk::default(), "metadata/namespace", true);
                transform::set_namespace_of(run, object, &with, &spec, &scopes)?;
                continue;
            }
            let mut set = |node: &mut Node| {
                let new = match usize::try_from(target.file_path_position) {
                    Ok(position) if position > 0 => insert_part(node.text().unwrap_or(""), position - 1, &value),
                    _ => value.clone(),
                };
                ops::set_text(node, &new, run.place)
            };
            let result = set_at(&mut object.node, &target.field_path, run, &mut set);
            result.map_err(|error| error.on(object.id()))?;
            object.shared.spread(&mut object.node);
        }
    }
    objects.touch();
    Ok(())
}

/// Follows a path of maps and `[key=value]` list elements, making what is missing.
fn set_at(node: &mut Node, path: &str, run: &Run<'_, '_>, set: &mut dyn FnMut(&mut Node) -> Result<()>) -> Result<()> {
    let parts = ops::split_path(path, '/');
    if parts.iter().any(|part| part.starts_with('[')) {
        let count = crate::path::for_each(node, &parts, crate::path::Create::Scalar, run.place, set)?;
        return if count == 0 { Err(problem(format!("there is no field {path}"))) } else { Ok(()) };
    }
    FieldSpec::new(Gvk::default(), path, true).apply(node, Make::Scalar(Tag::Str), run.place, set)
}

/// Puts a part into a file path; a leading slash stays in front.
fn insert_part(path: &str, position: usize, part: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.insert(position.min(parts.len()), part);
    format!("{}{}", if absolute { "/" } else { "" }, parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_go_into_file_paths() {
        for (path, position, expected) in [
            ("", 0, "P"),
            ("/", 0, "/P"),
            ("pie", 0, "P/pie"),
            ("/pie", 0, "/P/pie"),
            ("raw", 1, "raw/P"),
            ("a/nice/warm/pie", 3, "a/nice/warm/P/pie"),
            ("a", 99, "a/P"),
        ] {
            assert_eq!(insert_part(path, position, "P"), expected);
        }
    }
}
