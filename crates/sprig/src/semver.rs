//! Versions and ranges, which templates compare.

use crate::args::{Result, string, text};
use gotemplate::{Failure, Function, Kind, Method, Object, Type, Value};
use std::{any::Any, cmp::Ordering, rc::Rc};
use types::semver::{Constraint, Error, Version};

const S: Type = Type::String;

pub(crate) const ALL: &[Function] = &[
    Function::new("semver", &[S], |_, args| Ok(version(parse(&text(args, 0))?))),
    Function::new("semverCompare", &[S, S], |run, args| {
        run.charge(text(args, 0).len() as u64 / 8)?;
        let constraint = Constraint::parse(&text(args, 0)).map_err(failure)?;
        Ok(Value::Bool(constraint.matches(&parse(&text(args, 1))?)))
    }),
];

fn parse(text: &str) -> Result<Version> {
    Version::parse(text).map_err(failure)
}

/// The words of Masterminds/semver.
fn failure(error: Error) -> Failure {
    Failure::new(match error {
        // The lenient parser of a version has one expression for all of it.
        Error::Metadata | Error::Prerelease => Error::Invalid.to_string(),
        error => error.to_string(),
    })
}

fn version(version: Version) -> Value {
    Value::Object(Rc::new(Semver(version)))
}

/// `*semver.Version`
struct Semver(Version);

fn receiver(object: &Rc<dyn Object>) -> Result<&Version> {
    let version = object.as_any().downcast_ref::<Semver>().map(|semver| &semver.0);
    version.ok_or_else(|| Failure::new("receiver is no *semver.Version"))
}

const VERSION: Type = Type::Named("*semver.Version");

fn compare(this: &Rc<dyn Object>, args: &[Value]) -> Result<Ordering> {
    match &args[0] {
        Value::Object(other) => Ok(receiver(this)?.cmp(receiver(other)?)),
        _ => Err(Failure::new(crate::args::NIL_POINTER)),
    }
}

/// The next version with these numbers.
fn next(major: u64, minor: u64, patch: u64) -> Result {
    parse(&format!("{major}.{minor}.{patch}")).map(version)
}

macro_rules! method {
    ($name:literal, $params:expr, $call:expr) => {
        Method { name: $name, params: $params, rest: None, call: $call }
    };
}

const METHODS: &[Method] = &[
    method!("Major", &[], |this, _, _| Ok(Value::Uint64(receiver(this)?.major()))),
    method!("Minor", &[], |this, _, _| Ok(Value::Uint64(receiver(this)?.minor()))),
    method!("Patch", &[], |this, _, _| Ok(Value::Uint64(receiver(this)?.patch()))),
    method!("Prerelease", &[], |this, _, _| Ok(Value::string(receiver(this)?.prerelease()))),
    method!("Metadata", &[], |this, _, _| Ok(Value::string(receiver(this)?.metadata()))),
    method!("Original", &[], |this, _, _| Ok(Value::string(receiver(this)?.original()))),
    method!("String", &[], |this, run, _| string(run, receiver(this)?.to_string())),
    method!("Compare", &[VERSION], |this, _, args| Ok(Value::Int(compare(this, args)? as i64))),
    method!("Equal", &[VERSION], |this, _, args| Ok(Value::Bool(compare(this, args)?.is_eq()))),
    method!("GreaterThan", &[VERSION], |this, _, args| Ok(Value::Bool(compare(this, args)?.is_gt()))),
    method!("GreaterThanEqual", &[VERSION], |this, _, args| Ok(Value::Bool(compare(this, args)?.is_ge()))),
    method!("LessThan", &[VERSION], |this, _, args| Ok(Value::Bool(compare(this, args)?.is_lt()))),
    method!("LessThanEqual", &[VERSION], |this, _, args| Ok(Value::Bool(compare(this, args)?.is_le()))),
    method!("IncMajor", &[], |this, _, _| next(receiver(this)?.major().saturating_add(1), 0, 0)),
    method!("IncMinor", &[], |this, _, _| next(receiver(this)?.major(), receiver(this)?.minor().saturating_add(1), 0)),
    method!("IncPatch", &[], |this, _, _| {
        let version = receiver(this)?;
        // A prerelease becomes the release it leads to.
        let step = u64::from(version.prerelease().is_empty());
        next(version.major(), version.minor(), version.patch().saturating_add(step))
    }),
];

impl Object for Semver {
    fn type_name(&self) -> &str {
        "*semver.Version"
    }

    fn kind(&self) -> Kind {
        Kind::Pointer
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn text(&self) -> String {
        self.0.to_string()
    }

    fn is_stringer(&self) -> bool {
        true
    }

    fn method(&self, name: &str) -> Option<&'static Method> {
        METHODS.iter().find(|method| method.name == name)
    }

    fn equals(&self, other: &dyn Object) -> bool {
        // As Go compares the structs: build metadata and the original text count.
        other.as_any().downcast_ref::<Semver>().is_some_and(|other| self.0 == other.0 && self.0.original() == other.0.original())
    }

    fn as_json(&self) -> Option<Value> {
        Some(Value::string(self.0.to_string()))
    }
}
