//! Events that are not in the store any more: a projection that goes back before them would be
//! made anew without them, and nobody would see it.

use postgres::GenericClient;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::layout::place::Place;
use crate::render::environment::{render, values};
use crate::render::quote::shell_word;

use super::Tables;

/// How many of them words list.
const LISTED_MAX: usize = 20;

/// Events behind a position that left the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hole {
    /// The archive, or the detached table.
    pub name: String,
    /// The last of its positions; none where nobody wrote it down.
    pub last_position: Option<i64>,
    /// The command that brings them back.
    pub command: String,
}

impl Hole {
    /// In one line.
    #[must_use]
    pub fn words(&self) -> String {
        let Self { name, last_position, command } = self;
        let up_to = last_position.map_or_else(String::new, |last| format!(" up to {last}"));
        format!("{name} has events{up_to}: {command}")
    }
}

/// The archives and detached tables with events behind a position; of some contexts, or of all.
pub fn find(
    client: &mut impl GenericClient,
    tables: &Tables,
    after: i64,
    contexts: &[String],
) -> Result<Vec<Hole>> {
    let failed = |error| Error::database("looking for events that left the store", error);
    let reads = |place: &Place| {
        let context = place.context();
        contexts.is_empty() || context.is_none_or(|context| contexts.iter().any(|c| c == context))
    };
    let mut holes = Vec::new();
    let mut left: Vec<String> = Vec::new();
    let QualifiedName { schema, name } = &tables.archives;
    let there = client.query_opt(include_str!("../../../sql/fence/table.sql"), &[schema, name]);
    if there.map_err(failed)?.is_some() {
        let archives = &tables.archives;
        let sql = render("projection/control/holes", &values! { archives, after });
        for row in client.query(&sql, &[]).map_err(failed)? {
            left.push(row.get("table_name"));
            // A place that nobody can read may be anywhere.
            let place = serde_json::from_str(row.get("place")).unwrap_or_default();
            if reads(&place) {
                let name: String = row.get("name");
                let command = format!("pupctl restore {}", shell_word(&name));
                let last_position = row.get("last_position");
                holes.push(Hole { name: format!("the archive {name}"), last_position, command });
            }
        }
    }
    for (table, place) in &tables.detached {
        if left.contains(&table.name) || !reads(place) {
            continue;
        }
        let sql = render("fence/last_position", &values! { leaf => table });
        let last: Option<i64> = client.query_one(&sql, &[]).map_err(failed)?.get("last");
        if last.is_some_and(|last| last > after) {
            let command = format!("pupctl partitions attach {}", shell_word(&table.name));
            let name = format!("the detached table {}", table.name);
            holes.push(Hole { name, last_position: last, command });
        }
    }
    Ok(holes)
}

/// A line for each, but not for too many.
#[must_use]
pub fn lines(holes: &[Hole]) -> Vec<String> {
    let mut lines: Vec<_> = holes.iter().take(LISTED_MAX).map(Hole::words).collect();
    let more = holes.len().saturating_sub(LISTED_MAX);
    lines.extend((more > 0).then(|| format!("and {more} more")));
    lines
}

/// In a few words, for a question or a note.
#[must_use]
pub fn told(holes: &[Hole], position: i64) -> Option<String> {
    let names: Vec<_> = holes.iter().take(3).map(|hole| hole.name.as_str()).collect();
    let more = holes.len().saturating_sub(names.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| {
        format!(
            "events behind position {position} are not in the store, and are missing in the read \
             model: those of {}{more}",
            names.join(", ")
        )
    })
}

/// Refuses to begin before events that are not there.
pub(in crate::projection) fn refuse(name: &str, position: i64, holes: &[Hole]) -> Result<()> {
    let Some(first) = holes.first() else { return Ok(()) };
    Err(Error::refused(format!(
        "events behind position {position} are not in the store, so {name} would be made anew \
         without them"
    ))
    .details(lines(holes))
    .hint(format!(
        "bring them back first: {}; or go on without them: --allow-missing-events",
        first.command
    )))
}
