//! Asks the server what [`crate::finding::fence`] says: may the events of a leaf leave?

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use postgres::{Client, GenericClient, Row};

use crate::error::{Error, Result};
use crate::finding::fence::{Checkpoint, Fence, Laggard, SplitStream, SplitStreams};
use crate::finding::holder::Holder;
use crate::layout::name::{DEAD_LETTERS, QualifiedName};
use crate::render;
use crate::render::environment::{render, values};

use super::{Interrupt, settled};

/// How long open transactions and replication slots are waited for.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How often slots are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The leaf, and the tables of its store.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The leaf that is to leave: attached, or detached already.
    pub leaf: &'a QualifiedName,
    /// `events`, whose sequence and partitions say what is settled.
    pub events: &'a QualifiedName,
    /// `aggregate_heads`.
    pub heads: &'a QualifiedName,
    /// `projection_checkpoints`; none where the store has no such table.
    pub checkpoints: Option<&'a QualifiedName>,
}

/// What does not matter, and how long to wait.
#[derive(Debug, Clone)]
pub struct Options {
    /// Projections that are dead.
    pub ignore_projections: BTreeSet<String>,
    /// Replication slots that are dead.
    pub ignore_slots: BTreeSet<String>,
    /// Whether streams may be cut in two.
    pub allow_split_streams: bool,
    /// How long open transactions, and then replication slots, are waited for.
    pub patience: Duration,
    /// The place in the log that slots have to confirm, `0/16B3748`; else its end at the time when
    /// everything in the leaf is settled. For a second look at a leaf to which nothing was added.
    pub lsn: Option<String>,
    /// A table that says where the streams end that leave, with this leaf and others: one that goes
    /// on in another of them is not cut.
    pub leaving: Option<QualifiedName>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ignore_projections: BTreeSet::new(),
            ignore_slots: BTreeSet::new(),
            allow_split_streams: false,
            patience: PATIENCE,
            lsn: None,
            leaving: None,
        }
    }
}

/// Looks who has not passed the last event of a leaf. Reads only; the client must not be in a
/// transaction. `on_wait` hears about the sessions for whose transactions it waits.
///
/// An empty leaf has nothing that anybody could miss. What is added to the leaf after this is not
/// in the answer: look again, with [`look_at_checkpoints`], where nobody can add any more.
pub fn look(
    client: &mut Client,
    place: Place<'_>,
    options: &Options,
    interrupt: &Interrupt,
    on_wait: &mut dyn FnMut(&[Holder]),
) -> Result<Fence> {
    look_around(client, place, options, interrupt, on_wait)
        .map_err(|error| interrupt.explain(error))
}

fn look_around(
    client: &mut Client,
    place: Place<'_>,
    options: &Options,
    interrupt: &Interrupt,
    on_wait: &mut dyn FnMut(&[Holder]),
) -> Result<Fence> {
    let mut laggards = Vec::new();
    // Before the wait, so that all that lies below is settled by it; and after it, as what has
    // become visible by then has to be read too.
    if let Some(last) = last_position(client, place.leaf)? {
        let settled = settled::watch(client, place.events, options.patience, interrupt, on_wait)?;
        if !settled.held_by.is_empty() {
            laggards
                .push(Laggard::Unsettled { position: settled.position, holders: settled.held_by });
        }
        if settled.position < last {
            laggards.push(Laggard::AheadOfSequence { position: settled.position });
        }
    }
    let mut fence = look_at_checkpoints(client, place.leaf, place.checkpoints, options)?;
    if fence.last_position.is_none() {
        return Ok(fence);
    }
    laggards.append(&mut fence.laggards);
    for (name, slot) in slots(client, options, interrupt)? {
        if options.ignore_slots.contains(&name) {
            fence.ignored.push(slot.words());
        } else {
            laggards.push(slot);
        }
    }
    fence.laggards = laggards;
    fence.split_streams = Some(SplitStreams {
        allowed: options.allow_split_streams,
        ..split_streams(client, place, options)?
    });
    Ok(fence)
}

