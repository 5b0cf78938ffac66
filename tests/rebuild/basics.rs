//! What a rebuild does when nobody disturbs it.

use crate::support::eventually;
use crate::{
    COUNTS, REBUILD, SUMS, append, highest, nothing_left, positions, reference, run, store, sums,
    write,
};

#[test]
fn a_changed_file_makes_the_read_model_anew() {
    let db = store(30, 20);
    write(&db, "totals", COUNTS);
    run(&db);
    write(&db, "totals", SUMS);
    let refused = db.pupctl(["projections", "run", "--until-caught-up"]).failure(1);
    assert!(refused.stderr.contains("projections rebuild totals"), "{refused}");
    let before = db.one::<i32>("SELECT max(epoch) FROM projection_checkpoints");

    let done = db.pupctl(REBUILD).success();
    assert!(done.stderr.contains("600 events"), "{done}");
    let end = highest(&db);
    assert_eq!(sums(&db), reference(&db, end));
    assert_eq!(positions(&db), [format!("totals:0/2 {end}"), format!("totals:1/2 {end}")]);
    assert_eq!(db.one::<i32>("SELECT min(epoch) FROM projection_checkpoints"), before + 1);
    assert_eq!(
        db.one::<i64>("SELECT sum(events_handled)::bigint FROM projection_checkpoints"),
        600
    );
    nothing_left(&db);
    assert_eq!(db.journal().last().expect("a row"), "projections rebuild: done");
    assert_eq!(
        db.one::<i64>(
            "SELECT sum(events)::bigint FROM projection_audit WHERE projection = 'totals'"
        ),
        600
    );
    // It goes on by the new file.
    append(&db, "more", 3, 2);
    run(&db);
    assert_eq!(sums(&db), reference(&db, highest(&db)));

    // And once more: the same again, of all events.
    let again = db.pupctl(REBUILD.iter().chain(&["-o", "json"])).success().json();
    assert_eq!(again["swapped"], true);
    assert_eq!(again["events"], 606);
    assert_eq!(again["replaced"][0]["name"], "totals");
    assert_eq!(sums(&db), reference(&db, highest(&db)));
    nothing_left(&db);
}

#[test]
fn a_projection_that_never_ran_begins_with_a_rebuild() {
    let db = store(10, 10);
    write(&db, "totals", SUMS);
    db.pupctl(["projections", "rebuild", "totals", "--workers", "2"]).success();
    let end = highest(&db);
    assert_eq!(sums(&db), reference(&db, end));
    assert_eq!(positions(&db), [format!("totals:0/2 {end}"), format!("totals:1/2 {end}")]);
    nothing_left(&db);
    append(&db, "more", 3, 2);
    run(&db);
    assert_eq!(sums(&db), reference(&db, highest(&db)));
}

#[test]
fn one_that_was_reset_or_paused_keeps_its_slots() {
    let db = store(10, 10);
    write(&db, "totals", COUNTS);
    run(&db);
    db.pupctl(["projections", "rescale", "totals", "--slots", "4"]).success();
    db.pupctl(["projections", "reset", "totals", "--yes"]).success();
    db.pupctl(["projections", "pause", "totals"]).success();
    write(&db, "totals", SUMS);
    db.pupctl(REBUILD).success();
    let end = highest(&db);
    assert_eq!(sums(&db), reference(&db, end));
    let rows: Vec<_> = (0..4).map(|slot| format!("totals:{slot}/4 {end}")).collect();
    assert_eq!(positions(&db), rows);
    let paused = "SELECT count(*) FROM projection_checkpoints WHERE paused_at IS NOT NULL";
    assert_eq!(db.one::<i64>(paused), 4);
}

