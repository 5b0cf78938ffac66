//! The rows go into a file, which is read back and published.

use postgres::{GenericClient, IsolationLevel, Transaction};

use crate::archive::Settings;
use crate::archive::column::Column;
use crate::archive::contents::Contents;
use crate::archive::folder::{Archive, Draft};
use crate::archive::manifest::{Description, Role};
use crate::archive::select::{SETTINGS, Selection};
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::finding::fence::Fence;
use crate::layout::name::QualifiedName;
use crate::layout::place::Place;
use crate::operation::archives::{self, Beginning, Phase, Record};
use crate::plan::target::Located;
use crate::render::environment::{render, values};

use super::heads::HEADS;
use super::{Archiver, Outcome, free_name, unlisted_name};

/// What goes into a file.
struct Source {
    role: Role,
    table: QualifiedName,
    /// What the table was called in the store: so it is called in the archive.
    called: QualifiedName,
    oid: u32,
    place: Place,
    /// Only the positions up to this one; none for all.
    up_to: Option<i64>,
}

fn failed(error: postgres::Error) -> Error {
    Error::database("reading the rows for the archive", error)
}

impl Archiver<'_> {
    /// From `detached` to `published`.
    pub(super) fn write(&mut self, record: &Record) -> Result<()> {
        let table = self.detached_table(record)?;
        let place = record.place.clone();
        let role = if record.role == HEADS { Role::AggregateHeads } else { Role::Events };
        let called = table.sibling(record.leaf.as_str());
        let source = Source { role, table, called, oid: record.table_oid, place, up_to: None };
        let contents = match self.published_before(record, &source)? {
            Some(contents) => contents,
            None => self.file(&record.folder, &record.name, &source)?.manifest.contents(),
        };
        self.proven.insert(record.id);
        self.record_file(record.id, Phase::Published, &contents)
    }

    /// A copy of a leaf that stays where it is.
    pub(super) fn copy(&mut self, leaf: &Located<'_>) -> Result<Outcome> {
        let name = &leaf.relation.name;
        let fence = self.look(name)?;
        let Some(last) = fence.last_position else { return Ok(Outcome::Empty(name.clone())) };
        // Nothing leaves the store: that some have not read it yet does not matter. What is still
        // being written below the last position does.
        refuse_unsettled(&fence)?;
        let schema = self.locked.schema().to_owned();
        let records = archives::all(self.locked.client(), &schema)?;
        let source = Source {
            role: Role::Events,
            table: name.clone(),
            called: name.clone(),
            oid: leaf.relation.oid,
            place: leaf.place.clone(),
            up_to: Some(last),
        };
        let folder = self.request.folder.clone();
        let (archive, contents) = match self.unlisted(&records, &source)? {
            Some(found) => found,
            None => {
                let archive = free_name(&name.name, &records, &folder);
                let contents = self.file(&folder, &archive, &source)?.manifest.contents();
                (archive, contents)
            }
        };
        let begun = Beginning {
            name: &archive,
            folder: &folder.to_string_lossy(),
            format: &self.request.format.to_string(),
            role: "events",
            place: &leaf.place,
            leaf: &name.name,
            table_name: &name.name,
            table_oid: leaf.relation.oid,
            replaced: false,
            phase: Phase::Copied,
        };
        let id = archives::begin(self.locked.client(), &schema, &begun)?;
        self.record_file(id, Phase::Copied, &contents)?;
        self.read_again(id).map(|record| Outcome::Done(Box::new(record)))
    }

    /// The copy of a run that was killed between its name and its row, with what it holds: proven
    /// again. Any other folder is left alone.
    fn unlisted(
        &mut self,
        records: &[Record],
        source: &Source,
    ) -> Result<Option<(String, Contents)>> {
        let folder = self.request.folder.clone();
        let Some(name) = unlisted_name(&source.table.name, records, &folder) else {
            return Ok(None);
        };
        let Ok(archive) = Archive::open(&folder.join(&name)) else { return Ok(None) };
        let manifest = &archive.manifest;
        let same = manifest.place == source.place
            && manifest.format == self.request.format
            && manifest.contents().last_position == source.up_to;
        if !same {
            return Ok(None);
        }
        self.progress.phase("Proving the copy that an interrupted run has written", None);
        let expected = self.contents_up_to(&source.table, &manifest.columns, source.up_to)?;
        let interrupt = self.interrupt;
        let progress = &mut *self.progress;
        let verified = archive.verify(&mut |rows| {
            progress.passed(rows);
            interrupt.check()
        });
        interrupt.check()?;
        let same = |found: &Contents| found.differences(&expected).is_empty();
        Ok(verified.ok().filter(same).map(|contents| (name, contents)))
    }

    /// The file of a run that was killed between its name and its row: proven again.
    fn published_before(&mut self, record: &Record, source: &Source) -> Result<Option<Contents>> {
        let path = record.path();
        if !path.exists() {
            return Ok(None);
        }
        self.progress.phase("Proving the archive that an interrupted run has written", None);
        let archive = Archive::open(&path)?;
        let interrupt = self.interrupt;
        let progress = &mut *self.progress;
        let found = archive.verify(&mut |rows| {
            progress.passed(rows);
            interrupt.check()
        })?;
        let expected = self.contents(&source.table, &archive.manifest.columns)?;
        let differences = found.differences(&expected);
        if differences.is_empty() {
            return Ok(Some(found));
        }
        Err(Error::refused(format!(
            "{} holds something else than {}",
            path.display(),
            source.table
        ))
        .details(differences)
        .hint("move that folder away, and run the command again"))
    }

    /// Writes, proves and publishes.
    fn file(&mut self, folder: &std::path::Path, name: &str, source: &Source) -> Result<Archive> {
        let interrupt = self.interrupt;
        let format = self.request.format;
        let layout = self.layout.to_json();
        let server = self.catalog.server.clone();
        let ddl = self.ddl(source)?;
        let progress = &mut *self.progress;
        let mut transaction = snapshot(self.locked.client())?;
        let columns = columns(&mut transaction, source.oid)?;
        let selection = Selection {
            up_to: source.up_to,
            ..Selection::all(source.table.clone(), columns.clone())
        };
        let mut draft = Draft::begin(folder, name)?;
        let rows = estimate(&mut transaction, source.oid)?;
        progress.phase(&format!("Writing {}", source.table.name), rows);
        let stream = transaction.copy_out(&selection.read_sql()).map_err(failed)?;
        let settings = Settings { format, level: None };
        let written = draft.write(stream, &columns, settings, &mut |rows, _| {
            progress.passed(rows);
            interrupt.check()
        });
        let written = match written {
            Ok(written) => written.rows,
            Err(error) => {
                // Otherwise the end of the transaction would wait for the rows that nobody reads.
                interrupt.cancel();
                interrupt.check()?;
                return Err(error);
            }
        };
        progress.phase("Reading the file back", Some(written));
        let sql = selection.digest_sql();
        draft.prove_while(
            &columns,
            || {
                let row = transaction.query_one(&sql, &[]).map_err(failed)?;
                Contents::answered(&row)
            },
            &|_| interrupt.check(),
        )?;
        transaction.rollback().map_err(failed)?;
        draft.publish(&Description {
            server: server.version,
            archived_at: server.now,
            database: server.database,
            table: source.called.clone(),
            role: source.role,
            place: source.place.clone(),
            columns,
            ddl,
            layout,
        })
    }

    /// The statements that make the table again: columns, keys and the index on time.
    fn ddl(&mut self, source: &Source) -> Result<Vec<String>> {
        let table = &source.called;
        let columns = columns(self.locked.client(), source.oid)?;
        Ok([vec![render("archive/table", &values! { table, columns })], build(source.role, table)]
            .concat()
            .into_iter()
            .map(|statement| statement.trim_end().to_owned())
            .collect())
    }

    fn record_file(&mut self, id: i64, phase: Phase, contents: &Contents) -> Result<()> {
        let schema = self.locked.schema().to_owned();
        let digest = contents.digest.to_string();
        let contents = archives::Contents {
            rows: i64::try_from(contents.rows).unwrap_or(i64::MAX),
            first_position: contents.first_position,
            last_position: contents.last_position,
            digest: &digest,
        };
        archives::publish(self.locked.client(), &schema, id, phase, &contents)?;
        reach("archive::published");
        Ok(())
    }
}

