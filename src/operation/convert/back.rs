//! The way back: before the swap nothing has to be undone but what was built; after it, what came
//! since is copied into the old tables first.

use postgres::types::ToSql;
use postgres::{Client, Transaction};

use crate::catalog::Catalog;
use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;
use crate::layout::Role;
use crate::layout::name::QualifiedName;
use crate::plan::convert::ranges::Range;
use crate::plan::convert::{Phase, Replaced, Strategy};
use crate::render::convert as statements;
use crate::render::environment::{render, values};

use super::catch_up::ROUNDS_MAX;
use super::exchange::{Stall, has_new_tables};
use super::planned::Way;
use super::record::{self, Record};
use super::verify::Pair;
use super::{Converter, session};

/// So many rows are not moved while everybody waits.
const BEYOND_MAX: i64 = 10_000;

/// So many tables are dropped in one transaction.
const DROPPED_AT_ONCE: usize = 20;

impl Converter<'_> {
    /// Calls the conversion off. The old tables are the store's again, with everything that was
    /// appended since.
    pub fn roll_back(&mut self) -> Result<Option<Stall>> {
        self.prepare()?;
        let mut stall = None;
        if self.record.phase == Phase::Swapped {
            self.refuse_dropped()?;
            stall = Some(self.swap_back().map_err(Self::explained)?);
        } else if self.record.swapped_at_position.is_none() {
            // First of all: nobody may go on with a copy that nothing protects any more.
            if self.record.phase != Phase::RolledBack {
                self.advance(Phase::RolledBack)?;
            }
            match self.record.strategy {
                Strategy::Copy => self.thaw()?,
                Strategy::Attach => self.forget_heaps()?,
            }
        }
        self.forget()?;
        self.drop_new()?;
        Ok(stall)
    }

    /// The old tables may be changed again.
    fn thaw(&mut self) -> Result<()> {
        let target = self.record.target();
        for statement in statements::swap::thaw(&target) {
            self.execute(&[statements::thawing(statement)])?;
        }
        Ok(())
    }

    fn swap_back(&mut self) -> Result<Stall> {
        if self.record.strategy == Strategy::Attach {
            self.refuse_much_beyond()?;
            self.progress.phase("Exchanging the tables", None);
            return self.exchange(Way::Back);
        }
        self.progress.phase("Comparing the old table with the new one", None);
        self.refuse_changes()?;
        self.refuse_changed_heads()?;
        self.progress.phase("Copying what came since", None);
        self.heads_since_the_swap()?;
        for _ in 0..ROUNDS_MAX {
            if self.round(Way::Back)? == 0 {
                break;
            }
        }
        self.progress.phase("Exchanging the tables", None);
        self.exchange(Way::Back)
    }

    /// All heads that have moved since the swap: an earlier try may have taken their events back,
    /// and not them.
    fn heads_since_the_swap(&mut self) -> Result<()> {
        let failed = |error| Error::database("copying heads", error);
        let after = self.record.swapped_at_position.unwrap_or(i64::MIN);
        let record = self.record.clone();
        let mut transaction = self.locked.client().transaction().map_err(failed)?;
        transaction
            .batch_execute(include_str!("../../../sql/convert/copying.sql"))
            .map_err(failed)?;
        copy_heads(&mut transaction, &record, after)?;
        transaction.commit().map_err(failed)
    }

    /// What the new layout takes and the old table does not.
    fn explained(error: Error) -> Error {
        match error.sqlstate() {
            // unique_violation
            Some("23505") => error.hint(
                "events that came since share an id, which only one partition has to have once: \
                 give one of them another id, or keep the new layout (pupctl convert finish)",
            ),
            _ => error,
        }
    }

    /// What lies beyond the old table goes back while everybody waits: not very much can.
    fn refuse_much_beyond(&mut self) -> Result<()> {
        let catalog = self.catalog()?;
        let mut beyond = 0;
        for leaf in super::planned::beyond(&catalog, &self.record) {
            let sql = render("convert/count", &values! { table => leaf, limit => BEYOND_MAX });
            beyond += self.rows(&leaf, &sql, &[])?;
        }
        if beyond < BEYOND_MAX {
            return Ok(());
        }
        Err(Error::refused(format!(
            "at least {beyond} rows lie in other partitions than the old table by now"
        ))
        .detail("they would have to move back into it while everybody waits")
        .hint("keep the new layout: pupctl convert finish"))
    }

    /// What came between the two exchanges has to be in both tables before one is dropped.
    fn prove_returned(&mut self, catalog: &Catalog) -> Result<()> {
        let Some(after) = self.record.swapped_at_position else { return Ok(()) };
        let events = self.events()?;
        if events.built(catalog).is_none() {
            return Ok(());
        }
        // Everything went into the old table, whose partitions these were, or up to this position.
        let attached = self.record.strategy == Strategy::Attach;
        let up_to = self.record.copied_to.filter(|_| !attached).unwrap_or(i64::MIN);
        self.refuse_later(&events, up_to)?;
        self.refuse_later_heads(catalog)?;
        // Who has proven it may have been interrupted when some of it was dropped.
        if attached || self.record.verified_to.is_none() {
            return Ok(());
        }
        let pair = Pair { old: &events.current, new: vec![events.next], rows: 0 };
        self.same(&pair, Range { after, up_to })?;
        self.record.verified_to = None;
        self.advance(self.record.phase)
    }

    /// Refuses rows that somebody has written to a partition by its name when the tables had
    /// changed names already.
    fn refuse_later(&mut self, events: &Replaced, up_to: i64) -> Result<()> {
        let Replaced { current, next, .. } = events;
        let sql = render("convert/later", &values! { current, next });
        let rows = self.rows(next, &sql, &[&up_to])?;
        if rows == 0 {
            return Ok(());
        }
        let message = format!("{rows} events were written to partitions of {next} by their names");
        Err(Error::refused(message).hint("write them to the old table, which is the store's again"))
    }

    /// Refuses heads that somebody has moved in a partition by its name, as above.
    fn refuse_later_heads(&mut self, catalog: &Catalog) -> Result<()> {
        // They may be dropped already by a run that was interrupted.
        let heads = self.table(Role::Heads).filter(|heads| heads.built(catalog).is_some());
        let Some(Replaced { current, next, .. }) = heads else { return Ok(()) };
        let key = Role::Heads.key_columns();
        let sql = render("convert/later_heads", &values! { current, next, key });
        let rows = self.rows(&next, &sql, &[])?;
        if rows == 0 {
            return Ok(());
        }
        let message = format!("{rows} heads were moved in partitions of {next} by their names");
        Err(Error::refused(message).hint("move them in the old table, which is the store's again"))
    }

    /// How many rows of a table a statement counts.
    fn rows(
        &mut self,
        table: &QualifiedName,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<i64> {
        let row = self.locked.client().query_one(sql, values);
        let row = row.map_err(|error| Error::database(&format!("reading {table}"), error))?;
        Ok(row.get("rows"))
    }

    /// What is left to do by hand where the new tables may not be dropped.
    fn undropped(&self, error: Error) -> Error {
        if error.kind() != Kind::Refused {
            return error;
        }
        let next = self.record.tables.iter().map(|table| table.next.to_string());
        let next = next.collect::<Vec<_>>().join(" and ");
        error.hint(format!(
            "the old tables are the store's again, and in use; {next} are kept. When what is in \
             them is not needed, drop them yourself, then go on: pupctl convert rollback"
        ))
    }

    /// What was there at the swap has to be in both tables, and the same.
    pub(super) fn refuse_changes(&mut self) -> Result<()> {
        let events = self.events()?;
        let catalog = self.catalog()?;
        let leaves = catalog.events.iter().flat_map(|table| table.root.leaves());
        let new = leaves.map(|leaf| leaf.name.clone()).collect();
        let up_to = self.record.swapped_at_position.unwrap_or(i64::MIN);
        let pair = Pair { old: &events.retired, new, rows: self.record.rows };
        let outcome = self.same(&pair, Range { after: i64::MIN, up_to });
        outcome.map(drop).map_err(|error| {
            let details = error.detail_lines().to_vec();
            Error::refused(format!(
                "events of {} have been changed, archived or removed since the swap",
                events.current
            ))
            .details(details)
            .hint(
                "the old table still has these events as they were; if the changes are meant: \
                 pupctl convert finish --accept-changes; bring back what was archived with pupctl \
                 restore",
            )
        })
    }

    /// Refuses the way back when `finish` has begun to drop the old tables.
    fn refuse_dropped(&mut self) -> Result<()> {
        if self.record.strategy == Strategy::Attach {
            // The old table is a partition.
            return Ok(());
        }
        let catalog = self.catalog()?;
        let is_gone = |retired: &&QualifiedName| !catalog.other_names.contains(&retired.name);
        let retired = self.record.tables.iter().map(|table| &table.retired);
        let gone: Vec<_> = retired.filter(is_gone).map(ToString::to_string).collect();
        if gone.is_empty() {
            return Ok(());
        }
        Err(Error::refused("an old table is dropped already: there is no way back")
            .details(gone)
            .hint("drop the rest: pupctl convert finish"))
    }

    /// Drops the new tables, in pieces: one transaction cannot have the locks of many partitions
    /// and of all their indexes.
    pub(super) fn drop_built(&mut self, catalog: &Catalog) -> Result<()> {
        for table in self.record.tables.clone() {
            let Some(built) = table.built(catalog) else { continue };
            let mut tables: Vec<_> = built.walk().map(|relation| relation.name.clone()).collect();
            // Children first, and what tells an interrupted run of the rest last.
            tables.reverse();
            for some in tables.chunks(DROPPED_AT_ONCE) {
                let drop = statements::swap::drop_tables(some, "Nothing in it is used");
                self.run("dropping what was built", &[drop])?;
                reach("convert::dropped_some");
            }
        }
        Ok(())
    }

    /// Drops what was built.
    fn drop_new(&mut self) -> Result<()> {
        let catalog = self.catalog()?;
        if has_new_tables(&catalog, &self.record) {
            self.prove_returned(&catalog).map_err(|error| self.undropped(error))?;
            self.drop_built(&catalog)?;
        }
        reach("convert::dropped");
        if self.record.after.keeps_event_ids() && !self.record.before.keeps_event_ids() {
            let ids = crate::render::protection::event_ids_table(&catalog.schema_name);
            let drop = statements::swap::drop_table(&ids, "The layout does not keep event ids");
            if catalog.event_ids.there {
                self.run("dropping the table of event ids", &[drop])?;
            }
        }
        let Record { before, after, .. } = &self.record;
        let protecting = statements::swap::drop_protection(&catalog.schema_name, before, after);
        self.run("dropping what protected events", &protecting)?;
        // Last: as long as they are there, the next run knows that this one was interrupted.
        let functions = statements::swap::drop_functions(&self.record.target());
        self.run("dropping functions", &functions)
    }

    pub(super) fn forget(&mut self) -> Result<()> {
        let (id, schema) = (self.record.id, self.locked.schema().to_owned());
        record::forget_ranges(self.locked.client(), &schema, id)
    }
}

