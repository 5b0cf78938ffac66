//! The strategy that copies nothing: the old table becomes a partition of a new one.
//!
//! Divided by month it becomes the partition of everything before a month that is still to come,
//! the cutover; divided by context it becomes the partition of the only context. Everything that
//! takes long is done while it is in use: a CHECK that proves its bounds, keys and indexes that
//! partitions have. In the swap nothing is read or built.

use chrono::{DateTime, TimeDelta, Utc};

use crate::catalog::relation::Relation;
use crate::catalog::{Catalog, missing_keys_at};
use crate::error::{Error, Result};
use crate::layout::bounds::Bound;
use crate::layout::levels::Level;
use crate::layout::month::Month;
use crate::layout::name::{self, QualifiedName};
use crate::layout::{Layout, Role};
use crate::plan::lifecycle::{BoundsCheck, Condition};

use super::survey::Survey;
use super::{Replaced, Target};

/// From the time when events of the cutover's month come, the old table would refuse them: so the
/// cutover is at least this far ahead when it is chosen.
const AHEAD: TimeDelta = TimeDelta::days(7);

/// When the cutover is as near as this, another one is chosen before anything else is done.
pub const NEAR: TimeDelta = TimeDelta::hours(1);

/// What the old table of events is called when it is a partition of a table by month.
const HISTORY: &str = "history";

/// An old table on its way to be a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heap {
    /// The tables.
    pub table: Replaced,
    /// What it will hold.
    pub bound: Bound,
    /// What proves that it holds nothing else.
    pub check: BoundsCheck,
    /// What is built on it before, while it is in use.
    pub builds: Vec<HeapIndex>,
    /// The primary key that makes room for another one.
    pub old_primary: Option<String>,
    /// The index of which the primary key is made.
    pub primary: Option<String>,
    /// Unique constraints that the primary key repeats.
    pub redundant: Vec<String>,
}

/// An index that partitions have and the old table has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeapIndex {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<&'static str>,
    /// Whether it is a key.
    pub unique: bool,
    /// Whether it is the one on time.
    pub brin: bool,
    /// How far it is.
    pub state: IndexState,
}

/// How far an index is that is built before the swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexState {
    /// Nobody has built it.
    Missing,
    /// A build of it failed.
    Broken,
    /// It is there, valid.
    Done,
}

/// Refuses layouts for which the old table cannot be a partition.
pub fn refuse_unfit(layout: &Layout, survey: &Survey) -> Result<()> {
    let contexts: std::collections::BTreeSet<_> =
        survey.parts.iter().map(|part| part.context.as_str()).collect();
    let copy = "copy the events instead: --strategy copy";
    if layout.keeps_event_ids() {
        return Err(Error::refused("the ids of the old table's events would not be kept")
            .detail("they are collected while events are copied")
            .hint(format!("leave out --event-ids; or {copy}")));
    }
    match layout.levels.as_slice() {
        [Level::Month] => Ok(()),
        [Level::Context] => {
            let own = layout.contexts.iter().any(|context| context.levels.is_some());
            if contexts.len() <= 1 && layout.contexts.len() <= 1 && !own {
                return Ok(());
            }
            Err(Error::refused(
                "the old table can be the partition of one context, and there are more",
            )
            .details(contexts.into_iter().map(str::to_owned))
            .hint(copy))
        }
        _ => Err(Error::refused(format!(
            "the old table cannot be a partition of a store divided by {}",
            layout.partition_by()
        ))
        .hint(format!("attach it by month or by context; or {copy}"))),
    }
}

/// The first month that the old table does not hold: in the future, and after every event.
#[must_use]
pub fn cutover(now: DateTime<Utc>, survey: &Survey) -> Month {
    let current = Month::of(now).unwrap_or(Month::EPOCH);
    let next = current.plus(1);
    let next = if next.start() - now < AHEAD { next.plus(1) } else { next };
    // A client with a clock of its own may be ahead.
    survey.months().map_or(next, |(_, last)| next.max(last.plus(1)))
}

/// The target with the names that the old tables have as partitions.
#[must_use]
pub fn named(target: Target, catalog: &Catalog) -> Target {
    let suffix = match target.layout.contexts.as_slice() {
        [only] if target.layout.has_context_level() => name::fold_context(&only.name),
        _ => HISTORY.to_owned(),
    };
    let tables = target.tables.into_iter().map(|table| {
        let plain = name::joined(&table.current.name, &suffix);
        let taken = catalog.other_names.contains(&plain);
        let name = if taken { name::hashed(&plain, "converted") } else { plain };
        Replaced { retired: table.current.sibling(name), ..table }
    });
    Target { tables: tables.collect(), layout: target.layout }
}

