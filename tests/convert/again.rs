//! Run twice, run together, and only looked at.

use crate::support::{TestDatabase, fingerprint};
use crate::{Kind, convert, line, phase, ready, rows, state, store, swapped, to};

/// Everything but the journal and the words for sessions.
fn all(db: &TestDatabase) -> String {
    let all = fingerprint(&mut db.client());
    let lines = all.lines().filter(|line| !line.starts_with("public.pupctl_operations"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Runs what has been done already: it says so, and nothing is changed.
#[track_caller]
fn again(db: &TestDatabase, words: &[&str]) {
    let before = all(db);
    let run = convert(db, words).success();
    assert!(run.stderr.contains("Nothing to do"), "{run}");
    crate::assert_same_text(&before, &all(db), &words.join(" "));
    let mut json = words.to_vec();
    json.extend(["-o", "json"]);
    let run = convert(db, &json).success();
    assert_eq!(run.json()["changed"], false, "{run}");
}

#[test]
fn twice() {
    let db = ready(Kind::Pupctl, "context,hash");
    again(&db, &to("start", "context,hash"));
    again(&db, &["resume"]);
    convert(&db, &["swap"]).success();
    again(&db, &["swap"]);
    again(&db, &to("start", "context,hash"));
    again(&db, &to("run", "context,hash"));
    again(&db, &["resume"]);
    convert(&db, &["rollback"]).success();
    again(&db, &["rollback"]);
    convert(&db, &to("run", "context,hash")).success();
    convert(&db, &["finish"]).success();
    again(&db, &["finish"]);
    again(&db, &["rollback"]);
}

#[test]
fn together() {
    let db = store(Kind::Pupctl);
    let before = rows(&db);
    let words = to("start", "context");
    let words = ["convert"].iter().chain(&words).copied();
    let mut first = db.command(words.clone()).hold_at("convert::before_range").spawn();
    first.reached();
    assert_eq!(phase(&db), "copying");
    for verb in ["swap", "rollback", "finish", "resume"] {
        let second = db.pupctl(["convert", verb, "--yes"]).failure(4);
        assert!(second.stderr.contains("convert start"), "{second}");
    }
    let second = db.pupctl(words).failure(4);
    assert!(second.stderr.contains("convert start"), "{second}");
    first.wait().success();
    // Who waits finds it done.
    let runs: Vec<_> = (0..3).map(|_| db.command(line(&["swap"])).spawn()).collect();
    let told: Vec<_> = runs.into_iter().map(|run| run.wait().success().stderr).collect();
    assert_eq!(told.iter().filter(|told| told.contains("Nothing to do")).count(), 2, "{told:?}");
    crate::assert_same(&before, &rows(&db), "together");
}

#[test]
fn dry_runs_write_nothing() {
    for kind in [Kind::Pupctl, Kind::Pupsourcing] {
        let db = store(kind);
        for layout in crate::LAYOUTS {
            for verb in ["start", "run"] {
                let before = fingerprint(&mut db.client());
                let mut words = to(verb, layout);
                words.push("--dry-run");
                let run = convert(&db, &words).success();
                assert!(run.stderr.contains("nothing was changed"), "{run}");
                assert!(run.stdout.contains("CREATE TABLE"), "{run}");
                words.extend(["-o", "json"]);
                let json = convert(&db, &words).success().json();
                assert_eq!((&json["dry_run"], &json["events"]), (&true.into(), &3360.into()));
                assert_eq!(fingerprint(&mut db.client()), before, "{verb} {layout}");
            }
        }
    }
    for (db, verbs) in [
        (ready(Kind::Pupctl, "month"), &["swap", "rollback", "pause", "resume"][..]),
        (swapped(Kind::Pupctl, "context"), &["rollback", "finish"]),
    ] {
        for verb in verbs {
            let before = fingerprint(&mut db.client());
            let run = convert(&db, &[verb, "--dry-run"]).success();
            crate::assert_same_text(&before, &fingerprint(&mut db.client()), verb);
            let json = convert(&db, &[verb, "--dry-run", "-o", "json"]).success().json();
            assert_eq!(json["command"], format!("convert {verb}"), "{run}");
        }
    }
}

#[test]
fn a_store_that_was_called_off_is_as_before() {
    let db = store(Kind::Pupctl);
    let before = state(&db);
    for layout in crate::LAYOUTS {
        convert(&db, &to("start", layout)).success();
        convert(&db, &["rollback"]).success();
        crate::assert_same_text(&before, &state(&db), layout);
        crate::assert_nothing_left(&db, layout);
        crate::assert_checked(&db);
    }
}
