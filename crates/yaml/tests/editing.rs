//! Scalars change where they stand, and nothing else does.

use yaml::{
    Limits, Style,
    edit::{Step, set, set_where, spots},
};

const MANIFEST: &str = "# head\napiVersion: apps/v1   # version\nkind: Deployment\nmetadata: {name: web, labels: {app: web}} # flow\nspec:\n  template:\n    spec:\n      containers:\n      -   name: app\n          image: ghcr.io/org/app:1.0.0 # {\"$imagepolicy\": \"ns:app\"}\n          args: [ --a,  'b' , \"c\" ] # list\n\n      - name:   side\n        image: \"envoy:1\"   # {\"$imagepolicy\": \"ns:envoy\"}\n---\n# second\nkind: X\nvalue: 'one' # {\"$imagepolicy\": \"ns:app:tag\"}\n";

fn path(text: &str) -> Vec<Step> {
    text.split('.').map(|part| part.parse::<usize>().map_or_else(|_| Step::from(part), Step::from)).collect()
}

/// The bytes that differ, by the ends that are the same.
fn changed<'a>(before: &'a str, after: &'a str) -> (&'a str, &'a str) {
    let same = before.bytes().zip(after.bytes()).take_while(|(a, b)| a == b).count();
    let rest =
        (before.len().min(after.len()) - same).min(before.bytes().rev().zip(after.bytes().rev()).take_while(|(a, b)| a == b).count());
    (&before[same..before.len() - rest], &after[same..after.len() - rest])
}

