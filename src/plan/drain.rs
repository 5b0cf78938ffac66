//! Plans how rows leave a DEFAULT partition for partitions of their own.
//!
//! As long as DEFAULT has rows of a partition, the server refuses to attach it, and a row must
//! never be without a place. So partitions are built below a *stage*, a table beside the tree that
//! is divided like the parent, and rows are copied there; in the end all change places at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::Catalog;
use crate::catalog::relation::{Relation, RelationKind, ReplicaIdentity};
use crate::error::{Error, Result};
use crate::layout::bounds::Bound;
use crate::layout::desired::DesiredPartition;
use crate::layout::levels::Level;
use crate::layout::month::Month;
use crate::layout::name::{self, QualifiedName};
use crate::layout::protection::Trigger;
use crate::layout::{Context, Layout, Needs, Role};

use super::contexts::refuse_months_below_a_key;
use super::ensure;
use super::lifecycle::{BOUNDS_CHECK, BoundsCheck, Condition, LifecycleAction};
use super::step::{Action, NewPartition, Step};
use super::wanted::{self, unfinished_mark};

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

/// A DEFAULT partition in its tree.
#[derive(Debug, Clone)]
pub struct Site<'a> {
    /// Of which table.
    pub role: Role,
    /// The tables from the root down to the parent.
    pub ancestors: Vec<&'a Relation>,
    /// The bounds that lead to the parent.
    pub path: Vec<Bound>,
    /// The partition.
    pub default: &'a Relation,
}

/// How a DEFAULT partition is drained.
#[derive(Debug, Clone)]
pub struct Drain {
    /// Of which table.
    pub role: Role,
    /// The tables from the root down to the parent: whoever writes to DEFAULT has locked one.
    pub ancestors: Vec<QualifiedName>,
    /// The DEFAULT partition.
    pub default: QualifiedName,
    /// Its name when it is drained.
    pub drained: QualifiedName,
    /// The table beside the tree below which the new partitions are built.
    pub stage: QualifiedName,
    /// The partitions that come into the tree, with what they hold.
    pub tops: Vec<(QualifiedName, Bound)>,
    /// The next DEFAULT, for events.
    pub next: Option<QualifiedName>,
    /// Every table below the stage.
    pub tables: Vec<QualifiedName>,
    /// The triggers that these get.
    pub triggers: Vec<Trigger>,
    /// The contexts that leave, for heads.
    pub contexts: Vec<String>,
    /// How many rows leave.
    pub rows: i64,
    /// What an earlier run left and this one has no use for.
    pub obsolete: Option<QualifiedName>,
    /// What builds the stage; nothing where an earlier run has.
    pub build: Vec<Step>,
}

