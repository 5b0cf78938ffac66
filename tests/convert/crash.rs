//! The server ends in the middle, as in a crash; when it is there again, the same command goes on.

use std::process::Command;
use std::time::Duration;

use crate::support::{TestDatabase, TestServer, eventually};
use crate::{
    Kind, append, assert_checked, assert_nothing_left, assert_same, assert_sound, convert, line,
    phase, rows, store_on, to,
};

/// Kills the server, all of it, and starts it again.
fn crash(server: &TestServer) {
    let folder: String =
        server.client().query_one("SHOW data_directory", &[]).expect("a folder").get(0);
    let file = format!("{folder}/postmaster.pid");
    let pid = std::fs::read_to_string(&file).expect("its process");
    let pid = pid.lines().next().expect("a number").trim().to_owned();
    let kill = |signal: &str| Command::new("kill").args(["-s", signal, &pid]).output();
    // Its children notice that it is gone, and end too.
    assert!(kill("KILL").expect("the program kill").status.success());
    eventually("the server has ended", || !kill("0").expect("kill").status.success());
    std::thread::sleep(Duration::from_millis(500));
    eventually("the server takes sessions again", || {
        server.embedded().start().is_ok()
            && postgres::Client::connect(server.url(), postgres::NoTls).is_ok()
    });
}

/// Runs a verb that is stopped at a point, and crashes the server there.
fn crash_at(server: &TestServer, db: &TestDatabase, words: &[&str], point: &str) {
    let before = rows(db);
    // What was not waited for goes with a crash, and so do positions.
    db.execute("CHECKPOINT");
    let mut run = db.command(line(words)).hold_at(point).spawn();
    run.reached();
    crash(server);
    let run = run.wait();
    let place = format!("{words:?} at {point}");
    assert!([Some(0), Some(1)].contains(&run.code), "{place} {run}");
    assert!(!run.stderr.contains("panicked"), "{place} {run}");
    assert_same(&before, &rows(db), &format!("{place}\n{run}"));
    assert_sound(db, &place);
}

#[test]
fn a_conversion_survives_crashes_of_the_server() {
    // As servers are: what is committed stays.
    let server = TestServer::private(&[("fsync", "on")]);
    let db = store_on(&server, Kind::Pupctl);
    let before = rows(&db);
    for point in ["convert::built", "convert::before_range", "convert::copied", "convert::joined"] {
        crash_at(&server, &db, &to("start", "context,month"), point);
    }
    append(&db, "Billing", "o-1", 2, 0);
    assert_ne!(phase(&db), "none");
    convert(&db, &to("start", "context,month")).success();
    for point in ["convert::tail_copied", "convert::before_swap", "convert::swapped"] {
        append(&db, "Billing", "o-2", 1, 0);
        crash_at(&server, &db, &["swap"], point);
    }
    convert(&db, &["swap"]).success();
    assert_checked(&db);
    for point in ["convert::tail_copied", "convert::before_swap", "convert::swapped"] {
        append(&db, "Billing", "o-2", 1, 0);
        crash_at(&server, &db, &["rollback"], point);
    }
    convert(&db, &["rollback"]).success();
    assert_nothing_left(&db, "rollback");
    assert_eq!(rows(&db).len(), before.len() + 2 + 6);
    convert(&db, &to("run", "hash")).success();
    crash_at(&server, &db, &["finish"], "convert::proven");
    convert(&db, &["finish"]).success();
    assert_checked(&db);
    assert_nothing_left(&db, "finish");
}
