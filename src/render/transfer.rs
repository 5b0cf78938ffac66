//! The statements that bring partitions into the tree in place of one whose rows they have.

use crate::layout::Role;
use crate::layout::bounds::Bound;
use crate::layout::name::QualifiedName;
use crate::layout::protection::Trigger;
use crate::plan::lifecycle::{BOUNDS_CHECK, LifecycleAction};
use crate::plan::transfer::{REFUSE, REFUSE_TRUNCATE, Transfer, Unfinished};
use crate::plan::{Plan, Protect, Transaction};

use super::environment::{quoted, render, values};
use super::script::{Lock, LockMode, RenderedStep, Script, Statement};
use super::{lifecycle, protection, quote};

/// The steps that build what is beside the tree, in their order.
#[must_use]
pub fn build(transfer: &Transfer) -> Vec<RenderedStep> {
    let mut steps = Vec::new();
    if let Some(obsolete) = &transfer.obsolete {
        let sql = render("transfer/drop", &values! { table => obsolete });
        let why = "Copies of rows that are in the tree still, below a table that is not attached";
        let title = format!("Drop {}, which an earlier run left", obsolete.name);
        let why_step = "it was begun for other partitions than are needed now";
        steps.push(step(title, why_step, vec![statement(sql, why, vec![])]));
    }
    let plan = Plan { steps: transfer.build.clone(), ..Default::default() };
    steps.extend(Script::of(&plan).steps);
    // When the stage is there, by which it is known what to call off.
    if transfer.is_split() {
        steps.push(refuse_changes(&transfer.source));
    }
    steps
}

fn refuse_changes(table: &QualifiedName) -> RenderedStep {
    let (function, truncate) = (table.sibling(REFUSE), REFUSE_TRUNCATE);
    let refuse = render("transfer/refuse", &values! { function });
    let freeze = render("transfer/freeze", &values! { table, function, truncate });
    let lock = Lock { mode: LockMode::ShareRowExclusive, on: table.clone() };
    let why = "A change of what is copied already would get lost: it is refused instead";
    step(
        format!("Let {} only grow", table.name),
        "rows are copied while writers append; writers wait for one moment",
        vec![
            statement(refuse, "What the triggers call", vec![]),
            statement(freeze, why, vec![lock]),
        ],
    )
}

/// What lets a table take changes again, and drops what refused them where no other needs it.
#[must_use]
pub fn accept_changes(table: &QualifiedName) -> String {
    let (function, truncate) = (table.sibling(REFUSE), REFUSE_TRUNCATE);
    let thaw = render("transfer/thaw", &values! { table, function, truncate });
    format!("{thaw};\n{}", drop_refusal(table))
}

/// What drops the function that refuses changes, where no table needs it.
#[must_use]
pub fn drop_refusal(table: &QualifiedName) -> String {
    render("transfer/drop_refuse", &values! { function => table.sibling(REFUSE) })
}

/// The copy of all rows with positions in a window, below the stage.
#[must_use]
pub fn copy(transfer: &Transfer, columns: &[String], after: i64, to: Option<i64>) -> Statement {
    let Transfer { stage, source, .. } = transfer;
    // Every position is above the smallest number.
    let after: Vec<i64> = Some(after).filter(|after| *after != i64::MIN).into_iter().collect();
    let to: Vec<i64> = to.into_iter().collect();
    let values = values! { stage, source, columns, after, to, rest => false };
    let sql = render("transfer/copy", &values);
    let lock = Lock { mode: LockMode::AccessShare, on: source.clone() };
    statement(sql, "To where it belongs; nobody reads it there yet", vec![lock])
}

/// What builds the keys and the indexes of a leaf that has rows already.
#[must_use]
pub fn complete(unfinished: &Unfinished) -> Vec<Statement> {
    let Unfinished { table, indexes, keys } = unfinished;
    let index = |definition: &String| {
        let sql =
            render("transfer/index", &values! { table, definition => quoted(definition.clone()) });
        statement(sql, "As on its parent, which will look for it", vec![])
    };
    let mut statements: Vec<_> = indexes.iter().map(index).collect();
    if !keys.is_empty() {
        let sql = render("partition/keys", &values! { name => table, keys, primary => true });
        statements.push(statement(sql, "Its own keys, which the parent cannot have", vec![]));
    }
    statements
}

