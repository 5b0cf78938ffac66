//! Indexes that are built anew.

use crate::support::{TestDatabase, eventually};
use crate::{BUILDS_WAIT, TYPE, TYPE_INDEX, by_month, invalid, open_writer, whole};

fn reindex(db: &TestDatabase, arguments: &[&str]) -> String {
    db.pupctl(["schema", "index", "reindex"].iter().chain(arguments)).success().stderr
}

/// The files of the parts of an index.
fn files(db: &TestDatabase) -> Vec<String> {
    db.texts(&format!(
        "SELECT relfilenode::text FROM pg_catalog.pg_class
         JOIN pg_catalog.pg_inherits ON inhrelid = pg_class.oid
         WHERE inhparent = 'public.{TYPE_INDEX}'::regclass ORDER BY relname"
    ))
}

#[test]
fn every_leaf_has_a_new_one_each_time() {
    let db = by_month();
    db.pupctl(TYPE).success();
    let (dump, before) = (db.dump(), files(&db));
    assert!(reindex(&db, &[TYPE_INDEX]).contains("2 rebuilt"));
    let once = files(&db);
    assert!(before.iter().all(|file| !once.contains(file)), "{before:?} {once:?}");
    assert!(reindex(&db, &[TYPE_INDEX]).contains("2 rebuilt"));
    assert_eq!(db.dump(), dump);
    // A key is an index too.
    assert!(
        reindex(&db, &[&format!("events_{}_pkey", db.month(0).replace('-', "_"))])
            .contains("1 rebuilt")
    );
    assert_eq!(db.dump(), dump);
}

#[test]
fn two_at_once_work_one_after_the_other() {
    let db = by_month();
    db.pupctl(TYPE).success();
    let dump = db.dump();
    let command = ["schema", "index", "reindex", TYPE_INDEX, "--wait", "60s"];
    let runs: Vec<_> = (0..3).map(|_| db.command(command).spawn()).collect();
    for run in runs {
        let _ = run.wait().success();
    }
    assert_eq!(db.dump(), dump);
}

#[test]
fn what_an_interrupted_run_left_is_cleaned_up() {
    let db = by_month();
    db.pupctl(TYPE).success();
    let dump = db.dump();
    let mut writer = open_writer(&db);
    let run = db.command(["schema", "index", "reindex", TYPE_INDEX]).spawn();
    eventually("the rebuild waits", || db.one::<i64>(BUILDS_WAIT) == 1);
    // SIGINT ends it with 130, and leaves the new one half built.
    run.signal("INT");
    let _ = run.wait().failure(130);
    writer.batch_execute("ROLLBACK").expect("the end");
    let left = invalid(&db);
    assert!(left.len() == 1 && left[0].contains("_ccnew"), "{left:?}");
    assert!(reindex(&db, &["--all-invalid"]).contains("1 dropped"));
    assert_eq!(db.dump(), dump);
    assert!(reindex(&db, &["--all-invalid"]).contains("Nothing to do"));
}

#[test]
fn an_index_that_lacks_leaves_is_finished() {
    let db = by_month();
    db.execute("CREATE INDEX half ON ONLY events (trace_id)");
    assert_eq!(invalid(&db), ["public.half"]);
    let dry = db.pupctl(["schema", "index", "reindex", "--all-invalid", "--dry-run"]).success();
    assert!(dry.stdout.contains("CREATE INDEX CONCURRENTLY"), "{dry}");
    reindex(&db, &["--all-invalid"]);
    assert!(whole(&db, "half", "public.events"));

    // All of its leaves have it, but the one that lacked it went away.
    let [first, last] = [0, 1].map(|ahead| format!("events_{}", db.month(ahead).replace('-', "_")));
    db.execute(&format!(
        "CREATE INDEX late ON ONLY events (causation_id);
         CREATE INDEX late_first ON {first} (causation_id);
         ALTER INDEX late ATTACH PARTITION late_first;
         ALTER TABLE events DETACH PARTITION {last}"
    ));
    assert_eq!(invalid(&db), ["public.late"]);
    reindex(&db, &["late"]);
}
