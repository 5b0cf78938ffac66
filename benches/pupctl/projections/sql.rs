//! Projections in SQL beside the same statements run by psql, in the same batches.

use std::fmt::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pupctl::projection::sql::Parameters;
use pupctl::projection::sql::setup::Change;
use pupctl::projection::{ProcessorConfig, Runner, SqlProjection};

use super::{connect, prepared};
use crate::machine::{Database, Machine};
use crate::report::{median, say, table};
use crate::store::{Filling, per_second};

/// How often each is measured, in turns with its limit.
const ROUNDS: usize = 3;

/// What is measured: a read model, and the statement that handles a batch.
struct Case {
    what: &'static str,
    init: &'static str,
    /// With `$source` for where the events come from.
    handle: &'static str,
}

const CASES: [Case; 3] = [
    Case {
        what: "upsert for each aggregate",
        init: "CREATE TABLE IF NOT EXISTS measured (aggregate_id text PRIMARY KEY, events bigint)",
        handle: "INSERT INTO measured AS t SELECT aggregate_id, count(*) FROM $source GROUP BY 1
            ON CONFLICT (aggregate_id) DO UPDATE SET events = t.events + excluded.events",
    },
    Case {
        what: "insert for each event",
        init: "CREATE TABLE IF NOT EXISTS measured (position bigint PRIMARY KEY, event_type text,
            aggregate_id text)",
        handle: "INSERT INTO measured SELECT global_position, event_type, aggregate_id
            FROM $source",
    },
    Case {
        what: "upsert, from payloads",
        init: "CREATE TABLE IF NOT EXISTS measured (aggregate_id text PRIMARY KEY, total numeric)",
        handle: "INSERT INTO measured AS t
            SELECT aggregate_id, sum(octet_length(payload)) FROM $source GROUP BY 1
            ON CONFLICT (aggregate_id) DO UPDATE SET total = t.total + excluded.total",
    },
];

pub(crate) fn run(machine: &Machine, quick: bool) -> Result<()> {
    let aggregates = if quick { 2_000 } else { 25_000 };
    let filling = Filling { aggregates, events_each: 20, months: 1 };
    let database = prepared(machine, "projections_sql", &["--partition-by", "none"])?;
    filling.fill(&mut database.client()?)?;
    let mut rows = Vec::new();
    for case in &CASES {
        for (batch, slots) in [(1_000, 1), (10_000, 1), (10_000, 4), (0, 1)] {
            rows.push(compare(&database, case, batch, slots, filling.events())?);
        }
    }
    table(
        &format!(
            "SQL projections catching up with {} events, PostgreSQL {}",
            filling.events(),
            machine.version()
        ),
        &["read model", "batch", "slots = workers", "ratio", "pupctl", "psql"],
        &rows,
    );
    say("\nratio: events a second, pupctl / psql with the same statement in batches of that size");
    say("(10,000 beside those that find their size), each with its checkpoint in one transaction.");
    machine.remove(&database)
}

fn compare(
    database: &Database,
    case: &Case,
    batch: usize,
    slots: u32,
    events: usize,
) -> Result<Vec<String>> {
    let (mut ours, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        reset(database, case)?;
        limits.push(psql(database, case, if batch == 0 { 10_000 } else { batch }, events)?);
        reset(database, case)?;
        ours.push(catch_up(database, case, batch, slots)?);
    }
    let (ours, limit) = (median(&mut ours), median(&mut limits));
    Ok(vec![
        case.what.to_owned(),
        if batch == 0 { "finds its size".to_owned() } else { batch.to_string() },
        slots.to_string(),
        format!("{:.2}", limit.as_secs_f64() / ours.as_secs_f64()),
        format!("{:.0}/s", per_second(events, ours)),
        format!("{:.0}/s", per_second(events, limit)),
    ])
}

fn reset(database: &Database, case: &Case) -> Result<()> {
    let mut client = database.client()?;
    client.batch_execute("DROP TABLE IF EXISTS measured")?;
    client.batch_execute(case.init)?;
    client.batch_execute(
        "TRUNCATE projection_checkpoints, projection_definitions, projection_audit; CHECKPOINT",
    )?;
    Ok(())
}

/// How long the projection takes.
fn catch_up(database: &Database, case: &Case, batch: usize, slots: u32) -> Result<Duration> {
    let text = format!(
        "-- name: measured\n-- tables: measured\n-- init\n{};\n-- handle\n{};\n",
        case.init,
        case.handle.replace("$source", "batch")
    );
    let projection = SqlProjection::parse("measured.sql", &text, &Parameters::new())?;
    let config = ProcessorConfig::default().slots(slots);
    let config =
        if batch == 0 { config.batch_size(1_000).adaptive() } else { config.batch_size(batch) };
    let mut runner = Runner::new(connect(database));
    runner.add_sql(projection, config, slots as usize, Change::Refuse)?;
    let start = Instant::now();
    let reports = runner.run_until_caught_up()?;
    let took = start.elapsed();
    ensure!(reports[0].stopped.is_none(), "{reports:?}");
    Ok(took)
}

/// How long psql takes with a script of the same statements.
fn psql(database: &Database, case: &Case, batch: usize, events: usize) -> Result<Duration> {
    let mut script = String::new();
    for from in (0..events).step_by(batch) {
        let source = format!(
            "events WHERE global_position > {from} AND global_position <= {}",
            from + batch
        );
        let _ = writeln!(
            script,
            "BEGIN; {}; INSERT INTO projection_checkpoints (projection_name, last_global_position)
            VALUES ('plain', {1}) ON CONFLICT (projection_name)
            DO UPDATE SET last_global_position = {1}, updated_at = now(); COMMIT;",
            case.handle.replace("$source", &source),
            from + batch
        );
    }
    let mut child = std::process::Command::new(database.psql_program())
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database.url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    std::io::Write::write_all(&mut child.stdin.take().context("no pipe")?, script.as_bytes())?;
    ensure!(child.wait()?.success(), "psql failed");
    Ok(start.elapsed())
}
