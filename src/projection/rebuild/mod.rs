//! Makes a read model anew from all events, while the old one serves.
//!
//! A rebuild is an ordinary projection in SQL, the *shadow*: `orders:rebuild`, by the same file,
//! with its tables in a schema of its own. Workers fold the events into them as into any others,
//! so a rebuild that is killed goes on where it was, months that it has not read yet are not
//! archived, and `projections status` shows it. Once it has caught up, one transaction holds the
//! rows of both, folds what is left up to where the old tables are, puts the new tables in their
//! place, and moves the checkpoint. Readers see the old rows until it commits, and the new ones
//! from then on.
//!
//! | what | where |
//! |---|---|
//! | the shadow: begun, gone on with, taken away | `shadow` |
//! | its events | `fold` |
//! | what differs from the old tables | `diff` |
//! | the swap | `swap`, and `in_place` where the tables are to stay |
//! | what a read model consists of, what hangs on it | `objects` |

mod diff;
mod fold;
mod in_place;
mod objects;
mod shadow;
mod swap;

use std::fmt;
use std::sync::Arc;

use postgres::{Client, GenericClient, Transaction};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::name::QualifiedName;
use crate::operation::journal;
use crate::render::environment::{render, values};
use crate::render::quote::shell_word;

use super::checkpoint::Tables;
use super::config::ErrorPolicy;
use super::connect::Connect;
use super::control::change::{self, Change, Waiting};
use super::control::checkpoint::{foreign_rows, read};
use super::control::holes::{self, Hole};
use super::control::{self, row};
use super::name::REBUILD;
use super::sql::{SqlProjection, SqlSession, setup};
pub use diff::{Diff, Sample, TableDiff};
pub(super) use shadow::refuse_other_file;
use shadow::{Begun, Shadow};
pub use shadow::{shadow_name, shadow_schema};
use swap::Swap;

/// How often it is folded on when the rest could not be folded in the swap.
const TURNS_MAX: usize = 5;

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Rebuild {
    /// The projection, as its file says.
    pub projection: SqlProjection,
    /// How many workers fold.
    pub workers: usize,
    /// What to do with an event that cannot be handled.
    pub on_error: ErrorPolicy,
    /// Whether one that was begun is thrown away first.
    pub restart: bool,
    /// Whether the new tables are compared with the old ones.
    pub diff: bool,
    /// What follows when everything is folded.
    pub ending: Ending,
    /// Whether events that left the store may be missing.
    pub allow_missing_events: bool,
}

/// How a rebuild ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The new tables stay aside, for another run.
    Aside,
    /// They take the place of the old ones.
    Swap,
    /// The old ones stay, and get their rows.
    InPlace,
}

/// How it stands before anything is done.
#[derive(Debug, Clone, Serialize)]
pub struct Situation {
    /// Whether one that was begun goes on.
    pub resumes: bool,
    /// Up to where that is.
    pub position: i64,
    /// Whether the projection has run before.
    pub is_there: bool,
    /// How many slots it has.
    pub slots: Option<u32>,
    /// The highest position of its slots.
    pub live_position: i64,
    /// Events that are not in the store.
    pub missing: Vec<Hole>,
    /// The tables that are made anew.
    pub tables: Vec<QualifiedName>,
}

/// What was done.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Outcome {
    /// Whether the new tables are in place.
    pub swapped: bool,
    /// How many events were folded in this run.
    pub events: u64,
    /// How many went to the dead letters.
    pub dead_letters: u64,
    /// Where the new tables are.
    pub position: i64,
    /// In what the new tables differ from the old ones, where that was asked for.
    pub diff: Option<Diff>,
    /// The tables whose place was taken.
    pub replaced: Vec<QualifiedName>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Is told how it goes on.
pub trait Progress {
    /// So far the shadow is on its way to a position, by so many events in this run.
    fn folded(&mut self, position: i64, goal: i64, events: u64);
    /// What it is busy with now.
    fn phase(&mut self, words: &str);
    /// In what the new tables differ; an error ends it before the swap.
    fn compared(&mut self, diff: &Diff) -> Result<()>;
}

