//! Makes the rows of a projection before its first worker does.

use std::collections::BTreeSet;

use postgres::Transaction;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::projection::name::{row_name, validate, validate_slots};
use crate::render::environment::{render, values};
use crate::render::quote::shell_word;
use crate::render::{Lock, LockMode, RenderedStep, Statement};

use super::change::{Change, lock_rows, writing};
use super::checkpoint::{self, Checkpoint, Projection, Slot, find, foreign, foreign_rows};
use super::{Tables, are_extended};

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// The projection.
    pub name: String,
    /// How many slots; none for one, or as many as there are.
    pub slots: Option<u32>,
    /// The name of the hash; none for that of the server, or that which there is.
    pub slot_hash: Option<String>,
    /// The position after which it begins. It has to be settled.
    pub position: i64,
    /// The contexts that it reads; empty for all, none for all or as there is.
    pub contexts: Option<Vec<String>>,
    /// The types of aggregates that it reads.
    pub aggregates: Option<Vec<String>>,
    /// The tables that it fills.
    pub tables: Option<Vec<String>>,
}

#[derive(Serialize)]
struct NewRow {
    name: String,
    slot: u32,
}

/// Plans the rows; none where they are there. Refuses what is there otherwise, which other commands
/// change.
pub fn plan(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    wish: &Init,
) -> Result<Option<Change>> {
    validate(&wish.name)?;
    let slots = wish.slots.unwrap_or(1);
    validate_slots(slots)?;
    let checkpoints = &tables.checkpoints;
    let extended = are_extended(transaction, checkpoints)?;
    let rows = checkpoint::read(transaction, checkpoints, extended)?;
    let others = foreign_rows(&rows, &wish.name);
    if !others.is_empty() {
        return Err(foreign(&wish.name, &others, "events would be handled twice"));
    }
    let all = checkpoint::projections(rows.clone());
    if let Some(there) = find(&all, &wish.name) {
        return of_there(tables, wish, there);
    }
    let new: Vec<_> =
        (0..slots).map(|slot| NewRow { name: row_name(&wish.name, slot, slots), slot }).collect();
    let is_taken = |row: &&Checkpoint| new.iter().any(|new| new.name == row.row);
    if let Some(taken) = rows.iter().find(is_taken) {
        return Err(Error::refused(format!("there is a row {} of another projection", taken.row))
            .hint("choose another name"));
    }
    let (projection, position) = (&wish.name, wish.position);
    let slot_hash = wish.slot_hash.as_deref().unwrap_or(crate::projection::ServerHash::NAME);
    let sorted = |names: &Option<Vec<String>>| -> Vec<String> {
        let sorted: BTreeSet<_> = names.iter().flatten().cloned().collect();
        sorted.into_iter().collect()
    };
    let values = values! {
        checkpoints, projection, position, slots, slot_hash, rows => new,
        contexts => sorted(&wish.contexts), aggregates => sorted(&wish.aggregates),
        tables => sorted(&wish.tables),
    };
    let lock = Statement {
        sql: render("projection/control/lock_checkpoints", &values! { checkpoints }),
        why: "A worker that begins now makes rows of its own".to_owned(),
        locks: vec![Lock { mode: LockMode::ShareRowExclusive, on: checkpoints.clone() }],
    };
    let why = format!("Its workers begin after position {position}");
    let insert = writing(render("projection/control/insert", &values), &why, checkpoints);
    let title = format!("Make the checkpoints of {projection}");
    let why = "workers find them, and keep to their slots";
    let step = RenderedStep::transaction(title, why, false, vec![lock, insert]);
    let names = vec![projection.clone()];
    Ok(Some(Change { step, rows: Vec::new(), names, notes: Vec::new() }))
}

/// The rows are there: only the tables of the read model may be named anew.
fn of_there(tables: &Tables, wish: &Init, there: &Projection) -> Result<Option<Change>> {
    let Some(slot) = there.slot() else { return Ok(None) };
    refuse_other_slots(wish, slot)?;
    refuse_other_scope(wish, slot)?;
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    let Some(wanted) = &wish.tables else { return Ok(None) };
    if there.slots().all(|slot| set(&slot.read_model) == set(wanted)) {
        return Ok(None);
    }
    let checkpoints = &tables.checkpoints;
    let (rows, wanted) = (there.rows(), set(wanted));
    let values = values! { checkpoints, rows, tables => wanted };
    let sql = render("projection/control/read_model", &values);
    let statements = vec![
        lock_rows(checkpoints, &rows),
        writing(sql, "What reset and delete know of its tables", checkpoints),
    ];
    let title = format!("Note the tables of {}", wish.name);
    let step = RenderedStep::transaction(title, "they were noted otherwise", false, statements);
    Ok(Some(Change { step, rows, names: vec![wish.name.clone()], notes: Vec::new() }))
}

fn refuse_other_slots(wish: &Init, slot: &Slot) -> Result<()> {
    let slots = wish.slots.filter(|slots| i64::from(*slots) != i64::from(slot.slots));
    let hash = wish.slot_hash.as_ref().filter(|hash| **hash != slot.slot_hash);
    if slots.is_none() && hash.is_none() {
        return Ok(());
    }
    let name = shell_word(&wish.name);
    let noun = if slot.slots == 1 { "slot" } else { "slots" };
    let slots = slots.map_or_else(String::new, |slots| format!(" --slots {slots}"));
    let hash = hash.map_or_else(String::new, |hash| format!(" --hash {hash}"));
    let command = format!("pupctl projections rescale {name}{slots}{hash}");
    Err(Error::refused(format!(
        "{} is there with {} {noun} by {}",
        wish.name, slot.slots, slot.slot_hash
    ))
    .hint(format!("change them, without losing an event: {command}")))
}

fn refuse_other_scope(wish: &Init, slot: &Slot) -> Result<()> {
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    let differs = |wanted: &Option<Vec<String>>, there: &[String]| {
        wanted.as_ref().is_some_and(|wanted| set(wanted) != set(there))
    };
    let words = |names: &[String]| {
        if names.is_empty() { "all".to_owned() } else { names.join(", ") }
    };
    let mut lines = Vec::new();
    if differs(&wish.contexts, &slot.bounded_contexts) {
        lines.push(format!("it reads these contexts: {}", words(&slot.bounded_contexts)));
    }
    if differs(&wish.aggregates, &slot.aggregate_types) {
        lines.push(format!("it reads these types of aggregates: {}", words(&slot.aggregate_types)));
    }
    if lines.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!("{} is there, and reads other events", wish.name))
        .details(lines)
        .hint(
            "events that it left out would be missing: delete it and make it anew, or give the new \
               one another name",
        ))
}
