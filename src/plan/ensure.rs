//! Plans the partitions that the layout names and the catalog lacks.
//!
//! A leaf is made LIKE its parent, then attached: SHARE UPDATE EXCLUSIVE on the parent, so
//! readers and writers go on (`PARTITION OF` would lock them out). A branch is built beside the
//! tree and attached when it is whole, so that no live branch is ever half covered.

use std::collections::{BTreeSet, HashMap};

use crate::catalog::Catalog;
use crate::catalog::detached::Detached;
use crate::catalog::relation::Relation;
use crate::error::{Error, Result};
use crate::layout::bounds::Bound;
use crate::layout::desired::DesiredPartition;
use crate::layout::month::Month;
use crate::layout::name::{self, QualifiedName};
use crate::layout::protection::Trigger;
use crate::layout::{Layout, Months, Role};

use super::step::{Action, NewPartition, Plan, Step};
use super::wanted::{unfinished, unfinished_mark};
use super::{budget, obstacle, protection, wanted};
use parent::Parent;
use unit::{Unit, step};

mod parent;
mod unit;

/// Plans what is missing for these months. `catalog` must hold the tables of the layout.
pub fn plan(layout: &Layout, catalog: &Catalog, months: &Months) -> Result<Plan> {
    let mut planner = Planner::new(layout, catalog)?;
    for role in Role::ALL {
        let Some(table) = catalog.table(role) else { continue };
        let wanted = wanted::partitions(layout, catalog, role, months);
        let before = planner.new_leaves(role);
        planner.grow(role, &Parent::of(role, &table.root, true), &table.root, &wanted);
        let note = budget::refuse_too_many(catalog, role, planner.new_leaves(role) - before)?;
        planner.plan.notes.extend(note);
    }
    planner.finish();
    Ok(planner.plan)
}

/// Plans partitions of `stage`, a table that stands beside the tree and is divided like `parent`.
/// They get the names that they would have there, to which they are to be moved, and no triggers.
pub(super) fn beside(
    layout: &Layout,
    catalog: &Catalog,
    role: Role,
    parent: &Relation,
    stage: &QualifiedName,
    wanted: &[DesiredPartition],
) -> Result<Plan> {
    let nothing_yet = Relation { partitions: Vec::new(), ..parent.clone() };
    beside_those(layout, catalog, role, parent, stage, &nothing_yet, wanted)
}

/// The same where the stage has some of them.
pub(super) fn beside_those(
    layout: &Layout,
    catalog: &Catalog,
    role: Role,
    parent: &Relation,
    stage: &QualifiedName,
    there: &Relation,
    wanted: &[DesiredPartition],
) -> Result<Plan> {
    let mut planner = Planner::new(layout, catalog)?;
    planner.triggers.clear();
    let place = Parent {
        name: stage.clone(),
        live: false,
        default: None,
        foreign_keys: Vec::new(),
        ..Parent::of(role, parent, true)
    };
    planner.grow(role, &place, there, wanted);
    let note = budget::refuse_too_many(catalog, role, planner.new_leaves(role))?;
    planner.finish();
    planner.plan.notes.extend(note);
    Ok(planner.plan)
}

/// Names that no partition may get: those of other relations, and of the store's own tables.
fn taken_names(layout: &Layout, catalog: &Catalog) -> BTreeSet<String> {
    let mut names = catalog.other_names.clone();
    names.insert(layout.tables.events.clone());
    names.insert(layout.tables.aggregate_heads.clone());
    names.insert(layout.tables.projection_checkpoints.clone());
    names
}

/// Refreshes the statistics of the events table.
#[must_use]
pub fn analysis(layout: &Layout, catalog: &Catalog) -> Step {
    let table = layout.table(&catalog.schema_name, Role::Events);
    let only = catalog.server.major() >= 18;
    let why = if only {
        "autovacuum never analyzes a partitioned table, and the planner needs to know the new \
         partitions"
    } else {
        "autovacuum never analyzes a partitioned table, and the planner needs to know the new \
         partitions; before PostgreSQL 18 this analyzes every leaf too, one after the other \
         (--no-analyze leaves it out)"
    };
    let mut step =
        Step::new(format!("Analyze {}", table.name), why, vec![Action::Analyze { table, only }]);
    step.transaction = super::Transaction::Forbidden;
    step
}

