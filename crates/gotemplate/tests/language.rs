//! The language, seen from outside: what templates print and how they fail.

#![allow(clippy::unwrap_used)]

use gotemplate::{Failure, Functions, Limit, Limits, Map, MapKind, MissingKey, Run, Set, Value};
use std::sync::Arc;

fn data() -> Value {
    let inner = Map::from_entries(MapKind::Any, vec![("d".into(), Value::list(vec![Value::Float(1.0), Value::Float(2.0)]))]);
    Value::Map(Map::from_entries(
        MapKind::Any,
        vec![
            ("s".into(), Value::string("hello")),
            ("n".into(), Value::Float(3.0)),
            ("t".into(), Value::Bool(true)),
            ("null".into(), Value::Nil),
            ("list".into(), Value::list(vec![Value::string("a"), Value::string("b"), Value::Nil])),
            (
                "m".into(),
                Value::Map(Map::from_entries(MapKind::Any, vec![("a".into(), Value::string("x")), ("c".into(), Value::Map(inner))])),
            ),
        ],
    ))
}

fn run_with(text: &str, limits: Limits) -> Result<String, Failure> {
    let mut set = Set::new(Arc::new(Functions::builtins()));
    set.parse("t", text).map_err(|error| Failure::new(error.to_string()))?;
    let data = data();
    let mut run = Run::new(&set, limits, MissingKey::Zero);
    run.execute("t", &data).map(|bytes| String::from_utf8(bytes).unwrap())
}

fn show(text: &str) -> String {
    match run_with(text, Limits::default()) {
        Ok(text) => text,
        Err(error) => format!("ERR {error}"),
    }
}

#[test]
fn templates_print_what_go_prints() {
    let cases = [
        ("a\n  {{- /* comment */ -}}  \nb", "ab"),
        ("{{- 3 -}} x {{ \"q\" -}}\n y", "3x qy"),
        ("{{ .s }} {{ .n }} {{ .m }} {{ .missing }}|{{ (.missing).x }}", "hello 3 map[a:x c:map[d:[1 2]]] <no value>|<no value>"),
        ("{{ if .t }}y{{ else }}n{{ end }}{{ if .missing }}a{{ else if .s }}b{{ else }}c{{ end }}", "yb"),
        ("{{ with .missing }}x{{ else with .s }}{{ . }}{{ end }}", "hello"),
        ("{{ range $i, $e := .list }}{{ $i }}={{ $e }},{{ end }}", "0=a,1=b,2=<no value>,"),
        ("{{ range $k, $v := .m }}{{ $k }},{{ end }}{{ range .missing }}x{{ else }}none{{ end }}", "a,c,none"),
        (
            "{{ range $i := 3 }}{{ if eq $i 1 }}{{ continue }}{{ end }}{{ $i }}{{ end }}{{ range 5 }}{{ if eq . 2 }}{{ break }}{{ end }}{{ . }}{{ end }}",
            "0201",
        ),
        ("{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ $x := 3 }}{{ end }}{{ $x }}", "2"),
        (
            "{{ define \"z\" }}Z{{ . }}{{ end }}{{ template \"z\" 1 }}{{ template \"z\" }}{{ block \"b\" .s }}<{{ . }}>{{ end }}",
            "Z1Z<no value><hello>",
        ),
        ("{{ 3 | printf \"%d-%d\" 2 }} {{ (printf \"%s\" \"x\") }} {{ 'a' }} {{ 0x1f }} {{ 1e6 }} {{ 1_000 }}", "2-3 x 97 31 1e+06 1000"),
        ("{{ and .missing .missing.x }}|{{ or 0 \"\" \"x\" }}|{{ not 0 }}", "<no value>|x|true"),
        ("{{ index .m \"c\" \"d\" 1 }} {{ len .list }} {{ eq 1 2 3 1 }} {{ eq .missing nil }} {{ lt \"a\" \"b\" }}", "2 3 true true true"),
        ("{{ print 1 2 \"a\" \"b\" 3 }} {{ html \"<a>\" }} {{ urlquery \"a b&c\" }}", "1 2ab3 &lt;a&gt; a+b%26c"),
        ("{{ $.s }}{{ $x := . }}{{ $x.m.a }} {{ .s | printf \"%s!\" | }}", "hellox hello!"),
        ("{{ $x := 1 }}{{ $x := print $x 2 }}{{ $x }}{{ range $x := .list }}{{ $x }}{{ end }}{{ $x }}", "1 2ab<no value>1 2"),
        ("{{ $x := 1 }}{{ if false }}{{ $x := 2 }}{{ else }}{{ $y := 3 }}{{ $x }}{{ $y }}{{ end }}", "13"),
        ("{{ if true }}{{ $h := 1 }}{{ $h }}{{ else }}{{ $h }}{{ end }}", "1"),
        ("{{ println\n  \"multi\"\n  \"line\" }}", "multi line\n"),
        ("{{ range .list }}{{ $y := . }}{{ with $y }}{{ $y = \"z\" }}{{ end }}{{ $y }}{{ end }}", "zz<no value>"),
    ];
    for (text, wanted) in cases {
        assert_eq!(show(text), wanted, "{text}");
    }
}

