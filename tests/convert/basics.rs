//! Every layout, from the tables of both libraries.

use crate::support::TestDatabase;
use crate::{
    CONTEXTS, Kind, LAYOUTS, append, assert_checked, assert_nothing_left, assert_same,
    assert_same_text, assert_sound, convert, empty, phase, rows, store, to,
};

/// What the store would be if it had been made so.
fn fresh(layout: &str) -> String {
    let db = TestDatabase::new();
    let contexts = CONTEXTS.map(|context| {
        let escaped = context.replace('"', "\\\"");
        format!("[[contexts]]\nname = \"{escaped}\"\n")
    });
    if layout.contains("context") {
        std::fs::write(db.folder().join("pupctl.toml"), contexts.concat()).expect("a file");
    }
    let init = ["schema", "init"].into_iter().chain(to("start", layout).into_iter().skip(1));
    db.pupctl(init).success();
    if layout.contains("month") {
        db.pupctl(["partitions", "ensure", "--from", &db.month(-12)]).success();
    }
    db.dump()
}

/// The catalog and what is recorded, without what a conversion leaves as it was: the checksums of
/// migrations that were applied, indexes with names of their own, tables that are not replaced.
fn comparable(dump: &str, kind: Kind) -> String {
    let others = ["idx_", "projection_checkpoints", "aggregate_heads_updated_at_idx"];
    let is_kept =
        |line: &&str| kind == Kind::Pupctl || !others.iter().any(|other| line.contains(other));
    let lines = dump.lines().filter(is_kept);
    let lines = lines.map(|line| line.split(", \"checksum\"").next().unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

fn every_layout_from(kind: Kind, layouts: &[&str]) {
    for layout in layouts {
        let db = store(kind);
        let before = rows(&db);
        let started = convert(&db, &to("start", layout)).success();
        assert_same(&before, &rows(&db), layout);
        assert_eq!(phase(&db), "ready", "{started}");
        // Appends go on.
        append(&db, "Billing", "o-1", 2, 0);
        let before = rows(&db);
        let swapped = convert(&db, &["swap"]).success();
        assert_same(&before, &rows(&db), &format!("{layout}\n{swapped}"));
        assert_checked(&db);
        append(&db, "Billing", "o-2", 2, 0);
        let before = rows(&db);
        convert(&db, &["finish"]).success();
        assert_same(&before, &rows(&db), layout);
        assert_sound(&db, layout);
        assert_checked(&db);
        assert_nothing_left(&db, layout);
        assert_eq!(phase(&db), "finished");
        let [expected, found] = [fresh(layout), db.dump()].map(|dump| comparable(&dump, kind));
        assert_same_text(&expected, &found, &format!("{kind:?} {layout}"));
        // Later commands find nothing to mend.
        let ensure = db.pupctl(["partitions", "ensure"]).success();
        assert!(ensure.stderr.contains("Nothing to do"), "{layout} {ensure}");
    }
}

#[test]
fn from_tables_of_pupctl_by_context_and_hash() {
    every_layout_from(Kind::Pupctl, &["context", "hash", "context,hash"]);
}

#[test]
fn from_tables_of_pupctl_by_month() {
    every_layout_from(Kind::Pupctl, &["month", "context,month", "hash,month"]);
}

#[test]
fn from_tables_of_pupsourcing_by_context_and_hash() {
    every_layout_from(Kind::Pupsourcing, &["context", "hash", "context,hash"]);
}

#[test]
fn from_tables_of_pupsourcing_by_month() {
    every_layout_from(Kind::Pupsourcing, &["month", "context,month", "hash,month"]);
}

#[test]
fn a_store_without_events() {
    // The other way round than where the old tables have events (`back`).
    for (layout, kind) in LAYOUTS.into_iter().zip([Kind::Pupsourcing, Kind::Pupctl].repeat(3)) {
        let db = empty(kind);
        let mut line = to("run", layout);
        if layout.contains("context") {
            line.extend(["--contexts", "Billing"]);
        }
        convert(&db, &line).success();
        append(&db, "Billing", "o-1", 3, 0);
        convert(&db, &["rollback"]).success();
        assert_sound(&db, layout);
        assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 3, "{layout}");
        convert(&db, &line).success();
        convert(&db, &["finish"]).success();
        assert_sound(&db, layout);
        assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 3, "{layout}");
        assert_checked(&db);
        assert_nothing_left(&db, layout);
    }
}

#[test]
fn ids_and_protections_of_the_new_layout_work_after_it() {
    let db = store(Kind::Pupctl);
    let mut line = to("run", "context,month");
    line.extend(["--event-ids", "--immutable"]);
    convert(&db, &line).success();
    convert(&db, &["finish"]).success();
    assert_checked(&db);
    let known = db.one::<i64>("SELECT count(*) FROM events");
    let ids = db.one::<i64>("SELECT count(*) FROM pupctl_event_ids");
    assert_eq!(ids, known);
    let again = "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, payload)
        SELECT 'Billing', 'Order', 'new', 1, event_id, 'x', '' FROM events
        WHERE bounded_context = 'Identity' LIMIT 1";
    let refused = db.client().batch_execute(again).expect_err("a key");
    assert_eq!(refused.code().map(postgres::error::SqlState::code), Some("23505"));
    assert!(db.client().batch_execute("DELETE FROM events").is_err());
}

#[test]
fn a_store_that_was_made_by_files_takes_further_ones() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "generate", "--partition-by", "none"]).success();
    db.pupctl(["schema", "migrate"]).success();
    append(&db, "Billing", "o-1", 3, 0);
    convert(&db, &to("run", "context,month")).success();
    convert(&db, &["rollback"]).success();
    db.pupctl(["schema", "migrate"]).success();
    convert(&db, &to("run", "month")).success();
    convert(&db, &["finish"]).success();
    let file = db.folder().join("migrations/V10__orders.sql");
    std::fs::write(file, "CREATE TABLE orders ()").expect("a file");
    db.pupctl(["schema", "migrate"]).success();
    assert!(db.one::<bool>("SELECT to_regclass('orders') IS NOT NULL"));
    assert_checked(&db);
}
