//! Lets a projection begin again, or go on from another position.

use postgres::Transaction;

use crate::error::{Error, Result};
use crate::render::RenderedStep;
use crate::render::environment::{render, values};
use crate::render::quote::shell_word;

use super::change::{Change, lock_rows, writing};
use super::checkpoint::{self, Projection, find, foreign, foreign_rows, unknown};
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
}

/// Plans it: all rows of the projection, its dead letters, and its tables, if that is wished.
pub fn plan(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    wish: &Reset,
) -> Result<Option<Change>> {
    let Tables { checkpoints, dead_letters, .. } = tables;
    checkpoints_ready(transaction, checkpoints)?;
    let rows = checkpoint::read(transaction, checkpoints, true)?;
    let all = checkpoint::projections(rows.clone());
    let own = find(&all, &wish.name);
    let others = foreign_rows(&rows, &wish.name);
    let mut notes = Vec::new();
    let others = match (own, others.is_empty(), wish.foreign) {
        (None, true, _) => return Err(unknown(&wish.name, &all)),
        (None, false, false) => return Err(needs_foreign(&wish.name, &others, "reset")),
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
        .hint("wait until that is done, or finish it: pupctl projections rescale"));
    }
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
        let sql = render("projection/control/reset", &values! { checkpoints, position, rows });
        let why = format!("It goes on after position {position}");
        statements.push(writing(sql, &why, checkpoints));
        let sql =
            render("projection/control/forget_letters", &values! { dead_letters, projection });
        statements.push(writing(sql, "What is handled again is no dead letter", dead_letters));
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

/// Only rows of another library are called so.
pub(super) fn needs_foreign(name: &str, rows: &[String], verb: &str) -> Error {
    foreign(name, rows, "its workers may be running").hint(format!(
        "stop its workers, then: pupctl projections {verb} {} --foreign",
        shell_word(name)
    ))
}

pub(super) fn left_alone(rows: &[String]) -> String {
    format!("rows of another library are left alone (--foreign): {}", rows.join(", "))
}
