//! What the real kustomize 5.8.1 printed, byte by byte. The probes are part of the project; the cases of other projects run where they lie
//! beside it, as does the list of merge cases.

use kustomize::{LoadRestriction, Options, Order, build};
use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};
use tree::MemoryTree;

type Files = BTreeMap<String, Vec<u8>>;

/// The files of each case, from entries `case/path`.
fn by_case(files: Files) -> BTreeMap<String, Files> {
    let mut cases: BTreeMap<String, Files> = BTreeMap::new();
    for (path, bytes) in files {
        if let Some((case, inner)) = path.split_once('/') {
            cases.entry(case.to_owned()).or_default().insert(inner.to_owned(), bytes);
        }
    }
    cases
}

fn text(files: &Files, name: &str) -> Option<String> {
    files.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// Builds one case in one order; says what is wrong, if anything.
fn check(files: &Files, order: Order, expected: Option<&str>) -> Result<(), String> {
    let args = text(files, "ARGS").unwrap_or_default();
    let root = text(files, "ROOT").unwrap_or_default();
    let mut tree = MemoryTree::new();
    for (path, bytes) in files {
        tree.insert(path, bytes.clone(), false);
    }
    let mut options = Options { order, ..Options::default() };
    if args.contains("LoadRestrictionsNone") {
        options.load_restriction = LoadRestriction::None;
    }
    if args.contains("--enable-managedby-label") {
        options.managed_by = Some(options.managed_by_value.clone());
    }
    // The cases stand in a directory of their own below the root of the tree.
    let result = build(&tree, root.trim(), &options).and_then(|build| build.to_yaml());
    match (result, expected) {
        (Ok(found), Some(expected)) if found == expected => Ok(()),
        (Ok(found), Some(expected)) => {
            let random = text(files, "META.json").is_some_and(|meta| meta.contains("\"nondeterministic\""));
            let values =
                |text: &str| yaml::documents(text, yaml::Dialect::Kyaml).map(|all| all.iter().map(|one| one.to_json()).collect::<Vec<_>>());
            if random && values(&found) == values(expected) {
                return Ok(());
            }
            let line = found.lines().zip(expected.lines()).position(|(a, b)| a != b).unwrap_or(0);
            Err(format!("line {}: found {:?}, expected {:?}", line + 1, found.lines().nth(line), expected.lines().nth(line)))
        }
        (Ok(_), None) => Err("built, but kustomize fails".to_owned()),
        (Err(_), None) => Ok(()),
        (Err(error), Some(_)) => Err(format!("failed: {error}")),
    }
}

/// Runs all cases, prints how many are exact, and fails with the list of those that are not.
fn run(name: &str, cases: &BTreeMap<String, Files>) {
    let mut wrong = Vec::new();
    let mut legacy = 0;
    for (case, files) in cases.iter().filter(|(_, files)| files.contains_key("ROOT")) {
        let expected = text(files, "expected.yaml");
        let order = if text(files, "ARGS").is_some_and(|args| args.contains("--reorder none")) { Order::Fifo } else { Order::Legacy };
        if let Err(why) = check(files, order, expected.as_deref()) {
            wrong.push(format!("{case}: {why}"));
        }
        if let Some(expected) = text(files, "expected_legacy.yaml") {
            legacy += 1;
            if let Err(why) = check(files, Order::Legacy, Some(&expected)) {
                wrong.push(format!("{case} (legacy order): {why}"));
            }
        }
    }
    let total = cases.values().filter(|files| files.contains_key("ROOT")).count() + legacy;
    println!("{name}: {} of {total} exact", total - wrong.len());
    assert!(total > 0, "no cases found");
    assert!(wrong.is_empty(), "{name}: {} of {total} are not exact:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn probes_are_exact() {
    let archive: &[u8] = include_bytes!("fixtures/probes.tar.gz");
    let mut files = Files::new();
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    for entry in archive.entries().expect("the fixture is an archive") {
        let mut entry = entry.expect("the fixture is whole");
        if entry.header().entry_type().is_file() {
            let path = entry.path().expect("paths are UTF-8").to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("the fixture is whole");
            files.insert(path, bytes);
        }
    }
    run("probes", &by_case(files));
}

/// The directory of the shared corpora, where there is one.
fn shared() -> Option<PathBuf> {
    let dir =
        std::env::var_os("SLUICE_SHARED").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    dir.join("corpus").is_dir().then(|| dir.join("corpus"))
}

fn unpack(archive: &str) -> Option<tempfile::TempDir> {
    let Some(corpus) = shared() else {
        println!("skipped: there is no ../shared/corpus");
        return None;
    };
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let status = Command::new("tar").arg("-xf").arg(corpus.join(archive)).arg("-C").arg(dir.path()).status();
    if !status.is_ok_and(|status| status.success()) {
        println!("skipped: tar cannot unpack {archive}");
        return None;
    }
    Some(dir)
}

/// Every file below a directory; links are read as what they point at.
fn read_all(dir: &Path, prefix: &str, into: &mut Files) {
    for entry in fs::read_dir(dir).expect("the corpus can be read").flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let path = entry.path();
        if path.is_dir() {
            read_all(&path, &format!("{name}/"), into);
        } else if let Ok(bytes) = fs::read(&path) {
            into.insert(name, bytes);
        }
    }
}

#[test]
fn cases_of_other_projects_are_exact() {
    let Some(dir) = unpack("kustomize-upstream.tar.xz") else { return };
    let mut files = Files::new();
    read_all(dir.path(), "", &mut files);
    run("upstream", &by_case(files));
}

/// The merge cases are compared formatted, and kyaml's formatter sorts containers by name.
fn formatted(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Array(items) => items.iter_mut().for_each(formatted),
        serde_json::Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                formatted(value);
                if let (true, Some(items)) = (key.ends_with("ontainers") || key == "volumes", value.as_array_mut()) {
                    items.sort_by_key(|item| item["name"].as_str().map(str::to_owned));
                }
            }
        }
        _ => {}
    }
}

#[test]
fn merge_cases_are_exact() {
    let Some(dir) = unpack("kustomize-merge.tar.xz") else { return };
    let mut files = Files::new();
    read_all(&dir.path().join("kustomize_merge2"), "", &mut files);
    let cases = by_case(files);
    let mut wrong = Vec::new();
    for (case, files) in &cases {
        let meta = text(files, "META.json").unwrap_or_default();
        let options = kustomize::MergeOptions { infer: meta.contains("\"infer\": true"), append: !meta.contains("\"prepend\"") };
        let part = |name: &str| text(files, name).unwrap_or_default();
        let value = |text: &str| {
            yaml::to_json(text, yaml::Dialect::Kyaml).map(|mut value| {
                formatted(&mut value);
                value
            })
        };
        match kustomize::merge(&part("dest.yaml"), &part("patch.yaml"), options) {
            Ok(found) if value(&found) == value(&part("expected.yaml")) => {}
            Ok(found) => wrong.push(format!("{case}:\n{found}instead of\n{}", part("expected.yaml"))),
            Err(error) => wrong.push(format!("{case}: {error}")),
        }
    }
    println!("merge: {} of {} exact", cases.len() - wrong.len(), cases.len());
    assert!(!cases.is_empty(), "no cases found");
    assert!(wrong.is_empty(), "{} of {} are not exact:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
