//! A day of events by BRIN, which every store has, beside a b-tree on `created_at`.

use std::time::Instant;

use anyhow::Result;
use postgres::Client;

use crate::machine::Machine;
use crate::report::{median, milliseconds, ratio, table};
use crate::store::{Filling, ROUNDS, store};

/// How many months the events lie in.
const MONTHS: i32 = 12;

/// A way to find a day: which index the table has beside its keys, and how its rows lie.
struct Way {
    index: &'static str,
    rows: &'static str,
    table: &'static str,
}

/// The first is the limit.
const WAYS: [Way; 4] = [
    Way { index: "b-tree", rows: "in order of time", table: "by_btree" },
    Way { index: "BRIN", rows: "in order of time", table: "public.events" },
    Way { index: "b-tree", rows: "in no order", table: "shuffled_by_btree" },
    Way { index: "BRIN", rows: "in no order", table: "shuffled_by_brin" },
];

pub(crate) fn run(machine: &Machine, quick: bool) -> Result<()> {
    let aggregates = if quick { 3_000 } else { 20_000 };
    let filling = Filling { aggregates, events_each: 100, months: MONTHS };
    let database = store(machine, "brin", &["--partition-by", "none"], false)?;
    let mut client = database.client()?;
    filling.fill(&mut client)?;
    copy(&mut client)?;
    let mut times = WAYS.map(|_| Vec::new());
    for round in 0..=ROUNDS {
        for (way, times) in WAYS.iter().zip(&mut times) {
            let day = format!("date_trunc('day', now()) - interval '{} days'", 100 + round);
            let start = Instant::now();
            client.query_one(
                &format!(
                    "SELECT count(*), sum(octet_length(payload)) FROM {} \
                     WHERE created_at >= {day} AND created_at < {day} + interval '1 day'",
                    way.table
                ),
                &[],
            )?;
            // The first round fills the cache.
            if round > 0 {
                times.push(start.elapsed());
            }
        }
    }
    let limit = median(&mut times[0]);
    let mut rows = Vec::new();
    for (way, times) in WAYS.iter().zip(&mut times) {
        let middle = median(times);
        rows.push(vec![
            way.index.to_owned(),
            way.rows.to_owned(),
            size(&mut client, way)?,
            ratio(middle, limit),
            milliseconds(middle),
        ]);
    }
    table(
        &format!("A day among {} events, PostgreSQL {}", filling.events(), machine.version()),
        &["index", "rows lie", "size", "ratio", "time"],
        &rows,
    );
    machine.remove(&database)
}

/// The same rows in the same order with a b-tree, and in no order with either.
fn copy(client: &mut Client) -> Result<()> {
    for (table, order, index) in [
        ("by_btree", "global_position", "btree (created_at)"),
        ("shuffled_by_btree", "event_id", "btree (created_at)"),
        (
            "shuffled_by_brin",
            "event_id",
            "brin (created_at) WITH (pages_per_range = 32, autosummarize = on)",
        ),
    ] {
        client.batch_execute(&format!("CREATE TABLE {table} (LIKE events INCLUDING DEFAULTS)"))?;
        client.batch_execute(&format!("INSERT INTO {table} TABLE events ORDER BY {order}"))?;
        client.batch_execute(&format!("CREATE INDEX ON {table} USING {index}"))?;
    }
    Ok(client.batch_execute("VACUUM ANALYZE")?)
}

/// The size of the index on the time.
fn size(client: &mut Client, way: &Way) -> Result<String> {
    let sql = "SELECT pg_size_pretty(pg_relation_size(indexrelid)) FROM pg_index \
        WHERE indrelid = $1::text::regclass AND pg_get_indexdef(indexrelid) LIKE '%(created_at)%'";
    Ok(client.query_one(sql, &[&way.table])?.get(0))
}
