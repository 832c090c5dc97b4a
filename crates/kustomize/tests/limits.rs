//! Bad input: nothing but the tree is read, everything ends, and every end is an error that says what and where.

use kustomize::{Error, Limits, Options, build, flux};
use std::borrow::Cow;
use tree::{Kind, MemoryTree, Tree};

fn tree(files: &[(&str, &str)]) -> MemoryTree {
    MemoryTree::from_iter(files.iter().map(|(path, content)| (*path, content.as_bytes().to_vec())))
}

fn error(files: &[(&str, &str)]) -> String {
    build(&tree(files), "app", &Options::flux()).and_then(|build| build.to_yaml()).expect_err("the build fails").to_string()
}

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b}\n";

/// SEC-37
#[test]
fn yaml_bombs_end_in_errors() {
    let mut laughs = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        laughs.push_str(&format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", ")));
    }
    let deep = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata: {}", "[".repeat(100_000));
    for (content, expected) in [
        (laughs.as_str(), "excessive aliasing"),
        (&deep, "max depth"),
        ("a: &a [*a]\n", "contains itself"),
        ("a: &a\n  <<: *a\n", "contains itself"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n  a: b\n  a: c\n", "already defined at line 5"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: \u{0}}\n", "line 4, column 11: control characters"),
        ("a:\n\tb: 1\n", "cannot start any token"),
        ("!!python/object:os.system {a: b}\n", "has neither kind nor metadata"),
    ] {
        let message = error(&[("app/kustomization.yaml", "resources: [a.yaml]"), ("app/a.yaml", content)]);
        assert!(message.contains(expected) && message.contains("app/a.yaml"), "{message}");
    }
    let mut utf16 = MemoryTree::new();
    utf16.insert("app/kustomization.yaml", b"\xff\xfer\0e\0s\0".to_vec(), false);
    assert!(build(&utf16, "app", &Options::flux()).is_err_and(|error| error.to_string().contains("not UTF-8")));
}

/// SEC-37
#[test]
fn a_hundred_thousand_anchors_are_read_in_linear_time() {
    let anchors: String = (0..100_000).map(|at| format!("  k{at}: &a{at} x\n")).collect();
    let aliases: String = (0..100_000).map(|at| format!("  l{at}: *a{at}\n")).collect();
    let content = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata:\n{anchors}{aliases}");
    let files = tree(&[("app/kustomization.yaml", "resources: [a.yaml]"), ("app/a.yaml", &content)]);
    let start = std::time::Instant::now();
    let built = build(&files, "app", &Options::flux()).expect("it builds, as with kustomize");
    let text = built.to_yaml().expect("it prints");
    assert!(
        text.contains("\n  k99999: x\n") && text.contains("\n  l99999: x\n") && !text.contains(['&', '*']),
        "aliases are what they name"
    );
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
}

/// A tree whose files say that they are huge, and cannot be read.
struct Huge;

impl Tree for Huge {
    fn kind(&self, path: &str) -> Option<Kind> {
        if path == "app" { Some(Kind::Dir) } else { matches!(path, "app/kustomization.yaml" | "app/a.yaml").then_some(Kind::File) }
    }

    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        assert_eq!(path, "app/kustomization.yaml", "what is too large is not read");
        Some(Cow::Borrowed(b"resources: [a.yaml]"))
    }

    fn size(&self, path: &str) -> Option<u64> {
        (path == "app/a.yaml").then_some(1 << 30)
    }

    fn list(&self, _path: &str) -> Option<Vec<String>> {
        None
    }
}

/// SEC-37
#[test]
fn a_file_of_a_gigabyte_is_refused_unread() {
    let found = build(&Huge, "app", &Options::flux());
    assert!(matches!(found, Err(Error::Limit { what: "bytes of files", .. })), "{:?}", found.map(|built| built.resources.len()));
}

