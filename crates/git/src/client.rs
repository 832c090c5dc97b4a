use crate::{
    Access, Address, Cause, Checkout, Commit, Error, GitTree, Reference, Scheme, Signature, Tag, Target,
    cache::Cache,
    http::Clients,
    reference::best_tags,
    session::{Service, Session, Shared, transport},
    ssh::{Algorithms, Login},
    submodules,
};
use gix::{ObjectId, protocol::handshake::Ref, remote::Direction, remote::fetch::Shallow};
use std::{
    cell::RefCell,
    num::NonZeroU32,
    path::PathBuf,
    rc::Rc,
    sync::{PoisonError, atomic::AtomicBool},
    time::{Duration, Instant, SystemTime},
};

/// The depth that Git itself takes for all of it.
const WHOLE_HISTORY: NonZeroU32 = NonZeroU32::new(0x7fff_ffff).expect("it is not zero");

/// What one call may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes received from the server.
    pub transfer_max: u64,
    /// Bytes of all files of the tree.
    pub tree_size_max: u64,
    /// Bytes of one file.
    pub file_size_max: u64,
    /// Files and folders of the tree.
    pub entries_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { transfer_max: 4 << 30, tree_size_max: 4 << 30, file_size_max: 512 << 20, entries_max: 1_000_000 }
    }
}

/// How a commit is fetched.
#[derive(Debug, Clone, Default)]
pub struct FetchOptions {
    /// Prefixes of the paths to keep; empty keeps everything. As go-git has it, `app` keeps `app2` too.
    pub sparse: Vec<String>,
    pub submodules: bool,
    pub limits: Limits,
}

/// Reads repositories. One for the process.
pub struct Client {
    runtime: tokio::runtime::Handle,
    pub(crate) cache: Cache,
    clients: Clients,
    algorithms: Algorithms,
}

impl Client {
    /// `cache` is a folder of this client alone; it may be empty or missing, and may be deleted while nothing runs.
    pub fn new(runtime: tokio::runtime::Handle, cache: PathBuf) -> Self {
        Self { runtime, cache: Cache::new(cache), clients: Clients::default(), algorithms: Algorithms::default() }
    }

    /// The same with other algorithms for SSH.
    #[must_use]
    pub fn with_algorithms(self, algorithms: Algorithms) -> Self {
        Self { algorithms, ..self }
    }

    /// What `reference` points at now; `None` when the server has no such reference. Transfers references only.
    ///
    /// A commit and a range of versions with ties need a fetch to be known: see [`Client::fetch`].
    pub fn resolve(&self, address: &Address, reference: &Reference, access: &Access, timeout: Duration) -> Result<Option<Target>, Error> {
        guarded(|| {
            reference.validate()?;
            let Some(name) = reference.full_name() else { return Ok(None) };
            let session = self.session(address, access, timeout, &Limits::default())?;
            let list = |source| Error::List { url: address.to_string(), source };
            let refs = list_refs(&self.cache.empty()?, &session, address, &name).map_err(list)?;
            Ok(find(&refs, &name).map(|found| Target { name: Some(name), commit: found.commit.to_string() }))
        })
    }

    /// The branch that the server's HEAD names; `None` when it names none. Transfers references only.
    pub fn default_branch(&self, address: &Address, access: &Access, timeout: Duration) -> Result<Option<String>, Error> {
        guarded(|| {
            let session = self.session(address, access, timeout, &Limits::default())?;
            let list = |source| Error::List { url: address.to_string(), source };
            let (lock, path) = self.cache.lock(address);
            let _held = lock.lock().unwrap_or_else(PoisonError::into_inner);
            let repository = self.cache.open(&path)?;
            let refs = list_refs(&repository, &session, address, "").map_err(list)?;
            let head = refs.iter().find_map(|reference| match reference {
                gix::protocol::handshake::Ref::Symbolic { full_ref_name, target, .. } if full_ref_name == "HEAD" => {
                    Some(target.to_string())
                }
                gix::protocol::handshake::Ref::Unborn { full_ref_name, target } if full_ref_name == "HEAD" => Some(target.to_string()),
                _ => None,
            });
            Ok(head.and_then(|name| name.strip_prefix("refs/heads/").map(str::to_owned)))
        })
    }

