//! What a read model is beside rows: names, indexes, views, sequences, rights; and what of others
//! hangs on it.

use crate::support::TestDatabase;
use crate::{COUNTS, REBUILD, SUMS, append, nothing_left, old, run, store, write};

/// A read model with nearly everything that a file can make.
const RICH: &str = r#"-- name: Rich "model"
-- contexts: Sales
-- slots: 2
-- schema: "Read ""models"""
-- tables: "Order ""lines""", notes
-- init
CREATE TYPE kind AS ENUM ('small', 'large');
CREATE SEQUENCE numbers;
CREATE FUNCTION label(amount bigint) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN 'label ' || amount;
CREATE TABLE "Order ""lines""" (
    number bigint GENERATED ALWAYS AS IDENTITY,
    serial bigserial,
    drawn bigint NOT NULL DEFAULT nextval('numbers'),
    id text NOT NULL,
    amount bigint NOT NULL,
    doubled bigint GENERATED ALWAYS AS (amount * 2) STORED,
    kind kind NOT NULL DEFAULT 'small',
    label text,
    PRIMARY KEY (id));
CREATE INDEX "by ""amount""" ON "Order ""lines""" (amount);
CREATE TABLE notes (id text REFERENCES "Order ""lines""" (id), note text);
CREATE VIEW "The ""large"" ones" AS SELECT id, label(amount) FROM "Order ""lines""" WHERE amount > 3;
-- handle
INSERT INTO "Order ""lines""" AS t (id, amount, label)
SELECT aggregate_id, count(*), label(1) FROM batch GROUP BY 1
ON CONFLICT (id) DO UPDATE SET amount = t.amount + excluded.amount;
INSERT INTO notes SELECT DISTINCT aggregate_id, event_type FROM batch
WHERE aggregate_version = 1;
"#;

const RICH_NAME: &str = "Rich \"model\"";

/// What the schema of a read model has, by its names.
fn shape(db: &TestDatabase) -> Vec<String> {
    db.texts(
        r#"SELECT pg_describe_object('pg_class'::regclass, oid, 0) || ' ' || relkind::text
            || coalesce(' ' || relacl::text, '')
        FROM pg_class WHERE relnamespace = '"Read ""models"""'::regnamespace
        UNION ALL SELECT 'constraint ' || conname || ' ' || pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = '"Read ""models"""'::regnamespace
        UNION ALL SELECT pg_get_indexdef(oid) FROM pg_class
        WHERE relnamespace = '"Read ""models"""'::regnamespace AND relkind = 'i'
        UNION ALL SELECT 'default ' || pg_get_expr(adbin, adrelid) FROM pg_attrdef
        UNION ALL SELECT 'function ' || oid::regprocedure::text FROM pg_proc
        WHERE pronamespace = '"Read ""models"""'::regnamespace
        UNION ALL SELECT 'type ' || typname || ' ' || typtype::text FROM pg_type
        WHERE typnamespace = '"Read ""models"""'::regnamespace
        UNION ALL SELECT 'view ' || pg_get_viewdef(oid) FROM pg_class
        WHERE relnamespace = '"Read ""models"""'::regnamespace AND relkind = 'v'
        ORDER BY 1"#,
    )
}

fn rich(db: &TestDatabase) -> Vec<String> {
    db.texts(
        r#"SELECT concat_ws(' ', id, amount, doubled, kind, label,
            (SELECT string_agg(note, ',') FROM "Read ""models""".notes WHERE notes.id = t.id))
        FROM "Read ""models"""."Order ""lines""" AS t ORDER BY id"#,
    )
}

