//! From a text to an expression.
//!
//! A recursive descent over the grammar of CEL with the macros of Kubernetes' environment; what cannot be read is told
//! in the words of cel-go where another parser of the same grammar knows them.

use super::ast::{ACCUMULATOR, Entry, Expr, Fold, Kind, Literal, complaint, pointed};
use super::token::{Token, tokens};

/// Expressions nest no deeper than this, as in cel-go.
const DEPTH_MAX: usize = 250;

/// Texts are no longer than this.
const SOURCE_BYTES_MAX: usize = 100_000;

/// What macros unfold to has no more parts than this.
const EXPRESSIONS_MAX: usize = 50_000;

const RESERVED: [&str; 20] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "while",
];

/// An expression, and how many ids its parts have used.
pub struct Parsed {
    pub expr: Expr,
    pub ids: usize,
}

pub fn parse(source: &str) -> Result<Parsed, String> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(complaint(
            "",
            0,
            &format!("expression code point size exceeds limit: size: {}, limit {SOURCE_BYTES_MAX}", source.len()),
        ));
    }
    let refuse = |(at, message): (usize, String)| syntax_error(source, at, &message);
    let tokens = tokens(source).map_err(refuse)?;
    let mut parser = Parser { tokens, next: 0, ids: 0, depth: 0 };
    let expr = parser.expression().map_err(refuse)?;
    match parser.peek() {
        Token::End => Ok(Parsed { expr, ids: parser.ids }),
        other => {
            let message = format!("Syntax error: extraneous input '{}' expecting <EOF>", shown(other));
            Err(refuse((parser.at(), message)))
        }
    }
}

/// The parser generated from cel-go's own grammar tells syntax errors in cel-go's words.
fn syntax_error(source: &str, at: usize, message: &str) -> String {
    if message.starts_with("Syntax error")
        && let Err(errors) = kube_cel::cel::Program::compile(source)
    {
        let told: Vec<String> = errors
            .errors
            .iter()
            .filter(|error| error.msg.starts_with("Syntax error") && error.pos.0 > 0)
            .map(|error| {
                let column = usize::try_from(error.pos.1).unwrap_or(1).saturating_sub(1);
                pointed(source, usize::try_from(error.pos.0).unwrap_or(1), column, &error.msg)
            })
            .collect();
        if !told.is_empty() {
            return told.join("\n");
        }
    }
    complaint(source, at, message)
}

fn shown(token: &Token) -> String {
    match token {
        Token::Ident(name) => name.clone(),
        Token::Mark(mark) => (*mark).to_owned(),
        Token::Literal(Literal::String(text)) => format!("\"{text}\""),
        Token::Literal(Literal::Int(int)) => int.to_string(),
        Token::Literal(_) => "literal".to_owned(),
        Token::End => "<EOF>".to_owned(),
    }
}

