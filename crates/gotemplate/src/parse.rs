//! Builds syntax trees from tokens, as `text/template/parse/parse.go` does, with the same refusals.

use crate::{
    Functions, Str,
    ast::{
        Branch, Call, Command, Fields, Node, Number, Parts, Pipe, Place, Row, Source, Template, Tree, Variable, Word, WordKind, is_empty,
    },
    lex::{Kind, Lexer, Token, is_space},
    names::{Names, mixed},
    number,
    recall::{self, Action, Actions, AllUsed, Used},
};
use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;

/// Why a template could not be parsed. The text is Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {template}:{line}: {message}")]
pub struct ParseError {
    pub template: String,
    pub line: usize,
    pub message: String,
}

/// Blocks and parentheses inside each other that a template may have.
const MAX_DEPTH: usize = 1_000;
/// A template longer than this is refused: positions are 32 bits wide.
const MAX_SIZE: usize = 1 << 30;

/// What a parser works with, kept from one text to the next: names, memory, and what is being put together.
#[derive(Default)]
pub struct Workshop {
    names: Names,
    parts: Parts,
    /// From the outside in; what is complete is taken from the end.
    nodes: Vec<Node>,
    commands: Vec<Command>,
    words: Vec<Word>,
    actions: Actions,
}

/// What a text says, whatever name it has. Shared by the templates that are made of it.
pub struct Syntax {
    text: Bytes,
    tree: Arc<Tree>,
    defined: Vec<Found>,
    body: Row<Node>,
    slots: usize,
    lines: usize,
}

impl Syntax {
    /// Parses a text. The text is kept, not copied; bytes in it that are no UTF-8 are replaced. The name is for errors alone.
    pub fn read(name: &str, text: &Bytes, functions: &Functions, workshop: &mut Workshop) -> Result<Self> {
        if text.len() > MAX_SIZE {
            return Err(ParseError { template: name.to_owned(), line: 1, message: format!("text of {} bytes is too long", text.len()) });
        }
        let kept = match std::str::from_utf8(text) {
            Ok(_) => text.clone(),
            Err(_) => Bytes::from(String::from_utf8_lossy(text).into_owned()),
        };
        // A text that was refused may have left something.
        workshop.parts.clear();
        workshop.nodes.clear();
        workshop.commands.clear();
        workshop.words.clear();
        workshop.actions.begin();
        let text = std::str::from_utf8(&kept).unwrap_or_default();
        let File { defined, body, slots, lines } = Parser::new(name, text, functions, workshop).file()?;
        Ok(Self { text: kept, tree: Arc::new(workshop.parts.take()), defined, body, slots, lines })
    }

    /// The templates of the text under this name; the text's own comes last.
    pub(crate) fn templates(&self, name: &str) -> Result<Vec<Template>> {
        let source = Arc::new(Source { name: name.into(), text: self.text.clone(), tree: self.tree.clone() });
        let template =
            |name: &Arc<str>, body: Row<Node>, slots: usize| Template { name: name.clone(), source: source.clone(), body, slots };
        let own = template(&source.name, self.body, self.slots);
        let mut templates: Vec<Template> = self.defined.iter().map(|found| template(&found.name, found.body, found.slots)).collect();
        match templates.iter_mut().find(|known| *known.name == *name) {
            None => templates.push(own),
            Some(old) if old.is_empty() => *old = own,
            Some(_) if own.is_empty() => {}
            Some(_) => return Err(ParseError { template: name.to_owned(), line: self.lines, message: defined_twice(name) }),
        }
        Ok(templates)
    }
}

fn defined_twice(name: &str) -> String {
    format!("template: multiple definition of template {}", number::quote(name.as_bytes()))
}

/// A whole file, as the parser found it.
struct File {
    defined: Vec<Found>,
    body: Row<Node>,
    slots: usize,
    /// The line of its end, where errors about the whole are placed.
    lines: usize,
}

/// A template that the text defines.
struct Found {
    name: Arc<str>,
    body: Row<Node>,
    slots: usize,
}

