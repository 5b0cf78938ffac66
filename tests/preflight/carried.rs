//! What is carried: made on a new table by hand, in the order of a conversion, and compared with
//! what was on the old one; then back again.

use postgres::Client;
use pupctl::catalog::surroundings::Surroundings;
use pupctl::db::surroundings::surroundings;
use pupctl::layout::Role;
use pupctl::layout::name::QualifiedName;
use pupctl::render::Statement;
use pupctl::render::convert::carry::{indexes_onto, leaf, onto};
use pupctl::render::convert::follow::{exchange_index_names, in_swap, lock_views};

use super::support::TestDatabase;
use super::{events, months, name, read, refusals, store, version};

/// Runs statements of the library.
#[track_caller]
fn run(client: &mut Client, statements: &[Statement]) {
    for Statement { sql, .. } in statements {
        client.batch_execute(sql).unwrap_or_else(|error| panic!("{error:?} in:\n{sql}"));
    }
}

#[track_caller]
fn execute(client: &mut Client, sql: &str) {
    client.batch_execute(sql).unwrap_or_else(|error| panic!("{error:?} in:\n{sql}"));
}

/// A conversion by hand, with one month for all.
struct Conversion<'a> {
    db: &'a TestDatabase,
    client: Client,
}

const OLD: &str = "events_before_convert";
const NEW: &str = "events_new";

impl<'a> Conversion<'a> {
    #[track_caller]
    fn start(db: &'a TestDatabase) -> Self {
        let found = events(db);
        assert_eq!(refusals(&found), []);
        let (old, new, part) = (read(db, "events"), name(NEW), name("events_all"));
        let mut client = db.client();
        execute(
            &mut client,
            "CREATE TABLE events_new (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS
                INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING COMMENTS)
             PARTITION BY RANGE (created_at)",
        );
        run(&mut client, &onto(&old, &new));
        execute(
            &mut client,
            "CREATE TABLE events_all (LIKE events_new
                INCLUDING ALL EXCLUDING IDENTITY EXCLUDING STATISTICS);
             ALTER TABLE events_new ATTACH PARTITION events_all
                FOR VALUES FROM (MINVALUE) TO (MAXVALUE)",
        );
        run(&mut client, &leaf(&old, &part));
        let columns: Vec<_> = old.copied_columns().map(pupctl::render::quote::ident).collect();
        let columns = columns.join(", ");
        execute(
            &mut client,
            &format!("INSERT INTO events_all ({columns}) SELECT {columns} FROM events"),
        );
        for index in indexes_onto(&months(), Role::Events, &old) {
            execute(&mut client, &index.create(&new, &index.building, false));
        }
        Self { db, client }
    }

    /// The renames, with all that follows the table; `other` lies beside `events` before, and the
    /// other way round behind.
    #[track_caller]
    fn swap(&mut self, other: &str, aside: &str) {
        let mut transaction = self.client.transaction().expect("a transaction");
        transaction
            .batch_execute(&format!("LOCK TABLE events, {other} IN ACCESS EXCLUSIVE MODE"))
            .expect("locks");
        let old = surroundings(&mut transaction, &name("events")).expect("a reading");
        let new = surroundings(&mut transaction, &name(other)).expect("a reading");
        transaction
            .batch_execute(&format!(
                "ALTER TABLE events RENAME TO \"{aside}\"; ALTER TABLE {other} RENAME TO events"
            ))
            .expect("renames");
        let statements = in_swap(&old, &name(aside), &name("events"));
        let names = exchange_index_names(&months(), Role::Events, &old, &new);
        for Statement { sql, .. } in statements.iter().chain(&names) {
            transaction.batch_execute(sql).unwrap_or_else(|error| panic!("{error:?} in:\n{sql}"));
        }
        transaction.commit().expect("a commit");
    }

    fn forth(&mut self) {
        self.swap(NEW, OLD);
    }

    fn back(&mut self) {
        self.swap(OLD, NEW);
    }

    fn read(&self) -> Surroundings {
        read(self.db, "events")
    }
}

