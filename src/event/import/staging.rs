//! The checks across events, in SQL over temporary tables of the session. Nothing of them is left
//! when the session ends, however it ends.

use std::io::Write as _;
use std::time::Duration;

use postgres::GenericClient;
use postgres::fallible_iterator::FallibleIterator as _;
use uuid::Uuid;

use crate::catalog::Server;
use crate::error::{Error, Kind, Result};
use crate::layout::name::QualifiedName;
use crate::render::environment::{render, values};
use crate::render::quote::shown;

use super::extra::Column;
use super::leaf::Leaf;
use super::route::Place;
use super::runs::aggregate;
use super::skipped::Skipped;
use super::source::Source;
use super::survey::Chunk;

/// How many lines an error lists.
const LISTED_MAX: i64 = 10;

/// Makes the tables.
pub(super) fn begin(
    client: &mut impl GenericClient,
    heads: &QualifiedName,
    server: &Server,
    lock_timeout: Duration,
) -> Result<()> {
    let fail = |error: postgres::Error| {
        let failure = Error::database("making temporary tables for the checks", error);
        if failure.sqlstate() == Some("25006") {
            let what = "a file is checked in temporary tables, which no read-only session can make";
            return Error::refused(what)
                .hint("connect to the primary server, as a role whose sessions may write")
                .because(failure);
        }
        if failure.sqlstate() == Some("42501") {
            return failure.hint(format!(
                "as the owner of the database, run: GRANT TEMPORARY ON DATABASE {} TO {}",
                shown(&server.database),
                shown(&server.role)
            ));
        }
        failure
    };
    client.batch_execute(include_str!("../../../sql/event/import/session.sql")).map_err(fail)?;
    limit_locks(client, lock_timeout, false)?;
    client.batch_execute(&render("event/import/stage", &values! { heads })).map_err(fail)
}

/// Ends the checks: the tables stay, the settings go.
pub(super) fn end(client: &mut impl GenericClient) -> Result<()> {
    client.batch_execute(include_str!("../../../sql/event/import/reset.sql")).map_err(failed)
}

/// Says how long to wait for locks, in the session or only in this transaction.
pub(super) fn limit_locks(
    client: &mut impl GenericClient,
    timeout: Duration,
    transaction: bool,
) -> Result<()> {
    let timeout = format!("{}ms", timeout.as_millis().max(1));
    client
        .execute(
            include_str!("../../../sql/event/import/lock_timeout.sql"),
            &[&timeout, &transaction],
        )
        .map_err(failed)?;
    Ok(())
}

/// Makes the table that reads the values of further columns.
pub(super) fn begin_extra(
    client: &mut impl GenericClient,
    events: &QualifiedName,
    columns: &[Column],
) -> Result<()> {
    if columns.is_empty() {
        return Ok(());
    }
    let columns: Vec<_> = columns.iter().map(|column| &column.name).collect();
    let sql = render("event/import/stage_extra", &values! { events, columns });
    client.batch_execute(&sql).map_err(failed)
}

/// Copies rows into one of the tables.
pub(super) fn copy(client: &mut impl GenericClient, source: &Source, chunk: &Chunk) -> Result<()> {
    match chunk {
        Chunk::Packs(rows) => {
            copy_rows(client, include_str!("../../../sql/event/import/copy_packs.sql"), rows)
        }
        Chunk::Runs(rows) => {
            copy_rows(client, include_str!("../../../sql/event/import/copy_runs.sql"), rows)
        }
        Chunk::Extra(rows, first) => {
            let sql = include_str!("../../../sql/event/import/copy_extra.sql");
            copy_rows(client, sql, rows).map_err(|error| match row_of(&error) {
                Some(row) => error.context(format!("{}, line {}", source.name(), first + row - 1)),
                None => error,
            })
        }
    }
}

fn copy_rows(client: &mut impl GenericClient, sql: &str, rows: &[u8]) -> Result<()> {
    let mut writer = client.copy_in(sql).map_err(failed)?;
    writer.write_all(rows).map_err(|error| broken(&error))?;
    writer.finish().map_err(failed)?;
    Ok(())
}

/// The row of a copy in which it failed, from 1.
pub(super) fn row_of(error: &Error) -> Option<u64> {
    // What a trigger said stands in lines of its own before it.
    let mut lines = error.detail_lines().iter().flat_map(|detail| detail.lines());
    let is_copy = |line: &&str| line.trim_start_matches("where: ").starts_with("COPY ");
    let (_, row) = lines.find(is_copy)?.split_once(", line ")?;
    row.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The error of the session inside one of its stream.
pub(super) fn broken(error: &std::io::Error) -> Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<postgres::Error>());
    match inner {
        Some(inner) => Error::reported("copying events to the server", inner),
        None => Error::new(Kind::Connection, format!("the server took no more events: {error}")),
    }
}

