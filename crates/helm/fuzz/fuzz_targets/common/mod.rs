//! Rendering a chart of any files, twice.

use helm::{Chart, ChartLimits, Environment, Limits, Options, Release, SeededRandom, Table};
use std::{rc::Rc, sync::Arc};
use tree::MemoryTree;

const LIMITS: Limits = Limits { steps: 300_000, output: 4 << 20, depth: 200 };

fn once(tree: &MemoryTree, values: &Table) -> Result<String, String> {
    let limits = ChartLimits { total: 4 << 20, file: 1 << 20, files: 64, depth: 4 };
    let chart = Chart::from_tree(tree, "", limits).map(Arc::new).map_err(|error| error.to_string())?;
    let environment = Rc::new(Environment::new(jiff::Timestamp::UNIX_EPOCH, Box::new(SeededRandom::new(b"fuzz"))));
    let release = Release { name: "rel".into(), namespace: "ns".into(), revision: 1, upgrade: false };
    let options = Options { limits: LIMITS, provenance: true, ..Options::new(release, environment) };
    match helm::render(&chart, values, &options) {
        Ok(rendered) => {
            rendered.manifests.iter().for_each(|one| { std::hint::black_box(rendered.origin(&one.path, one.line)); });
            Ok(format!("{}{}", rendered.manifest(), rendered.notes))
        }
        Err(error) => {
            drop(error.hints(&chart, &helm::ValueSources::default()));
            Err(error.to_string())
        }
    }
}

/// Nothing may panic or hang, the second rendering gives what the first gave, and an error says something.
pub fn check(tree: &MemoryTree, values: &Table) {
    let (first, second) = (once(tree, values), once(tree, values));
    assert_eq!(first, second, "the same chart gives something else the second time");
    assert!(first.err().is_none_or(|error| !error.trim().is_empty()), "an error says nothing");
}