/// What makes a bare table one of a store: its keys, and for events the index on time.
pub(in crate::operation) fn build(role: Role, table: &QualifiedName) -> Vec<String> {
    let primary = true;
    let of_store = match role {
        Role::Events => crate::layout::Role::Events,
        Role::AggregateHeads => crate::layout::Role::Heads,
    };
    let mut keys = vec![of_store.key_columns().to_vec()];
    keys.extend(of_store.unique_columns().iter().map(|column| vec![*column]));
    let mut statements = vec![render("partition/keys", &values! { name => table, keys, primary })];
    if role == Role::Events {
        statements.push(render("archive/index", &values! { table }));
    }
    statements
}

/// One state of the table from the first row to the digest.
fn snapshot(client: &mut postgres::Client) -> Result<Transaction<'_>> {
    let mut transaction = client
        .build_transaction()
        .read_only(true)
        .isolation_level(IsolationLevel::RepeatableRead)
        .start()
        .map_err(failed)?;
    transaction.batch_execute(SETTINGS).map_err(failed)?;
    Ok(transaction)
}

/// The columns of a table, as they travel.
pub(super) fn columns(client: &mut impl GenericClient, oid: u32) -> Result<Vec<Column>> {
    let rows = client
        .query(include_str!("../../../sql/archive/columns.sql"), &[&oid])
        .map_err(|error| Error::database("reading the columns of the table", error))?;
    let column = |row: &postgres::Row| {
        let (name, data_type): (String, String) = (row.get("name"), row.get("data_type"));
        Column::new(name, data_type, row.get("not_null"))
    };
    Ok(rows.iter().map(column).collect())
}

fn estimate(transaction: &mut Transaction<'_>, oid: u32) -> Result<Option<u64>> {
    let row = transaction
        .query_one(include_str!("../../../sql/archive/estimate.sql"), &[&oid])
        .map_err(failed)?;
    Ok(row.get::<_, Option<i64>>("rows").and_then(|rows| u64::try_from(rows).ok()))
}

fn refuse_unsettled(fence: &Fence) -> Result<()> {
    use crate::finding::fence::Laggard;
    let is_unsettled = |laggard: &Laggard| matches!(laggard, Laggard::Unsettled { .. });
    let mut fence = fence.clone();
    fence.laggards.retain(is_unsettled);
    fence.split_streams = None;
    fence.refusal().map_or(Ok(()), Err)
}
