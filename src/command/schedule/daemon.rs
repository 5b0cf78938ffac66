//! The daemon: waits for the next job, runs it, notes how it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;
use crate::schedule::agenda::{Agenda, Verdict};

use super::child::{Ended, Launcher, Wish};
use super::clock::{self, Clock};
use super::health::{self, Doing, Last, Row};
use super::notify::Notify;
use super::run::{Wishes, survive};
use super::seat::Seat;
use super::state::State;

/// How long a job may run, unless told otherwise: one that waits for somebody for ever would keep
/// all others from running.
const JOB_LONGEST: Duration = Duration::from_hours(12);

/// How long a job has to end when it has run for too long.
const KILL_AFTER: Duration = Duration::from_mins(5);

/// How often it tells that it lives, at least.
const BEAT: Duration = Duration::from_secs(15);

/// How often it looks at the clock, and for signals.
const TICK: Duration = Duration::from_millis(100);

/// What it needs.
pub(super) struct Daemon<'a> {
    context: &'a Context,
    wishes: Wishes<'a>,
    agenda: Agenda,
    lasts: Vec<Last>,
    state: Option<State>,
    seat: Seat,
    connected: bool,
    launcher: Launcher,
    pulse: Pulse,
    signals: Arc<AtomicU32>,
    clock: Clock,
    schema: String,
    failed: bool,
}

/// What a daemon has done that has ended.
#[derive(Serialize)]
struct Ran<'a> {
    /// By a signal.
    stopped: bool,
    jobs: Vec<Row<'a>>,
}

/// When it told last that it lives.
struct Pulse {
    notify: Notify,
    every: Duration,
    last: Instant,
}

impl Pulse {
    fn is_due(&self) -> bool {
        self.last.elapsed() >= self.every
    }
}

impl<'a> Daemon<'a> {
    #[expect(clippy::too_many_arguments, reason = "put together in one place, each another thing")]
    pub(super) fn new(
        context: &'a Context,
        wishes: Wishes<'a>,
        agenda: Agenda,
        state: Option<State>,
        seat: Seat,
        launcher: Launcher,
        notify: Notify,
        signals: Arc<AtomicU32>,
        schema: String,
    ) -> Self {
        let lasts = agenda.entries().iter().map(|_| Last::default()).collect();
        let every = notify.beat().map_or(BEAT, |beat| beat.min(BEAT));
        let pulse = Pulse { notify, every, last: Instant::now() };
        let (clock, connected, failed) = (Clock::start(), true, false);
        Self {
            context,
            wishes,
            agenda,
            lasts,
            state,
            seat,
            connected,
            launcher,
            pulse,
            signals,
            clock,
            schema,
            failed,
        }
    }

    /// Runs until it is stopped, or nothing is due with `--once`.
    pub(super) fn run(mut self) -> Result<Exit> {
        // A file that cannot be written is a mistake of whoever starts it, as long as nothing ran.
        self.save()?;
        self.write_health("waiting")?;
        self.pulse.notify.ready();
        if !self.wishes.once {
            let jobs = crate::cli::output::count(self.agenda.entries().len(), "job");
            let stop = "until it is stopped: Ctrl-C, or SIGTERM";
            self.context.output.say(format!("Running {jobs} of the schema {} {stop}", self.schema));
        }
        self.say_what_is_next();
        loop {
            if self.context.interrupt.is_raised() {
                break;
            }
            let now = self.look_at_the_clock();
            match self.agenda.due(now) {
                Some(index) => self.perform(index)?,
                None if self.wishes.once => break,
                None => self.rest(now)?,
            }
        }
        self.pulse.notify.stopping();
        survive(self.context, self.write_health("stopping"));
        let stopped = self.context.interrupt.is_raised();
        let ran = Ran { stopped, jobs: health::rows(self.agenda.entries(), &self.lasts) };
        self.context.output.result(self.context.name, &ran, "")?;
        self.context.output.say(if stopped { "Stopped" } else { "Nothing is due any more" });
        let failed = self.wishes.once && self.failed;
        Ok(if failed { Exit::Failed } else { Exit::Done })
    }

    fn look_at_the_clock(&mut self) -> DateTime<Utc> {
        let (now, set) = self.clock.look();
        if let Some(by) = set {
            let way = if by > TimeDelta::zero() { "forth" } else { "back" };
            let by = roughly(by.num_seconds().unsigned_abs());
            self.context.output.warn(format!("the clock was set {way} by {by}"));
        }
        self.agenda.observe(now);
        now
    }

    /// Waits for the next job, for a moment.
    fn rest(&mut self, now: DateTime<Utc>) -> Result<()> {
        if self.pulse.is_due() {
            self.keep_seat()?;
            self.beat("waiting");
        }
        let ahead = self.agenda.next().map(|(_, at)| (at - now).to_std().unwrap_or_default());
        std::thread::sleep(ahead.unwrap_or(TICK).min(TICK));
        Ok(())
    }

    /// Takes the lock again where the server was away. Whoever has taken it meanwhile is the
    /// daemon now.
    fn keep_seat(&mut self) -> Result<()> {
        let held = self.seat.hold().map(drop);
        let was = std::mem::replace(&mut self.connected, held.is_ok());
        match held {
            Err(error) if error.kind() == Kind::Busy => Err(error),
            Err(error) => {
                if was {
                    self.context.output.tell_failure(&error);
                }
                Ok(())
            }
            Ok(()) => {
                if !was {
                    self.context.output.say("The server is back");
                }
                Ok(())
            }
        }
    }

