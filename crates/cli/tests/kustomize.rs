//! `sluice kustomize build` as people call it, side by side with kustomize where that is installed.
//!
//! The program is what `SLUICE_TEST_KUSTOMIZE` names, or `kustomize` on the path when that is a 5.8.1; without one, what compares says that it
//! was skipped, and the rest still runs.

#![cfg(unix)]
#![allow(clippy::expect_used)] // a test that cannot start the program has failed

mod common;

use common::{Answer, folder};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::{fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// Runs a program, which has to end by itself soon.
fn run(program: &Path, words: &[&str], folder: &Path) -> Answer {
    let start = Instant::now();
    let answer = Answer::of(Command::new(program).args(words).current_dir(folder));
    assert!(start.elapsed() < Duration::from_secs(30), "{words:?} took {:?}", start.elapsed());
    answer
}

fn sluice(words: &[&str], folder: &Path) -> Answer {
    run(Path::new(env!("CARGO_BIN_EXE_sluice")), &[&["kustomize", "build"], words].concat(), folder)
}

/// The real kustomize, where there is one.
fn kustomize() -> Option<PathBuf> {
    let named = std::env::var_os("SLUICE_TEST_KUSTOMIZE").map(PathBuf::from);
    let program = named.clone().unwrap_or_else(|| PathBuf::from("kustomize"));
    let version = Command::new(&program).arg("version").output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let version = version.unwrap_or_default();
    // Distributions build it without a number.
    let is_it = version.contains("5.8.1") || (named.is_some() && !version.is_empty());
    assert!(named.is_none() || is_it, "SLUICE_TEST_KUSTOMIZE names no kustomize: {version:?}");
    if !is_it {
        println!("SKIPPED: no kustomize 5.8.1 (set SLUICE_TEST_KUSTOMIZE, or put kustomize on PATH)");
    }
    is_it.then_some(program)
}

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: podinfo
spec:
  replicas: 1
  selector:
    matchLabels:
      app: podinfo
  template:
    metadata:
      labels:
        app: podinfo
    spec:
      containers:
      - name: podinfo
        image: ghcr.io/stefanprodan/podinfo:6.5.0
";

const OVERLAY: [(&str, &str); 4] = [
    ("base/deployment.yaml", DEPLOYMENT),
    ("base/kustomization.yaml", "resources:\n- deployment.yaml\n"),
    (
        "overlay/kustomization.yaml",
        "resources:\n- ../base\nnamePrefix: prod-\nnamespace: podinfo\nimages:\n- name: ghcr.io/stefanprodan/podinfo\n  newTag: 6.9.9\npatches:\n- path: replicas.yaml\n",
    ),
    ("overlay/replicas.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: podinfo\nspec:\n  replicas: 3\n"),
];

#[test]
fn the_explanation_in_the_documentation_is_what_is_printed() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/kustomize.md")).expect("the page is there");
    let command = "$ sluice kustomize build overlay --explain deployment/prod-podinfo\n";
    let shown = page.split_once(command).and_then(|(_, rest)| rest.split_once("```")).expect("the page has the example").0;
    let files = folder(&OVERLAY);
    let answer = sluice(&["overlay", "--explain", "deployment/prod-podinfo"], files.path());
    assert_eq!(answer.out, shown, "{}", answer.err);
    let unknown = sluice(&["overlay", "--explain", "deployment/podinfo"], files.path());
    assert_eq!(unknown.err, "Error: no object deployment/podinfo in the build; there are prod-podinfo\n");
}

/// Every file below a folder, with its content.
fn files_in(folder: &Path, prefix: &str, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            files_in(&entry.path(), &format!("{name}/"), into);
        } else {
            into.insert(name, fs::read_to_string(entry.path()).unwrap_or_default());
        }
    }
}

