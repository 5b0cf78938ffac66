//! The new tables and their partitions, as far as they are not there.

use crate::catalog::index::Index;
use crate::catalog::relation::Relation;
use crate::catalog::trigger::Function;
use crate::catalog::{Catalog, missing_keys};
use crate::error::{Error, Result};
use crate::layout::bounds::Bound;
use crate::layout::desired::DesiredPartition;
use crate::layout::levels::Level;
use crate::layout::name::QualifiedName;
use crate::layout::{Layout, Months, Needs, Role};
use crate::plan::step::{Action, Plan};
use crate::plan::{ensure, wanted};

use super::{Replaced, Target};

/// A new table that is to be made, empty and without partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTable {
    /// What it replaces.
    pub table: Replaced,
    /// How it is divided.
    pub level: Level,
    /// Where the old one lies.
    pub tablespace: Option<String>,
    /// Its key, where it has one that has to be there from the start: heads are written while
    /// events are copied.
    pub key: Option<Vec<&'static str>>,
    /// Whether its indexes have to be there from the start.
    pub indexed: bool,
}

/// What is to be built.
#[derive(Debug, Clone, Default)]
pub struct Build {
    /// Tables.
    pub tables: Vec<NewTable>,
    /// Their partitions.
    pub partitions: Plan,
}

/// A leaf with the keys and indexes that it lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unindexed {
    /// The leaf.
    pub table: QualifiedName,
    /// The columns of each missing key; the first is the primary key where `primary` says so.
    pub keys: Vec<Vec<&'static str>>,
    /// Whether the first of `keys` is the primary key.
    pub primary: bool,
    /// Whether the index on time is missing.
    pub brin: bool,
    /// The names of the indexes that it has.
    pub there: Vec<String>,
}

impl Unindexed {
    /// Whether nothing is missing but indexes that the layout does not make.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.keys.is_empty() && !self.brin
    }
}

/// Plans what is not there of what these contexts and months need.
///
/// `bare` leaves the keys of events out: they are built when the rows are there.
///
/// `heap` is what the old table will hold, where it stays.
pub fn plan(
    target: &Target,
    catalog: &Catalog,
    needs: &Needs,
    bare: bool,
    heap: Option<&Bound>,
) -> Result<Build> {
    let layout = &target.layout;
    let mut build = Build::default();
    let planned = with_functions(layout, catalog);
    let mut months = ensure::months(catalog, layout.months_ahead, None)?;
    if layout.has_month_level() {
        months = months.needing(needs)?;
    }
    for table in &target.tables {
        let old = catalog.table(table.role).ok_or_else(|| missing(&table.current))?;
        let level = layout.levels_of(table.role).into_iter().next();
        let Some(level) = level else { continue };
        let there = table.built(catalog);
        if there.is_none() {
            let is_heads = table.role == Role::Heads;
            let has_key = is_heads || (!bare && layout.root_has_key(table.role));
            build.tables.push(NewTable {
                table: table.clone(),
                level: level.clone(),
                tablespace: old.root.tablespace.clone(),
                key: has_key.then(|| table.role.key_columns().to_vec()),
                indexed: is_heads || !bare,
            });
        }
        let mut parent = parent(layout, table.role, &old.root, &level, there, bare);
        // It holds its rows already.
        parent.partitions.extend(heap.map(|bound| placeholder(&old.root, bound)));
        let mut plan = partitions(layout, &planned, table, &parent, &months)?;
        if bare && table.role == Role::Events {
            without_keys(&mut plan);
        }
        build.partitions.steps.extend(plan.steps);
        build.partitions.notes.extend(plan.notes);
        build.partitions.problems.extend(plan.problems);
    }
    if build.partitions.problems.is_empty() {
        return Ok(build);
    }
    Err(Error::refused("the partitions of the new tables cannot all be made")
        .details(build.partitions.problems)
        .hint("rename or remove what has their names"))
}

fn missing(table: &QualifiedName) -> Error {
    Error::refused(format!("the table {table} is missing"))
        .hint("make a store: pupctl schema init --partition-by context")
}

/// The functions that triggers of the partitions will call are made in time.
fn with_functions(layout: &Layout, catalog: &Catalog) -> Catalog {
    let function = |trigger| Function { trigger, unchanged: true };
    Catalog { functions: layout.triggers().into_iter().map(function).collect(), ..catalog.clone() }
}

