//! Writers, readers and other pupctls while an index is built.

use std::time::Duration;

use crate::support::eventually;
use crate::{BUILDS_WAIT, TYPE, TYPE_INDEX, by_month, invalid, whole};

#[test]
fn one_of_many_builds_it_and_the_others_find_it() {
    let db = by_month();
    let runs: Vec<_> =
        (0..4).map(|_| db.command(TYPE.iter().chain(&["--wait", "60s"])).spawn()).collect();
    let outputs: Vec<_> = runs.into_iter().map(|run| run.wait().success()).collect();
    let count = |words| outputs.iter().filter(|output| output.stderr.contains(words)).count();
    assert_eq!((count("Done:"), count("Nothing to do")), (1, 3), "{outputs:?}");
    assert!(whole(&db, TYPE_INDEX, "public.events"));
    assert_eq!(db.journal(), ["schema init: done", "schema index add: done"]);
}

#[test]
fn a_writer_is_waited_for_without_a_limit_and_named_while_others_write() {
    let db = by_month();
    // Of the leaf alone: a writer of the parent holds up the parent's index, which is another
    // matter.
    let leaf = format!("events_{}", db.month(0).replace('-', "_"));
    let mut writer = db.client();
    writer
        .batch_execute(&format!("BEGIN; LOCK TABLE {leaf} IN ROW EXCLUSIVE MODE"))
        .expect("a writer of the leaf");
    let run = db.command(TYPE.iter().chain(&["--lock-budget", "300ms"])).spawn();
    eventually("the build waits", || db.one::<i64>(BUILDS_WAIT) == 1);
    std::thread::sleep(Duration::from_millis(1500));
    let mut other = open_writer_of(&db, "D");
    other.batch_execute("COMMIT").expect("a writer is not kept waiting");
    let busy = db.pupctl(["partitions", "ensure", "--months", "2"]).failure(4);
    assert!(busy.stderr.contains("another pupctl works on the store"), "{busy}");
    let pid: i32 = db.one(&format!(
        "SELECT pid FROM pg_locks WHERE relation = '{leaf}'::regclass AND mode = 'RowExclusiveLock'
         AND granted LIMIT 1"
    ));
    writer.batch_execute("COMMIT").expect("a commit");
    let done = run.wait().success();
    assert!(done.stderr.contains(&format!("Waiting for process {pid} (")), "{done}");
    assert!(whole(&db, TYPE_INDEX, "public.events"));
}

fn open_writer_of(db: &crate::support::TestDatabase, aggregate: &str) -> postgres::Client {
    let mut client = db.client();
    client
        .batch_execute(&format!(
            "SET lock_timeout = '2s'; BEGIN; INSERT INTO events (bounded_context, aggregate_type,
                aggregate_id, aggregate_version, event_id, event_type, payload)
             VALUES ('A', 'B', '{aggregate}', 1, gen_random_uuid(), 'x', '')"
        ))
        .expect("an open transaction");
    client
}

#[test]
fn a_build_that_the_server_ended_is_dropped_and_made_again() {
    let db = by_month();
    let leaf = format!("events_{}", db.month(0).replace('-', "_"));
    let mut writer = db.client();
    writer
        .batch_execute(&format!("BEGIN; LOCK TABLE {leaf} IN ROW EXCLUSIVE MODE"))
        .expect("a writer of the leaf");
    let run = db.command(TYPE).spawn();
    eventually("the build waits", || db.one::<i64>(BUILDS_WAIT) == 1);
    db.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND query ~ '^CREATE INDEX CONCURRENTLY'",
    );
    let failed = run.wait().failure(1);
    assert!(failed.stderr.contains("the session ended during the step"), "{failed}");
    let half =
        [format!("public.{leaf}_event_type_global_position_idx"), format!("public.{TYPE_INDEX}")];
    assert_eq!(invalid(&db), half);
    // A month that is made now takes the index over, though the parent's is not valid yet.
    db.pupctl(["partitions", "ensure", "--months", "2", "--wait", "60s"]).success();
    writer.batch_execute("COMMIT").expect("a commit");
    let done = db.pupctl(TYPE).success();
    assert!(done.stderr.contains("2 built, 2 attached, 1 dropped"), "{done}");
    assert!(whole(&db, TYPE_INDEX, "public.events"));
    assert_eq!(db.leaves("public.events").len(), 3);
}
