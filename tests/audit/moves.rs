//! Whatever moves checkpoints keeps the audit true.

use crate::support::TestDatabase;
use crate::{
    BOTH, append, assert_finds, assert_finds_nothing, assert_is_reference, assert_mends, handled,
    insert_at, move_to, store, verify, work,
};

fn reset(db: &TestDatabase, more: &[&str]) {
    for name in BOTH {
        db.pupctl(["projections", "reset", name, "--yes"].iter().chain(more)).success();
    }
}

/// From where on it is known what they were given.
fn audited_from(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT projection || ' ' || audited_from FROM public.projection_definitions
         ORDER BY projection",
    )
}

/// What is noted: the block, how many positions and events, whether the sum is known.
fn noted(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT concat_ws(' ', projection, block, bit_count(given), events, digest IS NOT NULL)
         FROM public.projection_audit ORDER BY projection, block, slot",
    )
}

#[test]
fn a_reset_backwards_forgets_what_comes_again() {
    for slots in [1, 4] {
        let db = handled(slots);
        insert_at(&db, 12, "order-1");
        reset(&db, &["--to", "35"]);
        assert_finds(&db, &["lost 1 12-12"]);
        assert_eq!(audited_from(&db), ["code 0", "sql 0"]);
        work(&db, slots);
        // What was given again is noted once.
        assert_finds(&db, &["lost 1 12-12"]);
        verify(&db, &["--all", "--repair"]).success();
        work(&db, slots);
        assert_finds_nothing(&db);
    }
    let db = handled(1);
    reset(&db, &["--to", "35"]);
    assert_eq!(noted(&db), ["code 0 15 15 f", "sql 0 15 15 f"]);
    // Where nothing is cut off, the sum stays.
    let db = handled(1);
    reset(&db, &["--to", "60"]);
    assert_eq!(noted(&db), ["code 0 40 40 t", "sql 0 40 40 t"]);
}

#[test]
fn a_reset_over_blocks_keeps_those_before_it() {
    let db = store("none");
    db.execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT 'Billing', 'Order', 'b-' || number % 100, number, gen_random_uuid(), 'Placed', ''
         FROM generate_series(1, 3100) AS number",
    );
    work(&db, 1);
    reset(&db, &["--to", "2047"]);
    let two =
        ["code 0 1023 1023 t", "code 1 1024 1024 t", "sql 0 1023 1023 t", "sql 1 1024 1024 t"];
    assert_eq!(noted(&db), two);
    reset(&db, &["--to", "1024"]);
    assert_eq!(noted(&db)[..2], ["code 0 1023 1023 t", "code 1 1 1 f"]);
    work(&db, 1);
    assert_finds_nothing(&db);
}

#[test]
fn a_reset_to_the_start_begins_anew() {
    let db = handled(4);
    insert_at(&db, 12, "order-1");
    reset(&db, &["--truncate"]);
    assert_eq!(noted(&db), Vec::<String>::new());
    assert_eq!(audited_from(&db), ["code 0", "sql 0"]);
    assert!(db.one::<bool>("SELECT bool_and(definition IS NULL) FROM projection_definitions"));
    work(&db, 4);
    assert_finds_nothing(&db);
    assert_is_reference(&db);
}

#[test]
fn what_a_reset_forwards_leaves_out_is_wished() {
    for slots in [1, 4] {
        let db = handled(slots);
        append(&db, 0..10);
        reset(&db, &["--to", "65"]);
        assert_eq!(audited_from(&db), ["code 65", "sql 65"]);
        assert_finds_nothing(&db);
        work(&db, slots);
        assert_finds_nothing(&db);
        let text = verify(&db, &["sql"]).success();
        assert!(text.stdout.contains("positions 66 to 70 compared, 5 events"), "{text}");
        assert!(text.stdout.contains("up to position 65 it is not known"), "{text}");
        assert!(text.stdout.contains("pupctl projections rebuild sql"), "{text}");
        // Back before it, everything is compared again.
        reset(&db, &["--to", "30"]);
        assert_eq!(audited_from(&db), ["code 30", "sql 30"]);
        work(&db, slots);
        insert_at(&db, 20, "order-1");
        assert_finds_nothing(&db);
    }
}

#[test]
fn a_reset_between_the_slots() {
    let db = handled(4);
    db.execute("UPDATE projection_checkpoints SET last_global_position = 40 WHERE slot = 1");
    reset(&db, &["--to", "50"]);
    assert_eq!(audited_from(&db), ["code 50", "sql 50"]);
    work(&db, 4);
    assert_finds_nothing(&db);
    insert_at(&db, 30, "order-1");
    assert_finds_nothing(&db);
    append(&db, 0..3);
    move_to(&db, 62);
    work(&db, 4);
    assert_finds(&db, &["lost 2 61-62"]);
}

