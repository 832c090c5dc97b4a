use crate::error::{Error, Result};
use std::cell::Cell;
use yaml::{Data, Node};

/// How deep a value may be, wherever it came from: as deep as YAML may be read.
pub(crate) const DEPTH_MAX: usize = 256;

/// About how many bytes a value takes, and how deep it is.
pub(crate) fn measure(node: &Node) -> (usize, usize) {
    const NODE: usize = 64;
    let inner = |children: &mut dyn Iterator<Item = &Node>| {
        children.map(measure).fold((NODE, 1), |(bytes, depth), (more, deep)| (bytes + more, depth.max(deep + 1)))
    };
    match &node.data {
        Data::Scalar(scalar) => (NODE + scalar.text.len(), 1),
        Data::List(items) => inner(&mut items.iter()),
        Data::Map(map) => {
            let (bytes, depth) = inner(&mut map.entries.iter().map(|entry| &entry.value));
            (bytes + map.entries.iter().map(|entry| entry.key.len()).sum::<usize>(), depth)
        }
    }
}

/// How much a build may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Objects at any time.
    pub objects: u64,
    /// Files read.
    pub files: u64,
    /// Bytes of files read, together.
    pub bytes: u64,
    /// Kustomizations inside kustomizations.
    pub depth: u64,
    /// Files and repositories fetched.
    pub fetches: u64,
    /// Bytes of values that transformers make, together: what grows by copying itself ends here.
    pub made: u64,
    /// Elementary steps: nodes merged, objects matched, values replaced.
    pub steps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { objects: 200_000, files: 100_000, bytes: 512 << 20, depth: 64, fetches: 1_000, made: 512 << 20, steps: 400_000_000 }
    }
}

/// What is left of the limits.
#[derive(Debug)]
pub(crate) struct Budget {
    pub limits: Limits,
    steps: Cell<u64>,
    files: Cell<u64>,
    bytes: Cell<u64>,
    fetches: Cell<u64>,
    made: Cell<u64>,
}

impl Budget {
    pub fn new(limits: Limits) -> Self {
        Self { limits, steps: Cell::new(0), files: Cell::new(0), bytes: Cell::new(0), fetches: Cell::new(0), made: Cell::new(0) }
    }

    pub fn spend(&self, steps: u64) -> Result<()> {
        let spent = self.steps.get().saturating_add(steps);
        self.steps.set(spent);
        if spent > self.limits.steps { Err(Error::Limit { what: "steps", max: self.limits.steps }) } else { Ok(()) }
    }

    /// Refuses a file that is too large before it is read.
    pub fn fits(&self, bytes: u64) -> Result<()> {
        let all = self.bytes.get().saturating_add(bytes);
        if all > self.limits.bytes { Err(Error::Limit { what: "bytes of files", max: self.limits.bytes }) } else { Ok(()) }
    }

    pub fn read(&self, bytes: usize) -> Result<()> {
        self.files.set(self.files.get() + 1);
        self.bytes.set(self.bytes.get().saturating_add(bytes as u64));
        if self.files.get() > self.limits.files {
            return Err(Error::Limit { what: "files", max: self.limits.files });
        }
        if self.bytes.get() > self.limits.bytes {
            return Err(Error::Limit { what: "bytes of files", max: self.limits.bytes });
        }
        Ok(())
    }

    /// Takes note of a value that is made.
    pub fn make(&self, bytes: usize) -> Result<()> {
        self.made.set(self.made.get().saturating_add(bytes as u64));
        if self.made.get() > self.limits.made { Err(Error::Limit { what: "bytes of values", max: self.limits.made }) } else { Ok(()) }
    }

    /// Takes note of a value that is put below `parts` others; what is nested too deeply is an error.
    pub fn place(&self, value: &Node, parts: usize) -> Result<()> {
        let (bytes, depth) = measure(value);
        if parts + depth > DEPTH_MAX {
            return Err(Error::Limit { what: "values inside each other", max: DEPTH_MAX as u64 });
        }
        self.make(bytes)
    }

    pub fn fetch(&self) -> Result<()> {
        self.fetches.set(self.fetches.get() + 1);
        if self.fetches.get() > self.limits.fetches { Err(Error::Limit { what: "fetches", max: self.limits.fetches }) } else { Ok(()) }
    }

    pub fn objects(&self, count: usize) -> Result<()> {
        if count as u64 > self.limits.objects { Err(Error::Limit { what: "objects", max: self.limits.objects }) } else { Ok(()) }
    }
}
