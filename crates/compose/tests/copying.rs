//! Copies, merges and archives, rule by rule.

#![allow(clippy::unwrap_used)]

use compose::{Limits, Operation, Sources, Strategy, compose};
use std::sync::Arc;
use tree::{Entry, MemoryTree, archive};

fn repo() -> MemoryTree {
    let mut tree = MemoryTree::from_iter([
        ("a.yaml", "a: 1\n"),
        ("b.yaml", "b: 2\n"),
        ("README.md", "# read\n"),
        ("conf/one.yaml", "one\n"),
        ("conf/notes.md", "note\n"),
        ("conf/deep/two.yaml", "two\n"),
        ("conf/deep/er/three.yaml", "three\n"),
    ]);
    tree.insert("run.sh", "#!/bin/sh\n", true);
    tree
}

fn operation(from: &str, to: &str) -> Operation {
    Operation { from: from.to_owned(), to: format!("@artifact/{to}"), ..Operation::default() }
}

fn excluding(from: &str, to: &str, exclude: &[&str]) -> Operation {
    Operation { exclude: exclude.iter().map(|one| (*one).to_owned()).collect(), ..operation(from, to) }
}

fn by(strategy: Strategy, operation: Operation) -> Operation {
    Operation { strategy, ..operation }
}

fn sources(tree: MemoryTree) -> Sources {
    Sources::from([("repo".to_owned(), Arc::new(tree))])
}

fn made(operations: &[Operation]) -> MemoryTree {
    compose(&sources(repo()), operations, Limits::default()).unwrap()
}

fn files(tree: &MemoryTree) -> Vec<&str> {
    tree.entries().filter(|(_, entry)| matches!(entry, Entry::File { .. })).map(|(path, _)| path).collect()
}

fn failure(operations: &[Operation]) -> String {
    failure_in(repo(), operations)
}

fn failure_in(tree: MemoryTree, operations: &[Operation]) -> String {
    let error = compose(&sources(tree), operations, Limits::default()).unwrap_err();
    let mut text = error.to_string();
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text.split_once("': ").unwrap().1.to_owned()
}

#[test]
fn a_file_goes_to_a_name_or_into_a_folder() {
    assert_eq!(files(&made(&[operation("@repo/a.yaml", "x/app.yaml")])), ["x/app.yaml"]);
    assert_eq!(files(&made(&[operation("@repo/conf/one.yaml", "x/")])), ["x/one.yaml"]);
    assert_eq!(files(&made(&[operation("@repo/conf/one.yaml", "")])), ["one.yaml"]);
    assert_eq!(files(&made(&[operation("@repo/./conf/../a.yaml", ".")])), ["a.yaml"]);
    let into = made(&[operation("@repo/conf/**", "apps/"), operation("@repo/a.yaml", "apps")]);
    assert!(files(&into).contains(&"apps/a.yaml"), "a folder that is there takes the file in");
}

#[test]
fn a_folder_becomes_a_folder_with_or_without_slash() {
    for from in ["@repo/conf", "@repo/conf/"] {
        let tree = made(&[operation(from, "x")]);
        assert_eq!(files(&tree), ["x/conf/deep/er/three.yaml", "x/conf/deep/two.yaml", "x/conf/notes.md", "x/conf/one.yaml"], "{from}");
    }
    assert_eq!(made(&[operation("@repo/", "")]), repo(), "the root has no name: its contents are copied");
}

#[test]
fn patterns_keep_the_path_except_after_a_folder_with_two_stars() {
    assert_eq!(files(&made(&[operation("@repo/*.yaml", "x")])), ["x/a.yaml", "x/b.yaml"]);
    assert_eq!(files(&made(&[operation("@repo/conf/*.yaml", "x/")])), ["x/conf/one.yaml"]);
    assert_eq!(files(&made(&[operation("@repo/conf/deep/**", "")])), ["er/three.yaml", "two.yaml"]);
    assert_eq!(files(&made(&[operation("@repo/*/deep/*.yaml", "")])), ["conf/deep/two.yaml"]);
    assert_eq!(made(&[operation("@repo/**", "")]), repo());
}

