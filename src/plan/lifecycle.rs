//! What takes a partition out of its table, and brings one in that has rows.

use crate::catalog::relation::Relation;
use crate::layout::bounds::Bound;
use crate::layout::name::QualifiedName;
use crate::layout::place::Place;

use super::step::{Action, Step, Transaction};

/// The CHECK that repeats the bounds of a table that is to be attached, or was.
pub const BOUNDS_CHECK: &str = "pupctl_bounds";

/// The CHECK by which a DEFAULT partition shows that it has no rows of a partition to come.
pub const EXCLUSION_CHECK: &str = "pupctl_exclusion";

/// How the comment on a table begins that was detached, or is about to be.
pub const DETACHED_PREFIX: &str = "pupctl: detached from ";

/// The comment by which a detached table is known, and its place.
#[must_use]
pub fn detached_mark(events: &QualifiedName, place: &Place) -> String {
    let place = serde_json::to_string(place).unwrap_or_default();
    format!("{DETACHED_PREFIX}{events}, {place}")
}

/// The place of which such a comment speaks. It proves nothing: anybody may write one.
#[must_use]
pub fn marked_place(comment: &str) -> Option<Place> {
    let rest = comment.strip_prefix(DETACHED_PREFIX)?;
    let json = &rest[rest.find(", [")? + 2..];
    serde_json::from_str(json).ok()
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LifecycleAction {
    /// Take the lock that a plain detach needs, before anything else is done.
    LockForDetach {
        /// The parent.
        parent: QualifiedName,
        /// The partition, which direct readers and writers may hold.
        partition: QualifiedName,
    },
    /// Take a partition out of its parent.
    Detach {
        /// The parent.
        parent: QualifiedName,
        /// The partition.
        partition: QualifiedName,
        /// Whether readers and writers of the parent go on meanwhile.
        concurrently: bool,
        /// The parent's partition for other rows, which a plain detach locks too.
        default: Option<QualifiedName>,
        /// The tables at the other ends of the parent's foreign keys, which the server locks.
        foreign_keys: Vec<QualifiedName>,
    },
    /// Finish a concurrent detach that was interrupted.
    FinalizeDetach {
        /// The parent.
        parent: QualifiedName,
        /// The partition.
        partition: QualifiedName,
    },
    /// Add the CHECK that repeats the bounds, for new rows only.
    AddBoundsCheck {
        /// The table.
        table: QualifiedName,
        /// Its bounds.
        check: BoundsCheck,
    },
    /// Let the server see that all rows keep a CHECK.
    ValidateCheck {
        /// The table.
        table: QualifiedName,
        /// The constraint.
        name: String,
    },
    /// Drop a constraint.
    DropConstraint {
        /// The table.
        table: QualifiedName,
        /// The constraint.
        name: String,
        /// Whether others can reach the table, so that the lock matters to them.
        live: bool,
    },
    /// Move the rows above a position from a leaf into the one that takes its place. Which position
    /// that is, is known under the locks alone.
    KeepTail {
        /// The leaf that leaves.
        leaf: QualifiedName,
        /// The one that takes its place.
        next: QualifiedName,
        /// The columns of the table.
        columns: Vec<String>,
    },
    /// Give a table another name.
    Rename {
        /// The table.
        table: QualifiedName,
        /// Its new name, in the same schema.
        to: String,
    },
    /// Take the lock that dropping a table needs, to look at it once more.
    LockTable(QualifiedName),
    /// Drop a table that nobody reaches any more.
    DropTable(QualifiedName),
    /// Drop a branch, unless it has partitions, which would go with it.
    DropBranch(QualifiedName),
    /// Drop a table that an earlier run made, unless it has rows.
    DropEmpty(QualifiedName),
    /// Take changes of rows again, which were refused while they were copied.
    AcceptChanges(QualifiedName),
    /// Attach a table that has rows: nothing of it is read or built.
    AttachFilled {
        /// The parent.
        parent: QualifiedName,
        /// The table.
        table: QualifiedName,
        /// What it holds.
        bound: Bound,
        /// The parent's partition for other rows, which the server locks.
        default: Option<QualifiedName>,
        /// The tables at the other ends of the parent's foreign keys, which the server locks.
        foreign_keys: Vec<QualifiedName>,
        /// Those of them that the parent refers to: as the table has the foreign keys itself, the
        /// server takes away what they left there, and locks everybody out for that.
        referenced: Vec<QualifiedName>,
    },
    /// Say in a comment where a table belongs, or say it no more.
    Comment {
        /// The table.
        table: QualifiedName,
        /// The comment.
        comment: Option<String>,
    },
    /// Say in the list of archives that a table that was kept, or half archived, is back.
    RecordReturn {
        /// The list.
        archives: QualifiedName,
        /// What the table is called.
        table: QualifiedName,
        /// Its number.
        oid: u32,
    },
    /// Let the DEFAULT partition refuse rows of other bounds, for new rows only.
    AddExclusionCheck {
        /// The DEFAULT partition.
        table: QualifiedName,
        /// The bounds of a partition that is to come.
        bounds: Condition,
    },
}

impl From<LifecycleAction> for Action {
    fn from(action: LifecycleAction) -> Self {
        Self::Lifecycle(action)
    }
}

/// The bounds of a partition as a condition on its rows, from the root down: what the server
/// proves ATTACH by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundsCheck(pub Vec<Condition>);

/// A part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The columns by which the parent is divided.
    pub columns: Vec<String>,
    /// What the partition holds.
    pub bound: Bound,
    /// The parent, which the condition of a hash names by its number.
    pub parent: u32,
}

