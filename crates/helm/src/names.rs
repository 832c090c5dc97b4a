//! Names of releases.

use gotemplate::{Limits, MissingKey, Run, Set, Value};
use sprig::Environment;
use std::{rc::Rc, sync::Arc};

const MAX_LENGTH: usize = 53;

/// Whether a release may be called so. The error is Helm's.
pub fn check_release_name(name: &str) -> Result<(), String> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label = |label: &str| !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-');
    if name.len() <= MAX_LENGTH && name.split('.').all(label) {
        return Ok(());
    }
    let quoted = crate::functions::quoted(name);
    Err(format!(
        "release name {quoted}: invalid release name, must match regex ^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$ and the length must not be longer than {MAX_LENGTH}"
    ))
}

/// The name that a template gives: sprig's functions over no data.
pub fn name_from_template(text: &str, environment: Rc<Environment>) -> Result<String, String> {
    const NAME: &str = "name-template";
    let mut set = Set::new(Arc::new(sprig::functions()));
    set.parse(NAME, text).map_err(|error| error.to_string())?;
    let mut run = Run::new(&set, Limits::default(), MissingKey::Zero).with(environment);
    let name = run.execute(NAME, &Value::Invalid).map_err(|failure| failure.to_string())?;
    Ok(String::from_utf8_lossy(&name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sprig::SeededRandom;

    #[test]
    fn names_are_checked_and_made() {
        assert!(check_release_name("web-1.a").is_ok());
        for bad in ["", "A", "a_b", "-a", "a.", &"a".repeat(54)] {
            assert!(check_release_name(bad).is_err(), "{bad}");
        }
        let named = |text: &str| {
            let environment = Environment::new("2026-01-02T03:04:05Z".parse().unwrap(), Box::new(SeededRandom::new(b"x")));
            name_from_template(text, Rc::new(environment))
        };
        assert_eq!(named(r#"web-{{ "A" | lower }}"#).as_deref(), Ok("web-a"));
        assert_eq!(named("a{{").unwrap_err(), "template: name-template:1: unclosed action");
    }
}
