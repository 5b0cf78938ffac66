//! Roles that lack a right, and sessions that may only read.

use insta::assert_snapshot;

use crate::event::{count, event, lines};
use crate::support::{Pupctl, TestDatabase, fingerprint};
use crate::{file, store, told};

/// A role of this database, and a store that it may read and append to.
struct Role {
    db: TestDatabase,
    name: String,
}

impl Role {
    fn new() -> Self {
        let db = store(["--partition-by", "context", "--contexts", "Shop"]);
        let name = format!("app_{}", db.name());
        db.execute(&format!("CREATE ROLE {name} LOGIN"));
        let role = Self { db, name };
        role.execute(
            "GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {role};
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}",
        );
        file(&role.db, lines(&[event(1, 1), event(1, 2)]));
        role
    }

    fn execute(&self, sql: &str) {
        let sql = sql.replace("{role}", &self.name).replace("{db}", self.db.name());
        self.db.execute(&sql);
    }

    /// The import as this role.
    fn import(&self) -> Pupctl {
        let url = self.db.url().replace("user=postgres", &format!("user={}", self.name));
        assert!(url != self.db.url(), "the URL names no user: {url}");
        let import = ["events", "import", "events.ndjson"];
        self.db.command(import).env("PUPCTL_DATABASE_URL", url)
    }

    /// What is told of an import that must fail and load nothing.
    fn refused(&self) -> String {
        let told = told(&self.import().run().failure(1));
        assert_eq!(count(&self.db), 0);
        assert_eq!(self.db.one::<i64>("SELECT count(*) FROM aggregate_heads"), 0);
        told.replace(&self.name, "role").replace(self.db.name(), "shop")
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let drop = format!("DROP OWNED BY {0} CASCADE; DROP ROLE {0}", self.name);
        let dropped = self.db.client().batch_execute(&drop);
        assert!(dropped.is_ok() || std::thread::panicking(), "{dropped:?}");
    }
}

#[test]
fn a_role_that_may_append_may_import() {
    let role = Role::new();
    role.import().run().success();
    assert_eq!(count(&role.db), 2);
}

#[test]
fn a_role_without_temporary_tables() {
    let role = Role::new();
    role.execute("REVOKE TEMPORARY ON DATABASE {db} FROM PUBLIC");
    let before = fingerprint(&mut role.db.client());
    assert_snapshot!(role.refused(), @r#"
    error: failed while making temporary tables for the checks: permission denied to create temporary tables in database "shop" (SQLSTATE 42501)
    hint: as the owner of the database, run: GRANT TEMPORARY ON DATABASE shop TO role
    "#);
    assert_eq!(fingerprint(&mut role.db.client()), before);
    role.execute("GRANT TEMPORARY ON DATABASE {db} TO {role}");
    role.import().run().success();
}

#[test]
fn a_role_that_may_not_insert_or_move_heads() {
    let role = Role::new();
    role.execute("REVOKE INSERT ON events FROM {role}");
    let events = role.refused();
    role.execute("GRANT INSERT ON events TO {role}; REVOKE UPDATE ON aggregate_heads FROM {role}");
    let heads = role.refused();
    role.execute("GRANT UPDATE ON aggregate_heads TO {role}");
    role.execute("REVOKE INSERT ON pupctl_operations FROM {role}");
    let journal = role.refused();
    role.execute("GRANT INSERT ON pupctl_operations TO {role}");
    role.execute("REVOKE USAGE ON ALL SEQUENCES IN SCHEMA public FROM {role}");
    let sequence = role.refused();
    assert_snapshot!([events, heads, journal, sequence].concat(), @"
    error: failed while copying events to the server: permission denied for table events (SQLSTATE 42501)
    hint: work as the owner of the tables (--role), or ask the owner for the right
    error: failed while moving the heads of the aggregates: permission denied for table aggregate_heads (SQLSTATE 42501)
    hint: work as the owner of the tables (--role), or ask the owner for the right
    error: failed while writing the journal: permission denied for table pupctl_operations (SQLSTATE 42501)
    hint: work as the owner of the tables (--role), or ask the owner for the right
    error: events.ndjson, line 1: failed while copying events to the server: permission denied for sequence events_global_position_seq (SQLSTATE 42501)
      where: COPY events, line 1
    hint: work as the owner of the tables (--role), or ask the owner for the right
    ");
}

#[test]
fn a_role_that_may_not_make_partitions() {
    let role = Role::new();
    // Before 15 everybody may make tables there.
    role.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    file(&role.db, lines(&[event(1, 1).with("bounded_context", "Billing")]));
    let before = fingerprint(&mut role.db.client());
    let create = role.import().args(["--create-partitions"]).run().failure(1);
    let told = told(&create).replace(&role.name, "role");
    assert!(told.contains("role role may not create tables in the schema public"), "{told}");
    assert_eq!(fingerprint(&mut role.db.client()), before);
    // What is there already it may fill.
    file(&role.db, lines(&[event(1, 1)]));
    role.import().args(["--create-partitions"]).run().success();
}

#[test]
fn a_role_whose_sessions_are_read_only() {
    let role = Role::new();
    role.execute("ALTER ROLE {role} SET default_transaction_read_only = on");
    assert_snapshot!(role.refused(), @"
    error: sessions of this role or database are read-only
    hint: connect with another role, or ALTER ROLE … SET default_transaction_read_only = off
    ");
    let dry = told(&role.import().args(["--dry-run"]).run().failure(1));
    assert_snapshot!(dry, @"
    error: a file is checked in temporary tables, which no read-only session can make
    hint: connect to the primary server, as a role whose sessions may write
    ");
}

#[test]
fn policies_that_hold_for_the_owner_are_told() {
    let db = store(["--partition-by", "none"]);
    db.execute(
        "CREATE ROLE keeper_of_policies; GRANT CREATE ON SCHEMA public TO keeper_of_policies;
         ALTER TABLE events ENABLE ROW LEVEL SECURITY; ALTER TABLE events FORCE ROW LEVEL SECURITY;
         ALTER TABLE events OWNER TO keeper_of_policies;
         GRANT ALL ON ALL TABLES IN SCHEMA public TO keeper_of_policies;
         GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO keeper_of_policies",
    );
    let source = file(&db, lines(&[event(1, 1)]));
    let import = ["events", "import", source, "--schema", "public", "--role", "keeper_of_policies"];
    let failed = db.pupctl(import).failure(1);
    assert!(failed.stderr.contains("row-level security"), "{failed}");
    db.execute("REASSIGN OWNED BY keeper_of_policies TO CURRENT_USER; DROP OWNED BY keeper_of_policies; DROP ROLE keeper_of_policies");
}