/// SEC-37
#[test]
fn byte_order_marks_are_read_as_kustomize_does() {
    let marked = format!("\u{FEFF}{CONFIG_MAP}");
    let files = tree(&[("app/kustomization.yaml", "\u{FEFF}resources: [a.yaml]"), ("app/a.yaml", &marked)]);
    let text = build(&files, "app", &Options::flux()).and_then(|built| built.to_yaml()).expect("it builds");
    assert!(text.starts_with("apiVersion: v1\n"), "{text}");
}

/// SEC-38
#[test]
fn cycles_and_chains_end_in_errors() {
    let cycle = |files: &[(&str, &str)]| matches!(build(&tree(files), "app", &Options::flux()), Err(Error::Cycle { .. }));
    assert!(cycle(&[("app/kustomization.yaml", "resources: [.]")]));
    assert!(cycle(&[("app/kustomization.yaml", "resources: [..]"), ("kustomization.yaml", "resources: [app]")]));
    assert!(cycle(&[("app/kustomization.yaml", "resources: [../b]"), ("b/kustomization.yaml", "resources: [../app]")]));
    let component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncomponents: [../c]\n";
    assert!(cycle(&[("app/kustomization.yaml", "components: [../c]"), ("c/kustomization.yaml", component)]));
    let mut chain = MemoryTree::new();
    chain.insert("app/kustomization.yaml", "resources: [../d0]", false);
    for at in 0..10_000 {
        chain.insert(&format!("d{at}/kustomization.yaml"), format!("resources: [../d{}]", at + 1), false);
    }
    assert!(matches!(build(&chain, "app", &Options::flux()), Err(Error::Limit { .. })));
    let many = format!("resources: [{}]", (0..100_000).map(|at| format!("r{at}.yaml")).collect::<Vec<_>>().join(", "));
    assert!(error(&[("app/kustomization.yaml", &many)]).contains("r0.yaml"));
    let limits = Limits { objects: 10, ..Limits::default() };
    let objects: String = (0..20).map(|at| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{at}}}\n")).collect();
    let tree = tree(&[("app/kustomization.yaml", "resources: [a.yaml]"), ("app/a.yaml", &objects)]);
    assert!(matches!(build(&tree, "app", &Options { limits, ..Options::flux() }), Err(Error::Limit { what: "objects", .. })));
}

/// SEC-39
#[test]
fn no_path_leaves_the_tree() {
    let fields: &[&str] = &[
        "resources: [PATH]",
        "bases: [PATH]",
        "components: [PATH]",
        "crds: [PATH]",
        "configMapGenerator: [{name: g, files: [PATH]}]",
        "configMapGenerator: [{name: g, files: [key=PATH]}]",
        "configMapGenerator: [{name: g, envs: [PATH]}]",
        "secretGenerator: [{name: g, env: PATH}]",
        "patches: [{path: PATH}]",
        "patchesStrategicMerge: [PATH]",
        "patchesJson6902: [{path: PATH, target: {name: x, kind: ConfigMap, version: v1}}]",
        "replacements: [{path: PATH}]",
        "transformers: [PATH]",
        "generators: [PATH]",
        "validators: [PATH]",
        "openapi: {path: PATH}",
        "configurations: [PATH]",
    ];
    let paths = ["/etc/passwd", "../../etc/passwd", "../../../../../../etc/passwd", "https://example.com/x.yaml", "missing.yaml", "dir"];
    for field in fields {
        for path in paths {
            let content = format!("resources: [a.yaml]\n{field}").replace("PATH", path);
            let content = if field.starts_with("resources") { field.replace("PATH", path) } else { content };
            let message =
                error(&[("app/kustomization.yaml", &content), ("app/a.yaml", CONFIG_MAP), ("app/dir/x.txt", ""), ("etc/passwd", "root")]);
            assert!(message.contains("app/kustomization.yaml") || message.contains("no kustomization file"), "{field} {path}: {message}");
        }
    }
    let helm = error(&[("app/kustomization.yaml", "helmGlobals: {chartHome: /etc}\nhelmCharts: [{name: x}]")]);
    assert!(helm.contains("helmCharts is not supported"), "{helm}");
}

