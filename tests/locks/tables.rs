//! Readers, writers and other sessions that hold locks on the tables.

use insta::assert_snapshot;

use super::{insert, leaves, months, plain, waiting};
use crate::support::{TestDatabase, eventually, fingerprint};

const ENSURE: [&str; 4] = ["partitions", "ensure", "--months", "3"];

/// As [`months`], with a DEFAULT partition, which an attach locks against everybody.
fn months_and_default() -> TestDatabase {
    let db = months();
    db.execute("CREATE TABLE events_rest PARTITION OF events DEFAULT");
    db
}

#[test]
fn a_reader_in_an_open_transaction_holds_nothing_up() {
    let db = months();
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT * FROM events").expect("it reads");
    let output = db.pupctl(ENSURE).success();
    assert!(!output.stderr.contains("Waiting for locks"), "{output}");
    assert_eq!(leaves(&db), 4);
    reader.batch_execute("SELECT * FROM events; COMMIT").expect("it reads on");
}

#[test]
fn a_writer_in_an_open_transaction_holds_nothing_up() {
    let db = months();
    let mut writer = db.client();
    writer.batch_execute("BEGIN").expect("it begins");
    insert(&mut writer);
    let output = db.pupctl(ENSURE).success();
    assert!(!output.stderr.contains("Waiting for locks"), "{output}");
    insert(&mut writer);
    writer.batch_execute("COMMIT").expect("it commits");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 3);
}

