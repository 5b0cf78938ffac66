//! Makes the rows of a projection before its first worker does.

use std::collections::BTreeSet;

use postgres::Transaction;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::layout::name::validate_context;
use crate::projection::name::{row_name, validate, validate_slots};
use crate::render::environment::{render, values};
use crate::render::quote::shell_word;
use crate::render::{RenderedStep, Statement};

use super::change::{Change, lock_rows, writing};
use super::checkpoint::{self, Checkpoint, Projection, Slot, find, foreign, foreign_rows};
use super::{Tables, are_extended, holes, read_model, reset};

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
    /// Whether somebody asked for that position, so that one that is there has to stand there.
    pub asked: bool,
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
    refuse_tables_of_the_store(transaction, tables, wish)?;
    let others = foreign_rows(&rows, &wish.name);
    if !others.is_empty() {
        return Err(foreign(&wish.name, &rows, "events would be handled twice"));
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
    let dead_letters = &tables.dead_letters;
    let values = values! {
        checkpoints, dead_letters, projection, position, slots, slot_hash, rows => new,
        contexts => sorted(&wish.contexts), aggregates => sorted(&wish.aggregates),
        tables => sorted(&wish.tables),
    };
    // As workers do when they start.
    let key = format!("{checkpoints} {projection}");
    let lock = Statement {
        sql: render("projection/control/lock_name", &values! { key }),
        why: "A worker that starts now waits, and finds the rows".to_owned(),
        locks: Vec::new(),
    };
    let contexts = sorted(&wish.contexts);
    let holes = holes::find(transaction, tables, position, &contexts)?;
    let mut notes: Vec<_> = holes::told(&holes, position).into_iter().collect();
    notes.extend(holes::lines(&holes));
    let mut statements = vec![lock];
    let letters = if extended { letters_behind(transaction, tables, wish)? } else { 0 };
    if letters > 0 {
        notes.push(format!(
            "{letters} dead letters of a former {projection} behind position {position} are \
             forgotten: their events are handled again"
        ));
        let values = values! { dead_letters, projection, after => position };
        let sql = render("projection/control/forget_letters", &values);
        statements.push(writing(sql, "What is handled again is no dead letter", dead_letters));
    }
    let why = format!("Its workers begin after position {position}");
    statements.push(writing(render("projection/control/insert", &values), &why, checkpoints));
    statements.extend(reset::forget_audit(tables, projection, 0));
    let definitions = &tables.definitions;
    let values = values! { checkpoints, definitions, projection };
    let sql = render("projection/control/begin_audit", &values);
    statements.push(writing(sql, "From here on it is noted what it is given", definitions));
    let title = format!("Make the checkpoints of {projection}");
    let why = "workers find them, and keep to their slots";
    let step = RenderedStep::transaction(title, why, false, statements);
    let names = vec![projection.clone()];
    Ok(Some(Change { step, rows: Vec::new(), names, notes }))
}

/// The dead letters that a projection of this name has left behind the position.
fn letters_behind(transaction: &mut Transaction<'_>, tables: &Tables, wish: &Init) -> Result<i64> {
    let (dead_letters, projection, after) = (&tables.dead_letters, &wish.name, wish.position);
    let values = values! { dead_letters, projection, after };
    let row = transaction
        .query_one(&render("projection/control/count_letters", &values), &[])
        .map_err(|error| Error::database("counting the dead letters", error))?;
    Ok(row.get("behind"))
}

/// Refuses names that no event can have.
pub fn validate_scope(contexts: &[String], aggregates: &[String]) -> Result<()> {
    for context in contexts {
        validate_context(context)?;
    }
    for name in aggregates {
        if name.trim().is_empty() {
            return Err(Error::invalid("the name of a type of aggregates is empty")
                .hint("separate the names with single commas: --aggregates Order,Invoice"));
        }
        if name.trim() != name || name.chars().any(char::is_control) {
            return Err(Error::invalid(format!(
                "the type of aggregates {name:?} starts or ends with a space, or holds a control \
                 character"
            ))
            .hint("separate the names with single commas: --aggregates Order,Invoice"));
        }
    }
    Ok(())
}

fn refuse_tables_of_the_store(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    wish: &Init,
) -> Result<()> {
    for text in wish.tables.iter().flatten() {
        read_model::refuse_own(transaction, tables, text)?;
    }
    Ok(())
}

/// The rows are there: only the tables of the read model may be named anew.
fn of_there(tables: &Tables, wish: &Init, there: &Projection) -> Result<Option<Change>> {
    let Some(slot) = there.slot() else { return Ok(None) };
    refuse_other_slots(wish, slot)?;
    refuse_other_scope(wish, slot)?;
    refuse_other_position(wish, there)?;
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

fn refuse_other_position(wish: &Init, there: &Projection) -> Result<()> {
    let position = wish.position;
    if !wish.asked || there.checkpoints.iter().all(|row| row.position == position) {
        return Ok(());
    }
    let name = shell_word(&wish.name);
    Err(Error::refused(format!("{} is there, at position {}", wish.name, there.position()))
        .hint(format!("move it: pupctl projections reset {name} --to {position}")))
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