#[test]
fn flags_and_exit_codes_are_those_of_kustomize() {
    let files: [(&str, &str); 6] = [
        ("kustomization.yaml", "resources: [cluster.yaml, app]\n"),
        (
            "cluster.yaml",
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: reader}\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n",
        ),
        ("app/kustomization.yaml", "resources: [d.yaml]\nnamespace: b\nconfigMapGenerator: [{name: c, literals: [a=b]}]\n"),
        ("app/d.yaml", DEPLOYMENT),
        ("outside/kustomization.yaml", "resources: [../app/d.yaml]\n"),
        ("empty/kustomization.yaml", "resources: []\n"),
    ];
    let lines: &[(&str, i32)] = &[
        ("", 0),
        (".", 0),
        ("./app/", 0),
        ("app/../app", 0),
        ("--reorder legacy", 0),
        ("--reorder=none app", 0),
        ("--reorder other", 1),
        ("outside", 1),
        ("outside --load-restrictor LoadRestrictionsNone", 0),
        ("--load-restrictor=LoadRestrictionsRootOnly outside", 1),
        ("--load-restrictor none", 1),
        ("--enable-managedby-label", 0),
        ("--enable-managedby-label=false", 0),
        ("--enable-managedby-label=x", 1),
        ("--enable-alpha-plugins --enable-exec --network --network-name n --mount type=bind --as-current-user --stack-trace", 0),
        ("-e A=B --env C=D --helm-api-versions a/v1 --helm-command x --helm-debug --helm-kube-version 1.30", 0),
        ("-o out.yaml", 0),
        ("--output=out.yaml app", 0),
        ("-oout.yaml", 0),
        ("-o made", 0),
        ("app -o made", 0),
        ("-o none/out.yaml", 1),
        ("-o", 1),
        ("app outside", 1),
        ("app/d.yaml", 1),
        ("nowhere", 1),
        ("-", 1),
        ("made", 1),
        ("empty", 0),
        ("--unknown", 1),
        ("-x", 1),
        ("-- app", 0),
    ];
    let real = kustomize();
    for (line, code) in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let attempt = |answer: &dyn Fn(&Path) -> Answer| {
            let folder = folder(&files);
            fs::create_dir(folder.path().join("made")).expect("a folder");
            let answer = answer(folder.path());
            let mut after = BTreeMap::new();
            files_in(folder.path(), "", &mut after);
            (answer, after)
        };
        let (ours, our_files) = attempt(&|folder| sluice(&words, folder));
        assert_eq!(ours.code, Some(*code), "{line}: {}", ours.err);
        assert_eq!(ours.err.contains("Error: "), *code != 0, "{line}: {}", ours.err);
        if let Some(real) = &real {
            let (theirs, their_files) = attempt(&|folder| run(real, &[&["build"], &words[..]].concat(), folder));
            assert_eq!((ours.code, ours.out), (theirs.code, theirs.out), "{line}: {} and {}", ours.err, theirs.err);
            assert_eq!(our_files, their_files, "{line}");
        }
    }
}

/// The kustomizations below a folder.
fn kustomizations(folder: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()).collect();
    entries.sort();
    if ["kustomization.yaml", "kustomization.yml", "Kustomization"].iter().any(|name| folder.join(name).is_file()) {
        into.push(folder.to_owned());
    }
    entries.iter().filter(|path| path.is_dir() && !path.is_symlink()).for_each(|path| kustomizations(path, into));
}

#[test]
fn repositories_build_as_with_kustomize() {
    let Some(real) = kustomize() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let unpacked = tempfile::tempdir().expect("a temporary folder");
    let mut all = Vec::new();
    for part in ["config", "examples"] {
        kustomizations(&root.join(part), &mut all);
    }
    let shared = std::env::var_os("SLUICE_SHARED").map_or_else(|| root.join("../shared"), PathBuf::from).join("repos");
    match fs::read_dir(&shared) {
        Err(_) => println!("SKIPPED: the repositories of ../shared/repos, which is not there"),
        Ok(archives) => {
            for archive in archives.flatten().filter(|archive| archive.path().extension().is_some_and(|end| end == "xz")) {
                let status = Command::new("tar").arg("-xf").arg(archive.path()).arg("-C").arg(unpacked.path()).status();
                assert!(status.is_ok_and(|status| status.success()), "{:?} cannot be unpacked", archive.path());
            }
            kustomizations(unpacked.path(), &mut all);
        }
    }
    let mut built = 0;
    for path in &all {
        let theirs = run(&real, &["build", "."], path);
        let ours = sluice(&["."], path);
        let fails = |answer: &Answer| answer.code != Some(0);
        assert_eq!(fails(&ours), fails(&theirs), "{}: {}{}", path.display(), ours.err, theirs.err);
        assert_eq!(ours.out, theirs.out, "{}", path.display());
        built += usize::from(!fails(&ours));
    }
    println!("{} kustomizations, {built} of them build, all as with kustomize", all.len());
    assert!(built > 5, "{all:?}");
}

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n";

