//! What others do between the begin of a conversion and its swap.

use crate::support::TestDatabase;
use crate::{
    Kind, append, assert_checked, assert_nothing_left, assert_same, assert_sound, convert, line,
    phase, ready, rows, rows_of, store, to,
};

/// The server gives this name to an index that somebody makes without one, and to one that only the
/// new layout has.
#[test]
fn an_index_may_have_the_name_of_one_of_the_layout() {
    for (layout, strategy) in
        [("month", "copy"), ("month", "attach"), ("context", "copy"), ("hash", "copy")]
    {
        let place = format!("{layout} {strategy}");
        let db = store(Kind::Pupsourcing);
        db.execute("CREATE INDEX ON events (created_at)");
        let index = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
            AND indexname = 'events_created_at_idx' AND tablename = 'events'";
        assert!(db.one::<String>(index).contains("btree"), "{place}");
        let before = rows(&db);
        let mut words = to("run", layout);
        words.extend(["--strategy", strategy]);
        for _ in 0..2 {
            let run = convert(&db, &words).success();
            assert_same(&before, &rows(&db), &format!("{place} {run}"));
            assert!(db.one::<String>(index).contains("btree"), "{place}");
            convert(&db, &["rollback"]).success();
            assert_same(&before, &rows(&db), &place);
            assert!(db.one::<String>(index).contains("btree"), "{place}");
            assert_nothing_left(&db, &place);
        }
        convert(&db, &words).success();
        convert(&db, &["finish"]).success();
        assert_checked(&db);
    }
}

#[test]
fn what_was_changed_since_the_begin_is_told_before_the_swap() {
    let db = ready(Kind::Pupctl, "context");
    let role = format!("reader_{}", db.name());
    db.execute(&format!("CREATE ROLE {role}"));
    for (change, undo, words) in [
        (
            format!("GRANT SELECT ON events TO {role}"),
            format!("REVOKE SELECT ON events FROM {role}"),
            format!("the right to SELECT of {role}: only public.events has it"),
        ),
        (
            "ALTER TABLE events ENABLE ROW LEVEL SECURITY".to_owned(),
            "ALTER TABLE events DISABLE ROW LEVEL SECURITY".to_owned(),
            "row-level security: only public.events has it".to_owned(),
        ),
        (
            "CREATE MATERIALIZED VIEW follower AS SELECT count(*) FROM events".to_owned(),
            "DROP MATERIALIZED VIEW follower".to_owned(),
            "follower".to_owned(),
        ),
    ] {
        db.execute(&change);
        let before = rows(&db);
        let run = convert(&db, &["swap"]).failure(1);
        assert!(run.stderr.contains(&words), "{run}");
        assert_same(&before, &rows(&db), &words);
        assert_eq!(phase(&db), "ready");
        db.execute(&undo);
    }
    db.execute(&format!("GRANT SELECT ON events, events_convert TO {role}"));
    convert(&db, &["swap"]).success();
    let may = format!("SELECT has_table_privilege('{role}', 'events', 'SELECT')");
    assert!(db.one::<bool>(&may));
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// Events that come between the last copy and the locks are copied, and the next try finds none.
#[test]
fn the_swap_is_tried_anew_where_an_event_comes_just_before_it() {
    let db = ready(Kind::Pupctl, "context");
    let mut words = line(&["swap"]);
    words.extend(["-o", "json"]);
    let mut run = db.command(words).hold_at("convert::before_locks").spawn();
    run.reached();
    append(&db, "Billing", "o-1", 2, 0);
    let before = rows(&db);
    run.release();
    let swapped = run.wait().success().json();
    assert_eq!(swapped["stall"]["tries"], 2, "{swapped}");
    assert_same(&before, &rows(&db), "swap");
    assert_sound(&db, "swap");
}

/// A context that comes late has partitions before the trigger writes its heads. Whoever is
/// interrupted between the two is gone on with.
#[test]
fn an_extension_that_is_interrupted_is_finished() {
    for verb in ["swap", "resume"] {
        let db = ready(Kind::Pupctl, "context");
        append(&db, "Surprise", "o-1", 2, 0);
        let mut writer = db.client();
        let mut open = writer.transaction().expect("a transaction");
        open.batch_execute("LOCK TABLE aggregate_heads IN ROW EXCLUSIVE MODE").expect("a lock");
        convert(&db, &["swap", "--lock-budget", "300ms"]).failure(5);
        drop(open);
        append(&db, "Surprise", "o-2", 1, 0);
        let before = rows(&db);
        convert(&db, &[verb]).success();
        if verb == "resume" {
            convert(&db, &["swap"]).success();
        }
        assert_same(&before, &rows(&db), verb);
        assert_sound(&db, verb);
        assert_checked(&db);
    }
}

/// Who writes to a partition by its name is not seen by the lock of the table.
#[test]
fn events_that_are_written_to_a_partition_go_back_too() {
    let db = ready(Kind::Pupctl, "month");
    convert(&db, &["swap"]).success();
    let leaf = format!("events_{}", db.month(0).replace('-', "_"));
    let insert = format!(
        "INSERT INTO {leaf} SELECT (jsonb_populate_record(event, jsonb_build_object(
            'global_position', nextval('events_global_position_seq'),
            'event_id', gen_random_uuid(), 'aggregate_id', 'direct', 'aggregate_version', 1))).*
         FROM ONLY {leaf} AS event LIMIT 1"
    );
    let mut run = db.command(line(&["rollback"])).hold_at("convert::before_locks").spawn();
    run.reached();
    db.execute(&insert);
    run.release();
    run.wait().success();
    let found = "SELECT count(*) FROM events WHERE aggregate_id = 'direct'";
    assert_eq!(db.one::<i64>(found), 1);
}

