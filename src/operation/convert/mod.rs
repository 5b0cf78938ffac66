//! Gives a store that is not partitioned another layout, while its writers go on.
//!
//! 1. The new tables are built beside the old ones, with partitions but without keys. A trigger on
//!    the old tables refuses what a copy would miss: UPDATE, DELETE and TRUNCATE of events. Heads
//!    change all the time: a trigger writes them to both tables.
//! 2. Events are copied by ranges of positions, up to the settled position, in several sessions.
//!    What is copied is noted in the same transaction, so that a kill costs one range at most.
//! 3. Keys and indexes are built per partition, then what came meanwhile is copied, again and again
//!    until little is left.
//! 4. Both tables are added up, by context and month, and compared.
//! 5. The swap: writers wait while a second session copies and commits the rest; no snapshot from
//!    before that may be left, whose reader would find the new table without these rows; then the
//!    tables change names.
//!
//! The old tables are kept until [`finish`](Converter::finish), and until then the way back is
//! open: what was appended since is copied into them first.

mod attached;
pub mod back;
mod catch_up;
mod copy;
pub mod exchange;
mod finish;
mod heads;
mod index;
pub mod pace;
mod pause;
pub mod planned;
pub mod record;
pub mod session;
mod swap;
mod verify;
pub mod workers;

use postgres::Client;
use serde::Serialize;

use crate::catalog::Catalog;
use crate::catalog::surroundings::Surroundings;
use crate::db::execute::{self, LockLimits};
use crate::db::{Interrupt, Locked};
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::Role;
use crate::layout::name::QualifiedName;
use crate::plan::convert::build;
use crate::plan::convert::rows::Part;
use crate::plan::convert::survey::Survey;
use crate::plan::convert::{Phase, Replaced, Strategy, attach};
use crate::render::convert as statements;
use crate::render::environment::{render, values};
use crate::render::{RenderedStep, Statement};

use super::archive::Progress;
use pace::Limits;
use record::Record;
use workers::Worker;

/// How a conversion is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long locks and older snapshots are waited for.
    pub limits: LockLimits,
    /// How fast rows may be copied.
    pub pace: Limits,
    /// `maintenance_work_mem` of the sessions that build indexes, as the server takes it.
    pub memory: String,
}

/// A conversion at work.
#[allow(missing_debug_implementations)]
pub struct Converter<'a> {
    /// The session that holds the lock of the store.
    pub locked: &'a mut Locked,
    /// The sessions that copy; at least one.
    pub workers: Vec<Worker>,
    /// How far it is.
    pub record: Record,
    /// How it is to run.
    pub options: &'a Options,
    /// Raised when the user wants it to end.
    pub interrupt: &'a Interrupt,
    /// Hears how it goes on.
    pub progress: &'a mut dyn Progress,
    /// The position up to which heads have gone back to the old table, on the way back.
    pub heads_after: i64,
    /// Whether somebody has paused it.
    pub paused: bool,
}

/// So often a statement is run that waits for others in a circle.
const TRIES: u32 = 5;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All that was to be done is done.
    Done,
    /// Somebody paused it.
    Paused,
}

/// Counts the events above a position by context and month.
pub fn survey(client: &mut Client, events: &QualifiedName, after: i64) -> Result<Survey> {
    let rows = client
        .query(&render("convert/survey", &values! { table => events }), &[&after])
        .map_err(|error| Error::database(&format!("counting the rows of {events}"), error))?;
    let part = |row: &postgres::Row| Part {
        context: row.get("context"),
        month: row.get::<_, Option<String>>("month").and_then(|text| text.parse().ok()),
        rows: u64::try_from(row.get::<_, i64>("rows")).unwrap_or(0),
        bytes: 0,
    };
    Ok(Survey { parts: rows.iter().map(part).collect() })
}

/// The contexts of the heads.
pub fn heads_contexts(client: &mut Client, heads: &QualifiedName) -> Result<Vec<String>> {
    let rows = client
        .query(&render("convert/heads_contexts", &values! { table => heads }), &[])
        .map_err(|error| Error::database(&format!("reading the contexts of {heads}"), error))?;
    Ok(rows.iter().map(|row| row.get("context")).collect())
}

