//! What the command itself finds in the way before it begins: all of it, with what mends it.

use crate::support::{Output, TestDatabase, fingerprint};
use crate::{Kind, assert_checked, assert_same_text, convert, phase, small, to};

/// The same layout with these options.
fn with<'a>(words: &[&'a str]) -> Vec<&'a str> {
    to("start", "month").into_iter().chain(words.iter().copied()).collect()
}

/// Refused, with and without a dry run, in these words, and nothing is changed.
#[track_caller]
fn refused(db: &TestDatabase, words: &[&str], told: &[&str]) -> Output {
    let before = fingerprint(&mut db.client());
    let dry = convert(db, &[words, &["--dry-run"]].concat()).failure(1);
    let run = convert(db, words).failure(1);
    assert_eq!(dry.stderr, run.stderr);
    for words in told {
        assert!(run.stderr.contains(words), "{words}: {run}");
    }
    assert_same_text(&before, &fingerprint(&mut db.client()), "refused");
    run
}

/// Refused in these words; what they say mends it, and then the store is converted.
#[track_caller]
fn mended(change: &str, told: &[&str]) {
    let db = small(Kind::Pupsourcing);
    db.execute(change);
    let run = refused(&db, &to("start", "month"), told);
    let (_, hint) = run.stderr.split_once("run this, and try again: ").expect("statements");
    db.execute(hint.trim());
    convert(&db, &to("run", "month")).success();
    assert_checked(&db);
}

#[test]
fn columns_that_a_statement_mends() {
    for (change, told) in [
        (
            "DO $$ DECLARE next bigint; BEGIN
                SELECT max(global_position) + 100 INTO next FROM events;
                ALTER TABLE events ALTER global_position DROP DEFAULT;
                DROP SEQUENCE events_global_position_seq;
                EXECUTE format('ALTER TABLE events ALTER global_position
                    ADD GENERATED ALWAYS AS IDENTITY (START %s)', next); END $$",
            "it belongs to GENERATED … AS IDENTITY",
        ),
        ("ALTER TABLE events ALTER global_position DROP DEFAULT", "no sequence numbers it"),
        ("ALTER TABLE events ALTER event_version DROP DEFAULT", "it has no default"),
        ("ALTER TABLE events ALTER event_type TYPE varchar(200)", "character varying(200)"),
        (
            "UPDATE events SET correlation_id = 'c';
             ALTER TABLE events ALTER correlation_id SET NOT NULL",
            "the column correlation_id: it refuses NULL",
        ),
        (
            "ALTER TABLE events DROP CONSTRAINT events_event_id_key",
            "the table: no unique key on (event_id)",
        ),
    ] {
        mended(change, &[told]);
    }
}

/// Without keys, some events twice, some without a type.
const FAULTS: &str = "
    DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = 'events'::regclass
            AND contype IN ('p', 'u') LOOP
            EXECUTE format('ALTER TABLE events DROP CONSTRAINT %I', name);
        END LOOP; END $$;
    ALTER TABLE events ALTER event_type DROP NOT NULL;
    INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version, event_id,
        payload)
    SELECT bounded_context, aggregate_type, aggregate_id, aggregate_version, event_id, payload
    FROM events WHERE aggregate_id = 'o-1' AND aggregate_version = 1;";

#[test]
fn all_faults_are_told_at_once() {
    let db = small(Kind::Pupsourcing);
    db.execute(FAULTS);
    db.execute(
        "CREATE RULE quiet AS ON DELETE TO aggregate_heads DO INSTEAD NOTHING;
         UPDATE aggregate_heads SET aggregate_version = 9 WHERE aggregate_id = 'o-2'",
    );
    let told = [
        "public.aggregate_heads: the rule quiet",
        "public.events: the column event_type: it takes NULL",
        "public.events: NULL in event_type: position ",
        "public.events: doubled bounded_context, aggregate_type, aggregate_id, aggregate_version: \
         Billing Order o-1 1: 2 rows, positions ",
        "public.events: doubled event_id: ",
        "no unique key on (event_id); mend it: ALTER TABLE \"public\".\"events\"",
        "--allow-deviating-heads",
        "hint: mend what is listed, and try again",
    ];
    let run = refused(&db, &to("start", "context"), &told);
    assert!(!run.stderr.contains(";;"), "{run}");
    assert_eq!(phase(&db), "none");
}

#[test]
fn other_options_for_a_conversion_that_there_is() {
    let db = small(Kind::Pupctl);
    let first = with(&["--event-ids"]);
    convert(&db, &first).success();
    let options = [
        (&["--guard", "none", "--allow-duplicate-versions"][..], "--guard none is asked for"),
        (&["--event-ids=false"], "--event-ids false is asked for, not true"),
        (&["--immutable"], "--immutable true is asked for, not false"),
    ];
    for (words, told) in options {
        refused(&db, &with(words), &[told, "with other options goes on, and is ready"]);
    }
    let dry = convert(&db, &[&first[..], &["--dry-run", "-o", "json"]].concat()).success().json();
    assert_eq!((&dry["dry_run"], &dry["changed"]), (&true.into(), &false.into()), "{dry}");
    let again = convert(&db, &first).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
    convert(&db, &["swap"]).success();
    convert(&db, &["finish"]).success();
    for (words, told) in options {
        let run = convert(&db, &with(words)).failure(1);
        assert!(run.stderr.contains(told) && run.stderr.contains("schema init"), "{run}");
    }
    convert(&db, &first).success();
    assert_checked(&db);
}

/// The tables of months of events, in order.
fn months(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'public.events'::regclass
         ORDER BY 1",
    )
}

#[test]
fn one_wrong_time_makes_one_month() {
    let db = small(Kind::Pupctl);
    db.execute(
        "UPDATE events SET created_at = '1970-01-01T00:00:00Z'
         WHERE aggregate_id = 'o-1' AND aggregate_version = 1 AND bounded_context = 'Billing'",
    );
    let dry = convert(&db, &[&to("start", "month")[..], &["--dry-run"]].concat()).success();
    let told = "note: the events are of 1970-01 (1 event) to ";
    assert!(dry.stderr.contains(told), "{dry}");
    convert(&db, &to("run", "month")).success();
    let months = months(&db);
    assert_eq!(months[0], "public.events_1970_01");
    assert!(months.len() < 8, "{months:?}");
    assert_checked(&db);
}

#[test]
fn a_table_that_stays_takes_no_space() {
    let db = small(Kind::Pupctl);
    let words = with(&["--strategy", "attach", "--free-space", "1kB"]);
    let dry = convert(&db, &[&words[..], &["--dry-run"]].concat()).success();
    for wrong in ["second table", "rows are copied", "values are copied"] {
        assert!(!dry.stderr.contains(wrong), "{dry}");
    }
    assert!(dry.stderr.contains("carried over: public.events: the owner"), "{dry}");
    convert(&db, &words).success();
    let copy = convert(&small(Kind::Pupctl), &with(&["--free-space", "1kB"])).failure(1);
    assert!(copy.stderr.contains("the space of a second table"), "{copy}");
}
