//! Which file or flag gave a value, and what errors can say with that.

use crate::{Chart, Data, Error, Table};
use std::sync::Arc;

/// The layers that values were made of, the weakest first.
#[derive(Debug, Default, Clone)]
pub struct ValueSources {
    layers: Vec<(String, Table)>,
    chart: Option<Arc<Chart>>,
}

impl ValueSources {
    /// Adds a layer over those that are there.
    pub fn add(&mut self, name: &str, values: &Table) {
        self.layers.push((name.to_owned(), values.clone()));
    }

    /// The chart whose defaults lie under all layers.
    pub fn add_chart(&mut self, chart: &Arc<Chart>) {
        self.chart = Some(chart.clone());
    }

    /// What set the value at a path: a file, a flag, or the values.yaml of a chart.
    pub fn of(&self, path: &str) -> Option<String> {
        self.exactly(path).or_else(|| {
            // Globals are copied down to subcharts.
            let at = path.split('.').position(|key| key == "global").filter(|at| *at > 0)?;
            self.exactly(&path.split('.').skip(at).collect::<Vec<_>>().join("."))
        })
    }

    fn exactly(&self, path: &str) -> Option<String> {
        let keys = keys(path);
        if let Some((name, _)) = self.layers.iter().rev().find(|(_, table)| follow(table, &keys).is_some()) {
            return Some(name.clone());
        }
        let mut chart = self.chart.as_deref()?;
        let mut rest = &keys[..];
        loop {
            if follow(&chart.values, rest).is_some() {
                return Some(format!("values.yaml of chart {}", chart.name()));
            }
            let (first, below) = rest.split_first()?;
            let name = chart.metadata.dependencies.iter().find(|one| one.alias == *first).map_or(*first, |one| &one.name);
            chart = chart.dependencies.iter().find(|chart| chart.name() == name)?;
            rest = below;
        }
    }
}

/// The keys of a path; places in lists come as `[0]`.
fn keys(path: &str) -> Vec<&str> {
    path.split('.')
        .flat_map(|part| {
            let (key, places) = part.split_at(part.find('[').unwrap_or(part.len()));
            [key].into_iter().chain(places.split_inclusive(']'))
        })
        .filter(|key| !key.is_empty())
        .collect()
}

