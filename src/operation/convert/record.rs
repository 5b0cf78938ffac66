//! `pupctl_conversions`: one row for every time that a store is given another layout.

use chrono::{DateTime, Utc};
use postgres::{GenericClient, Row, Statement};
use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::plan::convert::attach::NEAR;
use crate::plan::convert::ranges::Range;
use crate::plan::convert::{Phase, Replaced, Strategy, Target};
use crate::render::environment::{render, values};
use crate::render::tables::{conversion_ranges_table, conversions_table};

/// A conversion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// Its number.
    pub id: i64,
    /// How it is done.
    pub strategy: Strategy,
    /// How far it is.
    pub phase: Phase,
    /// The layout that the store had.
    pub before: Layout,
    /// The layout that it gets.
    pub after: Layout,
    /// The tables that are replaced.
    pub tables: Vec<Replaced>,
    /// How many events there were, when they were counted.
    pub rows: i64,
    /// Every event at or below it has been copied.
    pub copied_to: Option<i64>,
    /// Every event at or below it has been compared. None again when the way back has proven what
    /// came since the swap, and what was built may be dropped.
    pub verified_to: Option<i64>,
    /// The last position that was drawn when the tables changed places.
    pub swapped_at_position: Option<i64>,
    /// Where the old table ends and the months begin, when it stays as a partition.
    pub cutover: Option<DateTime<Utc>>,
    /// What the comparison found.
    pub report: Option<Value>,
    /// When it was paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// When it was begun.
    pub began_at: DateTime<Utc>,
    /// When the phase began.
    pub phase_since: DateTime<Utc>,
    /// When the tables changed places.
    pub swapped_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub ended_at: Option<DateTime<Utc>>,
}

impl Record {
    /// What the store is to become.
    #[must_use]
    pub fn target(&self) -> Target {
        Target { layout: self.after.clone(), tables: self.tables.clone() }
    }

    /// Whether the new tables are the store's, and what came last has been compared too.
    #[must_use]
    pub fn is_swapped(&self) -> bool {
        // Nothing was copied where the old table is a partition.
        let compared = || self.verified_to >= self.swapped_at_position;
        self.phase == Phase::Swapped && (self.strategy == Strategy::Attach || compared())
    }

    /// Whether only the swap is left, and it can come at this time.
    #[must_use]
    pub fn is_ready(&self, now: DateTime<Utc>) -> bool {
        self.phase >= Phase::Ready && self.near_cutover(now).is_none()
    }

    /// The time from which the old table refuses events, when that is near and it still does.
    #[must_use]
    pub fn near_cutover(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.cutover.filter(|cutover| self.phase < Phase::Swapped && *cutover - now < NEAR)
    }
}

/// How much has been copied.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speed {
    /// Rows in all.
    pub rows: i64,
    /// Rows a second, of the last half minute; none before two ranges are copied.
    pub per_second: Option<f64>,
}

fn failed(error: postgres::Error) -> Error {
    Error::database("reading or writing the list of conversions", error)
}

/// The conversion that goes on, else the last one; none where there was none.
pub fn find(client: &mut impl GenericClient, schema: &str) -> Result<Option<Record>> {
    let table = conversions_table(schema);
    let row = match client.query_opt(&render("convert/find", &values! { table }), &[]) {
        Ok(row) => row,
        // undefined_table: an earlier version of pupctl knew no conversions.
        Err(error) if error.code().is_some_and(|code| code.code() == "42P01") => None,
        Err(error) => return Err(failed(error)),
    };
    row.as_ref().map(record).transpose()
}

/// The conversion that goes on.
pub fn open(client: &mut impl GenericClient, schema: &str) -> Result<Option<Record>> {
    Ok(find(client, schema)?.filter(|record| !record.phase.is_over()))
}

fn record(row: &Row) -> Result<Record> {
    let unreadable = |error: serde_json::Error| {
        Error::refused(format!("the list of conversions cannot be read: {error}"))
            .hint("the table pupctl_conversions was changed by hand: restore its row")
    };
    let strategy = row.get::<_, String>("strategy");
    Ok(Record {
        id: row.get("id"),
        strategy: if strategy == "attach" { Strategy::Attach } else { Strategy::Copy },
        phase: Phase::of(row.get("phase")),
        before: Layout::from_json(row.get("layout_before"))?,
        after: Layout::from_json(row.get("layout_after"))?,
        tables: serde_json::from_value(row.get("tables")).map_err(unreadable)?,
        rows: row.get("rows"),
        copied_to: row.get("copied_to"),
        verified_to: row.get("verified_to"),
        swapped_at_position: row.get("swapped_at_position"),
        cutover: row.get("cutover"),
        report: row.get("report"),
        paused_at: row.get("paused_at"),
        began_at: row.get("began_at"),
        phase_since: row.get("phase_since"),
        swapped_at: row.get("swapped_at"),
        ended_at: row.get("ended_at"),
    })
}

