//! How fast a projection catches up.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pupctl::projection::{ProcessorConfig, Projection, Runner};

use super::handlers::{Nothing, OneByOne, Together, UPSERT, set_based};
use super::{connect, prepared};
use crate::machine::{Database, Machine};
use crate::report::{median, say, table};
use crate::store::{Filling, per_second};

/// How often each is measured, in turns with its limit.
const ROUNDS: usize = 3;

/// A kind of projection, made anew under a name.
type Make = fn(&'static str) -> Box<dyn Projection>;

/// What is measured.
struct Case {
    what: &'static str,
    make: Make,
    batch: usize,
    slots: u32,
    limit: Limit,
}

/// What it is compared with.
#[derive(Debug, Clone, Copy)]
enum Limit {
    /// psql fetches the rows in order through a cursor.
    Fetch,
    /// A prepared upsert for each event of a part of them, each its own transaction.
    OneByOne,
    /// The set-based statement in the server, in batches of this size.
    Sets(usize),
}

const CASES: [Case; 8] = [
    Case { what: "no-op", make: nothing, batch: 100, slots: 1, limit: Limit::Fetch },
    Case { what: "no-op", make: nothing, batch: 1000, slots: 1, limit: Limit::Fetch },
    Case { what: "no-op", make: nothing, batch: 100, slots: 4, limit: Limit::Fetch },
    Case { what: "no-op", make: nothing, batch: 1000, slots: 4, limit: Limit::Fetch },
    Case { what: "upsert each", make: one_by_one, batch: 100, slots: 1, limit: Limit::OneByOne },
    Case { what: "upsert each", make: one_by_one, batch: 100, slots: 4, limit: Limit::OneByOne },
    Case {
        what: "upsert a batch",
        make: together,
        batch: 1000,
        slots: 1,
        limit: Limit::Sets(1000),
    },
    Case {
        what: "upsert a batch",
        make: together,
        batch: 1000,
        slots: 4,
        limit: Limit::Sets(1000),
    },
];

fn nothing(name: &'static str) -> Box<dyn Projection> {
    Box::new(Nothing(name))
}

fn one_by_one(name: &'static str) -> Box<dyn Projection> {
    Box::new(OneByOne(name))
}

fn together(name: &'static str) -> Box<dyn Projection> {
    Box::new(Together(name))
}

pub(super) fn run(machine: &Machine, quick: bool) -> Result<()> {
    let aggregates = if quick { 2_000 } else { 25_000 };
    let filling = Filling { aggregates, events_each: 20, months: 1 };
    let database = prepared(machine, "projections", &["--partition-by", "none"])?;
    filling.fill(&mut database.client()?)?;
    let mut rows = Vec::new();
    for case in &CASES {
        rows.push(compare(&database, case, filling.events())?);
    }
    table(
        &format!("Catching up with {} events, PostgreSQL {}", filling.events(), machine.version()),
        &["handler", "batch", "slots = workers", "limit", "ratio", "pupctl", "limit"],
        &rows,
    );
    machine.remove(&database)?;
    months(machine, quick)
}

fn compare(database: &Database, case: &Case, events: usize) -> Result<Vec<String>> {
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    // Single upserts are slow: a part of the events will do.
    let part = if matches!(case.limit, Limit::OneByOne) { events / 10 } else { events };
    for _ in 0..ROUNDS {
        reset(database)?;
        limits.push(limit(database, case.limit, part)?);
        reset(database)?;
        let from = events - part;
        ours.push(catch_up(database, case, from)?);
    }
    let (ours, limit) = (median(&mut ours), median(&mut limits));
    Ok(vec![
        case.what.to_owned(),
        case.batch.to_string(),
        case.slots.to_string(),
        match case.limit {
            Limit::Fetch => "psql, rows in order".to_owned(),
            Limit::OneByOne => "prepared upserts, each committed".to_owned(),
            Limit::Sets(batch) => format!("one statement for {batch}"),
        },
        format!("{:.2}", limit.as_secs_f64() / ours.as_secs_f64()),
        format!("{:.0}/s", per_second(part, ours)),
        format!("{:.0}/s", per_second(part, limit)),
    ])
}

fn reset(database: &Database) -> Result<()> {
    let mut client = database.client()?;
    client.batch_execute("TRUNCATE projection_checkpoints, totals; CHECKPOINT")?;
    Ok(())
}

/// How long a projection takes from a position to the end.
fn catch_up(database: &Database, case: &Case, from: usize) -> Result<Duration> {
    let config = ProcessorConfig::default().batch_size(case.batch).slots(case.slots);
    let mut runner = Runner::new(connect(database));
    let projection: std::sync::Arc<dyn Projection> = (case.make)("measured").into();
    runner.add_shared(projection, config, case.slots as usize)?;
    if from > 0 {
        // Its rows, so that it begins there.
        runner.stopper().raise();
        let slots = case.slots;
        database.client()?.batch_execute(&format!(
            "INSERT INTO projection_checkpoints (projection_name, projection, slot, slots,
                slot_hash, epoch, last_global_position, bounded_contexts, aggregate_types,
                read_model)
            SELECT 'measured' || slot, 'measured', slot, {slots}, 'hashtextextended', 1, {from},
                '{{}}', '{{}}', '{{}}'
            FROM generate_series(0, {slots} - 1) AS slot"
        ))?;
        runner = Runner::new(connect(database));
        let config = ProcessorConfig::default().batch_size(case.batch).slots(case.slots);
        runner.add_shared((case.make)("measured").into(), config, case.slots as usize)?;
    }
    let start = Instant::now();
    let reports = runner.run_until_caught_up()?;
    let took = start.elapsed();
    ensure!(reports[0].stopped.is_none(), "{reports:?}");
    Ok(took)
}

