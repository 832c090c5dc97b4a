//! kill -9 of each of the four controllers, at any moment, while a platform is edited: it converges each time, nothing is
//! orphaned, no release is lost, and nothing that stays is deleted and made anew.
//!
//! `SLUICE_TEST_KILLS` sets the number of rounds, `SLUICE_TEST_SEED` what happens in them. A failure names both.

#![allow(clippy::unwrap_used)]

use e2e::{GitServer, House, Options, PATIENCE, Pods, Random, Repository, condition};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::{Duration, Instant},
};

const FLUX_KINDS: &str = "gitrepositories,helmcharts,artifactgenerators,externalartifacts,kustomizations,helmreleases";
const KUSTOMIZE: &str = "kustomize.toolkit.fluxcd.io";
const HELM: &str = "helm.toolkit.fluxcd.io";

/// What the repository asks for. Everything here can change with a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    retention: u64,
    ingress_replicas: u64,
    image: String,
    quota: u64,
    dns: bool,
    dns_zone: u64,
    observability: bool,
    chart_argument: u64,
}

impl State {
    fn first() -> Self {
        let image = format!("sha256:{:064x}", 1);
        let (retention, ingress_replicas, quota, chart_argument) = (6, 1, 2, 0);
        Self { retention, ingress_replicas, image, quota, dns: true, dns_zone: 0, observability: true, chart_argument }
    }

    /// One edit, as a person makes it.
    fn edit(&mut self, random: &mut Random) -> &'static str {
        match random.below(9) {
            0 | 1 => {
                self.retention = 1 + random.below(1000);
                "values of a release"
            }
            2 => {
                self.ingress_replicas = 1 + random.below(3);
                "values of a release whose chart is generated"
            }
            3 => {
                self.image = format!("sha256:{:064x}", random.below(u64::MAX));
                "image of an app"
            }
            4 => {
                self.quota = 1 + random.below(64);
                "quota of the tenants"
            }
            5 => {
                self.dns = !self.dns;
                "add-on of a Kustomization"
            }
            6 => {
                self.observability = !self.observability;
                "whole Kustomization"
            }
            7 => {
                self.chart_argument += 1;
                "template of a chart"
            }
            _ => {
                self.dns_zone += 1;
                "values in a ConfigMap"
            }
        }
    }

    fn releases(&self) -> BTreeSet<&'static str> {
        let mut all = BTreeSet::from(["ingress", "cert-manager"]);
        all.extend(self.dns.then_some("external-dns"));
        all.extend(self.observability.then_some("observability"));
        all
    }

    fn kustomizations(&self) -> BTreeSet<&'static str> {
        let mut all = BTreeSet::from(["flux-system", "infra-controllers", "infra-configs", "tenants", "web", "api"]);
        all.extend(self.observability.then_some("observability"));
        all
    }
}

/// The example, with an ArtifactGenerator that cuts the apps and one chart out of it.
struct Platform {
    repository: Repository,
    original: BTreeMap<&'static str, String>,
}

const WEB: &str = "apps/web/overlays/dev/kustomization.yaml";
const OBSERVABILITY: &str = "platform-components/observability/release.yaml";
const INGRESS: &str = "platform-components/ingress/release.yaml";
const DNS_VALUES: &str = "platform-components/external-dns/values.yaml";
const CONTROLLERS: &str = "infrastructure/controllers/kustomization.yaml";
const INFRASTRUCTURE: &str = "clusters/dev/infrastructure.yaml";
const TENANTS: &str = "tenants/overlays/dev/kustomization.yaml";
const CHART: &str = "charts/certificates/templates/deployment.yaml";
const EDITED: [&str; 8] = [WEB, OBSERVABILITY, INGRESS, DNS_VALUES, CONTROLLERS, INFRASTRUCTURE, TENANTS, CHART];

const GENERATOR: &str = "apiVersion: source.extensions.fluxcd.io/v1beta1
kind: ArtifactGenerator
metadata: {name: platform, namespace: flux-system}
spec:
  sources: [{alias: repository, kind: GitRepository, name: flux-system}]
  artifacts:
  - name: apps
    originRevision: '@repository'
    copy: [{from: '@repository/apps/**', to: '@artifact/apps/'}]
  - name: ingress-chart
    copy: [{from: '@repository/charts/ingress', to: '@artifact/'}]
";

/// Replaces what must be there.
fn swap(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the example has no {from:?} any more:\n{text}");
    text.replace(from, to)
}

