//! What is applied, in which order, and what stays of it.

use crate::support::{Background, TestDatabase};
use crate::{is_there, migrate, recorded, write};

const GENERATED: [&str; 4] = ["1 heads_and_checkpoints", "2 events", "3 indexes", "5 layout"];

/// The same for a layout, with the guard where months divide events.
fn generated(layout: &str) -> Vec<&'static str> {
    let mut names = GENERATED.to_vec();
    if layout.contains("month") {
        names.insert(3, "4 guard");
    }
    names
}

fn generate(db: &TestDatabase, layout: &[&str]) {
    db.pupctl([&["schema", "generate"], layout].concat()).success();
}

#[test]
fn generated_files_and_others_beside_them_make_a_store() {
    let db = TestDatabase::new();
    generate(&db, &["--partition-by", "context,month", "--contexts", "Identity"]);
    write(&db, "V010__orders.sql", "CREATE TABLE orders (id int);\nINSERT INTO orders VALUES (1)");
    write(&db, "V9__before.sql", "CREATE TABLE before (id int); -- a comment at the end");
    write(&db, "README.md", "Notes are no migrations.");
    let done = migrate(&db).success();
    assert!(done.stderr.contains("7 migrations of migrations applied"), "{done}");
    assert!(done.stderr.contains("pupctl partitions ensure"), "{done}");
    assert_eq!(recorded(&db), [&generated("month")[..], &["9 before", "10 orders"]].concat());
    assert_eq!(db.one::<i64>("SELECT count(*) FROM orders"), 1);
    assert_eq!(db.journal(), ["schema migrate: done"]);

    let again = migrate(&db).success();
    assert!(again.stderr.contains("Nothing to do: 7 migrations"), "{again}");
    assert_eq!(db.journal(), ["schema migrate: done"]);

    db.pupctl(["partitions", "ensure"]).success();
    db.pupctl(["partitions", "check", "--exit-code"]).success();
    let init = db.pupctl(["schema", "init"]).success();
    assert!(init.stderr.contains("Nothing to do"), "{init}");
    let by_init = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "context,month", "--contexts", "Identity"];
    by_init.pupctl(init).success();
    db.execute("DROP TABLE orders, before");
    let dump = |db: &TestDatabase| {
        let dump = db.dump();
        let lines = dump.lines().filter(|line| !line.starts_with("public.pupctl_schema_history {"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(dump(&db), dump(&by_init));
}

#[test]
fn a_store_of_init_and_files_that_came_later_are_the_same() {
    for layout in ["none", "context,hash", "hash,month"] {
        let db = TestDatabase::new();
        let options = ["--partition-by", layout, "--contexts", "A"];
        db.pupctl([&["schema", "init"], &options[..]].concat()).success();
        db.pupctl(["contexts", "add", "B"]).success();
        let before = db.dump();
        // They are those of the layout that the store had, and its own versions come first.
        generate(&db, &options);
        write(&db, "V20__mine.sql", "CREATE TABLE mine ()");
        let done = migrate(&db).success();
        assert!(done.stderr.contains("2 migrations of migrations applied"), "{done}");
        assert_eq!(recorded(&db), [&generated(layout)[..], &["20 mine"]].concat());
        db.execute("DROP TABLE mine; DELETE FROM pupctl_schema_history WHERE version > 4");
        assert_eq!(db.dump(), before, "{layout}");
    }
}

#[test]
fn files_of_one_s_own_need_no_generated_ones() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "none"]).success();
    write(&db, "V20__mine.sql", "CREATE TABLE mine ()");
    migrate(&db).success();
    assert_eq!(recorded(&db), [&GENERATED[..3], &["20 mine"]].concat());
    // Files that are generated afterwards come late, and may.
    generate(&db, &["--partition-by", "none"]);
    migrate(&db).success();
    assert_eq!(recorded(&db), [&GENERATED[..], &["20 mine"]].concat());

    let alone = TestDatabase::new();
    write(&alone, "V1__mine.sql", "CREATE TABLE mine ()");
    migrate(&alone).success();
    let init = alone.pupctl(["schema", "init", "--partition-by", "none"]).failure(1);
    assert!(init.stderr.contains("version 1 of the migrations in schema public is mine"), "{init}");
}

