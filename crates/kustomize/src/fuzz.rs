//! The body of the fuzz target and of the mutation test: any bytes are a tree and a kustomization, and a build of them must keep its promises.

use crate::{Build, Error, Limits, LoadRestriction, Options, Order, build};
use tree::MemoryTree;

/// Between the path and the content of a file, and between files.
const PATH_END: u8 = 0xFE;
const FILE_END: u8 = 0xFF;

/// Files as bytes; neither mark can stand in UTF-8.
pub fn encode<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, content) in files {
        out.extend_from_slice(path.as_bytes());
        out.push(PATH_END);
        out.extend_from_slice(content);
        out.push(FILE_END);
    }
    out
}

fn decode(bytes: &[u8]) -> (MemoryTree, String) {
    let mut tree = MemoryTree::new();
    let mut dir = String::new();
    for (at, file) in bytes.split(|byte| *byte == FILE_END).filter(|file| !file.is_empty()).take(64).enumerate() {
        let mark = file.iter().position(|byte| *byte == PATH_END).unwrap_or(0);
        let path = String::from_utf8_lossy(&file[..mark]).into_owned();
        let Some(path) = tree::clean(&path).filter(|path| !path.is_empty()) else { continue };
        if at == 0 {
            dir = tree::parent(&path).to_owned();
        }
        tree.insert(&path, file.get(mark + 1..).unwrap_or_default().to_vec(), false);
    }
    (tree, dir)
}

/// What a build that ended well must be.
fn check(built: &Build, text: &str) -> Result<(), String> {
    let documents = yaml::documents(text, yaml::Dialect::Kyaml).map_err(|error| format!("what is printed cannot be read: {error}"))?;
    if documents.len() != built.resources.len() {
        return Err(format!("{} objects are printed as {} documents", built.resources.len(), documents.len()));
    }
    for (document, resource) in documents.iter().zip(&built.resources) {
        let read = document.to_json().map_err(|error| format!("a printed object cannot be read: {error}"))?;
        let value = resource.to_json().map_err(|error| format!("an object prints, but is no JSON: {error}"))?;
        if yaml::emit(&read) != yaml::emit(&value) {
            return Err(format!("an object reads back as another:\n{}\ninstead of\n{}", yaml::emit(&read), yaml::emit(&value)));
        }
        resource.explain();
    }
    Ok(())
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Built,
    Refused,
}

/// Builds what the bytes say, twice, in both ways.
///
/// *Errors.* A promise that was not kept: other bytes the second time, text that cannot be read back, an error that names nothing.
pub fn run(bytes: &[u8]) -> Result<Outcome, String> {
    let (tree, dir) = decode(bytes);
    let limits = Limits { objects: 2_000, files: 200, bytes: 4 << 20, depth: 16, fetches: 0, made: 4 << 20, steps: 2_000_000 };
    let mut outcome = Outcome::Refused;
    for (order, load_restriction) in [(Order::Legacy, LoadRestriction::RootOnly), (Order::Fifo, LoadRestriction::None)] {
        let options = Options { order, load_restriction, extend_schema: order == Order::Fifo, limits, ..Options::default() };
        let once = || build(&tree, &dir, &options).and_then(|built| built.to_yaml().map(|text| (built, text)));
        match (once(), once()) {
            (Ok((built, text)), Ok((_, again))) => {
                if text != again {
                    return Err("the same input gives other bytes the second time".to_owned());
                }
                check(&built, &text)?;
                outcome = Outcome::Built;
            }
            (Err(error), Err(_)) => {
                let text = error.to_string();
                if text.is_empty() || matches!(error, Error::Yaml { source: yaml::Error::Internal, .. }) {
                    return Err(format!("an error says nothing: {text:?}"));
                }
            }
            _ => return Err("the same input builds once and fails once".to_owned()),
        }
    }
    let spec = crate::flux::Spec::default();
    let built = crate::flux::build_with(&tree, &dir, &spec, &crate::flux::NoHooks, Options { limits, ..Options::flux() });
    if let Ok(built) = built
        && let Ok(text) = built.to_yaml()
    {
        check(&built, &text)?;
    }
    Ok(outcome)
}
