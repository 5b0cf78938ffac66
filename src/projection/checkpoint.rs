//! The rows of a projection: found, made, and compared with what a worker wants.

use std::sync::Arc;

use postgres::error::SqlState;
use postgres::{Client, Row, Transaction};

use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::layout::Role;
use crate::layout::name::{AUDIT, DEFINITIONS, QualifiedName};
use crate::render::environment::{render, values};

use super::config::{ProcessorConfig, Slots};
use super::definition::Scope;
use super::name::row_name;
use super::strategy::{Fnv1a, PartitionStrategy, ServerHash};

/// The tables of a store that a processor works with.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    pub(super) events: QualifiedName,
    pub(super) checkpoints: QualifiedName,
    pub(super) dead_letters: QualifiedName,
    pub(super) definitions: QualifiedName,
    pub(super) audit: QualifiedName,
}

impl Tables {
    pub(super) fn of(layout: &Layout, schema: &str) -> Self {
        Self {
            events: layout.table(schema, Role::Events),
            checkpoints: layout.checkpoints(schema),
            dead_letters: layout.dead_letters(schema),
            definitions: layout.definitions(schema),
            audit: layout.audit(schema),
        }
    }
}

/// How a projection is divided at present.
#[derive(Clone)]
pub(super) struct Division {
    pub(super) slots: u32,
    pub(super) strategy: Arc<dyn PartitionStrategy>,
    /// The highest position of its slots when it was read.
    pub(super) position: i64,
}

/// Sees to it that the projection has its rows, made as the configuration says where there are
/// none and it `makes` them, and refuses a worker that would divide it otherwise.
pub(super) fn register(
    client: &mut Client,
    tables: &Tables,
    name: &str,
    scope: &Scope,
    config: &ProcessorConfig,
    makes: bool,
) -> Result<Division> {
    let mut transaction = client.transaction().map_err(failed)?;
    let key = format!("{} {name}", tables.checkpoints);
    transaction.execute(include_str!("../../sql/projection/lock.sql"), &[&key]).map_err(failed)?;
    let mut rows = rows(&mut transaction, tables, name)?;
    if rows.is_empty() {
        if !makes {
            return Err(not_there(name));
        }
        make(&mut transaction, tables, name, scope, config)?;
        rows = self::rows(&mut transaction, tables, name)?;
    }
    refuse_foreign(&rows, name)?;
    let division = compare(&rows, name, config)?;
    describe(&mut transaction, tables, name, scope, &rows)?;
    let values = values! { definitions => tables.definitions, checkpoints => tables.checkpoints };
    transaction.execute(&render("projection/audit_from", &values), &[&name]).map_err(failed)?;
    refuse_without_rights(&mut transaction, tables)?;
    transaction.commit().map_err(failed)?;
    Ok(division)
}

/// Of a projection that is to be there, and is not.
pub(super) fn not_there(name: &str) -> Error {
    Error::refused(format!("the projection {name} is not there, or not as it was begun"))
}

