//! Events that were lost, by whoever and however, and given twice.

use crate::support::TestDatabase;
use crate::{
    BOTH, append, append_at, assert_finds, assert_finds_nothing, assert_is_reference, assert_mends,
    differing, found, handled, insert, insert_at, move_to, store, work,
};

const SLOTS: [u32; 2] = [1, 4];

#[test]
fn what_is_as_it_should_be_is_found_so() {
    for slots in SLOTS {
        let db = handled(slots);
        assert_finds_nothing(&db);
    }
}

/// Reads everything behind its checkpoint that it can see, and goes to the last one: as processors
/// do that know nothing of commits in another order. What it handles it notes as ours does.
fn read_naively(db: &TestDatabase, name: &str) {
    db.execute(&format!(
        "BEGIN;
         CREATE TEMP TABLE seen ON COMMIT DROP AS SELECT * FROM events WHERE global_position >
            (SELECT min(last_global_position) FROM projection_checkpoints WHERE projection = '{name}');
         INSERT INTO {name}_counts AS t SELECT aggregate_id, count(*) FROM seen GROUP BY 1
            ON CONFLICT (id) DO UPDATE SET events = t.events + excluded.events;
         INSERT INTO projection_audit AS t (projection, block, slot, given, events, digest)
            SELECT '{name}', global_position / 1024, 0,
                bit_or(set_bit(0::bit(1024), (global_position % 1024)::int, 1)), count(*),
                sum(uuid_hash_extended(event_id, 0)) FROM seen GROUP BY 2
            ON CONFLICT (projection, block, slot) DO UPDATE SET given = t.given | excluded.given,
                events = t.events + excluded.events, digest = t.digest + excluded.digest;
         UPDATE projection_checkpoints SET last_global_position =
            (SELECT max(global_position) FROM seen) WHERE projection = '{name}';
         COMMIT"
    ));
}

#[test]
fn an_event_that_commits_late() {
    for slots in SLOTS {
        let db = handled(slots);
        let mut late = db.client();
        late.batch_execute("BEGIN").expect("a transaction");
        late.batch_execute(&insert(61, "late").replace("61,", "DEFAULT,")).expect("an event");
        append(&db, 0..5);
        for name in BOTH {
            read_naively(&db, name);
        }
        assert_finds_nothing(&db);
        late.batch_execute("COMMIT").expect("it commits");
        assert_finds(&db, &["lost 1 61-61"]);
        append(&db, 0..5);
        work(&db, slots);
        assert_eq!(differing(&db, "code"), 1);
        assert_mends(&db, slots);
    }
}

#[test]
fn events_that_are_written_below_the_checkpoint() {
    for slots in SLOTS {
        let db = handled(slots);
        for position in [12, 13, 30] {
            insert_at(&db, position, &format!("order-{position}"));
        }
        assert_finds(&db, &["lost 3 12-30"]);
        // More of them come meanwhile.
        append(&db, 0..7);
        work(&db, slots);
        assert_mends(&db, slots);
    }
}

#[test]
fn a_checkpoint_that_is_moved_by_hand() {
    for slots in SLOTS {
        let db = handled(slots);
        append(&db, 0..10);
        move_to(&db, 65);
        work(&db, slots);
        assert_finds(&db, &["lost 5 61-65"]);
        assert_mends(&db, slots);
        // Forward over many blocks.
        db.execute(
            "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
                event_id, event_type, payload)
             SELECT 'Billing', 'Order', 'b-' || number % 100, number, gen_random_uuid(), 'Placed', ''
             FROM generate_series(1, 2500) AS number",
        );
        move_to(&db, 1_500);
        work(&db, slots);
        assert_finds(&db, &["lost 1430 71-1500"]);
        assert_mends(&db, slots);
    }
}

#[test]
fn a_month_that_is_attached_below_the_checkpoint() {
    for slots in SLOTS {
        let db = store("month");
        let past = db.month(-2);
        append_at(&db, "Sales", &format!("{past}-05T00:00:00Z"), 0..20);
        let leaf = format!("events_{}", past.replace('-', "_"));
        db.pupctl(["partitions", "detach", &leaf, "--yes"]).success();
        append(&db, 0..30);
        work(&db, slots);
        assert_finds_nothing(&db);
        db.pupctl(["partitions", "attach", &leaf, "--behind-projections"]).success();
        assert_finds(&db, &["lost 20 1-20"]);
        assert_mends(&db, slots);
    }
}

#[test]
fn events_that_are_given_twice() {
    for slots in SLOTS {
        let db = handled(slots);
        move_to(&db, 57);
        work(&db, slots);
        assert_finds(&db, &["doubled 3 1-60"]);
        // Of a single one it is known which.
        let db = handled(slots);
        move_to(&db, 59);
        work(&db, slots);
        assert_finds(&db, &["doubled 1 60-60"]);
    }
}

#[test]
fn an_event_that_is_exchanged_or_removed() {
    let db = handled(1);
    db.execute("UPDATE events SET event_id = gen_random_uuid() WHERE global_position = 40");
    assert_finds(&db, &["other 1 1-60"]);
    db.execute("DELETE FROM events WHERE global_position IN (41, 50)");
    assert_finds(&db, &["vanished 2 41-50"]);
    insert_at(&db, 20, "order-1");
    assert_finds(&db, &["lost 1 20-20", "vanished 2 41-50"]);
}

