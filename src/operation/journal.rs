//! `pupctl_operations`: one row for every run that wrote something.

use chrono::{DateTime, Utc};
use postgres::{Client, GenericClient, Row};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::db::{Locked, lock};
use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;
use crate::render::environment::{render, values};
use crate::render::tables::operations_table;

/// How many operations that did not come to their end are remembered.
const UNFINISHED_MAX: i64 = 20;

/// A run, as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// Its number.
    pub id: i64,
    /// The command.
    pub command: String,
    /// The version of pupctl.
    pub pupctl_version: String,
    /// The role as which it ran.
    pub role: String,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// `running`, `done`, `failed` or `interrupted`.
    pub outcome: String,
    /// The error, where there was one.
    pub detail: Option<String>,
    /// How far a long operation is, and what it was asked for.
    pub state: Option<Value>,
}

impl Operation {
    /// The words that it was given, where it can be gone on with.
    #[must_use]
    pub fn request(&self) -> Option<Vec<String>> {
        serde_json::from_value(self.state.as_ref()?.get("request")?.clone()).ok()
    }

    /// The command, as a job that is run again and again.
    fn job(&self) -> String {
        let is_expired = |words: Vec<String>| words.iter().any(|word| word == "--expired");
        let expired = self.request().is_some_and(is_expired);
        if expired { format!("{} --expired", self.command) } else { self.command.clone() }
    }

    /// What it was busy with last.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.state.as_ref()?.get("subject")?.as_str()
    }

    /// When the same was asked for last, and nothing was left to do.
    #[must_use]
    pub fn confirmed_at(&self) -> Option<DateTime<Utc>> {
        self.state.as_ref()?.get("confirmed_at")?.as_str()?.parse().ok()
    }

    /// The numbers of the tables that it was about.
    #[must_use]
    pub fn tables(&self) -> Vec<u32> {
        let tables = self.state.as_ref().and_then(|state| state.get("tables")).cloned();
        tables.and_then(|tables| serde_json::from_value(tables).ok()).unwrap_or_default()
    }

    /// The key of the lock that it holds for as long as it runs, where that is not the store's.
    fn lock(&self) -> Option<u32> {
        let lock = self.state.as_ref()?.get("lock")?.as_u64()?;
        u32::try_from(lock).ok()
    }

    /// Whether it did not come to its end, and the same command goes on with it.
    #[must_use]
    pub fn can_be_resumed(&self) -> bool {
        !matches!(self.outcome.as_str(), "done" | "running") && self.request().is_some()
    }
}

/// How the runs of a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Job {
    /// The command; `archive --expired` is one of its own.
    pub job: String,
    /// How: `done`, `failed`, `interrupted`, or `running`.
    pub outcome: String,
    /// How many of them.
    pub runs: i64,
    /// When the last of them ended, those with nothing left to do too.
    pub latest: Option<DateTime<Utc>>,
}

/// A table that a run which takes out expired months had to leave where it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its number.
    pub table: u32,
    /// Its name.
    pub leaf: String,
    /// Why.
    pub reason: String,
}

/// Ends the rows that still say `running`. They belong to processes that died: whoever holds the
/// lock of the store is the only one that runs.
pub(super) fn end_interrupted(locked: &mut Locked) -> Result<()> {
    let table = operations_table(locked.schema());
    locked
        .client()
        .execute(&render("operation/interrupted", &values! { table }), &[])
        .map_err(|error| Error::database("writing the journal", error))?;
    Ok(())
}

/// Begins a row, after the ends of those that died.
pub(super) fn start(locked: &mut Locked, command: &str) -> Result<i64> {
    end_interrupted(locked)?;
    let table = operations_table(locked.schema());
    let client = locked.client();
    let fail = |error| Error::database("writing the journal", error);
    let version = env!("CARGO_PKG_VERSION");
    let row = client
        .query_one(&render("operation/start", &values! { table }), &[&command, &version])
        .map_err(fail)?;
    reach("operation::started");
    Ok(row.get(0))
}

