//! Plans how a partition that holds several months becomes months: the heap of a table that was
//! attached as it was, or any range of whole months.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::error::{Error, Result};
use crate::layout::bounds::Bound;
use crate::layout::desired::DesiredPartition;
use crate::layout::levels::Level;
use crate::layout::month::Month;
use crate::layout::months::{HISTORY_GAP, MONTHS_MAX};
use crate::layout::name::QualifiedName;
use crate::layout::place::Place;
use crate::layout::{Layout, Role};

use super::budget;
use super::lifecycle::LifecycleAction;
use super::step::{Plan, Step};
use super::target::{Located, resolve};
use super::transfer::{self, Shape, Site, Transfer};
use super::wanted::unfinished_mark;

/// How the comment on a partition begins that was split: all of its rows are in months now, and it
/// goes when that is proven.
pub const SPLIT_PREFIX: &str = "pupctl: split partition of ";

/// The same of one that is to stay when it is proven.
pub const KEPT_PREFIX: &str = "pupctl: split partition, to be kept, of ";

/// The comment on one that is proven, and stays.
#[must_use]
pub fn kept_comment(parent: &QualifiedName) -> String {
    format!("pupctl: every row is in the months of {parent}")
}

/// The partition that a word means, which holds more than one month.
pub fn site<'a>(catalog: &'a Catalog, word: &str) -> Result<Site<'a>> {
    let leaves = resolve(catalog, word)?.leaves;
    let (several, others): (Vec<_>, Vec<_>) =
        leaves.into_iter().partition(|leaf| last_months(leaf).is_some());
    match several.as_slice() {
        [only] => Ok(site_of(catalog, only)),
        [] => Err(nothing_to_split(word, &others)),
        many => Err(Error::invalid(format!("{word} means several partitions"))
            .details(many.iter().map(|leaf| format!("{} ({})", leaf.place, leaf.relation.name)))
            .hint("name one of them")),
    }
}

/// The first month that a range of several does not hold.
fn last_months(leaf: &Located<'_>) -> Option<Month> {
    let bound = leaf.relation.bound.as_ref()?;
    let of_months = || bound.as_months().filter(|_| bound.as_month().is_none());
    bound.as_history().or_else(|| of_months().map(|(_, before)| before))
}

fn nothing_to_split(word: &str, leaves: &[Located<'_>]) -> Error {
    let what = match leaves {
        [leaf] => match leaf.place.month() {
            Some(month) => format!("{} holds one month already ({month})", leaf.relation.name),
            None => format!("{} ({}) is no range of whole months", leaf.relation.name, leaf.place),
        },
        _ => format!("nothing in {word} holds several months"),
    };
    Error::refused(what).hint("see what partitions hold: pupctl partitions list")
}

fn site_of<'a>(catalog: &'a Catalog, leaf: &Located<'a>) -> Site<'a> {
    let mut ancestors = Vec::new();
    let mut at = catalog.events.as_ref().map(|events| &events.root);
    let (parents, _) = leaf.place.bounds().split_at(leaf.place.bounds().len().saturating_sub(1));
    for bound in parents {
        ancestors.extend(at);
        let is_it = |p: &&Relation| p.bound.as_ref() == Some(bound);
        at = at.and_then(|parent| parent.partitions.iter().find(is_it));
    }
    ancestors.push(leaf.parent);
    Site { role: Role::Events, ancestors, path: parents.to_vec(), partition: leaf.relation }
}

/// Where the partition is, as people write it.
#[must_use]
pub fn place(site: &Site<'_>) -> Place {
    let bound = site.partition.bound.iter().cloned();
    Place::new(site.path.iter().cloned().chain(bound).collect())
}

/// Drops what was copied.
#[must_use]
pub fn abort(site: &Site<'_>, stage: &Relation) -> Plan {
    let step = Step::new(
        format!("Drop {}, the copy of {}", stage.name.name, site.partition.name.name),
        "nobody reads it, and the partition has all of its rows; it takes changes of them again",
        vec![
            LifecycleAction::AcceptChanges(site.partition.name.clone()).into(),
            LifecycleAction::DropTable(stage.name.clone()).into(),
        ],
    );
    Plan { steps: vec![step], ..Plan::default() }
}

/// The stage of a split that was begun, where it is ours.
#[must_use]
pub fn begun<'a>(catalog: &'a Catalog, site: &Site<'_>) -> Option<&'a Relation> {
    let bound = site.partition.bound.as_ref()?;
    let mark = unfinished_mark(&site.parent().name, bound);
    let found = catalog.unfinished.iter().find(|unfinished| unfinished.mark == mark)?;
    Some(&found.branch).filter(|stage| stage.owner == site.parent().owner)
}

/// Plans the split of a partition with so many rows in its months, and so many that lie in no month
/// that can be a partition.
pub fn plan(
    layout: &Layout,
    catalog: &Catalog,
    site: &Site<'_>,
    held: &BTreeMap<Option<Month>, i64>,
    keep: bool,
) -> Result<Transfer> {
    refuse_unfit(layout, site)?;
    let Some(bound) = &site.partition.bound else {
        return Err(Error::refused(format!("{} is no partition", site.partition.name)));
    };
    let with_rows: BTreeSet<Month> = held.keys().copied().flatten().collect();
    let months = months(bound, &with_rows, catalog.server.month())?;
    refuse_too_many_locks(catalog, months.len())?;
    let mut wanted: Vec<_> =
        months.iter().map(|month| leaf(Bound::month(*month), month.suffix())).collect();
    let first = months.first().filter(|_| bound.as_history().is_some());
    let rest = first.map(|first| Bound::history(*first));
    if let (Some(rest), Some(first)) = (&rest, first) {
        wanted.insert(0, leaf(rest.clone(), format!("before_{}", first.suffix())));
    }
    let prefix = if keep { KEPT_PREFIX } else { SPLIT_PREFIX };
    let shape = Shape {
        bound: bound.clone(),
        stage: "split",
        retired: "before_split",
        comment: format!("{prefix}{}", site.parent().name.name),
        bulk: transfer::can_wait(site.parent()),
    };
    let mut transfer = transfer::plan(layout, catalog, site, &Level::Month, &wanted, shape)?;
    let is_rest = |(_, bound): &&(QualifiedName, Bound)| bound.as_history().is_some();
    transfer.rest = transfer.tops.iter().find(is_rest).map(|(name, _)| name.clone());
    transfer.rows = held.values().sum();
    transfer.keep = keep;
    transfer.rest_has_rows = held.contains_key(&None);
    Ok(transfer)
}

/// Refuses months that cannot all enter in one transaction: the server's lock table would be full,
/// for everybody.
fn refuse_too_many_locks(catalog: &Catalog, months: usize) -> Result<()> {
    let (locks, capacity) = (months * budget::LOCKS_PER_NEW_PARTITION, catalog.server.lock_table());
    if locks <= capacity / 2 {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{months} months enter in one transaction, which takes up to {locks} locks; the server's \
         lock table holds {capacity}, and half of it is left to others"
    ))
    .hint(budget::raise(&catalog.server, locks)))
}

