//! Which partitions are meant by `analytics`, `events_2026_01`, `2026-01` or `Billing/2026-01`.

use crate::catalog::Catalog;
use crate::catalog::detached::Detached;
use crate::catalog::relation::Relation;
use crate::error::{Error, Result};
use crate::layout::month::Month;
use crate::layout::name::fold_context;
use crate::layout::place::Place;

/// How many candidates a message names.
const LISTED_MAX: usize = 10;

/// A partition of events in its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<'a> {
    /// The partition.
    pub relation: &'a Relation,
    /// What it is a partition of.
    pub parent: &'a Relation,
    /// The bounds that lead to it.
    pub place: Place,
}

/// What a word meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meant {
    /// A bounded context.
    Context(String),
    /// A month, in every context.
    Month(Month),
    /// One partition, by its name or its place.
    Partition,
}

/// The leaves that a word means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    /// What it meant.
    pub meant: Meant,
    /// The leaves, in the order of the tree.
    pub leaves: Vec<Located<'a>>,
}

/// Every partition of events, branches before what is below them.
#[must_use]
pub fn partitions(catalog: &Catalog) -> Vec<Located<'_>> {
    let mut found = Vec::new();
    if let Some(events) = &catalog.events {
        collect(&events.root, &Place::default(), &mut found);
    }
    found
}

fn collect<'a>(parent: &'a Relation, place: &Place, found: &mut Vec<Located<'a>>) {
    for relation in &parent.partitions {
        let Some(bound) = &relation.bound else { continue };
        let place = place.below(bound.clone());
        found.push(Located { relation, parent, place: place.clone() });
        collect(relation, &place, found);
    }
}

/// Finds what a word means: a partition's name, with or without the schema; a place as
/// `partitions list` shows it; a month; or a bounded context, also in another case where that is
/// not ambiguous.
pub fn resolve<'a>(catalog: &'a Catalog, word: &str) -> Result<Target<'a>> {
    let all = partitions(catalog);
    let mut found = Vec::new();
    for reading in [named, placed, of_month, of_context] {
        found.extend(reading(&all, word));
    }
    // A place of one level is a context or a month as well: the same leaves under two names.
    let mut distinct: Vec<Target<'a>> = Vec::new();
    for target in found {
        match distinct.iter_mut().find(|known| known.leaves == target.leaves) {
            Some(known) if known.meant == Meant::Partition => *known = target,
            Some(_) => {}
            None => distinct.push(target),
        }
    }
    match distinct.len() {
        1 => Ok(distinct.remove(0)),
        0 => Err(unknown(catalog, &all, word)),
        _ => Err(ambiguous(&distinct, word)),
    }
}

/// What is said of a partition that holds all months before one, where months are needed.
#[must_use]
pub fn undivided(leaf: &Located<'_>) -> Error {
    let name = &leaf.relation.name;
    Error::refused(format!("{name} holds more than one month ({})", leaf.place))
        .hint(format!("divide it first: pupctl partitions split {}", name.name))
}

fn below<'a>(all: &[Located<'a>], top: &Located<'a>) -> Vec<Located<'a>> {
    let leaves = top.relation.leaves().map(|leaf| leaf.oid);
    leaves.filter_map(|oid| all.iter().find(|one| one.relation.oid == oid).cloned()).collect()
}

fn named<'a>(all: &[Located<'a>], word: &str) -> Vec<Target<'a>> {
    let is_it = |one: &&Located<'_>| {
        one.relation.name.name == word || one.relation.name.to_string() == word
    };
    let target = |one| Target { meant: Meant::Partition, leaves: below(all, one) };
    all.iter().filter(is_it).map(target).collect()
}

fn placed<'a>(all: &[Located<'a>], word: &str) -> Vec<Target<'a>> {
    let target = |one| Target { meant: Meant::Partition, leaves: below(all, one) };
    let exact: Vec<_> =
        all.iter().filter(|one| one.place.to_string() == word).map(target).collect();
    if !exact.is_empty() {
        return exact;
    }
    // A context alone is found by its own reading.
    let is_like = |one: &&Located<'_>| {
        one.place.bounds().len() > 1 && one.place.to_string().to_lowercase() == word.to_lowercase()
    };
    all.iter().filter(is_like).map(target).collect()
}

fn of_month<'a>(all: &[Located<'a>], word: &str) -> Vec<Target<'a>> {
    let Ok(month) = word.parse::<Month>() else { return Vec::new() };
    let is_it = |one: &&Located<'_>| one.relation.is_leaf() && one.place.month() == Some(month);
    let leaves: Vec<_> = all.iter().filter(is_it).cloned().collect();
    if leaves.is_empty() { Vec::new() } else { vec![Target { meant: Meant::Month(month), leaves }] }
}

