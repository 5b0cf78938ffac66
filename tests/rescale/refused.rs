//! What cannot be, is said.

use std::time::Duration;

use pupctl::projection::ServerHash;

use crate::support::fingerprint;
use crate::worker::Workers;
use crate::{events, projection, projections, rows, store};

#[test]
fn without_workers_it_says_who_does_not_move_and_leaves_the_barrier() {
    let db = store();
    events(&db, 100, 10);
    projection(&db, "orders", ServerHash::NAME, &[40, 90]);
    let line = ["rescale", "orders", "--slots", "1", "--patience", "300ms"];
    let refused = projections(&db, &line).failure(1);
    for words in [
        "the projection orders was not at its barrier in time: 1 slot has to go",
        "orders:0/2 is at 40, 50 positions before the barrier: no worker is connected",
        "start its workers, and run the same command again",
        "pupctl projections rescale orders --abort",
    ] {
        assert!(refused.stderr.contains(words), "{words}: {refused}");
    }
    assert_eq!(rows(&db), ["orders:0/2@40>90", "orders:1/2@90>90"]);
    // The next run goes on.
    let _workers = Workers::start(&db, "orders", 1, Duration::ZERO);
    projections(&db, &["rescale", "orders", "--slots", "1"]).success();
    assert!(rows(&db)[0].starts_with("orders@"));
}

#[test]
fn the_last_error_of_a_slot_is_told() {
    let db = store();
    events(&db, 100, 10);
    projection(&db, "orders", ServerHash::NAME, &[40, 90]);
    db.execute(
        "UPDATE projection_checkpoints SET last_error = E'no such customer\\nat x', failed_at = now(),
            failed_position = 41 WHERE slot = 0",
    );
    let mut idle = db.client();
    idle.batch_execute("SET application_name = 'pupctl/projection orders'").expect("a name");
    let line = ["rescale", "orders", "--slots", "1", "--patience", "200ms"];
    let refused = projections(&db, &line).failure(1);
    for words in [
        "its last batch failed at position 41: no such customer",
        "its workers are the processes",
        "mend what fails",
    ] {
        assert!(refused.stderr.contains(words), "{words}: {refused}");
    }
    db.execute("UPDATE projection_checkpoints SET last_error = NULL");
    let refused = projections(&db, &line).failure(1);
    assert!(refused.stderr.contains("it does not move; nobody has worked on it yet"), "{refused}");
    db.execute("UPDATE projection_checkpoints SET paused_at = now()");
    let refused = projections(&db, &line).failure(1);
    assert!(refused.stderr.contains("the projection orders is paused since"), "{refused}");
}

#[test]
fn a_paused_projection_is_not_drained() {
    let db = store();
    events(&db, 100, 10);
    projection(&db, "orders", ServerHash::NAME, &[40, 90]);
    db.execute("UPDATE projection_checkpoints SET paused_at = now()");
    let before = rows(&db);
    let refused = projections(&db, &["rescale", "orders", "--slots", "1"]).failure(1);
    assert!(refused.stderr.contains("pupctl projections resume orders"), "{refused}");
    assert_eq!(rows(&db), before);
    let plan = projections(&db, &["rescale", "orders", "--slots", "1", "--plan"]).success();
    assert!(plan.stderr.contains("it would be refused now"), "{plan}");
    // A split drains nothing, and leaves it paused.
    projections(&db, &["rescale", "orders", "--slots", "4"]).success();
    assert!(rows(&db).iter().all(|row| row.ends_with('!')), "{:?}", rows(&db));
}