struct Parser<'a> {
    name: &'a str,
    text: &'a str,
    lexer: Lexer<'a>,
    functions: &'a Functions,
    workshop: &'a mut Workshop,
    pushed: SmallVec<[Token; 4]>,
    /// The line of the last token read, where errors are placed.
    line: usize,
    action_line: usize,
    scope: Scope,
    range_depth: usize,
    depth: usize,
    templates: Vec<Found>,
    /// Variables whose pipelines are being parsed.
    pending: Vec<Arc<str>>,
    /// Fields that were read, by a hash of how they are written: most come again.
    paths: [Path; PATHS],
    /// The action that is being read, as far as it may be one to recall, and the variables in it.
    begun: Option<Begun>,
    used: AllUsed,
    /// Where the last pipeline that an action held was closed.
    closed: u32,
}

#[derive(Clone, Copy)]
struct Begun {
    start: usize,
    end: usize,
    depth: usize,
}

const PATHS: usize = 128;

/// Where a text such as `.Values.image` stood, and the names in it.
#[derive(Clone, Copy, Default)]
struct Path {
    start: u32,
    end: u32,
    fields: Fields,
}

type Declared = SmallVec<[Arc<str>; 2]>;

/// The slot of a variable that is not there yet.
pub(crate) const UNDECLARED: u32 = u32::MAX;

/// The variables that can be seen.
struct Scope {
    names: Vec<(Arc<str>, u32)>,
    declared: usize,
    most: usize,
}

impl Scope {
    fn new() -> Self {
        Self { names: Vec::new(), declared: 1, most: 1 }
    }

    fn find(&self, name: &str) -> Option<u32> {
        let mut found = (name == "$").then_some(0);
        for (_, slot) in self.names.iter().rev().filter(|(known, _)| **known == *name) {
            if *slot != UNDECLARED {
                return Some(*slot);
            }
            found = found.or(Some(UNDECLARED));
        }
        found
    }

    fn declare(&mut self, name: Arc<str>) -> u32 {
        let slot = self.declared as u32;
        self.names.push((name, slot));
        self.declared += 1;
        self.most = self.most.max(self.declared);
        slot
    }

    fn mark(&self) -> (usize, usize) {
        (self.names.len(), self.declared)
    }

    /// What a branch declared is gone, yet its names pass Go's parser after an else; using them fails when it runs.
    fn end_branch(&mut self, mark: (usize, usize)) {
        let ghosts: Vec<Arc<str>> = self.names.drain(mark.0..).map(|(name, _)| name).collect();
        self.names.extend(ghosts.into_iter().map(|name| (name, UNDECLARED)));
        self.declared = mark.1;
    }

    fn pop(&mut self, mark: (usize, usize)) {
        self.names.truncate(mark.0);
        self.declared = mark.1;
    }
}

enum Item {
    Node(Node),
    End,
    Else,
}

type Result<T> = std::result::Result<T, ParseError>;

impl<'a> Parser<'a> {
    fn new(name: &'a str, text: &'a str, functions: &'a Functions, workshop: &'a mut Workshop) -> Self {
        Self {
            name,
            text,
            lexer: Lexer::new(text),
            functions,
            workshop,
            pushed: SmallVec::new(),
            line: 0,
            action_line: 0,
            scope: Scope::new(),
            range_depth: 0,
            depth: 0,
            templates: Vec::new(),
            pending: Vec::new(),
            paths: [Path::default(); PATHS],
            begun: None,
            used: AllUsed::new(),
            closed: 0,
        }
    }

    fn file(mut self) -> Result<File> {
        loop {
            match self.peek().kind {
                Kind::Eof => break,
                // Without a look at the token, so that the action can still be recalled whole.
                Kind::LeftDelim if self.text[self.lexer.position()..].trim_start().starts_with("define") => {
                    let delimiter = self.next();
                    let token = self.next_non_space();
                    if token.kind == Kind::Define {
                        self.definition()?;
                        continue;
                    }
                    self.push_back(token);
                    self.push_back(delimiter);
                }
                _ => {}
            }
            match self.text_or_action()? {
                Item::Node(node) => self.workshop.nodes.push(node),
                Item::End => return Err(self.error("unexpected {{end}}")),
                Item::Else => return Err(self.error("unexpected {{else}}")),
            }
        }
        let slots = self.scope.most;
        let body = self.finished_nodes(0);
        Ok(File { defined: self.templates, body, slots, lines: self.line })
    }

