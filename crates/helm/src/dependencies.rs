//! Which subcharts take part: aliases, tags, conditions; and what they export to their parents.

use crate::{
    chart::Chart,
    data::{Data, Table},
    error::Error,
    metadata::Dependency,
    values::{self, Defaults, Warnings, coalesce, coalesce_tables, nest},
};
use std::sync::Arc;
use types::semver::{Constraint, Version};

/// A chart as it takes part in one rendering.
pub(crate) struct Part {
    pub chart: Arc<Chart>,
    /// The name or the alias.
    pub name: String,
    /// The dependencies that take part, named by their aliases.
    pub declared: Vec<Dependency>,
    pub values: Table,
    pub parts: Vec<Part>,
}

impl Defaults for Part {
    fn name(&self) -> &str {
        &self.name
    }

    fn defaults(&self) -> &Table {
        &self.values
    }

    fn children(&self) -> &[Self] {
        &self.parts
    }
}

/// Whether a version fits a range. What cannot be read fits nothing.
pub(crate) fn fits(range: &str, version: &str) -> bool {
    match (Constraint::parse(range), Version::parse(version)) {
        (Ok(range), Ok(version)) => range.matches(&version),
        _ => false,
    }
}

impl Part {
    fn whole(chart: &Arc<Chart>) -> Self {
        Self {
            chart: chart.clone(),
            name: chart.metadata.name.clone(),
            declared: chart.metadata.dependencies.clone(),
            values: chart.values.clone(),
            parts: chart.dependencies.iter().map(Self::whole).collect(),
        }
    }

    /// The parts of a rendering with these values.
    pub fn process(chart: &Arc<Chart>, values: &Table, warnings: &mut Warnings) -> Result<Self, Error> {
        let mut part = Self::whole(chart);
        part.enable(values, "", warnings)?;
        part.import_values(warnings)?;
        Ok(part)
    }

    /// Leaves out disabled subcharts, here and below.
    fn enable(&mut self, values: &Table, path: &str, warnings: &mut Warnings) -> Result<(), Error> {
        if self.declared.is_empty() {
            return Ok(());
        }
        let available = std::mem::take(&mut self.parts);
        let mut parts = Vec::new();
        let declares = |part: &Part| self.declared.iter().any(|d| d.name == part.name && fits(&d.version, &part.chart.metadata.version));
        let (mut known, undeclared): (Vec<Part>, Vec<Part>) = available.into_iter().partition(declares);
        parts.extend(undeclared);
        for dependency in &mut self.declared {
            let wanted = |part: &Part| part.name == dependency.name && fits(&dependency.version, &part.chart.metadata.version);
            if let Some(at) = known.iter().position(wanted) {
                let mut part = Self::whole(&known[at].chart);
                if !dependency.alias.is_empty() {
                    part.name = dependency.alias.clone();
                }
                parts.push(part);
            }
            if !dependency.alias.is_empty() {
                dependency.name = dependency.alias.clone();
            }
            dependency.enabled = true;
        }
        known.clear();
        self.parts = parts;
        let all = coalesce(self, values, false, warnings)?;
        apply_tags(&mut self.declared, &all, warnings);
        apply_conditions(&mut self.declared, &all, path, warnings);
        let disabled: Vec<String> = self.declared.iter().filter(|d| !d.enabled).map(|d| d.name.clone()).collect();
        self.parts.retain(|part| !disabled.contains(&part.name));
        self.declared.retain(|d| !disabled.contains(&d.name));
        for part in &mut self.parts {
            let path = format!("{path}{}.", part.name);
            part.enable(&all, &path, warnings)?;
        }
        Ok(())
    }

    /// Takes over what subcharts export, from the bottom up.
    fn import_values(&mut self, warnings: &mut Warnings) -> Result<(), Error> {
        for part in &mut self.parts {
            part.import_values(warnings)?;
        }
        if self.declared.is_empty() {
            return Ok(());
        }
        let mut all = coalesce(self, &Table::new(), true, warnings)?;
        let mut imported = Table::new();
        for dependency in &self.declared {
            for import in &dependency.import_values {
                let (child, parent) = match import {
                    serde_json::Value::String(name) => (format!("exports.{name}"), ".".to_owned()),
                    serde_json::Value::Object(map) => {
                        let text = |key: &str| {
                            map.get(key).map_or("<nil>".to_owned(), |v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
                        };
                        (text("child"), text("parent"))
                    }
                    _ => continue,
                };
                let Some(table) = all.table_at(&format!("{}.{child}", dependency.name)) else {
                    warnings.push(format!("ImportValues missing table from chart {}: {child}", dependency.name));
                    continue;
                };
                let nested = nest(&parent, table.clone());
                coalesce_tables(&mut imported, &nested, "", true, warnings);
            }
        }
        // The chart's own values win over what it imports.
        coalesce_tables(&mut all, &imported, "", true, warnings);
        self.values = all;
        Ok(())
    }

    /// This part as the root of coalescing.
    pub fn coalesce(&self, values: &Table, warnings: &mut Warnings) -> Result<Table, Error> {
        values::coalesce(self, values, false, warnings)
    }
}

fn apply_tags(declared: &mut [Dependency], all: &Table, warnings: &mut Warnings) {
    let Some(Data::Table(tags)) = all.get("tags") else { return };
    for dependency in declared {
        let (mut any_true, mut any_false) = (false, false);
        for tag in &dependency.tags {
            match tags.get(tag) {
                Some(Data::Bool(true)) => any_true = true,
                Some(Data::Bool(false)) => any_false = true,
                Some(_) => warnings.push(format!("returned non-bool value for tag {tag} of chart {}", dependency.name)),
                None => {}
            }
        }
        dependency.enabled = any_true || !any_false;
    }
}

/// The first condition that names a boolean decides; conditions win over tags.
fn apply_conditions(declared: &mut [Dependency], all: &Table, path: &str, warnings: &mut Warnings) {
    for dependency in declared {
        for condition in dependency.condition.trim().split(',').filter(|condition| !condition.is_empty()) {
            match all.value_at(&format!("{path}{condition}")) {
                Some(Data::Bool(enabled)) => {
                    dependency.enabled = *enabled;
                    break;
                }
                Some(_) => warnings.push(format!("returned non-bool value for path {condition} of chart {}", dependency.name)),
                None => {}
            }
        }
    }
}
