//! The repository that a cluster is bootstrapped from: read, and committed to.

use super::sync::File;
use crate::shell::{Context, Failure, Flags, flags};
use clap::ArgMatches;
use git::{
    Access, Address, Client, Credentials, Error, Scheme,
    push::{Author, Edit, NewCommit, Pushed},
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tree::{Kind, MemoryTree, Tree, walk};

pub struct Repository {
    client: Arc<Client>,
    address: Address,
    access: Access,
    pub url: String,
    pub branch: String,
    author: Author,
    appendix: String,
    timeout: Duration,
    /// The cache goes with it.
    _cache: tempfile::TempDir,
}

/// Entries of the Secret that source-controller reads the repository with.
pub type Entries = Vec<(&'static str, String)>;

impl Repository {
    /// Reads the flags; gives the entries of the Secret too.
    pub fn new(context: &Context, matches: &ArgMatches) -> Result<(Self, Entries), Failure> {
        let url = matches.text("url").to_owned();
        if url.is_empty() {
            return Err(Failure::new("--url is required"));
        }
        let (address, in_url) = Address::parse(&url).map_err(|error| Failure::from_error(&error))?;
        // The user of an ssh address is no secret, and belongs there.
        let is_secret = |credentials: &Credentials| match credentials {
            Credentials::Basic { password, .. } => !password.is_empty() || address.scheme() != Scheme::Ssh,
            _ => true,
        };
        if in_url.as_ref().is_some_and(is_secret) {
            return Err(Failure::new("the address holds a password: give --username and --password (or GIT_PASSWORD) instead"));
        }
        let (access, entries) = access(matches, &url)?;
        let cache = tempfile::tempdir().map_err(|error| Failure::new(format!("cannot make a temporary folder: {error}")))?;
        let client = Client::new(tokio::runtime::Handle::current(), cache.path().join("git"));
        let repository = Self {
            client: Arc::new(client),
            address,
            access,
            url,
            branch: matches.text("branch").to_owned(),
            author: Author { name: matches.text("author-name").to_owned(), email: matches.text("author-email").to_owned() },
            appendix: matches.text("commit-message-appendix").to_owned(),
            timeout: flags::to_std(context.timeout),
            _cache: cache,
        };
        Ok((repository, entries))
    }

    /// The files of the branch as they are; none when there is no branch yet.
    pub async fn read(&self) -> Result<MemoryTree, Failure> {
        let (_, tree) = self.round("", |tree| (Vec::new(), copy(tree))).await?;
        Ok(tree)
    }

    /// Commits what `edit` makes of the files there are; `None` when that is nothing.
    pub async fn commit(
        &self,
        message: &str,
        edit: impl Fn(&dyn Tree) -> Vec<File> + Send + Sync + 'static,
    ) -> Result<Option<Pushed>, Failure> {
        let (pushed, ()) = self.round(message, move |tree| (edit(tree), ())).await?;
        Ok(pushed)
    }

    async fn round<T: Send + 'static>(
        &self,
        message: &str,
        look: impl Fn(&dyn Tree) -> (Vec<File>, T) + Send + 'static,
    ) -> Result<(Option<Pushed>, T), Failure> {
        let message = if self.appendix.is_empty() { message.to_owned() } else { format!("{message}\n\n{}", self.appendix) };
        let commit = NewCommit {
            branch: self.branch.clone(),
            base: None,
            message,
            author: self.author.clone(),
            seconds: jiff::Timestamp::now().as_second(),
        };
        let (client, address, access, timeout) = (self.client.clone(), self.address.clone(), self.access.clone(), self.timeout);
        let work = move || -> Result<(Option<Pushed>, Option<T>), Error> {
            let mut seen = None;
            let pushed = client.commit_and_push(&address, &access, timeout, &commit, &mut |tree| {
                let (files, value) = look(tree);
                seen = Some(value);
                Ok(files
                    .into_iter()
                    .map(|(path, content)| Edit::Write { path, content: content.into_bytes().into(), executable: false })
                    .collect())
            })?;
            Ok((pushed, seen))
        };
        let done = tokio::task::spawn_blocking(work).await.map_err(|error| Failure::new(error.to_string()))?;
        match done.map_err(|error| Failure::from_error(&error))? {
            (pushed, Some(value)) => Ok((pushed, value)),
            (_, None) => Err(Failure::new("the repository was not read")),
        }
    }
}

fn copy(tree: &dyn Tree) -> MemoryTree {
    let mut files = MemoryTree::new();
    let walked: Result<(), std::convert::Infallible> = walk(tree, &mut |path, kind| {
        let content = if kind == Kind::File { tree.read(path) } else { None };
        if let Some(content) = content {
            files.insert(path, content.into_owned(), tree.is_executable(path));
        }
        Ok(())
    });
    match walked {
        Ok(()) => files,
        Err(never) => match never {},
    }
}

fn access(matches: &ArgMatches, url: &str) -> Result<(Access, Entries), Failure> {
    let file = |flag: &str| -> Result<Option<String>, Failure> {
        match matches.text(flag) {
            "" => Ok(None),
            path => std::fs::read_to_string(path).map(Some).map_err(|error| Failure::new(format!("cannot read --{flag} {path}: {error}"))),
        }
    };
    let mut entries = Entries::new();
    let ca = file("ca-file")?;
    if let Some(ca) = &ca {
        entries.push(("ca.crt", ca.clone()));
    }
    if url.starts_with("ssh://") {
        let Some(identity) = file("private-key-file")? else {
            return Err(Failure::new("an ssh address needs --private-key-file; give the repository its public key first"));
        };
        let known_hosts = match file("known-hosts-file")? {
            Some(text) => text,
            None => {
                let path = PathBuf::from(std::env::var("HOME").unwrap_or_default()).join(".ssh/known_hosts");
                std::fs::read_to_string(&path).map_err(|error| {
                    Failure::new(format!("an ssh address needs --known-hosts-file: {}: {error}; see ssh-keyscan(1)", path.display()))
                })?
            }
        };
        let passphrase = matches.text("password");
        entries.extend([("identity", identity.clone()), ("known_hosts", known_hosts.clone())]);
        if !passphrase.is_empty() {
            entries.push(("password", passphrase.to_owned()));
        }
        let credentials = Credentials::Ssh {
            identity: identity.into_bytes(),
            known_hosts: known_hosts.into_bytes(),
            passphrase: (!passphrase.is_empty()).then(|| passphrase.to_owned()),
        };
        return Ok((Access { credentials: Some(credentials), ..Access::default() }, entries));
    }
    let given = matches.text("password");
    let password = if given.is_empty() { std::env::var("GIT_PASSWORD").unwrap_or_default() } else { given.to_owned() };
    if url.starts_with("http://") && !password.is_empty() && !matches.is_set("allow-insecure-http") {
        return Err(Failure::new("a password over http can be read by anybody on the way: use https, or --allow-insecure-http"));
    }
    let credentials = match password.is_empty() {
        true => None,
        false if matches.is_set("with-bearer-token") => {
            entries.push(("bearerToken", password.clone()));
            Some(Credentials::Bearer(password))
        }
        false => {
            let username = match matches.text("username") {
                "" => "git".to_owned(),
                name => name.to_owned(),
            };
            entries.extend([("username", username.clone()), ("password", password.clone())]);
            Some(Credentials::Basic { username, password })
        }
    };
    Ok((Access { credentials, ca_certificate: ca.map(String::into_bytes), ..Access::default() }, entries))
}
