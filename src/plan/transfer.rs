//! Plans how rows leave a partition for other partitions of the same table, while everybody goes
//! on.
//!
//! The new partitions are built below a *stage*, a table beside the tree that is divided like the
//! parent, and rows are copied there; in the end all change places at once.

use std::collections::BTreeSet;

use crate::catalog::relation::{Relation, RelationKind, ReplicaIdentity};
use crate::catalog::{Catalog, missing_keys};
use crate::error::{Error, Result};
use crate::layout::bounds::Bound;
use crate::layout::desired::DesiredPartition;
use crate::layout::levels::Level;
use crate::layout::name::{self, QualifiedName};
use crate::layout::protection::Trigger;
use crate::layout::{Layout, Role};

use super::ensure;
use super::lifecycle::{BOUNDS_CHECK, BoundsCheck, Condition, LifecycleAction};
use super::step::{Action, NewPartition, Step};
use super::wanted::unfinished_mark;

/// The trigger that refuses changes of rows while they are copied, and its function.
pub const REFUSE: &str = "pupctl_split";

/// The same for TRUNCATE.
pub const REFUSE_TRUNCATE: &str = "pupctl_split_truncate";

/// A partition in its tree.
#[derive(Debug, Clone)]
pub struct Site<'a> {
    /// Of which table.
    pub role: Role,
    /// The tables from the root down to the parent.
    pub ancestors: Vec<&'a Relation>,
    /// The bounds that lead to the parent.
    pub path: Vec<Bound>,
    /// The partition.
    pub partition: &'a Relation,
}

impl<'a> Site<'a> {
    /// The table that is divided.
    #[must_use]
    pub fn parent(&self) -> &'a Relation {
        // There is no partition without a parent.
        self.ancestors.last().copied().unwrap_or(self.partition)
    }
}

/// In which ways one transfer differs from another.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    /// The bounds of the partition that is left, by which its stage is known.
    pub(super) bound: Bound,
    /// What the name of the stage ends with.
    pub(super) stage: &'static str,
    /// What the name of the partition ends with when it has left.
    pub(super) retired: &'static str,
    /// What its comment says then.
    pub(super) comment: String,
    /// Whether keys and indexes are built after the first rows have come.
    pub(super) bulk: bool,
}

/// How the rows of a partition move into others.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// Of which table.
    pub role: Role,
    /// The tables from the root down to the parent: whoever writes to the partition has locked one.
    pub ancestors: Vec<QualifiedName>,
    /// The partition.
    pub source: QualifiedName,
    /// Its name when it has left.
    pub retired: QualifiedName,
    /// Its comment from then on, by which a later run finishes what this one could not.
    pub comment: String,
    /// Whether it stays when it is proven that nothing of it is missing.
    pub keep: bool,
    /// The table beside the tree below which the new partitions are built.
    pub stage: QualifiedName,
    /// The partitions that come into the tree, with what they hold.
    pub tops: Vec<(QualifiedName, Bound)>,
    /// The next DEFAULT, for events.
    pub next: Option<QualifiedName>,
    /// One of `tops` that comes into the tree only if it gets a row.
    pub rest: Option<QualifiedName>,
    /// Whether it will get one, as far as is known.
    pub rest_has_rows: bool,
    /// Every table below the stage.
    pub tables: Vec<QualifiedName>,
    /// The triggers that these get.
    pub triggers: Vec<Trigger>,
    /// The keys and indexes that leaves below the stage still lack. As long as there are any, rows
    /// are copied in bulk.
    pub unfinished: Vec<Unfinished>,
    /// The contexts that leave, for heads.
    pub contexts: Vec<String>,
    /// How many rows leave.
    pub rows: i64,
    /// What an earlier run left and this one has no use for.
    pub obsolete: Option<QualifiedName>,
    /// What builds the stage; nothing where an earlier run has.
    pub build: Vec<Step>,
}

/// A leaf without its keys and indexes, so that rows come into it as fast as they can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The leaf.
    pub table: QualifiedName,
    /// The indexes that its parent will want to find, from `USING` on.
    pub indexes: Vec<String>,
    /// The columns of its keys; the first is the primary key.
    pub keys: Vec<Vec<&'static str>>,
}

impl Transfer {
    /// The table that is divided.
    #[must_use]
    pub fn parent(&self) -> &QualifiedName {
        // There is no partition without a parent.
        self.ancestors.last().unwrap_or(&self.source)
    }

    /// Whether it is a split. Only that refuses changes meanwhile: it can be called off.
    #[must_use]
    pub fn is_split(&self) -> bool {
        self.role == Role::Events && self.next.is_none()
    }