#[test]
fn everything_that_a_file_makes_comes_along() {
    let db = store(10, 5);
    write(&db, "rich", RICH);
    run(&db);
    let (had, rows) = (shape(&db), rich(&db));
    assert!(had.len() > 15, "{had:?}");
    let rebuild = ["projections", "rebuild", RICH_NAME, "--yes"];
    for _ in 0..2 {
        db.pupctl(rebuild).success();
        assert_eq!(shape(&db), had);
        assert_eq!(rich(&db), rows);
        nothing_left(&db);
    }
    let large = r#"SELECT count(*) FROM "Read ""models"""."The ""large"" ones""#;
    assert_eq!(db.one::<i64>(large), 10);
    // Numbers go on, so nothing collides.
    append(&db, "more", 3, 2);
    run(&db);
    let numbers = r#"SELECT count(DISTINCT number) || ' ' || count(DISTINCT serial) || ' '
        || count(DISTINCT drawn) FROM "Read ""models"""."Order ""lines"""#;
    assert_eq!(db.one::<String>(&format!("{numbers}\"")), "13 13 13");
    // A type that is made twice is two types.
    let refused = db.pupctl(rebuild.iter().chain(&["--in-place"])).failure(1);
    assert!(refused.stderr.contains("and the file makes it"), "{refused}");
    nothing_left(&db);
}

#[test]
fn rows_are_exchanged_in_place_with_references_and_numbers() {
    let db = store(10, 5);
    let text = RICH.replace("CREATE TYPE kind AS ENUM ('small', 'large');\n", "");
    write(&db, "rich", &text.replace("kind kind", "kind text"));
    run(&db);
    let (had, rows) = (shape(&db), rich(&db));
    for _ in 0..2 {
        db.pupctl(["projections", "rebuild", RICH_NAME, "--yes", "--in-place"]).success();
        assert_eq!(rich(&db), rows);
        assert_eq!(shape(&db), had);
        nothing_left(&db);
    }
    append(&db, "last", 3, 2);
    run(&db);
    let numbers = r#"SELECT count(DISTINCT number) || ' ' || count(DISTINCT serial) || ' '
        || count(DISTINCT drawn) FROM "Read ""models"""."Order ""lines"""#;
    assert_eq!(db.one::<String>(&format!("{numbers}\"")), "13 13 13");
}

#[test]
fn what_hangs_on_the_old_tables_is_named_and_kept() {
    let db = store(5, 5);
    write(&db, "totals", COUNTS);
    run(&db);
    db.execute(
        "CREATE VIEW big AS SELECT * FROM totals WHERE lines > 3;
         CREATE MATERIALIZED VIEW kept AS SELECT count(*) FROM big;
         CREATE TABLE seen (id text REFERENCES totals (id));
         CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER note BEFORE INSERT ON totals FOR EACH ROW EXECUTE FUNCTION noted();
         ALTER TABLE totals ENABLE ROW LEVEL SECURITY;
         CREATE POLICY some_rows ON totals USING (true)",
    );
    let before = old(&db);
    let dump = db.dump();
    let refused = db.pupctl(REBUILD).failure(1);
    for line in [
        "view big depends on table totals",
        "constraint seen_id_fkey on table seen depends on table totals",
        "the trigger note on totals",
        "the policy some_rows on totals",
        "row level security of totals",
        "--in-place",
    ] {
        assert!(refused.stderr.contains(line), "{line}: {refused}");
    }
    assert_eq!(old(&db), before);
    assert_eq!(db.dump(), dump);
    nothing_left(&db);
    let dry = db.pupctl(REBUILD.iter().chain(&["--dry-run"])).failure(1);
    assert!(dry.stderr.contains("view big"), "{dry}");

    // In place they stay; rows that others refer to do not.
    let in_place: Vec<_> = REBUILD.iter().chain(&["--in-place"]).collect();
    let refused = db.pupctl(&in_place).failure(1);
    assert!(refused.stderr.contains("seen_id_fkey"), "{refused}");
    db.execute("DROP TABLE seen; UPDATE totals SET lines = 0");
    db.pupctl(&in_place).success();
    assert_eq!(db.one::<i64>("SELECT sum(lines)::bigint FROM big"), 25);
    nothing_left(&db);
    // Other columns are not exchanged.
    write(&db, "totals", SUMS);
    let refused = db.pupctl(&in_place).failure(1);
    assert!(refused.stderr.contains("totals lacks the column amount bigint"), "{refused}");
    nothing_left(&db);
}

