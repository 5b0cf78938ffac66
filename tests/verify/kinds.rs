//! Every kind of difference, seeded by hand: it is found, and after the printed SQL it is gone.

use crate::support::TestDatabase;
use crate::{NOTHING, found, mend, of_layout};

/// A change by hand. `{leaf}` is the leaf of the current month, `{next}` that of the next.
struct Kind {
    layout: &'static str,
    sql: &'static str,
    /// What is found, with the same words in braces.
    found: &'static [&'static str],
}

const fn kind(sql: &'static str, found: &'static [&'static str]) -> Kind {
    Kind { layout: "context,month", sql, found }
}

const fn of(layout: &'static str, sql: &'static str, found: &'static [&'static str]) -> Kind {
    Kind { layout, sql, found }
}

const COLUMNS_AND_KEYS: &[Kind] = &[
    // Columns.
    kind(
        "ALTER TABLE {leaf} ALTER created_at SET DEFAULT '2020-01-01', ALTER event_version DROP DEFAULT",
        &["warning column_differs {leaf}", "warning column_differs {leaf}"],
    ),
    kind("ALTER TABLE {leaf} ALTER trace_id SET NOT NULL", &["error column_differs {leaf}"]),
    kind(
        "ALTER TABLE events ALTER event_version DROP DEFAULT, ALTER trace_id SET NOT NULL",
        &["error table_differs events", "error table_differs events"],
    ),
    kind(
        "ALTER TABLE projection_checkpoints ALTER updated_at DROP DEFAULT,
            DROP CONSTRAINT projection_checkpoints_pkey",
        &["error table_differs projection_checkpoints"; 2],
    ),
    // Keys.
    kind(
        "ALTER TABLE {leaf} DROP CONSTRAINT {leaf}_pkey, DROP CONSTRAINT {leaf}_event_id_key",
        &["error missing_key {leaf}", "error missing_key {leaf}"],
    ),
    kind(
        "ALTER TABLE {leaf} DROP CONSTRAINT {leaf}_pkey, ADD PRIMARY KEY (created_at, event_id)",
        &["error extra_constraint {leaf}", "error missing_key {leaf}"],
    ),
    of(
        "context,hash",
        "ALTER TABLE events DROP CONSTRAINT events_pkey",
        &[
            "error missing_key events_a",
            "error missing_key events_a_hash_00",
            "error missing_key events_a_hash_01",
            "error table_differs events",
        ],
    ),
    of(
        "none",
        "ALTER TABLE events DROP CONSTRAINT events_pkey, DROP CONSTRAINT events_event_id_key",
        &["error table_differs events", "error table_differs events"],
    ),
    // Constraints.
    kind(
        "ALTER TABLE {leaf} ADD CONSTRAINT \"no \"\"x\" CHECK (event_type <> 'x') NOT VALID",
        &["warning extra_constraint {leaf}"],
    ),
    kind(
        "ALTER TABLE events ADD CONSTRAINT positive CHECK (event_version > 0) NOT VALID",
        &["warning invalid_constraint events"],
    ),
    kind(
        "ALTER TABLE {leaf} ADD UNIQUE (trace_id);
         CREATE UNIQUE INDEX bare ON {next} (correlation_id)",
        &["warning extra_constraint {leaf}", "warning extra_key bare"],
    ),
    kind(
        "ALTER TABLE {leaf} ADD FOREIGN KEY (trace_id) REFERENCES projection_checkpoints",
        &["warning extra_constraint {leaf}"],
    ),
];

