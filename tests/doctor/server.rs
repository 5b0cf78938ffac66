//! The server, its settings and what it holds on to: on servers with settings of their own.

use crate::support::{TestDatabase, TestServer};
use crate::{Found, all, doctor, mend};

/// Checks that are found, those on the server with them.
fn checks(db: &TestDatabase) -> Vec<String> {
    let json = doctor(db, &["-o", "json", "--patience", "0s"]).success().json();
    let findings = json["findings"].as_array().expect("a list").clone();
    let checks = findings.iter().map(|one| one["check"].as_str().expect("a check").to_owned());
    checks.filter(|check| !["idle_sessions", "server_version"].contains(&check.as_str())).collect()
}

/// Changes a setting of the whole server.
fn set(db: &TestDatabase, setting: &str, value: &str) {
    let mut client = db.client();
    client.batch_execute(&format!("ALTER SYSTEM SET {setting} = {value}")).expect("a setting");
    client.batch_execute("SELECT pg_reload_conf()").expect("a reload");
    let shown = format!("SELECT current_setting('{setting}')");
    crate::support::eventually("the setting is there", || db.one::<String>(&shown) == value);
}

#[test]
fn settings_slots_and_prepared_transactions() {
    let server = TestServer::private(&[
        ("fsync", "on"),
        ("wal_level", "logical"),
        ("max_prepared_transactions", "2"),
        ("idle_in_transaction_session_timeout", "1h"),
    ]);
    let db = TestDatabase::on(&server);
    db.pupctl(["schema", "init", "-q", "--partition-by", "none"]).success();
    // Of the shared server it is found.
    let shared = TestDatabase::new();
    let told = doctor(&shared, &[]).success();
    let is_off = shared.one::<String>("SELECT current_setting('fsync')") == "off";
    assert_eq!(told.stdout.contains("fsync is off"), is_off, "{told}");
    assert!(!doctor(&db, &[]).success().stdout.contains("idle_sessions"));
    assert_eq!(checks(&db), Vec::<String>::new());

    for (setting, check) in [
        ("full_page_writes", "durability"),
        ("synchronous_commit", "durability"),
        ("autovacuum", "autovacuum"),
        ("track_counts", "autovacuum"),
    ] {
        set(&db, setting, "off");
        assert_eq!(checks(&db), [check], "{setting}");
        set(&db, setting, "on");
        assert_eq!(checks(&db), Vec::<String>::new(), "{setting}");
    }

    db.execute(
        "BEGIN; INSERT INTO aggregate_heads VALUES ('A', 'B', 'C', 1);
         INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         VALUES ('A', 'B', 'C', 1, gen_random_uuid(), 'x', '');
         PREPARE TRANSACTION 'it''s \"one\"'",
    );
    assert_eq!(checks(&db), ["prepared_transaction"]);
    let told = doctor(&db, &["--patience", "0s"]).success();
    assert!(told.stdout.contains("projections, archives and conversions wait for it"), "{told}");
    mend(&db, "prepared_transaction", &["--patience", "0s"]);

    db.execute("SELECT pg_create_logical_replication_slot('forgotten', 'pgoutput')");
    assert_eq!(checks(&db), ["replication_slot"]);
    mend(&db, "replication_slot", &[]);
    assert_eq!(checks(&db), Vec::<String>::new());
}

#[test]
fn a_lock_table_that_will_be_full_in_two_years() {
    let server =
        TestServer::private(&[("max_connections", "20"), ("max_locks_per_transaction", "24")]);
    let db = TestDatabase::on(&server);
    let init = ["schema", "init", "-q", "--partition-by", "context,month", "--months", "1"];
    db.pupctl(init.into_iter().chain(["--contexts", "A,B,C"])).success();
    let ahead = |found: Vec<Found>| {
        found.into_iter().find(|one| one.check == "lock_budget_ahead").map(|one| one.severity)
    };
    assert_eq!(ahead(all(&db, &[])), Some("notice".to_owned()));
    // What leaves need not be opened.
    std::fs::write(db.folder().join("pupctl.toml"), "[archive]\nretention = \"1 month\"\n")
        .expect("a file");
    assert_eq!(ahead(all(&db, &[])), None);
}
