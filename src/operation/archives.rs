//! `pupctl_archives`: one row for every table that left the store, or is on its way.

use std::fmt;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use postgres::{GenericClient, Row};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout::place::Place;
use crate::render::environment::{render, values};
use crate::render::tables::{archives_table, closed_table};

/// How far an archive is. Each phase is recorded when it is done, so that the next run goes on
/// from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The table is about to leave the store.
    Detaching,
    /// It has left; its rows are nowhere else.
    Detached,
    /// The file is proven; the table is kept.
    Published,
    /// The file is proven; the table never left.
    Copied,
    /// The file is proven, the table is gone.
    Dropped,
    /// The rows are back in the store; the file stays.
    Restored,
    /// It was called off; the rows are in the store.
    Aborted,
}

impl Phase {
    const ALL: [Self; 7] = [
        Self::Detaching,
        Self::Detached,
        Self::Published,
        Self::Copied,
        Self::Dropped,
        Self::Restored,
        Self::Aborted,
    ];

    /// As the table has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Detaching => "detaching",
            Self::Detached => "detached",
            Self::Published => "published",
            Self::Copied => "copied",
            Self::Dropped => "dropped",
            Self::Restored => "restored",
            Self::Aborted => "aborted",
        }
    }

    /// Whether the work on it is not done: rows have left, or may have, and no file is proven.
    #[must_use]
    pub fn is_unfinished(self) -> bool {
        matches!(self, Self::Detaching | Self::Detached)
    }

    fn of(word: &str) -> Self {
        // The table's own CHECK refuses other words.
        Self::ALL.into_iter().find(|phase| phase.word() == word).unwrap_or(Self::Aborted)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.word())
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Its number.
    pub id: i64,
    /// The name of the archive, and of its folder.
    pub name: String,
    /// Where that folder lies.
    pub folder: PathBuf,
    /// `parquet` or `copy`.
    pub format: String,
    /// `events` or `aggregate_heads`.
    pub role: String,
    /// Where in the table the rows belong.
    pub place: Place,
    /// What the partition was called in the store.
    pub leaf: String,
    /// What its table is called now, as long as there is one.
    pub table_name: String,
    /// The number of the table.
    pub table_oid: u32,
    /// Whether an empty partition took its place.
    pub replaced: bool,
    /// How far it is.
    pub phase: Phase,
    /// How many rows it has.
    pub rows: Option<i64>,
    /// The position of the first.
    pub first_position: Option<i64>,
    /// The position of the last.
    pub last_position: Option<i64>,
    /// The digest of the rows.
    pub digest: Option<String>,
    /// When it was begun.
    pub began_at: DateTime<Utc>,
    /// When the table left the store.
    pub detached_at: Option<DateTime<Utc>>,
    /// When the file was proven.
    pub published_at: Option<DateTime<Utc>>,
    /// When the table was dropped.
    pub dropped_at: Option<DateTime<Utc>>,
    /// When the rows came back.
    pub restored_at: Option<DateTime<Utc>>,
}

impl Record {
    /// The folder of this archive.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// Whether a word of the user's means it: its name, its partition, its place, its context or
    /// its month.
    #[must_use]
    pub fn is_meant_by(&self, word: &str) -> bool {
        let context = self.place.context();
        self.name == word
            || self.leaf == word
            || self.table_name == word
            || self.place.to_string().to_lowercase() == word.to_lowercase()
            || context == Some(word)
            || context.is_some_and(|context| {
                crate::layout::name::fold_context(context)
                    == crate::layout::name::fold_context(word)
            })
            || self.place.month().is_some_and(|month| month.to_string() == word)
    }
}

/// What is known when an archive is begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning<'a> {
    /// The name of the archive.
    pub name: &'a str,
    /// Where its folder is to lie.
    pub folder: &'a str,
    /// `parquet` or `copy`.
    pub format: &'a str,
    /// `events` or `aggregate_heads`.
    pub role: &'a str,
    /// Where the rows belong.
    pub place: &'a Place,
    /// What the partition is called.
    pub leaf: &'a str,
    /// What its table is called.
    pub table_name: &'a str,
    /// Its number.
    pub table_oid: u32,
    /// Whether an empty partition takes its place.
    pub replaced: bool,
    /// The first phase.
    pub phase: Phase,
}

