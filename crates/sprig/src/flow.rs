//! Defaults, choices, and what a value is.

use crate::args::{Result, any, is_empty, text};
use gotemplate::{Failure, Function, Type, Value};

const A: Type = Type::Any;
const S: Type = Type::String;

pub(crate) const ALL: &[Function] = &[
    Function::variadic("default", &[A], A, |_, args| Ok(args.get(1).filter(|given| !is_empty(given)).unwrap_or(&args[0]).clone())),
    Function::new("empty", &[A], |_, args| Ok(Value::Bool(is_empty(&args[0])))),
    Function::variadic("coalesce", &[], A, |_, args| Ok(args.iter().find(|arg| !is_empty(arg)).cloned().unwrap_or(Value::Nil))),
    Function::variadic("all", &[], A, |_, args| Ok(Value::Bool(!args.iter().any(is_empty)))),
    Function::variadic("any", &[], A, |_, args| Ok(Value::Bool(args.iter().any(|arg| !is_empty(arg))))),
    Function::new("ternary", &[A, A, Type::Bool], |_, args| Ok(any(args, usize::from(!args[2].truth())).clone())),
    Function::new("fail", &[S], |_, args| Err(Failure::new(text(args, 0)))),
    Function::new("typeOf", &[A], |_, args| Ok(Value::string(args[0].type_name()))),
    Function::new("typeIs", &[S, A], |_, args| Ok(Value::Bool(text(args, 0) == args[1].type_name()))),
    Function::new("typeIsLike", &[S, A], |_, args| {
        let (target, name) = (text(args, 0), args[1].type_name());
        Ok(Value::Bool(target == name || format!("*{target}") == name))
    }),
    Function::new("kindOf", &[A], |_, args| Ok(Value::string(args[0].kind().name()))),
    Function::new("kindIs", &[S, A], |_, args| Ok(Value::Bool(text(args, 0) == args[1].kind().name()))),
    Function::new("deepEqual", &[A, A], |_, args| -> Result { Ok(Value::Bool(args[0].deep_equal(&args[1]))) }),
    // Names are never looked up: a template must give the same everywhere.
    Function::new("getHostByName", &[S], |_, _| Ok(Value::string(""))),
];
