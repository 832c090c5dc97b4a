//! Charts that mean harm: each is refused or stopped within its budget, none panics.

#![allow(clippy::unwrap_used)]

use helm::{Chart, ChartLimits, Environment, Error, Limits, Options, Release, Rendered, SeededRandom, Table};
use std::{io::Write, rc::Rc, sync::Arc, time::Instant};
use tree::MemoryTree;

const CHART: &str = "apiVersion: v2\nname: c\nversion: 1.0.0\n";

fn load(files: &[(&str, &str)]) -> Result<Arc<Chart>, Error> {
    let tree: MemoryTree = files.iter().map(|(path, text)| (*path, text.as_bytes().to_vec())).collect();
    Chart::from_tree(&tree, "", ChartLimits::default()).map(Arc::new)
}

fn render(chart: &Arc<Chart>) -> Result<Rendered, Error> {
    let environment = Environment::new("2026-01-01T00:00:00Z".parse().unwrap(), Box::new(SeededRandom::new(b"hostile")));
    let release = Release { name: "r".into(), namespace: "n".into(), revision: 1, upgrade: false };
    let limits = Limits { steps: 3_000_000, output: 16 << 20, depth: 400 };
    helm::render(chart, &Table::new(), &Options { limits, ..Options::new(release, Rc::new(environment)) })
}

fn template(text: &str) -> Result<Rendered, Error> {
    render(&load(&[("Chart.yaml", CHART), ("templates/t.yaml", text)])?)
}

/// Each template ends in an error of the template language, soon.
fn stopped(texts: &[&str]) {
    for text in texts {
        let start = Instant::now();
        let error = template(text).map(|_| ()).unwrap_err();
        assert!(matches!(error, Error::Template { .. }), "{text}: {error:?}");
        // Generous: a debug build on a busy machine.
        assert!(start.elapsed().as_secs() < 60, "{text} took {:?}", start.elapsed());
    }
}

// SEC-29.
#[test]
fn templates_inside_themselves_are_stopped() {
    stopped(&[
        r#"{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}"#,
        r#"{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}"#,
        r#"{{ define "a" }}{{ include "b" . }}{{ end }}{{ define "b" }}{{ include "a" . }}{{ end }}{{ include "a" . }}"#,
        r#"{{ define "a" }}{{ tpl "{{ include \"a\" . }}" . }}{{ end }}{{ include "a" . }}"#,
        r#"{{ $t := "{{ tpl .t . }}" }}{{ tpl $t (dict "t" $t) }}"#,
    ]);
    let nested = format!("{}x{}", "{{ if true }}".repeat(5_000), "{{ end }}".repeat(5_000));
    stopped(&[&nested, &format!("{{{{ {}1{} }}}}", "(".repeat(5_000), ")".repeat(5_000))]);
}

// SEC-30.
#[test]
fn loops_and_texts_without_end_are_stopped() {
    stopped(&[
        r#"{{ range untilStep 0 1000000000000 1 }}{{ end }}"#,
        r#"{{ until 999999999 | len }}"#,
        r#"{{ seq 0 999999999 | len }}"#,
        r#"{{ repeat 1000000000 "x" | len }}"#,
        r#"{{ range until 3000 }}{{ range until 3000 }}{{ end }}{{ end }}"#,
        r#"{{ range 9000000000 }}{{ end }}"#,
        r#"{{ $s := "xxxxxxxxxxxxxxxx" }}{{ range until 64 }}{{ $s = print $s $s }}{{ end }}{{ len $s }}"#,
        r#"{{ $s := repeat 100000 "a" }}{{ replace "" $s $s | len }}"#,
        r#"{{ indent 1000000000 "x" | len }}"#,
        r#"{{ $l := list 1 }}{{ range until 40 }}{{ $l = concat $l $l }}{{ end }}{{ len $l }}"#,
        r#"{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ print $d | len }}"#,
        r#"{{ wrap 1 (repeat 9000000 "a ") | len }}"#,
    ]);
}

