//! Event ids, the refusal of changes, and what `init` and `check` make of protections that are
//! missing, disabled or changed.

use postgres::error::SqlState;

use crate::support::{TestDatabase, event_id};
use crate::writers::violations;

const INIT: [&str; 8] =
    ["schema", "init", "--partition-by", "context,month", "--contexts", "Sales", "--months", "1"];

fn store(further: &[&str]) -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(INIT.iter().chain(further)).success();
    db
}

fn event(db: &TestDatabase, version: i64, id: &str, ahead: i32) -> String {
    format!(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, created_at)
         VALUES ('Sales', 'Order', 'a', {version}, '{id}', 'E', '{{}}', '{}-01 00:00:00+00')",
        db.month(ahead)
    )
}

#[track_caller]
fn code(db: &TestDatabase, sql: &str) -> SqlState {
    let error = db.client().batch_execute(sql).expect_err("must be refused");
    error.code().unwrap_or_else(|| panic!("{error:?}")).clone()
}

/// The findings of `partitions check`, as `check object`.
fn findings(db: &TestDatabase) -> Vec<String> {
    let check = db.pupctl(["partitions", "check", "-o", "json"]).success().json();
    let findings = check["findings"].as_array().expect("a list");
    let word =
        |finding: &serde_json::Value, key: &str| finding[key].as_str().expect("a word").to_owned();
    findings.iter().map(|f| format!("{} {}", word(f, "check"), word(f, "object"))).collect()
}

#[test]
fn an_event_id_is_stored_once_whatever_the_leaf() {
    for layout in ["context", "hash", "month", "context,hash", "context,month", "hash,month"] {
        let db = TestDatabase::new();
        let init = ["schema", "init", "--partition-by", layout, "--contexts", "Sales,Billing"];
        db.pupctl(init.iter().chain(&["--event-ids", "--months", "1"])).success();
        let id = event_id();
        db.execute(&event(&db, 1, &id, 0));
        for (context, aggregate) in [("Sales", "a"), ("Sales", "b"), ("Billing", "c")] {
            let again = event(&db, 2, &id, 1)
                .replace("'Sales', 'Order', 'a'", &format!("'{context}', 'Order', '{aggregate}'"));
            assert_eq!(code(&db, &again), SqlState::UNIQUE_VIOLATION, "{layout}");
        }
        assert_eq!(db.one::<i64>("SELECT count(*) FROM pupctl_event_ids"), 1);
    }
    // One leaf needs no table for it.
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "none", "--event-ids"]).success();
    assert!(db.one::<bool>("SELECT to_regclass('pupctl_event_ids') IS NULL"));
}

#[test]
fn event_ids_of_events_that_are_there_are_collected_later() {
    let db = store(&[]);
    let ids = [event_id(), event_id()];
    db.execute(&event(&db, 1, &ids[0], 0));
    db.execute(&event(&db, 2, &ids[1], 1));
    db.pupctl(INIT.iter().chain(&["--event-ids"])).success();
    assert_eq!(db.one::<i64>("SELECT count(*) FROM pupctl_event_ids"), 2);
    assert_eq!(code(&db, &event(&db, 3, &ids[0], 1)), SqlState::UNIQUE_VIOLATION);
    assert_eq!(findings(&db), Vec::<String>::new());
    // Off, with an event meanwhile, and on again.
    db.pupctl(INIT.iter().chain(&["--event-ids=false"])).success();
    let third = event_id();
    db.execute(&event(&db, 3, &third, 1));
    db.pupctl(INIT.iter().chain(&["--event-ids"])).success();
    assert_eq!(db.one::<i64>("SELECT count(*) FROM pupctl_event_ids"), 3);
    let again = db.pupctl(INIT).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
}

