//! Forgets dead letters: their events are never handled.

use postgres::Transaction;

use crate::error::Result;
use crate::layout::name::QualifiedName;
use crate::projection::control::change::{Change, lock_rows, writing};
use crate::projection::control::checkpoint::{self, Projection, find, unknown};
use crate::projection::control::{Tables, checkpoints_ready};
use crate::render::environment::{render, values};
use crate::render::quote::shell_word;
use crate::render::{Lock, LockMode, RenderedStep, Statement};

use super::{Selection, Wish, count, failed, letters, select};

/// Letters that are to be forgotten.
#[derive(Debug, Clone)]
pub struct Discard {
    /// What is to be done.
    pub change: Option<Change>,
    /// How many letters they are.
    pub letters: i64,
}

/// Plans it. Letters may outlive the rows of their projection.
pub fn plan(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    name: &str,
    wish: &Wish,
) -> Result<Discard> {
    let Tables { checkpoints, dead_letters, .. } = tables;
    checkpoints_ready(transaction, checkpoints)?;
    let rows = checkpoint::read(transaction, checkpoints, true)?;
    let all = checkpoint::projections(rows);
    let own = find(&all, name);
    let selection = select(transaction, dead_letters, name, wish, false)?;
    let number = match &selection {
        Some(which) => count(transaction, dead_letters, which)?.letters,
        None => 0,
    };
    let Some(which) = selection.filter(|_| number > 0) else {
        if own.is_none()
            && !all.iter().any(|known| known.name == name)
            && !has_any(transaction, dead_letters, name)?
        {
            return Err(unknown(name, &all));
        }
        return Ok(Discard { change: None, letters: 0 });
    };
    let rows = own.map(Projection::rows).unwrap_or_default();
    let first = match own {
        Some(_) => lock_rows(checkpoints, &rows),
        None => lock_letters(dead_letters),
    };
    let sql = render("projection/letters/discard", &values! { dead_letters, which });
    let forget = writing(sql, "Their events are left out for good", dead_letters);
    let notes = left_behind(transaction, dead_letters, name, &which)?.into_iter().collect();
    let title = format!("Forget {} of {name}", letters(number));
    let why = "their events are never handled";
    let step = RenderedStep::transaction(title, why, true, vec![first, forget]);
    let change = Change { step, rows, names: vec![name.to_owned()], notes };
    Ok(Discard { change: Some(change), letters: number })
}

fn has_any(
    transaction: &mut Transaction<'_>,
    dead_letters: &QualifiedName,
    name: &str,
) -> Result<bool> {
    let all = select(transaction, dead_letters, name, &Wish::All, false)?;
    let Some(all) = all else { return Ok(false) };
    Ok(count(transaction, dead_letters, &all)?.letters > 0)
}

/// Nobody works on a projection without rows; two discards come one after the other all the same.
fn lock_letters(dead_letters: &QualifiedName) -> Statement {
    Statement {
        sql: render("projection/letters/lock", &values! { dead_letters }),
        why: "The projection has no checkpoints, so nobody works on it".to_owned(),
        locks: vec![Lock { mode: LockMode::ShareRowExclusive, on: dead_letters.clone() }],
    }
}

/// What waits behind letters that are forgotten stays, and so do later events of its aggregate.
fn left_behind(
    transaction: &mut Transaction<'_>,
    dead_letters: &QualifiedName,
    name: &str,
    which: &Selection,
) -> Result<Option<String>> {
    let sql = render("projection/letters/behind", &values! { dead_letters, which });
    let row = transaction.query_one(&sql, &[]).map_err(failed)?;
    let number: i64 = row.get("letters");
    let Some(aggregate) = row.get::<_, Option<String>>("aggregate") else { return Ok(None) };
    let stay = if number == 1 { "later event stays" } else { "later events stay" };
    Ok(Some(format!(
        "{number} {stay} among the dead letters, and whatever comes of {aggregate} waits with \
         them: pupctl projections dead-letters replay {} --aggregate {}",
        shell_word(name),
        shell_word(&aggregate)
    )))
}
