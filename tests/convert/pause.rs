//! Paused, wherever it is, and gone on with.

use crate::support::{Background, TestDatabase, eventually};
use crate::{Kind, append, assert_same, convert, line, phase, ready, rows, store, to};

#[test]
fn the_copy() {
    let db = crate::empty(Kind::Pupctl);
    db.execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT 'Billing', 'Order', 'o-' || number, 1, gen_random_uuid(), 'x', ''
         FROM generate_series(1, 60000) AS number;
         INSERT INTO aggregate_heads SELECT 'Billing', 'Order', 'o-' || number, 1
         FROM generate_series(1, 60000) AS number;",
    );
    let before = state_of_events(&db);
    let mut words = to("start", "context");
    words.extend(["--max-rate", "8000", "--jobs", "1"]);
    let run = db.command(line(&words)).spawn();
    eventually("a range is copied", || {
        phase(&db) == "copying"
            && db.one::<i64>("SELECT count(*) FROM pupctl_conversion_ranges") > 0
    });
    let status = convert(&db, &["status", "-o", "json"]).success().json();
    assert_eq!(status["running"], true, "{status}");
    convert(&db, &["pause"]).success();
    let told = run.wait().success();
    assert!(told.stderr.contains("Paused"), "{told}");
    let ranges = "SELECT count(*) FROM pupctl_conversion_ranges";
    let done: i64 = db.one(ranges);
    assert!((1..15).contains(&done), "{done} of 15 ranges, each of half a second's rows");
    convert(&db, &["status"]).success();
    let copied = db.texts("SELECT copied_at::text FROM public.pupctl_conversion_ranges ORDER BY 1");
    let told = convert(&db, &["resume"]).success();
    assert!(told.stderr.contains("copied and compared"), "{told}");
    let after = db.texts("SELECT copied_at::text FROM public.pupctl_conversion_ranges ORDER BY 1");
    assert_eq!(after[..copied.len()], copied[..], "nothing is copied twice");
    convert(&db, &["swap"]).success();
    assert_eq!(state_of_events(&db), before);
    convert(&db, &["finish"]).success();
}

/// Begins a conversion that is held at a fail point, and pauses it there.
fn paused(db: &TestDatabase, words: &[&str], point: &str) -> Background {
    let words = [&line(words)[..], &["--jobs", "1"]].concat();
    let mut run = db.command(words).hold_at(point).spawn();
    run.reached();
    convert(db, &["pause"]).success();
    run
}

#[track_caller]
fn stops(run: Background, db: &TestDatabase, at: &str) {
    run.release();
    let told = run.wait().success();
    assert!(told.stderr.contains("Paused: nothing that was copied or built is lost"), "{told}");
    assert_eq!(phase(db), at, "{told}");
    let status = convert(db, &["status"]).success();
    assert!(status.stdout.contains("paused"), "{status}");
}

#[track_caller]
fn goes_on(db: &TestDatabase) {
    let before = rows(db);
    convert(db, &["resume"]).success();
    let status = convert(db, &["status"]).success();
    assert!(!status.stdout.contains("paused"), "{status}");
    convert(db, &["swap"]).success();
    assert_same(&before, &rows(db), "swap");
    convert(db, &["finish"]).success();
}

#[test]
fn the_building_of_indexes() {
    let db = store(Kind::Pupctl);
    let run = paused(&db, &to("start", "context,month"), "convert::indexed");
    let looked = "SELECT coalesce(max(query_start)::text, '') FROM pg_stat_activity
         WHERE pid <> pg_backend_pid() AND datname = current_database()
         AND query LIKE '%paused_at IS NOT NULL%'";
    let look = || db.one::<String>(looked);
    // When it looks once more, it has acted upon what it saw.
    for what in ["it looks", "it looks again"] {
        let before = look();
        eventually(what, || look() > before);
    }
    let bare = || -> i64 {
        db.one(
            "SELECT count(*) FROM pg_partition_tree('events_convert') WHERE isleaf
             AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = relid)",
        )
    };
    let left = bare();
    assert!(left > 0);
    stops(run, &db, "indexing");
    assert_eq!(bare(), left, "no further partition is begun");
    goes_on(&db);
}

#[test]
fn what_came_meanwhile() {
    let db = store(Kind::Pupctl);
    let run = paused(&db, &to("start", "context"), "convert::joined");
    let copied = || db.one::<i64>("SELECT count(*) FROM events_convert");
    let before = copied();
    append(&db, "Billing", "o-late", 300, 0);
    stops(run, &db, "verifying");
    assert_eq!(copied(), before, "nothing is caught up with");
    goes_on(&db);
}

#[test]
fn the_comparison() {
    let db = store(Kind::Pupctl);
    let run = paused(&db, &to("start", "month"), "convert::joined");
    let since = "SELECT paused_at::text FROM public.pupctl_conversions";
    let before = db.texts(since);
    let dry = convert(&db, &["pause", "--dry-run"]).success();
    assert!(dry.stderr.contains("Dry run: it was not paused. It stops"), "{dry}");
    convert(&db, &["pause"]).success();
    assert_eq!(db.texts(since), before, "the second pause is that of the first");
    stops(run, &db, "verifying");
    let report = db.texts("SELECT coalesce(report::text, 'none') FROM public.pupctl_conversions");
    assert_eq!(report, ["none"]);
    let idle = convert(&db, &["pause"]).success();
    assert!(idle.stderr.contains("Nobody works on it at this moment; go on"), "{idle}");
    goes_on(&db);
}

#[test]
fn the_preparation_of_the_old_table() {
    let db = store(Kind::Pupsourcing);
    let words = [&to("start", "month")[..], &["--strategy", "attach"]].concat();
    let run = paused(&db, &words, "convert::prepared");
    stops(run, &db, "indexing");
    goes_on(&db);
}

#[test]
fn one_that_is_ready_is_not_paused() {
    let db = ready(Kind::Pupctl, "month");
    let told = convert(&db, &["pause"]).success();
    assert!(told.stderr.contains("Nothing to do: the conversion is ready"), "{told}");
    convert(&db, &["swap"]).success();
}

fn state_of_events(db: &TestDatabase) -> String {
    db.one(
        "SELECT md5(string_agg(to_jsonb(event)::text, '' ORDER BY global_position)) FROM events
         AS event",
    )
}
