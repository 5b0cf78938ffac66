use chrono::{DateTime, Utc};

use super::*;
use crate::projection::ServerHash;

fn wish(total: u32, slots: u32) -> Wish {
    Wish {
        projection: "orders".to_owned(),
        total,
        target: Target { slots, hash: Fnv1a::NAME.to_owned() },
        start: None,
        ignore_rows: BTreeSet::new(),
        contexts: vec!["Sales".to_owned()],
        aggregates: Vec::new(),
        tables: vec!["order_totals".to_owned()],
    }
}

fn rows(rows: &[(&str, i64)]) -> Vec<ForeignRow> {
    let row = |&(name, position): &(&str, i64)| ForeignRow {
        name: name.to_owned(),
        position,
        moved_at: DateTime::<Utc>::UNIX_EPOCH,
        moves: false,
    };
    rows.iter().map(row).collect()
}

fn positions(plan: &Plan) -> Vec<(&str, i64)> {
    plan.after.iter().map(|row| (row.name.as_str(), row.position)).collect()
}

const TWO: [(&str, i64); 2] = [("orders_p0", 5), ("orders_p1", 9)];

#[test]
fn as_many_slots_as_partitions_begin_where_those_stand() {
    let plan = Plan::of(&wish(2, 2), &rows(&TWO)).expect("a plan");
    assert_eq!(positions(&plan), [("orders:0/2", 5), ("orders:1/2", 9)]);
    assert_eq!((plan.start, plan.lowest(), plan.highest()), (None, 5, 9));
    assert_eq!(plan.after[1].bounded_contexts, Some(vec!["Sales".to_owned()]));
    assert_eq!(plan.after[1].read_model, Some(vec!["order_totals".to_owned()]));
    let one = Plan::of(&wish(1, 1), &rows(&[("orders", 5)])).expect("a plan");
    assert_eq!(positions(&one), [("orders", 5)]);
}

#[test]
fn a_multiple_is_split() {
    let plan = Plan::of(&wish(2, 4), &rows(&TWO)).expect("a plan");
    let expected = [("orders:0/4", 5), ("orders:1/4", 9), ("orders:2/4", 5), ("orders:3/4", 9)];
    assert_eq!(positions(&plan), expected);
    let mut other = wish(1, 3);
    other.target.hash = ServerHash::NAME.to_owned();
    let plan = Plan::of(&other, &rows(&[("orders", 5)])).expect("a plan");
    assert_eq!(plan.way, Way::Split);
}

#[test]
fn any_other_number_needs_a_choice_or_one_position() {
    let refused = Plan::of(&wish(2, 3), &rows(&TWO)).expect_err("must be refused");
    assert!(refused.message().contains("cannot become 3 slots"), "{refused}");
    assert!(refused.hint_text().is_some_and(|hint| hint.contains("--from lowest")), "{refused}");
    for (start, position) in [(Start::Lowest, 5), (Start::Highest, 9)] {
        let wish = Wish { start: Some(start), ..wish(2, 3) };
        let plan = Plan::of(&wish, &rows(&TWO)).expect("a plan");
        assert_eq!(plan.start, Some(start));
        assert!(plan.after.iter().all(|row| row.position == position));
        // Where nothing has to be chosen, the choice does not matter.
        let even = Plan::of(&wish, &rows(&[("orders_p0", 7), ("orders_p1", 7)])).expect("a plan");
        assert_eq!((even.start, even.after[2].position), (None, 7));
    }
    // A merge is exact where the rows that become one stand at one position.
    let four = [("orders_p0", 5), ("orders_p1", 9), ("orders_p2", 5), ("orders_p3", 9)];
    let plan = Plan::of(&wish(4, 2), &rows(&four)).expect("a plan");
    assert_eq!(positions(&plan), [("orders:0/2", 5), ("orders:1/2", 9)]);
}

#[test]
fn missing_and_surplus_rows_are_told() {
    let refused = |total, found: &[(&str, i64)]| {
        let error = Plan::of(&wish(total, total), &rows(found)).expect_err("must be refused");
        format!("{error}; {}; {}", error.detail_lines().join("; "), error.hint_text().unwrap_or(""))
    };
    let missing = refused(3, &TWO);
    assert!(missing.contains("orders_p2 is missing"), "{missing}");
    assert!(missing.contains("--ignore-rows orders_p2 "), "{missing}");
    let surplus = refused(2, &[TWO[0], TWO[1], ("orders_p7", 3), ("orders", 1)]);
    assert!(surplus.contains("orders_p7 is there too, at position 3"), "{surplus}");
    assert!(surplus.contains("--ignore-rows orders_p7,orders "), "{surplus}");
    assert!(refused(1, &TWO).contains("there is no row of the projection orders with 1 partition"));
    assert!(refused(2, &[]).contains("orders_p1 is missing"));
}

#[test]
fn rows_are_gone_on_without_when_they_are_named() {
    let ignore = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let missing = Wish { ignore_rows: ignore(&["orders_p2"]), ..wish(3, 3) };
    let plan = Plan::of(&missing, &rows(&TWO)).expect("a plan");
    assert_eq!(positions(&plan), [("orders:0/3", 5), ("orders:1/3", 9), ("orders:2/3", 0)]);
    assert_eq!(plan.sources[2].row, None);
    let surplus = Wish { ignore_rows: ignore(&["orders"]), ..wish(2, 2) };
    let plan = Plan::of(&surplus, &rows(&[TWO[0], TWO[1], ("orders", 1)])).expect("a plan");
    assert_eq!(plan.sources.len(), 2);
    assert_eq!(plan.surplus, rows(&[("orders", 1)]));
    let unknown = Wish { ignore_rows: ignore(&["nobody"]), ..wish(2, 2) };
    assert!(Plan::of(&unknown, &rows(&TWO)).is_err());
}