impl Platform {
    fn new(server: &GitServer) -> Self {
        let repository = server.repository("platform");
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/platform");
        repository.copy(&example);
        let read = |path: &str| std::fs::read_to_string(repository.path().join(path)).unwrap();
        let git = "kind: GitRepository\n    name: flux-system";
        let apps = swap(&read("clusters/dev/apps.yaml"), git, "kind: ExternalArtifact\n    name: apps");
        repository.write("clusters/dev/apps.yaml", &apps).write("clusters/dev/artifacts.yaml", GENERATOR);
        let cluster = read("clusters/dev/kustomization.yaml") + "- artifacts.yaml\n";
        repository.write("clusters/dev/kustomization.yaml", &cluster);
        let ingress = read(INGRESS);
        let (start, end) = (ingress.find("  chart:\n").unwrap(), ingress.find("  install:\n").unwrap());
        let reference = "  chartRef: {kind: ExternalArtifact, name: ingress-chart, namespace: flux-system}\n";
        repository.write(INGRESS, &format!("{}{reference}{}", &ingress[..start], &ingress[end..]));
        let original = EDITED.map(|path| (path, read(path))).into();
        Self { repository, original }
    }

    /// Writes what a state needs and pushes it; returns the commit.
    fn push(&self, state: &State, message: &str) -> String {
        let of = |path: &str| self.original[path].as_str();
        let image = of(WEB).split("digest: ").nth(1).unwrap().lines().next().unwrap();
        let add_on = "- ../../platform-components/external-dns\n";
        let infrastructure = of(INFRASTRUCTURE);
        let kept = if state.observability { infrastructure } else { infrastructure.rsplit_once("---\n").unwrap().0 };
        self.repository
            .write(WEB, &swap(of(WEB), image, &state.image))
            .write(OBSERVABILITY, &swap(of(OBSERVABILITY), "retention: 6h", &format!("retention: {}h", state.retention)))
            .write(INGRESS, &swap(of(INGRESS), "replicas: ${replicas}", &format!("replicas: {}", state.ingress_replicas)))
            .write(DNS_VALUES, &swap(of(DNS_VALUES), "domain: ", &format!("domain: zone-{}.", state.dns_zone)))
            .write(CONTROLLERS, &swap(of(CONTROLLERS), add_on, if state.dns { add_on } else { "" }))
            .write(INFRASTRUCTURE, kept)
            .write(TENANTS, &swap(of(TENANTS), "value: \"2\"", &format!("value: \"{}\"", state.quota)))
            .write(CHART, &swap(of(CHART), "        args:\n", &format!("        args:\n        - --edition={}\n", state.chart_argument)));
        self.repository.push(message)
    }
}

/// Objects by `kind/namespace/name`.
type Objects = BTreeMap<String, Value>;

fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn id(object: &Value) -> String {
    format!("{}/{}/{}", text(object, "/kind"), text(object, "/metadata/namespace"), text(object, "/metadata/name"))
}

fn list(house: &House, arguments: &[&str]) -> Result<Objects, String> {
    let output = house.try_kubectl(&[&["get", "-A", "-o", "json", "--ignore-not-found"], arguments].concat(), None)?;
    if output.trim().is_empty() {
        return Ok(Objects::new());
    }
    let list: Value = serde_json::from_str(&output).map_err(|error| error.to_string())?;
    Ok(list["items"].as_array().into_iter().flatten().map(|object| (id(object), object.clone())).collect())
}

/// Every kind that can be listed, events apart.
fn all_kinds(house: &House) -> String {
    let names = house.kubectl(&["api-resources", "--verbs=list", "-o", "name"]);
    let wanted = |name: &&str| !name.starts_with("events") && !name.contains("metrics.k8s.io") && *name != "componentstatuses";
    names.lines().filter(wanted).collect::<Vec<_>>().join(",")
}

/// What is wrong with the conditions of an object that should be ready.
fn unready(object: &Value) -> Option<String> {
    let ready = condition(object, "Ready");
    // Generators have no generation of their own in their status, artifacts none at all.
    let seen = [&object["status"], ready.unwrap_or(&Value::Null)].into_iter().find_map(|part| part["observedGeneration"].as_i64());
    let newest = seen.is_none() || seen == object["metadata"]["generation"].as_i64();
    if newest && ready.is_some_and(|ready| ready["status"] == "True") {
        return None;
    }
    Some(format!("{} is not ready: {} {}", id(object), object["metadata"]["generation"], object["status"]))
}

