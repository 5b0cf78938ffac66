//! How near the store is to filling the server's lock table.

use crate::catalog::Catalog;
use crate::catalog::health::Keeps;
use crate::catalog::relation::Relation;
use crate::layout::bounds::Bound;
use crate::layout::levels::Level;
use crate::layout::{Layout, Role};
use crate::plan::budget;

use super::Finding;

/// A table of which one statement takes a large part of the lock table, long before the server
/// answers "out of shared memory".
#[must_use]
pub fn check(layout: &Layout, catalog: &Catalog) -> Vec<Finding> {
    let capacity = catalog.server.lock_table();
    let mut findings = Vec::new();
    for role in Role::ALL {
        let locks = catalog.locks_of(role);
        if locks * 100 < capacity * budget::WARN_PERCENT {
            continue;
        }
        let name = layout.table(&catalog.schema_name, role);
        let message = format!(
            "one statement that opens all partitions takes {locks} of the server's {capacity} \
             locks"
        );
        findings.push(
            Finding::warning("lock_budget", &name, message)
                .remedy(budget::raise(&catalog.server, locks)),
        );
    }
    findings
}

/// How far ahead a store is looked at, in months.
pub const MONTHS_AHEAD: usize = 24;

/// The same in two years, when every branch by month has 24 leaves more, less those that have
/// expired by then. Events alone have months.
#[must_use]
pub fn ahead(layout: &Layout, catalog: &Catalog, keeps: &Keeps) -> Option<Finding> {
    let events = catalog.events.as_ref()?;
    let capacity = catalog.server.lock_table();
    let now = catalog.locks_of(Role::Events);
    // What is told of today need not be told of tomorrow.
    if now * 100 >= capacity * budget::WARN_PERCENT {
        return None;
    }
    let new: usize = branches(&events.root, None)
        .into_iter()
        .map(|(branch, context)| grown(layout, catalog, keeps, branch, context))
        .sum();
    let leaf = events.root.leaves().map(|leaf| 1 + leaf.indexes.len()).max().unwrap_or_default();
    let locks = now + new * leaf.max(1 + Role::Events.indexes_per_leaf());
    if locks * 100 < capacity * budget::WARN_PERCENT {
        return None;
    }
    let leaves = events.root.leaves().count() + new;
    let message = format!(
        "in {MONTHS_AHEAD} months it has about {leaves} leaves, and one statement that opens all \
         of them takes {locks} of the server's {capacity} locks"
    );
    let finding = if locks > capacity {
        Finding::warning("lock_budget_ahead", &events.root.name, message)
    } else {
        Finding::notice("lock_budget_ahead", &events.root.name, message)
    };
    Some(finding.remedy(format!(
        "{}; or let months leave: a retention in pupctl.toml",
        budget::raise(&catalog.server, locks)
    )))
}

/// The branches that are divided by month, with the context that they hold.
fn branches<'a>(
    relation: &'a Relation,
    context: Option<&'a str>,
) -> Vec<(&'a Relation, Option<&'a str>)> {
    let context = relation.bound.as_ref().and_then(Bound::as_context).or(context);
    if relation.partition_key.as_ref() == Some(&Level::Month.partition_key()) {
        return vec![(relation, context)];
    }
    relation.partitions.iter().flat_map(|partition| branches(partition, context)).collect()
}

/// How many leaves a branch by month has more by then.
fn grown(
    layout: &Layout,
    catalog: &Catalog,
    keeps: &Keeps,
    branch: &Relation,
    context: Option<&str>,
) -> usize {
    let today = catalog.server.month();
    let then = today.plus(i32::try_from(MONTHS_AHEAD).unwrap_or(i32::MAX));
    let ready = i32::try_from(layout.months_ahead).unwrap_or(i32::MAX);
    let months = branch.months();
    let stays = |end| keeps.of(context).is_none_or(|time| !time.has_expired(end, then.start()));
    let have = months.iter().filter(|month| stays(month.end())).count();
    let wanted = today.through(then.plus(ready));
    let new = wanted.filter(|month| !months.contains(month) && stays(month.end())).count();
    (have + new).saturating_sub(months.len())
}