    /// Fetches what `reference` points at and reads its tree.
    pub fn fetch(
        &self,
        address: &Address,
        reference: &Reference,
        access: &Access,
        timeout: Duration,
        options: &FetchOptions,
    ) -> Result<Checkout, Error> {
        guarded(|| {
            reference.validate()?;
            if let Reference::Semver(range) = reference {
                // A range that cannot be read needs no server.
                types::semver::Constraint::parse(range).map_err(Error::Semver)?;
            }
            let deadline = Instant::now() + timeout;
            let (mut checkout, root) = self.fetch_one(address, reference, access, deadline, options)?;
            if options.submodules {
                submodules::fetch(self, address, access, deadline, options, &mut checkout, root)?;
            }
            let tree_error = |source| Error::Tree { commit: checkout.commit.id.clone(), source };
            checkout.tree.check_size(&options.limits).map_err(tree_error)?;
            for path in &options.sparse {
                let wanted = tree::clean(path).unwrap_or_default();
                if tree::Tree::kind(&checkout.tree, &wanted).is_none() {
                    return Err(Error::SparsePath(path.clone()));
                }
            }
            self.cache.sweep(SystemTime::now());
            Ok(checkout)
        })
    }

    /// Fetches one repository without its submodules; gives the gitlinks of its tree beside it.
    pub(crate) fn fetch_one(
        &self,
        address: &Address,
        reference: &Reference,
        access: &Access,
        deadline: Instant,
        options: &FetchOptions,
    ) -> Result<(Checkout, submodules::Root), Error> {
        let timeout = deadline.saturating_duration_since(Instant::now());
        let (lock, path) = self.cache.lock(address);
        let _held = lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let session = self.session(address, access, timeout, &options.limits)?;
            let outcome = self.cache.open(&path).and_then(|repository| fetch_into(&repository, &session, address, reference, options));
            match outcome {
                // Nothing went wrong on the network: then it is the cache, left behind by a crash; once more from nothing.
                Err(error) if attempt == 1 && session.borrow().failure.is_none() && is_local(&error) => {
                    tracing::warn!(url = %address, error = %error, "the Git cache is broken; fetching from scratch");
                    self.cache.remove(&path)?;
                }
                outcome => {
                    let session = session.borrow();
                    tracing::debug!(url = %address, requests = session.requests, bytes = session.received, "git fetch");
                    return outcome;
                }
            }
        }
    }

    pub(crate) fn session(&self, address: &Address, access: &Access, timeout: Duration, limits: &Limits) -> Result<Shared, Error> {
        let login = match address.scheme() {
            Scheme::Ssh => Some(Login::new(address, access.credentials.as_ref(), self.algorithms.clone())?),
            Scheme::Http | Scheme::Https => None,
        };
        Ok(Rc::new(RefCell::new(Session {
            runtime: self.runtime.clone(),
            client: self.clients.get(access)?,
            authorization: Session::authorization(access.credentials.as_ref())?,
            login,
            ssh: None,
            deadline: Instant::now() + timeout,
            budget: limits.transfer_max,
            limit: limits.transfer_max,
            failure: None,
            requests: 0,
            received: 0,
        })))
    }
}

/// gix is young and reads what strangers send; what panics in it must not take the process along.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(Err(Error::Internal))
}

fn is_local(error: &Error) -> bool {
    match error {
        Error::Cache(_) => true,
        Error::Tree { source, .. } | Error::Clone { source, .. } => matches!(source, Cause::Protocol(_)),
        _ => false,
    }
}

/// A reference as the server named it.
pub(crate) struct Found {
    pub(crate) commit: ObjectId,
    /// The tag object, for an annotated tag.
    tag: Option<ObjectId>,
}