#[test]
fn rights_owners_comments_and_publications_are_carried_over() {
    let db = store(5, 5);
    let role = format!("reader_{}", db.name());
    write(&db, "totals", COUNTS);
    run(&db);
    db.execute(&format!(
        "CREATE ROLE {role}; CREATE ROLE {role}_owner; GRANT CREATE ON SCHEMA public TO {role}_owner;
         ALTER DEFAULT PRIVILEGES GRANT DELETE ON TABLES TO {role};
         GRANT SELECT ON totals TO {role} WITH GRANT OPTION; GRANT UPDATE (lines) ON totals TO PUBLIC;
         COMMENT ON TABLE totals IS 'it''s'; COMMENT ON COLUMN totals.lines IS 'how many';
         ALTER TABLE totals REPLICA IDENTITY FULL;
         CREATE PUBLICATION told FOR TABLE totals;
         ALTER TABLE totals OWNER TO {role}_owner"
    ));
    let told = || {
        db.texts(
            "SELECT concat_ws(' ', relowner::regrole, relacl, relreplident,
                obj_description(oid, 'pg_class'), col_description(oid, 2),
                (SELECT attacl FROM pg_attribute WHERE attrelid = class.oid AND attname = 'lines'),
                (SELECT string_agg(tablename, ',') FROM pg_publication_tables
                    WHERE tablename = 'totals'))
             FROM pg_class AS class WHERE relname = 'totals'",
        )
    };
    let before = told();
    let done = db.pupctl(REBUILD).success();
    assert_eq!(told(), before);
    assert!(done.stderr.contains("subscribers of told"), "{done}");
    nothing_left(&db);
    db.execute(&format!(
        "DROP OWNED BY {role}, {role}_owner CASCADE; DROP ROLE {role}, {role}_owner"
    ));
}

#[test]
fn indexes_by_hand_are_told_of() {
    let db = store(5, 5);
    write(&db, "totals", COUNTS);
    run(&db);
    db.execute("CREATE INDEX by_hand ON totals (lines)");
    let done = db.pupctl(REBUILD).success();
    assert!(done.stderr.contains("the index by_hand on totals is not made by the file"), "{done}");
}

#[test]
fn another_table_is_filled_and_the_former_stays() {
    let db = store(5, 5);
    write(&db, "totals", COUNTS);
    run(&db);
    write(
        &db,
        "totals",
        &SUMS
            .replace("-- tables: totals", "-- tables: sums")
            .replace("EXISTS totals", "EXISTS sums")
            .replace("INTO totals", "INTO sums"),
    );
    let done = db.pupctl(REBUILD).success();
    assert!(done.stderr.contains("totals is not filled any more"), "{done}");
    assert_eq!(db.one::<i64>("SELECT sum(lines)::bigint FROM sums"), 25);
    assert_eq!(db.one::<i64>("SELECT sum(lines)::bigint FROM totals"), 25);
    let read_model = "SELECT DISTINCT read_model::text FROM projection_checkpoints";
    assert_eq!(db.one::<String>(read_model), "{sums}");
    nothing_left(&db);
}

#[test]
fn a_table_of_somebody_else_is_not_replaced() {
    let db = store(5, 5);
    write(&db, "totals", COUNTS);
    db.execute("CREATE TABLE totals (id text PRIMARY KEY, lines bigint); INSERT INTO totals VALUES ('mine', 1)");
    let refused = db.pupctl(REBUILD).failure(1);
    assert!(refused.stderr.contains("nobody said that totals fills it"), "{refused}");
    assert_eq!(db.one::<String>("SELECT id FROM totals"), "mine");
    nothing_left(&db);
    db.pupctl([
        "projections",
        "init",
        "totals",
        "--tables",
        "totals",
        "--contexts",
        "Sales",
        "--aggregates",
        "Order",
    ])
    .success();
    db.pupctl(REBUILD).success();
    assert_eq!(db.one::<i64>("SELECT sum(lines)::bigint FROM totals"), 25);
    nothing_left(&db);
}

