//! The statements that bring partitions into the tree in place of the rows of DEFAULT.

use crate::layout::Role;
use crate::layout::bounds::Bound;
use crate::layout::name::QualifiedName;
use crate::layout::protection::Trigger;
use crate::plan::drain::{DRAINED_PREFIX, Drain};
use crate::plan::lifecycle::{BOUNDS_CHECK, LifecycleAction};
use crate::plan::{Plan, Protect, Transaction};

use super::environment::{quoted, render, values};
use super::script::{Lock, LockMode, RenderedStep, Script, Statement};
use super::{lifecycle, protection, quote};

/// The steps that build what is beside the tree, in their order.
#[must_use]
pub fn build(drain: &Drain) -> Vec<RenderedStep> {
    let mut steps = Vec::new();
    if let Some(obsolete) = &drain.obsolete {
        let sql = render("drain/drop", &values! { table => obsolete });
        let why = "Copies of rows that DEFAULT still has, below a table that is not attached";
        let title = format!("Drop {}, which an earlier run left", obsolete.name);
        let why_step = "it was begun for other partitions than are needed now";
        steps.push(step(title, why_step, vec![statement(sql, why, vec![])]));
    }
    let plan = Plan { steps: drain.build.clone(), ..Default::default() };
    steps.extend(Script::of(&plan).steps);
    steps
}

/// The copy of all rows with positions in a window, below the stage.
#[must_use]
pub fn copy(drain: &Drain, columns: &[String], after: i64, to: Option<i64>) -> Statement {
    let Drain { stage, default, .. } = drain;
    // Every position is above the smallest number.
    let after: Vec<i64> = Some(after).filter(|after| *after != i64::MIN).into_iter().collect();
    let to: Vec<i64> = to.into_iter().collect();
    let values = values! { stage, default, columns, after, to, rest => false };
    let sql = render("drain/copy", &values);
    let lock = Lock { mode: LockMode::AccessShare, on: default.clone() };
    statement(sql, "To where it belongs; nobody reads it there yet", vec![lock])
}

/// The copy of what was not copied before.
fn copy_rest(drain: &Drain, columns: &[String]) -> Statement {
    let Drain { stage, default, .. } = drain;
    let values = values! { stage, default, columns, rest => true };
    statement(render("drain/copy", &values), "What came since the first copy", vec![])
}

/// The triggers that the new partitions need, apart from the one for event ids, which would find
/// the ids of the rows that are still to come.
#[must_use]
pub fn protect(drain: &Drain) -> Vec<Statement> {
    triggers(drain, false)
}

fn triggers(drain: &Drain, ids: bool) -> Vec<Statement> {
    let mut statements = Vec::new();
    for table in &drain.tables {
        for &trigger in &drain.triggers {
            let is_ids = trigger == Trigger::EventIds;
            if is_ids == ids {
                let protect = Protect::Trigger { table: table.clone(), trigger, live: false };
                statements.extend(protection::statements(&protect));
            }
        }
    }
    statements
}

/// Keeps writers out of DEFAULT: the locks that they take first come first.
#[must_use]
pub fn lock_writers(drain: &Drain) -> Statement {
    let mut tables = drain.ancestors.clone();
    tables.push(drain.default.clone());
    let sql = render("drain/lock_writers", &values! { tables });
    let lock = |on| Lock { mode: LockMode::ShareRowExclusive, on };
    statement(
        sql,
        "Writers wait from here on, readers do not",
        tables.into_iter().map(lock).collect(),
    )
}

/// What changes the places of the old DEFAULT and the new partitions, in one transaction that has
/// begun with [`lock_writers`].
#[must_use]
pub fn swap(drain: &Drain) -> Vec<Statement> {
    let (parent, default) = (drain.parent(), &drain.default);
    let mut statements = vec![
        lifecycle::statement(&LifecycleAction::LockForDetach {
            parent: parent.clone(),
            partition: default.clone(),
        }),
        statement(
            render(
                "partition/detach",
                &values! { parent, partition => default, concurrently => false },
            ),
            "Its rows are in the new partitions",
            vec![exclusive(parent), exclusive(default)],
        ),
        rename(default, &drain.drained),
    ];
    let comment = format!("{DRAINED_PREFIX}{}", parent.name);
    statements.push(statement(
        render("table/comment", &values! { table => drain.drained, comment }),
        "If this run is interrupted, the next one proves by this mark that nothing is missing",
        vec![],
    ));
    statements.extend(enter(drain));
    if let Some(next) = &drain.next {
        statements.push(take_out(&drain.stage, next));
        statements.push(rename(next, default));
        let lock = vec![share_update(parent)];
        statements.push(attach(parent, default, &Bound::Default, lock));
    }
    statements.push(drop_stage(drain));
    statements
}