pub(crate) fn find(refs: &[Ref], name: &str) -> Option<Found> {
    refs.iter().find_map(|r| match r {
        Ref::Peeled { full_ref_name, tag, object } if *full_ref_name == name => Some(Found { commit: *object, tag: Some(*tag) }),
        Ref::Direct { full_ref_name, object } if *full_ref_name == name => Some(Found { commit: *object, tag: None }),
        Ref::Symbolic { full_ref_name, tag, object, .. } if *full_ref_name == name => Some(Found { commit: *object, tag: *tag }),
        _ => None,
    })
}

fn ref_name(r: &Ref) -> &gix::bstr::BStr {
    match r {
        Ref::Peeled { full_ref_name, .. }
        | Ref::Direct { full_ref_name, .. }
        | Ref::Symbolic { full_ref_name, .. }
        | Ref::Unborn { full_ref_name, .. } => full_ref_name.as_ref(),
    }
}

/// The failure that the session saw, or else what gix says.
fn cause(session: &Shared, error: gix::Error) -> Cause {
    session.borrow_mut().failure.take().unwrap_or_else(|| Cause::Protocol(types::chain(&error)))
}

/// The references whose names begin with `prefix`; all of them where it is empty.
pub(crate) fn list_refs(repository: &gix::Repository, session: &Shared, address: &Address, prefix: &str) -> Result<Vec<Ref>, Cause> {
    let fail = |error| cause(session, error);
    let options = gix::remote::ref_map::Options { prefix_from_spec_as_filter_on_remote: !prefix.is_empty(), ..Default::default() };
    let specs = std::iter::once(match prefix {
        "" => "+HEAD:HEAD".to_owned(),
        prefix if prefix.ends_with('/') => format!("+{prefix}*:{prefix}*"),
        prefix => format!("+{prefix}:{prefix}"),
    });
    let remote = remote(repository, address, specs).map_err(fail)?;
    let connection = remote.to_connection_with_transport(transport(session, address, Service::Fetch)?).with_credentials(|_| Ok(None));
    let connection = connection.with_transport_options(Box::new(()));
    let (map, _) = connection.ref_map(gix::progress::Discard, options).map_err(fail)?;
    Ok(map.remote_refs)
}

fn remote<'r>(repository: &'r gix::Repository, address: &Address, specs: impl Iterator<Item = String>) -> gix::Result<gix::Remote<'r>> {
    let specs: Vec<gix::bstr::BString> = specs.map(Into::into).collect();
    repository
        .remote_at_without_url_rewrite(address.url().as_str())?
        .with_fetch_tags(gix::remote::fetch::Tags::None)
        .with_refspecs(specs.iter().map(<gix::bstr::BString as AsRef<gix::bstr::BStr>>::as_ref), Direction::Fetch)
}

/// One round: references, decision, objects, tree.
fn fetch_into(
    repository: &gix::Repository,
    session: &Shared,
    address: &Address,
    reference: &Reference,
    options: &FetchOptions,
) -> Result<(Checkout, submodules::Root), Error> {
    let clone_error = |source| Error::Clone { url: address.to_string(), source };
    let list_error = |source| match reference {
        // As Flux, which lists before it clones only for these.
        Reference::Name(_) => Error::List { url: address.to_string(), source },
        _ => clone_error(source),
    };
    let list = |prefix: &str| list_refs(repository, session, address, prefix).map_err(list_error);
    let mut found_tag = None;
    let target = match reference {
        Reference::Semver(range) => {
            let refs = list("refs/tags/")?;
            if refs.is_empty() && is_empty(&list("")?) {
                return Err(Error::EmptyAtReference { url: address.to_string() });
            }
            let names = refs.iter().filter_map(|r| std::str::from_utf8(ref_name(r)).ok()?.strip_prefix("refs/tags/"));
            let best = best_tags(range, names)?;
            let name = newest(repository, session, address, &refs, best).map_err(clone_error)?;
            let full = format!("refs/tags/{name}");
            let found = find(&refs, &full).ok_or_else(|| Error::NoVersion(range.clone()))?;
            found_tag = found.tag;
            get(repository, session, address, &full, found.tag.unwrap_or(found.commit)).map_err(clone_error)?;
            Target { name: Some(full), commit: found.commit.to_string() }
        }
        Reference::Commit { commit, branch, name } => {
            let full = reference.full_name();
            let refs = list(full.as_deref().unwrap_or("HEAD"))?;
            if let Some(full) = &full
                && find(&refs, full).is_none()
            {
                return Err(missing(&list, address, reference, full)?);
            }
            let id = ObjectId::from_hex(commit.as_bytes()).map_err(|_| Error::CommitNotFound(commit.clone()))?;
            get_commit(repository, session, address, branch.as_deref(), id).map_err(clone_error)?;
            let name = name.clone().or(full);
            Target { name, commit: id.to_string() }
        }
        reference => {
            let full = reference.full_name().unwrap_or_default();
            let refs = list(&full)?;
            let Some(found) = find(&refs, &full) else { return Err(missing(&list, address, reference, &full)?) };
            found_tag = found.tag;
            get(repository, session, address, &full, found.tag.unwrap_or(found.commit)).map_err(clone_error)?;
            let name = if let Reference::Name(name) = reference { name.clone() } else { full };
            Target { name: Some(name), commit: found.commit.to_string() }
        }
    };
    read(repository, reference, target, found_tag, options)
}