#[test]
fn a_reader_of_the_default_partition_is_named_when_the_budget_is_used_up() {
    let db = months_and_default();
    let mut reader = db.client();
    let begin = "SET application_name = 'reports'; BEGIN; SELECT * FROM events_rest";
    reader.batch_execute(begin).expect("it reads");
    let pid: i32 = reader.query_one("SELECT pg_backend_pid()", &[]).expect("a pid").get(0);
    let before = without_journal(&db);

    let output = db.command(ENSURE).args(["--lock-budget", "2s"]).run().failure(5);
    assert!(output.stderr.contains(&format!("process {pid} ")), "{output}");
    let _plain = plain();
    assert_snapshot!(output.stderr, @r#"
    Waiting for locks: Make 2 partitions, events_[month] to events_[month]
      process [pid] (postgres, reports, idle in transaction) holds AccessShareLock on public.events_rest since [time]
    error: the step "Make 2 partitions, events_[month] to events_[month]" did not get its locks within 2s
      process [pid] (postgres, reports, idle in transaction) holds AccessShareLock on public.events_rest since [time]
    hint: nothing of this step was changed: run the command again when these sessions are done, or give it more time with --lock-budget
    "#);
    assert_eq!(without_journal(&db), before, "it changed something");
    assert_eq!(super::journal(&db), "schema init done\npartitions ensure failed");

    reader.batch_execute("COMMIT").expect("it ends");
    db.pupctl(ENSURE).success();
    assert_eq!(leaves(&db), 5);
}

/// The database without the journal, which tells of failures too.
fn without_journal(db: &TestDatabase) -> String {
    let all = fingerprint(&mut db.client());
    let is_other = |line: &&str| !line.starts_with("public.pupctl_operations");
    all.lines().filter(is_other).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_reader_that_ends_within_the_budget_is_waited_for() {
    let db = months_and_default();
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT * FROM events_rest").expect("it reads");
    let ensure = db.command(ENSURE).args(["--lock-budget", "60s"]).spawn();
    waiting(&db);
    reader.batch_execute("COMMIT").expect("it ends");
    let output = ensure.wait().success();
    assert_eq!(leaves(&db), 5, "{output}");
}

#[test]
fn an_explicit_lock_on_the_parent_is_named() {
    let db = months();
    let mut holder = db.client();
    let lock = "SET application_name = 'backup'; BEGIN; LOCK TABLE events IN SHARE MODE";
    holder.batch_execute(lock).expect("the lock");
    let output = db.command(ENSURE).args(["--lock-budget", "2s", "-o", "json"]).run().failure(5);
    let error = &output.json()["error"];
    let line = error["details"][0].as_str().expect("a line");
    assert!(line.contains("backup"), "{output}");
    assert!(line.contains("idle in transaction) holds ShareLock on public.events "), "{output}");
    assert_eq!(error["kind"], "LockTimeout");
    assert_eq!(leaves(&db), 2);
    // A reader got in while pupctl waited: it queues nobody behind itself for long.
    db.execute("SELECT * FROM events");
    holder.batch_execute("COMMIT").expect("it ends");
    db.pupctl(ENSURE).success();
    assert_eq!(leaves(&db), 4);
}

#[test]
fn no_lock_on_what_others_use_is_stronger_than_share_update_exclusive() {
    let db = months();
    let mut client = db.client();
    let live = "SELECT array_agg(relid::oid) FROM pg_partition_tree('events')";
    let live: Vec<u32> = client.query_one(live, &[]).expect("the tree").get(0);
    // The statements of a step are one message: when the session is idle, all are done.
    let ensure = ["partitions", "ensure", "--months", "2"];
    let held = db.command(ensure).failpoints("execute::before_commit=pause").spawn();
    let attached = "SELECT pid FROM pg_stat_activity
        WHERE application_name = 'pupctl/partitions ensure' AND datname = current_database()
            AND state = 'idle in transaction' AND query LIKE '%ATTACH PARTITION%'";
    let mut pid: Option<i32> = None;
    eventually("the new partition is attached, but not committed", || {
        pid = client.query_opt(attached, &[]).expect("the sessions").map(|row| row.get(0));
        pid.is_some()
    });
    let locks = "SELECT array_agg(relation::regclass || ' ' || mode ORDER BY 1) FROM (
            SELECT relation, mode FROM pg_locks
            WHERE locktype = 'relation' AND pid = $1 AND relation = ANY ($2)
            ORDER BY relation::regclass::text, mode) AS locks";
    let locks: Vec<String> = client.query_one(locks, &[&pid, &live]).expect("the locks").get(0);
    let strong = locks.iter().filter(|lock| {
        !lock.ends_with(" AccessShareLock") && !lock.ends_with(" ShareUpdateExclusiveLock")
    });
    assert_eq!(strong.collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(locks.contains(&"events ShareUpdateExclusiveLock".to_owned()), "{locks:?}");
    // Readers and writers of the live tables come through while pupctl stands there.
    client.batch_execute("SET lock_timeout = '5s'; SELECT * FROM events").expect("a reader");
    insert(&mut client);
    let _ = held.kill().killed();
    assert_eq!(leaves(&db), 2, "what was not committed is there");
}

#[test]
fn a_worker_in_an_open_transaction_keeps_the_columns_of_checkpoints_away_and_nobody_else() {
    let db = months();
    db.execute(
        "ALTER TABLE projection_checkpoints DROP COLUMN projection;
         DROP TABLE projection_dead_letters;
         DELETE FROM pupctl_history WHERE version >= 4;
         INSERT INTO projection_checkpoints VALUES ('orders_p0', 0), ('orders_p1', 0)",
    );
    let mut worker = db.client();
    let batch = "SET application_name = 'pupsourcing'; BEGIN;
        SELECT last_global_position FROM projection_checkpoints
        WHERE projection_name = 'orders_p0' FOR UPDATE";
    worker.batch_execute(batch).expect("a batch");
    let mut ensure = db.command(ENSURE).args(["--lock-budget", "3s"]).spawn();
    // The others move on meanwhile, however often it tries.
    let mut other = db.client();
    let (mut moves, mut slowest) = (0, std::time::Duration::ZERO);
    while ensure.is_running() {
        let start = std::time::Instant::now();
        other
            .batch_execute(
                "SET lock_timeout = '2s';
                 UPDATE projection_checkpoints SET last_global_position = last_global_position + 1
                 WHERE projection_name = 'orders_p1'",
            )
            .expect("a checkpoint moves");
        slowest = slowest.max(start.elapsed());
        moves += 1;
    }
    let output = ensure.wait().failure(5);
    assert!(moves > 20 && slowest.as_millis() < 1000, "{moves} moves, {slowest:?}");
    let step = "the step \"Extend the checkpoints, and make the list of dead letters\" did not";
    assert!(output.stderr.contains(step), "{output}");
    let who =
        "pupsourcing, idle in transaction) holds RowShareLock on public.projection_checkpoint";
    assert!(output.stderr.contains(who), "{output}");
    assert_eq!(leaves(&db), 2);
    assert!(db.one::<bool>("SELECT to_regclass('projection_dead_letters') IS NULL"));
    worker.batch_execute("COMMIT").expect("it ends");
    db.pupctl(ENSURE).success();
    assert_eq!(db.one::<i64>("SELECT count(*) FROM projection_dead_letters"), 0);
    assert_eq!(leaves(&db), 4);
}
