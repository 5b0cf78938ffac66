//! Eight writers on twenty aggregates, on every layout, at the isolation levels that people use.

use postgres::IsolationLevel;

use crate::support::TestDatabase;
use crate::writers::{Race, prove, violations};

/// A store with a month before the current one and one after it.
fn store(layout: &str, further: &[&str]) -> TestDatabase {
    let db = TestDatabase::new();
    let mut init = vec!["schema", "init", "--partition-by", layout, "--months", "1"];
    init.extend(["--contexts", "Sales"]);
    init.extend(further);
    if layout.contains("hash") {
        init.extend(["--hash-partitions", "4"]);
    }
    db.pupctl(init).success();
    db.pupctl(["partitions", "ensure", "--from", &db.month(-1)]).success();
    db
}

/// A race in which events are of now, of both sides of a month's boundary, and of the past.
fn race(db: &TestDatabase, isolation: IsolationLevel, appends: usize) -> Race<'_> {
    let (last, this, next) = (db.month(-1), db.month(0), db.month(1));
    let times = vec![
        db.one::<String>(
            "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00:00')",
        ),
        format!("{next}-01 00:00:00+00:00"),
        format!("{last}-03 12:00:00+00:00"),
        format!("{this}-01 00:00:00+00:00"),
        format!("{this}-01 01:59:59.999999+02:00"),
    ];
    let leaf = |time: &String| {
        // Where a hash or nothing decides, the writer goes through the parent.
        let leaves = db.leaves("public.events");
        let month = db.one::<String>(&format!(
            "SELECT to_char('{time}'::timestamptz AT TIME ZONE 'UTC', '_YYYY_MM')"
        ));
        let mut of_month = leaves.into_iter().filter(|leaf| leaf.ends_with(&month));
        let only = of_month.next();
        only.filter(|_| of_month.next().is_none())
    };
    let leaves = times.iter().map(leaf).collect();
    Race { db, context: "Sales", times, leaves, isolation, appends }
}

fn survives(layout: &str, isolation: IsolationLevel) {
    let db = store(layout, &[]);
    let outcome = race(&db, isolation, 2_000).run();
    prove(&db, &outcome, isolation);
    db.pupctl(["partitions", "check", "--exit-code"]).success();
}

macro_rules! layouts {
    ($($name:ident: $layout:literal),* $(,)?) => {
        $(mod $name {
            use postgres::IsolationLevel::{ReadCommitted, Serializable};

            #[test]
            fn read_committed() {
                super::survives($layout, ReadCommitted);
            }

            #[test]
            fn serializable() {
                super::survives($layout, Serializable);
            }
        })*
    };
}

layouts! {
    none: "none",
    context: "context",
    hash: "hash",
    month: "month",
    context_hash: "context,hash",
    context_month: "context,month",
    hash_month: "hash,month",
}

/// The race can be lost: without the guard months bring duplicates.
#[test]
fn without_the_guard_versions_are_stored_twice() {
    let db = store("month", &["--guard", "none", "--allow-duplicate-versions"]);
    race(&db, IsolationLevel::ReadCommitted, 2_000).run();
    let found = violations(&db);
    assert!(!found.is_empty());
    // And the guard that is dropped by hand is missed.
    let db = store("month", &[]);
    db.execute("DROP FUNCTION pupctl_guard CASCADE");
    race(&db, IsolationLevel::ReadCommitted, 2_000).run();
    assert!(!violations(&db).is_empty());
    db.pupctl(["partitions", "check", "--exit-code"]).failure(3);
}

/// Ids are kept apart from versions: both hold together.
#[test]
fn with_event_ids_the_race_ends_the_same() {
    let db = store("context,month", &["--event-ids", "--immutable"]);
    let outcome = race(&db, IsolationLevel::ReadCommitted, 1_000).run();
    prove(&db, &outcome, IsolationLevel::ReadCommitted);
    let kept = "SELECT count(*) FROM events FULL JOIN pupctl_event_ids USING (event_id)
        WHERE events.event_id IS NULL OR pupctl_event_ids.event_id IS NULL";
    assert_eq!(db.one::<i64>(kept), 0);
}

/// One context with months below a root without: the guard is there for it.
#[test]
fn a_context_with_months_of_its_own_is_guarded() {
    let db = TestDatabase::new();
    let file = db.folder().join("pupctl.toml");
    let config = "[layout]\npartition_by = 'context'\nmonths = 1\n[[contexts]]\nname = 'Sales'\n\
                  partition_by = 'month'\n[[contexts]]\nname = 'Billing'\n";
    std::fs::write(file, config).expect("written");
    db.pupctl(["schema", "init"]).success();
    db.pupctl(["partitions", "ensure", "--from", &db.month(-1)]).success();
    let outcome = race(&db, IsolationLevel::ReadCommitted, 1_000).run();
    prove(&db, &outcome, IsolationLevel::ReadCommitted);
}
