//! What `archive --expired` takes out: months whose retention has run out, and kept tables whose
//! time is over.

use chrono::Utc;
use postgres::Client;

use crate::catalog::Catalog;
use crate::cli::output;
use crate::command::context::Context;
use crate::db::attach;
use crate::error::{Error, Result};
use crate::layout::bounds::Bound;
use crate::layout::place::Place;
use crate::layout::retention::Retention;
use crate::operation::archive::Item;
use crate::operation::archives::{Phase, Record};
use crate::plan::target::{Located, partitions, undivided};

use super::WhatArgs;
use super::items::{Wanted, joined};

/// How many tables one run drops unless told otherwise.
const DROPS_MAX: usize = 12;

/// How many tables this run may drop; none is as many as are meant.
pub(super) fn drops_max(args: &WhatArgs, context: &Context) -> Option<usize> {
    let max = args.max.or(context.config.archive.max).unwrap_or(DROPS_MAX);
    args.expired.then_some(max)
}

/// How far the clocks of the server and of this machine may be apart.
const CLOCKS_APART_MAX: chrono::TimeDelta = chrono::TimeDelta::hours(1);

/// What is due by the server's clock.
pub(super) fn items<'a>(
    args: &WhatArgs,
    context: &Context,
    catalog: &'a Catalog,
    records: &[Record],
) -> Result<Wanted<'a>> {
    refuse_wrong_clock(catalog)?;
    let now = catalog.server.now;
    let leaves = due(context, catalog)?;
    // What somebody else began, of what is not due, is his to finish.
    let mut begun = Vec::new();
    for record in records.iter().filter(|record| record.phase.is_unfinished()) {
        if is_due(context, catalog, &record.place)? {
            begun.push(record.clone());
        }
    }
    let mut items = joined(&leaves, &begun, catalog, args.drop);
    if args.drop {
        items.extend(kept(context, records, now)?);
    } else if let Some(kept_for) = context.config.drop_after()? {
        items.extend(over(records, kept_for, now));
    }
    Ok(items.into())
}

/// The months whose retention has run out.
fn due<'a>(context: &Context, catalog: &'a Catalog) -> Result<Vec<Located<'a>>> {
    let mut leaves = Vec::new();
    let mut without = Vec::new();
    let mut any = false;
    for leaf in partitions(catalog) {
        if !leaf.relation.is_leaf() {
            continue;
        }
        let name = leaf.place.context();
        let Some(retention) = context.config.retention(name)? else { continue };
        any = true;
        if let Some(before) = leaf.place.history() {
            // As long as a month of it is to be kept, it stays as it is.
            if retention.has_expired(before.start(), catalog.server.now) {
                return Err(undivided(&leaf));
            }
            continue;
        }
        match leaf.place.month() {
            Some(month) => {
                if retention.has_expired(month.end(), catalog.server.now) {
                    leaves.push(leaf);
                }
            }
            // What no other partition takes belongs to no month.
            None if leaf.relation.bound == Some(Bound::Default) => {}
            None => without.push(leaf.place.to_string()),
        }
    }
    if !without.is_empty() {
        return Err(Error::refused(format!(
            "a retention is set for partitions that are not divided by month: {}",
            output::at_most(without).join(", ")
        ))
        .hint(
            "divide them by month: pupctl convert start, or where the store is partitioned already \
             docs/how-to/copy-a-store.md; until then take them out by name, or set their retention \
             to \"forever\"",
        ));
    }
    refuse_unknown(context, catalog)?;
    if !any && context.config.drop_after()?.is_none() {
        return Err(Error::invalid("no retention is set: nothing ever expires")
            .hint("set retention = \"7 years\" in [archive] or in [[contexts]] of pupctl.toml"));
    }
    Ok(leaves)
}

/// Refuses a retention of contexts that the store does not have, or does not tell apart.
fn refuse_unknown(context: &Context, catalog: &Catalog) -> Result<()> {
    let Some(layout) = &catalog.layout else { return Ok(()) };
    let is_unknown = |name: &str| !layout.has_context_level() || layout.context(name).is_none();
    let mut unknown = context.config.contexts.iter().filter(|known| known.retention.is_some());
    let Some(unknown) = unknown.find(|known| is_unknown(&known.name)) else { return Ok(()) };
    let name = &unknown.name;
    let error = Error::invalid(format!(
        "pupctl.toml has a retention for the context {name}, which has no partition of its own"
    ));
    Err(error.hint("the contexts of the store: pupctl contexts list; for all events: [archive]"))
}

/// Whether the retention of a month has run out.
fn is_due(context: &Context, catalog: &Catalog, place: &Place) -> Result<bool> {
    let retention = context.config.retention(place.context())?;
    Ok(retention
        .zip(place.month())
        .is_some_and(|(retention, month)| retention.has_expired(month.end(), catalog.server.now)))
}

/// The kept tables of months whose retention has run out: an earlier run may have been interrupted
/// before it dropped them.
fn kept<'a>(
    context: &Context,
    records: &[Record],
    now: chrono::DateTime<Utc>,
) -> Result<Vec<Item<'a>>> {
    let mut items = Vec::new();
    for record in records.iter().filter(|record| record.phase == Phase::Published) {
        let (Some(month), Some(retention)) =
            (record.place.month(), context.config.retention(record.place.context())?)
        else {
            continue;
        };
        if retention.has_expired(month.end(), now) {
            items.push(Item { leaf: None, record: Some(record.clone()), drop: true });
        }
    }
    Ok(items)
}

/// The kept tables whose time is over.
fn over<'a>(
    records: &[Record],
    kept_for: Retention,
    now: chrono::DateTime<Utc>,
) -> impl Iterator<Item = Item<'a>> {
    let is_over = move |record: &&Record| {
        record.phase == Phase::Published
            && record.published_at.is_some_and(|at| kept_for.has_expired(at, now))
    };
    let records: Vec<_> = records.iter().filter(is_over).cloned().collect();
    records.into_iter().map(|record| Item { leaf: None, record: Some(record), drop: true })
}

/// Refuses to let anything expire by a clock that cannot be right.
fn refuse_wrong_clock(catalog: &Catalog) -> Result<()> {
    let (server, here) = (catalog.server.now, Utc::now());
    if (server - here).abs() > CLOCKS_APART_MAX {
        return Err(Error::refused(format!(
            "the clocks of the server ({}) and of this machine ({}) are far apart",
            server.format("%F %T UTC"),
            here.format("%F %T UTC")
        ))
        .hint("set the clock that is wrong: by it events would expire that are not old"));
    }
    Ok(())
}

/// The same for events of months that are to come: asked of the tables, as their statistics may be
/// of before.
pub(super) fn refuse_future(client: &mut Client, catalog: &Catalog) -> Result<()> {
    let (current, server) = (catalog.server.month(), catalog.server.now);
    let mut future = None;
    for leaf in partitions(catalog) {
        let is_to_come = leaf.place.month().is_some_and(|month| month > current);
        if leaf.relation.is_leaf() && is_to_come && !attach::is_empty(client, &leaf.relation.name)?
        {
            future = Some(leaf);
            break;
        }
    }
    let Some(future) = future else { return Ok(()) };
    Err(Error::refused(format!(
        "{} has events of a month that is to come: the server's clock ({}) is wrong, or theirs was",
        future.relation.name,
        server.format("%F %T UTC")
    ))
    .hint("nothing expires until that is put right; single months: pupctl archive 2025-01"))
}
