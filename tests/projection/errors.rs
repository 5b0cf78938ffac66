//! Events that cannot be handled.

use pupctl::projection::{ErrorPolicy, ProcessorConfig};

use crate::journal::{self, Journal, assert_whole};
use crate::{append, catch_up, positions, store};

#[test]
fn a_poison_event_stops_the_projection_right_before_it() {
    for poison in [1, 5, 10] {
        let db = store("none");
        let mut client = db.client();
        for _ in 0..10 {
            append(&mut client, "Sales", "o-1");
        }
        let config = ProcessorConfig::default;
        let failing = Journal::failing_at("all", &[poison]);
        let stopped = catch_up(&db, failing, config()).expect_err("it stops");
        assert_eq!(
            stopped.message(),
            format!("the projection all stopped at position {poison}: position {poison} is poison")
        );
        assert_eq!(positions(&db, "all"), [poison - 1]);
        assert_eq!(journal::positions(&db, "all"), (1..poison).collect::<Vec<_>>());
        let (error, at): (String, i64) = {
            let row = db
                .client()
                .query_one("SELECT last_error, failed_position FROM projection_checkpoints", &[])
                .expect("a row");
            (row.get(0), row.get(1))
        };
        assert_eq!((error, at), (format!("position {poison} is poison"), poison));
        // Mended, it goes on where it stopped.
        catch_up(&db, Journal::new("all"), config()).expect("caught up");
        assert_whole(&db, "all");
        let error: Option<String> = db.one("SELECT last_error FROM projection_checkpoints");
        assert_eq!(error, None);
    }
}

#[test]
fn a_skipped_event_is_noted_and_the_rest_goes_on() {
    let db = store("none");
    let mut client = db.client();
    for _ in 0..10 {
        append(&mut client, "Sales", "o-1");
    }
    let config = ProcessorConfig::default().on_error(ErrorPolicy::Skip);
    let failing = Journal::failing_at("all", &[3, 7]);
    let report = catch_up(&db, failing, config).expect("caught up");
    assert_eq!((report.events, report.dead_letters), (8, 2));
    assert_eq!(journal::positions(&db, "all"), [1, 2, 4, 5, 6, 8, 9, 10]);
    let letters: String = db.one(
        "SELECT string_agg(global_position || ' ' || state || ' ' || error, ', '
            ORDER BY global_position) FROM projection_dead_letters",
    );
    assert_eq!(letters, "3 skipped position 3 is poison, 7 skipped position 7 is poison");
}

#[test]
fn a_parked_event_keeps_the_later_ones_of_its_aggregate_and_they_are_replayed_in_order() {
    let db = store("none");
    let mut client = db.client();
    for number in 0..12 {
        append(&mut client, "Sales", if number % 3 == 0 { "bad" } else { "good" });
    }
    let config = || ProcessorConfig::default().on_error(ErrorPolicy::Park).batch_size(6);
    // 1, 4, 7 and 10 are of the aggregate `bad`.
    let failing = || Journal::failing_at("all", &[4]);
    let report = catch_up(&db, failing(), config()).expect("caught up");
    assert_eq!((report.events, report.dead_letters), (9, 3));
    append(&mut client, "Sales", "bad");
    append(&mut client, "Sales", "good");
    catch_up(&db, failing(), config()).expect("caught up");
    let letters = "SELECT string_agg(global_position || ' ' || state, ', '
            ORDER BY global_position) FROM projection_dead_letters";
    assert_eq!(db.one::<String>(letters), "4 failed, 7 waiting, 10 waiting, 13 waiting");

    // Replayed in vain, they stay as they are.
    let replay = "UPDATE projection_dead_letters SET replay_at = now();
        UPDATE projection_checkpoints SET replay_at = now()";
    db.execute(replay);
    catch_up(&db, failing(), config()).expect("caught up");
    assert_eq!(db.one::<String>(letters), "4 failed, 7 waiting, 10 waiting, 13 waiting");
    assert_eq!(db.one::<i32>("SELECT max(attempts) FROM projection_dead_letters"), 2);

    db.execute(replay);
    catch_up(&db, Journal::new("all"), config()).expect("caught up");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM projection_dead_letters"), 0);
    assert_whole(&db, "all");
    append(&mut client, "Sales", "bad");
    catch_up(&db, failing(), config()).expect("caught up");
    assert_whole(&db, "all");
}