/// A session that holds the lock of the rebuild, and what works beside it.
pub struct Session<'a> {
    /// The session.
    pub client: &'a mut Client,
    /// Opens the connections of workers.
    pub connect: &'a Arc<dyn Connect>,
    /// The row of the journal.
    pub operation: i64,
    /// How to wait for running batches and for readers.
    pub waiting: Waiting<'a>,
    /// Is told how it goes on.
    pub progress: &'a mut dyn Progress,
}

impl fmt::Debug for Session<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Session")
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}

/// What holds the lock of a rebuild, so that one runs at a time.
#[must_use]
pub fn lock_name(projection: &str) -> String {
    shadow_name(projection)
}

/// Somebody took the checkpoints of the rebuild away.
fn called_off(projection: &str) -> Error {
    Error::refused(format!("the rebuild of {projection} was called off"))
        .detail("the read model is as it was")
        .hint(format!("begin anew: pupctl projections rebuild {}", shell_word(projection)))
}

impl Rebuild {
    fn shadow(&self, client: &mut Client, schema: &str) -> Result<Shadow> {
        let layout = crate::store::stored_layout(client, schema)?;
        Ok(Shadow::new(&self.projection, Tables::of(&layout, schema)))
    }

    /// Looks how it stands, and refuses what cannot be.
    pub fn look(&self, client: &mut Client, tables: &control::Tables) -> Result<Situation> {
        control::checkpoints_ready(client, &tables.checkpoints)?;
        let shadow = self.shadow(client, &tables.events.schema)?;
        let name = self.projection.name();
        let foreign = foreign_rows(&read(client, &tables.checkpoints, true)?, name);
        if !foreign.is_empty() {
            return Err(Error::refused(format!("another processor keeps checkpoints of {name}"))
                .details(foreign)
                .hint("stop it and take them over: pupctl projections adopt"));
        }
        let begun = shadow.begun(client)?;
        if let (Begun::Otherwise(position), false) = (&begun, self.restart) {
            return Err(Error::refused(format!(
                "a rebuild of {name} by another file stands at position {position}"
            ))
            .hint(format!(
                "begin anew with the file as it is: pupctl projections rebuild {} --restart",
                shell_word(name)
            )));
        }
        let missing = holes::find(client, tables, 0, self.projection.contexts())?;
        if !self.allow_missing_events {
            holes::refuse(name, 0, &missing)?;
        }
        let live = row::read(client, &tables.checkpoints, name)?;
        let own = self.projection.tables().iter();
        let (resumes, position) = match begun {
            Begun::At(position) if !self.restart => (true, position),
            _ => (false, 0),
        };
        Ok(Situation {
            resumes,
            position,
            is_there: live.is_some(),
            slots: live.as_ref().map(|group| group.slots),
            live_position: live
                .map_or(0, |group| group.rows.iter().map(|row| row.position).max().unwrap_or(0)),
            missing,
            tables: own.map(|table| QualifiedName::new(&shadow.live_schema, table)).collect(),
        })
    }

    /// What it would do, as far as that is known before: the statements of the swap. Everything is
    /// taken back.
    pub fn preview(
        &self,
        client: &mut Client,
        tables: &control::Tables,
        situation: &Situation,
    ) -> Result<Change> {
        let shadow = self.shadow(client, &tables.events.schema)?;
        let swap = Swap::new(&shadow, self.ending == Ending::InPlace);
        if !situation.resumes {
            SqlSession::begin(client, &shadow.projection, &shadow.tables)?;
        }
        let mut transaction = client.transaction().map_err(failed)?;
        if !situation.resumes {
            let there = shadow::exists(&mut transaction, &shadow.schema)?;
            let there = there.then_some(shadow.schema.as_str());
            for statement in shadow::removal(&shadow.tables, shadow.name(), there) {
                transaction.batch_execute(&statement.sql).map_err(failed)?;
            }
            setup::make_within(&mut transaction, &shadow.projection, &shadow.tables)?;
        }
        let change = swap.preview(&mut transaction)?;
        transaction.rollback().map_err(failed)?;
        Ok(change)
    }

