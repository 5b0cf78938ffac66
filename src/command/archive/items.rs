//! Which leaves, and which archives that an earlier run began, a request means.

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::layout::name::fold_context;
use crate::layout::{Context, Layout};
use crate::operation::archive::{HEADS, Item};
use crate::operation::archives::{Phase, Record};
use crate::plan::target::{Located, Meant, Target, partitions, resolve, undivided};

use super::WhatArgs;

/// What a request means.
#[derive(Debug, Default)]
pub(super) struct Wanted<'a> {
    /// What is to be done.
    pub(super) items: Vec<Item<'a>>,
    /// Why there is nothing, where an earlier run did it.
    pub(super) done: Option<String>,
    /// The context that is to be retired.
    pub(super) retire: Option<String>,
}

impl<'a> From<Vec<Item<'a>>> for Wanted<'a> {
    fn from(items: Vec<Item<'a>>) -> Self {
        Self { items, ..Self::default() }
    }
}

/// The leaves and archives that a word means, and the context that it retires.
pub(super) fn of_word<'a>(
    args: &WhatArgs,
    word: &str,
    layout: &Layout,
    catalog: &'a Catalog,
    records: &[Record],
) -> Result<Wanted<'a>> {
    let context = if args.retire { Some(retired(word, layout, catalog)?) } else { None };
    let found = match of_leaves(args, word, catalog, records) {
        Ok(found) => found,
        // All of it has left before; the rest may be to do.
        Err(_) if context.is_some() => Wanted::default(),
        Err(error) => return Err(error),
    };
    let is_done = |name: &String| {
        let is_retired = layout.context(name).is_some_and(|known| known.retired);
        let has_branch = partitions(catalog).iter().any(|one| one.place.context() == Some(name));
        let heads = catalog.archived_heads.iter().any(|place| place.context() == Some(name));
        // Heads that were taken out, and are in no proven file yet.
        let begun = records.iter().any(|record| {
            record.role == HEADS
                && record.place.context() == Some(name)
                && (record.phase.is_unfinished() || args.drop && record.phase == Phase::Published)
        });
        is_retired && !has_branch && ((heads && !begun) || !args.with_heads)
    };
    Ok(Wanted { retire: context.filter(|name| !is_done(name)), ..found })
}

/// The context that a word means, where it can be retired.
fn retired(word: &str, layout: &Layout, catalog: &Catalog) -> Result<String> {
    let folded = |known: &&Context| fold_context(&known.name) == fold_context(word);
    let known =
        layout.context(word).or_else(|| layout.contexts.iter().find(folded)).ok_or_else(|| {
            Error::invalid(format!("{word} is no context of the store: only contexts are retired"))
                .hint("leave out --retire; the contexts: pupctl contexts list")
        })?;
    if !layout.has_context_level() {
        return Err(Error::refused("the store is not divided by context: none can be retired")
            .hint("leave out --retire"));
    }
    if catalog.events.as_ref().is_some_and(|events| events.root.default_partition().is_some()) {
        return Err(Error::refused(
            "the DEFAULT partition would take the events of a context that is retired",
        )
        .hint("leave out --retire, or drop the DEFAULT partition first"));
    }
    Ok(known.name.clone())
}

fn of_leaves<'a>(
    args: &WhatArgs,
    word: &str,
    catalog: &'a Catalog,
    records: &[Record],
) -> Result<Wanted<'a>> {
    // A context of that very name is meant, and none that is called so in another case: with --drop
    // its kept tables would go.
    let exact = catalog.layout.as_ref().is_some_and(|layout| layout.context(word).is_some());
    let is_other = |record: &Record| {
        let names = [&record.name, &record.leaf, &record.table_name];
        exact && record.place.context() != Some(word) && names.iter().all(|name| *name != word)
    };
    let is_meant = |record: &&Record| record.is_meant_by(word) && !is_other(record);
    let meant: Vec<_> = records.iter().filter(is_meant).collect();
    let unfinished = |record: &&&Record| record.phase.is_unfinished();
    let kept = |record: &&&Record| record.phase == Phase::Published;
    let begun: Vec<_> = meant.iter().filter(unfinished).map(|r| (*r).clone()).collect();
    // Those that were archived before, and only wait for this.
    let kept = meant.iter().filter(|record| args.drop && kept(record));
    let item = |record: &&Record| Item { leaf: None, record: Some((*record).clone()), drop: true };
    let kept: Vec<_> = kept.map(item).collect();
    let leaves = match resolve(catalog, word).and_then(|target| leaving(args, &target, catalog)) {
        Ok(leaves) => leaves,
        Err(_) if !begun.is_empty() || !kept.is_empty() => Vec::new(),
        Err(error) => {
            let done = meant.last().map(|record| gone(record));
            return done
                .map_or(Err(error), |done| Ok(Wanted { done: Some(done), ..Wanted::default() }));
        }
    };
    Ok([kept, joined(&leaves, &begun, catalog, args.drop)].concat().into())
}

