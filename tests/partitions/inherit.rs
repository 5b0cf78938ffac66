//! New partitions take over what PostgreSQL does not copy: owner, grants, replica identity.

use crate::support::{Append, TestDatabase};
use crate::{by_month, ensure, findings};

/// Two roles of this test alone, dropped at its end.
struct Roles<'a> {
    db: &'a TestDatabase,
    owner: String,
    reader: String,
}

impl<'a> Roles<'a> {
    fn new(db: &'a TestDatabase) -> Self {
        let owner = format!("Owner {}", db.name());
        let reader = format!("Reader {}", db.name());
        db.execute(&format!("CREATE ROLE \"{owner}\"; CREATE ROLE \"{reader}\""));
        Self { db, owner, reader }
    }
}

impl Drop for Roles<'_> {
    fn drop(&mut self) {
        let Self { db, owner, reader } = self;
        let mut client = db.client();
        let drop = format!(
            "DROP OWNED BY \"{owner}\", \"{reader}\" CASCADE; DROP ROLE \"{owner}\", \"{reader}\""
        );
        let dropped = client.batch_execute(&drop);
        assert!(dropped.is_ok() || std::thread::panicking(), "{dropped:?}");
    }
}

/// Owner, grants and replica identity of all relations of a tree: one line when they agree.
fn traits(db: &TestDatabase, table: &str) -> Vec<String> {
    db.texts(&format!(
        "SELECT DISTINCT concat_ws(' | ', pg_get_userbyid(relowner), relreplident, (
            SELECT string_agg(entry, ' ' ORDER BY entry) FROM unnest(relacl::text[]) AS entry))
         FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p') AND relname ~ '^{table}(_|$)'"
    ))
}

#[test]
fn a_month_takes_over_owner_grants_and_replica_identity() {
    let db = by_month();
    let roles = Roles::new(&db);
    let Roles { owner, reader, .. } = &roles;
    let settle = |table: &str| {
        db.execute(&format!(
            "ALTER TABLE {table} OWNER TO \"{owner}\";
             GRANT SELECT ON {table} TO PUBLIC;
             GRANT INSERT, SELECT ON {table} TO \"{reader}\" WITH GRANT OPTION;
             ALTER TABLE {table} REPLICA IDENTITY FULL"
        ));
    };
    settle("events");
    settle(&format!("events_{}", crate::suffix(&db, 0)));
    assert_eq!(traits(&db, "events").len(), 1);
    ensure(&db, &["--months", "2"]).success();
    assert_eq!(traits(&db, "events").len(), 1, "{:?}", traits(&db, "events"));
    assert!(ensure(&db, &[]).success().stderr.contains("Nothing to do"));
}

#[test]
fn where_policies_protect_the_rows_no_grant_opens_them_beside_the_parent() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "context,month", "--contexts", "A"]).success();
    let roles = Roles::new(&db);
    let reader = &roles.reader;
    db.execute(&format!(
        "GRANT SELECT ON events, events_a TO \"{reader}\";
         ALTER TABLE events ENABLE ROW LEVEL SECURITY"
    ));
    ensure(&db, &["--months", "5"]).success();
    db.pupctl(["contexts", "add", "B"]).success();
    let readable = format!(
        "SELECT relname::text FROM pg_catalog.pg_class WHERE relname ~ '^events'
            AND relkind IN ('r', 'p') AND has_table_privilege('{reader}', oid, 'SELECT') ORDER BY 1"
    );
    assert_eq!(db.texts(&readable), ["events", "events_a"]);
}

#[test]
fn branches_and_their_leaves_take_them_over_too() {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "context,month", "--months", "1"];
    db.pupctl(init).success();
    let roles = Roles::new(&db);
    let Roles { owner, reader, .. } = &roles;
    db.execute(&format!(
        "ALTER TABLE events REPLICA IDENTITY NOTHING;
         ALTER TABLE events OWNER TO \"{owner}\"; ALTER TABLE aggregate_heads OWNER TO \"{owner}\";
         GRANT SELECT ON events, aggregate_heads TO \"{reader}\" WITH GRANT OPTION;
         GRANT SELECT ON aggregate_heads TO PUBLIC"
    ));
    db.pupctl(["contexts", "add", "Identity"]).success();
    for table in ["events", "aggregate_heads"] {
        assert_eq!(traits(&db, table).len(), 1, "{:?}", traits(&db, table));
    }
    assert!(traits(&db, "events")[0].contains(" | n | "), "{:?}", traits(&db, "events"));
}

#[test]
fn columns_beside_those_of_the_store_are_taken_over() {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "context,month", "--months", "0"];
    db.pupctl(init.iter().chain(&["--contexts", "Identity"])).success();
    db.execute(
        "ALTER TABLE events ADD COLUMN tenant_id text, ADD COLUMN region text NOT NULL DEFAULT 'eu';
         ALTER TABLE projection_checkpoints ADD COLUMN note text",
    );
    db.pupctl(["contexts", "add", "Billing"]).success();
    ensure(&db, &["--months", "1"]).success();
    db.pupctl(["schema", "init"]).success();
    assert_eq!(findings(&db), Vec::<String>::new());
    let leaves = db.leaves("public.events");
    assert_eq!(leaves.len(), 4, "{leaves:?}");
    let columns = "SELECT count(*) FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_class
            ON pg_class.oid = attrelid
        WHERE relname ~ '^events' AND relkind = 'r' AND attname IN ('tenant_id', 'region')";
    assert_eq!(db.one::<i64>(columns), 4 * 2);
    // Whoever does not know them writes on.
    let created_at = format!("{}-10T00:00:00Z", db.month(1));
    let event =
        Append { context: "Billing", id: "1", head: None, events: 1, created_at: &created_at };
    event.run(&mut db.client()).expect("an event");
    assert_eq!(db.one::<String>("SELECT region FROM events WHERE tenant_id IS NULL"), "eu");

    // A column that must be filled is in the way: new partitions would refuse events too.
    db.execute("ALTER TABLE events ALTER COLUMN region DROP DEFAULT");
    let refused = ensure(&db, &["--months", "2"]).failure(1);
    let message = "public.events: column region is not one of the store's and must be filled, \
        which its writers do not";
    assert!(refused.stderr.contains(message), "{refused}");
}

#[test]
fn the_owner_alone_needs_no_superuser() {
    let db = TestDatabase::new();
    let roles = Roles::new(&db);
    let Roles { owner, reader, .. } = &roles;
    db.execute(&format!("CREATE SCHEMA store AUTHORIZATION \"{owner}\""));
    let as_owner = ["--schema", "store", "--role", owner];
    let run = |arguments: &[&str]| db.pupctl(arguments.iter().chain(&as_owner)).success();
    run(&["schema", "init", "--partition-by", "context,month", "--months", "0"]);
    db.execute(&format!("GRANT SELECT ON store.events TO \"{reader}\" WITH GRANT OPTION"));
    run(&["contexts", "add", "Identity"]);
    run(&["partitions", "ensure", "--months", "2"]);
    let owners = "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_catalog.pg_class
        WHERE relnamespace = 'store'::regnamespace";
    assert_eq!(db.texts(owners), std::slice::from_ref(owner));
    assert_eq!(traits(&db, "events").len(), 1);
}
