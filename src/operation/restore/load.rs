//! The rows go from the file into a table of their own.

use postgres::{Row, Transaction};

use crate::archive::Stream;
use crate::archive::column::Column;
use crate::archive::contents::Contents;
use crate::archive::folder::Archive;
use crate::archive::select::{Loading, SETTINGS, Selection};
use crate::catalog::Catalog;
use crate::db::Interrupt;
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::Role;
use crate::layout::name::{self, QualifiedName};
use crate::operation::archive::Progress;
use crate::operation::archive::file::build;
use crate::operation::archives::{Phase, Record};
use crate::plan::lifecycle::BoundsCheck;
use crate::render::attach;
use crate::render::environment::{render, values};

use super::{Restored, Restorer, restored};

/// So many rows go into one COPY, so that it shows how far the load is.
const PIECE: u64 = 50_000;

pub(super) fn failed(error: postgres::Error) -> Error {
    Error::database("loading the rows of the archive", error)
}

/// The comment of a table that was loaded for an archive and is not attached yet.
fn mark(archive: &str) -> String {
    format!("{MARK}{archive}")
}

/// How that comment begins.
pub(super) const MARK: &str = "pupctl: restored from the archive ";

impl Restorer<'_> {
    /// The table of the archive, where it was kept, or loaded by a run that was interrupted. It has
    /// to hold what the archive says.
    pub(super) fn kept(
        &mut self,
        archive: &Archive,
        record: &Record,
    ) -> Result<Option<QualifiedName>> {
        if record.phase != Phase::Published {
            return Ok(None);
        }
        let row = self
            .locked
            .client()
            .query_opt(include_str!("../../../sql/archive/state.sql"), &[&record.table_oid])
            .map_err(|error| Error::database("looking for the table", error))?;
        let Some(row) = row else { return Ok(None) };
        if row.get("attached") {
            return Ok(None);
        }
        let table =
            QualifiedName::new(row.get::<_, String>("schema"), row.get::<_, String>("name"));
        self.progress.phase("Comparing the kept table with its archive", None);
        self.prove_unchanged(archive, &table)?;
        Ok(Some(table))
    }

    /// Whether a leaf has all rows of the archive already: brought by a run that was killed before
    /// it could say so.
    pub(super) fn is_there(&mut self, archive: &Archive, leaf: &QualifiedName) -> Result<bool> {
        let expected = archive.manifest.contents();
        let (Some(first), Some(last)) = (expected.first_position, expected.last_position) else {
            return Ok(false);
        };
        let columns = archive.manifest.columns.clone();
        let selection = Selection {
            after: Some(first.saturating_sub(1)),
            up_to: Some(last),
            ..Selection::all(leaf.clone(), columns)
        };
        self.progress.phase("Looking for the rows in the store", None);
        let found = self.digest(&selection)?;
        Ok(found.differences(&expected).is_empty())
    }

    /// Refuses a table outside of the store that somebody has changed since it was proven.
    fn prove_unchanged(&mut self, archive: &Archive, table: &QualifiedName) -> Result<()> {
        let columns = archive.manifest.columns.clone();
        let found = self.digest(&Selection::all(table.clone(), columns))?;
        let differences = found.differences(&archive.manifest.contents());
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::refused(format!("{table} does not hold what its archive holds"))
            .details(differences)
            .hint("somebody changed that table; rename or drop it to restore the file"))
    }

    fn digest(&mut self, selection: &Selection) -> Result<Contents> {
        let mut transaction = self.locked.client().transaction().map_err(failed)?;
        transaction.batch_execute(SETTINGS).map_err(failed)?;
        let row = transaction.query_one(&selection.digest_sql(), &[]).map_err(failed)?;
        let contents = Contents::answered(&row)?;
        transaction.rollback().map_err(failed)?;
        Ok(contents)
    }

    /// Makes a table like the parent and fills it, in one transaction with the proof.
    pub(super) fn load(
        &mut self,
        archive: &Archive,
        catalog: &Catalog,
        record: Option<&Record>,
    ) -> Result<QualifiedName> {
        let events = self.layout.table(&catalog.schema_name, Role::Events);
        let schema = self.locked.schema().to_owned();
        let leaf = record.map_or(archive.manifest.table.as_str(), |record| record.leaf.as_str());
        let table = self.free_name(&QualifiedName::new(schema, leaf), archive)?;
        let (table, exists) = table;
        if exists {
            // Loaded and proven by a run that was interrupted, or left beside the store for a look.
            self.progress.phase("Comparing the loaded table with its archive", None);
            self.prove_unchanged(archive, &table)?;
            return Ok(table);
        }
        let make = render("archive/restored_table", &values! { table, parent => events });
        let place = &archive.manifest.place;
        let check = catalog.events.as_ref().and_then(|it| BoundsCheck::of(&it.root, place));
        self.fill(archive, &table, &[make], check.as_ref())?;
        Ok(table)
    }

    /// Into a table of another schema, with keys, and no more.
    pub(super) fn rehearse(&mut self, archive: &Archive, schema: &str) -> Result<Restored> {
        let table = QualifiedName::new(schema, archive.manifest.table.as_str());
        let (columns, notes) = self.with_known_types(&archive.manifest.columns)?;
        let archive = &with_columns(archive, &columns);
        match self.named(&table, &archive.name())? {
            Named::Free => {
                let make = [
                    render("table/schema_once", &values! { schema }),
                    render("archive/table", &values! { table, columns }),
                ];
                self.fill(archive, &table, &make, None)?;
            }
            Named::Loaded => self.prove_unchanged(archive, &table)?,
            Named::Taken => {
                return Err(Error::refused(format!("there is a table {table} already"))
                    .hint("drop it, or name another schema with --into"));
            }
        }
        if !self.is_keyed(&table)? {
            self.progress.phase("Building its keys and its index", None);
            // All or none, so that the next run knows by one whether they are there.
            let mut transaction = self.locked.client().transaction().map_err(failed)?;
            for statement in build(archive.manifest.role, &table) {
                transaction.batch_execute(&statement).map_err(failed)?;
            }
            transaction.commit().map_err(failed)?;
        }
        reach("restore::rehearsed");
        Ok(restored(archive, &table, "loaded", notes))
    }

    /// The columns, as text where this database lacks their type, which is told.
    fn with_known_types(&mut self, columns: &[Column]) -> Result<(Vec<Column>, Vec<String>)> {
        let mut columns = columns.to_vec();
        let mut notes = Vec::new();
        for column in columns.iter_mut().filter(|column| column.is_of_foreign_type()) {
            let sql = include_str!("../../../sql/archive/type_there.sql");
            let row = self.locked.client().query_one(sql, &[&column.data_type]).map_err(failed)?;
            if !row.get::<_, bool>("there") {
                let Column { name, data_type, .. } = &column;
                notes.push(format!(
                    "the column {name} is text: there is no type {data_type} in this database"
                ));
                "text".clone_into(&mut column.data_type);
            }
        }
        Ok((columns, notes))
    }

    /// Makes the table with the statements `make`, and loads it. Commits nothing that is not
    /// proven, or lies outside of the bounds where it is to be attached.
    fn fill(
        &mut self,
        archive: &Archive,
        table: &QualifiedName,
        make: &[String],
        check: Option<&BoundsCheck>,
    ) -> Result<()> {
        let interrupt = self.interrupt;
        let progress = &mut *self.progress;
        progress.phase("Checking the files of the archive", None);
        archive.check_files(&mut |_| interrupt.check())?;
        progress.phase(&format!("Loading {}", table.name), Some(archive.manifest.rows));
        let mut transaction = self.locked.client().transaction().map_err(failed)?;
        transaction.batch_execute(SETTINGS).map_err(failed)?;
        for statement in make {
            transaction.batch_execute(statement).map_err(failed)?;
        }
        let comment = mark(&archive.name());
        let sql = render("table/comment", &values! { table, comment });
        transaction.batch_execute(&sql).map_err(failed)?;
        copy_in(&mut transaction, archive, table, interrupt, progress)?;
        if let Some(check) = check {
            refuse_outside(&mut transaction, archive, table, check)?;
        }
        reach("restore::before_loaded");
        transaction.commit().map_err(failed)?;
        reach("restore::loaded");
        Ok(())
    }

    /// A name for the table that comes back: that of the leaf, unless it is taken; whether a table
    /// of that name is there that an interrupted run has loaded for this archive.
    fn free_name(
        &mut self,
        leaf: &QualifiedName,
        archive: &Archive,
    ) -> Result<(QualifiedName, bool)> {
        for candidate in candidates(leaf) {
            match self.named(&candidate, &archive.name())? {
                Named::Free => return Ok((candidate, false)),
                Named::Loaded => return Ok((candidate, true)),
                Named::Taken => {}
            }
        }
        let mut error =
            Error::refused(format!("there is a table {leaf} already, and {leaf}_restored too"))
                .hint("rename or drop one of them: the rows come back under that name");
        for candidate in candidates(leaf) {
            let row = self.look_up(&candidate)?;
            let comment = row.and_then(|row| row.get::<_, Option<String>>("comment"));
            if let Some(other) = comment.as_deref().and_then(|text| text.strip_prefix(MARK)) {
                error = error.detail(format!("{candidate} was loaded from the archive {other}"));
            }
        }
        Err(error)
    }

    /// The table that an interrupted run has loaded for an archive and not attached.
    pub fn loaded(&mut self, leaf: &str, archive: &str) -> Result<Option<QualifiedName>> {
        let leaf = QualifiedName::new(self.locked.schema(), leaf);
        for candidate in candidates(&leaf) {
            if self.named(&candidate, archive)? == Named::Loaded {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }

    fn look_up(&mut self, name: &QualifiedName) -> Result<Option<Row>> {
        self.locked
            .client()
            .query_opt(include_str!("../../../sql/archive/named.sql"), &[&name.schema, &name.name])
            .map_err(|error| Error::database("looking for a free name", error))
    }

    fn is_keyed(&mut self, name: &QualifiedName) -> Result<bool> {
        Ok(self.look_up(name)?.is_some_and(|row| row.get("keyed")))
    }

    fn named(&mut self, name: &QualifiedName, archive: &str) -> Result<Named> {
        let Some(row) = self.look_up(name)? else { return Ok(Named::Free) };
        let ours = row.get::<_, bool>("owned")
            && !row.get::<_, bool>("attached")
            && row.get::<_, Option<String>>("comment") == Some(mark(archive));
        Ok(if ours { Named::Loaded } else { Named::Taken })
    }
}

/// What is known of a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    /// There is no such relation.
    Free,
    /// A run that was interrupted has loaded it for the archive, and not attached it.
    Loaded,
    /// Something else.
    Taken,
}

