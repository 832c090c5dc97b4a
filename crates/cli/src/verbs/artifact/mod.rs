//! `build|push|pull|list|tag|diff artifact`: OCI artifacts, as Flux's sources read them.
//!
//! ```text
//! path | stdin -> pack (tar.gz, reproducible) -> file            build
//!                                             -> registry        push, diff
//!                                 registry    -> unpack -> dir    pull
//! ```

mod pack;
pub(crate) mod registry;

use crate::shell::{Context, Failure, Flags, Outcome, files, flags, log, output, table};
use clap::{Arg, ArgMatches, Command};
use oci::Manifest;
use pack::Package;
use regex::Regex;
use registry::Remote;
use serde::Serialize;
use std::{collections::BTreeMap, path::Path};
use types::semver::{Constraint, Version};

/// What stays out of an artifact unless other patterns are given.
const DEFAULT_IGNORES: &str = ".git/,.gitignore,.gitmodules,.gitattributes,*.jpg,*.jpeg,*.gif,*.png,*.wmv,*.flv,*.tar.gz,*.zip";
const PROVIDERS: &[&str] = &["generic", "aws", "azure", "gcp"];

fn ignore_flags() -> [Arg; 2] {
    [
        flags::strings("ignore-paths", "patterns of files to leave out, as in .gitignore").default_value(DEFAULT_IGNORES),
        flags::strings("add-ignore-paths", "more patterns of files to leave out").hide(true),
    ]
}

fn registry_flags() -> [Arg; 2] {
    [
        flags::string("creds", "credentials for the registry, as <username>[:<password>], with --provider=generic"),
        flags::one_of("provider", "generic|aws|azure|gcp", "source OCI provider", PROVIDERS, "how to log in to the registry")
            .default_value("generic"),
    ]
}

fn insecure_flag() -> Arg {
    flags::switch("insecure-registry", "allow plain HTTP")
}

pub fn build_command() -> Command {
    flags::leaf("artifact", "Build an artifact")
        .after_help("  # From a folder\n  sluice build artifact --path=./deploy --output=deploy.tgz\n\n  # From rendered manifests\n  sluice kustomize build ./deploy | sluice build artifact --path=- --output=deploy.tgz")
        .args([
            flags::string("path", "file or folder with manifests, or - for standard input").short('p'),
            flags::string("output", "file to write").short('o').default_value("artifact.tgz"),
            flags::switch("resolve-symlinks", "put what symbolic links point at into the artifact"),
        ])
        .args(ignore_flags())
}

pub fn push_command() -> Command {
    flags::group("push", "Push artifacts").subcommand(
        flags::leaf("artifact", "Push an artifact to a registry")
            .after_help("  # The current commit\n  sluice push artifact oci://ghcr.io/org/config/app:$(git rev-parse --short HEAD) \\\n    --path=./deploy \\\n    --source=\"$(git config --get remote.origin.url)\" \\\n    --revision=\"$(git branch --show-current)@sha1:$(git rev-parse HEAD)\"")
            .args([
                flags::string("path", "file or folder with manifests, or - for standard input").short('f'),
                flags::string("source", "address of the source, such as the Git URL"),
                flags::string("revision", "revision of the source, as <branch|tag>@sha1:<commit>"),
                flags::string_array("annotations", "annotations of the artifact, as <key>=<value>").short('a'),
                flags::string("output", "print the digest as json or yaml").short('o'),
                flags::switch("debug", "accepted for compatibility"),
                flags::switch("reproducible", "leave the time out, so that equal content has an equal digest"),
                flags::switch("resolve-symlinks", "put what symbolic links point at into the artifact"),
                insecure_flag(),
            ])
            .args(registry_flags())
            .args(ignore_flags()),
    )
}

pub fn pull_command() -> Command {
    flags::group("pull", "Pull artifacts").subcommand(
        flags::leaf("artifact", "Pull an artifact and unpack it")
            .after_help("  # Into a folder\n  sluice pull artifact oci://ghcr.io/org/config/app:v1 --output ./app")
            .args([flags::string("output", "folder to unpack to").short('o'), insecure_flag()])
            .args(registry_flags()),
    )
}

pub fn list_command() -> Command {
    flags::group("list", "List artifacts").subcommand(
        flags::leaf("artifacts", "List the artifacts of a repository")
            .after_help("  # Versions inside a range\n  sluice list artifacts oci://ghcr.io/org/config/app --filter-semver='1.x'")
            .args([
                flags::string("filter-semver", "only tags inside this range of versions"),
                flags::string("filter-regex", "only tags that match this regular expression"),
                insecure_flag(),
                flags::beyond(flags::string("output", "print as json or yaml").short('o')),
            ])
            .args(registry_flags()),
    )
}

pub fn tag_command() -> Command {
    flags::group("tag", "Tag artifacts").subcommand(
        flags::leaf("artifact", "Give an artifact more tags")
            .after_help("  # Promote a version\n  sluice tag artifact oci://ghcr.io/org/config/app:v1.0.0 --tag production")
            .args([flags::strings("tag", "tag to give"), flags::beyond(insecure_flag())])
            .args(registry_flags()),
    )
}

