//! Slots are split, merged and divided anew.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pupctl::projection::{Fnv1a, ServerHash};

use crate::support::fingerprint;
use crate::worker::{Workers, catch_up, change, wait_until_caught_up};
use crate::{append, events, exactly_once, handle_before, projection, projections, rows, store};

#[test]
fn a_split_takes_one_transaction_and_nobody_is_waited_for() {
    let db = store();
    events(&db, 100, 20);
    projection(&db, "orders", ServerHash::NAME, &[30, 70]);
    handle_before(&db, "orders", ServerHash::NAME, &[30, 70]);
    db.execute(
        "UPDATE projection_checkpoints SET parked = true, events_handled = 5, read_model = '{a,b}'
            WHERE slot = 1;
         UPDATE projection_checkpoints SET read_model = '{a,b}' WHERE slot = 0",
    );
    let run =
        projections(&db, &["rescale", "orders", "--slots", "4", "--patience", "0s"]).success();
    assert!(run.stderr.contains("Done: orders has 4 slots now"), "{run}");
    assert_eq!(rows(&db), ["orders:0/4@30", "orders:1/4@70", "orders:2/4@30", "orders:3/4@70"]);
    let kept = db.texts(
        "SELECT concat_ws(' ', slot, parked, events_handled, epoch, read_model, slot_hash)
         FROM public.projection_checkpoints ORDER BY slot",
    );
    assert_eq!(
        kept,
        [
            "0 0 2 {a,b} hashtextextended",
            "1 t 5 2 {a,b} hashtextextended",
            "2 0 2 {a,b} hashtextextended",
            "3 t 0 2 {a,b} hashtextextended"
        ]
    );
    catch_up(&db, "orders");
    exactly_once(&db, "orders");
}

#[test]
fn a_second_run_has_nothing_to_do() {
    let db = store();
    projection(&db, "orders", ServerHash::NAME, &[0]);
    let rescale = ["rescale", "orders", "--slots", "4", "-o", "json"];
    let first = projections(&db, &rescale).success().json();
    assert_eq!((&first["changed"], &first["way"]), (&true.into(), &"split".into()));
    let before = fingerprint(&mut db.client());
    let second = projections(&db, &rescale).success();
    assert!(second.stderr.contains("Nothing to do: orders has 4 slots"), "{second}");
    assert_eq!(second.json()["changed"], false);
    assert_eq!(fingerprint(&mut db.client()), before);
}

#[test]
fn a_merge_waits_for_the_workers() {
    let db = store();
    events(&db, 300, 30);
    let positions = [100, 50, 10, 120];
    projection(&db, "orders", Fnv1a::NAME, &positions);
    handle_before(&db, "orders", Fnv1a::NAME, &positions);
    let _workers = Workers::start(&db, "orders", 0, Duration::ZERO);
    let run = db.command(["projections", "rescale", "orders", "--slots", "2"]).spawn();
    crate::support::eventually("the barrier", || {
        rows(&db)
            == [
                "orders:0/4@100>100",
                "orders:1/4@50>120",
                "orders:2/4@10>100",
                "orders:3/4@120>120",
            ]
    });
    let workers = Workers::start(&db, "orders", 2, Duration::from_millis(2));
    let run = run.wait().success();
    assert!(run.stderr.contains("2 slots before the barrier, 160 positions left"), "{run}");
    wait_until_caught_up(&db, "orders");
    drop(workers);
    assert_eq!(rows(&db), ["orders:0/2@300", "orders:1/2@300"]);
    exactly_once(&db, "orders");
}

#[test]
fn an_even_merge_waits_for_nobody() {
    let db = store();
    events(&db, 100, 10);
    let positions = [40, 90, 40, 90];
    projection(&db, "orders", ServerHash::NAME, &positions);
    handle_before(&db, "orders", ServerHash::NAME, &positions);
    db.execute("UPDATE projection_checkpoints SET paused_at = now(), events_handled = slot");
    projections(&db, &["rescale", "orders", "--slots", "2", "--patience", "0s"]).success();
    assert_eq!(rows(&db), ["orders:0/2@40!", "orders:1/2@90!"]);
    assert_eq!(db.one::<i64>("SELECT sum(events_handled)::bigint FROM projection_checkpoints"), 6);
    db.execute("UPDATE projection_checkpoints SET paused_at = NULL");
    catch_up(&db, "orders");
    exactly_once(&db, "orders");
}

#[test]
fn another_hash_goes_through_a_barrier() {
    let db = store();
    events(&db, 300, 30);
    let positions = [100, 50, 10];
    projection(&db, "orders", Fnv1a::NAME, &positions);
    handle_before(&db, "orders", Fnv1a::NAME, &positions);
    let json = change(&db, "orders", &["--hash", "hashtextextended", "-o", "json"]).json();
    assert_eq!(json["way"], "barrier", "{json}");
    assert_eq!(json["before"].as_array().map(Vec::len), Some(3), "{json}");
    let hashes = db.texts("SELECT DISTINCT slot_hash FROM public.projection_checkpoints");
    assert_eq!(hashes, [ServerHash::NAME]);
    exactly_once(&db, "orders");
}

