//! Expressions: what they are checked for, what they cost, and what comes out when they run.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeMap;

use merge::cel::{Cel, Declared, Environment, Failure, Program, Scope, Spent, Type, declared_of, plain, to_json};
use object::GroupVersionKind;
use serde_json::{Value, json};

struct Values(Value);

impl Scope for Values {
    fn variable(&self, name: &str, _spent: &mut Spent) -> Option<Result<Cel, Failure>> {
        self.0.get(name).map(|value| Ok(plain(value)))
    }
}

fn environment() -> Environment {
    let int = Declared::scalar(Type::Int, 0, 1);
    let fields = BTreeMap::from([
        ("count".to_owned(), int.clone()),
        ("name".to_owned(), Declared::string()),
        ("short".to_owned(), Declared::scalar(Type::String, 10, 2)),
        ("numbers".to_owned(), Declared::list(int, 100)),
        ("names".to_owned(), Declared::list(Declared::string(), 1_000_000)),
        ("labels".to_owned(), Declared::map(Declared::string(), 10)),
        ("any".to_owned(), Declared::dynamic()),
    ]);
    Environment::default().with("self", Declared::object("object", fields, 2)).with("x", Declared::dynamic())
}

fn run(text: &str, x: Value) -> Result<Value, String> {
    let program = Program::compile(text, &environment())?;
    let mut spent = 0;
    let value = program.run(&Values(json!({ "x": x })), &mut spent).map_err(|error| error.to_string())?;
    to_json(&value).ok_or_else(|| "no JSON".to_owned())
}

