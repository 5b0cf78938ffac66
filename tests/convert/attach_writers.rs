//! Writers, readers and a projection run through conversions that copy nothing.

use crate::attach::{QUOTED, attach, fit};
use crate::journal;
use crate::load::beside;
use crate::writers::{Running, while_they_work};
use crate::{CONTEXTS, Kind, assert_checked, assert_nothing_left, assert_sound, line};

/// There, back, there again and to the end; then the past is divided.
fn through(kind: Kind, layout: &str) {
    let db = fit(kind, layout);
    let projects = kind == Kind::Pupctl;
    if projects {
        journal::create(&db);
    }
    let projection = projects.then(|| Running::start(&db));
    let budget = |words: &[&str]| {
        db.command(words).args(["--lock-budget", "60s"]).run().success();
    };
    let contexts: &[&str] = if layout == "month" { &CONTEXTS } else { &[QUOTED] };
    let load = beside(&db, contexts, |_| {
        while_they_work(1);
        for words in [&attach("start", layout)[..], &["swap"], &["rollback"]] {
            budget(&line(words));
            while_they_work(1);
        }
        for words in [&attach("start", layout)[..], &["swap"], &["finish"]] {
            budget(&line(words));
            while_they_work(1);
        }
        if layout == "month" {
            budget(&["partitions", "split", "events_history", "--yes"]);
            while_they_work(1);
        }
    });
    load.assert_well(&db, layout);
    assert_sound(&db, layout);
    assert_checked(&db);
    assert_nothing_left(&db, layout);
    if let Some(projection) = projection {
        projection.finish(&db, layout);
    }
}

#[test]
fn by_month() {
    through(Kind::Pupctl, "month");
}

#[test]
fn by_context() {
    through(Kind::Pupctl, "context");
}

#[test]
fn by_month_from_tables_of_pupsourcing() {
    through(Kind::Pupsourcing, "month");
}

#[test]
fn by_context_from_tables_of_pupsourcing() {
    through(Kind::Pupsourcing, "context");
}
