//! Shows a view: spinners on a terminal, one line a change elsewhere.

use super::view::{Id, Phase, Row, View};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{collections::BTreeMap, io::IsTerminal, time::Duration};

/// Where progress goes: always to standard error, so that standard output holds only the result.
pub struct Screen {
    bars: Option<MultiProgress>,
    rows: BTreeMap<Id, (Row, Option<ProgressBar>)>,
    colour: bool,
    quiet: bool,
}

impl Screen {
    pub fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none();
        Self { bars: (terminal && !quiet).then(MultiProgress::new), rows: BTreeMap::new(), colour, quiet }
    }

    /// A line of its own, above the rows.
    pub fn say(&self, symbol: &str, text: &str) {
        let line = format!("{symbol} {text}");
        match &self.bars {
            Some(bars) if !self.rows.is_empty() => {
                let _ = bars.println(line);
            }
            _ if self.quiet => {}
            _ => eprintln!("{line}"),
        }
    }

    /// Shows what is new in the view.
    pub fn show(&mut self, view: &View) {
        let gone: Vec<Id> = self.rows.keys().filter(|id| !view.rows.iter().any(|row| row.id == **id)).cloned().collect();
        for id in gone {
            if let Some((_, Some(bar))) = self.rows.remove(&id) {
                bar.finish_and_clear();
            }
        }
        for row in &view.rows {
            if self.rows.get(&row.id).is_some_and(|(known, _)| known == row) {
                continue;
            }
            let text = format!("{} {}  {}", self.symbol(row.phase), row.id, row.text);
            let bar = match (&self.bars, self.rows.remove(&row.id)) {
                (None, _) => {
                    if !self.quiet {
                        eprintln!("{text}");
                    }
                    None
                }
                (Some(_), Some((_, Some(bar)))) => Some(bar),
                (Some(bars), _) => Some(bars.add(spinner())),
            };
            if let Some(bar) = &bar {
                let working = row.phase == Phase::Working;
                let template = if working { "{spinner} {wide_msg}" } else { "{wide_msg}" };
                bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()));
                bar.set_message(if working { format!("{}  {}", row.id, row.text) } else { text });
            }
            self.rows.insert(row.id.clone(), (row.clone(), bar));
        }
    }

    /// Leaves the last state on the screen and stops drawing.
    pub fn rest(&mut self) {
        if let Some(bars) = &self.bars {
            for (row, bar) in self.rows.values() {
                if let Some(bar) = bar {
                    bar.finish_and_clear();
                }
                let _ = bars.println(format!("{} {}  {}", self.symbol(row.phase), row.id, row.text));
            }
        }
        for (_, bar) in self.rows.values_mut() {
            *bar = None;
        }
    }

    fn symbol(&self, phase: Phase) -> String {
        let (symbol, code) = match phase {
            Phase::Ready => ("✔", 32),
            Phase::Suspended => ("◌", 36),
            Phase::Working => ("◎", 33),
            Phase::Failing | Phase::Stalled => ("✗", 31),
        };
        if self.colour { format!("\x1b[{code}m{symbol}\x1b[0m") } else { symbol.to_owned() }
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
