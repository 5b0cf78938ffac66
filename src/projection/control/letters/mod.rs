//! Dead letters: events that a projection could not handle, and those that wait behind them.
//!
//! Only the application's code can handle an event. So what is done here is to ask for it: the
//! letters and the rows of all slots get a time, and whichever worker claims a slot next handles
//! its letters before anything else, in order. It is asked for under the locks of the rows, where
//! no batch runs that might add a letter behind one that is gone.

pub mod discard;
pub mod list;
pub mod replay;

use chrono::{DateTime, Utc};
use postgres::{GenericClient, Row};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::render::environment::{render, values};

/// An event of a projection that is not handled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// The projection.
    pub projection: String,
    /// The position of the event.
    pub position: i64,
    /// Its aggregate.
    #[serde(flatten)]
    pub aggregate: Aggregate,
    /// The version of the aggregate.
    pub aggregate_version: i64,
    /// Its id.
    pub event_id: String,
    /// Its type.
    pub event_type: String,
    /// `failed`; `waiting` behind one that failed; `skipped`, and later ones went on without it; or
    /// `missed`, when it was not given in time.
    pub state: String,
    /// What the handler said.
    pub error: Option<String>,
    /// How often it was tried.
    pub attempts: i32,
    /// Since when it is here.
    pub parked_at: DateTime<Utc>,
    /// When it failed last.
    pub failed_at: Option<DateTime<Utc>>,
    /// When it was asked for that it be handled once more.
    pub replay_at: Option<DateTime<Utc>>,
}

/// The aggregate of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Aggregate {
    /// Its context.
    pub bounded_context: String,
    /// Its type.
    pub aggregate_type: String,
    /// Its id.
    pub aggregate_id: String,
}

impl std::fmt::Display for Aggregate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bounded_context, aggregate_type, aggregate_id } = self;
        write!(formatter, "{bounded_context}/{aggregate_type}/{aggregate_id}")
    }
}

/// Which letters of a projection are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// All.
    All,
    /// Those of an aggregate, as `context/type/id`.
    Aggregate(String),
    /// That of an event.
    Position(i64),
}

impl Wish {
    /// In words, after "dead letter".
    #[must_use]
    pub fn words(&self, projection: &str) -> String {
        match self {
            Self::All => format!("of {projection}"),
            Self::Aggregate(aggregate) => format!("of {aggregate} in {projection}"),
            Self::Position(position) => format!("of {projection} at position {position}"),
        }
    }
}

/// Letters of a projection, as statements name them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Selection {
    /// The projection.
    projection: String,
    /// Those of an aggregate.
    aggregate: Option<Aggregate>,
    /// One of them.
    at: Option<i64>,
    /// Those up to here.
    up_to: Option<i64>,
    /// Whether those that were skipped are meant too.
    skipped: bool,
}

/// Finds out what is meant; none where there is no such letter. With `in_order` those of the
/// aggregate before it belong to one that failed or waits.
fn select(
    client: &mut impl GenericClient,
    dead_letters: &QualifiedName,
    projection: &str,
    wish: &Wish,
    in_order: bool,
) -> Result<Option<Selection>> {
    let mut selection = Selection {
        projection: projection.to_owned(),
        aggregate: None,
        at: None,
        up_to: None,
        skipped: !in_order,
    };
    match wish {
        Wish::All => {}
        Wish::Aggregate(words) => {
            let sql = render("projection/letters/aggregates", &values! { dead_letters });
            let rows = client.query(&sql, &[&projection, words]).map_err(failed)?;
            match rows.as_slice() {
                [] => return Ok(None),
                [one] => selection.aggregate = Some(aggregate(one)),
                several => return Err(ambiguous(words, several)),
            }
        }
        Wish::Position(position) => {
            let sql = render("projection/letters/at", &values! { dead_letters });
            let row = client.query_opt(&sql, &[&projection, position]).map_err(failed)?;
            let Some(row) = row else { return Ok(None) };
            if in_order && row.get::<_, &str>("state") != "skipped" {
                selection.aggregate = Some(aggregate(&row));
                selection.up_to = Some(*position);
            } else {
                selection.at = Some(*position);
                selection.skipped = true;
            }
        }
    }
    Ok(Some(selection))
}

fn ambiguous(words: &str, rows: &[Row]) -> Error {
    let parts = |row: &Row| {
        let Aggregate { bounded_context, aggregate_type, aggregate_id } = aggregate(row);
        format!("context {bounded_context:?}, type {aggregate_type:?}, id {aggregate_id:?}")
    };
    Error::invalid(format!("{words} can mean more than one aggregate"))
        .details(rows.iter().map(parts))
        .hint("name one of their events: --position")
}

fn aggregate(row: &Row) -> Aggregate {
    Aggregate {
        bounded_context: row.get("bounded_context"),
        aggregate_type: row.get("aggregate_type"),
        aggregate_id: row.get("aggregate_id"),
    }
}

fn letter(row: &Row) -> Letter {
    Letter {
        projection: row.get("projection"),
        position: row.get("position"),
        aggregate: aggregate(row),
        aggregate_version: row.get("aggregate_version"),
        event_id: row.get("event_id"),
        event_type: row.get("event_type"),
        state: row.get("state"),
        error: row.get("error"),
        attempts: row.get("attempts"),
        parked_at: row.get("parked_at"),
        failed_at: row.get("failed_at"),
        replay_at: row.get("replay_at"),
    }
}

/// How many letters are selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    letters: i64,
    /// Of them those for which nobody has asked yet.
    unasked: i64,
    /// The time by which they are there.
    now: DateTime<Utc>,
}

fn count(
    client: &mut impl GenericClient,
    dead_letters: &QualifiedName,
    which: &Selection,
) -> Result<Count> {
    let sql = render("projection/letters/count", &values! { dead_letters, which });
    let row = client.query_one(&sql, &[]).map_err(failed)?;
    Ok(Count { letters: row.get("letters"), unasked: row.get("unasked"), now: row.get("now") })
}

fn failed(error: postgres::Error) -> Error {
    Error::database("looking at the dead letters", error)
}

/// `1 dead letter`, `2 dead letters`.
fn letters(number: i64) -> String {
    if number == 1 { "1 dead letter".to_owned() } else { format!("{number} dead letters") }
}