/// What an old table will hold.
#[must_use]
pub fn bound(layout: &Layout, cutover: Option<DateTime<Utc>>) -> Option<Bound> {
    match cutover.and_then(Month::starting_at) {
        Some(month) => Some(Bound::history(month)),
        None => layout.contexts.first().map(|context| Bound::context(&context.name)),
    }
}

/// What has to be done with an old table.
#[must_use]
pub fn heap(layout: &Layout, table: &Replaced, old: &Relation, bound: &Bound) -> Heap {
    let role = table.role;
    let column = if bound.is_range() { "created_at" } else { "bounded_context" };
    let condition = Condition { columns: vec![column.to_owned()], bound: bound.clone(), parent: 0 };
    let key: Vec<&'static str> = role.key_columns().to_vec();
    let other_primary = old.other_primary_key(role.key_columns()).map(|index| index.name.clone());
    let has_primary =
        old.indexes.iter().any(|index| index.primary && index.is_key_on(role.key_columns()));
    // The parent's primary key asks for one on the partition.
    let needs_primary = layout.root_has_key(role) && !has_primary;
    let mut heap = Heap {
        table: table.clone(),
        bound: bound.clone(),
        check: BoundsCheck(vec![condition]),
        builds: Vec::new(),
        old_primary: other_primary.clone().filter(|_| needs_primary),
        primary: None,
        redundant: Vec::new(),
    };
    let mut wanted = missing_keys_at(old, role, Some(bound));
    if needs_primary {
        wanted.retain(|columns| *columns != key);
        let index = heap.index(old, "pkey", key, true, false);
        heap.primary = Some(index.name.clone());
        heap.builds.push(index);
        // What the old primary key alone has kept unique.
        for &column in role.unique_columns() {
            let mut others = old.indexes.iter().filter(|index| !index.primary);
            if !others.any(|index| index.is_key_on(&[column]))
                && !wanted.iter().any(|columns| columns == &[column])
            {
                wanted.push(vec![column]);
            }
        }
        heap.redundant = repeated(old, role, heap.primary.as_deref());
    }
    for columns in wanted {
        let ending = format!("{}_key", columns.join("_"));
        let index = heap.index(old, &ending, columns, true, false);
        heap.builds.push(index);
    }
    let (column, method) = match role {
        Role::Events => ("created_at", "brin"),
        Role::Heads => ("updated_at", "btree"),
    };
    let own = name::joined(&table.retired.name, &format!("{column}_idx"));
    let there =
        |index: &&crate::catalog::index::Index| index.is_on(method, &[column]) && index.name != own;
    if !old.indexes.iter().any(|index| there(&index)) {
        let ending = format!("{column}_idx");
        let index = heap.index(old, &ending, vec![column], false, method == "brin");
        heap.builds.push(index);
    }
    heap
}

/// The unique indexes that repeat the primary key to come, apart from the one of which it is made.
fn repeated(old: &Relation, role: Role, primary: Option<&str>) -> Vec<String> {
    old.indexes
        .iter()
        .filter(|index| index.is_key_on(role.key_columns()) && Some(index.name.as_str()) != primary)
        .map(|index| index.name.clone())
        .collect()
}

impl Heap {
    fn index(
        &self,
        old: &Relation,
        ending: &str,
        columns: Vec<&'static str>,
        unique: bool,
        brin: bool,
    ) -> HeapIndex {
        let name = name::joined(&self.table.retired.name, ending);
        let there = old.indexes.iter().find(|index| index.name == name);
        let state = match there.map(|index| index.valid) {
            None => IndexState::Missing,
            Some(false) => IndexState::Broken,
            Some(true) => IndexState::Done,
        };
        HeapIndex { name, columns, unique, brin, state }
    }

    /// The names of the indexes that were built for the conversion, which go when it is called off.
    pub fn built<'a>(&'a self, old: &'a Relation) -> impl Iterator<Item = QualifiedName> + 'a {
        let is_ours = |name: &String| self.builds.iter().any(|build| build.name == *name);
        let names = old.indexes.iter().map(|index| &index.name).filter(move |name| is_ours(name));
        names.map(|name| self.table.current.sibling(name.as_str()))
    }
}
