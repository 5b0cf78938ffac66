//! Nothing leaves before everybody has read it.

use crate::support::{Append, TestDatabase, TestServer, eventually};
use crate::{
    archive, archives, checkpoint, count, events, everywhere, park, restore, store, store_in,
};

/// Nothing was changed: no table left, no file was begun.
#[track_caller]
fn untouched(db: &TestDatabase, before: &(everywhere::Sum, String)) {
    assert_eq!(&(everywhere::of_store(db), db.dump()), before);
    assert_eq!(everywhere::names(&db.folder().join("archives")), Vec::<String>::new());
    assert_eq!(archives(db), Vec::<String>::new());
}

fn now(db: &TestDatabase) -> (everywhere::Sum, String) {
    (everywhere::of_store(db), db.dump())
}

#[test]
fn a_projection_that_is_behind_is_named() {
    let db = store("month", &[]);
    events(&db, "A", -2, 3);
    checkpoint(&db, "orders", 6);
    checkpoint(&db, "it's dead", 4);
    let (month, before) = (db.month(-2), now(&db));
    let refused = archive(&db, &[&month, "--drop"]).failure(1);
    for words in [
        "not everybody has passed position 6",
        "the projection it's dead is at position 4, 2 behind",
        "DELETE FROM",
        "--ignore-projection 'it'\\''s dead'",
    ] {
        assert!(refused.stderr.contains(words), "{words}: {refused}");
    }
    assert!(!refused.stderr.contains("orders"), "{refused}");
    untouched(&db, &before);
    let json = archive(&db, &[&month, "-o", "json"]).failure(1);
    assert!(json.json()["error"]["message"].is_string(), "{json}");
    archive(&db, &[&month, "--drop", "--ignore-projection", "it's dead"]).success();
    assert_eq!(count(&db, "events"), 0);
}

#[test]
fn a_context_waits_for_projections_as_a_month_does() {
    let db = store("context", &["--immutable", "--event-ids"]);
    events(&db, "A", 0, 4);
    let before = everywhere::of_store(&db);
    checkpoint(&db, "orders", 5);
    let refused = archive(&db, &["A"]).failure(1);
    assert!(refused.stderr.contains("the projection orders is at position 5, 3 behind"));
    assert_eq!(count(&db, "events"), 8);
    // One that reads on is waited for.
    let line = ["archive", "A", "--drop", "--yes", "--patience", "30s"];
    let run = db.command(line).spawn();
    std::thread::sleep(std::time::Duration::from_millis(300));
    checkpoint(&db, "orders", 8);
    run.wait().success();
    assert_eq!(everywhere::of_files(&db), before);
}

#[test]
fn an_event_among_the_dead_letters_is_not_handled_yet() {
    for (layout, part) in [("month", None), ("context", Some("A"))] {
        let db = store(layout, &[]);
        events(&db, "A", -2, 3);
        events(&db, "B", 0, 1);
        checkpoint(&db, "it's", 8);
        park(&db, "it's", 3, "failed");
        park(&db, "it's", 5, "waiting");
        // These do not lie there, or were left out for good.
        park(&db, "it's", 8, "failed");
        park(&db, "other", 1, "skipped");
        let month = db.month(-2);
        let part = part.unwrap_or(&month);
        let before = now(&db);
        let dry = archive(&db, &[part, "--dry-run"]).success();
        let words = "2 events are among the dead letters of the projection it's, the first at \
            position 3: pupctl projections dead-letters replay|discard 'it'\\''s' --all";
        assert!(dry.stderr.contains(words), "{dry}");
        let start = std::time::Instant::now();
        let refused = archive(&db, &[part, "--drop", "--patience", "60s"]).failure(1);
        assert!(start.elapsed().as_secs() < 30, "nobody is waited for");
        assert!(refused.stderr.contains(words), "{refused}");
        assert!(!refused.stderr.contains("other"), "{refused}");
        untouched(&db, &before);
        db.execute("DELETE FROM projection_dead_letters WHERE global_position = 3");
        let refused = archive(&db, &[part, "--drop"]).failure(1);
        assert!(refused.stderr.contains("1 event is among the dead letters"), "{refused}");
        archive(&db, &[part, "--drop", "--ignore-projection", "it's"]).success();
        assert_eq!(count(&db, "events"), 2, "{layout}");
    }
}