const RIGHTS_AND_REPLICATION: &[Kind] = &[
    // Owners and grants; the role is this test's own.
    kind(
        "ALTER TABLE {leaf} OWNER TO {role}; ALTER TABLE projection_checkpoints OWNER TO {role}",
        &["warning owner_differs projection_checkpoints", "warning owner_differs {leaf}"],
    ),
    kind(
        "GRANT SELECT ON {leaf} TO PUBLIC; GRANT DELETE ON {next} TO {role};
         GRANT SELECT ON events_a TO {role}",
        &[
            "error grants_differ {leaf}",
            "error grants_differ {next}",
            "warning grants_differ events_a",
        ],
    ),
    kind(
        "GRANT SELECT (payload), UPDATE (payload) ON {leaf} TO PUBLIC;
         GRANT SELECT (\"payload\", metadata) ON {next} TO {role};
         GRANT SELECT (payload) ON events TO {role}",
        &["error grants_differ {leaf}", "warning grants_differ {next}"],
    ),
    kind(
        "GRANT SELECT ON events TO {role}; GRANT SELECT ON events_a, {leaf}, {next} TO {role};
         GRANT SELECT (payload) ON {leaf} TO {role}; GRANT INSERT (payload) ON {next} TO {role}",
        &["error grants_differ {next}"],
    ),
    kind(
        "GRANT SELECT ON events TO {role};
         GRANT SELECT ON {leaf}, events_a TO {role} WITH GRANT OPTION",
        &[
            "warning grants_differ events_a",
            "warning grants_differ {leaf}",
            "warning grants_differ {next}",
        ],
    ),
    // Row security.
    kind(
        "ALTER TABLE {leaf} ENABLE ROW LEVEL SECURITY;
         ALTER TABLE {next} FORCE ROW LEVEL SECURITY",
        &["warning row_security_differs {leaf}", "warning row_security_differs {next}"],
    ),
    kind(
        "ALTER TABLE events ENABLE ROW LEVEL SECURITY; GRANT SELECT ON events, {leaf} TO {role}",
        &["error grants_differ {leaf}"],
    ),
    // Replication.
    kind(
        "ALTER TABLE {leaf} REPLICA IDENTITY FULL; ALTER TABLE {next} REPLICA IDENTITY NOTHING",
        &["warning replica_identity_differs {leaf}", "warning replica_identity_differs {next}"],
    ),
    kind(
        "ALTER TABLE events REPLICA IDENTITY FULL; ALTER TABLE events_a REPLICA IDENTITY FULL;
         ALTER TABLE {leaf} REPLICA IDENTITY FULL; CREATE PUBLICATION p FOR TABLE events",
        &["error replica_identity_differs {next}"],
    ),
    kind(
        "CREATE PUBLICATION \"a \"\"p\" FOR TABLE {leaf}; CREATE PUBLICATION q FOR TABLE events, {next}",
        &["warning publication_differs events"],
    ),
];

const STORAGE_AND_INDEXES: &[Kind] = &[
    // Storage.
    kind(
        "ALTER TABLE {leaf} SET (autovacuum_enabled = off, fillfactor = 80)",
        &["warning storage_differs {leaf}"],
    ),
    of(
        "hash,month",
        "ALTER TABLE events_hash_00_{m0} SET (fillfactor = 80);
         ALTER TABLE events_hash_00_{m1} SET (fillfactor = 80);
         ALTER TABLE events_hash_01_{m0} SET (fillfactor = 80)",
        &["warning storage_differs events_hash_01_{m1}"],
    ),
    kind("ALTER TABLE {leaf} SET UNLOGGED", &["error unlogged {leaf}"]),
    of("none", "ALTER TABLE events SET UNLOGGED", &["error unlogged events"]),
    // Indexes.
    kind(
        "ALTER INDEX {leaf}_created_at_idx SET (pages_per_range = 128);
         ALTER INDEX {next}_created_at_idx RESET (autosummarize)",
        &[
            "warning index_differs {leaf}_created_at_idx",
            "warning index_differs {next}_created_at_idx",
        ],
    ),
    kind(
        "CREATE INDEX mine ON ONLY events (trace_id) WITH (fillfactor = 70);
         CREATE INDEX mine_a ON ONLY events_a (trace_id) WITH (fillfactor = 60);
         CREATE INDEX mine_0 ON {leaf} (trace_id); CREATE INDEX mine_1 ON {next} (trace_id);
         ALTER INDEX mine ATTACH PARTITION mine_a; ALTER INDEX mine_a ATTACH PARTITION mine_0;
         ALTER INDEX mine_a ATTACH PARTITION mine_1",
        &["warning index_differs mine_a"],
    ),
    kind("DROP INDEX events_created_at_idx", &["warning missing_index events"]),
    of("none", "DROP INDEX events_created_at_idx", &["warning missing_index events"]),
    kind(
        "DROP INDEX events_created_at_idx; CREATE INDEX brin ON events USING brin (created_at)",
        &["warning index_differs brin"],
    ),
    of(
        "none",
        "ALTER INDEX events_created_at_idx SET (pages_per_range = 64);
         DROP INDEX aggregate_heads_updated_at_idx, projection_checkpoints_updated_at_idx",
        &[
            "warning index_differs events_created_at_idx",
            "warning missing_index aggregate_heads",
            "warning missing_index projection_checkpoints",
        ],
    ),
    kind(
        "CREATE INDEX \"half \"\"done\" ON ONLY events (trace_id);
         CREATE INDEX mine ON {leaf} (trace_id)",
        &["warning unfinished_index half \"done"],
    ),
    kind(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{leaf}_event_id_key'::regclass",
        &["error missing_key {leaf}", "warning invalid_index {leaf}_event_id_key"],
    ),
];

const PROTECTIONS: &[Kind] = &[
    kind(
        "DROP TRIGGER pupctl_guard ON {leaf}; ALTER TABLE {next} DISABLE TRIGGER pupctl_guard;
         ALTER TABLE events_a ENABLE REPLICA TRIGGER pupctl_guard",
        &["error unprotected events_a", "error unprotected {leaf}", "error unprotected {next}"],
    ),
    kind(
        "CREATE OR REPLACE FUNCTION pupctl_guard() RETURNS trigger LANGUAGE plpgsql
            AS 'BEGIN RETURN NULL; END'",
        &["error broken_function pupctl_guard"],
    ),
    kind(
        "DROP FUNCTION pupctl_guard CASCADE",
        &[
            "error broken_function pupctl_guard",
            "error unprotected events",
            "error unprotected events_a",
            "error unprotected {leaf}",
            "error unprotected {next}",
        ],
    ),
    of(
        "hash",
        "UPDATE pupctl_layout SET layout = jsonb_set(layout, '{protections}',
            '{\"guard\": \"none\", \"event_ids\": true, \"immutable\": false}')",
        &[
            "error broken_function pupctl_keep_ids",
            "error missing_event_ids pupctl_event_ids",
            "error unprotected events",
            "error unprotected events_hash_00",
            "error unprotected events_hash_01",
        ],
    ),
    of(
        "none",
        "UPDATE pupctl_layout SET layout = jsonb_set(layout, '{protections,immutable}', 'true')",
        &["error broken_function pupctl_immutable", "error unprotected events"],
    ),
    kind(
        "CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER \"my \"\"own\" AFTER UPDATE ON {leaf} FOR EACH ROW EXECUTE FUNCTION mine();
         CREATE TRIGGER everywhere AFTER DELETE ON events FOR EACH ROW EXECUTE FUNCTION mine();
         CREATE TRIGGER pupctl_immutable BEFORE UPDATE ON {next} EXECUTE FUNCTION mine()",
        &["warning extra_trigger {leaf}", "warning extra_trigger {next}"],
    ),
    kind(
        "CREATE RULE \"my \"\"own\" AS ON INSERT TO {leaf} DO INSTEAD NOTHING;
         CREATE RULE beside AS ON DELETE TO {next} DO ALSO NOTIFY gone;
         CREATE RULE beside AS ON DELETE TO events DO ALSO NOTIFY gone;
         CREATE RULE instead AS ON UPDATE TO aggregate_heads DO INSTEAD NOTHING",
        &["error extra_rule aggregate_heads", "error extra_rule {leaf}", "error extra_rule {next}"],
    ),
];

