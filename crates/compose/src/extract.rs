use crate::staging::{PlaceError, Staging, below};
use tree::{Entry, archive};

/// Why an archive could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    #[error("failed to create destination directory {path:?}")]
    Folder { path: String, source: PlaceError },
    #[error("failed to extract tarball {path:?} to {to:?}")]
    Archive { path: String, to: String, source: archive::Error },
    #[error("failed to extract tarball {path:?} to {to:?}")]
    Place { path: String, to: String, source: PlaceError },
}

/// Whether a name is that of an archive: `.tar.gz` or `.tgz`, in any case.
pub(crate) fn is_archive(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    [".tar.gz", ".tgz"].iter().any(|extension| lower.ends_with(extension))
}

/// Unpacks an archive into the folder `to`.
pub(crate) fn extract(path: &str, bytes: &[u8], to: &str, staging: &mut Staging) -> Result<(), ExtractError> {
    staging.make_folder(to).map_err(|source| ExtractError::Folder { path: to.to_owned(), source })?;
    let max = staging.limits().archive_size_max;
    // Unlike in sources, where they are passed over, links are refused: what somebody packed would be missing.
    let limits = archive::Limits { size_max: max, file_size_max: max, skip_links: false, ..archive::Limits::default() };
    let (path, to) = (|| path.to_owned(), || to.to_owned());
    let tree = archive::read(bytes, limits).map_err(|source| ExtractError::Archive { path: path(), to: to(), source })?;
    for (inner, entry) in tree.entries() {
        let target = below(&to(), inner);
        let placed = match entry {
            Entry::Dir => staging.make_folder(&target),
            Entry::File { bytes, executable } => staging.put(&target, bytes.clone(), *executable),
        };
        placed.map_err(|source| ExtractError::Place { path: path(), to: to(), source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_told_by_their_names() {
        for (name, expected) in [("a/b.tgz", true), ("B.TAR.GZ", true), ("a.tar", false), ("tgz", false), ("a.tgz.yaml", false)] {
            assert_eq!(is_archive(name), expected, "{name}");
        }
    }
}
