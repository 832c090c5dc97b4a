//! What a release's manifests pass through between the templates and the cluster.
//!
//! ```text
//! files --(hooks apart, per strategy)--> one stream, each document marked with its file --> run --> files
//! ```

use crate::{error::Error, manifest};
use std::collections::BTreeMap;
use yaml::{Dialect, Node};

/// Which documents a post-renderer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PostRenderStrategy {
    /// Hooks and manifests in one stream, as Helm 4 does.
    #[default]
    Combined,
    /// First the hooks, then the manifests, in streams of their own: an object that is both is no duplicate then.
    Separate,
    /// Manifests only; hooks stay as the templates wrote them, as Helm 3 did.
    NoHooks,
}

/// A post-renderer: from a stream of YAML documents to another.
#[derive(Clone, Copy)]
pub struct PostRender<'a> {
    pub strategy: PostRenderStrategy,
    pub run: &'a dyn Fn(&str) -> Result<String, String>,
}

/// Holds a document's file while it passes through the post-renderer. The name is Helm's, so renderers made for Helm keep it.
const FILE: &str = "postrenderer.helm.sh/postrender-filename";

type Files = BTreeMap<String, String>;

/// Sends rendered files through a post-renderer and gives what came out, by file.
pub(crate) fn apply(post: PostRender<'_>, files: Files) -> Result<Files, Error> {
    if post.strategy == PostRenderStrategy::Combined {
        return run(post, &files, None);
    }
    let (hooks, manifests) = manifest::sort(files, &mut Vec::new())?;
    let mut hook_files = Files::new();
    hooks.iter().for_each(|hook| append(&mut hook_files, &hook.path, &hook.manifest));
    let mut manifest_files = Files::new();
    manifests.iter().for_each(|manifest| append(&mut manifest_files, &manifest.path, &manifest.content));
    let mut all = Files::new();
    if post.strategy == PostRenderStrategy::Separate && !hook_files.is_empty() {
        hook_files = run(post, &hook_files, Some("hooks"))?;
    }
    if !manifest_files.is_empty() {
        manifest_files = run(post, &manifest_files, Some("manifests"))?;
    }
    for (path, text) in hook_files.iter().chain(&manifest_files) {
        append(&mut all, path, text);
    }
    Ok(all)
}

fn append(files: &mut Files, path: &str, text: &str) {
    match files.get_mut(path) {
        Some(before) => {
            before.push_str("\n---\n");
            before.push_str(text);
        }
        None => drop(files.insert(path.to_owned(), text.to_owned())),
    }
}

fn run(post: PostRender<'_>, files: &Files, group: Option<&str>) -> Result<Files, Error> {
    let failed = |what: &str, why: String| Error::PostRender(format!("{what}: {why}"));
    let merged = merge(files).map_err(|why| failed(&format!("error merging {}", group.unwrap_or("manifests")), why))?;
    let rendered =
        (post.run)(&merged).map_err(|why| failed(&format!("error while running post render on {}", group.unwrap_or("files")), why))?;
    let place = group.map_or_else(String::new, |group| format!(" for {group}"));
    split(&rendered, group).map_err(|why| failed(&format!("error while parsing post rendered output{place}"), why))
}

/// One stream of all documents, each marked with its file.
fn merge(files: &Files) -> Result<String, String> {
    let mut documents = Vec::new();
    for (path, text) in files {
        let base = path.rsplit('/').next().unwrap_or(path);
        if base.starts_with('_') || text.trim().is_empty() {
            continue;
        }
        for (_, document) in manifest::split(text) {
            for mut node in parse(document).map_err(|why| format!("parsing {path}: {why}"))? {
                mark(&mut node, path).map_err(|why| format!("annotating {path}: {why}"))?;
                documents.push(node);
            }
        }
    }
    stream(&documents)
}

/// Documents by the file that each is marked with; what has no mark was made by the post-renderer.
fn split(text: &str, group: Option<&str>) -> Result<Files, String> {
    let mut by_file: BTreeMap<String, Vec<Node>> = BTreeMap::new();
    for (at, mut node) in parse(text)?.into_iter().enumerate() {
        let made = || match group {
            Some(group) => format!("generated-by-postrender-{group}-{at}.yaml"),
            None => format!("generated-by-postrender-{at}.yaml"),
        };
        let path = unmark(&mut node).unwrap_or_else(made);
        by_file.entry(path).or_default().push(node);
    }
    by_file.into_iter().map(|(path, nodes)| Ok((path, stream(&nodes)?))).collect()
}

fn parse(text: &str) -> Result<Vec<Node>, String> {
    let documents =
        yaml::documents(text, Dialect::Kyaml).map_err(|error| format!("MalformedYAMLError: {}", error.go_message(Dialect::Kyaml)))?;
    let mut nodes: Vec<Node> = documents.into_iter().map(|document| document.root).filter(|root| !root.is_null()).collect();
    // kyaml takes a list that stands alone for its items.
    let is_list = |node: &Node| node.get("kind").and_then(Node::as_str).is_some_and(|kind| kind == "List" || kind == "ResourceList");
    if let [only] = &*nodes
        && is_list(only)
        && let Some(items) = only.get("items")
    {
        nodes = items.as_list().map(<[Node]>::to_vec).unwrap_or_default();
    }
    Ok(nodes)
}

