//! What Go's packages answered, in tables: the same text, two readings.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use yaml::Dialect::{Kyaml, Sigs};

#[track_caller]
fn reads(text: &str, sigs: Value, kyaml: Value) {
    assert_eq!(yaml::to_json(text, Sigs), Ok(sigs), "sigs: {text:?}");
    assert_eq!(yaml::to_json(text, Kyaml), Ok(kyaml), "kyaml: {text:?}");
}

#[track_caller]
fn both(text: &str, value: Value) {
    reads(text, value.clone(), value);
}

#[test]
fn structures_are_read() {
    both("a: 1\nb:\n- x\n- yy: [1, {c: d}]\n  z:\nc: {}\n", json!({"a": 1, "b": ["x", {"yy": [1, {"c": "d"}], "z": null}], "c": {}}));
    both("- - 1\n  - 2\n-\n  - 3\n", json!([[1, 2], [3]]));
    both("? a\n: b\n? c\n", json!({"a": "b", "c": null}));
    both("[a: b, c]", json!([{"a": "b"}, "c"]));
    both("{a, b: 1}", json!({"a": null, "b": 1}));
    both("", Value::Null);
    both("# only a comment\n", Value::Null);
    both("\u{FEFF}a: 1\r\nb: |\r\n  x\r\n  y\r\n", json!({"a": 1, "b": "x\ny\n"}));
    both("a:\t1\nb:  [1,\t2]\n", json!({"a": 1, "b": [1, 2]}));
    both("a: [-, --, ---x]\n", json!({"a": ["-", "--", "---x"]}));
    both("a: {\n  b: 1\n}\n", json!({"a": {"b": 1}}));
}

#[test]
fn scalars_are_read() {
    both("a: 'it''s'\nb: \"x\\n\\u00e9\\\n   y\"\n", json!({"a": "it's", "b": "x\néy"}));
    both("a: one\n  two\n\n  three\n", json!({"a": "one two\nthree"}));
    both("a: >-\n  one\n  two\n\n  three\n", json!({"a": "one two\nthree"}));
    both("a: |1-\n  x\n", json!({"a": " x"}));
    both("a: |+\n  x\n\nb: 1\n", json!({"a": "x\n\n", "b": 1}));
    both(
        "a: !!str 1\nb: !custom x\nc: !!binary aGVsbG8=\nd: ! x\ne: !!float 1\n",
        json!({"a": "1", "b": "x", "c": "hello", "d": "x", "e": 1}),
    );
    both("a: 18446744073709551616\nb: 1e3\nc: 0777\nd: 1.50\n", json!({"a": 18446744073709552000f64, "b": 1000, "c": 511, "d": 1.5}));
    reads(
        "a: yes\nb: off\nc: 2001-12-14\n",
        json!({"a": true, "b": false, "c": "2001-12-14"}),
        json!({"a": "yes", "b": "off", "c": "2001-12-14T00:00:00Z"}),
    );
    both("a: http://x:80/#y z\n", json!({"a": "http://x:80/#y z"}));
}

#[test]
fn anchors_and_merges_are_resolved() {
    both("a: &x {b: 1}\nc: *x\n", json!({"a": {"b": 1}, "c": {"b": 1}}));
    reads(
        "a: &x {k: 1, y: 2}\nb:\n  k: 3\n  <<: *x\n",
        json!({"a": {"k": 1, "true": 2}, "b": {"k": 1, "true": 2}}),
        json!({"a": {"k": 1, "y": 2}, "b": {"k": 3, "y": 2}}),
    );
    both("a: &x {k: 1}\nb: {<<: [*x, {k: 2, l: 3}], m: 4}\n", json!({"a": {"k": 1}, "b": {"k": 1, "l": 3, "m": 4}}));
    both("a: {'<<': {x: 1}}\n", json!({"a": {"<<": {"x": 1}}}));
}

#[test]
fn keys_follow_the_dialect() {
    assert_eq!(yaml::to_json("a: 1\na: 2\n", Sigs), Ok(json!({"a": 2})));
    assert_eq!(yaml::to_json("a: 1\na: 2\n", Kyaml).unwrap_err().line(), 2);
    assert_eq!(yaml::to_json_strict("a: 1\na: 2\n", Sigs).unwrap_err().line(), 2);
    assert_eq!(yaml::to_json("1: a\n1.5: b\ny: c\n0x10: d\n", Sigs), Ok(json!({"1": "a", "1.5": "b", "true": "c", "16": "d"})));
    assert!(yaml::to_json("1: a\n", Kyaml).is_err());
    assert!(yaml::to_json("null: a\n", Sigs).is_err());
    assert_eq!(yaml::to_json("a: .nan\n", Sigs).unwrap_err().go_message(Sigs), "json: unsupported value: NaN");
}

