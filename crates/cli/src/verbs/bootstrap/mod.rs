//! `bootstrap git`: the controllers come from a repository, and reconcile it from then on, themselves included.
//!
//! ```text
//! flags -> components::render ─┐
//! the branch as it is ─────────┴─> sync::Wanted (pure) ─> files that differ ─> commit, push
//!                                                      └> objects ─> first installation, Secret, sync ─> wait until all is well
//! ```

mod repository;
mod sync;

use crate::{
    builtin, components, kinds, objects, readiness,
    shell::{Context, Failure, Flags, Outcome, cluster::POLL_EVERY, flags, log, output},
};
use clap::{ArgMatches, Command};
use repository::{Entries, Repository};
use serde_json::{Value, json};
use std::sync::Arc;
use sync::Wanted;

pub fn command() -> Command {
    flags::group("bootstrap", "Deploy the controllers from a Git repository, the GitOps way").subcommand(
        flags::leaf("git", "Deploy the controllers from any Git repository")
            .after_help(
                "  # What would be committed and applied\n  sluice bootstrap git --url=https://example.com/fleet --path=clusters/dev --plan\n\n  # With a token\n  GIT_PASSWORD=<token> sluice bootstrap git --url=https://example.com/fleet --path=clusters/dev\n\n  # Over SSH\n  sluice bootstrap git --url=ssh://git@example.com/fleet --path=clusters/dev --private-key-file=key --known-hosts-file=known_hosts",
            )
            .args(components::flags::all())
            .args([
                flags::string("url", "address of the repository"),
                flags::string("branch", "branch to commit to and reconcile").default_value("main"),
                flags::string("path", "folder of this cluster in the repository"),
                flags::duration("interval", "how often the repository is asked for new commits").default_value("1m0s"),
                flags::string("username", "name for basic authentication").short('u'),
                flags::string("password", "password or token (also GIT_PASSWORD); of the private key for ssh").short('p'),
                flags::switch("with-bearer-token", "the password is a bearer token"),
                flags::switch("token-auth", "keep the token for the controllers (always done with https)"),
                flags::switch("allow-insecure-http", "let the password be sent over http"),
                flags::string("secret-name", "Secret that the controllers read the repository with").default_value("flux-system"),
                flags::string("ca-file", "certificate authority of the server"),
                flags::string("private-key-file", "private key for ssh"),
                flags::beyond(flags::string("known-hosts-file", "keys of the ssh server (default ~/.ssh/known_hosts)")),
                flags::string("author-name", "author of the commits").default_value("Flux"),
                flags::string("author-email", "email of the author"),
                flags::string("commit-message-appendix", "text to add to commit messages, such as [ci skip]"),
                flags::switch("recurse-submodules", "the repository's submodules are part of it"),
                flags::strings("sparse-checkout", "folders that the controllers read; all when not given"),
                flags::switch("silent", "ask nothing").short('s'),
                flags::switch("force", "also over another installation, or a path of another cluster"),
                flags::beyond(flags::switch("plan", "only show what would change in Git and in the cluster")),
            ]),
    )
}

pub async fn run(context: &Context, path: &[String], matches: &ArgMatches) -> Outcome {
    if path.get(1).map(String::as_str) != Some("git") {
        return Err(Failure::new("choose what to bootstrap from, for example 'bootstrap git'"));
    }
    let choices = components::flags::choices(context, matches)?;
    let (repository, entries) = Repository::new(context, matches)?;
    let force = matches.is_set("force");
    owner(context, force).await?;

    log::action(format!("reading branch {:?} of {}", repository.branch, repository.url));
    let tree = repository.read().await.map_err(|failure| failure.context("cannot read the repository"))?;
    let secret = matches.text("secret-name").to_owned();
    let known = context.find_resource(&builtin::secrets(), &context.namespace, &secret).await?.is_some();
    let wanted = Arc::new(Wanted {
        namespace: context.namespace.clone(),
        path: matches.text("path").trim_start_matches("./").trim_matches('/').to_owned(),
        url: repository.url.clone(),
        branch: repository.branch.clone(),
        interval: matches.length("interval").unwrap_or(types::GoDuration::from_secs(60)).to_string(),
        secret: (known || !entries.is_empty()).then(|| secret.clone()),
        recurse_submodules: matches.is_set("recurse-submodules"),
        sparse_checkout: matches.texts("sparse-checkout"),
        cluster: identity(context).await?,
        components: components::render(&choices)?.text,
    });
    if let Some(other) = wanted.other_owner(&tree).filter(|_| !force) {
        return Err(Failure::new(format!(
            "the path {:?} of this repository belongs to another cluster ({other}): two clusters that share a path undo each other's upgrades; choose another --path, or take it over with --force",
            wanted.spec_path()
        )));
    }
    let installed = sync_of(context).await?;
    if let Some(path) = installed.as_ref().map(|one| objects::text(one, &["spec", "path"])).filter(|path| *path != wanted.spec_path()) {
        return Err(Failure::new(format!(
            "sync path configuration ('{}') would overwrite path ('{path}') of existing Kustomization",
            wanted.spec_path()
        )));
    }
    let must_install = installed.as_ref().is_none_or(|one| objects::text(one, &["status", "lastAppliedRevision"]).is_empty());
    let install = if must_install { wanted.installed(&tree)? } else { Vec::new() };
    if matches.is_set("plan") {
        return plan(context, &wanted, &tree, &install, &secret, &entries).await;
    }

    let message = format!("Add Flux {} component manifests", choices.version);
    let edit = wanted.clone();
    commit(&repository, &message, "component manifests", move |tree| edit.component_files(tree)).await?;
    if must_install {
        log::action(format!("installing components in {} namespace", context.namespace));
        components::apply(context, &install).await.map_err(|failure| failure.context("install failed"))?;
    }
    source_secret(context, &secret, &entries).await?;
    let edit = wanted.clone();
    commit(&repository, "Add Flux sync manifests", "sync manifests", move |tree| edit.sync_files(tree)).await?;
    log::action("applying sync manifests");
    components::apply(context, &wanted.objects()).await?;
    log::waiting("waiting for the repository to be reconciled");
    settled(context, &repository).await?;
    components::verify(context, &choices.components).await?;
    log::success("all components are healthy");
    Ok(())
}

