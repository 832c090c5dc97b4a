use crate::{
    Functions, ParseError,
    ast::{Row, Source, Template, Tree},
    parse::{Workshop, parse},
};
use bytes::Bytes;
use std::{collections::HashMap, sync::Arc};

/// Templates by name.
pub(crate) type Templates = HashMap<Arc<str>, Arc<Template>>;

/// Compiled templates that see each other, and the functions they use. Made once, run many times, from any thread.
pub struct Set {
    pub(crate) functions: Arc<Functions>,
    pub(crate) templates: Templates,
    workshop: Workshop,
}

impl Set {
    pub fn new(functions: Arc<Functions>) -> Self {
        Self { functions, templates: Templates::new(), workshop: Workshop::default() }
    }

    /// Parses a text under a name and adds what it defines. A definition replaces an earlier one of the same name,
    /// unless it is nothing but white space.
    pub fn parse(&mut self, name: &str, text: &str) -> Result<(), ParseError> {
        self.parse_one(name, &Bytes::copy_from_slice(text.as_bytes()))
    }

    fn parse_one(&mut self, name: &str, text: &Bytes) -> Result<(), ParseError> {
        for template in parse(name, text, &self.functions, &mut self.workshop)? {
            install(&mut self.templates, template, None);
        }
        Ok(())
    }

    /// Parses texts, each under its name, as [`Set::parse`] one after the other does; much text on two threads. The texts are kept, not
    /// copied.
    pub fn parse_all(&mut self, files: &[(&str, &Bytes)]) -> Result<(), ParseError> {
        let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
        if bytes < PARALLEL {
            return files.iter().try_for_each(|(name, text)| self.parse_one(name, text));
        }
        let mut half = 0;
        let in_first = |(_, text): &&(&str, &Bytes)| {
            half += text.len();
            half <= bytes / 2
        };
        let first = files.iter().take_while(in_first).count();
        let (first, second) = files.split_at(first);
        let functions = &*self.functions;
        let parse_each = |files: &[(&str, &Bytes)], workshop: &mut Workshop| -> Vec<Result<Vec<Template>, ParseError>> {
            files.iter().map(|(name, text)| parse(name, text, functions, workshop)).collect()
        };
        let workshop = &mut self.workshop;
        let (first, second) = std::thread::scope(|scope| {
            let second = scope.spawn(|| parse_each(second, &mut Workshop::default()));
            (parse_each(first, workshop), second.join())
        });
        let second = second.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        for templates in first.into_iter().chain(second) {
            for template in templates? {
                install(&mut self.templates, template, None);
            }
        }
        Ok(())
    }

    pub fn contains(&self, name: &str) -> bool {
        self.templates.contains_key(name)
    }

    /// The names of all templates, files' and defined ones, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.templates.keys().map(|name| &**name)
    }
}

/// Bytes of templates from which on a second thread is worth its start.
const PARALLEL: usize = 256 << 10;

/// Adds a template; an empty one never replaces what can already be seen, here or in `below`.
pub(crate) fn install(templates: &mut Templates, template: Template, below: Option<&dyn Fn(&str) -> bool>) {
    let exists = templates.contains_key(&template.name) || below.is_some_and(|below| below(&template.name));
    if !exists || !template.is_empty() {
        templates.insert(template.name.clone(), Arc::new(template));
    }
}

/// A text compiled for `tpl`: its own body and what it defines.
pub(crate) struct Snippet {
    pub body: Arc<Template>,
    pub defined: Arc<Templates>,
}

impl Snippet {
    /// The body keeps running even where it is empty; only definitions are installed.
    pub fn parse(name: &str, text: &str, functions: &Functions, workshop: &mut Workshop) -> Result<Self, ParseError> {
        let mut defined = Templates::new();
        let mut body = None;
        for template in parse(name, &Bytes::copy_from_slice(text.as_bytes()), functions, workshop)? {
            let template = Arc::new(template);
            if *template.name == *name {
                body = Some(template);
            } else {
                defined.insert(template.name.clone(), template);
            }
        }
        let body = body.unwrap_or_else(|| {
            let source = Arc::new(Source { name: name.into(), text: Bytes::new(), tree: Tree::default() });
            Arc::new(Template { name: name.into(), source, body: Row::default(), slots: 1 })
        });
        Ok(Self { body, defined: Arc::new(defined) })
    }
}
