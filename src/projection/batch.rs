//! A batch: one transaction that claims slots, handles events and moves the checkpoint.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres::types::ToSql;
use postgres::{Client, GenericClient, IsolationLevel, Row, Statement};

use crate::error::Error;
use crate::failpoint::reach;
use crate::render::environment::{render, values};

use super::ahead::{Ahead, Group};
use super::careful::{Careful, Letter, handle};
use super::checkpoint::{self, Division, Tables, number};
use super::config::{ProcessorConfig, Slots};
use super::definition::{Event, Projection, Scope};
use super::failure::{Failure, stopped};
use super::letters;
use super::transaction::{Statements, Transaction};

/// How carefully a batch is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// All events together.
    None,
    /// By halves, since one of them fails.
    Halves {
        /// Whether it fails only at the commit.
        at_commit: bool,
    },
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
}

/// Slots that stand at one position, claimed.
struct Claim {
    group: Group,
    position: i64,
    /// They may not move beyond it in this batch.
    bound: i64,
    parked: bool,
    replay: bool,
}

impl Work {
    pub(super) fn prepare(
        client: &mut Client,
        projection: Arc<dyn Projection>,
        scope: Scope,
        config: ProcessorConfig,
        tables: Tables,
        division: Division,
        label: String,
    ) -> Result<Self, Failure> {
        let failed = |error| Failure::of(checkpoint::failed(error));
        let pinned = matches!(config.slots, Slots::Pinned { .. });
        let values = values! { checkpoints => tables.checkpoints, pinned };
        Ok(Self {
            claim: client.prepare(&render("projection/claim", &values)).map_err(failed)?,
            advance: client.prepare(&render("projection/advance", &values)).map_err(failed)?,
            projection,
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
        let Some(ahead) = &mut self.ahead else { return Ok(false) };
        ahead.fill(client, &self.tables, &self.scope, settled, self.config.batch_size)?;
        Ok(ahead.is_empty() && ahead.upto() >= settled)
    }

    /// Forgets what was read ahead, and the statements of the handlers.
    pub(super) fn forget(&mut self) {
        self.ahead = None;
        self.statements.clear();
    }

    /// Handles a batch, where a slot is free that has something to do.
    pub(super) fn batch(
        &mut self,
        client: &mut Client,
        settled: i64,
        share: i64,
        care: Care,
    ) -> Result<Option<Batch>, Failure> {
        let started = Instant::now();
        // Whatever the role or the database prefers: what is read after the claim has to be newer
        // than what the claim saw.
        let mut tx = client
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted)
            .read_only(false)
            .start()
            .map_err(|error| Failure::database("beginning a batch", error))?;
        let Some(claim) = self.claim(&mut tx, settled, share)? else { return Ok(None) };
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
        let part = ahead.part(self.config.batch_size, claim.bound);
        let mut tx = Transaction::new(tx, &mut self.statements);
        let projection = &*self.projection;
        let mut done = Done { position: part.position, ..Done::default() };
        if claim.replay {
            done.position = claim.position;
            let strategy = &*self.division.strategy;
            done.handled =
                letters::replay(&mut tx, &self.tables, projection, &claim.group, strategy)?;
            done.parked = !letters::parked(&mut tx, &self.tables, projection.name())?.is_empty();
        } else if care == Care::None && waiting.is_empty() {
            if !part.events.is_empty() {
                handle(projection, &mut tx, part.events)?;
            }
            done.handled = part.events.len();
        } else {
            let immediate = care == Care::Halves { at_commit: true };
            let policy = self.config.on_error;
            let mut careful = Careful::new(projection, policy, immediate, waiting);
            careful.handle(&mut tx, part.events)?;
            done.take(careful);
        }
        reach("projection::handled");
        letters::park(&mut tx, &self.tables, projection.name(), &done.letters)?;
        self.pace.note(done.handled, started);
        let advanced = advance(
            &mut tx,
            &self.advance,
            projection.name(),
            &claim,
            &done,
            &self.label,
            &self.pace,
        );
        advanced?;
        reach("projection::before_commit");
        tx.commit().map_err(at_commit)?;
        reach("projection::committed");
        log(projection.name(), &claim, &done, part.events);
        let batch = Batch {
            events: done.handled,
            letters: done.letters.len(),
            position: done.position,
            stopped: done.stopped.map(|(event, error)| stopped(projection.name(), event, &error)),
        };
        ahead.advance(batch.position);
        Ok(Some(batch))
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
        self.follow_division(first)?;
        Ok(Some(together(&rows, settled)))
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
        self.division = Division { slots, strategy };
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
            slots,
        },
        position: lowest,
        bound: bound.max(lowest),
        parked: members.iter().any(|row| row.get("parked")),
        replay,
    }
}

