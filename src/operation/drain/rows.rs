//! The rows of a drain: copied by positions, counted and compared.

use postgres::Client;

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::plan::drain::Drain;
use crate::render;
use crate::render::environment::{render, values};

use super::Drained;

/// How many rows one transaction copies.
const BATCH_ROWS: i64 = 10_000;

/// Rows as a number that their order does not change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) rows: i64,
    sum: String,
}

fn copying(drain: &Drain, error: postgres::Error) -> Error {
    Error::database(&format!("copying rows of {}", drain.default), error)
}

/// The last position that the stage has.
pub(super) fn reached(client: &mut Client, stage: &QualifiedName) -> Result<Option<i64>> {
    let row = client
        .query_one(&render("drain/reached", &values! { table => stage }), &[])
        .map_err(|error| Error::database(&format!("looking how far {stage} is"), error))?;
    Ok(row.get("position"))
}

/// The last position of the next batch; none where nothing is left.
pub(super) fn end_of_batch(
    client: &mut Client,
    default: &QualifiedName,
    after: i64,
    to: i64,
) -> Result<Option<i64>> {
    let row = client
        .query_one(&render("drain/batch", &values! { default }), &[&after, &to, &BATCH_ROWS])
        .map_err(|error| Error::database(&format!("reading {default}"), error))?;
    Ok(row.get("last"))
}

/// Copies the rows of a window below the stage, in a transaction of its own.
pub(super) fn copy(
    client: &mut Client,
    drain: &Drain,
    columns: &[String],
    after: i64,
    to: Option<i64>,
) -> Result<i64> {
    let failed = |error| copying(drain, error);
    let mut transaction = client.transaction().map_err(failed)?;
    // These events have moved their heads when they were written.
    transaction
        .batch_execute(include_str!("../../../sql/event/import/maintenance.sql"))
        .map_err(failed)?;
    let sql = render::drain::copy(drain, columns, after, to).sql;
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

/// Looks for every row of a drained table in the partitions.
pub(super) fn prove_moved(
    client: &mut Client,
    drained: &Drained,
    columns: &[String],
) -> Result<i64> {
    let Drained { table, parent } = drained;
    let proving = |error| Error::database(&format!("looking for the rows of {table}"), error);
    let mut transaction = client.transaction().map_err(proving)?;
    // Row by row, so that each is looked for in the one partition where it belongs.
    transaction
        .batch_execute(include_str!("../../../sql/drain/row_by_row.sql"))
        .map_err(proving)?;
    let sql = render("drain/proof", &values! { drained => table, parent, columns });
    let row = transaction.query_one(&sql, &[]).map_err(proving)?;
    transaction.rollback().map_err(proving)?;
    let (rows, found): (i64, i64) = (row.get("rows"), row.get("found"));
    let same = row.get::<_, String>("before") == row.get::<_, String>("after");
    if rows == found && same {
        return Ok(rows);
    }
    let what = if rows == found {
        "the partitions have all of its rows, but not as they are in it".to_owned()
    } else {
        format!("{} of its {rows} rows are not in the partitions", rows - found)
    };
    Err(Error::refused(format!(
        "{table} is not dropped: somebody changed rows at the moment in which they moved"
    ))
    .detail(what)
    .hint(format!(
        "compare it with {parent} by global_position, and drop it when nothing is missing"
    )))
}