/// The copy of what was not copied before.
fn copy_rest(transfer: &Transfer, columns: &[String]) -> Statement {
    let Transfer { stage, source, .. } = transfer;
    let values = values! { stage, source, columns, rest => true };
    statement(render("transfer/copy", &values), "What came since the first copy", vec![])
}

/// The triggers that the new partitions need, apart from the one for event ids, which would find
/// the ids of the rows that are still to come.
#[must_use]
pub fn protect(transfer: &Transfer) -> Vec<Statement> {
    triggers(transfer, false)
}

fn triggers(transfer: &Transfer, ids: bool) -> Vec<Statement> {
    let mut statements = Vec::new();
    for table in &transfer.tables {
        for &trigger in &transfer.triggers {
            let is_ids = trigger == Trigger::EventIds;
            if is_ids == ids {
                let protect = Protect::Trigger { table: table.clone(), trigger, live: false };
                statements.extend(protection::statements(&protect));
            }
        }
    }
    statements
}

/// Makes autovacuum leave, which nothing shorter does; writers and readers go on.
#[must_use]
pub fn lock_maintenance(transfer: &Transfer) -> Statement {
    let mut tables = transfer.ancestors.clone();
    tables.push(transfer.source.clone());
    super::convert::swap::lock_maintenance(&tables)
}

/// Keeps writers out of the partition: the locks that they take first come first.
#[must_use]
pub fn lock_writers(transfer: &Transfer) -> Statement {
    let mut tables = transfer.ancestors.clone();
    tables.push(transfer.source.clone());
    let sql = render("transfer/lock_writers", &values! { tables });
    let lock = |on| Lock { mode: LockMode::ShareRowExclusive, on };
    statement(
        sql,
        "Writers wait from here on, readers do not",
        tables.into_iter().map(lock).collect(),
    )
}

/// What takes the new partitions from beside the tree, when all rows are there: nobody but pupctl
/// waits for it. `with_rest` says whether the partition that is there for rows of no month has any.
#[must_use]
pub fn leave_stage(transfer: &Transfer, with_rest: bool) -> Vec<Statement> {
    let mut statements = triggers(transfer, true);
    let entering = entering(transfer, with_rest).map(|(partition, _)| partition);
    let leaving = entering.chain(&transfer.next);
    statements.extend(leaving.map(|partition| take_out(&transfer.stage, partition)));
    let sql = render("transfer/drop", &values! { table => transfer.stage });
    let why = "It has no rows: all that was below it is to go to its place";
    statements.push(statement(sql, why, vec![]));
    statements
}

/// What changes the places of the old partition and the new ones, in one transaction that has begun
/// with [`lock_writers`] and [`leave_stage`].
#[must_use]
pub fn swap(transfer: &Transfer, with_rest: bool) -> Vec<Statement> {
    let (parent, source) = (transfer.parent(), &transfer.source);
    let mut statements = vec![
        lifecycle::statement(&LifecycleAction::LockForDetach {
            parent: parent.clone(),
            partition: source.clone(),
        }),
        statement(
            render(
                "partition/detach",
                &values! { parent, partition => source, concurrently => false },
            ),
            "Its rows are in the new partitions",
            vec![exclusive(parent), exclusive(source)],
        ),
        rename(source, &transfer.retired),
    ];
    let (table, comment) = (&transfer.retired, &transfer.comment);
    statements.push(statement(
        render("table/comment", &values! { table, comment }),
        "If this run is interrupted, the next one proves by this mark that nothing is missing",
        vec![],
    ));
    statements.extend(enter(transfer, with_rest));
    if let Some(next) = &transfer.next {
        statements.push(rename(next, source));
        let lock = vec![share_update(parent)];
        statements.push(attach(parent, source, &Bound::Default, lock));
    }
    statements
}