fn filled(db: &TestDatabase, text: &str) -> String {
    let [m0, m1] = [0, 1].map(|ahead| db.month(ahead).replace('-', "_"));
    text.replace("{leaf}", &format!("events_a_{m0}"))
        .replace("{next}", &format!("events_a_{m1}"))
        .replace("{m0}", &m0)
        .replace("{m1}", &m1)
        .replace("{role}", &format!("role_{}", db.name()))
}

#[test]
fn columns_and_keys() {
    found_and_mended(COLUMNS_AND_KEYS);
}

#[test]
fn rights_and_replication() {
    found_and_mended(RIGHTS_AND_REPLICATION);
}

#[test]
fn storage_and_indexes() {
    found_and_mended(STORAGE_AND_INDEXES);
}

#[test]
fn protections() {
    found_and_mended(PROTECTIONS);
}

#[track_caller]
fn found_and_mended(kinds: &[Kind]) {
    for kind in kinds {
        let db = of_layout(kind.layout);
        assert_eq!(found(&db), NOTHING, "{}", kind.layout);
        let role = filled(&db, "{role}");
        db.execute(&format!("CREATE ROLE {role}"));
        db.execute(&filled(&db, kind.sql));
        let object = |line: &&str| {
            let (words, object) = line.rsplit_once(' ').expect("words");
            filled(&db, &format!("{words} public.{object}"))
        };
        // One name has a space in it.
        let mut expected: Vec<String> = if kind.sql.contains("half \"\"done") {
            vec!["warning unfinished_index public.half \"done".to_owned()]
        } else {
            kind.found.iter().map(object).collect()
        };
        expected.sort();
        assert_eq!(found(&db), expected, "{}", kind.sql);
        let sql = mend(&db);
        assert_eq!(found(&db), NOTHING, "{}\n{sql}", kind.sql);
        db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
    }
}