#[test]
fn names_with_a_schema_are_refused() {
    let db = store(5, 5);
    write(&db, "totals", COUNTS);
    run(&db);
    let before = old(&db);
    write(&db, "totals", &COUNTS.replace("INTO totals", "INTO public.totals"));
    let refused = db.pupctl(REBUILD).failure(1);
    assert!(refused.stderr.contains("must not say a schema"), "{refused}");
    assert_eq!(old(&db), before);
    nothing_left(&db);
}

#[test]
fn a_role_without_the_right_to_make_schemas_is_told_so() {
    let db = store(5, 5);
    write(&db, "totals", COUNTS);
    let role = format!("app_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role} LOGIN; GRANT USAGE, CREATE ON SCHEMA public TO {role};
         GRANT ALL ON ALL TABLES IN SCHEMA public TO {role};
         GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role};
         GRANT pg_read_all_stats TO {role}"
    ));
    db.pupctl(["projections", "run", "--until-caught-up", "--role", &role]).success();
    let before = old(&db);
    let refused = db.pupctl(REBUILD.iter().chain(&["--role", &role])).failure(1);
    assert!(refused.stderr.contains("the right to create schemas"), "{refused}");
    assert_eq!(old(&db), before);
    nothing_left(&db);
    // Or with a schema that was made for it.
    db.execute(&format!("CREATE SCHEMA pupctl_rebuild_totals AUTHORIZATION {role}"));
    db.pupctl(REBUILD.iter().chain(&["--role", &role])).success();
    assert_eq!(db.one::<i64>("SELECT sum(lines)::bigint FROM totals"), 25);
    nothing_left(&db);
    db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}

#[test]
fn what_was_added_to_the_tables_by_hand_is_refused_and_not_lost() {
    let db = store(5, 5);
    write(&db, "totals", COUNTS);
    run(&db);
    for (add, words, remove) in [
        (
            "ADD CONSTRAINT positive CHECK (lines > 0)",
            "the constraint positive on totals: CHECK",
            "DROP CONSTRAINT positive",
        ),
        (
            "ADD CONSTRAINT known FOREIGN KEY (id) REFERENCES orders (id)",
            "the constraint known on totals: FOREIGN KEY",
            "DROP CONSTRAINT known",
        ),
        ("ADD COLUMN note text DEFAULT 'x'", "the column note of totals", "DROP COLUMN note"),
    ] {
        db.execute(
            "CREATE TABLE IF NOT EXISTS orders (id text PRIMARY KEY);
             INSERT INTO orders SELECT DISTINCT aggregate_id FROM events ON CONFLICT DO NOTHING",
        );
        db.execute(&format!("ALTER TABLE totals {add}"));
        let before = old(&db);
        let refused = db.pupctl(REBUILD).failure(1);
        assert!(refused.stderr.contains(words), "{words}: {refused}");
        assert_eq!(old(&db), before);
        db.execute(&format!("ALTER TABLE totals {remove}"));
        db.pupctl(["operations", "abort", "totals:rebuild", "--yes"]).success();
    }
    db.pupctl(REBUILD).success();
}

#[test]
fn rights_that_were_taken_from_a_function_do_not_come_back() {
    let db = store(5, 5);
    let function = "-- init\nCREATE OR REPLACE FUNCTION label() RETURNS text LANGUAGE sql\n\
        AS 'SELECT 1::text';\n";
    write(&db, "totals", &COUNTS.replace("-- init\n", function));
    run(&db);
    db.execute("REVOKE EXECUTE ON FUNCTION label() FROM PUBLIC");
    let refused = db.pupctl(REBUILD).failure(1);
    assert!(refused.stderr.contains("the rights or the owner of the function"), "{refused}");
    let open: bool = db.one(
        "SELECT EXISTS (SELECT FROM pg_proc, aclexplode(proacl) AS acl
         WHERE proname = 'label' AND acl.grantee = 0)",
    );
    assert!(!open);
}