fn named<'o>(objects: &'o Objects, kind: &str) -> BTreeMap<&'o str, &'o Value> {
    let prefix = format!("{kind}/");
    objects.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(_, object)| (text(object, "/metadata/name"), object)).collect()
}

/// Whether the Flux objects say that `commit` with its state is what runs.
fn converged(flux: &Objects, state: &State, commit: &str) -> Result<(), String> {
    let revision = format!("main@sha1:{commit}");
    let source = flux.get("GitRepository/flux-system/flux-system").ok_or("there is no source")?;
    if text(source, "/status/artifact/revision") != revision {
        return Err(format!("the source is at {}", source["status"]["artifact"]["revision"]));
    }
    let expect = |what: &str, found: BTreeSet<&str>, wanted: BTreeSet<&str>| {
        if found == wanted { Ok(()) } else { Err(format!("{what}: {found:?}, wanted {wanted:?}")) }
    };
    let (kustomizations, releases) = (named(flux, "Kustomization"), named(flux, "HelmRelease"));
    expect("Kustomizations", kustomizations.keys().copied().collect(), state.kustomizations())?;
    expect("HelmReleases", releases.keys().copied().collect(), state.releases())?;
    if let Some(why) = flux.values().find_map(unready) {
        return Err(why);
    }
    let artifacts = named(flux, "ExternalArtifact");
    let made = |name: &str| artifacts.get(name).map_or("", |object| text(object, "/status/artifact/revision"));
    for (name, object) in kustomizations {
        let wanted = if matches!(name, "web" | "api") { made("apps") } else { &revision };
        if text(object, "/status/lastAppliedRevision") != wanted {
            return Err(format!("Kustomization {name} is at {}, not at {wanted}", object["status"]["lastAppliedRevision"]));
        }
    }
    for (name, object) in releases {
        let digest = if name == "ingress" { made("ingress-chart").rsplit(':').next().unwrap_or_default() } else { commit };
        let wanted = format!("1.0.0+{}", &digest[..12]);
        let newest = &object["status"]["history"][0];
        if newest["chartVersion"] != wanted.as_str() || newest["status"] != "deployed" {
            return Err(format!("HelmRelease {name} is at {} {}, not at {wanted}", newest["chartVersion"], newest["status"]));
        }
    }
    Ok(())
}

/// Whether the objects in the cluster are what a state asks for.
fn as_asked(all: &Objects, state: &State) -> Result<(), String> {
    let container = |key: &str| all.get(key).map(|object| object["spec"]["template"]["spec"]["containers"][0].clone());
    let argument = |key: &str, argument: String| match container(key) {
        Some(found) if found["args"].as_array().is_some_and(|all| all.iter().any(|one| *one == argument.as_str())) => Ok(()),
        found => Err(format!("{key} lacks {argument}: {found:?}")),
    };
    argument("Deployment/cert-manager/cert-manager", format!("--edition={}", state.chart_argument))?;
    if state.observability {
        argument("Deployment/observability/observability", format!("--retention={}h", state.retention))?;
    }
    if state.dns {
        argument("Deployment/external-dns/external-dns", format!("--domain-filter=zone-{}.dev.example.com", state.dns_zone))?;
    }
    let image = container("Deployment/team-web/web").map(|container| container["image"].clone()).unwrap_or_default();
    if !image.as_str().is_some_and(|image| image.ends_with(&state.image)) {
        return Err(format!("web runs {image}, not {}", state.image));
    }
    let replicas = all.get("Deployment/ingress/ingress").map(|object| object["spec"]["replicas"].clone());
    if replicas != Some(state.ingress_replicas.into()) {
        return Err(format!("ingress has {replicas:?} replicas, not {}", state.ingress_replicas));
    }
    let quota = all.get("ResourceQuota/team-web/team").map(|object| object["spec"]["hard"]["requests.cpu"].clone()).unwrap_or_default();
    if quota != state.quota.to_string().as_str() {
        return Err(format!("the quota is {quota}, not {}", state.quota));
    }
    let present = |namespace: &str| all.contains_key(&format!("Namespace//{namespace}"));
    if present("external-dns") != state.dns || present("observability") != state.observability {
        return Err("an add-on that was taken out is still there, or one that was put in is not".to_owned());
    }
    Ok(())
}

