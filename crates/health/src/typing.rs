use kube_cel::cel::{
    IdedExpr,
    common::ast::{CallExpr, Expr, LiteralValue, operators},
};

/// What an expression's value is, as far as it can be told without values; variables are `dyn`.
///
/// cel-go checks ready expressions before it runs them and refuses all that is not surely a boolean,
/// so `dep.metadata.name` is a mistake in the spec and not a dependency that is not ready.
pub(crate) fn type_of(expression: &IdedExpr, bound: &[(&str, &'static str)]) -> &'static str {
    match &expression.expr {
        Expr::Literal(literal) => match literal {
            LiteralValue::Boolean(_) => "bool",
            LiteralValue::Bytes(_) => "bytes",
            LiteralValue::Double(_) => "double",
            LiteralValue::Int(_) => "int",
            LiteralValue::Null => "null",
            LiteralValue::String(_) => "string",
            LiteralValue::UInt(_) => "uint",
        },
        Expr::List(_) => "list(dyn)",
        Expr::Map(_) => "map(dyn, dyn)",
        Expr::Select(select) if select.test => "bool",
        Expr::Ident(name) => bound.iter().rev().find(|(variable, _)| variable == name).map_or("dyn", |(_, kind)| kind),
        Expr::Comprehension(fold) => {
            let mut inner = bound.to_vec();
            inner.push((&fold.accu_var, type_of(&fold.accu_init, bound)));
            type_of(&fold.result, &inner)
        }
        Expr::Call(call) => call_type(call, bound),
        _ => "dyn",
    }
}

fn call_type(call: &CallExpr, bound: &[(&str, &'static str)]) -> &'static str {
    match call.func_name.as_str() {
        operators::EQUALS
        | operators::NOT_EQUALS
        | operators::LESS
        | operators::LESS_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS
        | operators::LOGICAL_AND
        | operators::LOGICAL_OR
        | operators::LOGICAL_NOT
        | operators::IN
        | "startsWith"
        | "endsWith"
        | "contains"
        | "matches"
        | "hasValue"
        | "bool"
        | "sets.contains"
        | "sets.equivalent"
        | "sets.intersects" => "bool",
        "size" | "int" | "indexOf" | "lastIndexOf" => "int",
        "string" | "lowerAscii" | "upperAscii" | "trim" | "replace" | "substring" | "join" | "charAt" | "format" | "quote" | "reverse" => {
            "string"
        }
        "double" => "double",
        "uint" => "uint",
        "duration" => "google.protobuf.Duration",
        "timestamp" => "google.protobuf.Timestamp",
        "split" => "list(string)",
        operators::CONDITIONAL => match call.args.as_slice() {
            [_, yes, no] if type_of(yes, bound) == type_of(no, bound) => type_of(yes, bound),
            _ => "dyn",
        },
        "orValue" => call.args.first().map_or("dyn", |argument| type_of(argument, bound)),
        operators::ADD | operators::SUBSTRACT | operators::MULTIPLY | operators::DIVIDE | operators::MODULO | operators::NEGATE => {
            call.args.iter().map(|argument| type_of(argument, bound)).find(|kind| *kind != "dyn").unwrap_or("dyn")
        }
        _ => "dyn",
    }
}

/// How deeply loops (`all`, `map`, `filter`, …) are nested.
pub(crate) fn loop_depth(expression: &IdedExpr) -> usize {
    let deepest = |parts: &mut dyn Iterator<Item = &IdedExpr>| parts.map(loop_depth).max().unwrap_or(0);
    match &expression.expr {
        Expr::Comprehension(fold) => {
            let inside = [&fold.accu_init, &fold.loop_cond, &fold.loop_step, &fold.result];
            loop_depth(&fold.iter_range).max(1 + deepest(&mut inside.into_iter()))
        }
        Expr::Call(call) => deepest(&mut call.args.iter().chain(call.target.as_deref())),
        Expr::List(list) => deepest(&mut list.elements.iter()),
        Expr::Select(select) => loop_depth(&select.operand),
        _ => 0,
    }
}
