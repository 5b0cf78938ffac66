//! The end of an index.

use crate::support::eventually;
use crate::{TYPE, TYPE_INDEX, by_month, store};

const DROP: [&str; 4] = ["schema", "index", "drop", TYPE_INDEX];

#[test]
fn it_asks_first_and_a_second_run_finds_it_gone() {
    for layout in ["none", "month", "context,month"] {
        let db = store(&["--partition-by", layout, "--months", "1"]);
        let before = db.dump();
        db.pupctl(TYPE).success();
        let asked = db.pupctl(DROP).failure(2);
        assert!(asked.stderr.contains("--yes"), "{asked}");
        let dry = db.pupctl(DROP.iter().chain(&["--dry-run"])).success();
        let lock = if layout == "none" { "SHARE UPDATE EXCLUSIVE" } else { "ACCESS EXCLUSIVE" };
        assert!(dry.stdout.contains(&format!("-- Lock: {lock} on public.events.")), "{dry}");
        let done = db.pupctl(DROP.iter().chain(&["--yes"])).success();
        assert!(done.stderr.contains("Done:"), "{done}");
        assert_eq!(db.dump(), before);
        let again = db.pupctl(DROP.iter().chain(&["--yes"])).success();
        assert!(again.stderr.contains("Nothing to do"), "{again}");
    }
}

#[test]
fn one_of_many_drops_it() {
    let db = by_month();
    db.pupctl(TYPE).success();
    let runs: Vec<_> = (0..4)
        .map(|_| db.command(DROP.iter().chain(&["--yes", "--wait", "60s"])).spawn())
        .collect();
    let outputs: Vec<_> = runs.into_iter().map(|run| run.wait().success()).collect();
    let done = outputs.iter().filter(|output| output.stderr.contains("Done:")).count();
    assert_eq!(done, 1, "{outputs:?}");
}

#[test]
fn a_reader_that_does_not_end_is_named_and_nothing_is_dropped() {
    let db = by_month();
    db.pupctl(TYPE).success();
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT count(*) FROM events").expect("a reader");
    let before = db.dump();
    let blocked = DROP.iter().chain(&["--yes", "--lock-budget", "300ms"]);
    let output = db.pupctl(blocked).failure(5);
    assert!(output.stderr.contains("holds AccessShareLock on public.events"), "{output}");
    assert_eq!(db.dump(), before);
}

#[test]
fn without_partitions_it_waits_for_readers_and_says_for_whom() {
    let db = store(&["--partition-by", "none"]);
    db.pupctl(TYPE).success();
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT count(*) FROM events").expect("a reader");
    let run = db.command(DROP.iter().chain(&["--yes"])).spawn();
    eventually("the drop waits", || db.one::<i64>(crate::BUILDS_WAIT) == 1);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    reader.batch_execute("COMMIT").expect("a commit");
    let done = run.wait().success();
    assert!(done.stderr.contains("Waiting for process"), "{done}");
}
