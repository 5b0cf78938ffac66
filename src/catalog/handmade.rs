//! Catalogs made by hand, for the tests of everything that reads one.

use std::collections::BTreeSet;

use crate::layout::bounds::Bound;
use crate::layout::desired::{self, DesiredPartition};
use crate::layout::levels::{Level, PartitionBy};
use crate::layout::month::Month;
use crate::layout::name::{self, QualifiedName, Tables};
use crate::layout::{Context, Layout, Months, Role};

use super::index::Index;
use super::relation::{Details, Relation, RelationKind, ReplicaIdentity};
use super::trigger::EventIds;
use super::{Catalog, Column, Schema, Server, Table};

/// The month in which the handmade server is.
pub(crate) fn now() -> Month {
    month("2026-11")
}

pub(crate) fn month(text: &str) -> Month {
    text.parse().expect("a month")
}

/// The months from the current one on.
pub(crate) fn months(ahead: u32) -> Months {
    Months::new(now(), ahead, None).expect("months")
}

/// A layout with two shares in each hash level and one month ahead.
pub(crate) fn layout(by: PartitionBy, contexts: &[&str]) -> Layout {
    let levels = by.levels(None, 2).expect("levels");
    let contexts = contexts.iter().map(|&name| Context::new(name)).collect();
    Layout::new(Tables::default(), levels, contexts, 1).expect("a layout")
}

/// A server with room for many locks, in the middle of the month.
pub(crate) fn server() -> Server {
    Server {
        version_number: 150_000,
        version: "15.0".to_owned(),
        now: now().start() + chrono::TimeDelta::days(14),
        role: "owner".to_owned(),
        database: "shop".to_owned(),
        max_locks_per_transaction: 64,
        max_connections: 100,
        max_prepared_transactions: 0,
        read_only: false,
        standby: false,
    }
}

/// The three tables as the layout says, without partitions.
pub(crate) fn empty_store(layout: &Layout) -> Catalog {
    let table = |role| Some(Table { root: root(layout, role), columns: columns(role) });
    let mut checkpoints = relation(layout.checkpoints("public"), None, None);
    checkpoints.indexes = vec![
        btree("projection_checkpoints_pkey", &["projection_name"], true),
        btree("projection_checkpoints_updated_at_idx", &["updated_at"], false),
    ];
    Catalog {
        server: server(),
        schema_name: "public".to_owned(),
        schema: Schema { exists: true, may_create: true },
        layout: Some(layout.clone()),
        own_migrations: Vec::new(),
        store_migrations: Vec::new(),
        events: table(Role::Events),
        heads: table(Role::Heads),
        checkpoints: Some(Table { root: checkpoints, columns: checkpoint_columns() }),
        functions: Vec::new(),
        event_ids: EventIds::default(),
        unfinished: Vec::new(),
        archived: Vec::new(),
        archived_heads: Vec::new(),
        conversion: None,
        unfinished_archives: Vec::new(),
        detached: Vec::new(),
        default_with_rows: Vec::new(),
        other_names: BTreeSet::new(),
        taken_names: BTreeSet::new(),
    }
}

/// The store with every partition of the layout, from the current month on.
pub(crate) fn whole_store(layout: &Layout) -> Catalog {
    let mut catalog = empty_store(layout);
    for role in Role::ALL {
        let ready = |_: &[Bound]| {
            months(layout.months_ahead).of_branch(None, &BTreeSet::new(), &BTreeSet::new())
        };
        let wanted = desired::partitions(layout, role, &ready);
        let root = root_of(&mut catalog, role);
        root.partitions = wanted.iter().map(|wanted| partition(role, &root.name, wanted)).collect();
    }
    catalog
}

/// The root of a table, to change it.
pub(crate) fn root_of(catalog: &mut Catalog, role: Role) -> &mut Relation {
    let table = match role {
        Role::Events => &mut catalog.events,
        Role::Heads => &mut catalog.heads,
    };
    &mut table.as_mut().expect("the table").root
}

