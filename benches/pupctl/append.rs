//! Appends of the library beside pgbench, which does the same with one prepared statement: it
//! compares the head, inserts the events, moves the head by compare-and-set and gets the positions.
//! And beside the least that any writer could send: events and an upsert of the head, unchecked.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use pupctl::store::{ExpectedVersion, NewEvent, Store, StreamId};
use uuid::{Builder, Uuid};

use crate::machine::{Database, Machine};
use crate::report::{middle, say, table};
use crate::store::{APPENDS_EACH, PAYLOAD, ROUNDS, store, throughput};

/// What is appended, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// How many events an append has.
    pub(crate) events: usize,
    /// How many writers there are at once.
    pub(crate) writers: usize,
    /// Whether BEGIN and COMMIT are statements of their own.
    pub(crate) transaction: bool,
}

impl Load {
    /// How many appends each writer makes.
    pub(crate) fn appends(self, quick: bool) -> usize {
        let all = if quick { 2_000 } else { 24_000 };
        all / self.writers / if self.events > 1 { 4 } else { 1 }
    }
}

pub(crate) fn run(machine: &Machine, quick: bool) -> Result<()> {
    let Some(pgbench) = machine.pgbench() else {
        say("\nappend: no pgbench beside the server's programs or on the PATH, nothing to compare");
        return Ok(());
    };
    let mut rows = Vec::new();
    for (layout, arguments) in [
        ("none", &["--partition-by", "none"][..]),
        ("hash 16", &["--partition-by", "hash", "--hash-partitions", "16"]),
        ("month", &["--partition-by", "month"]),
    ] {
        let name = format!("append_{}", layout.replace(' ', "_"));
        let database = store(machine, &name, arguments, false)?;
        for load in loads(layout) {
            rows.push(compare(&database, pgbench, layout, load, quick)?);
        }
        machine.remove(&database)?;
    }
    table(
        &format!("Appends beside pgbench, PostgreSQL {}", machine.version()),
        &["layout", "events", "writers", "mode", "ratio", "pupctl", "pgbench", "unchecked"],
        &rows,
    );
    say("\nratio: appends a second, pupctl / pgbench; unchecked: pgbench without any version.");
    Ok(())
}

fn loads(layout: &str) -> Vec<Load> {
    let mut loads = Vec::new();
    for transaction in [false, true] {
        for events in [1, 10] {
            for writers in [1, 4, 8] {
                // Other layouts differ in the statement, not in what is around it.
                if layout == "none" || (!transaction && writers != 4) {
                    loads.push(Load { events, writers, transaction });
                }
            }
        }
    }
    loads
}

fn compare(
    database: &Database,
    pgbench: &Path,
    layout: &str,
    load: Load,
    quick: bool,
) -> Result<Vec<String>> {
    let appends = load.appends(quick);
    let (mut ours, mut theirs, mut unchecked) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let Load { events, writers, transaction } = load;
        let run = format!("{events}-{writers}-{transaction}-{round}");
        ours.push(library(database, load, appends, &run)?);
        theirs.push(run_pgbench(database, pgbench, load, appends, &text(load, &run))?);
        unchecked.push(run_pgbench(database, pgbench, load, appends, &bare(load, &run))?);
        tidy(database)?;
    }
    let (ours, theirs) = (middle(ours), middle(theirs));
    Ok(vec![
        layout.to_owned(),
        load.events.to_string(),
        load.writers.to_string(),
        if load.transaction { "BEGIN … COMMIT" } else { "autocommit" }.to_owned(),
        format!("{:.2}", ours / theirs),
        format!("{ours:.0}/s"),
        format!("{theirs:.0}/s"),
        format!("{:.0}/s", middle(unchecked)),
    ])
}

/// Takes what a run left for later out of the next one.
pub(crate) fn tidy(database: &Database) -> Result<()> {
    let mut client = database.client()?;
    client.batch_execute("VACUUM aggregate_heads")?;
    Ok(client.batch_execute("CHECKPOINT")?)
}

/// Appends a second of the library. `run` keeps aggregates of one run from those of others.
pub(crate) fn library(database: &Database, load: Load, appends: usize, run: &str) -> Result<f64> {
    throughput(load.writers, appends, |writer| {
        let mut client = database.client()?;
        let store = Store::open(&mut client, "public")?;
        let mut ids = Ids::new();
        Ok(move |number: usize| {
            let id = format!("ours-{run}-{writer}-{}", number / APPENDS_EACH);
            let version = number % APPENDS_EACH * load.events;
            let events: Vec<_> = (0..load.events).map(|_| event(&id, &mut ids)).collect();
            let expected = ExpectedVersion::Exact(i64::try_from(version)?);
            if load.transaction {
                let mut transaction = client.transaction()?;
                store.append(&mut transaction, expected, &events)?;
                transaction.commit()?;
            } else {
                store.append(&mut client, expected, &events)?;
            }
            Ok(())
        })
    })
}

