//! `events export` beside psql's `\copy` of the same rows in the same order, in the binary format.

use anyhow::{Result, ensure};

use crate::machine::Database;
use crate::report::{median, ratio, seconds, table};

use super::{COLUMNS, Files, mebibytes, text};

pub(super) fn run(database: &Database, files: &Files, rounds: usize) -> Result<()> {
    // Whoever reads first would write what the import left to be done.
    database.client()?.batch_execute("VACUUM ANALYZE events")?;
    let (ours, theirs) = (files.path("export.ndjson"), files.path("export.copy"));
    let export = ["events", "export", text(&ours)?, "--overwrite"];
    let copy = [format!(
        "\\copy (SELECT global_position, {COLUMNS} FROM events ORDER BY global_position) \
         to '{}' with (format binary)",
        text(&theirs)?
    )];
    let (mut times, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        times.push(database.time(&export)?);
        limits.push(database.time_psql(&copy)?);
    }
    let count: i64 = database.client()?.query_one("SELECT count(*) FROM events", &[])?.get(0);
    let lines = memchr::memchr_iter(b'\n', &std::fs::read(&ours)?).count();
    ensure!(u64::try_from(count)? == u64::try_from(lines)?, "the export has {lines} events");
    let (time, limit) = (median(&mut times), median(&mut limits));
    table(
        &format!("Exporting {count} events from context,month, {} MiB", mebibytes(&ours)?),
        &["limit", "limit / pupctl", "pupctl", "limit"],
        &[vec!["psql \\copy".to_owned(), ratio(limit, time), seconds(time), seconds(limit)]],
    );
    Ok(())
}