fn leaf(bound: Bound, suffix: String) -> DesiredPartition {
    DesiredPartition { bound, suffix, level: None, key: true, partitions: Vec::new() }
}

/// Refuses what cannot be split as it is.
pub fn refuse_unfit(layout: &Layout, site: &Site<'_>) -> Result<()> {
    let name = &site.partition.name;
    let why = match transfer::level(layout, site) {
        Err(why) => Some(why),
        Ok(level) if level != Level::Month => {
            Some(format!("{} is not divided by month", site.parent().name))
        }
        Ok(_) if !has_positions(site.partition) => {
            Some("it has no index on global_position, by which its rows are copied".to_owned())
        }
        Ok(_) => None,
    };
    match why {
        None => Ok(()),
        Some(why) => Err(Error::refused(format!("{name} cannot be split: {why}"))
            .hint("pupctl partitions check says more")),
    }
}

fn has_positions(table: &Relation) -> bool {
    let is_it = |column: &String| column == "global_position";
    table.indexes.iter().any(|index| {
        index.valid
            && !index.partial
            && index.method == "btree"
            && index.columns.first().is_some_and(is_it)
    })
}

/// The months that are made: those with rows, the present ones, and what lies between two of them
/// where the hole is not longer than one that `partitions ensure` leaves. A range that has a first
/// month becomes all of its months.
fn months(bound: &Bound, with_rows: &BTreeSet<Month>, now: Month) -> Result<BTreeSet<Month>> {
    let too_many = |first: Month, last: Month| {
        Error::refused(format!("{first} to {last} are too many months"))
            .hint(format!("one command makes at most {MONTHS_MAX} months"))
    };
    if let Some((first, before)) = bound.as_months() {
        let last = before.plus(-1);
        if last.since(first) >= MONTHS_MAX {
            return Err(too_many(first, last));
        }
        return Ok(first.through(last).collect());
    }
    let Some(before) = bound.as_history() else { return Ok(BTreeSet::new()) };
    let last = before.plus(-1);
    let mut months: BTreeSet<Month> = with_rows.range(..before).copied().collect();
    months.extend(now.min(last).through(last));
    let mut holes = Vec::new();
    for (one, next) in months.iter().zip(months.iter().skip(1)) {
        if next.since(*one) - 1 <= HISTORY_GAP {
            holes.extend(one.through(*next));
        }
    }
    months.extend(holes);
    match (months.first(), i32::try_from(months.len())) {
        (Some(first), Ok(count)) if count >= MONTHS_MAX => Err(too_many(*first, last)),
        _ => Ok(months),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> Month {
        text.parse().expect("a month")
    }

    fn made(bound: &Bound, with_rows: &[&str]) -> String {
        let with_rows = with_rows.iter().map(|text| month(text)).collect();
        let months = months(bound, &with_rows, month("2026-11")).expect("months");
        months.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn small_holes_are_filled_and_long_ones_are_left() {
        let history = Bound::history(month("2026-04"));
        assert_eq!(
            made(&history, &["1970-01", "2025-12", "2026-02"]),
            "1970-01 2025-12 2026-01 2026-02 2026-03"
        );
        assert_eq!(made(&history, &[]), "2026-03");
        // What the clock says is kept ready.
        assert_eq!(made(&Bound::history(month("2027-02")), &[]), "2026-11 2026-12 2027-01");
    }

    #[test]
    fn a_range_becomes_all_of_its_months() {
        use crate::layout::bounds::Edge;
        let edge = |text: &str| Edge::At(month(text).start());
        let quarter = Bound::Range { from: edge("2026-01"), to: edge("2026-04") };
        assert_eq!(made(&quarter, &["2026-02"]), "2026-01 2026-02 2026-03");
    }
}
