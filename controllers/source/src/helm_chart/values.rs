//! Default values of a chart, made of several files. Pure.

use crate::paths::inside;
use bytes::Bytes;
use helm::{Chart, Table, merge_over};
use tree::{Kind, Tree};

const VALUES_FILE: &str = "values.yaml";

/// Merged values, and the files that they were merged from.
#[derive(Default)]
pub(super) struct Merged {
    pub(super) values: Table,
    pub(super) files: Vec<String>,
}

impl Merged {
    fn add(&mut self, path: &str, over: &Table) {
        merge_over(&mut self.values, over);
        self.files.push(path.to_owned());
    }
}

fn read(path: &str, bytes: &[u8]) -> Result<Table, String> {
    helm::read_values_document(&String::from_utf8_lossy(bytes)).map_err(|why| format!("unmarshaling values from '{path}' failed: {why}"))
}

/// Merges files of a source, the later over the earlier; paths start at its root.
pub(super) fn of_source(tree: &dyn Tree, paths: &[String], ignore_missing: bool) -> Result<Merged, String> {
    let mut merged = Merged::default();
    for path in paths {
        let place = inside(path);
        match tree.kind(&place) {
            Some(Kind::File) => merged.add(path, &read(path, &tree.read(&place).unwrap_or_default())?),
            None if ignore_missing => {}
            _ => return Err(format!("no values file found at path '/{place}' (reference '{path}')")),
        }
    }
    Ok(merged)
}

/// Merges files of a chart, the later over the earlier; paths start at the chart.
pub(super) fn of_chart(chart: &Chart, paths: &[String], ignore_missing: bool) -> Result<Merged, String> {
    let mut merged = Merged::default();
    for path in paths {
        let place = inside(path);
        if place == VALUES_FILE {
            merged.add(path, &chart.values);
            continue;
        }
        match chart.files.iter().find(|file| *file.name == *place) {
            Some(file) => merged.add(path, &read(path, file.data())?),
            None if ignore_missing => {}
            None => return Err(format!("no values file found at path '{path}'")),
        }
    }
    Ok(merged)
}

/// Makes them the chart's defaults. Gives the files that made a difference: none when the defaults were these already.
pub(super) fn overwrite(chart: &mut Chart, merged: Merged) -> Result<Vec<String>, String> {
    let text = if merged.values.is_empty() { String::new() } else { yaml::emit(&merged.values.to_json()) };
    let Some(before) = &chart.values_text else { return Err(format!("failed to locate values file: {VALUES_FILE}")) };
    if **before == *text.as_bytes() {
        return Ok(Vec::new());
    }
    chart.values_text = Some(Bytes::from(text));
    chart.values = merged.values;
    Ok(merged.files)
}

/// Gives a chart the defaults that `valuesFiles` names: files of its source where there is one, else of the chart itself.
pub fn with_values_files(chart: &mut Chart, source: Option<&dyn Tree>, paths: &[String], ignore_missing: bool) -> Result<(), String> {
    if paths.is_empty() {
        return Ok(());
    }
    let merged = match source {
        Some(tree) => of_source(tree, paths, ignore_missing)?,
        None => of_chart(chart, paths, ignore_missing)?,
    };
    overwrite(chart, merged).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use helm::ChartLimits;
    use tree::MemoryTree;

    fn tree() -> MemoryTree {
        MemoryTree::from_iter([
            ("charts/demo/Chart.yaml", "apiVersion: v2\nname: demo\nversion: 1.0.0\n"),
            ("charts/demo/values.yaml", "message: hello\n"),
            ("charts/demo/values-a.yaml", "message: a\nnested: {x: 1, y: [1, 2]}\n"),
            ("charts/demo/values-b.yaml", "nested: {y: [3], z: null}\n"),
            ("env/prod.yaml", "message: prod\n"),
            ("env/list.yaml", "- a\n"),
            ("env/broken.yaml", "a: [\n"),
        ])
    }

    fn chart() -> Chart {
        Chart::from_tree(&tree(), "charts/demo", ChartLimits::default()).unwrap()
    }

    fn paths(list: &[&str]) -> Vec<String> {
        list.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn later_files_win_and_lists_are_replaced() {
        let mut demo = chart();
        let merged = of_chart(&demo, &paths(&["values-a.yaml", "./values-b.yaml"]), false).unwrap();
        let files = overwrite(&mut demo, merged).unwrap();
        assert_eq!(files, ["values-a.yaml", "./values-b.yaml"]);
        // `y` is true in the YAML that Helm reads; recorded in src-chart-values-files.
        assert_eq!(demo.values_text.as_deref(), Some(&b"message: a\nnested:\n  \"true\":\n  - 3\n  x: 1\n  z: null\n"[..]));
        let merged = of_source(&tree(), &paths(&["charts/demo/values.yaml", "../env/prod.yaml"]), false).unwrap();
        assert_eq!((merged.values.to_json().to_string().as_str(), merged.files.len()), (r#"{"message":"prod"}"#, 2));
    }

    #[test]
    fn missing_files_are_passed_over_only_when_told_to() {
        let told = |outcome: Result<Merged, String>| outcome.err();
        assert_eq!(
            told(of_source(&tree(), &paths(&["env/none.yaml"]), false)).as_deref(),
            Some("no values file found at path '/env/none.yaml' (reference 'env/none.yaml')")
        );
        assert_eq!(
            told(of_source(&tree(), &paths(&["env"]), true)).as_deref(),
            Some("no values file found at path '/env' (reference 'env')")
        );
        assert_eq!(told(of_chart(&chart(), &paths(&["x.yaml"]), false)).as_deref(), Some("no values file found at path 'x.yaml'"));
        let merged = of_chart(&chart(), &paths(&["x.yaml", "values.yaml"]), true).unwrap();
        assert_eq!(merged.files, ["values.yaml"]);
        let mut demo = chart();
        assert_eq!(overwrite(&mut demo, merged).unwrap(), [""; 0], "the defaults are these already");
        let none = of_chart(&demo, &paths(&["x.yaml"]), true).unwrap();
        overwrite(&mut demo, none).unwrap();
        assert_eq!(demo.values_text.as_deref(), Some(&b""[..]));
    }

    #[test]
    fn values_that_are_no_map_or_no_yaml_are_errors_that_name_the_file() {
        let told = |path: &str| of_source(&tree(), &paths(&[path]), false).err().unwrap();
        assert!(told("env/list.yaml").starts_with("unmarshaling values from 'env/list.yaml' failed: error unmarshaling JSON"));
        assert!(told("env/broken.yaml").starts_with("unmarshaling values from 'env/broken.yaml' failed: error converting YAML to JSON"));
    }
}