#[test]
fn a_projection_is_ignored_with_all_its_slots_or_with_one() {
    let db = store("month", &[]);
    events(&db, "A", -2, 3);
    for slot in 0..3 {
        let slots = "INSERT INTO projection_checkpoints (projection_name, last_global_position,
            projection, slot, slots, slot_hash, epoch)
            VALUES ($1, $2, 'orders', $3, 3, 'hashtextextended', 1)";
        let (name, position) = (format!("orders:{slot}/3"), i64::from(slot) + 4);
        db.client().execute(slots, &[&name, &position, &slot]).expect("a slot");
    }
    let month = db.month(-2);
    let refused = archive(&db, &[&month]).failure(1);
    for words in [
        "the projection orders:0/3 is at position 4, 2 behind",
        "the projection orders:1/3 is at position 5, 1 behind",
        "pupctl projections delete orders or --ignore-projection orders",
    ] {
        assert!(refused.stderr.contains(words), "{words}: {refused}");
    }
    assert!(!refused.stderr.contains("orders:2/3"), "{refused}");
    let one = archive(&db, &[&month, "--ignore-projection", "orders:0/3"]).failure(1);
    assert!(!one.stderr.contains("error: the projection orders:0/3"), "{one}");
    assert!(one.stderr.contains("the projection orders:1/3"), "{one}");
    assert!(!one.stderr.contains("there is no projection"), "{one}");
    let all = archive(&db, &[&month, "--drop", "--ignore-projection", "orders"]).success();
    assert!(!all.stderr.contains("there is no projection"), "{all}");
    assert_eq!(count(&db, "events"), 0);
}

#[test]
fn a_detach_warns_of_dead_letters() {
    let db = store("month", &[]);
    events(&db, "A", -2, 3);
    checkpoint(&db, "orders", 6);
    park(&db, "orders", 2, "failed");
    let detached = db.pupctl(["partitions", "detach", &db.month(-2), "--yes"]).success();
    assert!(detached.stderr.contains("cannot be replayed"), "{detached}");
    assert!(detached.stderr.contains("orders (1 event, the first at 2)"), "{detached}");
    assert!(!detached.stderr.contains("have not read"), "{detached}");
}

#[test]
fn a_projection_that_is_at_the_beginning_leaves_nothing_to_archive_of_a_context() {
    let db = store("context", &[]);
    events(&db, "A", 0, 4);
    checkpoint(&db, "orders", 0);
    let before = everywhere::of_store(&db);
    let run = archive(&db, &["A", "--drop"]);
    assert_eq!(everywhere::all(&db), before);
    assert_eq!(everywhere::of_store(&db), before, "{run}");
}

#[test]
fn an_open_transaction_is_waited_for_and_named() {
    for layout in ["month", "context"] {
        let db = store(layout, &[]);
        events(&db, "A", -2, 3);
        let before = now(&db);
        let month = db.month(-2);
        let part = if layout == "month" { month.as_str() } else { "A" };
        let mut writer = db.client();
        let mut transaction = writer.transaction().expect("a transaction");
        transaction
            .batch_execute(&format!(
                "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
                    aggregate_version, event_id, event_type, payload, created_at)
                 VALUES ('A', 'Order', 'late', 1, gen_random_uuid(), 'Placed', '',
                    '{month}-05 00:00:00+00')"
            ))
            .expect("an event");
        let refused = archive(&db, &[part, "--drop", "--patience", "300ms"]).failure(1);
        assert!(refused.stderr.contains("may still appear"), "{refused}");
        untouched(&db, &before);
        transaction.commit().expect("the event");
        archive(&db, &[part, "--drop"]).success();
        assert_eq!(everywhere::of_files(&db).rows, 7);
    }
}

/// Aggregates of a past month go on in this one.
fn split(db: &TestDatabase) -> String {
    let mut client = db.client();
    for (id, events, month) in [("1", 2, -2), ("2", 1, -2), ("1", 1, 0)] {
        let created_at = format!("{}-02T00:00:00Z", db.month(month));
        let append = Append { context: "A", id, head: None, events, created_at: &created_at };
        append.run(&mut client).expect("an append");
    }
    db.month(-2)
}

