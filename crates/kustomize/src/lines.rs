use std::collections::HashMap;
use yaml::{Node, Style};

/// On which lines of a kustomization file its fields stand; none of a file that was made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines {
    /// By name, in lower case.
    fields: HashMap<String, Field>,
}

#[derive(Debug, Clone, Default)]
struct Field {
    line: u32,
    /// Of the elements of a list.
    items: Vec<Item>,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    line: u32,
    /// Where its text begins: its own, or that of its `patch`.
    text: u32,
}

impl Lines {
    pub fn of(kustomization: &Node) -> Self {
        let entries = kustomization.as_map().into_iter().flat_map(|map| map.iter());
        let fields = entries.map(|(key, value)| {
            let items = value.as_list().into_iter().flatten().map(item).collect();
            (key.to_lowercase(), Field { line: value.place.line, items })
        });
        Self { fields: fields.collect() }
    }

    /// The line of a field's value, or of an element of it; 0 where it is not known.
    pub fn of_field(&self, name: &str, element: Option<usize>) -> u32 {
        let Some(field) = self.fields.get(&name.to_lowercase()) else { return 0 };
        element.and_then(|at| field.items.get(at)).map_or(field.line, |item| item.line)
    }

    /// The line at which a text begins that stands in an element of a field; 0 where it is not known.
    pub fn of_text(&self, name: &str, element: usize) -> u32 {
        self.fields.get(&name.to_lowercase()).and_then(|field| field.items.get(element)).map_or(0, |item| item.text)
    }
}

fn item(node: &Node) -> Item {
    Item { line: node.place.line, text: if node.as_scalar().is_some() { first_line(node) } else { text_line(node, "patch") } }
}

/// The line at which the text of a field begins; 0 where there is none.
pub(crate) fn text_line(map: &Node, field: &str) -> u32 {
    let entry = map.as_map().and_then(|map| map.iter().find(|(key, _)| key.eq_ignore_ascii_case(field)));
    entry.map_or(0, |(_, text)| first_line(text))
}

/// A block of text begins on the line behind its mark.
fn first_line(text: &Node) -> u32 {
    match text.as_scalar().map(|scalar| scalar.style) {
        Some(Style::Literal | Style::Folded) => text.place.line + 1,
        _ => text.place.line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_their_elements_have_lines() {
        let text = "namePrefix: a\nimages:\n- name: x\n- name: y\nPatches:\n- path: p\n- target: {}\n  patch: |\n    a: b\ntransformers:\n- x\n- |-\n  a: b\n";
        let node = yaml::node(text, yaml::Dialect::Sigs, yaml::Limits::default(), 0).expect("it is YAML").expect("it is a map");
        let lines = Lines::of(&node);
        assert_eq!(lines.of_field("namePrefix", None), 1);
        assert_eq!([0, 1].map(|at| lines.of_field("images", Some(at))), [3, 4]);
        assert_eq!(lines.of_field("patches", Some(1)), 7);
        assert_eq!([0, 1, 2].map(|at| lines.of_text("patches", at)), [0, 9, 0]);
        assert_eq!(lines.of_text("transformers", 1), 13);
        assert_eq!(lines.of_field("vars", None), 0);
    }
}
