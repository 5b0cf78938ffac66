//! What the house allows, and its exceptions.

/// What each module of the crate may use. The order is that of the layers, so that no cycle can
/// be written down: a module may only use modules above it.
pub(crate) const EDGES: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("failpoint", &[]),
    ("layout", &["error"]),
    ("catalog", &["layout"]),
    ("plan", &["error", "layout", "catalog"]),
    ("render", &["error", "layout", "catalog", "plan"]),
    ("archive", &["error", "failpoint", "layout", "render"]),
    ("finding", &["error", "layout", "catalog", "plan", "render"]),
    ("migration", &["error", "failpoint", "layout", "plan", "render"]),
    ("db", &["error", "failpoint", "layout", "catalog", "plan", "render", "finding", "migration"]),
    ("server", &["error", "failpoint"]),
    (
        "operation",
        &["error", "failpoint", "layout", "catalog", "plan", "render", "archive", "finding", "db"],
    ),
    ("event", &["error", "failpoint", "layout", "catalog", "plan", "render", "db", "operation"]),
    ("store", &["error", "layout", "render", "event"]),
    (
        "projection",
        &[
            "error",
            "failpoint",
            "layout",
            "render",
            "archive",
            "finding",
            "db",
            "operation",
            "store",
        ],
    ),
    (
        "overview",
        &["error", "layout", "catalog", "plan", "finding", "db", "operation", "projection"],
    ),
    ("schedule", &["error", "layout", "render"]),
    ("cli", &["error", "layout", "render", "db", "operation", "event"]),
    (
        "command",
        &[
            "error",
            "failpoint",
            "layout",
            "catalog",
            "plan",
            "render",
            "archive",
            "finding",
            "migration",
            "db",
            "server",
            "operation",
            "event",
            "projection",
            "overview",
            "schedule",
            "cli",
        ],
    ),
];

/// The modules that are pure: values in, values out.
pub(crate) const PURE: [&str; 6] = ["catalog", "finding", "layout", "plan", "render", "schedule"];

/// What only commands and the terminal may use.
pub(crate) const TERMINAL: [&str; 10] = [
    "anstream",
    "anstyle",
    "anyhow",
    "clap",
    "clap_complete",
    "clap_mangen",
    "indicatif",
    "schemars",
    "tabled",
    "tracing_subscriber",
];

/// Files that are longer than others may be, and why.
pub(crate) const LONG_FILES: &[(&str, &str)] = &[];

/// Text literals with SQL outside templates and sql files, and why.
pub(crate) const LITERAL_SQL: &[(&str, &str, &str)] = &[
    ("src/command/write.rs", "ALTER ROLE …", "a hint"),
    ("src/command/write.rs", "GRANT CREATE ON", "a hint"),
    ("src/db/connect/explain.rs", "GRANT CONNECT ON DATABASE", "a hint"),
    ("src/db/connect/mod.rs", "GRANT {quoted} TO", "a hint"),
    ("src/event/import/staging.rs", "GRANT TEMPORARY ON DATABASE", "a hint"),
    ("src/projection/sql/session.rs", "GRANT TEMPORARY ON DATABASE", "a hint"),
    ("src/migration/alone.rs", "PostgreSQL refuses in a transaction", "a hint"),
    ("src/projection/checkpoint.rs", "GRANT SELECT, INSERT, UPDATE, DELETE ON", "a hint"),
    ("src/server/cluster.rs", "CREATE DATABASE {DATABASE};", "a constant, in single-user mode"),
];

/// Paths of machines that are examples in tests, or places of package managers.
pub(crate) const MACHINE_PATHS: &[&str] =
    &["/home/linuxbrew/.linuxbrew/opt", "/home/a/.pg_service.conf", "/home/my", "/root/my"];

/// Tests that are not run by themselves, and why.
pub(crate) const IGNORED: &[(&str, &str)] =
    &[("tests/embedded.rs", "run by other tests"), ("tests/projection/worker.rs", "run by other")];
