//! `archive --expired`: what is due and nothing else, by a clock that can be right.

use crate::support::{Output, TestDatabase};
use crate::{archive, archives, checkpoint, count, events, everywhere, leaf, store};

fn configure(db: &TestDatabase, config: &str) {
    std::fs::write(db.folder().join("pupctl.toml"), config).expect("a file");
}

fn expired(db: &TestDatabase, arguments: &[&str]) -> Output {
    archive(db, &[&["--expired"], arguments].concat())
}

/// Three past months of a store by month, of which two are due.
fn months() -> TestDatabase {
    let db = store("month", &[]);
    for ahead in [-3, -2, -1, 0] {
        events(&db, "A", ahead, 2);
    }
    configure(&db, "[archive]\nretention = \"1 month\"\n");
    db
}

#[test]
fn every_context_has_its_own_retention() {
    let db = store("context,month", &[]);
    for ahead in [-3, -2, -1, 0] {
        events(&db, "A", ahead, 2);
        events(&db, "B", ahead, 2);
    }
    let all = everywhere::of_store(&db);
    configure(
        &db,
        "[archive]\nretention = \"1 month\"\nformat = \"copy\"\nto = \"cold\"\n\
         [[contexts]]\nname = \"A\"\nretention = \"forever\"\n[[contexts]]\nname = \"B\"\n",
    );
    let run = expired(&db, &["--drop", "-o", "json"]).success();
    let gone: Vec<_> = run.json()["archives"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| format!("{} {} {}", one["leaf"], one["format"], one["phase"]).replace('"', ""))
        .collect();
    let expected = [-3, -2].map(|ahead| format!("{} copy dropped", leaf(&db, "events_b", ahead)));
    assert_eq!(gone, expected);
    assert_eq!(count(&db, "events WHERE bounded_context = 'A'"), 16);
    assert_eq!(count(&db, "events WHERE bounded_context = 'B'"), 8);
    assert_eq!(everywhere::all(&db), all);
    assert!(db.folder().join("cold").join(leaf(&db, "events_b", -3)).is_dir());
    let again = expired(&db, &["--drop", "--exit-code"]).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
}

#[test]
fn one_run_drops_no_more_than_it_may() {
    let db = months();
    let run = expired(&db, &["--drop", "--max", "1"]).success();
    assert!(run.stderr.contains("one run drops at most 1 table (--max)"), "{run}");
    assert_eq!(archives(&db), [format!("{}: dropped", leaf(&db, "events", -3))]);
    configure(&db, "[archive]\nretention = \"1 month\"\nmax = 0\n");
    let run = expired(&db, &["--drop"]).success();
    assert!(run.stderr.contains("Nothing done: 1 partition held back"), "{run}");
    assert_eq!(count(&db, "events"), 12);
    configure(&db, "[archive]\nretention = \"1 month\"\n");
    expired(&db, &["--drop"]).success();
    assert_eq!(count(&db, "events"), 8);
}

#[test]
fn a_month_that_is_held_back_is_told_and_the_others_leave() {
    let db = months();
    checkpoint(&db, "slow", 4);
    let run = expired(&db, &["--drop", "--exit-code"]).failure(3);
    let held = leaf(&db, "events", -2);
    assert!(run.stderr.contains(&format!("{held} is held back")), "{run}");
    assert!(run.stderr.contains("the projection slow is at position 4"), "{run}");
    assert_eq!(archives(&db), [format!("{}: dropped", leaf(&db, "events", -3))]);
    let json = expired(&db, &["--drop", "-o", "json"]).success().json();
    assert_eq!(json["held"][0]["leaf"], held, "{json}");
    assert!(json["held"][0]["details"][0].is_string(), "{json}");
    checkpoint(&db, "slow", 100);
    expired(&db, &["--drop", "--exit-code"]).success();
    assert_eq!(count(&db, "events"), 8);
}

#[test]
fn a_kept_table_is_dropped_when_its_time_is_over() {
    let db = months();
    let all = everywhere::of_store(&db);
    let config = "[archive]\nretention = \"1 month\"\ndrop_after = \"7 days\"\n";
    configure(&db, config);
    expired(&db, &[]).success();
    assert_eq!(everywhere::outside(&db).len(), 2);
    let nothing = expired(&db, &[]).success();
    assert!(nothing.stderr.contains("Nothing to do"), "{nothing}");
    db.execute(
        "UPDATE pupctl_archives SET published_at = now() - interval '8 days'
         WHERE id = (SELECT min(id) FROM pupctl_archives)",
    );
    expired(&db, &[]).success();
    let phases = [(-3, "dropped"), (-2, "published")];
    let phases = phases.map(|(ahead, phase)| format!("{}: {phase}", leaf(&db, "events", ahead)));
    assert_eq!(archives(&db), phases);
    assert_eq!(everywhere::all(&db), all);
    // Nobody is asked in a cron job.
    db.execute("UPDATE pupctl_archives SET published_at = now() - interval '8 days'");
    let asked = db.pupctl(["archive", "--expired"]).failure(2);
    assert!(asked.stderr.contains("--yes"), "{asked}");
}

#[test]
fn a_context_without_months_cannot_expire() {
    let db = store("context", &[]);
    events(&db, "A", -3, 2);
    configure(
        &db,
        "[[contexts]]\nname = \"A\"\nretention = \"30 days\"\n[[contexts]]\nname = \"B\"\n",
    );
    let refused = expired(&db, &["--drop"]).failure(1);
    for words in ["A", "not divided by month", "pupctl convert start", "copy-a-store.md"] {
        assert!(refused.stderr.contains(words), "{words}: {refused}");
    }
    assert_eq!(count(&db, "events"), 4);
}

#[test]
fn without_a_retention_nothing_expires() {
    let db = months();
    configure(&db, "");
    let refused = expired(&db, &["--drop"]).failure(2);
    assert!(refused.stderr.contains("retention = "), "{refused}");
    configure(&db, "[archive]\nretention = \"a while\"\n");
    expired(&db, &["--drop"]).failure(2);
    assert_eq!(count(&db, "events"), 16);
}

#[test]
fn an_event_of_a_month_to_come_says_that_a_clock_is_wrong() {
    let db = months();
    events(&db, "B", 1, 1);
    let refused = expired(&db, &["--drop"]).failure(1);
    assert!(refused.stderr.contains("a month that is to come"), "{refused}");
    assert_eq!(count(&db, "events"), 18);
    db.execute("ANALYZE");
    expired(&db, &["--drop"]).failure(1);
    // One month can still be named.
    archive(&db, &[&db.month(-3), "--drop"]).success();
    assert_eq!(count(&db, "events"), 14);
}
