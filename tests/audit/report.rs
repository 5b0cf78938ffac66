//! What is told, to people and to machines.

use serde_json::json;

use crate::{append, burn, handled, insert_at, store, verify, work};

#[test]
fn a_report_says_what_is_wrong_and_what_mends_it() {
    let db = handled(1);
    let fine = verify(&db, &["code"]).success();
    assert_eq!(fine.stdout, "code: positions 1 to 60 compared, 40 events, all right\n");
    insert_at(&db, 12, "it''s\u{1b}[31m");
    insert_at(&db, 30, "order-3");
    let found = verify(&db, &["code"]).failure(3);
    for words in [
        "code: positions 1 to 60 compared, 42 events, not as it should be\n",
        "  lost 2 events not given: 12 to 30\n",
        "    12: OrderPlaced of Sales/Order/it's",
        "    30: OrderPlaced of Sales/Order/order-3 version 1030, ",
        "  mend it: pupctl projections verify code --repair\n",
    ] {
        assert!(found.stdout.contains(words), "{words}: {found}");
    }
    assert!(!found.stdout.contains('\u{1b}'), "{found}");
    let quiet = verify(&db, &["code", "-q"]).failure(3);
    assert_eq!((quiet.stdout.as_str(), &quiet.stderr), ("", &found.stdout));
}

#[test]
fn a_report_for_machines() {
    let db = handled(1);
    insert_at(&db, 12, "order-3");
    let json = verify(&db, &["sql", "-o", "json"]).failure(3).json();
    assert_eq!(json["command"], "projections verify");
    let sql = &json["projections"][0];
    let id: String = db.one("SELECT event_id::text FROM events WHERE global_position = 12");
    let head = ["projection", "audited_from", "after", "up_to", "events", "ambiguous", "file"];
    let head = head.map(|key| sql[key].clone());
    assert_eq!(json!(head), json!(["sql", 0, 0, 60, 41, 0, "sql.sql"]));
    let finding = &sql["findings"][0];
    assert_eq!(finding["ranges"], json!([{"first": 12, "last": 12, "events": 1}]));
    assert_eq!(finding["first"][0]["position"], 12);
    assert_eq!(finding["first"][0]["event_id"], id);
    assert_eq!(finding["first"][0]["aggregate_version"], 1012);
    assert!(sql.get("repair").is_none());
    let json = verify(&db, &["sql", "--repair", "-o", "json"]).success().json();
    let repair = &json["projections"][0]["repair"];
    assert_eq!((&repair["changed"], &repair["events"]), (&json!(true), &json!(1)));
}

#[test]
fn many_losses_are_told_in_short() {
    let db = store("none");
    burn(&db, 400_000);
    append(&db, 0..1);
    work(&db, 1);
    db.execute(
        "INSERT INTO events (global_position, bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, payload)
         SELECT number * 2000, 'Sales', 'Order', 'o-' || number, 1, gen_random_uuid(), 'Placed', ''
         FROM generate_series(1, 150) AS number",
    );
    let json = verify(&db, &["code", "-o", "json"]).failure(3).json();
    let lost = &json["projections"][0]["findings"][0];
    assert_eq!(lost["events"], 150);
    assert_eq!(lost["ranges"].as_array().expect("ranges").len(), 100);
    assert_eq!(lost["ranges"][99], json!({"first": 200_000, "last": 300_000, "events": 51}));
    assert_eq!(lost["first"].as_array().expect("events").len(), 10);
    let text = verify(&db, &["code"]).failure(3);
    assert!(text.stdout.contains("2000, 4000, 6000"), "{text}");
    assert!(text.stdout.contains("20000, …\n"), "{text}");
    crate::assert_mends(&db, 1);
}

#[test]
fn who_is_not_there_is_told() {
    let db = store("none");
    let none = verify(&db, &["--all"]).success();
    assert!(none.stderr.contains("No projections"), "{none}");
    let unknown = verify(&db, &["orders"]).failure(1);
    assert!(unknown.stderr.contains("there is no projection orders"), "{unknown}");
    db.execute("INSERT INTO projection_checkpoints VALUES ('orders', 3)");
    let foreign = verify(&db, &["orders"]).failure(1);
    assert!(foreign.stderr.contains("pupctl projections adopt orders"), "{foreign}");
    verify(&db, &["--all"]).success();
    for wrong in [&[][..], &["orders", "--all"], &["x", "--from", "0"]] {
        verify(&db, wrong).failure(2);
    }
    let turned = verify(&db, &["orders", "--from", "5", "--to", "4"]).failure(2);
    assert!(turned.stderr.contains("position 5 lies behind 4"), "{turned}");
}

#[test]
fn an_interruption_ends_it() {
    let db = handled(1);
    let mut holder = db.client();
    let lock = "BEGIN; LOCK TABLE projection_audit IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).expect("a lock");
    let run = db.command(["projections", "verify", "code"]).spawn();
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted
        AND relation = 'projection_audit'::regclass";
    crate::support::eventually("it compares", || db.one::<i64>(waits) == 1);
    run.signal("INT");
    let ended = run.wait().failure(130);
    assert!(ended.stderr.contains("interrupted"), "{ended}");
    holder.batch_execute("ROLLBACK").expect("its end");
}

#[test]
fn a_name_with_a_quote() {
    let db = store("none");
    let name = "it's \"mine\"";
    db.pupctl(["projections", "init", name]).success();
    append(&db, 0..3);
    crate::move_to(&db, 3);
    let found = verify(&db, &[name]).failure(3);
    assert!(found.stdout.contains("lost 3 events not given: 1 to 3"), "{found}");
    verify(&db, &[name, "--repair"]).success();
    verify(&db, &[name]).success();
}

#[test]
fn nobody_knows_what_was_given_before_it_was_noted() {
    let db = handled(1);
    db.execute(
        "DELETE FROM projection_definitions WHERE projection = 'code';
         DELETE FROM projection_audit WHERE projection = 'code'",
    );
    let found = verify(&db, &["code"]).success();
    assert!(found.stdout.contains("nothing to compare"), "{found}");
    assert!(found.stdout.contains("that begins when a worker starts"), "{found}");
    append(&db, 0..3);
    work(&db, 1);
    let found = verify(&db, &["code"]).success();
    assert!(found.stdout.contains("positions 61 to 63 compared, 3 events, all right"), "{found}");
    assert!(found.stdout.contains("reset code --truncate"), "{found}");
}
