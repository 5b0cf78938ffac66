//! Schemas and tables with names that need quotes.

use crate::support::TestDatabase;

const ODD: &str = r#"
schema = 'Event "Store"'

[tables]
events = 'My "Events"; --'
aggregate_heads = "Köpfe's"
projection_checkpoints = "check points"
"#;

#[test]
fn names_that_need_quotes_work_everywhere() {
    for layout in ["none", "context,hash", "hash,month"] {
        let db = TestDatabase::new();
        let config = db.folder().join("odd.toml");
        std::fs::write(&config, ODD).expect("a configuration");
        let mut init = vec!["schema", "init", "--partition-by", layout, "--contexts", "Identity"];
        if layout != "none" {
            init.extend(["--hash-partitions", "2"]);
        }
        let with_config = init.iter().chain(&["--config", "odd.toml"]).copied();
        // Once as a script, once for real: both make the same.
        let script = db.pupctl(with_config.clone().chain(["--dry-run"])).success().stdout;
        db.pupctl(with_config.clone()).success();
        let by_psql = TestDatabase::new();
        std::fs::write(by_psql.folder().join("init.sql"), script).expect("a script");
        by_psql.psql(["-f", "init.sql"]).success();
        assert_eq!(by_psql.dump(), db.dump(), "{layout}");

        // From here on the store tells its names itself.
        db.execute(
            r#"INSERT INTO "Event ""Store"""."My ""Events""; --" (bounded_context, aggregate_type,
                aggregate_id, aggregate_version, event_id, event_type, payload)
            VALUES ('Identity', 'User', '1', 1, gen_random_uuid(), 'x', '')"#,
        );
        for command in
            [&["partitions", "ensure"][..], &["schema", "init"], &with_config.collect::<Vec<_>>()]
        {
            let again = db.pupctl(command).success();
            assert!(again.stderr.contains("Nothing to do"), "{layout}: {again}");
        }
        db.pupctl(["partitions", "check", "--exit-code"]).success();
        let list = db.pupctl(["partitions", "list", "-o", "json"]).success().json();
        assert_eq!(list["totals"][0]["name"], r#"Event "Store".My "Events"; --"#);
        db.pupctl(["schema", "status"]).success();
        db.pupctl(["contexts", "add", "Billing"]).success();
    }
}

#[test]
fn names_as_long_as_they_may_be_stay_apart() {
    let db = TestDatabase::new();
    let longest = "e".repeat(63);
    let config = format!("[tables]\nevents = \"{longest}\"\n");
    std::fs::write(db.folder().join("pupctl.toml"), config).expect("a configuration");
    db.pupctl(["schema", "init", "--partition-by", "month", "--months", "5"]).success();
    let partitions =
        "SELECT count(*) FROM pg_inherits JOIN pg_class ON oid = inhparent WHERE relkind = 'p'";
    assert_eq!(db.one::<i64>(partitions), 6);
    assert!(db.pupctl(["partitions", "ensure"]).success().stderr.contains("Nothing to do"));
}

#[test]
fn two_stores_live_in_one_database() {
    let db = TestDatabase::new();
    for schema in ["first", "second"] {
        let init = ["schema", "init", "--partition-by", "month", "--schema", schema];
        db.pupctl(init).success();
    }
    let events = "SELECT count(*) FROM pg_class WHERE relname = 'events'";
    assert_eq!(db.one::<i64>(events), 2);
    let unclear = db.pupctl(["partitions", "ensure"]).failure(2);
    assert!(unclear.stderr.contains("more than one store"), "{unclear}");
    let first = db.pupctl(["partitions", "ensure", "--schema", "first"]).success();
    assert!(first.stderr.contains("Nothing to do"), "{first}");
}

#[test]
fn a_context_may_be_called_like_a_table_of_the_store() {
    let db = TestDatabase::new();
    let config = "[tables]\nprojection_checkpoints = \"events_checkpoints\"\n";
    std::fs::write(db.folder().join("pupctl.toml"), config).expect("a configuration");
    let init = ["schema", "init", "--partition-by", "context", "--contexts", "Checkpoints"];
    db.pupctl(init).success();
    db.pupctl(["partitions", "check", "--exit-code"]).success();
}