/// SEC-39: without the flag a kustomization reads below itself only.
#[test]
fn the_default_restrictor_keeps_files_in_their_root() {
    let files = [("app/kustomization.yaml", "resources: [../a.yaml]"), ("a.yaml", CONFIG_MAP)];
    let message = build(&tree(&files), "app", &Options::default()).expect_err("outside").to_string();
    assert!(message.contains("not in or below"), "{message}");
    assert!(build(&tree(&files), "app", &Options::flux()).is_ok());
}

/// SEC-40
#[test]
fn remote_bases_are_refused_and_their_credentials_are_not_shown() {
    for path in [
        "https://user:secret@github.com/x/y?ref=main",
        "git::https://example.com/x",
        "s3::https://example.com/x",
        "file:///etc",
        "github.com/org/repo//path?ref=v1",
        "git@github.com:org/repo",
        "ssh://git@example.com/x",
    ] {
        let message = error(&[("app/kustomization.yaml", &format!("resources: ['{path}']"))]);
        assert!(message.contains("remote resource") && !message.contains("secret"), "{message}");
    }
}

/// SEC-41
#[test]
fn programs_and_containers_are_refused() {
    for annotation in ["exec: {path: ./x}", "container: {image: x}", "starlark: {path: x.star}"] {
        let plugin = format!(
            "apiVersion: example.com/v1\nkind: X\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: '{annotation}'\n"
        );
        for field in ["generators", "transformers", "validators"] {
            let message = error(&[
                ("app/kustomization.yaml", &format!("resources: [a.yaml]\n{field}: [p.yaml]")),
                ("app/a.yaml", CONFIG_MAP),
                ("app/p.yaml", &plugin),
            ]);
            assert!(message.contains("not supported") && message.contains("app/p.yaml"), "{message}");
        }
    }
}

/// SEC-42
#[test]
fn patches_and_replacements_are_bounded() {
    let patch = |operations: &str, target: &str| {
        let k = format!("resources: [a.yaml]\npatches: [{{path: p.yaml, target: {{{target}}}}}]");
        error(&[("app/kustomization.yaml", &k), ("app/a.yaml", CONFIG_MAP), ("app/p.yaml", operations)])
    };
    let many: String = (0..100_000).map(|at| format!("- {{op: add, path: /data/k{at}, value: x}}\n")).collect();
    assert!(patch(&many, "kind: ConfigMap").contains("may have 10000 operations"));
    assert!(patch("- {op: move, from: /data, path: /data/a/b}", "kind: ConfigMap").contains("cannot move into itself"));
    assert!(patch("- {op: add, path: /data/-/x, value: y}", "kind: ConfigMap").contains("JSON patch: add /data/-/x"));
    assert!(patch("- {op: add, path: x, value: y}", "kind: ConfigMap").contains("JSON patch"));
    assert!(patch("- {op: test, path: /data/a, value: c}", "kind: ConfigMap").contains("test failed"));
    assert!(patch("- {op: remove, path: /data/zz}", "name: '((a{1000}){1000}){1000}'").contains("regular expression"));
    // Doubling by copies stops at the step limit of what follows, not at the end of memory.
    let objects: String =
        (0..1000).map(|at| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{at}}}\ndata: {{a: b}}\n")).collect();
    let targets: String = (0..1000).map(|_| "  - {select: {kind: ConfigMap}, fieldPaths: [data.a]}\n").collect();
    let k = format!("resources: [a.yaml]\nreplacements:\n- sourceValue: x\n  targets:\n{targets}");
    let limits = Limits { steps: 100_000, ..Limits::default() };
    let tree = tree(&[("app/kustomization.yaml", &k), ("app/a.yaml", &objects)]);
    assert!(matches!(build(&tree, "app", &Options { limits, ..Options::flux() }), Err(Error::Limit { what: "steps", .. })));
}

/// SEC-43
#[test]
fn the_spec_of_a_kustomization_stays_in_the_tree() {
    let files = tree(&[("app/a.yaml", CONFIG_MAP)]);
    for path in ["../..", "app/../../x", "nowhere", "app/a.yaml"] {
        assert!(flux::build(&files, path, &flux::Spec::default(), &flux::NoHooks).is_err(), "{path}");
    }
    for component in ["/etc", "https://example.com/x", "git@github.com:x/y", "github.com/x/y", "../../x"] {
        let spec = flux::Spec { components: vec![component.to_owned()], ..flux::Spec::default() };
        assert!(flux::build(&files, "app", &spec, &flux::NoHooks).is_err(), "{component}");
    }
}