#[test]
fn expressions_come_to_the_values_that_cel_gives_them() {
    for (text, x, want) in [
        ("1 + 2 * 3", json!(null), json!(7)),
        ("-9223372036854775808 < 0", json!(null), json!(true)),
        ("x.a.b == 'c' && has(x.a) && !has(x.z)", json!({"a": {"b": "c"}}), json!(true)),
        ("x.map(i, i * 2).filter(i, i > 2)", json!([1, 2, 3]), json!([4, 6])),
        ("x.all(i, i < 4) && x.exists(i, i == 2) && x.exists_one(i, i == 3)", json!([1, 2, 3]), json!(true)),
        ("x.map(i, i > 1, i)", json!([1, 2, 3]), json!([2, 3])),
        ("x.all(k, v, k == 'a' && v == 1)", json!({"a": 1}), json!(true)),
        ("x.transformMap(k, v, v + 1)", json!({"a": 1}), json!({"a": 2})),
        ("x.transformList(i, v, i + v)", json!([1, 1]), json!([1, 2])),
        ("x.?a.orValue('none') + x.?b.orValue('none')", json!({"a": "one"}), json!("onenone")),
        ("x[?'a'].hasValue() ? 1 : 2", json!({}), json!(2)),
        ("x.?a.optMap(v, v + 1).orValue(0)", json!({"a": 4}), json!(5)),
        ("[1, ?x.?a]", json!({}), json!([1])),
        ("{'a': 1, ?'b': x.?b}", json!({"b": 2}), json!({"a": 1, "b": 2})),
        ("'a' in x && 'b' in ['b']", json!({"a": 1}), json!(true)),
        ("x.size() + size('héé')", json!([1]), json!(4)),
        (r#""a\x41B\t'" + r'\d' + '''b'''"#, json!(null), json!("aAB\t'\\db")),
        ("type(x) == string && type(1) == int", json!("a"), json!(true)),
        ("'abc'.matches('^a.c$') && 'a,b'.split(',') == ['a', 'b']", json!(null), json!(true)),
        ("sets.contains(['a', 'b'], ['a']) && [1, 2].sum() == 3", json!(null), json!(true)),
        ("quantity('1Gi').isGreaterThan(quantity('500Mi'))", json!(null), json!(true)),
        ("url('https://a.b/c').getHost() == 'a.b' && isURL('a://b')", json!(null), json!(true)),
        ("duration('1h').getMinutes() == 60 && timestamp('2024-01-01T00:00:00Z').getFullYear() == 2024", json!(null), json!(true)),
        ("ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.1.1')", json!(null), json!(true)),
        ("1 < 2.5 && 2u > 1", json!(null), json!(true)),
        // One side that settles the matter makes an error of the other not matter.
        ("x.missing == 1 || true", json!({}), json!(true)),
        ("false && x.missing == 1", json!({}), json!(false)),
        ("x.exists(i, i.a == 1)", json!([{}, {"a": 1}]), json!(true)),
    ] {
        assert_eq!(run(text, x), Ok(want), "{text}");
    }
}

#[test]
fn an_expression_without_a_value_says_why() {
    for (text, x, want) in [
        ("x.a", json!({}), "no such key: a"),
        ("x[3]", json!([1]), "index out of bounds: 3"),
        ("1 / (x - 1)", json!(1), "division by zero"),
        ("1 % (x - 1)", json!(1), "modulus by zero"),
        ("9223372036854775807 + x", json!(1), "integer overflow"),
        ("x + 1", json!("a"), "no such overload"),
        ("x.missing == 1 && true", json!({}), "no such key: missing"),
        ("x.all(i, x.all(j, x.all(k, i + j + k > 0)))", json!(vec![1; 300]), "operation cancelled: actual cost limit exceeded"),
    ] {
        assert_eq!(run(text, x), Err(want.to_owned()), "{text}");
    }
}

#[test]
fn what_cannot_be_right_is_told_with_its_place() {
    for (text, want) in [
        ("self.z == 100", "ERROR: <input>:1:5: undefined field 'z'\n | self.z == 100\n | ....^"),
        (
            "self.count > 'a'",
            "ERROR: <input>:1:12: found no matching overload for '_>_' applied to '(int, string)'\n | self.count > 'a'\n | ...........^",
        ),
        (
            "self.name.size(1)",
            "ERROR: <input>:1:15: found no matching overload for 'size' applied to 'string.(int)'\n | self.name.size(1)\n | ..............^",
        ),
        ("other == 1", "ERROR: <input>:1:1: undeclared reference to 'other' (in container '')\n | other == 1\n | ^"),
        ("nothing(1)", "ERROR: <input>:1:8: undeclared reference to 'nothing' (in container '')\n | nothing(1)\n | .......^"),
        (
            "self.count.all(i, true)",
            "ERROR: <input>:1:5: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)\n | self.count.all(i, true)\n | ....^",
        ),
        ("[1, 'a'] == []", "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a'] == []\n | ....^"),
        ("self.name.matches('(')", "ERROR: <input>:1:19: invalid matches argument\n | self.name.matches('(')\n | ..................^"),
        ("has(self)", "ERROR: <input>:1:5: invalid argument to has() macro\n | has(self)\n | ....^"),
    ] {
        assert_eq!(Program::compile(text, &environment()).unwrap_err(), want, "{text}");
    }
    for text in ["self = 42", "1 +", "(1", "'a", "self.", "{1: }", "[1 2]", "1 ? 2", "#"] {
        let error = Program::compile(text, &environment()).unwrap_err();
        assert!(error.contains("Syntax error"), "{text}: {error}");
    }
}

#[test]
fn types_are_found_through_calls_and_folds() {
    for (text, want) in [
        ("self.numbers.map(n, string(n))", "list(string)"),
        ("self.labels['a']", "string"),
        ("self.labels.all(k, k.startsWith('a'))", "bool"),
        ("self.any.whatever + 1", "int"),
        ("true ? self.count : 1", "int"),
        ("self.?name", "optional_type(string)"),
        ("self.numbers.filter(n, n > 1)[0]", "int"),
        ("duration('1s')", "duration"),
        ("quantity('1')", "kubernetes.Quantity"),
    ] {
        assert_eq!(Program::compile(text, &environment()).unwrap().output().to_string(), want, "{text}");
    }
}

#[test]
fn costs_grow_with_what_a_schema_lets_grow() {
    let cost = |text: &str| Program::compile(text, &environment()).unwrap().cost_max();
    assert_eq!(cost("self.count > 1"), 3);
    assert_eq!(cost("self.count > 1 && self.count < 9"), 6);
    // A hundred rounds: the accumulator, its test, the element and the comparison.
    assert_eq!(cost("self.numbers.all(n, n > 1)"), 2 + 100 * 5 + 1);
    assert!(cost("self.short.contains('a')") < 10);
    assert!(cost("self.names.all(n, n == 'a')") > cost("self.numbers.all(n, n == 1)") * 1000);
    assert!(cost("self.names.all(n, self.names.all(m, n == m))") > 1_000_000_000);
}

#[test]
fn a_kind_is_known_by_its_fields() {
    let kind = GroupVersionKind::new("apps", "v1", "Deployment");
    let declared = declared_of(&merge::builtin::type_of(&kind).unwrap());
    let environment = Environment::default().with("object", declared);
    for (text, want) in [
        ("object.spec.replicas", "int"),
        ("object.metadata.labels", "map(string, string)"),
        ("object.metadata.creationTimestamp", "timestamp"),
        ("object.spec.template.spec.containers[0].image", "string"),
        ("object.spec.strategy.rollingUpdate.maxSurge", "dyn"),
    ] {
        assert_eq!(Program::compile(text, &environment).unwrap().output().to_string(), want, "{text}");
    }
    let error = Program::compile("object.spec.replica == 1", &environment).unwrap_err();
    assert!(error.contains("undefined field 'replica'"), "{error}");
}

#[test]
fn hostile_texts_are_refused_and_not_followed() {
    let environment = environment();
    let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    assert!(Program::compile(&deep, &environment).unwrap_err().contains("recursion limit exceeded"));
    let long = "x".repeat(200_000);
    assert!(Program::compile(&long, &environment).is_err());
    let chain = format!("x{}", ".?a.optMap(v, v)".repeat(40));
    assert!(Program::compile(&chain, &environment).is_err());
    // A long chain of one operator is no deep one.
    let many = vec!["x == 1"; 2000].join(" || ");
    assert!(Program::compile(&many, &environment).is_ok());
    for text in
        ["", " ", "\u{0}", "é", "x.é", "'\\ud800'", "b'\\xff'", "9999999999999999999999", "x..y", "Object{a: 1}", "has()", "x.map()"]
    {
        let _ = Program::compile(text, &environment);
    }
}