#[test]
fn an_event_id_that_is_there_twice_keeps_event_ids_from_being_complete() {
    let db = store(&[]);
    let id = event_id();
    db.execute(&event(&db, 1, &id, 0));
    db.execute(&event(&db, 2, &id, 1));
    for _ in 0..2 {
        let refused = db.pupctl(INIT.iter().chain(&["--event-ids"])).failure(1);
        let words = format!("event ids are stored twice: {}-{}-", &id[..8], &id[8..12]);
        assert!(refused.stderr.contains(&words), "{refused}");
        assert!(refused.stderr.contains("--event-ids=false"), "{refused}");
        assert_eq!(findings(&db), ["missing_event_ids public.pupctl_event_ids"]);
    }
    // The store can be maintained meanwhile, and the way back is open.
    db.pupctl(["partitions", "ensure", "--months", "3"]).success();
    db.pupctl(INIT.iter().chain(&["--event-ids=false"])).success();
    assert_eq!(findings(&db), Vec::<String>::new());
    // What was doubled while ids were not kept is found when they are again.
    let db = store(&["--event-ids"]);
    db.execute(&event(&db, 1, &id, 0));
    db.pupctl(INIT.iter().chain(&["--event-ids=false"])).success();
    db.execute(&event(&db, 2, &id, 1));
    db.pupctl(INIT.iter().chain(&["--event-ids"])).failure(1);
    db.execute(
        "BEGIN; SET LOCAL pupctl.maintenance = on;
        DELETE FROM events WHERE aggregate_version = 2;
        UPDATE aggregate_heads SET aggregate_version = 1; COMMIT",
    );
    db.pupctl(INIT.iter().chain(&["--event-ids"])).success();
    assert_eq!(findings(&db), Vec::<String>::new());
}

/// Killed between the triggers and the collection, the next run collects.
#[test]
fn ids_are_collected_by_the_run_after_a_killed_one() {
    let reference = store(&[]);
    reference.pupctl(INIT.iter().chain(&["--event-ids"])).success();
    for passed in 0..8 {
        let db = store(&[]);
        let ids = [event_id(), event_id()];
        db.execute(&event(&db, 1, &ids[0], 0));
        db.execute(&event(&db, 2, &ids[1], 1));
        let init = INIT.iter().chain(&["--event-ids"]);
        let points = format!("execute::after_step={passed}*off->return");
        let run = db.command(init.clone()).failpoints(&points).run();
        db.pupctl(init.chain(&["--wait", "60s"])).success();
        assert_eq!(db.one::<i64>("SELECT count(*) FROM pupctl_event_ids"), 2, "{passed}: {run}");
        assert_eq!(findings(&db), Vec::<String>::new(), "{passed}");
        assert_eq!(db.dump(), reference.dump());
    }
}

/// Who runs `init` with more rights than the owner does not lend them to the owner's triggers.
#[test]
fn nobody_but_the_owner_installs_functions_that_run_with_their_owner_s_rights() {
    let db = store(&["--guard", "none", "--allow-duplicate-versions"]);
    let role = format!("owner_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role}; GRANT CREATE ON SCHEMA public TO {role};
         DO $$ DECLARE t regclass; BEGIN
            FOR t IN SELECT oid::regclass FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') LOOP
                EXECUTE format('ALTER TABLE %s OWNER TO {role}', t);
            END LOOP; END $$"
    ));
    let guard = ["schema", "init", "--guard", "events"];
    let refused = db.pupctl(guard.iter().chain(&["--schema", "public"])).failure(1);
    assert!(refused.stderr.contains(&format!("--role {role}")), "{refused}");
    assert!(!db.one::<bool>("SELECT EXISTS (SELECT FROM pg_proc WHERE proname = 'pupctl_guard')"));
    db.pupctl(guard.iter().chain(&["--role", &role])).success();
    db.pupctl(["partitions", "ensure", "--months", "4", "--role", &role]).success();
    assert_eq!(findings(&db), Vec::<String>::new());
    // Given to somebody else, or open to everybody, it is found.
    db.execute("ALTER FUNCTION pupctl_guard() OWNER TO CURRENT_USER");
    assert_eq!(findings(&db), ["broken_function public.pupctl_guard"]);
    db.execute(&format!("ALTER FUNCTION pupctl_guard() OWNER TO {role}"));
    db.execute("GRANT EXECUTE ON FUNCTION pupctl_guard() TO PUBLIC");
    assert_eq!(findings(&db), ["broken_function public.pupctl_guard"]);
    db.pupctl(["schema", "init", "--role", &role]).success();
    assert_eq!(findings(&db), Vec::<String>::new());
    db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}

/// Under the guard a version is what the head says, so it must not begin behind the events.
#[test]
fn the_guard_is_not_put_on_heads_that_are_behind() {
    let db = store(&["--guard", "none", "--allow-duplicate-versions"]);
    db.execute(&event(&db, 1, &event_id(), 0));
    db.execute(&event(&db, 2, &event_id(), 0));
    let guard = ["schema", "init", "--guard", "events"];
    let refused = db.pupctl(guard).failure(1);
    assert!(refused.stderr.contains("Sales Order a: no head, 2 events"), "{refused}");
    db.execute("INSERT INTO aggregate_heads VALUES ('Sales', 'Order', 'a', 2)");
    // One version twice, which nothing refused.
    db.execute(&event(&db, 2, &event_id(), 1));
    db.pupctl(guard).failure(1);
    db.execute(&format!("DELETE FROM events_sales_{}", db.month(1).replace('-', "_")));
    let done = db.pupctl(guard).success();
    assert!(done.stderr.contains("must open their stores again"), "{done}");
    assert_eq!(code(&db, &event(&db, 2, &event_id(), 1)), SqlState::UNIQUE_VIOLATION);
}