/// What of it must be the same on both tables; the rest is a matter of the layout.
fn comparable(mut surroundings: Surroundings) -> Surroundings {
    let table = &mut surroundings.table;
    table.oid = 0;
    table.kind.clear();
    table.children.clear();
    table.access_method = None;
    // Partitioned tables have none.
    table.options.clear();
    table.toast_options.clear();
    surroundings.indexes.retain(|index| !index.unique && index.name != "idx_events_aggregate");
    surroundings.constraints.retain(|constraint| constraint.kind == "c");
    surroundings
}

/// Goes forth and back, and expects the same each time.
#[track_caller]
fn round_trip(sql: &str, look: &str) {
    let db = store(sql);
    db.execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT 'A', 'Order', 'o', n, gen_random_uuid(), 'Placed', '' FROM generate_series(1, 5) AS n",
    );
    let before = read(&db, "events");
    let seen = db.texts(look);
    let mut conversion = Conversion::start(&db);
    conversion.forth();
    assert_eq!(comparable(conversion.read()), comparable(before.clone()));
    assert_eq!(db.texts(look), seen);
    let follows = read(&db, OLD);
    assert_eq!((follows.views, follows.routines, follows.triggers), (vec![], vec![], vec![]));
    assert_eq!((follows.publications, follows.statistics), (vec![], vec![]));
    let owned = follows.sequences.iter().any(|sequence| sequence.owned_by);
    assert!(!owned, "{:?}", follows.sequences);
    conversion.back();
    let mut after = conversion.read();
    assert_eq!(comparable(after.clone()), comparable(before.clone()));
    // The heap is what it was, down to its keys.
    after.table.oid = before.table.oid;
    assert_eq!(after, before);
    assert_eq!(db.texts(look), seen);
    conversion.forth();
    assert_eq!(comparable(conversion.read()), comparable(before));
    // Nothing holds the old table any more.
    db.execute(&format!("DROP TABLE {OLD}"));
    assert_eq!(db.texts(look), seen);
    db.execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         VALUES ('A', 'Order', 'o', 6, gen_random_uuid(), 'Placed', '')",
    );
    assert_eq!(db.one::<i64>("SELECT max(global_position) FROM events"), 6);
}

const COUNT: &str = "SELECT count(*)::text FROM public.events";

#[test]
fn nothing_but_the_sequence_and_the_indexes() {
    round_trip("", COUNT);
}

#[test]
fn columns_with_all_their_settings() {
    round_trip(
        "ALTER TABLE events ADD COLUMN \"te\"\"nant\" text COLLATE \"C\" NOT NULL DEFAULT 'it''s',
            ADD COLUMN size int GENERATED ALWAYS AS (length(payload)) STORED,
            ADD COLUMN amount numeric(12,2),
            ALTER created_at SET DEFAULT clock_timestamp(), ALTER event_version DROP DEFAULT,
            ALTER metadata SET DEFAULT '{}', ALTER causation_id TYPE text COLLATE \"C\",
            ALTER bounded_context TYPE text COLLATE \"C\",
            ALTER aggregate_id SET STATISTICS 500, ALTER payload SET STORAGE EXTERNAL,
            ALTER metadata SET COMPRESSION pglz,
            ALTER event_type SET (n_distinct = 40), ALTER event_version SET DEFAULT 2;
         CREATE TYPE mood AS ENUM ('good', 'bad');
         ALTER TABLE events ADD COLUMN mood mood DEFAULT 'good';
         CREATE SEQUENCE numbers OWNED BY events.amount;
         ALTER TABLE events ALTER amount SET DEFAULT nextval('numbers');
         COMMENT ON COLUMN events.\"te\"\"nant\" IS 'whose';
         COMMENT ON TABLE events IS 'it''s all';",
        "SELECT jsonb_build_object('a', \"te\"\"nant\", 'b', size, 'c', mood, 'd', amount)::text
         FROM public.events ORDER BY global_position",
    );
}