// SEC-31.
#[test]
fn functions_that_take_long_are_stopped() {
    stopped(&[
        r#"{{ range until 1000 }}{{ genPrivateKey "rsa" | len }}{{ end }}"#,
        r#"{{ range until 1000 }}{{ bcrypt "x" | len }}{{ end }}"#,
        r#"{{ range until 1000 }}{{ htpasswd "x" "y" | len }}{{ end }}"#,
        r#"{{ range until 1000 }}{{ derivePassword 1 "long" "password" "user" "example.com" | len }}{{ end }}"#,
        r#"{{ range until 1000 }}{{ genSelfSignedCert "x" nil nil 1 | toString | len }}{{ end }}"#,
        r#"{{ randAlphaNum 1000000000 | len }}"#,
        r#"{{ randBytes 1000000000 | len }}"#,
        r#"{{ $s := repeat 100000 "a" }}{{ regexReplaceAll "a" $s $s | len }}"#,
    ]);
    let bounded = [
        r#"a: {{ regexMatch "(a*)*b" (repeat 20000 "a") }}"#,
        r#"a: {{ regexReplaceAll "(a|aa)+$" (repeat 20000 "a") "b" | len }}"#,
        r#"a: {{ regexMatch "(((((a{1,100}){1,100}){1,100}){1,100}){1,100})" "a" }}"#,
    ];
    for text in bounded {
        let start = Instant::now();
        drop(template(text));
        assert!(start.elapsed().as_secs() < 60, "{text} took {:?}", start.elapsed());
    }
}

// SEC-31: whoever waits can give up at any time.
#[test]
fn a_caller_can_interrupt() {
    let chart =
        load(&[("Chart.yaml", CHART), ("templates/t.yaml", "{{ range until 10000 }}{{ range until 10000 }}{{ end }}{{ end }}")]).unwrap();
    let environment = Environment::new("2026-01-01T00:00:00Z".parse().unwrap(), Box::new(SeededRandom::new(b"hostile")));
    let release = Release { name: "r".into(), namespace: "n".into(), revision: 1, upgrade: false };
    let options = Options { interrupt: Some(&|| true), ..Options::new(release, Rc::new(environment)) };
    let error = helm::render(&chart, &Table::new(), &options).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::Template { .. }), "{error:?}");
}

#[test]
fn what_looks_hostile_but_is_bounded_goes_through() {
    let texts = [
        r#"{{ $d := dict }}{{ $_ := set $d "d" $d }}a: {{ toYaml $d | len }}{{ toJson $d | len }}"#,
        r#"{{ $l := list }}{{ range until 20000 }}{{ $l = list $l }}{{ end }}a: {{ len $l }}"#,
        r#"a: {{ fromYaml (repeat 5000 "[") | toJson | len }}"#,
        r#"a: {{ fromJson (repeat 5000 "[") | toJson | len }}"#,
        r#"a: {{ fromToml (repeat 5000 "a = [") | toJson | len }}"#,
        r#"a: {{ semverCompare (repeat 1000 ">=1 || ") "1.0.0" }}"#,
    ];
    for text in texts {
        if let Err(error) = template(text) {
            assert!(matches!(error, Error::Template { .. } | Error::Manifest { .. }), "{text}: {error:?}");
        }
    }
}

// SEC-32. Whose rights `lookup` has is for its caller to say: without one it finds nothing.
#[test]
fn nothing_of_the_machine_or_the_cluster_is_seen() {
    let text = r#"a: |
  {{ getHostByName "localhost" | quote }}{{ lookup "v1" "Secret" "kube-system" "" | len }}{{ lookup "v1" "Secret" "x" "y" | len }}"#;
    assert!(template(text).unwrap().manifest().ends_with("  \"\"00\n"));
    for name in ["env", "expandenv"] {
        let error = template(&format!("{{{{ {name} \"HOME\" }}}}")).map(|_| ()).unwrap_err().to_string();
        assert_eq!(error, format!("parse error at (c/templates/t.yaml:1): function \"{name}\" not defined"));
    }
}

// SEC-33.
#[test]
fn files_are_those_of_the_chart() {
    let text = r#"a: |
  {{ .Files.Get "../../etc/passwd" | quote }}{{ .Files.Get "/etc/passwd" | quote }}{{ .Files.Get "templates/t.yaml" | quote }}{{ range $p, $_ := .Files.Glob "**" }}{{ $p }},{{ end }}{{ (.Files.Glob "**/../**").AsConfig | quote }}"#;
    let chart = load(&[("Chart.yaml", CHART), ("values.yaml", "x: 1"), ("x/y.txt", "y"), ("templates/t.yaml", text)]).unwrap();
    assert!(render(&chart).unwrap().manifest().ends_with("  \"\"\"\"\"\"x/y.txt,\"{}\"\n"), "{}", render(&chart).unwrap().manifest());
}

