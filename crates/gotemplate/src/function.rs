use crate::{Failure, Run, Value, builtins, names::Mixed};
use std::{collections::HashMap, hash::BuildHasherDefault};

/// The type of a function's parameter, checked before the call as Go's reflection does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// `interface {}`
    Any,
    /// `reflect.Value`: anything, told apart from a nil interface.
    Reflect,
    Bool,
    String,
    Int,
    Int64,
    /// `uint32`: only literals fit, no value of a template has this type.
    Uint32,
    Float,
    /// `map[string]interface {}`; a nil map comes as [`Value::Nil`].
    Map,
    /// `[]interface {}`; a nil slice comes as [`Value::Nil`].
    List,
    /// A struct or pointer type by its name.
    Named(&'static str),
}

impl Type {
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "interface {}",
            Self::Reflect => "reflect.Value",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Int => "int",
            Self::Int64 => "int64",
            Self::Uint32 => "uint32",
            Self::Float => "float64",
            Self::Map => "map[string]interface {}",
            Self::List => "[]interface {}",
            Self::Named(name) => name,
        }
    }

    /// Whether an untyped nil may be given.
    pub(crate) fn can_be_nil(self) -> bool {
        match self {
            Self::Any | Self::Reflect | Self::Map | Self::List => true,
            Self::Named(name) => name.starts_with('*'),
            _ => false,
        }
    }

    pub(crate) fn accepts(self, value: &Value) -> bool {
        use crate::MapKind;
        match (self, value) {
            (Self::Any | Self::Reflect, _)
            | (Self::Bool, Value::Bool(_))
            | (Self::String, Value::String(_))
            | (Self::Int, Value::Int(_))
            | (Self::Int64, Value::Int64(_))
            | (Self::Float, Value::Float(_))
            | (Self::List, Value::List(_)) => true,
            (Self::List, Value::NilSlice(name)) => *name == "[]interface {}",
            (Self::Map, Value::Map(map)) => map.kind() != MapKind::Strings,
            (Self::Named(name), Value::Object(object)) => object.type_name() == name,
            _ => false,
        }
    }
}

/// A function that templates may call.
#[derive(Clone, Copy)]
pub struct Function {
    pub name: &'static str,
    pub params: &'static [Type],
    /// The type of further arguments, for a variadic function.
    pub rest: Option<Type>,
    pub call: fn(&mut Run<'_>, &[Value]) -> Result<Value, Failure>,
    /// The same, with the result written straight to the output; only for functions that return a string.
    pub write: Option<fn(&mut Run<'_>, &[Value]) -> Result<(), Failure>>,
}

impl Function {
    pub const fn new(name: &'static str, params: &'static [Type], call: fn(&mut Run<'_>, &[Value]) -> Result<Value, Failure>) -> Self {
        Self { name, params, rest: None, call, write: None }
    }

    pub const fn variadic(
        name: &'static str,
        params: &'static [Type],
        rest: Type,
        call: fn(&mut Run<'_>, &[Value]) -> Result<Value, Failure>,
    ) -> Self {
        Self { name, params, rest: Some(rest), call, write: None }
    }

    pub const fn writing(mut self, write: fn(&mut Run<'_>, &[Value]) -> Result<(), Failure>) -> Self {
        self.write = Some(write);
        self
    }
}

/// The functions that a set of templates may use. Of the same name the last added counts.
#[derive(Clone)]
pub struct Functions {
    list: Vec<Function>,
    index: HashMap<&'static str, u32, BuildHasherDefault<Mixed>>,
}

/// `and` and `or` evaluate their arguments one by one; the executor knows them by these places.
pub(crate) const AND: u32 = 0;
pub(crate) const OR: u32 = 1;
pub(crate) const CALL: u32 = 3;

impl Functions {
    /// Go's own functions.
    pub fn builtins() -> Self {
        let mut functions = Self { list: Vec::new(), index: HashMap::default() };
        functions.add(builtins::ALL);
        functions
    }

    pub fn add(&mut self, functions: &[Function]) {
        for function in functions {
            self.index.insert(function.name, self.list.len() as u32);
            self.list.push(*function);
        }
    }

    pub fn remove(&mut self, name: &str) {
        self.index.remove(name);
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.index.keys().copied()
    }

    pub(crate) fn index(&self, name: &str) -> Option<u32> {
        self.index.get(name).copied()
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Function> {
        self.list.get(index as usize)
    }
}
