use crate::{PATIENCE, Process, Web, binary, free_port, kubectl, until};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

/// What runs in a [`House`].
#[derive(Clone, Debug)]
pub struct Options {
    /// `enforce`, `warn` or `off`.
    pub guard_rails: &'static str,
    /// Gates of kustomize- and helm-controller.
    pub feature_gates: &'static str,
    /// As clusters with tenants have it: every object is applied with an account of its own namespace, and takes only what lies in it.
    pub lockdown: bool,
    /// Each controller comes with the token of its own ServiceAccount, which must be there when it starts; else all are administrators.
    pub own_accounts: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { guard_rails: "enforce", feature_gates: "", lockdown: false, own_accounts: false }
    }
}

/// The address of an endpoint that nobody asks.
const ANY_PORT: &str = "127.0.0.1:0";

/// An API server and the four controllers as processes of their own.
pub struct House {
    pub kubeconfig: PathBuf,
    pub api: Option<Process>,
    pub source: Option<Process>,
    pub kustomize: Option<Process>,
    /// Only where a test starts it.
    pub helm: Option<Process>,
    /// Only where a test starts it.
    pub artifact: Option<Process>,
    options: Options,
    storage: u16,
    made: u16,
    api_port: u16,
    /// Where controllers tell their figures.
    metrics: BTreeMap<&'static str, u16>,
    /// The last to go: a process that ends shows the log that lies here.
    pub state: tempfile::TempDir,
}

/// All of them, in the order in which data flows.
const CONTROLLERS: [&str; 4] = ["source-controller", "artifact-controller", "kustomize-controller", "helm-controller"];

impl House {
    pub fn start(options: Options) -> Self {
        let mut house = Self::cluster_alone(options);
        house.install();
        house.start_source();
        house.start_kustomize();
        house
    }

    /// The definitions and the namespace of the controllers, but no controller yet.
    pub fn empty(options: Options) -> Self {
        let house = Self::cluster_alone(options);
        house.install();
        house
    }

    /// The API server, or the cluster given from outside, and nothing else.
    pub fn cluster() -> Self {
        Self::cluster_alone(Options::default())
    }

    fn cluster_alone(options: Options) -> Self {
        let state = tempfile::tempdir().expect("a temporary folder");
        let outside = std::env::var_os("SLUICE_TEST_KUBECONFIG").map(PathBuf::from);
        let kubeconfig = outside.clone().unwrap_or_else(|| state.path().join("kubeconfig"));
        let mut house = Self {
            kubeconfig,
            api: None,
            source: None,
            kustomize: None,
            helm: None,
            artifact: None,
            options,
            storage: free_port(),
            made: free_port(),
            api_port: free_port(),
            metrics: CONTROLLERS.iter().map(|name| (*name, free_port())).collect(),
            state,
        };
        if outside.is_none() {
            house.start_api();
        }
        house
    }

    /// Whether the API server is one that the tests did not start.
    pub fn is_external(&self) -> bool {
        std::env::var_os("SLUICE_TEST_KUBECONFIG").is_some()
    }

    pub fn start_api(&mut self) {
        let _ = fs::remove_file(&self.kubeconfig);
        let mut command = Command::new(binary("sluice"));
        command
            .args(["apiserver", "--listen", &format!("127.0.0.1:{}", self.api_port), "--data-dir"])
            .arg(self.state.path().join("apiserver"))
            .arg("--write-kubeconfig")
            .arg(&self.kubeconfig);
        self.api = Some(Process::start("apiserver", self.state.path(), &mut command));
        let kubeconfig = self.kubeconfig.clone();
        until("the API server to write its kubeconfig", || kubeconfig.exists().then_some(()).ok_or_else(|| "no file".to_owned()));
    }

    pub fn metrics_address(&self, name: &str) -> String {
        format!("127.0.0.1:{}", self.metrics.get(name).copied().unwrap_or_default())
    }

    /// How many requests a controller has sent to the API server since it started, by method.
    pub fn requests(&self, name: &str) -> BTreeMap<String, u64> {
        let mut sums = BTreeMap::new();
        let text = Web::get(&self.metrics_address(name), "/metrics");
        for line in text.lines().filter(|line| line.starts_with("rest_client_requests_total{")) {
            let method = line.split("method=\"").nth(1).and_then(|rest| rest.split('"').next());
            let count = line.rsplit(' ').next().and_then(|text| text.parse::<u64>().ok());
            if let (Some(method), Some(count)) = (method, count) {
                *sums.entry(method.to_owned()).or_default() += count;
            }
        }
        assert!(!sums.is_empty(), "{name} tells of no request:\n{text}");
        sums
    }

    /// A controller with what all of them are told.
    fn controller(&self, name: &str) -> Command {
        let mut command = Command::new(binary(name));
        command
            .args(["--metrics-addr", &self.metrics_address(name), "--health-addr", ANY_PORT])
            .env("KUBECONFIG", if self.options.own_accounts { self.account(name) } else { self.kubeconfig.clone() })
            .env("RUNTIME_NAMESPACE", "flux-system");
        if self.options.own_accounts {
            command.arg("--enable-leader-election");
        }
        command
    }

    /// A kubeconfig with the token of the ServiceAccount of a controller.
    fn account(&self, controller: &str) -> PathBuf {
        let account = if controller == "artifact-controller" { "source-watcher" } else { controller };
        let token = self.kubectl(&["create", "token", account, "-n", "flux-system"]);
        let config = self.kubectl(&["config", "view", "--raw", "--minify", "-o", "json"]);
        let mut config: Value = serde_json::from_str(&config).expect("kubectl prints JSON");
        config["users"][0]["user"] = serde_json::json!({"token": token.trim()});
        let path = self.state.path().join(format!("{account}.kubeconfig"));
        fs::write(&path, config.to_string()).expect("the folder is ours");
        path
    }

