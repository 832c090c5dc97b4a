//! Merging values: the defaults of charts, what users give, and globals that flow down.

use crate::{
    data::{Data, Table},
    error::Error,
};
use std::sync::Arc;
use yaml::Dialect;

/// What coalescing needs to know of a chart and of those below it.
pub(crate) trait Defaults {
    fn name(&self) -> &str;
    fn defaults(&self) -> &Table;
    fn children(&self) -> &[Self]
    where
        Self: Sized;
}

/// Reads a values file: YAML documents that are merged, the later over the earlier.
pub fn read(text: &str) -> Result<Table, String> {
    let mut values = Table::new();
    for document in split_documents(text) {
        let table = read_table(document).map_err(|why| format!("cannot unmarshal yaml document: {why}"))?;
        merge_over(&mut values, &table);
    }
    Ok(values)
}

fn read_document(text: &str) -> Result<Data, yaml::Error> {
    let node = yaml::node(text, Dialect::Sigs, yaml::Limits::default(), 0)?;
    node.map_or(Ok(Data::Null), |node| Data::from_yaml(&node, Dialect::Sigs))
}

/// Reads one YAML document that is a table or nothing. The error is that of `sigs.k8s.io/yaml`.
pub fn read_table(text: &str) -> Result<Table, String> {
    let value = read_document(text).map_err(|error| format!("error converting YAML to JSON: {}", error.go_message(Dialect::Sigs)))?;
    match value {
        Data::Table(table) => Ok(table),
        Data::Null => Ok(Table::new()),
        other => {
            let what = match other {
                Data::Bool(_) => "bool",
                Data::Int(_) | Data::Float(_) => "number",
                Data::String(_) => "string",
                _ => "array",
            };
            Err(format!(
                "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {what} into Go value of type map[string]interface {{}}"
            ))
        }
    }
}

/// Cuts a text at lines that start with `---`, as the YAML reader of Kubernetes does.
fn split_documents(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let mut start = 0;
    for at in memchr::memmem::find_iter(text.as_bytes(), b"---") {
        let line = &text[at..];
        let line = &line[..memchr::memchr(b'\n', line.as_bytes()).map_or(line.len(), |end| end + 1)];
        if at < start || at > 0 && text.as_bytes()[at - 1] != b'\n' || !line[3..].trim().is_empty() {
            continue;
        }
        if start < at {
            documents.push(&text[start..at]);
        }
        start = at + line.len();
    }
    documents.push(&text[start..]);
    documents
}

/// Puts `over` over `values`: tables are merged, everything else is replaced.
pub fn merge_over(values: &mut Table, over: &Table) {
    if values.is_empty() {
        *values = over.clone();
        return;
    }
    for (key, value) in over.iter() {
        match (values.get(key), value) {
            (Some(Data::Table(_)), Data::Table(above)) => {
                if let Some(Data::Table(mut below)) = values.take(key) {
                    merge_over(&mut below, above);
                    values.insert(key.clone(), Data::Table(below));
                }
            }
            _ => values.insert(key.clone(), value.clone()),
        }
    }
}

/// What was found odd on the way; Helm logs these.
pub(crate) type Warnings = Vec<String>;

const GLOBAL: &str = "global";

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// The values of a chart and its subcharts under what users give. With `keep_nulls` nulls stay, else they remove what they stand over.
pub(crate) fn coalesce<C: Defaults>(chart: &C, values: &Table, keep_nulls: bool, warnings: &mut Warnings) -> Result<Table, Error> {
    let mut result = values.clone();
    coalesce_chart(chart, &mut result, "", keep_nulls, warnings)?;
    Ok(result)
}

