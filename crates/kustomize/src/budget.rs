use crate::error::{Error, Result};
use std::cell::Cell;

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
    /// Elementary steps: nodes merged, objects matched, values replaced.
    pub steps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { objects: 200_000, files: 100_000, bytes: 512 << 20, depth: 64, fetches: 1_000, steps: 400_000_000 }
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
}

impl Budget {
    pub fn new(limits: Limits) -> Self {
        Self { limits, steps: Cell::new(0), files: Cell::new(0), bytes: Cell::new(0), fetches: Cell::new(0) }
    }

    pub fn spend(&self, steps: u64) -> Result<()> {
        let spent = self.steps.get().saturating_add(steps);
        self.steps.set(spent);
        if spent > self.limits.steps { Err(Error::Limit { what: "steps", max: self.limits.steps }) } else { Ok(()) }
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

    pub fn fetch(&self) -> Result<()> {
        self.fetches.set(self.fetches.get() + 1);
        if self.fetches.get() > self.limits.fetches { Err(Error::Limit { what: "fetches", max: self.limits.fetches }) } else { Ok(()) }
    }

    pub fn objects(&self, count: usize) -> Result<()> {
        if count as u64 > self.limits.objects { Err(Error::Limit { what: "objects", max: self.limits.objects }) } else { Ok(()) }
    }
}