pub fn diff_command() -> Command {
    flags::leaf("artifact", "Compare an artifact in a registry with local files")
        .after_help("  # Has anything changed since the last push?\n  sluice diff artifact oci://ghcr.io/org/config/app:v1 --path=./deploy")
        .args([flags::string("path", "file or folder with manifests"), insecure_flag()])
        .args(registry_flags())
        .args(ignore_flags())
}

fn ignores(matches: &ArgMatches) -> Vec<String> {
    [matches.texts("ignore-paths"), matches.texts("add-ignore-paths")].concat()
}

/// Packs what `--path` names.
fn package(matches: &ArgMatches) -> Result<Package, Failure> {
    let path = matches.text("path");
    if path.is_empty() {
        return Err(Failure::new(format!("invalid path {path:?}")));
    }
    Package::open(path, matches.is_set("resolve-symlinks"))
}

pub async fn build(_context: &Context, matches: &ArgMatches) -> Outcome {
    let package = package(matches).map_err(|failure| match failure.message.split_once(": stat ") {
        Some((message, _)) => Failure::new(message),
        None => failure,
    })?;
    log::action(format!("building artifact from {}", package.shown));
    let target = matches.text("output");
    let failed = |failure: Failure| failure.context("building artifact failed, error");
    let bytes = package.pack(&ignores(matches)).map_err(failed)?;
    write_file(target, &bytes).map_err(failed)?;
    log::success(format!("artifact created at {target}"));
    Ok(())
}

/// Writes a file whole or not at all.
fn write_file(target: &str, bytes: &[u8]) -> Outcome {
    use std::io::Write as _;
    let failed = |error: &std::io::Error| Failure::new(format!("cannot write {target:?}: {}", files::reason(error)));
    let path = Path::new(target);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| failed(&error))?;
    file.write_all(bytes).map_err(|error| failed(&error))?;
    set_mode(file.as_file()).map_err(|error| failed(&error))?;
    file.persist(path).map_err(|error| failed(&error.error))?;
    Ok(())
}

/// Readable by the group, as Flux leaves it.
fn set_mode(file: &std::fs::File) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(std::fs::Permissions::from_mode(0o640))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

/// Where a push ended up.
#[derive(Serialize)]
struct Pushed {
    url: String,
    repository: String,
    tag: String,
    digest: String,
}

pub async fn push(context: &Context, matches: &ArgMatches) -> Outcome {
    let url = matches.name("artifact URL")?;
    for flag in ["source", "revision"] {
        if matches.text(flag).is_empty() {
            return Err(Failure::new(format!("--{flag} is required")));
        }
    }
    if matches.text("path").is_empty() {
        return Err(Failure::new("invalid path \"\""));
    }
    let address = registry::parse(&url)?;
    let package = package(matches)?;
    let mut annotations = BTreeMap::new();
    for annotation in matches.texts("annotations") {
        match annotation.split('=').collect::<Vec<_>>().as_slice() {
            [key, value] => annotations.insert((*key).to_owned(), (*value).to_owned()),
            _ => return Err(Failure::new(format!("invalid annotation {annotation}, must be in the format key=value"))),
        };
    }
    let remote = Remote::open(context, matches, address).await?;
    let format = matches.text("output");
    let shown = remote.shown();
    if format.is_empty() {
        log::action(format!("pushing artifact to {shown}"));
    }
    let created = if matches.is_set("reproducible") { jiff::Timestamp::UNIX_EPOCH } else { jiff::Timestamp::now() };
    let created = annotations.get(oci::annotation::CREATED).cloned().unwrap_or_else(|| created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    annotations.insert(oci::annotation::CREATED.to_owned(), created.clone());
    for (key, flag) in [(oci::annotation::SOURCE, "source"), (oci::annotation::REVISION, "revision")] {
        annotations.entry(key.to_owned()).or_insert_with(|| matches.text(flag).to_owned());
    }
    let bytes = package.pack(&ignores(matches)).map_err(|failure| failure.context("pushing artifact failed: error creating layer"))?;
    let digest = remote.push(context, bytes, annotations, &created).await.map_err(|failure| failure.context("pushing artifact failed"))?;
    let pushed = Pushed {
        url: format!("oci://{}@{digest}", remote.repository()),
        repository: remote.repository(),
        tag: remote.tag().to_owned(),
        digest: digest.clone(),
    };
    match format {
        "json" => output::print(&output::json(&pushed)?),
        "yaml" => output::print(&output::yaml(&pushed)?),
        _ => {
            log::success(format!("artifact successfully pushed to {}@{digest}", remote.repository()));
            Ok(())
        }
    }
}

pub async fn pull(context: &Context, matches: &ArgMatches) -> Outcome {
    let url = matches.name("artifact URL")?;
    let target = matches.text("output");
    if target.is_empty() {
        return Err(Failure::new("output path cannot be empty"));
    }
    match std::fs::metadata(target) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(Failure::new(format!("invalid output path {target:?}: not a directory"))),
        Err(error) => return Err(Failure::new(format!("invalid output path {target:?}: stat {target}: {}", files::reason(&error)))),
    }
    let remote = Remote::open(context, matches, registry::parse(&url)?).await?;
    log::action(format!("pulling artifact from {}", remote.shown()));
    let (manifest, digest) = remote.manifest(context).await?;
    let layer = manifest.layers.first().ok_or_else(|| Failure::new("no layers found in artifact"))?;
    let bytes = remote.blob(context, layer).await?;
    pack::unpack(&bytes, Path::new(target))?;
    for (word, key) in [("source", oci::annotation::SOURCE), ("revision", oci::annotation::REVISION)] {
        if let Some(value) = annotation(&manifest, key) {
            log::success(format!("{word} {value}"));
        }
    }
    log::success(format!("digest {}@{digest}", remote.repository()));
    log::success(format!("artifact content extracted to {target}"));
    Ok(())
}