/// Looks at the last event of a table and the checkpoints alone: cheap, and good in a transaction
/// that keeps writers out of the table, or on a table that is detached.
pub fn look_at_checkpoints(
    client: &mut impl GenericClient,
    leaf: &QualifiedName,
    checkpoints: Option<&QualifiedName>,
    options: &Options,
) -> Result<Fence> {
    let mut fence = Fence {
        leaf: leaf.clone(),
        last_position: last_position(client, leaf)?,
        laggards: Vec::new(),
        ignored: Vec::new(),
        split_streams: None,
    };
    let (Some(last), Some(checkpoints)) = (fence.last_position, checkpoints) else {
        return Ok(fence);
    };
    (fence.laggards, fence.ignored) = behind(client, leaf, checkpoints, last, options)?;
    Ok(fence)
}

/// The projections that have not passed a position, or have events of the leaf up to it among the
/// dead letters; and those of them that are to be ignored, in words.
pub fn behind(
    client: &mut impl GenericClient,
    leaf: &QualifiedName,
    checkpoints: &QualifiedName,
    last: i64,
    options: &Options,
) -> Result<(Vec<Laggard>, Vec<String>)> {
    let letters = dead_letters(client, checkpoints)?;
    let rows = client
        .query(&render("fence/laggards", &values! { leaf, checkpoints, letters }), &[&last])
        .map_err(|error| Error::database("reading the checkpoints of projections", error))?;
    let (mut laggards, mut ignored) = (Vec::new(), Vec::new());
    for row in &rows {
        let name: String = row.get("name");
        let projection: Option<String> = row.get("projection");
        // All rows of a projection, or one of them.
        let is_ignored = [Some(&name), projection.as_ref()]
            .into_iter()
            .flatten()
            .any(|name| options.ignore_projections.contains(name));
        let position = row.get("position");
        let laggard = match row.get::<_, Option<i64>>("letters") {
            Some(events) => Laggard::DeadLetters { projection: name, events, position },
            None => {
                let row = Checkpoint { name, projection, position, moved_at: row.get("moved") };
                Laggard::projection(checkpoints, letters.as_ref(), row, last)
            }
        };
        if is_ignored {
            ignored.push(laggard.words());
        } else {
            laggards.push(laggard);
        }
    }
    Ok((laggards, ignored))
}

/// The lowest position that a projection has not handled yet, less one: that of the checkpoint
/// that is furthest behind, or before an event of the leaf that is among the dead letters. None
/// where nobody reads.
pub fn lowest(
    client: &mut impl GenericClient,
    leaf: &QualifiedName,
    checkpoints: &QualifiedName,
    options: &Options,
) -> Result<Option<i64>> {
    let letters = dead_letters(client, checkpoints)?;
    let ignored: Vec<_> = options.ignore_projections.iter().collect();
    let sql = render("archive/lowest_checkpoint", &values! { leaf, checkpoints, letters });
    let row = client
        .query_one(&sql, &[&ignored])
        .map_err(|error| Error::database("reading the checkpoints of projections", error))?;
    Ok(row.get("lowest"))
}

/// The table of dead letters beside the checkpoints; none in a store of an earlier version.
fn dead_letters(
    client: &mut impl GenericClient,
    checkpoints: &QualifiedName,
) -> Result<Option<QualifiedName>> {
    let letters = QualifiedName::new(checkpoints.schema.clone(), DEAD_LETTERS);
    let there = client
        .query_opt(include_str!("../../sql/fence/table.sql"), &[&letters.schema, &letters.name])
        .map_err(|error| Error::database("looking for the dead letters of projections", error))?;
    Ok(there.map(|_| letters))
}

/// Which of the names that are to be ignored nobody has, in words.
pub fn unknown(
    client: &mut impl GenericClient,
    checkpoints: Option<&QualifiedName>,
    options: &Options,
) -> Result<Vec<String>> {
    let failed = |error| Error::database("looking for what is to be ignored", error);
    let mut words = Vec::new();
    let mut tell = |what: &str, wanted: &BTreeSet<String>, rows: &[Row]| {
        let known: BTreeSet<String> = rows.iter().map(|row| row.get("name")).collect();
        words.extend(wanted.difference(&known).map(|name| format!("there is no {what} {name}")));
    };
    let wanted = &options.ignore_projections;
    let names: Vec<_> = wanted.iter().collect();
    let rows = match checkpoints {
        Some(checkpoints) if !names.is_empty() => {
            let letters = dead_letters(client, checkpoints)?;
            let sql = render("fence/known_projections", &values! { checkpoints, letters });
            client.query(&sql, &[&names]).map_err(failed)?
        }
        _ => Vec::new(),
    };
    tell("projection", wanted, &rows);
    let wanted = &options.ignore_slots;
    if !wanted.is_empty() {
        let names: Vec<_> = wanted.iter().collect();
        let rows = client
            .query(include_str!("../../sql/fence/known_slots.sql"), &[&names])
            .map_err(failed)?;
        tell("replication slot", wanted, &rows);
    }
    Ok(words)
}

