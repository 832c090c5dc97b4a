//! Actions that a file repeats word for word, each read once.
//!
//! A chart's files hold the same few actions many times: `{{ end }}`, `{{- if .Values.labels }}`, `{{ include "labels" . }}`. What is written
//! the same means the same, as long as its variables are those that they were; only the place differs, and that is kept beside it.

use crate::{
    ast::{Pipe, Place},
    lex::{Kind, RIGHT},
    names::mixed,
};
use memchr::memchr_iter;
use smallvec::SmallVec;

/// A variable that an action names: where the name stands, and the slot that it meant.
#[derive(Clone, Copy)]
pub(crate) struct Used {
    pub start: u32,
    pub end: u32,
    pub slot: u32,
}

pub(crate) type AllUsed = SmallVec<[Used; 4]>;

/// An action that was read.
#[derive(Clone)]
pub(crate) struct Action {
    /// From behind the left delimiter to the right one.
    pub start: u32,
    pub end: u32,
    /// Where the white space begins that is trimmed away before the right delimiter.
    pub inner_end: u32,
    /// What begins or ends with it: a keyword's, or that of a right delimiter for a plain action.
    pub kind: Kind,
    pub pipe: Option<Place<Pipe>>,
    pub used: AllUsed,
    /// How deep in blocks it was read: deeper down it could be refused.
    pub depth: usize,
}

/// The actions of one file, those that were read last. Kept from one file to the next for its memory.
#[derive(Default)]
pub(crate) struct Actions {
    /// Each with the file that it is of.
    table: Vec<Option<(u32, Action)>>,
    file: u32,
}

const PLACES: usize = 512;
/// Longer actions hardly ever come again.
const LONGEST: usize = 200;

/// Where an action may end, if it is short: at the first right delimiter, which may also stand in a text of it.
pub(crate) fn end_of(text: &str, start: usize) -> Option<usize> {
    let rest = &text.as_bytes()[start..];
    let rest = &rest[..rest.len().min(LONGEST)];
    memchr_iter(b'}', rest).find(|at| rest[*at..].starts_with(RIGHT.as_bytes())).map(|length| start + length)
}

impl Actions {
    /// Forgets the file before.
    pub fn begin(&mut self) {
        self.file = self.file.wrapping_add(1);
        if self.table.is_empty() || self.file == 0 {
            self.table = vec![None; PLACES];
        }
    }

    fn place(text: &str) -> usize {
        mixed(text.as_bytes()) as usize % PLACES
    }

    /// The action that is written like the one between two places of the text.
    pub fn find(&self, text: &str, start: usize, end: usize) -> Option<&Action> {
        let wanted = &text[start..end];
        let (file, known) = self.table.get(Self::place(wanted))?.as_ref()?;
        (*file == self.file && text[known.start as usize..known.end as usize] == *wanted).then_some(known)
    }

    pub fn keep(&mut self, text: &str, action: Action) {
        let place = Self::place(&text[action.start as usize..action.end as usize]);
        if let Some(free) = self.table.get_mut(place) {
            *free = Some((self.file, action));
        }
    }
}
