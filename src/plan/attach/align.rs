//! What a table lacks to be like its parent: owner, grants, columns, keys, indexes, triggers. All
//! of it is done while nobody reaches the table through its parent, so that attaching has nothing
//! to do.

use std::collections::BTreeSet;

use crate::catalog::index::Index;
use crate::catalog::relation::{ColumnGrant, Constraint, Grant, Relation, ReplicaIdentity};
use crate::catalog::trigger::TableTrigger;
use crate::catalog::{Catalog, missing_keys_at};
use crate::layout::bounds::Bound;
use crate::layout::name::{self, QualifiedName};
use crate::layout::protection::Trigger;
use crate::layout::{Layout, Role};
use crate::plan::index::{Build, IndexAction, Wanted};
use crate::plan::protection;
use crate::plan::step::Protect;

use super::{Action, LifecycleAction, Plan, Step};

/// One thing in which a table is made like its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alignment {
    /// The table.
    pub table: QualifiedName,
    /// What is changed.
    pub change: Change,
}

/// What is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Who owns it.
    Owner(String),
    /// Give a privilege.
    Grant(Grant),
    /// Take a privilege, or with `option` only the right to pass it on.
    Revoke {
        /// Which.
        grant: Grant,
        /// Whether it stays, without the right to pass it on.
        option: bool,
    },
    /// Take a privilege on a column.
    RevokeColumn(ColumnGrant),
    /// How updates and deletes are published.
    ReplicaIdentity(ReplicaIdentity),
    /// Whether a column refuses NULL.
    NotNull {
        /// The column.
        column: String,
        /// Whether it refuses it.
        not_null: bool,
    },
    /// The default of a column, in the server's own words.
    Default {
        /// The column.
        column: String,
        /// The expression, or none.
        expression: Option<String>,
    },
    /// The storage parameters.
    Parameters {
        /// Those that it has.
        have: Vec<String>,
        /// Those that it gets.
        wanted: Vec<String>,
    },
    /// A key of its own.
    Key {
        /// Its columns.
        columns: Vec<String>,
        /// Whether it is the primary key.
        primary: bool,
    },
    /// The primary key, out of a unique index that is there.
    KeyFromIndex(String),
    /// A CHECK or a foreign key of the parent, for new rows only.
    Constraint {
        /// Its name.
        name: String,
        /// The constraint, in the server's own words.
        definition: String,
        /// The table that a foreign key refers to.
        references: Option<QualifiedName>,
    },
}

/// Adds the steps that make the table like its parent.
pub(super) fn steps(
    layout: &Layout,
    catalog: &Catalog,
    (parent, bound): (&Relation, &Bound),
    table: &Relation,
    checks: &[String],
    plan: &mut Plan,
) {
    let root = catalog.events.as_ref().map_or(parent, |events| &events.root);
    let aligner = Aligner { layout, catalog, root, parent, bound, table };
    let actions = aligner.attributes();
    if !actions.is_empty() {
        plan.steps.push(Step::new(
            format!("Make {} like {}", table.name.name, root.name.name),
            "it is not reached through its table yet, so nobody waits for this",
            actions,
        ));
    }
    plan.steps.extend(aligner.keys());
    aligner.indexes(plan);
    plan.steps.extend(aligner.constraints());
    plan.notes.extend(aligner.notes(checks));
}

struct Aligner<'a> {
    layout: &'a Layout,
    catalog: &'a Catalog,
    root: &'a Relation,
    parent: &'a Relation,
    bound: &'a Bound,
    table: &'a Relation,
}

