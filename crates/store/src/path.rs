/// Where the file of an object is: `<kind lower-cased>/<namespace>/<name>/<file>`.
pub fn artifact_path(kind: &str, namespace: &str, name: &str, file: &str) -> String {
    format!("{}/{namespace}/{name}/{file}", kind.to_ascii_lowercase())
}

/// A path below the root in its clean form; `None` for one that could be elsewhere, or names a temporary file.
pub(crate) fn safe(path: &str) -> Option<String> {
    let bad = path.contains(['\0', '\\']) || path.split('/').any(|part| part == ".." || part.starts_with(TEMPORARY));
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!bad).then(|| parts.join("/"))
}

/// Names of files that are being written begin so; they are neither listed nor served.
pub(crate) const TEMPORARY: &str = ".tmp-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        assert_eq!(artifact_path("GitRepository", "apps", "podinfo", "ab.tar.gz"), "gitrepository/apps/podinfo/ab.tar.gz");
        assert_eq!(safe("/a//./b").as_deref(), Some("a/b"));
        for bad in ["../x", "a/../../x", "a\\b", "a\0", "a/.tmp-1"] {
            assert_eq!(safe(bad), None, "{bad:?}");
        }
    }
}
