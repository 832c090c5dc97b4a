use crate::{
    budget::Budget,
    build::{LoadRestriction, Options, Use},
    error::{Error, Place, Result, problem},
    id::Scopes,
    remote::{Repository, is_remote, is_url, names_file, without_credentials},
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
    /// Repositories that were fetched, by address and reference.
    mounts: RefCell<HashMap<String, Arc<Mount>>>,
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
            mounts: RefCell::default(),
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
#[derive(Clone)]
pub(crate) struct Root {
    pub dir: String,
    /// The repository that it lies in, where that is not the tree of the build.
    mount: Option<Arc<Mount>>,
    chain: Arc<Chain>,
    depth: u64,
}

/// A repository that was fetched.
pub(crate) struct Mount {
    name: String,
    tree: Arc<dyn Tree>,
}

struct Chain {
    mount: Option<String>,
    dir: String,
    parent: Option<Arc<Chain>>,
}

impl Root {
    pub fn top(dir: &str) -> Self {
        let chain = Chain { mount: None, dir: dir.to_owned(), parent: None };
        Self { dir: dir.to_owned(), mount: None, chain: Arc::new(chain), depth: 0 }
    }

    /// The files around it.
    pub fn tree<'a>(&'a self, context: &'a Context<'_>) -> &'a dyn Tree {
        match &self.mount {
            Some(mount) => mount.tree.as_ref(),
            None => context.tree,
        }
    }

    pub fn mount(&self) -> Option<&Mount> {
        self.mount.as_deref()
    }

    /// What messages call a file around it.
    pub fn label(&self, path: &str) -> String {
        label(self.mount(), path)
    }

    /// Whether a path names a repository that can be fetched.
    pub fn names_repository(&self, context: &Context<'_>, path: &str) -> bool {
        context.options.fetch.is_some() && is_remote(path) && !(is_url(path) && names_file(path))
    }

    /// Resolves a path as it is written in a kustomization of this directory.
    fn join(&self, context: &Context<'_>, path: &str) -> Result<String> {
        if path.starts_with('/') {
            if !context.options.absolute_paths || self.mount.is_some() {
                return Err(refused(path, "is absolute; paths are relative to the kustomization"));
            }
            return tree::clean(path).ok_or_else(|| refused(path, "is not in or below the root of the tree"));
        }
        tree::join(&self.dir, path).ok_or_else(|| refused(path, "is not in or below the root of the tree"))
    }

    /// A directory as it is named in a kustomization of this one; `None` where none is. The load restriction holds for it.
    pub fn directory(&self, context: &Context<'_>, path: &str) -> Result<Option<String>> {
        let full = self.join(context, path)?;
        if self.tree(context).kind(&full) != Some(Kind::Dir) {
            return Ok(None);
        }
        self.check_restriction(context, path, &full)?;
        Ok(Some(full))
    }

    fn check_restriction(&self, context: &Context<'_>, path: &str, full: &str) -> Result<()> {
        if context.options.load_restriction != LoadRestriction::RootOnly {
            return Ok(());
        }
        let tree = self.tree(context);
        let real = tree.resolve(full).unwrap_or_else(|| full.to_owned());
        let root = tree.resolve(&self.dir).unwrap_or_else(|| self.dir.clone());
        if is_in(&real, &root) {
            return Ok(());
        }
        Err(refused(
            path,
            &format!("is not in or below \"{}\" (security; the load restrictor LoadRestrictionsNone allows it)", shown(&self.dir)),
        ))
    }

    /// Reads a file named in a kustomization of this directory.
    pub fn read<'t>(&self, context: &Context<'t>, path: &str, use_of: Use) -> Result<(String, Cow<'t, [u8]>)> {
        if path.is_empty() {
            return Err(problem("a path is empty"));
        }
        if is_url(path) {
            return context.fetch_file(path, use_of).map(|(label, bytes)| (label, Cow::Owned(bytes)));
        }
        let full = self.join(context, path)?;
        match self.tree(context).kind(&full) {
            Some(Kind::File) => {}
            Some(Kind::Dir) => return Err(refused(path, "is a directory, not a file")),
            None => return Err(refused(path, &missing(self.tree(context), &full))),
        }
        self.check_restriction(context, path, &full)?;
        let bytes = context.read(self.mount(), &full, use_of)?.ok_or_else(|| refused(path, "cannot be read"))?;
        Ok((self.label(&full), bytes))
    }

    /// Reads a text file.
    pub fn read_text<'t>(&self, context: &Context<'t>, path: &str, use_of: Use) -> Result<(String, Cow<'t, str>)> {
        let (full, bytes) = self.read(context, path, use_of)?;
        let text = into_text(bytes).map_err(|source| Error::Yaml { place: Place { file: full.clone(), line: 0 }, source })?;
        Ok((full, text))
    }

    /// Notes every file below a directory as read, because another engine reads them.
    pub fn note_all(&self, context: &Context<'_>, directory: &str) -> Result<()> {
        let mut left = vec![directory.to_owned()];
        while let Some(path) = left.pop() {
            // Links that go round multiply, so a step here is a large one.
            context.budget.spend(1_000)?;
            match self.tree(context).kind(&path) {
                Some(Kind::Dir) => {
                    let names = self.tree(context).list(&path).unwrap_or_default();
                    left.extend(names.iter().map(|name| if path.is_empty() { name.clone() } else { format!("{path}/{name}") }));
                    // Links may lead back up.
                    if path.len() > PATH_MAX {
                        return Err(refused(directory, "holds directories that are nested too deeply"));
                    }
                }
                Some(Kind::File) => drop(context.read(self.mount(), &path, Use::Chart)?),
                None => {}
            }
        }
        Ok(())
    }

    /// The directory of another kustomization.
    pub fn enter(&self, context: &Context<'_>, path: &str) -> Result<Self> {
        if path.is_empty() {
            return Err(problem("a path is empty"));
        }
        let local = !path.starts_with('/');
        let full = if local { self.join(context, path)? } else { String::new() };
        let (mount, full) = if local && self.tree(context).kind(&full) == Some(Kind::Dir) {
            (self.mount.clone(), full)
        } else if is_remote(path) {
            let (mount, dir) = context.fetch_repository(path)?;
            (Some(mount), dir)
        } else if local {
            return Err(refused(path, &missing(self.tree(context), &full)));
        } else {
            return Err(refused(path, "is absolute; a directory is named relative to the kustomization"));
        };
        let tree = mount.as_ref().map_or(context.tree, |mount| mount.tree.as_ref());
        let real = tree.resolve(&full).unwrap_or(full);
        let name = mount.as_ref().map(|mount| mount.name.clone());
        let mut link = Some(&self.chain);
        while let Some(chain) = link {
            if chain.mount == name && is_in(&chain.dir, &real) {
                return Err(Error::Cycle { place: Place::default(), root: label(mount.as_deref(), shown(&real)) });
            }
            link = chain.parent.as_ref();
        }
        if self.depth >= context.budget.limits.depth {
            return Err(Error::Limit { what: "kustomizations inside each other", max: context.budget.limits.depth });
        }
        let chain = Chain { mount: name, dir: real.clone(), parent: Some(self.chain.clone()) };
        Ok(Self { dir: real, mount, chain: Arc::new(chain), depth: self.depth + 1 })
    }
}