/// SEC-44, as far as a build goes: values keep their type and place whatever stands in them.
#[test]
fn values_cannot_break_out_of_their_place() {
    let hostile = "x\"\n---\nkind: Secret\n: }${a:=${b}}";
    let k = format!(
        "resources: [a.yaml]\nreplacements:\n- sourceValue: {}\n  targets: [{{select: {{kind: ConfigMap}}, fieldPaths: [data.a]}}]\n",
        serde_json::Value::from(hostile)
    );
    let tree = tree(&[("app/kustomization.yaml", &k), ("app/a.yaml", CONFIG_MAP)]);
    let built = build(&tree, "app", &Options::flux()).expect("it builds");
    let text = built.to_yaml().expect("it prints");
    let documents = yaml::documents(&text, yaml::Dialect::Kyaml).expect("it is YAML");
    assert_eq!(documents.len(), 1);
    assert_eq!(documents[0].to_json().expect("it is JSON")["data"]["a"], hostile);
}

#[test]
fn errors_name_file_line_object_and_field() {
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[("app/kustomization.yaml", "resource: [a.yaml]")], "app/kustomization.yaml: unknown field resource"),
        (
            &[("app/kustomization.yaml", "namespace: n\nresources: []")],
            "app/kustomization.yaml: namespace must be a string, but is a boolean (YAML 1.1 reads y, n, yes, no, on and off as booleans; put it in quotes)",
        ),
        (
            &[("app/kustomization.yaml", "resources: [deploy.yml]"), ("app/deploy.yaml", CONFIG_MAP)],
            "app/kustomization.yaml: \"deploy.yml\" in resources does not exist; did you mean \"deploy.yaml\"?",
        ),
        (
            &[("app/x.yaml", "")],
            "no kustomization file in \"app\"; a directory needs one of kustomization.yaml, kustomization.yml or Kustomization",
        ),
        (
            &[
                ("app/kustomization.yaml", "resources: [a.yaml, b.yaml]"),
                ("app/a.yaml", CONFIG_MAP),
                ("app/b.yaml", "\n\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"),
            ],
            "app/b.yaml line 3: v1 ConfigMap \"x\": an object of this id was added before, from app/a.yaml line 1",
        ),
        (
            &[("app/kustomization.yaml", "resources: [a.yaml]"), ("app/a.yaml", "kind: ConfigMap\nmetadata: {}\n")],
            "app/a.yaml line 1: ConfigMap has no metadata.name",
        ),
        (
            &[
                ("app/kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml}]"),
                ("app/a.yaml", CONFIG_MAP),
                ("app/p.yaml", "# comment\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\n"),
            ],
            "app/p.yaml line 2: no object matches the patch of v1 ConfigMap \"y\"",
        ),
    ];
    for (files, expected) in table {
        assert_eq!(error(files), *expected);
    }
}