#[test]
fn every_layout_is_as_it_should_be_however_it_came_about() {
    for layout in
        ["none", "context", "hash", "month", "context,hash", "context,month", "hash,month"]
    {
        let db = of_layout(layout);
        assert_eq!(found(&db), NOTHING, "{layout}");
        if layout.contains("month") {
            db.pupctl(["partitions", "ensure", "--months", "3"]).success();
        }
        if layout.contains("context") {
            db.pupctl(["contexts", "add", "it's \"B\""]).success();
        }
        db.pupctl(["schema", "index", "add", "--preset", "correlation"]).success();
        assert_eq!(found(&db), NOTHING, "{layout}");
    }
}

#[test]
fn months_are_no_difference_but_contexts_are() {
    let db = of_layout("context,month");
    let [m0, m1] = [0, 1].map(|ahead| db.month(ahead).replace('-', "_"));
    db.execute(&format!("DROP TABLE events_a_{m0}, events_a_{m1}"));
    assert_eq!(found(&db), NOTHING);
    db.execute("DROP TABLE events_a");
    assert_eq!(found(&db), ["error missing_partition public.events"]);
    let sql = mend(&db);
    assert!(sql.contains("-- Run: pupctl partitions ensure\n"), "{sql}");
}

#[test]
fn partitions_take_over_what_their_parent_has_so_that_nothing_differs() {
    let db = of_layout("context,month");
    let role = format!("role_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role};
         GRANT SELECT, INSERT ON events TO {role}; GRANT SELECT ON events TO PUBLIC;
         ALTER TABLE events REPLICA IDENTITY FULL"
    ));
    mend(&db);
    db.pupctl(["contexts", "add", "B"]).success();
    db.pupctl(["partitions", "ensure", "--months", "3"]).success();
    assert_eq!(found(&db), NOTHING);
    db.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}

#[test]
fn what_pupctl_adds_to_a_partition_is_no_difference() {
    let db = of_layout("month");
    let leaf = format!("events_{}", db.month(0).replace('-', "_"));
    db.execute(&format!(
        "ALTER TABLE {leaf} ADD CONSTRAINT pupctl_closed CHECK (global_position < 5);
         CREATE INDEX of_my_own ON {leaf} (trace_id)"
    ));
    assert_eq!(found(&db), NOTHING);
}
