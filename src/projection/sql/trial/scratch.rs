//! The schema of a trial, with the events in it.

use postgres::Transaction;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::projection::sql::SqlProjection;
use crate::projection::sql::session::set_path;
use crate::render::environment::{render, values};
use crate::render::quote;

use super::failed;
use super::given::{FIELDS, Given, GivenEvent};

/// How many events are sent at once.
const CHUNK: usize = 500;

/// How long a trial waits for a lock that somebody else has.
const LOCK_TIMEOUT: &str = "2s";

/// The schema of a trial, which is there as long as its transaction.
#[derive(Debug)]
pub(super) struct Scratch<'a> {
    /// The projection, with its tables in this schema.
    pub(super) projection: SqlProjection,
    /// What it is given.
    pub(super) given: &'a Given,
    /// The events.
    pub(super) events: QualifiedName,
    /// Their columns.
    pub(super) columns: Vec<String>,
    /// The schema of the store, whether there is one or not.
    pub(super) store: String,
}

impl<'a> Scratch<'a> {
    /// Makes it.
    pub(super) fn make(
        transaction: &mut Transaction<'_>,
        projection: &SqlProjection,
        store: &QualifiedName,
        given: &'a Given,
    ) -> Result<Self> {
        let limits = include_str!("../../../../sql/projection/limits.sql");
        transaction.query_one(limits, &[&LOCK_TIMEOUT, &"0"]).map_err(failed)?;
        let begin = include_str!("../../../../sql/projection/trial/begin.sql");
        let row = transaction.query_one(begin, &[&quote::table(store)]).map_err(failed)?;
        let scratch: String = row.get("scratch");
        let events = QualifiedName::new(scratch.clone(), store.name.clone());
        let values = values! {
            scratch,
            events,
            like => row.get::<_, bool>("is_there").then_some(store),
            json => events.sibling("pupctl_json"),
            refuse => events.sibling("pupctl_trial"),
        };
        transaction.batch_execute(&render("projection/trial/scratch", &values)).map_err(failed)?;
        let mut made = Self {
            projection: projection.shadow(projection.name(), &scratch),
            given,
            columns: Vec::new(),
            store: store.schema.clone(),
            events,
        };
        made.columns =
            columns(transaction, &made.events)?.into_iter().map(|(name, _)| name).collect();
        made.load(transaction)?;
        transaction.batch_execute(&render("projection/trial/protect", &values)).map_err(failed)?;
        set_path(transaction, &made.projection, &made.store)?;
        Ok(made)
    }

    fn load(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        let Given { file, events } = self.given;
        for event in events {
            let unknown = event.row.keys().find(|name| !self.columns.contains(name));
            if let Some(name) = unknown {
                return Err(Error::invalid(format!(
                    "{file}:{}: an event has no field {name}",
                    event.line
                ))
                .hint(format!("it may have {}", FIELDS.join(", "))));
            }
        }
        let sql = render("projection/trial/load", &values! { events => self.events });
        let insert = |transaction: &mut Transaction<'_>, events: &[GivenEvent]| {
            let rows = events.iter().map(|event| Value::Object(event.row.clone()));
            let rows = Value::Array(rows.collect());
            transaction.execute(&sql, &[&rows]).map(drop)
        };
        for chunk in events.chunks(CHUNK) {
            let mut savepoint = transaction.transaction().map_err(failed)?;
            if insert(&mut savepoint, chunk).is_ok() {
                savepoint.commit().map_err(failed)?;
                continue;
            }
            savepoint.rollback().map_err(failed)?;
            // One by one, so that the line is known.
            for event in chunk {
                insert(transaction, std::slice::from_ref(event)).map_err(|error| {
                    Error::database("making the event", error)
                        .context(format!("{file}:{}", event.line))
                })?;
            }
        }
        Ok(())
    }
}

/// The columns of a table, and the place of each in the primary key.
pub(super) fn columns(
    transaction: &mut Transaction<'_>,
    table: &QualifiedName,
) -> Result<Vec<(String, Option<i32>)>> {
    let sql = include_str!("../../../../sql/projection/trial/columns.sql");
    let rows = transaction.query(sql, &[&table.schema, &table.name]).map_err(failed)?;
    Ok(rows.iter().map(|row| (row.get("name"), row.get("key"))).collect())
}
