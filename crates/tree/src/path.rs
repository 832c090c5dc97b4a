/// Cleans a slash path against the root: resolves `.`, `..` and empty parts. `None` when it climbs above the root.
///
/// A leading `/` means the root of the tree.
pub fn clean(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// `path` seen from the directory `base`; a leading `/` starts at the root. `None` when it climbs above the root.
pub fn join(base: &str, path: &str) -> Option<String> {
    if path.starts_with('/') { clean(path) } else { clean(&format!("{base}/{path}")) }
}

/// The directory that holds `path`; the root's is the root.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_never_leave_the_root() {
        assert_eq!(clean("./a//b/../c/").as_deref(), Some("a/c"));
        assert_eq!(clean("/").as_deref(), Some(""));
        assert_eq!(clean("a/../.."), None);
        assert_eq!(join("a/b", "../c").as_deref(), Some("a/c"));
        assert_eq!(join("a/b", "/c").as_deref(), Some("c"));
        assert_eq!(join("a", "../../c"), None);
        assert_eq!((parent("a/b"), parent("a"), parent("")), ("a", "", ""));
    }
}
