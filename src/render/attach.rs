//! Statements that make a table like the one to which it is to be attached, and its rows fit to
//! join: and what is asked about it before.

use crate::catalog::relation::ReplicaIdentity;
use crate::layout::name::QualifiedName;
use crate::plan::attach::{Admission, Alignment, Change};
use crate::plan::lifecycle::BoundsCheck;

use super::environment::{quoted, render, values};
use super::lifecycle::condition;
use super::protection::event_ids_table;
use super::quote;
use super::script::{Lock, LockMode, Statement};

/// The statements of an alignment. Locks on the table itself keep nobody waiting who comes through
/// the table of events.
pub(super) fn align(alignment: &Alignment) -> Vec<Statement> {
    let Alignment { table, change } = alignment;
    let name = table;
    let own = || vec![Lock { mode: LockMode::AccessExclusive, on: table.clone() }];
    let one = |sql: String, why: &str, locks: Vec<Lock>| {
        vec![Statement { sql, why: why.to_owned(), locks }]
    };
    let as_there = "As on the table of events";
    match change {
        Change::Owner(owner) => {
            one(render("partition/owner", &values! { name, owner }), as_there, own())
        }
        Change::Grant(grant) => {
            let values = values! {
                name,
                privilege => grant.privilege,
                grantee => grant.grantee,
                grantable => grant.grantable,
            };
            one(render("partition/grant", &values), as_there, Vec::new())
        }
        Change::Revoke { grant, option } => {
            let column: Option<&str> = None;
            let (privilege, grantee) = (&grant.privilege, &grant.grantee);
            let values = values! { table, privilege, grantee, option, column };
            one(render("mend/revoke", &values), "Nobody has it on the table of events", Vec::new())
        }
        Change::RevokeColumn(found) => {
            let (column, option) = (&found.column, false);
            let (privilege, grantee) = (&found.grant.privilege, &found.grant.grantee);
            let values = values! { table, privilege, grantee, option, column };
            one(render("mend/revoke", &values), "Nobody has it on the table of events", Vec::new())
        }
        Change::ReplicaIdentity(identity) => {
            let identity = match identity {
                ReplicaIdentity::Full => "FULL",
                ReplicaIdentity::Nothing => "NOTHING",
                ReplicaIdentity::Default | ReplicaIdentity::Index => "DEFAULT",
            };
            one(render("mend/replica_identity", &values! { table, identity }), as_there, own())
        }
        Change::NotNull { column, not_null } => one(
            render("mend/column_not_null", &values! { table, column, not_null }),
            as_there,
            own(),
        ),
        Change::Default { column, expression } => {
            let expression = quoted(expression.clone().unwrap_or_default());
            let values = values! { table, column, expression, only => false };
            one(render("mend/column_default", &values), as_there, own())
        }
        Change::Parameters { have, wanted } => parameters(table, have, wanted),
        Change::Key { columns, primary } => one(
            render("partition/keys", &values! { name, keys => [columns], primary }),
            "Every partition has it",
            own(),
        ),
        Change::KeyFromIndex(index) => one(
            render("attach/key_from_index", &values! { table, index }),
            "The index is there; it becomes the key",
            own(),
        ),
        Change::Constraint { name, definition, references } => {
            let definition = quoted(definition.trim_end_matches(" NOT VALID").to_owned());
            let mut locks = own();
            locks.extend(
                references
                    .iter()
                    .map(|on| Lock { mode: LockMode::ShareRowExclusive, on: on.clone() }),
            );
            one(
                render("attach/constraint", &values! { table, name, definition }),
                "For new rows at once, for the others with the next step",
                locks,
            )
        }
    }
}

/// The statements that give a table the storage parameters `wanted` in place of those it has.
fn parameters(table: &QualifiedName, have: &[String], wanted: &[String]) -> Vec<Statement> {
    super::mend::parameters(table, false, have, wanted)
        .into_iter()
        .map(|sql| Statement {
            sql: sql.trim_end_matches(';').to_owned(),
            why: "As most partitions have them".to_owned(),
            locks: vec![Lock { mode: LockMode::ShareUpdateExclusive, on: table.clone() }],
        })
        .collect()
}

/// The statement of an admission.
pub(super) fn admit(admission: &Admission) -> Statement {
    let lock = |mode, on: &QualifiedName| Lock { mode, on: on.clone() };
    match admission {
        Admission::MoveSequence { sequence, last, highest, events, table } => Statement {
            sql: render(
                "attach/move_sequence",
                &values! { sequence => quote::table(sequence), last, highest, events, table },
            ),
            why: "No event is under way meanwhile that has drawn one of these positions".to_owned(),
            locks: vec![lock(LockMode::ShareRowExclusive, events)],
        },
        Admission::CollectIds { schema, events, table } => {
            let event_ids = event_ids_table(schema);
            Statement {
                sql: render("attach/collect_ids", &values! { event_ids, events, table }),
                why: "The ids that are not known yet, unless another event has them".to_owned(),
                locks: vec![
                    lock(LockMode::RowExclusive, &event_ids),
                    lock(LockMode::AccessShare, events),
                ],
            }
        }
        Admission::RaiseHeads { heads, events, table } => Statement {
            sql: render("attach/raise_heads", &values! { heads, events, table }),
            why: "No head lies below the last version of its aggregate".to_owned(),
            locks: vec![lock(LockMode::RowExclusive, heads)],
        },
    }
}

/// What is there twice in a table.
#[must_use]
pub fn doubled_within(table: &QualifiedName, columns: &[&str]) -> String {
    render("attach/doubled_within", &values! { table, columns })
}

/// What is in a table and in the store, among the positions from `first` to `last` of the store.
#[must_use]
pub fn doubled_in_store(
    table: &QualifiedName,
    events: &QualifiedName,
    columns: &[&str],
    between: Option<(i64, i64)>,
) -> String {
    let (first, last) = between.unzip();
    let bounded = between.is_some();
    render("attach/doubled_in_store", &values! { table, events, columns, bounded, first, last })
}

/// How many rows a table has, between which positions, how many lie outside of the bounds, and how
/// many have no value in each of these columns.
#[must_use]
pub fn rows(table: &QualifiedName, check: &BoundsCheck, columns: &[String]) -> String {
    let condition = quoted(condition(check));
    render("attach/rows", &values! { table, condition, columns })
}

/// One row outside of the bounds, in words.
#[must_use]
pub fn outside(table: &QualifiedName, check: &BoundsCheck) -> String {
    let condition = quoted(condition(check));
    render("attach/outside", &values! { table, condition })
}

/// Whether a DEFAULT partition has rows, and how many within the bounds.
#[must_use]
pub fn default_rows(table: &QualifiedName, check: &BoundsCheck) -> String {
    let condition = quoted(condition(check));
    render("attach/default_rows", &values! { table, condition })
}