/// Longer paths than any file system has are those of links that go round.
const PATH_MAX: usize = 4096;

fn label(mount: Option<&Mount>, path: &str) -> String {
    match mount {
        Some(mount) => format!("{}//{path}", mount.name),
        None => path.to_owned(),
    }
}

impl<'t> Context<'t> {
    /// Reads a file of the tree or of a repository, through the caller's hook, and notes it.
    pub fn read(&self, mount: Option<&Mount>, path: &str, use_of: Use) -> Result<Option<Cow<'t, [u8]>>> {
        let tree = mount.map_or(self.tree, |mount| mount.tree.as_ref());
        self.budget.fits(tree.size(path).unwrap_or(0))?;
        let bytes = match mount {
            None => self.tree.read(path),
            Some(mount) => mount.tree.read(path).map(|bytes| Cow::Owned(bytes.into_owned())),
        };
        let Some(bytes) = bytes else { return Ok(None) };
        self.taken(&label(mount, path), use_of, bytes).map(Some)
    }

    fn taken<'b>(&self, path: &str, use_of: Use, bytes: Cow<'b, [u8]>) -> Result<Cow<'b, [u8]>> {
        self.budget.read(bytes.len())?;
        if self.options.note_files && !self.files.borrow().contains_key(path) {
            self.files.borrow_mut().insert(path.to_owned(), Digest::sha256(&bytes));
        }
        match self.options.on_read {
            None => Ok(bytes),
            Some(hook) => match hook(path, use_of, &bytes) {
                Ok(None) => Ok(bytes),
                Ok(Some(changed)) => Ok(Cow::Owned(changed)),
                Err(message) => Err(Error::Hook { place: Place { file: path.to_owned(), line: 0 }, message }),
            },
        }
    }

    fn fetch_file(&self, url: &str, use_of: Use) -> Result<(String, Vec<u8>)> {
        let Some(fetch) = self.options.fetch else { return Err(remote(url)) };
        self.budget.fetch()?;
        let label = without_credentials(url);
        let bytes = fetch.file(url).map_err(|message| not_fetched(&label, message))?;
        self.taken(&label, use_of, Cow::Owned(bytes)).map(|bytes| (label, bytes.into_owned()))
    }

    /// Fetches a repository, once for every reference, and gives the directory in it.
    fn fetch_repository(&self, path: &str) -> Result<(Arc<Mount>, String)> {
        let Some(fetch) = self.options.fetch else { return Err(remote(path)) };
        let repository = Repository::parse(path).ok_or_else(|| refused(&without_credentials(path), "names no repository"))?;
        let name = repository.to_string();
        let known = self.mounts.borrow().get(&name).cloned();
        let mount = match known {
            Some(mount) => mount,
            None => {
                self.budget.fetch()?;
                let tree = fetch.repository(&repository).map_err(|message| not_fetched(&name, message))?;
                let mount = Arc::new(Mount { name: name.clone(), tree });
                self.mounts.borrow_mut().insert(name.clone(), mount.clone());
                mount
            }
        };
        let dir = tree::clean(&repository.path).filter(|dir| mount.tree.kind(dir) == Some(Kind::Dir));
        let dir = dir.ok_or_else(|| refused(&format!("{name}//{}", repository.path), "is no directory of the repository"))?;
        Ok((mount, dir))
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
    Error::Unsupported {
        place: Place::default(),
        what: format!("the remote resource \"{}\"", without_credentials(path)),
        why: "a build reads the files of its source only".to_owned(),
    }
}

fn not_fetched(name: &str, message: String) -> Error {
    Error::Hook { place: Place { file: name.to_owned(), line: 0 }, message: format!("cannot be fetched: {message}") }
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
