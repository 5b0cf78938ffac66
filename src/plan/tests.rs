use std::fmt::Write as _;

use insta::assert_snapshot;

use super::*;
use crate::catalog::handmade::{
    empty_store, layout, month, months, now, partition, root_of, server, whole_store, wrap,
};
use crate::catalog::{AppliedMigration, Catalog, Unfinished};
use crate::layout::bounds::Bound;
use crate::layout::desired;
use crate::layout::levels::{Level, PartitionBy};
use crate::layout::name::QualifiedName;
use crate::layout::{Layout, Months, Role};

/// All migrations of pupctl's own tables, as recorded.
pub(super) fn own_migrations() -> Vec<AppliedMigration> {
    let applied = |&(version, name): &(i64, &str)| AppliedMigration {
        version,
        name: name.to_owned(),
        checksum: "0".to_owned(),
        applied_on: String::new(),
    };
    init::OWN_MIGRATIONS.iter().map(applied).collect()
}

/// The steps, each with its actions in short.
pub(super) fn outline(plan: &Plan) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        let _ = writeln!(text, "{}", step.title);
        for action in &step.actions {
            let _ = writeln!(text, "  {}", short(action));
        }
    }
    for problem in &plan.problems {
        let _ = writeln!(text, "{}", wrap(&format!("problem: {problem}")));
    }
    text
}

fn short(action: &Action) -> String {
    match action {
        Action::CreateSchema(name) => format!("schema {name}"),
        Action::Migrate(migration) => format!("migrate {}", migration.name),
        Action::RecordMigration(migration) => format!("record {}", migration.name),
        Action::StoreLayout { .. } => "store the layout".to_owned(),
        Action::LockParent(name) => format!("lock {}", name.name),
        Action::CreatePartition(new) => {
            let mut text = format!("create {} like {}", new.name.name, new.parent.name);
            for (position, columns) in new.keys.iter().enumerate() {
                if new.primary && position == 0 {
                    assert_eq!(columns, new.role.key_columns());
                    text.push_str(" + primary key");
                } else {
                    let _ = write!(text, " + {}", columns.join(", "));
                }
            }
            text
        }
        Action::MarkUnfinished { branch, mark } => format!("mark {}: {mark}", branch.name),
        Action::ClearUnfinished(branch) => format!("unmark {}", branch.name),
        Action::Attach { parent, partition, bound, .. } => {
            format!("attach {} to {} for {bound}", partition.name, parent.name)
        }
        Action::Protect(Protect::Function { trigger, .. }) => {
            format!("function {}", trigger.name())
        }
        Action::Protect(Protect::EventIds { .. }) => "key table of event ids".to_owned(),
        Action::Protect(Protect::EventIdsKey { .. }) => "key of the key table".to_owned(),
        Action::Protect(Protect::EventIdsIncomplete { .. }) => "ids may be missing".to_owned(),
        Action::Protect(Protect::CollectEventIds { .. }) => "collect event ids".to_owned(),
        Action::Protect(Protect::Trigger { table, trigger, .. }) => {
            format!("trigger {} on {}", trigger.name(), table.name)
        }
        Action::Protect(Protect::Drop { table, trigger }) => {
            format!("drop trigger {} from {}", trigger.name(), table.name)
        }
        Action::MigrateFile { file, .. } => format!("apply {}", file.path),
        Action::Analyze { table, .. } => format!("analyze {}", table.name),
        Action::Index(action) => format!("{action:?}"),
        Action::Lifecycle(action) => format!("{action:?}"),
        Action::Align(alignment) => format!("{alignment:?}"),
        Action::Admit(admission) => format!("{admission:?}"),
    }
}

fn ensure(layout: &Layout, catalog: &Catalog, months: &Months) -> Plan {
    ensure::plan(layout, catalog, months).expect("a plan")
}

/// How many tables each step makes.
fn batches(plan: &Plan) -> Vec<usize> {
    let made = |step: &Step| {
        step.actions.iter().filter(|action| matches!(action, Action::CreatePartition(_))).count()
    };
    plan.steps.iter().map(made).collect()
}