fn limit(database: &Database, limit: Limit, events: usize) -> Result<Duration> {
    let start = Instant::now();
    match limit {
        Limit::Fetch => fetch(database)?,
        Limit::OneByOne => {
            let mut client = database.client()?;
            let read = "SELECT aggregate_id FROM events ORDER BY global_position DESC LIMIT $1";
            let rows = client.query(read, &[&i64::try_from(events)?])?;
            let upsert = client.prepare(UPSERT)?;
            for row in rows {
                client.execute(&upsert, &[&row.get::<_, &str>(0)])?;
            }
        }
        Limit::Sets(batch) => database.client()?.batch_execute(&set_based(batch))?,
    }
    Ok(start.elapsed())
}

/// psql with a cursor, to nowhere, and without alignment, which takes longer than the rest.
fn fetch(database: &Database) -> Result<()> {
    let status = Command::new(database.psql_program())
        .args(["-X", "-q", "-A", "-t", "-v", "FETCH_COUNT=1000", "-d", database.url(), "-c"])
        .arg("SELECT * FROM events ORDER BY global_position")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "psql failed");
    Ok(())
}

/// Many months beside none.
fn months(machine: &Machine, quick: bool) -> Result<()> {
    let months = if quick { 24 } else { 120 };
    let aggregates = if quick { 2_000 } else { 25_000 };
    let filling = Filling { aggregates, events_each: 20, months };
    let plain = prepared(machine, "projections_plain", &["--partition-by", "none"])?;
    filling.fill(&mut plain.client()?)?;
    let divided = prepared(machine, "projections_months", &["--partition-by", "month"])?;
    let first = divided.month()?.plus(1 - months).to_string();
    divided.pupctl(&["partitions", "ensure", "--from", &first])?;
    filling.fill(&mut divided.client()?)?;
    let mut rows = Vec::new();
    for batch in [100, 1000] {
        let case = Case { what: "no-op", make: nothing, batch, slots: 1, limit: Limit::Fetch };
        let (mut ours, mut limits) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            for (database, times) in [(&plain, &mut limits), (&divided, &mut ours)] {
                reset(database)?;
                times.push(catch_up(database, &case, 0)?);
            }
        }
        let (ours, limit) = (median(&mut ours), median(&mut limits));
        rows.push(vec![
            batch.to_string(),
            format!("{:.2}", limit.as_secs_f64() / ours.as_secs_f64()),
            format!("{:.0}/s", per_second(filling.events(), ours)),
            format!("{:.0}/s", per_second(filling.events(), limit)),
        ]);
    }
    table(
        &format!("Catching up in {months} months beside a store without partitions, no-op"),
        &["batch", "ratio", "months", "none"],
        &rows,
    );
    say("\nratio: events a second, pupctl / limit.");
    machine.remove(&plain)?;
    machine.remove(&divided)
}