#[test]
fn mistakes_fail_with_gos_words_and_positions() {
    let cases = [
        ("{{ .s.x }}", "template: t:1:5: executing \"t\" at <.s.x>: can't evaluate field x in type interface {}"),
        ("{{ .missing.deep }}", "template: t:1:11: executing \"t\" at <.missing.deep>: nil pointer evaluating interface {}.deep"),
        ("{{ $x := .s }}{{ $x.y }}", "template: t:1:19: executing \"t\" at <$x.y>: can't evaluate field y in type string"),
        ("\n\n {{ range .s }}{{ end }}", "template: t:3:10: executing \"t\" at <.s>: range can't iterate over hello"),
        (
            "{{ eq 1 1.0 }}",
            "template: t:1:3: executing \"t\" at <eq 1 1.0>: error calling eq: incompatible types for comparison: int and float64",
        ),
        ("{{ len 3 }}", "template: t:1:3: executing \"t\" at <len 3>: error calling len: len of type int"),
        ("{{ template \"nope\" . }}", "template: t:1:12: executing \"t\" at <{{template \"nope\" .}}>: template \"nope\" not defined"),
        ("{{ and }}", "template: t:1:3: executing \"t\" at <and>: wrong number of args for and: want at least 1 got 0"),
        ("{{ .s | .t }}", "template: t:1:8: executing \"t\" at <.t>: t is not a method but has arguments"),
        ("{{ printf 3 }}", "template: t:1:10: executing \"t\" at <3>: expected string; found 3"),
        ("{{ nope }}", "template: t:1: function \"nope\" not defined"),
        ("{{ if }}x{{ end }}", "template: t:1: missing value for if"),
        ("{{ end }}", "template: t:1: unexpected {{end}}"),
        ("{{ if true }}", "template: t:1: unexpected EOF"),
        ("{{ .s", "template: t:1: unclosed action"),
        ("{{ $undef }}", "template: t:1: undefined variable \"$undef\""),
        ("{{ $x := print $x }}", "template: t:1:15: executing \"t\" at <$x>: undefined variable: $x"),
        ("{{ break }}", "template: t:1: {{break}} outside {{range}}"),
        ("{{ 3-}}", "template: t:1: bad number syntax: \"3-\""),
        ("{{ (1 }}", "template: t:1: unclosed left paren"),
        ("{{ 1 | 2 }}", "template: t:1: non executable command in pipeline stage 2"),
        ("{{ \"a\nb\" }}", "template: t:1: unterminated quoted string"),
        ("{{ define \"a\" }}1{{ end }}{{ define \"a\" }}2{{ end }}", "template: t:1: template: multiple definition of template \"a\""),
    ];
    for (text, wanted) in cases {
        assert_eq!(show(text), format!("ERR {wanted}"), "{text}");
    }
}

#[test]
fn budgets_stop_what_never_ends() {
    let limits = Limits { steps: 100_000, output: 10_000, depth: 500 };
    let cases = [
        ("{{ define \"r\" }}{{ template \"r\" . }}{{ end }}{{ template \"r\" . }}", Limit::Depth),
        ("{{ range 1000000000 }}{{ end }}", Limit::Steps),
        ("{{ range 100000 }}0123456789012345678901234567890123456789{{ end }}", Limit::Output),
        ("{{ printf \"%1000000d\" 1 }}", Limit::Output),
    ];
    for (text, limit) in cases {
        assert_eq!(run_with(text, limits).unwrap_err().exceeded(), Some(limit), "{text}");
    }
    let stop = || true;
    let mut set = Set::new(Arc::new(Functions::builtins()));
    set.parse("t", "{{ range 1000000 }}{{ end }}").unwrap();
    let error = Run::new(&set, Limits::default(), MissingKey::Zero).interrupted_by(&stop).execute("t", &Value::Nil).unwrap_err();
    assert_eq!(error.exceeded(), Some(Limit::Time));
}

#[test]
fn deep_nesting_is_refused_not_overflowed() {
    let parens = format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(show(&parens).contains("max expression depth exceeded"));
    assert!(show(&"{{ if 1 }}".repeat(100_000)).contains("max expression depth exceeded"));
    let allowed = format!("{}x{}", "{{ if 1 }}".repeat(900), "{{ end }}".repeat(900));
    assert_eq!(show(&allowed), "x");
}

