//! `helm show`: what a chart says of itself.

use super::{arguments, place, remote};
use crate::shell::{Failure, Flags as _, Outcome, flags, output};
use clap::{ArgMatches, Command};
use helm::Chart;
use std::fmt::Write as _;

const SUBJECTS: &[(&str, &str)] = &[
    ("all", "Show all information of the chart"),
    ("chart", "Show the chart's definition"),
    ("crds", "Show the chart's CRDs"),
    ("readme", "Show the chart's README"),
    ("values", "Show the chart's values"),
];

pub fn command() -> Command {
    let group = flags::group("show", "Show information of a chart").visible_alias("inspect");
    SUBJECTS.iter().fold(group, |group, (name, about)| {
        let leaf = flags::leaf(name, about).args(remote::flags()).args(remote::choice());
        group.subcommand(if *name == "values" {
            leaf.arg(flags::string("jsonpath", "supply a JSONPath expression to filter the output"))
        } else {
            leaf
        })
    })
}

pub fn run(what: &str, matches: &ArgMatches) -> Outcome {
    let given = arguments(matches, &format!("show {what}"), &format!("show {what} [CHART]"), 1, 1)?;
    let (chart, _) = place::named(given.first().map_or("", String::as_str), matches, None)?;
    let all = what == "all";
    let mut out = String::new();
    if all || what == "chart" {
        let _ = writeln!(out, "{}", output::yaml(&chart.metadata)?);
    }
    if all || what == "values" {
        show_values(&mut out, &chart, all, matches.text("jsonpath"))?;
    }
    if let Some(readme) = readme(&chart).filter(|_| all || what == "readme") {
        let _ = writeln!(out, "{}{readme}", if all { "---\n" } else { "" });
    }
    if all || what == "crds" {
        for (_, text) in chart.crds() {
            let text = String::from_utf8_lossy(&text);
            let _ = writeln!(out, "{}{text}", if text.starts_with("---") { "" } else { "---\n" });
        }
    }
    output::print(&out)
}

fn show_values(out: &mut String, chart: &Chart, all: bool, jsonpath: &str) -> Outcome {
    let Some(text) = &chart.values_text else { return Ok(()) };
    if all {
        out.push_str("---\n");
    }
    if jsonpath.is_empty() {
        let _ = writeln!(out, "{}", String::from_utf8_lossy(text));
        return Ok(());
    }
    let path = jsonpath.trim().strip_prefix('{').and_then(|path| path.strip_suffix('}'));
    let path = path.and_then(|path| path.strip_prefix('.').or_else(|| path.strip_prefix("$.")));
    let plain =
        |path: &&str| path.split('.').all(|key| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)));
    let Some(path) = path.filter(plain) else {
        return Err(Failure::new(format!("error parsing jsonpath {jsonpath}: only paths of keys such as {{.image.tag}} are supported")));
    };
    let values = chart.values.to_json();
    let found = path.split('.').try_fold(&values, |value, key| value.get(key));
    match found {
        Some(serde_json::Value::String(text)) => out.push_str(text),
        Some(value) => out.push_str(&value.to_string()),
        None => {}
    }
    Ok(())
}

fn readme(chart: &Chart) -> Option<String> {
    let is_readme = |name: &str| ["readme.md", "readme.txt", "readme"].contains(&name.to_lowercase().as_str());
    chart.files.iter().find(|file| is_readme(&file.name)).map(|file| String::from_utf8_lossy(file.data()).into_owned())
}
