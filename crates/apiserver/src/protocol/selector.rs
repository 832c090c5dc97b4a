use crate::protocol::status::{Result, Status};

/// A label selector: every requirement must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
    GreaterThan(i64),
    LessThan(i64),
}

impl LabelSelector {
    /// Reads `a=b,c!=d,e in (f,g),!h,i`, as `labels.Parse` does.
    pub fn parse(text: &str) -> Result<Self> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        parse_requirements(text).map(Self).map_err(|why| {
            let bare = why.contains("expected: !, identifier, or");
            Status::bad_request(if bare { why } else { format!("unable to parse requirement: {why}") })
        })
    }

    /// Reads the selector of a workload (`matchLabels`, `matchExpressions`); an absent one matches nothing.
    pub fn from_value(value: &serde_json::Value) -> Option<Self> {
        let mut out = Vec::new();
        for (key, wanted) in value.get("matchLabels").and_then(|v| v.as_object()).into_iter().flatten() {
            out.push(Requirement { key: key.clone(), test: Test::In(vec![wanted.as_str()?.to_owned()]) });
        }
        for expression in value.get("matchExpressions").and_then(|v| v.as_array()).into_iter().flatten() {
            let key = expression.get("key")?.as_str()?.to_owned();
            let values = || -> Vec<String> {
                expression
                    .get("values")
                    .and_then(|v| v.as_array())
                    .into_iter()
                    .flatten()
                    .filter_map(|v| v.as_str().map(str::to_owned))
                    .collect()
            };
            let test = match expression.get("operator")?.as_str()? {
                "In" => Test::In(values()),
                "NotIn" => Test::NotIn(values()),
                "Exists" => Test::Exists,
                "DoesNotExist" => Test::Absent,
                _ => return None,
            };
            out.push(Requirement { key, test });
        }
        Some(Self(out))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| {
            let value = label(&requirement.key);
            match &requirement.test {
                Test::Exists => value.is_some(),
                Test::Absent => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.iter().any(|v| v == value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.iter().any(|v| v == value)),
                Test::GreaterThan(bound) => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v > *bound),
                Test::LessThan(bound) => value.and_then(|v| v.parse::<i64>().ok()).is_some_and(|v| v < *bound),
            }
        })
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Comma,
    Open,
    Close,
    Not,
    Equal,
    NotEqual,
    Greater,
    Less,
}

impl Token {
    fn shown(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Comma => ",",
            Self::Open => "(",
            Self::Close => ")",
            Self::Not => "!",
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(first) = chars.next() {
        out.push(match first {
            c if c.is_whitespace() => continue,
            ',' => Token::Comma,
            '(' => Token::Open,
            ')' => Token::Close,
            '>' => Token::Greater,
            '<' => Token::Less,
            '!' if chars.next_if_eq(&'=').is_some() => Token::NotEqual,
            '!' => Token::Not,
            '=' => {
                chars.next_if_eq(&'=');
                Token::Equal
            }
            c => {
                let mut word = String::from(c);
                while let Some(next) = chars.next_if(|c| !c.is_whitespace() && !",()><!=".contains(*c)) {
                    word.push(next);
                }
                Token::Word(word)
            }
        });
    }
    out
}

fn parse_requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let tokens = tokens(text);
    let mut at = 0;
    let mut out = Vec::new();
    while at < tokens.len() {
        out.push(parse_one(&tokens, &mut at)?);
        match tokens.get(at) {
            None => break,
            Some(Token::Comma) => {
                at += 1;
                if at == tokens.len() {
                    return Err("found '', expected: identifier after ','".to_owned());
                }
            }
            Some(other) => return Err(format!("found '{}', expected: ',' or 'end of string'", other.shown())),
        }
    }
    Ok(out)
}

fn parse_one(tokens: &[Token], at: &mut usize) -> Result<Requirement, String> {
    let absent = tokens.get(*at) == Some(&Token::Not);
    if absent {
        *at += 1;
    }
    let key = match tokens.get(*at) {
        Some(Token::Word(key)) => key.clone(),
        other => return Err(format!("found '{}', expected: !, identifier, or 'end of string'", other.map_or("", Token::shown))),
    };
    check_key(&key)?;
    *at += 1;
    if absent {
        return Ok(Requirement { key, test: Test::Absent });
    }
    let test = match tokens.get(*at) {
        None | Some(Token::Comma) => return Ok(Requirement { key, test: Test::Exists }),
        Some(Token::Equal) => Test::In(vec![value_after(tokens, at)?]),
        Some(Token::NotEqual) => Test::NotIn(vec![value_after(tokens, at)?]),
        Some(Token::Greater) => Test::GreaterThan(number_after(tokens, at)?),
        Some(Token::Less) => Test::LessThan(number_after(tokens, at)?),
        Some(Token::Word(word)) if word == "in" => Test::In(values_after(tokens, at)?),
        Some(Token::Word(word)) if word == "notin" => Test::NotIn(values_after(tokens, at)?),
        Some(other) => return Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", other.shown())),
    };
    Ok(Requirement { key, test })
}

