//! Statements that take a partition out of its table, and bring one in that has rows.

use crate::layout::bounds::{Bound, Edge};
use crate::layout::name::QualifiedName;
use crate::plan::lifecycle::{
    BOUNDS_CHECK, BoundsCheck, Condition, EXCLUSION_CHECK, LifecycleAction,
};

use super::environment::{quoted, render, values};
use super::script::{Lock, LockMode, Statement};
use super::{quote, transfer};

pub(super) fn statement(action: &LifecycleAction) -> Statement {
    let (sql, why, locks) = match action {
        LifecycleAction::LockForDetach { parent, partition } => (
            render("partition/lock_for_detach", &values! { parent, partition }),
            "Wait here, a moment at a time",
            vec![exclusive(parent), exclusive(partition)],
        ),
        LifecycleAction::Detach { parent, partition, concurrently, default, foreign_keys } => (
            render("partition/detach", &values! { parent, partition, concurrently }),
            "Its rows leave the table; they stay in the partition",
            detach_locks(parent, partition, *concurrently, default.as_ref(), foreign_keys),
        ),
        LifecycleAction::FinalizeDetach { parent, partition } => (
            render("partition/finalize_detach", &values! { parent, partition }),
            "The rest of what was begun",
            vec![share_update(parent), exclusive(partition)],
        ),
        LifecycleAction::AddBoundsCheck { table, check } => {
            let (name, condition) = (BOUNDS_CHECK, quoted(condition(check)));
            (
                render("partition/add_bounds_check", &values! { table, name, condition }),
                "For new rows at once, for the others with the next step",
                vec![exclusive(table)],
            )
        }
        LifecycleAction::ValidateCheck { table, name } => (
            render("mend/validate_constraint", &values! { table, constraint => name }),
            "Reads the whole table",
            vec![share_update(table)],
        ),
        LifecycleAction::DropConstraint { table, name, live } => (
            render("mend/drop_constraint", &values! { table, constraint => name }),
            "It is not needed any more",
            if *live { vec![exclusive(table)] } else { Vec::new() },
        ),
        LifecycleAction::KeepTail { leaf, next, columns } => (
            render("archive/keep_tail", &values! { leaf, next, columns }),
            "What came since, and what a projection has not read, stays in the store",
            Vec::new(),
        ),
        LifecycleAction::Rename { table, to } => (
            render("partition/rename", &values! { table, to }),
            "The name is the other one's from here on",
            Vec::new(),
        ),
        LifecycleAction::AttachFilled { .. } => attach_filled(action),
        LifecycleAction::LockTable(table) => (
            render("partition/lock_table", &values! { table }),
            "Nobody changes it from here on",
            vec![exclusive(table)],
        ),
        LifecycleAction::DropBranch(table) => (
            render(
                "partition/drop_branch",
                &values! { table, name => quote::table(table), message => has_partitions(table) },
            ),
            "Nothing is in it",
            vec![exclusive(table)],
        ),
        LifecycleAction::DropEmpty(table) => (
            render("partition/drop_empty", &values! { table, message => has_rows(table) }),
            "An earlier run made it, and was interrupted",
            vec![exclusive(table)],
        ),
        LifecycleAction::Comment { table, comment: Some(comment) } => (
            render("table/comment", &values! { table, comment }),
            "By this comment it is known again, and its place",
            vec![share_update(table)],
        ),
        LifecycleAction::Comment { table, comment: None } => (
            render("table/clear_comment", &values! { table }),
            "It is where it belongs",
            Vec::new(),
        ),
        LifecycleAction::AddExclusionCheck { table, bounds } => {
            let (name, condition) = (EXCLUSION_CHECK, quoted(part(bounds)));
            (
                render("partition/add_exclusion_check", &values! { table, name, condition }),
                "For new rows at once, for the others with the next step",
                vec![exclusive(table)],
            )
        }
        LifecycleAction::RecordReturn { archives, table, oid } => (
            render("archive/returned", &values! { archives, table, oid }),
            "Its archive is known as restored; the file stays",
            Vec::new(),
        ),
        LifecycleAction::AcceptChanges(table) => (
            transfer::accept_changes(table),
            "Its rows are not copied any more",
            vec![exclusive(table)],
        ),
        LifecycleAction::DropTable(table) => (
            render("partition/drop", &values! { table }),
            "Its rows are in the archive",
            vec![exclusive(table)],
        ),
    };
    Statement { sql, why: why.to_owned(), locks }
}

