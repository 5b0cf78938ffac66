//! Who reads with an older snapshot while an old table that was attached stands by itself again.

use crate::attach::{attached, codes};
use crate::support::TestDatabase;
use crate::{
    Kind, append, assert_nothing_left, assert_same, assert_sound, convert, line, phase, rows,
};

/// A transaction that has read another table, and keeps what it has seen.
fn reader(db: &TestDatabase) -> postgres::Client {
    let mut reader = db.client();
    reader
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
        .expect("a snapshot");
    reader
}

fn count(client: &mut postgres::Client) -> i64 {
    client.query_one("SELECT count(*) FROM events", &[]).expect("a count").get(0)
}

#[test]
fn what_moves_back_is_not_hidden_from_older_readers() {
    let db = attached(Kind::Pupctl, "month");
    // In another partition than the old table.
    append(&db, "Billing", "o-1", 1, 2);
    let before = rows(&db);
    let mut reader = reader(&db);
    let run = db.command(line(&["rollback"])).args(["--lock-budget", "2s"]).run().failure(5);
    assert!(run.stderr.contains("others have read for longer than 2s"), "{run}");
    assert!(run.stderr.contains("idle in transaction"), "{run}");
    assert_eq!(count(&mut reader), 3361);
    reader.batch_execute("COMMIT").expect("the end");
    assert_eq!(phase(&db), "swapped");
    assert_same(&before, &rows(&db), "held up");
    convert(&db, &["rollback"]).success();
    assert_same(&before, &rows(&db), "rollback");
    assert_sound(&db, "rollback");
    assert_nothing_left(&db, "rollback");
    assert!(!codes(&db).iter().any(|code| code.starts_with("error")), "{:?}", codes(&db));
}

/// One that begins between two tries is seen as well: after the rows have moved.
#[test]
fn a_reader_that_comes_while_rows_move_is_waited_for() {
    let db = attached(Kind::Pupctl, "month");
    append(&db, "Billing", "o-1", 1, 2);
    let command = db.command(line(&["rollback"])).args(["--lock-budget", "5s"]);
    let mut run = command.hold_at("convert::tail_copied").spawn();
    run.reached();
    let mut reader = reader(&db);
    let run = run.wait().failure(5);
    assert!(run.stderr.contains("idle in transaction"), "{run}");
    assert_eq!(count(&mut reader), 3361);
    reader.batch_execute("COMMIT").expect("the end");
    convert(&db, &["rollback"]).success();
}

#[test]
fn where_nothing_moves_nobody_is_waited_for() {
    let db = attached(Kind::Pupctl, "month");
    append(&db, "Billing", "o-1", 1, 0);
    let mut reader = reader(&db);
    let run = db.command(line(&["rollback"])).args(["--lock-budget", "5s"]).run().success();
    assert_eq!(count(&mut reader), 3361, "{run}");
}
