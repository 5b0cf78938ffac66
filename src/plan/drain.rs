//! Plans how rows leave a DEFAULT partition for partitions of their own.
//!
//! As long as DEFAULT has rows of a partition, the server refuses to attach it, and a row must
//! never be without a place. So they are [transferred](super::transfer).

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::error::Result;
use crate::layout::bounds::Bound;
use crate::layout::desired::DesiredPartition;
use crate::layout::levels::Level;
use crate::layout::month::Month;
use crate::layout::name::{self, QualifiedName};
use crate::layout::{Context, Layout, Needs, Role};

use super::contexts::refuse_months_below_a_key;
use super::transfer::{self, Shape, Site, Transfer};
use super::{ensure, wanted};

/// How the comment on a DEFAULT partition begins that was taken out of its table: all of its rows
/// are in partitions now, and it goes when that is proven.
pub const DRAINED_PREFIX: &str = "pupctl: drained DEFAULT of ";

/// What the name of the new DEFAULT partition ends with until it takes the place of the old one.
const NEXT_DEFAULT: &str = "default_next";

/// Rows of a DEFAULT partition that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Their context.
    pub context: String,
    /// Their month; none for heads, and for a time that lies in no month that can be a partition.
    pub month: Option<Month>,
    /// How many.
    pub rows: i64,
}

/// Rows that stay in DEFAULT, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The partition.
    pub default: QualifiedName,
    /// What they are, for example `the context Shop`.
    pub what: String,
    /// How many.
    pub rows: i64,
    /// Why they stay.
    pub why: String,
}

/// Every DEFAULT partition of a store.
#[must_use]
pub fn sites(catalog: &Catalog) -> Vec<Site<'_>> {
    let mut found = Vec::new();
    for role in Role::ALL {
        let Some(table) = catalog.table(role) else { continue };
        collect(role, &[], &[], &table.root, &mut found);
    }
    found
}

fn collect<'a>(
    role: Role,
    above: &[&'a Relation],
    path: &[Bound],
    parent: &'a Relation,
    found: &mut Vec<Site<'a>>,
) {
    let ancestors = [above, &[parent]].concat();
    for partition in &parent.partitions {
        let Some(bound) = &partition.bound else { continue };
        if *bound == Bound::Default {
            let (ancestors, path) = (ancestors.clone(), path.to_vec());
            found.push(Site { role, ancestors, path, partition });
        } else {
            let path = [path, std::slice::from_ref(bound)].concat();
            collect(role, &ancestors, &path, partition, found);
        }
    }
}

/// The layout with contexts that it does not know yet. A name that cannot be one of a context is
/// left out, with its rows.
pub fn with_contexts(layout: &Layout, catalog: &Catalog, new: Vec<Context>) -> Result<Layout> {
    let mut contexts = layout.contexts.clone();
    contexts.extend(new.into_iter().filter(|new| name::validate_context(&new.name).is_ok()));
    let wanted =
        Layout::new(layout.tables.clone(), layout.levels.clone(), contexts, layout.months_ahead)?
            .protected(layout.protections);
    refuse_months_below_a_key(&wanted, catalog)?;
    Ok(wanted)
}