    /// Rebuilds. The session has to hold the lock of the rebuild.
    pub fn run(
        &self,
        session: &mut Session<'_>,
        tables: &control::Tables,
        situation: &Situation,
    ) -> Result<Outcome> {
        let schema = &tables.events.schema;
        let shadow = self.shadow(session.client, schema)?;
        let outcome = self.work(session, &shadow, situation);
        if outcome.is_err()
            && !session.client.is_closed()
            && let Ok(false) = fold::is_there(session.client, &shadow)
        {
            // Nothing is left that could be gone on with.
            journal::forget(session.client, schema, &[session.operation])?;
        }
        outcome
    }

    fn work(
        &self,
        session: &mut Session<'_>,
        shadow: &Shadow,
        situation: &Situation,
    ) -> Result<Outcome> {
        self.begin(session, shadow, situation)?;
        reach("rebuild::begun");
        let mut outcome = Outcome::default();
        // Before the work of hours it shows what the swap would refuse.
        if self.ending != Ending::Aside {
            self.try_plan(session, shadow, situation)?;
        }
        for turn in 1.. {
            self.fold(session, shadow, &mut outcome)?;
            reach("rebuild::folded");
            self.refuse_missed(session, shadow)?;
            if self.diff && outcome.diff.is_none() {
                self.compare(session, shadow, &mut outcome)?;
            }
            if self.ending == Ending::Aside {
                break;
            }
            match self.swap(session, shadow, &mut outcome) {
                Ok(()) => break,
                // An event that cannot be handled is for workers to deal with.
                Err((error, true)) if turn < TURNS_MAX => {
                    tracing::info!("the rest is folded by workers first: {error}");
                }
                Err((error, _)) => return Err(error),
            }
        }
        Ok(outcome)
    }

    /// Nothing is left of it afterwards.
    fn call_off(session: &mut Session<'_>, shadow: &Shadow) -> Result<()> {
        let (tables, name) = (&shadow.tables, shadow.live.name());
        let plan =
            &mut |transaction: &mut Transaction<'_>| shadow::plan_abort(transaction, tables, name);
        change::run(session.client, &mut session.waiting, plan).map(drop)
    }

    fn begin(
        &self,
        session: &mut Session<'_>,
        shadow: &Shadow,
        situation: &Situation,
    ) -> Result<()> {
        if situation.resumes {
            return Ok(());
        }
        if self.restart {
            Self::call_off(session, shadow)?;
        }
        // Its tables lead names elsewhere, so a session of its own.
        let mut client = session.connect.connect("pupctl/projections rebuild")?;
        shadow.begin(&mut client, situation.slots)
    }

    fn try_plan(
        &self,
        session: &mut Session<'_>,
        shadow: &Shadow,
        situation: &Situation,
    ) -> Result<()> {
        let swap = Swap::new(shadow, self.ending == Ending::InPlace);
        let planned = change::preview(session.client, &mut |transaction| swap.plan(transaction));
        let Err(error) = planned else { return Ok(()) };
        if !situation.resumes {
            // Nothing was folded yet.
            Self::call_off(session, shadow)?;
        }
        Err(error)
    }

    fn fold(
        &self,
        session: &mut Session<'_>,
        shadow: &Shadow,
        outcome: &mut Outcome,
    ) -> Result<()> {
        session.progress.phase("Folding events");
        let report = fold::catch_up(
            session.client,
            session.connect,
            shadow,
            (self.workers, self.on_error),
            session.waiting.interrupt,
            session.progress,
        )?;
        outcome.events += report.events;
        outcome.dead_letters += report.dead_letters;
        outcome.position = self.reached(session.client, shadow)?;
        Ok(())
    }

    fn reached(&self, client: &mut impl GenericClient, shadow: &Shadow) -> Result<i64> {
        let group = row::read(client, &shadow.tables.checkpoints, shadow.name())?
            .ok_or_else(|| called_off(self.projection.name()))?;
        Ok(group.rows.iter().map(|row| row.position).min().unwrap_or(0))
    }