/// SEC-42: what grows by copying itself ends, and so does what is nested by it.
#[test]
fn values_that_copy_themselves_end_in_errors() {
    let limits = Limits { made: 16 << 20, ..Limits::default() };
    let options = Options { limits, ..Options::flux() };
    let limit = |files: &[(&str, &str)]| match build(&tree(files), "app", &options).and_then(|built| built.to_yaml()) {
        Err(Error::Limit { what, .. }) => what,
        Err(other) => panic!("another error: {other}"),
        Ok(text) => panic!("{} bytes were made", text.len()),
    };
    let patched = |operations: &str| {
        let k = "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]";
        limit(&[("app/kustomization.yaml", k), ("app/a.yaml", CONFIG_MAP), ("app/p.yaml", operations)])
    };
    let doubling: String = (0..200).map(|at| format!("- {{op: copy, from: /data, path: /data/k{at}}}\n")).collect();
    assert!(matches!(patched(&doubling), "bytes of values" | "values inside each other"));
    let wide: String = (0..60)
        .map(|at| format!("- {{op: copy, from: /data, path: /metadata/x{at}}}\n- {{op: copy, from: /metadata, path: /data/y{at}}}\n"))
        .collect();
    assert!(matches!(patched(&wide), "bytes of values" | "values inside each other"));
    // Every copy below the deepest one doubles the depth.
    let deepening: String = (0..20).map(|at| format!("- {{op: copy, from: /data, path: /data{}}}\n", "/a".repeat(1 << at))).collect();
    let start = "- {op: replace, path: /data, value: {}}\n";
    assert_eq!(patched(&format!("{start}{deepening}")), "values inside each other");
    let replaced = |replacements: &str| {
        let k = format!("resources: [a.yaml]\nreplacements:\n{replacements}");
        limit(&[("app/kustomization.yaml", &k), ("app/a.yaml", CONFIG_MAP)])
    };
    let nesting = "- {source: {kind: ConfigMap, fieldPath: data}, targets: [{select: {kind: ConfigMap}, fieldPaths: [data.a, data.b], options: {create: true}}]}\n";
    assert!(matches!(replaced(&nesting.repeat(300)), "bytes of values" | "values inside each other"));
    let lengthening = "- {source: {kind: ConfigMap, fieldPath: data.a}, targets: [{select: {kind: ConfigMap}, fieldPaths: [data.a], options: {delimiter: ',', index: 9999}}]}\n";
    assert_eq!(replaced(&lengthening.repeat(60)), "bytes of values");
}

/// SEC-42: a patch for every object, a label for every object, a var in every place.
#[test]
fn fan_out_is_bounded_by_what_it_makes() {
    let objects: String = (0..2000)
        .map(|at| format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: c{at}, annotations: {{v: {}}}}}\n", "$(V)".repeat(20)))
        .collect();
    let long = "x".repeat(10_000);
    for k in [
        format!("patches: [{{target: {{kind: Pod}}, patch: '{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, data: {{a: {long}}}}}'}}]"),
        format!("patches: [{{target: {{kind: Pod}}, patch: '[{{\"op\": \"add\", \"path\": \"/x\", \"value\": \"{long}\"}}]'}}]"),
        format!("labels: [{{pairs: {{a: {long}}}}}]"),
        format!("commonAnnotations: {{a: {long}}}"),
        format!("namespace: {long}"),
        format!("namePrefix: {long}"),
        format!(
            "replacements: [{{sourceValue: {long}, targets: [{{select: {{kind: Pod}}, fieldPaths: [metadata.annotations.q], options: {{create: true}}}}]}}]"
        ),
        format!(
            "configMapGenerator: [{{name: g, literals: [a={long}]}}]\nvars: [{{name: V, objref: {{kind: ConfigMap, name: g, apiVersion: v1}}, fieldref: {{fieldpath: data.a}}}}]"
        ),
    ] {
        let tree = tree(&[("app/kustomization.yaml", &format!("resources: [a.yaml]\n{k}")), ("app/a.yaml", &objects)]);
        let limits = Limits { made: 8 << 20, ..Limits::default() };
        let found = build(&tree, "app", &Options { limits, ..Options::flux() });
        assert!(
            matches!(found, Err(Error::Limit { what: "bytes of values", .. })),
            "{}: {:?}",
            &k[..40],
            found.map(|built| built.resources.len())
        );
    }
}

