//! What joins, and what is refused before anything is changed.

use crate::support::{TestDatabase, fingerprint};
use crate::{attach, detach, events, leaf, rows, store, verified};

/// A store by month, and a table beside it with events of three months ago that has nothing but its
/// columns.
fn bare() -> TestDatabase {
    let db = store("month");
    db.execute(&format!("DROP TABLE {}", leaf(&db, "events", -3)));
    db.execute("CREATE TABLE other (LIKE events INCLUDING DEFAULTS)");
    fill(&db, 50);
    db
}

fn fill(db: &TestDatabase, count: i32) {
    db.execute(&format!(
        "INSERT INTO other (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, created_at)
         SELECT 'A', 'Order', 'o' || number % 10, number / 10 + 1, gen_random_uuid(), 'Placed',
            '\\x00', '{}-07 00:00:00+00'
         FROM generate_series(0, {count} - 1) AS number",
        db.month(-3)
    ));
}

/// Refused with these words, and nothing is changed.
#[track_caller]
fn refused(db: &TestDatabase, arguments: &[&str], words: &[&str]) {
    let before = fingerprint(&mut db.client());
    let refused = attach(db, arguments).failure(1);
    for word in words {
        assert!(refused.stderr.contains(word), "{word}\n{refused}");
    }
    assert!(fingerprint(&mut db.client()) == before, "something was changed: {refused}");
}

#[test]
fn a_bare_table_gets_all_that_a_partition_has() {
    let db = bare();
    let reader = format!("\"the reader of {}\"", db.name());
    db.execute(&format!(
        "CREATE ROLE {reader}; GRANT SELECT ON events TO {reader};
         ALTER TABLE events REPLICA IDENTITY FULL;
         CREATE INDEX other_brin ON other USING brin (created_at) WITH (pages_per_range = 128);
         GRANT UPDATE ON other TO {reader}; GRANT SELECT (payload) ON other TO PUBLIC;
         ALTER TABLE other SET (fillfactor = 50);
         ALTER TABLE other ALTER COLUMN event_type DROP NOT NULL,
            ALTER COLUMN event_version DROP DEFAULT"
    ));
    let leaves = db.texts(
        "SELECT inhrelid::regclass::text FROM pg_inherits
        WHERE inhparent = 'public.events'::regclass",
    );
    for leaf in leaves {
        db.execute(&format!(
            "GRANT SELECT ON {leaf} TO {reader}; ALTER TABLE {leaf} REPLICA IDENTITY FULL"
        ));
    }
    let before = rows(&db, "other");
    let done = attach(&db, &["other", "--as", &db.month(-3)]).success();
    assert!(done.stderr.contains("the heads of 10 aggregates"), "{done}");
    assert_eq!(rows(&db, "events"), before);
    verified(&db);
    db.pupctl(["partitions", "check", "--exit-code"]).success();
    let checks: i64 = db.one(
        "SELECT count(*) FROM pg_constraint WHERE conrelid = 'other'::regclass AND contype = 'c'",
    );
    assert_eq!(checks, 0, "what was only for attaching is gone");
    let head: i64 =
        db.one("SELECT aggregate_version FROM aggregate_heads WHERE aggregate_id = 'o3'");
    assert_eq!(head, 5);
    db.execute(&format!("DROP OWNED BY {reader}; DROP ROLE {reader}"));
}

#[test]
fn a_unique_index_becomes_the_key() {
    let db = bare();
    db.execute(
        "CREATE UNIQUE INDEX ready ON other (bounded_context, aggregate_type, aggregate_id,
            aggregate_version);
         CREATE UNIQUE INDEX ids ON other (event_id)",
    );
    let dry = attach(&db, &["other", "--as", &db.month(-3), "--dry-run"]).success();
    assert!(dry.stdout.contains("ADD PRIMARY KEY USING INDEX \"ready\""), "{dry}");
    assert!(!dry.stdout.contains("UNIQUE (\"event_id\")"), "{dry}");
    attach(&db, &["other", "--as", &db.month(-3)]).success();
    verified(&db);
}

