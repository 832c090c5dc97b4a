//! The `helm` verbs of the command line with charts in repositories and registries.

#![allow(clippy::unwrap_used)]

use base64::{Engine, engine::general_purpose::STANDARD};
use e2e::{Answer, ChartRepository, Registry, Web, binary};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const PASSWORD: &str = "s3cret-pass";

/// A folder to work in, which is also the home of who types.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn run(&self, words: &str) -> Output {
        let mut command = Command::new(binary("sluice"));
        command
            .arg("helm")
            .args(words.split(' '))
            .current_dir(self.path())
            .env("HOME", self.path())
            .env("KUBECONFIG", self.path().join("none"));
        for name in ["HELM_CONFIG_HOME", "HELM_REPOSITORY_CONFIG", "HELM_REGISTRY_CONFIG", "XDG_CONFIG_HOME", "DOCKER_CONFIG"] {
            command.env_remove(name);
        }
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!told.contains(PASSWORD), "a password is shown: {told}");
        output
    }

    fn works(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn fails(&self, words: &str) -> String {
        let output = self.run(words);
        assert!(!output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Packs a chart `web` of a version into `served`.
    fn pack(&self, version: &str) -> Vec<u8> {
        self.write("source/web/Chart.yaml", &format!("apiVersion: v2\nname: web\nversion: {version}\n"));
        self.write("source/web/templates/a.yaml", "version: {{ .Chart.Version }}\n");
        self.works("package source/web -d served");
        fs::read(self.path().join(format!("served/web-{version}.tgz"))).unwrap()
    }

    /// A chart whose one dependency is `web`.
    fn parent(&self, version: &str, repository: &str) {
        let _ = fs::remove_dir_all(self.path().join("parent"));
        let dependency = format!("{{name: web, version: \"{version}\", repository: \"{repository}\"}}");
        self.write("parent/Chart.yaml", &format!("apiVersion: v2\nname: parent\nversion: 1.0.0\ndependencies: [{dependency}]\n"));
    }

    fn has(&self, path: &str) -> bool {
        self.path().join(path).exists()
    }
}

#[test]
fn charts_come_from_a_repository_by_name_and_range() {
    let desk = Desk::new();
    for version in ["1.0.0", "1.2.0", "2.0.0-rc.1"] {
        desk.pack(version);
    }
    let repository = ChartRepository::serve(&desk.path().join("served"));
    let url = &repository.url;
    for (words, version) in [("", "1.2.0"), (" --version ~1.0", "1.0.0"), (" --devel", "2.0.0-rc.1")] {
        let rendered = desk.works(&format!("template web --repo {url}{words}"));
        assert_eq!(rendered, format!("---\n# Source: web/templates/a.yaml\nversion: {version}\n"));
    }
    assert!(desk.works(&format!("show chart web --repo {url}")).contains("version: 1.2.0\n"));
    for (words, wanted) in [
        (format!("template none --repo {url}"), format!("Error: chart \"none\" not found in {url} repository\n")),
        (format!("template web --repo {url} --version 9"), format!("Error: chart \"web\" version \"9\" not found in {url} repository\n")),
        ("template nope/web".to_owned(), "Error: repo nope not found\n".to_owned()),
        ("template nowhere".to_owned(), "Error: non-absolute URLs should be in form of repo_name/path_to_chart, got: nowhere\n".to_owned()),
    ] {
        assert_eq!(desk.fails(&words), wanted);
    }
    let told = desk.fails(&format!("template web --repo {url}/no"));
    assert!(told.starts_with(&format!("Error: looks like \"{url}/no\" is not a valid chart repository or cannot be reached: ")), "{told}");
    // The names that `helm repo add` gives hold here, too.
    desk.write(".config/helm/repositories.yaml", &format!("repositories:\n- {{name: shop, url: \"{url}\"}}\n"));
    assert!(desk.works("template shop/web --version 1.0.0").contains("version: 1.0.0"));
}

#[test]
fn dependencies_are_fetched_locked_and_built_again_from_the_lock() {
    let desk = Desk::new();
    desk.pack("1.0.0");
    let repository = ChartRepository::serve(&desk.path().join("served"));
    let url = &repository.url;
    desk.parent("^1", url);
    let said = desk.works("dependency update parent");
    let wanted = format!(
        "Getting updates for unmanaged Helm repositories...\n...Successfully got an update from the \"{url}\" chart repository\nSaving 1 charts\nDownloading web from repo {url}\nDeleting outdated charts\n"
    );
    assert_eq!(said, wanted);
    let served = fs::read(desk.path().join("served/web-1.0.0.tgz")).unwrap();
    assert_eq!(fs::read(desk.path().join("parent/charts/web-1.0.0.tgz")).unwrap(), served, "the archive is kept as it was fetched");
    // A newer chart is taken by update, not by build.
    let newer = desk.pack("1.1.0");
    fs::remove_dir_all(desk.path().join("parent/charts")).unwrap();
    desk.works("dependency build parent");
    assert!(desk.has("parent/charts/web-1.0.0.tgz") && !desk.has("parent/charts/web-1.1.0.tgz"));
    e2e::until("the repository to list the newer chart", || {
        desk.works("dependency update parent");
        if desk.has("parent/charts/web-1.1.0.tgz") { Ok(()) } else { Err("only the older one".to_owned()) }
    });
    assert_eq!(fs::read(desk.path().join("parent/charts/web-1.1.0.tgz")).unwrap(), newer);
    assert!(!desk.has("parent/charts/web-1.0.0.tgz"), "what is outdated goes");
    assert!(desk.works("template parent").contains("version: 1.1.0"));
    desk.parent("9", url);
    assert!(desk.fails("dependency update parent").contains("can't get a valid version for 1 subchart(s)"));
    assert!(!desk.has("parent/charts"), "nothing is written for a version that does not exist");
}

#[test]
fn a_chart_that_is_not_what_the_index_says_is_refused() {
    let desk = Desk::new();
    let packed = desk.pack("1.0.0");
    let index = format!(
        "apiVersion: v1\nentries:\n  web:\n  - {{apiVersion: v2, name: web, version: 1.0.0, digest: {}, urls: [web-1.0.0.tgz]}}\n",
        "ab".repeat(32)
    );
    let files = [("/index.yaml".to_owned(), index.into_bytes()), ("/web-1.0.0.tgz".to_owned(), packed)];
    let web = Web::files(files.into_iter().collect());
    let told = desk.fails(&format!("template web --repo http://{}", web.address));
    assert!(told.contains("but the index of the repository says sha256:abab"), "{told}");
    desk.parent("1", &format!("http://{}", web.address));
    assert!(desk.fails("dependency update parent").contains("but the index of the repository says sha256:abab"));
    assert!(!desk.has("parent/charts/web-1.0.0.tgz"));
}

#[test]
fn credentials_go_to_the_repository_they_are_for_and_are_never_shown() {
    let desk = Desk::new();
    let packed = desk.pack("1.0.0");
    let index = b"apiVersion: v1\nentries:\n  web:\n  - {apiVersion: v2, name: web, version: 1.0.0, urls: [web-1.0.0.tgz]}\n".to_vec();
    let expected = format!("Basic {}", STANDARD.encode(format!("me:{PASSWORD}")));
    let web = Web::start(move |_, asked| match asked.path.as_str() {
        _ if asked.headers.get("authorization") != Some(&expected) => Answer::of(401, ""),
        "/index.yaml" => Answer::of(200, index.clone()),
        "/web-1.0.0.tgz" => Answer::of(200, packed.clone()),
        _ => Answer::of(404, ""),
    });
    let (address, url) = (&web.address, format!("http://{}", web.address));
    assert!(desk.fails(&format!("template web --repo {url}")).contains("401"));
    desk.works(&format!("template web --repo {url} --username me --password {PASSWORD}"));
    desk.works(&format!("template {url}/web-1.0.0.tgz --username me --password {PASSWORD}"));
    desk.works(&format!("template web --repo http://me:{PASSWORD}@{address}"));
    desk.fails(&format!("template web --repo http://me:{PASSWORD}@{address} --version 7"));
    desk.fails(&format!("template web --repo http://me:{PASSWORD}@{address}/no"));
    desk.fails(&format!("template http://me:{PASSWORD}@{address}/web-9.tgz"));
    desk.fails(&format!("template oci://me:{PASSWORD}@{address}/web"));
    desk.parent("9", &format!("http://me:{PASSWORD}@{address}"));
    desk.fails("dependency update parent");
    // What a chart names as its repository is no place for the credentials of the command line.
    desk.parent("1", &url);
    let before = web.asked().len();
    desk.fails(&format!("dependency update parent --username me --password {PASSWORD}"));
    assert!(web.asked()[before..].iter().all(|asked| !asked.headers.contains_key("authorization")));
    let known = format!("repositories:\n- {{name: shop, url: \"{url}\", username: me, password: {PASSWORD}}}\n");
    desk.write(".config/helm/repositories.yaml", &known);
    assert!(desk.works("dependency update parent").contains("from the \"shop\" chart repository"));
    desk.parent("1", "@shop");
    desk.works("dependency update parent");
    assert!(desk.has("parent/charts/web-1.0.0.tgz"));
}

#[test]
fn charts_come_from_a_registry_by_tag_and_range() {
    let Some(registry) = Registry::start(false) else { return };
    let desk = Desk::new();
    for version in ["1.0.0", "1.2.0"] {
        registry.push_chart(&format!("charts/web:{version}"), desk.pack(version));
    }
    let address = format!("oci://{}/charts", registry.address);
    for (words, version) in
        [("/web", "1.2.0"), ("/web --version 1.0.0", "1.0.0"), ("/web --version ~1.0", "1.0.0"), ("/web:1.0.0", "1.0.0")]
    {
        assert!(desk.works(&format!("template {address}{words}")).contains(&format!("version: {version}\n")), "{words}");
    }
    assert!(desk.fails(&format!("template {address}/web --version 3.0.0")).contains("not found"));
    assert!(
        desk.fails(&format!("template {address}/web --version ^3"))
            .contains("could not locate a version matching provided version string ^3")
    );
    desk.fails(&format!("template {address}/none"));
    desk.parent("^1", &address);
    let said = desk.works("dependency update parent");
    let pulled = format!("Downloading web from repo {address}\nPulled: {}/charts/web:1.2.0\nDigest: sha256:", registry.address);
    assert!(said.contains(&pulled), "{said}");
    assert!(desk.has("parent/charts/web-1.2.0.tgz"));
    assert!(fs::read_to_string(desk.path().join("parent/Chart.lock")).unwrap().contains("version: 1.2.0"));
}