#[test]
fn columns_that_are_computed_when_they_are_read() {
    if version(&store("")) >= 180_000 {
        round_trip(
            "ALTER TABLE events ADD COLUMN size int GENERATED ALWAYS AS (length(payload)) VIRTUAL",
            "SELECT sum(size)::text FROM public.events",
        );
    }
}

#[test]
fn storage_of_the_leaves() {
    let db = store(
        "ALTER TABLE events SET (fillfactor = 90, autovacuum_enabled = false,
            toast.autovacuum_enabled = false);
         ALTER TABLE events ALTER aggregate_id SET STATISTICS 500",
    );
    Conversion::start(&db).forth();
    let of = |table: &str| {
        let mut own = read(&db, table);
        own.columns.retain(|column| column.name == "aggregate_id");
        (own.table.options, own.table.toast_options, own.columns[0].statistics)
    };
    assert_eq!(of("events_all"), of(OLD));
    assert_eq!(of(OLD).2, Some(500));
    assert_eq!(of(OLD).0, ["autovacuum_enabled=false", "fillfactor=90"]);
    assert_eq!(of(OLD).1, ["autovacuum_enabled=false"]);
}

#[test]
fn checks_indexes_and_statistics() {
    round_trip(
        "ALTER TABLE events ADD CONSTRAINT \"fi\"\"ne\" CHECK (event_type <> 'x;''y');
         COMMENT ON CONSTRAINT \"fi\"\"ne\" ON events IS 'so it is';
         CREATE INDEX \"by \"\"time\" ON events (lower(trace_id) DESC, created_at)
            INCLUDE (event_id) WITH (fillfactor = 70) WHERE trace_id <> 'a;b';
         COMMENT ON INDEX \"by \"\"time\" IS 'quick';
         CREATE INDEX gin ON events USING gin (metadata jsonb_path_ops);
         CREATE SCHEMA apart;
         CREATE STATISTICS apart.\"to\"\"gether\" (dependencies)
            ON event_type, event_version FROM events;
         ALTER STATISTICS apart.\"to\"\"gether\" SET STATISTICS 50;
         COMMENT ON STATISTICS apart.\"to\"\"gether\" IS 'both'",
        COUNT,
    );
}

#[test]
fn views_and_functions() {
    round_trip(
        "CREATE SCHEMA \"re\"\"ports\";
         CREATE VIEW \"re\"\"ports\".\"re\"\"cent\" WITH (security_barrier, check_option = local) AS
            SELECT global_position, event_type AS kind FROM events WHERE event_type <> 'a;b';
         CREATE VIEW above AS SELECT count(*) FROM \"re\"\"ports\".\"re\"\"cent\";
         CREATE VIEW whole AS SELECT to_jsonb(e) - 'created_at' AS event FROM events AS e;
         CREATE VIEW both_of AS SELECT e.event_id, h.aggregate_version
            FROM events AS e JOIN aggregate_heads AS h USING (bounded_context, aggregate_id);
         CREATE VIEW typed AS SELECT (jsonb_populate_record(NULL::events, '{\"trace_id\": \"x\"}')).trace_id;
         CREATE FUNCTION plain() RETURNS bigint LANGUAGE plpgsql
            AS 'BEGIN RETURN (SELECT count(*) FROM public.events); END';
         CREATE FUNCTION \"co\"\"unt\"(kind text DEFAULT 'Placed') RETURNS bigint
            STABLE SECURITY DEFINER SET search_path = ''
            BEGIN ATOMIC SELECT count(*) FROM public.events WHERE event_type = kind; END;
         CREATE PROCEDURE tidy(INOUT n int) BEGIN ATOMIC
            UPDATE public.events SET trace_id = '' WHERE false; SELECT 1; END;
         COMMENT ON VIEW above IS 'kept'",
        "SELECT concat_ws(' ', (SELECT max(kind) FROM public.above, \"re\"\"ports\".\"re\"\"cent\"),
            (SELECT count FROM public.above), (SELECT count(event) FROM public.whole),
            public.plain(), public.\"co\"\"unt\"())",
    );
}

