//! The Common Expression Language as Kubernetes uses it.
//!
//! ```text
//! text ──token──► parse ──► ast ──check (types, library)──► Program ──eval──► value, or why there is none
//!                                         │
//!                                         └── cost: what it may cost at most, by the sizes that a schema allows
//! ```
//!
//! The rules of custom kinds and admission policies are compiled and run by it.

mod ast;
mod check;
mod cost;
mod declared;
mod eval;
mod library;
mod parse;
mod token;
mod types;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use declared::declared_of;
pub use eval::{CALL_COST_MAX, Failure, Scope, Spent, TOTAL_COST_MAX, converted, map, string, type_of, wrapped};
pub use kube_cel::cel::Value as Cel;
pub use kube_cel::cel::objects::Opaque;
pub use types::{Declared, ObjectType, REQUEST_BYTES_MAX, Type};
pub use values::{escape, plain, to_json};

/// What an expression may name.
#[derive(Debug, Default, Clone)]
pub struct Environment {
    variables: BTreeMap<String, Arc<Declared>>,
    /// Whether objects and patches can be written out (`Object{…}`, `JSONPatch{…}`).
    mutations: bool,
}

impl Environment {
    #[must_use]
    pub fn with(mut self, name: &str, declared: Arc<Declared>) -> Self {
        self.variables.insert(name.to_owned(), declared);
        self
    }

    #[must_use]
    pub fn with_mutations(mut self) -> Self {
        self.mutations = true;
        self
    }

    fn variable(&self, name: &str) -> Option<&Arc<Declared>> {
        self.variables.get(name)
    }

    /// The type of a message that can be written out.
    fn message(&self, name: &str) -> Option<Type> {
        let known = self.mutations && (name == "JSONPatch" || name == "Object" || name.starts_with("Object."));
        known.then(|| Type::Object(Arc::new(ObjectType { name: name.to_owned(), fields: BTreeMap::new() })))
    }

    /// Whether any field may be asked of an object.
    fn is_open(&self, object: &ObjectType) -> bool {
        self.mutations && (object.name == "Object" || object.name.starts_with("Object.") || object.name == "JSONPatch")
    }
}

/// An expression that can be run.
pub struct Program {
    expr: ast::Expr,
    output: Type,
    cost_max: u64,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Program({})", self.output)
    }
}

impl Program {
    /// Parses and checks; what is wrong is told as cel-go tells it.
    pub fn compile(source: &str, environment: &Environment) -> Result<Self, String> {
        let parsed = parse::parse(source)?;
        let checked = check::check(source, &parsed.expr, parsed.ids, environment)?;
        let output = checked.types.get(parsed.expr.id).cloned().unwrap_or(Type::Dyn);
        let cost_max = cost::cost(&parsed.expr, &checked).max;
        Ok(Self { expr: parsed.expr, output, cost_max })
    }

    pub fn output(&self) -> &Type {
        &self.output
    }

    /// What a run costs at most.
    pub fn cost_max(&self) -> u64 {
        self.cost_max
    }

    /// Whether the expression names a variable.
    pub fn uses(&self, name: &str) -> bool {
        let mut found = false;
        self.expr.walk(&mut |expr| found |= matches!(&expr.kind, ast::Kind::Ident(ident) if ident == name));
        found
    }

    /// Runs; what it cost is added to `total` and is bounded by what is left of it.
    pub fn run(&self, scope: &dyn Scope, total: &mut u64) -> Result<Cel, Failure> {
        let mut spent = Spent::default();
        let out = eval::run(&self.expr, scope, &mut spent);
        *total = total.saturating_add(spent.cost);
        out
    }

    /// Runs as part of another run, and at its expense.
    pub fn run_within(&self, scope: &dyn Scope, spent: &mut Spent) -> Result<Cel, Failure> {
        eval::run(&self.expr, scope, spent)
    }
}