/// Another tool may look after the definitions.
async fn owner(context: &Context, force: bool) -> Outcome {
    let Some(definition) = context.find_resource(&builtin::definitions(), "", &kinds::GIT_REPOSITORY.full_name()).await? else {
        return Ok(());
    };
    match objects::text(&definition, &["metadata", "labels", "app.kubernetes.io/managed-by"]) {
        "" | "flux" => Ok(()),
        _ if force => Ok(()),
        other => Err(Failure::new(format!(
            "the definitions in this cluster are managed by {other}: bootstrap would take them over; use --force if that is meant"
        ))),
    }
}

/// The uid of kube-system is what people take for the identity of a cluster.
async fn identity(context: &Context) -> Result<String, Failure> {
    let namespace = context.get_resource(&builtin::namespaces(), "", "kube-system").await?;
    Ok(objects::text(&namespace, &["metadata", "uid"]).to_owned())
}

async fn sync_of(context: &Context) -> Result<Option<Value>, Failure> {
    if context.find_resource(&builtin::definitions(), "", &kinds::KUSTOMIZATION.full_name()).await?.is_none() {
        return Ok(None);
    }
    context.find(&kinds::KUSTOMIZATION, &context.namespace, &context.namespace).await
}

async fn commit(
    repository: &Repository,
    message: &str,
    what: &str,
    edit: impl Fn(&dyn tree::Tree) -> Vec<sync::File> + Send + Sync + 'static,
) -> Outcome {
    match repository.commit(message, edit).await.map_err(|failure| failure.context(&format!("cannot commit the {what}")))? {
        Some(pushed) => log::success(format!("committed {what} to {:?} ({:?})", repository.branch, pushed.commit)),
        None => log::success(format!("{what} are up to date")),
    }
    Ok(())
}

/// A Secret that is there and for which nothing was given stays as it is.
async fn source_secret(context: &Context, name: &str, entries: &Entries) -> Outcome {
    if entries.is_empty() {
        log::success("source secret up to date");
        return Ok(());
    }
    let data: serde_json::Map<String, Value> = entries.iter().map(|(key, value)| ((*key).to_owned(), value.as_str().into())).collect();
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": context.namespace}, "stringData": data});
    components::apply(context, &[secret]).await
}

/// Waits until the cluster has applied the newest commit of the branch.
async fn settled(context: &Context, repository: &Repository) -> Outcome {
    let deadline = context.deadline();
    let head = loop {
        let source = context.get(&kinds::GIT_REPOSITORY, &context.namespace, &context.namespace).await?;
        if readiness::ready(&source)? {
            break objects::text(&source, &["status", "artifact", "revision"]).to_owned();
        }
        late(context, deadline, &source, "GitRepository")?;
        tokio::time::sleep(POLL_EVERY).await;
    };
    log::success(format!("{} is fetched: {head}", repository.url));
    loop {
        let sync = context.get(&kinds::KUSTOMIZATION, &context.namespace, &context.namespace).await?;
        if readiness::ready(&sync)? && objects::text(&sync, &["status", "lastAppliedRevision"]) == head {
            log::success(format!("reconciled {head}"));
            return Ok(());
        }
        late(context, deadline, &sync, "Kustomization")?;
        tokio::time::sleep(POLL_EVERY).await;
    }
}

fn late(context: &Context, deadline: tokio::time::Instant, object: &Value, kind: &str) -> Outcome {
    if tokio::time::Instant::now() + POLL_EVERY <= deadline {
        return Ok(());
    }
    let why = objects::condition(object, "Ready").map_or("no controller has looked at it", |ready| objects::text(ready, &["message"]));
    let name = &context.namespace;
    Err(Failure::new(format!(
        "{kind}/{name}/{name} is not ready after {}: {why}; running bootstrap again goes on from here",
        context.timeout
    )))
}

/// Shows what would change, in Git and in the cluster.
async fn plan(context: &Context, wanted: &Wanted, tree: &dyn tree::Tree, install: &[Value], secret: &str, entries: &Entries) -> Outcome {
    let mut lines = Vec::new();
    for (path, content) in wanted.component_files(tree).into_iter().chain(wanted.sync_files(tree)) {
        let verb = if tree.read(&path).is_some() { "change" } else { "create" };
        lines.push(format!("git      {verb}  {path} ({} lines)\n", content.lines().count()));
    }
    if !entries.is_empty() {
        lines.push(format!("cluster  apply   Secret/{}/{secret}\n", context.namespace));
    }
    for object in install.iter().chain(&wanted.objects()) {
        lines.push(format!("cluster  apply   {}\n", objects::key(object)));
    }
    if install.is_empty() {
        lines.push("cluster  the controllers upgrade themselves from the commit\n".to_owned());
    }
    output::print(&lines.concat())
}