// SEC-34.
#[test]
fn values_beyond_reason_are_errors() {
    let with_values =
        |values: &str| load(&[("Chart.yaml", CHART), ("values.yaml", values), ("templates/t.yaml", "a: {{ .Values | toJson | quote }}")]);
    for values in [format!("a: {}", "[".repeat(10_000)), "a: 1e400".to_owned(), "a: .nan".to_owned(), "- a".to_owned(), "a: {b".to_owned()]
    {
        match with_values(&values) {
            Ok(chart) => drop(render(&chart)),
            Err(error) => assert!(error.to_string().starts_with("cannot load values.yaml: "), "{error}"),
        }
    }
    let chart = with_values("__proto__: 1\nbig: 9007199254740993\n").unwrap();
    assert!(render(&chart).unwrap().manifest().contains("9007199254740992"), "numbers are floats, as in Helm");
    let mut table = Table::new();
    assert!(helm::set(&mut table, "a[999999999]=1", helm::SetMode::Typed).is_err());
    assert!(helm::set(&mut table, &format!("{}=1", vec!["a"; 100_000].join(".")), helm::SetMode::Typed).is_err());
}

/// What a schema says to the values of a chart.
fn checked(schema: &str, values: &str) -> Result<Rendered, Error> {
    let start = Instant::now();
    let rendered = load(&[("Chart.yaml", CHART), ("values.yaml", values), ("values.schema.json", schema)]).and_then(|chart| render(&chart));
    assert!(start.elapsed().as_secs() < 60, "{:.100} took {:?}", schema, start.elapsed());
    rendered
}

fn refused(schema: &str, values: &str) -> String {
    checked(schema, values).map(|_| ()).unwrap_err().to_string()
}

