//! Choosing objects: by type, name and namespace (regular expressions), by labels and annotations.

use crate::{
    error::{Result, problem},
    id::{Gvk, Id, Scopes},
    object::Object,
};
use regex::{Regex, RegexBuilder};
use std::collections::HashMap;

/// Compiles an expression under a size budget; matching takes linear time.
pub(crate) fn compile(pattern: &str) -> Result<Regex> {
    let refuse = |why: &str| problem(format!("\"{pattern}\" is no regular expression: {why}"));
    let translated = types::re2::translate(pattern).map_err(|why| refuse(&why))?;
    RegexBuilder::new(&translated).size_limit(1 << 20).build().map_err(|error| {
        let why = error.to_string();
        refuse(why.lines().last().unwrap_or("").trim_start_matches("error: "))
    })
}

/// Whether an expression has nothing special but dots: names of groups and images look like that, and need no machine that matches.
pub(crate) fn is_nearly_plain(pattern: &str) -> bool {
    pattern.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'/' | b':' | b'@' | b'.'))
}

/// What follows the expression, where it is nearly plain, at the start of a text; a dot is any character but a line break.
pub(crate) fn strip_nearly_plain<'t>(text: &'t str, pattern: &str) -> Option<&'t str> {
    let mut rest = text.chars();
    let matches = |wanted, found| if wanted == '.' { found != '\n' } else { wanted == found };
    pattern.chars().all(|wanted| rest.next().is_some_and(|found| matches(wanted, found))).then_some(rest.as_str())
}

/// A text that most selectors give plainly.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    Any,
    Exact(String),
    Matches(Regex),
}

impl Pattern {
    pub fn new(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::Any);
        }
        if is_nearly_plain(text) {
            return Ok(Self::Exact(text.to_owned()));
        }
        compile(&format!("^(?:{text})$")).map(Self::Matches)
    }

    pub fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => strip_nearly_plain(text, exact) == Some(""),
            Self::Matches(regex) => regex.is_match(text),
        }
    }
}

/// The parts of a selector as they are written.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SelectorText {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub name: String,
    pub namespace: String,
    pub label_selector: String,
    pub annotation_selector: String,
}

impl SelectorText {
    /// Whether it names neither a type nor a name nor a namespace.
    pub fn is_unnamed(&self) -> bool {
        [&self.group, &self.version, &self.kind, &self.name, &self.namespace].iter().all(|part| part.is_empty())
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Selector {
    group: Pattern,
    version: Pattern,
    kind: Pattern,
    name: Pattern,
    namespace: Pattern,
    labels: Requirements,
    annotations: Requirements,
}

impl Selector {
    pub fn new(text: &SelectorText) -> Result<Self> {
        Ok(Self {
            group: Pattern::new(&text.group)?,
            version: Pattern::new(&text.version)?,
            kind: Pattern::new(&text.kind)?,
            name: Pattern::new(&text.name)?,
            namespace: Pattern::new(&text.namespace)?,
            labels: Requirements::parse(&text.label_selector)?,
            annotations: Requirements::parse(&text.annotation_selector)?,
        })
    }

    pub fn matches_gvk(&self, gvk: &Gvk) -> bool {
        self.kind.is_match(&gvk.kind) && self.group.is_match(&gvk.group) && self.version.is_match(&gvk.version)
    }

    /// By the id alone, as replacements match.
    pub fn matches_id(&self, id: &Id) -> bool {
        self.matches_gvk(&id.gvk) && self.name.is_match(&id.name) && self.namespace.is_match(&id.namespace)
    }

    pub fn matches_metadata(&self, object: &Object) -> bool {
        self.labels.matches(object, "labels") && self.annotations.matches(object, "annotations")
    }

    /// As patches match: name and namespace are the original or the current ones, the type is the current one.
    pub fn matches(&self, object: &Object, scopes: &Scopes) -> bool {
        let id = object.id();
        if !self.matches_gvk(&id.gvk) {
            return false;
        }
        let original = object.original_id();
        let namespace = matches!(self.namespace, Pattern::Any)
            || self.namespace.is_match(&original.effective_namespace(scopes))
            || self.namespace.is_match(&id.effective_namespace(scopes));
        namespace && (self.name.is_match(&original.name) || self.name.is_match(&id.name)) && self.matches_metadata(object)
    }
}

/// A label selector of Kubernetes: `a=b,c!=d,e in (f,g),!h`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Requirements(Vec<Requirement>);

#[derive(Debug, Clone)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
    Greater(i64),
    Less(i64),
}

impl Requirements {
    pub fn parse(text: &str) -> Result<Self> {
        let mut parser = Parser { tokens: tokens(text), at: 0, text };
        let mut requirements = Vec::new();
        if parser.peek().is_none() {
            return Ok(Self::default());
        }
        loop {
            requirements.push(parser.requirement()?);
            match parser.take() {
                None => break,
                Some(",") => {}
                Some(other) => return Err(parser.error(&format!("expected a comma, found \"{other}\""))),
            }
        }
        Ok(Self(requirements))
    }

