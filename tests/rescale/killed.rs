//! Killed at every point, and run again.

use std::time::Duration;

use pupctl::projection::ServerHash;

use crate::support::{Output, TestDatabase, eventually};
use crate::worker::{Workers, catch_up, wait_until_caught_up};
use crate::{events, exactly_once, handle_before, projection, projections, rows, store};

const HASH: &str = ServerHash::NAME;

fn kill(db: &TestDatabase, point: &str, arguments: &[&str]) -> Output {
    let line = ["projections"].iter().chain(arguments);
    db.command(line).failpoints(&format!("{point}=return")).run().killed()
}

#[test]
fn a_rescale_is_finished_by_the_next_run() {
    for point in [
        "rescale::before_barrier",
        "rescale::barrier",
        "rescale::before_commit",
        "rescale::after_commit",
    ] {
        let db = store();
        events(&db, 200, 20);
        let positions = [60, 150, 20, 100];
        projection(&db, "orders", HASH, &positions);
        handle_before(&db, "orders", HASH, &positions);
        let line = ["projections", "rescale", "orders", "--slots", "3"];
        let run = db.command(line).failpoints(&format!("{point}=return")).spawn();
        let waits = ["rescale::before_commit", "rescale::after_commit"].contains(&point);
        if waits {
            eventually("the barrier", || rows(&db)[0].contains('>'));
        }
        // Those that are caught up have no barrier: so they start late.
        let (killed, workers) = if waits {
            let workers = Workers::start(&db, "orders", 2, Duration::from_millis(3));
            (run.wait().killed(), workers)
        } else {
            let killed = run.wait().killed();
            (killed, Workers::start(&db, "orders", 2, Duration::from_millis(3)))
        };
        // They go on for a while, as far as the barrier lets them.
        std::thread::sleep(Duration::from_millis(100));
        let run = projections(&db, &["rescale", "orders", "--slots", "3"]).success();
        assert_eq!(rows(&db).len(), 3, "{point}\n{killed}\n{run}");
        wait_until_caught_up(&db, "orders");
        drop(workers);
        assert_eq!(rows(&db), ["orders:0/3@200", "orders:1/3@200", "orders:2/3@200"]);
        exactly_once(&db, "orders");
    }
}

#[test]
fn changes_between_kills_under_load_handle_every_event_once() {
    let db = store();
    events(&db, 600, 20);
    projection(&db, "orders", HASH, &[0]);
    let points = ["rescale::barrier", "rescale::before_commit", "rescale::after_commit"];
    let workers = Workers::start(&db, "orders", 3, Duration::from_millis(3));
    for (slots, point) in ["4", "8", "3", "16", "2"].into_iter().zip(points.iter().cycle()) {
        events(&db, 100, 10);
        // A split has no barrier, and so is not killed there.
        let line = ["projections", "rescale", "orders", "--slots", slots];
        let run = db.command(line).failpoints(&format!("{point}=return")).run();
        let ended = run.code == Some(0);
        let again = projections(&db, &["rescale", "orders", "--slots", slots]).success();
        assert!(!ended || again.stderr.contains("Nothing to do"), "{again}");
    }
    wait_until_caught_up(&db, "orders");
    drop(workers);
    assert_eq!(rows(&db).len(), 2);
    exactly_once(&db, "orders");
}

#[test]
fn an_abort_is_finished_by_the_next_run() {
    let db = store();
    events(&db, 100, 10);
    projection(&db, "orders", HASH, &[10, 20]);
    projections(&db, &["rescale", "orders", "--slots", "1", "--patience", "0s"]).failure(1);
    kill(&db, "rescale::before_abort", &["rescale", "orders", "--abort"]);
    assert_eq!(rows(&db), ["orders:0/2@10>20", "orders:1/2@20>20"]);
    projections(&db, &["rescale", "orders", "--abort"]).success();
    assert_eq!(rows(&db), ["orders:0/2@10", "orders:1/2@20"]);
}

#[test]
fn an_adoption_is_finished_by_the_next_run() {
    for point in ["adopt::before_commit", "adopt::after_commit"] {
        let db = store();
        events(&db, 100, 10);
        crate::adopt::foreign(&db, &[("orders_p0", 40), ("orders_p1", 90)]);
        handle_before(&db, "orders", pupctl::projection::Fnv1a::NAME, &[40, 90]);
        let line = ["adopt", "orders", "--total", "2", "--yes"];
        kill(&db, point, &line);
        let run = projections(&db, &line).success();
        let words = if point.ends_with("after_commit") { "Nothing to do" } else { "Done:" };
        assert!(run.stderr.contains(words), "{point}: {run}");
        assert_eq!(rows(&db), ["orders:0/2@40", "orders:1/2@90"]);
        catch_up(&db, "orders");
        exactly_once(&db, "orders");
    }
}