/// What was given is noted with the first batch, where a refusal would look like one of a handler.
fn refuse_without_rights(client: &mut Transaction<'_>, tables: &Tables) -> Result<()> {
    let (mut schemas, mut names, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
    for (table, privileges) in
        [(&tables.definitions, &PRIVILEGES[..3]), (&tables.audit, &PRIVILEGES)]
    {
        for privilege in privileges {
            schemas.push(&table.schema);
            names.push(&table.name);
            wanted.push(*privilege);
        }
    }
    let sql = include_str!("../../sql/projection/may_note.sql");
    if client.query_one(sql, &[&schemas, &names, &wanted]).map_err(failed)?.get("may") {
        return Ok(());
    }
    Err(Error::refused("this role may not note what the projection is given").hint(rights()))
}

/// What a worker needs of the tables beside the checkpoints; the last one of the audit alone.
const PRIVILEGES: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

/// The statement that gives a worker what it lacks.
fn rights() -> String {
    "let the owner of the store run: GRANT SELECT, INSERT, UPDATE, DELETE ON \
     projection_definitions, projection_audit TO the role of the worker"
        .to_owned()
}

fn rows(client: &mut Transaction<'_>, tables: &Tables, name: &str) -> Result<Vec<Row>> {
    let sql = render("projection/rows", &values! { checkpoints => tables.checkpoints });
    client.query(&sql, &[&name]).map_err(failed)
}

fn make(
    client: &mut Transaction<'_>,
    tables: &Tables,
    name: &str,
    scope: &Scope,
    config: &ProcessorConfig,
) -> Result<()> {
    let slots = match config.slots {
        Slots::Stored => 1,
        Slots::Initial(slots) | Slots::Shared(slots) => slots,
        Slots::Pinned { total, .. } => total,
    };
    let strategy = config.usual_strategy();
    let forget =
        render("projection/forget_letters", &values! { dead_letters => tables.dead_letters });
    client.execute(&forget, &[&name]).map_err(failed)?;
    let values = values! { audit => tables.audit, definitions => tables.definitions };
    client.execute(&render("projection/forget_audit", &values), &[&name]).map_err(failed)?;
    let names: Vec<_> = (0..slots).map(|slot| row_name(name, slot, slots)).collect();
    let sql = render("projection/register", &values! { checkpoints => tables.checkpoints });
    let Scope { contexts, types, read_model } = scope;
    client
        .execute(
            &sql,
            &[&name, &names, &number(slots), &strategy.name(), contexts, types, read_model],
        )
        .map_err(failed)?;
    tracing::info!(projection = name, slots, hash = strategy.name(), "projection begins");
    Ok(())
}

/// Rows of another processor are not worked on, nor passed over.
fn refuse_foreign(rows: &[Row], name: &str) -> Result<()> {
    let foreign: Vec<_> =
        rows.iter().filter(|row| row.get::<_, Option<i32>>("epoch").is_none()).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let lines = foreign.iter().map(|row| {
        format!("{} at {}", row.get::<_, String>("row_name"), row.get::<_, i64>("position"))
    });
    Err(Error::refused(format!("another processor keeps checkpoints of the projection {name}"))
        .details(lines)
        .hint(format!(
            "stop it and take them over: pupctl projections adopt {name} --total {}",
            foreign.len()
        )))
}

/// What is stored, where the worker means the same.
fn compare(rows: &[Row], name: &str, config: &ProcessorConfig) -> Result<Division> {
    let Some(first) = rows.first() else {
        return Err(Error::refused(format!("the checkpoints of {name} are gone")));
    };
    let stored: i32 = first.get("slots");
    let slots = u32::try_from(stored).unwrap_or(0);
    let hash: String = first.get("slot_hash");
    let whole = rows.len() == slots as usize
        && rows.iter().enumerate().all(|(slot, row)| {
            row.get::<_, i32>("slot") == i32::try_from(slot).unwrap_or(-1)
                && row.get::<_, i32>("slots") == stored
                && row.get::<_, String>("slot_hash") == hash
        });
    if !whole {
        return Err(Error::refused(format!("the checkpoints of {name} do not fit together"))
            .details(rows.iter().map(|row| row.get::<_, String>("row_name")))
            .hint(format!("pupctl projections status {name} shows them")));
    }
    refuse_other_slots(name, slots, config)?;
    let position = rows.iter().map(|row| row.get("position")).max().unwrap_or(0);
    Ok(Division { slots, strategy: strategy(name, &hash, config)?, position })
}

/// A worker with another idea of the slots would pass over events, or repeat them.
pub(super) fn refuse_other_slots(name: &str, stored: u32, config: &ProcessorConfig) -> Result<()> {
    let wanted = match config.slots {
        Slots::Stored | Slots::Initial(_) => stored,
        Slots::Shared(slots) => slots,
        Slots::Pinned { total, .. } => total,
    };
    if wanted == stored {
        return Ok(());
    }
    Err(Error::refused(format!(
        "the projection {name} has {stored} slots, and this worker is for {wanted}"
    ))
    .hint(format!(
        "start it with {stored}, or change them: pupctl projections rescale {name} --slots {wanted}"
    )))
}

/// The strategy of this name: the worker's own, or one that every worker knows.
pub(super) fn strategy(
    name: &str,
    hash: &str,
    config: &ProcessorConfig,
) -> Result<Arc<dyn PartitionStrategy>> {
    if let Some(own) = &config.strategy {
        if own.name() == hash {
            return Ok(Arc::clone(own));
        }
        return Err(Error::refused(format!(
            "the projection {name} is divided by {hash}, and this worker divides by {}",
            own.name()
        ))
        .hint(format!(
            "start it with the same, or change it: pupctl projections rescale {name} --hash {}",
            own.name()
        )));
    }
    match hash {
        ServerHash::NAME => Ok(Arc::new(ServerHash)),
        Fnv1a::NAME => Ok(Arc::new(Fnv1a)),
        other => Err(Error::refused(format!(
            "the projection {name} is divided by {other}, which this worker does not know"
        ))
        .hint("give it that strategy: ProcessorConfig::strategy")),
    }
}

/// Writes down what the projection reads and fills now.
fn describe(
    client: &mut Transaction<'_>,
    tables: &Tables,
    name: &str,
    scope: &Scope,
    rows: &[Row],
) -> Result<()> {
    let list = |row: &Row, column: &str| row.get::<_, Option<Vec<String>>>(column);
    let differs = |row: &Row| {
        list(row, "bounded_contexts").as_ref() != Some(&scope.contexts)
            || list(row, "aggregate_types").as_ref() != Some(&scope.types)
            || list(row, "read_model").as_ref() != Some(&scope.read_model)
    };
    if !rows.iter().any(differs) {
        return Ok(());
    }
    let reads_more = |row: &Row| {
        let more = |had: Option<Vec<String>>, has: &[String]| match had {
            Some(had) if !had.is_empty() => {
                has.is_empty() || has.iter().any(|name| !had.contains(name))
            }
            _ => false,
        };
        row.get::<_, i64>("position") > 0
            && (more(list(row, "bounded_contexts"), &scope.contexts)
                || more(list(row, "aggregate_types"), &scope.types))
    };
    if rows.iter().any(reads_more) {
        tracing::warn!(
            projection = name,
            "it reads more than before: events of that kind below its position were not handled; \
             pupctl projections rebuild {name} makes it anew (reset --truncate for a program)"
        );
    }
    let sql = render("projection/describe", &values! { checkpoints => tables.checkpoints });
    client
        .execute(&sql, &[&name, &scope.contexts, &scope.types, &scope.read_model])
        .map_err(failed)?;
    Ok(())
}

/// The highest checkpoint of all projections.
pub(super) fn highest(client: &mut Client, tables: &Tables) -> Result<i64> {
    let sql = render("projection/highest", &values! { checkpoints => tables.checkpoints });
    client.query_one(&sql, &[]).map(|row| row.get("position")).map_err(failed)
}

/// What the server said about the checkpoints; an older store lacks columns of theirs.
pub(super) fn failed(error: postgres::Error) -> Error {
    let older = error.code().is_some_and(|code| matches!(code.code(), "42703" | "42P01"));
    // Of the tables beside the checkpoints; what else a role needs is said by the server.
    let names_one = |text: &str| [DEFINITIONS, AUDIT].iter().any(|name| text.contains(name));
    let denied = error.as_db_error().is_some_and(|reported| {
        *reported.code() == SqlState::INSUFFICIENT_PRIVILEGE && names_one(reported.message())
    });
    let error = Error::database("reading the checkpoints of the projection", error);
    if older {
        return Error::refused("the checkpoints of this store are those of an older pupctl")
            .detail(error.message())
            .hint("extend the store: pupctl projections init");
    }
    if denied {
        return error.hint(rights());
    }
    error
}

/// Numbers of slots are small.
pub(super) fn number(slots: u32) -> i32 {
    i32::try_from(slots).unwrap_or(i32::MAX)
}
