//! Mutated trees: the body of the fuzz target, from the cases as seeds. The random numbers are always the same.
//!
//! `SLUICE_MUTATE_SECONDS=300 cargo test -p kustomize --test mutations` goes on for as long, with other numbers every time.

mod common;

use common::{Case, fixtures, parse};
use kustomize::fuzz::{Outcome, encode, run};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// What breaks YAML, paths, patterns and directives.
const PIECES: [&str; 48] = [
    "null",
    "[]",
    "{}",
    "- ",
    ": ",
    "~",
    "'",
    "\"",
    "\n",
    "  ",
    "\t",
    "1",
    "[",
    "}",
    "$patch: replace\n",
    "$patch: delete\n",
    "*",
    "..",
    "name",
    "kind",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!int ",
    "!!binary ",
    "\"\"",
    ",",
    "---\n",
    "...\n",
    "# {\"type\":\"array\",\"x-kubernetes-patch-strategy\":\"merge\"}\n",
    "List",
    "items:\n",
    "namespace: x\n",
    "$(V)",
    "$$",
    "|\n",
    ">-\n",
    "é",
    "😀",
    "\u{85}",
    "\u{2028}",
    "0x1F",
    "1e999",
    "2001-01-01",
    "(a|b)*",
    "\\",
    "%",
    "[=x]",
];

fn files_of(case: &Case) -> Vec<(String, Vec<u8>)> {
    case.files.clone()
}

/// Changes a few places of a few files; files of other cases are among what it puts in.
fn mutate(random: &mut Random, seeds: &[Case]) -> Vec<(String, Vec<u8>)> {
    let mut files = files_of(random.of(seeds));
    if files.is_empty() {
        return files;
    }
    for _ in 0..1 + random.below(4) {
        let at = random.below(files.len());
        let other = random.of(seeds).files.clone();
        let content = &mut files[at].1;
        let lines: Vec<Vec<u8>> = content.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        match random.below(8) {
            // A piece in the place of some bytes.
            0..=2 => {
                let from = random.below(content.len() + 1);
                let to = (from + random.below(2) * random.below(12)).min(content.len());
                let piece = *random.of(&PIECES);
                drop(content.splice(from..to, piece.bytes()));
            }
            // A line twice, or not at all, or of another file.
            3 if !lines.is_empty() => {
                let line = random.below(lines.len());
                let mut lines = lines;
                lines.insert(line, lines[line].clone());
                *content = lines.concat();
            }
            4 if !lines.is_empty() => {
                let mut lines = lines;
                lines.remove(random.below(lines.len()));
                *content = lines.concat();
            }
            5 if !other.is_empty() => {
                let theirs = &random.of(&other).1;
                let line = theirs.split_inclusive(|byte| *byte == b'\n').nth(random.below(8)).unwrap_or_default();
                let place = content.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                let place = if random.below(2) == 0 { place } else { content.len() };
                drop(content.splice(place..place, line.iter().copied()));
            }
            // The kustomization of one case with the files of another.
            6 => {
                for (path, content) in other.into_iter().skip(1) {
                    if !files.iter().any(|(known, _)| *known == path) {
                        files.push((path, content));
                    }
                }
            }
            _ if content.len() > 1 => {
                let byte = random.below(content.len());
                content[byte] = random.below(128) as u8;
            }
            _ => {}
        }
    }
    files
}

fn seeds() -> Vec<Case> {
    fixtures().iter().flat_map(|file| parse(&fs::read_to_string(file).expect("it can be read")).1).collect()
}

/// Runs one input; what it breaks is told with the input.
fn attempt(files: &[(String, Vec<u8>)]) -> Outcome {
    let bytes = encode(files.iter().map(|(path, content)| (path.as_str(), content.as_slice())));
    let shown = || files.iter().map(|(path, content)| format!(".... {path}\n{}", String::from_utf8_lossy(content))).collect::<String>();
    let start = Instant::now();
    let outcome = std::panic::catch_unwind(|| run(&bytes)).unwrap_or_else(|_| Err("it panicked".to_owned()));
    let outcome = outcome.unwrap_or_else(|broken| panic!("{broken}\n{}", shown()));
    assert!(start.elapsed() < Duration::from_secs(20), "a small input took {:?}\n{}", start.elapsed(), shown());
    outcome
}

#[test]
fn mutated_trees_keep_the_promises_of_a_build() {
    let seeds = seeds();
    let seconds = std::env::var("SLUICE_MUTATE_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    let seed = seconds.and_then(|_| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()).map_or(11, |now| now.as_nanos() as u64);
    println!("seed {seed}");
    let mut random = Random(seed);
    // Without a wish it is a fixed number of rounds, and a bound for slow machines.
    let (rounds, bound) = match seconds {
        Some(bound) => (usize::MAX, bound),
        None => (2_500, Duration::from_secs(25)),
    };
    let (start, mut built, mut done) = (Instant::now(), 0, 0);
    while done < rounds && start.elapsed() < bound {
        done += 1;
        built += usize::from(attempt(&mutate(&mut random, &seeds)) == Outcome::Built);
    }
    println!("{done} inputs, {built} of them built, {:?}", start.elapsed());
    assert!(built > done / 20, "mutations leave too few builds whole to be of use: {built} of {done}");
}

#[test]
fn every_case_keeps_the_promises_of_a_build() {
    let built = seeds().iter().filter(|case| attempt(&files_of(case)) == Outcome::Built).count();
    assert!(built > 200, "{built}");
}

/// Seeds for the fuzz target, which starts with nothing otherwise.
#[test]
fn cases_are_written_as_seeds_where_that_is_asked() {
    let Some(folder) = std::env::var_os("SLUICE_FUZZ_SEEDS") else {
        println!("skipped: SLUICE_FUZZ_SEEDS names no folder");
        return;
    };
    fs::create_dir_all(&folder).expect("a folder");
    for (at, case) in seeds().iter().enumerate() {
        let bytes = encode(case.files.iter().map(|(path, content)| (path.as_str(), content.as_slice())));
        fs::write(Path::new(&folder).join(format!("case-{at:03}")), bytes).expect("a file");
    }
}

#[test]
fn bytes_that_are_no_tree_are_refused() {
    for bytes in [
        &b""[..],
        b"\xff\xff\xfe",
        b"\xfe",
        b"kustomization.yaml",
        b"kustomization.yaml\xfe\xff",
        b"../x\xferesources: []\xff",
        &[0xC3; 40],
    ] {
        assert_eq!(run(bytes), Ok(Outcome::Refused), "{bytes:?}");
    }
}