fn follow<'t>(table: &'t Table, keys: &[&str]) -> Option<&'t Data> {
    let (first, rest) = keys.split_first()?;
    let mut at = table.get(first)?;
    for key in rest {
        at = match at {
            Data::Table(table) => table.get(key)?,
            Data::List(items) => items.get(key.trim_matches(['[', ']']).parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(at)
}

/// The way to a subchart's values, from the path of one of its templates.
fn values_of(template: &str) -> String {
    let parts: Vec<&str> = template.split('/').collect();
    let end = parts.iter().position(|part| *part == "templates").unwrap_or(parts.len());
    parts[..end].windows(2).filter(|pair| pair[0] == "charts").map(|pair| pair[1]).collect::<Vec<_>>().join(".")
}

fn below(prefix: &str, path: &str) -> String {
    if prefix.is_empty() { path.to_owned() } else { format!("{prefix}.{path}") }
}

/// `.Values.a.b` in a line of a template, without what leads to it.
fn values_named(line: &str) -> Vec<&str> {
    line.match_indices(".Values.")
        .map(|(at, start)| {
            let rest = &line[at + start.len()..];
            rest[..rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len())].trim_end_matches('.')
        })
        .filter(|path| !path.is_empty())
        .collect()
}

impl Error {
    /// What can be said beyond Helm's text: the value that is missing, where a value came from, which template line wrote what is wrong.
    pub fn hints(&self, chart: &Chart, sources: &ValueSources) -> Vec<String> {
        let mut hints: Vec<String> = self.hint().into_iter().collect();
        match self {
            Self::Template { missing: Some(path), at: Some(at), .. } => {
                let path = path.trim_start_matches('$').strip_prefix(".Values.").map(|path| below(&values_of(&at.template), path));
                if let Some((above, source)) = path.as_deref().and_then(|path| nearest(path, sources)) {
                    hints.push(format!("the nearest value above it, {above}, comes from {source}"));
                }
            }
            Self::Template { missing: None, at: Some(at), limit: None, .. } => {
                let line = source_line(chart, &at.template, at.line).unwrap_or_default();
                let prefix = values_of(&at.template);
                for path in values_named(&line) {
                    let path = below(&prefix, path);
                    match sources.of(&path) {
                        Some(source) => hints.push(format!("{}:{} reads {path}, which comes from {source}", at.template, at.line)),
                        None => hints.push(format!("{}:{} reads {path}, which has no value", at.template, at.line)),
                    }
                }
            }
            Self::Manifest { origin: Some(origin), .. } => {
                let value = origin.value.as_deref().map_or_else(String::new, |value| match sources.of(value) {
                    Some(source) => format!(" from {value}, which comes from {source}"),
                    None => format!(" from {value}"),
                });
                hints.push(format!("the line was written by {}:{}{value}", origin.template, origin.line));
            }
            Self::Schema(text) => {
                let mut prefix = String::new();
                for line in text.lines() {
                    if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with([' ', '-'])) {
                        prefix = if name == chart.name() { String::new() } else { name.to_owned() };
                    }
                    let place = line.trim_start().strip_prefix("- at '/").and_then(|rest| rest.split_once('\''));
                    if let Some((pointer, _)) = place {
                        let path = below(&prefix, &pointer.replace('/', "."));
                        if let Some(source) = sources.of(&path) {
                            hints.push(format!("{path} comes from {source}"));
                        }
                    }
                }
            }
            _ => {}
        }
        const MOST: usize = 5;
        hints.truncate(MOST);
        hints
    }
}

/// The longest part of a path that something gave a value, and what.
fn nearest<'p>(path: &'p str, sources: &ValueSources) -> Option<(&'p str, String)> {
    let mut path = path;
    while let Some((above, _)) = path.rsplit_once('.') {
        if let Some(source) = sources.of(above) {
            return Some((above, source));
        }
        path = above;
    }
    None
}

/// A line of a template by its path with the charts' names.
fn source_line(chart: &Chart, template: &str, line: usize) -> Option<String> {
    let mut chart = chart;
    let (_, mut rest) = template.split_once('/')?;
    let mut owned;
    while let Some(below) = rest.strip_prefix("charts/") {
        let (name, after) = below.split_once('/')?;
        owned = chart.metadata.dependencies.iter().find(|one| one.alias == name).map_or_else(|| name.to_owned(), |one| one.name.clone());
        chart = chart.dependencies.iter().find(|chart| chart.name() == owned)?;
        rest = after;
    }
    let file = chart.templates.iter().find(|file| &*file.name == rest)?;
    String::from_utf8_lossy(file.data()).lines().nth(line.checked_sub(1)?).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_layer_that_has_a_value_gave_it() {
        let table = |text: &str| crate::read_values(text).unwrap();
        let mut sources = ValueSources::default();
        sources.add("prod.yaml", &table("image: {tag: a}\nlist: [{x: 1}]\nglobal: {g: 1}"));
        sources.add("--set", &table("image: {tag: b}"));
        assert_eq!(sources.of("image.tag").as_deref(), Some("--set"));
        assert_eq!(sources.of("list[0].x").as_deref(), Some("prod.yaml"));
        assert_eq!(sources.of("sub.global.g").as_deref(), Some("prod.yaml"));
        assert_eq!(sources.of("image.name"), None);
        assert_eq!(values_named(r#"x: {{ required "a" .Values.a.b }}{{ .Values.c }}"#), ["a.b", "c"]);
        assert_eq!(values_of("a/charts/b/charts/c/templates/x.yaml"), "b.c");
    }
}
