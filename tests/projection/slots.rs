//! Slots: shared out among workers, or pinned to them.

use pupctl::projection::{Fnv1a, ProcessorConfig};

use crate::journal::{self, Journal, assert_whole};
use crate::{append, catch_up, positions, store};

#[test]
fn one_worker_takes_all_slots_when_it_is_alone() {
    let db = store("none");
    let mut client = db.client();
    for number in 0..40 {
        append(&mut client, "Sales", &format!("o-{}", number % 9));
    }
    let config = ProcessorConfig::default().slots(4).batch_size(5);
    let report = catch_up(&db, Journal::new("all"), config).expect("caught up");
    assert_eq!(report.events, 40);
    assert_eq!(positions(&db, "all"), [40; 4]);
    assert_whole(&db, "all");
    let names: Vec<String> = db
        .client()
        .query("SELECT projection_name FROM projection_checkpoints ORDER BY slot", &[])
        .expect("checkpoints")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(names, ["all:0/4", "all:1/4", "all:2/4", "all:3/4"]);
}

#[test]
fn slots_that_are_apart_come_together() {
    let db = store("none");
    let mut client = db.client();
    for number in 0..30 {
        append(&mut client, "Sales", &format!("o-{}", number % 9));
    }
    let config = || ProcessorConfig::default().slots(4).batch_size(4);
    catch_up(&db, Journal::new("all"), config()).expect("caught up");
    // Two slots go back, and so does what they were given.
    db.execute(
        "DELETE FROM journal WHERE
            (hashtextextended(aggregate, 0) & 9223372036854775807) % 4 = 1 AND position > 10
            OR (hashtextextended(aggregate, 0) & 9223372036854775807) % 4 = 2 AND position > 17;
         UPDATE projection_checkpoints SET last_global_position = 10 WHERE slot = 1;
         UPDATE projection_checkpoints SET last_global_position = 17 WHERE slot = 2",
    );
    catch_up(&db, Journal::new("all"), config()).expect("caught up");
    assert_eq!(positions(&db, "all"), [30; 4]);
    assert_whole(&db, "all");
}

#[test]
fn a_worker_with_another_idea_of_the_slots_refuses_to_start() {
    let db = store("none");
    append(&mut db.client(), "Sales", "o-1");
    let of = |config| catch_up(&db, Journal::new("all"), config);
    of(ProcessorConfig::default().slots(4)).expect("caught up");
    let refused = of(ProcessorConfig::default().slots(8)).expect_err("other slots");
    assert_eq!(refused.message(), "the projection all has 4 slots, and this worker is for 8");
    let refused = of(ProcessorConfig::default().pinned(0, 2)).expect_err("other slots");
    assert_eq!(refused.message(), "the projection all has 4 slots, and this worker is for 2");
    let refused = of(ProcessorConfig::default().strategy(Fnv1a)).expect_err("another hash");
    assert_eq!(
        refused.message(),
        "the projection all is divided by hashtextextended, and this worker divides by fnv1a32"
    );
    // Whoever has no idea of them takes what is stored.
    of(ProcessorConfig::default()).expect("caught up");
}

#[test]
fn pinned_workers_divide_by_fnv_as_pupsourcings_do() {
    let db = store("none");
    let mut client = db.client();
    for number in 0..40 {
        append(&mut client, "Sales", &format!("o-{}", number % 9));
    }
    for key in 0..3 {
        let config = ProcessorConfig::default().pinned(key, 3);
        catch_up(&db, Journal::new("all"), config).expect("caught up");
        let wrong = db
            .client()
            .query("SELECT aggregate FROM journal WHERE projection = 'all'", &[])
            .expect("the journal")
            .iter()
            .filter(|row| Fnv1a::slot_of(row.get(0), 3) > key)
            .count();
        assert_eq!(wrong, 0, "{key}");
        assert_eq!(positions(&db, "all")[key as usize], 40);
    }
    assert_whole(&db, "all");
    assert_eq!(journal::positions(&db, "all").len(), 40);
}
