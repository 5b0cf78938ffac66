use crate::catalog::Catalog;
use crate::catalog::handmade::{layout, months, root_of, whole_store};
use crate::catalog::trigger::{EventIds, Function, TableTrigger};
use crate::layout::levels::PartitionBy;
use crate::layout::protection::Protections;
use crate::layout::{Guard, Layout, Role};
use crate::plan::tests::outline;
use crate::plan::{Plan, ensure};

use super::*;

fn all() -> Protections {
    Protections { guard: Guard::Events, event_ids: true, immutable: true }
}

fn protect(relation: &mut Relation, layout: &Layout) {
    let made = |trigger| TableTrigger::of(trigger, "public");
    relation.triggers = layout.triggers().into_iter().map(made).collect();
    relation.partitions.iter_mut().for_each(|partition| protect(partition, layout));
}

/// A store whose protections are as the layout says.
fn store(by: PartitionBy, protections: Protections) -> (Layout, Catalog) {
    let layout = layout(by, &["A"]).protected(protections);
    let mut catalog = whole_store(&layout);
    protect(root_of(&mut catalog, Role::Events), &layout);
    let function = |trigger| Function { trigger, unchanged: true };
    catalog.functions = layout.triggers().into_iter().map(function).collect();
    let there = layout.keeps_event_ids();
    catalog.event_ids = EventIds { there, key: there, complete: there };
    (layout, catalog)
}

fn mended(layout: &Layout, catalog: &Catalog) -> String {
    outline(&Plan { steps: mend(layout, catalog, false), ..Plan::default() })
}

#[test]
fn what_is_as_it_should_be_is_left_alone() {
    for by in [PartitionBy::None, PartitionBy::Hash, PartitionBy::ContextMonth] {
        let (layout, catalog) = store(by, all());
        assert_eq!(mended(&layout, &catalog), "");
        assert!(is_complete(&layout, &catalog));
    }
}

#[test]
fn each_table_gets_what_it_lacks() {
    let (layout, mut catalog) = store(PartitionBy::ContextMonth, all());
    let root = root_of(&mut catalog, Role::Events);
    root.partitions[0].triggers.remove(0);
    root.partitions[0].partitions[0].triggers[1].enabled = false;
    root.partitions[0].partitions[1].triggers[0].condition = None;
    insta::assert_snapshot!(mended(&layout, &catalog), @"
    Make what protects events
      ids may be missing
    Protect events_a
      trigger pupctl_guard on events_a
    Protect events_a_2026_11
      trigger pupctl_keep_ids on events_a_2026_11
    Protect events_a_2026_12
      trigger pupctl_guard on events_a_2026_12
    Collect the ids of the events that are there
      collect event ids
    ");
}

#[test]
fn functions_and_the_key_table_come_first() {
    let (layout, mut catalog) = store(PartitionBy::Hash, all());
    catalog.functions[0].unchanged = false;
    catalog.functions.remove(1);
    catalog.event_ids = EventIds::default();
    insta::assert_snapshot!(mended(&layout, &catalog), @"
    Make what protects events
      key table of event ids
      function pupctl_keep_ids
      function pupctl_immutable
    Collect the ids of the events that are there
      collect event ids
    ");
}

#[test]
fn what_the_layout_does_not_name_is_dropped() {
    let (mut layout, catalog) = store(PartitionBy::Month, all());
    layout.protections.event_ids = false;
    insta::assert_snapshot!(mended(&layout, &catalog), @"
    Make what protects events
      ids may be missing
    Protect events
      drop trigger pupctl_keep_ids from events
    Protect events_2026_11
      drop trigger pupctl_keep_ids from events_2026_11
    Protect events_2026_12
      drop trigger pupctl_keep_ids from events_2026_12
    ");
}

#[test]
fn ids_are_collected_until_the_key_table_says_so() {
    let (layout, mut catalog) = store(PartitionBy::Hash, all());
    catalog.event_ids.complete = false;
    insta::assert_snapshot!(mended(&layout, &catalog), @"
    Collect the ids of the events that are there
      collect event ids
    ");
    catalog.event_ids = EventIds { there: true, key: false, complete: true };
    insta::assert_snapshot!(mended(&layout, &catalog), @"
    Make what protects events
      ids may be missing
      key of the key table
    Collect the ids of the events that are there
      collect event ids
    ");
}

#[test]
fn functions_belong_to_the_owner_of_the_events() {
    let (_, mut catalog) = store(PartitionBy::Month, all());
    assert!(refuse_other_owner(&catalog).is_ok());
    catalog.server.role = "admin".to_owned();
    let error = refuse_other_owner(&catalog).expect_err("somebody else");
    assert_eq!(error.hint_text(), Some("work as the owner: --role owner"));
}

#[test]
fn no_partition_is_made_without_its_functions() {
    let (layout, mut catalog) = store(PartitionBy::Month, all());
    catalog.functions.clear();
    let error = ensure::plan(&layout, &catalog, &months(3)).expect_err("refused");
    assert!(error.message().contains("public.pupctl_guard is missing"), "{error}");
}