/// SEC-42: fields that are nested as deep as their text is long.
#[test]
fn paths_of_any_length_end_in_errors() {
    let long = vec!["a"; 100_000];
    for k in [
        format!("labels: [{{pairs: {{a: b}}, fields: [{{path: {}, create: true}}]}}]", long.join("/")),
        format!(
            "replacements: [{{sourceValue: x, targets: [{{select: {{kind: ConfigMap}}, fieldPaths: [{}], options: {{create: true}}}}]}}]",
            long.join(".")
        ),
        format!(
            "replacements: [{{source: {{kind: ConfigMap, fieldPath: {}}}, targets: [{{select: {{kind: ConfigMap}}}}]}}]",
            long.join(".")
        ),
        format!(
            "patches: [{{target: {{kind: ConfigMap}}, patch: '[{{\"op\": \"add\", \"path\": \"/{}\", \"value\": 1}}]'}}]",
            long.join("/")
        ),
        format!("vars: [{{name: V, objref: {{kind: ConfigMap, name: x, apiVersion: v1}}, fieldref: {{fieldpath: {}}}}}]", long.join(".")),
        format!("openapi: {{path: o.json}}\nlabels: [{{pairs: {{a: b}}}}]\nnamePrefix: {}", long.join("")),
    ] {
        let files = tree(&[("app/kustomization.yaml", &format!("resources: [a.yaml]\n{k}")), ("app/a.yaml", CONFIG_MAP)]);
        assert!(build(&files, "app", &Options::flux()).is_err(), "{}", &k[..30]);
    }
}

/// SEC-42: patterns match in linear time, and large ones are refused.
#[test]
fn patterns_cannot_take_the_time_of_a_build() {
    let name = "a".repeat(5_000);
    let object = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: c, image: '{name}'}}]}}\n");
    for k in [
        "patches: [{target: {name: '(a+)+b'}, patch: '[{\"op\": \"remove\", \"path\": \"/spec\"}]'}]",
        "patches: [{target: {name: '(a|aa)*(a|aa)*(a|aa)*c'}, patch: '[{\"op\": \"remove\", \"path\": \"/spec\"}]'}]",
        "images: [{name: '(a+)+b', newTag: x}]",
        "replacements: [{sourceValue: x, targets: [{select: {name: '(a+)+b'}}]}]",
    ] {
        let files = tree(&[("app/kustomization.yaml", &format!("resources: [a.yaml]\n{k}")), ("app/a.yaml", &object)]);
        let built = build(&files, "app", &Options::flux()).expect("nothing matches");
        assert_eq!(built.resources.len(), 1);
    }
    for k in [
        "images: [{name: '(x{1000}){1000}', newTag: x}]",
        "patches: [{target: {kind: '(x{999}){999}'}, patch: '[{\"op\": \"remove\", \"path\": \"/spec\"}]'}]",
    ] {
        let message = error(&[("app/kustomization.yaml", &format!("resources: [a.yaml]\n{k}")), ("app/a.yaml", &object)]);
        assert!(message.contains("regular expression"), "{message}");
    }
}

/// SEC-37: the place of every token in one long line is told without counting the line again for each.
#[test]
fn one_long_line_is_read_in_the_time_of_many_short_ones() {
    let line = format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: x}}, data: {{é: [{}]}}}}", "é, ".repeat(150_000));
    let files = tree(&[("app/kustomization.yaml", "resources: [a.yaml]"), ("app/a.yaml", &line)]);
    let start = std::time::Instant::now();
    assert!(build(&files, "app", &Options::flux()).is_ok());
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
}

/// The table of the documentation names a test for each row of hostile input, and they exist.
#[test]
fn every_test_in_the_table_of_hostile_input_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("it can be read");
    let (here, page) = (include_str!("limits.rs"), read("docs/kustomize.md"));
    let (cli, envsubst) = (read("crates/cli/tests/kustomize.rs"), read("crates/envsubst/src/lib.rs"));
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| SEC-")).collect();
    for row in 37..=44 {
        assert!(rows.iter().any(|line| line.starts_with(&format!("| SEC-{row} "))), "SEC-{row} has no row");
    }
    for line in rows {
        let tests = line.rsplit('|').nth(1).expect("a column of tests");
        for test in tests.split(',').map(|test| test.trim().trim_matches('`')) {
            let (text, name) = match test.split_once(": ") {
                Some(("cli", name)) => (cli.as_str(), name),
                Some(("envsubst", name)) => (envsubst.as_str(), name),
                _ => (here, test),
            };
            assert!(text.contains(&format!("#[test]\nfn {name}(")) || text.contains(&format!("#[test]\n    fn {name}(")), "{test}");
        }
    }
}
