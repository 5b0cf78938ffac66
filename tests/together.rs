//! Several pupctl on one store: one works, the others wait or say who does.

mod support;

use support::{Background, TestDatabase, eventually};

fn count(outputs: &[support::Output], words: &str) -> usize {
    outputs.iter().filter(|output| output.stderr.contains(words)).count()
}

/// Starts the command so many times at once; one does the work, the others find it done.
fn race(db: &TestDatabase, number: usize, command: &[&str]) {
    let started: Vec<Background> =
        (0..number).map(|_| db.command(command.iter().chain(&["--wait", "60s"])).spawn()).collect();
    let outputs: Vec<_> = started.into_iter().map(|run| run.wait().success()).collect();
    assert_eq!(count(&outputs, "Done:"), 1, "{outputs:?}");
    assert_eq!(count(&outputs, "Nothing to do"), number - 1, "{outputs:?}");
}

#[test]
fn one_of_many_makes_the_store_and_the_others_find_it() {
    let alone = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "context,month", "--contexts", "A,B"];
    let ensure = ["partitions", "ensure", "--months", "6"];
    alone.pupctl(init).success();
    alone.pupctl(ensure).success();
    for number in [2, 8] {
        let db = TestDatabase::new();
        race(&db, number, &init);
        race(&db, number, &ensure);
        assert_eq!(db.dump(), alone.dump());
        assert_eq!(db.journal(), ["schema init: done", "partitions ensure: done"]);
        let applied =
            "SELECT count(*) || ' of ' || count(DISTINCT version) FROM pupctl_schema_history";
        assert_eq!(db.one::<String>(applied), "4 of 4");
    }
}

#[test]
fn one_of_many_imports_a_file_and_the_others_find_it() {
    let excerpt = format!("{}/tests/data/git-history-500.ndjson", env!("CARGO_MANIFEST_DIR"));
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "month", "--months", "0"]).success();
    race(&db, 4, &["events", "import", &excerpt, "--create-partitions", "--skip-existing"]);
    assert_eq!(db.journal(), ["schema init: done", "events import: done"]);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 493);
    let heads = "SELECT sum(aggregate_version)::bigint FROM aggregate_heads";
    assert_eq!(db.one::<i64>(heads), 493, "heads end at the number of their events");
}

#[test]
fn the_second_names_the_first_and_ends_with_4() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "month", "--months", "0"]).success();
    // A session that holds the table keeps the first run busy under the lock of the store.
    let mut holder = db.client();
    holder.batch_execute("BEGIN; LOCK TABLE events IN SHARE MODE").expect("a lock");
    let first = db.command(["partitions", "ensure", "--months", "1"]).spawn();
    let waiting = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE NOT granted AND relation = 'events'::regclass AND datname = current_database()";
    eventually("the first waits for the table", || db.one::<i64>(waiting) == 1);

    let busy = db.pupctl(["partitions", "ensure", "--months", "1"]).failure(4);
    assert!(busy.stderr.contains("another pupctl works on the store in schema public"), "{busy}");
    let pid: i32 = db.one(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    );
    assert!(busy.stderr.contains(&format!("held by process {pid} (")), "{busy}");
    assert!(busy.stderr.contains("--wait 60s"), "{busy}");
    // Looking and asking need no lock.
    db.pupctl(["partitions", "list"]).success();
    db.pupctl(["partitions", "check"]).success();
    db.pupctl(["partitions", "ensure", "--months", "1", "--dry-run"]).success();

    holder.batch_execute("COMMIT").expect("a commit");
    let first = first.wait().success();
    assert!(first.stderr.contains("Done:"), "{first}");
}

#[test]
fn stores_in_two_schemas_are_not_in_each_others_way() {
    let db = TestDatabase::new();
    for schema in ["first", "second"] {
        let init = ["schema", "init", "--partition-by", "month", "--months", "0"];
        db.pupctl(init.iter().chain(&["--schema", schema])).success();
    }
    let mut holder = db.client();
    holder.batch_execute("BEGIN; LOCK TABLE first.events IN SHARE MODE").expect("a lock");
    let first = ["partitions", "ensure", "--schema", "first", "--months", "1"];
    let first = db.command(first).spawn();
    let waiting =
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'first.events'::regclass";
    eventually("the first waits for the table", || db.one::<i64>(waiting) == 1);
    let second = ["partitions", "ensure", "--schema", "second", "--months", "1"];
    db.pupctl(second).success();
    holder.batch_execute("COMMIT").expect("a commit");
    let first = first.wait().success();
    assert!(first.stderr.contains("Done:"), "{first}");
}