#[test]
fn protections_that_init_added_later_need_no_file() {
    let db = TestDatabase::new();
    generate(&db, &["--partition-by", "none"]);
    write(&db, "V10__mine.sql", "CREATE TABLE mine ()");
    migrate(&db).success();
    db.pupctl(["schema", "init", "--immutable"]).success();
    assert_eq!(recorded(&db), [&generated("month")[..], &["10 mine"]].concat());
    let nothing = migrate(&db).success();
    assert!(nothing.stderr.contains("Nothing to do"), "{nothing}");
    db.pupctl(["partitions", "check", "--exit-code"]).success();
}

#[test]
fn versions_go_as_far_as_was_asked_and_as_large_as_dates() {
    let db = TestDatabase::new();
    write(&db, "V10__a.sql", "CREATE TABLE a ()");
    write(&db, "V11__b.sql", "CREATE TABLE b ()");
    write(&db, "V20260101120000__c.sql", "CREATE TABLE c ()");
    let to = |version: &str| db.pupctl(["schema", "migrate", "--to", version]);
    to("10").success();
    assert_eq!(recorded(&db), ["10 a"]);
    let nothing = to("10").success();
    let words = "Nothing to do: 1 migration of migrations are applied, 2 beyond version 10 are \
                 pending";
    assert!(nothing.stderr.contains(words), "{nothing}");
    let wrong = to("12").failure(2);
    assert!(wrong.stderr.contains("no migration has the version 12"), "{wrong}");
    migrate(&db).success();
    assert_eq!(recorded(&db), ["10 a", "11 b", "20260101120000 c"]);
}

#[test]
fn a_store_of_half_the_files_is_told_how_to_go_on() {
    let db = TestDatabase::new();
    generate(&db, &["--partition-by", "month"]);
    db.pupctl(["schema", "migrate", "--to", "2"]).success();
    let nothing = db.pupctl(["schema", "migrate", "--to", "2"]).success();
    assert!(nothing.stderr.contains("Nothing to do: 2 migrations of migrations"), "{nothing}");
    assert!(nothing.stderr.contains("3 beyond version 2 are pending"), "{nothing}");
    for command in [["partitions", "check"], ["partitions", "list"], ["partitions", "ensure"]] {
        let refused = db.pupctl(command).failure(1);
        assert!(refused.stderr.contains("its last migration is V2__events"), "{refused}");
        assert!(refused.stderr.contains("pupctl schema migrate"), "{refused}");
    }
    let status = db.pupctl(["schema", "status"]).success();
    assert!(status.stderr.contains("pupctl schema migrate"), "{status}");
}

#[test]
fn settings_of_a_migration_do_not_reach_the_next() {
    let db = TestDatabase::new();
    db.execute(&format!("CREATE ROLE \"{}_r\"; CREATE SCHEMA elsewhere", db.name()));
    let role = format!("{}_r", db.name());
    write(
        &db,
        "V10__settings.sql",
        &format!(
            "SET search_path = elsewhere; SET lock_timeout = '7s'; SET my.own = 'x';
             SET statement_timeout = '1h'; CREATE TEMP TABLE left_over (); LISTEN something;
             CREATE TABLE here ();
             SET ROLE \"{role}\""
        ),
    );
    write(
        &db,
        "V11__look.sql",
        "CREATE TABLE seen AS SELECT current_setting('search_path') AS path,
            current_setting('my.own', true) AS own, current_user::text AS role,
            current_setting('statement_timeout') AS timeout, current_setting('lock_timeout') AS lock,
            to_regclass('left_over') IS NULL AS clean,
            current_setting('client_min_messages') AS messages",
    );
    write(
        &db,
        "V12__other.sql",
        &format!("CREATE TABLE other (); SET SESSION AUTHORIZATION \"{role}\""),
    );
    write(&db, "V13__local.sql", &format!("CREATE TABLE local (); SET LOCAL ROLE \"{role}\""));
    let user: String = db.one("SELECT current_user::text");
    // The history is written by whoever began, whatever role the file took on.
    migrate(&db).success();
    assert_eq!(recorded(&db).len(), 4);
    assert!(is_there(&db, "elsewhere.here") && is_there(&db, "public.seen"));
    let seen = db.texts("SELECT concat_ws(' | ', path, coalesce(own, ''), role, timeout, lock, clean, messages) FROM public.seen");
    assert_eq!(seen, [format!("\"$user\", public |  | {user} | 0 | 100ms | t | warning")]);
    db.execute(&format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\""));
}

