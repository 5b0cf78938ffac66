//! What is known of the rows of a table before it is attached, and what of it is in the way.

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;

use super::Request;

/// How many projections a message names.
const LISTED_MAX: usize = 10;

/// What was asked of the server about a table and the store around it. By default nothing is in
/// the way, and nothing has to be put right.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// How many rows it has.
    pub rows: u64,
    /// The lowest position and the highest, where it has rows.
    pub positions: Option<(i64, i64)>,
    /// Rows that do not belong where it is to be attached, and one of them in words.
    pub outside: Option<(u64, String)>,
    /// Columns with NULL where the table of events refuses it, and in how many rows.
    pub nulls: Vec<(String, u64)>,
    /// What is there twice.
    pub doubled: Vec<Doubled>,
    /// The projections that are past rows of the table, with their positions.
    pub past: Vec<(String, i64)>,
    /// How many aggregates have a head below the table's last version, or none.
    pub heads_behind: u64,
    /// Whether ids of it are missing from the key table of event ids.
    pub ids_missing: bool,
    /// The sequence of positions, where the table is beyond it.
    pub sequence: Option<Sequence>,
    /// The CHECKs of the table that say the same as its bounds.
    pub bounds_checks: Vec<String>,
    /// What the DEFAULT partition holds.
    pub default_rows: DefaultRows,
}

/// Something that must be unique and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubled {
    /// What, for example `positions`.
    pub what: &'static str,
    /// Whether both are in the table itself; otherwise one is in the store.
    pub within: bool,
    /// The first of them.
    pub first: Vec<String>,
}

/// A sequence that must be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Which.
    pub name: QualifiedName,
    /// The last number that it gave.
    pub last: i64,
}

/// What the DEFAULT partition beside the place holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DefaultRows {
    /// Whether it has any row.
    pub any: bool,
    /// How many of its rows belong where the table is to be attached.
    pub within: u64,
}

/// Refuses what would lose, double or hide events, all of it at once.
pub(super) fn refuse(request: &Request<'_>) -> Result<()> {
    let (survey, place) = (request.survey, request.place);
    let mut lines = Vec::new();
    let mut hint = None;
    if let Some((rows, example)) = &survey.outside {
        lines.push(format!("{rows} of its rows do not belong to {place}, such as {example}"));
        hint = Some("name the place where all of its rows belong: --as".to_owned());
    }
    for (column, rows) in &survey.nulls {
        lines.push(format!("{rows} of its rows have no {column}, which events must have"));
    }
    for Doubled { what, within, first } in &survey.doubled {
        let whose = if *within { "are in it twice" } else { "are in the store already" };
        lines.push(format!("{what} {whose}, such as {}", first.join(", ")));
    }
    if survey.default_rows.within > 0 {
        lines.push(format!(
            "the DEFAULT partition holds {} events of {place}",
            survey.default_rows.within
        ));
        hint = Some("move them first: pupctl partitions drain".to_owned());
    }
    if !request.behind_projections && !survey.past.is_empty() {
        lines.push(format!(
            "projections are past its first event ({}) and would never read it: {}",
            survey.positions.map_or(0, |(first, _)| first),
            projections(&survey.past)
        ));
        hint.get_or_insert_with(|| {
            "where they have read these events before, or need not: --behind-projections".to_owned()
        });
    }
    if lines.is_empty() {
        return Ok(());
    }
    let table = &request.table.relation.name;
    let mut error = Error::refused(format!("{table} cannot be attached as {place}")).details(lines);
    if let Some(hint) = hint {
        error = error.hint(hint);
    }
    Err(error)
}

fn projections(past: &[(String, i64)]) -> String {
    let mut words: Vec<_> =
        past.iter().take(LISTED_MAX).map(|(name, at)| format!("{name} (at {at})")).collect();
    if past.len() > LISTED_MAX {
        words.push(format!("and {} more", past.len() - LISTED_MAX));
    }
    words.join(", ")
}

/// What the user should know of what goes ahead.
pub(super) fn notes(request: &Request<'_>) -> Vec<String> {
    let Survey { positions, past, heads_behind, .. } = request.survey;
    let mut notes = Vec::new();
    if *heads_behind > 0 {
        notes.push(format!(
            "the heads of {heads_behind} aggregates lie below their last versions in the table, or \
             are missing: they are raised"
        ));
    }
    if let Some((first, last)) = positions.filter(|_| !past.is_empty()) {
        notes.push(format!(
            "projections are past events of the positions {first} to {last}: {}; they read them \
             only when they are reset",
            projections(past)
        ));
    }
    notes
}
