//! Reads how a store lives: what the catalog does not say, in a few queries beside it.
//!
//! Each query stands in a savepoint of its own, so that one that fails, or that is not for the eyes
//! of the role, takes nothing else with it.

use std::collections::BTreeMap;

use chrono::{TimeDelta, Utc};
use postgres::types::{Oid, ToSql};
use postgres::{Client, Row, Transaction};

use crate::catalog::Catalog;
use crate::catalog::health::{
    Age, Health, Keeps, Role as Rights, Sequence, Slot, Transaction as Open, Unseen,
};
use crate::catalog::relation::Relation;
use crate::error::{Error, Kind, Result};
use crate::finding::held_back::{self, Due};
use crate::finding::holder::Holder;
use crate::layout::Role;
use crate::layout::name::{QualifiedName, Tables};
use crate::render::environment::{render, values};

use super::inspect::{self, Depth, catalog_within, snapshot};

/// The settings that a finding is about.
const SETTINGS: [&str; 11] = [
    "autovacuum",
    "autovacuum_freeze_max_age",
    "autovacuum_multixact_freeze_max_age",
    "fsync",
    "full_page_writes",
    "idle_in_transaction_session_timeout",
    "max_slot_wal_keep_size",
    "synchronous_commit",
    "track_counts",
    "vacuum_failsafe_age",
    "wal_level",
];

/// The most leaves among which the last event is looked for: the server opens each of them.
const LEAVES_MAX: usize = 500;

/// So many leaves whose time is over are looked into: it is enough to tell that some are held back.
const DUE_MAX: usize = 50;

/// The catalog of the store in `schema`, or why there is none, and how it lives, in one read-only
/// transaction. What else is to be looked at, [`Health`] has empty. From then on the session waits
/// for no lock for long.
pub fn look(
    client: &mut Client,
    schema: &str,
    tables: &Tables,
    depth: Depth,
    patience: TimeDelta,
    keeps: Keeps,
) -> Result<(Catalog, Health)> {
    client.batch_execute(include_str!("../../sql/health/session.sql")).map_err(failed)?;
    let server = inspect::server(client)?;
    let mut health = Health { here: Utc::now(), patience, keeps, ..Health::default() };
    let mut transaction = snapshot(client)?;
    let read = savepoint(&mut transaction, |inner| {
        catalog_within(inner, server.clone(), schema, tables, depth)
    });
    let catalog = match read {
        Ok(catalog) => catalog,
        Err(error) => {
            health.unseen.push(unseen("store", "the catalog of the store", &error)?);
            let blank = Catalog::blank(schema);
            Catalog { server, ..blank }
        }
    };
    let due = held_back::due(&catalog, &health.keeps);
    let reader = Reader { transaction: &mut transaction, unseen: &mut health.unseen };
    let seen = reader.read(&catalog, schema, tables, patience, &due)?;
    health.settings = seen.settings;
    health.role = seen.role;
    health.sequences = seen.sequences;
    health.last_event = seen.last_event;
    health.transactions = seen.transactions;
    health.ages = seen.ages;
    health.slots = seen.slots;
    health.due = seen.due;
    transaction.rollback().map_err(failed)?;
    Ok((catalog, health))
}

/// The sequences that positions come from, as they are now. They go on while others look, so this
/// comes after whatever they are compared with.
pub fn sequences(client: &mut Client, events: &QualifiedName) -> Result<Vec<Sequence>> {
    let rows = client
        .query(include_str!("../../sql/health/sequences.sql"), &[&events.schema, &events.name])
        .map_err(|error| Error::database("looking at the sequence of positions", error))?;
    Ok(rows.iter().map(sequence).collect())
}

/// What kept somebody from looking at something. That the server went away is a failure of all.
pub fn unseen(area: &'static str, what: &'static str, error: &Error) -> Result<Unseen> {
    if matches!(error.kind(), Kind::Connection | Kind::Interrupted) {
        return Err(error.retold());
    }
    Ok(Unseen {
        area,
        what,
        why: error.message().to_owned(),
        hint: error.hint_text().map(str::to_owned),
        forbidden: error.sqlstate() == Some("42501"),
    })
}

fn failed(error: postgres::Error) -> Error {
    Error::database("looking how the store is", error)
}

