//! What it does when all is well.

use crate::support::eventually;
use crate::{CATCH_UP, TOTALS, append, file, reference, store, store_with, texts, totals};

#[test]
fn it_catches_up_and_has_nothing_to_do_the_second_time() {
    let db = store_with(TOTALS);
    append(&db, "Sales", 25);
    append(&db, "Billing", 5);
    let first = db.pupctl(CATCH_UP).success();
    assert!(first.stderr.contains("Done: 25 events handled"), "{}", first.stderr);
    assert_eq!(totals(&db), reference(&db));
    let second = db.pupctl(CATCH_UP).success();
    assert!(second.stderr.contains("Done: 0 events handled"), "{}", second.stderr);
    append(&db, "Sales", 1);
    db.pupctl(CATCH_UP).success();
    assert_eq!(totals(&db), reference(&db));
}

#[test]
fn every_batch_size_and_layout_gives_the_same() {
    for layout in ["context", "context,month", "hash"] {
        let db = crate::support::TestDatabase::new();
        let mut init = vec!["schema", "init", "--partition-by", layout];
        match layout {
            "hash" => init.extend(["--hash-partitions", "4"]),
            _ => init.extend(["--contexts", "Sales,Billing"]),
        }
        db.pupctl(&init).success();
        if layout.contains("month") {
            db.pupctl(["partitions", "ensure", "--from", "2026-01"]).success();
        }
        append(&db, "Sales", 23);
        for (number, size) in ["1", "7", "1000"].into_iter().enumerate() {
            let name = format!("t{number}");
            let text = TOTALS.replace("order_totals", &name);
            file(&db, &format!("{name}.sql"), &text);
            db.pupctl(CATCH_UP.iter().chain(&[name.as_str(), "--batch-size", size])).success();
            let sql = format!("SELECT order_id || ' ' || lines FROM {name} ORDER BY 1");
            assert_eq!(texts(&db, &sql), reference(&db), "{layout}, batches of {size}");
        }
    }
}

#[test]
fn two_at_a_time_share_the_slots() {
    let db = store_with(TOTALS);
    append(&db, "Sales", 200);
    let mut several: Vec<_> = (0..3)
        .map(|_| {
            db.command(CATCH_UP.iter().chain(&["--batch-size", "5", "--workers", "2"])).spawn()
        })
        .collect();
    let mut handled = 0;
    for one in several.drain(..) {
        let output = one.wait().success();
        let words = output.stderr.rsplit("Done: ").next().expect("an end").to_owned();
        let number = words.split(' ').next().and_then(|word| word.parse::<u32>().ok());
        handled += number.expect("a number of events");
    }
    assert_eq!(handled, 200);
    assert_eq!(totals(&db), reference(&db));
}

#[test]
fn it_follows_until_it_is_stopped() {
    let db = store_with(TOTALS);
    append(&db, "Sales", 3);
    let run = db.command(["projections", "run"]).spawn();
    eventually("the first events are handled", || {
        db.one("SELECT to_regclass('order_totals') IS NOT NULL") && totals(&db) == reference(&db)
    });
    append(&db, "Sales", 12);
    let position: i64 = db.one("SELECT max(global_position) FROM events");
    let reached: bool =
        db.one(&format!("SELECT pupctl_wait('order_totals', {position}, '20 seconds')"));
    assert!(reached);
    assert_eq!(totals(&db), reference(&db), "whoever has waited reads what was written");
    run.signal("TERM");
    let output = run.wait().success();
    assert!(output.stderr.contains("Running until it is stopped"), "{}", output.stderr);
    assert!(output.stdout.contains("order_totals"), "{}", output.stdout);
}

#[test]
fn an_event_that_is_committed_late_is_waited_for() {
    let db = store_with(TOTALS);
    let mut late = db.client();
    let mut open = late.transaction().expect("a transaction");
    open.batch_execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         VALUES ('Sales', 'Order', 'late', 1, gen_random_uuid(), 'OrderPlaced', '')",
    )
    .expect("an event");
    append(&db, "Sales", 5);
    let mut run = db.command(CATCH_UP).spawn();
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert!(run.is_running(), "it waits for the open transaction");
    open.commit().expect("committed");
    run.wait().success();
    assert_eq!(totals(&db), reference(&db));
}

