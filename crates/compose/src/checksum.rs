use tree::{Entry, MemoryTree};

/// Why a tree has no file name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumError {
    #[error("failed to hash staging dir: filenames with newlines are not supported")]
    Newline,
}

/// The name of the archive of an output: a checksum over its name, and the paths and contents of its files.
///
/// As Flux's source-watcher has it: Adler-32 over lines of the checksum and path of each file. Modes and empty folders do not count.
pub fn file_name(output: &str, tree: &MemoryTree) -> Result<String, ChecksumError> {
    let mut all = Adler32::new();
    for (path, entry) in tree.entries() {
        let Entry::File { bytes, .. } = entry else { continue };
        if path.contains('\n') {
            return Err(ChecksumError::Newline);
        }
        let mut file = Adler32::new();
        file.update(bytes);
        all.update(format!("{:x}  {output}/{path}\n", file.value()).as_bytes());
    }
    Ok(format!("{}.tar.gz", all.value()))
}

/// The checksum of RFC 1950.
struct Adler32 {
    low: u32,
    high: u32,
}

const MODULUS: u32 = 65521;
/// So many bytes can be summed before the sums have to be reduced.
const BLOCK: usize = 5552;

impl Adler32 {
    fn new() -> Self {
        Self { low: 1, high: 0 }
    }

    fn update(&mut self, bytes: &[u8]) {
        for block in bytes.chunks(BLOCK) {
            for byte in block {
                self.low += u32::from(*byte);
                self.high += self.low;
            }
            self.low %= MODULUS;
            self.high %= MODULUS;
        }
    }

    fn value(&self) -> u32 {
        (self.high << 16) | self.low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adler(bytes: &[u8]) -> u32 {
        let mut sum = Adler32::new();
        sum.update(bytes);
        sum.value()
    }

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(adler(b""), 1);
        assert_eq!(adler(b"Wikipedia"), 0x11e6_0398);
        assert_eq!(adler(&[0xff; 100_000]), 0x149a_302c, "sums are reduced in time");
    }

    #[test]
    fn the_name_covers_output_path_and_content_only() {
        let mut tree = MemoryTree::from_iter([("conf/one.yaml", "a: 1\n"), ("two.yaml", "b: 2\n")]);
        let name = file_name("app", &tree).unwrap();
        assert_eq!(file_name("app", &tree).unwrap(), name);
        assert_ne!(file_name("other", &tree).unwrap(), name);
        tree.insert_dir("empty");
        tree.insert("two.yaml", "b: 2\n", true);
        assert_eq!(file_name("app", &tree).unwrap(), name, "neither folders nor modes");
        tree.insert("two.yaml", "b: 3\n", true);
        assert_ne!(file_name("app", &tree).unwrap(), name);
        tree.insert("a\nb", "", false);
        assert_eq!(file_name("app", &tree), Err(ChecksumError::Newline));
    }
}