/// The contexts of rows in DEFAULT that the layout does not know, where it divides by context.
#[must_use]
pub fn unknown_contexts(layout: &Layout, surveyed: &[(Site<'_>, Vec<Held>)]) -> BTreeSet<String> {
    // Below a context there are no rows of others.
    let is_root = |(site, _): &&(Site<'_>, Vec<Held>)| site.path.is_empty();
    let names = surveyed.iter().filter(is_root).flat_map(|(_, held)| held).map(|h| &h.context);
    let unknown = |name: &&String| layout.has_context_level() && layout.context(name).is_none();
    names.filter(unknown).cloned().collect()
}

/// Plans what can leave a DEFAULT partition. Gives back what stays, too.
pub fn plan(
    layout: &Layout,
    catalog: &Catalog,
    site: &Site<'_>,
    held: &[Held],
) -> Result<(Option<Transfer>, Vec<Left>)> {
    let mut sorting = Sorting { site, left: Vec::new(), wanted: Vec::new(), rows: 0 };
    let level = match transfer::level(layout, site) {
        Ok(level) => level,
        Err(why) => {
            let rows = held.iter().map(|held| held.rows).sum();
            sorting.leave("all rows", rows, why);
            return Ok((None, sorting.left));
        }
    };
    let mut contexts = Vec::new();
    if level == Level::Context {
        contexts = sorting.by_context(layout, catalog, held)?;
    } else {
        sorting.by_month(held);
    }
    if sorting.wanted.is_empty() {
        return Ok((None, sorting.left));
    }
    let Sorting { left, mut wanted, rows, .. } = sorting;
    if site.role == Role::Events {
        wanted.push(leaf(Bound::Default));
    }
    let parent = site.parent();
    let shape = Shape {
        bound: Bound::Default,
        stage: "drain",
        retired: "drained",
        comment: format!("{DRAINED_PREFIX}{}", parent.name.name),
        bulk: false,
    };
    let transfer = transfer::plan(layout, catalog, site, &level, &wanted, shape)?;
    Ok((Some(Transfer { contexts, rows, ..transfer }), left))
}

/// What leaves, and what stays.
struct Sorting<'a, 'b> {
    site: &'a Site<'b>,
    left: Vec<Left>,
    wanted: Vec<DesiredPartition>,
    rows: i64,
}

impl Sorting<'_, '_> {
    fn leave(&mut self, what: impl Into<String>, rows: i64, why: impl Into<String>) {
        let default = self.site.partition.name.clone();
        self.left.push(Left { default, what: what.into(), rows, why: why.into() });
    }

    /// The partition that lies across the bounds of a wanted one.
    fn in_the_way(&self, bound: &Bound) -> Option<String> {
        let parent = self.site.ancestors.last()?;
        let across = |other: &&Relation| {
            other.bound.as_ref().is_some_and(|b| *b != Bound::Default && b.overlaps(bound))
        };
        let other = parent.partitions.iter().find(across)?;
        Some(format!("the partition {} lies across its bounds", other.name))
    }

    fn by_month(&mut self, held: &[Held]) {
        let mut months: BTreeMap<Option<Month>, i64> = BTreeMap::new();
        for held in held {
            *months.entry(held.month).or_default() += held.rows;
        }
        for (month, rows) in months {
            let Some(month) = month else {
                let why = "their created_at lies in no month that can be a partition";
                self.leave("times", rows, why);
                continue;
            };
            let bound = Bound::month(month);
            if let Some(why) = self.in_the_way(&bound) {
                self.leave(format!("the month {month}"), rows, why);
                continue;
            }
            let suffix = month.suffix();
            self.want(DesiredPartition { suffix, ..leaf(bound) }, rows);
        }
    }

    fn want(&mut self, wanted: DesiredPartition, rows: i64) {
        self.wanted.push(wanted);
        self.rows += rows;
    }

    /// Gives back the contexts that leave.
    fn by_context(
        &mut self,
        layout: &Layout,
        catalog: &Catalog,
        held: &[Held],
    ) -> Result<Vec<String>> {
        let mut contexts: BTreeMap<&str, Vec<&Held>> = BTreeMap::new();
        for held in held {
            contexts.entry(&held.context).or_default().push(held);
        }
        let mut leaving = Vec::new();
        let mut needs = Needs::new();
        for (context, held) in contexts {
            let rows = held.iter().map(|held| held.rows).sum();
            match self.stays(layout, context, &held) {
                Some(why) => self.leave(format!("the context {context}"), rows, why),
                None => {
                    leaving.push((context.to_owned(), rows));
                    for held in &held {
                        needs.insert(context, held.month);
                    }
                }
            }
        }
        let months = ensure::months(catalog, layout.months_ahead, None)?;
        let months = if layout.has_month_level() { months.needing(&needs)? } else { months };
        let all = wanted::partitions(layout, catalog, self.site.role, &months);
        for partition in all {
            let is_it =
                |(name, _): &&(String, i64)| partition.bound == Bound::context(name.as_str());
            if let Some(rows) = leaving.iter().find(is_it).map(|(_, rows)| *rows) {
                self.want(partition, rows);
            }
        }
        Ok(leaving.into_iter().map(|(context, _)| context).collect())
    }

    fn stays(&self, layout: &Layout, context: &str, held: &[&Held]) -> Option<String> {
        let role = self.site.role;
        let Some(known) = layout.context(context) else {
            return Some(match name::validate_context(context) {
                Ok(()) => "the layout does not know it: --add-contexts makes it known".to_owned(),
                Err(error) => format!("it cannot be a context of the layout: {error}"),
            });
        };
        if layout.levels_below(role, known).contains(&Level::Month)
            && held.iter().any(|held| held.month.is_none())
        {
            return Some("it has times that lie in no month that can be a partition".to_owned());
        }
        self.in_the_way(&Bound::context(context))
    }
}

fn leaf(bound: Bound) -> DesiredPartition {
    let suffix = NEXT_DEFAULT.to_owned();
    DesiredPartition { bound, suffix, level: None, key: true, partitions: Vec::new() }
}
