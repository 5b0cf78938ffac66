//! What the guard costs: the same writers on a store by months with it and without.
//!
//! With the guard the library sends an INSERT of events alone, and the trigger moves the head.
//! Writers of the Go library go on as before and move the head once more.

use anyhow::Result;
use postgres::{Client, Statement, Transaction};

use crate::append::{Ids, Load, library, tidy};
use crate::machine::{Database, Machine};
use crate::report::{middle, table};
use crate::store::{APPENDS_EACH, PAYLOAD, ROUNDS, store, throughput};

/// Measures the appends a second of a kind of writer.
type Writer = fn(&Database, Load, usize, &str) -> Result<f64>;

pub(crate) fn run(machine: &Machine, quick: bool) -> Result<()> {
    let layout = ["--partition-by", "month"];
    let plain = store(machine, "guard_none", &layout, false)?;
    let guarded = store(machine, "guard_events", &layout, true)?;
    let keeping = store(machine, "guard_ids", &["--partition-by", "month", "--event-ids"], true)?;
    let cases: [(&str, &str, Writer, [&Database; 2]); 3] = [
        ("guard", "pupctl::store", library, [&guarded, &plain]),
        ("guard", "as pupsourcing", as_pupsourcing, [&guarded, &plain]),
        ("event ids, beside the guard", "pupctl::store", library, [&keeping, &guarded]),
    ];
    let mut rows = Vec::new();
    for (case, (protection, name, writer, databases)) in cases.into_iter().enumerate() {
        for (events, writers) in [(1, 1), (1, 8), (10, 1), (10, 8)] {
            let load = Load { events, writers, transaction: false };
            let [with, without] = compare(databases, writer, load, quick, case)?;
            rows.push(vec![
                protection.to_owned(),
                name.to_owned(),
                events.to_string(),
                writers.to_string(),
                format!("{:.2}", with / without),
                format!("{with:.0}/s"),
                format!("{without:.0}/s"),
            ]);
        }
    }
    table(
        &format!("Appends with a protection and without, PostgreSQL {}", machine.version()),
        &["protection", "writer", "events", "writers", "ratio", "with", "without"],
        &rows,
    );
    [plain, guarded, keeping].iter().try_for_each(|database| machine.remove(database))
}

/// The rates of both; `case` keeps apart the aggregates of one store in several cases.
fn compare(
    databases: [&Database; 2],
    writer: Writer,
    load: Load,
    quick: bool,
    case: usize,
) -> Result<[f64; 2]> {
    let appends = load.appends(quick);
    let mut rates = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for (database, rates) in databases.iter().zip(&mut rates) {
            let run = format!("{case}-{}-{}-{round}", load.events, load.writers);
            rates.push(writer(database, load, appends, &run)?);
            tidy(database)?;
        }
    }
    Ok(rates.map(middle))
}

/// Appends as the Go library does: the head is read, every event is one INSERT, the head is moved
/// by an upsert, all in one transaction.
pub(crate) struct Pupsourcing {
    read: Statement,
    insert: Statement,
    upsert: Statement,
}

impl Pupsourcing {
    pub(crate) fn prepare(client: &mut Client) -> Result<Self> {
        Ok(Self {
            read: client.prepare(
                "SELECT aggregate_version FROM aggregate_heads \
                 WHERE bounded_context = $1 AND aggregate_type = $2 AND aggregate_id = $3",
            )?,
            insert: client.prepare(
                "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, \
                     aggregate_version, event_id, event_type, event_version, payload, \
                     correlation_id, created_at) \
                 VALUES ($1, $2, $3, $4, $5, 'OrderChanged', 1, $6, 'correlation', now()) \
                 RETURNING global_position",
            )?,
            upsert: client.prepare(
                "INSERT INTO aggregate_heads (bounded_context, aggregate_type, aggregate_id, \
                     aggregate_version, updated_at) VALUES ($1, $2, $3, $4, NOW()) \
                 ON CONFLICT (bounded_context, aggregate_type, aggregate_id) \
                 DO UPDATE SET aggregate_version = $4, updated_at = NOW()",
            )?,
        })
    }

    pub(crate) fn append(
        &self,
        transaction: &mut Transaction<'_>,
        id: &str,
        events: usize,
        ids: &mut Ids,
    ) -> Result<()> {
        let (context, kind) = ("Sales", "Order");
        let head = transaction.query_opt(&self.read, &[&context, &kind, &id])?;
        let mut version: i64 = head.map_or(0, |row| row.get(0));
        for _ in 0..events {
            version += 1;
            let payload = PAYLOAD.as_bytes();
            transaction.query_one(
                &self.insert,
                &[&context, &kind, &id, &version, &ids.next(), &payload],
            )?;
        }
        transaction.execute(&self.upsert, &[&context, &kind, &id, &version])?;
        Ok(())
    }
}

fn as_pupsourcing(database: &Database, load: Load, appends: usize, run: &str) -> Result<f64> {
    throughput(load.writers, appends, |writer| {
        let mut client = database.client()?;
        let statements = Pupsourcing::prepare(&mut client)?;
        let mut ids = Ids::new();
        Ok(move |number: usize| {
            let id = format!("go-{run}-{writer}-{}", number / APPENDS_EACH);
            let mut transaction = client.transaction()?;
            statements.append(&mut transaction, &id, load.events, &mut ids)?;
            Ok(transaction.commit()?)
        })
    })
}