impl Drain {
    /// The table that is divided.
    #[must_use]
    pub fn parent(&self) -> &QualifiedName {
        // There is no partition without a parent.
        self.ancestors.last().unwrap_or(&self.default)
    }
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
            found.push(Site { role, ancestors, path, default: partition });
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
) -> Result<(Option<Drain>, Vec<Left>)> {
    let mut sorting = Sorting { site, left: Vec::new(), wanted: Vec::new(), rows: 0 };
    let level = match obstacle(layout, site) {
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
    let Sorting { left, wanted, rows, .. } = sorting;
    let mut drain = drain(layout, catalog, site, &level, wanted)?;
    (drain.contexts, drain.rows) = (contexts, rows);
    Ok((Some(drain), left))
}

/// The level of the parent, or why nothing can leave.
fn obstacle(layout: &Layout, site: &Site<'_>) -> std::result::Result<Level, String> {
    let default = site.default;
    let parent = site.ancestors.last().copied().unwrap_or(default);
    if default.kind != RelationKind::Table {
        return Err("it is not an ordinary table: it is divided itself, or foreign".to_owned());
    }
    if !parent.foreign_keys.is_empty() {
        let others: Vec<_> = parent.foreign_keys.iter().map(ToString::to_string).collect();
        return Err(format!(
            "foreign keys tie {} to {}: the server would check every row under lock",
            parent.name,
            others.join(", ")
        ));
    }
    let level = level_at(layout, site.role, &site.path);
    let level = level.filter(|level| Some(level.partition_key()) == parent.partition_key);
    level.ok_or_else(|| format!("{} is not divided as the layout says", parent.name))
}

fn level_at(layout: &Layout, role: Role, path: &[Bound]) -> Option<Level> {
    let mut levels = layout.levels_of(role);
    for bound in path {
        levels = match levels.first()? {
            Level::Context => layout.levels_below(role, layout.context(bound.as_context()?)?),
            Level::Hash(_) | Level::Month => levels[1..].to_vec(),
        };
    }
    levels.first().cloned()
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
        let default = self.site.default.name.clone();
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

fn drain(
    layout: &Layout,
    catalog: &Catalog,
    site: &Site<'_>,
    level: &Level,
    mut wanted: Vec<DesiredPartition>,
) -> Result<Drain> {
    let parent = site.ancestors.last().copied().unwrap_or(site.default);
    let mark = unfinished_mark(&parent.name, &Bound::Default);
    let begun = catalog.unfinished.iter().find(|unfinished| unfinished.mark == mark);
    let begun = begun.map(|unfinished| &unfinished.branch);
    if site.role == Role::Events {
        wanted.push(leaf(Bound::Default));
    }
    let mut drain = Drain {
        role: site.role,
        ancestors: site.ancestors.iter().map(|relation| relation.name.clone()).collect(),
        default: site.default.name.clone(),
        drained: free_name(catalog, &site.default.name, "drained"),
        stage: free_name(catalog, &parent.name, "drain"),
        tops: Vec::new(),
        next: None,
        tables: Vec::new(),
        triggers: if site.role == Role::Events { layout.triggers() } else { Vec::new() },
        contexts: Vec::new(),
        rows: 0,
        obsolete: None,
        build: Vec::new(),
    };
    match begun {
        Some(stage) if stage.owner == parent.owner && is_built(stage, &wanted) => {
            drain.continues(stage);
        }
        other => {
            // A table with our mark that is somebody else's is left where it is.
            let ours = other.filter(|stage| stage.owner == parent.owner);
            drain.obsolete = ours.map(|stage| stage.name.clone());
            drain.begin(layout, catalog, parent, level, &mark, &wanted)?;
        }
    }
    Ok(drain)
}

fn free_name(catalog: &Catalog, table: &QualifiedName, suffix: &str) -> QualifiedName {
    let plain = name::joined(&table.name, suffix);
    let trees = catalog.roots().flat_map(Relation::walk);
    let stages = catalog.unfinished.iter().flat_map(|unfinished| unfinished.branch.walk());
    let taken: BTreeSet<_> = trees.chain(stages).map(|relation| &relation.name.name).collect();
    let is_taken = |name: &String| taken.contains(name) || catalog.other_names.contains(name);
    let candidates = (0..).map(|number: u32| match number {
        0 => plain.clone(),
        _ => name::hashed(&plain, &format!("{suffix} {number}")),
    });
    // There are more names than tables.
    let free = candidates.into_iter().find(|name| !is_taken(name));
    table.sibling(free.unwrap_or(plain))
}

/// Whether a stage has all that is wanted, so that it only waits for rows.
fn is_built(stage: &Relation, wanted: &[DesiredPartition]) -> bool {
    wanted.iter().all(|wanted| {
        let is_it = |p: &&Relation| p.bound.as_ref() == Some(&wanted.bound);
        let there = stage.partitions.iter().find(is_it);
        there.is_some_and(|there| {
            there.partition_key == wanted.level.as_ref().map(Level::partition_key)
                && is_built(there, &wanted.partitions)
        })
    })
}

impl Drain {
    fn continues(&mut self, stage: &Relation) {
        self.stage = stage.name.clone();
        self.tables = stage.walk().skip(1).map(|relation| relation.name.clone()).collect();
        for partition in &stage.partitions {
            self.place(partition.name.clone(), partition.bound.clone());
        }
    }

    fn place(&mut self, name: QualifiedName, bound: Option<Bound>) {
        match bound {
            Some(Bound::Default) => self.next = Some(name),
            Some(bound) => self.tops.push((name, bound)),
            None => {}
        }
    }

    fn begin(
        &mut self,
        layout: &Layout,
        catalog: &Catalog,
        parent: &Relation,
        level: &Level,
        mark: &str,
        wanted: &[DesiredPartition],
    ) -> Result<()> {
        self.build.push(self.stage_step(catalog, parent, level, mark));
        let below = ensure::beside(layout, catalog, self.role, parent, &self.stage, wanted)?;
        for new in below.new_partitions() {
            self.tables.push(new.name.clone());
            if new.parent == self.stage {
                self.place(new.name.clone(), Some(new.bound.clone()));
            }
        }
        if !below.problems.is_empty() {
            return Err(Error::refused(format!(
                "the partitions for the rows of {} cannot all be made",
                self.default
            ))
            .details(below.problems)
            .hint("pupctl partitions check says more"));
        }
        self.build.extend(below.steps);
        // With the last partitions, so that a stage that has them all has the CHECKs too.
        let checks = self.bounds_checks(parent, level);
        if let Some(last) = self.build.last_mut() {
            last.actions.extend(checks);
        }
        Ok(())
    }

    /// The stage itself, which nobody but the owner can use.
    fn stage_step(&self, catalog: &Catalog, parent: &Relation, level: &Level, mark: &str) -> Step {
        let stage = NewPartition {
            role: self.role,
            parent: parent.name.clone(),
            name: self.stage.clone(),
            bound: Bound::Default,
            level: Some(level.clone()),
            keys: Vec::new(),
            primary: false,
            triggers: Vec::new(),
            owner: Some(parent.owner.clone()).filter(|owner| *owner != catalog.server.role),
            grants: Vec::new(),
            replica_identity: ReplicaIdentity::Default,
            tablespace: parent.tablespace.clone(),
        };
        let branch = self.stage.clone();
        Step::new(
            format!("Make {} beside {}", self.stage.name, parent.name.name),
            "the server attaches no partition while DEFAULT has its rows: they are copied below \
             this table first",
            vec![
                Action::CreatePartition(stage),
                Action::MarkUnfinished { branch, mark: mark.to_owned() },
            ],
        )
    }

    /// CHECKs that spare the reading of the partitions when they come into the tree: they are empty
    /// now.
    fn bounds_checks(&self, parent: &Relation, level: &Level) -> Vec<Action> {
        let column = if *level == Level::Month { "created_at" } else { "bounded_context" };
        let check = |bound: &Bound| {
            let columns = vec![column.to_owned()];
            BoundsCheck(vec![Condition { columns, bound: bound.clone(), parent: parent.oid }])
        };
        let actions = self.tops.iter().flat_map(|(table, bound)| {
            let add = LifecycleAction::AddBoundsCheck { table: table.clone(), check: check(bound) };
            let name = BOUNDS_CHECK.to_owned();
            let validate = LifecycleAction::ValidateCheck { table: table.clone(), name };
            [add.into(), validate.into()]
        });
        actions.collect()
    }
}