/// Leaves have keys of their own, so an event may come to a position that another one has.
#[test]
fn an_event_at_the_position_of_another_one() {
    let db = store("context");
    append(&db, 0..10);
    work(&db, 1);
    insert_billing(&db, 5);
    assert_finds(&db, &["lost 1 5-5"]);
    let report = crate::verify(&db, &["sql", "--repair"]).failure(3);
    assert!(report.stdout.contains("cannot be given alone"), "{report}");
    assert!(report.stdout.contains("pupctl projections rebuild sql"), "{report}");
    // Where both were there in time, nothing is wrong.
    let db = store("context");
    append(&db, 0..10);
    insert_billing(&db, 5);
    work(&db, 1);
    assert_finds_nothing(&db);
}

fn insert_billing(db: &TestDatabase, position: i64) {
    db.execute(&insert(position, "other").replace("'Sales'", "'Billing'"));
}

#[test]
fn slots_at_different_positions_are_compared_up_to_the_lowest() {
    let db = handled(4);
    // The same events come again to three slots: they were not given, as far as is noted.
    db.execute("UPDATE projection_checkpoints SET paused_at = now() WHERE slot = 0");
    append(&db, 0..40);
    let others = "UPDATE projection_checkpoints SET last_global_position = 60 WHERE slot = 0";
    let mut client = db.client();
    let runner = crate::runner(&db, 4);
    let stop = runner.stopper();
    let running = std::thread::spawn(move || runner.run());
    crate::support::eventually("the others have caught up", || {
        let sql = "SELECT count(*) FROM projection_checkpoints WHERE last_global_position = 100";
        client.query_one(sql, &[]).expect("a row").get::<_, i64>(0) == 6
    });
    stop.raise();
    running.join().expect("no panic").expect("stopped");
    client.batch_execute(others).expect("it stands there");
    assert_finds_nothing(&db);
    insert_at(&db, 25, "order-2");
    insert_at(&db, 11, "order-3");
    assert_finds(&db, &["lost 2 11-25"]);
    db.execute("UPDATE projection_checkpoints SET paused_at = NULL");
    assert_mends(&db, 4);
}

#[test]
fn only_what_it_reads_was_to_be_given() {
    let db = store("none");
    db.pupctl(["projections", "init", "code", "--contexts", "Sales"]).success();
    append(&db, 0..5);
    append_at(&db, "Billing", "2026-01-01T00:00:00Z", 0..5);
    append(&db, 5..9);
    // As a worker with that scope would have noted it.
    read_naively_of(&db, "bounded_context = 'Sales'");
    assert_eq!(found(&db, "code", &[]), Vec::<String>::new());
    insert_billing(&db, 300);
    db.execute("UPDATE projection_checkpoints SET last_global_position = 400");
    assert_eq!(found(&db, "code", &[]), Vec::<String>::new());
    insert_at(&db, 301, "order-1");
    assert_eq!(found(&db, "code", &[]), ["lost 1 301-301"]);
    // One that reads less now was given what it was given.
    db.execute("UPDATE projection_checkpoints SET bounded_contexts = '{Billing}'");
    assert_eq!(found(&db, "code", &[]), ["lost 6 6-300"]);
}

fn read_naively_of(db: &TestDatabase, scope: &str) {
    db.execute(&format!(
        "INSERT INTO projection_audit SELECT 'code', global_position / 1024, 0,
            bit_or(set_bit(0::bit(1024), (global_position % 1024)::int, 1)), count(*),
            sum(uuid_hash_extended(event_id, 0)) FROM events WHERE {scope} GROUP BY 2;
         UPDATE projection_checkpoints SET last_global_position =
            (SELECT max(global_position) FROM events)"
    ));
}

#[test]
fn a_part_of_the_positions_is_compared() {
    let db = handled(1);
    for position in [11, 20, 30] {
        insert_at(&db, position, "order-1");
    }
    let of = |from: &str, to: &str| found(&db, "code", &["--from", from, "--to", to]);
    assert_eq!(of("12", "20"), ["lost 1 20-20"]);
    assert_eq!(of("20", "1000000"), ["lost 2 20-30"]);
    assert_eq!(of("31", "60"), Vec::<String>::new());
    assert_eq!(of("100", "200"), Vec::<String>::new());
    crate::verify(&db, &["code", "--to", "20", "--repair"]).success();
    assert_eq!(found(&db, "code", &[]), ["lost 1 30-30"]);
}

#[test]
fn gaps_as_wide_as_spans_are_stepped_over() {
    let db = handled(1);
    db.execute("SELECT setval('events_global_position_seq', 5000000000)");
    append(&db, 0..10);
    db.execute("SELECT setval('events_global_position_seq', 9000000000)");
    append(&db, 0..10);
    work(&db, 1);
    assert_finds_nothing(&db);
    insert_at(&db, 7_000_000_000, "order-1");
    assert_finds(&db, &["lost 1 7000000000-7000000000"]);
    assert_mends(&db, 1);
    assert_is_reference(&db);
}
