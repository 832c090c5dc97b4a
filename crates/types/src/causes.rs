use std::error::Error;

/// An error with its causes, joined by `: ` as Go joins them. A cause that the text before it quotes already is left out.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let part = source.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        next = source.source();
    }
    text
}

/// The last cause of an error: the one that a person can act on.
pub fn innermost<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn causes_are_joined_once_each_and_the_last_is_found() {
        let error = Layer("outer", Some(Box::new(Layer("middle: inner", Some(Box::new(Layer("inner", None)))))));
        assert_eq!(chain(&error), "outer: middle: inner");
        assert_eq!(innermost(&error).to_string(), "inner");
    }
}
