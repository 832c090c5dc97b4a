//! Runs templates, as `text/template/exec.go` does: the same order of evaluation, typing rules and error texts.

use crate::{
    Failure, Function, Kind, Limit, Location, Map, Method, Object, ParseError, Set, Str, Type, Value,
    ast::{Branch, Call, Command, Fields, Node, Pipe, Row, Shown, Source, Template, Tree, Word, WordKind},
    builtins, fmt,
    function::{AND, CALL, OR},
    number::{self, quote},
    parse::{RED_ZONE, STACK, UNDECLARED, Workshop},
    set::{Snippet, Templates},
    trace::{self, Origin, Trace},
    value::WeakMap,
};
use smallvec::SmallVec;
use std::{
    any::{Any, TypeId},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
};

/// What a run may use up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Evaluated nodes and units of work of functions.
    pub steps: u64,
    /// Bytes written, those of intermediate strings included.
    pub output: usize,
    /// Templates inside each other.
    pub depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 200_000_000, output: 512 << 20, depth: 10_000 }
    }
}

/// What a missing map key gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingKey {
    /// The zero of the element type, as Go's `missingkey=zero`.
    #[default]
    Zero,
    Error,
}

/// One run over a set of templates: budgets, the output being written, and what functions need to know.
pub struct Run<'a> {
    set: &'a Set,
    missing_key: MissingKey,
    limits: Limits,
    steps: u64,
    written: usize,
    depth: usize,
    interrupt: Option<&'a dyn Fn() -> bool>,
    out: Vec<u8>,
    variables: Vec<Variable>,
    /// Definitions made by running `tpl` texts, innermost last.
    overlays: Vec<Arc<Templates>>,
    snippets: HashMap<Arc<str>, Rc<Snippet>>,
    workshop: Option<Box<Workshop>>,
    extensions: Vec<(TypeId, Rc<dyn Any>)>,
    /// Maps that were given containers; emptied at the end so that cycles do not leak.
    touched: Vec<WeakMap>,
    trace: Option<Box<Trace>>,
}

#[derive(Clone)]
struct Variable {
    value: Value,
    /// Whether the static type is `interface {}`: elements of a range.
    interface: bool,
}

impl Variable {
    const UNSET: Self = Self { value: Value::Invalid, interface: false };
}

/// What templates write into a string is seldom longer.
const USUAL: usize = 256;

/// One template being executed.
struct State<'t> {
    template: &'t Template,
    base: usize,
    at: At<'t>,
    /// How far behind that node the one stands that is written the same and is meant.
    shift: u32,
}

impl<'t> State<'t> {
    fn source(&self) -> &'t Source {
        &self.template.source
    }

    fn tree(&self) -> &'t Tree {
        &self.template.source.tree
    }
}

