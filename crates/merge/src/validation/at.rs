//! A value together with where it is, so that a check reads as what it says.

use serde_json::{Map, Value};

use crate::field::{self, FieldError};

/// A value at a path of an object; null where there is none.
#[derive(Debug, Clone)]
pub(super) struct At<'v> {
    pub value: &'v Value,
    pub path: String,
}

impl<'v> At<'v> {
    pub fn new(value: &'v Value, path: &str) -> Self {
        Self { value, path: path.to_owned() }
    }

    pub fn get(&self, name: &str) -> At<'v> {
        At { value: self.value.get(name).unwrap_or(&Value::Null), path: field::child(&self.path, name) }
    }

    /// The entry of a map, told as `path[name]`.
    pub fn entry(&self, name: &str) -> At<'v> {
        At { value: self.value.get(name).unwrap_or(&Value::Null), path: field::key(&self.path, name) }
    }

    pub fn items(&self) -> impl Iterator<Item = At<'v>> + use<'v> {
        let path = self.path.clone();
        self.value.as_array().into_iter().flatten().enumerate().map(move |(at, value)| At { value, path: field::index(&path, at) })
    }

    pub fn entries(&self) -> impl Iterator<Item = (&'v str, At<'v>)> + use<'v> {
        let path = self.path.clone();
        self.value.as_object().into_iter().flatten().map(move |(key, value)| (key.as_str(), At { value, path: field::key(&path, key) }))
    }

    pub fn len(&self) -> usize {
        self.value.as_array().map_or_else(|| self.value.as_object().map_or(0, Map::len), Vec::len)
    }

    pub fn text(&self) -> &'v str {
        self.value.as_str().unwrap_or("")
    }

    pub fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    pub fn is_true(&self) -> bool {
        self.value.as_bool().unwrap_or(false)
    }

    pub fn is_set(&self) -> bool {
        !self.value.is_null()
    }
}

/// Collects what is wrong.
#[derive(Debug, Default)]
pub(super) struct Errors(pub Vec<FieldError>);

impl Errors {
    pub fn push(&mut self, error: FieldError) {
        self.0.push(error);
    }

    pub fn required(&mut self, at: &At<'_>, detail: &str) {
        self.push(field::required(&at.path, detail));
    }

    pub fn invalid(&mut self, at: &At<'_>, detail: &str) {
        self.push(field::invalid(&at.path, at.value, detail));
    }

    /// Invalid, of a field whose text is empty or absent.
    pub fn invalid_text(&mut self, at: &At<'_>, detail: &str) {
        self.push(field::invalid(&at.path, &Value::from(at.text()), detail));
    }

    pub fn forbidden(&mut self, at: &At<'_>, detail: &str) {
        self.push(field::forbidden(&at.path, detail));
    }

    pub fn duplicate(&mut self, at: &At<'_>) {
        self.push(field::duplicate(&at.path, at.value));
    }

    pub fn not_supported(&mut self, at: &At<'_>, supported: &[&str]) {
        let value = if at.value.is_null() { Value::from("") } else { at.value.clone() };
        self.push(field::not_supported(&at.path, &value, supported));
    }

    /// Each message as an invalid value.
    pub fn all(&mut self, at: &At<'_>, messages: Vec<String>) {
        messages.iter().for_each(|message| self.invalid_text(at, message));
    }

    pub fn required_text(&mut self, at: &At<'_>) {
        if at.text().is_empty() {
            self.required(at, "");
        }
    }

    /// A text out of a few; absent is no error.
    pub fn one_of(&mut self, at: &At<'_>, supported: &[&str]) {
        if at.is_set() && !supported.contains(&at.text()) {
            self.not_supported(at, supported);
        }
    }

    /// A number that may not be negative; absent is no error.
    pub fn not_negative(&mut self, at: &At<'_>) {
        if at.int().is_some_and(|int| int < 0) {
            self.invalid(at, "must be greater than or equal to 0");
        }
    }
}