/// Moves heads, which change all the time, in one transaction: a snapshot of before finds the rows
/// in DEFAULT, one of after in their partitions.
#[must_use]
pub fn heads(transfer: &Transfer, columns: &[String]) -> RenderedStep {
    let Transfer { stage, source, contexts, .. } = transfer;
    let parent = transfer.parent();
    let mut statements = vec![
        lifecycle::statement(&LifecycleAction::LockForDetach {
            parent: parent.clone(),
            partition: source.clone(),
        }),
        statement(
            render("drain/move_heads", &values! { stage, source, columns, contexts }),
            "To where they belong",
            vec![],
        ),
        statement(
            render("drain/delete_heads", &values! { source, contexts }),
            "They are there now",
            vec![],
        ),
    ];
    statements.extend(leave_stage(transfer, true));
    statements.extend(enter(transfer, true));
    step(
        format!("Move {} heads out of {}", transfer.rows, source.name),
        "heads move all the time: readers and writers of them wait for this one transaction",
        statements,
    )
}

/// What `--dry-run` prints for events: the copy in one piece, its tail under the lock.
#[must_use]
pub fn steps(transfer: &Transfer, columns: &[String]) -> Vec<RenderedStep> {
    let mut steps = build(transfer);
    if transfer.role == Role::Heads {
        steps.push(heads(transfer, columns));
        return steps;
    }
    let rows = transfer.rows;
    steps.push(step(
        format!("Copy {rows} rows of {}", transfer.source.name),
        "pupctl does it in batches, up to the settled position, and proves the copy; nobody waits",
        vec![copy(transfer, columns, i64::MIN, None)],
    ));
    for leaf in &transfer.unfinished {
        steps.push(step(
            format!("Build the keys and indexes of {}", leaf.table.name),
            "over all rows at once, which takes less time than row by row; nobody waits",
            complete(leaf),
        ));
    }
    let protection = protect(transfer);
    if !protection.is_empty() {
        steps.push(step(
            format!("Protect the partitions below {}", transfer.stage.name),
            "as the others are protected, before anybody reaches them",
            protection,
        ));
    }
    let mut statements = vec![lock_writers(transfer), copy_rest(transfer, columns)];
    statements.extend(leave_stage(transfer, transfer.rest_has_rows));
    statements.extend(swap(transfer, transfer.rest_has_rows));
    steps.push(step(
        format!("Put the partitions in the place of {}", transfer.source.name),
        "writers wait some milliseconds; pupctl first copies what came meanwhile, in a second \
         session, and waits for older snapshots, which would not see it",
        statements,
    ));
    let table = &transfer.retired;
    if transfer.keep {
        return steps;
    }
    let drop = render("transfer/drop", &values! { table });
    let mut statements = vec![statement(drop, "Nobody reads it", vec![])];
    if transfer.is_split() {
        let why = "What it called is not needed any more";
        statements.push(statement(drop_refusal(table), why, vec![]));
    }
    let mut dropped = step(
        format!("Drop {}", table.name),
        "pupctl first proves that the partitions have every row of it",
        statements,
    );
    dropped.destroys = false;
    steps.push(dropped);
    steps
}

/// The partitions that come into the tree.
fn entering(
    transfer: &Transfer,
    with_rest: bool,
) -> impl Iterator<Item = (&QualifiedName, &Bound)> {
    let stays =
        move |partition: &QualifiedName| !with_rest && transfer.rest.as_ref() == Some(partition);
    let tops = transfer.tops.iter().filter(move |(partition, _)| !stays(partition));
    tops.map(|(partition, bound)| (partition, bound))
}

/// The new partitions enter the tree.
fn enter(transfer: &Transfer, with_rest: bool) -> Vec<Statement> {
    let parent = transfer.parent();
    let mut statements = Vec::new();
    for (partition, bound) in entering(transfer, with_rest) {
        let mut locks = vec![share_update(parent)];
        if transfer.role == Role::Heads {
            locks.push(exclusive(&transfer.source));
        }
        statements.push(attach(parent, partition, bound, locks));
        let values = values! { table => partition, constraint => BOUNDS_CHECK };
        let why = "It has spared the reading of the partition";
        statements.push(statement(render("transfer/drop_check", &values), why, vec![]));
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