    /// One that makes artifacts, and keeps and serves them itself.
    fn storing_controller(&self, name: &str, folder: &str, port: u16) -> Command {
        let folder = self.state.path().join(folder);
        fs::create_dir_all(&folder).expect("the folder is ours");
        let address = format!("127.0.0.1:{port}");
        let mut command = self.controller(name);
        command.arg("--storage-path").arg(folder).args(["--storage-addr", &address, "--storage-adv-addr", &address]);
        command
    }

    /// One that applies what others made.
    fn applying_controller(&self, name: &str) -> Command {
        let mut command = self.controller(name);
        command.args(["--requeue-dependency", "1s"]).arg(format!("--feature-gates={}", self.options.feature_gates));
        if self.options.lockdown {
            command.args(["--no-cross-namespace-refs=true", "--default-service-account=default"]);
        }
        command
    }

    pub fn start_source(&mut self) {
        let mut command = self.storing_controller("source-controller", "artifacts", self.storage);
        self.source = Some(Process::start("source-controller", self.state.path(), &mut command));
    }

    pub fn start_artifact(&mut self) {
        let mut command = self.storing_controller("artifact-controller", "made", self.made);
        self.artifact = Some(Process::start("artifact-controller", self.state.path(), &mut command));
    }

    pub fn start_kustomize(&mut self) {
        let mut command = self.applying_controller("kustomize-controller");
        command.arg(format!("--guard-rails={}", self.options.guard_rails));
        if self.options.lockdown {
            command.arg("--no-remote-bases=true");
        }
        self.kustomize = Some(Process::start("kustomize-controller", self.state.path(), &mut command));
    }

    pub fn start_helm(&mut self) {
        let mut command = self.applying_controller("helm-controller");
        self.helm = Some(Process::start("helm-controller", self.state.path(), &mut command));
    }

    /// The custom resource definitions and the namespace of the Flux objects.
    fn install(&self) {
        let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds");
        self.kubectl(&["apply", "--server-side", "-f", &crds.display().to_string()]);
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]);
        self.apply("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: flux-system\n");
    }

    /// Runs kubectl; panics when it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments, None).unwrap_or_else(|why| panic!("kubectl {arguments:?}: {why}"))
    }

    pub fn try_kubectl(&self, arguments: &[&str], stdin: Option<&str>) -> Result<String, String> {
        kubectl(&self.kubeconfig, arguments, stdin)
    }

    /// `kubectl apply` of a text.
    pub fn apply(&self, manifest: &str) {
        self.try_kubectl(&["apply", "--server-side", "--force-conflicts", "-f", "-"], Some(manifest))
            .unwrap_or_else(|why| panic!("{why}\n{manifest}"));
    }

    /// An object as JSON; `None` when it does not exist.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let output = self.try_kubectl(&["get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found"], None).ok()?;
        serde_json::from_str(&output).ok()
    }

    /// Waits until the object's Ready condition is `status`; returns the object.
    pub fn until_ready(&self, kind: &str, namespace: &str, name: &str, status: &str) -> Value {
        self.until_object(kind, namespace, name, &format!("Ready={status}"), |object| {
            let generation = &object["metadata"]["generation"];
            let ready = condition(object, "Ready")?;
            (ready["status"] == status && (status != "True" || &object["status"]["observedGeneration"] == generation)).then_some(())
        })
    }

    pub fn until_object(&self, kind: &str, namespace: &str, name: &str, what: &str, check: impl Fn(&Value) -> Option<()>) -> Value {
        until(&format!("{kind}/{namespace}/{name} {what}"), || {
            self.assert_alive();
            let object = self.get(kind, namespace, name).ok_or("it does not exist")?;
            match check(&object) {
                Some(()) => Ok(object),
                None => Err(format!("status {}", object["status"])),
            }
        })
    }

    /// A process that ended by itself is the reason for whatever does not happen.
    fn assert_alive(&self) {
        for process in [&self.api, &self.source, &self.artifact, &self.kustomize, &self.helm].into_iter().flatten() {
            if let Some(status) = process.died() {
                panic!("{} ended by itself: {status}", process.name());
            }
        }
    }

    pub fn until_gone(&self, kind: &str, namespace: &str, name: &str) {
        until(&format!("{kind}/{namespace}/{name} to be gone"), || match self.get(kind, namespace, name) {
            None => Ok(()),
            Some(object) => Err(object["metadata"].to_string()),
        });
    }

    /// Deletes Flux objects so that nothing stays behind on a server that others use too.
    pub fn clean(&self) {
        let started = Instant::now();
        for kind in [
            "kustomizations.kustomize.toolkit.fluxcd.io",
            "artifactgenerators.source.extensions.fluxcd.io",
            "gitrepositories.source.toolkit.fluxcd.io",
            "ocirepositories.source.toolkit.fluxcd.io",
        ] {
            let _ = self.try_kubectl(&["delete", kind, "-A", "--all", "--timeout=60s"], None);
        }
        assert!(started.elapsed() < PATIENCE * 2, "cleaning took too long");
    }
}

/// What is not ready, and why: what a person would look at first after a failed test.
impl Drop for House {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kinds = "gitrepositories,ocirepositories,helmrepositories,helmcharts,artifactgenerators,externalartifacts,kustomizations,helmreleases";
            println!("{}", self.try_kubectl(&["get", kinds, "-A"], None).unwrap_or_else(|why| why));
        }
    }
}

/// A condition of an object by its type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == kind)
}
