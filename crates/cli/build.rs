//! Puts `config/` into the program: `sluice install` renders it without a network.

use std::{env, fmt::Write, fs, path::Path};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
    let mut files = Vec::new();
    gather(&root, "", &mut files);
    files.sort();
    let mut table = String::from("pub static FILES: &[(&str, &str)] = &[\n");
    for path in &files {
        let whole = root.join(path);
        println!("cargo::rerun-if-changed={}", whole.display());
        let _ = writeln!(table, "    ({path:?}, include_str!({whole:?})),");
    }
    table.push_str("];\n");
    println!("cargo::rerun-if-changed={}", root.display());
    if let Some(out) = env::var_os("OUT_DIR") {
        fs::write(Path::new(&out).join("config.rs"), table).unwrap_or_else(|error| panic!("cannot write the table of config/: {error}"));
    }
}

fn gather(folder: &Path, prefix: &str, files: &mut Vec<String>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    for entry in entries.flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            println!("cargo::rerun-if-changed={}", entry.path().display());
            gather(&entry.path(), &format!("{name}/"), files);
        } else if name.ends_with(".yaml") {
            files.push(name);
        }
    }
}
