//! Which rows of pupsourcing's become which slots: values in, values out.

use std::collections::BTreeSet;

use serde::Serialize;

use super::ForeignRow;
use crate::error::{Error, Result};
use crate::projection::Fnv1a;
use crate::projection::control::rescale::{Target, Way};
use crate::projection::control::row::NewRow;
use crate::projection::name::row_name;
use crate::render::quote::shell_word;

/// Where slots begin that come from rows which stand at different positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the lowest position: nothing is lost, events are handled again.
    Lowest,
    /// At the highest position: nothing is handled again, events are lost.
    Highest,
}

/// What the projection is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Its name.
    pub projection: String,
    /// How many partitions pupsourcing's processors have divided it into.
    pub total: u32,
    /// How many slots, and by which hash.
    pub target: Target,
    /// Where the slots begin, if that has to be chosen.
    pub start: Option<Start>,
    /// Rows that do not matter: missing ones count as position 0, surplus ones are removed, since
    /// no worker would begin beside them.
    pub ignore_rows: BTreeSet<String>,
    /// What the projection reads; empty for all.
    pub contexts: Vec<String>,
    /// The same for types of aggregates.
    pub aggregates: Vec<String>,
    /// The tables that it fills.
    pub tables: Vec<String>,
}

impl Wish {
    /// The name of the row of one of pupsourcing's partitions.
    #[must_use]
    pub fn partition_name(&self, key: u32) -> String {
        if self.total == 1 {
            self.projection.clone()
        } else {
            format!("{}_p{key}", self.projection)
        }
    }
}

/// One of pupsourcing's partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// The name of its row.
    #[serde(rename = "row")]
    pub name: String,
    /// Everything of it at and below this position is handled.
    pub position: i64,
    /// The row; none where it is missing, and that is known.
    #[serde(flatten)]
    pub row: Option<ForeignRow>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In which way the rows become slots.
    pub way: Way,
    /// Where the slots begin, where that had to be chosen.
    pub start: Option<Start>,
    /// pupsourcing's partitions in their order.
    pub sources: Vec<Source>,
    /// Rows that are removed because they do not matter.
    pub surplus: Vec<ForeignRow>,
    /// The rows as they will be.
    pub after: Vec<NewRow>,
}

impl Plan {
    /// From the rows that are there.
    pub fn of(wish: &Wish, found: &[ForeignRow]) -> Result<Self> {
        let sources = sources(wish, found)?;
        let way = Way::of(wish.total, Fnv1a::NAME, &wish.target);
        let (slots, new_slots) = (wish.total, wish.target.slots);
        let positions = |new: u32| {
            let feeds = move |(old, _): &(u32, &Source)| way.feeds(*old, slots, new, new_slots);
            (0..).zip(&sources).filter(feeds).map(|(_, source)| source.position)
        };
        let exact = (0..new_slots).all(|new| positions(new).min() == positions(new).max());
        let start = if exact { None } else { Some(chosen(wish, &sources)?) };
        let all = || sources.iter().map(|source| source.position);
        let after = (0..new_slots).map(|slot| {
            let position = match start {
                None => positions(slot).max(),
                Some(Start::Lowest) => all().min(),
                Some(Start::Highest) => all().max(),
            };
            new_row(wish, slot, position.unwrap_or(0))
        });
        let after = after.collect();
        let is_source = |row: &&ForeignRow| sources.iter().any(|source| source.name == row.name);
        let surplus = found.iter().filter(|row| !is_source(row)).cloned().collect();
        Ok(Self { way, start, sources, surplus, after })
    }

    /// The highest position from which a slot begins, which has to be settled.
    #[must_use]
    pub fn highest(&self) -> i64 {
        self.sources.iter().map(|source| source.position).max().unwrap_or(0)
    }

    /// The lowest position of a row.
    #[must_use]
    pub fn lowest(&self) -> i64 {
        self.sources.iter().map(|source| source.position).min().unwrap_or(0)
    }

    /// The rows that moved less than a minute ago: a worker seems to run.
    pub fn moving(&self) -> impl Iterator<Item = &ForeignRow> {
        self.rows().filter(|row| row.moves)
    }

