//! Puts `config/` into the program: `sluice install` renders it without a network. Says how the program is linked.

use std::{env, fmt::Write, fs, path::Path};

fn main() {
    // A command that runs for milliseconds would spend one of them, and 3 MiB, on relocating itself. At a fixed address, as programs in
    // Go are, there is nothing to relocate; the controllers, which run for months, keep the random one. (glibc; static programs as they are.)
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") && env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
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
