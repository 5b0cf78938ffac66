//! The heads while writers hold some of them, and heads that somebody changes by hand.

use std::time::{Duration, Instant};

use crate::support::{TestDatabase, eventually};
use crate::{
    Kind, append, assert_same, assert_sound, convert, line, phase, rows, small, swapped, to,
};

/// A session that may wait for long.
fn writer(db: &TestDatabase) -> postgres::Client {
    let mut client = db.client();
    client.batch_execute("SET lock_timeout = '20s'").expect("a setting");
    client
}

/// Moves the head of an aggregate as far as it is, by its key.
fn touch(client: &mut postgres::Client, context: &str, id: &str) {
    client
        .execute(
            "UPDATE aggregate_heads SET updated_at = clock_timestamp()
             WHERE bounded_context = $1 AND aggregate_id = $2",
            &[&context, &id],
        )
        .unwrap_or_else(|error| panic!("{context} {id}: {error:?}"));
}

/// How many heads the new table has.
fn copied_heads(db: &TestDatabase) -> i64 {
    db.one("SELECT count(*) FROM aggregate_heads_convert")
}

const LAST: &str = "Quo'te \"d\"";

#[test]
fn a_writer_that_holds_a_head_is_not_waited_for_by_others() {
    let db = small(Kind::Pupctl);
    let words = line(&to("start", "context"));
    let mut run = db.command(words).hold_at_time("convert::advanced", 2).spawn();
    run.reached();
    // The last head first, then the first: in the other order than they are copied.
    let mut slow = writer(&db);
    slow.batch_execute("BEGIN").expect("a transaction");
    touch(&mut slow, LAST, "o-2");
    run.release();
    eventually("heads are copied", || copied_heads(&db) > 0);
    let idle = Instant::now();
    let mut other = writer(&db);
    let mut longest = Duration::ZERO;
    while idle.elapsed() < Duration::from_secs(3) {
        let begun = Instant::now();
        touch(&mut other, "Billing", "o-1");
        longest = longest.max(begun.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    touch(&mut slow, "Billing", "o-1");
    slow.batch_execute("COMMIT").expect("no deadlock");
    assert!(longest < Duration::from_secs(1), "another writer waited {longest:?}");
    run.wait().success();
    let before = rows(&db);
    convert(&db, &["swap"]).success();
    assert_same(&before, &rows(&db), "swap");
}

#[test]
fn a_head_whose_writer_fails_is_copied_by_a_later_pass() {
    let db = small(Kind::Pupctl);
    let words = line(&to("start", "context"));
    let mut run = db.command(words).hold_at_time("convert::advanced", 2).spawn();
    run.reached();
    let mut slow = writer(&db);
    slow.batch_execute("BEGIN").expect("a transaction");
    touch(&mut slow, LAST, "o-2");
    run.release();
    eventually("the others are copied", || copied_heads(&db) > 0);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(phase(&db), "copying");
    slow.batch_execute("ROLLBACK").expect("the end");
    run.wait().success();
    let before = rows(&db);
    convert(&db, &["swap"]).success();
    assert_same(&before, &rows(&db), "swap");
    assert_sound(&db, "swap");
}

#[test]
fn a_head_that_is_held_all_the_time_is_told_with_its_holder() {
    let db = small(Kind::Pupctl);
    let words = [&line(&to("start", "context"))[..], &["--lock-budget", "1500ms"]].concat();
    let mut run = db.command(&words).hold_at_time("convert::advanced", 2).spawn();
    run.reached();
    let mut slow = writer(&db);
    slow.batch_execute("SET application_name = 'sleepy'; BEGIN").expect("a transaction");
    touch(&mut slow, LAST, "o-2");
    let run = run.wait().failure(5);
    assert!(run.stderr.contains("1 heads were not free within 1s 500ms"), "{run}");
    assert!(run.stderr.contains("sleepy, idle in transaction"), "{run}");
    assert!(run.stderr.contains("pupctl convert resume"), "{run}");
    slow.batch_execute("ROLLBACK").expect("the end");
    convert(&db, &["resume"]).success();
    let before = rows(&db);
    convert(&db, &["swap"]).success();
    assert_same(&before, &rows(&db), "swap");
}

#[test]
fn heads_that_were_changed_by_hand_are_not_dropped_by_the_way_back() {
    for (change, words) in [
        (
            "UPDATE aggregate_heads SET aggregate_version = 77 WHERE aggregate_id = 'o-2'
                AND bounded_context = 'Billing'",
            "Billing Order o-2: 28 in the old table, 77 in the new one",
        ),
        (
            "DELETE FROM aggregate_heads WHERE aggregate_id = 'o-2'
                AND bounded_context = 'Billing'",
            "Billing Order o-2: 28 in the old table, none in the new one",
        ),
        (
            "INSERT INTO aggregate_heads VALUES ('Billing', 'Order', 'by hand', 3)",
            "Billing Order by hand: none in the old table, 3 in the new one",
        ),
        (
            "UPDATE aggregate_heads SET updated_at = '2020-01-01' WHERE aggregate_id = 'o-2'
                AND bounded_context = 'Billing'",
            "Billing Order o-2: 28 in both, another column differs",
        ),
    ] {
        let db = swapped(Kind::Pupctl, "context");
        append(&db, "Billing", "o-1", 2, 0);
        append(&db, "Billing", "new one", 2, 0);
        db.execute("CREATE TABLE saved AS SELECT * FROM aggregate_heads");
        db.execute(change);
        let before = rows(&db);
        let run = convert(&db, &["rollback"]).failure(1);
        assert!(run.stderr.contains("1 heads have been changed since the swap"), "{run}");
        assert!(run.stderr.contains(words), "{run}");
        assert!(run.stderr.contains("pupctl convert finish"), "{run}");
        assert_same(&before, &rows(&db), words);
        assert_eq!(phase(&db), "swapped", "{run}");
        // As it was: the way is open.
        db.execute(
            "DELETE FROM aggregate_heads WHERE bounded_context = 'Billing';
             INSERT INTO aggregate_heads SELECT * FROM saved WHERE bounded_context = 'Billing';
             DROP TABLE saved",
        );
        let before = rows(&db);
        convert(&db, &["rollback"]).success();
        assert_same(&before, &rows(&db), words);
        assert_sound(&db, words);
    }
}
