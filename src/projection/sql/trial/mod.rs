//! A trial of a SQL projection: it handles events of a file in a schema of its own, in a
//! transaction that is rolled back. Nobody else sees any of it, and nothing stays.
//!
//! Read models must not depend on how the events are cut into batches, nor on what a session has
//! set. So the events are handled several times: all in one batch, each in a batch of its own, in
//! another order within the batch, slot by slot where the projection has several, and in another time
//! zone. What differs is told.
//!
//! For tests of one's own:
//!
//! ```no_run
//! # use std::path::Path;
//! # use pupctl::projection::SqlProjection;
//! # use pupctl::projection::sql::trial::{Expected, Given, Trial};
//! # fn main() -> pupctl::Result<()> {
//! # let mut client: postgres::Client = unimplemented!();
//! let file = Path::new("projections/order_totals.sql");
//! let projection = SqlProjection::read(file, &Default::default())?;
//! let given = Given::read(Path::new("tests/orders.ndjson"), &projection)?;
//! let expected = Expected::read(Path::new("tests/order_totals.json"), &projection)?;
//! let outcome = Trial::new(projection).run(&mut client, &given, Some(&expected))?;
//! assert!(outcome.passed(), "{outcome}");
//! # Ok(()) }
//! ```

mod compare;
mod expected;
mod given;
mod handle;
mod scratch;

use std::fmt;

use postgres::Client;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;

use super::SqlProjection;
pub use compare::Difference;
use compare::Rows;
pub use expected::Expected;
pub use given::Given;
use handle::Cut;
use scratch::Scratch;

/// The other time zone: as far from UTC as one can be, so that days are others too.
const OTHER_ZONE: &str = "Pacific/Kiritimati";

/// A trial of a projection.
#[derive(Debug, Clone)]
pub struct Trial {
    projection: SqlProjection,
    batch_size: usize,
    events: QualifiedName,
}

/// The rows of the tables of a projection.
#[derive(Debug, Clone)]
pub struct ReadModel(Vec<TableRows>);

#[derive(Debug, Clone)]
struct TableRows {
    table: String,
    rows: Rows,
    /// Columns that are otherwise in each run.
    unsteady: Vec<usize>,
}

/// What came out of a trial.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Outcome {
    /// How many events the file has.
    pub events: usize,
    /// How many of them the projection reads.
    pub in_scope: usize,
    /// The tables.
    pub tables: Vec<TableOutcome>,
    /// What the read model depends on, and must not.
    pub depends_on: Vec<Dependence>,
    /// All rows.
    #[serde(skip)]
    pub read_model: ReadModel,
}

/// A table after a trial.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct TableOutcome {
    /// Its name.
    pub table: String,
    /// How many rows it has.
    pub rows: usize,
    /// Whether its rows were compared with expected ones.
    pub compared: bool,
    /// The rows that are not as expected.
    pub differences: Vec<Difference>,
}

/// Something that changes what comes out.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Dependence {
    /// What was done otherwise, as `one event in a batch`.
    pub when: String,
    /// What mends it.
    pub hint: &'static str,
    /// The table that came out otherwise.
    pub table: String,
    /// Its rows: expected is what came out of all events in one batch.
    pub differences: Vec<Difference>,
}

impl Trial {
    /// Of a projection, each event in a batch of its own, on a store in the schema `public` or none.
    #[must_use]
    pub fn new(projection: SqlProjection) -> Self {
        Self { projection, batch_size: 1, events: QualifiedName::new("public", "events") }
    }

    /// How many events a batch has in the run with small batches.
    #[must_use]
    pub fn batch_size(self, events: usize) -> Self {
        Self { batch_size: events.max(1), ..self }
    }

    /// The table of events of the store, for the columns that a team added to it. What else is in
    /// its schema can be used too. There need not be a store.
    #[must_use]
    pub fn events(self, events: QualifiedName) -> Self {
        Self { events, ..self }
    }

    /// Has the projection handle the events. Whatever happens, the database stays as it is.
    ///
    /// # Errors
    ///
    /// What of the file does not work, with its place, and the event for which it does not.
    pub fn run(
        &self,
        client: &mut Client,
        given: &Given,
        expected: Option<&Expected>,
    ) -> Result<Outcome> {
        let mut transaction = client.transaction().map_err(failed)?;
        let scratch = Scratch::make(&mut transaction, &self.projection, &self.events, given)?;
        let base = match scratch.run(&mut transaction, Cut::Whole, expected) {
            Ok(run) => run,
            Err(error) => return Err(self.explained(&scratch, &mut transaction, given, error)),
        };
        let mut model = ReadModel(base.tables);
        let mut depends_on = Vec::new();
        for cut in self.cuts() {
            let run = scratch.run(&mut transaction, cut, None).map_err(|failure| {
                failure.error(given).context(format!("with {}", cut.describe()))
            })?;
            for (number, found) in run.tables.into_iter().enumerate() {
                if model.0[number].rows.rows == found.rows.rows {
                    continue;
                }
                model.find_unsteady(&scratch, &mut transaction, given)?;
                depends_on.extend(dependence(cut, &model.0[number], &found.rows));
            }
        }
        if expected.is_none_or(Expected::leaves_columns_open) {
            model.find_unsteady(&scratch, &mut transaction, given)?;
        }
        let tables = tables(&model, &base.wanted);
        transaction.rollback().map_err(failed)?;
        Ok(Outcome {
            events: given.len(),
            in_scope: base.events,
            tables,
            depends_on,
            read_model: model,
        })
    }

