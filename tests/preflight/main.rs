//! What hangs on a table that another one replaces: seen, judged, carried over and back again.

#[path = "../support/mod.rs"]
mod support;

mod carried;
mod refused;
mod rows;
mod through_views;

use pupctl::catalog::surroundings::Surroundings;
use pupctl::db::surroundings::surroundings;
use pupctl::layout::levels::Level;
use pupctl::layout::name::{QualifiedName, Tables};
use pupctl::layout::{Context, Layout, Role};
use pupctl::plan::convert::belongings::{Belonging, Fate, examine};
use pupctl::render::convert::mend::hint;

use support::TestDatabase;

/// The tables as pupsourcing's own generator of migrations writes them.
const PUPSOURCING: &str = "
    CREATE TABLE events (
        global_position BIGSERIAL PRIMARY KEY, bounded_context TEXT NOT NULL,
        aggregate_type TEXT NOT NULL, aggregate_id TEXT NOT NULL, aggregate_version BIGINT NOT NULL,
        event_id UUID NOT NULL UNIQUE, event_type TEXT NOT NULL,
        event_version INT NOT NULL DEFAULT 1, payload BYTEA NOT NULL, trace_id TEXT,
        correlation_id TEXT, causation_id TEXT, metadata JSONB,
        created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
        UNIQUE (bounded_context, aggregate_type, aggregate_id, aggregate_version));
    CREATE INDEX idx_events_aggregate
        ON events (bounded_context, aggregate_type, aggregate_id, aggregate_version);
    CREATE INDEX idx_events_event_type ON events (event_type, global_position);
    CREATE INDEX idx_events_correlation ON events (correlation_id)
        WHERE correlation_id IS NOT NULL;
    CREATE TABLE aggregate_heads (
        bounded_context TEXT NOT NULL, aggregate_type TEXT NOT NULL, aggregate_id TEXT NOT NULL,
        aggregate_version BIGINT NOT NULL, updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
        PRIMARY KEY (bounded_context, aggregate_type, aggregate_id));
    CREATE INDEX idx_aggregate_heads_updated ON aggregate_heads (updated_at);";

/// A database with the tables of pupsourcing and whatever a test adds.
fn store(sql: &str) -> TestDatabase {
    let db = TestDatabase::new();
    db.execute(PUPSOURCING);
    db.execute(sql);
    db
}

/// The server's version, 150000 for 15.0.
fn version(db: &TestDatabase) -> i32 {
    db.one("SELECT current_setting('server_version_num')::int")
}

fn name(table: &str) -> QualifiedName {
    QualifiedName::new("public", table)
}

/// What hangs on a table.
#[track_caller]
fn read(db: &TestDatabase, table: &str) -> Surroundings {
    surroundings(&mut db.client(), &name(table)).unwrap_or_else(|error| panic!("{error:?}"))
}

fn layout(levels: Vec<Level>) -> Layout {
    Layout::new(Tables::default(), levels, vec![Context::new("A")], 3).expect("a layout")
}

fn months() -> Layout {
    layout(vec![Level::Month])
}

/// What becomes of what hangs on the events under months.
#[track_caller]
fn events(db: &TestDatabase) -> Vec<Belonging> {
    examine(&months(), Role::Events, &read(db, "events"))
}

/// The words of the one thing whose name begins so.
#[track_caller]
fn one<'a>(found: &'a [Belonging], what: &str) -> &'a Belonging {
    let mut of = found.iter().filter(|one| one.what.starts_with(what));
    let first = of.next();
    first.unwrap_or_else(|| panic!("{what} is not in {found:#?}"))
}

/// All that is refused, with what mends it.
fn refusals(found: &[Belonging]) -> Vec<(String, String)> {
    let refused = |one: &Belonging| Some((one.to_string(), hint(one.mend()?)));
    found.iter().filter_map(refused).collect()
}

#[test]
fn the_tables_of_pupsourcing_can_be_converted_as_they_are() {
    let db = store("");
    for role in Role::ALL {
        let table = months().table("public", role).name;
        let first = read(&db, &table);
        assert_eq!(first, read(&db, &table), "two readings differ");
        let found = examine(&months(), role, &first);
        assert_eq!(refusals(&found), [], "{role:?}");
    }
    let found = events(&db);
    for what in ["the primary key events_pkey", "the index idx_events_aggregate"] {
        assert!(matches!(one(&found, what).fate, Fate::Left { .. }), "{found:#?}");
    }
    for what in ["the index idx_events_event_type", "the index idx_events_correlation"] {
        assert!(matches!(one(&found, what).fate, Fate::Carried { .. }), "{found:#?}");
    }
    let sequence = one(&found, "the sequence public.events_global_position_seq");
    assert!(matches!(sequence.fate, Fate::Carried { .. }), "{sequence:?}");
}

#[test]
fn a_store_of_pupctl_itself_can_be_converted() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "-q", "--partition-by", "none"]).success();
    for role in Role::ALL {
        let table = months().table("public", role).name;
        let found = examine(&months(), role, &read(&db, &table));
        assert_eq!(refusals(&found), [], "{role:?}");
        let lost = |one: &&Belonging| matches!(&one.fate, Fate::Left { .. });
        for left in found.iter().filter(lost) {
            let is_own = left.what.contains("key")
                || left.what.contains("constraint")
                || left.what.contains("index");
            assert!(is_own, "{left:?}");
        }
    }
}

#[test]
fn a_table_that_is_not_there_is_told() {
    let db = TestDatabase::new();
    let error = surroundings(&mut db.client(), &name("events")).expect_err("no table");
    assert_eq!(error.to_string(), "there is no table public.events");
}

#[test]
fn a_reading_leaves_the_transaction_as_it_was() {
    let db = store("CREATE VIEW recent AS SELECT * FROM events");
    let mut client = db.client();
    let mut transaction = client.transaction().expect("a transaction");
    let seen = surroundings(&mut transaction, &name("events")).expect("a reading");
    assert!(seen.views[0].definition.as_ref().is_some_and(|sql| sql.contains("public.events")));
    let count = "SELECT count(*) FROM events";
    transaction.query_one(count, &[]).expect("the search path is as it was");
    transaction.commit().expect("a commit");
}