#[test]
fn every_scalar_is_found_with_its_path_and_comment() {
    let found: Vec<(usize, String, String, Option<String>)> = spots(MANIFEST, Limits::default())
        .expect("it is YAML")
        .into_iter()
        .map(|spot| {
            assert_eq!(MANIFEST[spot.bytes.clone()].trim_matches(['\'', '"']), spot.text, "bytes are those of the scalar");
            let path: Vec<String> = spot
                .path
                .iter()
                .map(|step| match step {
                    Step::Key(key) => key.to_string(),
                    Step::Index(at) => at.to_string(),
                })
                .collect();
            (spot.document, path.join("."), spot.text.to_string(), spot.comment.map(|comment| comment.to_string()))
        })
        .collect();
    let expected = [
        (0, "apiVersion", "apps/v1", Some("version")),
        (0, "kind", "Deployment", None),
        (0, "metadata.name", "web", None),
        (0, "metadata.labels.app", "web", None),
        (0, "spec.template.spec.containers.0.name", "app", None),
        (0, "spec.template.spec.containers.0.image", "ghcr.io/org/app:1.0.0", Some("{\"$imagepolicy\": \"ns:app\"}")),
        (0, "spec.template.spec.containers.0.args.0", "--a", None),
        (0, "spec.template.spec.containers.0.args.1", "b", None),
        (0, "spec.template.spec.containers.0.args.2", "c", None),
        (0, "spec.template.spec.containers.1.name", "side", None),
        (0, "spec.template.spec.containers.1.image", "envoy:1", Some("{\"$imagepolicy\": \"ns:envoy\"}")),
        (1, "kind", "X", None),
        (1, "value", "one", Some("{\"$imagepolicy\": \"ns:app:tag\"}")),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(at, path, text, comment)| (*at, (*path).to_owned(), (*text).to_owned(), comment.map(str::to_owned)))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn one_scalar_changes_and_every_other_byte_stays() {
    let table = [
        (0, "spec.template.spec.containers.0.image", "ghcr.io/org/app:1.1.0", "ghcr.io/org/app:1.1.0"),
        (0, "spec.template.spec.containers.1.image", "envoy:2 \"x\"", "\"envoy:2 \\\"x\\\"\""),
        (0, "spec.template.spec.containers.0.args.0", "a, b", "\"a, b\""),
        (0, "spec.template.spec.containers.0.args.1", "it's", "'it''s'"),
        (0, "metadata.labels.app", "1.0", "\"1.0\""),
        (0, "metadata.name", "yes", "\"yes\""),
        (1, "value", "two\nlines", "\"two\\nlines\""),
    ];
    for (document, at, value, written) in table {
        let after = set(MANIFEST, document, &path(at), value).expect("it can be set");
        let spot = spots(&after, Limits::default())
            .expect("it is YAML")
            .into_iter()
            .find(|spot| spot.document == document && spot.is_at(&path(at)));
        let spot = spot.expect("it is still there");
        assert_eq!((spot.text.as_str(), &after[spot.bytes]), (value, written), "{at}");
        let (before, _) = changed(MANIFEST, &after);
        assert!(!before.contains('\n'), "{at}: more than the scalar changed: {before:?}");
    }
}

#[test]
fn markers_choose_what_changes() {
    let after = set_where(MANIFEST, |spot| match spot.comment.as_deref()? {
        "{\"$imagepolicy\": \"ns:app\"}" => Some("ghcr.io/org/app:2".into()),
        "{\"$imagepolicy\": \"ns:app:tag\"}" => Some("2".into()),
        _ => None,
    })
    .expect("it can be set");
    let expected = MANIFEST.replace("app:1.0.0 #", "app:2 #").replace("'one'", "'2'");
    assert_eq!(after, expected);
}

#[test]
fn nothing_chosen_is_the_text_itself() {
    assert_eq!(set_where(MANIFEST, |spot| Some(spot.text.clone())).expect("it is YAML"), MANIFEST);
    assert!(matches!(set_where(MANIFEST, |_| None), Ok(std::borrow::Cow::Borrowed(_))));
}

#[test]
fn numbers_stay_numbers_and_texts_stay_texts() {
    assert_eq!(set("a: 1 # n\nb: x\n", 0, &path("a"), "2").as_deref(), Ok("a: 2 # n\nb: x\n"));
    assert_eq!(set("a: 1.0\n", 0, &path("a"), "1.0.1").as_deref(), Ok("a: 1.0.1\n"));
    assert_eq!(set("a: -1\n", 0, &path("a"), "-2").as_deref(), Ok("a: -2\n"));
    assert_eq!(set("a: v1\n", 0, &path("a"), "1.10").as_deref(), Ok("a: \"1.10\"\n"));
    assert_eq!(set("a: v1\n", 0, &path("a"), "").as_deref(), Ok("a: \"\"\n"));
}

#[test]
fn block_scalars_keep_their_sign_and_indentation() {
    let text = "a: |\n    one\n    two\n\nb: >-  # note\n  x\n  y\nc: 1\n";
    assert_eq!(set(text, 0, &path("a"), "new\n\nlines\n").as_deref(), Ok("a: |\n    new\n\n    lines\n\nb: >-  # note\n  x\n  y\nc: 1\n"));
    assert_eq!(set(text, 0, &path("a"), "strip").as_deref(), Ok("a: |-\n    strip\n\nb: >-  # note\n  x\n  y\nc: 1\n"));
    assert_eq!(set(text, 0, &path("b"), "z").as_deref(), Ok("a: |\n    one\n    two\n\nb: >-  # note\n  z\nc: 1\n"));
    assert_eq!(set("a: |\r\n  x\r\nb: 1\r\n", 0, &path("a"), "y\n").as_deref(), Ok("a: |\r\n  y\r\nb: 1\r\n"));
    assert_eq!(set("a: |-\n  x", 0, &path("a"), "y").as_deref(), Ok("a: |-\n  y"));
    assert_eq!(set("a: |\n  x\nb: 1\n", 0, &path("a"), " lead").as_deref(), Ok("a: \" lead\"\nb: 1\n"));
}

#[test]
fn anchors_tags_and_windows_lines_stay() {
    assert_eq!(set("a: &x one\nb: *x\n", 0, &path("a"), "two").as_deref(), Ok("a: &x two\nb: *x\n"));
    assert_eq!(set("a: !!str 1\n", 0, &path("a"), "2 3").as_deref(), Ok("a: !!str 2 3\n"));
    assert_eq!(set("a: x\r\nb: 'y' # c\r\n", 0, &path("b"), "z").as_deref(), Ok("a: x\r\nb: 'z' # c\r\n"));
    assert_eq!(set("\u{FEFF}é: ü # ö\n", 0, &path("é"), "ä").as_deref(), Ok("\u{FEFF}é: ä # ö\n"));
}

#[test]
fn texts_over_several_lines_are_replaced_whole() {
    let text = "a: one\n  two\n  three # c\nb: \"x\n  y\"\n";
    assert_eq!(set(text, 0, &path("a"), "new").as_deref(), Ok("a: new # c\nb: \"x\n  y\"\n"));
    assert_eq!(set(text, 0, &path("b"), "z").as_deref(), Ok("a: one\n  two\n  three # c\nb: \"z\"\n"));
}

#[test]
fn what_is_no_scalar_is_refused() {
    for at in ["b", "a.b", "list", "gone", "list.1"] {
        let error = set("a: 1\nb: {c: 2}\nlist: [x]\ngone:\n", 0, &path(at), "y").expect_err(at);
        assert!(error.to_string().contains(&format!("no scalar at {}", at.replace(".1", "[1]"))), "{error}");
    }
    assert!(set("a: [", 0, &path("a"), "x").is_err());
}

#[test]
fn styles_are_told() {
    let found = spots("a: x\nb: 'x'\nc: \"x\"\nd: |\n  x\ne: >\n  x\n", Limits::default()).expect("it is YAML");
    let styles: Vec<Style> = found.iter().map(|spot| spot.style).collect();
    assert_eq!(styles, [Style::Plain, Style::Single, Style::Double, Style::Literal, Style::Folded]);
}

/// Whatever is set anywhere, the text reads back with that and nothing else changed, or the change is refused.
#[test]
fn any_text_can_be_set_anywhere() {
    let values = [
        "x", "", " ", "a: b", "#c", "- d", "e\nf", "g\n", "\n", "'", "\"", "\\", "\t", "yes", "1", "é😀", "{", "a,b]", "---", "a #b", "?",
        "*x", "\u{7}",
    ];
    let texts =
        [MANIFEST, "a: |\n  x\n  y\nb: >-\n  z\n\n\nc: [x, {y: z}]\n", "- a\n- - b\n  - c: d\n- {e: f}\n", "? a\n: b\n? c\n: - d\n"];
    let (mut set_count, mut refused) = (0, 0);
    for text in texts {
        let all = spots(text, Limits::default()).expect("it is YAML");
        for (at, spot) in all.iter().enumerate() {
            for value in values {
                match set(text, spot.document, &spot.path, value) {
                    Ok(after) => {
                        set_count += 1;
                        let after = spots(&after, Limits::default()).expect("it is still YAML");
                        for (other, (before, after)) in all.iter().zip(&after).enumerate() {
                            assert_eq!(after.text, if other == at { value } else { before.text.as_str() });
                        }
                    }
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(refused * 20 < set_count, "{refused} of {set_count} were refused");
}