#[test]
fn of_eight_deploys_one_applies_and_the_others_find_it() {
    let db = TestDatabase::new();
    generate(&db, &["--partition-by", "hash", "--hash-partitions", "2"]);
    write(&db, "V10__orders.sql", "CREATE TABLE orders (id int)");
    let index = "-- pupctl: no-transaction\nCREATE INDEX CONCURRENTLY orders_id ON orders (id)";
    write(&db, "V11__index.sql", index);
    // They wait without being told to.
    let started: Vec<Background> =
        (0..8).map(|_| db.command(["schema", "migrate"]).spawn()).collect();
    let outputs: Vec<_> = started.into_iter().map(|run| run.wait().success()).collect();
    let count = |words: &str| outputs.iter().filter(|one| one.stderr.contains(words)).count();
    assert_eq!((count("Done:"), count("Nothing to do")), (1, 7), "{outputs:?}");
    assert_eq!(recorded(&db).len(), 6);
    assert_eq!(db.journal(), ["schema migrate: done"]);
    // Whoever says so does not wait.
    let mut holder = db.client();
    holder.batch_execute("BEGIN; LOCK TABLE orders").expect("a lock");
    write(&db, "V12__more.sql", "ALTER TABLE orders ADD COLUMN more int");
    let first = db.command(["schema", "migrate"]).spawn();
    crate::support::eventually("the first waits for the table", || {
        db.one(
            "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass",
        )
    });
    db.pupctl(["schema", "migrate", "--wait", "0s"]).failure(4);
    holder.batch_execute("COMMIT").expect("a commit");
    first.wait().success();
}

#[test]
fn locks_that_are_not_obtained_change_nothing() {
    let db = TestDatabase::new();
    write(&db, "V10__orders.sql", "CREATE TABLE orders (id int)");
    migrate(&db).success();
    write(&db, "V11__more.sql", "CREATE TABLE other (); ALTER TABLE orders ADD COLUMN more int");
    let mut holder = db.client();
    holder.batch_execute("BEGIN; LOCK TABLE orders").expect("a lock");
    let late = db.pupctl(["schema", "migrate", "--lock-budget", "500ms"]).failure(5);
    assert!(late.stderr.contains("V11__more.sql\" did not get its locks"), "{late}");
    assert!(late.stderr.contains("migrations/V11__more.sql:1:24"), "{late}");
    let pid: i32 = holder.query_one("SELECT pg_backend_pid()", &[]).expect("a row").get(0);
    assert!(late.stderr.contains(&format!("waited for process {pid} (")), "{late}");
    assert!(!is_there(&db, "other"));
    assert_eq!(recorded(&db), ["10 orders"]);
    holder.batch_execute("COMMIT").expect("a commit");
    migrate(&db).success();
    assert_eq!(recorded(&db), ["10 orders", "11 more"]);
}

#[test]
fn a_dry_run_is_a_script_for_psql() {
    let [by_psql, by_pupctl] = [TestDatabase::new(), TestDatabase::new()];
    for db in [&by_psql, &by_pupctl] {
        generate(db, &["--partition-by", "context", "--contexts", "A"]);
        write(db, "V10__orders.sql", "CREATE TABLE orders (id int) -- no semicolon");
        let index =
            "-- pupctl: no-transaction\nCREATE INDEX CONCURRENTLY orders_id ON orders (id);";
        write(db, "V11__index.sql", index);
        write(db, "V12__path.sql", "CREATE SCHEMA elsewhere; SET search_path = elsewhere");
        write(db, "V13__more.sql", "CREATE TABLE more (id int)");
    }
    let dry = by_psql.pupctl(["schema", "migrate", "--dry-run"]).success();
    assert!(dry.stderr.contains("nothing was changed"), "{dry}");
    assert_eq!(by_psql.dump(), "", "not even a history table");
    std::fs::write(by_psql.folder().join("script.sql"), &dry.stdout).expect("a script");
    by_psql.psql(["-f", "script.sql"]).success();
    migrate(&by_pupctl).success();
    assert_eq!(by_psql.dump(), by_pupctl.dump());
    let nothing = by_psql.pupctl(["schema", "migrate", "--dry-run"]).success();
    assert_eq!(nothing.stdout, "");
    let json = by_psql.pupctl(["schema", "migrate", "-o", "json"]).success().json();
    assert_eq!(json["changed"], false, "{json}");
}