/// The new table as the planner of partitions sees it: with the rights of the old one, and its
/// name as the beginning of theirs.
fn parent(
    layout: &Layout,
    role: Role,
    old: &Relation,
    level: &Level,
    there: Option<&Relation>,
    bare: bool,
) -> Relation {
    let key = Index {
        unique: true,
        primary: true,
        valid: true,
        method: "btree".to_owned(),
        columns: role.key_columns().iter().map(|&column| column.to_owned()).collect(),
        ..Index::default()
    };
    let has_key = role == Role::Heads || (!bare && layout.root_has_key(role));
    Relation {
        partition_key: Some(level.partition_key()),
        indexes: if has_key { vec![key] } else { Vec::new() },
        triggers: Vec::new(),
        // Of a plain table they are read with the details.
        grants: old.details.grants.clone(),
        partitions: there.map(|there| there.partitions.clone()).unwrap_or_default(),
        ..old.clone()
    }
}

/// The old table in its place, so that nothing else is planned for it.
fn placeholder(old: &Relation, bound: &Bound) -> Relation {
    Relation { bound: Some(bound.clone()), partitions: Vec::new(), ..old.clone() }
}

fn partitions(
    layout: &Layout,
    catalog: &Catalog,
    table: &Replaced,
    parent: &Relation,
    months: &Months,
) -> Result<Plan> {
    let wanted = desired(layout, catalog, table, parent, months);
    ensure::beside_those(layout, catalog, table.role, parent, &table.next, parent, &wanted)
}

fn desired(
    layout: &Layout,
    catalog: &Catalog,
    table: &Replaced,
    parent: &Relation,
    months: &Months,
) -> Vec<DesiredPartition> {
    // The months that branches have are those of the new table.
    let mut grown = catalog.clone();
    let place = match table.role {
        Role::Events => grown.events.as_mut(),
        Role::Heads => grown.heads.as_mut(),
    };
    if let Some(place) = place {
        place.root = parent.clone();
    }
    wanted::partitions(layout, &grown, table.role, months)
}

/// Rows are copied several times as fast into a table without keys.
fn without_keys(plan: &mut Plan) {
    for action in plan.steps.iter_mut().flat_map(|step| &mut step.actions) {
        if let Action::CreatePartition(new) = action {
            new.keys.clear();
            new.primary = false;
        }
    }
}

/// The leaves of a new table of events, with the keys and indexes that they lack.
#[must_use]
pub fn unindexed(built: &Relation) -> Vec<Unindexed> {
    let lacks = |leaf: &Relation| {
        let keys = missing_keys(leaf, Role::Events);
        let primary = keys.first().is_some_and(|key| key == Role::Events.key_columns())
            && !leaf.indexes.iter().any(|index| index.primary);
        let brin = !leaf.indexes.iter().any(|index| index.is_on("brin", &["created_at"]));
        let there = leaf.indexes.iter().map(|index| index.name.clone()).collect();
        Unindexed { table: leaf.name.clone(), keys, primary, brin, there }
    };
    built.leaves().map(lacks).collect()
}

/// The tables between a new table and its leaves, deepest first.
#[must_use]
pub fn branches(built: &Relation) -> Vec<QualifiedName> {
    let below = built.walk().skip(1).filter(|relation| !relation.is_leaf());
    let mut found: Vec<_> = below.map(|relation| relation.name.clone()).collect();
    found.reverse();
    found
}

/// The branches, deepest first, and the table itself, that have to carry the key of events and
/// lack it: every leaf below has it by then.
#[must_use]
pub fn keyless(layout: &Layout, built: &Relation) -> Vec<QualifiedName> {
    let key = Role::Events.key_columns();
    let has = |relation: &Relation| {
        relation.indexes.iter().any(|index| index.primary && index.is_key_on(key))
    };
    let month = Level::Month.partition_key();
    let may = |relation: &Relation| {
        relation.walk().all(|below| below.partition_key.as_deref() != Some(month.as_str()))
    };
    let mut found: Vec<_> = built
        .walk()
        .skip(1)
        .filter(|relation| !relation.is_leaf() && may(relation) && !has(relation))
        .map(|relation| relation.name.clone())
        .collect();
    found.reverse();
    if layout.root_has_key(Role::Events) && !has(built) {
        found.push(built.name.clone());
    }
    found
}
