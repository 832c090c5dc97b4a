//! Expressions as they are written, macros unfolded.

/// An expression and where it stands in its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// Its place in tables about the expressions of one program.
    pub id: usize,
    /// The byte at which a complaint about it points.
    pub at: usize,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Literal(Literal),
    Ident(String),
    /// `a.b`, or `has(a.b)`.
    Select {
        operand: Box<Expr>,
        field: String,
        test: bool,
    },
    Call {
        function: String,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    List(Vec<Entry>),
    Map(Vec<(Expr, Entry)>),
    Struct {
        name: String,
        fields: Vec<(String, Entry)>,
    },
    Fold(Box<Fold>),
}

/// An element, left out when it is `optional` and absent (`[?a]`).
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub value: Expr,
    pub optional: bool,
}

/// What macros over lists and maps are made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Fold {
    pub range: Expr,
    pub variable: String,
    /// In a fold of two variables, `variable` is the index or the key and this the value.
    pub second: Option<String>,
    pub init: Expr,
    pub condition: Expr,
    pub step: Expr,
    pub result: Expr,
    /// The name of what is folded up; it cannot be written in an expression, but for a `bind`.
    pub accumulator: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
}

/// The accumulator of every macro but `bind`.
pub const ACCUMULATOR: &str = "@result";

impl Expr {
    /// `a.b.c` when it is nothing but names.
    pub fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.clone()),
            Kind::Select { operand, field, test: false } => Some(format!("{}.{field}", operand.qualified_name()?)),
            _ => None,
        }
    }

    /// The first of the names that `qualified_name` joins.
    pub fn root_name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Ident(name) => Some(name),
            Kind::Select { operand, test: false, .. } => operand.root_name(),
            _ => None,
        }
    }

    /// Calls `visit` with this expression and all below it.
    pub fn walk<'e>(&'e self, visit: &mut impl FnMut(&'e Expr)) {
        visit(self);
        match &self.kind {
            Kind::Literal(_) | Kind::Ident(_) => {}
            Kind::Select { operand, .. } => operand.walk(visit),
            Kind::Call { target, args, .. } => {
                target.iter().for_each(|target| target.walk(visit));
                args.iter().for_each(|arg| arg.walk(visit));
            }
            Kind::List(entries) => entries.iter().for_each(|entry| entry.value.walk(visit)),
            Kind::Map(entries) => entries.iter().for_each(|(key, entry)| {
                key.walk(visit);
                entry.value.walk(visit);
            }),
            Kind::Struct { fields, .. } => fields.iter().for_each(|(_, entry)| entry.value.walk(visit)),
            Kind::Fold(fold) => {
                for part in [&fold.range, &fold.init, &fold.condition, &fold.step, &fold.result] {
                    part.walk(visit);
                }
            }
        }
    }
}

/// A complaint about a text, in the form in which cel-go shows it.
pub fn complaint(source: &str, at: usize, message: &str) -> String {
    let at = at.min(source.len());
    let start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line = source[..at].matches('\n').count() + 1;
    let column = source[start..at].chars().count();
    pointed(source, line, column, message)
}

/// Line from one, column from zero.
pub fn pointed(source: &str, line: usize, column: usize, message: &str) -> String {
    let shown = source.split('\n').nth(line.saturating_sub(1)).unwrap_or("").replace('\t', " ");
    format!("ERROR: <input>:{line}:{}: {message}\n | {shown}\n | {}^", column + 1, ".".repeat(column))
}