#[test]
fn triggers_with_their_state() {
    round_trip(
        "CREATE TABLE seen (what text);
         CREATE FUNCTION \"no\"\"te\"() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN INSERT INTO public.seen VALUES (TG_NAME); RETURN coalesce(NEW, OLD); END';
         CREATE TRIGGER \"a \"\"row\" AFTER INSERT ON events FOR EACH ROW
            WHEN (NEW.event_type <> 'x;') EXECUTE FUNCTION \"no\"\"te\"('a''b');
         COMMENT ON TRIGGER \"a \"\"row\" ON events IS 'noted';
         CREATE TRIGGER before_row BEFORE INSERT ON events FOR EACH ROW
            EXECUTE FUNCTION \"no\"\"te\"();
         CREATE TRIGGER whole AFTER INSERT ON events REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION \"no\"\"te\"();
         CREATE TRIGGER off AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION \"no\"\"te\"();
         CREATE TRIGGER off_too AFTER INSERT ON events EXECUTE FUNCTION \"no\"\"te\"();
         CREATE TRIGGER replica AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION \"no\"\"te\"();
         CREATE TRIGGER always AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION \"no\"\"te\"();
         CREATE CONSTRAINT TRIGGER \"la\"\"te\" AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION \"no\"\"te\"();
         CREATE TRIGGER emptied BEFORE TRUNCATE ON events EXECUTE FUNCTION \"no\"\"te\"();
         ALTER TABLE events DISABLE TRIGGER off, DISABLE TRIGGER off_too,
            ENABLE REPLICA TRIGGER replica, ENABLE ALWAYS TRIGGER always",
        "SELECT what || count(*) FROM public.seen GROUP BY what ORDER BY 1",
    );
}

#[test]
fn a_disabled_trigger_does_not_fire_on_partitions() {
    let db = store(
        "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN RAISE EXCEPTION ''stopped''; END';
         CREATE TRIGGER off AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION stop();
         ALTER TABLE events DISABLE TRIGGER off",
    );
    Conversion::start(&db).forth();
    db.execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         VALUES ('A', 'Order', 'o', 6, gen_random_uuid(), 'Placed', '')",
    );
}

#[test]
fn rights_and_policies() {
    let db = store("");
    let user = format!("app_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {user}; CREATE ROLE \"{user} o\"; CREATE ROLE {user}_x;
         GRANT ALL ON SCHEMA public TO {user}, \"{user} o\";
         GRANT SELECT ON events TO PUBLIC; GRANT INSERT ON events TO \"{user} o\" WITH GRANT OPTION;
         GRANT UPDATE (trace_id), SELECT (payload) ON events TO {user}_x;
         ALTER TABLE events OWNER TO {user};
         ALTER SEQUENCE events_global_position_seq OWNER TO {user};
         REVOKE DELETE, TRUNCATE ON events FROM {user};
         ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {user}_x;
         ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {user}_x;
         ALTER TABLE events ENABLE ROW LEVEL SECURITY;
         CREATE POLICY \"o\"\"wn\" ON events AS RESTRICTIVE FOR UPDATE TO \"{user} o\", {user}_x
            USING (trace_id = current_user) WITH CHECK (trace_id <> 'a;''b');
         CREATE POLICY every ON events USING (bounded_context <> 'secret');
         COMMENT ON POLICY every ON events IS 'most';
         CREATE VIEW theirs AS SELECT * FROM events; ALTER VIEW theirs OWNER TO \"{user} o\";
         GRANT SELECT ON theirs TO {user}_x"
    ));
    let before = read(&db, "events");
    assert!(!before.table.default_grants.is_empty());
    assert_eq!(before.table.revoked, ["DELETE", "TRUNCATE"]);
    let acl = "SELECT array_agg(acl ORDER BY acl::text)::text
        FROM pg_class, unnest(relacl) AS acl WHERE oid = 'public.theirs'::regclass";
    let of_view = db.texts(acl);
    let mut conversion = Conversion::start(&db);
    conversion.forth();
    assert_eq!(comparable(conversion.read()), comparable(before.clone()));
    assert_eq!(db.texts(acl), of_view);
    let leaked = format!("SELECT has_table_privilege('{user}_x', 'events_all', 'DELETE')");
    assert!(!db.one::<bool>(&leaked));
    conversion.back();
    assert_eq!(comparable(conversion.read()), comparable(before));
    drop(conversion);
    db.execute(&format!(
        "DROP OWNED BY {user}, \"{user} o\", {user}_x; DROP ROLE {user}, \"{user} o\", {user}_x"
    ));
}