#[test]
fn all_that_is_wrong_with_the_rows_is_told_at_once() {
    let db = bare();
    events(&db, "A", -2, 3);
    db.execute(&format!(
        "INSERT INTO projection_checkpoints (projection_name, last_global_position)
            VALUES ('far', 1000000), ('new', 0);
         ALTER TABLE other ALTER COLUMN event_type DROP NOT NULL;
         UPDATE other SET event_type = NULL WHERE aggregate_id = 'o1';
         UPDATE other SET created_at = '{}-01 00:00:00+00' WHERE aggregate_id = 'o2';
         INSERT INTO other SELECT * FROM events WHERE aggregate_id = 'A1';
         INSERT INTO other SELECT * FROM other WHERE aggregate_id = 'o3' AND aggregate_version = 1",
        db.month(-2)
    ));
    let words = [
        "6 of its rows do not belong to",
        "5 of its rows have no event_type",
        "positions are in it twice",
        "versions of aggregates are in it twice, such as A Order o3 1",
        "event ids are in it twice",
        "positions are in the store already",
        "versions of aggregates are in the store already, such as A Order A1 1",
        "far (at 1000000)",
    ];
    refused(&db, &["other", "--as", &db.month(-3)], &words);
}

#[test]
fn rows_that_projections_have_passed_need_a_word() {
    let db = bare();
    db.execute(
        "INSERT INTO projection_checkpoints (projection_name, last_global_position)
        VALUES ('far', 7), ('new', 0)",
    );
    let month = db.month(-3);
    let words = ["projections are past its first event (1)", "far (at 7)", "--behind-projections"];
    refused(&db, &["other", "--as", &month], &words);
    let done = attach(&db, &["other", "--as", &month, "--behind-projections"]).success();
    assert!(done.stderr.contains("far (at 7)"), "{done}");
    assert!(!done.stderr.contains("new (at 0)"), "{done}");
}

#[test]
fn positions_beyond_the_sequence_move_it() {
    let db = bare();
    db.execute("UPDATE other SET global_position = global_position + 5000");
    attach(&db, &["other", "--as", &db.month(-3)]).success();
    events(&db, "B", 0, 1);
    assert_eq!(db.one::<i64>("SELECT max(global_position) FROM events"), 5051);
}

#[test]
fn positions_that_are_drawn_meanwhile_are_found_before_the_sequence_moves() {
    let db = bare();
    // Between what pupctl looks at and what it does, writers get the table's positions.
    db.execute("UPDATE other SET global_position = global_position + 50");
    let run = db
        .command(["partitions", "attach", "other", "--as", &db.month(-3)])
        .failpoints("operation::started=sleep(2000)")
        .spawn();
    crate::support::eventually("it has looked at the table", || {
        db.one::<bool>(
            "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'pupctl_operations')
            AND (SELECT count(*) FROM pupctl_operations WHERE outcome = 'running') = 1",
        )
    });
    events(&db, "B", 0, 20);
    let refused = run.wait().failure(1);
    let words = "positions of the table were drawn meanwhile: 51, 52, 53, 54, 55";
    assert!(refused.stderr.contains(words), "{refused}");
    // The next run tells it before it begins.
    let month = db.month(-3);
    self::refused(&db, &["other", "--as", &month], &["positions are in the store already"]);
}

#[test]
fn ids_are_unique_across_partitions_where_the_layout_says_so() {
    let db = TestDatabase::new();
    let init = ["schema", "init", "-q", "--partition-by", "month", "--event-ids"];
    db.pupctl(init).success();
    let from = db.month(-6);
    db.pupctl(["partitions", "ensure", "-q", "--from", &from]).success();
    db.execute(&format!("DROP TABLE {}", leaf(&db, "events", -3)));
    db.execute("CREATE TABLE other (LIKE events INCLUDING DEFAULTS)");
    fill(&db, 50);
    events(&db, "B", 0, 1);
    let id: String = db.one("SELECT event_id::text FROM events");
    db.execute(&format!(
        "INSERT INTO other SELECT (jsonb_populate_record(other, jsonb_build_object(
        'event_id', '{id}', 'aggregate_id', 'x', 'global_position', 900))).* FROM other LIMIT 1"
    ));
    let month = db.month(-3);
    refused(
        &db,
        &["other", "--as", &month],
        &[&format!("event ids are in the store already, such as {id}")],
    );
    db.execute("DELETE FROM other WHERE aggregate_id = 'x'");
    attach(&db, &["other", "--as", &month]).success();
    verified(&db);
    let known: i64 = db.one("SELECT count(*) FROM pupctl_event_ids");
    assert_eq!(known, 51);
}