    /// What must not make a difference.
    fn cuts(&self) -> Vec<Cut> {
        let mut cuts = vec![Cut::Batches(self.batch_size), Cut::Reversed];
        cuts.extend(self.projection.slots().filter(|slots| *slots > 1).map(Cut::Slots));
        cuts.push(Cut::Zone(OTHER_ZONE));
        cuts
    }

    /// All events in one batch do not work: which one is to blame, if it is one.
    fn explained(
        &self,
        scratch: &Scratch<'_>,
        transaction: &mut postgres::Transaction<'_>,
        given: &Given,
        failure: handle::Failed,
    ) -> Error {
        if !failure.is_of_a_batch() {
            return failure.error(given);
        }
        let is_aggregated_twice = failure.sqlstate() == Some("21000");
        match scratch.run(transaction, Cut::Batches(1), None) {
            Err(one) if one.is_of_a_batch() => one.error(given),
            _ => {
                let error = failure
                    .error(given)
                    .context("each event in a batch of its own works, all in one batch do not");
                if is_aggregated_twice {
                    error.hint(
                        "a batch may have several events for one row: bring them together first, \
                         with GROUP BY or DISTINCT ON (…) … ORDER BY …, global_position DESC",
                    )
                } else {
                    error
                }
            }
        }
    }
}

impl ReadModel {
    /// Runs it as it was run first, and notes what is otherwise all the same: clocks, random values.
    fn find_unsteady(
        &mut self,
        scratch: &Scratch<'_>,
        transaction: &mut postgres::Transaction<'_>,
        given: &Given,
    ) -> Result<()> {
        let again = scratch.run(transaction, Cut::Whole, None);
        let again = again.map_err(|failure| failure.error(given))?;
        for (table, again) in self.0.iter_mut().zip(again.tables) {
            table.unsteady = table.rows.unsteady(&again.rows);
        }
        Ok(())
    }

    /// The rows of each table as JSON.
    pub fn tables(&self) -> impl Iterator<Item = (&str, Vec<String>)> {
        self.0.iter().map(|found| {
            let Rows { columns, rows, .. } = &found.rows;
            let all = vec![true; columns.len()];
            let row = |row: &Vec<String>| Some(compare::object(columns, row, &all)?.to_string());
            (found.table.as_str(), rows.iter().filter_map(row).collect())
        })
    }
}

fn dependence(cut: Cut, first: &TableRows, found: &Rows) -> Option<Dependence> {
    let wanted = first.rows.wanted(&first.unsteady);
    let differences = compare::differences(&wanted, found);
    let table = first.table.clone();
    (!differences.is_empty()).then(|| Dependence {
        when: cut.describe(),
        hint: cut.hint(),
        table,
        differences,
    })
}

fn tables(model: &ReadModel, wanted: &[Option<Vec<compare::Wanted>>]) -> Vec<TableOutcome> {
    let outcome = |(found, wanted): (&TableRows, &Option<Vec<compare::Wanted>>)| TableOutcome {
        table: found.table.clone(),
        rows: found.rows.rows.len(),
        compared: wanted.is_some(),
        differences: match wanted {
            Some(wanted) => compare::differences(wanted, &found.rows),
            None => Vec::new(),
        },
    };
    model.0.iter().zip(wanted).map(outcome).collect()
}

impl Outcome {
    /// Whether the rows are as expected, however the events are cut.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.as_expected() && self.depends_on.is_empty()
    }

    /// Whether the rows are as expected when all events are in one batch.
    #[must_use]
    pub fn as_expected(&self) -> bool {
        self.tables.iter().all(|table| table.differences.is_empty())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in self.tables.iter().filter(|table| !table.differences.is_empty()) {
            writeln!(formatter, "{} is not as expected", table.table)?;
            for line in table.differences.iter().flat_map(Difference::lines) {
                writeln!(formatter, "{line}")?;
            }
        }
        for Dependence { when, hint, table, differences } in &self.depends_on {
            writeln!(formatter, "{table} is otherwise with {when}: {hint}")?;
            for line in differences.iter().flat_map(Difference::lines) {
                writeln!(formatter, "{line}")?;
            }
        }
        Ok(())
    }
}

fn failed(error: postgres::Error) -> Error {
    let error = Error::database("trying the projection", error);
    match error.sqlstate() {
        // read_only_sql_transaction
        Some("25006") => error.hint(
            "a trial makes tables and takes them back: connect to a server that takes writes, or \
             try it on a private one with --embedded",
        ),
        Some("42501") => error.hint(
            "a trial makes a schema and takes it back: work as a role that may make schemas in \
             this database, or try it on a private server with --embedded",
        ),
        _ => error,
    }
}