fn stream(nodes: &[Node]) -> Result<String, String> {
    let mut out = String::new();
    for (at, node) in nodes.iter().enumerate() {
        if at > 0 {
            out.push_str("---\n");
        }
        yaml::emit_node(node, &mut out).map_err(|error| error.to_string())?;
    }
    Ok(out)
}

fn mark(node: &mut Node, path: &str) -> Result<(), String> {
    let object = node.as_map_mut().ok_or("wrong node kind: expected a mapping")?;
    let metadata = object.entry("metadata", Node::map);
    if metadata.is_null() {
        *metadata = Node::map();
    }
    let metadata = metadata.as_map_mut().ok_or("wrong node kind: metadata is no mapping")?;
    let annotations = metadata.entry("annotations", Node::map);
    if annotations.is_null() {
        *annotations = Node::map();
    }
    annotations.as_map_mut().ok_or("wrong node kind: annotations are no mapping")?.insert(FILE, Node::string(path));
    Ok(())
}

fn unmark(node: &mut Node) -> Option<String> {
    let metadata = node.get_mut("metadata")?.as_map_mut()?;
    let annotations = metadata.get_mut("annotations")?.as_map_mut()?;
    let path = annotations.remove(FILE)?.as_str()?.to_owned();
    let empty = annotations.is_empty();
    if empty {
        metadata.remove("annotations");
    }
    if metadata.is_empty() {
        node.as_map_mut()?.remove("metadata");
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn files() -> Files {
        let hook = "kind: Job\nmetadata:\n  name: j\n  annotations:\n    helm.sh/hook: pre-install\n";
        Files::from([
            (
                "c/templates/a.yaml".to_owned(),
                format!("kind: ConfigMap\nmetadata: {{name: a}}\n---\n{hook}---\nkind: Namespace\nmetadata: {{name: n}}\n"),
            ),
            ("c/templates/b.yaml".to_owned(), "kind: Secret\n".to_owned()),
            ("c/templates/empty.yaml".to_owned(), "\n".to_owned()),
        ])
    }

    fn through(strategy: PostRenderStrategy) -> (Vec<String>, Files) {
        let seen = RefCell::new(Vec::new());
        let run = |text: &str| {
            seen.borrow_mut().push(text.to_owned());
            Ok(format!("{text}---\nkind: Made\n"))
        };
        let files = apply(PostRender { strategy, run: &run }, files()).unwrap();
        (seen.into_inner(), files)
    }

    fn kinds(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix("kind: ")).collect()
    }

    #[test]
    fn combined_sends_hooks_and_manifests_in_one_stream() {
        let (seen, files) = through(PostRenderStrategy::Combined);
        assert_eq!(seen.len(), 1);
        assert_eq!(kinds(&seen[0]), ["ConfigMap", "Job", "Namespace", "Secret"]);
        assert!(seen[0].contains("    postrenderer.helm.sh/postrender-filename: c/templates/b.yaml\n"), "{}", seen[0]);
        assert_eq!(files.keys().collect::<Vec<_>>(), ["c/templates/a.yaml", "c/templates/b.yaml", "generated-by-postrender-4.yaml"]);
        assert_eq!(files["c/templates/b.yaml"], "kind: Secret\n");
    }

    #[test]
    fn separate_sends_hooks_first_and_alone() {
        let (seen, files) = through(PostRenderStrategy::Separate);
        assert_eq!(seen.iter().map(|text| kinds(text)).collect::<Vec<_>>(), [vec!["Job"], vec!["Namespace", "ConfigMap", "Secret"]]);
        assert!(
            files.contains_key("generated-by-postrender-hooks-1.yaml") && files.contains_key("generated-by-postrender-manifests-3.yaml")
        );
        assert_eq!(kinds(&files["c/templates/a.yaml"]), ["Job", "Namespace", "ConfigMap"]);
    }

    #[test]
    fn without_hooks_only_manifests_are_sent() {
        let (seen, files) = through(PostRenderStrategy::NoHooks);
        assert_eq!(seen.len(), 1);
        assert!(!seen[0].contains("Job"));
        assert!(files["c/templates/a.yaml"].starts_with("kind: Job\nmetadata:\n  name: j\n"));
    }

    #[test]
    fn what_a_post_renderer_says_is_told_with_its_group() {
        let fails = |_: &str| Err("no patch matches".to_owned());
        let nonsense = |_: &str| Ok("a: [".to_owned());
        let error = |strategy, run| apply(PostRender { strategy, run }, files()).unwrap_err().to_string();
        assert_eq!(error(PostRenderStrategy::Combined, &fails), "error while running post render on files: no patch matches");
        assert_eq!(error(PostRenderStrategy::Separate, &fails), "error while running post render on hooks: no patch matches");
        assert!(
            error(PostRenderStrategy::NoHooks, &nonsense)
                .starts_with("error while parsing post rendered output for manifests: MalformedYAMLError: ")
        );
    }
}
