use super::*;
use crate::catalog::handmade::{layout, root_of, whole_store};
use crate::layout::Role;
use crate::layout::levels::PartitionBy;

const BY_TYPE: &str = "USING btree (event_type)";

/// A store with one context of two months, in which every relation and index has its number.
fn store() -> Catalog {
    let layout = layout(PartitionBy::ContextMonth, &["A"]);
    let mut catalog = whole_store(&layout);
    let mut next = 1;
    number(root_of(&mut catalog, Role::Events), &mut next);
    catalog
}

fn number(relation: &mut Relation, next: &mut u32) {
    let mut take = || {
        *next += 1;
        *next
    };
    relation.oid = take();
    for index in &mut relation.indexes {
        index.oid = take();
    }
    for partition in &mut relation.partitions {
        number(partition, next);
    }
}

fn wanted() -> Wanted {
    Wanted { name: None, ending: "event_type_idx".to_owned(), definition: BY_TYPE.to_owned() }
}

fn index(name: &str, oid: u32, parent: Option<u32>, valid: bool) -> Index {
    let definition = BY_TYPE.to_owned();
    Index { oid, name: name.to_owned(), parent, valid, definition, ..Index::default() }
}

fn titles(plan: &Plan) -> String {
    plan.steps.iter().map(|step| step.title.clone()).collect::<Vec<_>>().join("\n")
}

fn added(catalog: &Catalog) -> String {
    let root = &catalog.events.as_ref().expect("events").root;
    titles(&add(catalog, root, &wanted()).expect("a plan"))
}

#[test]
fn parents_first_then_leaf_by_leaf() {
    insta::assert_snapshot!(added(&store()), @"
    Make events_event_type_idx on events alone
    Make events_a_event_type_idx on events_a alone
    Build events_a_2026_11_event_type_idx on events_a_2026_11
    Attach events_a_2026_11_event_type_idx to events_a_event_type_idx
    Build events_a_2026_12_event_type_idx on events_a_2026_12
    Attach events_a_2026_12_event_type_idx to events_a_event_type_idx
    ");
}

/// A store in which the index is begun: one leaf is attached, the other's build was interrupted.
fn begun() -> Catalog {
    let mut catalog = store();
    let root = root_of(&mut catalog, Role::Events);
    root.indexes.push(index("events_event_type_idx", 100, None, false));
    let branch = &mut root.partitions[0];
    branch.indexes.push(index("events_a_event_type_idx", 101, Some(100), false));
    let attached = index("any", 102, Some(101), true);
    branch.partitions[0].indexes.push(attached);
    branch.partitions[1].indexes.push(index("events_a_2026_12_event_type_idx", 103, None, false));
    let names = root.walk().flat_map(|r| r.indexes.iter().map(|index| index.name.clone()));
    catalog.taken_names = names.collect::<Vec<_>>().into_iter().collect();
    catalog
}

#[test]
fn what_is_there_is_kept_and_what_is_half_built_dropped() {
    let mut catalog = begun();
    insta::assert_snapshot!(added(&catalog), @"
    Drop events_a_2026_12_event_type_idx
    Build events_a_2026_12_event_type_idx on events_a_2026_12
    Attach events_a_2026_12_event_type_idx to events_a_event_type_idx
    ");
    let plan = reindex(&catalog, &Targets::Invalid).expect("a plan");
    assert_eq!(titles(&plan), added(&catalog));
    assert!(broken(&catalog).is_empty());

    // Built to its end, but not attached; then attached, and nobody looked again.
    let leaf = &mut root_of(&mut catalog, Role::Events).partitions[0].partitions[1];
    leaf.indexes.last_mut().expect("the index").valid = true;
    let attach = "Attach events_a_2026_12_event_type_idx to events_a_event_type_idx";
    assert_eq!(added(&catalog), attach);
    let leaf = &mut root_of(&mut catalog, Role::Events).partitions[0].partitions[1];
    leaf.indexes.last_mut().expect("the index").parent = Some(101);
    assert_eq!(added(&catalog), attach);
}

#[test]
fn a_name_that_is_taken_on_a_leaf_gets_an_ending_of_its_own() {
    let mut catalog = store();
    catalog.taken_names.insert("events_a_2026_11_event_type_idx".to_owned());
    let first = added(&catalog);
    assert!(first.contains("Build events_a_2026_11_event_type_idx_"), "{first}");
    assert_eq!(added(&catalog), first, "the name is the same each time");
}

#[test]
fn an_index_that_fills_the_lock_table_is_refused() {
    let mut catalog = store();
    // Two leaves with four indexes, a branch and the root with one, and one more on each.
    (catalog.server.max_locks_per_transaction, catalog.server.max_connections) = (17, 1);
    let root = &catalog.events.as_ref().expect("events").root;
    let error = add(&catalog, root, &wanted()).expect_err("too many");
    assert!(error.message().contains("would take 18 locks"), "{error}");
}

#[test]
fn endings_read_on_a_partition_as_on_the_table() {
    assert_eq!(Wanted::ending_of("events", "events_by_type_idx"), "by_type_idx");
    assert_eq!(Wanted::ending_of("events", "by_type"), "by_type_idx");
    assert_eq!(Wanted::ending_of("events", "eventses_idx"), "eventses_idx");
    assert_eq!(Wanted::ending_of("events", "events_"), "events__idx");
}
