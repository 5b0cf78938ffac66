//! Compares `aggregate_heads` with `events`: a head is the last version of its aggregate, and the
//! versions before it are all there.

use postgres::{Client, Row};

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::render::environment::{render, values};

/// Aggregates whose head and events do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deviations {
    /// How many there are.
    pub total: usize,
    /// The first of them, in words.
    pub first: Vec<String>,
}

/// Looks at every aggregate, in one statement that sees one moment, and tells at most `limit`.
pub fn deviations(
    client: &mut Client,
    events: &QualifiedName,
    heads: &QualifiedName,
    limit: u32,
) -> Result<Deviations> {
    let sql = render("table/deviating_heads", &values! { events, heads, limit });
    let rows = client
        .query(&sql, &[])
        .map_err(|error| Error::database("comparing the heads with the events", error))?;
    let total = rows.first().map_or(0, |row| row.get::<_, i64>("total"));
    Ok(Deviations {
        total: usize::try_from(total).unwrap_or(usize::MAX),
        first: rows.iter().map(words).collect(),
    })
}

fn words(row: &Row) -> String {
    let text = |column: &str| row.get::<_, Option<String>>(column).unwrap_or_default();
    let number = |column: &str| row.get::<_, Option<i64>>(column);
    let head = number("head").map_or("no head".to_owned(), |head| format!("head {head}"));
    let events = match (number("events"), number("first"), number("last")) {
        (Some(events), Some(first), Some(last)) => {
            format!("{events} events, versions {first} to {last}")
        }
        _ => "no events".to_owned(),
    };
    format!(
        "{} {} {}: {head}, {events}",
        text("bounded_context"),
        text("aggregate_type"),
        text("aggregate_id")
    )
}
