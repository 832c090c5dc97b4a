use std::collections::BTreeMap;

/// One challenge of a `WWW-Authenticate` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// In lower case: `basic` or `bearer`.
    pub scheme: String,
    pub parameters: BTreeMap<String, String>,
}

/// Reads every challenge of one header value; a registry may offer several, in one header or in many.
pub(crate) fn challenges(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = header.trim();
    while !rest.is_empty() {
        let end = rest.find([' ', ',', '=']).unwrap_or(rest.len());
        let word = &rest[..end];
        let after = rest[end..].trim_start();
        if let Some(value) = after.strip_prefix('=') {
            let (value, left) = parameter_value(value.trim_start());
            if let Some(challenge) = found.last_mut() {
                challenge.parameters.insert(word.to_ascii_lowercase(), value);
            }
            rest = left.trim_start_matches([' ', ',']);
        } else {
            if !word.is_empty() {
                found.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: BTreeMap::new() });
            }
            rest = after.trim_start_matches([' ', ',']);
        }
    }
    found
}

/// A quoted or bare value, and what follows it.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, character) in quoted.char_indices() {
        match character {
            _ if escaped => {
                value.push(character);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, &quoted[at + 1..]),
            _ => value.push(character),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_several_challenges_of_one_header() {
        let found = challenges(
            r#"Basic realm="x, \"y\"", Bearer realm="https://auth.example/token",service=registry, scope="repository:a:pull,push""#,
        );
        assert_eq!(found.iter().map(|c| c.scheme.as_str()).collect::<Vec<_>>(), ["basic", "bearer"]);
        assert_eq!(found[0].parameters["realm"], "x, \"y\"");
        assert_eq!(found[1].parameters["service"], "registry");
        assert_eq!(found[1].parameters["scope"], "repository:a:pull,push");
        assert!(challenges("").is_empty());
        assert_eq!(challenges("Negotiate")[0].scheme, "negotiate");
    }
}
