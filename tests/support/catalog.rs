//! What the server's own catalog says about a database, asked without any code of pupctl.

use postgres::Client;

use super::database::TestDatabase;

/// Answers that do not depend on the settings of the database.
const PIN: &str = "SET search_path = ''; SET TimeZone = 'UTC'; SET DateStyle = 'ISO'";

/// Every relation, column, constraint, index, sequence and trigger, a line each.
const OBJECTS: &str = r"
WITH relations AS (
    SELECT class.*, inherits.inhparent, inherits.inhdetachpending
    FROM pg_catalog.pg_class AS class
    JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    LEFT JOIN pg_catalog.pg_inherits AS inherits ON inherits.inhrelid = class.oid
    WHERE namespace.nspname !~ '^pg_' AND namespace.nspname <> 'information_schema'
), tables AS (SELECT * FROM relations WHERE relkind IN ('r', 'p'))
SELECT line FROM (
    SELECT format(
        '%s: kind %s, owner %s, grants %s, identity %s, options %s, comment %s, of %s %s %s, %s',
        oid::regclass, relkind, pg_get_userbyid(relowner), relacl, relreplident, reloptions,
        obj_description(oid, 'pg_class'), inhparent::regclass, inhdetachpending,
        CASE WHEN relispartition AND relkind IN ('r', 'p') THEN pg_get_expr(relpartbound, oid) END,
        CASE WHEN relkind = 'p' THEN pg_get_partkeydef(oid) END)
    FROM relations
    UNION ALL
    SELECT format('%s.%s: %s, not null %s, default %s, identity %s',
        attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,
        pg_get_expr(adbin, adrelid), attidentity)
    FROM tables
    JOIN pg_catalog.pg_attribute ON attrelid = tables.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_catalog.pg_attrdef ON adrelid = attrelid AND adnum = attnum
    UNION ALL
    SELECT format('%s constraint %s: %s, valid %s, of %s', conrelid::regclass, conname,
        pg_get_constraintdef(con.oid), convalidated,
        (SELECT conname FROM pg_catalog.pg_constraint AS above WHERE above.oid = con.conparentid))
    FROM tables JOIN pg_catalog.pg_constraint AS con ON conrelid = tables.oid
    UNION ALL
    SELECT format('%s, valid %s, primary %s', pg_get_indexdef(indexrelid), indisvalid, indisprimary)
    FROM tables JOIN pg_catalog.pg_index ON indrelid = tables.oid
    UNION ALL
    SELECT format('sequence %s: cache %s, increment %s, cycle %s, owned by %s', seqrelid::regclass,
        seqcache, seqincrement, seqcycle, (SELECT refobjid::regclass FROM pg_catalog.pg_depend
            WHERE classid = 'pg_catalog.pg_class'::regclass AND objid = seqrelid
                AND deptype IN ('a', 'i')))
    FROM pg_catalog.pg_sequence
    UNION ALL
    SELECT format('%s, enabled %s', pg_get_triggerdef(trigger.oid), tgenabled)
    FROM tables JOIN pg_catalog.pg_trigger AS trigger ON tgrelid = tables.oid
) AS lines (line)";

/// pupctl's tables whose rows belong to the state of a store, apart from when they were written.
const STATE: &str = "SELECT class.oid::regclass::text FROM pg_catalog.pg_class AS class
    WHERE relname IN ('pupctl_layout', 'pupctl_history', 'pupctl_schema_history') ORDER BY 1";

impl TestDatabase {
    /// All that two stores which were made alike have in common: the whole catalog, the recorded
    /// migrations and the stored layout. Without the journal, names of OIDs, and times.
    pub fn dump(&self) -> String {
        let mut client = self.pinned();
        let mut lines = texts(&mut client, OBJECTS);
        for table in texts(&mut client, STATE) {
            lines.extend(texts(
                &mut client,
                &format!(
                    "SELECT pg_catalog.format('{{}} %s', to_jsonb(t) - 'applied_on' - 'stored_at')
                     FROM {table} AS t ORDER BY 1"
                )
                .replace("{}", &table.replace('\'', "''").replace('%', "%%")),
            ));
        }
        lines.sort();
        lines.join("\n")
    }

    /// A session whose answers do not depend on the settings of the database.
    pub fn pinned(&self) -> Client {
        let mut client = self.client();
        client.batch_execute(PIN).expect("settings");
        client
    }

    /// The first column of all rows, as text; names with their schema, times in UTC.
    #[track_caller]
    pub fn texts(&self, sql: &str) -> Vec<String> {
        texts(&mut self.pinned(), sql)
    }

    /// The journal in order, as `command: outcome`.
    pub fn journal(&self) -> Vec<String> {
        self.texts("SELECT command || ': ' || outcome FROM public.pupctl_operations ORDER BY id")
    }

    /// The tree of a table: a line for each relation, with its bound and its own key. The current
    /// month reads as `m0`, the next ones as `m1`, `m2`; their bounds as `<m1>`.
    #[track_caller]
    pub fn tree(&self, table: &str) -> String {
        let lines = self.texts(&format!(
            "WITH RECURSIVE tree AS (
                SELECT '{table}'::regclass::oid AS oid, 0 AS depth,
                    '{{}}'::text[] COLLATE \"C\" AS path
                UNION ALL
                SELECT inhrelid, depth + 1, path || pg_get_expr(relpartbound, inhrelid)
                FROM tree JOIN pg_catalog.pg_inherits ON inhparent = tree.oid
                JOIN pg_catalog.pg_class ON pg_class.oid = inhrelid
            )
            SELECT concat_ws(' ', repeat('  ', depth) || relname,
                substr(path[depth], length('FOR VALUES ') + 1),
                CASE WHEN relkind = 'p' THEN 'BY ' || pg_get_partkeydef(tree.oid) END)
            FROM tree JOIN pg_catalog.pg_class ON pg_class.oid = tree.oid
            ORDER BY path"
        ));
        let mut text = lines.join("\n");
        for ahead in -4..=6 {
            let month = self.month(ahead);
            text = text
                .replace(&format!("'{month}-01 00:00:00+00'"), &format!("<m{ahead}>"))
                .replace(&month.replace('-', "_"), &format!("m{ahead}"));
        }
        text
    }

    /// The leaves of a table, which may be its only one.
    #[track_caller]
    pub fn leaves(&self, table: &str) -> Vec<String> {
        self.texts(&format!(
            "WITH RECURSIVE tree AS (
                SELECT '{table}'::regclass::oid AS oid
                UNION ALL SELECT inhrelid FROM tree JOIN pg_catalog.pg_inherits ON inhparent = oid
            )
            SELECT oid::regclass::text FROM tree JOIN pg_catalog.pg_class USING (oid)
            WHERE relkind = 'r' ORDER BY 1"
        ))
    }

    /// The month that lies this far after the server's current one in UTC, as `2026-11`.
    pub fn month(&self, ahead: i32) -> String {
        self.one(&format!(
            "SELECT to_char(date_trunc('month', now() AT TIME ZONE 'UTC')
                + interval '1 month' * {ahead}, 'YYYY-MM')"
        ))
    }
}

#[track_caller]
fn texts(client: &mut Client, sql: &str) -> Vec<String> {
    match client.query(sql, &[]) {
        Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
        Err(error) => panic!("{error:?} in:\n{sql}"),
    }
}