/// Whether a conversion that was called off has left something: it was interrupted.
pub fn has_leftovers(client: &mut Client, catalog: &Catalog, record: &Record) -> Result<bool> {
    if record.phase != Phase::RolledBack {
        return Ok(false);
    }
    let functions = record.tables.first().map(|table| {
        [statements::refuse(&table.current), statements::mirror_function(&table.current)]
    });
    let names: Vec<_> = functions.iter().flatten().map(|function| function.name.as_str()).collect();
    // Nothing else is left of a conversion that copied nothing, when its tables are gone.
    let dropped = statements::swap::dropped_triggers(&record.before, &record.after);
    let protecting: Vec<_> = dropped
        .into_iter()
        .map(|trigger| crate::render::protection::function(&catalog.schema_name, trigger).name)
        .collect();
    let row = client
        .query_one(
            include_str!("../../../sql/convert/leftovers.sql"),
            &[&catalog.schema_name, &names, &protecting],
        )
        .map_err(|error| Error::database("looking for what is left", error))?;
    Ok(row.get("there") || has_new_tables(catalog, record))
}

/// The heads of aggregates that have got events after a position, from the new table into the old
/// one. The old table has these events already.
pub(super) fn copy_heads(
    transaction: &mut Transaction<'_>,
    record: &Record,
    after: i64,
) -> Result<()> {
    let find = |role| record.tables.iter().find(|table| table.role == role);
    let (Some(heads), Some(events)) = (find(Role::Heads), find(Role::Events)) else {
        return Ok(());
    };
    let columns = session::columns(transaction, &heads.current)?;
    let (from, to, events) = (&heads.current, &heads.retired, &events.retired);
    let key = Role::Heads.key_columns();
    let after: Vec<_> = Some(after).filter(|after| *after != i64::MIN).into_iter().collect();
    let sql = render("convert/catch_up_heads", &values! { from, to, events, columns, key, after });
    transaction.execute(&sql, &[]).map_err(|error| Error::database("copying heads", error))?;
    Ok(())
}
