use insta::assert_snapshot;

use super::*;
use crate::catalog::handmade::{
    empty_store, layout, month, months, partition, root_of, whole_store,
};
use crate::catalog::relation::Relation;
use crate::finding;
use crate::layout::Role;
use crate::layout::desired::DesiredPartition;
use crate::layout::levels::{Level, PartitionBy};
use crate::plan::tests::{outline, own_migrations};
use crate::plan::{Action, NewPartition};

/// What events of these contexts and months need.
fn needs(events: &[(&str, &str)]) -> Needs {
    let mut needs = Needs::new();
    for (context, text) in events {
        needs.insert(context, Some(month(text)));
    }
    needs
}

/// A store with all that its layout names, pupctl's own tables too.
fn store(by: PartitionBy, contexts: &[&str]) -> (Layout, Catalog) {
    let layout = layout(by, contexts);
    let catalog = Catalog { own_migrations: own_migrations(), ..whole_store(&layout) };
    (layout, catalog)
}

/// The plan; when it is executed, nothing is left to do or to complain of.
#[track_caller]
fn planned(layout: &Layout, catalog: &Catalog, needs: &Needs) -> Plan {
    let planned = plan(layout, catalog, needs, &[]).expect("a plan");
    let after = executed(catalog, &planned);
    let layout = after.layout.clone().expect("a layout");
    let ensured = ensure::plan(&layout, &after, &months(layout.months_ahead)).expect("a plan");
    assert!(ensured.is_empty(), "{}", outline(&ensured));
    assert_eq!(finding::check(&layout, &after).expect("findings"), []);
    let again = plan(&layout, &after, needs, &[]).expect("a plan");
    assert!(again.is_empty(), "{}", outline(&again));
    planned
}

/// The catalog as it is when a plan has been executed.
fn executed(catalog: &Catalog, plan: &Plan) -> Catalog {
    let mut after = catalog.clone();
    // Made, but not attached.
    let mut beside: Vec<Relation> = Vec::new();
    for action in plan.steps.iter().flat_map(|step| &step.actions) {
        match action {
            Action::StoreLayout { layout, .. } => after.layout = Some((**layout).clone()),
            Action::CreatePartition(new) => beside.push(made(new)),
            Action::Attach { parent, partition, .. } => {
                let position = beside.iter().position(|r| r.name == *partition).expect("made");
                let made = beside.remove(position);
                let mut roots: Vec<&mut Relation> = beside.iter_mut().collect();
                let tables = [&mut after.heads, &mut after.events];
                roots.extend(tables.into_iter().flatten().map(|table| &mut table.root));
                let mut found = roots.into_iter().filter_map(|root| find(root, &parent.name));
                found.next().expect("the parent").partitions.push(made);
            }
            _ => {}
        }
    }
    assert!(beside.is_empty(), "not attached: {beside:?}");
    after
}

fn made(new: &NewPartition) -> Relation {
    let wanted = DesiredPartition {
        bound: new.bound.clone(),
        suffix: String::new(),
        level: new.level.clone(),
        key: new.level != Some(Level::Month),
        partitions: Vec::new(),
    };
    Relation { name: new.name.clone(), ..partition(new.role, &new.parent, &wanted) }
}

fn find<'a>(relation: &'a mut Relation, name: &str) -> Option<&'a mut Relation> {
    if relation.name.name == name {
        return Some(relation);
    }
    relation.partitions.iter_mut().find_map(|below| find(below, name))
}

/// The names of the events partitions that a plan makes.
fn names(plan: &Plan) -> String {
    let of_events = plan.new_partitions().filter(|new| new.role == Role::Events);
    of_events.map(|new| new.name.name.as_str()).collect::<Vec<_>>().join("\n")
}

