//! The examples of projections run as people run them, twice in a row, and print what they say.

#[path = "../support/mod.rs"]
mod support;

mod rights;

use std::collections::BTreeMap;

use support::{Output, Pupctl, TestDatabase, eventually};

/// A store as the headers of the examples make it.
fn store() -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "month", "--months", "1"]).success();
    db
}

/// An example on this database.
fn example(db: &TestDatabase, name: &str) -> Pupctl {
    Pupctl::example(name, db.folder()).env("PUPCTL_DATABASE_URL", db.url())
}

/// Runs an example to its good end. What it printed.
#[track_caller]
fn run(db: &TestDatabase, name: &str) -> String {
    example(db, name).run().success().stdout
}

/// Whether a worker logged a batch: with the projection, its slots, events and position.
fn logged_batch(output: &Output, projection: &str) -> bool {
    let logged = |line: &str| {
        let words = ["INFO", "batch", "slots=", "events=", "position="];
        words.iter().all(|word| line.contains(word)) && line.contains(projection)
    };
    plain(&output.stderr).lines().any(logged)
}

/// Text without colours.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, colour)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = colour.split_once('m').map_or("", |(_, after)| after);
    }
    plain + rest
}

#[test]
fn a_store_is_asked_for_where_there_is_none() {
    let db = TestDatabase::new();
    let output = example(&db, "user_count").run().failure(1);
    assert!(output.stderr.contains("hint: make one with pupctl schema init"), "{output}");
}

#[test]
fn user_count() {
    let db = store();
    assert_eq!(run(&db, "user_count"), "4 events handled, 2 users\n");
    assert_eq!(run(&db, "user_count"), "4 events handled, 4 users\n");
    db.pupctl(["projections", "reset", "user_count", "--truncate", "--yes"]).success();
    assert_eq!(run(&db, "user_count"), "12 events handled, 6 users\n");
}

#[test]
fn worker_pool() {
    let db = store();
    for round in 1..=2 {
        let output = example(&db, "worker_pool").args(["--events", "300"]).run().success();
        assert!(!output.stderr.contains('\u{1b}'), "colours in a file: {output}");
        assert!(output.stdout.starts_with("4 workers handled 300 events in "), "{output}");
        let orders = 300 * round;
        let whole = format!("{orders} orders were placed, {orders} are in the read model\n");
        assert!(output.stdout.ends_with(&whole), "{output}");
        assert!(logged_batch(&output, "pool_orders"), "{output}");
        // The same program goes on with other slots.
        db.pupctl(["projections", "rescale", "pool_orders", "--slots", "16"]).success();
    }
    db.pupctl(["projections", "pause", "pool_orders"]).success();
    let output = example(&db, "worker_pool").run().failure(1);
    let hint = "hint: let it go on: pupctl projections resume pool_orders\n";
    assert!(output.stderr.ends_with(hint), "{output}");
}

#[test]
fn a_store_without_the_context_is_told_how_to_get_it() {
    let db = TestDatabase::new();
    let divided = ["schema", "init", "--partition-by", "context", "--contexts", "Identity"];
    db.pupctl(divided).success();
    let output = example(&db, "wallet").run().failure(1);
    let told = "error: the store is divided by context, and has no partition for Billing\n\
        hint: pupctl contexts add Billing\n";
    assert!(output.stderr.ends_with(told), "{output}");
    db.pupctl(["contexts", "add", "Billing"]).success();
    assert!(run(&db, "wallet").starts_with("wallet 1: 950.00"));
}

