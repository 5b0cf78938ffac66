//! A batch: one transaction that claims slots, handles events and moves the checkpoint.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres::types::ToSql;
use postgres::{Client, GenericClient, IsolationLevel, Row, Statement};

use crate::db::Interrupt;
use crate::error::Error;
use crate::failpoint::reach;
use crate::render::environment::{render, values};

use super::ahead::{Ahead, Group, Ready};
use super::audit::Given;
use super::careful::{Careful, Letter, handle};
use super::checkpoint::{self, Division, Tables, number};
use super::config::{ProcessorConfig, Slots};
use super::definition::{Event, Projection, Scope};
use super::failure::{Failure, between, ended, stopped};
use super::letters;
use super::pace::Pace;
use super::rebuild;
use super::sql::{Size, SqlSession};
use super::transaction::{Statements, Transaction};
use super::worker::Handling;

/// So long a transaction goes on with the next events that are read already, while it is behind:
/// beginning and committing cost as much as a small batch. Locks of handlers are held no longer.
const TRANSACTION_MOST: Duration = Duration::from_millis(20);

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

/// Slots that stand at one position, claimed.
struct Claim {
    group: Group,
    position: i64,
    /// The transaction that holds their locks.
    transaction: String,
    /// They may not move beyond it in this batch.
    bound: i64,
    parked: bool,
    replay: bool,
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
    /// for them up to the settled position.
    pub(super) fn look_ahead(
        &mut self,
        client: &mut Client,
        settled: i64,
    ) -> Result<bool, Failure> {
        if let Some(sql) = &self.sql {
            let Some((group, at)) = &self.stood else { return Ok(false) };
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
        reach("projection::handled");
        letters::park(&mut tx, &self.tables, projection.name(), &done.letters)?;
        self.pace.note(done.handled);
        let given = match claim.replay {
            // Noted when they became dead letters.
            true => Given::default(),
            false => Given::of_events(&ready.events[..done.passed]),
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
        let set_aside = match claim.parked {
            true => sql.set_aside(&mut tx, *position, filled.upto)?,
            false => 0,
        };
        let events = filled.given.len();
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
            slots: filled.slots,
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

/// Of the slots that were claimed, those that stand at the lowest position, or of which dead
/// letters are to be handled once more. They may go as far as the next ones stand: there they join
/// them, and one reading serves all.
fn together(rows: &[Row], settled: i64) -> Claim {
    let position = |row: &Row| row.get::<_, i64>("position");
    let replays = |row: &&Row| row.get::<_, bool>("replay");
    let replay = rows.iter().any(|row| replays(&row));
    let candidates = || rows.iter().filter(|row| !replay || replays(row));
    let lowest = candidates().map(position).min().unwrap_or(0);
    let members: Vec<&Row> = candidates().filter(|row| position(row) == lowest).collect();
    let mut bound = settled;
    for row in rows {
        if position(row) > lowest {
            bound = bound.min(position(row));
        }
    }
    for row in &members {
        bound = bound.min(row.get::<_, Option<i64>>("drain_to").unwrap_or(i64::MAX));
    }
    let mut slots: Vec<i32> = members.iter().map(|row| row.get("slot")).collect();
    slots.sort_unstable();
    let first = members.first();
    let of = first.map_or(1, |row| row.get::<_, i32>("slots"));
    Claim {
        group: Group {
            epoch: first.map_or(0, |row| row.get("epoch")),
            of: u32::try_from(of).unwrap_or(1),
            hash: first.map_or_else(String::new, |row| row.get("slot_hash")),
            slots,
        },
        position: lowest,
        transaction: first.map_or_else(String::new, |row| row.get("transaction")),
        bound: bound.max(lowest),
        parked: members.iter().any(|row| row.get("parked")),
        replay,
    }
}

/// What the transaction of a batch writes down.
#[derive(Default)]
struct Done<'e> {
    handled: usize,
    /// How many events were handled, or went to the dead letters.
    passed: usize,
    position: i64,
    /// The slots of the events that were handled, where there are several.
    slots: Vec<i32>,
    parked: bool,
    letters: Vec<Letter<'e>>,
    /// The event at which it stops, why, and its slot.
    stopped: Option<(&'e Event, Error, Option<i32>)>,
}

impl<'e> Done<'e> {
    /// Handles what is ready, batch after batch, for as long as a transaction may take.
    fn take_all(
        &mut self,
        ready: Ready<'e>,
        batch_size: usize,
        started: Instant,
        mut handle: impl FnMut(&'e [Event]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        while self.handled < ready.events.len() {
            let events = ready.batch(self.handled, batch_size);
            handle(events)?;
            self.handled += events.len();
            if started.elapsed() > TRANSACTION_MOST {
                break;
            }
        }
        self.passed = self.handled;
        self.position = ready.position(self.handled);
        self.slots.extend((0..self.handled).filter_map(|event| ready.slot(event)));
        Ok(())
    }

    fn take(&mut self, careful: Careful<'_, 'e>, ready: Ready<'e>, events: usize) {
        self.handled = careful.handled;
        self.passed = events;
        self.position = ready.position(events);
        self.parked = !careful.parked.is_empty();
        self.letters = careful.letters;
        let place =
            |event: &Event| ready.events.iter().position(|other| other.event_id == event.event_id);
        self.stopped = careful.stopped.map(|(event, error)| {
            // Everything before it is done.
            self.position = event.global_position - 1;
            self.passed = place(event).unwrap_or(events);
            (event, error, ready.slot(self.passed))
        });
        let is_letter =
            |event: &Event| self.letters.iter().any(|l| l.event.event_id == event.event_id);
        let handled = (0..self.passed).filter(|&event| !is_letter(&ready.events[event]));
        self.slots = handled.filter_map(|event| ready.slot(event)).collect();
    }

    /// How many events of each of these slots were handled.
    fn counts(&self, slots: &[i32]) -> Vec<i64> {
        let count = |slot: &i32| self.slots.iter().filter(|other| *other == slot).count();
        let mut counts: Vec<usize> = slots.iter().map(count).collect();
        // One slot, or dead letters, of which nobody asked.
        if let Some(first) = counts.first_mut().filter(|_| self.slots.is_empty()) {
            *first = self.handled;
        }
        counts.iter().map(|&count| i64::try_from(count).unwrap_or(i64::MAX)).collect()
    }
}

/// What moves checkpoints, and notes what was given.
struct Mover<'a> {
    statement: &'a Statement,
    label: &'a str,
    pace: &'a Pace,
}

impl Mover<'_> {
    fn advance(
        &self,
        tx: &mut Transaction<'_>,
        name: &str,
        claim: &Claim,
        done: &Done<'_>,
        given: &Given,
    ) -> Result<(), Failure> {
        let slots = &claim.group.slots;
        let handled = done.counts(slots);
        let stopped = done.stopped.as_ref();
        let error = stopped.map(|(_, error, _)| error.message());
        let failed_at = stopped.map(|(event, ..)| event.global_position);
        let failed_slot = stopped.and_then(|(.., slot)| slot.or(slots.first().copied()));
        let digests = given.digests();
        let values: [&(dyn ToSql + Sync); 17] = [
            &name,
            slots,
            &done.position,
            &self.label,
            &handled,
            &self.pace.of(slots.len()),
            &done.parked,
            &error,
            &failed_at,
            &claim.position,
            &claim.transaction,
            &failed_slot,
            &given.blocks,
            &slots.first().copied().unwrap_or(0),
            &given.bits,
            &given.events,
            &digests,
        ];
        let moved = (**tx)
            .execute(self.statement, &values)
            // A statement of a handler may have failed, though it said that all is well.
            .map_err(|error| between(name, "moving the checkpoint", error))?;
        if moved == slots.len() as u64 {
            return Ok(());
        }
        Err(Failure::Fatal(ended(name)))
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