/// The node evaluated last, where errors are placed.
#[derive(Clone, Copy)]
enum At<'t> {
    Nothing,
    Pipe(&'t Pipe),
    Word(&'t Word),
    Command(&'t Command),
    Call(&'t Call),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// The value before the bar of a pipeline.
type Final = Option<Value>;
type Args = SmallVec<[Value; 4]>;
type Result<T> = std::result::Result<T, Failure>;

/// A function or a method with its receiver.
#[derive(Clone, Copy)]
enum Callee<'f> {
    Function(&'f Function),
    Method(&'f Rc<dyn Object>, &'static Method),
}

impl Callee<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Function(function) => function.name,
            Self::Method(_, method) => method.name,
        }
    }

    fn params(&self) -> (&'static [Type], Option<Type>) {
        match self {
            Self::Function(function) => (function.params, function.rest),
            Self::Method(_, method) => (method.params, method.rest),
        }
    }
}

impl<'a> Run<'a> {
    pub fn new(set: &'a Set, limits: Limits, missing_key: MissingKey) -> Self {
        Self {
            set,
            missing_key,
            limits,
            steps: 0,
            written: 0,
            depth: 0,
            interrupt: None,
            out: Vec::new(),
            variables: Vec::new(),
            overlays: Vec::new(),
            snippets: HashMap::new(),
            workshop: None,
            extensions: Vec::new(),
            touched: Vec::new(),
            trace: None,
        }
    }

    /// Notes where each line comes from. `values` are the maps that lines may show, with their paths.
    pub fn traced(mut self, values: &[(Map, String)]) -> Self {
        self.trace = Some(Box::new(Trace::of(values)));
        self
    }

    /// Runs like [`Run::execute`] and tells where each line came from, if the run is traced.
    pub fn execute_traced(&mut self, name: &str, data: &Value) -> Result<(Vec<u8>, Vec<Option<Origin>>)> {
        if let Some(trace) = &mut self.trace {
            trace.marks.clear();
            trace.lines.clear();
        }
        let written = self.execute_kept(name, data)?;
        let origins = self.trace.as_ref().map(|trace| trace.origins(&written)).unwrap_or_default();
        Ok((written, origins))
    }

    /// Asks `stop` every few thousand steps whether to give up.
    pub fn interrupted_by(mut self, stop: &'a dyn Fn() -> bool) -> Self {
        self.interrupt = Some(stop);
        self
    }

    /// Gives functions something to find again by its type.
    pub fn with<T: 'static>(mut self, extension: Rc<T>) -> Self {
        self.extensions.push((TypeId::of::<T>(), extension));
        self
    }

    pub fn extension<T: 'static>(&self) -> Option<Rc<T>> {
        let found = self.extensions.iter().find(|(id, _)| *id == TypeId::of::<T>())?;
        found.1.clone().downcast().ok()
    }

    /// Runs the template `name` on `data` and gives what it wrote.
    pub fn execute(&mut self, name: &str, data: &Value) -> Result<Vec<u8>> {
        let marks = self.trace.as_mut().map(|trace| std::mem::take(&mut trace.marks));
        let written = self.execute_kept(name, data);
        self.remember(marks, written.as_deref().unwrap_or_default());
        written
    }

    fn execute_kept(&mut self, name: &str, data: &Value) -> Result<Vec<u8>> {
        let outer = std::mem::replace(&mut self.out, Vec::with_capacity(USUAL));
        let done = self.execute_here(name, data);
        let written = std::mem::replace(&mut self.out, outer);
        done.map(|()| written)
    }

    /// Keeps the origins of lines that went into a string, and goes on with the marks of the output around it.
    fn remember(&mut self, outer: Option<Vec<(usize, Origin)>>, written: &[u8]) {
        if let (Some(trace), Some(outer)) = (&mut self.trace, outer) {
            trace.remember(written);
            trace.marks = outer;
        }
    }

    /// Runs the template `name` on `data`, writing to where the caller writes.
    pub fn execute_here(&mut self, name: &str, data: &Value) -> Result<()> {
        let Some(template) = self.find(name) else {
            return Err(Failure::new(format!(
                "template: no template {} associated with template {}",
                quote(name.as_bytes()),
                quote(b"gotpl")
            )));
        };
        self.execute_template(&template, data)
    }

    /// Compiles `text` and runs it on `data`; what it defines can be seen while it runs.
    pub fn execute_text(&mut self, name: &str, text: &Str, data: &Value) -> Result<Vec<u8>> {
        let source: Arc<str> = match text {
            Str::Text(text) => text.clone(),
            Str::Raw(_) => text.text().into(),
        };
        let snippet = match self.snippets.get(&source) {
            Some(snippet) => snippet.clone(),
            None => {
                self.charge(source.len() as u64 / 16)?;
                let parsed = Snippet::parse(name, &source, &self.set.functions, self.workshop.get_or_insert_default()).map_err(
                    |error: ParseError| {
                        Failure::new(error.to_string()).wrap(format!("cannot parse template {}: ", quote(source.as_bytes())))
                    },
                )?;
                let parsed = Rc::new(parsed);
                self.snippets.insert(source.clone(), parsed.clone());
                parsed
            }
        };
        let defines = !snippet.defined.is_empty();
        if defines {
            self.overlays.push(snippet.defined.clone());
        }
        let marks = self.trace.as_mut().map(|trace| std::mem::take(&mut trace.marks));
        let outer = std::mem::take(&mut self.out);
        let done = self.execute_template(&snippet.body, data);
        let written = std::mem::replace(&mut self.out, outer);
        self.remember(marks, &written);
        if defines {
            self.overlays.pop();
        }
        match done {
            Ok(()) => Ok(written),
            Err(error) => Err(error.wrap(format!("error during tpl function execution for {}: ", quote(source.as_bytes())))),
        }
    }

    /// Takes `units` of the budget of steps, for work done inside a function.
    pub fn charge(&mut self, units: u64) -> Result<()> {
        const CHECK: u64 = 8_192;
        let before = self.steps;
        self.steps = before.saturating_add(units);
        if self.steps > self.limits.steps {
            return Err(Limit::Steps.into());
        }
        if before / CHECK != self.steps / CHECK && self.interrupt.is_some_and(|stop| stop()) {
            return Err(Limit::Time.into());
        }
        Ok(())
    }

    /// Takes `bytes` of the budget of output, before making a string of that size.
    pub fn reserve(&mut self, bytes: usize) -> Result<()> {
        self.written = self.written.saturating_add(bytes);
        if self.written > self.limits.output {
            return Err(Limit::Output.into());
        }
        Ok(())
    }

    /// Writes to the output.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.reserve(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// The output as it stands, to append to. What is added must be counted with [`Run::reserve`].
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Sets an entry of a map and remembers the map where that could close a cycle.
    pub fn insert(&mut self, map: &Map, key: Arc<str>, value: Value) -> Result<()> {
        self.charge(1 + map.len() as u64 / 64)?;
        if matches!(value, Value::Map(_) | Value::List(_)) {
            self.touched.push(map.downgrade());
        }
        map.insert(key, value);
        Ok(())
    }

    fn find(&self, name: &str) -> Option<Arc<Template>> {
        let overlaid = self.overlays.iter().rev().find_map(|overlay| overlay.get(name));
        let below = || self.set.templates.get(name);
        match overlaid {
            // An empty definition never hides one with content.
            Some(template) if template.is_empty() => below().or(Some(template)).cloned(),
            Some(template) => Some(template.clone()),
            None => below().cloned(),
        }
    }

    fn execute_template(&mut self, template: &Template, dot: &Value) -> Result<()> {
        if self.depth >= self.limits.depth {
            return Err(Failure::limit(Limit::Depth).wrap(format!("template: {}: ", template.name)));
        }
        self.depth += 1;
        let base = self.variables.len();
        self.variables.resize(base + template.slots, Variable::UNSET);
        self.variables[base].value = dot.clone();
        let mut state = State { template, base, at: At::Nothing, shift: 0 };
        let done = nested(|| self.walk(&mut state, dot, false, template.body));
        self.variables.truncate(base);
        self.depth -= 1;
        done.map(|_| ())
    }

    fn walk<'t>(&mut self, state: &mut State<'t>, dot: &Value, interface: bool, nodes: Row<Node>) -> Result<Flow> {
        let tree = state.tree();
        for node in &tree[nodes] {
            let flow = match *node {
                Node::Text { start, end } => {
                    self.text(state, start as usize, end as usize)?;
                    Flow::Next
                }
                Node::Action { pipe, shift } => {
                    state.shift = shift;
                    self.action(state, dot, interface, &tree[pipe])?;
                    Flow::Next
                }
                Node::If(branch) => nested(|| self.if_or_with(state, dot, interface, &tree[branch], false))?,
                Node::With(branch) => nested(|| self.if_or_with(state, dot, interface, &tree[branch], true))?,
                Node::Range(branch) => nested(|| self.range(state, dot, interface, &tree[branch]))?,
                Node::Template(call) => {
                    self.call_template(state, dot, interface, &tree[call])?;
                    Flow::Next
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn text(&mut self, state: &State<'_>, start: usize, end: usize) -> Result<()> {
        let source = &state.template.source;
        let text = &source.text[start..end];
        if let Some(trace) = &mut self.trace {
            trace.text(self.out.len(), text, &source.name, line_of(&source.text, start));
        }
        self.write(text)
    }

    fn action<'t>(&mut self, state: &mut State<'t>, dot: &Value, interface: bool, pipe: &'t Pipe) -> Result<()> {
        if self.trace.is_some() { self.traced_action(state, dot, interface, pipe) } else { self.plain_action(state, dot, interface, pipe) }
    }

    fn plain_action<'t>(&mut self, state: &mut State<'t>, dot: &Value, interface: bool, pipe: &'t Pipe) -> Result<()> {
        if !pipe.variables.is_empty() {
            self.pipeline(state, dot, interface, pipe)?;
            return Ok(());
        }
        if let Some(value) = self.pipeline_to(state, dot, interface, pipe, true)? {
            self.print(&value).map_err(|error| self.place(state, error, String::new()))?;
        }
        Ok(())
    }

    fn traced_action<'t>(&mut self, state: &mut State<'t>, dot: &Value, interface: bool, pipe: &'t Pipe) -> Result<()> {
        let start = self.out.len();
        let counts = |trace: &Option<Box<Trace>>| trace.as_ref().map_or((0, 0), |trace| (trace.marks.len(), trace.lines.len()));
        let (marks, lines) = counts(&self.trace);
        let value = self.shown_value(state, dot, pipe);
        self.plain_action(state, dot, interface, pipe)?;
        let source = &state.template.source;
        let Some(trace) = &mut self.trace else { return Ok(()) };
        // A template that wrote straight to the output has left its own marks.
        if trace.marks.len() == marks && self.out.len() > start {
            let origin =
                Origin { template: source.name.clone(), line: line_of(&source.text, (pipe.position + state.shift) as usize), value };
            trace.action(&self.out, start, lines, origin, trace::shows_yaml(source, pipe));
        }
        // What a variable holds may be printed later.
        if pipe.variables.is_empty() {
            trace.lines.truncate(lines);
        }
        Ok(())
    }

    /// The path of the first value that a pipeline names.
    fn shown_value(&self, state: &State<'_>, dot: &Value, pipe: &Pipe) -> Option<Arc<str>> {
        let trace = self.trace.as_ref()?;
        let mut found = None;
        let tree = state.tree();
        trace::words_with_fields(tree, pipe, &mut |word| {
            found = match &word.kind {
                WordKind::Field(names) => trace.path_of(dot, &tree[*names]),
                WordKind::Variable { slot, fields, .. } => {
                    let variable = self.variables.get(state.base.saturating_add(*slot as usize)).filter(|_| *slot != UNDECLARED);
                    variable.and_then(|variable| trace.path_of(&variable.value, &tree[*fields]))
                }
                _ => None,
            };
            found.is_some()
        });
        found
    }

    fn print(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::String(text) => self.write(text.as_bytes()),
            Value::Invalid => self.write(b"<no value>"),
            Value::Bool(value) => self.write(if *value { b"true" } else { b"false" }),
            Value::Int(value) | Value::Int64(value) => self.write(value.to_string().as_bytes()),
            Value::Float(value) if value.is_finite() => self.write(number::float(*value).as_bytes()),
            Value::Object(object) if !matches!(object.kind(), Kind::Map | Kind::Slice) => self.write(object.printed().as_bytes()),
            value => {
                let text = fmt::sprint(std::slice::from_ref(value))?;
                self.write(&text)
            }
        }
    }

    fn if_or_with<'t>(&mut self, state: &mut State<'t>, dot: &Value, interface: bool, branch: &'t Branch, with: bool) -> Result<Flow> {
        state.shift = branch.shift;
        let value = self.pipeline(state, dot, interface, &state.tree()[branch.pipe])?;
        if value.truth() {
            return if with { self.walk(state, &value, false, branch.body) } else { self.walk(state, dot, interface, branch.body) };
        }
        match branch.otherwise {
            Some(nodes) => self.walk(state, dot, interface, nodes),
            None => Ok(Flow::Next),
        }
    }

    fn range<'t>(&mut self, state: &mut State<'t>, dot: &Value, interface: bool, branch: &'t Branch) -> Result<Flow> {
        state.shift = branch.shift;
        let value = self.pipeline(state, dot, interface, &state.tree()[branch.pipe])?;
        let ran = match value.kind() {
            Kind::Invalid => false,
            Kind::Slice => {
                let n = value.length().unwrap_or(0);
                let interface = matches!(value, Value::List(_));
                for at in 0..n {
                    let Some(item) = value.item(at) else { break };
                    if self.iteration(state, branch, Some(Value::Int(at as i64)), item, interface)? == Flow::Break {
                        break;
                    }
                }
                n > 0
            }
            Kind::Map => {
                let entries = match &value {
                    Value::Map(map) => map.entries().into_vec(),
                    Value::Object(object) => object.entries().unwrap_or_default(),
                    _ => Vec::new(),
                };
                let interface = matches!(&value, Value::Map(map) if map.kind() != crate::MapKind::Strings);
                let any = !entries.is_empty();
                for (key, item) in entries {
                    if self.iteration(state, branch, Some(Value::String(Str::Text(key))), item, interface)? == Flow::Break {
                        break;
                    }
                }
                any
            }
            Kind::Int | Kind::Int64 | Kind::Uint8 | Kind::Uint64 => {
                if state.tree()[branch.pipe].variables.len() > 1 {
                    let text = self.text_of(&value)?;
                    return Err(self.error(state, format!("can't use {text} to iterate over more than one variable")));
                }
                self.range_number(state, branch, &value)?
            }
            _ => {
                let text = self.text_of(&value)?;
                return Err(self.error(state, format!("range can't iterate over {text}")));
            }
        };
        match branch.otherwise {
            Some(nodes) if !ran => self.walk(state, dot, interface, nodes),
            _ => Ok(Flow::Next),
        }
    }

    fn range_number<'t>(&mut self, state: &mut State<'t>, branch: &'t Branch, value: &Value) -> Result<bool> {
        let (n, make): (u64, fn(u64) -> Value) = match value {
            Value::Int(n) => (u64::try_from(*n).unwrap_or(0), |n| Value::Int(n as i64)),
            Value::Int64(n) => (u64::try_from(*n).unwrap_or(0), |n| Value::Int64(n as i64)),
            Value::Duration(n) => (u64::try_from(*n).unwrap_or(0), |n| Value::Duration(n as i64)),
            Value::Uint8(n) => (u64::from(*n), |n| Value::Uint8(n as u8)),
            Value::Uint64(n) => (*n, Value::Uint64),
            _ => (0, |_| Value::Nil),
        };
        for at in 0..n {
            if self.iteration(state, branch, None, make(at), false)? == Flow::Break {
                break;
            }
        }
        Ok(n > 0)
    }

    fn iteration<'t>(
        &mut self,
        state: &mut State<'t>,
        branch: &'t Branch,
        index: Option<Value>,
        item: Value,
        interface: bool,
    ) -> Result<Flow> {
        self.charge(1)?;
        match &state.tree()[state.tree()[branch.pipe].variables] {
            [] => {}
            [only] => self.set(state, only, item.clone(), interface)?,
            [first, second, ..] => {
                self.set(state, first, index.unwrap_or(Value::Invalid), false)?;
                self.set(state, second, item.clone(), interface)?;
            }
        }
        self.walk(state, &item, interface, branch.body)
    }

    fn set(&mut self, state: &State<'_>, variable: &crate::ast::Variable, value: Value, interface: bool) -> Result<()> {
        let Some(slot) = variable.slot else {
            return Err(self.error(state, format!("undefined variable: {}", variable.name)));
        };
        self.variables[state.base + slot as usize] = Variable { value, interface };
        Ok(())
    }

    fn call_template<'t>(&mut self, state: &mut State<'t>, dot: &Value, interface: bool, call: &'t Call) -> Result<()> {
        (state.at, state.shift) = (At::Call(call), 0);
        let Some(template) = self.find(&call.name) else {
            return Err(self.error(state, format!("template {} not defined", quote(call.name.as_bytes()))));
        };
        if self.depth >= self.limits.depth {
            let text = format!("exceeded maximum template depth ({})", self.limits.depth);
            return Err(self.place(state, Failure::limit(Limit::Depth), text.replace("exceeded maximum template depth", "")));
        }
        let dot = match &call.pipe {
            Some(pipe) => self.pipeline(state, dot, interface, pipe)?,
            None => Value::Invalid,
        };
        self.execute_template(&template, &dot)
    }

    fn pipeline<'t>(&mut self, state: &mut State<'t>, dot: &Value, interface: bool, pipe: &'t Pipe) -> Result<Value> {
        Ok(self.pipeline_to(state, dot, interface, pipe, false)?.unwrap_or(Value::Invalid))
    }

    /// Evaluates a pipeline. With `write`, its last command may write its result itself, and gives none.
    fn pipeline_to<'t>(
        &mut self,
        state: &mut State<'t>,
        dot: &Value,
        interface: bool,
        pipe: &'t Pipe,
        write: bool,
    ) -> Result<Option<Value>> {
        state.at = At::Pipe(pipe);
        let mut value: Final = None;
        let last = pipe.commands.len().saturating_sub(1);
        let tree = state.tree();
        for (at, command) in tree[pipe.commands].iter().enumerate() {
            let Some(result) = self.command(state, dot, interface, command, value.take(), write && at == last)? else {
                return Ok(None);
            };
            // A nil interface holds nothing: from here on it is no value.
            value = Some(if matches!(result, Value::Nil) { Value::Invalid } else { result });
        }
        let value = value.unwrap_or(Value::Invalid);
        for variable in &tree[pipe.variables] {
            self.set(state, variable, value.clone(), false)?;
        }
        Ok(Some(value))
    }

    fn command<'t>(
        &mut self,
        state: &mut State<'t>,
        dot: &Value,
        interface: bool,
        command: &'t Command,
        value: Final,
        write: bool,
    ) -> Result<Option<Value>> {
        self.charge(1)?;
        let tree = state.tree();
        let words = &tree[command.words];
        let Some(first) = words.first() else { return Ok(Some(Value::Invalid)) };
        match &first.kind {
            WordKind::Field(names) => {
                state.at = At::Word(first);
                self.field_chain(state, dot, interface, dot.clone(), interface, first, *names, words, value).map(Some)
            }
            WordKind::Chain(inner, names) => self.chain(state, dot, interface, first, &tree[*inner], *names, words, value).map(Some),
            WordKind::Function { index, .. } => {
                state.at = At::Word(first);
                self.function(state, dot, interface, At::Command(command), *index, words, value, write)
            }
            WordKind::Pipe(pipe) => {
                self.no_arguments(state, words, &value)?;
                self.pipeline(state, dot, interface, &tree[*pipe]).map(Some)
            }
            WordKind::Variable { slot, fields, .. } => self.variable(state, dot, interface, first, *slot, *fields, words, value).map(Some),
            kind => {
                state.at = At::Word(first);
                self.no_arguments(state, words, &value)?;
                match kind {
                    WordKind::Dot => Ok(Some(dot.clone())),
                    WordKind::Nil => Err(self.error(state, "nil is not a command".into())),
                    _ => self.constant(state, first).map(Some),
                }
            }
        }
    }

    fn no_arguments(&self, state: &State<'_>, words: &[Word], value: &Final) -> Result<()> {
        if words.len() > 1 || value.is_some() {
            return Err(self.error(state, format!("can't give argument to non-function {}", words[0].shown(state.source()))));
        }
        Ok(())
    }

    /// A literal where no type is asked for.
    fn constant<'t>(&self, state: &mut State<'t>, word: &'t Word) -> Result<Value> {
        state.at = At::Word(word);
        match &word.kind {
            WordKind::Bool(value) => Ok(Value::Bool(*value)),
            WordKind::String { value, .. } => Ok(Value::String(state.tree()[*value].clone())),
            WordKind::Number(number) => {
                let number = &state.tree()[*number];
                let shown = || word.shown(state.source());
                if number.complex {
                    return Err(self.error(state, format!("complex number {} is not supported", shown())));
                }
                match (number.is_float_literal, number.int, number.float) {
                    (true, _, Some(value)) => Ok(Value::Float(value)),
                    (_, Some(value), _) => Ok(Value::Int(value)),
                    _ => Err(self.error(state, format!("{} overflows int", shown()))),
                }
            }
            _ => Err(self.error(state, format!("can't handle assignment of {} to empty interface argument", word.shown(state.source())))),
        }
    }

    fn chain<'t>(
        &mut self,
        state: &mut State<'t>,
        dot: &Value,
        interface: bool,
        word: &'t Word,
        inner: &'t Word,
        names: Fields,
        words: &'t [Word],
        value: Final,
    ) -> Result<Value> {
        state.at = At::Word(word);
        if matches!(inner.kind, WordKind::Nil) {
            return Err(self.error(state, format!("indirection through explicit nil in {}", word.shown(state.source()))));
        }
        let receiver = self.argument(state, dot, interface, Type::Reflect, inner)?;
        self.field_chain(state, dot, interface, receiver, false, word, names, words, value)
    }

    fn variable<'t>(
        &mut self,
        state: &mut State<'t>,
        dot: &Value,
        interface: bool,
        word: &'t Word,
        slot: u32,
        names: Fields,
        words: &'t [Word],
        value: Final,
    ) -> Result<Value> {
        state.at = At::Word(word);
        let found = self.variables.get(state.base.saturating_add(slot as usize)).filter(|_| slot != UNDECLARED);
        let Some(variable) = found.cloned() else {
            return Err(self.error(state, format!("undefined variable: {}", variable_name(state.tree(), word))));
        };
        if names.is_empty() {
            if !words.is_empty() {
                self.no_arguments(state, words, &value)?;
            }
            return Ok(variable.value);
        }
        self.field_chain(state, dot, interface, variable.value, variable.interface, word, names, words, value)
    }

    /// Follows `.a.b.c` from `receiver`; the last name gets the arguments, should it be a method.
    fn field_chain<'t>(
        &mut self,
        state: &mut State<'t>,
        dot: &Value,
        interface: bool,
        mut receiver: Value,
        mut receiver_interface: bool,
        word: &'t Word,
        names: Fields,
        words: &'t [Word],
        value: Final,
    ) -> Result<Value> {
        let mut value = value;
        let names = &state.tree()[names];
        for (at, name) in names.iter().enumerate() {
            let last = at + 1 == names.len();
            let words = if last { words } else { &[] };
            let given = if last { value.take() } else { None };
            // Fast path: a plain map entry.
            if words.len() <= 1
                && given.is_none()
                && let Value::Map(map) = &receiver
            {
                let found = map.get(name);
                if found.is_none() && self.missing_key == MissingKey::Error {
                    return Err(self.error(state, format!("map has no entry for key {}", quote(name.as_bytes()))));
                }
                let zero = map.kind();
                receiver_interface = zero != crate::MapKind::Strings;
                receiver = found.unwrap_or_else(|| zero.zero());
                continue;
            }
            receiver = self.field(state, dot, interface, receiver, receiver_interface, word, names, at, words, given)?;
            receiver_interface = false;
        }
        Ok(receiver)
    }

    fn field<'t>(
        &mut self,
        state: &mut State<'t>,
        dot: &Value,
        interface: bool,
        receiver: Value,
        receiver_interface: bool,
        word: &'t Word,
        names: &[Arc<str>],
        at: usize,
        words: &'t [Word],
        value: Final,
    ) -> Result<Value> {
        let name = &names[at];
        let type_name = if receiver_interface { "interface {}".to_owned() } else { receiver.type_name().to_owned() };
        let has_arguments = words.len() > 1 || value.is_some();
        match &receiver {
            Value::Invalid => {
                if self.missing_key == MissingKey::Error {
                    return Err(self.error(state, format!("nil data; no entry for key {}", quote(name.as_bytes()))));
                }
                return Ok(Value::Invalid);
            }
            Value::Nil => {
                return Err(self.error(state, format!("nil pointer evaluating interface {{}}.{name}")).missing(path(
                    state.source(),
                    word,
                    names,
                    at,
                )));
            }
            Value::Map(map) => {
                if has_arguments {
                    return Err(self.error(state, format!("{name} is not a method but has arguments")));
                }
                return Ok(map.get(name).unwrap_or_else(|| map.kind().zero()));
            }
            Value::Object(object) => {
                if let Some(method) = object.method(name) {
                    let callee = Callee::Method(object, method);
                    let done = self.call(state, dot, interface, At::Word(word), callee, words, value, false)?;
                    return Ok(done.unwrap_or(Value::Invalid));
                }
                if let Some(found) = object.field(name) {
                    if has_arguments {
                        return Err(self.error(state, format!("{name} has arguments but cannot be invoked as function")));
                    }
                    return Ok(found);
                }
                if object.kind() == Kind::Map {
                    if has_arguments {
                        return Err(self.error(state, format!("{name} is not a method but has arguments")));
                    }
                    return Ok(object.missing());
                }
            }
            _ => {}
        }
        Err(self.error(state, format!("can't evaluate field {name} in type {type_name}")))
    }

    fn function<'t>(
        &mut self,
        state: &mut State<'t>,
        dot: &Value,
        interface: bool,
        node: At<'t>,
        index: u32,
        words: &'t [Word],
        value: Final,
        write: bool,
    ) -> Result<Option<Value>> {
        let set = self.set;
        let Some(function) = set.functions.get(index) else {
            return Err(self.error(state, format!("no function has the number {index}")));
        };
        let name = function.name;
        if index == AND || index == OR {
            return self.and_or(state, dot, interface, name, index == OR, words, value).map(Some);
        }
        if let (CALL, [_, called, ..]) = (index, words) {
            let found = self.argument(state, dot, interface, Type::Reflect, called)?;
            let failure = Failure::new(builtins::not_callable(&called.shown(state.source()), &found));
            state.at = node;
            return Err(self.place(state, failure, format!("error calling {name}: ")));
        }
        self.call(state, dot, interface, node, Callee::Function(function), words, value, write)
    }

    fn and_or<'t>(
        &mut self,
        state: &mut State<'t>,
        dot: &Value,
        interface: bool,
        name: &str,
        or: bool,
        words: &'t [Word],
        value: Final,
    ) -> Result<Value> {
        let words = words.get(1..).unwrap_or_default();
        if words.is_empty() && value.is_none() {
            return Err(self.error(state, format!("wrong number of args for {name}: want at least 1 got 0")));
        }
        let mut result = Value::Invalid;
        for word in words {
            result = self.argument(state, dot, interface, Type::Reflect, word)?;
            if result.truth() == or {
                return Ok(result);
            }
        }
        Ok(value.unwrap_or(result))
    }

    fn call<'t>(
        &mut self,
        state: &mut State<'t>,
        dot: &Value,
        interface: bool,
        node: At<'t>,
        callee: Callee<'_>,
        words: &'t [Word],
        value: Final,
        write: bool,
    ) -> Result<Option<Value>> {
        let name = callee.name();
        let words = words.get(1..).unwrap_or_default();
        let (params, rest) = callee.params();
        let given = words.len() + usize::from(value.is_some());
        match rest {
            Some(_) if given < params.len() => {
                let text = format!("wrong number of args for {name}: want at least {} got {}", params.len(), words.len());
                return Err(self.error(state, text));
            }
            None if given != params.len() => {
                return Err(self.error(state, format!("wrong number of args for {name}: want {} got {given}", params.len())));
            }
            _ => {}
        }
        let parameter = |at: usize| params.get(at).copied().or(rest).unwrap_or(Type::Any);
        let mut args = Args::new();
        for (at, word) in words.iter().enumerate() {
            args.push(self.argument(state, dot, interface, parameter(at), word)?);
        }
        if let Some(value) = value {
            let at = args.len();
            args.push(self.validate(state, value, parameter(at))?);
        }
        let result = match callee {
            Callee::Function(Function { write: Some(direct), .. }) if write => direct(self, &args).map(|()| None),
            Callee::Function(function) => (function.call)(self, &args).map(Some),
            Callee::Method(receiver, method) => (method.call)(receiver, self, &args).map(Some),
        };
        result.map_err(|error| {
            state.at = node;
            self.place(state, error, format!("error calling {name}: "))
        })
    }

    /// Makes sure that a value may be given where `wanted` is asked for.
    fn validate(&self, state: &State<'_>, value: Value, wanted: Type) -> Result<Value> {
        match &value {
            Value::Invalid => match wanted {
                Type::Reflect => Ok(value),
                _ if wanted.can_be_nil() => Ok(Value::Nil),
                _ => Err(self.error(state, format!("invalid value; expected {}", wanted.name()))),
            },
            _ if wanted.accepts(&value) => Ok(value),
            _ => {
                let got = if matches!(value, Value::Nil) { "interface {}" } else { value.type_name() };
                Err(self.error(state, format!("wrong type for value; expected {}; got {got}", wanted.name())))
            }
        }
    }

    fn argument<'t>(&mut self, state: &mut State<'t>, dot: &Value, interface: bool, wanted: Type, word: &'t Word) -> Result<Value> {
        state.at = At::Word(word);
        self.charge(1)?;
        let value = match &word.kind {
            WordKind::Dot => dot.clone(),
            WordKind::Nil => {
                return match wanted {
                    Type::Reflect => Ok(Value::Invalid),
                    _ if wanted.can_be_nil() => Ok(Value::Nil),
                    _ => Err(self.error(state, format!("cannot assign nil to {}", wanted.name()))),
                };
            }
            WordKind::Field(names) => self.field_chain(state, dot, interface, dot.clone(), interface, word, *names, &[], None)?,
            WordKind::Variable { slot, fields, .. } => self.variable(state, dot, interface, word, *slot, *fields, &[], None)?,
            WordKind::Pipe(pipe) => self.pipeline(state, dot, interface, &state.tree()[*pipe])?,
            WordKind::Function { index, .. } => {
                let done = self.function(state, dot, interface, At::Word(word), *index, &[], None, false)?;
                done.unwrap_or(Value::Invalid)
            }
            WordKind::Chain(inner, names) => self.chain(state, dot, interface, word, &state.tree()[*inner], *names, &[], None)?,
            literal => return self.literal(state, wanted, word, literal),
        };
        self.validate(state, value, wanted)
    }

    /// A literal where a type is asked for.
    fn literal<'t>(&self, state: &mut State<'t>, wanted: Type, word: &'t Word, literal: &WordKind) -> Result<Value> {
        let shown = || word.shown(state.source());
        let expected = |what: &str| Err(self.error(state, format!("expected {what}; found {}", shown())));
        match (wanted, literal) {
            (Type::Any | Type::Reflect, _) => self.constant(state, word),
            (Type::Bool, WordKind::Bool(value)) => Ok(Value::Bool(*value)),
            (Type::Bool, _) => expected("bool"),
            (Type::String, WordKind::String { value, .. }) => Ok(Value::String(state.tree()[*value].clone())),
            (Type::String, _) => expected("string"),
            (Type::Int, WordKind::Number(number)) => {
                state.tree()[*number].int.map_or_else(|| expected("integer"), |int| Ok(Value::Int(int)))
            }
            (Type::Int64, WordKind::Number(number)) => {
                state.tree()[*number].int.map_or_else(|| expected("integer"), |int| Ok(Value::Int64(int)))
            }
            (Type::Int | Type::Int64, _) => expected("integer"),
            (Type::Uint32, WordKind::Number(number)) => {
                state.tree()[*number].uint.map_or_else(|| expected("unsigned integer"), |uint| Ok(Value::Uint64(uint)))
            }
            (Type::Uint32, _) => expected("unsigned integer"),
            (Type::Float, WordKind::Number(number)) => {
                state.tree()[*number].float.map_or_else(|| expected("float"), |float| Ok(Value::Float(float)))
            }
            (Type::Float, _) => expected("float"),
            (Type::Map | Type::List | Type::Named(_), _) => {
                Err(self.error(state, format!("can't handle {} for arg of type {}", shown(), wanted.name())))
            }
        }
    }

    fn text_of(&self, value: &Value) -> Result<String> {
        Ok(String::from_utf8_lossy(&fmt::sprint(std::slice::from_ref(value))?).into_owned())
    }

    fn error(&self, state: &State<'_>, text: String) -> Failure {
        let (prefix, location) = context(state);
        Failure::at(prefix + &text, location)
    }

    /// Wraps an error from outside the executor in where it happened.
    fn place(&self, state: &State<'_>, error: Failure, text: String) -> Failure {
        let (prefix, location) = context(state);
        error.wrap_at(prefix + &text, location)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        // A map that holds itself would live forever.
        self.variables.clear();
        for map in self.touched.drain(..).filter_map(|map| map.upgrade()) {
            map.clear();
        }
    }
}