#[test]
fn nothing_is_swapped_until_it_is_wished() {
    let db = store(10, 10);
    write(&db, "totals", COUNTS);
    run(&db);
    write(&db, "totals", SUMS);
    let first = db.pupctl(["projections", "rebuild", "totals", "--no-swap"]).success();
    assert!(first.stderr.contains("put them in place"), "{first}");
    let columns = "SELECT count(*) FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = 'totals'";
    assert_eq!(db.one::<i64>(columns), 2);
    let status = db.pupctl(["projections", "status", "-o", "json"]).success().json();
    let names: Vec<_> = status["projections"]
        .as_array()
        .expect("projections")
        .iter()
        .map(|one| one["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["totals", "totals:rebuild"]);
    append(&db, "more", 3, 2);
    let second = db.pupctl(REBUILD.iter().chain(&["-o", "json"])).success();
    assert!(second.stderr.contains("Going on"), "{second}");
    assert_eq!(second.json()["events"], 6, "{second}");
    assert_eq!(sums(&db), reference(&db, highest(&db)));
    nothing_left(&db);
}

#[test]
fn another_file_than_the_one_it_was_begun_with_begins_anew() {
    let db = store(10, 10);
    write(&db, "totals", COUNTS);
    run(&db);
    db.pupctl(["projections", "rebuild", "totals", "--no-swap"]).success();
    write(&db, "totals", SUMS);
    let refused = db.pupctl(REBUILD).failure(1);
    assert!(refused.stderr.contains("--restart"), "{refused}");
    db.pupctl(REBUILD.iter().chain(&["--restart"])).success();
    assert_eq!(sums(&db), reference(&db, highest(&db)));
    nothing_left(&db);
}

#[test]
fn a_dry_run_shows_the_swap_and_changes_nothing() {
    let db = store(10, 10);
    write(&db, "totals", COUNTS);
    run(&db);
    write(&db, "totals", SUMS);
    let before = db.dump();
    let shown = db.pupctl(["projections", "rebuild", "totals", "--dry-run"]).success();
    assert!(shown.stdout.contains("FOR UPDATE"), "{shown}");
    assert!(shown.stdout.contains("SET SCHEMA \"public\""), "{shown}");
    assert!(shown.stdout.contains("-- Lock: ACCESS EXCLUSIVE on public.totals"), "{shown}");
    assert_eq!(db.dump(), before);
    let json = db.pupctl(["projections", "rebuild", "totals", "--dry-run", "-o", "json"]);
    assert_eq!(json.success().json()["dry_run"], true);
    nothing_left(&db);
    assert_eq!(db.journal().len(), 1);
}

#[test]
fn two_at_a_time_are_one() {
    let db = store(10, 10);
    write(&db, "totals", COUNTS);
    run(&db);
    let first = db.command(REBUILD).failpoints("rebuild::folded=sleep(3000)").spawn();
    let begun = "SELECT count(*) FROM projection_checkpoints WHERE projection = 'totals:rebuild'";
    eventually("it has begun", || db.one::<i64>(begun) == 2);
    let second = db.pupctl(REBUILD).failure(4);
    assert!(second.stderr.contains("totals is being rebuilt already"), "{second}");
    assert!(second.stderr.contains("pupctl/projections rebuild"), "{second}");
    // Others write beside it, and do not call it dead.
    db.pupctl(["projections", "init", "other"]).success();
    db.pupctl(["schema", "repair", "--yes"]).code.expect("a code");
    let list = db.pupctl(["operations", "list", "-o", "json"]).success().json();
    assert_eq!(list["operations"][0]["outcome"], "running", "{list}");
    first.wait().success();
    nothing_left(&db);
}

#[test]
fn a_projection_that_is_no_file_is_refused() {
    let db = store(1, 1);
    db.pupctl(["projections", "init", "orders"]).success();
    write(&db, "totals", COUNTS);
    let refused = db.pupctl(["projections", "rebuild", "orders"]).failure(1);
    assert!(refused.stderr.contains("projections reset orders --truncate"), "{refused}");
    let unknown = db.pupctl(["projections", "rebuild", "nobody"]).failure(2);
    assert!(unknown.stderr.contains("has the name nobody"), "{unknown}");
    let reserved = db.pupctl(["projections", "init", "orders:rebuild"]).failure(2);
    assert!(reserved.stderr.contains("rebuild"), "{reserved}");
}
