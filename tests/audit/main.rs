//! What projections were given is compared with the store: every way to lose an event is found and
//! mended, and what only looks like a loss is none.

#[path = "../support/mod.rs"]
mod support;

mod left;
mod losses;
mod moves;
mod repair;
mod report;
mod rights;
mod wait;

use postgres::{Client, NoTls};
use pupctl::projection::sql::setup::Change;
use pupctl::projection::sql::{Parameters, SqlProjection};
use pupctl::projection::{
    ErrorPolicy, Event, HandlerError, ProcessorConfig, Projection, Report, Runner, Transaction,
};

use support::{Append, Output, TestDatabase};

/// Counts the events of each aggregate, and fails at the positions in a table.
pub(crate) struct Counts;

impl Projection for Counts {
    fn name(&self) -> &'static str {
        "code"
    }

    fn read_model(&self) -> Vec<&str> {
        vec!["code_counts"]
    }

    fn handle(&self, tx: &mut Transaction<'_>, event: &Event) -> Result<(), HandlerError> {
        let position = event.global_position;
        if tx.query_opt("SELECT FROM poison WHERE position = $1", &[&position])?.is_some() {
            return Err(format!("position {position} is poison").into());
        }
        tx.execute(
            "INSERT INTO code_counts AS t (id, events) VALUES ($1, 1)
             ON CONFLICT (id) DO UPDATE SET events = t.events + 1",
            &[&event.aggregate_id],
        )?;
        Ok(())
    }
}

/// The same in SQL.
const FILE: &str = "-- name: sql
-- tables: sql_counts
-- init
CREATE TABLE IF NOT EXISTS sql_counts (id text PRIMARY KEY, events bigint NOT NULL);
-- handle
INSERT INTO sql_counts AS t
SELECT aggregate_id, count(*)
FROM batch LEFT JOIN public.poison AS p ON p.position = batch.global_position
WHERE 1 / (CASE WHEN p.position IS NULL THEN 1 ELSE 0 END) = 1
GROUP BY 1
ON CONFLICT (id) DO UPDATE SET events = t.events + excluded.events;
";

/// Their names, each with its read model.
pub(crate) const BOTH: [&str; 2] = ["code", "sql"];

/// A store of this layout, with months from three months ago.
pub(crate) fn store(layout: &str) -> TestDatabase {
    let db = TestDatabase::new();
    let mut init = vec!["schema", "init", "-q", "--partition-by", layout];
    if layout.contains("month") {
        init.extend(["--months", "1"]);
    }
    if layout.contains("context") {
        init.extend(["--contexts", "Sales,Billing"]);
    }
    db.pupctl(init).success();
    if layout.contains("month") {
        let from = db.month(-3);
        db.pupctl(["partitions", "ensure", "-q", "--from", &from]).success();
    }
    db.execute(
        "CREATE TABLE poison (position bigint PRIMARY KEY);
         CREATE TABLE code_counts (id text PRIMARY KEY, events bigint NOT NULL)",
    );
    db
}

/// The projections, with so many slots and small batches.
pub(crate) fn runner(db: &TestDatabase, slots: u32) -> Runner {
    let url = db.url().to_owned();
    let mut runner = Runner::new(move |application_name: &str| {
        let failed = |error| pupctl::Error::database("connecting", error);
        let mut client = Client::connect(&url, NoTls).map_err(failed)?;
        client
            .batch_execute(&format!("SET application_name = '{application_name}'"))
            .map_err(failed)?;
        Ok(client)
    });
    let config =
        ProcessorConfig::default().batch_size(7).on_error(ErrorPolicy::Park).initial_slots(slots);
    runner.add(Counts, config.clone(), 1).expect("added");
    let file = SqlProjection::parse("sql.sql", FILE, &Parameters::default()).expect("a file");
    runner.add_sql(file, config, 1, Change::Refuse).expect("added");
    runner
}

/// Lets the projections do all that there is to do.
pub(crate) fn work(db: &TestDatabase, slots: u32) -> Vec<Report> {
    runner(db, slots).run_until_caught_up().expect("caught up")
}

/// Appends one event to each of so many aggregates.
pub(crate) fn append(db: &TestDatabase, aggregates: std::ops::Range<u32>) {
    append_at(db, "Sales", &format!("{}-03T00:00:00Z", db.month(0)), aggregates);
}

