//! Conversions that copy nothing: the old table becomes a partition.

use crate::support::{TestDatabase, fingerprint};
use crate::{
    Kind, append, assert_checked, assert_nothing_left, assert_same, assert_same_text, assert_sound,
    convert, line, phase, rows, store, to,
};

/// `start` or `run` for a layout, with the old table as a partition.
pub(crate) fn attach<'a>(verb: &'a str, layout: &'a str) -> Vec<&'a str> {
    let mut words = to(verb, layout);
    words.extend(["--strategy", "attach"]);
    words
}

/// A store that has events of one context, whose name has quotes in it.
pub(crate) fn one_context(kind: Kind) -> TestDatabase {
    let db = store(kind);
    db.execute(
        "DELETE FROM events WHERE bounded_context NOT LIKE 'Quo%';
         DELETE FROM aggregate_heads WHERE bounded_context NOT LIKE 'Quo%'",
    );
    db
}

pub(crate) const QUOTED: &str = "Quo'te \"d\"";

/// A store that can be attached by a layout.
pub(crate) fn fit(kind: Kind, layout: &str) -> TestDatabase {
    if layout == "month" { store(kind) } else { one_context(kind) }
}

/// The same whose old table is a partition.
pub(crate) fn attached(kind: Kind, layout: &str) -> TestDatabase {
    let db = fit(kind, layout);
    convert(&db, &attach("run", layout)).success();
    db
}

pub(crate) const EACH: [(Kind, &str); 4] = [
    (Kind::Pupctl, "month"),
    (Kind::Pupsourcing, "month"),
    (Kind::Pupctl, "context"),
    (Kind::Pupsourcing, "context"),
];

/// The codes of what `partitions check` finds.
pub(crate) fn codes(db: &TestDatabase) -> Vec<String> {
    let found = db.pupctl(["partitions", "check", "-o", "json"]).success().json();
    let findings = found["findings"].as_array().expect("findings");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    findings
        .iter()
        .map(|one| format!("{} {}", text(&one["severity"]), text(&one["check"])))
        .collect()
}

/// In which table the last event of an aggregate lies.
#[track_caller]
fn place(db: &TestDatabase, id: &str) -> String {
    db.one(&format!(
        "SELECT tableoid::regclass::text FROM events WHERE aggregate_id = '{id}'
         ORDER BY global_position DESC LIMIT 1"
    ))
}

#[test]
fn every_event_stays_where_it_is() {
    for (kind, layout) in EACH {
        let db = fit(kind, layout);
        let told = format!("{kind:?} {layout}");
        let before = rows(&db);
        let heap: u32 = db.one("SELECT 'events'::regclass::oid");
        convert(&db, &attach("start", layout)).success();
        assert_same(&before, &rows(&db), &told);
        assert_eq!(phase(&db), "ready", "{told}");
        append(&db, QUOTED, "o-1", 2, 0);
        let before = rows(&db);
        let run = convert(&db, &["swap"]).success();
        assert!(run.stderr.contains("the old table is the partition"), "{told} {run}");
        assert_same(&before, &rows(&db), &told);
        let name = if layout == "month" { "events_history" } else { "events_quo_te__d_" };
        let now: u32 = db.one("SELECT tableoid FROM events LIMIT 1");
        assert_eq!(heap, now, "{told}: it is the same table");
        append(&db, QUOTED, "o-2", 2, 0);
        let before = rows(&db);
        assert_checked(&db);
        convert(&db, &["finish"]).success();
        assert_same(&before, &rows(&db), &told);
        assert_sound(&db, &told);
        assert_checked(&db);
        assert_nothing_left(&db, &told);
        assert_eq!(phase(&db), "finished", "{told}");
        if layout == "month" {
            assert_eq!(codes(&db), ["notice history"], "{told}");
            assert!(db.tree("public.events").contains(name), "{told}");
        } else {
            assert!(codes(&db).is_empty(), "{told} {:?}", codes(&db));
        }
        let ensure = db.pupctl(["partitions", "ensure"]).success();
        assert!(ensure.stderr.contains("Nothing to do"), "{told} {ensure}");
        let layout_now: String =
            db.one("SELECT layout->>'levels' FROM pupctl_layout ORDER BY 1 LIMIT 1");
        assert!(layout_now.contains(layout), "{told} {layout_now}");
    }
}

