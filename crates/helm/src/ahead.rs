//! Templates parsed before, and beside, the rendering that wants them.
//!
//! What a template says does not depend on the values, nor on the name it will have. So a second thread can begin with it while the chart
//! is still being put together, and each of the two takes what the other has not begun.

use crate::{Profile, chart::File, functions::functions};
use gotemplate::{Functions, ParseError, Syntax, Workshop};
use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// Templates, each parsed once by whoever comes first.
pub struct Ahead {
    functions: Arc<Functions>,
    files: Vec<(File, OnceLock<Option<Syntax>>)>,
    /// Where a file is, by its content.
    places: HashMap<usize, usize>,
    done: AtomicBool,
}

/// Bytes of templates from which on a second thread is worth its start.
const WORTHWHILE: u64 = 128 << 10;

impl Ahead {
    /// The templates among the files of a chart and of the charts in it, in the order in which [`Ahead::work`] takes them; `None` where they
    /// are too few.
    pub fn of(files: &[File], profile: Profile) -> Option<Self> {
        let is_template = |file: &&File| file.name.starts_with("templates/") || file.name.contains("/templates/");
        let mut templates: Vec<&File> = files.iter().filter(is_template).collect();
        // A rendering begins with the charts inside: this is the other end.
        templates.sort_by_key(|file| file.name.matches('/').count());
        Self::of_templates(templates.into_iter(), profile)
    }

    pub(crate) fn of_templates<'f>(templates: impl Iterator<Item = &'f File>, profile: Profile) -> Option<Self> {
        let files: Vec<_> = templates.map(|file| (file.clone(), OnceLock::new())).collect();
        if files.iter().map(|(file, _)| file.size()).sum::<u64>() < WORTHWHILE {
            return None;
        }
        let places = files.iter().enumerate().map(|(at, (file, _))| (file.identity(), at)).collect();
        Some(Self { functions: functions(profile), files, places, done: AtomicBool::new(false) })
    }

    /// Parses what nobody has begun, until all is done or nobody waits for it any more.
    pub fn work(&self) {
        let mut workshop = Workshop::default();
        for (file, syntax) in &self.files {
            if self.done.load(Ordering::Relaxed) {
                return;
            }
            syntax.get_or_init(|| read(file, &self.functions, &mut workshop).ok());
        }
    }

    /// Nobody waits for the rest.
    pub(crate) fn finish(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// What a file says, if that is known here and it was no mistake; waits where another thread is at it.
    pub(crate) fn get(&self, file: &File, functions: &Arc<Functions>, workshop: &mut Workshop) -> Option<&Syntax> {
        let place = *self.places.get(&file.identity()).filter(|_| Arc::ptr_eq(functions, &self.functions))?;
        self.files[place].1.get_or_init(|| read(file, functions, workshop).ok()).as_ref()
    }
}

/// Errors are not kept: they name the template, which is to be read again for that.
fn read(file: &File, functions: &Functions, workshop: &mut Workshop) -> Result<Syntax, ParseError> {
    Syntax::read("", file.data(), functions, workshop)
}
