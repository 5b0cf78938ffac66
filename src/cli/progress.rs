//! The progress bars, on standard error, where there is a terminal.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::db::blockers::Blocker;
use crate::db::execute::Progress;
use crate::event::export;
use crate::event::import::{self, Phase};
use crate::operation::archive;
use crate::render::RenderedStep;

use super::output::{Output, count};

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

    /// Tells something beside the bar, from another thread.
    pub fn teller(&self) -> impl Fn(&str) + Send + 'static {
        let (output, drawn) = (self.output.clone(), self.drawn.clone());
        move |message| drawn.suspend(|| output.say(message))
    }
}

/// Tells how a file of events is read.
#[derive(Debug)]
pub struct FileBar {
    drawn: ProgressBar,
    bytes: u64,
    reads: bool,
}

impl FileBar {
    /// A bar over a file of so many bytes.
    #[must_use]
    pub fn new(output: &Output, bytes: u64) -> Self {
        let drawn =
            if output.shows_progress() { ProgressBar::new(bytes) } else { ProgressBar::hidden() };
        drawn.enable_steady_tick(Duration::from_millis(200));
        Self { drawn, bytes, reads: false }
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.drawn.set_style(style);
        }
    }
}

impl import::Progress for FileBar {
    fn phase(&mut self, phase: Phase) {
        self.reads = phase != Phase::Comparing;
        let words = match phase {
            Phase::Reading => "Checking".to_owned(),
            Phase::Comparing => "Comparing the events with each other and the store".to_owned(),
            Phase::Loading { part: 1, parts: 1 } => "Loading".to_owned(),
            Phase::Loading { part, parts } => format!("Loading, part {part} of {parts}"),
        };
        tracing::info!("{words}");
        self.drawn.set_prefix(words);
        self.style(if self.reads {
            "{prefix} {bar:24} {percent}% {binary_bytes_per_sec}, {eta} left, {msg}"
        } else {
            "{prefix} {spinner} [{elapsed_precise}]"
        });
        if matches!(phase, Phase::Reading | Phase::Loading { part: 1, .. }) {
            self.drawn.set_position(0);
            self.drawn.reset_eta();
        }
    }

    fn read(&mut self, bytes: u64, lines: u64) {
        self.drawn.set_position(bytes.min(self.bytes));
        self.drawn.set_message(format!("{lines} events"));
    }
}

impl Drop for FileBar {
    fn drop(&mut self) {
        self.drawn.finish_and_clear();
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

/// Tells how many events went by, and how fast.
#[derive(Debug)]
pub struct Meter {
    drawn: ProgressBar,
    begin: Instant,
}

impl Meter {
    /// A bar over about so many events; a spinner where nobody knows.
    #[must_use]
    pub fn new(output: &Output, events: Option<u64>) -> Self {
        let (bar, template) = match events.filter(|events| *events > 0) {
            Some(events) => (
                ProgressBar::new(events),
                "{bar:24} {human_pos}/{human_len} events [{elapsed_precise}] {wide_msg}",
            ),
            None => (
                ProgressBar::new_spinner(),
                "{spinner} {human_pos} events [{elapsed_precise}] {wide_msg}",
            ),
        };
        let bar = if output.shows_progress() { bar } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { drawn: bar, begin: Instant::now() }
    }
}

impl export::Progress for Meter {
    #[allow(clippy::cast_precision_loss)]
    fn wrote(&mut self, events: u64, bytes: u64) {
        if self.drawn.is_hidden() {
            return;
        }
        let seconds = self.begin.elapsed().as_secs_f64().max(0.001);
        self.drawn.set_position(events);
        self.drawn.set_message(format!("{:.1} MB/s", bytes as f64 / seconds / 1e6));
    }
}

/// Tells how an archive or its way back goes on.
#[derive(Debug)]
pub struct ArchiveBar<'a> {
    output: &'a Output,
    drawn: ProgressBar,
    told: bool,
}

impl<'a> ArchiveBar<'a> {
    /// Nothing has begun.
    #[must_use]
    pub fn new(output: &'a Output) -> Self {
        let drawn = if output.shows_progress() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        drawn.enable_steady_tick(Duration::from_millis(200));
        Self { output, drawn, told: false }
    }

    /// Tells something beside the bar, from another thread.
    pub fn teller(&self) -> impl Fn(&str) + Send + 'static {
        let (output, drawn) = (self.output.clone(), self.drawn.clone());
        move |message| drawn.suspend(|| output.say(message))
    }
}

impl Progress for ArchiveBar<'_> {
    fn begin(&mut self, step: &RenderedStep) {
        self.told = false;
        archive::Progress::phase(self, &step.title, None);
    }

    fn blocked(&mut self, step: &RenderedStep, blockers: &[Blocker]) {
        if self.told {
            return;
        }
        self.told = true;
        archive::Progress::tell(self, &format!("Waiting for locks: {}", step.title));
        for blocker in blockers {
            archive::Progress::tell(self, &format!("  {blocker}"));
        }
    }

    fn done(&mut self, _step: &RenderedStep) {}
}

