//! A SQL projection before its first batch: checked on an empty one, its tables made, its
//! definition kept. And the file compared with that definition, whenever it runs again.

use postgres::{Client, Row};

use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;
use crate::projection::ServerHash;
use crate::projection::checkpoint::{self, Tables};
use crate::projection::name::REBUILD;
use crate::render::environment::{render, values};
use crate::render::quote::{self, shell_word};
use crate::store::stored_layout;

use super::session::{run_parts, set_path};
use super::{SqlProjection, SqlSession, check};

/// How long the check and the making of tables wait for a lock.
const LOCK_TIMEOUT: &str = "2s";

/// How long batches that run are waited for.
const BATCH_TIMEOUT: &str = "30s";

/// What to do where the file is not what it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Change {
    /// Refuse it.
    #[default]
    Refuse,
    /// Go on with it: what was handled is not handled again.
    Accept,
    /// Refuse it, and begin nothing either: the projection has to be there as it is.
    Follow,
}

/// Checks a projection and sets it up, as its first worker would: what is wrong with it shows now.
pub fn prepare(
    client: &mut Client,
    schema: &str,
    projection: &SqlProjection,
    change: Change,
) -> Result<()> {
    let (session, tables) = open(client, schema, projection)?;
    set_up(client, &session, &tables, change)
}

/// Checks a projection and takes everything back.
pub fn check(
    client: &mut Client,
    schema: &str,
    projection: &SqlProjection,
    change: Change,
) -> Result<()> {
    let (_, tables) = open(client, schema, projection)?;
    let mut transaction = begin(client, projection, &tables)?;
    compare(&mut transaction, projection, &tables, change)?;
    rehearse(transaction, projection, &tables)
}

/// Makes a session ready for a projection of a store.
fn open(
    client: &mut Client,
    schema: &str,
    projection: &SqlProjection,
) -> Result<(SqlSession, Tables)> {
    let layout = stored_layout(client, schema)?;
    let tables = Tables::of(&layout, schema);
    Ok((SqlSession::begin(client, projection, &tables)?, tables))
}

/// Sees to it that a projection is as its file says. What it needs is made where it has handled
/// nothing yet.
pub(in crate::projection) fn set_up(
    client: &mut Client,
    session: &SqlSession,
    tables: &Tables,
    change: Change,
) -> Result<()> {
    let projection = session.projection();
    let mut transaction = begin(client, projection, tables)?;
    if compare(&mut transaction, projection, tables, change)? == State::AsAccepted {
        return Ok(());
    }
    let savepoint = transaction.transaction().map_err(failed)?;
    rehearse(savepoint, projection, tables)?;
    make(transaction, projection, tables)
}

/// How a projection stands to its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    AsAccepted,
    ToBeMade,
}

/// Begins a transaction in which nobody else sets this projection up.
fn begin<'a>(
    client: &'a mut Client,
    projection: &SqlProjection,
    tables: &Tables,
) -> Result<postgres::Transaction<'a>> {
    let mut transaction = client.transaction().map_err(failed)?;
    let key = format!("{} {}", tables.checkpoints, projection.name());
    transaction
        .execute(include_str!("../../../sql/projection/lock.sql"), &[&key])
        .map_err(failed)?;
    let limits = include_str!("../../../sql/projection/limits.sql");
    transaction.query_one(limits, &[&LOCK_TIMEOUT, &"0"]).map_err(failed)?;
    Ok(transaction)
}

/// Compares the file with what was accepted last. Refuses what would make a wrong read model.
fn compare(
    transaction: &mut postgres::Transaction<'_>,
    projection: &SqlProjection,
    tables: &Tables,
    change: Change,
) -> Result<State> {
    let mut row = stored(transaction, projection, tables)?;
    let is_other =
        row.get::<_, Option<String>>("definition").as_deref() != Some(projection.definition());
    if is_other && change != Change::Follow && row.get::<_, Option<i64>>("position").is_some() {
        // A worker of the other file may be in the middle of its first batch.
        await_batches(transaction, projection, tables)?;
        row = stored(transaction, projection, tables)?;
    }
    refuse_other_hash(projection, row.get("slot_hash"))?;
    let accepted: Option<String> = row.get("definition");
    if change == Change::Follow {
        return follow(projection, accepted.as_deref());
    }
    // One that was told where to begin has handled nothing yet.
    let has_handled = accepted.is_some() || row.get::<_, Option<bool>>("has_handled") == Some(true);
    let begun = row.get::<_, Option<i64>>("position").filter(|&at| at > 0 && has_handled);
    let missing = missing(transaction, projection, schema_of(projection, tables))?;
    if accepted.as_deref() == Some(projection.definition()) {
        return match (missing.as_slice(), begun) {
            ([], _) => Ok(State::AsAccepted),
            (missing, Some(position)) => Err(gone(projection, missing, position)),
            (_, None) => Ok(State::ToBeMade),
        };
    }
    if let Some(position) = begun.filter(|_| change == Change::Refuse) {
        return Err(changed(projection, accepted.is_some(), position));
    }
    refuse_shared(transaction, projection, tables)?;
    Ok(State::ToBeMade)
}