/// Whether the plan should refresh statistics: partitions were added to a table that has rows.
#[must_use]
pub fn analyze(layout: &Layout, catalog: &Catalog, plan: &Plan) -> Option<Step> {
    let added = plan.new_partitions().any(|partition| partition.role == Role::Events);
    let has_rows = catalog
        .events
        .as_ref()
        .is_some_and(|table| table.root.leaves().any(|leaf| leaf.rows.unwrap_or(0) > 0));
    if !added || !has_rows {
        return None;
    }
    Some(analysis(layout, catalog))
}

struct Planner<'a> {
    catalog: &'a Catalog,
    triggers: Vec<Trigger>,
    batch: usize,
    names: BTreeSet<String>,
    units: Vec<Unit>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(layout: &Layout, catalog: &'a Catalog) -> Result<Self> {
        protection::refuse_missing(layout, catalog)?;
        let mut names = taken_names(layout, catalog);
        for role in Role::ALL {
            let table = catalog.table(role).ok_or_else(|| {
                let table = layout.table(&catalog.schema_name, role);
                Error::refused(format!("the table {table} is missing"))
                    .hint("make it: pupctl schema init")
            })?;
            names.extend(table.root.walk().map(|relation| relation.name.name.clone()));
        }
        let unfinished = catalog.unfinished.iter().flat_map(|unfinished| unfinished.branch.walk());
        names.extend(unfinished.map(|relation| relation.name.name.clone()));
        Ok(Self {
            catalog,
            triggers: layout.triggers(),
            batch: budget::partitions_per_transaction(&catalog.server)?,
            names,
            units: Vec::new(),
            plan: Plan::default(),
        })
    }

    fn new_leaves(&self, role: Role) -> usize {
        let is_leaf = |action: &&Action| match action {
            Action::CreatePartition(new) => new.role == role && new.level.is_none(),
            _ => false,
        };
        self.units.iter().flat_map(|unit| &unit.actions).filter(is_leaf).count()
    }

    /// Adds to `existing` what it lacks of `wanted`.
    fn grow(
        &mut self,
        role: Role,
        parent: &Parent<'_>,
        existing: &Relation,
        wanted: &[DesiredPartition],
    ) {
        // A map, because one parent may have thousands of partitions and want as many.
        let by_bound: HashMap<&Bound, &Relation> =
            existing.partitions.iter().filter_map(|p| Some((p.bound.as_ref()?, p))).collect();
        for partition in wanted {
            match by_bound.get(&partition.bound) {
                Some(same) => self.descend(role, same, partition),
                None if self.is_taken(existing, partition) => {}
                None => self.add(role, parent, partition),
            }
        }
    }

    fn descend(&mut self, role: Role, existing: &Relation, wanted: &DesiredPartition) {
        if existing.detach_pending {
            self.plan.problems.push(format!(
                "{} is half detached: its rows are invisible and inserts to it fail",
                existing.name
            ));
            return;
        }
        let Some(level) = &wanted.level else { return };
        if existing.partition_key.as_deref() == Some(level.partition_key().as_str()) {
            self.grow(role, &Parent::of(role, existing, true), existing, &wanted.partitions);
        } else {
            self.plan.problems.push(format!(
                "{} holds {} but is not divided by {level}, as the layout says",
                existing.name, wanted.bound
            ));
        }
    }

    /// Whether another partition covers the wanted one, or stands in its way.
    fn is_taken(&mut self, existing: &Relation, wanted: &DesiredPartition) -> bool {
        for other in &existing.partitions {
            let Some(bound) = &other.bound else { continue };
            if bound.covers(&wanted.bound) {
                return true;
            }
            if bound.overlaps(&wanted.bound) {
                self.plan.problems.push(format!(
                    "{} cannot be made: {} ({bound}) lies across its bounds",
                    wanted.bound, other.name
                ));
                return true;
            }
        }
        false
    }

    fn add(&mut self, role: Role, parent: &Parent<'_>, wanted: &DesiredPartition) {
        if let Some(found) = unfinished(self.catalog, &parent.name, &wanted.bound) {
            let branch = &found.branch;
            let problems = self.plan.problems.len();
            if let Some(reason) = obstacle::to_finishing(branch, parent.relation, wanted) {
                let problem = format!("{} cannot be made: {reason}", wanted.bound);
                self.plan.problems.push(problem);
                return;
            }
            self.grow(role, &Parent::of(role, branch, false), branch, &wanted.partitions);
            // Only a whole branch is attached: it would refuse events that belong in it.
            if self.plan.problems.len() == problems {
                self.attach_branch(role, parent, &branch.name, wanted);
            }
            return;
        }
        if let Some(reason) = obstacle::to_making(role, parent.relation, wanted) {
            self.plan.problems.push(format!("{} cannot be made: {reason}", wanted.bound));
            return;
        }
        let Some(name) = self.choose_name(&parent.base, wanted) else { return };
        if wanted.level.is_none() {
            self.add_leaf(role, parent, name, wanted);
            return;
        }
        // All names first: a branch whose leaves cannot all be made is not begun.
        let chosen = wanted.partitions.iter().map(|leaf| self.choose_name(&name, leaf));
        let chosen: Vec<_> = chosen.collect();
        let Some(leaves) = chosen.into_iter().collect::<Option<Vec<_>>>() else { return };
        let leaves: Vec<_> = leaves.into_iter().zip(&wanted.partitions).collect();
        if wanted.leaves() < self.batch {
            self.add_small_branch(role, parent, name, wanted, leaves);
        } else {
            self.add_large_branch(role, parent, &name, wanted, leaves);
        }
    }

    /// The name of a new partition; `None`, with a problem noted, when a table of that name is
    /// there that is not a partition of ours: it may hold data that belongs here.
    fn choose_name(
        &mut self,
        parent: &QualifiedName,
        wanted: &DesiredPartition,
    ) -> Option<QualifiedName> {
        let mut plain = name::joined(&parent.name, &wanted.suffix);
        if name::is_like_an_index(&plain) {
            plain = name::hashed(&plain, &wanted.bound.to_string());
        }
        if let Some(table) = self.detached(&plain, &wanted.bound) {
            self.plan.notes.push(format!(
                "{} is left out: {table} was detached from there; pupctl partitions attach {table} \
                 brings it back",
                wanted.bound
            ));
            return None;
        }
        if self.catalog.other_names.contains(&plain) {
            self.plan.problems.push(format!(
                "{} cannot be made: a table named {} is there and is not a partition of {}",
                wanted.bound,
                parent.sibling(plain.as_str()),
                parent.name
            ));
            return None;
        }
        let chosen = if self.names.contains(&plain) {
            name::hashed(&plain, &wanted.bound.to_string())
        } else {
            plain
        };
        self.names.insert(chosen.clone());
        Some(parent.sibling(chosen))
    }

    /// The table of this name that was detached from these bounds, and may come back.
    fn detached(&self, name: &str, bound: &Bound) -> Option<QualifiedName> {
        let is_it = |table: &&Detached| {
            table.name.name == name && table.place.bounds().last() == Some(bound)
        };
        self.catalog.detached.iter().find(is_it).map(|table| table.name.clone())
    }

    fn add_leaf(
        &mut self,
        role: Role,
        parent: &Parent<'_>,
        name: QualifiedName,
        wanted: &DesiredPartition,
    ) {
        let actions = vec![
            Action::CreatePartition(self.new_partition(role, parent, &name, wanted)),
            attach(parent, name, wanted),
        ];
        let lock = parent.live.then(|| parent.name.clone());
        self.units.push(Unit { parent: lock, role, tables: 1, actions });
    }

    /// A branch that fits into one transaction: it is made, filled and attached in it.
    fn add_small_branch(
        &mut self,
        role: Role,
        parent: &Parent<'_>,
        name: QualifiedName,
        wanted: &DesiredPartition,
        leaves: Vec<(QualifiedName, &DesiredPartition)>,
    ) {
        let branch = self.new_partition(role, parent, &name, wanted);
        let inner = parent.branch(&name, wanted);
        let mut actions = vec![Action::CreatePartition(branch)];
        for (leaf_name, leaf) in leaves {
            actions
                .push(Action::CreatePartition(self.new_partition(role, &inner, &leaf_name, leaf)));
            actions.push(attach(&inner, leaf_name, leaf));
        }
        actions.push(attach(parent, name, wanted));
        let tables = 1 + wanted.leaves();
        self.units.push(Unit { parent: Some(parent.name.clone()), role, tables, actions });
    }

    /// A branch that takes several transactions: it carries a mark until it is attached, by
    /// which a later run finds and finishes it.
    fn add_large_branch(
        &mut self,
        role: Role,
        parent: &Parent<'_>,
        name: &QualifiedName,
        wanted: &DesiredPartition,
        leaves: Vec<(QualifiedName, &DesiredPartition)>,
    ) {
        let actions = vec![
            Action::CreatePartition(self.new_partition(role, parent, name, wanted)),
            Action::MarkUnfinished {
                branch: name.clone(),
                mark: unfinished_mark(&parent.name, &wanted.bound),
            },
        ];
        self.units.push(Unit { parent: None, role, tables: 1, actions });
        let inner = parent.branch(name, wanted);
        for (leaf_name, leaf) in leaves {
            self.add_leaf(role, &inner, leaf_name, leaf);
        }
        self.attach_branch(role, parent, name, wanted);
    }

    fn attach_branch(
        &mut self,
        role: Role,
        parent: &Parent<'_>,
        branch: &QualifiedName,
        wanted: &DesiredPartition,
    ) {
        let actions =
            vec![attach(parent, branch.clone(), wanted), Action::ClearUnfinished(branch.clone())];
        // Attaching locks every leaf of the branch: a transaction of its own.
        let parent = Some(parent.name.clone());
        self.units.push(Unit { parent, role, tables: self.batch, actions });
    }

    fn new_partition(
        &self,
        role: Role,
        parent: &Parent<'_>,
        name: &QualifiedName,
        wanted: &DesiredPartition,
    ) -> NewPartition {
        let triggers = if role == Role::Events { self.triggers.clone() } else { Vec::new() };
        new_partition(self.catalog, triggers, role, parent, name, wanted)
    }

    /// Packs the units into steps, each a transaction of at most `batch` new tables.
    fn finish(&mut self) {
        let mut pending: Vec<Unit> = Vec::new();
        let mut tables = 0;
        for unit in std::mem::take(&mut self.units) {
            let other_table = pending.first().is_some_and(|first| first.role != unit.role);
            if !pending.is_empty() && (tables + unit.tables > self.batch || other_table) {
                self.plan.steps.push(step(std::mem::take(&mut pending)));
                tables = 0;
            }
            tables += unit.tables;
            pending.push(unit);
        }
        if !pending.is_empty() {
            self.plan.steps.push(step(pending));
        }
    }
}

