//! The heads, which a trigger writes to both tables while they are copied.

use postgres::Client;

use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;
use crate::layout::Role;
use crate::render::convert as statements;
use crate::render::environment::{render, values};

use super::{Converter, session};

/// How many heads a message names.
const LISTED_MAX: i64 = 20;

impl Converter<'_> {
    /// Copies the heads that the trigger has not written. Where it was interrupted it begins anew:
    /// what is there stays.
    pub(super) fn copy_heads(&mut self) -> Result<()> {
        let Some(heads) = self.table(Role::Heads) else { return Ok(()) };
        self.progress.phase("Copying heads", None);
        let columns = session::columns(self.locked.client(), &heads.current)?;
        let sql = statements::copy_heads(&self.record.target(), &heads, &columns);
        let mut after = [String::new(), String::new(), String::new()];
        while let Some(last) = copy_batch(self.locked.client(), &sql, &after)? {
            self.interrupt.check()?;
            reach("convert::copied_heads");
            after = last;
        }
        Ok(())
    }

    /// Lets the trigger write heads of further contexts, waits until every writer knows it, and
    /// copies those that were there before.
    pub(super) fn mirror_more(&mut self) -> Result<()> {
        let Some(heads) = self.table(Role::Heads) else { return Ok(()) };
        let columns = session::columns(self.locked.client(), &heads.current)?;
        let mirror = statements::mirror(&self.record.target(), &heads, &columns);
        self.run("making the function that writes heads", &[mirror])?;
        let tables = std::slice::from_ref(&heads.current);
        let barrier = statements::swap::lock_writers(tables);
        self.execute(&[statements::barrier(barrier)])?;
        self.copy_heads()
    }

    /// Refuses heads that are not the same in both tables. A context that nobody knew has come
    /// where heads are there and not here: when its events are copied, they are too.
    pub(super) fn prove_heads(&mut self) -> Result<()> {
        let Err(error) = self.compare_heads() else { return Ok(()) };
        if error.kind() != Kind::Refused {
            return Err(error);
        }
        self.catch_up()?;
        self.compare_heads()
    }

    /// The same of one moment.
    fn compare_heads(&mut self) -> Result<()> {
        let Some(heads) = self.table(Role::Heads) else { return Ok(()) };
        let (current, next) = (&heads.current, &heads.next);
        let sql =
            render("convert/differing_heads", &values! { current, next, limit => LISTED_MAX });
        let rows = self
            .locked
            .client()
            .query(&sql, &[])
            .map_err(|error| Error::database("comparing the heads", error))?;
        let Some(first) = rows.first() else { return Ok(()) };
        let total: i64 = first.get("total");
        let version = |row: &postgres::Row, column: &str| {
            row.get::<_, Option<i64>>(column).map_or("none".to_owned(), |head| head.to_string())
        };
        let words = |row: &postgres::Row| {
            let text = |column: &str| row.get::<_, String>(column);
            format!(
                "{} {} {}: {} in the old table, {} in the new one",
                text("bounded_context"),
                text("aggregate_type"),
                text("aggregate_id"),
                version(row, "old"),
                version(row, "new")
            )
        };
        Err(Error::refused(format!("{total} heads are not the same in {current} and {next}"))
            .details(rows.iter().map(words))
            .hint(
                "somebody has changed one of the tables: call it off with pupctl convert rollback",
            ))
    }
}

fn copy_batch(client: &mut Client, sql: &str, after: &[String; 3]) -> Result<Option<[String; 3]>> {
    let failed = |error| Error::database("copying heads", error);
    let [context, kind, id] = after;
    let row = client.query_opt(sql, &[context, kind, id]).map_err(failed)?;
    Ok(row.map(|row| {
        [row.get("bounded_context"), row.get("aggregate_type"), row.get("aggregate_id")]
    }))
}