    fn matches(&self, object: &Object, field: &str) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let pairs: HashMap<&str, &str> = crate::ops::pairs(&object.node, &["metadata", field]).collect();
        self.0.iter().all(|requirement| {
            let value = pairs.get(requirement.key.as_str()).copied();
            let number = || value.and_then(|value| value.parse::<i64>().ok());
            match &requirement.test {
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.iter().any(|wanted| wanted == value)),
                Test::NotIn(values) => value.is_none_or(|value| values.iter().all(|wanted| wanted != value)),
                Test::Greater(than) => number().is_some_and(|number| number > *than),
                Test::Less(than) => number().is_some_and(|number| number < *than),
            }
        })
    }
}

fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let special = ["==", "!=", "=", "!", "(", ")", ",", "<", ">"];
        let len = match special.iter().find(|special| rest.starts_with(**special)) {
            Some(special) => special.len(),
            None => rest.find(|c: char| c.is_whitespace() || "=!(),<>".contains(c)).unwrap_or(rest.len()),
        };
        tokens.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<&'a str>,
    at: usize,
    text: &'a str,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).copied()
    }

    fn take(&mut self) -> Option<&'a str> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn error(&self, why: &str) -> crate::Error {
        problem(format!("\"{}\" is no label selector: {why}", self.text))
    }

    fn word(&mut self) -> Result<&'a str> {
        match self.take() {
            Some(word) if !"=!(),<>".contains(&word[..1]) => Ok(word),
            other => Err(self.error(&format!("expected a name, found \"{}\"", other.unwrap_or("the end")))),
        }
    }

    fn requirement(&mut self) -> Result<Requirement> {
        if self.peek() == Some("!") {
            self.at += 1;
            return Ok(Requirement { key: self.word()?.to_owned(), test: Test::Absent });
        }
        let key = self.word()?.to_owned();
        let test = match self.peek() {
            None | Some(",") => Test::Exists,
            Some("=" | "==") => Test::In(vec![self.value()?]),
            Some("!=") => Test::NotIn(vec![self.value()?]),
            Some("in") => Test::In(self.values()?),
            Some("notin") => Test::NotIn(self.values()?),
            Some(sign @ (">" | "<")) => {
                let value = self.value()?;
                let number = value.parse().map_err(|_| self.error(&format!("\"{value}\" is no number")))?;
                if sign == ">" { Test::Greater(number) } else { Test::Less(number) }
            }
            Some(other) => return Err(self.error(&format!("unknown operator \"{other}\""))),
        };
        Ok(Requirement { key, test })
    }

    /// The value after an operator; none is the empty string.
    fn value(&mut self) -> Result<String> {
        self.at += 1;
        match self.peek() {
            None | Some(",") => Ok(String::new()),
            _ => self.word().map(str::to_owned),
        }
    }

    fn values(&mut self) -> Result<Vec<String>> {
        self.at += 1;
        if self.take() != Some("(") {
            return Err(self.error("expected a list in parentheses"));
        }
        let mut values = Vec::new();
        loop {
            match self.take() {
                Some(")") => return Ok(values),
                Some(",") => {
                    if matches!(self.peek(), Some("," | ")")) {
                        values.push(String::new());
                    }
                }
                Some(word) if !"=!(<>".contains(&word[..1]) => values.push(word.to_owned()),
                other => return Err(self.error(&format!("unexpected \"{}\" in a list", other.unwrap_or("the end")))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_selectors_match_as_in_kubernetes() {
        let text = "metadata: {labels: {app: web, tier: '3'}}";
        let object = Object::new(yaml::node(text, yaml::Dialect::Kyaml, yaml::Limits::default(), 0).unwrap().unwrap());
        for (selector, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier", true),
            ("app!=web", false),
            ("x!=1", true),
            ("!x", true),
            ("app in (api, web)", true),
            ("app notin (web)", false),
            ("tier>2", true),
            ("tier<3", false),
            ("app=", false),
        ] {
            assert_eq!(Requirements::parse(selector).unwrap().matches(&object, "labels"), expected, "{selector}");
        }
        assert!(Requirements::parse("a b").is_err());
        assert!(Requirements::parse("a in b").is_err());
    }

    #[test]
    fn expressions_of_unbounded_size_are_refused() {
        assert!(compile("(a{1000}){1000}").is_err());
    }
}
