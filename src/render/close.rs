//! The statements that close a month, and open it again.

use crate::error::CLOSED_CHECK;
use crate::layout::name::QualifiedName;
use crate::plan::Transaction;
use crate::plan::close::State;
use crate::plan::target::Located;

use super::environment::{render, values};
use super::script::{Lock, LockMode, RenderedStep, Statement};
use super::tables::closed_table;

/// The steps that close a leaf, from where it is.
#[must_use]
pub fn close(
    schema: &str,
    located: &Located<'_>,
    columns: &[String],
    state: State,
) -> Vec<RenderedStep> {
    let leaf = &located.relation.name;
    let name = CLOSED_CHECK;
    let mut steps = Vec::new();
    if !state.sealed {
        let sql = render("close/seal", &values! { leaf, name });
        let why = "Only the positions that are there now: events that come late are refused";
        steps.push(step(
            format!("Seal {}", leaf.name),
            "in one transaction of milliseconds",
            vec![statement(sql, why, LockMode::AccessExclusive, leaf)],
        ));
    }
    if !state.valid {
        let sql =
            render("mend/validate_constraint", &values! { table => leaf, constraint => name });
        let why = "Then readers by position leave the month out; readers and writers go on";
        steps.push(step(
            format!("Prove that {} keeps its positions", leaf.name),
            "the planner believes a CHECK only when every row was looked at",
            vec![statement(sql, why, LockMode::ShareUpdateExclusive, leaf)],
        ));
    }
    let vacuum = render("close/vacuum", &values! { leaf });
    let why = "No row of it has to be looked at by VACUUM again, for as long as it is there";
    let mut frozen = step(
        format!("Freeze {}", leaf.name),
        "its rows do not change any more",
        vec![statement(vacuum, why, LockMode::ShareUpdateExclusive, leaf)],
    );
    frozen.transaction = Transaction::Forbidden;
    steps.push(frozen);
    steps.push(finish(schema, located, columns));
    steps
}

/// Summarises what BRIN indexes have not, and records what is in the month.
fn finish(schema: &str, located: &Located<'_>, columns: &[String]) -> RenderedStep {
    let leaf = &located.relation.name;
    let brin = located.relation.indexes.iter().filter(|index| index.method == "brin");
    let mut statements: Vec<_> = brin
        .map(|index| {
            let index = leaf.sibling(index.name.as_str());
            let sql = render("close/summarize", &values! { index });
            let why = "The last pages too are found by their time";
            statement(sql, why, LockMode::ShareUpdateExclusive, leaf)
        })
        .collect();
    let closed = closed_table(schema);
    let place = serde_json::to_string(&located.place).unwrap_or_default();
    let oid = located.relation.oid;
    let sql = render("close/record", &values! { closed, oid, leaf, place, columns });
    let why = "How many events, from which position to which, and a sum over all of them";
    statements.push(statement(sql, why, LockMode::AccessShare, leaf));
    step(
        format!("Record what is in {}", leaf.name),
        "later anybody can prove that nothing in it was changed",
        statements,
    )
}

/// The step that opens a leaf again.
#[must_use]
pub fn reopen(schema: &str, located: &Located<'_>, recorded: bool) -> RenderedStep {
    let leaf = &located.relation.name;
    let drop =
        render("transfer/drop_check", &values! { table => leaf, constraint => CLOSED_CHECK });
    let why = "It takes events again";
    let mut statements = vec![statement(drop, why, LockMode::AccessExclusive, leaf)];
    if recorded {
        let (closed, oid) = (closed_table(schema), located.relation.oid);
        let sql = render("close/forget", &values! { closed, oid });
        let why = "What was recorded may not be true for long".to_owned();
        statements.push(Statement { sql, why, locks: Vec::new() });
    }
    step(format!("Open {} again", leaf.name), "events that came late belong there", statements)
}

fn statement(sql: String, why: &str, mode: LockMode, on: &QualifiedName) -> Statement {
    Statement { sql, why: why.to_owned(), locks: vec![Lock { mode, on: on.clone() }] }
}

fn step(title: String, why: &str, statements: Vec<Statement>) -> RenderedStep {
    RenderedStep {
        title,
        why: why.to_owned(),
        transaction: Transaction::Required,
        destroys: false,
        statements,
        migration: None,
        partitions: 0,
    }
}
