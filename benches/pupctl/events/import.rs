//! `events import` beside psql's `\copy` of the same rows in the binary format, the fastest way
//! into a table that psql has.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::machine::{Database, Machine};
use crate::report::{median, ratio, say, seconds, table};

use super::generator::Shape;
use super::{COLUMNS, Files, mebibytes, store, text};

/// What pupctl does beside the copy, as plain SQL without any check.
const HEADS: &str = "\
    INSERT INTO aggregate_heads \
        (bounded_context, aggregate_type, aggregate_id, aggregate_version, updated_at) \
    SELECT bounded_context, aggregate_type, aggregate_id, max(aggregate_version), now() \
    FROM events GROUP BY bounded_context, aggregate_type, aggregate_id";

/// The usual level of the program `zstd`.
const ZSTD_LEVEL: i32 = 3;

/// A way of getting the events in.
enum Way {
    Pupctl(PathBuf),
    Psql(Vec<String>),
}

/// Gives back the store by context and month, with all events.
pub(super) fn run(
    machine: &Machine,
    files: &Files,
    file: &Path,
    shape: Shape,
    rounds: usize,
) -> Result<Database> {
    let by_month = store(machine, "by_context_and_month", "context,month")?;
    by_month.pupctl(&["events", "import", text(file)?, "--create-partitions"])?;
    let copy = copy_in(&by_month, &files.path("events.copy"))?;
    let ways = [
        Way::Pupctl(file.to_owned()),
        Way::Psql(vec![copy.clone()]),
        Way::Psql(vec![copy, HEADS.to_owned()]),
        Way::Pupctl(compress(file, &files.path("events.ndjson.gz"), gzip)?),
        Way::Pupctl(compress(file, &files.path("events.ndjson.zst"), zstd)?),
    ];
    let partitioned = compare(&by_month, &ways, shape, rounds)?;
    let single = compare(&store(machine, "single", "none")?, &ways[..3], shape, rounds)?;

    let (events, size) = (shape.events(), mebibytes(file)?);
    table(
        &format!("Importing {events} events, {size} MiB, PostgreSQL {}", machine.version()),
        &["layout", "limit", "limit / pupctl", "pupctl", "limit"],
        &[against_psql("context,month", &partitioned), against_psql("none", &single)].concat(),
    );
    say("\npupctl checks ids and versions and keeps the heads; `\\copy` does none of it.");
    table(
        "Importing the same file compressed, into context,month",
        &["file", "size", "time / plain", "time"],
        &compressed(&ways, &partitioned)?,
    );
    Ok(by_month)
}

/// Writes the rows for psql and gives back the command that reads them.
fn copy_in(database: &Database, path: &Path) -> Result<String> {
    let (quoted, rows) = (text(path)?, "events ORDER BY global_position");
    database.psql(&[format!(
        "\\copy (SELECT {COLUMNS} FROM {rows}) to '{quoted}' with (format binary)"
    )])?;
    Ok(format!("\\copy events ({COLUMNS}) from '{quoted}' with (format binary)"))
}

/// The medians of the ways, which take turns; each begins with an empty store.
fn compare(
    database: &Database,
    ways: &[Way],
    shape: Shape,
    rounds: usize,
) -> Result<Vec<Duration>> {
    let mut times = vec![Vec::new(); ways.len()];
    for _ in 0..rounds {
        for (way, times) in ways.iter().zip(&mut times) {
            let mut client = database.client()?;
            client.batch_execute("TRUNCATE events, aggregate_heads")?;
            client.batch_execute("CHECKPOINT")?;
            times.push(match way {
                Way::Pupctl(file) => database.time(&["events", "import", text(file)?])?,
                Way::Psql(commands) => database.time_psql(commands)?,
            });
            let count: i64 = client.query_one("SELECT count(*) FROM events", &[])?.get(0);
            ensure!(u64::try_from(count)? == shape.events(), "{count} events went in");
        }
    }
    Ok(times.iter_mut().map(|times| median(times)).collect())
}

fn against_psql(layout: &str, times: &[Duration]) -> [Vec<String>; 2] {
    [("psql \\copy", times[1]), ("psql \\copy, INSERT of heads", times[2])].map(|(name, limit)| {
        vec![
            layout.to_owned(),
            name.to_owned(),
            ratio(limit, times[0]),
            seconds(times[0]),
            seconds(limit),
        ]
    })
}

/// A row for each file that pupctl read; the first is the plain one.
fn compressed(ways: &[Way], times: &[Duration]) -> Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    for (way, time) in ways.iter().zip(times) {
        if let Way::Pupctl(file) = way {
            let ending = file.extension().unwrap_or_default().to_string_lossy();
            let size = format!("{} MiB", mebibytes(file)?);
            rows.push(vec![format!(".{ending}"), size, ratio(*time, times[0]), seconds(*time)]);
        }
    }
    Ok(rows)
}

fn compress(
    from: &Path,
    to: &Path,
    method: impl FnOnce(File, File) -> io::Result<()>,
) -> Result<PathBuf> {
    method(File::open(from)?, File::create(to)?)?;
    Ok(to.to_owned())
}

fn gzip(mut from: File, to: File) -> io::Result<()> {
    let mut encoder = GzEncoder::new(to, Compression::default());
    io::copy(&mut from, &mut encoder)?;
    encoder.finish().map(drop)
}

fn zstd(from: File, to: File) -> io::Result<()> {
    zstd::stream::copy_encode(from, to, ZSTD_LEVEL)
}