    /// The rows that others take the place of.
    pub fn rows(&self) -> impl Iterator<Item = &ForeignRow> {
        self.sources.iter().filter_map(|source| source.row.as_ref()).chain(&self.surplus)
    }
}

fn new_row(wish: &Wish, slot: u32, position: i64) -> NewRow {
    let Target { slots, hash } = &wish.target;
    NewRow {
        name: row_name(&wish.projection, slot, *slots),
        slot,
        slots: *slots,
        hash: hash.clone(),
        epoch: 1,
        position,
        bounded_contexts: Some(wish.contexts.clone()),
        aggregate_types: Some(wish.aggregates.clone()),
        read_model: Some(wish.tables.clone()),
        paused_at: None,
        parked: false,
        replay_at: None,
        events_handled: 0,
        last_error: None,
        failed_at: None,
        failed_position: None,
    }
}

/// The rows of the partitions, after comparing what is there with what has to be.
fn sources(wish: &Wish, found: &[ForeignRow]) -> Result<Vec<Source>> {
    let wanted: Vec<_> = (0..wish.total).map(|key| wish.partition_name(key)).collect();
    let row = |name: &str| found.iter().find(|row| row.name == name);
    let ignored = |name: &str| wish.ignore_rows.contains(name);
    let mut wrong = Vec::new();
    let mut doubtful = Vec::new();
    for name in wanted.iter().filter(|name| row(name).is_none() && !ignored(name)) {
        wrong.push(format!("{name} is missing: as if it had handled nothing"));
        doubtful.push(name.as_str());
    }
    let is_wanted = |name: &str| wanted.iter().any(|wanted| wanted == name);
    let surplus = found.iter().filter(|row| !is_wanted(&row.name) && !ignored(&row.name));
    for row in surplus {
        wrong.push(format!("{} is there too, at position {}", row.name, row.position));
        doubtful.push(&row.name);
    }
    let of = format!("{} partition{}", wish.total, if wish.total == 1 { "" } else { "s" });
    if found.iter().all(|row| !is_wanted(&row.name)) {
        let error = Error::refused(format!(
            "there is no row of the projection {} with {of}",
            wish.projection
        ));
        return Err(error.details(wrong).hint(
            "compare the name and --total with the settings of its workers; a new projection is \
             made with pupctl projections init",
        ));
    }
    if !wrong.is_empty() {
        let words: Vec<_> = doubtful.into_iter().map(shell_word).collect();
        return Err(Error::refused(format!(
            "the rows of the projection {} are not those of {of}",
            wish.projection
        ))
        .details(wrong)
        .hint(format!(
            "say another --total; or, if you know why: --ignore-rows {} (what is missing counts as \
             position 0, what is there too is removed)",
            words.join(",")
        )));
    }
    let unknown: Vec<_> = wish
        .ignore_rows
        .iter()
        .filter(|name| row(name).is_none() && !is_wanted(name))
        .cloned()
        .collect();
    if !unknown.is_empty() {
        return Err(Error::invalid("--ignore-rows names rows that do not exist")
            .details(unknown)
            .hint("leave them out"));
    }
    Ok(wanted
        .into_iter()
        .map(|name| {
            let row = row(&name).cloned();
            Source { position: row.as_ref().map_or(0, |row| row.position), name, row }
        })
        .collect())
}

fn chosen(wish: &Wish, sources: &[Source]) -> Result<Start> {
    if let Some(start) = wish.start {
        return Ok(start);
    }
    let (name, total, slots) = (shell_word(&wish.projection), wish.total, wish.target.slots);
    let lines =
        sources.iter().map(|source| format!("{} is at position {}", source.name, source.position));
    Err(Error::refused(format!(
        "{total} partitions at different positions cannot become {slots} slots by {} without \
         losing or repeating events",
        wish.target.hash
    ))
    .details(lines)
    .hint(format!(
        "take them over as they are, and change the slots then, which loses and repeats nothing: \
         pupctl projections adopt {name} --total {total}; or choose: --from lowest handles events \
         again, --from highest leaves events out"
    )))
}

#[cfg(test)]
mod tests;