/// Begins a conversion.
pub fn begin(
    client: &mut impl GenericClient,
    schema: &str,
    strategy: Strategy,
    before: &Layout,
    target: &Target,
    rows: i64,
    cutover: Option<DateTime<Utc>>,
) -> Result<Record> {
    let table = conversions_table(schema);
    let tables = serde_json::to_value(&target.tables).unwrap_or_default();
    client
        .query_one(
            &render("convert/begin", &values! { table }),
            &[
                &strategy.to_string(),
                &Phase::Building.word(),
                &before.to_json(),
                &target.layout.to_json(),
                &tables,
                &rows,
                &cutover,
            ],
        )
        .map_err(failed)?;
    open(client, schema)?.ok_or_else(|| Error::refused("the conversion is gone"))
}

/// Writes how far it is. In the transaction that got it there, where there is one.
pub fn advance(client: &mut impl GenericClient, schema: &str, record: &Record) -> Result<()> {
    let parsed = parsed_advance(client, schema)?;
    advance_by(client, &parsed, record)
}

/// What [`advance`] runs, parsed ahead of locks for which others wait.
pub(super) fn parsed_advance(client: &mut impl GenericClient, schema: &str) -> Result<Statement> {
    let table = conversions_table(schema);
    client.prepare(&render("convert/advance", &values! { table })).map_err(failed)
}

/// The same as [`advance`].
pub(super) fn advance_by(
    client: &mut impl GenericClient,
    parsed: &Statement,
    record: &Record,
) -> Result<()> {
    client
        .execute(
            parsed,
            &[
                &record.id,
                &record.phase.word(),
                &record.after.to_json(),
                &record.rows,
                &record.copied_to,
                &record.verified_to,
                &record.swapped_at_position,
                &record.cutover,
                &record.report,
            ],
        )
        .map_err(failed)?;
    Ok(())
}

/// Pauses the conversion that goes on, or lets it go on.
pub fn pause(client: &mut impl GenericClient, schema: &str, pause: bool) -> Result<()> {
    let table = conversions_table(schema);
    let word = if pause { "TRUE" } else { "FALSE" };
    client
        .execute(&render("convert/pause", &values! { table, pause => word }), &[])
        .map_err(failed)?;
    Ok(())
}

/// Whether somebody has paused it.
pub fn is_paused(client: &mut impl GenericClient, schema: &str, id: i64) -> Result<bool> {
    let table = conversions_table(schema);
    let row =
        client.query_opt(&render("convert/paused", &values! { table }), &[&id]).map_err(failed)?;
    Ok(row.is_some_and(|row| row.get("paused")))
}

/// Notes that the events of a range have been copied, in the transaction that copied them.
pub fn note_range(
    client: &mut impl GenericClient,
    schema: &str,
    id: i64,
    range: Range,
    rows: i64,
) -> Result<()> {
    let table = conversion_ranges_table(schema);
    client
        .execute(
            &render("convert/note_range", &values! { table }),
            &[&id, &range.after, &range.up_to, &rows],
        )
        .map_err(failed)?;
    Ok(())
}

/// The ranges that have been copied, and how many rows they had.
pub fn ranges(client: &mut impl GenericClient, schema: &str, id: i64) -> Result<(Vec<Range>, i64)> {
    let table = conversion_ranges_table(schema);
    let rows =
        client.query(&render("convert/ranges", &values! { table }), &[&id]).map_err(failed)?;
    let range = |row: &Row| Range { after: row.get("after_position"), up_to: row.get("up_to") };
    let copied = rows.iter().map(|row| row.get::<_, i64>("rows")).sum();
    Ok((rows.iter().map(range).collect(), copied))
}

/// Forgets the ranges, of a conversion that is over.
pub fn forget_ranges(client: &mut impl GenericClient, schema: &str, id: i64) -> Result<()> {
    let table = conversion_ranges_table(schema);
    client.execute(&render("convert/forget_ranges", &values! { table }), &[&id]).map_err(failed)?;
    Ok(())
}

/// How much has been copied, and how fast.
pub fn speed(client: &mut impl GenericClient, schema: &str, id: i64) -> Result<Speed> {
    let ranges = conversion_ranges_table(schema);
    let sql = render("convert/speed", &values! { ranges });
    let row = client.query_one(&sql, &[&id]).map_err(failed)?;
    Ok(Speed { rows: row.get("rows"), per_second: row.get("per_second") })
}