fn stored(
    transaction: &mut postgres::Transaction<'_>,
    projection: &SqlProjection,
    tables: &Tables,
) -> Result<Row> {
    let values = values! {
        definitions => tables.definitions, checkpoints => tables.checkpoints,
    };
    transaction
        .query_one(&render("projection/sql/definition", &values), &[&projection.name()])
        .map_err(checkpoint::failed)
}

/// Waits for batches that run, and lets none begin.
fn await_batches(
    transaction: &mut postgres::Transaction<'_>,
    projection: &SqlProjection,
    tables: &Tables,
) -> Result<()> {
    let limits = include_str!("../../../sql/projection/limits.sql");
    transaction.query_one(limits, &[&BATCH_TIMEOUT, &"0"]).map_err(failed)?;
    let name = projection.name();
    let sql = render("projection/sql/lock_rows", &values! { checkpoints => tables.checkpoints });
    transaction.execute(&sql, &[&name]).map_err(|error| {
        if error.code().is_some_and(|code| code.code() == "55P03") {
            return Error::new(
                Kind::LockTimeout,
                format!("a batch of the projection {name} did not end within {BATCH_TIMEOUT}"),
            )
            .hint(format!(
                "stop its workers first: pupctl projections pause {}",
                shell_word(name)
            ));
        }
        checkpoint::failed(error)
    })?;
    transaction.query_one(limits, &[&LOCK_TIMEOUT, &"0"]).map_err(failed)?;
    Ok(())
}

/// Where the tables of a projection are.
fn schema_of<'a>(projection: &'a SqlProjection, tables: &'a Tables) -> &'a str {
    projection.schema().unwrap_or(&tables.events.schema)
}

/// Runs everything on an empty batch, looks which locks that took, and takes it back.
fn rehearse(
    mut transaction: postgres::Transaction<'_>,
    projection: &SqlProjection,
    tables: &Tables,
) -> Result<()> {
    let schema = schema_of(projection, tables);
    init(&mut transaction, projection, tables)?;
    let missing = missing(&mut transaction, projection, schema)?;
    if !missing.is_empty() {
        return Err(Error::invalid(format!(
            "{} makes no table {}",
            projection.file(),
            shown(&missing)
        ))
        .hint(
            "let -- init make it, in the schema of the projection, or take it out of -- tables:",
        ));
    }
    check::refuse_others(&mut transaction, projection, schema, &[])?;
    run_parts(projection, &mut transaction, &projection.parsed.handle)?;
    check::refuse_others(&mut transaction, projection, schema, &[])?;
    refuse_the_stores(projection, tables, schema)?;
    transaction.rollback().map_err(failed)
}

fn make(
    mut transaction: postgres::Transaction<'_>,
    projection: &SqlProjection,
    tables: &Tables,
) -> Result<()> {
    let (name, schema) = (projection.name(), schema_of(projection, tables));
    make_within(&mut transaction, projection, tables)?;
    reach("projection::sql_made");
    transaction.commit().map_err(failed)?;
    tracing::info!(projection = name, schema, "read model set up");
    Ok(())
}

/// Makes the read model and keeps the definition, in a transaction of somebody else.
pub(in crate::projection) fn make_within(
    transaction: &mut postgres::Transaction<'_>,
    projection: &SqlProjection,
    tables: &Tables,
) -> Result<()> {
    let (name, schema) = (projection.name(), schema_of(projection, tables));
    init(transaction, projection, tables)?;
    let values = values! {
        definitions => tables.definitions, checkpoints => tables.checkpoints,
    };
    transaction
        .execute(
            &render("projection/sql/accept", &values),
            &[&name, &projection.definition(), &projection.file(), &schema],
        )
        .map_err(checkpoint::failed)?;
    Ok(())
}

