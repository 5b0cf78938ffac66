//! Plans which months are closed: sealed against events that come late.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::layout::month::Month;

use super::target::{Located, partitions, resolve, undivided};

/// What a closed month has been through already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    /// It has the CHECK.
    pub sealed: bool,
    /// All rows are known to keep it.
    pub valid: bool,
    /// Its digest is recorded.
    pub recorded: bool,
}

impl State {
    /// Whether nothing is left to do.
    #[must_use]
    pub fn is_closed(self) -> bool {
        self.sealed && self.valid && self.recorded
    }
}

/// Which partitions are meant.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    /// Partitions, places and months.
    pub words: &'a [String],
    /// Every month that is past.
    pub all_past: bool,
    /// Only those of this context.
    pub context: Option<&'a str>,
    /// How long after its end a month is past.
    pub grace: TimeDelta,
}

/// The leaves that are to be closed, in the order of the tree, without those that are.
pub fn leaves<'a>(
    catalog: &'a Catalog,
    wish: &Wish<'_>,
    states: &BTreeMap<u32, State>,
) -> Result<Vec<Located<'a>>> {
    let now = catalog.server.now;
    let is_past = |month: Month| past_since(month, wish.grace).is_some_and(|past| past <= now);
    let mut found = Vec::new();
    if wish.all_past {
        let past = |leaf: &Located<'_>| leaf.place.month().is_some_and(is_past);
        let leaves = partitions(catalog).into_iter().filter(|leaf| leaf.relation.is_leaf());
        found.extend(leaves.filter(past));
    }
    for leaf in meant(catalog, wish.words)? {
        let month = leaf.place.month().ok_or_else(|| no_month(&leaf))?;
        if !is_past(month) {
            return Err(not_past(&leaf, month, wish.grace, now));
        }
        found.push(leaf);
    }
    let mut seen = BTreeSet::new();
    found.retain(|leaf| {
        let wanted = wish.context.is_none_or(|name| leaf.place.context() == Some(name));
        wanted && seen.insert(leaf.relation.oid)
    });
    if found.is_empty() && !wish.words.is_empty() {
        let context = wish.context.unwrap_or_default();
        return Err(Error::invalid(format!("the context {context} has no such partition"))
            .hint("see what is there: pupctl partitions list"));
    }
    let closed = |leaf: &Located<'_>| states.get(&leaf.relation.oid).is_some_and(|s| s.is_closed());
    found.retain(|leaf| !closed(leaf));
    Ok(found)
}

/// The leaves that words mean.
pub fn meant<'a>(catalog: &'a Catalog, words: &[String]) -> Result<Vec<Located<'a>>> {
    let mut found = Vec::new();
    for word in words {
        found.extend(resolve(catalog, word)?.leaves);
    }
    Ok(found)
}

/// A clock that lies before what the store has seen decides nothing.
pub fn refuse_clock(
    now: DateTime<Utc>,
    newest: Option<DateTime<Utc>>,
    grace: TimeDelta,
) -> Result<()> {
    match newest {
        Some(newest) if newest - now > grace => Err(Error::refused(format!(
            "the newest event is of {}, and the server's clock says {}",
            newest.format("%F %T UTC"),
            now.format("%F %T UTC")
        ))
        .hint("set the clock of the server right, or allow for the difference with --grace")),
        _ => Ok(()),
    }
}

fn past_since(month: Month, grace: TimeDelta) -> Option<DateTime<Utc>> {
    month.end().checked_add_signed(grace)
}

fn no_month(leaf: &Located<'_>) -> Error {
    if leaf.place.history().is_some() {
        return undivided(leaf);
    }
    Error::invalid(format!("{} is not the partition of a month", leaf.relation.name))
        .hint("only months come to an end; pupctl archive takes whole contexts out")
}

fn not_past(leaf: &Located<'_>, month: Month, grace: TimeDelta, now: DateTime<Utc>) -> Error {
    let at = |instant: DateTime<Utc>| instant.format("%F %T UTC");
    let end = at(month.end());
    let error =
        Error::refused(format!("{} is not past: {month} ends at {end}", leaf.relation.name))
            .detail(format!("the server's clock says {}", at(now)));
    match past_since(month, grace) {
        Some(from) => {
            error.hint(format!("close it from {} on, or with a shorter --grace", at(from)))
        }
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_the_newest_event_is_refused() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        let now = at("2026-11-21T12:00:00Z");
        let hour = TimeDelta::hours(1);
        assert!(refuse_clock(now, None, hour).is_ok());
        assert!(refuse_clock(now, Some(at("2026-11-21T12:59:00Z")), hour).is_ok());
        let error = refuse_clock(now, Some(at("2027-11-21T12:00:00Z")), hour).expect_err("a clock");
        assert!(error.message().contains("2027-11-21 12:00:00 UTC"), "{error}");
    }
}
