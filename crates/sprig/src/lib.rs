//! The sprig 3.3 function library for Go templates, as Helm enables it.
//!
//! ```text
//! functions() -> gotemplate::Functions
//!   strings cases numbers decimal lists dicts flow      values in, values out
//!   json encodings paths regexes semver urls
//!   dates(layout) crypto certs(keys, der, pem) ------->  Environment: time, zone, randomness, keys (given to the run)
//! ```
//!
//! Nothing here looks at a clock, an environment variable or the network: `env` and `expandenv` do not exist, `getHostByName` gives
//! nothing. Work and results are charged to the run's budgets before they are made.

mod args;
mod cases;
mod certs;
mod crypto;
mod dates;
mod decimal;
mod der;
mod dicts;
mod encodings;
mod environment;
mod flow;
pub mod json;
mod keys;
mod layout;
mod lists;
mod numbers;
mod paths;
mod pem;
mod regexes;
mod semver;
mod strings;
mod urls;

pub use dates::{parse_duration, time};
pub use encodings::base64;
pub use environment::{Environment, FreshKeys, KeyKind, KeySource, Random, SeededRandom, SystemRandom};
pub use paths::{base, clean};

pub(crate) use environment::environment;

/// Go's own functions and sprig's.
pub fn functions() -> gotemplate::Functions {
    let mut all = gotemplate::Functions::builtins();
    for table in [
        strings::ALL,
        numbers::ALL,
        dicts::ALL,
        flow::ALL,
        json::ALL,
        encodings::ALL,
        paths::ALL,
        regexes::ALL,
        dates::ALL,
        semver::ALL,
        urls::ALL,
        crypto::ALL,
        certs::ALL,
    ] {
        all.add(table);
    }
    lists::ALL.iter().for_each(|table| all.add(table));
    all
}
