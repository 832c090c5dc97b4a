use tree::{Kind, MemoryTree, ignore::Rules};

/// What of an output goes into its archive: not what a source leaves out where nobody says otherwise.
///
/// A `.sourceignore` file in the output has no effect, as in Flux. Flux holds the rules against the path of a temporary folder, so a
/// pattern that asks for a folder before the name (`**/.sops.yaml`) also matches at the root; here a folder is put before each path.
#[derive(Debug, Clone)]
pub struct Filter(Rules);

impl Default for Filter {
    fn default() -> Self {
        Self(Rules::load(&MemoryTree::new(), None).unwrap_or_default())
    }
}

impl Filter {
    pub fn keeps(&self, path: &str, kind: Kind) -> bool {
        !self.0.excludes(&format!("output/{path}"), kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sources_leave_out_by_default_stays_out() {
        let filter = Filter::default();
        for path in ["picture.jpg", ".github/x.yaml", "a/.github/x.yaml", ".sops.yaml", "a/.sops.yaml", "x.tar.gz", ".gitignore"] {
            assert!(!filter.keeps(path, Kind::File), "{path}");
        }
        for path in ["keep.yaml", ".sourceignore", "output/keep.yaml", "charts/x.tgz"] {
            assert!(filter.keeps(path, Kind::File), "{path}");
        }
        assert!(!filter.keeps(".github", Kind::Dir) && filter.keeps("a", Kind::Dir));
    }
}
