//! Real history into each of the seven layouts: everything is there, in its place and its order.

use std::collections::BTreeMap;

use insta::assert_snapshot;

use crate::event::{Read, heads, read, rows, text};
use crate::support::{TestDatabase, fingerprint};
use crate::{excerpt, with_excerpt};

/// A store that knows no context and no month of the past, filled from the excerpt.
fn imported(layout: &str) -> TestDatabase {
    let db = TestDatabase::new();
    let mut init = vec!["schema", "init", "--partition-by", layout, "--months", "1"];
    if layout.contains("hash") {
        init.extend(["--hash-partitions", "2"]);
    }
    db.pupctl(init).success();
    let file = with_excerpt(&db);
    db.pupctl(["events", "import", file, "--create-partitions"]).success();
    let text = text(&excerpt());
    let events = read(&text);
    holds(&db, &events);
    leaves_hold_what_their_names_say(&db, layout);
    is_sound(&db);
    a_second_import_is_refused(&db, file);
    skipping_changes_nothing(&db, file);
    db
}

/// Compares the store with the file: rows in their order, counts, heads.
fn holds(db: &TestDatabase, events: &[Read<'_>]) {
    let expected: Vec<_> = events.iter().map(Read::row).collect();
    assert_eq!(rows(db), expected);
    let mut months: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    for event in events {
        *months.entry((&event.bounded_context, &event.created_at[..7])).or_default() += 1;
        let Read { bounded_context, aggregate_type, aggregate_id, .. } = event;
        let aggregate = format!("{bounded_context}|{aggregate_type}|{aggregate_id}");
        last.insert(aggregate, event.aggregate_version);
    }
    let counted = db.texts(
        "SELECT concat_ws(' ', bounded_context, month, count(*))
         FROM (SELECT bounded_context, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM') AS month
            FROM public.events) AS event
         GROUP BY bounded_context, month ORDER BY bounded_context COLLATE \"C\", month",
    );
    let in_file =
        months.iter().map(|((context, month), count)| format!("{context} {month} {count}"));
    assert_eq!(counted, in_file.collect::<Vec<_>>());
    let mut last: Vec<_> = last.iter().map(|(name, version)| format!("{name}|{version}")).collect();
    let mut heads = heads(db);
    last.sort();
    heads.sort();
    assert_eq!(heads, last);
}

/// Each row against the name of its partition, which says context and month apart from its bound.
fn leaves_hold_what_their_names_say(db: &TestDatabase, layout: &str) {
    let astray = db.texts(
        "SELECT DISTINCT concat_ws(' ', tableoid::regclass::text, bounded_context, created_at)
         FROM public.events
         WHERE tableoid::regclass::text ~ '_\\d{4}_\\d\\d$' AND right(tableoid::regclass::text, 7)
                <> to_char(created_at AT TIME ZONE 'UTC', 'YYYY_MM')
            OR tableoid::regclass::text ~ '^public.events_(?!hash)[a-z]+' AND NOT starts_with(
                tableoid::regclass::text, 'public.events_' || lower(bounded_context))",
    );
    assert_eq!(astray, [""; 0]);
    let leaves: i64 = db.one("SELECT count(DISTINCT tableoid) FROM events");
    let (contexts, months) = (layout.contains("context"), layout.contains("month"));
    let least = match (contexts, months) {
        (true, true) => 200,
        (false, true) => 120,
        (true, false) => 9,
        (false, false) => 1,
    };
    assert!(leaves >= least, "only {leaves} partitions have rows");
}

/// Nothing is missing, neither for `check` nor for `ensure`, and all of it is listed.
fn is_sound(db: &TestDatabase) {
    let check = db.pupctl(["partitions", "check", "--exit-code"]).success();
    assert_eq!(check.stdout, "", "{check}");
    let ensure = db.pupctl(["partitions", "ensure"]).success();
    assert!(ensure.stderr.contains("Nothing to do"), "{ensure}");
    let listed = db.pupctl(["partitions", "list", "-o", "json"]).success().json();
    let leaves = i64::try_from(db.leaves("public.events").len()).expect("a number");
    assert_eq!(listed["totals"][0]["leaves"], leaves);
}

fn a_second_import_is_refused(db: &TestDatabase, file: &str) {
    let before = fingerprint(&mut db.client());
    let again = db.pupctl(["events", "import", file]).failure(1);
    assert!(fingerprint(&mut db.client()) == before, "{again}");
    assert_snapshot!(again.stderr, @"
    error: history.ndjson, line 1: the store has this event already
      line 2: the store has this event already
      line 3: the store has this event already
      line 4: the store has this event already
      line 5: the store has this event already
      line 6: the store has this event already
      line 7: the store has this event already
      line 8: the store has this event already
      line 9: the store has this event already
      line 10: the store has this event already
      … 493 in all
    hint: leave out what is there: pupctl events import --skip-existing
    ");
}

fn skipping_changes_nothing(db: &TestDatabase, file: &str) {
    let before = fingerprint(&mut db.client());
    for more in [&["--create-partitions"][..], &[], &["--dry-run"]] {
        let skip = ["events", "import", file, "--skip-existing"];
        let again = db.pupctl(skip.iter().chain(more)).success();
        let told = ["the store has all 493 events", "0 events would go in, 493 are there already"];
        assert!(told.iter().any(|told| again.stderr.contains(told)), "{again}");
        assert!(!again.stdout.contains("CREATE"), "{again}");
        assert!(fingerprint(&mut db.client()) == before, "{again}");
    }
    // The second one had everything, as `ensure` before it.
    let runs = ["schema init: done", "events import: done", "partitions ensure: done"];
    assert_eq!(db.journal(), runs);
}

#[test]
fn none() {
    let db = imported("none");
    assert_eq!(db.leaves("public.events"), ["public.events"]);
}

#[test]
fn context() {
    let db = imported("context");
    assert_snapshot!(db.leaves("public.events").join("\n"), @"
    public.events_builtins
    public.events_compat
    public.events_contrib
    public.events_core
    public.events_documentation
    public.events_gui
    public.events_localization
    public.events_subsystems
    public.events_testing
    ");
}

#[test]
fn hash() {
    imported("hash");
}

#[test]
fn month() {
    let db = imported("month");
    let leaves = db.leaves("public.events");
    assert_eq!(leaves[0], "public.events_2005_04");
    assert!(leaves.contains(&"public.events_2015_05".to_owned()), "{leaves:?}");
    // History ends with the file; the years from then to the present have no partitions.
    assert!(!leaves.contains(&"public.events_2016_01".to_owned()), "{leaves:?}");
}

#[test]
fn context_hash() {
    imported("context,hash");
}

#[test]
fn context_month() {
    let db = imported("context,month");
    let of = |context: &str| {
        let prefix = format!("public.events_{context}_20");
        db.leaves("public.events").iter().filter(|leaf| leaf.starts_with(&prefix)).count()
    };
    // Each from its own first to its last month, but for holes of more than a year, the present one
    // and the next.
    assert_eq!((of("core"), of("gui"), of("localization")), (122 + 2, 13 + 2, 21 + 2));
}

#[test]
fn hash_month() {
    imported("hash,month");
}