/// The partition that has the heads of Billing, of the store or of what is replaced.
fn heads_of_billing(db: &TestDatabase) -> String {
    db.one(
        "SELECT oid::regclass::text FROM pg_class
         WHERE relispartition AND relkind = 'r' AND relname LIKE '%heads%billing%'",
    )
}

#[test]
fn who_moves_a_head_in_a_partition_is_waited_for_on_the_way_back() {
    let db = ready(Kind::Pupctl, "context");
    convert(&db, &["swap"]).success();
    let mut writer = db.client();
    let mut open = writer.transaction().expect("a transaction");
    let leaf = heads_of_billing(&db);
    let update = format!("UPDATE {leaf} SET updated_at = now()");
    open.batch_execute(&update).expect("heads");
    convert(&db, &["rollback", "--lock-budget", "300ms"]).failure(5);
    drop(open);
    convert(&db, &["rollback"]).success();
    assert_sound(&db, "rollback");
}

#[test]
fn heads_that_are_moved_in_a_replaced_partition_are_not_dropped() {
    let db = ready(Kind::Pupctl, "context");
    convert(&db, &["swap"]).success();
    let mut run = db.command(line(&["rollback"])).hold_at("convert::swapped").spawn();
    run.reached();
    let leaf = heads_of_billing(&db);
    db.execute(&format!("INSERT INTO {leaf} VALUES ('Billing', 'Order', 'direct', 1)"));
    run.release();
    let told = run.wait().failure(1);
    assert!(told.stderr.contains("1 heads were moved in partitions of "), "{told}");
    db.execute(&format!("DELETE FROM {leaf} WHERE aggregate_id = 'direct'"));
    convert(&db, &["rollback"]).success();
    assert_nothing_left(&db, "rollback");
}

/// The server cuts the names of indexes where those of tables are long: partitions want the same
/// one, and sessions at once.
#[test]
fn sessions_that_build_at_once_do_not_fight_for_names() {
    let db = store(Kind::Pupctl);
    let long = "Accounts receivable of all companies";
    db.execute(&format!(
        "UPDATE events SET bounded_context = '{long}' WHERE bounded_context = 'Billing';
         UPDATE aggregate_heads SET bounded_context = '{long}' WHERE bounded_context = 'Billing'"
    ));
    let before = rows(&db);
    for _ in 0..3 {
        let words = [&to("run", "context,month")[..], &["--jobs", "4"]].concat();
        convert(&db, &words).success();
        assert_same(&before, &rows(&db), "run");
        convert(&db, &["rollback"]).success();
    }
}

/// Where the names of tables are long, those that pupctl makes of them are cut.
#[test]
fn tables_may_have_the_longest_names() {
    let events = format!("events_{}", "x".repeat(51));
    let heads = format!("heads_{}", "y".repeat(57));
    let db = TestDatabase::new();
    let config = format!("[tables]\nevents = \"{events}\"\naggregate_heads = \"{heads}\"\n");
    std::fs::write(db.folder().join("pupctl.toml"), config).expect("a file");
    db.pupctl(["schema", "init", "--partition-by", "none"]).success();
    db.execute(&format!(
        "INSERT INTO {events} (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT 'Billing', 'Order', 'o-1', number, gen_random_uuid(), 'x', ''
         FROM generate_series(1, 20) AS number;
         INSERT INTO {heads} SELECT 'Billing', 'Order', 'o-1', 20"
    ));
    let rows = || rows_of(&db, &events, &heads);
    let before = rows();
    convert(&db, &to("run", "context,month")).success();
    assert_same(&before, &rows(), "run");
    convert(&db, &["rollback"]).success();
    assert_same(&before, &rows(), "rollback");
    convert(&db, &to("run", "context,month")).success();
    convert(&db, &["finish"]).success();
    assert_same(&before, &rows(), "finish");
    let left = "SELECT count(*) FROM pg_class WHERE relname LIKE '%convert%'";
    assert_eq!(db.one::<i64>(left), 0);
}

/// After the swap the way back drops the new tables, and what hangs on them.
#[test]
fn what_was_changed_since_the_swap_is_told_before_the_way_back() {
    let db = ready(Kind::Pupctl, "month");
    convert(&db, &["swap"]).success();
    for (change, undo, words) in [
        (
            "CREATE MATERIALIZED VIEW follower AS SELECT count(*) FROM events",
            "DROP MATERIALIZED VIEW follower",
            "the materialized view public.follower",
        ),
        (
            "REVOKE ALL ON events FROM PUBLIC; GRANT SELECT ON events TO PUBLIC",
            "REVOKE SELECT ON events FROM PUBLIC",
            "the right to SELECT of PUBLIC: only public.events has it",
        ),
    ] {
        db.execute(change);
        let run = convert(&db, &["rollback"]).failure(1);
        assert!(run.stderr.contains(words), "{run}");
        assert_eq!(phase(&db), "swapped");
        db.execute(undo);
    }
    convert(&db, &["rollback"]).success();
}