/// Notes when a run found nothing left to do: the journal grows by it no more than once.
pub(super) fn confirm(
    locked: &mut Locked,
    command: &str,
    request: Option<&[String]>,
) -> Result<()> {
    let table = operations_table(locked.schema());
    let request = request.map(|words| json!(words));
    let version = env!("CARGO_PKG_VERSION");
    locked
        .client()
        .execute(&render("operation/confirm", &values! { table }), &[&command, &version, &request])
        .map_err(|error| Error::database("writing the journal", error))?;
    Ok(())
}

/// Begins the row of an operation that works beside others: its state names the lock that it holds.
pub(super) fn start_beside(
    client: &mut Client,
    schema: &str,
    command: &str,
    state: &Value,
) -> Result<i64> {
    let table = operations_table(schema);
    let fail = |error| Error::database("writing the journal", error);
    let sql = render("operation/interrupted_beside", &values! { table });
    client.execute(&sql, &[state]).map_err(fail)?;
    let sql = render("operation/start_beside", &values! { table });
    let version = env!("CARGO_PKG_VERSION");
    let row = client.query_one(&sql, &[&command, &version, state]).map_err(fail)?;
    Ok(row.get(0))
}

/// Ends a row with the outcome of the run.
pub(super) fn end(locked: &mut Locked, id: i64, failure: Option<&Error>) -> Result<()> {
    reach("operation::before_end");
    let schema = locked.schema().to_owned();
    end_row(locked.client(), &schema, id, failure)
}

/// The same for an operation that works beside others, or within the transaction that ends it.
pub(crate) fn end_row(
    client: &mut impl GenericClient,
    schema: &str,
    id: i64,
    failure: Option<&Error>,
) -> Result<()> {
    let table = operations_table(schema);
    let (word, detail) = match failure {
        None => ("done", None),
        Some(error) if error.kind() == Kind::Interrupted => ("interrupted", None),
        Some(error) => ("failed", Some(error.message().to_owned())),
    };
    client
        .execute(&render("operation/end", &values! { table }), &[&id, &word, &detail])
        .map_err(|error| Error::database("writing the journal", error))?;
    Ok(())
}

/// Notes how far an operation is. In the transaction that got it there, so that both are true or
/// neither.
pub(crate) fn note(
    client: &mut impl GenericClient,
    schema: &str,
    id: i64,
    state: &Value,
) -> Result<()> {
    let table = operations_table(schema);
    client
        .execute(&render("operation/note", &values! { table }), &[&id, state])
        .map_err(|error| Error::database("writing the journal", error))?;
    Ok(())
}

/// Where operations of this command stopped that did not come to their end, newest first.
pub(crate) fn unfinished(
    client: &mut impl GenericClient,
    schema: &str,
    command: &str,
) -> Result<Vec<(i64, Value)>> {
    let table = operations_table(schema);
    let rows = client
        .query(&render("operation/unfinished", &values! { table }), &[&command, &UNFINISHED_MAX])
        .map_err(|error| Error::database("reading the journal", error))?;
    Ok(rows.iter().map(|row| (row.get("id"), row.get("state"))).collect())
}

/// Forgets where operations stopped, because another one went on and came to the end.
pub(crate) fn forget(client: &mut impl GenericClient, schema: &str, ids: &[i64]) -> Result<()> {
    let table = operations_table(schema);
    client
        .execute(&render("operation/forget", &values! { table }), &[&ids])
        .map_err(|error| Error::database("writing the journal", error))?;
    Ok(())
}

/// The latest rows, newest first; none where there is no journal yet.
pub fn latest(client: &mut Client, schema: &str, count: i64) -> Result<Vec<Operation>> {
    let table = operations_table(schema);
    let found = rows(client.query(&render("operation/list", &values! { table }), &[&count]))?;
    with_the_dead(client, schema, found)
}

