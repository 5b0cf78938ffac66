//! A batch: one transaction that claims slots, handles events and moves the checkpoint.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use postgres::types::ToSql;
use postgres::{Client, GenericClient, IsolationLevel, Row, Statement};

use crate::db::Interrupt;
use crate::error::Error;
use crate::failpoint::reach;
use crate::render::environment::{render, values};

use super::ahead::{Ahead, Group};
use super::audit::Given;
use super::careful::{Careful, handle};
use super::checkpoint::{self, Division, Tables, number};
use super::claim::{Claim, together};
use super::config::{ProcessorConfig, Slots};
use super::definition::{Event, Projection, Scope};
use super::done::{Done, Mover};
use super::failure::{Failure, stopped};
use super::letters;
use super::pace::Pace;
use super::rebuild;
use super::sql::{Size, SqlSession};
use super::transaction::{Statements, Transaction};
use super::worker::Handling;

/// Up to so many positions behind, a projection in SQL looks whether there is anything for it
/// before it claims its slots.
const NEAR: i64 = 10_000;

/// How carefully a batch is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// All events together.
    None,
    /// By halves, since one of them fails.
    Halves,
}

/// What a batch did.
#[derive(Debug)]
pub(super) struct Batch {
    /// How many events were handled.
    pub(super) events: usize,
    /// How many went to the dead letters.
    pub(super) letters: usize,
    /// Where the slots stand now.
    pub(super) position: i64,
    /// Why the projection goes no further, if it does not.
    pub(super) stopped: Option<Error>,
}

/// What a worker knows of its projection, on one connection.
pub(super) struct Work {
    pub(super) projection: Arc<dyn Projection>,
    pub(super) scope: Scope,
    pub(super) config: ProcessorConfig,
    pub(super) tables: Tables,
    pub(super) division: Division,
    /// Who it is, as the checkpoints show it.
    pub(super) label: String,
    claim: Statement,
    advance: Statement,
    statements: Statements,
    ahead: Option<Ahead>,
    pace: Pace,
    /// Where the projection is written in SQL.
    sql: Option<Arc<SqlSession>>,
    size: Size,
    /// The slots of the last batch in SQL, and where they stand.
    stood: Option<(Group, i64)>,
    /// The epoch in which the definition was seen to be the stored one.
    epoch: Option<i32>,
}

impl Work {
    pub(super) fn prepare(
        client: &mut impl GenericClient,
        handling: Handling,
        scope: Scope,
        config: ProcessorConfig,
        tables: Tables,
        division: Division,
        label: String,
    ) -> Result<Self, Failure> {
        let failed = |error| Failure::of(checkpoint::failed(error));
        let pinned = matches!(config.slots, Slots::Pinned { .. });
        let values = values! { checkpoints => tables.checkpoints, audit => tables.audit, pinned };
        Ok(Self {
            claim: client.prepare(&render("projection/claim", &values)).map_err(failed)?,
            advance: client.prepare(&render("projection/advance", &values)).map_err(failed)?,
            projection: handling.projection,
            sql: handling.sql,
            size: Size::new(config.batch_size, config.adaptive),
            stood: None,
            epoch: None,
            scope,
            config,
            tables,
            division,
            label,
            statements: Statements::default(),
            ahead: None,
            pace: Pace::default(),
        })
    }

    /// Reads on for the slots that it had last, without claiming them. Whether there is nothing
    /// for them up to the settled position, where the worker would wait then.
    pub(super) fn look_ahead(
        &mut self,
        client: &mut Client,
        settled: i64,
        may_wait: bool,
    ) -> Result<bool, Failure> {
        if let Some(sql) = &self.sql {
            // Far behind there is something, or a batch finds that there is not.
            let near = |at: &i64| may_wait && settled - at <= NEAR;
            let Some((group, at)) = self.stood.as_ref().filter(|(_, at)| near(at)) else {
                return Ok(false);
            };
            return Ok(!sql.is_any(client, &self.scope, group, *at, settled)?);
        }
        let Some(ahead) = &mut self.ahead else { return Ok(false) };
        ahead.fill(client, &self.tables, &self.scope, settled, self.config.batch_size)?;
        Ok(ahead.is_empty() && ahead.upto() >= settled)
    }

    /// Forgets what was read ahead, and the statements of the handlers.
    pub(super) fn forget(&mut self) {
        self.ahead = None;
        self.statements.clear();
        self.size.shrink();
    }