impl archive::Progress for ArchiveBar<'_> {
    fn phase(&mut self, words: &str, rows: Option<u64>) {
        tracing::info!("{words}");
        let template = match rows.filter(|rows| *rows > 0) {
            Some(rows) => {
                self.drawn.set_length(rows);
                "{prefix} {bar:24} {human_pos}/{human_len} events, {per_sec}, {eta} left"
            }
            None => "{spinner} {prefix} [{elapsed_precise}] {wide_msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.drawn.set_style(style);
        }
        self.drawn.set_prefix(words.to_owned());
        self.drawn.set_message(String::new());
        self.drawn.reset();
    }

    fn passed(&mut self, rows: u64) {
        self.drawn.set_position(rows);
    }

    fn tell(&mut self, words: &str) {
        self.drawn.suspend(|| self.output.say(words));
    }
}

impl Drop for ArchiveBar<'_> {
    fn drop(&mut self) {
        self.drawn.finish_and_clear();
    }
}

/// A bar from one position to another.
fn of_positions(output: &Output) -> ProgressBar {
    let drawn = if output.shows_progress() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let template = "{bar:24} {percent}% [{elapsed_precise}] {wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        drawn.set_style(style);
    }
    drawn
}

/// Tells how far a projection is on its way to a position.
#[derive(Debug)]
pub struct PositionBar {
    drawn: ProgressBar,
    begin: Option<i64>,
}

impl PositionBar {
    /// Nobody knows yet where it begins.
    #[must_use]
    pub fn new(output: &Output) -> Self {
        let drawn = of_positions(output);
        drawn.enable_steady_tick(Duration::from_millis(200));
        Self { drawn, begin: None }
    }

    /// The last checkpoint, where it is and where it goes.
    pub fn at(&mut self, row: &str, position: i64, goal: i64) {
        let begin = *self.begin.get_or_insert(position);
        let length = |from: i64, to: i64| u64::try_from(to.saturating_sub(from)).unwrap_or(0);
        self.drawn.set_length(length(begin, goal));
        self.drawn.set_position(length(begin, position));
        self.drawn.set_message(format!("{row} is at {position} of {goal}"));
    }
}

impl Drop for PositionBar {
    fn drop(&mut self) {
        self.drawn.finish_and_clear();
    }
}

/// Tells how far projections are behind, and how fast they come nearer.
#[derive(Debug)]
pub struct FoldBar {
    drawn: ProgressBar,
    begin: Option<i64>,
    /// Events at moments of the last seconds, for the speed.
    seen: VecDeque<(Instant, u64)>,
}

/// Over how long the speed is taken.
const SPEED_OVER: Duration = Duration::from_secs(3);

impl FoldBar {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(output: &Output) -> Self {
        let drawn = of_positions(output);
        Self { drawn, begin: None, seen: VecDeque::new() }
    }

    /// The projection that is furthest behind, where it is and where it goes, and how many events
    /// all of them have handled.
    pub fn at(&mut self, name: &str, position: i64, goal: i64, events: u64) {
        let now = Instant::now();
        self.seen.push_back((now, events));
        while self.seen.len() > 2 && self.seen.front().is_some_and(|(at, _)| now - *at > SPEED_OVER)
        {
            self.seen.pop_front();
        }
        if position == 0 && events == 0 {
            return;
        }
        let begin = *self.begin.get_or_insert(position);
        let length = |from: i64, to: i64| u64::try_from(to.saturating_sub(from)).unwrap_or(0);
        self.drawn.set_length(length(begin, goal));
        self.drawn.set_position(length(begin, position));
        let speed = self.speed();
        let left = length(position, goal);
        let words = if left == 0 {
            format!("caught up at {position}, {speed} events/s")
        } else {
            format!("{name} is at {position} of {goal}, {speed} events/s")
        };
        self.drawn.set_message(words);
    }

    /// Events in a second.
    fn speed(&self) -> u64 {
        let (Some((from, few)), Some((to, many))) = (self.seen.front(), self.seen.back()) else {
            return 0;
        };
        let milliseconds = (*to - *from).as_millis();
        let events = u128::from(many.saturating_sub(*few));
        u64::try_from(events * 1_000 / milliseconds.max(1)).unwrap_or(u64::MAX)
    }
}

impl Drop for FoldBar {
    fn drop(&mut self) {
        self.drawn.finish_and_clear();
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.drawn.finish_and_clear();
    }
}

/// How often it is told how far a wait is, where no bar is drawn.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Tells how far the slots of a projection are from their barrier.
#[derive(Debug)]
pub struct DrainBar<'a> {
    output: &'a Output,
    drawn: ProgressBar,
    told: Option<Instant>,
}

impl<'a> DrainBar<'a> {
    /// Nobody waits yet.
    #[must_use]
    pub fn new(output: &'a Output) -> Self {
        let drawn = if output.shows_progress() {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed_precise}] {wide_msg}")
        {
            drawn.set_style(style);
        }
        Self { output, drawn, told: None }
    }

    /// So many slots have so many positions to go.
    pub fn left(&mut self, slots: usize, positions: i64) {
        let slots = count(slots, "slot");
        let words =
            format!("Waiting for workers: {slots} before the barrier, {positions} positions left");
        if self.drawn.is_hidden() {
            if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                self.told = Some(Instant::now());
                self.output.say(words);
            }
        } else {
            self.drawn.set_message(words);
            self.drawn.tick();
        }
    }
}

impl Drop for DrainBar<'_> {
    fn drop(&mut self) {
        self.drawn.finish_and_clear();
    }
}