/// `template: file:1:2: executing "name" at <node>: `, and where that is.
fn context(state: &State<'_>) -> (String, Location) {
    let template = state.template;
    let text = state.source();
    let (position, node) = match state.at {
        At::Nothing => (0, String::new()),
        At::Pipe(pipe) => (pipe.position, pipe.shown(text)),
        At::Word(word) => (word.position, word.shown(text)),
        At::Command(command) => (command.position, command.shown(text)),
        At::Call(call) => (call.position, call.shown(text)),
    };
    let before = &template.source.text[..(position + state.shift) as usize];
    let line = 1 + before.iter().filter(|b| **b == b'\n').count();
    let column = before.iter().rev().take_while(|b| **b != b'\n').count();
    let location = Location { template: template.source.name.to_string(), line, column };
    (format!("template: {location}: executing {} at <{node}>: ", quote(template.name.as_bytes())), location)
}

/// Goes one level deeper, on a new piece of stack where this one ends.
fn nested<T>(inner: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(RED_ZONE, STACK, inner)
}

/// The line of a position in a text, from one.
fn line_of(text: &[u8], position: usize) -> usize {
    1 + text[..position].iter().filter(|b| **b == b'\n').count()
}

fn variable_name<'t>(tree: &'t Tree, word: &Word) -> &'t str {
    match &word.kind {
        WordKind::Variable { name, .. } => &tree[*name],
        _ => "$",
    }
}

/// The path up to the name at `at`, as the template wrote it.
fn path(source: &Source, word: &Word, names: &[Arc<str>], at: usize) -> String {
    let tree = &source.tree;
    let start = match &word.kind {
        WordKind::Variable { name, .. } => tree[*name].to_string(),
        WordKind::Chain(inner, _) => format!("({})", tree[*inner].shown(source)),
        _ => String::new(),
    };
    names[..at].iter().fold(start, |path, name| path + "." + name)
}