    /// Handles a batch, where a slot is free that has something to do.
    pub(super) fn batch(
        &mut self,
        client: &mut Client,
        settled: i64,
        share: i64,
        care: Care,
        stop: &Interrupt,
    ) -> Result<Option<Batch>, Failure> {
        // Whatever the role or the database prefers: what is read after the claim has to be newer
        // than what the claim saw.
        let tx = client
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted)
            .read_only(false)
            .start()
            .map_err(|error| Failure::database("beginning a batch", error))?;
        self.batch_in(tx, settled, share, care, stop)
    }

    /// A batch in a transaction that has begun, or in a savepoint of one.
    pub(super) fn batch_in(
        &mut self,
        mut tx: postgres::Transaction<'_>,
        settled: i64,
        share: i64,
        care: Care,
        stop: &Interrupt,
    ) -> Result<Option<Batch>, Failure> {
        let started = Instant::now();
        let Some(claim) = self.claim(&mut tx, settled, share)? else { return Ok(None) };
        if let Some(sql) = self.sql.clone().filter(|_| care == Care::None && !claim.replay) {
            return self.batch_of_sql(tx, &sql, &claim).map(Some);
        }
        let waiting = if claim.parked {
            letters::parked(&mut tx, &self.tables, self.projection.name())?
        } else {
            HashSet::new()
        };
        let ahead = match self.ahead.take() {
            Some(ahead) if ahead.fits(&claim.group, claim.position) => ahead,
            _ => {
                Ahead::new(claim.group.clone(), claim.position, Arc::clone(&self.division.strategy))
            }
        };
        let ahead = self.ahead.insert(ahead);
        if !claim.replay {
            let batch_size = self.config.batch_size;
            ahead.fill(&mut tx, &self.tables, &self.scope, claim.bound, batch_size)?;
        }
        let ready = ahead.ready(claim.bound);
        let mut tx = Transaction::new(tx, &mut self.statements);
        let projection = &*self.projection;
        let mut done = Done::default();
        if claim.replay {
            done.position = claim.position;
            let strategy = &*self.division.strategy;
            done.handled =
                letters::replay(&mut tx, &self.tables, projection, &claim.group, strategy, stop)?;
            done.parked = !letters::parked(&mut tx, &self.tables, projection.name())?.is_empty();
        } else if care == Care::None && waiting.is_empty() {
            done.take_all(ready, self.config.batch_size, started, |events| {
                handle(projection, &mut tx, events)
            })?;
        } else {
            let events = ready.batch(0, self.config.batch_size);
            let policy = self.config.on_error;
            let mut careful = Careful::new(projection, policy, stop, waiting);
            careful.handle(&mut tx, events)?;
            done.take(careful, ready, events.len());
        }
        if let Some(sql) = &self.sql {
            sql.refuse_others(&mut tx, &self.tables)?;
        }
        reach("projection::handled");
        letters::park(&mut tx, &self.tables, projection.name(), &done.letters)?;
        self.pace.note(done.handled);
        let given = if claim.replay {
            // Noted when they became dead letters.
            Given::default()
        } else {
            Given::of_events(&ready.events[..done.passed])
        };
        let mover = Mover { statement: &self.advance, label: &self.label, pace: &self.pace };
        mover.advance(&mut tx, projection.name(), &claim, &done, &given)?;
        reach("projection::before_commit");
        tx.commit().map_err(at_commit)?;
        reach("projection::committed");
        self.stood = None;
        log(projection.name(), &claim, &done, &ready.events[..done.passed]);
        let batch = Batch {
            events: done.handled,
            letters: done.letters.len(),
            position: done.position,
            stopped: done
                .stopped
                .map(|(event, error, _)| stopped(projection.name(), event, &error)),
        };
        ahead.advance(batch.position);
        Ok(Some(batch))
    }

    /// A batch of a projection in SQL, of which no row leaves the server.
    fn batch_of_sql(
        &mut self,
        tx: postgres::Transaction<'_>,
        sql: &SqlSession,
        claim: &Claim,
    ) -> Result<Batch, Failure> {
        let mut tx = Transaction::new(tx, &mut self.statements);
        let name = self.projection.name();
        let Claim { group, position, bound, .. } = claim;
        let filled = sql.fill(&mut tx, &self.scope, group, *position, *bound, &mut self.size)?;
        let set_aside =
            if claim.parked { sql.set_aside(&mut tx, *position, filled.upto)? } else { 0 };
        let events = filled.given.len();
        let slots = SqlSession::slots(&mut tx, group)?;
        if events > set_aside {
            sql.handle_filled(&mut tx, events, &mut self.size, &self.tables)?;
        }
        reach("projection::handled");
        let is_parked = claim.parked && !letters::parked(&mut tx, &self.tables, name)?.is_empty();
        let given = Given::of(filled.given);
        let handled = events - set_aside.min(events);
        let done = Done {
            handled,
            passed: events,
            position: filled.upto,
            slots,
            parked: is_parked,
            ..Done::default()
        };
        self.pace.note(handled);
        let mover = Mover { statement: &self.advance, label: &self.label, pace: &self.pace };
        mover.advance(&mut tx, name, claim, &done, &given)?;
        reach("projection::before_commit");
        tx.commit().map_err(at_commit)?;
        reach("projection::committed");
        log(name, claim, &done, &[]);
        self.stood = Some((group.clone(), done.position));
        Ok(Batch { events: handled, letters: set_aside, position: done.position, stopped: None })
    }

    /// Whether there is a slot to claim, at the cost of one statement.
    pub(super) fn is_something_free(
        &mut self,
        client: &mut Client,
        settled: i64,
    ) -> Result<bool, Failure> {
        Ok(!self.free(client, settled, 1)?.is_empty())
    }

    /// Locks free slots with something to do, until the transaction ends.
    fn free(
        &self,
        client: &mut impl GenericClient,
        settled: i64,
        share: i64,
    ) -> Result<Vec<Row>, Failure> {
        let name = self.projection.name();
        let key = match self.config.slots {
            Slots::Pinned { key, .. } => Some(number(key)),
            _ => None,
        };
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&name, &settled, &self.label, &share];
        values.extend(key.as_ref().map(|key| key as &(dyn ToSql + Sync)));
        client.query(&self.claim, &values).map_err(|error| Failure::of(checkpoint::failed(error)))
    }

    /// Claims slots, of which those are worked on that are furthest behind together.
    fn claim(
        &mut self,
        tx: &mut postgres::Transaction<'_>,
        settled: i64,
        share: i64,
    ) -> Result<Option<Claim>, Failure> {
        let rows = self.free(tx, settled, share)?;
        let Some(first) = rows.first() else { return Ok(None) };
        self.follow_definition(tx, first)?;
        self.follow_division(first)?;
        self.refuse_other_scope(first)?;
        Ok(Some(together(&rows, settled)))
    }

    /// A rebuild changes the epoch together with the tables, and may be one by another file. Its
    /// row is locked and newer than what this looks at, so a worker of the earlier file writes
    /// nothing into tables of the later one.
    fn follow_definition(
        &mut self,
        tx: &mut postgres::Transaction<'_>,
        row: &Row,
    ) -> Result<(), Failure> {
        let epoch = row.get::<_, i32>("epoch");
        if self.epoch != Some(epoch) {
            let own = self.sql.as_ref().map(|sql| sql.projection().definition());
            rebuild::refuse_other_file(tx, &self.tables, self.projection.name(), own)?;
            self.epoch = Some(epoch);
        }
        Ok(())
    }

    /// A worker of another version reads other events: what one of them passes over, the other one
    /// would never see.
    fn refuse_other_scope(&self, row: &Row) -> Result<(), Failure> {
        let same = |column: &str, own: &[String]| {
            row.get::<_, Option<Vec<String>>>(column).is_none_or(|stored| stored == own)
        };
        if same("bounded_contexts", &self.scope.contexts)
            && same("aggregate_types", &self.scope.types)
        {
            return Ok(());
        }
        let name = self.projection.name();
        Err(Failure::Fatal(
            Error::refused(format!(
                "a worker that reads other contexts or types has taken the projection {name} over"
            ))
            .hint("stop the workers of the earlier version"),
        ))
    }

    /// The slots may have been changed since: a worker that is not pinned goes along.
    fn follow_division(&mut self, row: &Row) -> Result<(), Failure> {
        let (slots, hash): (i32, String) = (row.get("slots"), row.get("slot_hash"));
        let slots = u32::try_from(slots).unwrap_or(0);
        if slots == self.division.slots && hash == self.division.strategy.name() {
            return Ok(());
        }
        let name = self.projection.name();
        if matches!(self.config.slots, Slots::Pinned { .. }) {
            checkpoint::refuse_other_slots(name, slots, &self.config)?;
        }
        let strategy = checkpoint::strategy(name, &hash, &self.config)?;
        tracing::info!(projection = name, slots, hash, "the slots were changed");
        // What was read is of the slots that there were.
        self.ahead = None;
        self.division = Division { slots, strategy, ..self.division.clone() };
        Ok(())
    }
}

fn at_commit(error: postgres::Error) -> Failure {
    match Failure::database("committing a batch", error) {
        Failure::Fatal(error) => Failure::Refused(error),
        other => other,
    }
}

fn log(name: &str, claim: &Claim, done: &Done<'_>, events: &[Event]) {
    if done.handled == 0 && done.letters.is_empty() {
        return;
    }
    let slots = &claim.group.slots;
    tracing::info!(
        projection = name,
        slots = ?slots,
        events = done.handled,
        position = done.position,
        "batch"
    );
    if tracing::enabled!(tracing::Level::DEBUG) {
        for event in events {
            tracing::debug!(
                projection = name,
                position = event.global_position,
                event = %event.event_id,
                event_type = event.event_type,
                "event"
            );
        }
    }
}
