//! Gives lost events after all: they become dead letters that workers handle next.

use postgres::Transaction;

use crate::error::{Error, Result};
use crate::projection::control::change::{Change, lock_rows, writing};
use crate::projection::control::{Tables, checkpoints_ready};
use crate::render::RenderedStep;
use crate::render::environment::{render, values};
use crate::render::quote::shell_word;

use super::compare::Scope;
use super::{Kind, Range, Verified, rows_of, start};

/// So many events are given at a time: workers handle them in one transaction.
pub const EVENTS_MAX: i64 = 100_000;

/// Refuses what is better made anew.
pub fn check(verified: &Verified) -> Result<()> {
    let events = verified.repairable();
    if events <= EVENTS_MAX {
        return Ok(());
    }
    let name = shell_word(&verified.projection);
    Err(Error::refused(format!(
        "{} has lost {events} events, and a repair gives {EVENTS_MAX} at most",
        verified.projection
    ))
    .hint(format!(
        "make it anew from all events: {}; or repair one part after the other, with --to",
        anew(verified.file.is_some(), &name)
    )))
}

/// The command that makes a projection anew.
#[must_use]
pub fn anew(is_sql: bool, name: &str) -> String {
    if is_sql {
        format!("pupctl projections rebuild {name}")
    } else {
        format!("pupctl projections reset {name} --truncate")
    }
}

/// Plans it. What is lost between these positions is computed once more, by the statement itself
/// and under the locks: two repairs give nothing twice.
pub fn plan(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    verified: &Verified,
) -> Result<Option<Change>> {
    let Tables { events, checkpoints, dead_letters, audit, .. } = tables;
    checkpoints_ready(transaction, checkpoints)?;
    let projection = &verified.projection;
    let Some(lost) = verified.of(Kind::Lost).filter(|_| verified.repairable() > 0) else {
        return Ok(None);
    };
    let (audited_from, _) = start(transaction, tables, projection)?;
    let own = rows_of(transaction, tables, projection)?;
    let Some(audited_from) = audited_from else { return Ok(None) };
    let Scope { contexts, aggregates } = &Scope::of(&own);
    let rows = own.rows();
    let mut statements = vec![lock_rows(checkpoints, &rows)];
    for Range { first, last, .. } in &lost.ranges {
        let (after, to) = ((first - 1).max(audited_from), (*last).min(own.position()));
        if after >= to {
            continue;
        }
        let values = values! {
            events, dead_letters, audit, projection, contexts, aggregates, after, to,
        };
        let sql = render("projection/verify/repair", &values);
        let why = format!("What was not given of positions {} to {to}", after + 1);
        statements.push(writing(sql, &why, dead_letters));
    }
    if statements.len() == 1 {
        return Ok(None);
    }
    let sql = render("projection/letters/wake", &values! { checkpoints, projection });
    statements.push(writing(sql, "Workers handle them before their next batch", checkpoints));
    let step = RenderedStep::transaction(
        format!("Give lost events to {projection}"),
        "workers handle them late, in the order of their positions",
        false,
        statements,
    );
    let notes = vec![format!(
        "later events of the same aggregates were handled before them: where the order matters, \
         make it anew instead: {}",
        anew(verified.file.is_some(), &shell_word(projection))
    )];
    Ok(Some(Change { step, rows, names: vec![projection.clone()], notes }))
}