#[test]
fn what_only_the_owner_can_decide_is_told_with_the_statement_that_mends_it() {
    let db = bare();
    db.execute(
        "ALTER TABLE other DROP COLUMN metadata, ADD COLUMN tenant text,
            ALTER COLUMN trace_id TYPE varchar(20);
         ALTER TABLE other ADD PRIMARY KEY (event_type, global_position);
         CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER own BEFORE INSERT ON other FOR EACH ROW EXECUTE FUNCTION nothing();
         CREATE RULE quiet AS ON DELETE TO other DO INSTEAD NOTHING;
         ALTER TABLE other ENABLE ROW LEVEL SECURITY; ALTER TABLE other SET UNLOGGED",
    );
    let words = [
        "it has no column metadata: ALTER TABLE \"public\".\"other\" ADD COLUMN \"metadata\" jsonb;",
        "events has no column tenant",
        "its column trace_id is character varying(20), that of events text: ALTER TABLE",
        "its primary key is on (event_type, global_position)",
        "it has the trigger own of its own: DROP TRIGGER",
        "it has the rule quiet: DROP RULE",
        "row security is enabled on it",
        "it is unlogged",
    ];
    refused(&db, &["other", "--as", &db.month(-3)], &words);
}

#[test]
fn places_that_are_taken_or_unknown() {
    let db = bare();
    refused(
        &db,
        &["other", "--as", &db.month(-2)],
        &["is taken: public.events_", "it is empty", "pupctl partitions detach public.events_"],
    );
    let unknown = attach(&db, &["other"]).failure(2);
    assert!(unknown.stderr.contains("where public.other belongs is not known"), "{unknown}");
    let unknown = attach(&db, &["nowhere"]).failure(2);
    assert!(unknown.stderr.contains("there is no table public.nowhere"), "{unknown}");
    refused(&db, &["aggregate_heads", "--as", &db.month(-3)], &["one of the tables of the store"]);
    db.execute("CREATE VIEW seen AS SELECT * FROM other");
    refused(&db, &["seen", "--as", &db.month(-3)], &["no ordinary table"]);
    let partition = leaf(&db, "events", -2);
    refused(&db, &[&partition, "--as", &db.month(-3)], &["is a partition already, and holds"]);
}

#[test]
fn the_name_the_check_and_the_comment_tell_the_place() {
    let db = bare();
    let name = leaf(&db, "events", -3);
    db.execute(&format!("ALTER TABLE other RENAME TO {name}"));
    attach(&db, &[&name]).success();
    detach(&db, &[&name]).success();
    // The comment of the detach.
    db.execute(&format!("ALTER TABLE {name} RENAME TO kept"));
    attach(&db, &["kept"]).success();
    detach(&db, &["kept"]).success();
    // The CHECK that the server leaves, where somebody says something else in the comment.
    db.execute("COMMENT ON TABLE kept IS 'keep me'");
    attach(&db, &["kept"]).success();
    assert_eq!(db.one::<String>("SELECT obj_description('kept'::regclass)"), "keep me");
    detach(&db, &["kept"]).success();
    assert_eq!(db.one::<String>("SELECT obj_description('kept'::regclass)"), "keep me");
}

#[test]
fn the_server_looks_at_no_row_while_it_attaches() {
    // Of a hash over texts the server recognises no proof but its own.
    for layout in ["month", "context", "context,month", "hash,month"] {
        let db = store(layout);
        let name = match layout {
            "context" => "events_a".to_owned(),
            "hash,month" => leaf(&db, "events_hash_03", -3),
            "month" => leaf(&db, "events", -3),
            _ => leaf(&db, "events_a", -3),
        };
        events(&db, "A", -3, 100);
        detach(&db, &[&name, "--yes"]).success();
        // The script of a dry run, with what the server says of it.
        let dry = attach(&db, &[&name, "--dry-run", "--no-analyze"]).success();
        let script = format!("SET client_min_messages = debug1;\n{}", dry.stdout);
        std::fs::write(db.folder().join("script.sql"), script).expect("a script");
        let told = db.psql(["-f", "script.sql"]).success();
        let proven =
            format!("partition constraint for table \"{name}\" is implied by existing constraints");
        assert!(told.stderr.contains(&proven), "{layout}: {told}");
        assert!(!told.stderr.contains("verifying table"), "{layout}: {told}");
        verified(&db);
    }
}

