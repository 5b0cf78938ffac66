//! The rows of a transfer: copied by positions, counted and compared.

use postgres::Client;

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::plan::transfer::Transfer;
use crate::render;
use crate::render::environment::{render, values};

use super::Retired;

/// How many rows one transaction copies.
pub(super) const BATCH_ROWS: i64 = 10_000;

/// How many rows are looked for in the partitions at once.
const PROOF_ROWS: i64 = 500_000;

/// Rows as a number that their order does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) rows: i64,
    sum: String,
}

fn copying(transfer: &Transfer, error: postgres::Error) -> Error {
    Error::database(&format!("copying rows of {}", transfer.source), error)
}

/// The last position that the stage has.
pub(super) fn reached(client: &mut Client, stage: &QualifiedName) -> Result<Option<i64>> {
    let row = client
        .query_one(&render("transfer/reached", &values! { table => stage }), &[])
        .map_err(|error| Error::database(&format!("looking how far {stage} is"), error))?;
    Ok(row.get("position"))
}

/// Whether a table has any row.
pub(super) fn has_rows(client: &mut Client, table: &QualifiedName) -> Result<bool> {
    let row = client
        .query_one(&render("partition/has_rows", &values! { table }), &[])
        .map_err(|error| Error::database(&format!("reading {table}"), error))?;
    Ok(row.get(0))
}

/// The last position of the next so many rows; none where nothing is left.
pub(super) fn end_of_batch(
    client: &mut Client,
    source: &QualifiedName,
    (after, to): (i64, i64),
    rows: i64,
) -> Result<Option<i64>> {
    let row = client
        .query_one(&render("transfer/batch", &values! { source }), &[&after, &to, &rows])
        .map_err(|error| Error::database(&format!("reading {source}"), error))?;
    Ok(row.get("last"))
}

/// Copies the rows of a window below the stage, in a transaction of its own.
pub(super) fn copy(
    client: &mut Client,
    transfer: &Transfer,
    columns: &[String],
    after: i64,
    to: Option<i64>,
) -> Result<i64> {
    let failed = |error| copying(transfer, error);
    let mut transaction = client.transaction().map_err(failed)?;
    // These events have moved their heads when they were written.
    transaction
        .batch_execute(include_str!("../../../sql/event/import/maintenance.sql"))
        .map_err(failed)?;
    let sql = render::transfer::copy(transfer, columns, after, to).sql;
    let rows = transaction.execute(&sql, &[]).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(i64::try_from(rows).unwrap_or(i64::MAX))
}

/// Counts and adds up the rows of a table, within a window of positions.
pub(super) fn digest(
    client: &mut Client,
    table: &QualifiedName,
    columns: &[String],
    (after, to): (i64, i64),
) -> Result<Digest> {
    let sql = render("partition/digest", &values! { table, columns, window => true });
    let row = client.query_one(&sql, &[&after, &to]);
    let row = row.map_err(|error| Error::database(&format!("adding up {table}"), error))?;
    Ok(Digest { rows: row.get("rows"), sum: row.get("digest") })
}

/// Looks for every row of a table that left, in the partitions, one window of positions after the
/// other. `passed` hears how many were found.
pub(super) fn prove_moved(
    client: &mut Client,
    retired: &Retired,
    columns: &[String],
    passed: &mut dyn FnMut(i64) -> Result<()>,
) -> Result<i64> {
    let Retired { table, .. } = retired;
    let (mut after, mut rows) = (i64::MIN, 0);
    while let Some(last) = end_of_batch(client, table, (after, i64::MAX), PROOF_ROWS)? {
        rows += prove_window(client, retired, columns, (after, last))?;
        after = last;
        passed(rows)?;
    }
    Ok(rows)
}

fn prove_window(
    client: &mut Client,
    retired: &Retired,
    columns: &[String],
    (after, last): (i64, i64),
) -> Result<i64> {
    let Retired { table, parent } = retired;
    let proving = |error| Error::database(&format!("looking for the rows of {table}"), error);
    let mut transaction = client.transaction().map_err(proving)?;
    let sql = render("transfer/density", &values! { retired => table });
    let row = transaction.query_one(&sql, &[&after, &last]).map_err(proving)?;
    // Where the table has most positions of the window, both sides are read once. Else each row is
    // looked for in the one partition where it belongs: the others may have millions in between.
    let settings = if row.get("dense") {
        include_str!("../../../sql/transfer/side_by_side.sql")
    } else {
        include_str!("../../../sql/transfer/row_by_row.sql")
    };
    transaction.batch_execute(settings).map_err(proving)?;
    let sql = render("transfer/proof", &values! { retired => table, parent, columns });
    let row = transaction.query_one(&sql, &[&after, &last]).map_err(proving)?;
    transaction.rollback().map_err(proving)?;
    let (rows, found): (i64, i64) = (row.get("rows"), row.get("found"));
    let same = row.get::<_, String>("before") == row.get::<_, String>("after");
    if rows == found && same {
        return Ok(rows);
    }
    let what = if rows == found {
        "the partitions have all of its rows, but not as they are in it".to_owned()
    } else {
        format!("{} of its rows are not in the partitions", rows - found)
    };
    Err(Error::refused(format!(
        "{table} is not dropped: somebody changed rows at the moment in which they moved"
    ))
    .detail(format!("{what} (positions up to {last})"))
    .hint(format!(
        "compare it with {parent} by global_position, and drop it when nothing is missing"
    )))
}
