use crate::{
    budget::Budget,
    build::{LoadRestriction, Options, Use},
    error::{Error, Place, Result, problem},
    id::Scopes,
    schema::Schema,
};
use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tree::{Kind, Tree};
use types::Digest;

/// What one build shares: the tree, the limits, what was read, and the schema in force.
pub(crate) struct Context<'a> {
    pub tree: &'a dyn Tree,
    pub options: &'a Options<'a>,
    pub budget: Budget,
    pub schema: RefCell<Arc<Schema>>,
    pub schema_is_set: Cell<bool>,
    pub scopes: RefCell<Scopes>,
    pub warnings: RefCell<Vec<String>>,
    files: RefCell<BTreeMap<String, Digest>>,
    sources: RefCell<Sources>,
}

/// Numbers for the places that nodes come from.
#[derive(Default)]
struct Sources {
    names: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl<'a> Context<'a> {
    pub fn new(tree: &'a dyn Tree, options: &'a Options<'a>) -> Self {
        Self {
            tree,
            options,
            budget: Budget::new(options.limits),
            schema: RefCell::new(Schema::built_in()),
            schema_is_set: Cell::new(false),
            scopes: RefCell::default(),
            warnings: RefCell::default(),
            files: RefCell::default(),
            sources: RefCell::new(Sources { names: vec![String::new()], numbers: HashMap::new() }),
        }
    }

    /// The number of a file or transformer.
    pub fn source(&self, name: &str) -> u32 {
        let mut sources = self.sources.borrow_mut();
        if let Some(number) = sources.numbers.get(name) {
            return *number;
        }
        let number = sources.names.len() as u32;
        sources.names.push(name.to_owned());
        sources.numbers.insert(name.to_owned(), number);
        number
    }

    /// The place of values that a field of a kustomization file makes.
    pub fn field_place(&self, file: &str, field: &str) -> yaml::Place {
        yaml::Place { source: self.source(&format!("{file}: {field}")), line: 0 }
    }

    pub fn place_of(&self, place: yaml::Place) -> Place {
        let sources = self.sources.borrow();
        Place { file: sources.names.get(place.source as usize).cloned().unwrap_or_default(), line: place.line }
    }

    pub fn scopes(&self) -> Scopes {
        self.scopes.borrow().clone()
    }

    pub fn finish(self) -> (BTreeMap<String, Digest>, Vec<String>, Vec<String>) {
        (self.files.into_inner(), self.sources.into_inner().names, self.warnings.into_inner())
    }
}

/// A directory whose kustomization is being built, and the directories that led to it.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub dir: String,
    chain: Arc<Chain>,
    depth: u64,
}

#[derive(Debug)]
struct Chain {
    dir: String,
    parent: Option<Arc<Chain>>,
}

impl Root {
    pub fn top(dir: &str) -> Self {
        Self { dir: dir.to_owned(), chain: Arc::new(Chain { dir: dir.to_owned(), parent: None }), depth: 0 }
    }

    /// Resolves a path as it is written in a kustomization of this directory.
    fn join(&self, context: &Context<'_>, path: &str) -> Result<String> {
        if path.starts_with('/') {
            if !context.options.absolute_paths {
                return Err(refused(path, "is absolute; paths are relative to the kustomization"));
            }
            return tree::clean(path).ok_or_else(|| refused(path, "is not in or below the root of the tree"));
        }
        tree::join(&self.dir, path).ok_or_else(|| refused(path, "is not in or below the root of the tree"))
    }

