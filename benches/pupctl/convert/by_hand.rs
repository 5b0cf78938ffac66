//! The limit: what somebody with two connections and a free evening would write.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use postgres::Client;

use crate::machine::Database;

/// As `--index-memory` of pupctl.
const MEMORY: &str = "256MB";

/// A leaf: its name, its bounds, and what builds its keys and indexes.
pub(super) struct Leaf {
    name: String,
    bounds: String,
    builds: Vec<String>,
}

/// The leaves that pupctl has built, largest first, to be built once more in a schema beside.
pub(super) fn leaves(client: &mut Client) -> Result<Vec<Leaf>> {
    let rows = client.query(
        "SELECT class.relname::text, pg_get_expr(class.relpartbound, class.oid), ARRAY( \
             SELECT format('ALTER TABLE byhand.%I ADD %s', class.relname, \
                 pg_get_constraintdef(own.oid)) \
             FROM pg_constraint AS own \
             WHERE own.conrelid = class.oid AND own.contype IN ('p', 'u') \
             UNION ALL SELECT replace(pg_get_indexdef(index.indexrelid), ' ON public.', \
                 ' ON byhand.') \
             FROM pg_index AS index WHERE index.indrelid = class.oid AND NOT EXISTS ( \
                 SELECT FROM pg_constraint AS own WHERE own.conindid = index.indexrelid)) \
         FROM pg_class AS class WHERE class.relispartition AND class.relkind = 'r' \
             AND class.relnamespace = 'public'::regnamespace \
         ORDER BY pg_relation_size(class.oid) DESC, 1",
        &[],
    )?;
    let leaf =
        |row: &postgres::Row| Leaf { name: row.get(0), bounds: row.get(1), builds: row.get(2) };
    Ok(rows.iter().map(leaf).collect())
}

/// How long the copy and the builds take, each in two sessions. What was built is dropped.
pub(super) fn copy(database: &Database, leaves: &[Leaf]) -> Result<[Duration; 2]> {
    let mut client = database.client()?;
    client.batch_execute(
        "DROP SCHEMA IF EXISTS byhand CASCADE; CREATE SCHEMA byhand; \
         CREATE TABLE byhand.events (LIKE public.events) PARTITION BY RANGE (created_at)",
    )?;
    for Leaf { name, bounds, .. } in leaves {
        client.batch_execute(&format!(
            "CREATE TABLE byhand.{name} PARTITION OF byhand.events {bounds}"
        ))?;
    }
    let half = "SELECT (min(global_position) + max(global_position)) / 2 FROM public.events";
    let half: i64 = client.query_one(half, &[])?.get(0);
    let start = Instant::now();
    let halves = ["<=", ">"].map(|side| {
        format!(
            "INSERT INTO byhand.events SELECT * FROM public.events WHERE global_position {side} \
             {half}"
        )
    });
    in_two(database, halves.into())?;
    let copied = start.elapsed();
    let start = Instant::now();
    in_two(database, leaves.iter().map(|leaf| leaf.builds.join(";\n")).collect())?;
    let built = start.elapsed();
    client.batch_execute("DROP SCHEMA byhand CASCADE")?;
    Ok([copied, built])
}

/// Two sessions take one piece of work after the other.
fn in_two(database: &Database, work: Vec<String>) -> Result<()> {
    let work = Mutex::new(work.into_iter());
    thread::scope(|scope| {
        let session = || -> Result<()> {
            let mut client = database.client()?;
            client.batch_execute(&format!(
                "SET synchronous_commit = off; SET maintenance_work_mem = '{MEMORY}'"
            ))?;
            loop {
                let next = work.lock().expect("no panic").next();
                let Some(sql) = next else { return Ok(()) };
                client.batch_execute(&sql)?;
            }
        };
        let sessions = [scope.spawn(session), scope.spawn(session)];
        sessions.into_iter().try_for_each(|one| one.join().expect("no panic"))
    })
}
