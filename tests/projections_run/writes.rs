//! A projection writes nothing but its own tables.

use crate::{CATCH_UP, TOTALS, append, file, reference, store, store_with, totals};

fn with(statement: &str) -> String {
    format!("{TOTALS}{statement};\n")
}

#[test]
fn other_tables_are_found_by_their_locks() {
    for (statement, table) in [
        ("UPDATE events SET event_type = 'x' WHERE false", "events"),
        ("DELETE FROM projection_checkpoints WHERE false", "projection_checkpoints"),
        ("INSERT INTO others SELECT 1 FROM batch", "others"),
        ("WITH gone AS (DELETE FROM others RETURNING 1) SELECT * FROM gone", "others"),
        ("SELECT nextval('numbers') FROM others", "numbers"),
        ("SELECT set_others()", "others"),
    ] {
        let db = store_with(&with(statement));
        db.execute(
            "CREATE TABLE others (a bigint);
             INSERT INTO others VALUES (1);
             CREATE SCHEMA aside; CREATE SEQUENCE aside.numbers;
             CREATE FUNCTION set_others() RETURNS void LANGUAGE sql
             AS 'UPDATE public.others SET a = 2'",
        );
        let statement = statement.replace("'numbers'", "'aside.numbers'");
        file(&db, "order_totals.sql", &with(&statement));
        append(&db, "Sales", 2);
        let said = db.pupctl(CATCH_UP).failure(1).stderr;
        assert!(said.contains("which is none of its tables"), "{statement}:\n{said}");
        assert!(said.contains(table), "{statement}:\n{said}");
        assert_eq!(db.one::<i64>("SELECT a FROM others"), 1);
        assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 2);
    }
}

#[test]
fn statements_that_drop_do_not_even_begin() {
    for statement in ["DROP TABLE events", "TRUNCATE events", "COMMIT", "VACUUM", "DO 'BEGIN END'"]
    {
        let db = store_with(&with(statement));
        append(&db, "Sales", 2);
        let said = db.pupctl(CATCH_UP).failure(2).stderr;
        assert!(said.contains("has no place below -- handle"), "{statement}:\n{said}");
        assert!(said.contains("order_totals.sql:11:1"), "{statement}:\n{said}");
        assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 2);
    }
    let init = TOTALS.replace("-- init\n", "-- init\nDROP TABLE events;\n");
    let said = store_with(&init).pupctl(CATCH_UP).failure(2).stderr;
    assert!(said.contains("DROP has no place below -- init"), "{said}");
}

#[test]
fn what_a_trigger_writes_is_found_with_the_first_rows() {
    let init = "-- init\n";
    let more = "-- init\n\
        CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$\n\
        BEGIN INSERT INTO others VALUES (1); RETURN NULL; END $$;\n\
        CREATE TABLE IF NOT EXISTS order_totals (order_id text PRIMARY KEY, lines bigint NOT NULL);\n\
        CREATE OR REPLACE TRIGGER note AFTER INSERT ON order_totals FOR EACH ROW\n\
        EXECUTE FUNCTION note();\n";
    if crate::support::TestServer::shared()
        .client()
        .query_one("SHOW server_version_num", &[])
        .expect("a version")
        .get::<_, String>(0)
        .starts_with("13")
    {
        return;
    }
    let db = store_with(&TOTALS.replace(init, more));
    db.execute("CREATE TABLE others (a bigint)");
    append(&db, "Sales", 2);
    let said = db.pupctl(CATCH_UP).failure(1).stderr;
    assert!(said.contains("writes public.others, which is none of its tables"), "{said}");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM others"), 0);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM order_totals"), 0);
}

#[test]
fn a_table_of_another_projection_is_not_its_own() {
    let db = store_with(TOTALS);
    append(&db, "Sales", 4);
    db.pupctl(CATCH_UP).success();
    let thief = "-- name: thief\n-- tables: thief\n-- init\n\
        CREATE TABLE IF NOT EXISTS thief (a bigint);\n-- handle\n\
        UPDATE order_totals SET lines = 0 WHERE false;\n";
    file(&db, "thief.sql", thief);
    let said = db.pupctl(CATCH_UP).failure(1).stderr;
    assert!(said.contains("the projection thief writes public.order_totals"), "{said}");
    assert_eq!(totals(&db), reference(&db));
}