#[test]
fn who_is_deleted_leaves_nothing_behind() {
    let db = handled(1);
    for name in BOTH {
        db.pupctl(["projections", "delete", name, "--yes", "--read-model", "--wait", "60s"])
            .success();
    }
    assert_eq!((noted(&db), audited_from(&db)), (Vec::new(), Vec::new()));
    db.execute("CREATE TABLE code_counts (id text PRIMARY KEY, events bigint NOT NULL)");
    work(&db, 4);
    assert_finds_nothing(&db);
    assert_is_reference(&db);
}

#[test]
fn who_is_taken_over_is_compared_from_there_on() {
    for (slots, from) in [("2", None), ("3", Some("lowest")), ("3", Some("highest"))] {
        let db = store("none");
        append(&db, 0..60);
        // Of somebody who had this name before.
        db.execute(
            "INSERT INTO projection_definitions (projection, audited_from) VALUES ('code', 0);
             INSERT INTO projection_audit VALUES ('code', 0, 0, 0::bit(1024), 7, 7);
             INSERT INTO projection_checkpoints (projection_name, last_global_position, updated_at)
             VALUES ('code_p0', 20, now() - interval '2 minutes'),
                ('code_p1', 35, now() - interval '2 minutes')",
        );
        let mut line =
            vec!["projections", "adopt", "code", "--total", "2", "--slots", slots, "--yes"];
        line.extend(from.iter().flat_map(|from| ["--from", from]));
        db.pupctl(line).success();
        let begin = if from == Some("lowest") { 20 } else { 35 };
        assert_eq!(audited_from(&db), [format!("code {begin}")]);
        assert_eq!(noted(&db), Vec::<String>::new());
        work(&db, slots.parse().expect("a number"));
        assert_eq!(audited_from(&db)[0], format!("code {begin}"));
        assert_finds_nothing(&db);
        db.execute("DELETE FROM events WHERE global_position IN (10, 50)");
        assert_eq!(crate::found(&db, "code", &[]), ["vanished 1 50-50"]);
    }
}

#[test]
fn another_number_of_slots_changes_nothing() {
    let db = handled(1);
    insert_at(&db, 12, "order-1");
    let before = noted(&db);
    for slots in ["4", "3", "16", "1"] {
        for name in BOTH {
            let line = ["projections", "rescale", name, "--slots", slots, "--yes"];
            db.pupctl(line).success();
        }
        assert_eq!(noted(&db), before, "{slots}");
        assert_finds(&db, &["lost 1 12-12"]);
    }
    db.pupctl(["projections", "rescale", "sql", "--slots", "4"]).success();
    append(&db, 0..20);
    work(&db, 1);
    assert_finds(&db, &["lost 1 12-12"]);
    assert_mends(&db, 1);
}

#[test]
fn dead_letters_were_given() {
    for slots in [1, 4] {
        let db = handled(slots);
        append(&db, 0..5);
        append(&db, 0..5);
        db.execute("INSERT INTO poison VALUES (61), (63)");
        work(&db, slots);
        assert_eq!(db.one::<i64>("SELECT count(*) FROM projection_dead_letters"), 8);
        assert_finds_nothing(&db);
        let before = noted(&db);
        for name in BOTH {
            let line = ["projections", "dead-letters", "replay", name, "--position", "68"];
            db.pupctl(line).success();
        }
        db.execute("DELETE FROM poison WHERE position = 63");
        work(&db, slots);
        assert_eq!(db.one::<i64>("SELECT count(*) FROM projection_dead_letters"), 4);
        for name in BOTH {
            let line = ["projections", "dead-letters", "discard", name, "--all", "--yes"];
            db.pupctl(line).success();
        }
        assert_eq!(noted(&db), before);
        assert_finds_nothing(&db);
    }
}

#[test]
fn who_begins_later_is_compared_from_there_on() {
    let db = store("none");
    append(&db, 0..30);
    // Whoever had the name before lost its rows.
    db.execute(
        "INSERT INTO projection_definitions (projection, audited_from, definition)
         VALUES ('sql', 7, 'old');
         INSERT INTO projection_audit VALUES ('sql', 0, 3, 0::bit(1024), 7, 7)",
    );
    db.pupctl(["projections", "init", "code", "--from", "12"]).success();
    db.pupctl(["projections", "init", "sql"]).success();
    assert_eq!(audited_from(&db), ["code 12", "sql 0"]);
    assert_finds_nothing(&db);
    work(&db, 1);
    assert_eq!(audited_from(&db), ["code 12", "sql 0"]);
    assert_finds_nothing(&db);
    move_to(&db, 29);
    work(&db, 1);
    assert_finds(&db, &["doubled 1 30-30"]);
}

/// Its rows are gone, and what it was given is still noted: a worker forgets that.
#[test]
fn rows_that_are_deleted_by_hand() {
    let db = handled(1);
    db.execute("DELETE FROM projection_checkpoints; TRUNCATE code_counts, sql_counts");
    work(&db, 1);
    assert_eq!(audited_from(&db), ["code 0", "sql 0"]);
    assert_finds_nothing(&db);
    assert_is_reference(&db);
}
