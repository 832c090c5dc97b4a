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
    pub fn get(&mut self, text: &str) -> Arc<str> {
        if text.len() > LONGEST {
            return text.into();
        }
        let hash = fnv(text.as_bytes());
        let place = &mut self.0[(hash ^ hash >> 32) as usize % PLACES];
        match place {
            Some(known) if **known == *text => known.clone(),
            _ => place.insert(text.into()).clone(),
        }
    }
}

/// FNV-1a: quick for short names. Not for tables that strangers may fill.
pub(crate) fn fnv(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// [`fnv`] for the hash tables of the standard library.
#[derive(Default, Clone)]
pub(crate) struct Fnv(u64);

impl std::hash::Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = self.0.rotate_left(5) ^ fnv(bytes);
    }

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