impl Aligner<'_> {
    fn change(&self, change: Change) -> Action {
        Action::Align(Alignment { table: self.table.name.clone(), change })
    }

    /// What is changed in the catalog, or by one read of the table.
    fn attributes(&self) -> Vec<Action> {
        let mut changes = self.columns();
        let (have, wanted) = (&self.table.details.options, self.root.usual_options());
        if *have != wanted && self.root.leaves().next().is_some() {
            changes.push(Change::Parameters { have: have.clone(), wanted });
        }
        changes.extend(self.grants());
        let identity = self.root.replica_identity;
        if identity != ReplicaIdentity::Index && self.table.replica_identity != identity {
            changes.push(Change::ReplicaIdentity(identity));
        }
        if self.table.owner != self.root.owner {
            changes.push(Change::Owner(self.root.owner.clone()));
        }
        let mut actions: Vec<_> = changes.into_iter().map(|change| self.change(change)).collect();
        // Last, since before the owner is changed the functions may not be his.
        actions.extend(self.triggers());
        actions
    }

    fn columns(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for wanted in &self.root.details.columns {
            let mut columns = self.table.details.columns.iter();
            let Some(have) = columns.find(|have| have.name == wanted.name) else { continue };
            let column = || wanted.name.clone();
            if have.not_null != wanted.not_null {
                changes.push(Change::NotNull { column: column(), not_null: wanted.not_null });
            }
            if have.default != wanted.default && !wanted.generated {
                let expression = wanted.default.clone();
                changes.push(Change::Default { column: column(), expression });
            }
        }
        changes
    }

    fn grants(&self) -> Vec<Change> {
        // Policies hold for who comes through the table: a grant would open the rows beside it.
        let protected = self.root.row_security || self.parent.row_security;
        let none = Vec::new();
        let wanted = if protected { &none } else { &self.root.details.grants };
        let have = &self.table.details.grants;
        let is_same = |one: &Grant, other: &Grant| {
            one.grantee == other.grantee && one.privilege == other.privilege
        };
        let is_owner = |grant: &Grant| grant.grantee.as_deref() == Some(self.root.owner.as_str());
        let mut changes = Vec::new();
        for grant in have.iter().filter(|grant| !is_owner(grant)) {
            let option = match wanted.iter().find(|wanted| is_same(wanted, grant)) {
                Some(wanted) if wanted.grantable || !grant.grantable => continue,
                Some(_) => true,
                None => false,
            };
            changes.push(Change::Revoke { grant: grant.clone(), option });
        }
        for grant in wanted.iter().filter(|grant| !is_owner(grant)) {
            let there = have.iter().find(|have| is_same(have, grant));
            if there.is_none_or(|have| grant.grantable && !have.grantable) {
                changes.push(Change::Grant(grant.clone()));
            }
        }
        let columns = self.table.details.column_grants.iter();
        let is_alone = |found: &&ColumnGrant| {
            let of_root = self.root.details.column_grants.iter();
            let same = |other: &ColumnGrant| {
                other.column == found.column && is_same(&other.grant, &found.grant)
            };
            let has = of_root.clone().any(same)
                || self.root.details.grants.iter().any(|grant| is_same(grant, &found.grant));
            !is_owner(&found.grant) && (protected || !has)
        };
        changes.extend(columns.filter(is_alone).cloned().map(Change::RevokeColumn));
        changes
    }

    fn triggers(&self) -> Vec<Action> {
        let schema = &self.catalog.schema_name;
        let table = || self.table.name.clone();
        let wanted = self.layout.triggers();
        let is_left = |trigger: &Trigger| {
            let named = |found: &TableTrigger| found.name == trigger.name();
            !wanted.contains(trigger) && self.table.triggers.iter().any(named)
        };
        let add = |trigger| Protect::Trigger { table: table(), trigger, live: false };
        let drop = |trigger| Protect::Drop { table: table(), trigger };
        let left = Trigger::ALL.into_iter().filter(is_left).map(drop);
        let broken = protection::broken(self.layout, schema, self.table).into_iter().map(add);
        broken.chain(left).map(Action::Protect).collect()
    }

    /// The keys that every leaf has, each in a transaction of its own.
    fn keys(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let other = self.table.other_primary_key(Role::Events.key_columns());
        for columns in missing_keys_at(self.table, Role::Events, Some(self.bound)) {
            let primary = columns == Role::Events.key_columns() && other.is_none();
            let is_it = |index: &&Index| {
                index.is_key_on(&columns) && index.columns == columns && index.constraint.is_none()
            };
            let there = self.table.indexes.iter().find(is_it).filter(|_| primary);
            let change = match there {
                Some(index) => Change::KeyFromIndex(index.name.clone()),
                None => {
                    let columns = columns.iter().map(|&column| column.to_owned()).collect();
                    Change::Key { columns, primary }
                }
            };
            steps.push(Step::new(
                format!("Give {} its key on ({})", self.table.name.name, columns.join(", ")),
                "every partition has it, and attaching would not build it",
                vec![self.change(change)],
            ));
        }
        steps
    }

    /// The indexes of the parent, each in a transaction of its own: the server would build those
    /// that are missing while it attaches the table.
    fn indexes(&self, plan: &mut Plan) {
        let mut taken = self.catalog.taken_names.clone();
        for wanted in self.parent.indexes.iter().filter(|index| !index.primary) {
            let same = |index: &&Index| {
                index.definition == wanted.definition
                    && index.unique == wanted.unique
                    && index.valid
            };
            if self.table.indexes.iter().any(|index| same(&index)) {
                continue;
            }
            if wanted.unique {
                plan.notes.push(format!(
                    "the table lacks the unique index {} of its parent: the server builds it while \
                     it attaches the table",
                    wanted.name
                ));
                continue;
            }
            plan.steps.push(self.index(wanted, &mut taken));
        }
    }

    fn index(&self, wanted: &Index, taken: &mut BTreeSet<String>) -> Step {
        let table = &self.table.name;
        let ending = Wanted::ending_of(&self.parent.name.name, &wanted.name);
        let plain = name::joined(&table.name, &ending);
        let mut actions = Vec::new();
        // The server would take one with other storage parameters, or half of one, for it.
        for near in self.table.indexes.iter().filter(|index| is_near(index, wanted)) {
            taken.remove(&near.name);
            actions.push(Action::Index(IndexAction::Drop {
                index: table.sibling(near.name.as_str()),
                tables: vec![table.clone()],
                concurrently: false,
            }));
        }
        let name =
            if taken.contains(&plain) { name::hashed(&plain, &wanted.definition) } else { plain };
        taken.insert(name.clone());
        let title = format!("Build {name} on {}", table.name);
        actions.push(Action::Index(IndexAction::Create {
            table: table.clone(),
            name,
            definition: wanted.definition.clone(),
            build: Build::Beside,
        }));
        Step::new(title, "its parent has it, and attaching would build it", actions)
    }

    /// The parent's CHECKs, without which the server refuses the table, and its foreign keys, for
    /// which it would read all of it.
    fn constraints(&self) -> Vec<Step> {
        let wanted = self.parent.details.constraints.iter();
        wanted
            .filter(|c| ["c", "f"].contains(&c.kind.as_str()))
            .flat_map(|c| self.constraint(c))
            .collect()
    }

    fn constraint(&self, wanted: &Constraint) -> Vec<Step> {
        let own = &self.table.details.constraints;
        let there = own.iter().find(|have| is_same(have, wanted));
        if there.is_some_and(|have| have.valid) {
            return Vec::new();
        }
        let named = |name: &String| own.iter().any(|have| have.name == *name);
        let name = match there {
            Some(have) => have.name.clone(),
            None if named(&wanted.name) => name::hashed(&wanted.name, &wanted.definition),
            None => wanted.name.clone(),
        };
        let (table, title) =
            (&self.table.name, format!("{} {}", self.table.name.name, wanted.name));
        let mut steps = Vec::new();
        if there.is_none() {
            let change = Change::Constraint {
                name: name.clone(),
                definition: wanted.definition.clone(),
                references: wanted.references.clone(),
            };
            steps.push(Step::new(
                format!("Give {title}"),
                "its parent has the constraint; for new rows at once, for the others with the next \
                 step",
                vec![self.change(change)],
            ));
        }
        steps.push(Step::new(
            format!("Prove that {} keeps {}", table.name, wanted.name),
            "attaching would read the whole table for it otherwise",
            vec![LifecycleAction::ValidateCheck { table: table.clone(), name }.into()],
        ));
        steps
    }

    /// Constraints that only the table has: they stay, and refuse what others take.
    fn notes(&self, checks: &[String]) -> Vec<String> {
        let is_known = |have: &Constraint| {
            have.kind == "p"
                || have.name.starts_with("pupctl_")
                || checks.contains(&have.name)
                || self.parent.details.constraints.iter().any(|wanted| is_same(have, wanted))
                || [&["event_id"][..], &["global_position"], Role::Events.key_columns()].contains(
                    &have.columns.iter().map(String::as_str).collect::<Vec<_>>().as_slice(),
                )
        };
        let own = self.table.details.constraints.iter().filter(|have| !is_known(have));
        own.map(|have| {
            format!(
                "only this table has the constraint {} {}: pupctl schema verify will say so",
                have.name, have.definition
            )
        })
        .collect()
    }
}

/// The same constraint, validated or not. The server finds a CHECK by its name.
fn is_same(have: &Constraint, wanted: &Constraint) -> bool {
    let words =
        |constraint: &Constraint| constraint.definition.trim_end_matches(" NOT VALID").to_owned();
    have.kind == wanted.kind
        && words(have) == words(wanted)
        && (have.kind == "f" || have.name == wanted.name)
}

/// An index that the server takes for the wanted one, though it is stored in another way or is not
/// whole.
fn is_near(index: &Index, wanted: &Index) -> bool {
    let bare = |index: &Index| {
        index.definition.split(" WITH (").next().map(str::to_owned).unwrap_or_default()
    };
    !index.unique
        && index.constraint.is_none()
        && index.method == wanted.method
        && index.columns == wanted.columns
        && bare(index) == bare(wanted)
}
