//! Tables that are there already.

use insta::assert_snapshot;

use super::refused;
use crate::support::TestDatabase;

/// What the migration generator of pupsourcing makes.
const PUPSOURCING: &str = "
CREATE TABLE events (
    global_position BIGSERIAL PRIMARY KEY,
    bounded_context TEXT NOT NULL,
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    aggregate_version BIGINT NOT NULL,
    event_id UUID NOT NULL UNIQUE,
    event_type TEXT NOT NULL,
    event_version INT NOT NULL DEFAULT 1,
    payload BYTEA NOT NULL,
    trace_id TEXT,
    correlation_id TEXT,
    causation_id TEXT,
    metadata JSONB,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    UNIQUE (bounded_context, aggregate_type, aggregate_id, aggregate_version)
);
CREATE INDEX ON events (bounded_context, aggregate_type, aggregate_id, aggregate_version);
CREATE INDEX ON events (event_type, global_position);
CREATE INDEX ON events (correlation_id) WHERE correlation_id IS NOT NULL;
CREATE TABLE aggregate_heads (
    bounded_context TEXT NOT NULL,
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    aggregate_version BIGINT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    PRIMARY KEY (bounded_context, aggregate_type, aggregate_id)
);
CREATE INDEX ON aggregate_heads (updated_at);
CREATE TABLE projection_checkpoints (
    projection_name TEXT PRIMARY KEY,
    last_global_position BIGINT NOT NULL DEFAULT 0,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);
CREATE INDEX ON projection_checkpoints (updated_at);";

#[test]
fn tables_of_pupsourcing_are_compared_line_by_line() {
    let db = TestDatabase::new();
    db.execute(PUPSOURCING);
    assert_snapshot!(refused(&db, ["schema", "init", "--partition-by", "context"], 1), @"
    error: tables are there already in schema public, and differ from what the layout needs
      public.aggregate_heads: is not partitioned, must be partitioned by LIST (bounded_context)
      public.events: is not partitioned, must be partitioned by LIST (bounded_context)
      public.events: no primary key on (bounded_context, aggregate_type, aggregate_id, aggregate_version)
      public.events: no brin index on (created_at)
    hint: choose another schema (--schema) or other table names ([tables] in pupctl.toml)
    ");
    assert_snapshot!(refused(&db, ["schema", "init", "--partition-by", "none"], 1), @"
    error: tables are there already in schema public, and differ from what the layout needs
      public.events: no brin index on (created_at)
    hint: take them over as they are: pupctl schema baseline
    ");
}

#[test]
fn tables_of_other_programs_are_compared_line_by_line() {
    let db = TestDatabase::new();
    db.execute(
        "CREATE TABLE events (id bigint PRIMARY KEY, event_id text, payload jsonb NOT NULL);
         CREATE TABLE projection_checkpoints (
            projection_name text NOT NULL, last_global_position bigint NOT NULL,
            updated_at timestamp NOT NULL DEFAULT now());",
    );
    assert_snapshot!(refused(&db, ["schema", "init", "--partition-by", "none"], 1), @"
    error: tables are there already in schema public, and differ from what the layout needs
      public.events: column global_position is missing
      public.events: column bounded_context is missing
      public.events: column aggregate_type is missing
      public.events: column aggregate_id is missing
      public.events: column aggregate_version is missing
      public.events: column event_id is text, must be uuid
      public.events: column event_id allows NULL, must not allow it
      public.events: column event_type is missing
      public.events: column event_version is missing
      public.events: column payload is jsonb, must be bytea
      public.events: column trace_id is missing
      public.events: column correlation_id is missing
      public.events: column causation_id is missing
      public.events: column metadata is missing
      public.events: column created_at is missing
      public.events: column id is not one of the store's and must be filled, which its writers do not
      public.events: no unique key on (bounded_context, aggregate_type, aggregate_id, aggregate_version)
      public.events: no unique key on (event_id)
      public.events: no unique key on (global_position)
      public.projection_checkpoints: column last_global_position has no default
      public.projection_checkpoints: column updated_at is timestamp without time zone, must be timestamp with time zone
      public.projection_checkpoints: no key on (projection_name)
      public.aggregate_heads: is missing
      public.events: no brin index on (created_at)
      public.projection_checkpoints: no btree index on (updated_at)
    hint: choose another schema (--schema) or other table names ([tables] in pupctl.toml)
    ");
}

#[test]
fn tables_that_are_as_the_layout_needs_them_are_recorded() {
    let layout = ["schema", "init", "--partition-by", "context", "--contexts", "Billing"];
    let made = TestDatabase::new();
    made.pupctl(layout).success();
    made.execute(
        "DROP TABLE pupctl_layout, pupctl_operations, pupctl_archives, pupctl_closed_partitions,
            pupctl_history, pupctl_schema_history",
    );
    let events: u32 = made.one("SELECT 'events'::regclass::oid");

    let output = made.pupctl(layout).success();
    assert!(output.stderr.contains("Done: the store is ready"), "{output}");
    assert_eq!(made.one::<u32>("SELECT 'events'::regclass::oid"), events, "made anew");
    let recorded = "SELECT string_agg(version || ' ' || name, ', ' ORDER BY version)
                    FROM pupctl_schema_history";
    let recorded: String = made.one(recorded);
    assert_eq!(recorded, "1 heads_and_checkpoints, 2 events, 3 indexes");
    let again = made.pupctl(layout).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
}

#[test]
fn a_view_in_the_place_of_a_table() {
    let db = TestDatabase::new();
    db.execute("CREATE VIEW events AS SELECT 1 AS one");
    let told = refused(&db, ["schema", "init", "--partition-by", "none"], 1);
    assert!(told.contains("public.events"), "{told}");
}

#[test]
fn a_table_of_somebody_else_where_a_partition_would_be() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "context", "--contexts", "A"]).success();
    db.execute("CREATE TABLE events_billing (kept text); INSERT INTO events_billing VALUES ('x')");
    let output = db.pupctl(["contexts", "add", "Billing"]).failure(1);
    assert!(output.stderr.contains("a table named public.events_billing is there"), "{output}");
    assert_eq!(db.one::<String>("SELECT kept FROM events_billing"), "x");
}

#[test]
fn a_primary_key_with_the_time_would_keep_the_leaves_from_having_theirs() {
    let db = TestDatabase::new();
    let key = "UNIQUE (bounded_context, aggregate_type, aggregate_id, aggregate_version)\n)";
    let usual = "PRIMARY KEY (bounded_context, aggregate_id, aggregate_version, created_at)\n)
        PARTITION BY RANGE (created_at)";
    let tables = PUPSOURCING
        .replace(key, usual)
        .replace("BIGSERIAL PRIMARY KEY", "BIGSERIAL")
        .replace("UUID NOT NULL UNIQUE", "UUID NOT NULL");
    db.execute(&tables);
    db.execute("CREATE INDEX ON events USING brin (created_at)");
    assert_snapshot!(refused(&db, ["schema", "init", "--partition-by", "month"], 1), @"
    error: tables are there already in schema public, and differ from what the layout needs
      public.events: has its primary key on (bounded_context, aggregate_id, aggregate_version, created_at), which partitions would get instead of one on (bounded_context, aggregate_type, aggregate_id, aggregate_version)
    hint: choose another schema (--schema) or other table names ([tables] in pupctl.toml)
    ");
}