fn failed(error: postgres::Error) -> Error {
    explain_lock(Error::database("checking the events of the file", error))
}

/// Tells a lock that was not obtained as what it is.
pub(super) fn explain_lock(error: Error) -> Error {
    if error.sqlstate() != Some("55P03") {
        return error;
    }
    Error::new(Kind::LockTimeout, "the locks on the store's tables were not obtained")
        .hint("try again, or for longer: --lock-budget 2m")
        .because(error)
}

/// The events of the file on the server: packed, until a check has to look at single ones.
#[derive(Debug, Default)]
pub(super) struct Events {
    unpacked: bool,
}

impl Events {
    /// Makes a row of each event, once.
    fn unpack(&mut self, client: &mut impl GenericClient) -> Result<()> {
        if std::mem::replace(&mut self.unpacked, true) {
            return Ok(());
        }
        client.batch_execute(include_str!("../../../sql/event/import/unpack.sql")).map_err(failed)
    }
}

/// Ends the reading: the planner learns what was staged.
pub(super) fn analyze(client: &mut impl GenericClient) -> Result<()> {
    client.batch_execute(include_str!("../../../sql/event/import/analyze_runs.sql")).map_err(failed)
}

/// Refuses ids that the file has twice. Only `suspects` can be, where they are known.
pub(super) fn refuse_duplicates(
    client: &mut impl GenericClient,
    source: &Source,
    events: &mut Events,
    suspects: Option<&[Uuid]>,
) -> Result<()> {
    if suspects.is_some_and(<[Uuid]>::is_empty) {
        return Ok(());
    }
    events.unpack(client)?;
    let suspects: Option<Vec<String>> =
        suspects.map(|ids| ids.iter().map(Uuid::to_string).collect());
    let rows = client
        .query(
            include_str!("../../../sql/event/import/duplicates.sql"),
            &[&(LISTED_MAX + 1), &suspects],
        )
        .map_err(failed)?;
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            let [first, last]: [i64; 2] = [row.get("first"), row.get("last")];
            let id: String = row.get("event_id");
            (last, format!("the event_id {id} is that of line {first} too"))
        })
        .collect();
    refuse(source, &lines, None)
}

/// Looks up the events of the file in those partitions that have any.
pub(super) fn find_existing(
    client: &mut impl GenericClient,
    events: &mut Events,
    places: &[Place],
    leaves: &[Leaf],
) -> Result<()> {
    let mut touched: Vec<Vec<i32>> = vec![Vec::new(); leaves.len()];
    for (number, place) in places.iter().enumerate() {
        for leaf in &place.leaves {
            touched[*leaf].push(i32::try_from(number).unwrap_or(i32::MAX));
        }
    }
    let oids: Vec<u32> = leaves
        .iter()
        .zip(&touched)
        .filter_map(|(leaf, places)| (!places.is_empty()).then_some(leaf.oid))
        .collect();
    let rows = client
        .query(include_str!("../../../sql/event/import/filled.sql"), &[&oids])
        .map_err(failed)?;
    let filled: std::collections::HashSet<u32> = rows.iter().map(|row| row.get("oid")).collect();
    if filled.is_empty() {
        return Ok(());
    }
    events.unpack(client)?;
    if filled.len() > 1 {
        client
            .batch_execute(include_str!("../../../sql/event/import/places.sql"))
            .map_err(failed)?;
    }
    // A statement for each, so that it locks one partition only.
    for (leaf, places) in leaves.iter().zip(&touched) {
        if filled.contains(&leaf.oid) {
            let sql = render(
                "event/import/existing",
                &values! { leaf => leaf.name, shares => leaf.shares },
            );
            client.execute(&sql, &[places]).map_err(failed)?;
        }
    }
    Ok(())
}