#[test]
fn contexts_and_their_months() {
    let (layout, catalog) = store(PartitionBy::ContextMonth, &["Identity"]);
    let needs = needs(&[("Identity", "2005-04"), ("Identity", "2005-06"), ("Billing", "2005-05")]);
    assert_snapshot!(outline(&planned(&layout, &catalog, &needs)), @"
    Store the layout
      store the layout
    Make aggregate_heads_billing
      lock aggregate_heads
      create aggregate_heads_billing like aggregate_heads
      attach aggregate_heads_billing to aggregate_heads for Billing
    Make 7 partitions, events_identity_2005_04 to events_billing_2026_12
      lock events_identity
      lock events
      create events_identity_2005_04 like events_identity + primary key + event_id + global_position
      attach events_identity_2005_04 to events_identity for 2005-04
      create events_identity_2005_05 like events_identity + primary key + event_id + global_position
      attach events_identity_2005_05 to events_identity for 2005-05
      create events_identity_2005_06 like events_identity + primary key + event_id + global_position
      attach events_identity_2005_06 to events_identity for 2005-06
      create events_billing like events
      create events_billing_2005_05 like events_billing + primary key + event_id + global_position
      attach events_billing_2005_05 to events_billing for 2005-05
      create events_billing_2026_11 like events_billing + primary key + event_id + global_position
      attach events_billing_2026_11 to events_billing for 2026-11
      create events_billing_2026_12 like events_billing + primary key + event_id + global_position
      attach events_billing_2026_12 to events_billing for 2026-12
      attach events_billing to events for Billing
    ");
}

#[test]
fn every_share_of_a_hash_gets_the_months_of_all_contexts() {
    let (layout, catalog) = store(PartitionBy::HashMonth, &[]);
    let plan = planned(&layout, &catalog, &needs(&[("A", "2005-04"), ("B", "2005-05")]));
    assert_snapshot!(outline(&plan), @"
    Make 4 partitions, events_hash_00_2005_04 to events_hash_01_2005_05
      lock events_hash_00
      lock events_hash_01
      create events_hash_00_2005_04 like events_hash_00 + primary key + event_id + global_position
      attach events_hash_00_2005_04 to events_hash_00 for 2005-04
      create events_hash_00_2005_05 like events_hash_00 + primary key + event_id + global_position
      attach events_hash_00_2005_05 to events_hash_00 for 2005-05
      create events_hash_01_2005_04 like events_hash_01 + primary key + event_id + global_position
      attach events_hash_01_2005_04 to events_hash_01 for 2005-04
      create events_hash_01_2005_05 like events_hash_01 + primary key + event_id + global_position
      attach events_hash_01_2005_05 to events_hash_01 for 2005-05
    ");
    assert_eq!(plan.notes, Vec::<String>::new());
}

#[test]
fn months_alone() {
    let (layout, catalog) = store(PartitionBy::Month, &[]);
    let plan = planned(&layout, &catalog, &needs(&[("A", "2005-04"), ("B", "2005-06")]));
    assert_snapshot!(outline(&plan), @"
    Make 3 partitions, events_2005_04 to events_2005_06
      lock events
      create events_2005_04 like events + primary key + event_id + global_position
      attach events_2005_04 to events for 2005-04
      create events_2005_05 like events + primary key + event_id + global_position
      attach events_2005_05 to events for 2005-05
      create events_2005_06 like events + primary key + event_id + global_position
      attach events_2005_06 to events for 2005-06
    ");
}

#[test]
fn contexts_without_months() {
    let (layout, catalog) = store(PartitionBy::Context, &["A"]);
    let plan = planned(&layout, &catalog, &needs(&[("A", "2005-04"), ("B", "2005-06")]));
    assert_snapshot!(outline(&plan), @"
    Store the layout
      store the layout
    Make aggregate_heads_b
      lock aggregate_heads
      create aggregate_heads_b like aggregate_heads
      attach aggregate_heads_b to aggregate_heads for B
    Make events_b
      lock events
      create events_b like events + event_id + global_position
      attach events_b to events for B
    ");
}

#[test]
fn months_that_are_near_to_the_present_connect_to_it() {
    let (layout, catalog) = store(PartitionBy::Month, &[]);
    let near = planned(&layout, &catalog, &needs(&[("A", "2026-07"), ("A", "2026-08")]));
    assert_snapshot!(names(&near), @"
    events_2026_07
    events_2026_08
    events_2026_09
    events_2026_10
    ");
    let far = planned(&layout, &catalog, &needs(&[("A", "2025-09")]));
    assert_snapshot!(names(&far), @"events_2025_09");
}

#[test]
fn nothing_is_made_where_nothing_is_needed() {
    let old = needs(&[("A", "1900-01"), ("B", "2999-12")]);
    for by in [PartitionBy::None, PartitionBy::Hash] {
        let (layout, catalog) = store(by, &[]);
        assert_eq!(planned(&layout, &catalog, &old), Plan::default(), "{by}");
    }
    for by in PartitionBy::ALL {
        let (layout, catalog) = store(by, &["A"]);
        let recent = needs(&[("A", "2026-11"), ("A", "2026-12")]);
        assert_eq!(planned(&layout, &catalog, &recent), Plan::default(), "{by}");
    }
}

#[test]
fn a_context_with_levels_of_its_own_gets_months_only_if_they_divide_it() {
    let mut layout = layout(PartitionBy::Context, &["Hash", "Months", "Whole"]);
    layout.contexts[0].levels = Some(PartitionBy::ContextHash.levels(None, 2).expect("a hash"));
    layout.contexts[0].levels.as_mut().expect("levels").remove(0);
    layout.contexts[1].levels = Some(vec![Level::Month]);
    let catalog = Catalog { own_migrations: own_migrations(), ..whole_store(&layout) };
    let old = ["Hash", "Months", "Whole", "New"].map(|context| (context, "2005-04"));
    assert_snapshot!(names(&planned(&layout, &catalog, &needs(&old))), @"
    events_months_2005_04
    events_new
    ");
}

#[test]
fn what_is_there_is_not_made_again() {
    let (layout, catalog) = store(PartitionBy::Month, &[]);
    let first = planned(&layout, &catalog, &needs(&[("A", "2005-04"), ("A", "2005-06")]));
    let mut catalog = executed(&catalog, &first);
    // Somebody dropped one: history is not searched for gaps.
    root_of(&mut catalog, Role::Events).partitions.retain(|p| p.name.name != "events_2005_05");
    let next = planned(&layout, &catalog, &needs(&[("A", "2005-06"), ("A", "2005-08")]));
    assert_snapshot!(names(&next), @"
    events_2005_07
    events_2005_08
    ");
}

#[test]
fn stores_that_are_not_as_they_should_be_are_refused() {
    let (layout, mut catalog) = store(PartitionBy::Month, &[]);
    // One a year: what lies between them is no hole.
    let years: Vec<_> = (1900..2020).map(|year| format!("{year}-06")).collect();
    let many: Vec<_> = years.iter().map(|month| ("A", month.as_str())).collect();
    let error = plan(&layout, &catalog, &needs(&many), &[]).expect_err("more than 1,400 leaves");
    assert!(error.message().ends_with("the server's lock table holds 6400"), "{error}");
    catalog.events.as_mut().expect("events").columns.pop();
    let error = plan(&layout, &catalog, &Needs::new(), &[]).expect_err("a column less");
    assert_eq!(error.detail_lines(), ["public.events: column created_at is missing"]);
    let by_context = crate::catalog::handmade::layout(PartitionBy::Context, &[]);
    let nameless = needs(&[("", "2005-04")]);
    assert!(plan(&by_context, &empty_store(&by_context), &nameless, &[]).is_err());
}