#[test]
fn many_changes_under_load_handle_every_event_once() {
    let db = store();
    events(&db, 200, 20);
    projection(&db, "it's \"orders\"", ServerHash::NAME, &[0]);
    let name = "it's \"orders\"";
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut writer = db.client();
        let done = &done;
        let writer = scope.spawn(move || {
            while !done.load(Ordering::SeqCst) {
                append(&mut writer, 15, 7);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let workers = Workers::start(&db, name, 3, Duration::from_millis(5));
        for slots in ["4", "8", "3", "16", "2"] {
            std::thread::sleep(Duration::from_millis(150));
            projections(&db, &["rescale", name, "--slots", slots]).success();
        }
        done.store(true, Ordering::SeqCst);
        writer.join().expect("the writer");
        wait_until_caught_up(&db, name);
        assert!(workers.batches() > 20);
    });
    let epochs = db.texts("SELECT DISTINCT epoch::text FROM public.projection_checkpoints");
    assert_eq!(epochs, ["6"]);
    let mut client = db.client();
    client.execute("UPDATE handled SET projection = 'orders'", &[]).expect("another name");
    exactly_once(&db, "orders");
    let (total, sum) = (
        "SELECT count(*) FROM events",
        "SELECT sum(events_handled)::bigint FROM projection_checkpoints",
    );
    assert_eq!(db.one::<i64>(total), db.one::<i64>(sum));
}

#[test]
fn a_plan_and_a_dry_run_change_nothing() {
    let db = store();
    events(&db, 100, 10);
    projection(&db, "orders", ServerHash::NAME, &[40, 90, 20]);
    let before = fingerprint(&mut db.client());
    let plan = projections(&db, &["rescale", "orders", "--slots", "2", "--plan"]).success();
    let cells: Vec<String> = plan
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for line in ["orders:0/3 | 40 | 90 | 50", "orders:2/3 | 20 | 90 | 70", "orders:1/2 | 90 | all"]
    {
        assert!(cells.iter().any(|found| found == line), "{line}: {plan}");
    }
    for words in ["no event is lost and none repeated", "2 slots over 120 positions"] {
        assert!(plan.stderr.contains(words), "{words}: {plan}");
    }
    let dry = projections(&db, &["rescale", "orders", "--slots", "2", "--dry-run"]).success();
    assert!(dry.stdout.contains("FOR UPDATE"), "{dry}");
    assert!(dry.stderr.contains("Dry run: 2 steps, nothing was changed"), "{dry}");
    let json = projections(&db, &["rescale", "orders", "--slots", "2", "--dry-run", "-o", "json"])
        .success();
    let json = json.json();
    assert_eq!((&json["dry_run"], &json["lost"]), (&true.into(), &0.into()), "{json}");
    assert_eq!(json["steps"].as_array().map(Vec::len), Some(2), "{json}");
    assert_eq!(fingerprint(&mut db.client()), before);
}

#[test]
fn the_sql_of_a_dry_run_does_what_the_command_does_and_only_that_once() {
    let [by_psql, by_pupctl] = [store(), store()];
    for db in [&by_psql, &by_pupctl] {
        projection(db, "it's \\ \"x\"", Fnv1a::NAME, &[40, 90]);
        db.execute(
            "UPDATE projection_checkpoints SET last_error = E'a\\n''b''', failed_at = '2026-01-02',
                failed_position = 91, bounded_contexts = '{\"it''s\",b}', paused_at = '2026-01-01'",
        );
    }
    let line = ["rescale", "it's \\ \"x\"", "--slots", "4"];
    let dry = projections(&by_psql, &[&line[..], &["--dry-run"]].concat()).success();
    std::fs::write(by_psql.folder().join("script.sql"), &dry.stdout).expect("a script");
    by_psql.psql(["-f", "script.sql"]).success();
    projections(&by_pupctl, &line).success();
    let all = |db: &crate::support::TestDatabase| {
        db.texts(
            "SELECT (to_jsonb(c) - 'updated_at')::text FROM public.projection_checkpoints c
            ORDER BY slot",
        )
    };
    assert_eq!(all(&by_psql), all(&by_pupctl));
    assert_eq!(rows(&by_psql).len(), 4);
    // Once more it finds other rows than those that it was written for.
    let again = by_psql.psql(["-f", "script.sql"]).failure(3);
    assert!(again.stderr.contains("have changed since"), "{again}");
    assert_eq!(all(&by_psql), all(&by_pupctl));
}