#[test]
fn partitions_views_and_sequences_of_its_own_are_its_own() {
    let db = store();
    file(
        &db,
        "parts.sql",
        "-- name: parts\n-- tables: parts\n-- init\n\
         CREATE TABLE IF NOT EXISTS parts (id bigint GENERATED ALWAYS AS IDENTITY, k bigint)\n\
         PARTITION BY LIST (k);\n\
         CREATE TABLE IF NOT EXISTS parts_rest PARTITION OF parts DEFAULT;\n\
         CREATE INDEX IF NOT EXISTS parts_k ON parts (k);\n\
         CREATE OR REPLACE VIEW shown AS SELECT k FROM parts;\n-- handle\n\
         INSERT INTO parts (k) SELECT global_position FROM batch;\n",
    );
    append(&db, "Sales", 7);
    for _ in 0..2 {
        db.pupctl(CATCH_UP).success();
    }
    assert_eq!(db.one::<i64>("SELECT count(*) FROM shown"), 7);
}

#[test]
fn a_role_without_the_right_to_make_tables_is_told_so() {
    let db = store_with(TOTALS);
    append(&db, "Sales", 4);
    let role = format!("worker_{}", std::process::id());
    db.execute(&format!(
        "CREATE ROLE {role};
         REVOKE CREATE ON SCHEMA public FROM PUBLIC;
         GRANT USAGE ON SCHEMA public TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};
         GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
         GRANT INSERT, UPDATE, DELETE ON projection_checkpoints, projection_dead_letters,
            projection_definitions, projection_audit TO {role}"
    ));
    let as_worker: Vec<_> =
        CATCH_UP.iter().copied().chain(["--role", role.as_str(), "--schema", "public"]).collect();
    let said = db.pupctl(&as_worker).failure(1).stderr;
    assert!(
        said.contains("may not make the tables of order_totals in the schema public"),
        "{said}"
    );
    assert!(said.contains("right to create"), "{said}");
    // Somebody who may makes them; from then on the worker needs no more than to write them.
    db.execute("CREATE TABLE order_totals (order_id text PRIMARY KEY, lines bigint NOT NULL)");
    let said = db.pupctl(&as_worker).failure(1).stderr;
    assert!(said.contains("permission denied for table order_totals"), "{said}");
    db.execute(&format!("GRANT SELECT, INSERT, UPDATE ON order_totals TO {role}"));
    db.pupctl(&as_worker).success();
    assert_eq!(totals(&db), reference(&db));
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn rights_and_names_of_others_are_refused_before_anything_runs() {
    for (statement, words) in [
        ("GRANT ALL ON events TO PUBLIC", "rights below -- init"),
        ("GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC", "rights below -- init"),
        (
            "CREATE OR REPLACE FUNCTION pupctl_json(bytea) RETURNS jsonb LANGUAGE sql AS 'SELECT NULL'",
            "names that begin with pupctl_",
        ),
        ("ALTER FUNCTION now() COST 1", "only tables of the read model"),
    ] {
        let init = TOTALS.replace("-- handle\n", &format!("{statement};\n-- handle\n"));
        let said = store_with(&init).pupctl(CATCH_UP).failure(2).stderr;
        assert!(said.contains(words), "{statement}:\n{said}");
    }
    let own = TOTALS.replace("-- handle\n", "GRANT SELECT ON order_totals TO PUBLIC;\n-- handle\n");
    store_with(&own).pupctl(CATCH_UP).success();
}

#[test]
fn what_a_function_writes_with_a_later_batch_is_found_then() {
    let text = format!("{TOTALS}SELECT later(max(global_position)) FROM batch;\n");
    let db = store_with(&text.replace("-- slots: 4\n", ""));
    db.execute(
        "CREATE TABLE others (a bigint);
         CREATE FUNCTION later(at bigint) RETURNS void LANGUAGE plpgsql AS $$
         BEGIN IF at > 25 THEN INSERT INTO public.others VALUES (1); END IF; END $$",
    );
    append(&db, "Sales", 40);
    let run = db.pupctl(CATCH_UP.iter().chain(&["--batch-size", "10"]));
    let said = run.failure(1).stderr;
    assert!(said.contains("writes public.others, which is none of its tables"), "{said}");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM others"), 0);
    assert_eq!(db.one::<i64>("SELECT sum(lines)::bigint FROM order_totals"), 20);
}

#[test]
fn a_function_that_reads_the_batch_gets_whole_events() {
    let text = "-- name: whole\n-- tables: whole\n-- init\n\
        CREATE TABLE IF NOT EXISTS whole (id bigint PRIMARY KEY, event_type text NOT NULL);\n\
        CREATE OR REPLACE FUNCTION fill() RETURNS void LANGUAGE plpgsql AS $$\n\
        BEGIN\n\
        INSERT INTO whole SELECT b.global_position, to_jsonb(b) ->> 'event_type' FROM batch AS b;\n\
        END $$;\n-- handle\nSELECT fill();\n";
    let db = store();
    file(&db, "whole.sql", text);
    append(&db, "Sales", 12);
    db.pupctl(CATCH_UP).success();
    assert_eq!(db.one::<i64>("SELECT count(*) FROM whole WHERE event_type = 'OrderPlaced'"), 12);
}