#[test]
fn excludes_see_whole_paths_paths_below_the_fixed_part_and_names() {
    assert_eq!(files(&made(&[excluding("@repo/conf/**", "", &["*.md", "deep/er/**"])])), ["deep/two.yaml", "one.yaml"]);
    assert_eq!(files(&made(&[excluding("@repo/conf/**", "", &["conf/deep"])])), ["notes.md", "one.yaml"]);
    assert_eq!(files(&made(&[excluding("@repo/**", "", &["deep", "{a,b}.yaml", "**/*.md", "run.sh"])])), ["conf/one.yaml"]);
    assert_eq!(files(&made(&[excluding("@repo/a.yaml", "", &["*.yaml"])])), Vec::<&str>::new(), "a single file is passed over");
    assert_eq!(
        failure(&[excluding("@repo/*.yaml", "", &["*.yaml"])]),
        "all files matching pattern '*.yaml' in source 'repo' were excluded"
    );
    assert_eq!(failure(&[excluding("@repo/**", "", &["[a-"])]), "invalid exclude pattern '[a-'");
}

#[test]
fn later_operations_overwrite_and_modes_come_along() {
    let tree = made(&[operation("@repo/a.yaml", "f"), operation("@repo/b.yaml", "f"), operation("@repo/run.sh", "bin/")]);
    assert_eq!(tree.get("f"), Some(&Entry::File { bytes: "b: 2\n".into(), executable: false }));
    assert!(matches!(tree.get("bin/run.sh"), Some(Entry::File { executable: true, .. })));
}

#[test]
fn nothing_leaves_its_tree() {
    assert_eq!(
        failure(&[operation("@repo/../../a.yaml", "")]),
        "failed to stat source '../../a.yaml': statat ../../a.yaml: path escapes from parent"
    );
    assert_eq!(
        failure(&[operation("@repo//etc/passwd", "")]),
        "failed to stat source '/etc/passwd': statat /etc/passwd: path escapes from parent"
    );
    assert_eq!(failure(&[operation("@repo/../*", "")]), "no files match pattern '../*' in source 'repo'");
    let to = "failed to create destination directory: mkdirat ..: path escapes from parent";
    assert_eq!(failure(&[operation("@repo/a.yaml", "../a.yaml")]), to);
    assert_eq!(failure(&[operation("@repo/a.yaml", "x/../../y/a.yaml")]), to);
    assert_eq!(failure(&[operation("@repo/conf", "..")]), "mkdirat ..: path escapes from parent");
    assert!(failure(&[operation("@repo/*.yaml", "../x")]).ends_with(to));
    assert!(
        failure_in(packed(&repo()), &[by(Strategy::Extract, operation("@repo/m.tgz", "../x"))])
            .ends_with("mkdirat ..: path escapes from parent")
    );
}

#[test]
fn what_is_not_there_is_an_error() {
    assert_eq!(failure(&[operation("@repo/none/", "")]), "source 'none' does not exist");
    assert_eq!(failure(&[operation("@repo/a.yaml/x", "")]), "failed to stat source 'a.yaml/x': statat a.yaml/x: not a directory");
    assert_eq!(failure(&[operation("@none/**", "")]), "source alias 'none' not found");
    assert_eq!(failure(&[operation("@repo/*.json", "")]), "no files match pattern '*.json' in source 'repo'");
    assert_eq!(failure(&[operation("@repo/conf/[a-", "")]), "invalid glob pattern 'conf/[a-': syntax error in pattern");
    assert_eq!(failure(&[operation("@repo", "")]), "invalid copy source '@repo': source format must be '@alias/pattern'");
    assert_eq!(
        failure(&[operation("@repo/conf", "x"), operation("@repo/a.yaml", "x/conf/one.yaml/y")]),
        "openat x/conf/one.yaml/y: not a directory"
    );
}

#[test]
fn only_files_that_are_selected_themselves_are_merged() {
    let tree = MemoryTree::from_iter([
        ("v.yaml", "a: 1\nm: {x: 1}\n"),
        ("over/v.yaml", "m: {z: 2}\n"),
        ("over/sub/w.yaml", "b: 1\n"),
        ("w.yaml", "c: 1\n"),
    ]);
    let operations =
        [operation("@repo/v.yaml", ""), operation("@repo/w.yaml", "sub/"), by(Strategy::Merge, operation("@repo/over/**", ""))];
    let tree = compose(&sources(tree), &operations, Limits::default()).unwrap();
    assert_eq!(tree.bytes("v.yaml").unwrap(), "a: 1\nm:\n  x: 1\n  z: 2\n");
    assert_eq!(tree.bytes("sub/w.yaml").unwrap(), "b: 1\n", "a folder is copied as it is");
    let scalar = by(Strategy::Merge, operation("@repo/conf/one.yaml", "a.yaml"));
    assert!(failure(&[operation("@repo/a.yaml", ""), scalar]).contains("json: cannot unmarshal string"));
}