/// A partition as its parent wants it.
fn new_partition(
    catalog: &Catalog,
    triggers: Vec<Trigger>,
    role: Role,
    parent: &Parent<'_>,
    name: &QualifiedName,
    wanted: &DesiredPartition,
) -> NewPartition {
    let primary = wanted.key && !parent.has_key;
    let mut keys = Vec::new();
    if primary {
        keys.push(role.key_columns().to_vec());
    }
    if wanted.level.is_none() {
        keys.extend(role.unique_columns().iter().map(|column| vec![*column]));
    }
    let relation = parent.relation;
    // Policies hold for who comes through the parent: a grant would open the rows beside it.
    let protected =
        catalog.table(role).is_some_and(|table| table.root.row_security) || relation.row_security;
    NewPartition {
        role,
        parent: parent.name.clone(),
        name: name.clone(),
        bound: wanted.bound.clone(),
        level: wanted.level.clone(),
        keys,
        primary,
        bare: false,
        triggers,
        owner: Some(relation.owner.clone()).filter(|owner| *owner != catalog.server.role),
        grants: if protected { Vec::new() } else { relation.grants.clone() },
        replica_identity: relation.replica_identity,
        tablespace: relation.tablespace.clone(),
    }
}

/// A leaf of events below a parent that is there, with these triggers.
pub(super) fn leaf(
    catalog: &Catalog,
    triggers: Vec<Trigger>,
    parent: &Relation,
    name: &QualifiedName,
    bound: &Bound,
) -> NewPartition {
    let wanted = DesiredPartition {
        bound: bound.clone(),
        suffix: String::new(),
        level: None,
        key: true,
        partitions: Vec::new(),
    };
    let parent = Parent::of(Role::Events, parent, true);
    new_partition(catalog, triggers, Role::Events, &parent, name, &wanted)
}

/// Attaches a table to a parent that is there.
pub(super) fn attachment(parent: &Relation, partition: QualifiedName, bound: &Bound) -> Action {
    Action::Attach {
        parent: parent.name.clone(),
        partition,
        bound: bound.clone(),
        default: parent.default_partition().map(|default| default.name.clone()),
        foreign_keys: parent.foreign_keys.clone(),
    }
}

fn attach(parent: &Parent<'_>, partition: QualifiedName, wanted: &DesiredPartition) -> Action {
    Action::Attach {
        parent: parent.name.clone(),
        partition,
        bound: wanted.bound.clone(),
        default: parent.default.clone(),
        foreign_keys: parent.foreign_keys.clone(),
    }
}

/// The months that a store should have, seen from the server's clock: from the current one, or
/// `from`, to `ahead` months after the current one, and whatever lies between these and those
/// that a branch has.
pub fn months(catalog: &Catalog, ahead: u32, from: Option<Month>) -> Result<Months> {
    Months::new(catalog.server.month(), ahead, from)
}
