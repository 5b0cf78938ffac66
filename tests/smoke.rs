//! The short way through, for every version of the server: each layout made, enlarged, listed and
//! checked; a dry run through psql; appends; the ladder; a detach that is finished.

mod support;

use support::{Append, TestDatabase};

#[test]
fn every_layout_is_made_enlarged_and_sound() {
    let major = TestDatabase::new().one::<String>("SHOW server_version");
    for layout in
        ["none", "context", "hash", "month", "context,hash", "context,month", "hash,month"]
    {
        let [db, by_psql] = [TestDatabase::new(), TestDatabase::new()];
        let mut init = vec!["schema", "init", "--partition-by", layout, "--contexts", "Identity"];
        if layout.contains("hash") {
            init.extend(["--hash-partitions", "2"]);
        }
        let from = db.month(-2);
        let ensure = ["partitions", "ensure", "--from", &from, "--months", "4"];
        for command in [&init[..], &["contexts", "add", "Billing"], &ensure] {
            let script = by_psql.pupctl(command.iter().chain(&["--dry-run"])).success().stdout;
            std::fs::write(by_psql.folder().join("script.sql"), script).expect("a script");
            by_psql.psql(["-f", "script.sql"]).success();
            db.pupctl(command).success();
            let again = db.pupctl(command).success();
            assert!(again.stderr.contains("Nothing to do"), "{layout} on {major}: {again}");
        }
        assert_eq!(by_psql.dump(), db.dump(), "{layout} on {major}");
        let created_at = format!("{}-03T04:05:06Z", db.month(0));
        let event =
            Append { context: "Billing", id: "1", head: None, events: 2, created_at: &created_at };
        event.run(&mut db.client()).expect("two events");
        Append { head: Some(1), ..event }.run(&mut db.client()).expect_err("a version twice");
        let check = db.pupctl(["partitions", "check", "--exit-code"]).success();
        assert_eq!(check.stdout, "", "{layout} on {major}: {check}");
        let listed = db.pupctl(["partitions", "list", "-o", "json"]).success().json();
        let leaves = i64::try_from(db.leaves("public.events").len()).expect("a number");
        assert_eq!(listed["totals"][0]["leaves"], leaves, "{layout} on {major}");
        db.pupctl(["schema", "status"]).success();
    }
}

#[test]
fn real_history_is_imported_into_every_layout() {
    let excerpt = format!("{}/tests/data/git-history-500.ndjson", env!("CARGO_MANIFEST_DIR"));
    for layout in
        ["none", "context", "hash", "month", "context,hash", "context,month", "hash,month"]
    {
        let db = TestDatabase::new();
        let init = ["schema", "init", "--partition-by", layout, "--months", "0"];
        let hash: &[&str] = if layout.contains("hash") { &["--hash-partitions", "2"] } else { &[] };
        db.pupctl(init.iter().chain(hash)).success();
        let import = ["events", "import", &excerpt, "--create-partitions"];
        let report = db.pupctl(import.iter().chain(&["-o", "json"])).success().json();
        assert_eq!((&report["imported"], &report["heads"]), (&493.into(), &146.into()), "{layout}");
        // Each aggregate of the file begins with its first version, and has no holes.
        let whole = "SELECT count(*) || ' ' || sum(aggregate_version) FROM aggregate_heads";
        assert_eq!(db.one::<String>(whole), "146 493", "{layout}");
        assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 493, "{layout}");
        let again = db.pupctl(import.iter().chain(&["--skip-existing"])).success();
        assert!(again.stderr.contains("Nothing to do"), "{layout}: {again}");
        db.pupctl(["partitions", "check", "--exit-code"]).success();
        let ensure = db.pupctl(["partitions", "ensure"]).success();
        assert!(ensure.stderr.contains("Nothing to do"), "{layout}: {ensure}");
    }
}

#[test]
fn an_interrupted_detach_is_found_and_finished() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "month", "--months", "1"]).success();
    let leaf = format!("events_{}", db.month(1).replace('-', "_"));
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT count(*) FROM events").expect("a reader");
    let mut detaching = db.client();
    detaching.batch_execute("SET lock_timeout = '50ms'").expect("a setting");
    detaching
        .batch_execute(&format!("ALTER TABLE events DETACH PARTITION {leaf} CONCURRENTLY"))
        .expect_err("its second phase waits for the reader");
    reader.batch_execute("COMMIT").expect("a commit");
    let refused = db.pupctl(["partitions", "ensure"]).failure(1);
    let hint = refused.stderr.lines().find_map(|line| line.strip_prefix("hint: "));
    let (_, command) = hint.and_then(|hint| hint.split_once("pupctl ")).expect("a command");
    db.pupctl(command.split(' ')).success();
    db.execute(&format!("DROP TABLE {leaf}"));
    db.pupctl(["partitions", "ensure"]).success();
    db.pupctl(["partitions", "check", "--exit-code"]).success();
}