fn failed(error: postgres::Error) -> Error {
    Error::database("reading or writing the list of archives", error)
}

/// All rows, in the order in which they were begun; none where there is no list yet.
pub fn all(client: &mut impl GenericClient, schema: &str) -> Result<Vec<Record>> {
    let table = archives_table(schema);
    let there = client
        .query_one(&render("archive/exists", &values! { table }), &[])
        .map_err(failed)?
        .get::<_, bool>("there");
    if !there {
        return Ok(Vec::new());
    }
    let rows = client.query(&render("archive/list", &values! { table }), &[]).map_err(failed)?;
    rows.iter().map(record).collect()
}

/// Begins an archive, and gives its number.
pub fn begin(client: &mut impl GenericClient, schema: &str, begun: &Beginning<'_>) -> Result<i64> {
    let table = archives_table(schema);
    let place = serde_json::to_value(begun.place).unwrap_or_default();
    let row = client
        .query_one(
            &render("archive/begin", &values! { table }),
            &[
                &begun.name,
                &begun.folder,
                &begun.format,
                &begun.role,
                &place,
                &begun.leaf,
                &begun.table_oid,
                &begun.replaced,
                &begun.phase.word(),
                &begun.table_name,
            ],
        )
        .map_err(failed)?;
    Ok(row.get("id"))
}

/// Records that a phase is done, with the time; `table_name` is what its table is called now.
pub fn advance(
    client: &mut impl GenericClient,
    schema: &str,
    id: i64,
    phase: Phase,
    table_name: Option<&str>,
) -> Result<()> {
    let table = archives_table(schema);
    client
        .execute(&render("archive/advance", &values! { table }), &[&id, &phase.word(), &table_name])
        .map_err(failed)?;
    Ok(())
}

/// Changes where the file of an archive is going to be, and its format.
pub fn relocate(
    client: &mut impl GenericClient,
    schema: &str,
    id: i64,
    folder: &str,
    format: &str,
) -> Result<()> {
    let table = archives_table(schema);
    client
        .execute(&render("archive/relocate", &values! { table }), &[&id, &folder, &format])
        .map_err(failed)?;
    Ok(())
}

/// Forgets that a table was closed, because it is no more.
pub fn forget_closed(client: &mut impl GenericClient, schema: &str, oid: u32) -> Result<()> {
    let table = closed_table(schema);
    client
        .execute(&render("archive/forget_closed", &values! { table }), &[&oid])
        .map_err(failed)?;
    Ok(())
}

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents<'a> {
    /// How many rows.
    pub rows: i64,
    /// The position of the first.
    pub first_position: Option<i64>,
    /// The position of the last.
    pub last_position: Option<i64>,
    /// The digest of the rows.
    pub digest: &'a str,
}

/// Records that the file is proven.
pub fn publish(
    client: &mut impl GenericClient,
    schema: &str,
    id: i64,
    phase: Phase,
    contents: &Contents<'_>,
) -> Result<()> {
    let table = archives_table(schema);
    let Contents { rows, first_position, last_position, digest } = contents;
    client
        .execute(
            &render("archive/publish", &values! { table }),
            &[&id, &phase.word(), rows, first_position, last_position, digest],
        )
        .map_err(failed)?;
    Ok(())
}

fn record(row: &Row) -> Result<Record> {
    let place = serde_json::from_value(row.get("place")).map_err(|error| {
        Error::refused(format!("the list of archives has a place that cannot be read: {error}"))
            .hint("the table pupctl_archives was changed by hand: restore its row")
    })?;
    Ok(Record {
        id: row.get("id"),
        name: row.get("name"),
        folder: PathBuf::from(row.get::<_, String>("folder")),
        format: row.get("format"),
        role: row.get("role"),
        place,
        leaf: row.get("leaf"),
        table_name: row.get("table_name"),
        table_oid: row.get("table_oid"),
        replaced: row.get("replaced"),
        phase: Phase::of(row.get("phase")),
        rows: row.get("rows"),
        first_position: row.get("first_position"),
        last_position: row.get("last_position"),
        digest: row.get("digest"),
        began_at: row.get("began_at"),
        detached_at: row.get("detached_at"),
        published_at: row.get("published_at"),
        dropped_at: row.get("dropped_at"),
        restored_at: row.get("restored_at"),
    })
}