/// The single value after an operator; none at all is the empty value.
fn value_after(tokens: &[Token], at: &mut usize) -> Result<String, String> {
    *at += 1;
    match tokens.get(*at) {
        Some(Token::Word(word)) => {
            *at += 1;
            check_value(word)?;
            Ok(word.clone())
        }
        None | Some(Token::Comma) => Ok(String::new()),
        Some(other) => Err(format!("found '{}', expected: identifier", other.shown())),
    }
}

fn number_after(tokens: &[Token], at: &mut usize) -> Result<i64, String> {
    let text = value_after(tokens, at)?;
    text.parse().map_err(|_| format!("values[0]: Invalid value: \"{text}\": for 'Gt', 'Lt' operators, the value must be an integer"))
}

fn values_after(tokens: &[Token], at: &mut usize) -> Result<Vec<String>, String> {
    *at += 1;
    if tokens.get(*at) != Some(&Token::Open) {
        return Err(format!("found '{}' expected: '('", tokens.get(*at).map_or("", Token::shown)));
    }
    *at += 1;
    let mut out = Vec::new();
    loop {
        match tokens.get(*at) {
            Some(Token::Word(word)) => {
                check_value(word)?;
                out.push(word.clone());
                *at += 1;
                match tokens.get(*at) {
                    Some(Token::Comma) => *at += 1,
                    Some(Token::Close) => {
                        *at += 1;
                        return Ok(out);
                    }
                    other => return Err(format!("found '{}', expected: ',' or ')'", other.map_or("", Token::shown))),
                }
            }
            Some(Token::Comma) => {
                out.push(String::new());
                *at += 1;
            }
            Some(Token::Close) => {
                out.push(String::new());
                *at += 1;
                return Ok(out);
            }
            other => return Err(format!("found '{}', expected: ',', ')' or identifier", other.map_or("", Token::shown))),
        }
    }
}

fn check_key(key: &str) -> Result<(), String> {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    if name.is_empty() || name.len() > 63 || key.len() > 317 || !key.chars().all(good) || key.matches('/').count() > 1 {
        return Err(format!(
            "key: Invalid value: \"{key}\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        ));
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), String> {
    if value.len() > 63 {
        return Err(format!("values[0]: Invalid value: \"{value}\": must be no more than 63 bytes"));
    }
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    if !value.chars().all(inner) || !edge(value.chars().next()) || !edge(value.chars().last()) {
        return Err(format!(
            "values[0]: Invalid value: \"{value}\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        ));
    }
    Ok(())
}

/// A field selector: `path=value` and `path!=value`, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector(pub Vec<FieldTest>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTest {
    pub path: String,
    pub value: String,
    pub equal: bool,
}

impl FieldSelector {
    pub fn parse(text: &str) -> Result<Self> {
        let mut out = Vec::new();
        for part in split_unescaped(text) {
            if part.is_empty() {
                continue;
            }
            let (path, value, equal) = if let Some((path, value)) = part.split_once("!=") {
                (path, value, false)
            } else if let Some((path, value)) = part.split_once("==") {
                (path, value, true)
            } else if let Some((path, value)) = part.split_once('=') {
                (path, value, true)
            } else {
                return Err(Status::bad_request(format!("invalid selector: '{text}'; can't understand '{part}'")));
            };
            out.push(FieldTest { path: path.to_owned(), value: unescape(value), equal });
        }
        Ok(Self(out))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name that alone can match, when the selector pins one.
    pub fn pinned(&self, path: &str) -> Option<&str> {
        self.0.iter().find(|test| test.equal && test.path == path).map(|test| test.value.as_str())
    }
}

fn split_unescaped(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == ',' && !escaped {
            out.push(String::new());
            continue;
        }
        escaped = c == '\\' && !escaped;
        if let Some(last) = out.last_mut() {
            last.push(c);
        }
    }
    out
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &[(&str, &'static str)]) -> bool {
        LabelSelector::parse(selector).unwrap().matches(|key| labels.iter().find(|(k, _)| *k == key).map(|(_, v)| *v))
    }

    #[test]
    fn label_selectors_are_set_based() {
        let labels = [("app", "web"), ("tier", "front"), ("count", "3")];
        for yes in [
            "",
            "app",
            "app=web",
            "app==web,tier",
            "app in (a, web)",
            "tier notin (x)",
            "!gone",
            "x!=y",
            "count>2",
            "count<4",
            "gone notin (a)",
        ] {
            assert!(matches(yes, &labels), "{yes}");
        }
        for no in ["gone", "app!=web", "!app", "app in (a,b)", "app notin (web)", "count>3", "app="] {
            assert!(!matches(no, &labels), "{no}");
        }
    }

    #[test]
    fn malformed_label_selectors_are_refused() {
        for bad in ["a in", "a in (", "a in (b", "=b", "a=b,", "a b", "a=(", "a>x", "!!a", "a=b=c", "-/=x,,"] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn field_selectors_know_escapes() {
        let parsed = FieldSelector::parse(r"a=b\,c,d!=e").unwrap();
        assert_eq!(parsed.0[0], FieldTest { path: "a".into(), value: "b,c".into(), equal: true });
        assert!(!parsed.0[1].equal);
        assert!(FieldSelector::parse("nonsense").is_err());
    }
}