/// What the transaction of a batch writes down.
#[derive(Default)]
struct Done<'e> {
    handled: usize,
    position: i64,
    parked: bool,
    letters: Vec<Letter<'e>>,
    stopped: Option<(&'e Event, Error)>,
}

impl<'e> Done<'e> {
    fn take(&mut self, careful: Careful<'_, 'e>) {
        self.handled = careful.handled;
        self.parked = !careful.parked.is_empty();
        self.letters = careful.letters;
        if let Some((event, _)) = &careful.stopped {
            // Everything before it is done.
            self.position = event.global_position - 1;
        }
        self.stopped = careful.stopped;
    }
}

fn advance(
    tx: &mut Transaction<'_>,
    statement: &Statement,
    name: &str,
    claim: &Claim,
    done: &Done<'_>,
    label: &str,
    pace: &Pace,
) -> Result<(), Failure> {
    let handled = i64::try_from(done.handled).unwrap_or(i64::MAX);
    let slots = &claim.group.slots;
    let error = done.stopped.as_ref().map(|(_, error)| error.message());
    let failed_at = done.stopped.as_ref().map(|(event, _)| event.global_position);
    let values: [&(dyn ToSql + Sync); 10] = [
        &name,
        slots,
        &done.position,
        &label,
        &handled,
        &pace.of(slots.len()),
        &done.parked,
        &error,
        &failed_at,
        &claim.position,
    ];
    let moved = (**tx).execute(statement, &values).map_err(|error| {
        // The transaction is over, though the handler said that all is well.
        let aborted = error.code().is_some_and(|code| code.code() == "25P02");
        match Failure::database("moving the checkpoint", error) {
            Failure::Fatal(error) if aborted => Failure::Refused {
                error: error.detail("a statement of the handler failed, and it went on"),
                at_commit: false,
            },
            other => other,
        }
    })?;
    if moved == slots.len() as u64 {
        return Ok(());
    }
    Err(Failure::Fatal(
        Error::refused(format!("the checkpoint of {name} was moved while its lock was held"))
            .hint("a handler must not end the transaction of its batch"),
    ))
}

fn at_commit(error: postgres::Error) -> Failure {
    match Failure::database("committing a batch", error) {
        Failure::Fatal(error) => Failure::Refused { error, at_commit: true },
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

/// How fast a worker is.
#[derive(Debug, Default)]
struct Pace {
    per_second: f64,
    since: Option<Instant>,
}

impl Pace {
    /// Notes a batch that began at `started`. What came right before it counts: reading ahead does.
    fn note(&mut self, events: usize, started: Instant) {
        let pause = Duration::from_secs(1);
        let since = self.since.filter(|since| since.elapsed() < pause).unwrap_or(started);
        let seconds = since.elapsed().as_secs_f64().max(1e-6);
        #[allow(clippy::cast_precision_loss)]
        let now = events as f64 / seconds;
        self.per_second =
            if self.since.is_none() { now } else { self.per_second.mul_add(0.8, now * 0.2) };
        self.since = Some(Instant::now());
    }

    /// Of each of so many slots.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    fn of(&self, slots: usize) -> f32 {
        (self.per_second / slots.max(1) as f64) as f32
    }
}
