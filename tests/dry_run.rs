//! `--dry-run` prints what would run: psql runs it as it is, and the database is then the same
//! as after the command itself.

mod support;

use support::{TestDatabase, fingerprint};

/// Prepares two databases alike, runs the script in one and the command in the other.
fn same(preparation: &[&[&str]], sql: &str, command: &[&str]) -> String {
    let [by_psql, by_pupctl] = [TestDatabase::new(), TestDatabase::new()];
    for db in [&by_psql, &by_pupctl] {
        for arguments in preparation {
            db.pupctl(*arguments).success();
        }
        db.execute(sql);
    }
    let before = by_psql.dump();
    let dry = || by_psql.pupctl(command.iter().chain(&["--dry-run"])).success();
    let printed = dry();
    assert!(printed.stderr.contains("nothing was changed"), "{printed}");
    assert_eq!(dry().stdout, printed.stdout, "the same question has the same answer");
    assert_eq!(by_psql.dump(), before, "a dry run writes nothing");
    if preparation.is_empty() {
        assert_eq!(before, "", "not even a history table");
    }

    std::fs::write(by_psql.folder().join("script.sql"), &printed.stdout).expect("a script");
    by_psql.psql(["-f", "script.sql"]).success();
    let done = by_pupctl.pupctl(command).success();
    assert!(done.stderr.contains("Done:"), "{done}");
    assert_eq!(by_psql.dump(), by_pupctl.dump(), "{command:?}");
    for db in [&by_psql, &by_pupctl] {
        let again = db.pupctl(command).success();
        assert!(again.stderr.contains("Nothing to do"), "{again}");
        let dry = db.pupctl(command.iter().chain(&["--dry-run"])).success();
        assert_eq!(dry.stdout, "", "nothing to do is an empty script");
    }
    printed.stdout
}

// All seven go through psql in the smoke tests.
#[test]
fn init_of_layouts_with_and_without_a_key_on_the_parent() {
    for layout in ["none", "context,hash", "hash,month"] {
        let init = ["schema", "init", "--partition-by", layout, "--contexts", "Identity,it's"];
        let script = same(&[], "", &init);
        assert!(script.contains("CREATE TABLE \"public\".\"events\""), "{script}");
    }
}

#[test]
fn a_schema_that_is_made_on_the_way() {
    same(&[], "", &["schema", "init", "--partition-by", "month", "--schema", "Event Store"]);
}

const BY_CONTEXT_AND_MONTH: &[&str] =
    &["schema", "init", "--partition-by", "context,month", "--contexts", "Identity"];

#[test]
fn new_contexts() {
    let names = ["contexts", "add", "Billing", "a\"; DROP TABLE events; --", "{{ x }} -- \\q"];
    let script = same(&[BY_CONTEXT_AND_MONTH], "", &names);
    assert!(script.contains("-- Lock: SHARE UPDATE EXCLUSIVE on public.events"), "{script}");
}

#[test]
fn new_contexts_that_take_several_transactions() {
    let init = ["schema", "init", "--partition-by", "context,month", "--months", "55"];
    let script = same(&[&init], "", &["contexts", "add", "Billing"]);
    assert!(script.contains("COMMENT ON TABLE"), "a branch that is built in steps: {script}");
}

#[test]
fn months_with_grants_and_rows() {
    let rows = "GRANT SELECT ON events TO PUBLIC;
        ALTER TABLE events REPLICA IDENTITY FULL;
        INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
        VALUES ('Identity', 'User', '1', 1, gen_random_uuid(), 'x', '');
        ANALYZE events";
    let ensure = ["partitions", "ensure", "--from", "2019-11", "--months", "5"];
    let script = same(&[&["schema", "init", "--partition-by", "month"]], rows, &ensure);
    // From 18 on the server can leave out the leaves.
    let number = "SELECT current_setting('server_version_num')::int";
    let only = if TestDatabase::new().one::<i32>(number) >= 180_000 { "ONLY " } else { "" };
    let last = format!("ANALYZE (SKIP_LOCKED) {only}\"public\".\"events\";\n");
    assert!(script.ends_with(&last), "{script}");
}

#[test]
fn an_import_with_its_partitions() {
    let db = TestDatabase::new();
    db.pupctl(BY_CONTEXT_AND_MONTH).success();
    let excerpt = format!("{}/tests/data/git-history-500.ndjson", env!("CARGO_MANIFEST_DIR"));
    let import = ["events", "import", &excerpt, "--create-partitions"];
    let before = fingerprint(&mut db.client());
    let dry = || db.pupctl(import.iter().chain(&["--dry-run"])).success();
    let printed = dry();
    assert!(printed.stderr.contains("493 events would go in"), "{printed}");
    assert!(printed.stderr.contains("nothing was changed"), "{printed}");
    assert_eq!(dry().stdout, printed.stdout, "the same question has the same answer");
    assert!(fingerprint(&mut db.client()) == before, "a dry run writes nothing");

    // psql makes what is missing, and only the events are left to the import.
    std::fs::write(db.folder().join("script.sql"), &printed.stdout).expect("a script");
    db.psql(["-f", "script.sql"]).success();
    let made = db.dump();
    let dry = db.pupctl(["events", "import", &excerpt, "--dry-run"]).success();
    assert_eq!(dry.stdout, "", "{dry}");
    db.pupctl(import).success();
    assert_eq!(db.dump(), made);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 493);
}

#[test]
fn machines_get_the_steps_with_their_locks() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "month", "--months", "0"]).success();
    let ensure = ["partitions", "ensure", "--months", "2", "--dry-run", "--output", "json"];
    let plan = db.pupctl(ensure).success().json();
    assert_eq!((&plan["dry_run"], &plan["changed"]), (&true.into(), &true.into()));
    assert_eq!(plan["partitions"].as_array().map(Vec::len), Some(2));
    let statements = plan["steps"][0]["statements"].as_array().expect("statements");
    let lock = &statements[0]["locks"][0];
    assert_eq!(lock["mode"], "SHARE_UPDATE_EXCLUSIVE");
    assert_eq!(lock["on"]["name"], "events");
}
