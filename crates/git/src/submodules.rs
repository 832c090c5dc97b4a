//! Submodules: `.gitmodules` says where, the tree says which commit.

use crate::{Access, Address, Checkout, Client, Error, FetchOptions, Reference, tree::Gitlink};
use gix::ObjectId;
use std::{collections::HashMap, time::Instant};

/// As deep as go-git goes.
const DEPTH_MAX: usize = 10;

/// A fetched repository and the places in its tree where others belong.
pub(crate) struct Root {
    pub(crate) repository: gix::Repository,
    pub(crate) tree: ObjectId,
    pub(crate) links: Vec<Gitlink>,
}

/// Fetches every submodule below `root` into the tree of `checkout`.
///
/// Credentials go along to the same host and scheme only.
pub(crate) fn fetch(
    client: &Client,
    address: &Address,
    access: &Access,
    deadline: Instant,
    options: &FetchOptions,
    checkout: &mut Checkout,
    root: Root,
) -> Result<(), Error> {
    let mut pending = vec![(address.clone(), String::new(), root, 0_usize)];
    while let Some((base, prefix, root, depth)) = pending.pop() {
        if root.links.is_empty() {
            continue;
        }
        if depth == DEPTH_MAX {
            return Err(Error::SubmoduleDepth(DEPTH_MAX));
        }
        let addresses = gitmodules(&root);
        for link in &root.links {
            let inner = link.path.strip_prefix(&prefix).map_or(link.path.as_str(), |p| p.trim_start_matches('/'));
            // A gitlink that .gitmodules does not name is an empty folder to Git as well.
            let Some(url) = addresses.get(inner) else { continue };
            let fail = |source: Error| Error::Submodule { path: link.path.clone(), source: Box::new(source) };
            let absolute = if url.starts_with("./") || url.starts_with("../") { base.join(url).unwrap_or_default() } else { url.clone() };
            let (module, own) = Address::parse(&absolute).map_err(fail)?;
            let same_host = module.scheme() == address.scheme() && module.url().host_str() == address.url().host_str();
            let mut module_access = if same_host { access.clone() } else { Access { proxy: access.proxy.clone(), ..Access::default() } };
            module_access.credentials = module_access.credentials.or(own);
            let reference = Reference::Commit { commit: link.commit.to_string(), branch: None, name: None };
            let whole = FetchOptions { sparse: Vec::new(), ..options.clone() };
            let (_, module_root) = client.fetch_one(&module, &reference, &module_access, deadline, &whole).map_err(fail)?;
            let everything = |_: &str| true;
            let links = checkout
                .tree
                .add(&module_root.repository, module_root.tree, &link.path, &options.limits, &everything)
                .map_err(|source| fail(Error::Tree { commit: link.commit.to_string(), source }))?;
            let inner_root = Root { links, ..module_root };
            pending.push((module, link.path.clone(), inner_root, depth + 1));
        }
    }
    Ok(())
}

/// Paths and addresses of `.gitmodules` in the tree of `root`.
fn gitmodules(root: &Root) -> HashMap<String, String> {
    let blob = || -> gix::Result<Option<Vec<u8>>> {
        let tree = root.repository.find_tree(root.tree)?;
        let Some(entry) = tree.lookup_entry_by_path(".gitmodules")? else { return Ok(None) };
        Ok(Some(entry.object()?.data.clone()))
    };
    match blob() {
        Ok(Some(bytes)) if bytes.len() < 1 << 20 => parse(&String::from_utf8_lossy(&bytes)),
        Ok(_) => HashMap::new(),
        Err(error) => {
            tracing::debug!(error = types::chain(&error), "cannot read .gitmodules");
            HashMap::new()
        }
    }
}

/// Reads `path` and `url` of each section. Values that look like options are left out, as Git leaves them out.
fn parse(text: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let (mut path, mut url) = (None, None);
    let mut close = |path: &mut Option<String>, url: &mut Option<String>| {
        if let (Some(path), Some(url)) = (path.take(), url.take())
            && !path.starts_with('-')
            && !url.starts_with('-')
            && let Some(path) = tree::clean(&path)
        {
            found.insert(path, url);
        }
    };
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            close(&mut path, &mut url);
            (path, url) = (None, None);
        } else if let Some((key, value)) = line.split_once('=') {
            let value = value.trim().trim_matches('"').to_owned();
            match key.trim().to_ascii_lowercase().as_str() {
                "path" => path = Some(value),
                "url" => url = Some(value),
                _ => {}
            }
        }
    }
    close(&mut path, &mut url);
    found
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sections_give_paths_and_addresses_but_no_options() {
        let text = "[submodule \"a\"]\n\tpath = libs/a\n\turl = ../a.git\n# c\n[submodule \"b\"]\n path=b\n url = \"https://h/b\"\n\
                    [submodule \"evil\"]\npath = e\nurl = -u./payload\n[submodule \"out\"]\npath = ../out\nurl = x\n";
        let found = parse(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found["libs/a"].as_str(), found["b"].as_str()), ("../a.git", "https://h/b"));
    }
}