/// A partition as pupctl makes it, with all below.
pub(crate) fn partition(role: Role, parent: &QualifiedName, wanted: &DesiredPartition) -> Relation {
    let name = parent.sibling(name::joined(&parent.name, &wanted.suffix));
    let mut made =
        relation(name, Some(wanted.bound.clone()), wanted.level.as_ref().map(Level::partition_key));
    made.indexes = indexes(role, wanted.key, wanted.level.is_none());
    let below = |wanted: &DesiredPartition| partition(role, &made.name, wanted);
    made.partitions = wanted.partitions.iter().map(below).collect();
    made
}

fn root(layout: &Layout, role: Role) -> Relation {
    let level = layout.levels_of(role).first().map(Level::partition_key);
    let is_leaf = level.is_none();
    let mut root = relation(layout.table("public", role), None, level);
    root.indexes = indexes(role, layout.root_has_key(role), is_leaf);
    root
}

/// A relation of this number with these partitions.
pub(crate) fn relation_with(
    oid: u32,
    name: &str,
    bound: Option<Bound>,
    partitions: Vec<Relation>,
) -> Relation {
    let key = (!partitions.is_empty()).then(|| "LIST (bounded_context)".to_owned());
    let relation = relation(QualifiedName::new("public", name), bound, key);
    Relation { oid, partitions, ..relation }
}

fn relation(name: QualifiedName, bound: Option<Bound>, partition_key: Option<String>) -> Relation {
    let is_leaf = partition_key.is_none();
    Relation {
        oid: 0,
        name,
        kind: if is_leaf { RelationKind::Table } else { RelationKind::Partitioned },
        bound,
        partition_key,
        detach_pending: false,
        owner: "owner".to_owned(),
        owned: true,
        grants: Vec::new(),
        replica_identity: ReplicaIdentity::Default,
        row_security: false,
        tablespace: None,
        foreign_keys: Vec::new(),
        rows: None,
        size: None,
        indexes: Vec::new(),
        triggers: Vec::new(),
        details: Details::default(),
        partitions: Vec::new(),
    }
}

fn indexes(role: Role, key: bool, is_leaf: bool) -> Vec<Index> {
    let mut indexes = match role {
        Role::Events => {
            vec![Index { method: "brin".to_owned(), ..btree("time", &["created_at"], false) }]
        }
        Role::Heads => vec![btree("time", &["updated_at"], false)],
    };
    if key {
        indexes.push(Index { primary: true, ..btree("key", role.key_columns(), true) });
    }
    if is_leaf {
        let unique = role.unique_columns().iter().map(|column| btree(column, &[column], true));
        indexes.extend(unique);
    }
    indexes
}

fn btree(name: &str, columns: &[&str], unique: bool) -> Index {
    Index {
        name: name.to_owned(),
        method: "btree".to_owned(),
        unique,
        valid: true,
        columns: columns.iter().map(|&column| column.to_owned()).collect(),
        ..Index::default()
    }
}

/// `name type`, with `?` where NULL is allowed and `=` where there is a default.
fn parse_columns(text: &str) -> Vec<Column> {
    let one = |part: &str| {
        let (name, data_type) = part.trim().split_once(' ').expect("name and type");
        Column {
            name: name.to_owned(),
            data_type: data_type.trim_end_matches(['?', '=']).to_owned(),
            not_null: !data_type.ends_with('?'),
            default: data_type.ends_with('=').then(|| "a default".to_owned()),
            ..Column::default()
        }
    };
    text.split(',').map(one).collect()
}

fn columns(role: Role) -> Vec<Column> {
    parse_columns(match role {
        Role::Events => {
            "global_position bigint=, bounded_context text, aggregate_type text, \
             aggregate_id text, aggregate_version bigint, event_id uuid, event_type text, \
             event_version integer=, payload bytea, trace_id text?, correlation_id text?, \
             causation_id text?, metadata jsonb?, created_at timestamp with time zone="
        }
        Role::Heads => {
            "bounded_context text, aggregate_type text, aggregate_id text, \
             aggregate_version bigint, updated_at timestamp with time zone="
        }
    })
}

fn checkpoint_columns() -> Vec<Column> {
    parse_columns(
        "projection_name text, last_global_position bigint=, updated_at timestamp with time zone=",
    )
}

/// The text in lines of at most 80 characters, so that a snapshot stays readable.
pub(crate) fn wrap(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < 80 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n    ")
}