/// Makes the read model. A role that may not do that works with one that is there.
fn init(
    transaction: &mut postgres::Transaction<'_>,
    projection: &SqlProjection,
    tables: &Tables,
) -> Result<()> {
    let schema = schema_of(projection, tables);
    let sql = include_str!("../../../sql/projection/sql/may_create.sql");
    let mut row = transaction.query_one(sql, &[&schema]).map_err(failed)?;
    if !row.get::<_, bool>("is_there") {
        // Of two that make it at once one would fail, for all that IF NOT EXISTS says; and a look
        // at the catalog, after the wait, is what lets this session see what the other one did.
        let lock = include_str!("../../../sql/projection/lock.sql");
        transaction.execute(lock, &[&format!("schema {schema}")]).map_err(failed)?;
        row = transaction.query_one(sql, &[&schema]).map_err(failed)?;
    }
    let (is_there, may_create): (bool, bool) = (row.get(0), row.get(1));
    if !is_there {
        let sql = render("projection/sql/make_schema", &values! { schema });
        transaction.batch_execute(&sql).map_err(|error| {
            Error::database(&format!("making the schema {schema}"), error)
                .hint("let somebody make it who may, or take -- schema: out of the file")
        })?;
    } else if !may_create {
        if missing(transaction, projection, schema)?.is_empty() {
            tracing::debug!(projection = projection.name(), "its tables are there already");
            return Ok(());
        }
        return Err(Error::refused(format!(
            "this role may not make the tables of {} in the schema {schema}",
            projection.name()
        ))
        .hint(
            "give it the right to create in that schema, or run the part -- init of the file as \
             somebody who has it, and grant this role the tables",
        ));
    }
    set_path(transaction, projection, &tables.events.schema)?;
    run_parts(projection, transaction, &projection.parsed.init)
}

fn missing(
    transaction: &mut postgres::Transaction<'_>,
    projection: &SqlProjection,
    schema: &str,
) -> Result<Vec<String>> {
    let sql = include_str!("../../../sql/projection/sql/missing.sql");
    let rows = transaction.query(sql, &[&schema, &projection.tables()]).map_err(failed)?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The tables of the store are nobody's read model.
fn refuse_the_stores(projection: &SqlProjection, tables: &Tables, schema: &str) -> Result<()> {
    let Tables { events, checkpoints, dead_letters, definitions, audit } = tables;
    let stores = [events, checkpoints, dead_letters, definitions, audit];
    let taken = stores
        .into_iter()
        .find(|table| table.schema == schema && projection.tables().contains(&table.name));
    let Some(table) = taken else { return Ok(()) };
    Err(Error::invalid(format!("{table} is a table of the store")).hint(format!(
        "name the tables of the read model under -- tables: in {}",
        projection.file()
    )))
}

/// A table has one projection.
pub(in crate::projection) fn refuse_shared(
    transaction: &mut postgres::Transaction<'_>,
    projection: &SqlProjection,
    tables: &Tables,
) -> Result<()> {
    let sql = render("projection/sql/filled_by", &values! { checkpoints => tables.checkpoints });
    let name = projection.name();
    let whole = name.strip_suffix(REBUILD).unwrap_or(name);
    let same = [whole.to_owned(), format!("{whole}{REBUILD}")];
    let rows = transaction
        .query(&sql, &[&same.as_slice(), &projection.read_model()])
        .map_err(checkpoint::failed)?;
    let Some(row) = rows.first() else { return Ok(()) };
    let (other, table): (String, String) = (row.get(0), row.get(1));
    let refused = format!("the table {table} is filled by the projection {other}");
    Err(Error::refused(refused).hint(format!(
        "let {name} fill a table of its own; if {other} is not needed any more: pupctl projections \
         delete {}",
        shell_word(&other)
    )))
}

/// Only the server's own hash can be taken in SQL.
fn refuse_other_hash(projection: &SqlProjection, stored: Option<String>) -> Result<()> {
    let Some(hash) = stored.filter(|hash| hash != ServerHash::NAME) else { return Ok(()) };
    let name = projection.name();
    Err(Error::refused(format!(
        "the projection {name} is divided by {hash}, which SQL cannot compute"
    ))
    .hint(format!(
        "change it: pupctl projections rescale {} --hash {}",
        shell_word(name),
        ServerHash::NAME
    )))
}

/// Nothing is begun for a worker that only goes on.
fn follow(projection: &SqlProjection, accepted: Option<&str>) -> Result<State> {
    if accepted == Some(projection.definition()) {
        return Ok(State::AsAccepted);
    }
    Err(checkpoint::not_there(projection.name()))
}

fn gone(projection: &SqlProjection, missing: &[String], position: i64) -> Error {
    let name = projection.name();
    Error::refused(format!(
        "the projection {name} has handled events up to {position}, and its table {} is gone",
        shown(missing)
    ))
    .hint(format!("make it anew from all events: pupctl projections rebuild {}", shell_word(name)))
}

fn changed(projection: &SqlProjection, is_sql: bool, position: i64) -> Error {
    let (name, file) = (projection.name(), projection.file());
    let word = shell_word(name);
    let what = if is_sql {
        format!("{file} is not what it was when {name} began")
    } else {
        format!("{name} was not run from a file so far")
    };
    Error::refused(format!("{what}, and events up to {position} were handled"))
        .detail(
            "its read model would be made by the one up to there and by the other from there on",
        )
        .hint(format!(
            "make it anew from all events: pupctl projections rebuild {word}; or go on with the \
             file as it is: pupctl projections run {word} --accept-changed"
        ))
}

fn shown(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| quote::shown(name)).collect();
    names.join(", ")
}

fn failed(error: postgres::Error) -> Error {
    Error::database("setting up the projection", error)
}
