//! What is reconciled: a directory whose saved states become commits served on loopback, or a Git URL.

use super::{Error, UpArgs, install, server::DataDir, snapshot, view::Id};
use cluster::Client;
use notify::Watcher;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinSet};
use types::GoDuration;

/// Editors save in several steps; a state counts once it has been still for this long.
const SETTLE: Duration = Duration::from_millis(60);

/// What the user named.
pub enum Target {
    Directory(PathBuf),
    Url(String),
}

impl Target {
    pub fn parse(text: &str) -> Result<Self, Error> {
        if let Some((scheme, _)) = text.split_once("://") {
            return match scheme {
                "http" | "https" | "ssh" => Ok(Self::Url(text.to_owned())),
                "file" => Self::directory(Path::new(&text["file://".len()..])),
                other => Err(Error::Target(format!(
                    "{text}: the scheme {other:?} is not supported; use http, https or ssh, or name a directory"
                ))),
            };
        }
        Self::directory(Path::new(text))
    }

    fn directory(path: &Path) -> Result<Self, Error> {
        match std::fs::metadata(path) {
            Ok(meta) if meta.is_dir() => Ok(Self::Directory(path.to_owned())),
            Ok(_) => Err(Error::Target(format!("{} is a file; name the directory that holds it", path.display()))),
            Err(error) => Err(Error::Target(format!("{}: {error}; name a directory or a Git URL", path.display()))),
        }
    }
}

/// The root source as the API server sees it, and how it is kept up to date.
pub struct Source {
    pub url: String,
    pub reference: Value,
    pub poll: GoDuration,
    /// What the user called it.
    pub shown: String,
    directory: Option<Directory>,
}

#[derive(Clone)]
struct Directory {
    path: PathBuf,
    repository: PathBuf,
}

/// The id of the root source.
pub fn id(args: &UpArgs) -> Id {
    Id { kind: "GitRepository".to_owned(), namespace: args.namespace.clone(), name: args.name.clone() }
}

impl Source {
    pub async fn open(target: Target, args: &UpArgs, data: &DataDir, tasks: &mut JoinSet<()>) -> Result<Self, Error> {
        match target {
            Target::Url(url) => {
                let reference = match (args.branch.as_str(), args.tag.as_str(), args.semver.as_str()) {
                    ("", "", "") => json!({"branch": default_branch(&url, data).await}),
                    ("", "", range) => json!({"semver": range}),
                    ("", tag, _) => json!({"tag": tag}),
                    (branch, ..) => json!({"branch": branch}),
                };
                let local = ["://127.", "://localhost", "://[::1]"].iter().any(|host| url.contains(host));
                let poll = args.poll.unwrap_or(GoDuration::from_nanos(if local { 500_000_000 } else { 15_000_000_000 }));
                Ok(Self { shown: url.clone(), url, reference, poll, directory: None })
            }
            Target::Directory(path) => {
                let directory = Directory { path: path.clone(), repository: data.path().join("git").join("directory.git") };
                directory.commit().await?;
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(Error::Serve)?;
                let address = listener.local_addr().map_err(Error::Serve)?;
                let root = data.path().join("git");
                tasks.spawn(git::serve::serve(listener, root, std::future::pending()));
                Ok(Self {
                    url: format!("http://{address}/directory.git"),
                    reference: json!({"branch": "main"}),
                    // Saved files ask for a reconcile themselves; this is only the safety net.
                    poll: GoDuration::from_secs(60),
                    shown: path.display().to_string(),
                    directory: Some(directory),
                })
            }
        }
    }

    /// Turns every saved state of the directory into a commit, and asks the source to fetch it.
    pub fn follow(&self, client: Client, namespace: String, name: String, tasks: &mut JoinSet<()>) {
        let Some(directory) = self.directory.clone() else { return };
        tasks.spawn(async move {
            let (sender, mut changes) = mpsc::channel::<()>(1);
            let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                // Reading is no change; our own snapshots would wake us for ever.
                if event.is_ok_and(|event| !matches!(event.kind, notify::EventKind::Access(_))) {
                    let _ = sender.try_send(());
                }
            });
            let watching =
                watcher.and_then(|mut watcher| watcher.watch(&directory.path, notify::RecursiveMode::Recursive).map(|()| watcher));
            let _watcher = match watching {
                Ok(watcher) => Some(watcher),
                Err(error) => {
                    tracing::warn!(%error, "cannot watch the directory; looking at it every second instead");
                    None
                }
            };
            let mut known = directory.commit().await.ok();
            loop {
                let wait = if _watcher.is_some() { Duration::from_secs(10) } else { Duration::from_secs(1) };
                if tokio::time::timeout(wait, changes.recv()).await.is_ok() {
                    while tokio::time::timeout(SETTLE, changes.recv()).await.is_ok_and(|change| change.is_some()) {}
                }
                match directory.commit().await {
                    Ok(commit) if Some(&commit) != known.as_ref() => {
                        if let Err(error) = install::request(&client, &namespace, &name, &commit).await {
                            tracing::warn!(%error, "cannot ask for a reconcile; the saved state is picked up within a minute");
                            continue;
                        }
                        known = Some(commit);
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(%error, "cannot read the directory; trying again"),
                }
            }
        });
    }
}

impl Directory {
    /// The state of the directory now, as a commit; the same one when nothing changed.
    async fn commit(&self) -> Result<String, Error> {
        let this = self.clone();
        let seconds = jiff::Timestamp::now().as_second();
        let work = tokio::task::spawn_blocking(move || {
            let tree = snapshot::read(&this.path)?;
            git::write::commit_tree(&this.repository, &tree, "saved state", seconds).map_err(Error::Git)
        });
        work.await.unwrap_or_else(|e| Err(Error::Target(format!("reading the directory failed: {e}"))))
    }
}

/// What the repository's HEAD names; `main` where that cannot be told now (the source says why when it fetches).
async fn default_branch(url: &str, data: &DataDir) -> String {
    let (url, cache, runtime) = (url.to_owned(), data.path().join("git"), tokio::runtime::Handle::current());
    let ask = move || {
        let (address, credentials) = git::Address::parse(&url).ok()?;
        let access = git::Access { credentials, ..Default::default() };
        git::Client::new(runtime, cache).default_branch(&address, &access, Duration::from_secs(10)).ok().flatten()
    };
    tokio::task::spawn_blocking(ask).await.ok().flatten().unwrap_or_else(|| "main".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_directories_or_git_urls() {
        let directory = tempfile::tempdir().unwrap();
        let text = directory.path().display().to_string();
        assert!(matches!(Target::parse(&text), Ok(Target::Directory(_))));
        assert!(matches!(Target::parse(&format!("file://{text}")), Ok(Target::Directory(_))));
        assert!(matches!(Target::parse("https://example.com/a.git"), Ok(Target::Url(_))));
        assert!(Target::parse("ftp://example.com/a").is_err_and(|e| e.to_string().contains("ftp")));
        assert!(Target::parse("/no/such/place").is_err_and(|e| e.to_string().contains("/no/such/place")));
    }
}
