//! Lets a projection begin again, or go on from another position.

use postgres::{GenericClient, Transaction};

use crate::error::{Error, Result};
use crate::projection::name::refuse_rebuild;
use crate::render::environment::{render, values};
use crate::render::quote::shell_word;
use crate::render::{RenderedStep, Statement};

use super::change::{Change, lock_rows, writing};
use super::checkpoint::{self, Checkpoint, Projection, find, foreign, foreign_rows, unknown};
use super::holes::{self, Hole};
use super::lag::{self, Lags};
use super::read_model::{self, Doing};
use super::{Tables, checkpoints_ready};

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// The projection.
    pub name: String,
    /// Where it goes on: nothing at or below it is handled again. It has to be settled.
    pub position: i64,
    /// Whether the rows of other libraries that are called so are meant too.
    pub foreign: bool,
    /// Whether the tables that it fills are emptied with it.
    pub truncate: bool,
    /// Even where events behind the position are in archives, or in detached tables.
    pub allow_missing_events: bool,
}

/// What it costs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stake {
    /// Events behind the position that are not in the store.
    pub holes: Vec<Hole>,
    /// How many events lie between the slots and the position, and are never handled, in words.
    pub left_out: Option<String>,
    /// How many dead letters are forgotten: those behind the position.
    pub letters: i64,
    /// How many stay, since nobody comes by their events again.
    pub letters_kept: i64,
}

impl Stake {
    /// In short sentences.
    #[must_use]
    pub fn words(&self, position: i64) -> Vec<String> {
        let mut words: Vec<_> = self.left_out.iter().cloned().collect();
        words.extend(holes::told(&self.holes, position));
        if self.letters_kept > 0 {
            words.push(format!(
                "{} at or before position {position} stay",
                counted(self.letters_kept, "dead letter")
            ));
        }
        words
    }
}

