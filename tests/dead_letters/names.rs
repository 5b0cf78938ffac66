//! Names with quotes and slashes, tables with other names, roles without rights.

use crate::support::TestDatabase;
use crate::{Fragile, Workers, append, letters, parked, prepare, state, states, work};

const NAME: &str = "it's a \"name\" \\ of its own";

#[test]
fn names_may_hold_quotes() {
    let db = crate::store();
    append(&db, "o'ne/\"two\"");
    db.execute("INSERT INTO poison VALUES (13)");
    work(&db, NAME, 2);
    assert_eq!(states(&db), ["13 failed"]);
    assert_eq!(pupctl::projection::Projection::name(&Fragile(NAME)), NAME);
    let aggregate = "Sales/Order/o'ne/\"two\"";
    let list = letters(&db, &["list", NAME, "--aggregate", aggregate]).success();
    assert!(list.stdout.contains(aggregate), "{list}");
    let of = ["--aggregate", aggregate];
    letters(&db, &[&["replay", NAME], &of[..]].concat()).success();
    work(&db, NAME, 2);
    assert_eq!(states(&db), ["13 failed"]);
    letters(&db, &[&["discard", NAME, "--yes"], &of[..]].concat()).success();
    assert_eq!(states(&db), Vec::<String>::new());
}

#[test]
fn an_aggregate_that_may_be_two_is_not_guessed() {
    let db = parked(1);
    db.execute(
        "UPDATE projection_dead_letters SET bounded_context = 'a', aggregate_type = 'b/c',
            aggregate_id = 'd' WHERE aggregate_id = '0';
         UPDATE projection_dead_letters SET bounded_context = 'a/b', aggregate_type = 'c',
            aggregate_id = 'd' WHERE aggregate_id = '1'",
    );
    let before = state(&db);
    for verb in ["replay", "discard"] {
        let refused = letters(&db, &[verb, "orders", "--aggregate", "a/b/c/d", "--yes"]).failure(2);
        assert!(refused.stderr.contains("can mean more than one aggregate"), "{refused}");
    }
    assert_eq!(state(&db), before);
}

#[test]
fn tables_may_be_called_otherwise() {
    let db = TestDatabase::new();
    let config = "schema = \"Shop 1\"\n[tables]\nprojection_checkpoints = \"read's\"\n";
    std::fs::write(db.folder().join("pupctl.toml"), config).expect("a file");
    db.pupctl(["schema", "init", "-q", "--partition-by", "none"]).success();
    std::fs::remove_file(db.folder().join("pupctl.toml")).expect("a file");
    prepare(&db);
    db.execute(
        "INSERT INTO \"Shop 1\".\"read's\" (projection_name, projection, slot, slots, slot_hash,
            epoch) VALUES ('orders', 'orders', 0, 1, 'hashtextextended', 1);
         INSERT INTO \"Shop 1\".projection_dead_letters (projection, global_position,
            bounded_context, aggregate_type, aggregate_id, aggregate_version, event_id, event_type,
            state)
         VALUES ('orders', 1, 'A', 'B', 'C', 1, gen_random_uuid(), 'E', 'failed')",
    );
    letters(&db, &["list", "orders"]).success();
    letters(&db, &["replay", "orders", "--all"]).success();
    assert!(db.one::<bool>("SELECT replay_at IS NOT NULL FROM \"Shop 1\".\"read's\""));
    letters(&db, &["discard", "orders", "--all", "--yes"]).success();
    assert_eq!(db.one::<i64>("SELECT count(*) FROM \"Shop 1\".projection_dead_letters"), 0);
}

#[test]
fn a_role_without_rights_is_told_so() {
    let db = parked(2);
    let role = format!("reader_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role}; GRANT USAGE ON SCHEMA public TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    ));
    let as_reader = |more: &[&str]| {
        letters(&db, &[more, &["--role", &role, "--schema", "public", "--yes"]].concat())
    };
    let before = state(&db);
    as_reader(&["list"]).success();
    as_reader(&["replay", "orders", "--all", "--dry-run"]).success();
    for command in [["replay", "orders", "--all"], ["discard", "orders", "--all"]] {
        let refused = as_reader(&command).failure(1);
        assert!(refused.stderr.contains("permission denied"), "{refused}");
        assert!(refused.stderr.contains("--role"), "{refused}");
    }
    assert_eq!(state(&db), before);
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn workers_are_counted_by_the_name_that_the_server_keeps() {
    let db = crate::store();
    db.execute("INSERT INTO poison VALUES (4)");
    let long = "a projection whose name is longer than the sixty-three bytes of a session";
    work(&db, long, 1);
    db.execute("DELETE FROM poison");
    let workers = Workers::begin(&db, long, 1, 1);
    let done = letters(&db, &["replay", long, "--all", "--wait", "60s"]).success();
    assert!(!done.stderr.contains("no worker"), "{done}");
    drop(workers);
    assert_eq!(states(&db), Vec::<String>::new());
}