impl BoundsCheck {
    /// The condition of a place, for the tree that lies below `root`; none where the place is not
    /// in the tree, or where it cannot be said (DEFAULT, which depends on its siblings).
    #[must_use]
    pub fn of(root: &Relation, place: &Place) -> Option<Self> {
        let mut parent = root;
        let mut conditions = Vec::new();
        let (last, above) = place.bounds().split_last()?;
        for bound in above {
            conditions.push(condition(parent, bound)?);
            parent = parent.partitions.iter().find(|p| p.bound.as_ref() == Some(bound))?;
        }
        conditions.push(condition(parent, last)?);
        Some(Self(conditions))
    }
}

fn condition(parent: &Relation, bound: &Bound) -> Option<Condition> {
    if matches!(bound, Bound::Default | Bound::Other(_)) {
        return None;
    }
    let columns = key_columns(parent.partition_key.as_deref()?)?;
    Some(Condition { columns, bound: bound.clone(), parent: parent.oid })
}

/// The columns of `LIST (bounded_context)`; none where a key has expressions or other classes of
/// operators.
fn key_columns(key: &str) -> Option<Vec<String>> {
    let inner = key.split_once('(')?.1.strip_suffix(')')?;
    let plain = |word: &str| word.chars().all(|c| c.is_alphanumeric() || c == '_');
    let columns: Vec<_> = inner.split(", ").map(str::to_owned).collect();
    columns.iter().all(|column| plain(column)).then_some(columns)
}

/// Takes a partition out while readers and writers go on.
#[must_use]
pub fn detach_concurrently(parent: &Relation, partition: &QualifiedName) -> Step {
    let mut step = Step::new(
        format!("Detach {}", partition.name),
        "readers and writers of the table go on; it waits for transactions that have used it",
        vec![detach(parent, partition, true)],
    );
    step.transaction = Transaction::Concurrent;
    step
}

/// Takes a partition out in one transaction, in which `also` happens too: nobody ever sees the
/// table without both.
#[must_use]
pub fn detach_at_once(parent: &Relation, partition: &QualifiedName, also: Vec<Action>) -> Step {
    let lock = LifecycleAction::LockForDetach {
        parent: parent.name.clone(),
        partition: partition.clone(),
    };
    let mut actions = vec![lock.into(), detach(parent, partition, false)];
    actions.extend(also);
    Step::new(
        format!("Detach {}", partition.name),
        "in one transaction of milliseconds: it asks for its locks a moment at a time, so that \
         nobody queues up behind it",
        actions,
    )
}

/// Drops a branch that has no partitions any more.
#[must_use]
pub fn drop_branch(parent: &QualifiedName, branch: &QualifiedName) -> Step {
    let lock = LifecycleAction::LockForDetach { parent: parent.clone(), partition: branch.clone() };
    let drop = LifecycleAction::DropBranch(branch.clone());
    let mut step = Step::new(
        format!("Drop the empty branch {}", branch.name),
        "all of its partitions have left the store",
        vec![lock.into(), drop.into()],
    );
    step.destroys = true;
    step
}

/// Finishes a detach that was interrupted.
#[must_use]
pub fn finalize_detach(parent: &QualifiedName, partition: &QualifiedName) -> Step {
    Step::new(
        format!("Finish the detach of {}", partition.name),
        "it was begun and interrupted: until it is finished the rows are invisible",
        vec![
            LifecycleAction::FinalizeDetach {
                parent: parent.clone(),
                partition: partition.clone(),
            }
            .into(),
        ],
    )
}

/// Lets the server see that all rows of a table lie within the bounds, so that ATTACH need not
/// look.
#[must_use]
pub fn prove_bounds(table: &QualifiedName, check: BoundsCheck) -> [Step; 2] {
    let validate =
        LifecycleAction::ValidateCheck { table: table.clone(), name: BOUNDS_CHECK.to_owned() };
    [
        Step::new(
            format!("Say what {} may hold", table.name),
            "attaching would read the whole table otherwise, under a lock on it",
            vec![LifecycleAction::AddBoundsCheck { table: table.clone(), check }.into()],
        ),
        Step::new(
            format!("Prove that {} holds nothing else", table.name),
            "a read of the table that locks nobody out",
            vec![validate.into()],
        ),
    ]
}

fn detach(parent: &Relation, partition: &QualifiedName, concurrently: bool) -> Action {
    LifecycleAction::Detach {
        parent: parent.name.clone(),
        partition: partition.clone(),
        concurrently,
        default: parent.default_partition().map(|default| default.name.clone()),
        foreign_keys: parent.foreign_keys.clone(),
    }
    .into()
}
