use crate::free_port;
use oci::{Client, Credentials, Limits, Manifest, Reference, Scheme, annotation, media_type};
use std::{
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tree::MemoryTree;

const CHART_CONTENT: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// bcrypt of `pass` at the lowest cost.
const HTPASSWD: &str = "user:$2b$04$/aJCpHG6aY5Ol0Ooknwk7.ZAXfW5gPdbPnU46NekfkVWsoKe4o7Xm\n";

/// Debian's `docker-registry` on loopback.
pub struct Registry {
    process: Child,
    pub address: String,
    /// The certificate that it shows, when it speaks TLS: signed by itself.
    pub certificate: Option<String>,
    _state: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    /// Starts a registry, or says why the test cannot run. An authenticated one knows `user` with `pass`.
    pub fn start(authenticated: bool) -> Option<Self> {
        Self::start_with(authenticated, false)
    }

    /// The same over TLS.
    pub fn start_tls(authenticated: bool) -> Option<Self> {
        Self::start_with(authenticated, true)
    }

    fn start_with(authenticated: bool, encrypted: bool) -> Option<Self> {
        let state = tempfile::tempdir().expect("a temporary folder");
        let address = format!("127.0.0.1:{}", free_port());
        let mut config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\nlog: {{level: error}}\n",
            state.path().display()
        );
        if authenticated {
            let passwords = state.path().join("htpasswd");
            std::fs::write(&passwords, HTPASSWD).expect("the folder is ours");
            config.push_str(&format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", passwords.display()));
        }
        let certificate = encrypted.then(|| sign(state.path()));
        if encrypted {
            let folder = state.path().display();
            config = config.replace("http: {", &format!("http: {{tls: {{certificate: {folder}/tls.crt, key: {folder}/tls.key}}, "));
        }
        let file = state.path().join("config.yml");
        std::fs::write(&file, config).expect("the folder is ours");
        let Ok(process) = Command::new("docker-registry").arg("serve").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        else {
            println!("SKIPPED: docker-registry is not installed (Debian package docker-registry)");
            return None;
        };
        let registry = Self { process, address, certificate, _state: state };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&registry.address).is_err() {
            assert!(Instant::now() < deadline, "docker-registry did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    pub fn client(&self, credentials: Credentials) -> Client {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let http = http.tls_danger_accept_invalid_certs(true).build().expect("the options are fine");
        Client::new(http, Scheme::of(&self.address, false), credentials, Limits::default())
    }

    pub fn reference(&self, path: &str) -> Reference {
        format!("{}/{path}", self.address).parse().expect("tests write good references")
    }

    /// Pushes a tree as `flux push artifact` does; returns the digest of its manifest.
    pub fn push(&self, path: &str, tree: &MemoryTree) -> types::Digest {
        self.push_as(Credentials::Anonymous, path, &[(media_type::FLUX_CONTENT, archive(tree))])
    }

    /// Pushes layers as somebody who may.
    pub fn push_as(&self, who: Credentials, path: &str, layers: &[(&str, Vec<u8>)]) -> types::Digest {
        let annotations = [(annotation::REVISION.to_owned(), "main@sha1:ab12".to_owned())].into();
        self.push_layers(who, path, media_type::FLUX_CONFIG, layers, annotations)
    }

    /// Pushes a packed chart as `helm push` does.
    pub fn push_chart(&self, path: &str, packed: Vec<u8>) -> types::Digest {
        self.push_chart_as(Credentials::Anonymous, path, packed)
    }

    pub fn push_chart_as(&self, who: Credentials, path: &str, packed: Vec<u8>) -> types::Digest {
        let layers = [(CHART_CONTENT, packed)];
        self.push_layers(who, path, "application/vnd.cncf.helm.config.v1+json", &layers, Default::default())
    }

    fn push_layers(
        &self,
        who: Credentials,
        path: &str,
        config: &str,
        layers: &[(&str, Vec<u8>)],
        annotations: std::collections::BTreeMap<String, String>,
    ) -> types::Digest {
        let client = self.client(who);
        let reference = self.reference(path);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio starts");
        runtime.block_on(async {
            let config = client.push_blob(&reference, config, b"{}".as_slice().into()).await.expect("the registry is ours");
            let mut pushed = Vec::new();
            for (kind, bytes) in layers {
                pushed.push(client.push_blob(&reference, kind, bytes.clone().into()).await.expect("the registry is ours"));
            }
            let manifest = Manifest {
                config,
                layers: pushed,
                annotations: Some(annotations),
                media_type: Some(media_type::MANIFEST.into()),
                ..Default::default()
            };
            client.push_manifest(&reference, &manifest).await.expect("the registry is ours")
        })
    }
}

/// Makes a key and a certificate for 127.0.0.1 in a folder, by the real openssl; returns the certificate.
fn sign(folder: &Path) -> String {
    let (key, certificate) = (folder.join("tls.key"), folder.join("tls.crt"));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=registry"]);
    // As people make them: without a word on it, openssl marks the certificate as that of an authority.
    command.args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    let done = command.output().expect("openssl is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    std::fs::read_to_string(certificate).expect("it was written")
}

/// A tree as a gzipped tar file, by the real tar.
pub fn archive(tree: &MemoryTree) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (path, entry) in tree.entries() {
        let target = folder.path().join(path);
        match entry {
            tree::Entry::Dir => std::fs::create_dir_all(target),
            tree::Entry::File { bytes, .. } => std::fs::write(target, bytes),
        }
        .expect("the folder is ours");
    }
    let output = Command::new("tar").arg("-C").arg(folder.path()).args(["-czf", "-", "."]).output().expect("tar is installed");
    output.stdout
}
