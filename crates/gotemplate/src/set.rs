use crate::{
    Functions, ParseError,
    ast::{Row, Source, Template},
    parse::{Syntax, Workshop},
};
use bytes::Bytes;
use std::{collections::HashMap, sync::Arc};

/// Templates by name.
pub(crate) type Templates = HashMap<Arc<str>, Arc<Template>>;

/// Compiled templates that see each other, and the functions they use. Made once, run many times, from any thread.
pub struct Set {
    pub(crate) functions: Arc<Functions>,
    pub(crate) templates: Templates,
}

impl Set {
    pub fn new(functions: Arc<Functions>) -> Self {
        Self { functions, templates: Templates::new() }
    }

    /// Parses a text under a name and adds what it defines. A definition replaces an earlier one of the same name,
    /// unless it is nothing but white space.
    pub fn parse(&mut self, name: &str, text: &str) -> Result<(), ParseError> {
        let syntax = Syntax::read(name, &Bytes::copy_from_slice(text.as_bytes()), &self.functions, &mut Workshop::default())?;
        self.add(name, &syntax)
    }

    /// Adds what a text that was parsed before defines, under a name, as [`Set::parse`] does.
    pub fn add(&mut self, name: &str, syntax: &Syntax) -> Result<(), ParseError> {
        for template in syntax.templates(name)? {
            install(&mut self.templates, template, None);
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
        for template in Syntax::read(name, &Bytes::copy_from_slice(text.as_bytes()), functions, workshop)?.templates(name)? {
            let template = Arc::new(template);
            if *template.name == *name {
                body = Some(template);
            } else {
                defined.insert(template.name.clone(), template);
            }
        }
        let body = body.unwrap_or_else(|| {
            let source = Arc::new(Source { name: name.into(), text: Bytes::new(), tree: Arc::default() });
            Arc::new(Template { name: name.into(), source, body: Row::default(), slots: 1 })
        });
        Ok(Self { body, defined: Arc::new(defined) })
    }
}