/// `namespace_name_group_kind` of an inventory, as `kind/namespace/name`.
fn held(entry: &str) -> Option<String> {
    let mut parts = entry.rsplitn(3, '_');
    let (kind, _group, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let (namespace, name) = rest.split_once('_')?;
    Some(format!("{kind}/{namespace}/{}", name.replace("__", ":")))
}

fn inventory(object: &Value) -> BTreeSet<String> {
    let entries = object["status"]["inventory"]["entries"].as_array();
    entries.into_iter().flatten().filter_map(|entry| held(text(entry, "/id"))).collect()
}

/// Objects that carry an owner's labels and that no owner holds, and entries whose objects are not there.
fn orphans(all: &Objects) -> Vec<String> {
    let mut wrong = Vec::new();
    for (group, kind) in [(KUSTOMIZE, "Kustomization"), (HELM, "HelmRelease")] {
        let (name, namespace) = (format!("{group}/name"), format!("{group}/namespace"));
        let owner = |object: &Value| {
            let labels = &object["metadata"]["labels"];
            Some((labels[&namespace].as_str()?.to_owned(), labels[&name].as_str()?.to_owned()))
        };
        let mut owned: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for (key, object) in all {
            let metadata = &object["metadata"];
            // Hooks stay until their policy takes them; a chart belongs to its release by status.helmChart; Kubernetes copies
            // the labels of a Service to its Endpoints.
            if object["kind"] == "Endpoints" || !metadata["annotations"]["helm.sh/hook"].is_null() || !metadata["ownerReferences"].is_null()
            {
                continue;
            }
            if let Some(owner) = owner(object).filter(|_| !(kind == "HelmRelease" && object["kind"] == "HelmChart")) {
                owned.entry(owner).or_default().insert(key.clone());
            }
        }
        for (key, object) in all.iter().filter(|(key, _)| key.starts_with(&format!("{kind}/"))) {
            let owner = (text(object, "/metadata/namespace").to_owned(), text(object, "/metadata/name").to_owned());
            let (found, listed) = (owned.remove(&owner).unwrap_or_default(), inventory(object));
            wrong.extend(found.difference(&listed).map(|one| format!("{one} has the labels of {key}, which does not list it")));
            wrong.extend(listed.difference(&found).map(|one| format!("{one} is listed by {key}, and is not there")));
        }
        // Helm leaves definitions of custom resources behind on purpose.
        let left = owned.into_iter().flat_map(|(owner, objects)| objects.into_iter().map(move |one| (owner.clone(), one)));
        let left = left.filter(|(_, one)| !one.starts_with("CustomResourceDefinition/"));
        wrong.extend(left.map(|((namespace, name), one)| format!("{one} is of {kind} {namespace}/{name}, which is gone")));
    }
    let charts: BTreeSet<&str> = named(all, "HelmRelease").values().map(|release| text(release, "/status/helmChart")).collect();
    for object in named(all, "HelmChart").values() {
        let name = format!("{}/{}", text(object, "/metadata/namespace"), text(object, "/metadata/name"));
        if !charts.contains(name.as_str()) {
            wrong.push(format!("HelmChart {name} is of no release"));
        }
    }
    wrong
}

/// The versions that Helm's storage holds of each release, newest first, with their states.
fn stored(all: &Objects) -> BTreeMap<String, Vec<(i64, String)>> {
    let mut releases: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
    for object in all.values().filter(|object| object["type"] == "helm.sh/release.v1") {
        let labels = &object["metadata"]["labels"];
        let version = labels["version"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default();
        let name = labels["name"].as_str().unwrap_or_default().to_owned();
        releases.entry(name).or_default().push((version, labels["status"].as_str().unwrap_or_default().to_owned()));
    }
    releases.values_mut().for_each(|versions| versions.sort_by(|a, b| b.cmp(a)));
    releases
}

/// What is wrong with Helm's storage.
fn lost_releases(all: &Objects, before: &BTreeMap<String, Vec<(i64, String)>>) -> Vec<String> {
    let (releases, now) = (named(all, "HelmRelease"), stored(all));
    let mut wrong = Vec::new();
    for (name, versions) in &now {
        let Some(release) = releases.get(name.as_str()) else {
            wrong.push(format!("{name} is stored, and has no HelmRelease: {versions:?}"));
            continue;
        };
        let newest = versions[0].0;
        let at = release["status"]["history"][0]["version"].as_i64();
        if at != Some(newest) {
            wrong.push(format!("{name} is stored at {newest}, and its history says {at:?}"));
        }
        if versions[0].1 != "deployed" || versions.iter().filter(|(_, status)| status == "deployed").count() != 1 {
            wrong.push(format!("{name} is deployed once, and that is its newest: {versions:?}"));
        }
        if versions.iter().any(|(_, status)| status.starts_with("pending") || status == "uninstalling") {
            wrong.push(format!("{name} was left open: {versions:?}"));
        }
        if versions.windows(2).any(|pair| pair[0].0 != pair[1].0 + 1) || versions.len() > 6 || (newest > 5 && versions.len() < 5) {
            wrong.push(format!("{name} lacks a revision: {versions:?}"));
        }
        // Its HelmRelease is the same object as before, so is its line of revisions.
        if let Some(last) = before.get(&format!("{name} {}", text(release, "/metadata/uid"))).map(|versions| versions[0].0)
            && newest < last
        {
            wrong.push(format!("{name} was at {last} and is at {newest}"));
        }
    }
    for name in releases.keys().filter(|name| !now.contains_key(**name)) {
        wrong.push(format!("the release of {name} is not stored"));
    }
    wrong
}

/// Objects that were there before and are there now, and are not the same; `absent` were taken out of Git in between.
fn made_anew(before: &Objects, now: &Objects, absent: &BTreeSet<&str>) -> Vec<String> {
    let kept = |object: &Value| {
        let metadata = &object["metadata"];
        metadata["ownerReferences"].is_null() && metadata["annotations"]["helm.sh/hook"].is_null()
    };
    let owned = |object: &Value| {
        let labels = &object["metadata"]["labels"];
        !labels[format!("{KUSTOMIZE}/name")].is_null() || !labels[format!("{HELM}/name")].is_null()
    };
    let asked_for = |key: &str| !absent.iter().any(|name| key.contains(name));
    let was = before.iter().filter(|(key, object)| kept(object) && owned(object) && asked_for(key));
    was.filter_map(|(key, old)| {
        let new = now.get(key)?;
        (new["metadata"]["uid"] != old["metadata"]["uid"]).then(|| format!("{key} was deleted and made anew"))
    })
    .collect()
}

/// Files in a store that belong to no object.
fn left_in_store(house: &House, folder: &str, all: &Objects) -> Vec<String> {
    let root = house.state.path().join(folder);
    let mut left = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let inside = path.strip_prefix(&root).unwrap().display().to_string();
            // The cache of what was fetched is no store.
            if inside.starts_with(".tmp-git-cache") {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if inside.contains(".tmp") || inside.contains("/.") {
                left.push(format!("{inside} is a part of a file"));
            } else if let [kind, namespace, name, ..] = inside.split('/').collect::<Vec<_>>()[..] {
                let known = all.keys().any(|key| key.to_lowercase() == format!("{kind}/{namespace}/{name}"));
                if matches!(kind, "gitrepository" | "helmchart" | "externalartifact") && !known {
                    left.push(format!("{inside} is of no object"));
                }
            }
        }
    }
    left
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Source,
    Artifact,
    Kustomize,
    Helm,
}

const VICTIMS: [Victim; 4] = [Victim::Source, Victim::Artifact, Victim::Kustomize, Victim::Helm];

/// kill -9, and a start at once, as Kubernetes does it; `emptied` is what is left of a pod's own volume after it moved.
fn kill(house: &mut House, victim: Victim, emptied: bool) {
    let process = match victim {
        Victim::Source => &mut house.source,
        Victim::Artifact => &mut house.artifact,
        Victim::Kustomize => &mut house.kustomize,
        Victim::Helm => &mut house.helm,
    };
    process.as_mut().unwrap().kill();
    let folder = if victim == Victim::Source { "artifacts" } else { "made" };
    if emptied && matches!(victim, Victim::Source | Victim::Artifact) {
        let _ = std::fs::remove_dir_all(house.state.path().join(folder));
    }
    match victim {
        Victim::Source => house.start_source(),
        Victim::Artifact => house.start_artifact(),
        Victim::Kustomize => house.start_kustomize(),
        Victim::Helm => house.start_helm(),
    }
}

/// Waits until `check` finds nothing wrong.
fn until_right(what: &str, mut check: impl FnMut() -> Result<(), String>) -> Duration {
    let started = Instant::now();
    e2e::until(what, &mut check);
    started.elapsed()
}

#[test]
fn killed_at_any_moment_the_platform_converges_with_nothing_lost_and_nothing_left() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (kills, seed) = (number("SLUICE_TEST_KILLS", 4), number("SLUICE_TEST_SEED", 1));
    let mut random = Random::new(seed);
    let server = GitServer::start();
    let platform = Platform::new(&server);
    let mut state = State::first();
    let mut commit = platform.push(&state, "the platform");
    let mut house = House::start(Options { feature_gates: "ExternalArtifact=true", ..Options::default() });
    house.start_artifact();
    house.start_helm();
    let pods = Pods::of(&house);
    house.apply(&format!(
        "apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: flux-system, namespace: flux-system}}
spec: {{interval: 1s, url: {}, ref: {{branch: main}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: flux-system, namespace: flux-system}}
spec: {{interval: 10m, retryInterval: 5s, path: ./clusters/dev, prune: true, sourceRef: {{kind: GitRepository, name: flux-system}}}}
",
        server.url("platform")
    ));
    let mut before = Objects::new();
    let mut storage_before = BTreeMap::new();
    let mut kinds = String::new();
    let mut slowest = Duration::ZERO;
    let (mut done, mut count) = (0, BTreeMap::new());
    while done <= kills {
        // The first round is undisturbed.
        let (mut told, mut absent) = (Vec::new(), BTreeSet::new());
        if done > 0 {
            for _ in 0..=random.below(2) {
                let mut what = vec![state.edit(&mut random)];
                if random.once_in(3) {
                    what.push(state.edit(&mut random));
                }
                commit = platform.push(&state, &what.join(", "));
                absent.extend((!state.dns).then_some("external-dns"));
                absent.extend((!state.observability).then_some("observability"));
                told.push(format!("{what:?}"));
                let longest = if random.once_in(2) { 1500 } else { 5000 };
                let pause = random.moment(Duration::from_millis(longest));
                std::thread::sleep(pause);
                let (victim, emptied) = (*random.choose(&VICTIMS), random.once_in(4));
                kill(&mut house, victim, emptied);
                told.push(format!("{pause:?}, kill {victim:?}{}", if emptied { " with its volume" } else { "" }));
                *count.entry(format!("{victim:?}")).or_insert(0) += 1;
                done += 1;
            }
        } else {
            done += 1;
        }
        let round = format!("after {} kills of seed {seed} ({})", done - 1, told.join("; "));
        println!("{round}");
        let mut last = Objects::new();
        let took = until_right(&round, || {
            let flux = list(&house, &[FLUX_KINDS])?;
            converged(&flux, &state, &commit)?;
            if kinds.is_empty() {
                kinds = all_kinds(&house);
            }
            last = list(&house, &[&kinds])?;
            as_asked(&last, &state)?;
            let mut wrong = orphans(&last);
            wrong.extend(lost_releases(&last, &storage_before));
            if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
        });
        let anew = made_anew(&before, &last, &absent);
        assert!(anew.is_empty(), "{round}: {}", anew.join("\n"));
        slowest = slowest.max(took);
        println!("  converged in {took:?}");
        let releases = named(&last, "HelmRelease");
        storage_before = stored(&last)
            .into_iter()
            .map(|(name, versions)| (format!("{name} {}", text(releases[name.as_str()], "/metadata/uid")), versions))
            .collect();
        before = last;
    }
    // Files of objects that went away go with the next look of their controller.
    until_right("stores without leftovers", || {
        let left: Vec<_> = ["artifacts", "made"].iter().flat_map(|folder| left_in_store(&house, folder, &before)).collect();
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    });
    println!("{count:?}; the slowest round took {slowest:?}");
    assert!(slowest < PATIENCE);

    // And all of it goes again, killed on the way.
    house.kubectl(&["delete", "kustomization", "flux-system", "-n", "flux-system", "--wait=false"]);
    for victim in VICTIMS {
        std::thread::sleep(random.moment(Duration::from_millis(1500)));
        kill(&mut house, victim, false);
    }
    let took = until_right("everything to be gone", || {
        let all = list(&house, &[&kinds])?;
        let mut wrong = orphans(&all);
        wrong.extend(named(&all, "HelmRelease").keys().map(|name| format!("HelmRelease {name} is there")));
        wrong.extend(named(&all, "Kustomization").keys().map(|name| format!("Kustomization {name} is there")));
        wrong.extend(stored(&all).keys().map(|name| format!("the release {name} is stored")));
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    });
    println!("all gone after {took:?}");
    drop(pods);
    house.clean();
}
