//! `sluice up`: the main job in one command.
//!
//! ```text
//! directory --snapshot--> commit --loopback Git--+
//! URL -------------------------------------------+--> GitRepository -> artifact -> Kustomization -> objects
//!                                                         (the same way as in any cluster: no side door)
//! embedded API server (or --kubeconfig) + the four controllers, in one process
//! feed (watches) -> view (pure, a tree) -> screen, list of objects, exit code
//! ```

mod feed;
mod install;
mod kinds;
mod objects;
mod screen;
mod server;
mod snapshot;
mod source;
mod view;

pub use server::interrupted;

use crate::shell::{Context, Failure, Flags, Outcome, flags};
use clap::{ArgMatches, Command};
use feed::Feed;
use screen::Screen;
use source::{Source, Target};
use std::{path::PathBuf, time::Duration};
use tokio::{task::JoinSet, time::Instant};
use types::GoDuration;
use view::View;

pub fn command() -> Command {
    flags::leaf("up", "Reconcile a directory or Git repository, with no cluster at all")
        .long_about(
            "Reconcile a directory or Git repository, with no cluster at all.

Starts an embedded Kubernetes API server, source-, artifact-, kustomize- and helm-controller in this process, makes a
GitRepository and a Kustomization of what you name (up PATH|URL), shows as a tree what is fetched, built, applied and
waited for (source, Kustomization or HelmRelease, objects), and keeps reconciling until Ctrl-C: a saved file or a new commit is applied within a second.
With --kubeconfig or --context a real cluster takes the place of the embedded API server.",
        )
        .after_help(
            "  # A directory; edit a file and watch it being applied
  sluice up examples/podinfo

  # A Git repository, from one of its folders
  sluice up https://github.com/stefanprodan/podinfo --path ./kustomize

  # In CI: 0 when everything is ready, 1 with the reasons when it is not in time
  sluice up . --path clusters/staging --exit-when-ready --timeout 2m

  # On a real cluster
  sluice up . --kubeconfig ~/.kube/config --context kind-dev",
        )
        .args([
            flags::string("path", "the folder to build, from the root of the repository").default_value("./"),
            flags::string("branch", "the branch of a URL (default: the repository's own default branch)")
                .conflicts_with_all(["tag", "tag-semver"]),
            flags::string("tag", "the tag of a URL").conflicts_with("tag-semver"),
            flags::string("tag-semver", "a range of tags of a URL, the newest of which is taken"),
            flags::string("secret-ref", "a Secret in the namespace with the credentials of a URL"),
            flags::duration("poll", "how often a URL is asked for new commits (default 500ms on this machine, 15s elsewhere)"),
            flags::string("name", "the name of the source and of the root Kustomization").default_value("flux-system"),
            flags::switch("exit-when-ready", "leave when everything is ready, or with an error when it is not within --timeout"),
            flags::string("write-kubeconfig", "where the kubeconfig of the embedded API server goes (default: in the data directory)"),
            flags::string("data-dir", "keep objects, artifacts and the Git cache in this folder and take them up next time"),
            flags::duration("ready-after", "how long a simulated workload takes to become ready").default_value("1s"),
            flags::one_of(
                "guard-rails",
                "string",
                "guard rails mode",
                &["enforce", "warn", "off"],
                "what holds back dangerous changes: enforce, warn or off",
            )
            .default_value("enforce"),
            flags::switch("force", "run even where other controllers seem to reconcile the same objects"),
            flags::one_of("output", "string", "output format", &["table", "tree", "json", "yaml"], "the form of the final list of objects")
                .short('o')
                .default_value("table"),
            flags::switch("quiet", "no progress, only the result").short('q'),
        ])
}

pub async fn run(context: &Context, _path: &[String], matches: &ArgMatches) -> Outcome {
    reconcile(UpArgs::read(context, matches)?).await
}

/// What the command line says.
#[derive(Debug)]
pub struct UpArgs {
    target: String,
    path: String,
    branch: String,
    tag: String,
    semver: String,
    secret_ref: String,
    poll: Option<GoDuration>,
    namespace: String,
    name: String,
    exit_when_ready: bool,
    timeout: GoDuration,
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
    write_kubeconfig: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    ready_after: GoDuration,
    guard_rails: String,
    force: bool,
    output: String,
    quiet: bool,
}

impl UpArgs {
    fn read(context: &Context, matches: &ArgMatches) -> Result<Self, Failure> {
        let arguments = matches.arguments();
        let [target] = arguments.as_slice() else {
            return Err(Failure::new(format!("name one directory or Git URL: sluice up PATH|URL (got {} arguments)", arguments.len())));
        };
        let given = |name: &str| Some(matches.text(name).to_owned()).filter(|text| !text.is_empty());
        Ok(Self {
            target: target.clone(),
            path: matches.text("path").to_owned(),
            branch: matches.text("branch").to_owned(),
            tag: matches.text("tag").to_owned(),
            semver: matches.text("tag-semver").to_owned(),
            secret_ref: matches.text("secret-ref").to_owned(),
            poll: matches.length("poll"),
            namespace: context.namespace.clone(),
            name: matches.text("name").to_owned(),
            exit_when_ready: matches.is_set("exit-when-ready"),
            timeout: context.timeout,
            kubeconfig: given("kubeconfig").map(PathBuf::from),
            context: given("context"),
            write_kubeconfig: given("write-kubeconfig").map(PathBuf::from),
            data_dir: given("data-dir").map(PathBuf::from),
            ready_after: matches.length("ready-after").unwrap_or(GoDuration::from_secs(1)),
            guard_rails: matches.text("guard-rails").to_owned(),
            force: matches.is_set("force"),
            output: matches.text("output").to_owned(),
            quiet: matches.is_set("quiet"),
        })
    }
}

