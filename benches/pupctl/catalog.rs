//! A store of 10,000 partitions: making it, `ensure` with nothing to do, and `list`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::machine::{Database, Machine, beside, contexts, run_in_transactions};
use crate::report::{median, ratio, say, seconds, table};

const CONTEXTS: usize = 40;

/// What `schema init` makes by itself: the current month and three more.
const MONTHS_AT_FIRST: usize = 4;

/// The names and bounds of the tree: less is not to be had in SQL.
const TREE: &str = "\
    WITH RECURSIVE tree AS ( \
        SELECT 'events'::regclass::oid AS oid, 0::oid AS parent \
        UNION ALL \
        SELECT inhrelid, inhparent FROM tree JOIN pg_inherits ON inhparent = tree.oid) \
    SELECT class.oid, tree.parent, class.relname::text, pg_get_expr(class.relpartbound, 0) \
    FROM tree JOIN pg_class AS class ON class.oid = tree.oid";

/// The same with the sizes of tables and indexes.
const TREE_WITH_SIZES: &str = "\
    WITH RECURSIVE tree AS ( \
        SELECT 'events'::regclass::oid AS oid, 0::oid AS parent \
        UNION ALL \
        SELECT inhrelid, inhparent FROM tree JOIN pg_inherits ON inhparent = tree.oid) \
    SELECT class.oid, tree.parent, class.relname::text, pg_get_expr(class.relpartbound, 0), \
        pg_table_size(class.oid), pg_indexes_size(class.oid) \
    FROM tree JOIN pg_class AS class ON class.oid = tree.oid";

pub(crate) fn run(machine: &Machine, quick: bool) -> Result<()> {
    // Rounds of months, so that both sides take turns while the stores grow.
    let (rounds, months) = if quick { (2, 23) } else { (6, 41) };
    let leaves = CONTEXTS * (MONTHS_AT_FIRST + rounds * months);
    let small = machine.database("small")?;
    init(&small, 25)?;
    let large = machine.database("large")?;
    build(machine, &large, rounds, months)?;

    let mut rows = Vec::new();
    for (arguments, limit, limit_name) in [
        (["partitions", "ensure"], TREE, "SELECT of the tree"),
        (["partitions", "list"], TREE, "SELECT of the tree"),
        (["partitions", "list"], TREE_WITH_SIZES, "SELECT of the tree with sizes"),
    ] {
        let queries = large.queries(&arguments)?;
        let queries_small = small.queries(&arguments)?;
        let (ours, plain) = compare(&large, &arguments, limit, if quick { 3 } else { 9 })?;
        rows.push(vec![
            arguments.join(" "),
            limit_name.to_owned(),
            ratio(ours, plain),
            seconds(ours),
            seconds(plain),
            queries.to_string(),
            queries_small.to_string(),
        ]);
        ensure!(queries == queries_small, "more queries on the larger store: {rows:?}");
    }
    table(
        &format!("Commands on {leaves} leaves, PostgreSQL {}", machine.version()),
        &["command", "limit", "ratio", "pupctl", "limit", "queries", "queries on 100 leaves"],
        &rows,
    );
    if let Some(bytes) = large.peak_memory(&["partitions", "list"])? {
        say(format!("\nPeak memory of partitions list: {} MiB", bytes / 1024 / 1024));
    }
    Ok(())
}

fn init(database: &Database, contexts_count: usize) -> Result<()> {
    let contexts = contexts(contexts_count).join(",");
    let layout = ["--partition-by", "context,month", "--contexts", &contexts];
    database.pupctl(&[&["schema", "init"], layout.as_slice()].concat())?;
    Ok(())
}

/// Grows the store into the past by `ensure`, and another by plain SQL.
fn build(machine: &Machine, large: &Database, rounds: usize, months: usize) -> Result<()> {
    let plain = machine.database("plain")?;
    init(large, CONTEXTS)?;
    init(&plain, CONTEXTS)?;
    let mut session = plain.client()?;
    session.batch_execute("SET client_min_messages = warning")?;
    let step = i32::try_from(months)?;
    let mut first = large.month()?;
    let (mut ours, mut limit) = (Duration::ZERO, Duration::ZERO);
    for round in 0..rounds {
        let from = first.plus(-step);
        let mut statements = Vec::new();
        for context in contexts(CONTEXTS) {
            statements.extend(from.through(first.plus(-1)).map(|month| beside(&context, month)));
        }
        // Each side goes first in every other round.
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                ours += large.time(&["partitions", "ensure", "--from", &from.to_string()])?;
            } else {
                let start = Instant::now();
                run_in_transactions(&mut session, &statements)?;
                limit += start.elapsed();
            }
        }
        first = from;
    }
    let made = u32::try_from(CONTEXTS * rounds * months)?;
    let rate = |time: Duration| format!("{:.0}", f64::from(made) / time.as_secs_f64());
    table(
        &format!("Making {made} leaves, 50 in a transaction"),
        &["command", "limit", "ratio", "leaves/s", "leaves/s of the limit"],
        &[vec![
            "partitions ensure --from".to_owned(),
            "CREATE TABLE LIKE, keys, ATTACH".to_owned(),
            ratio(ours, limit),
            rate(ours),
            rate(limit),
        ]],
    );
    Ok(())
}

/// The medians of both sides, which take turns.
fn compare(
    database: &Database,
    arguments: &[&str],
    limit: &str,
    times: usize,
) -> Result<(Duration, Duration)> {
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..times {
        ours.push(database.time(arguments)?);
        plain.push(database.time_sql(limit)?);
    }
    Ok((median(&mut ours), median(&mut plain)))
}
