use chrono::{DateTime, TimeDelta, Utc};

use super::*;

const HASHES: [&str; 3] = [ServerHash::NAME, Fnv1a::NAME, "by_region"];

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn group(hash: &str, positions: &[i64]) -> Group {
    let slots = u32::try_from(positions.len()).expect("few");
    let row = |(slot, &position): (u32, &i64)| SlotRow {
        name: row_name("orders", slot, slots),
        slot,
        slots,
        hash: hash.to_owned(),
        epoch: 3,
        position,
        moved_at: at(0),
        bounded_contexts: Some(vec!["Sales".to_owned()]),
        aggregate_types: Some(Vec::new()),
        read_model: None,
        paused_at: None,
        drain_to: None,
        parked: false,
        replay_at: None,
        worker: None,
        events_handled: 10 * i64::from(slot + 1),
        last_error: None,
        failed_at: None,
        failed_position: None,
    };
    let rows = (0..).zip(positions).map(row).collect();
    Group::of("orders", rows).expect("a group").expect("with rows")
}

fn plan(before: Group, hash: &str, slots: u32) -> Plan {
    Plan::of("orders", before, &Target { slots, hash: hash.to_owned() })
}

/// The slot by a hash: any two differ, and that of the server is as good as the next one.
fn slot(hash: &str, aggregate: &str, slots: u32) -> u32 {
    match hash {
        ServerHash::NAME => Fnv1a::hash(&format!("server {aggregate}")) % slots,
        Fnv1a::NAME => Fnv1a::slot_of(aggregate, slots),
        // Twice as many slots divide none of them in two.
        _ => (Fnv1a::hash(aggregate) ^ slots.wrapping_mul(0x9e37_79b9)) % slots,
    }
}

#[test]
fn the_way_follows_from_the_numbers_and_the_hash() {
    let way = |slots, hash: &str, new_slots, new_hash: &str| {
        Way::of(slots, hash, &Target { slots: new_slots, hash: new_hash.to_owned() })
    };
    for hash in [ServerHash::NAME, Fnv1a::NAME] {
        assert_eq!(way(4, hash, 4, hash), Way::Nothing);
        assert_eq!(way(4, hash, 8, hash), Way::Split);
        assert_eq!(way(4, hash, 12, hash), Way::Split);
        assert_eq!(way(8, hash, 4, hash), Way::Merge);
        assert_eq!(way(9, hash, 3, hash), Way::Merge);
        assert_eq!(way(8, hash, 3, hash), Way::Barrier);
        assert_eq!(way(3, hash, 16, hash), Way::Barrier);
    }
    assert_eq!(way(4, Fnv1a::NAME, 4, ServerHash::NAME), Way::Barrier);
    assert_eq!(way(4, Fnv1a::NAME, 8, ServerHash::NAME), Way::Barrier);
    assert_eq!(way(4, "by_region", 8, "by_region"), Way::Barrier);
    // One slot has everything, whatever its hash.
    assert_eq!(way(1, Fnv1a::NAME, 4, "by_region"), Way::Split);
    assert_eq!(way(1, Fnv1a::NAME, 1, ServerHash::NAME), Way::Split);
    assert_eq!(way(4, Fnv1a::NAME, 1, ServerHash::NAME), Way::Merge);
    assert_eq!(way(4, "by_region", 1, "by_region"), Way::Merge);
}