/// Damages templates in every way a small generator finds: nothing may panic, and the same damage gives the same answer.
#[test]
fn damaged_templates_never_panic() {
    let seeds = [
        "{{ range $i, $e := .list }}{{ $i }}={{ $e | printf \"%5.2f\" }}{{ else }}n{{ end }}",
        "{{- define \"a\" -}}{{ template \"a\" (index .m \"c\") }}{{- end -}}{{ block \"b\" . }}{{ .s.x }}{{ end }}",
        "{{ if and (eq .n 3.0) (lt 1 2) }}{{ 'a' }}{{ 0x1p4 }}{{ else if .t }}`raw`{{ `raw` }}{{ end }}{{/* c */}}",
        "{{ printf \"%[1]*d %v %#v %x\" 3 .m .list -7 }}{{ slice .s 1 2 }}{{ $x := .s }}{{ $x = 2 }}",
    ];
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = move |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % n as u64) as usize
    };
    let pieces = [
        "{{",
        "}}",
        "{{-",
        "-}}",
        "(",
        ")",
        "|",
        "\"",
        "`",
        "$",
        ".",
        "\\",
        "\n",
        "é",
        "0",
        "%",
        "end",
        "range",
        "[",
        "*",
        "999999999999",
        "nil",
        ":=",
        "'",
    ];
    let limits = Limits { steps: 20_000, output: 1 << 16, depth: 100 };
    for round in 0..4_000 {
        let mut text: Vec<char> = seeds[round % seeds.len()].chars().collect();
        for _ in 0..=random(4) {
            let at = random(text.len() + 1);
            match random(3) {
                0 if at < text.len() => drop(text.remove(at)),
                1 => {
                    let piece = pieces[random(pieces.len())];
                    text.splice(at..at, piece.chars());
                }
                _ => {
                    let other = random(text.len() + 1);
                    let (low, high) = (at.min(other), at.max(other));
                    let copy: Vec<char> = text[low..high].to_vec();
                    text.splice(low..low, copy);
                }
            }
        }
        let text: String = text.into_iter().collect();
        let first = run_with(&text, limits);
        assert_eq!(first, run_with(&text, limits), "{text}");
    }
}

#[test]
fn an_action_that_comes_again_means_what_its_place_says() {
    let cases = [
        // The place of an error is that of the action that failed, not of the first that is written the same.
        (
            "{{ if .missing }}{{ .null.x }}{{ end }}\n  {{ .null.x }}",
            "ERR template: t:2:10: executing \"t\" at <.null.x>: nil pointer evaluating interface {}.x",
        ),
        (
            "{{ range .list }}{{ end }}{{ if .missing }}{{ range .s }}{{ end }}{{ end }}\n\n{{- range .s }}{{ end }}",
            "ERR template: t:3:10: executing \"t\" at <.s>: range can't iterate over hello",
        ),
        // Variables are those that can be seen where it stands.
        ("{{ $x := 1 }}{{ $x }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "121"),
        ("{{ range $x := 2 }}{{ $x }}{{ end }}{{ range $y, $x := .list }}{{ if $x }}{{ $x }}{{ end }}{{ end }}", "01ab"),
        ("{{ with $x := 1 }}{{ $x }}{{ end }}{{ $x }}", "ERR template: t:1: undefined variable \"$x\""),
        ("{{ define \"d\" }}{{ $.s }}{{ end }}{{ $.s }}{{ template \"d\" . }}", "hellohello"),
        // A delimiter inside of a text does not end it.
        ("{{ print \"}}\" 1 }}{{ print \"}}\" 2 }}{{ print \"}}\" 1 }}", "}}1}}2}}1"),
        // What is trimmed away is trimmed away each time.
        ("a {{- .s -}} b {{- .s -}} c {{ .s -}} d {{ .s -}} e", "ahellobhelloc hellod helloe"),
        ("{{ if .missing }}1{{ else if .t }}2{{ else }}3{{ end }}{{ if .t }}4{{ else if .t }}5{{ else }}6{{ end }}", "24"),
        ("{{ if .t }}a{{ else }}b{{ end }}{{ if .t }}c{{ else }}d{{ end }}{{ end }}", "ERR template: t:1: unexpected {{end}}"),
        ("{{ if .t }}{{ if .t }}{{ end }}", "ERR template: t:1: unexpected EOF"),
    ];
    for (text, wanted) in cases {
        assert_eq!(show(text), wanted, "{text}");
    }
}
