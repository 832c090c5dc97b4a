use std::sync::Arc;

/// Names that templates repeat, each kept once. Bounded, and forgetful: a name may displace another.
pub(crate) struct Names(Vec<Option<Arc<str>>>);

/// Texts longer than this hardly ever come again.
const LONGEST: usize = 48;
const PLACES: usize = 1 << 11;

impl Default for Names {
    fn default() -> Self {
        Self(vec![None; PLACES])
    }
}

impl Names {
    /// The names behind the dots of `.a.b`.
    pub fn split(fields: &str) -> impl Iterator<Item = &str> {
        let mut rest = fields.get(1..).unwrap_or_default();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            // Names are short: a look at each byte is quicker than a search.
            let length = rest.bytes().position(|c| c == b'.').unwrap_or(rest.len());
            let name = &rest[..length];
            rest = rest.get(length + 1..).unwrap_or_default();
            Some(name)
        })
    }

    pub fn get(&mut self, text: &str) -> Arc<str> {
        if text.len() > LONGEST {
            return text.into();
        }
        let place = &mut self.0[mixed(text.as_bytes()) as usize % PLACES];
        match place {
            Some(known) if **known == *text => known.clone(),
            _ => place.insert(text.into()).clone(),
        }
    }
}

/// Mixes eight bytes at a time: quick for short names. Not for tables that strangers may fill.
pub(crate) fn mixed(text: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let step = |hash: u64, eight: u64| (hash.rotate_left(5) ^ eight).wrapping_mul(FACTOR);
    let (chunks, rest) = text.as_chunks::<8>();
    let hash = chunks.iter().fold(text.len() as u64, |hash, chunk| step(hash, u64::from_le_bytes(*chunk)));
    let last = rest.iter().fold(0, |last, byte| last << 8 | u64::from(*byte));
    let hash = step(hash, last);
    hash ^ hash >> 32
}

/// [`mixed`] for the hash tables of the standard library.
#[derive(Default, Clone)]
pub(crate) struct Mixed(u64);

impl std::hash::Hasher for Mixed {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = self.0.rotate_left(5) ^ mixed(bytes);
    }

    // What follows a text in a table of texts says nothing.
    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once() {
        let mut names = Names::default();
        let (first, again) = (names.get("Values"), names.get("Values"));
        assert!(Arc::ptr_eq(&first, &again) && *first == *"Values");
        let long = "x".repeat(100);
        assert_eq!(*names.get(&long), *long);
    }
}
