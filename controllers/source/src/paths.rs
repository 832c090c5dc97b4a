//! Paths that objects name inside of artifacts.

/// A path that stays inside whatever it says: `..` above the root is the root.
pub(crate) fn inside(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_never_leave_the_root() {
        for (path, expected) in [("a/./b/", "a/b"), ("../../x", "x"), ("/a/../..//b", "b"), ("", ""), ("..", "")] {
            assert_eq!(inside(path), expected, "{path}");
        }
    }
}