fn of_context<'a>(all: &[Located<'a>], word: &str) -> Vec<Target<'a>> {
    let tops = || {
        let is_top = |one: &&Located<'_>| one.place.bounds().len() == 1;
        all.iter().filter(is_top).filter_map(|one| Some((one, one.place.context()?)))
    };
    let target = |(one, context): (&Located<'a>, &str)| Target {
        meant: Meant::Context(context.to_owned()),
        leaves: below(all, one),
    };
    let exact: Vec<_> = tops().filter(|(_, context)| *context == word).map(target).collect();
    if !exact.is_empty() {
        return exact;
    }
    let folded = |(_, context): &(&Located<'_>, &str)| fold_context(context) == fold_context(word);
    tops().filter(folded).map(target).collect()
}

fn candidates(all: &[Located<'_>]) -> Vec<String> {
    let mut lines: Vec<_> = all
        .iter()
        .take(LISTED_MAX)
        .map(|one| format!("{} ({})", one.place, one.relation.name))
        .collect();
    if all.len() > LISTED_MAX {
        lines.push(format!("and {} more", all.len() - LISTED_MAX));
    }
    lines
}

fn unknown(catalog: &Catalog, all: &[Located<'_>], word: &str) -> Error {
    let similar = |one: &&Located<'_>| {
        let needle = fold_context(word);
        fold_context(&one.place.to_string()).contains(&needle)
            || one.relation.name.name.contains(&needle)
    };
    let like: Vec<_> = all.iter().filter(similar).cloned().collect();
    let error = Error::invalid(format!("the store has no context, partition or month {word}"));
    if all.is_empty() {
        let schema = &catalog.schema_name;
        return error.hint(format!("the table of events in schema {schema} is not partitioned"));
    }
    let is_meant = |one: &&Detached| {
        one.name.name == word
            || one.place.to_string().to_lowercase() == word.to_lowercase()
            || one.place.context().is_some_and(|name| fold_context(name) == fold_context(word))
            || one.place.month().is_some_and(|month| month.to_string() == word)
    };
    let detached: Vec<_> = catalog.detached.iter().filter(is_meant).collect();
    if let Some(first) = detached.first() {
        let lines = detached.iter().map(|one| format!("{} was detached: {}", one.place, one.name));
        let name = &first.name.name;
        return error
            .details(lines.take(LISTED_MAX))
            .hint(format!("bring it back first: pupctl partitions attach {name}"));
    }
    let listed = if like.is_empty() { all } else { &like };
    error.details(candidates(listed)).hint("see what is there: pupctl partitions list")
}

fn ambiguous(found: &[Target<'_>], word: &str) -> Error {
    let lines = found.iter().map(|target| {
        let leaves: Vec<_> =
            target.leaves.iter().map(|leaf| leaf.relation.name.to_string()).collect();
        let what = match &target.meant {
            Meant::Context(name) => format!("the context {name}"),
            Meant::Month(month) => format!("the month {month}"),
            Meant::Partition => "the partition".to_owned(),
        };
        match leaves.as_slice() {
            [only] => format!("{what}, {only}"),
            [first, .., last] => format!("{what}, {first} to {last}"),
            [] => what,
        }
    });
    let lines: Vec<_> = lines.collect();
    Error::invalid(format!("{word} can mean more than one thing"))
        .details(lines)
        .hint("name the partition with its schema, or the context as events carry it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::handmade::relation_with as relation;
    use crate::layout::bounds::Bound;

    fn month(text: &str) -> Bound {
        Bound::month(text.parse().expect("a month"))
    }

    fn catalog() -> Catalog {
        let months = |oid: u32, base: &str| {
            vec![
                relation(oid, &format!("{base}_2026_01"), Some(month("2026-01")), vec![]),
                relation(oid + 1, &format!("{base}_2026_02"), Some(month("2026-02")), vec![]),
            ]
        };
        let branch = |oid, name: &str, context: &str| {
            relation(oid, name, Some(Bound::context(context)), months(oid + 1, name))
        };
        let root = relation(
            1,
            "events",
            None,
            vec![
                branch(10, "events_billing", "Billing"),
                branch(20, "events_billing_x", "billing"),
                branch(30, "events_analytics", "Analytics"),
            ],
        );
        Catalog {
            events: Some(crate::catalog::Table { root, columns: vec![] }),
            ..Catalog::default()
        }
    }

    fn leaves(word: &str) -> Vec<u32> {
        let catalog = catalog();
        let target = resolve(&catalog, word).expect(word);
        target.leaves.iter().map(|leaf| leaf.relation.oid).collect()
    }

    #[test]
    fn a_word_is_a_context_a_month_a_partition_or_a_place() {
        assert_eq!(leaves("analytics"), [31, 32]);
        assert_eq!(leaves("Billing"), [11, 12]);
        assert_eq!(leaves("2026-01"), [11, 21, 31]);
        assert_eq!(leaves("events_billing_x_2026_02"), [22]);
        assert_eq!(leaves("Billing/2026-02"), [12]);
    }

    #[test]
    fn what_is_not_there_is_told_with_what_is() {
        let catalog = catalog();
        let error = resolve(&catalog, "BILLING").expect_err("two contexts");
        assert_eq!(error.message(), "BILLING can mean more than one thing");
        let error = resolve(&catalog, "2025-01").expect_err("no such month");
        assert!(error.message().contains("no context, partition or month"), "{error}");
        assert!(!error.detail_lines().is_empty());
    }
}
