use std::collections::BTreeSet;

use super::desired::partitions;
use super::levels::PartitionBy;
use super::month::Month;
use super::*;

fn layout(by: PartitionBy, contexts: &[&str]) -> Layout {
    let levels = by.levels(None, 2).expect("levels");
    let contexts = contexts.iter().map(|&name| Context::new(name)).collect();
    Layout::new(Tables::default(), levels, contexts, MONTHS_AHEAD).expect("a layout")
}

fn months() -> BTreeSet<Month> {
    let first: Month = "2026-11".parse().expect("a month");
    first.through(first.plus(1)).collect()
}

fn outline(by: PartitionBy, role: Role) -> Vec<String> {
    fn lines(partitions: &[desired::DesiredPartition], depth: usize, into: &mut Vec<String>) {
        for partition in partitions {
            let key = if partition.key { " key" } else { "" };
            into.push(format!("{}{}{key}", "  ".repeat(depth), partition.suffix));
            lines(&partition.partitions, depth + 1, into);
        }
    }
    let mut outline = Vec::new();
    lines(&partitions(&layout(by, &["Identity"]), role, &|_| months()), 0, &mut outline);
    outline
}

#[test]
fn each_layout_divides_events() {
    assert!(outline(PartitionBy::None, Role::Events).is_empty());
    assert_eq!(outline(PartitionBy::Context, Role::Events), ["identity key"]);
    assert_eq!(outline(PartitionBy::Month, Role::Events), ["2026_11 key", "2026_12 key"]);
    assert_eq!(
        outline(PartitionBy::ContextMonth, Role::Events),
        ["identity", "  2026_11 key", "  2026_12 key"]
    );
    assert_eq!(
        outline(PartitionBy::ContextHash, Role::Events),
        ["identity key", "  hash_00 key", "  hash_01 key"]
    );
    assert_eq!(outline(PartitionBy::HashMonth, Role::Events).len(), 6);
}

#[test]
fn heads_follow_only_the_levels_whose_columns_they_have() {
    assert!(outline(PartitionBy::Month, Role::Heads).is_empty());
    assert_eq!(outline(PartitionBy::ContextMonth, Role::Heads), ["identity key"]);
    assert_eq!(outline(PartitionBy::HashMonth, Role::Heads), ["hash_00 key", "hash_01 key"]);
}

#[test]
fn one_month_branch_takes_the_roots_key() {
    let mut mixed = layout(PartitionBy::Context, &["Identity", "Analytics"]);
    assert!(mixed.root_has_key(Role::Events));
    mixed.contexts[1].levels = Some(vec![Level::Month]);
    assert!(!mixed.root_has_key(Role::Events));
    assert!(mixed.root_has_key(Role::Heads));
}

#[test]
fn the_stored_form_reads_back_and_newer_forms_are_refused() {
    let mut mixed = layout(PartitionBy::ContextHash, &["Identity"]);
    mixed.contexts.push(Context { levels: Some(vec![]), ..Context::new("Billing") });
    assert_eq!(Layout::from_json(mixed.to_json()).expect("reads back"), mixed);

    let mut newer = mixed.to_json();
    newer["form"] = serde_json::json!(3);
    let error = Layout::from_json(newer).expect_err("a newer form");
    assert!(error.message().contains("newer pupctl"), "{error}");
}

#[test]
fn a_layout_of_the_first_form_has_no_protections() {
    let mut first = layout(PartitionBy::Month, &[]).to_json();
    first["form"] = serde_json::json!(1);
    first.as_object_mut().expect("an object").remove("protections");
    let read = Layout::from_json(first).expect("reads");
    assert_eq!(read.protections, Protections::default());
    assert!(read.triggers().is_empty());
}

#[test]
fn protections_are_there_where_they_are_needed() {
    let all = Protections { guard: Guard::Events, event_ids: true, immutable: true };
    let triggers = |by| layout(by, &[]).protected(all).triggers();
    assert_eq!(triggers(PartitionBy::None), [Trigger::Immutable]);
    assert_eq!(triggers(PartitionBy::Hash), [Trigger::EventIds, Trigger::Immutable]);
    let months = [Trigger::Guard, Trigger::EventIds, Trigger::Immutable];
    assert_eq!(triggers(PartitionBy::ContextMonth), months);
}

#[test]
fn a_stored_layout_that_no_pupctl_wrote_is_refused() {
    let by_hash = layout(PartitionBy::ContextHash, &["Identity"]).to_json();
    let refused = |pointer: &str, value: serde_json::Value| {
        let mut changed = by_hash.clone();
        *changed.pointer_mut(pointer).expect("a place") = value;
        let error = Layout::from_json(changed).expect_err("not a layout");
        assert_eq!(error.kind(), crate::error::Kind::Refused);
        error.message().to_owned()
    };
    let hash = "/levels/1/hash";
    let many = refused(&format!("{hash}/partitions"), 100_000_000.into());
    assert!(many.contains("cannot have 100000000 partitions"), "{many}");
    let column = refused(&format!("{hash}/columns/0"), "event_id".into());
    assert!(column.contains("`event_id` cannot be a hash column"), "{column}");
    let order = refused("/levels", serde_json::json!(["month", "context"]));
    assert!(order.contains("there is no layout month, then context"), "{order}");
    let own = serde_json::json!([{"name": "A", "levels": ["context"]}]);
    let below = refused("/contexts", own);
    assert!(below.contains("there is no layout context, then context"), "{below}");
}

#[test]
fn differences_are_named() {
    let have = layout(PartitionBy::ContextMonth, &["Identity"]);
    assert!(have.differences(&have).is_empty());
    let want = layout(PartitionBy::Hash, &["Identity"]);
    let lines = have.differences(&want);
    assert!(lines[0].starts_with("levels: the store has context, then month"), "{lines:?}");
}