fn coalesce_chart<C: Defaults>(chart: &C, values: &mut Table, prefix: &str, keep: bool, warnings: &mut Warnings) -> Result<(), Error> {
    coalesce_defaults(chart, values, prefix, keep, warnings);
    for child in chart.children() {
        let mut below = match values.take(child.name()) {
            None => Table::new(),
            Some(Data::Table(table)) => table,
            Some(other) => {
                let shown = format!("%!t({}={})", other.type_name(), crate::data_text(&other));
                return Err(Error::Values(format!("type mismatch on {}: {shown}", child.name())));
            }
        };
        let prefix = join(prefix, chart.name());
        coalesce_globals(&mut below, values, &prefix, warnings);
        coalesce_chart(child, &mut below, &prefix, keep, warnings)?;
        values.insert(child.name().into(), Data::Table(below));
    }
    Ok(())
}

/// Globals of the parent go to the child, over the child's own.
fn coalesce_globals(child: &mut Table, parent: &Table, prefix: &str, warnings: &mut Warnings) {
    let mut own = match child.get(GLOBAL) {
        None => Table::new(),
        Some(Data::Table(table)) => table.clone(),
        Some(_) => {
            warnings.push(format!("warning: skipping globals because destination {GLOBAL} is not a table."));
            return;
        }
    };
    let above = match parent.get(GLOBAL) {
        None => Table::new(),
        Some(Data::Table(table)) => table.clone(),
        Some(_) => {
            warnings.push(format!("warning: skipping globals because source {GLOBAL} is not a table."));
            return;
        }
    };
    if own.is_empty() {
        child.insert(GLOBAL.into(), Data::Table(above));
        return;
    }
    for (key, value) in above.iter() {
        match (value, own.get(key)) {
            (Data::Table(value), Some(Data::Table(below))) => {
                let mut merged = value.clone();
                coalesce_tables(&mut merged, below, &join(prefix, key), true, warnings);
                own.insert(key.clone(), Data::Table(merged));
            }
            (Data::Table(_), Some(_)) => warnings.push(format!("Conflict: cannot merge map onto non-map for {key:?}. Skipping.")),
            (Data::Table(_), None) => own.insert(key.clone(), value.clone()),
            (_, Some(Data::Table(_))) => warnings.push(format!("key {key} is table. Skipping")),
            _ => own.insert(key.clone(), value.clone()),
        }
    }
    child.insert(GLOBAL.into(), Data::Table(own));
}

/// The chart's own defaults under the values.
fn coalesce_defaults<C: Defaults>(chart: &C, values: &mut Table, prefix: &str, keep: bool, warnings: &mut Warnings) {
    let prefix = join(prefix, chart.name());
    if values.is_empty() {
        // Defaults that are null say nothing (Helm 4.2, commit 00638773d).
        *values = if keep { chart.defaults().clone() } else { without_nulls_in(chart.defaults()) };
        return;
    }
    for (key, default) in chart.defaults().iter() {
        match values.get(key) {
            None if keep => values.insert(key.clone(), default.clone()),
            None if default.is_null() => {}
            None => values.insert(key.clone(), without_nulls(default)),
            Some(Data::Null) if !keep => drop(values.remove(key)),
            Some(Data::Table(_)) => match default {
                Data::Table(default) => {
                    // The values of a subchart keep their nulls until its own turn comes.
                    let keep = keep || chart.children().iter().any(|child| child.name() == &**key);
                    let cleaned = if keep { default.clone() } else { without_nulls_in(default) };
                    if let Some(Data::Table(mut table)) = values.take(key) {
                        coalesce_tables(&mut table, &cleaned, &join(&prefix, key), keep, warnings);
                        values.insert(key.clone(), Data::Table(table));
                    }
                }
                Data::Null => {}
                _ => warnings.push(format!("warning: skipped value for {prefix}.{key}: Not a table.")),
            },
            Some(_) => {}
        }
    }
}