#[test]
fn a_rescale_is_called_off() {
    let db = store();
    events(&db, 100, 10);
    projection(&db, "orders", ServerHash::NAME, &[40, 90]);
    let abort = ["rescale", "orders", "--abort"];
    let nothing = projections(&db, &abort).success();
    assert!(nothing.stderr.contains("Nothing to do: orders has no barrier"), "{nothing}");
    projections(&db, &["rescale", "orders", "--slots", "1", "--patience", "0s"]).failure(1);
    let dry = projections(&db, &[&abort[..], &["--dry-run"]].concat()).success();
    assert!(dry.stdout.contains("SET drain_to = NULL"), "{dry}");
    assert_eq!(rows(&db), ["orders:0/2@40>90", "orders:1/2@90>90"]);
    let json = projections(&db, &[&abort[..], &["-o", "json"]].concat()).success().json();
    assert_eq!(json["changed"], true, "{json}");
    assert_eq!(rows(&db), ["orders:0/2@40", "orders:1/2@90"]);
}

#[test]
fn arguments_that_cannot_be_right() {
    let db = store();
    projection(&db, "orders", ServerHash::NAME, &[0]);
    for (arguments, code, words) in [
        (["orders", "--slots", "0"].as_slice(), 2, "cannot have 0 slots"),
        (&["orders", "--slots", "1025"], 2, "cannot have 1025 slots"),
        (&["orders"], 2, "--slots"),
        (&["orders", "--slots", "2", "--hash", ""], 2, "the name of the hash is empty"),
        (&["orders:0/2", "--slots", "2"], 2, "ends like the row of a slot"),
        (&["nobody", "--slots", "2"], 1, "there is no projection nobody"),
        (&["nobody", "--abort"], 1, "there is no projection nobody"),
        (&["orders", "--abort", "--slots", "2"], 2, "cannot be used with"),
    ] {
        let refused = projections(&db, &[&["rescale"], arguments].concat()).failure(code);
        assert!(refused.stderr.contains(words), "{words}: {refused}");
    }
}

#[test]
fn rows_of_others_are_not_touched() {
    let db = store();
    projection(&db, "orders", ServerHash::NAME, &[5, 5]);
    db.execute(
        "INSERT INTO projection_checkpoints (projection_name, last_global_position)
            VALUES ('orders', 3), ('totals', 4)",
    );
    let before = fingerprint(&mut db.client());
    let refused = projections(&db, &["rescale", "orders", "--slots", "1"]).failure(1);
    assert!(
        refused.stderr.contains("the row orders of public.projection_checkpoints"),
        "{refused}"
    );
    assert!(refused.stderr.contains("DELETE FROM"), "{refused}");
    assert_eq!(fingerprint(&mut db.client()), before);
    let refused = projections(&db, &["rescale", "totals", "--slots", "2"]).failure(1);
    assert!(refused.stderr.contains("pupctl projections adopt totals"), "{refused}");
}

#[test]
fn broken_rows_are_refused() {
    let db = store();
    projection(&db, "orders", ServerHash::NAME, &[5, 5, 5]);
    db.execute("DELETE FROM projection_checkpoints WHERE slot = 1");
    let refused = projections(&db, &["rescale", "orders", "--slots", "6"]).failure(1);
    assert!(refused.stderr.contains("there are 2 rows of 3 slots"), "{refused}");
}

#[test]
fn a_store_from_before_is_told_how_to_get_the_columns() {
    let db = store();
    db.execute("ALTER TABLE projection_checkpoints DROP COLUMN drain_to");
    for line in [["rescale", "orders", "--slots", "2"], ["adopt", "orders", "--total", "1"]] {
        let refused = projections(&db, &line).failure(1);
        assert!(refused.stderr.contains("up to date: pupctl projections init"), "{refused}");
    }
    db.execute("DROP TABLE projection_checkpoints");
    let refused = projections(&db, &["rescale", "orders", "--slots", "2"]).failure(1);
    assert!(refused.stderr.contains("public.projection_checkpoints is missing"), "{refused}");
}

#[test]
fn a_role_without_rights_is_told() {
    let db = store();
    projection(&db, "orders", ServerHash::NAME, &[0]);
    let role = format!("reader_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    ));
    let line = ["rescale", "orders", "--slots", "2", "--role", &role, "--schema", "public"];
    let refused = projections(&db, &line).failure(1);
    assert!(refused.stderr.contains("permission denied"), "{refused}");
    assert_eq!(rows(&db), ["orders@0"]);
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
