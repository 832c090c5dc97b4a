//! Optional fields, `a.?b`: an absent field is an empty optional, where the interpreter would see an error.

use kube_cel::cel::{
    ExecutionError, IdedExpr, Value,
    common::ast::{Expr, operators},
    objects::{Key, OptionalValue},
};
use std::sync::Arc;

/// The function that stands for the operator; no expression can name it.
pub(crate) const FIELD: &str = "@optional_field";

/// Puts the function in the place of the operator, everywhere.
pub(crate) fn rewrite(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Call(call) => {
            if call.func_name == operators::OPT_SELECT {
                FIELD.clone_into(&mut call.func_name);
            }
            call.args.iter_mut().chain(call.target.as_deref_mut()).for_each(rewrite);
        }
        Expr::Comprehension(fold) => {
            for part in [&mut fold.iter_range, &mut fold.accu_init, &mut fold.loop_cond, &mut fold.loop_step, &mut fold.result] {
                rewrite(part);
            }
        }
        Expr::List(list) => list.elements.iter_mut().for_each(rewrite),
        Expr::Select(select) => rewrite(&mut select.operand),
        _ => {}
    }
}

/// The field of a map, or of the map in an optional.
pub(crate) fn field(operand: Value, name: Arc<String>) -> Result<Value, ExecutionError> {
    let found = |map: &Value| match map {
        Value::Map(map) => Ok(map.map.get(&Key::String(name.clone())).cloned()),
        _ => Err(ExecutionError::NoSuchOverload),
    };
    let value = match <&OptionalValue>::try_from(&operand) {
        Ok(optional) => optional.value().map(found).transpose()?.flatten(),
        Err(_) => found(&operand)?,
    };
    let optional = value.map_or_else(OptionalValue::none, OptionalValue::of);
    Ok(Value::Opaque(Arc::new(optional)))
}