/// Whether these are the references of a repository without a commit.
fn is_empty(refs: &[Ref]) -> bool {
    refs.iter().all(|r| matches!(r, Ref::Unborn { .. }))
}

/// The error for a reference that the server does not have.
fn missing(list: &dyn Fn(&str) -> Result<Vec<Ref>, Error>, address: &Address, reference: &Reference, full: &str) -> Result<Error, Error> {
    if is_empty(&list("")?) {
        return Ok(match reference {
            Reference::Branch(_) => Error::Empty,
            Reference::Name(_) => Error::List { url: address.to_string(), source: Cause::EmptyRepository },
            _ => Error::EmptyAtReference { url: address.to_string() },
        });
    }
    Ok(match reference {
        Reference::Name(name) => Error::NameNotFound(name.clone()),
        _ => Error::Clone { url: address.to_string(), source: Cause::ReferenceNotFound(full.to_owned()) },
    })
}

/// Among tags of one version (they differ by build metadata alone) the one whose commit is the newest.
fn newest(repository: &gix::Repository, session: &Shared, address: &Address, refs: &[Ref], tags: Vec<String>) -> Result<String, Cause> {
    let mut best: Option<(i64, String)> = None;
    let several = tags.len() > 1;
    for tag in tags {
        let mut time = 0;
        if several {
            let full = format!("refs/tags/{tag}");
            let Some(found) = find(refs, &full) else { continue };
            get(repository, session, address, &full, found.tag.unwrap_or(found.commit))?;
            time = repository.find_commit(found.commit).and_then(|c| c.committer()?.time()).map_err(|e| cause(session, e))?.seconds;
        }
        if best.as_ref().is_none_or(|(other, _)| time > *other) {
            best = Some((time, tag));
        }
    }
    best.map(|(_, tag)| tag).ok_or_else(|| Cause::Protocol("the tags vanished".to_owned()))
}

/// Makes sure that the object of a reference is in the cache.
pub(crate) fn get(repository: &gix::Repository, session: &Shared, address: &Address, full: &str, id: ObjectId) -> Result<(), Cause> {
    if repository.has_object(id) {
        return Ok(());
    }
    receive(repository, session, address, format!("+{full}:{full}"), Shallow::DepthAtRemote(NonZeroU32::MIN))
}

/// A commit by its hash alone: asked for directly, and where the server does not allow that, among all that the branch (or everything) reaches.
fn get_commit(repository: &gix::Repository, session: &Shared, address: &Address, branch: Option<&str>, id: ObjectId) -> Result<(), Cause> {
    if repository.has_object(id) {
        return Ok(());
    }
    let direct = receive(repository, session, address, format!("+{id}:refs/commits/{id}"), Shallow::DepthAtRemote(NonZeroU32::MIN));
    match direct {
        Ok(()) if repository.has_object(id) => return Ok(()),
        // The server answered, and did not want to.
        Ok(()) | Err(Cause::Protocol(_)) => {}
        Err(network) => return Err(network),
    }
    let spec = branch.map_or_else(|| "+refs/*:refs/*".to_owned(), |branch| format!("+refs/heads/{branch}:refs/heads/{branch}"));
    receive(repository, session, address, spec, Shallow::DepthAtRemote(WHOLE_HISTORY))
}