type Read<T> = Result<T, (usize, String)>;

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    ids: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(_, token)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |(at, _)| *at)
    }

    fn advance(&mut self) -> (usize, Token) {
        let token = self.tokens.get(self.next).cloned().unwrap_or((0, Token::End));
        self.next = (self.next + 1).min(self.tokens.len());
        token
    }

    /// Takes a mark if it is next, and tells where it stood.
    fn take(&mut self, mark: &str) -> Option<usize> {
        if matches!(self.peek(), Token::Mark(next) if *next == mark) { Some(self.advance().0) } else { None }
    }

    fn expect(&mut self, mark: &str) -> Read<usize> {
        match self.take(mark) {
            Some(at) => Ok(at),
            None => Err((self.at(), format!("Syntax error: mismatched input '{}' expecting '{mark}'", shown(self.peek())))),
        }
    }

    fn make(&mut self, at: usize, kind: Kind) -> Expr {
        self.ids += 1;
        Expr { id: self.ids - 1, at, kind }
    }

    fn call(&mut self, at: usize, function: &str, args: Vec<Expr>) -> Expr {
        self.make(at, Kind::Call { function: function.to_owned(), target: None, args })
    }

    fn ident(&mut self, at: usize, name: &str) -> Expr {
        self.make(at, Kind::Ident(name.to_owned()))
    }

    fn literal(&mut self, at: usize, literal: Literal) -> Expr {
        self.make(at, Kind::Literal(literal))
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        if self.depth >= DEPTH_MAX {
            return Err((self.at(), format!("expression recursion limit exceeded: {DEPTH_MAX}")));
        }
        self.depth += 1;
        let out = read(self);
        self.depth -= 1;
        out
    }

    fn expression(&mut self) -> Read<Expr> {
        self.deeper(|parser| {
            let condition = parser.any_of()?;
            let Some(at) = parser.take("?") else { return Ok(condition) };
            let yes = parser.any_of()?;
            parser.expect(":")?;
            let no = parser.expression()?;
            Ok(parser.call(at, "_?_:_", vec![condition, yes, no]))
        })
    }

    fn any_of(&mut self) -> Read<Expr> {
        self.chain("||", "_||_", Self::all_of)
    }

    fn all_of(&mut self) -> Read<Expr> {
        self.chain("&&", "_&&_", Self::relation)
    }

    /// Terms of one operator become a balanced tree, so that a long chain is no deep one.
    fn chain(&mut self, mark: &str, function: &str, term: fn(&mut Self) -> Read<Expr>) -> Read<Expr> {
        let mut terms = vec![term(self)?];
        let mut places = Vec::new();
        while let Some(at) = self.take(mark) {
            places.push(at);
            terms.push(term(self)?);
        }
        let mut terms: Vec<Option<Expr>> = terms.into_iter().map(Some).collect();
        Ok(self.balanced(function, &mut terms, &places))
    }

    fn balanced(&mut self, function: &str, terms: &mut [Option<Expr>], places: &[usize]) -> Expr {
        if let [one] = terms {
            return one.take().unwrap_or_else(|| self.literal(0, Literal::Null));
        }
        let half = terms.len().div_ceil(2);
        let (left, right) = terms.split_at_mut(half);
        let at = places[half - 1];
        let left = self.balanced(function, left, &places[..half - 1]);
        let right = self.balanced(function, right, &places[half..]);
        self.call(at, function, vec![left, right])
    }

    fn relation(&mut self) -> Read<Expr> {
        let mut left = self.sum()?;
        loop {
            let function = match self.peek() {
                Token::Mark("<") => "_<_",
                Token::Mark("<=") => "_<=_",
                Token::Mark(">") => "_>_",
                Token::Mark(">=") => "_>=_",
                Token::Mark("==") => "_==_",
                Token::Mark("!=") => "_!=_",
                Token::Ident(name) if name == "in" => "@in",
                _ => return Ok(left),
            };
            let (at, _) = self.advance();
            let right = self.sum()?;
            left = self.call(at, function, vec![left, right]);
        }
    }

    fn sum(&mut self) -> Read<Expr> {
        let mut left = self.product()?;
        loop {
            let function = match self.peek() {
                Token::Mark("+") => "_+_",
                Token::Mark("-") => "_-_",
                _ => return Ok(left),
            };
            let (at, _) = self.advance();
            let right = self.product()?;
            left = self.call(at, function, vec![left, right]);
        }
    }

    fn product(&mut self) -> Read<Expr> {
        let mut left = self.unary()?;
        loop {
            let function = match self.peek() {
                Token::Mark("*") => "_*_",
                Token::Mark("/") => "_/_",
                Token::Mark("%") => "_%_",
                _ => return Ok(left),
            };
            let (at, _) = self.advance();
            let right = self.unary()?;
            left = self.call(at, function, vec![left, right]);
        }
    }

    fn unary(&mut self) -> Read<Expr> {
        let start = self.at();
        let mut nots = 0;
        while self.take("!").is_some() {
            nots += 1;
        }
        if nots > 0 {
            let operand = self.deeper(Self::member)?;
            // An even number of them says nothing.
            return Ok(if nots % 2 == 1 { self.call(start, "!_", vec![operand]) } else { operand });
        }
        let mut minuses = 0;
        while matches!(self.peek(), Token::Mark("-")) {
            let number = matches!(
                self.tokens.get(self.next + 1),
                Some((_, Token::Literal(Literal::Int(_) | Literal::Uint(_) | Literal::Double(_))))
            );
            if number {
                break;
            }
            self.advance();
            minuses += 1;
        }
        let operand = self.deeper(Self::member)?;
        Ok(if minuses % 2 == 1 { self.call(start, "-_", vec![operand]) } else { operand })
    }

    fn member(&mut self) -> Read<Expr> {
        let mut left = self.primary()?;
        loop {
            if let Some(dot) = self.take(".") {
                let optional = self.take("?").is_some();
                let (at, token) = self.advance();
                let Token::Ident(name) = token else {
                    return Err((at, format!("Syntax error: no viable alternative at input '.{}'", shown(&token))));
                };
                if optional {
                    let field = self.literal(at, Literal::String(name));
                    left = self.call(dot, "_?._", vec![left, field]);
                } else if let Some(open) = self.take("(") {
                    let args = self.arguments(")")?;
                    left = self.member_call(open, left, &name, args)?;
                } else {
                    left = self.make(dot, Kind::Select { operand: Box::new(left), field: name, test: false });
                }
            } else if let Some(open) = self.take("[") {
                let optional = self.take("?").is_some();
                let index = self.expression()?;
                self.expect("]")?;
                left = self.call(open, if optional { "_[?_]" } else { "_[_]" }, vec![left, index]);
            } else if matches!(self.peek(), Token::Mark("{")) && left.qualified_name().is_some() {
                left = self.message(left)?;
            } else {
                return Ok(left);
            }
        }
    }

    fn arguments(&mut self, close: &str) -> Read<Vec<Expr>> {
        let mut out = Vec::new();
        if self.take(close).is_some() {
            return Ok(out);
        }
        loop {
            out.push(self.expression()?);
            if self.take(",").is_none() {
                self.expect(close)?;
                return Ok(out);
            }
        }
    }

    /// `Name{field: value}`.
    fn message(&mut self, name: Expr) -> Read<Expr> {
        let at = self.expect("{")?;
        let mut fields = Vec::new();
        while self.take("}").is_none() {
            let optional = self.take("?").is_some();
            let (place, token) = self.advance();
            let field = match token {
                Token::Ident(field) => field,
                other => return Err((place, format!("Syntax error: mismatched input '{}' expecting IDENTIFIER", shown(&other)))),
            };
            self.expect(":")?;
            let value = self.expression()?;
            fields.push((field, Entry { value, optional }));
            if self.take(",").is_none() {
                self.expect("}")?;
                break;
            }
        }
        let name = name.qualified_name().unwrap_or_default();
        Ok(self.make(at, Kind::Struct { name, fields }))
    }

    fn primary(&mut self) -> Read<Expr> {
        let (at, token) = self.advance();
        match token {
            Token::Mark("-") => {
                let (place, token) = self.advance();
                let literal = match token {
                    Token::Literal(Literal::Int(int)) => Literal::Int(-int),
                    // The smallest int has no positive twin.
                    Token::Literal(Literal::Uint(uint)) if uint == i64::MIN.unsigned_abs() => Literal::Int(i64::MIN),
                    Token::Literal(Literal::Double(double)) => Literal::Double(-double),
                    _ => return Err((place, "invalid int literal".to_owned())),
                };
                Ok(self.literal(at, literal))
            }
            Token::Mark("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Mark("[") => self.list(at),
            Token::Mark("{") => self.map(at),
            Token::Mark(".") => {
                let (place, token) = self.advance();
                match token {
                    Token::Ident(name) => self.named(place, name),
                    other => Err((place, format!("Syntax error: mismatched input '{}' expecting IDENTIFIER", shown(&other)))),
                }
            }
            Token::Literal(literal) => Ok(self.literal(at, literal)),
            Token::Ident(name) => self.named(at, name),
            other => Err((
                at,
                format!(
                    "Syntax error: mismatched input '{}' expecting {{'[', '{{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}}",
                    shown(&other)
                ),
            )),
        }
    }

    fn named(&mut self, at: usize, name: String) -> Read<Expr> {
        match name.as_str() {
            "true" => return Ok(self.literal(at, Literal::Bool(true))),
            "false" => return Ok(self.literal(at, Literal::Bool(false))),
            "null" => return Ok(self.literal(at, Literal::Null)),
            "in" => return Err((at, "Syntax error: mismatched input 'in'".to_owned())),
            reserved if RESERVED.contains(&reserved) => return Err((at, format!("reserved identifier: {reserved}"))),
            _ => {}
        }
        let Some(open) = self.take("(") else { return Ok(self.ident(at, &name)) };
        let mut args = self.arguments(")")?;
        if name == "has" && args.len() == 1 {
            let arg = args.remove(0);
            return match arg.kind {
                Kind::Select { operand, field, .. } => Ok(self.make(open, Kind::Select { operand, field, test: true })),
                _ => Err((arg.at, "invalid argument to has() macro".to_owned())),
            };
        }
        Ok(self.make(open, Kind::Call { function: name, target: None, args }))
    }

    fn entry(&mut self) -> Read<Entry> {
        let optional = self.take("?").is_some();
        Ok(Entry { value: self.expression()?, optional })
    }

    fn list(&mut self, at: usize) -> Read<Expr> {
        let mut entries = Vec::new();
        while self.take("]").is_none() {
            entries.push(self.entry()?);
            if self.take(",").is_none() {
                self.expect("]")?;
                break;
            }
        }
        Ok(self.make(at, Kind::List(entries)))
    }

    fn map(&mut self, at: usize) -> Read<Expr> {
        let mut entries = Vec::new();
        while self.take("}").is_none() {
            let optional = self.take("?").is_some();
            let key = self.expression()?;
            self.expect(":")?;
            let value = self.expression()?;
            entries.push((key, Entry { value, optional }));
            if self.take(",").is_none() {
                self.expect("}")?;
                break;
            }
        }
        Ok(self.make(at, Kind::Map(entries)))
    }

    // ---- macros ----

    fn member_call(&mut self, at: usize, target: Expr, name: &str, mut args: Vec<Expr>) -> Read<Expr> {
        let count = args.len();
        match (name, count) {
            ("all" | "exists" | "exists_one" | "existsOne" | "filter", 2) | ("map", 2 | 3) => {
                let variable = simple_name(&args[0])?;
                args.remove(0);
                self.over_one(at, target, name, variable, args)
            }
            ("all" | "exists" | "existsOne" | "exists_one", 3) | ("transformList" | "transformMap" | "transformMapEntry", 3 | 4) => {
                let (first, second) = (simple_name(&args[0])?, simple_name(&args[1])?);
                args.drain(..2);
                self.over_two(at, target, name, first, second, args)
            }
            ("optMap" | "optFlatMap", 2) => {
                let variable = simple_name(&args[0])?;
                let body = args.remove(1);
                self.optional_map(at, target, name == "optMap", variable, body)
            }
            _ => Ok(self.make(at, Kind::Call { function: name.to_owned(), target: Some(Box::new(target)), args })),
        }
    }

    fn result(&mut self, at: usize) -> Expr {
        self.ident(at, ACCUMULATOR)
    }

    /// The init, condition, step and result of a macro that answers a question.
    fn quantifier(&mut self, at: usize, name: &str, predicate: Expr) -> (Expr, Expr, Expr, Expr) {
        match name {
            "all" => {
                let init = self.literal(at, Literal::Bool(true));
                let accumulated = self.result(at);
                let condition = self.call(at, "@not_strictly_false", vec![accumulated]);
                let accumulated = self.result(at);
                let step = self.call(at, "_&&_", vec![accumulated, predicate]);
                let result = self.result(at);
                (init, condition, step, result)
            }
            "exists" => {
                let init = self.literal(at, Literal::Bool(false));
                let accumulated = self.result(at);
                let not = self.call(at, "!_", vec![accumulated]);
                let condition = self.call(at, "@not_strictly_false", vec![not]);
                let accumulated = self.result(at);
                let step = self.call(at, "_||_", vec![accumulated, predicate]);
                let result = self.result(at);
                (init, condition, step, result)
            }
            _ => {
                let init = self.literal(at, Literal::Int(0));
                let condition = self.literal(at, Literal::Bool(true));
                let (accumulated, one) = (self.result(at), self.literal(at, Literal::Int(1)));
                let more = self.call(at, "_+_", vec![accumulated, one]);
                let same = self.result(at);
                let step = self.call(at, "_?_:_", vec![predicate, more, same]);
                let (accumulated, one) = (self.result(at), self.literal(at, Literal::Int(1)));
                let result = self.call(at, "_==_", vec![accumulated, one]);
                (init, condition, step, result)
            }
        }
    }

    fn fold(&mut self, at: usize, range: Expr, names: (String, Option<String>), parts: (Expr, Expr, Expr, Expr)) -> Expr {
        let (init, condition, step, result) = parts;
        let (variable, second) = names;
        let accumulator = ACCUMULATOR.to_owned();
        self.make(at, Kind::Fold(Box::new(Fold { range, variable, second, init, condition, step, result, accumulator })))
    }

    /// A list to which `item` is added where `filter` holds.
    fn collect(&mut self, at: usize, filter: Option<Expr>, item: Expr) -> (Expr, Expr, Expr, Expr) {
        let init = self.make(at, Kind::List(Vec::new()));
        let condition = self.literal(at, Literal::Bool(true));
        let accumulated = self.result(at);
        let one = self.make(at, Kind::List(vec![Entry { value: item, optional: false }]));
        let mut step = self.call(at, "_+_", vec![accumulated, one]);
        if let Some(filter) = filter {
            let same = self.result(at);
            step = self.call(at, "_?_:_", vec![filter, step, same]);
        }
        let result = self.result(at);
        (init, condition, step, result)
    }

    fn over_one(&mut self, at: usize, target: Expr, name: &str, variable: String, mut args: Vec<Expr>) -> Read<Expr> {
        let last = args.pop().ok_or((at, "missing argument".to_owned()))?;
        let parts = match name {
            "map" => {
                let filter = args.pop();
                self.collect(at, filter, last)
            }
            "filter" => {
                let item = self.ident(at, &variable);
                self.collect(at, Some(last), item)
            }
            quantifier => self.quantifier(at, quantifier, last),
        };
        Ok(self.fold(at, target, (variable, None), parts))
    }

    fn over_two(&mut self, at: usize, target: Expr, name: &str, first: String, second: String, mut args: Vec<Expr>) -> Read<Expr> {
        if first == second {
            return Err((at, format!("duplicate variable name: {second}")));
        }
        let last = args.pop().ok_or((at, "missing argument".to_owned()))?;
        let parts = match name {
            "transformList" => {
                let filter = args.pop();
                self.collect(at, filter, last)
            }
            "transformMap" | "transformMapEntry" => {
                let init = self.make(at, Kind::Map(Vec::new()));
                let condition = self.literal(at, Literal::Bool(true));
                let accumulated = self.result(at);
                let mut step = if name == "transformMap" {
                    let key = self.ident(at, &first);
                    self.call(at, "cel.@mapInsert", vec![accumulated, key, last])
                } else {
                    self.call(at, "cel.@mapInsert", vec![accumulated, last])
                };
                if let Some(filter) = args.pop() {
                    let same = self.result(at);
                    step = self.call(at, "_?_:_", vec![filter, step, same]);
                }
                let result = self.result(at);
                (init, condition, step, result)
            }
            quantifier => self.quantifier(at, quantifier, last),
        };
        Ok(self.fold(at, target, (first, Some(second)), parts))
    }

    /// `x.optMap(v, e)`: `e` of the value that is there.
    fn optional_map(&mut self, at: usize, target: Expr, wrap: bool, variable: String, body: Expr) -> Read<Expr> {
        // The macro repeats its target, so a chain of it doubles with every link.
        if self.ids > EXPRESSIONS_MAX {
            return Err((at, "expression is too large".to_owned()));
        }
        let mut again = target.clone();
        self.renumber(&mut again);
        let there = self.make(at, Kind::Call { function: "hasValue".to_owned(), target: Some(Box::new(target)), args: Vec::new() });
        let value = self.make(at, Kind::Call { function: "value".to_owned(), target: Some(Box::new(again)), args: Vec::new() });
        let range = self.make(at, Kind::List(Vec::new()));
        let condition = self.literal(at, Literal::Bool(false));
        let step = self.ident(at, &variable);
        let mut bound = self.make(
            at,
            Kind::Fold(Box::new(Fold {
                range,
                variable: "#unused".to_owned(),
                second: None,
                init: value,
                condition,
                step,
                result: body,
                accumulator: variable,
            })),
        );
        let optional = self.ident(at, "optional");
        if wrap {
            bound = self.make(at, Kind::Call { function: "of".to_owned(), target: Some(Box::new(optional.clone())), args: vec![bound] });
        }
        let absent = self.make(at, Kind::Call { function: "none".to_owned(), target: Some(Box::new(optional)), args: Vec::new() });
        Ok(self.call(at, "_?_:_", vec![there, bound, absent]))
    }

    /// A copy is another expression.
    fn renumber(&mut self, expr: &mut Expr) {
        expr.id = self.ids;
        self.ids += 1;
        match &mut expr.kind {
            Kind::Literal(_) | Kind::Ident(_) => {}
            Kind::Select { operand, .. } => self.renumber(operand),
            Kind::Call { target, args, .. } => {
                target.iter_mut().for_each(|target| self.renumber(target));
                args.iter_mut().for_each(|arg| self.renumber(arg));
            }
            Kind::List(entries) => entries.iter_mut().for_each(|entry| self.renumber(&mut entry.value)),
            Kind::Map(entries) => entries.iter_mut().for_each(|(key, entry)| {
                self.renumber(key);
                self.renumber(&mut entry.value);
            }),
            Kind::Struct { fields, .. } => fields.iter_mut().for_each(|(_, entry)| self.renumber(&mut entry.value)),
            Kind::Fold(fold) => {
                for part in [&mut fold.range, &mut fold.init, &mut fold.condition, &mut fold.step, &mut fold.result] {
                    self.renumber(part);
                }
            }
        }
    }
}

fn simple_name(expr: &Expr) -> Read<String> {
    match &expr.kind {
        Kind::Ident(name) => Ok(name.clone()),
        _ => Err((expr.at, "argument must be a simple name".to_owned())),
    }
}