/// Why `up` cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Target(String),
    #[error("cannot prepare the data directory {path:?}")]
    Data { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Snapshot(#[from] snapshot::Error),
    #[error("cannot keep the directory as Git commits")]
    Git(#[source] git::Error),
    #[error("cannot serve the directory on loopback")]
    Serve(#[source] std::io::Error),
    #[error("cannot start the embedded API server: {0}")]
    Server(String),
    #[error("cannot use the kubeconfig: {0}")]
    Kubeconfig(String),
    #[error("the API server refused what {what} needs")]
    Api { what: &'static str, source: cluster::Error },
    #[error(
        "{0} runs in this cluster already and would reconcile the same objects; stop it first, or pass --force if you know that it does not"
    )]
    Occupied(String),
    #[error("{0} stopped: {1}")]
    Controller(&'static str, String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from_error(&error)
    }
}

/// Runs until Ctrl-C, or with `--exit-when-ready` until everything is ready or the time is over.
async fn reconcile(args: UpArgs) -> Outcome {
    let deadline = Instant::now() + args.timeout.to_std();
    let mut screen = Screen::new(args.quiet);
    let data = server::DataDir::open(args.data_dir.as_deref())?;
    let target = Target::parse(&args.target)?;
    let cluster = server::connect(&args, &data, &screen).await?;
    if cluster.is_external() && !args.force {
        server::refuse_second_owner(&cluster.client).await?;
    }
    let mut tasks = JoinSet::new();
    let source = Source::open(target, &args, &data, &mut tasks).await?;
    let api = |what| move |source| Error::Api { what, source };
    let made = install::definitions(&cluster.client).await.map_err(api("the custom resource definitions"))?;
    if made > 0 {
        screen.say("✔", &format!("{made} custom resource definitions installed"));
    }
    let poll = source.poll.to_string();
    let root = install::Root {
        namespace: &args.namespace,
        name: &args.name,
        url: &source.url,
        reference: source.reference.clone(),
        path: &args.path,
        poll: &poll,
        interval: "10m",
        retry_interval: "10s",
        secret: Some(args.secret_ref.as_str()).filter(|name| !name.is_empty()),
    };
    // Before the controllers: a kept source still names the address of the last run.
    install::root(&cluster.client, &root).await.map_err(api("the root source and Kustomization"))?;
    let mut controllers = server::controllers(&args, &data, &cluster)?;
    screen.say("►", &format!("reconciling {} ({})", source.shown, args.path));
    source.follow(cluster.client.clone(), args.namespace.clone(), args.name.clone(), &mut tasks);
    let feed = Feed::start(&cluster.client, &mut tasks);

    let names = cluster::Discovery::new(cluster.client.clone());
    let mut interrupt = std::pin::pin!(server::interrupted());
    let mut announced = None;
    let mut unfinished = Default::default();
    let mut look_again = tokio::time::interval(Duration::from_millis(400));
    look_again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let outcome = loop {
        let snapshot = feed.snapshot();
        let view = View::of(&snapshot, &unfinished);
        screen.show(&view);
        let revision = snapshot.get(&source::id(&args)).and_then(view::artifact_revision).map(str::to_owned);
        if view.is_ready() && revision.is_some() && revision != announced {
            // A Kustomization applied a moment ago may have made others that the feed has not seen yet: look once more.
            let inventories = objects::expected_kustomizations(&snapshot);
            if inventories.iter().all(|id| snapshot.contains_key(id)) {
                announced = revision;
                screen.show(&View::of(&snapshot, &Default::default()));
                screen.rest();
                // A closed pipe is the reader's choice, not our failure.
                let _ = objects::print(&snapshot, &objects::all(&cluster.client, &names, &snapshot).await, &args.output);
                if args.exit_when_ready {
                    break Ok(());
                }
                cluster.explain(&screen);
                screen.say("◎", &format!("watching {}; Ctrl-C stops", source.shown));
            }
        }
        tokio::select! {
            () = feed.changed() => {}
            _ = look_again.tick() => unfinished = objects::unfinished(&cluster.client, &names, &snapshot, &view).await,
            () = &mut interrupt => {
                screen.rest();
                break if args.exit_when_ready { Err(Failure::with_code(130, "interrupted")) } else { Ok(()) };
            }
            Some(ended) = controllers.tasks.join_next() => {
                let (name, why) = ended.unwrap_or_else(|e| ("a controller", e.to_string()));
                break Err(Error::Controller(name, why).into());
            }
            () = tokio::time::sleep_until(deadline), if args.exit_when_ready => {
                screen.rest();
                break Err(Failure::new(not_ready(&view, args.timeout)));
            }
        }
    };
    tasks.shutdown().await;
    controllers.stop().await;
    cluster.stop().await;
    outcome
}

/// What is missing, one line each.
fn not_ready(view: &View, timeout: GoDuration) -> String {
    let mut text = format!("not everything is ready after {timeout}:");
    if view.rows.is_empty() {
        text.push_str("\n  no object was seen: is the API server reachable?");
    }
    for row in view.rows.iter().filter(|row| !row.is_done()) {
        let indent = if row.applied { "    " } else { "  " };
        text.push_str(&format!("\n{indent}{}  {}", row.id, row.text));
    }
    text
}
