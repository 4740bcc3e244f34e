//! How far a run is, on standard error: a bar for a terminal, and lines for whatever else reads it.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Where a run stands.
#[derive(Clone, Debug)]
pub struct Progress {
    bar: ProgressBar,
    wanted: bool,
}

impl Progress {
    /// A bar of `steps` steps; hidden unless `wanted` and standard error is a terminal.
    #[must_use]
    pub fn new(steps: u64, wanted: bool) -> Self {
        if !wanted || !std::io::stderr().is_terminal() {
            let bar = ProgressBar::hidden();
            return Self { bar, wanted };
        }
        let bar = ProgressBar::new(steps);
        let template = "{spinner} [{elapsed_precise}] {wide_bar} {pos}/{len} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, wanted }
    }

    /// Says what is being done.
    pub fn doing(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// One step is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// Prints a line, above the bar where there is one.
    pub fn say(&self, line: &str) {
        if !self.bar.is_hidden() {
            self.bar.println(line);
        } else if self.wanted {
            eprintln!("{line}");
        }
    }

    /// Clears the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