#[test]
fn partitioned_worker() {
    let db = store();
    let append = ["--append", "100"];
    for round in 1..=2 {
        let appended = example(&db, "partitioned_worker").args(append).run().success();
        assert_eq!(appended.stdout, "100 events appended\n");
        let by_environment = example(&db, "partitioned_worker")
            .env("PARTITION_KEY", "0")
            .env("TOTAL_PARTITIONS", "2")
            .env("RUST_LOG", "pupctl=debug")
            .spawn();
        let by_arguments = example(&db, "partitioned_worker")
            .args(["--partition-key", "1", "--total-partitions", "2"])
            .spawn();
        let orders = "SELECT coalesce(sum(orders), 0)::bigint FROM partitioned_orders";
        eventually("both have handled theirs", || {
            db.one::<bool>("SELECT to_regclass('partitioned_orders') IS NOT NULL")
                && db.one::<i64>(orders) == 100 * round
        });
        let mut handled = 0;
        for (worker, key) in [(by_environment, 0), (by_arguments, 1)] {
            worker.signal("TERM");
            let output = worker.wait().success();
            let told = output.stdout.strip_prefix(&format!("Pinned {{ key: {key}, total: 2 }}: "));
            let told = told.and_then(|told| told.strip_suffix(" events handled\n"));
            handled += told.and_then(|told| told.parse::<i64>().ok()).expect("a number of events");
            assert!(logged_batch(&output, "partitioned_orders"), "{output}");
            let logs_events = plain(&output.stderr).contains("event_type=\"OrderPlaced\"");
            assert_eq!(logs_events, key == 0, "{output}");
        }
        assert_eq!(handled, 100);
    }
    let processes: i64 =
        db.one("SELECT count(DISTINCT process) FROM partitioned_orders WHERE orders = 4");
    assert_eq!(processes, 2);

    let half = example(&db, "partitioned_worker").env("PARTITION_KEY", "0").run().failure(1);
    assert!(half.stderr.contains("TOTAL_PARTITIONS is not"), "{half}");
    let other = example(&db, "partitioned_worker")
        .args(["--partition-key", "1", "--total-partitions", "4", "--until-caught-up"])
        .run()
        .failure(1);
    assert!(other.stderr.contains("has 2 slots, and this worker is for 4"), "{other}");
}

#[test]
fn scaling() {
    let db = store();
    for _ in 0..2 {
        let arguments = ["--workers", "3", "--step", "700ms", "--per-second", "600"];
        let output = example(&db, "scaling").args(arguments).run().success();
        let lines: Vec<&str> = output.stdout.lines().collect();
        assert_eq!(lines.len(), 4, "{output}");
        assert!(lines[2].starts_with("workers: 3, "), "{output}");
        let placed: i64 = db.one("SELECT count(*) FROM events");
        assert_eq!(lines[3], format!("{placed} events placed, {placed} handled"));
        assert!(logged_batch(&output, "scaled_orders"), "{output}");
    }
    // Workers that cannot go on fail, and so does what waits for them.
    db.execute("CREATE SCHEMA elsewhere; ALTER TABLE projection_checkpoints SET SCHEMA elsewhere");
    let output = example(&db, "scaling").args(["--step", "1s"]).run().failure(1);
    assert!(output.stderr.contains("a worker ended by itself with exit status: 1"), "{output}");
}

#[test]
fn multiple_projections() {
    let db = store();
    for round in 1..=2 {
        let wanted = format!(
            "users: 3 events handled\n\
             event_statistics: 25 events handled\n\
             audit_log: 25 events handled\n\
             turnover: 20 events handled\n\
             {} users, 2 types of events, {} lines in the audit log, {} cents\n\
             dead letter of customer-of-old: failed, invalid type: string \"a lot\", \
             expected i64 at line 1 column 16\n{}",
            3 * round,
            25 * round,
            20 * 250 * round,
            "dead letter of customer-of-old: waiting, an earlier one of the customer failed\n"
                .repeat(2 * round - 1)
        );
        assert_eq!(run(&db, "multiple_projections"), wanted);
    }
    // Handled once more they fail once more, and nothing else waits for them.
    let list = ["projections", "dead-letters", "list", "turnover", "--output", "json"];
    let before = db.pupctl(list).success().json();
    db.pupctl(["projections", "dead-letters", "replay", "turnover", "--all"]).success();
    assert!(run(&db, "multiple_projections").contains("turnover: 20 events handled\n"));
    assert_ne!(db.pupctl(list).success().json(), before);
}