    fn finished_nodes(&mut self, mark: usize) -> Row<Node> {
        self.workshop.parts.add_row(self.workshop.nodes.drain(mark..))
    }

    fn next(&mut self) -> Token {
        if let Some(token) = self.pushed.pop() {
            return token;
        }
        let token = self.lexer.next();
        self.line = token.line as usize;
        token
    }

    fn push_back(&mut self, token: Token) {
        self.pushed.push(token);
    }

    fn peek(&mut self) -> Token {
        let token = self.next();
        self.push_back(token);
        token
    }

    fn next_non_space(&mut self) -> Token {
        loop {
            let token = self.next();
            if token.kind != Kind::Space {
                return token;
            }
        }
    }

    fn peek_non_space(&mut self) -> Token {
        let token = self.next_non_space();
        self.push_back(token);
        token
    }

    fn text_of(&self, token: Token) -> &'a str {
        &self.text[token.range()]
    }

    fn error(&self, message: impl Into<String>) -> ParseError {
        ParseError { template: self.name.to_owned(), line: self.line, message: message.into() }
    }

    fn unexpected(&self, token: Token, context: &str) -> ParseError {
        let described = token.describe(self.text, self.lexer.problem());
        if token.kind == Kind::Error {
            let mut extra = String::new();
            if self.action_line != 0 && self.action_line != token.line as usize {
                extra = format!(" in action started at {}:{}", self.name, self.action_line);
                if described.ends_with(" action") {
                    extra = extra[" in action".len()..].to_owned();
                }
            }
            return self.error(format!("{described}{extra}"));
        }
        self.error(format!("unexpected {described} in {context}"))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Token> {
        let token = self.next_non_space();
        if token.kind == kind { Ok(token) } else { Err(self.unexpected(token, context)) }
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error("max expression depth exceeded"));
        }
        Ok(())
    }

    fn add(&mut self, name: Arc<str>, body: Row<Node>, slots: usize) -> Result<()> {
        let parts = &self.workshop.parts;
        let blank = |body: Row<Node>| is_empty(&parts[body], self.text.as_bytes());
        let template = Found { name, body, slots };
        match self.templates.iter_mut().find(|known| known.name == template.name) {
            None => self.templates.push(template),
            Some(old) if blank(old.body) => *old = template,
            Some(_) if blank(template.body) => {}
            Some(_) => return Err(self.error(defined_twice(&template.name))),
        }
        Ok(())
    }

    fn string(&mut self, token: Token) -> Result<Str> {
        let literal = self.text_of(token);
        let special = if token.kind == Kind::RawString { b'\r' } else { b'\\' };
        if memchr::memchr(special, literal.as_bytes()).is_none() && literal.len() >= 2 {
            return Ok(Str::Text(self.workshop.names.get(&literal[1..literal.len() - 1])));
        }
        number::unquote(self.text_of(token)).map(Str::from_bytes).ok_or_else(|| self.error("invalid syntax"))
    }

    fn definition(&mut self) -> Result<()> {
        const CONTEXT: &str = "define clause";
        let name = self.template_name(CONTEXT)?;
        self.expect(Kind::RightDelim, CONTEXT)?;
        let outer = std::mem::replace(&mut self.scope, Scope::new());
        let outer_range = std::mem::take(&mut self.range_depth);
        let (body, end) = self.item_list()?;
        let inner = std::mem::replace(&mut self.scope, outer);
        self.range_depth = outer_range;
        if !matches!(end, Item::End) {
            return Err(self.error(format!("unexpected {{{{else}}}} in {CONTEXT}")));
        }
        self.add(name, body, inner.most)
    }

    fn template_name(&mut self, context: &str) -> Result<Arc<str>> {
        let token = self.next_non_space();
        match token.kind {
            Kind::String | Kind::RawString => match self.string(token)? {
                Str::Text(text) => Ok(text),
                raw => Ok(raw.text().into()),
            },
            _ => Err(self.unexpected(token, context)),
        }
    }

    fn item_list(&mut self) -> Result<(Row<Node>, Item)> {
        let mark = self.workshop.nodes.len();
        while self.peek_non_space().kind != Kind::Eof {
            match self.text_or_action()? {
                Item::Node(node) => self.workshop.nodes.push(node),
                end => return Ok((self.finished_nodes(mark), end)),
            }
        }
        Err(self.error("unexpected EOF"))
    }

    fn text_or_action(&mut self) -> Result<Item> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Item::Node(Node::Text { start: token.start, end: token.end })),
            Kind::LeftDelim => {
                self.action_line = token.line as usize;
                let item = self.action();
                self.action_line = 0;
                item
            }
            _ => Err(self.unexpected(token, "input")),
        }
    }

    fn action(&mut self) -> Result<Item> {
        let start = self.lexer.position();
        self.begun = recall::end_of(self.text, start).filter(|_| self.pushed.is_empty()).map(|end| Begun { start, end, depth: self.depth });
        self.used.clear();
        if let Some(begun) = self.begun
            && let Some((kind, pipe)) = self.recall(begun)
        {
            return match (kind, pipe) {
                (Kind::End, _) => Ok(Item::End),
                (Kind::Else, _) | (_, None) => Ok(Item::Else),
                (Kind::If, pipe) => self.control(Kind::If, pipe).map(|branch| Item::Node(Node::If(branch))),
                (Kind::Range, pipe) => self.control(Kind::Range, pipe).map(|branch| Item::Node(Node::Range(branch))),
                (Kind::With, pipe) => self.control(Kind::With, pipe).map(|branch| Item::Node(Node::With(branch))),
                (_, Some((pipe, shift))) => Ok(Item::Node(Node::Action { pipe, shift })),
            };
        }
        let token = self.next_non_space();
        match token.kind {
            Kind::Block => self.block(),
            Kind::Break => self.jump("break", Node::Break),
            Kind::Continue => self.jump("continue", Node::Continue),
            Kind::Else => {
                // In "{{else if …" and "{{else with …" the keyword stays pending for the caller.
                let after = self.peek_non_space();
                if matches!(after.kind, Kind::If | Kind::With) {
                    self.begun = None;
                } else {
                    self.closed = self.expect(Kind::RightDelim, "else")?.start;
                    self.keep(Kind::Else, None);
                }
                Ok(Item::Else)
            }
            Kind::End => {
                self.closed = self.expect(Kind::RightDelim, "end")?.start;
                self.keep(Kind::End, None);
                Ok(Item::End)
            }
            Kind::If => self.control(Kind::If, None).map(|branch| Item::Node(Node::If(branch))),
            Kind::Range => self.control(Kind::Range, None).map(|branch| Item::Node(Node::Range(branch))),
            Kind::With => self.control(Kind::With, None).map(|branch| Item::Node(Node::With(branch))),
            Kind::Template => self.template(),
            _ => {
                self.push_back(token);
                let pipe = self.kept_pipeline("command", Kind::RightDelim)?;
                Ok(Item::Node(Node::Action { pipe, shift: 0 }))
            }
        }
    }

    /// What an action is that was read before, word for word, and how far back. The lexer goes past it.
    fn recall(&mut self, begun: Begun) -> Option<(Kind, Option<(Place<Pipe>, u32)>)> {
        let known = self.workshop.actions.find(self.text, begun.start, begun.end)?;
        let same = |used: &Used| self.scope.find(&self.text[used.start as usize..used.end as usize]) == Some(used.slot);
        if begun.depth > known.depth || !known.used.iter().all(same) {
            return None;
        }
        let shift = begun.start - known.start as usize;
        let (kind, pipe, inner_end) = (known.kind, known.pipe, known.inner_end as usize + shift);
        self.line = self.lexer.skip_action(inner_end).line as usize;
        Some((kind, pipe.map(|pipe| (pipe, shift as u32))))
    }

    /// Keeps the action that was read just now, for when it comes again.
    fn keep(&mut self, kind: Kind, pipe: Option<Place<Pipe>>) {
        let Some(Begun { start, end, depth }) = self.begun.take().filter(|begun| begun.end == self.closed as usize) else { return };
        let trims = matches!(self.text.as_bytes()[start..end], [.., space, b'-'] if is_space(space));
        let inner_end = if trims { end - 2 } else { end } as u32;
        let used = std::mem::take(&mut self.used);
        self.workshop.actions.keep(self.text, Action { start: start as u32, end: end as u32, inner_end, kind, pipe, used, depth });
    }

    /// The pipeline of an action, and the action kept if it can be recalled: one that declares something cannot.
    fn kept_pipeline(&mut self, context: &str, kind: Kind) -> Result<Place<Pipe>> {
        let pipe = self.pipeline(context, Kind::RightDelim)?;
        let declares = !pipe.variables.is_empty();
        let pipe = self.workshop.parts.add(pipe);
        if !declares {
            self.keep(kind, Some(pipe));
        }
        Ok(pipe)
    }

    fn jump(&mut self, word: &str, node: Node) -> Result<Item> {
        let token = self.next_non_space();
        if token.kind != Kind::RightDelim {
            return Err(self.unexpected(token, &format!("{{{{{word}}}}}")));
        }
        if self.range_depth == 0 {
            return Err(self.error(format!("{{{{{word}}}}} outside {{{{range}}}}")));
        }
        Ok(Item::Node(node))
    }

    /// A branch, whose pipeline may be known, with how far back it stands.
    fn control(&mut self, kind: Kind, known: Option<(Place<Pipe>, u32)>) -> Result<Place<Branch>> {
        self.deeper()?;
        let branch = stacker::maybe_grow(RED_ZONE, STACK, || self.control_inner(kind, known));
        self.depth -= 1;
        branch
    }

    fn control_inner(&mut self, kind: Kind, known: Option<(Place<Pipe>, u32)>) -> Result<Place<Branch>> {
        let context = match kind {
            Kind::If => "if",
            Kind::Range => "range",
            _ => "with",
        };
        let mark = self.scope.mark();
        let (pipe, shift) = match known {
            Some(known) => known,
            None => (self.kept_pipeline(context, kind)?, 0),
        };
        self.range_depth += usize::from(kind == Kind::Range);
        let declared = self.scope.mark();
        let (body, next) = self.item_list()?;
        self.scope.end_branch(declared);
        self.range_depth -= usize::from(kind == Kind::Range);
        let mut otherwise = None;
        if matches!(next, Item::Else) {
            let chained = self.peek();
            if kind != Kind::Range && chained.kind == kind {
                self.next();
                let branch = self.control(kind, None)?;
                let node = if kind == Kind::If { Node::If(branch) } else { Node::With(branch) };
                otherwise = Some(self.workshop.parts.add_row([node]));
            } else {
                let (list, next) = self.item_list()?;
                if !matches!(next, Item::End) {
                    return Err(self.error("expected end; found {{else}}"));
                }
                otherwise = Some(list);
            }
        }
        self.scope.pop(mark);
        Ok(self.workshop.parts.add(Branch { pipe, shift, body, otherwise }))
    }

    fn block(&mut self) -> Result<Item> {
        const CONTEXT: &str = "block clause";
        let position = self.peek_non_space().start;
        let name = self.template_name(CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Kind::RightDelim)?;
        let outer = std::mem::replace(&mut self.scope, Scope::new());
        let outer_range = std::mem::take(&mut self.range_depth);
        let (body, end) = self.item_list()?;
        let inner = std::mem::replace(&mut self.scope, outer);
        self.range_depth = outer_range;
        if !matches!(end, Item::End) {
            return Err(self.error(format!("unexpected {{{{else}}}} in {CONTEXT}")));
        }
        self.add(name.clone(), body, inner.most)?;
        Ok(Item::Node(Node::Template(self.workshop.parts.add(Call { position, name, pipe: Some(pipe) }))))
    }

    fn template(&mut self) -> Result<Item> {
        const CONTEXT: &str = "template clause";
        let position = self.peek_non_space().start;
        let name = self.template_name(CONTEXT)?;
        let token = self.next_non_space();
        let pipe = if token.kind == Kind::RightDelim {
            None
        } else {
            self.push_back(token);
            Some(self.pipeline(CONTEXT, Kind::RightDelim)?)
        };
        Ok(Item::Node(Node::Template(self.workshop.parts.add(Call { position, name, pipe }))))
    }

    fn pipeline(&mut self, context: &str, end: Kind) -> Result<Pipe> {
        let position = self.peek_non_space().start;
        let (names, assigns) = self.declarations(context)?;
        let pending = self.pending.len();
        self.pending.extend(names.iter().cloned());
        let mark = self.workshop.commands.len();
        loop {
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => {
                    self.closed = token.start;
                    self.check_pipeline(mark, context)?;
                    let commands = self.workshop.parts.add_row(self.workshop.commands.drain(mark..));
                    self.pending.truncate(pending);
                    return Ok(Pipe { position, variables: self.declare(names, assigns), assigns, commands });
                }
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.push_back(token);
                    let command = self.command()?;
                    self.workshop.commands.push(command);
                }
                _ => return Err(self.unexpected(token, context)),
            }
        }
    }

    /// `$x :=`, `$x =`, and for range `$i, $x :=`.
    fn declarations(&mut self, context: &str) -> Result<(Declared, bool)> {
        let (mut names, mut assigns) = (Declared::new(), false);
        loop {
            let variable = self.next_non_space();
            if variable.kind != Kind::Variable {
                self.push_back(variable);
                break;
            }
            let after = self.next();
            let (space, next) = if after.kind == Kind::Space { (Some(after), self.next_non_space()) } else { (None, after) };
            let name = self.text_of(variable);
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    assigns = next.kind == Kind::Assign;
                    names.push(self.workshop.names.get(name));
                    break;
                }
                Kind::Char if self.text_of(next) == "," => {
                    names.push(self.workshop.names.get(name));
                    if context == "range" && names.len() < 2 {
                        match self.peek_non_space().kind {
                            Kind::Variable | Kind::RightDelim | Kind::RightParen => continue,
                            _ => return Err(self.error("range can only initialize variables")),
                        }
                    }
                    return Err(self.error(format!("too many declarations in {context}")));
                }
                _ => {
                    self.push_back(next);
                    self.pushed.extend(space);
                    self.push_back(variable);
                    break;
                }
            }
        }
        Ok((names, assigns))
    }

    /// Variables exist from the end of their pipeline on: in `$x := append $x 1` the second `$x` is the one before.
    fn declare(&mut self, names: Declared, assigns: bool) -> Row<Variable> {
        let declared = names.into_iter().map(|name| {
            let slot =
                if assigns { self.scope.find(&name).filter(|slot| *slot != UNDECLARED) } else { Some(self.scope.declare(name.clone())) };
            if slot.is_none() {
                // Go's parser lets a later use of an undeclared variable pass; running it stops at the assignment.
                self.scope.names.push((name.clone(), 0));
            }
            Variable { name, slot }
        });
        self.workshop.parts.add_row(declared)
    }

    /// Looks at the commands from `mark` on, which make up a pipeline.
    fn check_pipeline(&self, mark: usize, context: &str) -> Result<()> {
        let commands = &self.workshop.commands[mark..];
        if commands.is_empty() {
            return Err(self.error(format!("missing value for {context}")));
        }
        for (at, command) in commands.iter().enumerate().skip(1) {
            if let Some(WordKind::Bool(_) | WordKind::Dot | WordKind::Nil | WordKind::Number(_) | WordKind::String { .. }) =
                self.workshop.parts[command.words].first().map(|word| &word.kind)
            {
                return Err(self.error(format!("non executable command in pipeline stage {}", at + 1)));
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Command> {
        let position = self.peek_non_space().start;
        let mark = self.workshop.words.len();
        loop {
            self.peek_non_space();
            if let Some(word) = self.operand()? {
                self.workshop.words.push(word);
            }
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.push_back(token),
                Kind::Pipe => {}
                _ => return Err(self.unexpected(token, "operand")),
            }
            break;
        }
        let words = self.workshop.parts.add_row(self.workshop.words.drain(mark..));
        if words.is_empty() {
            return Err(self.error("empty command"));
        }
        Ok(Command { position, words })
    }

    fn operand(&mut self) -> Result<Option<Word>> {
        let first = self.next_non_space();
        if first.kind == Kind::Field {
            let (fields, second) = self.fields(first);
            return Ok(Some(Word { position: second.unwrap_or(first.start), kind: WordKind::Field(fields) }));
        }
        self.push_back(first);
        let Some(word) = self.term()? else { return Ok(None) };
        let token = self.next();
        if token.kind != Kind::Field {
            self.push_back(token);
            return Ok(Some(word));
        }
        let (fields, _) = self.fields(token);
        let kind = match word.kind {
            WordKind::Variable { name, slot, .. } => WordKind::Variable { name, slot, fields },
            WordKind::Bool(_) | WordKind::String { .. } | WordKind::Number(_) | WordKind::Nil | WordKind::Dot => {
                let shown = number::quote(self.text_of(first).as_bytes());
                return Err(self.error(format!("unexpected . after term {shown}")));
            }
            _ => WordKind::Chain(self.workshop.parts.add(word), fields),
        };
        // What has further names stands where the first of them does.
        Ok(Some(Word { position: token.start, kind }))
    }

    /// The fields that begin with a token, and where the second of them stands. They are kept once where they are written the same.
    fn fields(&mut self, first: Token) -> (Fields, Option<u32>) {
        let (mut end, mut second) = (first.end, None);
        loop {
            let token = self.next();
            if token.kind != Kind::Field {
                self.push_back(token);
                break;
            }
            end = token.end;
            second = second.or(Some(token.start));
        }
        let text = &self.text[first.start as usize..end as usize];
        let path = &mut self.paths[mixed(text.as_bytes()) as usize % PATHS];
        if self.text[path.start as usize..path.end as usize] != *text {
            let Workshop { names, parts, .. } = &mut *self.workshop;
            let fields = parts.add_row(Names::split(text).map(|name| names.get(name)));
            *path = Path { start: first.start, end, fields };
        }
        (path.fields, second)
    }

    fn term(&mut self) -> Result<Option<Word>> {
        let token = self.next_non_space();
        let text = self.text_of(token);
        let mut position = token.start;
        let kind = match token.kind {
            Kind::Identifier => {
                let Some(index) = self.functions.index(text) else {
                    return Err(self.error(format!("function {} not defined", number::quote(text.as_bytes()))));
                };
                WordKind::Function { index, end: token.end }
            }
            Kind::Dot => WordKind::Dot,
            Kind::Nil => WordKind::Nil,
            Kind::Variable => {
                // A variable that its own pipeline declares passes Go's parser and fails when it runs.
                let declaring = || self.pending.iter().any(|name| **name == *text).then_some(UNDECLARED);
                let Some(slot) = self.scope.find(text).or_else(declaring) else {
                    return Err(self.error(format!("undefined variable {}", number::quote(text.as_bytes()))));
                };
                self.used.push(Used { start: token.start, end: token.end, slot });
                let name = self.workshop.names.get(text);
                WordKind::Variable { name: self.workshop.parts.add(name), slot, fields: Fields::default() }
            }
            Kind::Bool => WordKind::Bool(text == "true"),
            Kind::CharConstant | Kind::Complex | Kind::Number => match Number::parse(text, token.kind == Kind::CharConstant, token.end) {
                Some(number) => WordKind::Number(self.workshop.parts.add(number)),
                None if token.kind == Kind::CharConstant => {
                    return Err(self.error(format!("malformed character constant: {text}")));
                }
                None if text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0') => {
                    return Err(self.error(format!("integer overflow: {}", number::quote(text.as_bytes()))));
                }
                None => return Err(self.error(format!("illegal number syntax: {}", number::quote(text.as_bytes())))),
            },
            Kind::LeftParen => {
                self.deeper()?;
                let pipe = stacker::maybe_grow(RED_ZONE, STACK, || self.pipeline("parenthesized pipeline", Kind::RightParen));
                self.depth -= 1;
                let pipe = pipe?;
                // A parenthesised pipeline stands where its content starts.
                position = pipe.position;
                WordKind::Pipe(self.workshop.parts.add(pipe))
            }
            Kind::String | Kind::RawString => {
                let value = self.string(token)?;
                WordKind::String { value: self.workshop.parts.add(value), end: token.end }
            }
            _ => {
                self.push_back(token);
                return Ok(None);
            }
        };
        Ok(Some(Word { position, kind }))
    }
}

/// Stack that must be left before a new piece is taken, and the size of a piece.
pub(crate) const RED_ZONE: usize = 128 << 10;
pub(crate) const STACK: usize = 2 << 20;
