//! Loads an API server and says how it bears it: `load --kubeconfig KC [--pid PID[,PID]] [--objects N] [--watchers N] [--json]`.
//!
//! Server-side applies that create, reads, a long list, many objects, many watchers; whichever server answers. Memory is that of the
//! given processes. `tests/load/run.py` runs it against the embedded server and a real one, one after the other.

use base64::Engine;
use std::io::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, SignatureScheme};

/// The servers are this machine's own and may have made their certificates themselves.
#[derive(Debug)]
struct Trusting(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

struct Target {
    address: String,
    token: String,
    tls: tokio_rustls::TlsConnector,
}

impl Target {
    fn of_kubeconfig(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.trim().trim_start_matches("- ").strip_prefix(name)?.strip_prefix(':'));
            line.map(|value| value.trim().trim_matches('"').to_owned())
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().ok()?;
        let config = config.dangerous().with_custom_certificate_verifier(Arc::new(Trusting(provider))).with_no_client_auth();
        Some(Self { address: field("server")?.strip_prefix("https://")?.to_owned(), token: field("token")?, tls: Arc::new(config).into() })
    }

    async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").map_err(Error::other)?;
        Ok(Connection { stream: self.tls.connect(name, stream).await?, buffer: Vec::with_capacity(64 * 1024), token: self.token.clone() })
    }
}

/// A plain HTTP/1.1 client, so that what is measured is the server.
struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
    token: String,
}

impl Connection {
    async fn ask(&mut self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Result<(u16, usize)> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n", self.token).into_bytes();
        if !body.is_empty() {
            request.extend_from_slice(format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len()).as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        self.stream.write_all(&request).await?;
        self.stream.flush().await?;
        self.answer().await
    }

    async fn more(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(Error::other("the server closed the connection"));
        }
        Ok(())
    }

    /// The code, and the length of the body, which is not kept.
    async fn answer(&mut self) -> Result<(u16, usize)> {
        let head = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let text = String::from_utf8_lossy(&self.buffer[..head]).to_lowercase();
        let code = text.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        self.buffer.drain(..head);
        match length {
            Some(length) => {
                self.skip(length).await?;
                Ok((code, length))
            }
            None => {
                let mut total = 0;
                loop {
                    let line = loop {
                        if let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                            break at;
                        }
                        self.more().await?;
                    };
                    let size = usize::from_str_radix(String::from_utf8_lossy(&self.buffer[..line]).trim(), 16).map_err(Error::other)?;
                    self.buffer.drain(..line + 2);
                    self.skip(size + 2).await?;
                    total += size;
                    if size == 0 {
                        return Ok((code, total));
                    }
                }
            }
        }
    }

    async fn skip(&mut self, mut length: usize) -> Result<()> {
        loop {
            let there = length.min(self.buffer.len());
            self.buffer.drain(..there);
            length -= there;
            if length == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }
}

/// Asks `count` times over so many connections, and says how often in a second.
async fn rate(
    target: &Arc<Target>,
    connections: usize,
    count: usize,
    call: impl Fn(usize) -> (&'static str, String, Vec<u8>) + Send + Sync + Clone + 'static,
) -> Result<f64> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(target.connect().await?);
    }
    let begin = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for mut connection in open {
        let (next, call) = (Arc::clone(&next), call.clone());
        tasks.spawn(async move {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= count {
                    return Ok(());
                }
                let (method, path, body) = call(at);
                let (code, _) = connection.ask(method, &path, "application/apply-patch+yaml", &body).await?;
                if !(200..300).contains(&code) {
                    return Err(Error::other(format!("{method} {path}: {code}")));
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(Error::other)??;
    }
    Ok(count as f64 / begin.elapsed().as_secs_f64())
}

fn config_map(name: &str, bytes: usize) -> Vec<u8> {
    let line = "key: some value that looks like a configuration file\n";
    let text: String = line.chars().cycle().take(bytes).collect();
    let text = text.replace('\n', "\\n");
    format!("{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"{name}\",\"labels\":{{\"app\":\"load\"}}}},\"data\":{{\"text\":\"{text}\"}}}}").into_bytes()
}

fn deployment(name: &str) -> Vec<u8> {
    format!(
        "{{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{{\"name\":\"{name}\",\"labels\":{{\"app\":\"{name}\"}}}},\"spec\":{{\"replicas\":0,\"selector\":{{\"matchLabels\":{{\"app\":\"{name}\"}}}},\"template\":{{\"metadata\":{{\"labels\":{{\"app\":\"{name}\"}}}},\"spec\":{{\"containers\":[{{\"name\":\"main\",\"image\":\"ghcr.io/example/app:1.2.3\",\"ports\":[{{\"name\":\"http\",\"containerPort\":8080}}],\"env\":[{{\"name\":\"LOG_LEVEL\",\"value\":\"info\"}}],\"resources\":{{\"requests\":{{\"cpu\":\"100m\",\"memory\":\"64Mi\"}},\"limits\":{{\"memory\":\"128Mi\"}}}},\"readinessProbe\":{{\"httpGet\":{{\"path\":\"/readyz\",\"port\":\"http\"}}}}}}]}}}}}}}}"
    )
    .into_bytes()
}

/// Resident memory of processes, in KiB.
fn memory(pids: &[u32]) -> u64 {
    let of = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    pids.iter().map(of).sum()
}

/// Processor time of processes, in seconds.
fn processor(pids: &[u32]) -> f64 {
    let of = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest = stat.rsplit(')').next().unwrap_or("").to_owned();
        let field = |at: usize| rest.split_whitespace().nth(at).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0);
        (field(11) + field(12)) / 100.0
    };
    pids.iter().map(of).sum()
}

