//! `helm template` over this crate: `template NAME CHART -n NAMESPACE --kube-version V -f VALUES... [-a API]... [--skip-schema-validation]`.

use helm::{Capabilities, Chart, ChartLimits, Environment, KubeVersion, Options, Profile, Release, Rendered, SystemRandom, Table};
use std::{path::Path, process::ExitCode, rc::Rc, sync::Arc};
use tree::MemoryTree;

fn load(directory: &Path, below: &str, tree: &mut MemoryTree) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory.join(below))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if std::fs::metadata(entry.path())?.is_dir() {
            load(directory, &path, tree)?;
        } else {
            tree.insert(&path, std::fs::read(entry.path())?, false);
        }
    }
    Ok(())
}

fn print(rendered: &Rendered) {
    let mut out = rendered.manifest().trim().to_owned();
    out.push('\n');
    for hook in &rendered.hooks {
        helm::push_document(&mut out, &hook.path, &hook.manifest);
    }
    print!("{out}");
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (mut positional, mut values, mut apis) = (Vec::new(), Table::new(), Vec::new());
    let (mut namespace, mut kube, mut skip, mut repeat) = ("default".to_owned(), None, false, 0u32);
    while let Some(arg) = args.next() {
        let mut value = || args.next().expect("the flag has a value");
        match arg.as_str() {
            "-n" => namespace = value(),
            "--kube-version" => kube = Some(value()),
            "-f" => {
                let text = std::fs::read_to_string(value()).expect("the values file can be read");
                helm::merge_over(&mut values, &helm::read_values(&text).expect("the values file is YAML"));
            }
            "-a" => apis.push(value()),
            "--skip-schema-validation" => skip = true,
            // Renders again and again, and says how long one rendering takes.
            "--repeat" => repeat = value().parse().expect("a number"),
            _ => positional.push(arg),
        }
    }
    let mut tree = MemoryTree::new();
    load(Path::new(&positional[2]), "", &mut tree).expect("the chart can be read");
    let profile = Profile::V4_3;
    let mut capabilities = Capabilities::defaults(profile);
    if let Some(kube) = kube {
        capabilities.kube_version = KubeVersion::parse(&kube).expect("a version");
    }
    capabilities.api_versions.extend(apis.into_iter().map(Into::into));
    let release = Release { name: positional[1].clone(), namespace, revision: 1, upgrade: false };
    let now = std::time::SystemTime::now().try_into().expect("the clock is right");
    let environment = Rc::new(Environment::new(now, Box::new(SystemRandom)));
    let cache = helm::Cache::new();
    let options = Options { profile, capabilities, skip_schema: skip, cache: Some(&cache), ..Options::new(release, environment) };
    let result = Chart::from_tree(&tree, "", ChartLimits::default()).map(Arc::new).and_then(|chart| {
        let rendered = helm::render(&chart, &values, &options)?;
        if repeat > 0 {
            let start = std::time::Instant::now();
            for _ in 0..repeat {
                helm::render(&chart, &values, &options)?;
            }
            eprintln!("{:.3} ms a rendering", start.elapsed().as_secs_f64() * 1e3 / f64::from(repeat));
        }
        Ok(rendered)
    });
    match result {
        Ok(rendered) => {
            print(&rendered);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("Error: {error}");
            if error.while_rendering() {
                eprintln!("\nUse --debug flag to render out invalid YAML");
            }
            ExitCode::FAILURE
        }
    }
}
