//! Roles that lack a right: told before the first statement.

use insta::assert_snapshot;

use super::refused_as;
use crate::support::{Pupctl, TestDatabase};

/// Roles belong to the whole server, so each database has its own: named like it.
struct Roles {
    db: TestDatabase,
    names: Vec<String>,
}

impl Roles {
    fn new<const N: usize>(roles: [&str; N]) -> Self {
        let db = TestDatabase::new();
        let names: Vec<_> = roles.iter().map(|role| format!("{role}_{}", db.name())).collect();
        for name in &names {
            db.execute(&format!("CREATE ROLE {name} LOGIN NOINHERIT"));
        }
        // Before version 15 everybody might.
        db.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
        Self { db, names }
    }

    /// Runs statements in which `{0}` is the first role.
    fn execute(&self, sql: &str) {
        self.db.execute(&self.fill(sql));
    }

    fn fill(&self, text: &str) -> String {
        (0..).zip(&self.names).fold(text.to_owned(), |text, (number, name): (usize, _)| {
            text.replace(&format!("{{{number}}}"), name)
        })
    }

    /// The binary, signed in as one of the roles.
    fn pupctl<const N: usize>(&self, role: usize, arguments: [&str; N]) -> Pupctl {
        let url = self.db.url().replace("user=postgres", &format!("user={}", self.names[role]));
        assert!(url != self.db.url(), "the URL names no user: {url}");
        self.db.command(arguments).env("PUPCTL_DATABASE_URL", url)
    }

    /// What was told, with the roles and the database by other names.
    fn plain(&self, text: &str) -> String {
        let plain = (0..).zip(&self.names).fold(text.to_owned(), |text, (number, name)| {
            let _: usize = number;
            text.replace(name, &format!("role{number}"))
        });
        plain.replace(self.db.name(), "shop")
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        for name in &self.names {
            let drop = format!("DROP OWNED BY {name} CASCADE; DROP ROLE {name}");
            let dropped = self.db.client().batch_execute(&drop);
            assert!(dropped.is_ok() || std::thread::panicking(), "{dropped:?}");
        }
    }
}

const INIT: [&str; 4] = ["schema", "init", "--partition-by", "month"];

#[test]
fn a_role_that_may_not_create_in_the_schema() {
    let roles = Roles::new(["app"]);
    let told = refused_as(&roles.db, roles.pupctl(0, INIT), 1);
    assert_snapshot!(roles.plain(&told), @"
    error: the role role0 may not create tables in the schema public
    hint: as its owner, run: GRANT CREATE ON SCHEMA public TO role0
    ");
    roles.execute("GRANT CREATE ON SCHEMA public TO {0}");
    roles.pupctl(0, INIT).run().success();
}

#[test]
fn a_role_that_may_not_make_the_schema() {
    let roles = Roles::new(["app"]);
    let init = || roles.pupctl(0, INIT).args(["--schema", "es"]);
    let told = refused_as(&roles.db, init(), 1);
    assert_snapshot!(roles.plain(&told), @"
    error: the role role0 may not create the schema es
    hint: as its owner, run: GRANT CREATE ON DATABASE shop TO role0
    ");
    roles.execute(&format!("GRANT CREATE ON DATABASE {} TO {{0}}", roles.db.name()));
    init().run().success();
}

#[test]
fn a_role_that_does_not_own_the_tables_works_as_their_owner() {
    let roles = Roles::new(["app", "owner"]);
    roles.execute("GRANT CREATE ON SCHEMA public TO {0}, {1}; GRANT {1} TO {0}");
    roles.pupctl(0, INIT).args(["--role", &roles.names[1]]).run().success();

    let ensure = ["partitions", "ensure", "--months", "5"];
    // Whoever reads the layout must be let in.
    roles.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {0}");
    let told = refused_as(&roles.db, roles.pupctl(0, ensure), 1);
    assert_snapshot!(roles.plain(&told), @"
    error: the role role0 does not own public.events, which role1 owns
    hint: work as the owner: --role role1
    ");

    roles.pupctl(0, ensure).args(["--role", &roles.names[1]]).run().success();
    let owners = "SELECT string_agg(DISTINCT tableowner, ', ') FROM pg_tables
                  WHERE schemaname = 'public'";
    assert_eq!(roles.db.one::<String>(owners), roles.names[1]);
}

#[test]
fn a_role_that_may_not_read_the_layout() {
    let roles = Roles::new(["app"]);
    roles.db.pupctl(INIT).success();
    let told = refused_as(&roles.db, roles.pupctl(0, ["partitions", "list"]), 1);
    assert!(told.contains("permission denied for table pupctl_layout"), "{told}");
}

#[test]
fn a_role_that_may_not_become_another() {
    let roles = Roles::new(["app", "owner"]);
    let command = roles.pupctl(0, ["partitions", "list"]).args(["--role", &roles.names[1]]);
    let told = refused_as(&roles.db, command, 1);
    assert_snapshot!(roles.plain(&told), @r#"
    error: failed while taking on the role "role1": permission denied to set role "role1" (SQLSTATE 42501)
    hint: as a superuser, run: GRANT "role1" TO the user that signs in
    "#);
}

#[test]
fn a_role_whose_sessions_are_read_only() {
    let roles = Roles::new(["app"]);
    roles.execute("GRANT CREATE ON SCHEMA public TO {0}");
    roles.pupctl(0, INIT).run().success();
    roles.execute("ALTER ROLE {0} SET default_transaction_read_only = on");
    let told = refused_as(&roles.db, roles.pupctl(0, ["partitions", "ensure", "--months", "9"]), 1);
    assert_snapshot!(roles.plain(&told), @"
    error: sessions of this role or database are read-only
    hint: connect with another role, or ALTER ROLE … SET default_transaction_read_only = off
    ");
    roles.pupctl(0, ["partitions", "list"]).run().success();
    roles.pupctl(0, ["partitions", "ensure", "--months", "9", "--dry-run"]).run().success();
}
