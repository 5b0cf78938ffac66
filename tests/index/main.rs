//! `schema index add`, `drop` and `reindex` on live tables.

#[path = "../support/mod.rs"]
mod support;

mod add;
mod drop;
mod killed;
mod meanwhile;
mod refused;
mod reindex;

use support::TestDatabase;

const TYPE: [&str; 5] = ["schema", "index", "add", "--preset", "type"];
const TYPE_INDEX: &str = "events_event_type_global_position_idx";

/// A store with these arguments of `init`.
fn store(init: &[&str]) -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init"].iter().chain(init)).success();
    db
}

fn by_month() -> TestDatabase {
    store(&["--partition-by", "month", "--months", "1"])
}

/// The indexes below one of a partitioned table: how many there are, how many are valid, and on
/// how many leaves.
fn whole(db: &TestDatabase, index: &str, table: &str) -> bool {
    let leaves = i64::try_from(db.leaves(table).len()).expect("a number");
    let valid: bool =
        db.one(&format!("SELECT indisvalid FROM pg_index WHERE indexrelid = '{index}'::regclass"));
    let below: i64 = db.one(&format!(
        "WITH RECURSIVE tree AS (
            SELECT '{index}'::regclass::oid AS oid
            UNION ALL SELECT inhrelid FROM tree JOIN pg_inherits ON inhparent = oid
        )
        SELECT count(*) FROM tree JOIN pg_index ON indexrelid = tree.oid
        JOIN pg_class ON pg_class.oid = indrelid
        WHERE pg_class.relkind = 'r' AND indisvalid"
    ));
    valid && below == leaves
}

/// The invalid indexes of the database.
fn invalid(db: &TestDatabase) -> Vec<String> {
    db.texts("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid ORDER BY 1")
}

/// An open transaction that has written an event of this month.
fn open_writer(db: &TestDatabase) -> postgres::Client {
    let mut client = db.client();
    client
        .batch_execute(
            "BEGIN; INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
                aggregate_version, event_id, event_type, payload)
             VALUES ('A', 'B', 'C', 1, gen_random_uuid(), 'x', '')",
        )
        .expect("an open transaction");
    client
}

/// How many builds wait for somebody.
const BUILDS_WAIT: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND query ~ 'INDEX CONCURRENTLY'
        AND pid <> pg_backend_pid() AND cardinality(pg_blocking_pids(pid)) > 0";