/// Refuses events that the store has already, unless they may be skipped: all of them, or those
/// that an import of the same file has loaded, up to line `loaded`.
pub(super) fn refuse_clashes(
    client: &mut impl GenericClient,
    source: &Source,
    skip: bool,
    loaded: u64,
) -> Result<()> {
    let behind = if skip { i64::MAX } else { loaded.cast_signed() };
    let rows = client
        .query(include_str!("../../../sql/event/import/clashes.sql"), &[&behind, &(LISTED_MAX + 1)])
        .map_err(failed)?;
    let mut same = true;
    let lines: Vec<_> = rows
        .iter()
        .map(|row| {
            let clash: Option<String> = row.get("clash");
            same &= clash.is_none();
            (row.get("line"), clash.unwrap_or_else(|| "the store has this event already".into()))
        })
        .collect();
    let total = rows.first().map(|row| row.get("total"));
    refuse(source, &lines, total).map_err(|error| {
        if same {
            return error.hint("leave out what is there: pupctl events import --skip-existing");
        }
        error
    })
}

/// Compares the versions with each other and with the heads. Afterwards it is known how far
/// every head will move.
pub(super) fn refuse_holes(
    client: &mut impl GenericClient,
    source: &Source,
    events: &mut Events,
    heads: &QualifiedName,
) -> Result<()> {
    client.batch_execute(&render("event/import/moves", &values! { heads })).map_err(failed)?;
    client
        .batch_execute(include_str!("../../../sql/event/import/analyze_moves.sql"))
        .map_err(failed)?;
    let rows = client
        .query(include_str!("../../../sql/event/import/holes.sql"), &[&(LISTED_MAX + 1)])
        .map_err(failed)?;
    let total = rows.first().map(|row| row.get("total"));
    refuse(source, &rows.iter().map(hole).collect::<Vec<_>>(), total)?;

    let overlaps = client
        .query_one(include_str!("../../../sql/event/import/overlaps.sql"), &[])
        .map_err(failed)?;
    if !overlaps.get::<_, bool>("overlaps") {
        return Ok(());
    }
    events.unpack(client)?;
    let rows = client
        .query(include_str!("../../../sql/event/import/taken.sql"), &[&(LISTED_MAX + 1)])
        .map_err(failed)?;
    let total = rows.first().map(|row| row.get("total"));
    refuse(source, &rows.iter().map(taken).collect::<Vec<_>>(), total)
}

fn hole(row: &postgres::Row) -> (i64, String) {
    let name = named(row);
    let [first, head]: [i64; 2] = [row.get("first_version"), row.get("head")];
    let what = match (row.get::<_, Option<i64>>("last_before"), row.get("line_before")) {
        (Some(before), Some::<i64>(line)) if first <= before => {
            format!("version {first} of {name} comes after version {before} (line {line})")
        }
        (Some(before), Some(line)) => format!(
            "version {first} of {name} follows version {before} (line {line}): versions have no \
             holes"
        ),
        _ if head == 0 => format!("{name} begins with version {first}, the first version is 1"),
        _ => format!("version {first} of {name} does not follow the store's version {head}"),
    };
    (row.get("first_line"), what)
}

fn taken(row: &postgres::Row) -> (i64, String) {
    let name = named(row);
    let [version, head]: [i64; 2] = [row.get("aggregate_version"), row.get("head")];
    let what = if version <= head {
        format!("version {version} of {name} is taken: the store is at version {head}")
    } else {
        format!(
            "the store has version {version} of {name}, but its head says {head}: mend the head"
        )
    };
    (row.get("line"), what)
}

fn named(row: &postgres::Row) -> String {
    aggregate(row.get("bounded_context"), row.get("aggregate_type"), row.get("aggregate_id"))
}

/// One error of many lines.
fn refuse(source: &Source, lines: &[(i64, String)], total: Option<i64>) -> Result<()> {
    let Some((first, what)) = lines.first() else { return Ok(()) };
    let listed = usize::try_from(LISTED_MAX).unwrap_or_default();
    let mut error = Error::refused(format!("{}, line {first}: {what}", source.name()));
    for (line, what) in lines.iter().take(listed).skip(1) {
        error = error.detail(format!("line {line}: {what}"));
    }
    if lines.len() > listed {
        let all = total.map_or_else(|| "more".to_owned(), |total| format!("{total} in all"));
        error = error.detail(format!("… {all}"));
    }
    Err(error)
}

/// The lines whose events are there already.
pub(super) fn skipped(client: &mut impl GenericClient) -> Result<Skipped> {
    let mut skipped = Skipped::default();
    let none: [&(dyn postgres::types::ToSql + Sync); 0] = [];
    let mut rows = client
        .query_raw(include_str!("../../../sql/event/import/skipped.sql"), none)
        .map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        skipped.add(row.get::<_, i64>("line").cast_unsigned());
    }
    Ok(skipped)
}