    /// Events may have come in below the shadow: a month was attached or restored meanwhile.
    fn refuse_missed(&self, session: &mut Session<'_>, shadow: &Shadow) -> Result<()> {
        session.progress.phase("Comparing what was folded with the store");
        let name = self.projection.name();
        let upto = self.reached(session.client, shadow)?;
        let Tables { events, audit, .. } = &shadow.tables;
        let scope = shadow.projection.scope();
        let values = values! {
            events, audit, upto, shadow => shadow.name(), contexts => scope.contexts,
            types => scope.types,
        };
        let row = session
            .client
            .query_one(&render("projection/rebuild/counts", &values), &[])
            .map_err(|error| session.waiting.interrupt.explain(failed(error)))?;
        let (blocks, missed): (i64, i64) = (row.get("blocks"), row.get("events"));
        if blocks == 0 {
            return Ok(());
        }
        let (first, last): (i64, i64) = (row.get("first"), row.get("last"));
        let noun = if missed == 1 { "event" } else { "events" };
        Err(Error::refused(format!(
            "{missed} {noun} came in between positions {first} and {last}, which the rebuild had \
             passed"
        ))
        .detail("a month was attached or restored, or events were loaded, while it ran")
        .hint(format!("begin anew: pupctl projections rebuild {} --restart", shell_word(name))))
    }

    fn compare(
        &self,
        session: &mut Session<'_>,
        shadow: &Shadow,
        outcome: &mut Outcome,
    ) -> Result<()> {
        session.progress.phase("Comparing the new tables with the old ones");
        let interrupt = session.waiting.interrupt;
        let diff = diff::compare(session.client, session.connect, shadow, interrupt)
            .map_err(|error| interrupt.explain(error))?;
        reach("rebuild::compared");
        session.progress.compared(&diff)?;
        outcome.position = self.reached(session.client, shadow)?;
        outcome.diff = Some(diff);
        Ok(())
    }

    /// Puts the new tables in place. An error tells whether folding on may help.
    fn swap(
        &self,
        session: &mut Session<'_>,
        shadow: &Shadow,
        outcome: &mut Outcome,
    ) -> Result<(), (Error, bool)> {
        session.progress.phase("Putting the new tables in place");
        let schema = shadow.tables.events.schema.clone();
        let swap = Swap::new(shadow, self.ending == Ending::InPlace);
        let own = SqlSession::begin(session.client, &shadow.projection, &shadow.tables);
        let own = Arc::new(own.map_err(|error| (error, false))?);
        let (operation, interrupt) = (session.operation, session.waiting.interrupt);
        let mut could_fold = true;
        let mut folded = 0;
        let done = change::run_after(
            session.client,
            &mut session.waiting,
            &mut |transaction| swap.plan(transaction),
            &mut |transaction| {
                reach("rebuild::locked");
                let position = swap.position.get();
                let rest = fold::rest(transaction, shadow, &own, position, interrupt);
                could_fold = rest.is_ok();
                folded = rest?;
                reach("rebuild::folded_rest");
                journal::end_row(transaction, &schema, operation, None)
            },
        );
        let done = done.map_err(|error| (error, !could_fold))?;
        reach("rebuild::swapped");
        outcome.events += folded;
        outcome.position = swap.position.get();
        outcome.swapped = done.is_some();
        outcome.replaced = swap.replaced.take();
        outcome.notes.extend(done.map(|change| change.notes).unwrap_or_default());
        Ok(())
    }
}

/// Plans to call a rebuild off: none where there is none. `name` is that of the projection.
pub fn plan_abort(
    transaction: &mut Transaction<'_>,
    schema: &str,
    name: &str,
) -> Result<Option<Change>> {
    let layout = crate::store::stored_layout(transaction, schema)?;
    shadow::plan_abort(transaction, &Tables::of(&layout, schema), name)
}

/// Whether a projection ran from a file.
pub fn is_of_sql(client: &mut Client, tables: &control::Tables, name: &str) -> Result<bool> {
    let schema = &tables.events.schema;
    let layout = crate::store::stored_layout(client, schema)?;
    let (definition, _) = shadow::definition(client, &layout.definitions(schema), name)?;
    Ok(definition.is_some())
}

/// The projection that is rebuilt under a name.
#[must_use]
pub fn rebuilt(name: &str) -> Option<&str> {
    name.strip_suffix(REBUILD)
}

fn failed(error: postgres::Error) -> Error {
    Error::database("working on the rebuild", error)
}