#[test]
fn errors_name_the_place_and_speak_go() {
    let table = [
        (
            "a: b: c\n",
            "line 1, column 5: mapping values are not allowed in this context",
            "yaml: mapping values are not allowed in this context",
        ),
        (
            "x: 1\na: b: c\n",
            "line 2, column 5: mapping values are not allowed in this context",
            "yaml: line 2: mapping values are not allowed in this context",
        ),
        ("a:\n  - b\n c: d\n", "line 3, column 2: did not find expected key", "yaml: line 2: did not find expected key"),
        ("a: [1\nb: 2\n", "line 2, column 2: did not find expected ',' or ']'", "yaml: line 1: did not find expected ',' or ']'"),
        ("a: \"x\n", "line 2, column 1: found unexpected end of stream", "yaml: line 2: found unexpected end of stream"),
        (
            "x:\na: @b\n",
            "line 2, column 4: found character that cannot start any token",
            "yaml: line 2: found character that cannot start any token",
        ),
        (
            "a:\n\tb: 1\n",
            "line 2, column 1: found character that cannot start any token",
            "yaml: line 2: found character that cannot start any token",
        ),
        ("a: *x\n", "line 1, column 4: unknown anchor 'x' referenced", "yaml: unknown anchor 'x' referenced"),
        ("%YAML 1.2\n---\na: 1\n", "line 1, column 1: found incompatible YAML document", "yaml: found incompatible YAML document"),
    ];
    for (text, ours, go) in table {
        let error = yaml::to_json(text, Sigs).expect_err(text);
        assert_eq!((error.to_string().as_str(), error.go_message(Sigs).as_str()), (ours, go), "{text:?}");
    }
    let error = yaml::to_json("a: {{ .Values.x }}\n", Sigs).unwrap_err();
    assert_eq!(error.go_message(Sigs), "yaml: invalid map key: map[interface {}]interface {}{\".Values.x\":interface {}(nil)}");
    // Go looks at keys when the text was read: a mistake in the text comes first.
    let error = yaml::to_json("a: {{ .Values.x }}-y\n", Sigs).unwrap_err();
    assert_eq!(error.go_message(Sigs), "yaml: did not find expected key");
}

#[test]
fn documents_are_split_and_know_their_lines() {
    let documents = yaml::documents("a: 1\n--- # next\nb: 2\n...\n---\n", Kyaml).unwrap();
    let values: Vec<_> = documents.iter().map(|document| (document.line, document.to_json().unwrap())).collect();
    assert_eq!(values, [(1, json!({"a": 1})), (2, json!({"b": 2})), (5, Value::Null)]);
}

#[test]
fn bombs_end_in_errors() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let before = format!("*a{}", level - 1);
        laughs.push_str(&format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(", ")));
    }
    assert_eq!(yaml::to_json(&laughs, Kyaml).unwrap_err().go_message(Kyaml), "yaml: document contains excessive aliasing");
    assert!(yaml::to_json("a: &a [*a]\n", Sigs).unwrap_err().to_string().contains("contains itself"));
    assert!(yaml::to_json("a: &a\n  <<: *a\n", Kyaml).is_err());
    for deep in ["[", "{a: ", "- "] {
        let error = yaml::to_json(&deep.repeat(100_000), Sigs).unwrap_err().to_string();
        assert!(error.contains("max depth"), "{error}");
    }
    assert!(yaml::to_json(&(0..100_000).map(|depth| format!("{}a:\n", " ".repeat(depth % 2000))).collect::<String>(), Sigs).is_err());
    assert!(yaml::to_json("a: \u{0}\n", Sigs).is_err());
    assert!(yaml::text(b"\xff\xfea").is_err());
    let many: String = (0..100_000).map(|i| format!("k{i}: &a{i} v\n")).collect();
    assert_eq!(yaml::to_json(&many, Kyaml).unwrap().as_object().map(|map| map.len()), Some(100_000));
}

/// No text makes the reader panic, and what it reads it can write and read again.
#[test]
fn mutated_texts_never_panic_and_survive_a_round_trip() {
    let seeds = [
        "a: &x {b: [1, 'two', \"th\\u0072ee\"]}\nc: |-\n  lit\n\n   eral\nd: *x\n? e\n: >+\n fold\n ed\n",
        "- - a: b\n    c: !!int 1\n  - <<: {x: y}\n- {a, b: c, ? d}\n--- # x\n%TAG ! tag:x,2000:\n...\n",
        "é: \u{2028}\u{85}x\n😀: ~\nk: - x\n",
    ];
    let mut state = 7u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below.max(1)
    };
    let pieces = [
        "\n", " ", "  ", "\t", "- ", ": ", "? ", "[", "]", "{", "}", ",", "'", "\"", "|", ">", "&a ", "*a", "!", "#", "---\n", "\\", "\r",
        "é", "%", "1", "<<: ",
    ];
    for round in 0..6000 {
        let mut chars: Vec<char> = seeds[round % seeds.len()].chars().collect();
        for _ in 0..1 + random(5) {
            let at = random(chars.len());
            if chars.is_empty() {
                break;
            }
            match random(3) {
                0 => drop(chars.remove(at)),
                1 => drop(chars.splice(at..at, pieces[random(pieces.len())].chars())),
                _ => chars.truncate(at.max(1)),
            }
        }
        let text: String = chars.into_iter().collect();
        for dialect in [Sigs, Kyaml] {
            let Ok(value) = yaml::to_json(&text, dialect) else { continue };
            let written = yaml::emit(&value);
            let again = yaml::to_json(&written, dialect).unwrap_or_else(|error| panic!("{text:?} became {written:?}: {error}"));
            assert_eq!(again, value, "{text:?} became {written:?}");
        }
    }
}
