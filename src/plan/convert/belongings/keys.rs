//! Constraints and indexes.

use crate::catalog::surroundings::{Constraint, Index, Surroundings};
use crate::layout::{Layout, Role};

use super::columns::must_take_null;
use super::{Belonging, Examined, Mend, partition_columns};

/// What an index is beside those of the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// The layout makes the same, or one that does its work.
    No,
    /// It is carried.
    Carried,
    /// A unique one that a partitioned table cannot have.
    Impossible,
    /// The server does not use it.
    Invalid,
}

pub(super) fn examine(examined: &Examined<'_>, found: &mut Vec<Belonging>) {
    let surroundings = examined.surroundings;
    for constraint in &surroundings.constraints {
        one(examined, constraint, found);
    }
    for reference in &surroundings.references {
        let what = format!("the foreign key {} of {}", reference.name, reference.table);
        let why = "it needs a unique key of the whole table, which a partitioned one lacks (42830)";
        let (table, constraint) = (reference.table.clone(), reference.name.clone());
        found.push(Belonging::refused(what, why, Mend::DropConstraint { table, constraint }));
    }
    for index in &surroundings.indexes {
        index_of(examined, index, found);
    }
}

fn one(examined: &Examined<'_>, constraint: &Constraint, found: &mut Vec<Belonging>) {
    let (table, name) = (examined.name(), constraint.name.clone());
    let drop = Mend::DropConstraint { table: table.clone(), constraint: name.clone() };
    match constraint.kind.as_str() {
        "c" => {
            let what = format!("the constraint {name} {}", constraint.definition);
            let refused = |why, mend| Belonging::refused(what.clone(), why, mend);
            found.push(if !constraint.enforced {
                refused("nothing enforces it, and partitions would", drop)
            } else if constraint.no_inherit {
                refused("NO INHERIT: a partitioned table cannot keep it from its partitions", drop)
            } else if !constraint.valid {
                let why = "NOT VALID: rows that break it could not be copied";
                refused(why, Mend::ValidateConstraint { table, constraint: name })
            } else {
                Belonging::carried(what, "the new table and its partitions get it")
            });
        }
        // What makes the column take NULL drops it too.
        "n" if goes_with_its_column(examined, constraint) => {}
        "n" => {
            let what = format!("the constraint {name} {}", constraint.definition);
            let why = "NOT VALID: rows that break it could not be copied";
            let mend = Mend::ValidateConstraint { table, constraint: name };
            found.push(Belonging::refused(what, why, mend));
        }
        "f" => {
            let other = constraint.references.as_ref();
            let other = other.map_or(String::new(), ToString::to_string);
            let what = format!("the foreign key {name} to {other}");
            let why = "it would be checked for every row of the copy, and for every partition";
            found.push(Belonging::refused(what, why, drop));
        }
        "x" => {
            let what = format!("the exclusion constraint {name} {}", constraint.definition);
            let why = "nothing holds it between partitions";
            found.push(Belonging::refused(what, why, drop));
        }
        // Primary keys and unique constraints are judged by their indexes.
        _ => {}
    }
}

fn goes_with_its_column(examined: &Examined<'_>, constraint: &Constraint) -> bool {
    let mut columns =
        constraint.columns.iter().filter_map(|name| examined.surroundings.column(name));
    columns.any(|column| must_take_null(examined.role, column))
}

/// What an index of the table is to a layout.
#[must_use]
pub fn extra_index(
    layout: &Layout,
    role: Role,
    surroundings: &Surroundings,
    index: &Index,
) -> Extra {
    let is_key = |columns: &[&str]| {
        index.columns.len() == columns.len()
            && columns.iter().all(|column| index.columns.iter().any(|own| own == column))
    };
    let exclusion = surroundings
        .constraints
        .iter()
        .any(|own| own.kind == "x" && index.constraint.as_ref() == Some(&own.name));
    if exclusion {
        // It goes with its constraint, or nothing is begun.
        return Extra::No;
    }
    if !index.valid {
        return Extra::Invalid;
    }
    let keys = role.unique_columns().iter().map(std::slice::from_ref);
    let is_a_key = keys.chain([role.key_columns()]).any(is_key) && !index.partial;
    if is_a_key && (index.unique || index.method == "btree") {
        return Extra::No;
    }
    let own: (&str, &[&str]) = match role {
        Role::Events => ("brin", &["created_at"]),
        Role::Heads => ("btree", &["updated_at"]),
    };
    if !index.unique && !index.partial && index.method == own.0 && is_key(own.1) {
        return Extra::No;
    }
    let divided = partition_columns(layout, role);
    let has_all = divided.iter().all(|column| index.columns.iter().any(|own| own == column));
    // A key of a parent must have the columns of every level below.
    if index.unique && !has_all { Extra::Impossible } else { Extra::Carried }
}

fn index_of(examined: &Examined<'_>, index: &Index, found: &mut Vec<Belonging>) {
    let surroundings = examined.surroundings;
    let what = match (&index.constraint, index.primary) {
        (Some(name), true) => format!("the primary key {name}"),
        (Some(name), false) => format!("the unique constraint {name}"),
        (None, _) => format!("the index {} {}", index.name, index.definition),
    };
    let exclusion = index.constraint.is_some() && !index.unique;
    if exclusion {
        return;
    }
    found.push(match extra_index(examined.layout, examined.role, surroundings, index) {
        Extra::No => Belonging::left(what, of_the_layout(examined, index)),
        Extra::Invalid => Belonging::left(what, "the server does not use it: its build failed"),
        Extra::Carried => {
            let tablespace = index.tablespace.as_ref();
            let elsewhere = tablespace.map_or(String::new(), |name| {
                format!("; in the tablespace of the partitions, not in {name}")
            });
            let how = format!("every partition gets it, once its rows are there{elsewhere}");
            Belonging::carried(what, how)
        }
        Extra::Impossible => {
            let columns: Vec<_> =
                partition_columns(examined.layout, examined.role).into_iter().collect();
            let why = format!(
                "a unique key of a partitioned table must have the columns that divide it: {}",
                columns.join(", ")
            );
            let table = examined.name();
            let mend = match &index.constraint {
                Some(name) => Mend::DropConstraint { table, constraint: name.clone() },
                None => Mend::DropIndex { index: table.sibling(index.name.clone()) },
            };
            Belonging::refused(what, why, mend)
        }
    });
}

/// Why the layout needs no copy of an index.
fn of_the_layout(examined: &Examined<'_>, index: &Index) -> String {
    let Examined { layout, role, .. } = examined;
    if !index.unique {
        let is_key = index.columns.len() == role.key_columns().len() && index.method == "btree";
        return if is_key
            || index.columns.iter().any(|own| role.unique_columns().contains(&own.as_str()))
        {
            "it repeats a unique key that every partition has".to_owned()
        } else {
            "every partition has one of its own".to_owned()
        };
    }
    let is_aggregate = index.columns.len() == role.key_columns().len();
    if is_aggregate && layout.root_has_key(*role) {
        return "the new table has it on the key of aggregates, as every partition".to_owned();
    }
    format!(
        "every partition has its own; ON CONFLICT ({}) on the table itself fails then (42P10)",
        index.columns.join(", ")
    )
}