fn counted(number: i64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Looks what it costs.
pub fn stake(client: &mut impl GenericClient, tables: &Tables, wish: &Reset) -> Result<Stake> {
    checkpoints_ready(client, &tables.checkpoints)?;
    let rows = checkpoint::read(client, &tables.checkpoints, true)?;
    let all = checkpoint::projections(rows);
    stake_of(client, tables, wish, find(&all, &wish.name))
}

fn stake_of(
    client: &mut impl GenericClient,
    tables: &Tables,
    wish: &Reset,
    own: Option<&Projection>,
) -> Result<Stake> {
    let contexts = own.and_then(Projection::slot).map(|slot| slot.bounded_contexts.clone());
    let after = wish.position;
    let holes = holes::find(client, tables, after, &contexts.unwrap_or_default())?;
    let Some(own) = own else { return Ok(Stake { holes, ..Stake::default() }) };
    let (dead_letters, projection) = (&tables.dead_letters, &wish.name);
    let sql =
        render("projection/control/count_letters", &values! { dead_letters, projection, after });
    let row = client
        .query_one(&sql, &[])
        .map_err(|error| Error::database("counting the dead letters", error))?;
    let left_out = left_out(client, tables, own, after)?;
    Ok(Stake { holes, left_out, letters: row.get("behind"), letters_kept: row.get("before") })
}

/// The events of its scope between where the slots are and the position.
fn left_out(
    client: &mut impl GenericClient,
    tables: &Tables,
    own: &Projection,
    position: i64,
) -> Result<Option<String>> {
    if own.position() >= position {
        return Ok(None);
    }
    let Lags { total, slots } = lag::count(client, &tables.events, own, position)?;
    // Of a hash that the server does not know those of all slots are counted.
    let bound = match (total.at_least, slots.iter().any(Option::is_none)) {
        (true, _) => "at least ",
        (false, true) => "up to ",
        (false, false) => "",
    };
    let are = if total.events == 1 { "is" } else { "are" };
    let events = counted(total.events, "event");
    Ok((total.events > 0).then(|| format!("{bound}{events} {are} never handled")))
}

/// Plans it: all rows of the projection, its dead letters, and its tables, if that is wished.
pub fn plan(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    wish: &Reset,
) -> Result<Option<Change>> {
    let Tables { checkpoints, dead_letters, definitions, .. } = tables;
    checkpoints_ready(transaction, checkpoints)?;
    refuse_rebuild(&wish.name)?;
    let rows = checkpoint::read(transaction, checkpoints, true)?;
    let all = checkpoint::projections(rows.clone());
    let own = find(&all, &wish.name);
    let others = foreign_rows(&rows, &wish.name);
    let mut notes = Vec::new();
    let others = match (own, others.is_empty(), wish.foreign) {
        (None, true, _) => return Err(unknown(&wish.name, &all)),
        (None, false, false) => return Err(needs_foreign(&wish.name, &rows, "reset")),
        (Some(_), false, false) => {
            notes.push(left_alone(&others));
            Vec::new()
        }
        _ => others,
    };
    if let Some(drain_to) = own.and_then(Projection::drain_to) {
        return Err(Error::refused(format!(
            "the slots of {} are being changed, at position {drain_to}",
            wish.name
        ))
        .hint(format!(
            "finish it with the rescale that was begun, pupctl projections rescale {name} with its \
             --slots or --hash; or call it off: pupctl projections rescale {name} --abort",
            name = shell_word(&wish.name)
        )));
    }
    let stake = stake_of(transaction, tables, wish, own)?;
    if !wish.allow_missing_events {
        holes::refuse(&wish.name, wish.position, &stake.holes)?;
    }
    notes.extend(stake.words(wish.position));
    let emptied = match own {
        Some(own) if wish.truncate => {
            read_model::find(transaction, tables, own, &all, Doing::Truncate)?
        }
        None if wish.truncate => {
            return Err(Error::refused("of other libraries nobody knows which tables they fill")
                .hint("leave out --truncate, and empty them yourself"));
        }
        _ => Vec::new(),
    };
    let (projection, position) = (&wish.name, wish.position);
    let locked = [own.map(Projection::rows).unwrap_or_default(), others.clone()].concat();
    let mut statements = vec![lock_rows(checkpoints, &locked)];
    statements.extend(read_model::statements(&emptied, Doing::Truncate));
    if let Some(own) = own {
        let rows = own.rows();
        let values = values! { dead_letters, projection, after => position };
        let sql = render("projection/control/forget_letters", &values);
        statements.push(writing(sql, "What is handled again is no dead letter", dead_letters));
        statements.extend(forget_audit(tables, projection, position));
        let values = values! { checkpoints, definitions, projection, position };
        let sql = render("projection/control/reset_definition", &values);
        statements.push(writing(sql, "From where on it is known what it was given", definitions));
        let values = values! { checkpoints, dead_letters, projection, position, rows };
        let sql = render("projection/control/reset", &values);
        let why = format!("It goes on after position {position}");
        statements.push(writing(sql, &why, checkpoints));
    }
    if !others.is_empty() {
        let values = values! { checkpoints, position, rows => others };
        let sql = render("projection/control/reset_others", &values);
        let why = format!("Its workers go on after position {position}, if none runs now");
        statements.push(writing(sql, &why, checkpoints));
    }
    if !wish.truncate {
        notes.push(
            "the read model is left as it is: empty it, or what it has is added to".to_owned(),
        );
    }
    let title = format!("Reset {projection} to position {position}");
    let step =
        RenderedStep::transaction(title, "events after it are handled again", true, statements);
    Ok(Some(Change { step, rows: locked, names: vec![projection.clone()], notes }))
}

/// What is noted of positions behind this one is forgotten: they come again.
pub(super) fn forget_audit(tables: &Tables, projection: &str, position: i64) -> Vec<Statement> {
    let audit = &tables.audit;
    let after = (position > 0).then_some(position);
    let values = values! { audit, projection, after };
    let sql = render("projection/control/forget_audit", &values);
    let mut statements = vec![writing(sql, "What was given behind it is given again", audit)];
    if after.is_some() {
        let sql = render("projection/control/cut_audit", &values);
        statements.push(writing(sql, "The same of the block in which it lies", audit));
    }
    statements
}

/// Only rows of another library are called so.
pub(super) fn needs_foreign(name: &str, rows: &[Checkpoint], verb: &str) -> Error {
    foreign(name, rows, "its workers may be running").hint(format!(
        "stop its workers, then: pupctl projections {verb} {} --foreign",
        shell_word(name)
    ))
}

pub(super) fn left_alone(rows: &[String]) -> String {
    format!("rows of another library are left alone (--foreign): {}", rows.join(", "))
}
