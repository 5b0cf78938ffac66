//! What is not moved, and why.

use crate::support::event_id;
use crate::{append, drain, fill, insert, rows, store};

#[test]
fn rows_that_cannot_be_in_one_partition_are_told() {
    let db = store("month", &[], &["events"]);
    let created_at = format!("{}-03T00:00:00Z", db.month(-1));
    let id = event_id();
    db.execute("SET pupctl.maintenance = on");
    for _ in 0..2 {
        let sql = insert("events", "A", &id, &created_at);
        db.execute(&format!("SET pupctl.maintenance = on; {sql}"));
    }
    let all = rows(&db);
    let told = drain(&db, &[]).failure(1);
    assert!(told.stderr.contains("cannot be in one partition"), "{told}");
    assert_eq!(rows(&db), all);
    db.execute("SET pupctl.maintenance = on; DELETE FROM events WHERE global_position = 1");
    drain(&db, &[]).success();
}

#[test]
fn a_publication_of_all_tables_is_refused() {
    let db = store("month", &[], &["events"]);
    fill(&db, "A", &db.month(-1), 5);
    db.execute("CREATE PUBLICATION everything FOR ALL TABLES");
    let told = drain(&db, &[]).failure(1);
    assert!(told.stderr.contains("the publication everything takes up every new table"), "{told}");
    db.execute("DROP PUBLICATION everything");
    drain(&db, &[]).success();

    // Events are published by name, and their subscribers get nothing; heads would be deleted.
    let db = store("context", &["--contexts", "A"], &["events", "aggregate_heads"]);
    fill(&db, "B", &db.month(0), 5);
    db.execute("CREATE PUBLICATION named FOR TABLE events, aggregate_heads");
    let told = drain(&db, &["--add-contexts"]).failure(1);
    assert!(
        told.stderr.contains("the publication named would send the deletes of heads"),
        "{told}"
    );
    db.execute("ALTER PUBLICATION named DROP TABLE aggregate_heads");
    drain(&db, &["--add-contexts"]).success();
}

#[test]
fn foreign_keys_and_other_tables_keep_their_rows() {
    let db = store("month", &[], &["events"]);
    fill(&db, "A", &db.month(-1), 5);
    db.execute(
        "CREATE TABLE types (name text PRIMARY KEY); INSERT INTO types VALUES ('OrderPlaced');
        ALTER TABLE events ADD FOREIGN KEY (event_type) REFERENCES types",
    );
    let told = drain(&db, &[]).success();
    assert!(told.stderr.contains("foreign keys tie public.events to public.types"), "{told}");
}

#[test]
fn a_partition_in_the_way_is_named() {
    let db = store("month", &[], &[]);
    let (first, last) = (db.month(-2), db.month(-1));
    db.execute(&format!(
        "CREATE TABLE half PARTITION OF events FOR VALUES FROM ('{first}-10 00:00:00+00') TO ('{last}-10 00:00:00+00')"
    ));
    crate::add_default(&db, "events");
    append(&db, "A", &format!("{first}-01T00:00:00Z"));
    let told = drain(&db, &[]).success();
    assert!(told.stderr.contains("the partition public.half lies across its bounds"), "{told}");
}

#[test]
fn policies_that_hide_rows_are_refused() {
    let db = store("month", &[], &["events"]);
    fill(&db, "A", &db.month(-1), 5);
    let role = format!("role_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role}; GRANT CREATE, USAGE ON SCHEMA public TO {role};
         DO $$ DECLARE t text; BEGIN
            FOR t IN SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
                AND relkind IN ('r', 'p') LOOP EXECUTE 'ALTER TABLE ' || t || ' OWNER TO {role}'; END LOOP;
            FOR t IN SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace
                LOOP EXECUTE 'ALTER FUNCTION ' || t || ' OWNER TO {role}'; END LOOP;
         END $$;
         ALTER TABLE events_default ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY few ON events_default USING (aggregate_id LIKE '%1')"
    ));
    let told = drain(&db, &["--role", &role]).failure(1);
    assert!(told.stderr.contains("row-level security"), "{told}");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events_default"), 5);
    db.execute("ALTER TABLE events_default NO FORCE ROW LEVEL SECURITY");
    drain(&db, &["--role", &role]).success();
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 5);
    db.execute(&format!(
        "REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}"
    ));
}