fn packed(tree: &MemoryTree) -> MemoryTree {
    let bytes = archive::to_bytes(tree).unwrap();
    let mut outer = MemoryTree::from_iter([("a.yaml", "a: 1\n")]);
    for path in ["m.tgz", "deep/n.TAR.GZ"] {
        outer.insert(path, bytes.clone(), false);
    }
    outer
}

#[test]
fn archives_are_unpacked_into_their_folder() {
    let inner = MemoryTree::from_iter([("m/a.yaml", "x"), ("m/sub/b.yaml", "y")]);
    let extract =
        |from: &str, to: &str| compose(&sources(packed(&inner)), &[by(Strategy::Extract, operation(from, to))], Limits::default());
    assert_eq!(files(&extract("@repo/m.tgz", "x/y").unwrap()), ["x/y/m/a.yaml", "x/y/m/sub/b.yaml"]);
    assert_eq!(extract("@repo/**", "").unwrap(), inner, "what is no archive is passed over");
    assert_eq!(extract("@repo/**/*.{tgz,GZ}", "").unwrap(), inner);
    assert_eq!(
        failure_in(packed(&inner), &[by(Strategy::Extract, operation("@repo/a.yaml", ""))]),
        "extract strategy requires tarball file (.tar.gz or .tgz), got 'a.yaml'"
    );
    assert_eq!(
        failure_in(packed(&inner), &[by(Strategy::Extract, operation("@repo/deep", ""))]),
        "extract strategy is not supported for directories, got 'deep'"
    );
}

#[test]
fn a_file_that_only_looks_like_an_archive_and_a_bomb_are_refused() {
    let fake = MemoryTree::from_iter([("m.tgz", "no archive")]);
    let extract = by(Strategy::Extract, operation("@repo/m.tgz", ""));
    assert!(failure_in(fake, std::slice::from_ref(&extract)).ends_with("requires gzip-compressed body"));
    let bomb = packed(&MemoryTree::from_iter([("zeros", vec![0_u8; 4 << 20])]));
    assert!(bomb.size() < 1 << 16, "it is small as it comes");
    let limits = Limits { archive_size_max: 1 << 20, ..Limits::default() };
    assert!(compose(&sources(bomb.clone()), std::slice::from_ref(&extract), limits).is_err());
    let limits = Limits { size_max: 6 << 20, ..Limits::default() };
    let twice = [extract.clone(), Operation { to: "@artifact/again".into(), ..extract }];
    assert!(compose(&sources(bomb), &twice, limits).is_err());
}

#[test]
fn the_name_of_the_file_is_the_one_that_flux_gives() {
    // Recorded from source-watcher 2.2.1 over the same files.
    let tree = MemoryTree::from_iter([("x.yaml", RECORDED)]);
    assert_eq!(compose::file_name("two", &tree).unwrap(), "1122043481.tar.gz");
}

const RECORDED: &str = include_str!("recorded/x.yaml");

proptest::proptest! {
    #[test]
    fn no_operation_panics_or_leaves_its_tree(from in "[a-f/.*?\\[\\]{}\\\\-]{0,14}", to in "[a-d/.]{0,10}", exclude in "[a-d/*{},\\[\\]!-]{0,8}") {
        for strategy in [Strategy::Overwrite, Strategy::Merge, Strategy::Extract] {
            let one = Operation { from: format!("@repo/{from}"), to: format!("@artifact/{to}"), exclude: vec![exclude.clone()], strategy };
            let tree = MemoryTree::from_iter([("a/b", "1"), ("a/c.yaml", "x: 1\n"), ("d", "2"), ("e.tgz", "3")]);
            if let Ok(tree) = compose(&sources(tree), &[operation("@repo/a", ""), one], Limits::default()) {
                proptest::prop_assert!(tree.entries().all(|(path, _)| tree::clean(path).as_deref() == Some(path)));
            }
        }
    }
}
