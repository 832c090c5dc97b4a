use crate::access::{Access, Tokens, bootstrap};
use crate::api::Api;
use crate::certificates::{self, Identity};
use crate::controllers::workloads::{self, Controllers, Nodes};
use crate::controllers::{self, Queues};
use crate::handler;
use crate::store::{LogError, SNAPSHOT_AFTER, Store};
use crate::turns;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// How a server is started.
#[derive(Clone)]
pub struct Options {
    /// Port 0 takes a free one. A kept certificate is made anew when the host differs.
    pub listen: SocketAddr,
    /// Where state is kept; in memory when there is none.
    pub data_dir: Option<PathBuf>,
    /// The token of the administrator; a random one (or the kept one) when there is none.
    pub token: Option<String>,
    /// Who takes longer to send a head is turned away; a whole body may take twice as long.
    pub client_timeout: Duration,
    /// A log this long (in bytes) is replaced by a snapshot, when it also outgrew the last one.
    pub snapshot_after: u64,
    /// Which controllers of workloads run.
    pub controllers: Controllers,
    /// Whether pods run.
    pub nodes: Nodes,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data_dir: None,
            token: None,
            client_timeout: CLIENT_TIMEOUT,
            snapshot_after: SNAPSHOT_AFTER,
            controllers: Controllers::ALL,
            nodes: Nodes::Simulated { ready_after: Duration::ZERO },
        }
    }
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Store(#[from] LogError),
    #[error(transparent)]
    Certificate(#[from] certificates::Error),
    #[error("cannot make a signing key")]
    Key,
    #[error("cannot keep the server's identity in \"{path}\"")]
    Identity {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

pub struct Server;

/// A server that answers. Dropping it stops it at once; `shutdown` lets requests finish.
pub struct Running {
    pub address: SocketAddr,
    /// The certificate authority, in PEM.
    pub ca: String,
    pub token: String,
    stop: watch::Sender<bool>,
    api: Arc<Api>,
    main: Option<JoinHandle<()>>,
}

/// So many connections are served at once; more wait.
const CONNECTIONS_MAX: usize = 16_384;
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What the server's own controllers write is on the disk after this long; requests do not wait for it.
const SYNC_EVERY: Duration = Duration::from_millis(200);
/// Streams of one HTTP/2 connection: a client may watch everything over one.
const STREAMS_MAX: u32 = 8192;

impl Server {
    /// Starts a server; when this returns it is ready.
    pub async fn start(options: Options) -> Result<Running, Error> {
        let listener = TcpListener::bind(options.listen).await.map_err(|source| Error::Listen { address: options.listen, source })?;
        let address = listener.local_addr().map_err(|source| Error::Listen { address: options.listen, source })?;
        // Opening a large data directory takes a while, and blocks.
        let (store, identity) = {
            let options = options.clone();
            tokio::task::spawn_blocking(move || -> Result<_, Error> {
                let store = Store::open(options.data_dir.as_deref(), options.snapshot_after)?;
                let identity = identity(&options, address.ip())?;
                Ok((store, identity))
            })
            .await
            .map_err(|_| Error::Key)??
        };
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(identity.tls()?));
        let (stop, stopping) = watch::channel(false);
        let works = options.controllers != Controllers::NONE || options.nodes != Nodes::None;
        let queues = Arc::new(Queues::new(works, options.controllers.has("resourcequota")));
        let access = Access::new(identity.token.clone(), Tokens::new(&identity.signing_key).map_err(|_| Error::Key)?);
        let api = Arc::new(Api::new(store, access, Arc::clone(&queues), stopping.clone(), address, identity.ca_pem.clone()));
        controllers::resume(&api);
        api.store.observe(Box::new(move |table, event| queues.observe(table, event)));
        bootstrap::ensure(&api);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(controllers::run(Arc::clone(&api)));
        if works {
            tasks.spawn(workloads::run(Arc::clone(&api), options.controllers, options.nodes));
        }
        if options.data_dir.is_some() {
            tasks.spawn(sync(Arc::clone(&api), stopping.clone()));
        }
        let main = tokio::spawn(accept(listener, tls, Arc::clone(&api), options.client_timeout, stopping, tasks));
        Ok(Running { address, ca: identity.ca_pem, token: identity.token, stop, api, main: Some(main) })
    }
}

impl Running {
    /// How clients find and trust this server, and who they are there.
    pub fn kubeconfig(&self) -> String {
        let host = match self.address.ip() {
            ip if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            ip => ip,
        };
        let address = SocketAddr::new(host, self.address.port());
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: sluice\n  cluster:\n    server: https://{address}\n    certificate-authority-data: {}\nusers:\n- name: admin\n  user:\n    token: {}\ncontexts:\n- name: sluice\n  context:\n    cluster: sluice\n    user: admin\ncurrent-context: sluice\n",
            STANDARD.encode(&self.ca),
            self.token
        )
    }

    /// Writes the kubeconfig so that only its owner can read it, and all at once.
    pub fn write_kubeconfig(&self, path: &Path) -> std::io::Result<()> {
        write_private(path, self.kubeconfig().as_bytes())
    }

    /// Ends watches, lets requests finish, and brings everything to the disk.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        if let Some(main) = self.main.take() {
            let _ = main.await;
        }
        let api = Arc::clone(&self.api);
        let synced = tokio::task::spawn_blocking(move || api.store.sync()).await;
        if let Ok(Err(error)) = synced {
            tracing::error!(error = %error, "the last writes may not be on the disk");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(main) = self.main.take() {
            main.abort();
        }
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("file");
    let temporary = directory.join(format!(".{name}.{}", std::process::id()));
    let mut open = std::fs::OpenOptions::new();
    open.create(true).write(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        open.mode(0o600);
    }
    let mut file = open.open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

/// The identity kept in the data directory, or a new one.
fn identity(options: &Options, host: IpAddr) -> Result<Identity, Error> {
    let path = options.data_dir.as_ref().map(|directory| directory.join("identity.json"));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Identity { path, source }
    };
    let kept: Option<Identity> = match &path {
        Some(path) if path.exists() => {
            let bytes = std::fs::read(path).map_err(failed(path))?;
            Some(serde_json::from_slice(&bytes).map_err(|e| failed(path)(std::io::Error::other(e)))?)
        }
        _ => None,
    };
    if let Some(kept) = kept
        && kept.host == host
        && options.token.as_ref().is_none_or(|token| *token == kept.token)
    {
        return Ok(kept);
    }
    let token = options.token.clone().unwrap_or_else(random_token);
    let signing_key = Tokens::generate_key().map_err(|_| Error::Key)?;
    let made = Identity::generate(host, token, signing_key)?;
    if let Some(path) = &path {
        let bytes = serde_json::to_vec(&made).map_err(|e| failed(path)(std::io::Error::other(e)))?;
        write_private(path, &bytes).map_err(failed(path))?;
    }
    Ok(made)
}

fn random_token() -> String {
    let random: [u8; 32] = rand::random();
    hex::encode(random)
}

/// Brings writes to the disk: as soon as somebody waits for it, and everything that came in the meantime along with it.
async fn sync(api: Arc<Api>, mut stopping: watch::Receiver<bool>) {
    let mut last = 0;
    loop {
        tokio::select! {
            () = api.store.sync_wanted() => {}
            () = tokio::time::sleep(SYNC_EVERY) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        let revision = api.store.revision();
        if revision == last {
            continue;
        }
        last = revision;
        let api = Arc::clone(&api);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || api.store.sync()).await {
            tracing::error!(error = %error, "cannot bring writes to the disk");
        }
    }
}

async fn accept(
    listener: TcpListener,
    tls: tokio_rustls::TlsAcceptor,
    api: Arc<Api>,
    client_timeout: Duration,
    mut stopping: watch::Receiver<bool>,
    mut tasks: tokio::task::JoinSet<()>,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(client_timeout).max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1 << 20)
        .max_header_list_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(30));
    let builder = Arc::new(builder);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: wait for some to be given back.
                tracing::warn!(error = %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (tls, api, builder, graceful) = (tls.clone(), Arc::clone(&api), Arc::clone(&builder), graceful.watcher());
        connections.spawn(async move {
            let _place = place;
            let handshake = HANDSHAKE_TIMEOUT.min(client_timeout);
            let _ = stream.set_nodelay(true);
            let Ok(Ok(stream)) = tokio::time::timeout(handshake, tls.accept(stream)).await else { return };
            let service = hyper::service::service_fn(move |request| handler::handle(Arc::clone(&api), request, 2 * client_timeout));
            // One HTTP/2 connection carries many streams; over HTTP/1.1 there is nobody to wait for.
            let patient = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let served = turns::serve(stream, patient, move |stream| {
                graceful.watch(builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned())
            });
            if let Err(error) = served.await {
                tracing::trace!(error = %error, "a connection ended");
            }
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, graceful.shutdown()).await;
    connections.shutdown().await;
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, async { while tasks.join_next().await.is_some() {} }).await;
}