fn has_partitions(table: &QualifiedName) -> String {
    format!("{table} has partitions, and an empty branch was to be dropped")
}

fn has_rows(table: &QualifiedName) -> String {
    format!("{table} has rows, and an empty table was to be dropped")
}

fn attach_filled(action: &LifecycleAction) -> (String, &'static str, Vec<Lock>) {
    let LifecycleAction::AttachFilled { parent, table, bound, default, foreign_keys, referenced } =
        action
    else {
        unreachable!("it is about a table that is attached");
    };
    let mut locks = vec![share_update(parent), exclusive(table)];
    locks.extend(default.iter().chain(referenced).map(exclusive));
    let others = foreign_keys.iter().filter(|other| !referenced.contains(other));
    locks.extend(others.map(share_row));
    let bounds = quoted(quote::bound(bound));
    let values = values! { parent, partition => table, bound => bounds };
    (render("partition/attach", &values), "Its rows are events from here on", locks)
}

fn exclusive(table: &QualifiedName) -> Lock {
    Lock { mode: LockMode::AccessExclusive, on: table.clone() }
}

fn share_row(table: &QualifiedName) -> Lock {
    Lock { mode: LockMode::ShareRowExclusive, on: table.clone() }
}

fn share_update(table: &QualifiedName) -> Lock {
    Lock { mode: LockMode::ShareUpdateExclusive, on: table.clone() }
}

fn detach_locks(
    parent: &QualifiedName,
    partition: &QualifiedName,
    concurrently: bool,
    default: Option<&QualifiedName>,
    foreign_keys: &[QualifiedName],
) -> Vec<Lock> {
    let mut locks = if concurrently {
        vec![share_update(parent), share_update(partition)]
    } else {
        vec![exclusive(parent), exclusive(partition)]
    };
    locks.extend(default.map(exclusive));
    locks.extend(foreign_keys.iter().map(share_row));
    locks
}

/// The bounds as the server's own partition constraint has them, so that it recognises them.
pub(super) fn condition(check: &BoundsCheck) -> String {
    let parts: Vec<_> = check.0.iter().map(part).collect();
    parts.join(" AND ")
}

fn part(condition: &Condition) -> String {
    let columns: Vec<_> = condition.columns.iter().map(|name| quote::ident(name)).collect();
    let (column, parent) = (columns.join(", "), condition.parent);
    match &condition.bound {
        Bound::List(values) => {
            let known: Vec<_> =
                values.iter().flatten().map(|value| quote::literal(value)).collect();
            let null = values.iter().any(Option::is_none);
            match (known.as_slice(), null) {
                ([], _) => format!("{column} IS NULL"),
                (_, true) => format!("({column} IS NULL OR {column} IN ({}))", known.join(", ")),
                ([only], false) => format!("{column} IS NOT NULL AND {column} = {only}"),
                (_, false) => {
                    format!("{column} IS NOT NULL AND {column} IN ({})", known.join(", "))
                }
            }
        }
        Bound::Range { from, to } => {
            let mut parts = vec![format!("{column} IS NOT NULL")];
            if let Edge::At(from) = from {
                parts.push(format!("{column} >= {}", quote::instant(*from)));
            }
            if let Edge::At(to) = to {
                parts.push(format!("{column} < {}", quote::instant(*to)));
            }
            parts.join(" AND ")
        }
        Bound::Hash { modulus, remainder } => format!(
            "pg_catalog.satisfies_hash_partition('{parent}'::pg_catalog.oid, {modulus}, \
             {remainder}, {column})"
        ),
        // No condition is made of these.
        Bound::Default | Bound::Other(_) => "true".to_owned(),
    }
}