#[test]
fn only_what_was_named_runs() {
    let db = store_with(TOTALS);
    file(&db, "other.sql", &TOTALS.replace("order_totals", "other"));
    append(&db, "Sales", 3);
    db.pupctl(CATCH_UP.iter().chain(&["other"])).success();
    assert!(db.one::<bool>("SELECT to_regclass('order_totals') IS NULL"));
    assert_eq!(db.one::<i64>("SELECT sum(lines)::bigint FROM other"), 3);
}

#[test]
fn the_read_model_may_have_a_schema_of_its_own_and_names_with_quotes() {
    let db = store();
    file(
        &db,
        "quoted.sql",
        "-- name: it's \"quoted\"\n-- schema: \"Read; Models\"\n-- tables: \"To\"\"tals\"\n-- init\n\
         CREATE TABLE IF NOT EXISTS \"To\"\"tals\" (id text PRIMARY KEY, n bigint NOT NULL);\n\
         -- handle\nINSERT INTO \"To\"\"tals\" AS t SELECT aggregate_id, count(*) FROM batch GROUP BY 1\n\
         ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n;\n",
    );
    append(&db, "Sales", 12);
    for _ in 0..2 {
        db.pupctl(CATCH_UP).success();
    }
    assert_eq!(db.one::<i64>("SELECT sum(n)::bigint FROM \"Read; Models\".\"To\"\"tals\""), 12);
    let told = texts(&db, "SELECT unnest(read_model) FROM projection_checkpoints");
    assert_eq!(told, ["\"Read; Models\".\"To\"\"tals\""]);
}

#[test]
fn parameters_come_from_the_configuration_and_the_command_line() {
    let db = store();
    let text = "-- name: named\n-- tables: named\n-- init\n\
        CREATE TABLE IF NOT EXISTS named (id bigint PRIMARY KEY, currency text, rate bigint);\n\
        -- handle\nINSERT INTO named SELECT global_position, {{ currency }}, {{ rate }} FROM batch\n\
        WHERE event_type IN ({{ kinds }});\n";
    file(&db, "named.sql", text);
    append(&db, "Sales", 2);
    std::fs::write(
        db.folder().join("pupctl.toml"),
        "[projections.parameters]\ncurrency = \"O'Euro\"\nkinds = [\"OrderPlaced\", \"x'\"]\n",
    )
    .expect("a configuration");
    let missing = db.pupctl(CATCH_UP).failure(2);
    assert!(missing.stderr.contains("the parameter rate is missing"), "{}", missing.stderr);
    assert!(missing.stderr.contains("named.sql:6:62"), "{}", missing.stderr);
    db.pupctl(CATCH_UP.iter().chain(&["--param", "rate=7"])).success();
    let rows = texts(&db, "SELECT currency || ' ' || rate FROM named");
    assert_eq!(rows, ["O'Euro 7", "O'Euro 7"]);
}

#[test]
fn a_dry_run_checks_and_changes_nothing() {
    let db = store_with(TOTALS);
    append(&db, "Sales", 2);
    let output = db.pupctl(["projections", "run", "--dry-run"]).success();
    assert!(output.stderr.contains("order_totals works on an empty batch"), "{}", output.stderr);
    assert!(db.one::<bool>("SELECT to_regclass('order_totals') IS NULL"));
    assert_eq!(db.one::<i64>("SELECT count(*) FROM projection_checkpoints"), 0);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM projection_definitions"), 0);
}

#[test]
fn the_report_is_json_too() {
    let db = store_with(TOTALS);
    append(&db, "Sales", 4);
    let output = db.pupctl(CATCH_UP.iter().chain(&["--output", "json"])).success();
    let report = &output.json()["result"];
    let report = if report.is_null() { output.json() } else { report.clone() };
    assert_eq!(report["caught_up"], true);
    assert_eq!(report["projections"][0]["projection"], "order_totals");
    assert_eq!(report["projections"][0]["events"], 4);
    assert_eq!(report["projections"][0]["position"], 4);
}