fn receive(repository: &gix::Repository, session: &Shared, address: &Address, spec: String, shallow: Shallow) -> Result<(), Cause> {
    let fail = |error| cause(session, error);
    let remote = remote(repository, address, std::iter::once(spec)).map_err(fail)?;
    let connection = remote.to_connection_with_transport(transport(session, address, Service::Fetch)?).with_credentials(|_| Ok(None));
    let connection = connection.with_transport_options(Box::new(()));
    let prepared = connection.prepare_fetch(gix::progress::Discard, Default::default()).map_err(fail)?;
    let interrupt = AtomicBool::new(false);
    prepared.with_shallow(shallow).receive(gix::progress::Discard, &interrupt).map_err(fail)?;
    Ok(())
}

/// Reads commit, tag and tree out of the cache.
fn read(
    repository: &gix::Repository,
    reference: &Reference,
    target: Target,
    tag: Option<ObjectId>,
    options: &FetchOptions,
) -> Result<(Checkout, submodules::Root), Error> {
    let tree_error = |source| Error::Tree { commit: target.commit.clone(), source };
    let broken = |error: gix::Error| tree_error(Cause::Protocol(types::chain(&error)));
    let id = ObjectId::from_hex(target.commit.as_bytes()).map_err(|e| tree_error(Cause::Protocol(e.to_string())))?;
    let object = repository.find_object(id).map_err(|_| Error::CommitNotFound(target.commit.clone()))?;
    let commit = object.try_into_commit().map_err(|_| Error::CommitNotFound(target.commit.clone()))?;
    let signature = commit.signature().map_err(broken)?;
    let about = Commit {
        id: target.commit.clone(),
        message: commit.message_raw_sloppy().to_string(),
        committed_at: commit.committer().and_then(|c| c.time()).map(|t| t.seconds).unwrap_or_default(),
        signature: signature.map(|(armored, signed)| Signature { armored: armored.to_string(), signed: signed.to_bstring().into() }),
    };
    let short = target.name.as_deref().and_then(|name| name.strip_prefix("refs/tags/")).map(|n| n.trim_end_matches("^{}"));
    let tag_name = short.filter(|_| !matches!(reference, Reference::Commit { .. }));
    let tag = tag_name.map(|name| read_tag(repository, name, tag)).transpose().map_err(broken)?.flatten();
    let root = commit.tree_id().map_err(broken)?.detach();
    let mut tree = GitTree::new(&options.limits);
    let keep = |path: &str| {
        options.sparse.is_empty() || options.sparse.iter().any(|prefix| path.starts_with(prefix.strip_prefix("./").unwrap_or(prefix)))
    };
    let links = tree.add(repository, root, "", &options.limits, &keep).map_err(tree_error)?;
    let revision = target.revision(reference);
    let checkout = Checkout { revision, commit: about, tag, tree };
    Ok((checkout, submodules::Root { repository: repository.clone(), tree: root, links }))
}

/// An annotated tag, or `None` for a tag that is only a name.
fn read_tag(repository: &gix::Repository, name: &str, id: Option<ObjectId>) -> gix::Result<Option<Tag>> {
    let Some(id) = id else { return Ok(Some(Tag { name: name.to_owned(), id: None, signature: None })) };
    let object = repository.find_object(id)?;
    let signature = gix::objs::TagRefIter::signature(&object.data)
        .map(|(armored, signed)| Signature { armored: armored.data.to_string(), signed: signed.to_bstring().into() });
    Ok(Some(Tag { name: name.to_owned(), id: Some(id.to_string()), signature }))
}