const STREAMS: usize = 80;

/// Opens watches over HTTP/2, as client libraries do, and waits until each has seen `events` changes.
async fn watchers(target: &Arc<Target>, kubeconfig: &str, pids: &[u32], count: usize, events: usize) -> Result<(f64, f64, f64)> {
    let ca = kubeconfig.lines().find_map(|line| line.trim().strip_prefix("certificate-authority-data:")).map(|v| v.trim().to_owned());
    let pem = ca.and_then(|ca| base64::engine::general_purpose::STANDARD.decode(ca).ok());
    let client = || {
        let builder = reqwest::Client::builder();
        let builder = match &pem {
            Some(pem) => builder.tls_certs_only([reqwest::Certificate::from_pem(pem).map_err(Error::other)?]),
            None => builder.tls_danger_accept_invalid_certs(true),
        };
        builder.build().map_err(Error::other)
    };
    // A real server lets in a hundred streams for each connection.
    let clients = (0..=count / STREAMS).map(|_| client()).collect::<Result<Vec<_>>>()?;
    let before = memory(pids);
    let mut open = Vec::new();
    let path = format!("https://{}/api/v1/namespaces/load-w/configmaps?watch=true&labelSelector=app%3Dload", target.address);
    for at in 0..count {
        let answer = clients[at / STREAMS].get(&path).bearer_auth(&target.token).send().await.map_err(Error::other)?;
        if answer.status().as_u16() != 200 {
            return Err(Error::other(format!("watch: {}", answer.status())));
        }
        open.push(answer);
    }
    let each = (memory(pids).saturating_sub(before)) as f64 / count.max(1) as f64;
    let mut tasks = tokio::task::JoinSet::new();
    for mut answer in open {
        tasks.spawn(async move {
            let mut lines = 0;
            while lines < events {
                match answer.chunk().await {
                    Ok(Some(chunk)) => lines += chunk.iter().filter(|byte| **byte == b'\n').count(),
                    _ => return false,
                }
            }
            true
        });
    }
    let (begin, cpu) = (Instant::now(), processor(pids));
    rate(target, 4, events, |at| {
        let name = format!("w-{at}");
        ("PATCH", format!("/api/v1/namespaces/load-w/configmaps/{name}?fieldManager=load"), config_map(&name, 300))
    })
    .await?;
    let mut seen = 0;
    while let Some(done) = tasks.join_next().await {
        seen += usize::from(done.map_err(Error::other)?);
    }
    if seen < count {
        return Err(Error::other(format!("only {seen} of {count} watchers saw everything")));
    }
    let delivered = (count * events) as f64;
    Ok((each, delivered / begin.elapsed().as_secs_f64(), (processor(pids) - cpu) * 1e6 / delivered))
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let (mut kubeconfig, mut pids, mut objects, mut count) = (String::new(), Vec::new(), 100_000_usize, 1000_usize);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or("every option takes a value")?;
        match name.as_str() {
            "--kubeconfig" => kubeconfig = value,
            "--pid" => pids = value.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?,
            "--objects" => objects = value.parse()?,
            "--watchers" => count = value.parse()?,
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let text = std::fs::read_to_string(&kubeconfig)?;
    let target = Arc::new(Target::of_kubeconfig(&text).ok_or("the kubeconfig names no server and token")?);
    let say = |what: &str, value: f64, unit: &str| println!("{what}\t{value:.1}\t{unit}");
    for namespace in ["load-a", "load-d", "load-m", "load-w"] {
        let body = format!("{{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{{\"name\":\"{namespace}\"}}}}");
        rate(&target, 1, 1, move |_| ("PATCH", format!("/api/v1/namespaces/{namespace}?fieldManager=load"), body.clone().into_bytes()))
            .await?;
    }
    say("memory when empty", memory(&pids) as f64 / 1024.0, "MiB");
    let applies = 10_000;
    let apply_map = |at: usize| {
        let name = format!("c-{at}");
        ("PATCH", format!("/api/v1/namespaces/load-a/configmaps/{name}?fieldManager=load&force=true"), config_map(&name, 1000))
    };
    let cpu = processor(&pids);
    let best = rate(&target, 32, applies, apply_map).await?;
    say("server-side applies that create (ConfigMap, 1 KB)", best, "/s");
    say("processor time of the server for each", (processor(&pids) - cpu) * 1e6 / applies as f64, "µs");
    let cpu = processor(&pids);
    let best = rate(&target, 32, applies, |at| {
        let name = format!("d-{at}");
        ("PATCH", format!("/apis/apps/v1/namespaces/load-d/deployments/{name}?fieldManager=load&force=true"), deployment(&name))
    })
    .await?;
    say("server-side applies that create (Deployment)", best, "/s");
    say("processor time of the server for each", (processor(&pids) - cpu) * 1e6 / applies as f64, "µs");
    let (reads, mut best, cpu) = (60_000, 0.0_f64, processor(&pids));
    for _ in 0..3 {
        best = best.max(
            rate(&target, 32, reads, move |at| {
                ("GET", format!("/api/v1/namespaces/load-a/configmaps/c-{}", at * 7919 % applies), Vec::new())
            })
            .await?,
        );
    }
    say("reads (ConfigMap, best of 3)", best, "/s");
    say("processor time of the server for each", (processor(&pids) - cpu) * 1e6 / (3.0 * reads as f64), "µs");
    for (what, path) in [
        ("list of 10,000 ConfigMaps (best of 7)", "/api/v1/namespaces/load-a/configmaps"),
        ("list of 10,000 Deployments (best of 7)", "/apis/apps/v1/namespaces/load-d/deployments"),
    ] {
        let mut connection = target.connect().await?;
        let (mut best, mut bytes, cpu) = (Duration::MAX, 0, processor(&pids));
        for _ in 0..7 {
            let begin = Instant::now();
            bytes = connection.ask("GET", path, "", b"").await?.1;
            best = best.min(begin.elapsed());
        }
        say(what, best.as_secs_f64() * 1000.0, "ms");
        say("processor time of the server for each", (processor(&pids) - cpu) * 1e3 / 7.0, "ms");
        say("its length", bytes as f64 / 1048576.0, "MiB");
    }
    let (each, delivered, cost) = watchers(&target, &text, &pids, count, 100).await?;
    say(&format!("memory for each of {count} watchers"), each, "KiB");
    say("events delivered to them", delivered, "/s");
    say("processor time of the server for each", cost, "µs");
    let before = memory(&pids);
    let cpu = processor(&pids);
    let made = rate(&target, 32, objects, |at| {
        let name = format!("m-{at}");
        ("PATCH", format!("/api/v1/namespaces/load-m/configmaps/{name}?fieldManager=load&force=true"), config_map(&name, 3000))
    })
    .await?;
    say(&format!("applies of {objects} objects of 3 KB"), made, "/s");
    say("processor time of the server for each", (processor(&pids) - cpu) * 1e6 / objects.max(1) as f64, "µs");
    say(&format!("memory with {objects} objects of 3 KB more"), memory(&pids) as f64 / 1024.0, "MiB");
    say("of that for each object", (memory(&pids).saturating_sub(before)) as f64 / objects.max(1) as f64, "KiB");
    Ok(())
}
