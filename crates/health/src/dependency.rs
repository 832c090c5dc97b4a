use crate::{Error, Expression};
use object::Object;

/// `spec.dependsOn[].readyExpr`: over `self`, the dependent, and `dep`, the dependency.
#[derive(Debug)]
pub struct ReadyExpression(Expression);

impl ReadyExpression {
    /// Parses and checks that the result is a boolean.
    pub fn compile(source: &str) -> Result<Self, Error> {
        Expression::compile(source).map(Self)
    }

    pub fn evaluate(&self, dependent: &Object, dependency: &Object) -> Result<bool, Error> {
        let (dependent, dependency) = (dependent.clone().into_value(), dependency.clone().into_value());
        self.0.evaluate([("self", &dependent), ("dep", &dependency)])
    }
}