/// An archive whose rows go into columns of other types.
fn with_columns(archive: &Archive, columns: &[Column]) -> Archive {
    let mut archive = archive.clone();
    archive.manifest.columns = columns.to_vec();
    archive
}

fn candidates(leaf: &QualifiedName) -> [QualifiedName; 2] {
    [leaf.clone(), leaf.sibling(name::joined(&leaf.name, "restored"))]
}

/// Rows that do not belong where the manifest says: somebody changed it.
fn refuse_outside(
    transaction: &mut Transaction<'_>,
    archive: &Archive,
    table: &QualifiedName,
    check: &BoundsCheck,
) -> Result<()> {
    let sql = attach::outside(table, check);
    let Some(row) = transaction.query_opt(&sql, &[]).map_err(failed)? else { return Ok(()) };
    let example: Option<String> = row.get("example");
    let (name, place) = (archive.name(), &archive.manifest.place);
    Err(Error::refused(format!("rows of {name} do not belong to {place}: nothing was restored"))
        .details(example.map(|example| format!("such as {example}")))
        .hint("its manifest was changed: take the archive from another copy of it"))
}

/// Loads the rows of an archive into a table, and compares them there with its manifest.
pub(super) fn copy_in(
    transaction: &mut Transaction<'_>,
    archive: &Archive,
    table: &QualifiedName,
    interrupt: &Interrupt,
    progress: &mut dyn Progress,
) -> Result<()> {
    let columns = &archive.manifest.columns;
    let loading = Loading::of(table, columns)?;
    if let Some(statement) = &loading.stage {
        transaction.batch_execute(statement).map_err(failed)?;
    }
    let mut stream = Stream::new(archive.reader()?, columns);
    while stream.has_more()? {
        interrupt.check()?;
        let mut writer = transaction.copy_in(&loading.copy).map_err(failed)?;
        let sent = stream.piece(&mut writer, PIECE);
        interrupt.check()?;
        sent?;
        writer.finish().map_err(failed)?;
        progress.passed(stream.sent().rows);
    }
    if let Some(statement) = &loading.unstage {
        transaction.batch_execute(statement).map_err(failed)?;
    }
    progress.phase("Comparing the rows with the manifest", None);
    let found = contents(transaction, archive, table)?;
    let differences = found.differences(&archive.manifest.contents());
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!(
        "the rows of {} are not those that were archived: nothing was restored",
        archive.name()
    ))
    .details(differences)
    .hint("take the archive from another copy of it"))
}

/// What a table holds in the columns of an archive.
pub(super) fn contents(
    transaction: &mut Transaction<'_>,
    archive: &Archive,
    table: &QualifiedName,
) -> Result<Contents> {
    let columns = archive.manifest.columns.clone();
    let sql = Selection::all(table.clone(), columns).digest_sql();
    let row = transaction.query_one(&sql, &[]).map_err(failed)?;
    Contents::answered(&row)
}
