use yaml::{Data, Node, Place};

/// One part of an object that came from one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// The path of the part: `spec.template.spec.containers[0].image`; empty for the whole object.
    pub path: String,
    /// The file, or the file and field of the transformer, that gave it.
    pub source: String,
    /// The line in the file, from one; 0 for what a transformer set.
    pub line: u32,
}

/// The object, then every part whose source is another than that of the part around it.
pub(crate) fn touches(node: &Node, sources: &[String]) -> Vec<Touch> {
    let mut found = vec![touch(String::new(), node.place, sources)];
    walk(node, &mut String::new(), sources, &mut found);
    found
}

fn touch(path: String, place: Place, sources: &[String]) -> Touch {
    Touch { path, source: sources.get(place.source as usize).cloned().unwrap_or_default(), line: place.line }
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