fn event<'a>(id: &'a str, ids: &mut Ids) -> NewEvent<'a> {
    NewEvent::new(StreamId::new("Sales", "Order", id), ids.next(), "OrderChanged")
        .payload(PAYLOAD.as_bytes())
        .correlation_id("correlation")
}

/// Ids that no other run has.
pub(crate) struct Ids {
    keys: RandomState,
    number: u64,
}

impl Ids {
    pub(crate) fn new() -> Self {
        Self { keys: RandomState::new(), number: 0 }
    }

    pub(crate) fn next(&mut self) -> Uuid {
        let mut half = || {
            self.number += 1;
            u128::from(self.keys.hash_one(self.number))
        };
        let bits = half() << 64 | half();
        Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}

/// Appends a second of pgbench.
fn run_pgbench(
    database: &Database,
    pgbench: &Path,
    load: Load,
    appends: usize,
    script_text: &str,
) -> Result<f64> {
    let mut script = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    script.write_all(script_text.as_bytes())?;
    let writers = load.writers.to_string();
    let output = Command::new(pgbench)
        .args(["--no-vacuum", "--protocol=prepared", "--client", &writers, "--jobs", &writers])
        .args(["--transactions", &appends.to_string(), "--define", "append=0"])
        .args(["--define", &format!("payload={PAYLOAD}"), "--file"])
        .arg(script.path())
        .arg(database.url())
        .output()
        .context("pgbench does not run")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "pgbench failed: {complaint}{said}");
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next());
    Ok(rate.context("pgbench tells no tps")?.parse()?)
}

const COLUMNS: &str = "bounded_context, aggregate_type, aggregate_id, aggregate_version, \
    event_id, event_type, event_version, payload, trace_id, correlation_id, causation_id, \
    metadata, created_at";

/// An event of an append in pgbench, counted from 1.
fn event_in_pgbench(stream: &str, number: usize) -> String {
    format!(
        "({stream}, :version::bigint + {number}, gen_random_uuid(), 'OrderChanged', 1, \
         :payload::bytea, NULL::text, 'correlation', NULL::text, NULL::jsonb, now())"
    )
}

/// The aggregate in pgbench.
fn stream_in_pgbench(run: &str) -> String {
    format!("'Sales', 'Order', '{run}-' || (:client_id)::text || '-' || (:stream)::text")
}

fn events_in_pgbench(stream: &str, events: usize) -> String {
    let rows: Vec<String> = (1..=events).map(|number| event_in_pgbench(stream, number)).collect();
    rows.join(", ")
}

/// The same work as that of the library.
fn text(load: Load, run: &str) -> String {
    let stream = stream_in_pgbench(&format!("same-{run}"));
    let events = load.events;
    let statement = format!(
        "WITH head (version) AS MATERIALIZED (SELECT coalesce((\
             SELECT aggregate_version FROM aggregate_heads \
             WHERE (bounded_context, aggregate_type, aggregate_id) = ({stream}) LIMIT 1), 0)), \
         appended AS (INSERT INTO events ({COLUMNS}) \
             SELECT * FROM (VALUES {}) AS event \
             WHERE (SELECT version FROM head) = :version::bigint RETURNING global_position), \
         moved AS (INSERT INTO aggregate_heads AS there (bounded_context, aggregate_type, \
                 aggregate_id, aggregate_version) \
             SELECT {stream}, :version::bigint + {events} FROM appended HAVING count(*) > 0 \
             ON CONFLICT (bounded_context, aggregate_type, aggregate_id) \
             DO UPDATE SET aggregate_version = excluded.aggregate_version, updated_at = now() \
             WHERE there.aggregate_version = :version::bigint RETURNING 1) \
         SELECT global_position, (SELECT count(*) FROM moved) FROM appended;",
        events_in_pgbench(&stream, events)
    );
    script(load, &statement)
}

/// The least that stores events and moves the head: whatever version is there.
fn bare(load: Load, run: &str) -> String {
    let stream = stream_in_pgbench(&format!("bare-{run}"));
    let events = load.events;
    let statement = format!(
        "WITH appended AS (INSERT INTO events ({COLUMNS}) VALUES {}) \
         INSERT INTO aggregate_heads (bounded_context, aggregate_type, aggregate_id, \
             aggregate_version) VALUES ({stream}, :version::bigint + {events}) \
         ON CONFLICT (bounded_context, aggregate_type, aggregate_id) \
         DO UPDATE SET aggregate_version = excluded.aggregate_version, updated_at = now();",
        events_in_pgbench(&stream, events)
    );
    script(load, &statement)
}

/// A statement with the versions that pgbench counts by itself.
fn script(load: Load, statement: &str) -> String {
    let Load { events, transaction, .. } = load;
    let (begin, commit) = if transaction { ("BEGIN;\n", "\nCOMMIT;") } else { ("", "") };
    format!(
        "\\set append :append + 1\n\\set stream (:append - 1) / {APPENDS_EACH}\n\
         \\set version ((:append - 1) % {APPENDS_EACH}) * {events}\n\
         {begin}{statement}{commit}\n"
    )
}
