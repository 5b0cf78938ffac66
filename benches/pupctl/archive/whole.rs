//! The whole commands, with fence, proof, keys and indexes, beside what people do by hand.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::machine::{Database, Machine};
use crate::report::{median, ratio, seconds, table};

/// The month that leaves and comes back.
const MONTH: &str = "2026-01";
const LEAF: &str = "events_2026_01";

/// What a leaf has beside its rows.
const KEYS: &str = "ALTER TABLE byhand
    ADD PRIMARY KEY (bounded_context, aggregate_type, aggregate_id, aggregate_version),
    ADD UNIQUE (event_id), ADD UNIQUE (global_position);
    CREATE INDEX ON byhand USING brin (created_at) WITH (pages_per_range = 32)";

pub(super) fn run(machine: &Machine, fill: &str, count: u32) -> Result<()> {
    let database = machine.database("whole")?;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    prepare(&database, fill)?;
    let (piped, dump) = (folder.path().join("piped.zst"), folder.path().join("dump"));
    let read = format!("COPY (SELECT * FROM {LEAF}) TO STDOUT (FORMAT binary)");
    let mut times: [Vec<Duration>; 7] = Default::default();
    for round in 0..=2 {
        let mut found = [Duration::ZERO; 7];
        let start = Instant::now();
        database.pipe(&read, &piped)?;
        found[0] = start.elapsed();
        for (number, format) in [(1, "copy"), (2, "parquet")] {
            let to = folder.path().join(format!("{format}{round}"));
            let to = to.to_string_lossy();
            found[number] = database
                .time(&["archive", MONTH, "--format", format, "--to", &to, "--drop", "--yes"])?;
            found[number + 3] = database.time(&["restore", MONTH])?;
        }
        if round == 0 {
            database.dump(LEAF, &dump)?;
        }
        found[3] = by_hand(&database, &piped)?;
        found[6] = pg_restore(machine, &dump)?;
        for (times, found) in times.iter_mut().zip(found).filter(|_| round > 0) {
            times.push(found);
        }
    }
    let medians = times.each_mut().map(|times| median(times));
    let line = |name: &str, limit: usize, own: usize| {
        let rate = f64::from(count) / medians[own].as_secs_f64();
        vec![
            name.to_owned(),
            ratio(medians[limit], medians[own]),
            format!("{rate:.0}"),
            seconds(medians[own]),
        ]
    };
    table(
        &format!("{count} events of a month: whole commands"),
        &["command", "limit / command", "rows/s", "time"],
        &[
            line("psql COPY binary, zstd -3 (limit)", 0, 0),
            line("archive --format copy --drop, proven", 0, 1),
            line("archive --drop, proven", 0, 2),
            line("zstd -dc, psql COPY, keys (limit)", 3, 3),
            line("restore, copy", 3, 4),
            line("restore, parquet", 3, 5),
            line("pg_restore -j2", 3, 6),
        ],
    );
    Ok(())
}

fn prepare(database: &Database, fill: &str) -> Result<()> {
    database.pupctl(&["schema", "init", "--partition-by", "month", "-q"])?;
    database.pupctl(&["partitions", "ensure", "--from", MONTH, "-q"])?;
    let mut client = database.client()?;
    for statement in fill.split(";\n") {
        client.batch_execute(statement)?;
    }
    client.batch_execute(
        "BEGIN; SET LOCAL pupctl.maintenance = on;
         INSERT INTO events (global_position, bounded_context, aggregate_type, aggregate_id,
             aggregate_version, event_id, event_type, event_version, payload, trace_id, metadata,
             created_at)
         SELECT global_position, bounded_context, aggregate_type, aggregate_id, aggregate_version,
             event_id, event_type, event_version, payload, trace_id, metadata,
             '2026-01-01 00:00+00'::timestamptz + global_position * interval '1 second'
         FROM detached;
         INSERT INTO aggregate_heads (bounded_context, aggregate_type, aggregate_id,
             aggregate_version)
         SELECT bounded_context, aggregate_type, aggregate_id, max(aggregate_version)
         FROM events GROUP BY 1, 2, 3;
         SELECT setval('events_global_position_seq', (SELECT max(global_position) FROM events));
         DROP TABLE detached; COMMIT",
    )?;
    client.batch_execute("VACUUM ANALYZE events")?;
    Ok(())
}

fn by_hand(database: &Database, piped: &Path) -> Result<Duration> {
    let mut client = database.client()?;
    client.batch_execute(
        "DROP TABLE IF EXISTS byhand; CREATE TABLE byhand (LIKE events INCLUDING DEFAULTS)",
    )?;
    let program = format!("zstd -dcq {}", piped.display());
    let start = Instant::now();
    database.psql(&[format!("\\copy byhand from program '{program}' (format binary)")])?;
    client.batch_execute(KEYS)?;
    Ok(start.elapsed())
}

/// Into a database of its own, with what the table needs.
fn pg_restore(machine: &Machine, dump: &Path) -> Result<Duration> {
    let database = machine.database("dumped")?;
    database.pupctl(&["schema", "init", "--partition-by", "month", "-q"])?;
    let mut command = Command::new(machine.program("pg_restore"));
    command.args(["-j2", "-d", database.url()]).arg(dump).stdin(Stdio::null());
    let start = Instant::now();
    let output = command.output().context("pg_restore does not run")?;
    let time = start.elapsed();
    let rows = format!("SELECT count(*) FROM {LEAF}");
    let rows: i64 = database.client()?.query_one(&rows, &[])?.get(0);
    ensure!(rows > 0, "pg_restore restored nothing: {}", String::from_utf8_lossy(&output.stderr));
    machine.remove(&database)?;
    Ok(time)
}
