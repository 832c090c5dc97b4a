//! `sluice up`: the main job in one command.
//!
//! ```text
//! directory --snapshot--> commit --loopback Git--+
//! URL -------------------------------------------+--> GitRepository -> artifact -> Kustomization -> objects
//!                                                         (the same way as in any cluster: no side door)
//! embedded API server (or --kubeconfig) + source-controller + kustomize-controller, in one process
//! feed (watches) -> view (pure) -> screen, table, exit code
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

use clap::Args;
use feed::Feed;
use screen::Screen;
use source::{Source, Target};
use std::{path::PathBuf, process::ExitCode, time::Duration};
use tokio::{task::JoinSet, time::Instant};
use types::GoDuration;
use view::View;

/// Reconcile a directory or Git repository, with no cluster at all.
///
/// Starts an embedded Kubernetes API server, source-controller and kustomize-controller in this process, makes a
/// GitRepository and a Kustomization of what you name, shows what is fetched, built, applied and waited for, and keeps
/// reconciling until Ctrl-C: a saved file or a new commit is applied within a second.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  # A directory; edit a file and watch it being applied
  sluice up examples/podinfo

  # A Git repository, from one of its folders
  sluice up https://github.com/stefanprodan/podinfo --path ./kustomize

  # In CI: 0 when everything is ready, 1 with the reasons when it is not in time
  sluice up . --path clusters/staging --exit-when-ready --timeout 2m

  # On a real cluster
  sluice up . --kubeconfig ~/.kube/config --context kind-dev")]
pub struct UpArgs {
    /// A directory, or the URL of a Git repository
    #[arg(value_name = "PATH|URL")]
    target: String,

    /// The folder to build, from the root of the repository
    #[arg(long, default_value = "./")]
    path: String,

    /// The branch of a URL [default: the repository's own default branch]
    #[arg(long, conflicts_with_all = ["tag", "semver"])]
    branch: Option<String>,

    /// The tag of a URL
    #[arg(long, conflicts_with = "semver")]
    tag: Option<String>,

    /// A range of tags of a URL, the newest of which is taken
    #[arg(long)]
    semver: Option<String>,

    /// A Secret in the namespace with the credentials of a URL
    #[arg(long, value_name = "NAME")]
    secret_ref: Option<String>,

    /// How often a URL is asked for new commits [default: 500ms on this machine, 15s elsewhere]
    #[arg(long, value_name = "DURATION")]
    poll: Option<GoDuration>,

    /// The namespace of the source and of the root Kustomization
    #[arg(long, short, default_value = "flux-system")]
    namespace: String,

    /// The name of the source and of the root Kustomization
    #[arg(long, default_value = "flux-system")]
    name: String,

    /// Leave when everything is ready, or with an error when it is not within --timeout
    #[arg(long)]
    exit_when_ready: bool,

    /// How long to wait with --exit-when-ready
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    timeout: GoDuration,

    /// Use the cluster of this kubeconfig instead of the embedded API server
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig; alone, it means the default kubeconfig
    #[arg(long)]
    context: Option<String>,

    /// Where the kubeconfig of the embedded API server goes [default: in the data directory]
    #[arg(long, value_name = "FILE")]
    write_kubeconfig: Option<PathBuf>,

    /// Keep the state here (objects, artifacts, Git cache) and take it up next time [default: a folder removed at the end]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// How long a simulated workload takes to become ready
    #[arg(long, default_value = "1s", value_name = "DURATION")]
    ready_after: GoDuration,

    /// What holds back dangerous changes: enforce, warn or off
    #[arg(long, default_value = "enforce", value_name = "MODE", value_parser = ["enforce", "warn", "off"])]
    guard_rails: String,

    /// Run even where other controllers seem to reconcile the same objects
    #[arg(long)]
    force: bool,

    /// The form of the final table
    #[arg(long, short, value_parser = ["table", "json", "yaml"], default_value = "table")]
    output: String,

    /// No progress, only the result
    #[arg(long, short)]
    quiet: bool,
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

/// Runs until Ctrl-C, or with `--exit-when-ready` until everything is ready or the time is over.
pub async fn run(args: UpArgs) -> Result<ExitCode, Error> {
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
    let mut controllers = server::controllers(&args, &data, &cluster)?;
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
        secret: args.secret_ref.as_deref(),
    };
    install::root(&cluster.client, &root).await.map_err(api("the root source and Kustomization"))?;
    screen.say("►", &format!("reconciling {} ({})", source.shown, args.path));
    source.follow(cluster.client.clone(), args.namespace.clone(), args.name.clone(), &mut tasks);
    let feed = Feed::start(&cluster.client, &mut tasks);

    let mut interrupt = std::pin::pin!(server::interrupted());
    let mut announced = None;
    let mut waiting = Default::default();
    let mut look_again = tokio::time::interval(Duration::from_millis(400));
    look_again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let code = loop {
        let snapshot = feed.snapshot();
        let view = View::of(&snapshot, &waiting);
        screen.show(&view);
        let revision = snapshot.get(&source::id(&args)).and_then(view::artifact_revision).map(str::to_owned);
        if view.is_ready() && revision.is_some() && revision != announced {
            // A Kustomization applied a moment ago may have made others that the feed has not seen yet: look once more.
            let inventories = objects::expected_kustomizations(&snapshot);
            if inventories.iter().all(|id| snapshot.contains_key(id)) {
                announced = revision;
                screen.rest();
                objects::print(&cluster.client, &snapshot, &args.output).await.map_err(api("the final table"))?;
                if args.exit_when_ready {
                    break ExitCode::SUCCESS;
                }
                cluster.explain(&screen);
                screen.say("◎", &format!("watching {}; Ctrl-C stops", source.shown));
            }
        }
        tokio::select! {
            () = feed.changed() => {}
            _ = look_again.tick() => waiting = objects::waiting(&cluster.client, &snapshot).await,
            () = &mut interrupt => {
                screen.rest();
                break if args.exit_when_ready { ExitCode::from(130) } else { ExitCode::SUCCESS };
            }
            Some(ended) = controllers.tasks.join_next() => {
                let (name, why) = ended.unwrap_or_else(|e| ("a controller", e.to_string()));
                return Err(Error::Controller(name, why));
            }
            () = tokio::time::sleep_until(deadline), if args.exit_when_ready => {
                screen.rest();
                report_failure(&view, &args);
                break ExitCode::FAILURE;
            }
        }
    };
    tasks.shutdown().await;
    controllers.stop().await;
    cluster.stop().await;
    Ok(code)
}

fn report_failure(view: &View, args: &UpArgs) {
    eprintln!("✗ not everything is ready after {}:", args.timeout);
    if view.rows.is_empty() {
        eprintln!("  no object was seen: is the API server reachable?");
    }
    for row in view.not_ready() {
        eprintln!("  {}  {}", row.id, row.text);
    }
}