#[test]
fn events_go_where_their_time_is() {
    for kind in [Kind::Pupctl, Kind::Pupsourcing] {
        let db = attached(kind, "month");
        // The months end with the next one, as events of it are there.
        for (id, month) in [("past", -200), ("now", 0), ("next", 1)] {
            append(&db, "Billing", id, 1, month);
            assert_eq!(place(&db, id), "events_history", "{id}");
        }
        append(&db, "Billing", "later", 2, 2);
        let month = db.month(2).replace('-', "_");
        assert_eq!(place(&db, "later"), format!("events_{month}"));
        // An aggregate goes on in another partition.
        append(&db, "Billing", "o-1", 1, 2);
        append(&db, "Billing", "o-1", 1, 0);
        assert_sound(&db, "months");
        convert(&db, &["finish"]).success();
        assert_checked(&db);
    }
}

#[test]
fn a_version_of_the_past_is_not_stored_again_in_a_new_month() {
    let db = attached(Kind::Pupctl, "month");
    let created_at = format!("{}-03T04:05:06Z", db.month(2));
    for head in [0, 5, 27] {
        let append = crate::support::Append {
            context: "Billing",
            id: "o-1",
            head: Some(head),
            events: 1,
            created_at: &created_at,
        };
        let error = append.run(&mut db.client()).expect_err("it is there");
        let code = error.code().map(|code| code.code().to_owned());
        assert_eq!(code.as_deref(), Some("23505"), "{head} {error:?}");
    }
    assert_sound(&db, "guard");
}