pub(crate) fn append_at(
    db: &TestDatabase,
    context: &str,
    created_at: &str,
    aggregates: std::ops::Range<u32>,
) {
    let mut client = db.client();
    for number in aggregates {
        let id = format!("order-{number}");
        let append = Append { context, id: &id, head: None, events: 1, created_at };
        append.run(&mut client).expect("an event");
    }
}

/// A store where both projections have handled 40 events at the positions up to 60, with room for
/// others at 11 to 30.
pub(crate) fn handled(slots: u32) -> TestDatabase {
    let db = store("none");
    append(&db, 0..10);
    burn(&db, 20);
    append(&db, 5..35);
    work(&db, slots);
    assert_is_reference(&db);
    db
}

/// Positions that nobody uses, as transactions leave them that were rolled back.
pub(crate) fn burn(db: &TestDatabase, positions: i64) {
    db.execute(&format!(
        "SELECT nextval('events_global_position_seq') FROM generate_series(1, {positions})"
    ));
}

/// Inserts an event at a position, as somebody with a file of SQL does.
pub(crate) fn insert_at(db: &TestDatabase, position: i64, id: &str) {
    db.execute(&insert(position, id));
}

pub(crate) fn insert(position: i64, id: &str) -> String {
    format!(
        "INSERT INTO events (global_position, bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, payload)
         VALUES ({position}, 'Sales', 'Order', '{id}', {position} + 1000, gen_random_uuid(),
            'OrderPlaced', '')"
    )
}

/// Moves the checkpoints by hand.
pub(crate) fn move_to(db: &TestDatabase, position: i64) {
    db.execute(&format!("UPDATE projection_checkpoints SET last_global_position = {position}"));
}

/// Both read models are what the store says.
#[track_caller]
pub(crate) fn assert_is_reference(db: &TestDatabase) {
    for name in BOTH {
        assert_eq!(differing(db, name), 0, "{name}");
    }
}

/// How many aggregates a read model has otherwise than the store.
pub(crate) fn differing(db: &TestDatabase, name: &str) -> i64 {
    db.one(&format!(
        "SELECT count(*) FROM (SELECT aggregate_id AS id, count(*) AS events FROM events GROUP BY 1)
            AS wanted FULL JOIN {name}_counts AS found USING (id)
         WHERE wanted.events IS DISTINCT FROM found.events"
    ))
}

pub(crate) fn verify(db: &TestDatabase, more: &[&str]) -> Output {
    db.pupctl(["projections", "verify"].iter().chain(more))
}

/// What is found of a projection, as `lost 3 11-13`.
pub(crate) fn found(db: &TestDatabase, name: &str, more: &[&str]) -> Vec<String> {
    let output = verify(db, &[&[name, "-o", "json"][..], more].concat());
    let json = output.json();
    let findings = json["projections"][0]["findings"].as_array().expect("findings").clone();
    assert_eq!(output.code, Some(if findings.is_empty() { 0 } else { 3 }), "{output}");
    let ranges = |finding: &serde_json::Value| {
        let ranges = finding["ranges"].as_array().expect("ranges").iter();
        let ranges = ranges.map(|range| format!("{}-{}", range["first"], range["last"]));
        ranges.collect::<Vec<_>>().join(",")
    };
    let words = |finding: &serde_json::Value| {
        let kind = finding["kind"].as_str().expect("a kind");
        format!("{kind} {} {}", finding["events"], ranges(finding))
    };
    findings.iter().map(words).collect()
}

#[track_caller]
pub(crate) fn assert_finds(db: &TestDatabase, wanted: &[&str]) {
    for name in BOTH {
        assert_eq!(found(db, name, &[]), wanted, "{name}");
    }
}

#[track_caller]
pub(crate) fn assert_finds_nothing(db: &TestDatabase) {
    verify(db, &["--all"]).success();
    assert_finds(db, &[]);
}

/// Repairs both, lets workers do it, and looks again: everything is as it should be.
#[track_caller]
pub(crate) fn assert_mends(db: &TestDatabase, slots: u32) {
    verify(db, &["--all", "--repair"]).success();
    // Before a worker has done it, nothing is missing any more.
    assert_finds_nothing(db);
    work(db, slots);
    assert_finds_nothing(db);
    assert_is_reference(db);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM projection_dead_letters"), 0);
}