/// A place in the log behind every commit that was visible before the call: what a replication
/// slot has to confirm, to have read them all. `synchronous_commit = off` makes rows visible before
/// their commit is in the part of the log that slots read, so that is waited for.
pub fn end_of_log(client: &mut impl GenericClient) -> Result<String> {
    let start = Instant::now();
    loop {
        let row = client
            .query_one(include_str!("../../sql/fence/lsn.sql"), &[])
            .map_err(|error| Error::database("asking for the end of the log", error))?;
        let delay = u64::try_from(row.get::<_, i64>("delay")).unwrap_or(0);
        // What is not a commit may stay behind for as long as nobody writes.
        if row.get("whole") || start.elapsed() > Duration::from_millis(3 * delay) {
            return Ok(row.get("lsn"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn last_position(client: &mut impl GenericClient, leaf: &QualifiedName) -> Result<Option<i64>> {
    let row = client.query_one(&render("fence/last_position", &values! { leaf }), &[]).map_err(
        |error| Error::database(&format!("looking for the last event of {leaf}"), error),
    )?;
    Ok(row.get("last"))
}

/// The slots that do not confirm the end of the log in time. Consumers confirm now and then, so
/// they are given the time.
fn slots(
    client: &mut Client,
    options: &Options,
    interrupt: &Interrupt,
) -> Result<Vec<(String, Laggard)>> {
    let lsn = match &options.lsn {
        Some(lsn) => lsn.clone(),
        None => end_of_log(client)?,
    };
    let start = Instant::now();
    loop {
        let rows = client
            .query(include_str!("../../sql/fence/slots.sql"), &[&lsn])
            .map_err(|error| Error::database("reading the replication slots", error))?;
        let slots: Vec<_> = rows.iter().map(slot).collect();
        // A dead one is not waited for, nor one that nobody reads from.
        let may_come = |(name, slot): &(String, Laggard)| {
            !options.ignore_slots.contains(name)
                && matches!(slot, Laggard::Slot { active: true, .. })
        };
        let left = options.patience.saturating_sub(start.elapsed());
        if left.is_zero() || !slots.iter().any(may_come) {
            return Ok(slots);
        }
        interrupt.check()?;
        std::thread::sleep(POLL_INTERVAL.min(left));
    }
}

/// Whether there are replication slots that matter.
pub fn has_slots(client: &mut Client, options: &Options) -> Result<bool> {
    let ignored: Vec<_> = options.ignore_slots.iter().collect();
    let row = client
        .query_one(include_str!("../../sql/fence/any_slot.sql"), &[&ignored])
        .map_err(|error| Error::database("looking for replication slots", error))?;
    Ok(row.get("there"))
}

fn slot(row: &Row) -> (String, Laggard) {
    let name: String = row.get("name");
    let laggard = Laggard::Slot {
        active: row.get("active"),
        log: row.get("log"),
        confirmed: row.get("confirmed"),
        behind_bytes: row.get("behind"),
        remove: render::drop_slot(&name),
        name: name.clone(),
    };
    (name, laggard)
}

fn split_streams(client: &mut Client, place: Place<'_>, options: &Options) -> Result<SplitStreams> {
    let Place { leaf, heads, .. } = place;
    let leaving = &options.leaving;
    let rows = client
        .query(&render("fence/split_streams", &values! { leaf, heads, leaving }), &[])
        .map_err(|error| Error::database("counting the streams that go on elsewhere", error))?;
    let example = |row: &Row| SplitStream {
        bounded_context: row.get("bounded_context"),
        aggregate_type: row.get("aggregate_type"),
        aggregate_id: row.get("aggregate_id"),
        last_version: row.get("last"),
        head: row.get("head"),
    };
    Ok(SplitStreams {
        total: rows.first().map_or(0, |row| row.get("total")),
        examples: rows.iter().map(example).collect(),
        allowed: false,
    })
}
