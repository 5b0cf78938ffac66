//! Dead letters: events that could not be handled, and those that wait behind them.

use std::collections::{HashMap, HashSet};

use postgres::Row;
use uuid::Uuid;

use crate::db::Interrupt;
use crate::error::Error;
use crate::render::environment::{render, values};

use super::ahead::Group;
use super::careful::{Aggregate, Letter, attempt};
use super::checkpoint::Tables;
use super::definition::{Event, Projection};
use super::failure::Failure;
use super::strategy::PartitionStrategy;
use super::transaction::Transaction;

/// The aggregates of a projection whose events wait. Read after the claim, in a later statement:
/// whoever held the slots before may have added some.
pub(super) fn parked(
    tx: &mut postgres::Transaction<'_>,
    tables: &Tables,
    projection: &str,
) -> Result<HashSet<Aggregate>, Failure> {
    let sql = render("projection/parked", &values! { dead_letters => tables.dead_letters });
    let rows = tx.query(&sql, &[&projection]).map_err(failed)?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// Adds events to the dead letters.
pub(super) fn park(
    tx: &mut postgres::Transaction<'_>,
    tables: &Tables,
    projection: &str,
    letters: &[Letter<'_>],
) -> Result<(), Failure> {
    fn all<'a, T>(letters: &'a [Letter<'a>], of: impl Fn(&'a Letter<'a>) -> T) -> Vec<T> {
        letters.iter().map(of).collect()
    }
    if letters.is_empty() {
        return Ok(());
    }
    let sql = render("projection/park", &values! { dead_letters => tables.dead_letters });
    tx.execute(
        &sql,
        &[
            &projection,
            &all(letters, |letter| letter.event.global_position),
            &all(letters, |letter| letter.event.bounded_context.as_str()),
            &all(letters, |letter| letter.event.aggregate_type.as_str()),
            &all(letters, |letter| letter.event.aggregate_id.as_str()),
            &all(letters, |letter| letter.event.aggregate_version),
            &all(letters, |letter| letter.event.event_id),
            &all(letters, |letter| letter.event.event_type.as_str()),
            &all(letters, |letter| letter.state),
            &all(letters, |letter| letter.error.as_deref()),
        ],
    )
    .map_err(failed)?;
    Ok(())
}

/// What is to be handled once more.
struct Replay {
    id: i64,
    position: i64,
    event: Uuid,
    aggregate: Aggregate,
}

/// Handles once more what is asked for, of the slots of a group, aggregate by aggregate, each in
/// order. What fails again stays, with what comes after it. How many were handled.
pub(super) fn replay(
    tx: &mut Transaction<'_>,
    tables: &Tables,
    projection: &dyn Projection,
    group: &Group,
    strategy: &dyn PartitionStrategy,
    stop: &Interrupt,
) -> Result<usize, Failure> {
    let wanted = wanted(tx, tables, projection.name(), group, strategy)?;
    let mut events = events(tx, tables, &wanted)?;
    let mut blocked: HashMap<Aggregate, Vec<i64>> = HashMap::new();
    let mut done = Vec::new();
    for Replay { id, event, aggregate, .. } in wanted {
        let event = events.remove(&event);
        if !strategy.is_servers() && !is_of(group, strategy, event.as_ref()) {
            continue;
        }
        if let Some(waiting) = blocked.get_mut(&aggregate) {
            waiting.push(id);
            continue;
        }
        let outcome = match event {
            Some(event) => attempt(projection, tx, &[event], stop)?,
            None => Err(Error::refused("the event is not in the store any more")),
        };
        match outcome {
            Ok(()) => done.push(id),
            Err(error) => {
                let sql = render(
                    "projection/letter_failed",
                    &values! { dead_letters => tables.dead_letters },
                );
                tx.execute(&sql, &[&id, &error.message()]).map_err(failed)?;
                blocked.insert(aggregate, Vec::new());
            }
        }
    }
    let kept: Vec<i64> = blocked.into_values().flatten().collect();
    for (template, ids) in [("projection/letter_done", &done), ("projection/letter_kept", &kept)] {
        let sql = render(template, &values! { dead_letters => tables.dead_letters });
        tx.execute(&sql, &[ids]).map_err(failed)?;
    }
    Ok(done.len())
}

/// Whether a group is to look at an event. Of one that is gone nobody knows the slot: the first one
/// tells so.
fn is_of(group: &Group, strategy: &dyn PartitionStrategy, event: Option<&Event>) -> bool {
    let slot = event.map_or(0, |event| strategy.slot(event, group.of));
    i32::try_from(slot).is_ok_and(|slot| group.slots.binary_search(&slot).is_ok())
}

fn wanted(
    tx: &mut Transaction<'_>,
    tables: &Tables,
    projection: &str,
    group: &Group,
    strategy: &dyn PartitionStrategy,
) -> Result<Vec<Replay>, Failure> {
    let divided = strategy.is_servers() && group.slots.len() < group.of as usize;
    let values = values! {
        dead_letters => tables.dead_letters,
        slots => divided.then_some(group.of),
    };
    let sql = render("projection/letters", &values);
    let numbers: Vec<i64> = group.slots.iter().map(|&slot| i64::from(slot)).collect();
    let all: [&(dyn postgres::types::ToSql + Sync); 2] = [&projection, &numbers];
    let rows = tx.query(&sql, if divided { &all } else { &all[..1] }).map_err(failed)?;
    let replay = |row: &Row| Replay {
        id: row.get(0),
        position: row.get(1),
        event: row.get(2),
        aggregate: (row.get(3), row.get(4), row.get(5)),
    };
    Ok(rows.iter().map(replay).collect())
}

fn events(
    tx: &mut Transaction<'_>,
    tables: &Tables,
    wanted: &[Replay],
) -> Result<HashMap<Uuid, Event>, Failure> {
    let values = values! { events => tables.events, columns => Event::COLUMNS };
    let sql = render("projection/letter_events", &values);
    let positions: Vec<i64> = wanted.iter().map(|replay| replay.position).collect();
    let rows = tx.query(&sql, &[&positions]).map_err(failed)?;
    rows.iter()
        .map(|row| {
            let event = Event::from_row(row).map_err(failed)?;
            Ok((event.event_id, event))
        })
        .collect()
}

fn failed(error: postgres::Error) -> Failure {
    Failure::database("working on the dead letters", error)
}
