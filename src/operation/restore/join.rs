//! Rows come back into a leaf that others write to.

use postgres::Transaction;

use crate::db::execute;
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::Role;
use crate::layout::name::QualifiedName;
use crate::operation::archives::{self, Phase, Record};
use crate::plan::lifecycle::LifecycleAction;
use crate::plan::{Plan, Step};
use crate::render::Script;
use crate::render::environment::{render, values};
use crate::render::protection::event_ids_table;

use super::Restorer;

fn failed(error: postgres::Error) -> Error {
    let error = Error::database("moving rows back into the store", error);
    // unique_violation: somebody has stored the same version, id or position since.
    if error.sqlstate() == Some("23505") {
        return error.hint(
            "the store has something in their place: look at it with --no-attach, or restore into \
             another schema with --into",
        );
    }
    error
}

impl Restorer<'_> {
    /// Moves the rows of a table into a leaf, proves that all are there, and drops the table; in
    /// the same transaction the record says so.
    pub(super) fn join(
        &mut self,
        table: &QualifiedName,
        leaf: &QualifiedName,
        columns: &[String],
        settles: Option<(&Record, Phase)>,
    ) -> Result<()> {
        let sql = render("archive/joined_up_to", &values! { table, leaf });
        let row = self.locked.client().query_one(&sql, &[]).map_err(failed)?;
        // An interrupted run has come so far: batches go up, and each is whole.
        let joined = row.get::<_, Option<i64>>("last");
        if joined.is_none() {
            self.refuse_doubled(table, leaf)?;
        }
        let mut after = joined.unwrap_or(i64::MIN);
        self.progress.phase(&format!("Moving rows into {}", leaf.name), None);
        let mut moved = 0;
        loop {
            self.interrupt.check()?;
            let (rows, last) = self.batch(table, leaf, columns, after)?;
            reach("restore::joined");
            moved += u64::try_from(rows).unwrap_or(0);
            self.progress.passed(moved);
            let Some(last) = last else { break };
            after = last;
        }
        self.progress.phase("Comparing the rows", None);
        let lock = LifecycleAction::LockTable(table.clone());
        let gone = LifecycleAction::DropTable(table.clone());
        let mut step = Step::new(
            format!("Drop {}", table.name),
            format!("all of its rows are in {}, and were compared", leaf.name),
            vec![lock.into(), gone.into()],
        );
        step.destroys = true;
        let script = Script::of(&Plan { steps: vec![step], ..Plan::default() });
        let schema = self.locked.schema().to_owned();
        let heads = self.layout.table(&schema, Role::Heads);
        for step in &script.steps {
            execute::execute_checked(
                self.locked,
                step,
                self.request.limits,
                self.interrupt,
                &mut *self.progress,
                // Nobody can change it any more: what is compared here is what is dropped.
                &mut |transaction| {
                    prove_joined(transaction, table, leaf, columns)?;
                    raise_heads(transaction, table, &heads)
                },
                &mut |transaction| match settles {
                    Some((record, phase)) => {
                        let name = Some(leaf.name.as_str());
                        archives::advance(transaction, &schema, record.id, phase, name)
                    }
                    None => Ok(()),
                },
            )?;
        }
        reach("restore::dropped");
        Ok(())
    }

    /// Refuses rows in whose place the store has something else, before any of them has joined it.
    fn refuse_doubled(&mut self, table: &QualifiedName, leaf: &QualifiedName) -> Result<()> {
        let (mut keys, position) = (vec![Role::Events.key_columns().to_vec()], "global_position");
        keys.extend(Role::Events.unique_columns().iter().map(|column| vec![*column]));
        for columns in keys.into_iter().filter(|columns| *columns != [position]) {
            let sql = render("archive/doubled", &values! { table, leaf, columns });
            let rows = self.locked.client().query(&sql, &[]).map_err(failed)?;
            if !rows.is_empty() {
                let examples = rows.iter().map(|row| row.get::<_, String>("example"));
                return Err(Error::refused(format!(
                    "{leaf} has events with the same {} as some that were to come back",
                    columns.join(", ")
                ))
                .details(examples)
                .hint("look at both: restore into another schema with --into"));
            }
        }
        Ok(())
    }

    fn batch(
        &mut self,
        table: &QualifiedName,
        leaf: &QualifiedName,
        columns: &[String],
        after: i64,
    ) -> Result<(i64, Option<i64>)> {
        let schema = self.locked.schema().to_owned();
        let keeps_ids = self.layout.keeps_event_ids();
        let limit = self.request.batch;
        let mut transaction = self.locked.client().transaction().map_err(failed)?;
        transaction
            .batch_execute(include_str!("../../../sql/event/import/maintenance.sql"))
            .map_err(failed)?;
        if keeps_ids {
            // They are kept from before the events left; the trigger notes them again.
            let event_ids = event_ids_table(&schema);
            let sql = render("archive/forget_ids", &values! { event_ids, table });
            transaction.execute(&sql, &[&after, &limit]).map_err(failed)?;
        }
        let sql = render("archive/join_batch", &values! { table, leaf, columns });
        let row = transaction.query_one(&sql, &[&after, &limit]).map_err(failed)?;
        reach("restore::before_join");
        transaction.commit().map_err(failed)?;
        Ok((row.get("rows"), row.get("last")))
    }

    /// What the batches are found by.
    pub(super) fn index_positions(&mut self, table: &QualifiedName) -> Result<()> {
        let sql = render("archive/index_positions", &values! { table });
        self.locked.client().batch_execute(&sql).map_err(failed)
    }
}

/// Every row of the table is in the leaf, byte by byte.
fn prove_joined(
    transaction: &mut Transaction<'_>,
    table: &QualifiedName,
    leaf: &QualifiedName,
    columns: &[String],
) -> Result<()> {
    let sql = render("archive/joined_rows", &values! { table, leaf, columns });
    let row = transaction.query_one(&sql, &[]).map_err(failed)?;
    let (rows, same): (i64, i64) = (row.get("rows"), row.get("same"));
    if rows == same {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{} of {rows} rows of {table} are not in {leaf} as they were: nothing was dropped",
        rows - same
    ))
    .hint("somebody changes events while they come back: see who, and run the command again"))
}

/// Heads that are missing or lower, so that no version is given out twice.
fn raise_heads(
    transaction: &mut Transaction<'_>,
    table: &QualifiedName,
    heads: &QualifiedName,
) -> Result<()> {
    let sql = render("attach/raise_heads", &values! { table, heads, events => false });
    transaction.batch_execute(&sql).map_err(failed)
}