    /// Runs a job, and notes how it ended.
    fn perform(&mut self, index: usize) -> Result<()> {
        self.keep_seat()?;
        let job = self.agenda.entries()[index].job.clone();
        let now = clock::now();
        self.agenda.begin(index, now);
        self.lasts[index].started = Some(now);
        self.beat("running");
        self.context.output.say(format!("{}: pupctl {}", job.name, job.line()));
        let allowed = match (self.connected, job.destroys) {
            (false, _) => Err(Error::new(Kind::Connection, "the server does not answer")),
            (true, true) => self.seat.compare_clocks(now),
            (true, false) => Ok(()),
        };
        reach("schedule::before_job");
        let ended = allowed.and_then(|()| self.run_child(index));
        reach("schedule::after_job");
        let verdict = self.judge(index, ended);
        self.agenda.end(index, clock::now(), verdict);
        self.failed |= verdict != Verdict::Done;
        self.lasts[index].ended = Some(clock::now());
        let saved = self.save();
        survive(self.context, saved);
        reach("schedule::saved");
        self.beat("waiting");
        self.say_what_is_next();
        Ok(())
    }

    fn run_child(&mut self, index: usize) -> Result<Ended> {
        let job = self.agenda.entries()[index].job.clone();
        let mut stopping: Option<Instant> = None;
        let begun = Instant::now();
        let limit = self.context.config.schedule.timeout.unwrap_or(JOB_LONGEST);
        let mut told = false;
        let Self { context, launcher, pulse, signals, wishes, agenda, lasts, schema, .. } = self;
        launcher.run(context, &job, || {
            if pulse.is_due() {
                pulse.last = Instant::now();
                pulse.notify.status(&format!("runs {}", job.name));
                if let Some(path) = wishes.health_file {
                    let doing = Doing { at: clock::now(), state: "running", connected: true };
                    let written = health::write(path, schema, doing, agenda.entries(), lasts);
                    survive(context, written);
                }
            }
            if begun.elapsed() >= limit.saturating_add(KILL_AFTER) {
                return Wish::Kill;
            }
            if begun.elapsed() >= limit {
                if !told {
                    told = true;
                    let limit = humantime::format_duration(limit);
                    let words = format!("{} has run for {limit}, and is ended", job.name);
                    context.output.warn(words);
                }
                return Wish::Stop;
            }
            if !context.interrupt.is_raised() {
                return Wish::GoOn;
            }
            if stopping.is_none() {
                pulse.notify.stopping();
                context.output.say(format!("Waiting for {} to end", job.name));
            }
            let since = stopping.get_or_insert_with(Instant::now);
            let hurries = signals.load(Ordering::SeqCst) > 1;
            if hurries || since.elapsed() >= wishes.grace { Wish::Stop } else { Wish::GoOn }
        })
    }

    /// What follows from how a job ended, and tells it.
    fn judge(&mut self, index: usize, ended: Result<Ended>) -> Verdict {
        let output = &self.context.output;
        let name = self.agenda.entries()[index].job.name.clone();
        let last = &mut self.lasts[index];
        (last.exit_code, last.message) = (None, None);
        let Ended { code, last_words } = match ended {
            Ok(ended) => ended,
            Err(error) => {
                last.message = Some(error.message().to_owned());
                output.tell_failure(&error.context(&name));
                return Verdict::Failed;
            }
        };
        last.exit_code = code;
        last.message = last_words;
        match code {
            Some(0) => {
                last.succeeded = last.started;
                last.message = None;
                Verdict::Done
            }
            // It has looked, which was its job.
            Some(3) => {
                last.succeeded = last.started;
                output.warn(format!("{name} has found something (exit code 3)"));
                Verdict::Done
            }
            // A mistake in the request or in the configuration is still there in a minute.
            Some(2) => {
                output.warn(format!("{name} cannot work as it is (exit code 2)"));
                Verdict::Hopeless
            }
            Some(code) => {
                output.warn(format!("{name} has failed (exit code {code})"));
                Verdict::Failed
            }
            None => {
                output.warn(format!("{name} was killed"));
                Verdict::Failed
            }
        }
    }

    fn say_what_is_next(&self) {
        if self.wishes.once {
            return;
        }
        let Some((index, at)) = self.agenda.next() else { return };
        let entry = &self.agenda.entries()[index];
        let local = at.with_timezone(&entry.job.timetable.zone).format("%F %T");
        let zone = entry.job.timetable.zone.name();
        let again = if entry.failures > 0 { " again" } else { "" };
        self.context.output.say(format!("Next{again}: {} at {local} {zone}", entry.job.name));
    }

    fn save(&mut self) -> Result<()> {
        let Some(state) = &mut self.state else { return Ok(()) };
        let covered =
            |entry: &crate::schedule::agenda::Entry| (entry.job.name.clone(), entry.covered());
        state.save(self.agenda.entries().iter().map(covered))
    }

    /// Tells that it lives.
    fn beat(&mut self, state: &'static str) {
        self.pulse.last = Instant::now();
        let next = self.agenda.next();
        let status = next.map_or_else(String::new, |(index, at)| {
            let name = &self.agenda.entries()[index].job.name;
            format!("next is {name} at {}", at.format("%F %T UTC"))
        });
        self.pulse.notify.status(&status);
        survive(self.context, self.write_health(state));
    }

    fn write_health(&self, state: &'static str) -> Result<()> {
        let Some(path) = self.wishes.health_file else { return Ok(()) };
        let doing = Doing { at: clock::now(), state, connected: self.connected };
        health::write(path, &self.schema, doing, self.agenda.entries(), &self.lasts)
    }
}

/// A time in the unit that people would take.
fn roughly(seconds: u64) -> String {
    const DAY: u64 = 24 * 3600;
    if seconds < 2 * DAY {
        return humantime::format_duration(Duration::from_secs(seconds)).to_string();
    }
    format!("{} days", (seconds + DAY / 2) / DAY)
}