    /// Reads a file named in a kustomization of this directory.
    pub fn read<'t>(&self, context: &Context<'t>, path: &str, use_of: Use) -> Result<(String, Cow<'t, [u8]>)> {
        if path.is_empty() {
            return Err(problem("a path is empty"));
        }
        if is_url(path) {
            return Err(remote(path));
        }
        let full = self.join(context, path)?;
        match context.tree.kind(&full) {
            Some(Kind::File) => {}
            Some(Kind::Dir) => return Err(refused(path, "is a directory, not a file")),
            None => return Err(refused(path, &missing(context.tree, &full))),
        }
        if context.options.load_restriction == LoadRestriction::RootOnly {
            let real = context.tree.resolve(&full).unwrap_or_else(|| full.clone());
            let root = context.tree.resolve(&self.dir).unwrap_or_else(|| self.dir.clone());
            if !is_in(&real, &root) {
                return Err(refused(
                    path,
                    &format!("is not in or below \"{}\" (security; the load restrictor LoadRestrictionsNone allows it)", shown(&self.dir)),
                ));
            }
        }
        let bytes = context.read(&full, use_of)?.ok_or_else(|| refused(path, "cannot be read"))?;
        Ok((full, bytes))
    }

    /// Reads a text file.
    pub fn read_text<'t>(&self, context: &Context<'t>, path: &str, use_of: Use) -> Result<(String, Cow<'t, str>)> {
        let (full, bytes) = self.read(context, path, use_of)?;
        let text = into_text(bytes).map_err(|source| Error::Yaml { place: Place { file: full.clone(), line: 0 }, source })?;
        Ok((full, text))
    }

    /// The directory of another kustomization.
    pub fn enter(&self, context: &Context<'_>, path: &str) -> Result<Self> {
        if path.is_empty() {
            return Err(problem("a path is empty"));
        }
        let local = !path.starts_with('/');
        let full = if local { self.join(context, path)? } else { String::new() };
        if !local || context.tree.kind(&full) != Some(Kind::Dir) {
            if is_remote(path) {
                return Err(remote(path));
            }
            if !local {
                return Err(refused(path, "is absolute; a directory is named relative to the kustomization"));
            }
            return Err(refused(path, &missing(context.tree, &full)));
        }
        let real = context.tree.resolve(&full).unwrap_or(full);
        let mut link = Some(&self.chain);
        while let Some(chain) = link {
            if is_in(&chain.dir, &real) {
                return Err(Error::Cycle { place: Place::default(), root: shown(&real).to_owned() });
            }
            link = chain.parent.as_ref();
        }
        if self.depth >= context.budget.limits.depth {
            return Err(Error::Limit { what: "kustomizations inside each other", max: context.budget.limits.depth });
        }
        Ok(Self { dir: real.clone(), chain: Arc::new(Chain { dir: real, parent: Some(self.chain.clone()) }), depth: self.depth + 1 })
    }
}

impl<'t> Context<'t> {
    /// Reads a file of the tree, through the caller's hook, and notes it.
    pub fn read(&self, path: &str, use_of: Use) -> Result<Option<Cow<'t, [u8]>>> {
        let Some(bytes) = self.tree.read(path) else { return Ok(None) };
        self.budget.read(bytes.len())?;
        if self.options.note_files && !self.files.borrow().contains_key(path) {
            self.files.borrow_mut().insert(path.to_owned(), Digest::sha256(&bytes));
        }
        match self.options.on_read {
            None => Ok(Some(bytes)),
            Some(hook) => match hook(path, use_of, &bytes) {
                Ok(None) => Ok(Some(bytes)),
                Ok(Some(changed)) => Ok(Some(Cow::Owned(changed))),
                Err(message) => Err(Error::Hook { place: Place { file: path.to_owned(), line: 0 }, message }),
            },
        }
    }
}

pub(crate) fn into_text(bytes: Cow<'_, [u8]>) -> std::result::Result<Cow<'_, str>, yaml::Error> {
    Ok(match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(yaml::text(bytes)?),
        Cow::Owned(bytes) => {
            Cow::Owned(String::from_utf8(bytes).map_err(|error| yaml::Error::NotUtf8 { at: error.utf8_error().valid_up_to() })?)
        }
    })
}

/// Whether a path is a directory or lies in it.
fn is_in(path: &str, dir: &str) -> bool {
    dir.is_empty() || path == dir || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
}

fn shown(dir: &str) -> &str {
    if dir.is_empty() { "." } else { dir }
}

fn refused(path: &str, why: &str) -> Error {
    Error::Path { place: Place::default(), path: path.to_owned(), why: why.to_owned() }
}

fn remote(path: &str) -> Error {
    // A URL may carry credentials.
    let shown = match path.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host)),
        None => path.to_owned(),
    };
    Error::Unsupported {
        place: Place::default(),
        what: format!("the remote resource \"{shown}\""),
        why: "a build reads the files of its source only".to_owned(),
    }
}

fn is_url(path: &str) -> bool {
    path.starts_with("http://") || path.starts_with("https://")
}

/// What kustomize takes for a Git repository.
fn is_remote(path: &str) -> bool {
    path.contains("://")
        || path.contains("::")
        || path.starts_with("git@")
        || path.starts_with("gh:")
        || path.starts_with("github.com/")
        || path.contains("?ref=")
        || path.contains(".git")
}

/// Why nothing is at a path, with the nearest name in its directory.
fn missing(tree: &dyn Tree, path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let names = tree.list(tree::parent(path)).unwrap_or_default();
    let stem = |name: &str| name.split('.').next().unwrap_or(name).to_lowercase();
    match names.iter().find(|other| stem(other) == stem(name)) {
        Some(other) => format!("does not exist; did you mean \"{other}\"?"),
        None => "does not exist".to_owned(),
    }
}