#[test]
fn streams_that_go_on_are_counted_and_refused() {
    let db = store("month", &[]);
    let month = split(&db);
    let before = now(&db);
    let refused = archive(&db, &[&month]).failure(1);
    for words in
        ["1 aggregate goes on", "A/Order/1 ends there at version 2", "--allow-split-streams"]
    {
        assert!(refused.stderr.contains(words), "{words}: {refused}");
    }
    untouched(&db, &before);
    archive(&db, &[&month, "--allow-split-streams"]).success();
    let db = store("month", &[]);
    let month = split(&db);
    let config = "[archive]\nallow_split_streams = true\n";
    std::fs::write(db.folder().join("pupctl.toml"), config).expect("a file");
    archive(&db, &[&month]).success();
}

#[test]
fn a_replication_slot_has_to_have_read_it() {
    let server = TestServer::private(&[("wal_level", "logical"), ("max_replication_slots", "4")]);
    let db = TestDatabase::on(&server);
    store_in(&db, "month", &[]);
    events(&db, "A", -2, 3);
    db.execute("CREATE PUBLICATION everything FOR TABLE events WITH (publish_via_partition_root)");
    db.execute("SELECT pg_create_logical_replication_slot('with_pgoutput', 'pgoutput')");
    db.execute("SELECT pg_create_logical_replication_slot('it_is_dead', 'test_decoding')");
    let month = db.month(-2);
    events(&db, "B", -2, 3);
    let before = now(&db);
    let refused = archive(&db, &[&month, "--drop", "--patience", "300ms"]).failure(1);
    for words in ["slot with_pgoutput (inactive)", "slot it_is_dead", "pg_drop_replication_slot"] {
        assert!(refused.stderr.contains(words), "{words}: {refused}");
    }
    untouched(&db, &before);
    let changes: i64 = db.one(
        "SELECT count(*) FROM pg_logical_slot_get_binary_changes('with_pgoutput', NULL, NULL,
            'proto_version', '1', 'publication_names', 'everything')",
    );
    assert!(changes > 6);
    let ignored = ["--ignore-slot", "it_is_dead", "--ignore-slot", "with_pgoutput"];
    archive(&db, &[&[month.as_str(), "--drop"], &ignored[..]].concat()).success();
    assert_eq!(everywhere::of_files(&db).rows, 12);
    // What the slot reads of the departure is nothing that happened to an event.
    let kinds = "SELECT DISTINCT chr(get_byte(data, 0))
        FROM pg_logical_slot_get_binary_changes('with_pgoutput', NULL, NULL,
            'proto_version', '1', 'publication_names', 'everything')
        WHERE chr(get_byte(data, 0)) IN ('I', 'U', 'D', 'T')";
    assert_eq!(db.texts(kinds), Vec::<String>::new());
}

#[test]
fn subscribers_do_not_notice_what_stays_of_a_context() {
    let server = TestServer::private(&[("wal_level", "logical"), ("max_replication_slots", "4")]);
    let db = TestDatabase::on(&server);
    store_in(&db, "context", &[]);
    db.execute(
        "CREATE PUBLICATION everything FOR TABLE events
            WITH (publish = 'insert', publish_via_partition_root)",
    );
    db.execute("SELECT pg_create_logical_replication_slot('subscriber', 'pgoutput')");
    let inserts = || -> i64 {
        db.one(
            "SELECT count(*) FILTER (WHERE chr(get_byte(data, 0)) = 'I')
             FROM pg_logical_slot_get_binary_changes('subscriber', NULL, NULL,
                'proto_version', '1', 'publication_names', 'everything')",
        )
    };
    events(&db, "A", 0, 3);
    assert_eq!(inserts(), 6);
    checkpoint(&db, "orders", 6);
    // What comes meanwhile stays, in a table of its own that becomes the leaf.
    let line = ["archive", "A", "--drop", "--yes", "--ignore-slot", "subscriber"];
    let run = db.command(line).failpoints("archive::replaced=sleep(1500)").spawn();
    eventually("the next leaf is made", || everywhere::outside(&db).len() == 1);
    db.execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         VALUES ('A', 'Order', 'late', 1, gen_random_uuid(), 'Placed', '')",
    );
    let archived = run.wait().success();
    assert!(archived.stderr.contains("1 events of public.events_a came meanwhile"), "{archived}");
    // It was published when it came, and not when it was moved.
    assert_eq!((count(&db, "events"), inserts()), (1, 1));
    restore(&db, &["A"]).success();
    assert_eq!(count(&db, "events"), 7);
}
