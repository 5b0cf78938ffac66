//! Versions and ids across the events of a file, and against what the store has.

use insta::assert_snapshot;

use crate::event::{count, event, heads, lines};
use crate::support::{Append, TestDatabase};
use crate::{file, refused, store};

const TWO: [&str; 4] = ["--partition-by", "context", "--contexts", "Shop,Billing"];

/// A store that has two versions of the first order.
fn filled() -> TestDatabase {
    let db = store(TWO);
    let file = file(&db, lines(&[event(1, 1), event(1, 2)]));
    db.pupctl(["events", "import", file]).success();
    assert_eq!(count(&db), 2);
    db
}

#[test]
fn versions_that_do_not_follow_each_other() {
    let db = store(TWO);
    let all = [
        [event(1, 1), event(2, 1), event(1, 3)],
        [event(1, 1), event(2, 1), event(1, 1).with("event_id", event(3, 3).id())],
        [event(1, 1), event(1, 2), event(1, 1).with("event_id", event(3, 3).id())],
        [event(1, 2), event(2, 1), event(1, 1)],
        [event(1, 1), event(2, 1), event(3, 2)],
    ]
    .map(|events| refused(&db, lines(&events), &[]));
    assert_snapshot!(all.concat(), @"
    error: events.ndjson, line 3: version 3 of Order o-1 in Shop follows version 1 (line 1): versions have no holes
    error: events.ndjson, line 3: version 1 of Order o-1 in Shop is there twice (line 1 has it)
    error: events.ndjson, line 3: version 1 of Order o-1 in Shop comes after version 2 (line 2)
    error: events.ndjson, line 3: version 1 of Order o-1 in Shop comes after version 2 (line 1)
    error: events.ndjson, line 3: Order o-3 in Shop begins with version 2, the first version is 1
    ");
}

#[test]
fn versions_that_do_not_follow_those_of_the_store() {
    let db = filled();
    let other_id = event(9, 9).id();
    let all = [
        vec![event(2, 1), event(1, 4)],
        // The version is there, with another event.
        vec![event(2, 1), event(1, 2).with("event_id", other_id.clone())],
        vec![event(1, 1).with("event_id", other_id), event(1, 2), event(1, 3)],
    ]
    .map(|events| refused(&db, lines(&events), &[]));
    assert_snapshot!(all.concat(), @"
    error: events.ndjson, line 2: version 4 of Order o-1 in Shop does not follow the store's version 2
    error: events.ndjson, line 2: the store has version 2 of Order o-1 in Shop with the event_id 00000000-0000-4000-8000-000001000002
    error: events.ndjson, line 1: the store has version 1 of Order o-1 in Shop with the event_id 00000000-0000-4000-8000-000001000001
      line 2: the store has this event already
    ");
    // Not even what is there already may be left out then.
    let events = [event(1, 2).with("event_id", event(9, 9).id()), event(1, 3)];
    assert_snapshot!(refused(&db, lines(&events), &["--skip-existing"]), @"error: events.ndjson, line 1: the store has version 2 of Order o-1 in Shop with the event_id 00000000-0000-4000-8000-000001000002");
}

#[test]
fn an_event_id_that_the_file_has_twice() {
    let db = store(TWO);
    let id = event(1, 1).id();
    let same = event(2, 1).with("event_id", id.clone());
    let other = same.clone().with("bounded_context", "Billing");
    // In another notation it is the same.
    let simple = event(2, 1).with("event_id", id.replace('-', "").to_uppercase());
    for twice in [same, other, simple] {
        let told = refused(&db, lines(&[event(1, 1), event(1, 2), twice]), &[]);
        assert_eq!(
            told,
            format!("error: events.ndjson, line 3: the event_id {id} is that of line 1 too\n")
        );
    }
}

#[test]
fn an_event_id_that_the_store_has_for_another_event() {
    let db = filled();
    let other = event(2, 1).with("event_id", event(1, 2).id());
    let told = refused(&db, lines(&[event(3, 1), other.clone()]), &[]);
    assert_snapshot!(told, @"error: events.ndjson, line 2: its event_id is that of version 2 of Order o-1 in Shop");
    assert_eq!(refused(&db, lines(&[event(3, 1), other]), &["--skip-existing"]), told);
}

#[test]
fn what_goes_on_where_the_store_is() {
    let db = filled();
    let mut client = db.client();
    let created_at = "2024-02-04T00:00:00Z";
    Append { context: "Shop", id: "o-1", head: Some(2), events: 1, created_at }
        .run(&mut client)
        .expect("version 3, by a writer");
    let next = file(&db, lines(&[event(1, 4), event(2, 1), event(1, 5)]));
    db.pupctl(["events", "import", next]).success();
    assert_eq!(heads(&db), ["Shop|Order|o-1|5", "Shop|Order|o-2|1"]);
    // A whole file after that adds what is new, and knows the writer's event as another one.
    let all = [event(1, 1), event(1, 2), event(2, 1), event(2, 2)];
    let whole = file(&db, lines(&all));
    let skipped = db.pupctl(["events", "import", whole, "--skip-existing", "-o", "json"]);
    let report = skipped.success().json();
    assert_eq!((&report["imported"], &report["existing"]), (&1.into(), &3.into()));
    assert_eq!(heads(&db), ["Shop|Order|o-1|5", "Shop|Order|o-2|2"]);
    let told = refused(&db, lines(&[event(1, 2), event(1, 3)]), &["--skip-existing"]);
    assert!(told.contains("line 2: the store has version 3 of Order o-1 in Shop with"), "{told}");
}

#[test]
fn a_head_that_lags_behind_its_events_is_told() {
    let db = filled();
    db.execute("UPDATE aggregate_heads SET aggregate_version = 1");
    let told = refused(&db, lines(&[event(1, 2), event(1, 3)]), &["--skip-existing"]);
    assert_snapshot!(told, @"error: events.ndjson, line 1: the store has version 2 of Order o-1 in Shop, but its head says 1: mend the head");
    db.execute("DELETE FROM aggregate_heads");
    let told = refused(&db, lines(&[event(1, 1), event(1, 2)]), &["--skip-existing"]);
    assert_snapshot!(told, @"
    error: events.ndjson, line 1: the store has version 1 of Order o-1 in Shop, but its head says 0: mend the head
      line 2: the store has version 2 of Order o-1 in Shop, but its head says 0: mend the head
    ");
}
