//! Forgets a projection, and its tables if that is wished.

use postgres::Transaction;

use crate::error::{Error, Result};
use crate::projection::name::refuse_rebuild;
use crate::render::RenderedStep;
use crate::render::environment::{render, values};

use super::change::{Change, lock_rows, writing};
use super::checkpoint::{self, Projection, find, foreign_rows, unknown};
use super::read_model::{self, Doing};
use super::reset::{forget_audit, left_alone, needs_foreign};
use super::{Tables, checkpoints_ready};

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// The projection.
    pub name: String,
    /// Whether the rows of other libraries that are called so are meant too.
    pub foreign: bool,
    /// Whether the tables that it fills are dropped with it.
    pub read_model: bool,
}

/// Plans it: all rows of the projection, its dead letters, and its tables, if that is wished.
pub fn plan(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    wish: &Delete,
) -> Result<Option<Change>> {
    let Tables { checkpoints, dead_letters, definitions, .. } = tables;
    checkpoints_ready(transaction, checkpoints)?;
    refuse_rebuild(&wish.name)?;
    let found = checkpoint::read(transaction, checkpoints, true)?;
    let all = checkpoint::projections(found.clone());
    let own = find(&all, &wish.name);
    let others = foreign_rows(&found, &wish.name);
    let mut notes = Vec::new();
    let others = match (own, others.is_empty(), wish.foreign) {
        (None, true, _) => return Err(unknown(&wish.name, &all)),
        (None, false, false) => return Err(needs_foreign(&wish.name, &found, "delete")),
        (Some(_), false, false) => {
            notes.push(left_alone(&others));
            Vec::new()
        }
        _ => others,
    };
    let dropped = match own {
        Some(own) if wish.read_model => {
            read_model::find(transaction, tables, own, &all, Doing::Drop)?
        }
        None if wish.read_model => {
            return Err(Error::refused("of other libraries nobody knows which tables they fill")
                .hint("leave out --read-model, and drop them yourself"));
        }
        _ => Vec::new(),
    };
    if wish.read_model && dropped.is_empty() {
        notes.push("its tables are gone already".to_owned());
    }
    let rows = [own.map(Projection::rows).unwrap_or_default(), others].concat();
    let projection = &wish.name;
    let mut statements = vec![lock_rows(checkpoints, &rows)];
    statements.extend(read_model::statements(&dropped, Doing::Drop));
    if own.is_some() {
        let values = values! { dead_letters, projection, after => None::<i64> };
        let sql = render("projection/control/forget_letters", &values);
        statements.push(writing(sql, "Nobody will handle them any more", dead_letters));
        statements.extend(forget_audit(tables, projection, 0));
        let values = values! { definitions, projection };
        let sql = render("projection/control/forget_definition", &values);
        statements.push(writing(sql, "Nor is it known any more what it was", definitions));
    }
    let sql = render("projection/control/delete", &values! { checkpoints, rows });
    statements.push(writing(sql, "A worker that begins now begins at the start", checkpoints));
    let step = RenderedStep::transaction(
        format!("Delete {projection}"),
        "nobody needs it any more",
        true,
        statements,
    );
    Ok(Some(Change { step, rows, names: vec![projection.clone()], notes }))
}
