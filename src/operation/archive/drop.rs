//! The table goes, once it is proven that the file holds what it holds.

use postgres::Transaction;

use crate::archive::column::Column;
use crate::archive::contents::Contents;
use crate::archive::folder::Archive;
use crate::archive::select::{SETTINGS, Selection};
use crate::db::execute;
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::name::QualifiedName;
use crate::operation::archives::{self, Phase, Record};
use crate::plan::lifecycle::LifecycleAction;
use crate::plan::{self, Step};

use super::Archiver;
use super::leave::{rendered, state};

impl Archiver<'_> {
    /// From `published` to `dropped`.
    pub(super) fn drop_table(&mut self, record: &Record) -> Result<()> {
        let table = self.detached_table(record)?;
        self.refuse_dependents(record.table_oid, &table)?;
        let archive = Archive::open(&record.path())?;
        if !self.proven.contains(&record.id) {
            self.progress.phase("Proving the archive again", Some(archive.manifest.rows));
            let interrupt = self.interrupt;
            let progress = &mut *self.progress;
            archive.verify(&mut |rows| {
                progress.passed(rows);
                interrupt.check()
            })?;
        }
        let manifest = archive.manifest;
        self.drop_foreign_keys(record, &table)?;
        self.progress.phase("Comparing the table with its archive", None);
        let step = plan::archive::removal(&table, &record.name);
        let schema = self.locked.schema().to_owned();
        let oid = record.table_oid;
        let selection = Selection::all(table.clone(), manifest.columns.clone());
        execute::execute_checked(
            self.locked,
            &rendered(step),
            self.request.limits,
            self.interrupt,
            &mut *self.progress,
            &mut |transaction| {
                // Nobody can change it any more: what is compared here is what is dropped.
                let found = state(transaction, &schema, record)?;
                if found.is_none_or(|found| found.attached) {
                    return Err(Error::refused(format!("{table} is another table now")));
                }
                let found = contents(transaction, &selection)?;
                refuse_other(&table, record, &found, &manifest.contents())
            },
            &mut |transaction| {
                archives::forget_closed(transaction, &schema, oid)?;
                archives::advance(transaction, &schema, record.id, Phase::Dropped, None)
            },
        )
        .or_else(|error| {
            // dependent_objects_still_exist: somebody has made one since.
            if error.sqlstate() == Some("2BP01") {
                self.refuse_dependents(oid, &table)?;
                return Err(cannot_drop(&table));
            }
            Err(error)
        })?;
        reach("archive::dropped");
        Ok(())
    }

    /// Refuses a table that cannot be dropped, because something else needs it.
    pub(super) fn refuse_dependents(&mut self, oid: u32, table: &QualifiedName) -> Result<()> {
        let rows = self
            .locked
            .client()
            .query(include_str!("../../../sql/archive/dependents.sql"), &[&oid])
            .map_err(|error| Error::database("looking for what depends on the table", error))?;
        if rows.is_empty() {
            return Ok(());
        }
        Err(cannot_drop(table).details(rows.iter().map(|row| row.get("words"))))
    }

    /// What a table holds in these columns up to a position, as the server sees it.
    pub(super) fn contents(
        &mut self,
        table: &QualifiedName,
        columns: &[Column],
        up_to: Option<i64>,
    ) -> Result<Contents> {
        let failed = |error| Error::database("computing the digest of the table", error);
        let mut transaction = self.locked.client().transaction().map_err(failed)?;
        let selection = Selection { up_to, ..Selection::all(table.clone(), columns.to_vec()) };
        let contents = contents(&mut transaction, &selection)?;
        transaction.rollback().map_err(failed)?;
        Ok(contents)
    }

    /// One at a time, in short transactions: each locks the table that it references.
    fn drop_foreign_keys(&mut self, record: &Record, table: &QualifiedName) -> Result<()> {
        let rows = self
            .locked
            .client()
            .query(include_str!("../../../sql/archive/foreign_keys.sql"), &[&record.table_oid])
            .map_err(|error| Error::database("looking for foreign keys", error))?;
        for row in rows {
            let name: String = row.get("name");
            let action = LifecycleAction::DropConstraint { table: table.clone(), name, live: true };
            self.execute(Step::new(
                format!("Drop a foreign key of {}", table.name),
                "dropping the table with it would lock the table that it references for longer",
                vec![action.into()],
            ))?;
        }
        Ok(())
    }
}

fn contents(transaction: &mut Transaction<'_>, selection: &Selection) -> Result<Contents> {
    let failed = |error| Error::database("computing the digest of the table", error);
    transaction.batch_execute(SETTINGS).map_err(failed)?;
    let row = transaction.query_one(&selection.digest_sql(), &[]).map_err(failed)?;
    Contents::answered(&row)
}

fn refuse_other(
    table: &QualifiedName,
    record: &Record,
    found: &Contents,
    expected: &Contents,
) -> Result<()> {
    let differences = found.differences(expected);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{table} does not hold what the archive {} holds: nothing was dropped",
        record.name
    ))
    .details(differences)
    .hint("somebody changed the detached table; see what, before you decide"))
}

fn cannot_drop(table: &QualifiedName) -> Error {
    Error::refused(format!("{table} cannot be dropped: others depend on it"))
        .hint("drop these first, or leave out --drop: the table is kept then")
}