/// Moves heads, which change all the time, in one transaction: a snapshot of before finds the rows
/// in DEFAULT, one of after in their partitions.
#[must_use]
pub fn heads(drain: &Drain, columns: &[String]) -> RenderedStep {
    let Drain { stage, default, contexts, .. } = drain;
    let parent = drain.parent();
    let mut statements = vec![
        lifecycle::statement(&LifecycleAction::LockForDetach {
            parent: parent.clone(),
            partition: default.clone(),
        }),
        statement(
            render("drain/move_heads", &values! { stage, default, columns, contexts }),
            "To where they belong",
            vec![],
        ),
        statement(
            render("drain/delete_heads", &values! { default, contexts }),
            "They are there now",
            vec![],
        ),
    ];
    statements.extend(enter(drain));
    statements.push(drop_stage(drain));
    step(
        format!("Move {} heads out of {}", drain.rows, default.name),
        "heads move all the time: readers and writers of them wait for this one transaction",
        statements,
    )
}

/// What `--dry-run` prints for events: the copy in one piece, its tail under the lock.
#[must_use]
pub fn steps(drain: &Drain, columns: &[String]) -> Vec<RenderedStep> {
    let mut steps = build(drain);
    if drain.role == Role::Heads {
        steps.push(heads(drain, columns));
        return steps;
    }
    let rows = drain.rows;
    let mut copied = vec![copy(drain, columns, i64::MIN, None)];
    copied.extend(protect(drain));
    steps.push(step(
        format!("Copy {rows} rows of {}", drain.default.name),
        "pupctl does it in batches, up to the settled position, and proves the copy; nobody waits",
        copied,
    ));
    let mut statements = vec![lock_writers(drain), copy_rest(drain, columns)];
    statements.extend(swap(drain));
    steps.push(step(
        format!("Put the partitions in the place of {}", drain.default.name),
        "writers wait some milliseconds; pupctl first copies what came meanwhile, in a second \
         session, and waits for older snapshots, which would not see it",
        statements,
    ));
    let table = &drain.drained;
    let mut dropped = step(
        format!("Drop {}", table.name),
        "pupctl first proves that the partitions have every row of it",
        vec![statement(render("drain/drop", &values! { table }), "Nobody reads it", vec![])],
    );
    dropped.destroys = false;
    steps.push(dropped);
    steps
}

/// The new partitions leave the stage and enter the tree.
fn enter(drain: &Drain) -> Vec<Statement> {
    let parent = drain.parent();
    let mut statements = triggers(drain, true);
    for (partition, bound) in &drain.tops {
        statements.push(take_out(&drain.stage, partition));
        let mut locks = vec![share_update(parent)];
        if drain.role == Role::Heads {
            locks.push(exclusive(&drain.default));
        }
        statements.push(attach(parent, partition, bound, locks));
        let values = values! { table => partition, constraint => BOUNDS_CHECK };
        let why = "It has spared the reading of the partition";
        statements.push(statement(render("drain/drop_check", &values), why, vec![]));
    }
    statements
}

fn take_out(stage: &QualifiedName, partition: &QualifiedName) -> Statement {
    let values = values! { parent => stage, partition, concurrently => false };
    statement(render("partition/detach", &values), "From beside the tree", vec![])
}

fn attach(
    parent: &QualifiedName,
    partition: &QualifiedName,
    bound: &Bound,
    locks: Vec<Lock>,
) -> Statement {
    let clause = quoted(quote::bound(bound));
    let values = values! { parent, partition, bound => clause };
    statement(render("partition/attach", &values), &format!("Rows of {bound} are here"), locks)
}

fn rename(table: &QualifiedName, to: &QualifiedName) -> Statement {
    lifecycle::statement(&LifecycleAction::Rename { table: table.clone(), to: to.name.clone() })
}

fn drop_stage(drain: &Drain) -> Statement {
    let sql = render("drain/drop", &values! { table => drain.stage });
    statement(sql, "It is empty: all that was below it is in its place", vec![])
}

fn statement(sql: String, why: &str, locks: Vec<Lock>) -> Statement {
    Statement { sql, why: why.to_owned(), locks }
}

fn exclusive(on: &QualifiedName) -> Lock {
    Lock { mode: LockMode::AccessExclusive, on: on.clone() }
}

fn share_update(on: &QualifiedName) -> Lock {
    Lock { mode: LockMode::ShareUpdateExclusive, on: on.clone() }
}

fn step(title: impl Into<String>, why: &str, statements: Vec<Statement>) -> RenderedStep {
    RenderedStep {
        title: title.into(),
        why: why.to_owned(),
        transaction: Transaction::Required,
        destroys: false,
        statements,
        migration: None,
        partitions: 0,
    }
}