#[test]
fn foreign_keys_are_proven_before() {
    let db = bare();
    db.execute(
        "CREATE TABLE \"the types\" (name text PRIMARY KEY); INSERT INTO \"the types\" VALUES ('Placed');
         ALTER TABLE events ADD CONSTRAINT \"a type\" FOREIGN KEY (event_type)
            REFERENCES \"the types\" (name);
         ALTER TABLE events ADD CONSTRAINT positive CHECK (aggregate_version > 0)",
    );
    let month = db.month(-3);
    let dry = attach(&db, &["other", "--as", &month, "--dry-run"]).success();
    let lock = "-- Lock: ACCESS EXCLUSIVE on public.the types";
    assert_eq!(dry.stdout.matches(lock).count(), 1, "{dry}");
    let script = format!("SET client_min_messages = debug1;\n{}", dry.stdout);
    std::fs::write(db.folder().join("script.sql"), script).expect("a script");
    let told = db.psql(["-f", "script.sql"]).success();
    // The table is read for its own constraints, and never after it was made a partition.
    let attached = told.stderr.rfind("is implied by existing constraints").expect("a proof");
    assert!(!told.stderr[attached..].contains("validating foreign key"), "{told}");
    verified(&db);
    // It keeps them when it leaves, and brings them back.
    let left = detach(&db, &["other"]).success();
    assert!(left.stderr.contains("keeps its foreign keys"), "{left}");
    attach(&db, &["other"]).success();
    verified(&db);
}

#[test]
fn beside_a_default_partition() {
    let db = bare();
    let month = db.month(-3);
    db.execute(
        "CREATE TABLE rest (LIKE events INCLUDING ALL,
            PRIMARY KEY (bounded_context, aggregate_type, aggregate_id, aggregate_version),
            UNIQUE (event_id), UNIQUE (global_position));
         CREATE TRIGGER pupctl_guard AFTER INSERT ON rest REFERENCING NEW TABLE AS
            pupctl_added FOR EACH STATEMENT
            WHEN (current_setting('pupctl.maintenance', true) IS DISTINCT FROM 'on')
            EXECUTE FUNCTION pupctl_guard();
         ALTER TABLE events ATTACH PARTITION rest DEFAULT",
    );
    events(&db, "B", -3, 2);
    refused(
        &db,
        &["other", "--as", &month],
        &[&format!("the DEFAULT partition holds 2 events of {month}"), "pupctl partitions drain"],
    );
    db.execute("DELETE FROM rest; DELETE FROM aggregate_heads");
    events(&db, "B", -20, 2);
    let dry = attach(&db, &["other", "--as", &month, "--dry-run"]).success();
    let script = format!("SET client_min_messages = debug1;\n{}", dry.stdout);
    std::fs::write(db.folder().join("script.sql"), script).expect("a script");
    let told = db.psql(["-f", "script.sql"]).success();
    let proven = "updated partition constraint for default partition \"rest\" is implied";
    assert!(told.stderr.contains(proven), "{told}");
    verified(&db);
    // Beside it the server detaches nothing concurrently.
    let left = detach(&db, &["other"]).success();
    assert!(left.stderr.contains("beside the DEFAULT partition public.rest"), "{left}");
    attach(&db, &["other"]).success();
    verified(&db);
}

#[test]
fn names_with_quotes_and_slashes() {
    let db = TestDatabase::new();
    let context = "it's/a \"test\"";
    let init =
        ["schema", "init", "-q", "--partition-by", "context,month", "--schema", "Event Store"];
    db.pupctl(init.iter().chain(&["--contexts", context])).success();
    let word = format!("{context}/{}", db.month(1));
    let gone = detach(&db, &[&word, "--yes"]).success();
    let name = db
        .texts(
            "SELECT relname::text FROM pg_class JOIN pg_description ON objoid = pg_class.oid
        WHERE description LIKE 'pupctl: detached%'",
        )
        .remove(0);
    assert!(gone.stderr.contains("Done:"), "{gone}");
    db.execute(&format!("ALTER TABLE \"Event Store\".{name} RENAME TO \"the \"\"table\"\"\""));
    attach(&db, &["the \"table\"", "--as", &word]).success();
    db.pupctl(["schema", "verify", "--exit-code"]).success();
}

#[test]
fn machines_get_what_was_attached() {
    let db = bare();
    let month = db.month(-3);
    let json = attach(&db, &["other", "--as", &month, "-o", "json"]).success().json();
    assert_eq!((&json["changed"], &json["rows"]), (&true.into(), &50.into()));
    assert_eq!((&json["table"], &json["place"]), (&"public.other".into(), &month.as_str().into()));
    let json = detach(&db, &["other", "-o", "json"]).success().json();
    assert_eq!(json["detached"][0]["name"], "public.other");
    assert_eq!(json["detached"][0]["concurrently"], true);
}
