//! The processor of projections: every committed event is handled once and in order, whoever
//! commits late, fails, is killed, or works beside it.

#[path = "../support/mod.rs"]
mod support;

mod basics;
mod errors;
mod journal;
mod runner;
mod slots;

use postgres::{Client, NoTls};
use pupctl::db::Interrupt;
use pupctl::projection::{Connect, Processor, ProcessorConfig, Projection, Report};

use support::TestDatabase;

/// Connects as a program with a way of its own does.
pub(crate) fn connect(db: &TestDatabase) -> impl Connect + 'static {
    let url = db.url().to_owned();
    move |application_name: &str| {
        let failed = |error| pupctl::Error::database("connecting", error);
        let mut client = Client::connect(&url, NoTls).map_err(failed)?;
        let name = application_name.replace('\'', "''");
        client.batch_execute(&format!("SET application_name = '{name}'")).map_err(failed)?;
        Ok(client)
    }
}

/// A store of this layout with the contexts `Sales` and `Billing`.
pub(crate) fn store(layout: &str) -> TestDatabase {
    let db = TestDatabase::new();
    let mut arguments = vec!["schema", "init", "--partition-by", layout, "--months", "1"];
    arguments.extend(["--contexts", "Sales,Billing"]);
    if layout.contains("hash") {
        arguments.extend(["--hash-partitions", "2"]);
    }
    db.pupctl(&arguments).success();
    journal::create(&db);
    db
}

/// Adds an event of an aggregate, and commits it. Its position.
pub(crate) fn append(client: &mut Client, context: &str, id: &str) -> i64 {
    append_as(client, context, id, "OrderPlaced")
}

/// The same with a type of the event.
pub(crate) fn append_as(client: &mut Client, context: &str, id: &str, event_type: &str) -> i64 {
    let mut transaction = client.transaction().expect("a transaction");
    let insert = "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, payload)
        SELECT $1, 'Order', $2, coalesce(max(aggregate_version), 0) + 1, gen_random_uuid(), $3, ''
        FROM aggregate_heads
        WHERE bounded_context = $1 AND aggregate_type = 'Order' AND aggregate_id = $2
        RETURNING global_position, aggregate_version";
    let row = transaction.query_one(insert, &[&context, &id, &event_type]).expect("an event");
    let head = "INSERT INTO aggregate_heads (bounded_context, aggregate_type, aggregate_id,
            aggregate_version)
        VALUES ($1, 'Order', $2, $3)
        ON CONFLICT (bounded_context, aggregate_type, aggregate_id)
        DO UPDATE SET aggregate_version = excluded.aggregate_version";
    transaction.execute(head, &[&context, &id, &row.get::<_, i64>(1)]).expect("a head");
    transaction.commit().expect("committed");
    row.get(0)
}

/// Runs a projection until it has caught up.
pub(crate) fn catch_up(
    db: &TestDatabase,
    projection: impl Projection + 'static,
    config: ProcessorConfig,
) -> pupctl::Result<Report> {
    Processor::new(connect(db), projection, config)?.run_until_caught_up(&Interrupt::default())
}

/// Where the slots of a projection stand, in order.
pub(crate) fn positions(db: &TestDatabase, projection: &str) -> Vec<i64> {
    let sql = "SELECT last_global_position FROM projection_checkpoints WHERE projection = $1
        ORDER BY slot";
    let rows = db.client().query(sql, &[&projection]).expect("checkpoints");
    rows.iter().map(|row| row.get(0)).collect()
}