#[test]
fn publications_and_replica_identity() {
    let part = if version(&store("")) < 150_000 {
        "CREATE PUBLICATION part FOR TABLE events
            WITH (publish = 'insert', publish_via_partition_root)"
    } else {
        "CREATE PUBLICATION part FOR TABLE events (global_position, \"event_type\", bounded_context)
            WHERE (bounded_context <> 'a;''b') WITH (publish = 'insert', publish_via_partition_root)"
    };
    round_trip(
        &format!(
            "ALTER TABLE events REPLICA IDENTITY FULL; {part};
             CREATE PUBLICATION \"a \"\"feed\" FOR TABLE aggregate_heads, events
                WITH (publish_via_partition_root)"
        ),
        "SELECT pubname || ' ' || tablename FROM pg_publication_tables ORDER BY 1",
    );
}

#[test]
fn a_sequence_that_is_somewhere_else() {
    round_trip(
        "CREATE SCHEMA \"nu\"\"mbers\"; CREATE SEQUENCE \"nu\"\"mbers\".\"it's\";
         ALTER TABLE events ALTER global_position SET DEFAULT nextval('\"nu\"\"mbers\".\"it''s\"');
         DROP SEQUENCE events_global_position_seq",
        COUNT,
    );
}

#[test]
fn a_table_with_quotes_in_its_name() {
    let db = store(
        "ALTER TABLE events RENAME TO \"ev\"\"ents\";
        CREATE VIEW recent AS SELECT * FROM \"ev\"\"ents\"",
    );
    let (table, aside, new) =
        (name("ev\"ents"), name("ev\"ents_old"), QualifiedName::new("public", "new \"one"));
    let old = surroundings(&mut db.client(), &table).expect("a reading");
    let mut client = db.client();
    execute(
        &mut client,
        "CREATE TABLE \"new \"\"one\" (LIKE \"ev\"\"ents\" INCLUDING DEFAULTS)
            PARTITION BY LIST (bounded_context)",
    );
    run(&mut client, &onto(&old, &new));
    execute(
        &mut client,
        "ALTER TABLE \"ev\"\"ents\" RENAME TO \"ev\"\"ents_old\";
         ALTER TABLE \"new \"\"one\" RENAME TO \"ev\"\"ents\"",
    );
    run(&mut client, &in_swap(&old, &aside, &table));
    execute(&mut client, "DROP TABLE \"ev\"\"ents_old\"");
    let views = surroundings(&mut client, &table).expect("a reading").views;
    assert_eq!(views, old.views);
}

#[test]
fn a_view_is_locked_without_its_table() {
    let db = store(
        "CREATE SCHEMA \"a\"\"part\"; CREATE VIEW \"a\"\"part\".recent AS SELECT * FROM events",
    );
    let mut client = db.client();
    let mut transaction = client.transaction().expect("a transaction");
    for Statement { sql, .. } in lock_views(&read(&db, "events")) {
        transaction.batch_execute(&sql).expect("a lock");
    }
    let held = "SELECT relation::regclass || ' ' || mode FROM pg_catalog.pg_locks
        WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation >= 16384 AND mode <> 'AccessShareLock' ORDER BY 1";
    let own = transaction.query(held, &[]).expect("locks");
    let own: Vec<String> = own.iter().map(|row| row.get(0)).collect();
    assert_eq!(own, ["\"a\"\"part\".recent AccessExclusiveLock"]);
}
