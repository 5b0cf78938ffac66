//! The server ends in the middle, as in a crash; when it is there again, the same command goes on.

use std::process::Command;

use crate::kills::Scenario;
use crate::support::{TestDatabase, TestServer, eventually};
use crate::{archive, checkpoint, events, store_in};

/// Ends the server at once, as `pg_ctl stop -m immediate` does, and starts it again.
fn crash(server: &TestServer) {
    let folder: String =
        server.client().query_one("SHOW data_directory", &[]).expect("a folder").get(0);
    let file = format!("{folder}/postmaster.pid");
    let pid = std::fs::read_to_string(&file).expect("its process");
    let pid = pid.lines().next().expect("a number").trim().to_owned();
    let sent = Command::new("kill").args(["-s", "QUIT", &pid]).status();
    assert!(sent.expect("the program kill").success());
    eventually("the server has ended", || {
        !Command::new("kill").args(["-0", &pid]).output().expect("kill").status.success()
    });
    server.embedded().start().expect("the server again");
}

/// Ends the server at these points, as soon as pupctl is there, and at random moments.
fn crash_everywhere(server: &TestServer, prepared: TestDatabase, command: &[&str], rounds: u32) {
    let scenario = Scenario::new(prepared, command);
    let mut moments = crate::kills::Moments::new();
    for _ in 0..rounds {
        let after = moments.next_within(scenario.takes());
        let place = format!("the server after {after:?}, PUPCTL_TEST_SEED={}", moments.seed);
        let db = scenario.copy();
        // A copied sequence is not in the log beyond what it was: a crash would set it back.
        db.execute("CHECKPOINT");
        let run = db.command(scenario.line()).spawn();
        std::thread::sleep(after);
        crash(server);
        let run = run.wait();
        if run.code != Some(0) {
            assert!(run.code == Some(1), "{place}\n{run}");
            assert!(!run.stderr.contains("panicked"), "{place}\n{run}");
        }
        scenario.nothing_is_lost(&db, &place, &run);
        if run.code != Some(0) {
            let again = db.pupctl(command.iter().chain(&["--yes", "--wait", "60s"]));
            assert!(again.code == Some(0), "{place}\n{run}\n{again}");
        }
        scenario.has_ended_well(&db, &place, &run);
    }
}

#[test]
fn archives_and_restores_survive_a_crash_of_the_server() {
    let server = TestServer::private(&[]);
    let month = TestDatabase::on(&server);
    store_in(&month, "month", &[]);
    events(&month, "A", -2, 4);
    let name = month.month(-2);
    crash_everywhere(&server, month, &["archive", &name, "--drop"], 4);

    let context = TestDatabase::on(&server);
    store_in(&context, "context", &["--immutable"]);
    events(&context, "A", 0, 4);
    checkpoint(&context, "orders", 8);
    archive(&context, &["A", "--drop"]).success();
    crash_everywhere(&server, context, &["restore", "A", "--batch=2"], 4);
}
