//! Whom a detach waits for, before it begins and half way.

use std::time::Duration;

use crate::support::{TestDatabase, eventually, fingerprint};
use crate::{attach, detach, events, leaf, rows, store, verified};

/// Whether pupctl waits for a lock or a transaction, within a detach.
fn waits(db: &TestDatabase) -> bool {
    db.one(
        "SELECT EXISTS (SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND application_name LIKE 'pupctl/%'
                AND query LIKE '%DETACH%CONCURRENTLY%' AND wait_event_type = 'Lock')",
    )
}

fn is_pending(db: &TestDatabase) -> bool {
    db.one("SELECT EXISTS (SELECT FROM pg_inherits WHERE inhdetachpending)")
}

#[test]
fn an_open_transaction_keeps_it_from_beginning() {
    let db = store("month");
    events(&db, "A", -3, 5);
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT count(*) FROM events").expect("a reader");
    let before = fingerprint(&mut db.client());
    let month = db.month(-3);
    let refused = detach(&db, &[&month, "--patience", "1s"]).failure(5);
    assert!(refused.stderr.contains("are still open after 1s"), "{refused}");
    assert!(refused.stderr.contains("process "), "{refused}");
    assert!(refused.stderr.contains("Waiting for process "), "{refused}");
    assert!(!is_pending(&db));
    let after = fingerprint(&mut db.client());
    let others = |text: &str| {
        let is_other = |line: &&str| !line.contains("pupctl_operations");
        text.lines().filter(is_other).map(str::to_owned).collect::<Vec<_>>()
    };
    // The journal says that it was tried.
    assert!(others(&after).len() + 2 >= others(&before).len(), "{after}");
    assert_eq!(rows(&db, "events").len(), 5);

    // It goes ahead as soon as the transaction ends.
    let run = db.command(["partitions", "detach", &month]).spawn();
    std::thread::sleep(Duration::from_millis(700));
    assert!(!is_pending(&db));
    reader.batch_execute("COMMIT").expect("a commit");
    run.wait().success();
}

#[test]
fn transactions_that_come_and_go_do_not() {
    let db = store("month");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // At every moment one of them is older than what is called young.
        for begin in [0, 400] {
            let (db, stop) = (&db, &stop);
            scope.spawn(move || {
                let mut client = db.client();
                std::thread::sleep(Duration::from_millis(begin));
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let read = "BEGIN; SELECT count(*) FROM events; SELECT pg_sleep(0.8); COMMIT";
                    client.batch_execute(read).expect("a reader");
                }
            });
        }
        let done = detach(&db, &[&db.month(-3), "--patience", "3s"]);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        done.success();
    });
}

#[test]
fn interrupted_half_way_it_says_so_and_the_next_run_finishes_it() {
    let db = store("month");
    events(&db, "A", -3, 5);
    let name = leaf(&db, "events", -3);
    let run = db
        .command(["partitions", "detach", &name])
        // Held between the look at the transactions and the detach.
        .failpoints("execute::before_step=1*off->sleep(1500)")
        .spawn();
    eventually("the comment is there", || {
        db.one(
            "SELECT EXISTS (SELECT FROM pg_description WHERE description LIKE 'pupctl: detached%')",
        )
    });
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT count(*) FROM events").expect("a reader");
    eventually("the second phase waits", || waits(&db) && is_pending(&db));
    run.signal("INT");
    let ended = run.wait().failure(130);
    assert!(ended.stderr.contains(&format!("the detach of public.{name} was begun")), "{ended}");
    assert!(ended.stderr.contains("pupctl partitions detach"), "{ended}");
    assert!(is_pending(&db));
    for command in [&["partitions", "ensure"][..], &["partitions", "attach", "nothing"]] {
        let refused = db.pupctl(command).failure(1);
        assert!(refused.stderr.contains("pupctl partitions detach public."), "{refused}");
    }
    reader.batch_execute("COMMIT").expect("a commit");
    let done = detach(&db, &[&name]).success();
    assert!(done.stderr.contains("1 pending detach finished"), "{done}");
    attach(&db, &[&name]).success();
    assert_eq!(rows(&db, "events").len(), 5);
    verified(&db);
}

#[test]
fn at_once_waits_for_a_reader_a_moment_at_a_time() {
    let db = store("month");
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT count(*) FROM events").expect("a reader");
    let month = db.month(-3);
    let refused = detach(&db, &[&month, "--at-once", "--lock-budget", "1s"]).failure(5);
    assert!(refused.stderr.contains("did not get its locks within 1s"), "{refused}");
    reader.batch_execute("COMMIT").expect("a commit");
    detach(&db, &[&month, "--at-once"]).success();
}
