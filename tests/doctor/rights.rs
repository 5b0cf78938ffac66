//! Roles that may see little, and names that need quotes.

use crate::store::append;
use crate::support::TestDatabase;
use crate::{NOTHING, by_month, doctor, found, found_with};

/// A role of its own, gone with the test.
struct Role<'a>(&'a TestDatabase, String);

impl<'a> Role<'a> {
    fn new(db: &'a TestDatabase) -> Self {
        let name = format!("{}_reader", db.name());
        db.execute(&format!("CREATE ROLE {name}"));
        Self(db, name)
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        self.0.execute(&format!("DROP OWNED BY {0}; DROP ROLE {0}", self.1));
    }
}

#[test]
fn a_role_without_rights_is_told_so_and_nothing_fails() {
    let db = by_month();
    append(&db, "A", "1");
    let role = Role::new(&db);
    let told = found_with(&db, &["--role", &role.1, "--schema", "public"]);
    // A right that was taken back does not make a store look well.
    assert!(told.contains(&"warning not_seen the catalog of the store".to_owned()), "{told:?}");
    for line in &told {
        let is_known = |known| line.starts_with(known);
        assert!(["warning not_seen ", "notice role_rights "].iter().any(is_known), "{told:?}");
    }
    let page = doctor(&db, &["--role", &role.1, "--schema", "public"]).success();
    assert!(page.stdout.contains("not looked at:"), "{page}");
    assert!(page.stderr.ends_with(" problems found\n"), "{page}");
}

#[test]
fn what_a_role_may_not_look_at_is_not_called_well() {
    let db = by_month();
    let role = Role::new(&db);
    db.execute(&format!(
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {0};
         GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {0}",
        role.1
    ));
    let told = || found_with(&db, &["--role", &role.1, "--schema", "public"]);
    let problems = || told().into_iter().filter(|one| !one.starts_with("notice ")).collect();
    let nothing: Vec<String> = problems();
    assert_eq!(nothing, NOTHING);
    for (table, what) in [
        ("pupctl_layout", "the catalog of the store"),
        ("pupctl_closed_partitions", "closed months"),
        ("pupctl_operations", "the journal"),
        ("pupctl_archives", "the list of archives"),
    ] {
        db.execute(&format!("REVOKE SELECT ON {table} FROM {}", role.1));
        let found: Vec<String> = problems();
        assert_eq!(found, [format!("warning not_seen {what}")], "{table}");
        db.execute(&format!("GRANT SELECT ON {table} TO {}", role.1));
    }
}

#[test]
fn a_sequence_that_the_role_may_not_read() {
    let db = by_month();
    let role = Role::new(&db);
    db.execute(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}", role.1));
    let as_role = ["--role", &role.1, "--schema", "public"];
    let is_told = || found_with(&db, &as_role).iter().any(|one| one.contains(" unsettled "));
    assert!(is_told());
    crate::mend(&db, "unsettled", &as_role);
    assert!(!is_told());
}

#[test]
fn a_role_that_may_read_finds_what_the_owner_finds() {
    let db = by_month();
    let leaf = format!("events_{}", crate::suffix(&db, 0));
    db.execute(&format!("ALTER TABLE {leaf} DROP CONSTRAINT {leaf}_event_id_key"));
    let role = Role::new(&db);
    db.execute(&format!(
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC;
         GRANT USAGE ON SCHEMA public TO {0}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {0};
         GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {0}",
        role.1
    ));
    let mut told = found_with(&db, &["--role", &role.1, "--schema", "public"]);
    let own: Vec<_> = told.extract_if(.., |line| line.starts_with("notice role_rights")).collect();
    assert_eq!(own.len(), 3, "{own:?}");
    // The grants on partitions are drift to nobody.
    told.retain(|line| !line.contains("grants_differ"));
    assert_eq!(told, [format!("error missing_key public.{leaf}")]);
}

#[test]
fn names_that_need_quotes() {
    let db = TestDatabase::new();
    std::fs::write(
        db.folder().join("pupctl.toml"),
        "schema = \"it's \\\"mine\\\"\"\n[tables]\nevents = \"my \\\"events\\\"\"\n",
    )
    .expect("a file");
    let init = ["schema", "init", "-q", "--partition-by", "context", "--contexts", "it's \"A\""];
    db.pupctl(init).success();
    assert_eq!(found(&db), NOTHING);
    db.execute(r#"ALTER SEQUENCE "it's ""mine"""."my ""events""_global_position_seq" CACHE 3"#);
    assert_eq!(found(&db).len(), 1);
    crate::mend(&db, "sequence", &[]);
    assert_eq!(found(&db), NOTHING);
}