/// How the runs of each command ended, those that run too; none where there is no journal yet.
/// `stated` says whether it has states.
pub fn jobs(client: &mut Client, schema: &str, stated: bool) -> Result<Vec<Job>> {
    let failed = |error| Error::database("reading the journal", error);
    let table = operations_table(schema);
    let found =
        client.query(&render("operation/jobs", &values! { table, stated }), &[]).map_err(failed)?;
    let job = |row: &Row| Job {
        job: row.get("job"),
        outcome: row.get("outcome"),
        runs: row.get("runs"),
        latest: row.get("latest"),
    };
    let mut jobs: Vec<_> = found.iter().map(job).collect();
    let running = rows(client.query(&render("operation/running", &values! { table }), &[]))?;
    for operation in with_the_dead(client, schema, running)? {
        let (name, outcome) = (operation.job(), operation.outcome);
        match jobs.iter_mut().find(|job| job.job == name && job.outcome == outcome) {
            Some(job) => job.runs += 1,
            None => jobs.push(Job { job: name, outcome, runs: 1, latest: None }),
        }
    }
    Ok(jobs)
}

/// What the last run that took out expired months had to leave where it was.
pub fn held(client: &mut Client, schema: &str) -> Result<Vec<Held>> {
    let table = operations_table(schema);
    let row = client
        .query_opt(&render("operation/held", &values! { table }), &[])
        .map_err(|error| Error::database("reading the journal", error))?;
    let held = row.map(|row| row.get::<_, Value>("held"));
    Ok(held.and_then(|held| serde_json::from_value(held).ok()).unwrap_or_default())
}

/// A process that was killed says that it runs until the next run marks it. Who runs holds the lock
/// of the store, or one of its own: where nobody does, nothing runs.
fn with_the_dead(
    client: &mut Client,
    schema: &str,
    mut operations: Vec<Operation>,
) -> Result<Vec<Operation>> {
    let runs = |operation: &Operation| operation.outcome == "running";
    if !operations.iter().any(runs) {
        return Ok(operations);
    }
    let store = lock::is_held(client, schema)?;
    for operation in operations.iter_mut().filter(|operation| runs(operation)) {
        let lives = match operation.lock() {
            Some(key) => lock::is_named_held(client, key)?,
            None => store,
        };
        if !lives {
            "interrupted".clone_into(&mut operation.outcome);
            operation.detail = Some("the process ended without a word".to_owned());
        }
    }
    Ok(operations)
}

/// When each command began last that came to its end, or had nothing left to do; none where there
/// is no journal yet.
pub fn successes(client: &mut Client, schema: &str) -> Result<Vec<(String, DateTime<Utc>)>> {
    let table = operations_table(schema);
    match client.query(&render("operation/successes", &values! { table }), &[]) {
        Ok(rows) => Ok(rows.iter().map(|row| (row.get("command"), row.get("at"))).collect()),
        Err(error) if error.code().is_some_and(|code| code.code() == "42P01") => Ok(Vec::new()),
        Err(error) => Err(Error::database("reading the journal", error)),
    }
}

/// The row of this number.
pub fn find(client: &mut Client, schema: &str, id: i64) -> Result<Option<Operation>> {
    let table = operations_table(schema);
    let found = rows(client.query(&render("operation/find", &values! { table }), &[&id]))?;
    Ok(with_the_dead(client, schema, found)?.into_iter().next())
}

fn rows(rows: Result<Vec<Row>, postgres::Error>) -> Result<Vec<Operation>> {
    match rows {
        Ok(rows) => Ok(rows.iter().map(operation).collect()),
        // undefined_table: no run has written anything yet.
        Err(error) if error.code().is_some_and(|code| code.code() == "42P01") => Ok(Vec::new()),
        Err(error) => Err(Error::database("reading the journal", error)),
    }
}

fn operation(row: &Row) -> Operation {
    // A journal that an earlier version made has no such column yet.
    let row_state: Option<Value> = row.get::<_, Value>("row").get("state").cloned();
    Operation {
        id: row.get("id"),
        command: row.get("command"),
        pupctl_version: row.get("pupctl_version"),
        role: row.get("role"),
        started_at: row.get("started_at"),
        ended_at: row.get("ended_at"),
        outcome: row.get("outcome"),
        detail: row.get("detail"),
        state: row_state.filter(|state| !state.is_null()),
    }
}