// SEC-35.
#[test]
fn schemas_fetch_nothing() {
    for place in ["file:///dev/zero", "file:///etc/passwd", "http://127.0.0.1:1/x", "https://example.com/x.json", "other.json"] {
        let text = refused(&format!(r#"{{"$ref": {place:?}}}"#), "a: 1");
        assert!(text.contains("failing loading") && !text.contains("root:"), "{place}: {text}");
    }
}

// SEC-35.
#[test]
fn schemas_that_lead_back_to_themselves_end() {
    assert!(checked(r##"{"$ref": "#"}"##, "a: 1").is_err());
    assert!(checked(r##"{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}"##, "a: 1").is_err());
    // With a step into the values each time, that is how trees are described.
    let tree = r##"{"type": "object", "additionalProperties": {"$ref": "#"}}"##;
    assert!(checked(tree, "a: {b: {c: {}}}").is_ok() && checked(tree, "a: {b: {c: 1}}").is_err());
}

// SEC-35.
#[test]
fn schemas_that_are_years_of_work_are_refused() {
    let definitions = |count: usize, last: &str, body: &dyn Fn(String) -> String| {
        let each: Vec<String> =
            (0..count).map(|n| format!("\"d{n}\": {}", body(format!("{{\"$ref\": \"#/$defs/d{}\"}}", n + 1)))).collect();
        format!("{{\"$ref\": \"#/$defs/d0\", \"$defs\": {{{}, \"d{count}\": {last}}}}}", each.join(","))
    };
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let doubling = definitions(40, "{\"type\": \"array\"}", &|next| format!("{{\"{keyword}\": [{next}, {next}]}}"));
        assert!(refused(&doubling, "a: 1").contains("takes more than"), "{keyword}");
    }
    let through_values = r##"{"additionalProperties": {"allOf": [{"$ref": "#"}, {"$ref": "#"}, {"$ref": "#"}]}}"##;
    let deep = format!("{}1{}", "{a: ".repeat(25), "}".repeat(25));
    assert!(refused(through_values, &format!("a: {deep}")).contains("takes more than"));
    let wide: Vec<String> = (0..30_000).map(|n| format!("\"p{n}\": {{}}")).collect();
    assert!(refused(&format!("{{\"type\": \"array\", \"properties\": {{{}}}}}", wide.join(",")), "a: 1").contains("parts"));
    let chain = definitions(2_000, "{}", &|next| format!("{{\"allOf\": [{next}]}}"));
    assert!(refused(&chain, "a: 1").contains("levels deep"));
    assert!(checked(&definitions(40, "{}", &|next| format!("{{\"allOf\": [{next}]}}")), "a: 1").is_ok());
    let allowed: Vec<String> = (0..50_000).map(|n| n.to_string()).collect();
    let lists = format!("{{\"properties\": {{\"a\": {{\"items\": {{\"enum\": [{}]}}}}}}}}", allowed.join(","));
    assert!(checked(&lists, "a: [1, 2, 3]").is_ok());
    assert!(refused(&lists, &format!("a: [{}]", ["1"; 5_000].join(","))).contains("takes more than"));
}

// SEC-35.
#[test]
fn schemas_nest_and_match_within_limits() {
    let deep = format!("{}{{}}{}", "{\"not\": ".repeat(10_000), "}".repeat(10_000));
    assert!(checked(&deep, "a: 1").is_err());
    assert!(
        refused(r#"{"properties": {"a": {"pattern": "(((((a{1,100}){1,100}){1,100}){1,100}){1,100})"}}}"#, "a: x").contains("too large")
    );
    let many: Vec<String> = (0..6_000).map(|n| format!("\"p{n}\": {{\"pattern\": \"a{n}\"}}")).collect();
    assert!(refused(&format!("{{\"properties\": {{{}}}}}", many.join(",")), "a: x").contains("regular expressions"));
    let slow = r#"{"properties": {"a": {"pattern": "^(a+)+$"}}}"#;
    assert!(checked(slow, &format!("a: {}b", "a".repeat(50_000))).is_err());
    assert!(checked("[", "a: 1").is_err() && checked("[]", "a: 1").is_err() && checked("", "a: 1").is_err());
}

// SEC-36.
#[test]
fn hooks_are_bounded_and_their_odd_parts_are_nothing() {
    let hook = |at: &str, weight: &str| {
        format!(
            "kind: Pod\nmetadata:\n  name: h{at}\n  annotations: {{helm.sh/hook: pre-install, helm.sh/hook-weight: {weight:?}, helm.sh/hook-delete-policy: before-hook-creation}}\n"
        )
    };
    let many = format!("{{{{ range until 10000 }}}}\n---\n{}{{{{ end }}}}", hook("{{ . }}", "{{ . }}"));
    let rendered = template(&many).unwrap();
    let mut hooks = rendered.hooks;
    helm::sort_hooks_for_running(&mut hooks);
    assert_eq!((hooks.len(), hooks[0].weight, hooks[9_999].name.as_str()), (10_000, 0, "h9999"));
    for weight in ["NaN", "1e3", "99999999999999999999", "", "-"] {
        assert_eq!(template(&hook("", weight)).unwrap().hooks[0].weight, 0, "{weight}");
    }
    let too_many = "{{ range until 100001 }}\n---\na: 1{{ end }}";
    let error = template(too_many).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("more than 100000 documents"), "{error}");
}

// SEC-27.
#[test]
fn charts_with_bad_names_are_refused() {
    let chart = |text: &str| load(&[("Chart.yaml", text)]).map(|_| ()).unwrap_err().to_string();
    let cases = [
        ("apiVersion: v2\nname: ..\nversion: 1.0.0", "validation: chart.metadata.name \"..\" is not allowed"),
        ("apiVersion: v2\nname: a/b\nversion: 1.0.0", "validation: chart.metadata.name \"a/b\" is invalid"),
        ("apiVersion: v2\nname: a\nversion: ../x", "validation: chart.metadata.version \"../x\" is invalid"),
        (
            "apiVersion: v2\nname: a\nversion: 1.0.0\ndependencies: [{name: b, alias: x/y}]",
            "validation: dependency \"b\" has disallowed characters in the alias",
        ),
        (
            "apiVersion: v2\nname: a\nversion: 1.0.0\ndependencies: [{name: b}, {name: b}]",
            "validation: more than one dependency with name or alias \"b\"",
        ),
        ("apiVersion: v2\nversion: 1.0.0", "validation: chart.metadata.name is required"),
    ];
    for (text, wanted) in cases {
        assert_eq!(chart(text), wanted);
    }
    assert_eq!(load(&[("values.yaml", "")]).map(|_| ()).unwrap_err().to_string(), "Chart.yaml file is missing");
}

// SEC-27.
#[test]
fn a_chart_that_needs_itself_comes_to_an_end() {
    let own = "apiVersion: v2\nname: c\nversion: 1.0.0\ndependencies: [{name: c, version: 1.0.0, condition: c.enabled}]\n";
    let text = "a: {{ .Chart.Name }}\n";
    let mut files = vec![("Chart.yaml".to_owned(), own), ("templates/t.yaml".to_owned(), text)];
    for depth in 1..20 {
        let below = "charts/c/".repeat(depth);
        files.extend([(format!("{below}Chart.yaml"), own), (format!("{below}templates/t.yaml"), text)]);
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    assert_eq!(render(&load(&files).unwrap()).unwrap().manifests.len(), 20);
    // The innermost lacks what it needs, and so does a chart that is alone.
    assert!(load(&files[..2]).unwrap().missing_dependencies().unwrap_err().to_string().contains("missing in charts/ directory: c"));
}

/// A packed chart with files under raw names, which no decent tool would write.
fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append(&header, *data).unwrap();
    }
    gzipped(&archive.into_inner().unwrap())
}

// SEC-27. What a link leads to is never read: it is a file without content.
#[test]
fn links_in_archives_lead_nowhere() {
    let mut archive = tar::Builder::new(Vec::new());
    let mut put = |name: &str, kind: tar::EntryType, target: &str, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_entry_type(kind);
        if !target.is_empty() {
            header.set_link_name(target).unwrap();
        }
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append(&header, data).unwrap();
    };
    put("c/Chart.yaml", tar::EntryType::Regular, "", CHART.as_bytes());
    put("c/secret", tar::EntryType::Symlink, "/etc/passwd", b"");
    put("c/hard", tar::EntryType::Link, "/etc/passwd", b"");
    put("c/Chart.lock", tar::EntryType::Symlink, "/etc/passwd", b"");
    let text = br#"a: |
  {{ .Files.Get "secret" | quote }}{{ .Files.Get "hard" | quote }}"#;
    put("c/templates/t.yaml", tar::EntryType::Regular, "", text);
    let chart = Arc::new(Chart::from_archive(&gzipped(&archive.into_inner().unwrap()), ChartLimits::default()).unwrap());
    assert!(render(&chart).unwrap().manifest().ends_with("  \"\"\"\"\n"));
}

fn gzipped(data: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(data).unwrap();
    packed.finish().unwrap()
}

// SEC-28.
#[test]
fn bombs_are_refused_by_what_they_say_and_by_what_they_hold() {
    let open = |archive: &[u8]| Chart::from_archive(archive, ChartLimits::default()).map(|_| ()).unwrap_err().to_string();
    // A file that says it has two gibibytes, and is not there.
    let mut header = tar::Header::new_gnu();
    header.set_path("c/values.yaml").unwrap();
    header.set_size(2 << 30);
    header.set_cksum();
    assert!(open(&gzipped(header.as_bytes())).contains("larger than the maximum file size"));
    // Many files that are each allowed: a hundred kibibytes packed.
    let zeros = vec![b'\n'; 4 << 20];
    let names: Vec<String> = (0..30).map(|n| format!("c/templates/{n}.yaml")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), zeros.as_slice())).collect();
    assert!(open(&packed(&files)).contains("larger than the maximum size"));
    let names: Vec<String> = (0..20_001).map(|n| format!("c/{n}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    assert!(open(&packed(&files)).contains("more than 20000 files"));
    // No archive at all, without an end.
    assert!(open(&gzipped(&vec![b'x'; 8 << 20])).len() < 200);
}

// SEC-27.
#[test]
fn archives_that_lead_out_are_refused() {
    let chart = CHART.as_bytes();
    let open = |files: &[(&str, &[u8])]| Chart::from_archive(&packed(files), ChartLimits::default()).map(|chart| chart.templates.len());
    assert_eq!(open(&[("c/Chart.yaml", chart), ("c/templates/a.yaml", b"a: 1")]).unwrap(), 1);
    let refused: [(&[(&str, &[u8])], &str); 5] = [
        (&[("c/Chart.yaml", chart), ("c/../../x", b"")], "chart illegally references parent directory"),
        (&[("c//x", b"")], "chart illegally contains absolute paths"),
        (&[("Chart.yaml", chart)], "chart illegally contains content outside the base directory: \"Chart.yaml\""),
        (&[("c/c:/x", b"")], "chart contains illegally named files"),
        (&[], "no files in chart archive"),
    ];
    for (files, wanted) in refused {
        assert_eq!(open(files).unwrap_err().to_string(), wanted);
    }
    let small = ChartLimits { total: 100, file: 60, files: 3, depth: 2 };
    let big = packed(&[("c/Chart.yaml", chart), ("c/a", &[0; 61])]);
    assert!(Chart::from_archive(&big, small).unwrap_err().to_string().contains("larger than the maximum file size 60"));
    let many = packed(&[("c/Chart.yaml", chart), ("c/a", b""), ("c/b", b""), ("c/d", b"")]);
    assert!(Chart::from_archive(&many, small).unwrap_err().to_string().contains("more than 3 files"));
    assert!(Chart::from_archive(b"name: chart", small).is_err() && Chart::from_archive(&[0x1f, 0x8b, 8, 0], small).is_err());
}

// SEC-28.
#[test]
fn archives_inside_archives_end() {
    let mut inner = packed(&[("c/Chart.yaml", CHART.as_bytes())]);
    for _ in 0..40 {
        inner = packed(&[("c/Chart.yaml", CHART.as_bytes()), ("c/charts/c.tgz", &inner)]);
    }
    assert!(Chart::from_archive(&inner, ChartLimits::default()).unwrap_err().to_string().contains("charts are nested deeper"));
}

/// Damages every file of a chart in turn: nothing may panic, and the same damage gives the same answer.
#[test]
fn damaged_charts_never_panic() {
    let files = [
        (
            "Chart.yaml",
            "apiVersion: v2\nname: c\nversion: 1.0.0\ntype: application\ndependencies:\n- {name: sub, version: '>=1', condition: sub.on, tags: [t], import-values: [x, {child: a, parent: b}]}\n",
        ),
        ("values.yaml", "a: {b: [1, x, null], c: 0777}\nsub: {on: yes}\nglobal: {g: 1}\n---\nd: |\n  text\n"),
        (
            "values.schema.json",
            r##"{"type":"object","properties":{"a":{"type":"object","required":["b"]},"d":{"pattern":"^t"}},"$defs":{"x":{"$ref":"#/$defs/x"}}}"##,
        ),
        ("templates/_h.tpl", "{{- define \"h\" -}}{{ toYaml .Values.a | nindent 2 }}{{- end -}}"),
        (
            "templates/a.yaml",
            "kind: ConfigMap\nmetadata:\n  name: {{ .Release.Name | trunc 5 | quote }}\n  annotations: {helm.sh/hook: \"pre-install,test\", helm.sh/hook-weight: \"{{ len .Values.d }}\"}\ndata:{{ include \"h\" . }}\n---\nkind: Secret\n",
        ),
        ("charts/sub/Chart.yaml", "apiVersion: v1\nname: sub\nversion: 1.2.3\n"),
        ("charts/sub/values.yaml", "exports: {x: {y: 1}}\na: {z: 2}\n"),
        (".helmignore", "*.bak\n!x\n/y/\n"),
        ("charts/sub/templates/b.yaml", "{{ range $k, $v := .Values.global }}k{{ $k }}: {{ $v }}\n{{ end }}"),
    ];
    let mut state: u64 = 0x2545_f491_4f6c_dd1d;
    let mut random = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n as u64) as usize
    };
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ":",
        "- ",
        "\n",
        "---\n",
        "&a ",
        "*a ",
        "!!binary ",
        "|\n",
        "{{",
        "}}",
        "é",
        "\t",
        "'",
        "\"",
        "~",
        "1e999",
        "null",
        "\u{0}",
        "  ",
        "#",
        "$ref",
        "%",
    ];
    let outcome = |files: &[(String, String)]| {
        let tree: MemoryTree = files.iter().map(|(path, text)| (path.as_str(), text.as_bytes().to_vec())).collect();
        let chart = Chart::from_tree(&tree, "", ChartLimits::default()).map(Arc::new);
        match chart.and_then(|chart| render(&chart)) {
            Ok(rendered) => format!("{}{:?}{}", rendered.manifest(), rendered.hooks, rendered.notes),
            Err(error) => format!("error {error}"),
        }
    };
    for round in 0..600 {
        let mut damaged: Vec<(String, String)> = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let file = round % files.len();
        for _ in 0..=random(3) {
            let mut text: Vec<char> = damaged[file].1.chars().collect();
            let at = random(text.len() + 1);
            match random(3) {
                0 if at < text.len() => drop(text.remove(at)),
                1 => drop(text.splice(at..at, pieces[random(pieces.len())].chars())),
                _ => {
                    let other = random(text.len() + 1);
                    let (low, high) = (at.min(other), at.max(other));
                    let copy: Vec<char> = text[low..high].to_vec();
                    drop(text.splice(low..low, copy));
                }
            }
            damaged[file].1 = text.into_iter().collect();
        }
        assert_eq!(outcome(&damaged), outcome(&damaged), "{:?}", damaged[file]);
    }
}
