//! Names with quotes, tables with other names, roles without rights.

use crate::support::TestDatabase;
use crate::{add_letters, append, positions, store, with_projection};

const NAME: &str = "it's a \"name\" \\ of its own";

#[test]
fn a_name_may_hold_quotes() {
    let db = with_projection(NAME, 2, &["--contexts", "Bob's", "--tables", "a\"b'c"]);
    db.execute("CREATE TABLE \"a\"\"b'c\" (id int)");
    add_letters(&db, NAME, 1);
    db.pupctl(["projections", "list"]).success();
    db.pupctl(["projections", "status", NAME]).success();
    db.pupctl(["projections", "pause", NAME]).success();
    db.pupctl(["projections", "resume", NAME]).success();
    db.pupctl(["projections", "reset", NAME, "--truncate", "--yes"]).success();
    db.pupctl(["projections", "status", NAME, "--wait", "--position", "0"]).success();
    db.pupctl(["projections", "delete", NAME, "--read-model", "--yes"]).success();
    assert!(positions(&db).is_empty());
    let unknown = db.pupctl(["projections", "pause", NAME]).failure(1);
    assert!(unknown.stderr.contains(NAME), "{unknown}");
}

#[test]
fn names_that_cannot_be_are_refused() {
    let db = store();
    for name in ["", " orders", "orders:1/4", "a\nb"] {
        db.pupctl(["projections", "init", name]).failure(2);
    }
    for more in [["--slots", "0"], ["--slots", "1025"], ["--hash", "md5"], ["--contexts", "A,,B"]] {
        db.pupctl(["projections", "init", "orders"].iter().chain(&more)).failure(2);
    }
    db.pupctl(["projections", "pause"]).failure(2);
    db.pupctl(["projections", "pause", "orders", "--all"]).failure(2);
}

#[test]
fn tables_may_be_called_otherwise() {
    let db = TestDatabase::new();
    std::fs::write(
        db.folder().join("pupctl.toml"),
        "schema = \"Shop 1\"\n[tables]\nevents = \"Facts\"\nprojection_checkpoints = \"read's\"\n",
    )
    .expect("a file");
    db.pupctl(["schema", "init", "--partition-by", "none"]).success();
    // Later commands read the names where they are stored.
    std::fs::remove_file(db.folder().join("pupctl.toml")).expect("a file");
    let run = |more: &[&str]| db.pupctl(["projections"].iter().chain(more)).success();
    run(&["init", "orders", "--slots", "2", "--from", "end", "--tables", "totals"]);
    db.execute("CREATE TABLE \"Shop 1\".totals (id int)");
    run(&["pause", "orders"]);
    run(&["resume", "--all"]);
    run(&["list"]);
    run(&["status", "orders"]);
    run(&["status", "--wait", "--position", "head"]);
    run(&["reset", "orders", "--truncate", "--yes"]);
    run(&["delete", "orders", "--read-model", "--yes"]);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM \"Shop 1\".\"read's\""), 0);
}

#[test]
fn a_role_without_rights_is_told_so() {
    let db = with_projection("orders", 2, &["--tables", "totals"]);
    append(&db, "Sales", 0..2);
    db.execute("CREATE TABLE totals (id int)");
    let role = format!("reader_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role}; GRANT USAGE ON SCHEMA public TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};
         GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}"
    ));
    let as_reader = |more: &[&str]| {
        db.pupctl(["projections", "--role", &role, "--schema", "public"].iter().chain(more))
    };
    // Whoever may read may look.
    as_reader(&["list"]).success();
    as_reader(&["status"]).success();
    as_reader(&["pause", "orders", "--dry-run"]).success();
    for command in [
        &["init", "other"][..],
        &["pause", "orders"],
        &["reset", "orders", "--yes"],
        &["delete", "orders", "--yes"],
        &["delete", "orders", "--read-model", "--yes"],
    ] {
        let refused = as_reader(command).failure(1);
        assert!(refused.stderr.contains("permission denied"), "{refused}");
        assert!(refused.stderr.contains("--role"), "{refused}");
    }
    assert_eq!(positions(&db), ["orders:0/2 0", "orders:1/2 0"]);
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn a_store_that_is_not_pupctls_is_taken_over_first() {
    let db = TestDatabase::new();
    let refused = db.pupctl(["projections", "list"]).failure(1);
    assert!(refused.stderr.contains("there is no store in schema public"), "{refused}");
    db.pupctl(["projections", "init"]).failure(1);
}