#[test]
fn no_change_loses_or_repeats_an_event() {
    let mut seed = 7_u32;
    let mut next = |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) % below
    };
    let ids: Vec<String> = (0..50).map(|id| format!("order-{id}")).collect();
    for hash in HASHES {
        for new_hash in HASHES {
            for (slots, new_slots) in (1..=9).flat_map(|n| (1..=9).map(move |m| (n, m))) {
                let positions: Vec<_> = (0..slots).map(|_| i64::from(next(40))).collect();
                let plan = plan(group(hash, &positions), new_hash, new_slots);
                // What the workers have handled when the rows are replaced.
                let drained: Vec<_> = if plan.drains.is_empty() {
                    positions.clone()
                } else {
                    plan.drains.iter().map(|drain| drain.to).collect()
                };
                assert!(drained.iter().zip(&positions).all(|(to, from)| to >= from));
                for (id, position) in ids.iter().flat_map(|id| (1..=40).map(move |at| (id, at))) {
                    let old = drained[slot(hash, id, slots) as usize];
                    let new = plan.after[slot(new_hash, id, new_slots) as usize].position;
                    assert_eq!(
                        position <= old,
                        position <= new,
                        "{id} at {position}: {slots} {hash} {positions:?} to {new_slots} {new_hash}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_merge_waits_for_those_that_become_one_alone() {
    let plan = plan(group(Fnv1a::NAME, &[10, 20, 30, 20]), Fnv1a::NAME, 2);
    assert_eq!(plan.barriers(), [Some(30), Some(20), Some(30), Some(20)]);
    assert!(!plan.is_ready());
    let behind: Vec<_> = plan.behind().map(|drain| (drain.slot, drain.left())).collect();
    assert_eq!(behind, [(0, 20)]);
    assert_eq!(plan.after.iter().map(|row| row.position).collect::<Vec<_>>(), [30, 20]);
    let even = super::Plan::of(
        "orders",
        group(Fnv1a::NAME, &[30, 20, 30, 20]),
        &Target { slots: 2, hash: Fnv1a::NAME.to_owned() },
    );
    assert!(even.is_ready());
}

#[test]
fn a_barrier_is_the_highest_position() {
    let plan = plan(group(ServerHash::NAME, &[10, 20, 15]), ServerHash::NAME, 2);
    assert_eq!(plan.way, Way::Barrier);
    assert_eq!(plan.barriers(), [Some(20); 3]);
    assert!(plan.after.iter().all(|row| row.position == 20));
}

#[test]
fn a_split_waits_for_nobody() {
    let plan = plan(group(ServerHash::NAME, &[10, 20]), ServerHash::NAME, 6);
    assert!(plan.is_ready());
    assert_eq!(plan.barriers(), [None, None]);
    let positions: Vec<_> = plan.after.iter().map(|row| row.position).collect();
    assert_eq!(positions, [10, 20, 10, 20, 10, 20]);
    assert!(plan.after.iter().all(|row| row.epoch == 4));
    assert_eq!(plan.after[5].name, "orders:5/6");
    assert_eq!(plan.after[5].bounded_contexts, Some(vec!["Sales".to_owned()]));
    assert_eq!(plan.after[5].read_model, None);
}

#[test]
fn the_number_of_handled_events_is_kept() {
    for (slots, new_slots) in [(1, 4), (4, 8), (8, 3), (3, 16), (16, 2), (2, 1), (5, 5)] {
        let before = group(ServerHash::NAME, &vec![7; slots]);
        let sum = before.rows.iter().map(|row| row.events_handled).sum::<i64>();
        let plan = plan(before, ServerHash::NAME, new_slots);
        assert_eq!(plan.after.iter().map(|row| row.events_handled).sum::<i64>(), sum);
    }
}

#[test]
fn what_is_known_of_a_slot_goes_to_all_that_come_from_it() {
    let mut before = group(ServerHash::NAME, &[5, 5]);
    before.rows[1].parked = true;
    before.rows[1].replay_at = Some(at(9));
    before.rows[1].last_error = Some("it's broken".to_owned());
    before.rows[1].failed_at = Some(at(8));
    before.rows[1].failed_position = Some(6);
    before.rows[1].paused_at = Some(at(7));
    for (slots, children) in
        [(4, [false, true, false, true].as_slice()), (1, &[true]), (3, &[true; 3])]
    {
        let plan = plan(before.clone(), ServerHash::NAME, slots);
        for (row, is_child) in plan.after.iter().zip(children) {
            let some = |seconds| is_child.then(|| at(seconds));
            assert_eq!(row.parked, *is_child);
            assert_eq!(row.replay_at, some(9));
            assert_eq!((row.failed_at, row.failed_position), (some(8), is_child.then_some(6)));
            assert_eq!(row.last_error.is_some(), *is_child);
            assert_eq!(row.paused_at, some(7));
        }
    }
}

#[test]
fn rows_that_do_not_belong_together_are_refused() {
    let broken = |change: fn(&mut Vec<SlotRow>)| {
        let mut rows = group(ServerHash::NAME, &[1, 2, 3]).rows;
        change(&mut rows);
        Group::of("orders", rows).expect_err("must be refused").detail_lines().join("; ")
    };
    assert_eq!(broken(|rows| drop(rows.remove(1))), "there are 2 rows of 3 slots");
    assert_eq!(broken(|rows| rows.push(rows[2].clone())), "there are 4 rows of 3 slots");
    assert_eq!(broken(|rows| rows[2].epoch = 2), "orders:2/3 is not like orders:0/3");
    assert_eq!(broken(|rows| rows[1].bounded_contexts = None), "orders:1/3 is not like orders:0/3");
    assert_eq!(Group::of("orders", Vec::new()).expect("none"), None);
}
