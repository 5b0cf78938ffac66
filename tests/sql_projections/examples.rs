//! The files in `examples/projections` pass the trials beside them, and run.

use std::fs;

use crate::file;
use crate::support::TestDatabase;

/// The names of the examples.
fn names() -> Vec<String> {
    let entries = fs::read_dir(file("examples/projections")).expect("the folder");
    let names = entries.filter_map(|entry| {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        name.strip_suffix(".sql").map(str::to_owned)
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// A database with the folder of examples.
fn with_examples() -> TestDatabase {
    let db = TestDatabase::new();
    let folder = db.folder().join("projections");
    fs::create_dir(&folder).expect("a folder");
    for entry in fs::read_dir(file("examples/projections")).expect("the folder") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, folder.join(path.file_name().expect("a name"))).expect("a copy");
    }
    db
}

#[test]
fn each_passes_its_trial() {
    let names = names();
    assert_eq!(names, ["order_summary", "revenue_by_day", "user_count", "wallet_balances"]);
    let db = with_examples();
    // By their names, in a database without a store.
    let arguments = ["projections", "test", "--param", "currency=EUR", "-o", "json"];
    let arguments = arguments.into_iter().chain(names.iter().map(String::as_str));
    let report = db.pupctl(arguments).success().json();
    assert_eq!(report["passed"], true);
    let trials = report["trials"].as_array().expect("trials");
    for (trial, name) in trials.iter().zip(&names) {
        assert_eq!(trial["projection"], **name);
        let tables = trial["tables"].as_array().expect("tables");
        assert!(tables.iter().all(|table| table["compared"] == true), "{trial}");
        let rows: u64 = tables.iter().filter_map(|table| table["rows"].as_u64()).sum();
        assert!(rows > 0 && trial["in_scope"].as_u64() > Some(3), "{trial}");
    }
    // Nothing of it stays.
    let left = "SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace
        WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'";
    assert_eq!(db.one::<i64>(left), 0);
}

#[test]
fn all_of_them_run() {
    let db = with_examples();
    db.pupctl(["schema", "init", "--partition-by", "none"]).success();
    let run = ["projections", "run", "--until-caught-up", "--param", "currency=EUR"];
    db.pupctl(run).success();
    assert_eq!(db.one::<i64>("SELECT registered FROM user_count"), 0);
    db.execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT 'Wallet', 'Wallet', 'w-' || number % 3, number / 3 + 1, gen_random_uuid(),
            'MoneyDeposited', convert_to('{\"amount_cents\": 5}', 'UTF8')
         FROM generate_series(0, 29) AS number",
    );
    db.pupctl(run).success();
    assert_eq!(db.one::<i64>("SELECT sum(balance_cents)::bigint FROM wallet_balances"), 150);
    assert_eq!(db.one::<i64>("SELECT max(balance_cents) FROM wallet_statements"), 50);
}
