//! Two pupctls on one store.

use insta::assert_snapshot;

use super::{has_store_lock, leaves, months, plain};

const ENSURE: [&str; 4] = ["partitions", "ensure", "--months", "3"];

#[test]
fn the_second_one_is_turned_away_and_told_who_is_at_work() {
    let db = months();
    let first = db.command(ENSURE).failpoints("lock::taken=pause").spawn();
    has_store_lock(&db);
    let second = db.pupctl(["schema", "init"]).failure(4);
    assert_eq!(second.stdout, "");
    let _plain = plain();
    assert_snapshot!(second.stderr, @"
    error: another pupctl works on the store in schema public
      held by process [pid] (pupctl/partitions ensure, user postgres, connected since [time])
    hint: wait for it: --wait 60s
    ");
    let json = db.pupctl(["contexts", "add", "A", "-o", "json"]).failure(4).json();
    assert_eq!(json["error"]["kind"], "Busy");
    // Whoever only reads, or only plans, does not mind.
    db.pupctl(["partitions", "list"]).success();
    db.command(ENSURE).args(["--dry-run"]).run().success();
    let _ = first.kill().killed();
}

#[test]
fn another_store_of_the_database_is_free() {
    let db = months();
    let first = db.command(ENSURE).failpoints("lock::taken=pause").spawn();
    has_store_lock(&db);
    db.pupctl(["schema", "init", "--schema", "other", "--partition-by", "none"]).success();
    let _ = first.kill().killed();
}

#[test]
fn the_second_one_waits_when_it_is_told_to() {
    let db = months();
    let first = db.command(ENSURE).failpoints("lock::taken=pause").spawn();
    has_store_lock(&db);
    let mut second = db.command(ENSURE).args(["--wait", "60s"]).spawn();
    tries(&db, &mut second);
    let _ = first.kill().killed();
    let second = second.wait().success();
    assert!(second.stderr.contains("another pupctl works on the store"), "{second}");
    assert_eq!(leaves(&db), 4, "{second}");
}

#[test]
fn waiting_has_an_end() {
    let db = months();
    let first = db.command(ENSURE).failpoints("lock::taken=pause").spawn();
    has_store_lock(&db);
    let second = db.command(ENSURE).args(["--wait", "300ms"]).run().failure(4);
    assert!(second.stderr.contains("hint: wait longer with --wait"), "{second}");
    let _ = first.kill().killed();
}

#[test]
fn waiting_can_be_interrupted() {
    let db = months();
    let first = db.command(ENSURE).failpoints("lock::taken=pause").spawn();
    has_store_lock(&db);
    for signal in ["INT", "TERM"] {
        let mut second = db.command(ENSURE).args(["--wait", "10m"]).spawn();
        tries(&db, &mut second);
        second.signal(signal);
        let second = second.wait().failure(130);
        assert!(second.stderr.contains("error: interrupted"), "{second}");
    }
    let _ = first.kill().killed();
    assert_eq!(leaves(&db), 2);
}

/// Waits until another session polls for the lock of the store.
fn tries(db: &crate::support::TestDatabase, second: &mut crate::support::Background) {
    let sql = "SELECT count(*) FROM pg_stat_activity AS activity
        WHERE datname = current_database() AND application_name LIKE 'pupctl/%'
            AND query LIKE '%pg_try_advisory_lock%'
            AND NOT EXISTS (SELECT FROM pg_locks
                WHERE pid = activity.pid AND locktype = 'advisory' AND granted)";
    let mut client = db.client();
    crate::support::eventually("the second one tries", || {
        assert!(second.is_running(), "it did not wait");
        client.query_one(sql, &[]).expect("the sessions").get::<_, i64>(0) == 1
    });
}