#[test]
fn an_immutable_store_refuses_every_change() {
    let db = store(&["--immutable"]);
    db.execute(&event(&db, 1, &event_id(), 0));
    let leaf = format!("events_sales_{}", db.month(0).replace('-', "_"));
    for table in ["events", "events_sales", &leaf] {
        for change in [
            format!("UPDATE {table} SET payload = 'x'"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
            format!("UPDATE ONLY {table} SET payload = 'x' WHERE false"),
        ] {
            assert_eq!(code(&db, &change), SqlState::RESTRICT_VIOLATION, "{change}");
        }
    }
    // On a month that is detached too.
    db.execute(&format!("ALTER TABLE events_sales DETACH PARTITION {leaf}"));
    assert_eq!(code(&db, &format!("DELETE FROM {leaf}")), SqlState::RESTRICT_VIOLATION);
    assert_eq!(code(&db, &format!("TRUNCATE {leaf}")), SqlState::RESTRICT_VIOLATION);
    assert_eq!(db.one::<i64>(&format!("SELECT count(*) FROM {leaf}")), 1);
    // Heads and checkpoints are there to be changed.
    db.execute("UPDATE aggregate_heads SET updated_at = now(); DELETE FROM projection_checkpoints");
}

#[test]
fn only_the_owner_has_a_way_past_immutable() {
    let db = store(&["--immutable"]);
    db.execute(&event(&db, 1, &event_id(), 0));
    let role = format!("writer_{}", db.name());
    db.execute(&format!("CREATE ROLE {role}; GRANT SELECT, DELETE ON events TO {role}"));
    let by_writer = format!("SET ROLE {role}; SET pupctl.maintenance = on; DELETE FROM events");
    assert_eq!(code(&db, &by_writer), SqlState::RESTRICT_VIOLATION);
    db.execute("BEGIN; SET LOCAL pupctl.maintenance = on; DELETE FROM events; COMMIT");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 0);
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// Each thing that somebody can do to a protection, what `check` says, and that `init` mends it.
#[test]
fn init_mends_what_check_finds() {
    let leaf = |db: &TestDatabase| format!("events_sales_{}", db.month(1).replace('-', "_"));
    let cases: [(&str, &[&str]); 9] = [
        ("DROP TRIGGER pupctl_guard ON {leaf}", &["unprotected public.{leaf}"]),
        ("ALTER TABLE {leaf} DISABLE TRIGGER pupctl_guard", &["unprotected public.{leaf}"]),
        (
            "ALTER TABLE events_sales ENABLE REPLICA TRIGGER pupctl_immutable",
            &["unprotected public.events_sales"],
        ),
        (
            "ALTER TABLE events DISABLE TRIGGER ALL",
            &[
                "unprotected public.events",
                "unprotected public.events",
                "unprotected public.events",
            ],
        ),
        (
            "CREATE OR REPLACE TRIGGER pupctl_guard AFTER INSERT ON events
            REFERENCING NEW TABLE AS pupctl_added FOR EACH STATEMENT
            EXECUTE FUNCTION pupctl_guard()",
            &["unprotected public.events"],
        ),
        (
            "CREATE OR REPLACE FUNCTION pupctl_guard() RETURNS trigger LANGUAGE plpgsql
            SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN NULL; END'",
            &["broken_function public.pupctl_guard"],
        ),
        (
            "ALTER FUNCTION pupctl_keep_ids() RESET search_path",
            &["broken_function public.pupctl_keep_ids"],
        ),
        (
            "ALTER FUNCTION pupctl_guard() SECURITY INVOKER",
            &["broken_function public.pupctl_guard"],
        ),
        ("DROP TABLE pupctl_event_ids", &["missing_event_ids public.pupctl_event_ids"]),
    ];
    let all = ["--event-ids", "--immutable"];
    let db = store(&all);
    for (version, (damage, expected)) in (1..).zip(cases) {
        let named = |text: &str| text.replace("{leaf}", &leaf(&db));
        db.execute(&named(damage));
        let expected: Vec<_> = expected.iter().map(|line| named(line)).collect();
        assert_eq!(findings(&db), expected, "{damage}");
        db.pupctl(["partitions", "check", "--exit-code"]).failure(3);
        db.pupctl(["schema", "init"]).success();
        assert_eq!(findings(&db), Vec::<String>::new(), "{damage}");
        let again = db.pupctl(["schema", "init"]).success();
        assert!(again.stderr.contains("Nothing to do"), "{again}");
        db.execute(&event(&db, version, &event_id(), 1));
    }
    assert_eq!(violations(&db), Vec::<String>::new());
    let kept = "SELECT count(*) FROM events JOIN pupctl_event_ids USING (event_id)";
    assert_eq!(db.one::<i64>(kept), 9, "collected again");
}

#[test]
fn new_partitions_are_not_made_without_the_functions_they_need() {
    let db = store(&["--immutable"]);
    db.execute("DROP FUNCTION pupctl_immutable CASCADE");
    let refused = db.pupctl(["partitions", "ensure", "--months", "4"]).failure(1);
    assert!(refused.stderr.contains("public.pupctl_immutable is missing"), "{refused}");
    assert!(refused.stderr.contains("pupctl schema init"), "{refused}");
    db.pupctl(["schema", "init"]).success();
    db.pupctl(["partitions", "ensure", "--months", "4"]).success();
    assert_eq!(findings(&db), Vec::<String>::new());
}

/// A store from before there was a guard: nothing breaks, `check` says so, `init` guards it.
#[test]
fn a_store_without_protections_gets_the_guard_from_init() {
    let db = store(&["--guard", "none", "--allow-duplicate-versions"]);
    db.execute(
        "UPDATE pupctl_layout SET layout = layout - 'protections' || '{\"form\": 1}'::jsonb",
    );
    assert_eq!(findings(&db), ["no_guard public.events"]);
    db.pupctl(["partitions", "ensure", "--months", "2"]).success();
    let plan = db.pupctl(["schema", "init", "--dry-run"]).success();
    assert!(plan.stdout.contains("-- Lock: SHARE ROW EXCLUSIVE on public.events."), "{plan}");
    db.pupctl(["schema", "init"]).success();
    assert_eq!(findings(&db), Vec::<String>::new());
    let fresh = store(&[]);
    fresh.pupctl(["schema", "init", "--months", "2"]).success();
    fresh.pupctl(["partitions", "ensure"]).success();
    db.pupctl(["schema", "init", "--months", "2"]).success();
    assert_eq!(db.dump(), fresh.dump());
}

#[test]
fn a_store_without_a_guard_wants_a_word_for_it() {
    let db = TestDatabase::new();
    let none: Vec<_> = INIT.iter().chain(&["--guard", "none"]).collect();
    let refused = db.pupctl(&none).failure(2);
    assert!(refused.stderr.contains("--allow-duplicate-versions"), "{refused}");
    db.pupctl(none.iter().copied().chain(&["--allow-duplicate-versions"])).success();
    // It was said once; the guard can come later.
    db.pupctl(&none).success();
    assert_eq!(db.one::<i64>("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"), 0);
    db.pupctl(["schema", "init", "--guard", "events"]).success();
    assert_eq!(findings(&db), Vec::<String>::new());
    assert!(db.one::<i64>("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal") > 0);
    // Without months the keys are enough, and nothing needs to be said.
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "hash", "--guard", "none"]).success();
}

/// An import moves heads itself, once for a part of the file; the guard finds them as they must be.
#[test]
fn imported_streams_go_on_under_the_guard() {
    let db = store(&["--event-ids", "--immutable"]);
    let excerpt = format!("{}/tests/data/git-history-500.ndjson", env!("CARGO_MANIFEST_DIR"));
    db.pupctl(["events", "import", &excerpt, "--create-partitions"]).success();
    assert_eq!(violations(&db), Vec::<String>::new());
    let kept = "SELECT count(*) FROM events JOIN pupctl_event_ids USING (event_id)";
    assert_eq!(db.one::<i64>(kept), 493);
    let next = |step: &str| {
        format!(
            "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
                event_id, event_type, payload)
             SELECT bounded_context, aggregate_type, aggregate_id, aggregate_version + {step},
                gen_random_uuid(), 'E', '{{}}' FROM aggregate_heads"
        )
    };
    assert_eq!(code(&db, &next("0")), SqlState::UNIQUE_VIOLATION);
    db.execute(&next("1"));
    assert_eq!(violations(&db), Vec::<String>::new());
    assert_eq!(findings(&db), Vec::<String>::new());
}