impl Converter<'_> {
    fn work_to_ready(&mut self) -> Result<()> {
        self.prepare()?;
        if self.record.strategy == Strategy::Attach {
            return self.attach_to_ready();
        }
        if self.record.phase == Phase::Building {
            self.build()?;
            self.advance(Phase::Copying)?;
        }
        self.finish_extension()?;
        if self.record.phase == Phase::Copying {
            self.copy_heads()?;
            self.copy()?;
            self.advance(Phase::Indexing)?;
        }
        if self.record.phase == Phase::Indexing {
            self.index()?;
            self.advance(Phase::Verifying)?;
        }
        if self.record.phase == Phase::Verifying {
            self.catch_up()?;
            self.verify()?;
            self.advance(Phase::Ready)?;
        }
        Ok(())
    }

    fn advance(&mut self, phase: Phase) -> Result<()> {
        self.record.phase = phase;
        let schema = self.locked.schema().to_owned();
        record::advance(self.locked.client(), &schema, &self.record)?;
        reach("convert::advanced");
        Ok(())
    }

    /// The store, with the tables that are being built.
    fn catalog(&mut self) -> Result<Catalog> {
        let schema = self.locked.schema().to_owned();
        planned::catalog(self.locked.client(), &schema, &self.record)
    }

    fn events(&self) -> Result<Replaced> {
        self.table(Role::Events)
            .ok_or_else(|| Error::refused("the conversion does not name the table of events"))
    }

    fn table(&self, role: Role) -> Option<Replaced> {
        self.record.tables.iter().find(|table| table.role == role).cloned()
    }

    fn first(&mut self) -> Result<&mut Worker> {
        self.workers
            .first_mut()
            .ok_or_else(|| Error::invalid("a conversion needs a session beside the first"))
    }

    fn execute(&mut self, steps: &[RenderedStep]) -> Result<()> {
        let (limits, interrupt) = (self.options.limits, self.interrupt);
        execute::execute(self.locked, steps, limits, interrupt, &mut *self.progress)
    }

    /// Runs statements that nobody else notices, one by one.
    fn run(&mut self, doing: &str, statements: &[Statement]) -> Result<()> {
        for statement in statements {
            self.interrupt.check()?;
            self.run_one(doing, statement)?;
        }
        Ok(())
    }

    /// Autovacuum notices, who may hold one partition and wait for another: it is the one of two
    /// that goes on after a deadlock.
    fn run_one(&mut self, doing: &str, statement: &Statement) -> Result<()> {
        let mut tries = 1;
        loop {
            let outcome = self.locked.client().batch_execute(&statement.sql);
            match outcome.map_err(|error| Error::database(doing, error)) {
                Err(error) if error.is_lock_failure() && tries < TRIES => tries += 1,
                outcome => return outcome.map_err(|error| self.interrupt.explain(error)),
            }
        }
    }

    /// Builds what is missing, and lets the old tables only grow from then on.
    fn build(&mut self) -> Result<()> {
        self.progress.phase("Building the new tables", None);
        let events = self.events()?;
        let survey = survey(self.locked.client(), &events.current, i64::MIN)?;
        self.record.rows = survey.rows();
        self.make(&survey, true)?;
        reach("convert::built");
        let catalog = self.catalog()?;
        let target = self.record.target();
        let columns = self.heads_columns(&catalog);
        self.execute(&statements::freeze(&target, &columns))
    }

    /// What leaves do not get from their parent.
    fn carry_to_leaves(&mut self, surroundings: &[Surroundings]) -> Result<()> {
        let catalog = self.catalog()?;
        let mut carried = Vec::new();
        for (table, old) in self.record.tables.iter().zip(surroundings) {
            let built = table.built(&catalog);
            carried.extend(built.into_iter().flat_map(|built| statements::leaves(built, old)));
        }
        self.run("giving partitions the settings of the old table", &carried)
    }

    /// Makes the partitions that events need and the new tables lack.
    fn make(&mut self, survey: &Survey, bare: bool) -> Result<()> {
        survey.refuse_homeless(&self.record.after)?;
        self.record.after = survey.extended(&self.record.after)?;
        let catalog = self.catalog()?;
        let target = self.record.target();
        let heap = match self.record.strategy {
            Strategy::Copy => None,
            Strategy::Attach => attach::bound(&target.layout, self.record.cutover),
        };
        let missing = build::plan(&target, &catalog, &survey.needs(), bare, heap.as_ref())?;
        let mut steps = Vec::new();
        if !target.layout.triggers().is_empty() {
            let schema = &catalog.schema_name;
            let has_ids = catalog.event_ids.there;
            steps.push(statements::functions(schema, &target.layout, has_ids));
        }
        let surroundings = self.surroundings(|table| &table.current)?;
        steps.extend(statements::build(&target.layout, &missing, &surroundings));
        // Before they are there: a run that is interrupted is gone on with by the next one.
        let phase = self.record.phase;
        self.advance(phase)?;
        self.execute(&steps)?;
        self.carry_to_leaves(&surroundings)
    }
}
