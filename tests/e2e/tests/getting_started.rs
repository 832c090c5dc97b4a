//! docs/getting-started.md, word by word: its commands are run in the order of the page, in one shell a terminal.

#![allow(clippy::unwrap_used)]

use e2e::{GitServer, House, Options, Process, binary, until};
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A block of commands of the page: what stands behind ` ```sh `, and the text.
struct Block {
    tag: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/getting-started.md")).unwrap();
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<Block> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some(Block { tag: language.to_owned(), text: String::new() }),
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    found.retain(|block| block.tag == "sh" || block.tag.starts_with("sh "));
    for block in &mut found {
        block.tag = block.tag.trim_start_matches("sh").trim().to_owned();
    }
    found
}

/// A terminal: what it exports and where it is stays from one block to the next.
struct Terminal {
    home: PathBuf,
    path: String,
    /// Commands that set up the next block as the ones before have left it.
    before: String,
}

impl Terminal {
    fn command(&self, text: &str) -> Command {
        let mut command = Command::new("bash");
        let state = self.home.join("state");
        let script = format!("set -e\n{}{text}\n{{ export -p; echo cd \"'$PWD'\"; }} > {}\n", self.before, state.display());
        command.args(["-c", &script]).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
        command.env_clear().env("HOME", &self.home).env("PATH", &self.path).env("NO_COLOR", "1");
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
        command
    }

    fn run(&mut self, text: &str) -> Output {
        let output = self.command(text).output().unwrap();
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{text}\n--- it printed:\n{}{}", shown(&output.stdout), shown(&output.stderr));
        self.before = std::fs::read_to_string(self.home.join("state")).unwrap() + "\n";
        output
    }
}

#[test]
fn every_command_of_the_page_works_in_its_order() {
    if std::env::var_os("SLUICE_TEST_KUBECONFIG").is_some() {
        println!("SKIPPED: the page brings its own cluster");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    // The program is built already; what the page builds would be the same in release form.
    let programs = binary("sluice").parent().unwrap().to_owned();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut terminal = Terminal { home: home.path().to_owned(), path, before: String::new() };
    let mut up: Option<Process> = None;
    // A repository and a cluster such as a reader has them. Nothing runs containers here: the controllers run beside the cluster.
    let server = GitServer::start();
    server.repository("fleet");
    let mut house: Option<House> = None;
    let mut run = 0;
    for block in blocks() {
        run += 1;
        match block.tag.as_str() {
            "" if block.text.contains("cargo build") => {
                assert!(
                    block.text.starts_with("cargo build --release\nexport PATH="),
                    "the test stands in for these lines: {}",
                    block.text
                );
            }
            "" => {
                let output = terminal.run(&block.text);
                println!("{}{}", block.text, String::from_utf8_lossy(&output.stdout));
            }
            "up" => {
                let process = Process::start("up", home.path(), &mut terminal.command(&format!("exec {}", block.text)));
                until("everything to be ready", || if process.log().contains("Ctrl-C stops") { Ok(()) } else { Err(process.log()) });
                up = Some(process);
            }
            "cluster" => {
                assert!(up.take().unwrap().terminate(), "Ctrl-C ends it");
                assert!(block.text.contains("export FLEET_URL="), "{}", block.text);
                let mut cluster = House::start(Options { feature_gates: "ExternalArtifact=true", ..Options::default() });
                cluster.start_artifact();
                cluster.start_helm();
                let (kubeconfig, url) = (cluster.kubeconfig.display().to_string(), server.url("fleet"));
                terminal.run(&format!("{}export KUBECONFIG={kubeconfig}\nexport FLEET_URL={url}\n", block.text));
                house = Some(cluster);
            }
            "ci" => {
                terminal.run(&block.text);
            }
            other => panic!("what is a terminal of the kind {other:?}?"),
        }
    }
    assert!(run > 15 && house.is_some(), "the page lost its commands");
    // What the page says of a second run.
    let again = terminal.run("sluice bootstrap git --url=\"$FLEET_URL\" --path=clusters/dev 2>&1");
    let told = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(told.contains("component manifests are up to date") && told.contains("sync manifests are up to date"), "{told}");
}