/// What is to be archived of a store whose months have run out; those that were begun first.
pub(super) fn joined<'a>(
    leaves: &[Located<'a>],
    begun: &[Record],
    catalog: &'a Catalog,
    drop: bool,
) -> Vec<Item<'a>> {
    let all = partitions(catalog);
    // The leaf at the place of one that was begun is the one that took its place.
    let is_taken = |leaf: &&Located<'_>| !begun.iter().any(|record| record.place == leaf.place);
    let fresh: Vec<_> = leaves.iter().filter(is_taken).cloned().collect();
    let mut items: Vec<Item<'a>> = begun
        .iter()
        .map(|record| Item {
            leaf: all.iter().find(|leaf| leaf.relation.oid == record.table_oid).cloned(),
            record: Some(record.clone()),
            drop,
        })
        .collect();
    items.extend(fresh.into_iter().map(|leaf| Item { leaf: Some(leaf), record: None, drop }));
    items
}

/// Leaves out the leaves that took the places of those that an interrupted run of the same request
/// has archived already: it would have been done with them.
pub(super) fn without_done<'a>(
    items: Vec<Item<'a>>,
    oids: &[u32],
    records: &[Record],
) -> Vec<Item<'a>> {
    let is_done = |record: &&Record| {
        oids.contains(&record.table_oid)
            && matches!(record.phase, Phase::Published | Phase::Dropped | Phase::Copied)
    };
    let done: Vec<_> = records.iter().filter(is_done).collect();
    let is_new = |item: &Item<'_>| match (&item.leaf, &item.record) {
        (Some(leaf), None) => !done.iter().any(|record| record.place == leaf.place),
        _ => true,
    };
    items.into_iter().filter(is_new).collect()
}

/// The leaves of a target that leave: of a whole context only the months that are over.
fn leaving<'a>(
    args: &WhatArgs,
    target: &Target<'a>,
    catalog: &Catalog,
) -> Result<Vec<Located<'a>>> {
    if let Some(history) = target.leaves.iter().find(|leaf| leaf.place.history().is_some()) {
        return Err(undivided(history));
    }
    let current = catalog.server.month();
    // A branch by its name or its place means the same as its context.
    let context = match &target.meant {
        Meant::Context(context) => context.as_str(),
        Meant::Partition if target.leaves.len() > 1 => "",
        _ => return Ok(target.leaves.clone()),
    };
    if args.all || args.retire {
        return Ok(target.leaves.clone());
    }
    let is_over = |leaf: &&Located<'_>| leaf.place.month().is_none_or(|month| month < current);
    let leaves: Vec<_> = target.leaves.iter().filter(is_over).cloned().collect();
    if leaves.is_empty() && !target.leaves.is_empty() {
        let whose =
            if context.is_empty() { String::new() } else { format!(" of the context {context}") };
        return Err(Error::refused(format!("no month{whose} is over"))
            .hint("archive the current one too, with an empty one in its place: --all"));
    }
    Ok(leaves)
}

/// What has become of something that is not in the store any more.
fn gone(record: &Record) -> String {
    let Record { name, place, phase, .. } = record;
    match phase {
        Phase::Restored | Phase::Aborted | Phase::Copied => {
            format!("{place} is not in the store, and its archive {name} is {phase}")
        }
        _ => format!("{place} left the store already: its archive {name} is {phase}"),
    }
}