    /// The partitions that are known to come into the tree.
    #[must_use]
    pub fn entering(&self) -> Vec<&QualifiedName> {
        let tops = self.tops.iter().map(|(top, _)| top);
        tops.filter(|top| self.rest_has_rows || self.rest.as_ref() != Some(top)).collect()
    }
}

/// The level of the parent, or why nothing can leave.
pub(super) fn level(layout: &Layout, site: &Site<'_>) -> std::result::Result<Level, String> {
    let parent = site.parent();
    if site.partition.kind != RelationKind::Table {
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

/// Plans the stage, and what is needed to put it in the place of the partition.
pub(super) fn plan(
    layout: &Layout,
    catalog: &Catalog,
    site: &Site<'_>,
    level: &Level,
    wanted: &[DesiredPartition],
    shape: Shape,
) -> Result<Transfer> {
    let parent = site.parent();
    let mark = unfinished_mark(&parent.name, &shape.bound);
    let begun = catalog.unfinished.iter().find(|unfinished| unfinished.mark == mark);
    let begun = begun.map(|unfinished| &unfinished.branch);
    let mut transfer = Transfer {
        role: site.role,
        ancestors: site.ancestors.iter().map(|relation| relation.name.clone()).collect(),
        source: site.partition.name.clone(),
        retired: free_name(catalog, &site.partition.name, shape.retired),
        comment: shape.comment,
        keep: false,
        stage: free_name(catalog, &parent.name, shape.stage),
        tops: Vec::new(),
        next: None,
        rest: None,
        rest_has_rows: false,
        tables: Vec::new(),
        triggers: if site.role == Role::Events { layout.triggers() } else { Vec::new() },
        unfinished: Vec::new(),
        contexts: Vec::new(),
        rows: 0,
        obsolete: None,
        build: Vec::new(),
    };
    match begun {
        Some(stage) if stage.owner == parent.owner && is_built(stage, wanted) => {
            transfer.continues(parent, stage, shape.bulk);
        }
        other => {
            // A table with our mark that is somebody else's is left where it is.
            let ours = other.filter(|stage| stage.owner == parent.owner);
            transfer.obsolete = ours.map(|stage| stage.name.clone());
            let catalog = &without(catalog, ours);
            transfer.stage = free_name(catalog, &parent.name, shape.stage);
            let builder = Builder { layout, catalog, parent, level, bulk: shape.bulk };
            builder.build(&mut transfer, &mark, wanted)?;
        }
    }
    Ok(transfer)
}

/// The catalog as it is when a stage is dropped: its names are free again.
fn without(catalog: &Catalog, stage: Option<&Relation>) -> Catalog {
    let mut catalog = catalog.clone();
    let Some(stage) = stage else { return catalog };
    catalog.unfinished.retain(|unfinished| unfinished.branch.oid != stage.oid);
    for relation in stage.walk() {
        catalog.other_names.remove(&relation.name.name);
        catalog.taken_names.remove(&relation.name.name);
    }
    catalog
}

fn free_name(catalog: &Catalog, table: &QualifiedName, suffix: &str) -> QualifiedName {
    let plain = name::joined(&table.name, suffix);
    let trees = catalog.roots().flat_map(Relation::walk);
    let stages = catalog.unfinished.iter().flat_map(|unfinished| unfinished.branch.walk());
    let taken: BTreeSet<_> = trees.chain(stages).map(|relation| &relation.name.name).collect();
    let is_taken = |name: &String| {
        taken.contains(name)
            || catalog.other_names.contains(name)
            || catalog.taken_names.contains(name)
    };
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

impl Transfer {
    fn continues(&mut self, parent: &Relation, stage: &Relation, bulk: bool) {
        self.stage = stage.name.clone();
        self.tables = stage.walk().skip(1).map(|relation| relation.name.clone()).collect();
        for partition in &stage.partitions {
            self.place(partition.name.clone(), partition.bound.clone());
        }
        if bulk {
            let unfinished = stage.leaves().map(|leaf| Unfinished::of(parent, leaf, self.role));
            self.unfinished = unfinished.filter(|leaf| !leaf.keys.is_empty()).collect();
        }
    }

    fn place(&mut self, name: QualifiedName, bound: Option<Bound>) {
        match bound {
            Some(Bound::Default) => self.next = Some(name),
            Some(bound) => self.tops.push((name, bound)),
            None => {}
        }
    }
}

impl Unfinished {
    /// What a leaf lacks that is there. Keys and indexes come in one transaction.
    fn of(parent: &Relation, leaf: &Relation, role: Role) -> Self {
        let keys = missing_keys(leaf, role);
        let is_there = |definition: &String| {
            leaf.indexes.iter().any(|have| have.definition == *definition && have.valid)
        };
        let indexes = definitions(parent).filter(|definition| !is_there(definition)).collect();
        Self { table: leaf.name.clone(), indexes, keys }
    }
}

/// The indexes that the parent has beside keys.
fn definitions(parent: &Relation) -> impl Iterator<Item = String> + '_ {
    parent.indexes.iter().filter(|index| !index.unique).map(|index| index.definition.clone())
}

/// Whether the indexes of a table can be left for later. Those that are unique, and those of which
/// nobody knows what they are, come with the table.
pub(super) fn can_wait(parent: &Relation) -> bool {
    parent.indexes.iter().all(|index| !index.unique && !index.definition.is_empty())
}

/// Builds a stage.
struct Builder<'a> {
    layout: &'a Layout,
    catalog: &'a Catalog,
    parent: &'a Relation,
    level: &'a Level,
    bulk: bool,
}

impl Builder<'_> {
    fn build(
        &self,
        transfer: &mut Transfer,
        mark: &str,
        wanted: &[DesiredPartition],
    ) -> Result<()> {
        let Self { layout, catalog, parent, .. } = *self;
        transfer.build.push(self.stage_step(transfer, mark));
        let mut below =
            ensure::beside(layout, catalog, transfer.role, parent, &transfer.stage, wanted)?;
        if self.bulk {
            transfer.unfinished = self.strip(&mut below.steps);
        }
        for new in below.new_partitions() {
            transfer.tables.push(new.name.clone());
            if new.parent == transfer.stage {
                transfer.place(new.name.clone(), Some(new.bound.clone()));
            }
        }
        // What was detached is left out with a note, but its rows are here again.
        let made = transfer.tops.len() + usize::from(transfer.next.is_some());
        if !below.problems.is_empty() || made < wanted.len() {
            return Err(Error::refused(format!(
                "the partitions for the rows of {} cannot all be made",
                transfer.source
            ))
            .details(below.problems.into_iter().chain(below.notes))
            .hint("pupctl partitions check says more"));
        }
        transfer.build.extend(below.steps);
        // With the last partitions, so that a stage that has them all has the CHECKs too.
        let checks = self.bounds_checks(transfer);
        if let Some(last) = transfer.build.last_mut() {
            last.actions.extend(checks);
        }
        Ok(())
    }

    /// Leaves the keys of new leaves for later.
    fn strip(&self, steps: &mut [Step]) -> Vec<Unfinished> {
        let mut unfinished = Vec::new();
        for action in steps.iter_mut().flat_map(|step| &mut step.actions) {
            if let Action::CreatePartition(new) = action
                && new.level.is_none()
            {
                unfinished.push(Unfinished {
                    table: new.name.clone(),
                    indexes: definitions(self.parent).collect(),
                    keys: std::mem::take(&mut new.keys),
                });
            }
        }
        unfinished
    }

    /// The stage itself, which nobody but the owner can use.
    fn stage_step(&self, transfer: &Transfer, mark: &str) -> Step {
        let Self { catalog, parent, .. } = *self;
        let stage = NewPartition {
            role: transfer.role,
            parent: parent.name.clone(),
            name: transfer.stage.clone(),
            bound: Bound::Default,
            level: Some(self.level.clone()),
            keys: Vec::new(),
            primary: false,
            bare: self.bulk,
            triggers: Vec::new(),
            owner: Some(parent.owner.clone()).filter(|owner| *owner != catalog.server.role),
            grants: Vec::new(),
            replica_identity: ReplicaIdentity::Default,
            tablespace: parent.tablespace.clone(),
        };
        let branch = transfer.stage.clone();
        Step::new(
            format!("Make {} beside {}", transfer.stage.name, parent.name.name),
            format!(
                "the server attaches no partition while {} has its rows: they are copied below \
                 this table first",
                transfer.source.name
            ),
            vec![
                Action::CreatePartition(stage),
                Action::MarkUnfinished { branch, mark: mark.to_owned() },
            ],
        )
    }

    /// CHECKs that spare the reading of the partitions when they come into the tree: they are empty
    /// now.
    fn bounds_checks(&self, transfer: &Transfer) -> Vec<Action> {
        let column = if *self.level == Level::Month { "created_at" } else { "bounded_context" };
        let check = |bound: &Bound| {
            let (columns, parent) = (vec![column.to_owned()], self.parent.oid);
            BoundsCheck(vec![Condition { columns, bound: bound.clone(), parent }])
        };
        let actions = transfer.tops.iter().flat_map(|(table, bound)| {
            let add = LifecycleAction::AddBoundsCheck { table: table.clone(), check: check(bound) };
            let name = BOUNDS_CHECK.to_owned();
            let validate = LifecycleAction::ValidateCheck { table: table.clone(), name };
            [add.into(), validate.into()]
        });
        actions.collect()
    }
}
