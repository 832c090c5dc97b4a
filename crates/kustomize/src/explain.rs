use std::fmt;
use yaml::{Data, Node, Place};

/// One part of an object that came from one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// The path of the part: `spec.template.spec.containers[0].image`; empty for the whole object.
    pub path: String,
    /// The file that gave it, or that asks for the transformer that did.
    pub file: String,
    /// The line in the file, from one; 0 where it is not known.
    pub line: u32,
    /// The field of the kustomization, or the kind of plugin, that set it; empty for what stands in the file itself.
    pub by: String,
}

impl fmt::Display for Touch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.file)?;
        if self.line > 0 {
            write!(out, ":{}", self.line)?;
        }
        if self.by.is_empty() { Ok(()) } else { write!(out, " {}", self.by) }
    }
}

/// The object, then every part whose source is another than that of the part around it.
pub(crate) fn touches(node: &Node, sources: &[String]) -> Vec<Touch> {
    let mut found = vec![touch(String::new(), node.place, sources)];
    walk(node, &mut String::new(), sources, &mut found);
    found
}

pub(crate) fn touch(path: String, place: Place, sources: &[String]) -> Touch {
    let source = sources.get(place.source as usize).map_or("", String::as_str);
    let (file, by) = source.split_once(": ").unwrap_or((source, ""));
    Touch { path, file: file.to_owned(), line: place.line, by: by.to_owned() }
}

fn walk(node: &Node, path: &mut String, sources: &[String], found: &mut Vec<Touch>) {
    let len = path.len();
    let mut visit = |child: &Node, path: &mut String| {
        if child.place.source != node.place.source {
            found.push(touch(path.clone(), child.place, sources));
        }
        walk(child, path, sources, found);
        path.truncate(len);
    };
    match &node.data {
        Data::Scalar(_) => {}
        Data::List(items) => {
            for (at, item) in items.iter().enumerate() {
                path.push_str(&format!("[{at}]"));
                visit(item, path);
            }
        }
        Data::Map(map) => {
            for (key, value) in map.iter() {
                if key.contains(['.', '/', '[']) {
                    path.push_str(&format!("[{key}]"));
                } else {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
                visit(value, path);
            }
        }
    }
}
