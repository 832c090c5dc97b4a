//! Shows a view: a tree that changes in place on a terminal, one line a change elsewhere.

use super::view::{Id, Phase, Row, View};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{collections::BTreeMap, io::IsTerminal, time::Duration};

/// Rows that fit on a screen; longer trees fold the branches in which everything is ready.
const ROWS_MAX: usize = 30;

/// Where progress goes: always to standard error, so that standard output holds only the result.
pub struct Screen {
    bars: Option<MultiProgress>,
    /// One for each line of the tree, from the top.
    lines: Vec<(String, ProgressBar)>,
    /// What was said of each object last, where lines cannot be drawn over.
    said: BTreeMap<Id, Row>,
    last: View,
    colour: bool,
    quiet: bool,
}

impl Screen {
    pub fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none();
        let bars = (terminal && !quiet).then(MultiProgress::new);
        Self { bars, lines: Vec::new(), said: BTreeMap::new(), last: View::default(), colour, quiet }
    }

    /// A line of its own, above the tree.
    pub fn say(&self, symbol: &str, text: &str) {
        let line = format!("{symbol} {text}");
        match &self.bars {
            Some(bars) if !self.lines.is_empty() => {
                let _ = bars.println(line);
            }
            _ if self.quiet => {}
            _ => eprintln!("{line}"),
        }
    }

    /// Shows what is new in the view: the tree as it is now, or a line for each change where that cannot be drawn over.
    pub fn show(&mut self, view: &View) {
        if *view == self.last {
            return;
        }
        self.last = view.clone();
        match self.bars.clone() {
            Some(bars) => self.draw(&bars, view),
            None => self.tell(view),
        }
    }

    fn draw(&mut self, bars: &MultiProgress, view: &View) {
        let folded = (view.rows.len() > ROWS_MAX).then(|| view.folded());
        let lines = folded.as_ref().unwrap_or(view).lines();
        for (_, bar) in self.lines.drain(lines.len().min(self.lines.len())..) {
            bar.finish_and_clear();
            bars.remove(&bar);
        }
        for (at, (guide, row)) in lines.into_iter().enumerate() {
            let line = self.line(&guide, row);
            if self.lines.get(at).is_some_and(|(shown, _)| *shown == line) {
                continue;
            }
            if self.lines.len() == at {
                self.lines.push((String::new(), bars.add(spinner())));
            }
            let working = row.phase == Phase::Working;
            let template = if working { "{prefix}{spinner} {wide_msg}" } else { "{prefix}{wide_msg}" };
            let bar = &self.lines[at].1;
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_prefix(guide.clone());
            bar.set_message(if working { format!("{}  {}", row.id, row.text) } else { self.line("", row) });
            self.lines[at].0 = line;
        }
    }

    fn tell(&mut self, view: &View) {
        self.said.retain(|id, _| view.rows.iter().any(|row| row.id == *id));
        for row in &view.rows {
            if self.said.get(&row.id).is_none_or(|said| (said.phase, &said.text) != (row.phase, &row.text)) {
                if !self.quiet {
                    eprintln!("{}{row}", "  ".repeat(row.depth));
                }
                self.said.insert(row.id.clone(), row.clone());
            }
        }
    }

    /// Leaves the whole tree on the screen and stops drawing.
    pub fn rest(&mut self) {
        for (_, bar) in self.lines.drain(..) {
            bar.finish_and_clear();
        }
        for (guide, row) in self.last.lines().into_iter().filter(|_| !self.quiet) {
            let line = self.line(&guide, row);
            match &self.bars {
                Some(bars) => drop(bars.println(line)),
                None => eprintln!("{line}"),
            }
        }
        self.last = View::default();
    }

    fn line(&self, guide: &str, row: &Row) -> String {
        let code = match row.phase {
            Phase::Ready => 32,
            Phase::Suspended => 36,
            Phase::Working => 33,
            Phase::Failing | Phase::Stalled => 31,
        };
        if self.colour {
            format!("{guide}\x1b[{code}m{}\x1b[0m {}  {}", row.phase.symbol(), row.id, row.text)
        } else {
            format!("{guide}{row}")
        }
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
