//! Real events, folded in batches of many sizes, by many workers, in many slots, killed at random:
//! the read models are those of plain code that takes one event at a time.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use postgres::{Client, NoTls};
use pupctl::projection::sql::setup::Change;
use pupctl::projection::sql::{Parameter, Parameters};
use pupctl::projection::{Connect, ProcessorConfig, Runner, SqlProjection};
use serde_json::Value;

use crate::reference::{self, Rows};
use crate::support::{TestDatabase, eventually};
use crate::{file, write};

const NAMES: [&str; 4] = ["file_count", "changes_by_day", "file_tree", "file_history"];

/// The context that one of them reads.
const CONTEXT: &str = "Core";

/// A store with these events.
fn store(events: &[Value]) -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "none"]).success();
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    write(&db, "events.ndjson", &lines);
    db.pupctl(["events", "import", "events.ndjson"]).success();
    db
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(&format!("tests/sql_projections/files/{name}.sql")))
        .expect("a projection")
}

/// A projection under another name, with its tables in a schema.
fn projection(name: &str, schema: &str) -> SqlProjection {
    let text = text(name).replace(
        &format!("-- name: {name}\n"),
        &format!("-- name: {name} {schema}\n-- schema: {schema}\n"),
    );
    let context = Parameter::Text(CONTEXT.to_owned());
    let parameters = Parameters::from([("context".to_owned(), context)]);
    SqlProjection::parse(name, &text, &parameters).expect("it parses")
}

fn connect(db: &TestDatabase) -> impl Connect + 'static {
    let url = db.url().to_owned();
    move |application_name: &str| {
        let failed = |error| pupctl::Error::database("connecting", error);
        let mut client = Client::connect(&url, NoTls).map_err(failed)?;
        let name = application_name.replace('\'', "''");
        client.batch_execute(&format!("SET application_name = '{name}'")).map_err(failed)?;
        Ok(client)
    }
}

/// The rows of a table as texts.
fn rows(client: &mut Client, table: &str) -> Rows {
    let columns = "SELECT string_agg(format('%I::text', attname), ', ' ORDER BY attnum)
        FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0";
    let columns: String = client.query_one(columns, &[&table]).expect("columns").get(0);
    let sql = format!("SELECT concat_ws('|', {columns}) FROM {table}");
    let found = client.query(&sql, &[]).unwrap_or_else(|error| panic!("{error:?} in {sql}"));
    let mut rows: Rows = found.iter().map(|row| row.get(0)).collect();
    rows.sort();
    rows
}

/// Compares all tables of a schema with the plain code.
fn assert_right(db: &TestDatabase, schema: &str, events: &[Value]) {
    let mut client = db.client();
    client.batch_execute("SET TimeZone = 'UTC'").expect("a setting");
    let wanted = reference::tables(events, CONTEXT);
    assert!(wanted["removed"].len() > 5 && wanted["file_history"].len() == events.len());
    for (table, wanted) in &wanted {
        let found = rows(&mut client, &format!("{schema}.{table}"));
        let first = found.iter().zip(wanted).find(|(found, wanted)| found != wanted);
        assert_eq!(first, None, "{schema}.{table}");
        assert_eq!(found.len(), wanted.len(), "{schema}.{table}");
    }
}

/// How batches are made, and by whom.
struct Way {
    batch: Option<usize>,
    slots: u32,
    workers: usize,
}

fn fold(events: &[Value], ways: &[Way]) {
    let db = &store(events);
    for Way { batch, slots, workers } in ways {
        let size = batch.map_or("adaptive".to_owned(), |batch| batch.to_string());
        let schema = format!("b{size}_s{slots}");
        let mut runner = Runner::new(connect(db));
        for name in NAMES {
            let config = ProcessorConfig::default().initial_slots(*slots);
            let config = match batch {
                Some(batch) => config.batch_size(*batch),
                None => config.adaptive(),
            };
            let projection = projection(name, &schema);
            runner.add_sql(projection, config, *workers, Change::Refuse).expect("added");
        }
        let reports = runner.run_until_caught_up().expect("caught up");
        assert!(reports.iter().all(|report| report.stopped.is_none()), "{reports:?}");
        assert_right(db, &schema, events);
    }
}

fn way(batch: impl Into<Option<usize>>, slots: u32, workers: usize) -> Way {
    Way { batch: batch.into(), slots, workers }
}

#[test]
fn in_batches_of_any_size() {
    fold(
        &reference::events(),
        &[way(7, 1, 1), way(1_000, 1, 1), way(None, 1, 1), way(1_000, 4, 2)],
    );
}

#[test]
fn in_slots_by_several_workers() {
    fold(
        &reference::events(),
        &[way(7, 4, 2), way(7, 16, 3), way(1_000, 16, 4), way(None, 4, 1), way(None, 16, 2)],
    );
}

#[test]
fn one_event_at_a_time() {
    fold(&reference::events()[..1_200], &[way(1, 4, 2)]);
}

#[test]
fn killed_at_random() {
    let events = reference::events();
    let db = store(&events);
    for name in NAMES {
        write(&db, &format!("projections/{name}.sql"), &text(name));
    }
    let run = |more: &[&str]| {
        let parameter = format!("context={CONTEXT}");
        let arguments = ["projections", "run", "--workers", "2", "--param", &parameter];
        db.command(arguments.iter().chain(more))
    };
    let mut client = db.client();
    let mut handled = || -> i64 {
        let sql =
            "SELECT coalesce(sum(last_global_position), 0)::bigint FROM projection_checkpoints";
        client.query_one(sql, &[]).expect("the checkpoints").get(0)
    };
    let all = i64::try_from(events.len()).expect("a number") * 4 * 4;
    let mut stages = Vec::new();
    while stages.len() < 6 {
        let before = handled();
        let process = run(&["--batch-size", "7"]).spawn();
        eventually("it gets on", || handled() > before);
        // Whatever it does by then.
        let pause = RandomState::new().hash_one(before) % 60;
        std::thread::sleep(Duration::from_millis(pause));
        process.kill().killed();
        stages.push(handled());
        if stages.last() >= Some(&(all * 3 / 4)) {
            break;
        }
    }
    assert!(stages[0] > 0 && stages[0] < all, "killed at {stages:?} of {all}");
    run(&["--until-caught-up"]).run().success();
    assert_eq!(handled(), all);
    assert_right(&db, "public", &events);
}