/// SEC-39
#[test]
fn pipes_sockets_devices_and_endless_links_are_no_files() {
    let folder = folder(&[("kustomization.yaml", ""), ("a.yaml", CONFIG_MAP)]);
    let at = |name: &str| folder.path().join(name);
    let status = Command::new("mkfifo").arg(at("pipe")).status().expect("mkfifo runs");
    assert!(status.success());
    let _socket = UnixListener::bind(at("socket")).expect("a socket");
    symlink("loop", at("loop")).expect("a link");
    symlink("to", at("from")).expect("a link");
    symlink("from", at("to")).expect("a link");
    symlink(".", at("here")).expect("a link");
    symlink("/dev/zero", at("zeros")).expect("a link");
    symlink("/proc/self/environ", at("environ")).expect("a link");
    symlink("/proc/self/root", at("proc-root")).expect("a link");
    let here = folder.path().to_string_lossy().into_owned();
    for path in
        ["pipe", "socket", "loop", "from", "here", "zeros", "environ", "proc-root", "/dev/zero", "/proc/self/mem", "/proc/self/fd/0"]
    {
        for field in [
            "resources: [PATH]",
            "components: [PATH]",
            "crds: [PATH]",
            "configMapGenerator: [{name: g, files: [PATH]}]",
            "secretGenerator: [{name: g, envs: [PATH]}]",
            "patches: [{path: PATH}]",
            "transformers: [PATH]",
            "replacements: [{path: PATH}]",
            "openapi: {path: PATH}",
        ] {
            let content = field.replace("PATH", path);
            let content = if content.starts_with("resources") { content } else { format!("resources: [a.yaml]\n{content}") };
            fs::write(at("kustomization.yaml"), content).expect("a file");
            // With any file allowed, those of the kernel may be read, but they end.
            let restrictors: &[&str] = if path.contains("proc") || path == "environ" { &["RootOnly"] } else { &["RootOnly", "None"] };
            for restrictor in restrictors {
                let answer = sluice(&["--load-restrictor", &format!("LoadRestrictions{restrictor}")], folder.path());
                assert_eq!((answer.code, answer.out.as_str()), (Some(1), ""), "{field} {path}: {}", answer.err);
                assert!(answer.err.starts_with("Error: ") && !answer.err.contains(&here), "{field} {path}: {}", answer.err);
            }
        }
    }
    // The directory to build, and the kustomization file itself.
    for path in ["pipe", "socket", "loop", "zeros", "environ", "/proc/self/fd/0"] {
        let answer = sluice(&[path], folder.path());
        assert_eq!(answer.code, Some(1), "{path}: {}", answer.err);
    }
    let piped = self::folder(&[]);
    assert!(Command::new("mkfifo").arg(piped.path().join("kustomization.yaml")).status().expect("mkfifo runs").success());
    assert_eq!(sluice(&[], piped.path()).code, Some(1));
}

/// SEC-37
#[test]
fn files_larger_than_a_build_may_read_are_refused_unread() {
    let folder =
        folder(&[("kustomization.yaml", "resources: [a.yaml]\nconfigMapGenerator: [{name: g, files: [huge]}]\n"), ("a.yaml", CONFIG_MAP)]);
    // It has no blocks on the disk; reading it would take a second and a gigabyte.
    File::create(folder.path().join("huge")).expect("a file").set_len(1 << 30).expect("a sparse file");
    let answer = sluice(&[], folder.path());
    assert_eq!(answer.code, Some(1));
    assert!(answer.err.contains("more than 536870912 bytes of files"), "{}", answer.err);
    // Nor is what the kernel says to be as large as the memory of the machine.
    for path in ["/proc/kcore", "/proc/self/mem"] {
        fs::write(folder.path().join("kustomization.yaml"), format!("configMapGenerator: [{{name: g, files: [{path}]}}]\n"))
            .expect("a file");
        let answer = sluice(&["--load-restrictor", "LoadRestrictionsNone"], folder.path());
        assert_eq!((answer.code, answer.out.as_str()), (Some(1), ""), "{path}: {}", answer.err);
    }
}