/// The catalog and what is recorded, without what only the tables of one library have.
fn dump(db: &TestDatabase) -> String {
    // The options of an index in any order.
    let dump = db
        .dump()
        .replace(
            "autosummarize='on', pages_per_range='32'",
            "pages_per_range='32', autosummarize='on'",
        )
        .replace("autosummarize=on,pages_per_range=32", "pages_per_range=32,autosummarize=on");
    // Indexes of pupsourcing keep their names, and one that was built is no constraint.
    let others = [
        "idx_",
        "_correlation_id_idx",
        "_event_type_global_position_idx",
        "__updated_at_idx",
        "constraint events_quo_te__d__global_position_key",
    ];
    let lines = dump.lines().filter(|line| !others.iter().any(|other| line.contains(other)));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn divided_later_it_is_what_a_copy_is() {
    for kind in [Kind::Pupctl, Kind::Pupsourcing] {
        let db = store(kind);
        let other = TestDatabase::copy_of(&db);
        let before = rows(&db);
        convert(&other, &to("run", "month")).success();
        convert(&other, &["finish"]).success();
        convert(&db, &attach("run", "month")).success();
        let refused = db.pupctl(["partitions", "split", "events_history"]).failure(1);
        assert!(refused.stderr.contains("pupctl convert finish"), "{refused}");
        convert(&db, &["finish"]).success();
        db.pupctl(["partitions", "split", "events_history", "--yes"]).success();
        assert_same(&before, &rows(&db), "split");
        assert_checked(&db);
        assert!(codes(&db).is_empty(), "{:?}", codes(&db));
        assert_same_text(&dump(&other), &dump(&db), &format!("{kind:?}"));
    }
}

#[test]
fn by_context_it_is_what_a_copy_is() {
    for kind in [Kind::Pupctl, Kind::Pupsourcing] {
        let db = one_context(kind);
        let other = TestDatabase::copy_of(&db);
        convert(&other, &to("run", "context")).success();
        convert(&other, &["finish"]).success();
        convert(&db, &attach("run", "context")).success();
        convert(&db, &["finish"]).success();
        assert_same(&rows(&other), &rows(&db), "context");
        assert_same_text(&dump(&other), &dump(&db), &format!("{kind:?}"));
        append(&db, QUOTED, "o-1", 2, 0);
        assert_sound(&db, "context");
        assert_checked(&db);
    }
}

/// Everything but the journal.
fn all(db: &TestDatabase) -> String {
    let all = fingerprint(&mut db.client());
    let lines = all.lines().filter(|line| !line.starts_with("public.pupctl_operations"));
    lines.collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn again(db: &TestDatabase, words: &[&str]) {
    let before = all(db);
    let run = convert(db, words).success();
    assert!(run.stderr.contains("Nothing to do"), "{run}");
    assert_same_text(&before, &all(db), &words.join(" "));
    let run = convert(db, &[words, &["-o", "json"]].concat()).success();
    assert_eq!(run.json()["changed"], false, "{run}");
}

#[test]
fn twice() {
    for layout in ["month", "context"] {
        let db = fit(Kind::Pupctl, layout);
        let json = convert(&db, &[&attach("start", layout)[..], &["-o", "json"]].concat());
        let json = json.success().json();
        assert_eq!(json["conversion"]["phase"], "ready", "{json}");
        assert_eq!(json["conversion"]["cutover"].is_string(), layout == "month", "{json}");
        again(&db, &attach("start", layout));
        again(&db, &["resume"]);
        let other = convert(&db, &to("start", layout)).failure(1);
        assert!(other.stderr.contains("(attach) goes on"), "{other}");
        let json = convert(&db, &["swap", "-o", "json"]).success().json();
        assert!(json["stall"]["everybody_us"].is_u64(), "{json}");
        again(&db, &["swap"]);
        again(&db, &attach("start", layout));
        again(&db, &attach("run", layout));
        again(&db, &["resume"]);
        convert(&db, &["rollback"]).success();
        again(&db, &["rollback"]);
        convert(&db, &attach("run", layout)).success();
        let status = convert(&db, &["status"]).success();
        assert!(!status.stderr.contains("Drop the old"), "{status}");
        convert(&db, &["finish"]).success();
        again(&db, &["finish"]);
        again(&db, &["rollback"]);
    }
}

#[test]
fn together() {
    let db = store(Kind::Pupctl);
    let before = rows(&db);
    let words = attach("start", "month");
    let words: Vec<_> = ["convert"].iter().chain(&words).copied().collect();
    let mut first = db.command(&words).hold_at("convert::prepared").spawn();
    first.reached();
    assert_eq!(phase(&db), "indexing");
    for verb in ["swap", "rollback", "finish", "resume"] {
        let second = db.pupctl(["convert", verb, "--yes"]).failure(4);
        assert!(second.stderr.contains("convert start"), "{second}");
    }
    first.wait().success();
    let runs: Vec<_> = (0..3).map(|_| db.command(line(&["swap"])).spawn()).collect();
    let told: Vec<_> = runs.into_iter().map(|run| run.wait().success().stderr).collect();
    assert_eq!(told.iter().filter(|told| told.contains("Nothing to do")).count(), 2, "{told:?}");
    assert_same(&before, &rows(&db), "together");
}

#[test]
fn dry_runs_write_nothing() {
    for (kind, layout) in EACH {
        let db = fit(kind, layout);
        let dry = |words: &[&str]| {
            let before = fingerprint(&mut db.client());
            let words = [words, &["--dry-run"]].concat();
            let run = convert(&db, &words).success();
            let json = convert(&db, &[&words[..], &["-o", "json"]].concat()).success().json();
            assert_same_text(&before, &fingerprint(&mut db.client()), &words.join(" "));
            (run, json)
        };
        for verb in ["start", "run"] {
            let (run, json) = dry(&attach(verb, layout));
            for words in ["ATTACH PARTITION", "VALIDATE CONSTRAINT", "RENAME TO"] {
                assert!(run.stdout.contains(words), "{words}: {run}");
            }
            assert_eq!(json["strategy"], "attach");
            assert_eq!(json["cutover"].is_string(), layout == "month", "{json}");
        }
        convert(&db, &attach("start", layout)).success();
        dry(&["swap"]);
        dry(&["rollback"]);
        dry(&["resume"]);
        convert(&db, &["swap"]).success();
        dry(&["rollback"]);
        dry(&["finish"]);
    }
}

#[test]
fn what_cannot_be_a_partition_is_refused() {
    let db = store(Kind::Pupctl);
    let before = all(&db);
    for (layout, words) in [
        ("context", "one context, and there are more"),
        ("hash", "divided by hash"),
        ("context,month", "divided by context,month"),
        ("hash,month", "divided by hash,month"),
    ] {
        for dry in [&[][..], &["--dry-run"]] {
            let run = convert(&db, &[&attach("start", layout)[..], dry].concat()).failure(1);
            assert!(run.stderr.contains(words), "{layout}: {run}");
            assert!(run.stderr.contains("--strategy copy"), "{layout}: {run}");
        }
    }
    let run = convert(&db, &[&attach("start", "month")[..], &["--event-ids"]].concat()).failure(1);
    assert!(run.stderr.contains("leave out --event-ids"), "{run}");
    assert_same_text(&before, &all(&db), "refused");
}
