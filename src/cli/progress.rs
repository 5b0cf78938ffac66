//! The progress bar, on standard error, where there is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::db::blockers::Blocker;
use crate::db::execute::Progress;
use crate::render::RenderedStep;

use super::output::Output;

/// Tells how a script goes on.
#[derive(Debug)]
pub struct Bar<'a> {
    output: &'a Output,
    drawn: ProgressBar,
    told: bool,
}

impl<'a> Bar<'a> {
    /// A bar over so many units of work.
    #[must_use]
    pub fn new(output: &'a Output, units: usize) -> Self {
        let bar = if output.shows_progress() && units > 1 {
            ProgressBar::new(units as u64)
        } else {
            ProgressBar::hidden()
        };
        let template = "{bar:24} {pos}/{len} [{elapsed_precise}] {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { output, drawn: bar, told: false }
    }
}

/// A step counts as many units as it makes partitions, at least one.
#[must_use]
pub fn units(step: &RenderedStep) -> usize {
    step.partitions.max(1)
}

impl Progress for Bar<'_> {
    fn begin(&mut self, step: &RenderedStep) {
        tracing::info!("{}", step.title);
        self.told = false;
        self.drawn.set_message(step.title.clone());
    }

    fn blocked(&mut self, step: &RenderedStep, blockers: &[Blocker]) {
        if self.told {
            return;
        }
        self.told = true;
        self.drawn.suspend(|| {
            self.output.say(format!("Waiting for locks: {}", step.title));
            for blocker in blockers {
                self.output.say(format!("  {blocker}"));
            }
        });
    }

    fn done(&mut self, step: &RenderedStep) {
        self.drawn.inc(units(step) as u64);
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.drawn.finish_and_clear();
    }
}
