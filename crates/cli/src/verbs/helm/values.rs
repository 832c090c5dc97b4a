//! The values of the command line: files first, then `--set-json`, `--set`, `--set-string`, `--set-file`, `--set-literal`.

use crate::shell::{Failure, Flags as _, files, flags};
use clap::{Arg, ArgMatches};
use helm::{SetMode, Table, ValueSources};
use std::io::Read as _;

pub fn flags() -> Vec<Arg> {
    vec![
        flags::strings("values", "specify values in a YAML file (can specify multiple)").short('f'),
        flags::string_array(
            "set",
            "set values on the command line (can specify multiple or separate values with commas: key1=val1,key2=val2)",
        ),
        flags::string_array(
            "set-file",
            "set values from respective files specified via the command line (can specify multiple or separate values with commas: key1=path1,key2=path2)",
        ),
        flags::string_array(
            "set-json",
            "set JSON values on the command line (can specify multiple or separate values with commas: key1=jsonval1,key2=jsonval2 or using json format: {\"key1\": jsonval1, \"key2\": \"jsonval2\"})",
        ),
        flags::string_array("set-literal", "set a literal STRING value on the command line"),
        flags::string_array(
            "set-string",
            "set STRING values on the command line (can specify multiple or separate values with commas: key1=val1,key2=val2)",
        ),
    ]
}

/// The values, and which flag or file gave each.
pub fn read(matches: &ArgMatches) -> Result<(Table, ValueSources), Failure> {
    let mut values = Table::new();
    let mut sources = ValueSources::default();
    for path in matches.texts("values") {
        let text = read_file(&path)?;
        let read = helm::read_values(&text).map_err(|why| Failure::new(format!("failed to parse {path}: {why}")))?;
        sources.add(&path, &read);
        helm::merge_over(&mut values, &read);
    }
    type Set<'s> = &'s dyn Fn(&mut Table, &str) -> Result<(), String>;
    let file = |values: &mut Table, line: &str| helm::set_file(values, line, &mut |path| read_file(&path));
    let flags: [(&str, Set<'_>); 5] = [
        ("set-json", &|values, line| helm::set_json(values, line)),
        ("set", &|values, line| helm::set(values, line, SetMode::Typed)),
        ("set-string", &|values, line| helm::set(values, line, SetMode::Text)),
        ("set-file", &file),
        ("set-literal", &|values, line| helm::set_literal(values, line)),
    ];
    for (flag, set) in flags {
        for line in matches.texts(flag) {
            let colon = if flag == "set-json" { "" } else { ":" };
            set(&mut values, &line).map_err(|why| Failure::new(format!("failed parsing --{flag} data{colon} {why}")))?;
            let mut alone = Table::new();
            if set(&mut alone, &line).is_ok() {
                sources.add(&format!("--{flag}"), &alone);
            }
        }
    }
    Ok((values, sources))
}

fn read_file(path: &str) -> Result<String, String> {
    if path.trim() == "-" {
        let mut text = Vec::new();
        std::io::stdin().read_to_end(&mut text).map_err(|error| format!("read standard input: {error}"))?;
        return Ok(String::from_utf8_lossy(&text).into_owned());
    }
    Ok(String::from_utf8_lossy(&files::read(path)?).into_owned())
}
