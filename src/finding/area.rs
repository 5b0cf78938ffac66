//! What a look at a store is about, so that it can be told what was found to be well.

/// Something that is looked at, and the checks that belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// In a few words.
    pub name: &'static str,
    /// What is well where none of the checks found anything.
    pub well: &'static str,
    /// The checks.
    pub checks: &'static [&'static str],
    /// Whether it can be judged only by a layout.
    pub needs_layout: bool,
    /// Whether there is nothing to judge without a table of events.
    pub needs_events: bool,
}

const fn area(
    name: &'static str,
    well: &'static str,
    checks: &'static [&'static str],
    needs: Needs,
) -> Area {
    let needs_events = !matches!(needs, Needs::Nothing);
    let needs_layout = matches!(needs, Needs::Layout);
    Area { name, well, checks, needs_layout, needs_events }
}

#[derive(Clone, Copy)]
enum Needs {
    Nothing,
    Events,
    Layout,
}

/// All areas, in the order in which they are told.
pub const AREAS: [Area; 17] = [
    area(
        "connection",
        "a session of its own, no transaction pooler",
        &["connection"],
        Needs::Nothing,
    ),
    area("server", "the version is supported", &["server_version"], Needs::Nothing),
    area(
        "settings",
        "commits are safe, autovacuum runs",
        &["durability", "autovacuum", "idle_sessions", "wal_level"],
        Needs::Nothing,
    ),
    area("clock", "this machine and the server agree", &["clock"], Needs::Nothing),
    area("role", "it owns the tables and sees all sessions", &["role_rights"], Needs::Nothing),
    area(
        "store",
        "the tables are there, with a layout",
        &["no_store", "no_layout", "unknown_store", "missing_table", "table_differs"],
        Needs::Nothing,
    ),
    area(
        "positions",
        "one sequence counts by one and is ahead of all events",
        &["sequence", "sequence_behind", "sequence_ending", "unsettled"],
        Needs::Events,
    ),
    area(
        "partitions",
        "every month, context and share is there",
        &[
            "missing_month",
            "gap",
            "missing_partition",
            "pending_detach",
            "unfinished_branch",
            "default_rows",
            "off_grid",
            "history",
            "closed_without_check",
            "held_back",
        ],
        Needs::Layout,
    ),
    area(
        "protection",
        "keys, guard and triggers are as they should be",
        &["missing_key", "unprotected", "broken_function", "missing_event_ids", "no_guard"],
        Needs::Layout,
    ),
    area(
        "indexes",
        "all valid, on every leaf",
        &["invalid_index", "missing_index", "index_differs", "unfinished_index"],
        Needs::Layout,
    ),
    area(
        "drift",
        "partitions are like their tables",
        &[
            "column_differs",
            "extra_constraint",
            "extra_key",
            "invalid_constraint",
            "owner_differs",
            "grants_differ",
            "row_security_differs",
            "replica_identity_differs",
            "publication_differs",
            "extra_trigger",
            "extra_rule",
            "storage_differs",
            "unlogged",
        ],
        Needs::Layout,
    ),
    area(
        "locks",
        "the lock table has room, in two years too",
        &["lock_budget", "lock_budget_ahead"],
        Needs::Layout,
    ),
    area(
        "vacuum",
        "statistics are there, no table is old",
        &["statistics", "wraparound"],
        Needs::Events,
    ),
    area(
        "transactions",
        "none is open for long",
        &["long_transaction", "prepared_transaction"],
        Needs::Nothing,
    ),
    area("replication", "no slot is forgotten", &["replication_slot"], Needs::Nothing),
    area(
        "projections",
        "all follow the events",
        &[
            "projection_broken",
            "projection_failing",
            "projection_stopped",
            "projection_behind",
            "projection_paused",
            "projection_draining",
            "dead_letters",
        ],
        Needs::Events,
    ),
    area(
        "operations",
        "none is unfinished, archives are in their places",
        &[
            "conversion",
            "unfinished_operation",
            "unfinished_archive",
            "archive_missing",
            "archive_altered",
            "archive_elsewhere",
            "archive_unproven",
        ],
        Needs::Events,
    ),
];
