//! Places are read as people write them, and found again in names and constraints.

use super::place::{guess_from_check, guess_from_name, parent, read};
use crate::catalog::handmade::{layout, whole_store};
use crate::layout::bounds::Bound;
use crate::layout::levels::PartitionBy;
use crate::layout::place::Place;

fn month(text: &str) -> Bound {
    Bound::month(text.parse().expect("a month"))
}

fn share(remainder: u32) -> Bound {
    Bound::Hash { modulus: 2, remainder }
}

#[test]
fn places_are_read_as_the_list_shows_them() {
    let words = [
        (PartitionBy::Month, "2026-01", vec![month("2026-01")]),
        (PartitionBy::Hash, "hash 1 of 2", vec![share(1)]),
        (PartitionBy::Context, "a/b", vec![Bound::context("a/b")]),
        (PartitionBy::ContextMonth, "a/b/2026-01", vec![Bound::context("a/b"), month("2026-01")]),
        (PartitionBy::ContextMonth, "a/2026-01", vec![Bound::context("a"), month("2026-01")]),
        (PartitionBy::ContextMonth, "A/2026-01", vec![Bound::context("a"), month("2026-01")]),
        (PartitionBy::ContextHash, "a/hash 0 of 2", vec![Bound::context("a"), share(0)]),
        (PartitionBy::HashMonth, "hash 0 of 2/2026-01", vec![share(0), month("2026-01")]),
    ];
    for (by, word, bounds) in words {
        let layout = layout(by, &["a", "a/b"]);
        assert_eq!(read(&layout, word).expect(word), Place::new(bounds), "{by} {word}");
    }
}

#[test]
fn what_is_no_place_is_refused_with_an_example() {
    let words = [
        (PartitionBy::None, "2026-01", "copy the rows into it"),
        (PartitionBy::Month, "2026-13", "write 2026-01"),
        (PartitionBy::Month, "2026-01/x", "leave out what follows: 2026-01"),
        (PartitionBy::Hash, "hash 2 of 2", "write \"hash 0 of 2\""),
        (PartitionBy::Hash, "hash 0 of 4", "write \"hash 0 of 2\""),
        (PartitionBy::Context, "b", "it knows a"),
        (PartitionBy::ContextMonth, "a", "name one of its parts: a/2026-01"),
    ];
    for (by, word, hint) in words {
        let error = read(&layout(by, &["a"]), word).expect_err(word);
        assert!(error.hint_text().expect("a hint").contains(hint), "{error:?}");
    }
}

#[test]
fn a_place_is_free_or_taken_or_none_of_the_layout() {
    let layout = layout(PartitionBy::ContextMonth, &["a"]);
    let catalog = whole_store(&layout);
    let at = |bounds: Vec<Bound>| parent(&layout, &catalog, &Place::new(bounds));
    let context = || Bound::context("a");
    let free = at(vec![context(), month("2026-01")]).expect("it is free");
    assert_eq!(free.name.name, "events_a");
    let message = |bounds| at(bounds).expect_err("refused").message().to_owned();
    let taken = message(vec![context(), month("2026-11")]);
    assert_eq!(taken, "a/2026-11 is taken: public.events_a_2026_11 holds it");
    assert!(message(vec![context()]).ends_with("it is divided further, by month"));
    assert!(message(vec![Bound::context("b"), month("2026-11")]).contains("no context b"));
    assert!(message(vec![month("2026-01")]).contains("no context 2026-01"));
}

#[test]
fn names_and_constraints_tell_a_place() {
    let by_month = layout(PartitionBy::ContextMonth, &["a", "b"]);
    let catalog = whole_store(&by_month);
    let place = Place::new(vec![Bound::context("b"), month("2025-02")]);
    assert_eq!(guess_from_name(&by_month, &catalog, "events_b_2025_02"), Some(place.clone()));
    assert_eq!(guess_from_name(&by_month, &catalog, "events_2025_02"), None);
    assert_eq!(guess_from_name(&by_month, &catalog, "events_b"), None);
    let printed = "CHECK (((bounded_context = 'b'::text) AND (created_at >= \
        '2025-02-01 00:00:00+00'::timestamp with time zone)))";
    assert_eq!(guess_from_check(&by_month, printed), Some(place));

    let by_hash = layout(PartitionBy::Hash, &[]);
    let catalog = whole_store(&by_hash);
    let place = Place::new(vec![share(1)]);
    assert_eq!(guess_from_name(&by_hash, &catalog, "events_hash_01"), Some(place.clone()));
    let printed = "CHECK (satisfies_hash_partition('7'::oid, 2, 1, aggregate_id))";
    assert_eq!(guess_from_check(&by_hash, printed), Some(place));
}