/// Runs something in a savepoint.
fn savepoint<T>(
    transaction: &mut Transaction<'_>,
    work: impl FnOnce(&mut Transaction<'_>) -> Result<T>,
) -> Result<T> {
    let mut inner = transaction.transaction().map_err(failed)?;
    let done = work(&mut inner)?;
    inner.commit().map_err(failed)?;
    Ok(done)
}

struct Reader<'a, 'b> {
    transaction: &'a mut Transaction<'b>,
    unseen: &'a mut Vec<Unseen>,
}

impl Reader<'_, '_> {
    fn read(
        mut self,
        catalog: &Catalog,
        schema: &str,
        tables: &Tables,
        patience: TimeDelta,
        due: &[Due],
    ) -> Result<Health> {
        let names = catalog.layout.as_ref().map_or(tables, |layout| &layout.tables);
        let events = QualifiedName::new(schema, names.events.as_str());
        let both: [&(dyn ToSql + Sync); 2] = [&events.schema, &events.name];
        let names = SETTINGS.as_slice();
        let settings = self.all(
            ("settings", "the settings of the server"),
            include_str!("../../sql/health/settings.sql"),
            &[&names],
        )?;
        let role = self.all(
            ("role", "the rights of the role"),
            include_str!("../../sql/health/role.sql"),
            &[],
        )?;
        let sequences = self.all(
            ("positions", "the sequence of positions"),
            include_str!("../../sql/health/sequences.sql"),
            &both,
        )?;
        #[expect(clippy::cast_precision_loss, reason = "a number of seconds")]
        let seconds = patience.num_milliseconds() as f64 / 1000.0;
        let transactions = self.all(
            ("transactions", "open transactions"),
            include_str!("../../sql/health/transactions.sql"),
            &[&events.schema, &events.name, &seconds],
        )?;
        let oids: Vec<Oid> = catalog.roots().flat_map(Relation::leaves).map(|r| r.oid).collect();
        let ages = self.all(
            ("vacuum", "the age of tables"),
            include_str!("../../sql/health/ages.sql"),
            &[&oids],
        )?;
        let slots = self.all(
            ("replication", "replication slots"),
            include_str!("../../sql/health/slots.sql"),
            &[],
        )?;
        let last_event = self.last_event(catalog)?;
        let due = self.due(due)?;
        let pair = |row: &Row| (row.get("name"), row.get("setting"));
        Ok(Health {
            settings: settings.iter().map(pair).collect::<BTreeMap<String, String>>(),
            role: role.first().map_or_else(Rights::default, |row| Rights {
                sees_sessions: row.get("sees_sessions"),
            }),
            sequences: sequences.iter().map(sequence).collect(),
            last_event,
            due,
            transactions: transactions.iter().map(open).collect(),
            ages: ages.iter().map(age).collect(),
            slots: slots.iter().map(slot).collect(),
            ..Health::default()
        })
    }

    /// The position of the last event, where no more than so many leaves have to be opened.
    fn last_event(&mut self, catalog: &Catalog) -> Result<Option<i64>> {
        let Some(events) = catalog.table(Role::Events) else { return Ok(None) };
        if events.root.leaves().count() > LEAVES_MAX {
            return Ok(None);
        }
        let sql = render("fence/last_position", &values! { leaf => events.root.name });
        let rows = self.all(("positions", "the last event"), &sql, &[])?;
        Ok(rows.first().and_then(|row| row.get("last")))
    }

    /// Those of the leaves that hold events.
    fn due(&mut self, due: &[Due]) -> Result<Vec<QualifiedName>> {
        let mut found = Vec::new();
        for Due { leaf, .. } in due.iter().take(DUE_MAX) {
            let sql = render("partition/has_rows", &values! { table => leaf });
            let rows = self.all(("partitions", "months whose time is over"), &sql, &[])?;
            found.extend(rows.iter().filter(|row| row.get(0)).map(|_| leaf.clone()));
        }
        Ok(found)
    }

    /// The rows of a query; none where it fails.
    fn all(
        &mut self,
        (area, what): (&'static str, &'static str),
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        let rows = savepoint(self.transaction, |inner| {
            inner.query(sql, parameters).map_err(|error| Error::database("asking", error))
        });
        match rows {
            Ok(rows) => Ok(rows),
            Err(error) => {
                self.unseen.push(unseen(area, what, &error)?);
                Ok(Vec::new())
            }
        }
    }
}

fn sequence(row: &Row) -> Sequence {
    Sequence {
        name: QualifiedName::new(row.get::<_, String>("schema"), row.get::<_, String>("name")),
        cache: row.get("cache"),
        increment: row.get("increment"),
        cycle: row.get("cycle"),
        maximum: row.get("maximum"),
        last: row.get("last"),
        readable: row.get("readable"),
    }
}

fn open(row: &Row) -> Open {
    let text = |column: &str| row.get::<_, Option<String>>(column).unwrap_or_default();
    let holder = Holder {
        pid: row.get("pid"),
        prepared: row.get("prepared"),
        user: text("user"),
        application_name: text("application_name"),
        state: text("state"),
        since: None,
    };
    Open {
        who: holder.to_string(),
        pid: holder.pid,
        prepared: holder.prepared,
        since: row.get("since"),
        writes: row.get("writes"),
        holds_back: row.get("holds_back"),
    }
}

fn age(row: &Row) -> Age {
    Age {
        name: QualifiedName::new(row.get::<_, String>("schema"), row.get::<_, String>("name")),
        transactions: row.get("transactions"),
        multixacts: row.get("multixacts"),
    }
}

fn slot(row: &Row) -> Slot {
    Slot {
        name: row.get("name"),
        active: row.get("active"),
        log: row.get("log"),
        retained: row.get("retained"),
        logical: row.get("logical"),
    }
}
