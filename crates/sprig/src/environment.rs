use crate::args::Result;
use gotemplate::{Failure, Run};
use jiff::{
    Timestamp,
    tz::{TimeZone, TimeZoneDatabase},
};
use std::{cell::RefCell, rc::Rc};

/// Where random bytes come from.
pub trait Random {
    fn fill(&mut self, bytes: &mut [u8]);
}

/// Randomness of the operating system.
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        // Asked straight: the TLS library's generator takes tens of milliseconds to seed itself from jitter.
        // The operating system's does not fail once it is seeded; were it to, no key may be made of zeros.
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

/// The same bytes for the same seed: previews that can be compared.
pub struct SeededRandom {
    seed: [u8; 32],
    counter: u64,
}

impl SeededRandom {
    pub fn new(seed: &[u8]) -> Self {
        use sha2::Digest;
        Self { seed: sha2::Sha256::digest(seed).into(), counter: 0 }
    }
}

impl Random for SeededRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        use sha2::Digest;
        for chunk in bytes.chunks_mut(32) {
            let block = sha2::Sha256::new().chain_update(self.seed).chain_update(self.counter.to_be_bytes()).finalize();
            self.counter += 1;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

/// What functions need to know of the world: the time, where it is, and randomness. Passed in, never looked up.
pub struct Environment {
    now: Timestamp,
    zone: TimeZone,
    zones: TimeZoneDatabase,
    random: RefCell<Box<dyn Random>>,
    keys: RefCell<Box<dyn KeySource>>,
}

/// Which kind of private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    Rsa2048,
    Rsa4096,
    EcdsaP256,
    Ed25519,
}

/// Where private keys come from, as PKCS#8. A preview that shall be reproducible gives the same keys each time.
pub trait KeySource {
    fn make(&mut self, kind: KeyKind) -> std::result::Result<Vec<u8>, String>;
}

/// Fresh keys.
pub struct FreshKeys;

impl KeySource for FreshKeys {
    fn make(&mut self, kind: KeyKind) -> std::result::Result<Vec<u8>, String> {
        crate::keys::generate(kind)
    }
}

impl Environment {
    /// The local time zone is UTC, as in a controller's container.
    pub fn new(now: Timestamp, random: Box<dyn Random>) -> Self {
        Self {
            now,
            zone: TimeZone::UTC,
            zones: TimeZoneDatabase::bundled(),
            random: RefCell::new(random),
            keys: RefCell::new(Box::new(FreshKeys)),
        }
    }

    pub fn with_keys(mut self, keys: Box<dyn KeySource>) -> Self {
        self.keys = RefCell::new(keys);
        self
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    pub fn zone_named(&self, name: &str) -> Option<TimeZone> {
        self.zones.get(name).ok()
    }

    pub fn random_bytes(&self, bytes: &mut [u8]) {
        self.random.borrow_mut().fill(bytes);
    }

    /// A number below `limit`, without bias.
    pub fn random_below(&self, limit: u64) -> u64 {
        let limit = limit.max(1);
        let reject = u64::MAX - u64::MAX % limit;
        loop {
            let mut bytes = [0; 8];
            self.random_bytes(&mut bytes);
            let value = u64::from_be_bytes(bytes);
            if value < reject {
                return value % limit;
            }
        }
    }

    pub(crate) fn key(&self, kind: KeyKind) -> Result<Vec<u8>> {
        self.keys.borrow_mut().make(kind).map_err(Failure::new)
    }
}

/// The environment of a run.
pub(crate) fn environment(run: &Run<'_>) -> Result<Rc<Environment>> {
    run.extension::<Environment>().ok_or_else(|| Failure::new("no environment: time and randomness were not given to this run"))
}