/// Puts `under` under `table`, which wins.
pub(crate) fn coalesce_tables(table: &mut Table, under: &Table, prefix: &str, keep: bool, warnings: &mut Warnings) {
    if table.same(under) {
        return;
    }
    for (key, below) in under.iter() {
        match table.get(key) {
            None => table.insert(key.clone(), below.clone()),
            // A null of the user's removes a default; where there was none, it stays.
            Some(Data::Null) if !keep && !below.is_null() => drop(table.remove(key)),
            Some(Data::Table(_)) => match below {
                Data::Table(below) => {
                    if let Some(Data::Table(mut above)) = table.take(key) {
                        coalesce_tables(&mut above, below, &join(prefix, key), keep, warnings);
                        table.insert(key.clone(), Data::Table(above));
                    }
                }
                Data::Null => {}
                _ => warnings.push(format!(
                    "warning: destination for {} is a table. Ignoring non-table value ({})",
                    join(prefix, key),
                    crate::data_text(below)
                )),
            },
            Some(above) if matches!(below, Data::Table(_)) && !(keep && above.is_null()) => {
                warnings.push(format!(
                    "warning: cannot overwrite table with non table for {} ({})",
                    join(prefix, key),
                    crate::data_text(below)
                ));
            }
            Some(_) => {}
        }
    }
}

/// The value without the nulls in its tables; shared with the original where there are none.
fn without_nulls(value: &Data) -> Data {
    match value {
        Data::Table(table) => Data::Table(without_nulls_in(table)),
        value => value.clone(),
    }
}

fn without_nulls_in(table: &Table) -> Table {
    fn has_null(table: &Table) -> bool {
        table.iter().any(|(_, value)| match value {
            Data::Null => true,
            Data::Table(inner) => has_null(inner),
            _ => false,
        })
    }
    if !has_null(table) {
        return table.clone();
    }
    let kept = table.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| (key.clone(), without_nulls(value))).collect();
    Table::from_entries(kept)
}

/// A table `{a: {b: table}}` for the path `a.b`.
pub(crate) fn nest(path: &str, table: Table) -> Table {
    if path == "." {
        return table;
    }
    path.rsplit('.').fold(table, |inner, part| Table::from_entries(vec![(Arc::from(part), Data::Table(inner))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Chart {
        name: &'static str,
        values: Table,
        children: Vec<Chart>,
    }

    impl Defaults for Chart {
        fn name(&self) -> &str {
            self.name
        }
        fn defaults(&self) -> &Table {
            &self.values
        }
        fn children(&self) -> &[Self] {
            &self.children
        }
    }

    fn coalesced(parent: &str, child: &str, user: &str) -> String {
        let child = Chart { name: "sub", values: read(child).unwrap(), children: vec![] };
        let parent = Chart { name: "top", values: read(parent).unwrap(), children: vec![child] };
        coalesce(&parent, &read(user).unwrap(), false, &mut Vec::new()).unwrap().to_json().to_string()
    }

    #[test]
    fn users_win_over_parents_and_parents_over_subcharts() {
        assert_eq!(
            coalesced("a: 1\nsub: {x: 2, l: [1]}", "x: 1\nz: 1\nl: [2, 3]", "a: 5\nsub: {z: 9}"),
            r#"{"a":5,"sub":{"global":{},"l":[1],"x":2,"z":9}}"#
        );
    }

    #[test]
    fn nulls_of_users_remove_and_nulls_of_defaults_vanish() {
        assert_eq!(coalesced("a: {b: 1, c: null, d: 2}\ne: null", "x: null", "a: {b: null}"), r#"{"a":{"d":2},"sub":{"global":{}}}"#);
        assert_eq!(coalesced("sub: {x: null}", "x: 1", ""), r#"{"sub":{"global":{},"x":1}}"#);
    }

    #[test]
    fn globals_flow_down() {
        assert_eq!(
            coalesced("global: {a: 1, t: {x: 1}}", "global: {a: 2, b: 3, t: {z: 2}}", "global: {a: 9}"),
            r#"{"global":{"a":9,"t":{"x":1}},"sub":{"global":{"a":9,"b":3,"t":{"x":1,"z":2}}}}"#
        );
    }

    #[test]
    fn documents_of_a_values_file_are_merged() {
        assert_eq!(read("a: {x: 1}\n---\na: {z: 2}\nb: yes\n").unwrap().to_json().to_string(), r#"{"a":{"x":1,"z":2},"b":true}"#);
        assert!(read("- a").unwrap_err().contains("cannot unmarshal array into Go value"));
    }
}