#[test]
fn a_new_store_is_planned_in_one_go() {
    let layout = layout(PartitionBy::ContextMonth, &["Identity"]);
    let mut catalog = empty_store(&layout);
    catalog.layout = None;
    catalog.schema.exists = false;
    (catalog.events, catalog.heads, catalog.checkpoints) = (None, None, None);
    let plan = init::plan(&layout, &catalog, &months(1)).expect("a plan");
    assert_snapshot!(outline(&plan), @"
    Make the schema public
      schema public
    Make pupctl's own tables
      migrate own_tables
    Extend the journal of operations
      migrate operation_state
    Make the list of archives
      migrate archives
    Store the layout
      store the layout
    Apply migration 1, heads and checkpoints
      migrate heads_and_checkpoints
    Apply migration 2, events
      migrate events
    Apply migration 3, indexes
      migrate indexes
    Extend the checkpoints, and make the list of dead letters
      migrate projections
    Make the tables of projections in SQL and of their audit, and pupctl_wait
      migrate read_models
    Make the list of conversions
      migrate conversions
    Make aggregate_heads_identity
      lock aggregate_heads
      create aggregate_heads_identity like aggregate_heads
      attach aggregate_heads_identity to aggregate_heads for Identity
    Make 3 partitions, events_identity to events_identity_2026_12
      lock events
      create events_identity like events
      create events_identity_2026_11 like events_identity + primary key + event_id + global_position
      attach events_identity_2026_11 to events_identity for 2026-11
      create events_identity_2026_12 like events_identity + primary key + event_id + global_position
      attach events_identity_2026_12 to events_identity for 2026-12
      attach events_identity to events for Identity
    ");
}

#[test]
fn a_whole_store_needs_nothing() {
    for by in PartitionBy::ALL {
        let layout = layout(by, &["Identity", "Billing"]);
        let plan = ensure(&layout, &whole_store(&layout), &months(1));
        assert!(plan.is_empty(), "{by}: {}", outline(&plan));
        assert!(plan.problems.is_empty(), "{by}: {:?}", plan.problems);
    }
}

#[test]
fn keys_are_made_where_the_parent_has_none() {
    let keys =
        |by| outline(&ensure(&layout(by, &["A"]), &empty_store(&layout(by, &["A"])), &months(0)));
    assert_snapshot!(keys(PartitionBy::Month), @"
    Make events_2026_11
      lock events
      create events_2026_11 like events + primary key + event_id + global_position
      attach events_2026_11 to events for 2026-11
    ");
    assert_snapshot!(keys(PartitionBy::ContextHash), @"
    Make 3 partitions, aggregate_heads_a to aggregate_heads_a_hash_01
      lock aggregate_heads
      create aggregate_heads_a like aggregate_heads
      create aggregate_heads_a_hash_00 like aggregate_heads_a
      attach aggregate_heads_a_hash_00 to aggregate_heads_a for hash 0 of 2
      create aggregate_heads_a_hash_01 like aggregate_heads_a
      attach aggregate_heads_a_hash_01 to aggregate_heads_a for hash 1 of 2
      attach aggregate_heads_a to aggregate_heads for A
    Make 3 partitions, events_a to events_a_hash_01
      lock events
      create events_a like events
      create events_a_hash_00 like events_a + event_id + global_position
      attach events_a_hash_00 to events_a for hash 0 of 2
      create events_a_hash_01 like events_a + event_id + global_position
      attach events_a_hash_01 to events_a for hash 1 of 2
      attach events_a to events for A
    ");
}

#[test]
fn no_transaction_makes_more_than_fifty_tables() {
    let layout = layout(PartitionBy::Month, &[]);
    let since = Months::new(now(), 0, Some(month("2016-11"))).expect("months");
    assert_eq!(batches(&ensure(&layout, &empty_store(&layout), &since)), [50, 50, 21]);
}

#[test]
fn a_long_hole_before_the_present_is_not_filled_unless_it_is_asked_for() {
    let layout = layout(PartitionBy::Month, &[]);
    let filled = |earliest: &str, from: Option<&str>| {
        let mut catalog = whole_store(&layout);
        let months = &mut root_of(&mut catalog, Role::Events).partitions;
        let mut other = months[0].clone();
        other.bound = Some(Bound::month(month(earliest)));
        months.push(other);
        let months = ensure::months(&catalog, 1, from.map(month)).expect("months");
        batches(&ensure(&layout, &catalog, &months)).iter().sum::<usize>()
    };
    assert_eq!(filled("2025-10", None), 12);
    assert_eq!(filled("2025-09", None), 0);
    assert_eq!(filled("2025-09", Some("2025-09")), 13);
    assert_eq!(filled("2025-08", Some("2025-10")), 13 + 1);
}

#[test]
fn small_branches_share_a_transaction_and_none_is_cut() {
    // Each is a branch with nine leaves: five of ten tables fill a transaction.
    let names: Vec<String> = (0..7).map(|number| format!("C{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let layout = layout(PartitionBy::ContextMonth, &names);
    let plan = ensure(&layout, &empty_store(&layout), &months(8));
    // The heads are a table of their own, and come first.
    assert_eq!(batches(&plan), [7, 50, 20]);
}

#[test]
fn small_and_large_branches_mix() {
    let mut layout = layout(PartitionBy::Context, &["Small", "Large", "Whole"]);
    layout.contexts[1].levels =
        Some(PartitionBy::ContextHash.levels(None, 60).expect("a hash")[1..].to_vec());
    layout.contexts[0].levels = Some(vec![Level::Month]);
    let plan = ensure(&layout, &empty_store(&layout), &months(1));
    let titles: Vec<_> = plan.steps.iter().map(|step| step.title.as_str()).collect();
    assert_snapshot!(titles.join("\n"), @"
    Make 50 partitions, aggregate_heads_small to aggregate_heads_large_hash_47
    Make 12 partitions, aggregate_heads_large_hash_48 to aggregate_heads_large_hash_59
    Attach aggregate_heads_large
    Make aggregate_heads_whole
    Make 50 partitions, events_small to events_large_hash_45
    Make 14 partitions, events_large_hash_46 to events_large_hash_59
    Attach events_large
    Make events_whole
    ");
    assert!(batches(&plan).into_iter().all(|tables| tables <= 50));
}

#[test]
fn a_large_branch_is_marked_until_it_is_attached() {
    let layout = layout(PartitionBy::ContextMonth, &["A"]);
    let mut catalog = empty_store(&layout);
    // Room for three tables in a transaction.
    (catalog.server.max_locks_per_transaction, catalog.server.max_connections) = (10, 10);
    assert_snapshot!(outline(&ensure(&layout, &catalog, &months(3))), @"
    Make aggregate_heads_a
      lock aggregate_heads
      create aggregate_heads_a like aggregate_heads
      attach aggregate_heads_a to aggregate_heads for A
    Make 3 partitions, events_a to events_a_2026_12
      create events_a like events
      mark events_a: pupctl: unfinished partition A of events
      create events_a_2026_11 like events_a + primary key + event_id + global_position
      attach events_a_2026_11 to events_a for 2026-11
      create events_a_2026_12 like events_a + primary key + event_id + global_position
      attach events_a_2026_12 to events_a for 2026-12
    Make 2 partitions, events_a_2027_01 to events_a_2027_02
      create events_a_2027_01 like events_a + primary key + event_id + global_position
      attach events_a_2027_01 to events_a for 2027-01
      create events_a_2027_02 like events_a + primary key + event_id + global_position
      attach events_a_2027_02 to events_a for 2027-02
    Attach events_a
      lock events
      attach events_a to events for A
      unmark events_a
    ");
}

/// A store whose branch A was left with its first two months when a run was interrupted.
fn interrupted() -> (Layout, Catalog) {
    let layout = layout(PartitionBy::ContextMonth, &["A"]);
    let mut catalog = whole_store(&layout);
    let root = root_of(&mut catalog, Role::Events);
    let branch = root.partitions.remove(0);
    let bound = branch.bound.clone().expect("a partition");
    let mark = wanted::unfinished_mark(&root.name, &bound);
    catalog.unfinished.push(Unfinished {
        mark,
        branch: crate::catalog::relation::Relation { bound: None, ..branch },
    });
    (layout, catalog)
}

#[test]
fn an_unfinished_branch_is_finished() {
    let (layout, catalog) = interrupted();
    assert_snapshot!(outline(&ensure(&layout, &catalog, &months(2))), @"
    Make events_a_2027_01
      create events_a_2027_01 like events_a + primary key + event_id + global_position
      attach events_a_2027_01 to events_a for 2027-01
    Attach events_a
      lock events
      attach events_a to events for A
      unmark events_a
    ");
}

/// Whoever may make tables in the schema can write the mark on one.
#[test]
fn a_marked_branch_of_another_owner_or_form_is_not_attached() {
    let (layout, mut catalog) = interrupted();
    catalog.unfinished[0].branch.owner = "somebody".to_owned();
    let others = ensure(&layout, &catalog, &months(2));
    catalog.unfinished[0].branch.owner = "owner".to_owned();
    catalog.unfinished[0].branch.partition_key = Some("LIST (event_type)".to_owned());
    let other_form = ensure(&layout, &catalog, &months(2));
    assert_snapshot!(outline(&others) + &outline(&other_form), @"
    problem: A cannot be made: the branch public.events_a is marked as begun for it,
        but belongs to somebody, and public.events to owner
    problem: A cannot be made: the branch public.events_a is marked as begun for it,
        but divided otherwise
    ");
}

#[test]
fn a_parent_whose_keys_a_partition_cannot_take_over_is_a_problem() {
    let (layout, mut catalog) = interrupted();
    catalog.unfinished.clear();
    let index = |name: &str, primary, columns: &[&str]| crate::catalog::index::Index {
        name: name.to_owned(),
        unique: true,
        primary,
        columns: columns.iter().map(|&column| column.to_owned()).collect(),
        ..Default::default()
    };
    root_of(&mut catalog, Role::Events).indexes.push(index("ids", false, &["event_id"]));
    let branch = ensure(&layout, &catalog, &months(2));

    let by_month = crate::catalog::handmade::layout(PartitionBy::Month, &[]);
    let mut catalog = empty_store(&by_month);
    let usual = index("events_pkey", true, &["aggregate_version", "created_at"]);
    root_of(&mut catalog, Role::Events).indexes.push(usual);
    let leaf = ensure(&by_month, &catalog, &months(0));
    assert_snapshot!(outline(&branch) + &outline(&leaf), @"
    problem: A cannot be made: the unique index ids of public.events on (event_id)
        lacks created_at, which PostgreSQL wants in it
    problem: 2026-11 cannot be made: public.events has its primary key on
        (aggregate_version, created_at), and a partition would get it in place of its
        own
    ");
}

#[test]
fn a_branch_whose_leaf_cannot_be_made_is_neither_begun_nor_attached() {
    let (layout, mut catalog) = interrupted();
    catalog.other_names.insert("events_a_2027_01".to_owned());
    assert_snapshot!(outline(&ensure(&layout, &catalog, &months(2))), @"
    problem: 2027-01 cannot be made: a table named public.events_a_2027_01 is there
        and is not a partition of events_a
    ");
    catalog.unfinished.clear();
    assert_snapshot!(outline(&ensure(&layout, &catalog, &months(2))), @"
    problem: 2027-01 cannot be made: a table named public.events_a_2027_01 is there
        and is not a partition of events_a
    ");
}

#[test]
fn names_that_fold_alike_get_a_hash() {
    let layout = layout(PartitionBy::Context, &["Billing", "billing", "pkey"]);
    let plan = ensure(&layout, &empty_store(&layout), &months(0));
    let names: Vec<_> = plan.new_partitions().map(|new| new.name.name.as_str()).collect();
    assert_snapshot!(names.join("\n"), @"
    aggregate_heads_billing
    aggregate_heads_billing_417000dc
    aggregate_heads_pkey_330ef976
    events_billing
    events_billing_417000dc
    events_pkey_330ef976
    ");
}

#[test]
fn what_lies_across_the_grid_is_a_problem_and_what_covers_is_none() {
    let layout = layout(PartitionBy::Month, &[]);
    let mut catalog = whole_store(&layout);
    let parent = QualifiedName::new("public", "events");
    let range = |from: &str, to: &str| {
        let edge = |text: &str| crate::layout::bounds::Edge::At(text.parse().expect("an instant"));
        Bound::Range { from: edge(from), to: edge(to) }
    };
    let mut add = |name: &str, bound| {
        let wanted = desired::DesiredPartition {
            bound,
            suffix: name.to_owned(),
            level: None,
            key: true,
            partitions: Vec::new(),
        };
        let made = partition(Role::Events, &parent, &wanted);
        root_of(&mut catalog, Role::Events).partitions.push(made);
    };
    add("quarter", range("2027-01-01T00:00:00Z", "2027-04-01T00:00:00Z"));
    add("across", range("2027-04-15T00:00:00Z", "2027-05-15T00:00:00Z"));
    assert_snapshot!(outline(&ensure(&layout, &catalog, &months(7))), @"
    Make events_2027_06
      lock events
      create events_2027_06 like events + primary key + event_id + global_position
      attach events_2027_06 to events for 2027-06
    problem: 2027-04 cannot be made: public.events_across (2027-04-15T00:00:00Z to
        2027-05-15T00:00:00Z) lies across its bounds
    problem: 2027-05 cannot be made: public.events_across (2027-04-15T00:00:00Z to
        2027-05-15T00:00:00Z) lies across its bounds
    ");
}

#[test]
fn a_branch_that_is_divided_otherwise_is_a_problem() {
    let layout = layout(PartitionBy::ContextMonth, &["A"]);
    let mut catalog = whole_store(&layout);
    let branch = &mut root_of(&mut catalog, Role::Events).partitions[0];
    branch.partition_key = Some("HASH (aggregate_id)".to_owned());
    let plan = ensure(&layout, &catalog, &months(2));
    let problem =
        "public.events_a holds A but is not divided by month, as the layout says".to_owned();
    assert_eq!((plan.steps, plan.problems), (vec![], vec![problem]));
}

#[test]
fn more_leaves_than_the_lock_table_holds_are_refused_with_the_setting() {
    let layout = layout(PartitionBy::Month, &[]);
    let mut catalog = empty_store(&layout);
    let since = Months::new(now(), 0, Some(month("1916-12"))).expect("months");
    let error = ensure::plan(&layout, &catalog, &since).expect_err("6602 of 6400 locks");
    let message = "1320 leaves of the events table would need 6602 locks";
    assert!(error.message().starts_with(message), "{error}");
    assert!(error.message().ends_with("the server's lock table holds 6400"), "{error}");
    let hint = error.hint_text().unwrap_or_default();
    assert!(hint.starts_with("set max_locks_per_transaction = 192 in postgresql.conf"), "{hint}");
    // With that setting it fits.
    catalog.server.max_locks_per_transaction = 192;
    assert!(ensure::plan(&layout, &catalog, &since).is_ok());

    (catalog.server.max_locks_per_transaction, catalog.server.max_connections) = (10, 2);
    let error = ensure::plan(&layout, &catalog, &months(0)).expect_err("20 locks");
    let message = "the server's lock table holds 20 locks, too few to make a partition";
    assert_eq!(error.message(), message);
}

#[test]
fn the_setting_that_is_needed_leaves_room_for_others() {
    for locks in [1, 63, 6400, 6402, 100_000] {
        let needed = budget::needed(&server(), locks);
        assert!(needed * 100 > locks * 2, "check would still warn of {locks} locks at {needed}");
        assert!(needed.is_multiple_of(64));
    }
}

#[test]
fn new_contexts_are_stored_before_their_partitions() {
    let layout = layout(PartitionBy::Context, &["A"]);
    let mut catalog = whole_store(&layout);
    catalog.own_migrations = own_migrations();
    let new = [crate::layout::Context::new("B"), crate::layout::Context::new("A")];
    let plan = contexts::add(&layout, &catalog, &new, &months(1)).expect("a plan");
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
    let same = contexts::add(&layout, &catalog, &new[1..], &months(1)).expect("a plan");
    assert!(same.is_empty());
}
