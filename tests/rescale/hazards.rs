//! The changes at which pupsourcing's processors lose or repeat events: 2,000 events of 200
//! aggregates by FNV-1a, before and after the same change.

use pupctl::db::Interrupt;
use pupctl::projection::{Fnv1a, Processor, ProcessorConfig};

use crate::adopt::foreign;
use crate::processor::{Fragile, connect};
use crate::support::{TestDatabase, eventually};
use crate::worker::{catch_up, change};
use crate::{events, exactly_once, handle_before, projections, rows, store};

const EVENTS: i64 = 2_000;

/// The rows of pupsourcing's partitions at these positions, and all that they have handled.
fn adopted(positions: &[i64]) -> TestDatabase {
    let db = store();
    events(&db, EVENTS, 200);
    let total = positions.len();
    let name = |key: usize| if total == 1 { "a".to_owned() } else { format!("a_p{key}") };
    let names: Vec<_> = (0..total).map(name).collect();
    let rows: Vec<_> = names.iter().map(String::as_str).zip(positions.iter().copied()).collect();
    foreign(&db, &rows);
    handle_before(&db, "a", Fnv1a::NAME, positions);
    let total = total.to_string();
    let line = ["adopt", "a", "--total", &total, "--hash", Fnv1a::NAME, "--yes"];
    projections(&db, &line).success();
    db
}

/// From partitions at these positions to so many slots.
fn check(positions: &[i64], slots: usize) {
    let db = adopted(positions);
    change(&db, "a", &["--slots", &slots.to_string()]);
    assert_eq!(rows(&db).len(), slots);
    exactly_once(&db, "a");
}

#[test]
fn one_becomes_four() {
    check(&[EVENTS], 4);
    check(&[EVENTS / 2], 4);
}

#[test]
fn four_become_one_with_a_stale_row_of_before() {
    let db = store();
    events(&db, EVENTS, 200);
    let name = ["a_p0", "a_p1", "a_p2", "a_p3"];
    foreign(&db, &name.map(|name| (name, EVENTS)));
    foreign(&db, &[("a", EVENTS / 5)]);
    handle_before(&db, "a", Fnv1a::NAME, &[EVENTS; 4]);
    let line = ["adopt", "a", "--total", "4", "--yes"];
    let refused = projections(&db, &line).failure(1);
    assert!(refused.stderr.contains("a is there too, at position 400"), "{refused}");
    projections(&db, &[&line[..], &["--ignore-rows", "a"]].concat()).success();
    projections(&db, &["rescale", "a", "--slots", "1"]).success();
    assert_eq!(rows(&db), ["a@2000"]);
    exactly_once(&db, "a");
}

#[test]
fn four_become_eight() {
    check(&[EVENTS; 4], 8);
    check(&[1500, 2000, 100, 1999], 8);
}

#[test]
fn four_become_two_or_three_with_one_that_stopped_on_the_way() {
    for slots in [2, 3] {
        check(&[EVENTS, EVENTS, EVENTS * 6 / 10, EVENTS], slots);
    }
}

#[test]
fn a_worker_joins_or_leaves_with_one_behind() {
    check(&[EVENTS, EVENTS - 1000], 3);
    check(&[EVENTS, EVENTS, EVENTS - 500], 2);
}

#[test]
fn sixteen_become_thirty_two_or_eight() {
    check(&[EVENTS; 16], 32);
    let mut positions = [EVENTS; 16];
    positions[9] = EVENTS * 6 / 10;
    check(&positions, 8);
}

#[test]
fn a_worker_of_the_old_number_moves_nothing() {
    let db = adopted(&[100, 200]);
    db.execute("CREATE TABLE poison (position bigint)");
    let worker = || {
        let config = ProcessorConfig::default().pinned(1, 2).batch_size(10);
        Processor::new(connect(&db), Fragile("a"), config).expect("a processor")
    };
    let stop = Interrupt::default();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| worker().run(&stop));
        let works = "SELECT max(last_global_position) > 200 FROM projection_checkpoints";
        eventually("it works", || db.one::<bool>(works));
        projections(&db, &["rescale", "a", "--slots", "4"]).success();
        let before = rows(&db);
        let refused = run.join().expect("a worker").expect_err("another number of slots");
        assert!(refused.to_string().contains("slots"), "{refused}");
        assert_eq!(rows(&db), before);
        // Nor does it when it is started again.
        worker().run_until_caught_up(&stop).expect_err("another number of slots");
        assert_eq!(rows(&db), before);
    });
    catch_up(&db, "a");
    exactly_once(&db, "a");
}