fn annotation<'a>(manifest: &'a Manifest, key: &str) -> Option<&'a str> {
    manifest.annotations.as_ref()?.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

pub async fn list(context: &Context, matches: &ArgMatches) -> Outcome {
    #[derive(Serialize)]
    struct Entry {
        artifact: String,
        digest: String,
        source: String,
        revision: String,
    }
    let url = matches.name("artifact repository URL")?;
    let address = registry::parse(&url)?;
    let remote = Remote::open(context, matches, address).await?;
    let mut tags = remote.tags(context).await.map_err(|failure| failure.context("listing tags failed"))?;
    let range = matches.text("filter-semver");
    let range = match range {
        "" => None,
        text => Some(Constraint::parse(text).map_err(|error| Failure::new(format!("semver '{text}' parse error: {error}")))?),
    };
    let pattern = match matches.text("filter-regex") {
        "" => None,
        text => Some(Regex::new(text).map_err(|error| Failure::new(format!("regex '{text}' parse error: {error}")))?),
    };
    tags.sort_by(|a, b| b.cmp(a));
    // Signatures and their like lie beside the artifacts that they are about.
    tags.retain(|tag| ![".att", ".sbom", ".sig"].iter().any(|suffix| tag.ends_with(suffix)));
    tags.retain(|tag| range.as_ref().is_none_or(|range| Version::parse_tag(tag).is_ok_and(|version| range.matches(&version))));
    tags.retain(|tag| pattern.as_ref().is_none_or(|pattern| pattern.is_match(tag)));
    let mut entries = Vec::with_capacity(tags.len());
    for tag in tags {
        let tagged = remote.with_tag(&tag);
        let (manifest, digest) = tagged.manifest(context).await.map_err(|failure| failure.context("fetching manifest failed"))?;
        let text = |key| annotation(&manifest, key).unwrap_or("").to_owned();
        entries.push(Entry {
            artifact: format!("{}:{tag}", remote.shown()),
            digest,
            source: text(oci::annotation::SOURCE),
            revision: text(oci::annotation::REVISION),
        });
    }
    match matches.text("output") {
        "json" => output::print(&output::json(&entries)?),
        "yaml" => output::print(&output::yaml(&entries)?),
        _ => {
            let header = ["artifact", "digest", "source", "revision"].map(str::to_owned);
            let rows: Vec<Vec<String>> = entries.into_iter().map(|e| vec![e.artifact, e.digest, e.source, e.revision]).collect();
            output::print(&table::render(&header, &rows))
        }
    }
}

pub async fn tag(context: &Context, matches: &ArgMatches) -> Outcome {
    let url = matches.name("artifact name")?;
    let tags = matches.texts("tag");
    if tags.is_empty() {
        return Err(Failure::new("--tag is required"));
    }
    let remote = Remote::open(context, matches, registry::parse(&url)?).await?;
    log::action("tagging artifact");
    for tag in tags {
        remote.tag_as(context, &tag).await.map_err(|failure| failure.context("tagging artifact failed"))?;
        log::success(format!("artifact tagged as {}:{tag}", remote.repository()));
    }
    Ok(())
}

pub async fn diff(context: &Context, matches: &ArgMatches) -> Outcome {
    let url = matches.name("artifact URL")?;
    if matches.text("path").is_empty() {
        return Err(Failure::new("invalid path \"\""));
    }
    let address = registry::parse(&url)?;
    let package = package(matches).map_err(|failure| match failure.message.split_once(": stat ") {
        Some((message, _)) => Failure::new(message),
        None => failure,
    })?;
    let remote = Remote::open(context, matches, address).await?;
    let local = package.pack(&ignores(matches)).map_err(|failure| failure.context("building artifact failed"))?;
    let (manifest, _) = remote.manifest(context).await?;
    let layer = manifest.layers.first().ok_or_else(|| Failure::new("no layers found in artifact"))?;
    let same = if types::Digest::sha256(&local).to_string() == layer.digest {
        true
    } else {
        // Another tool may have compressed the same files otherwise: what counts is inside.
        pack::same_content(&local, &remote.blob(context, layer).await?)
    };
    if !same {
        return Err(Failure::new("the remote artifact contents differs from the local one"));
    }
    log::success("no changes detected");
    Ok(())
}