#[test]
fn prioritised() {
    let db = store();
    for round in 1..=2 {
        let output = run(&db, "prioritised");
        let lines: Vec<&str> = output.lines().collect();
        for (line, start) in lines.iter().zip([
            "stock_levels: workers 4, events 400",
            "analytics: workers 2, events 400",
            "monthly_report: workers 1, events 400",
        ]) {
            assert!(line.starts_with(start), "{round}: {output}");
        }
        assert_eq!(lines.get(3), Some(&"3 read models are complete"), "{round}: {output}");
    }
}

#[test]
fn hot_cold() {
    let db = store();
    for round in 1..=2 {
        let output = run(&db, "hot_cold");
        assert!(output.starts_with("the cold one went on after "), "{round}: {output}");
        let end = " of 1100 events, each handled once\n";
        assert!(output.ends_with(end), "{round}: {output}");
    }
}

#[test]
fn region_strategy() {
    let db = store();
    for round in 1..=2 {
        let wanted = format!(
            "ap: {} orders, served by ap\neu: {} orders, served by eu\nus: {} orders, served by us\n",
            10 * round,
            20 * round,
            30 * round
        );
        assert_eq!(run(&db, "region_strategy"), wanted);
    }
    let hash: String = db.one("SELECT DISTINCT slot_hash FROM projection_checkpoints");
    assert_eq!(hash, "region-1");
}

#[test]
fn idempotent() {
    let db = store();
    for round in 1..=2 {
        let orders = 50 * round;
        let wanted = format!(
            "50 events, handled 100 times\n\
             {orders} orders were placed, the other database has {orders}\n"
        );
        assert_eq!(run(&db, "idempotent"), wanted);
    }
}

#[test]
fn outbox() {
    let db = store();
    for _ in 0..2 {
        assert_eq!(run(&db, "outbox"), "60 events, 70 deliveries, 60 messages received\n");
        assert_eq!(db.one::<i64>("SELECT count(*) FROM outbox"), 0);
    }
}

#[test]
fn async_host() {
    let db = store();
    for round in 1..=2 {
        let output = run(&db, "async_host");
        assert!(output.starts_with("200 events handled, "), "{round}: {output}");
        assert!(output.ends_with(" ticks meanwhile\n"), "{round}: {output}");
    }
    let forever = example(&db, "async_host").args(["--forever"]).spawn();
    let handled = "SELECT sum(orders)::bigint FROM async_orders";
    eventually("the third run has handled all", || db.one::<i64>(handled) == 600);
    forever.signal("TERM");
    let output = forever.wait().success();
    assert!(output.stdout.starts_with("200 events handled, "), "{output}");
    // What ends the projections ends the program.
    db.execute("CREATE SCHEMA elsewhere; ALTER TABLE projection_checkpoints SET SCHEMA elsewhere");
    let output = example(&db, "async_host").args(["--forever"]).run().failure(1);
    assert!(output.stderr.contains("projection_checkpoints"), "{output}");
}

#[test]
fn wallet() {
    let db = store();
    for _ in 0..2 {
        assert_eq!(
            run(&db, "wallet"),
            "wallet 1: 950.00, debited 100.00, credited 50.00, transactions 2\n\
             wallet 2: 300.00, debited 200.00, credited 0.00, transactions 1\n\
             the projection and its table are deleted\n"
        );
        assert_eq!(db.one::<i64>("SELECT count(*) FROM projection_checkpoints"), 0);
        let table: Option<String> = db.one("SELECT to_regclass('wallet_balance')::text");
        assert_eq!(table, None);
    }
}

/// Every example of a projection has its test here.
#[test]
fn no_example_is_forgotten() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let tests = include_str!("main.rs");
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("the examples") {
        let path = entry.expect("an entry").path();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
        let Ok(source) = std::fs::read_to_string(&path) else { continue };
        if source.contains("pupctl::projection") {
            found.insert(name.to_owned(), tests.contains(&format!("\nfn {name}() {{")));
        }
    }
    assert!(found.len() >= 12, "{found:?}");
    assert!(found.values().all(|tested| *tested), "{found:?}");
}
