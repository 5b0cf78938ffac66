//! What cannot be carried: named, and mended by what the message says.

use pupctl::layout::Role;
use pupctl::plan::convert::belongings::refusal;
use pupctl::plan::convert::belongings::{Fate, examine};
use pupctl::render::convert::mend::hint;

use super::support::TestDatabase;
use super::{events, months, name, one, refusals, store, version};

/// Seeds one thing, expects it to be refused in these words, runs what mends it, and expects that
/// nothing is refused any more.
#[track_caller]
fn mended(sql: &str, what: &str, statement: &str) {
    let db = store(sql);
    mended_in(&db, what, statement);
}

#[track_caller]
fn mended_in(db: &TestDatabase, what: &str, statement: &str) {
    let found = refusals(&events(db));
    assert_eq!(found.len(), 1, "{found:#?}");
    let (words, mend) = &found[0];
    assert!(words.starts_with(what), "{words}");
    assert!(mend.contains(statement), "{mend}");
    // Behind the last semicolon stand words.
    let end = mend.rfind(';').expect("a statement");
    // Some of it cannot run in a block of several.
    let mut client = db.client();
    for one in mend[..end].split(";\n") {
        client.batch_execute(one).unwrap_or_else(|error| panic!("{error:?} in {one}"));
    }
    assert_eq!(refusals(&events(db)), []);
}

#[test]
fn foreign_keys() {
    mended(
        "CREATE TABLE \"or\"\"ders\" (event uuid CONSTRAINT \"k\"\"ey\" REFERENCES events (event_id))",
        "the foreign key k\"ey of public.or\"ders: it needs a unique key",
        "ALTER TABLE \"public\".\"or\"\"ders\" DROP CONSTRAINT \"k\"\"ey\";",
    );
    mended(
        "CREATE TABLE tenants (name text PRIMARY KEY);
         ALTER TABLE events ADD FOREIGN KEY (bounded_context) REFERENCES tenants",
        "the foreign key events_bounded_context_fkey to public.tenants",
        "ALTER TABLE \"public\".\"events\" DROP CONSTRAINT \"events_bounded_context_fkey\";",
    );
    mended(
        "ALTER TABLE events ADD COLUMN cause uuid REFERENCES events (event_id)",
        "the foreign key events_cause_fkey to public.events",
        "DROP CONSTRAINT \"events_cause_fkey\";",
    );
}

#[test]
fn constraints() {
    mended(
        "ALTER TABLE events ADD CONSTRAINT small CHECK (length(payload) < 9) NOT VALID",
        "the constraint small CHECK ((length(payload) < 9)) NOT VALID: NOT VALID",
        "VALIDATE CONSTRAINT \"small\";",
    );
    mended(
        "ALTER TABLE events ADD CONSTRAINT own CHECK (event_version > 0) NO INHERIT",
        "the constraint own",
        "DROP CONSTRAINT \"own\";",
    );
    mended(
        "ALTER TABLE events ADD CONSTRAINT apart EXCLUDE USING btree (trace_id WITH =)",
        "the exclusion constraint apart",
        "DROP CONSTRAINT \"apart\";",
    );
    mended(
        "ALTER TABLE events ADD CONSTRAINT traced UNIQUE (trace_id)",
        "the unique constraint traced: a unique key of a partitioned table must have the columns \
         that divide it: created_at",
        "DROP CONSTRAINT \"traced\";",
    );
    mended(
        "CREATE UNIQUE INDEX lower_trace ON events (lower(trace_id))",
        "the index lower_trace",
        "DROP INDEX CONCURRENTLY \"public\".\"lower_trace\";",
    );
}

#[test]
fn constraints_that_newer_servers_have() {
    if version(&store("")) < 180_000 {
        return;
    }
    mended(
        "ALTER TABLE events ADD CONSTRAINT idle CHECK (event_version > 0) NOT ENFORCED",
        "the constraint idle",
        "DROP CONSTRAINT \"idle\";",
    );
    mended(
        "ALTER TABLE events ALTER COLUMN payload DROP NOT NULL;
         ALTER TABLE events ADD CONSTRAINT there NOT NULL payload NOT VALID",
        "the constraint there NOT NULL payload NOT VALID: NOT VALID",
        "VALIDATE CONSTRAINT \"there\";",
    );
    // Named once, by its column: validated it would be refused all the same.
    for column in ["trace_id", "tenant"] {
        mended(
            &format!(
                "ALTER TABLE events ADD COLUMN IF NOT EXISTS tenant text;
                 ALTER TABLE events ADD CONSTRAINT there NOT NULL {column} NOT VALID"
            ),
            &format!("the column {column}"),
            &format!("ALTER COLUMN \"{column}\" DROP NOT NULL;"),
        );
    }
}

#[test]
fn rules_and_views() {
    mended(
        "CREATE RULE quiet AS ON DELETE TO events DO INSTEAD NOTHING",
        "the rule quiet",
        "DROP RULE \"quiet\" ON \"public\".\"events\";",
    );
    mended(
        "CREATE TABLE inbox (context text);
         CREATE RULE pass AS ON INSERT TO inbox DO ALSO
             UPDATE events SET trace_id = '' WHERE bounded_context = NEW.context",
        "the rule pass of public.inbox: it would go on writing to the old table",
        "DROP RULE \"pass\" ON \"public\".\"inbox\";",
    );
    mended(
        "CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM events",
        "the materialized view public.counted",
        "DROP MATERIALIZED VIEW \"public\".\"counted\";",
    );
    mended(
        "CREATE VIEW grouped AS SELECT global_position, event_type FROM events
             GROUP BY global_position",
        "the view public.grouped: its GROUP BY",
        "DROP VIEW \"public\".\"grouped\";",
    );
}

#[test]
fn triggers_that_partitions_cannot_have() {
    let function = "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN RETURN NULL; END';";
    mended(
        &format!(
            "{function} CREATE TRIGGER each AFTER INSERT ON events REFERENCING NEW TABLE AS added
             FOR EACH ROW EXECUTE FUNCTION note()"
        ),
        "the trigger each: FOR EACH ROW with a transition table",
        "DROP TRIGGER \"each\" ON \"public\".\"events\";",
    );
}

#[test]
fn what_the_table_is_itself() {
    mended(
        "ALTER TABLE aggregate_heads SET UNLOGGED; ALTER TABLE events SET UNLOGGED",
        "UNLOGGED",
        "SET LOGGED;",
    );
    mended(
        "CREATE TABLE base (trace_id text); ALTER TABLE events INHERIT base",
        "the parent public.base",
        "ALTER TABLE \"public\".\"events\" NO INHERIT \"public\".\"base\";",
    );
    mended(
        "CREATE TABLE late () INHERITS (events)",
        "the table public.late",
        "ALTER TABLE \"public\".\"late\" NO INHERIT \"public\".\"events\";",
    );
    let of_type = TestDatabase::new();
    of_type.execute(
        "CREATE TYPE event AS (global_position bigint, bounded_context text, aggregate_type text,
            aggregate_id text, aggregate_version bigint, event_id uuid, event_type text,
            event_version int, payload bytea, trace_id text, correlation_id text,
            causation_id text, metadata jsonb, created_at timestamptz);
         CREATE SEQUENCE positions;
         CREATE TABLE events OF event (
            global_position PRIMARY KEY DEFAULT nextval('positions'), bounded_context NOT NULL,
            aggregate_type NOT NULL, aggregate_id NOT NULL, aggregate_version NOT NULL,
            event_id NOT NULL, event_type NOT NULL, event_version NOT NULL DEFAULT 1,
            payload NOT NULL, created_at NOT NULL DEFAULT now())",
    );
    mended_in(&of_type, "the type public.event", "ALTER TABLE \"public\".\"events\" NOT OF;");
    mended(
        "ALTER TABLE events REPLICA IDENTITY USING INDEX events_pkey",
        "REPLICA IDENTITY USING INDEX",
        "REPLICA IDENTITY FULL;",
    );
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "-q", "--partition-by", "month"]).success();
    let found = refusals(&events(&db));
    assert!(found[0].0.starts_with("public.events itself: it is partitioned already"), "{found:?}");
}

#[test]
fn the_types_of_rows_that_others_use() {
    mended(
        "CREATE FUNCTION newest() RETURNS SETOF events LANGUAGE sql AS 'SELECT * FROM events'",
        "the function public.newest(): it takes or gives rows",
        "DROP FUNCTION public.newest();",
    );
    mended(
        "CREATE PROCEDURE \"take\"\"n\"(events[], text) LANGUAGE sql AS ''",
        "the procedure public.\"take\"\"n\"(public.events[],text)",
        "DROP PROCEDURE public.\"take\"\"n\"(public.events[],text);",
    );
    let aggregate = refusals(&events(&store(
        "CREATE FUNCTION take(bigint, events) RETURNS bigint LANGUAGE sql AS 'SELECT $1 + 1';
         CREATE AGGREGATE taken(events) (SFUNC = take, STYPE = bigint);",
    )));
    let drop = "DROP AGGREGATE public.taken(public.events); make it again after the swap";
    assert!(aggregate.iter().any(|(_, mend)| mend == drop), "{aggregate:#?}");
    for (sql, what) in [
        ("CREATE TABLE kept (event events)", "column event of table public.kept"),
        ("CREATE TABLE kept (list events[])", "column list of table public.kept"),
        ("CREATE TYPE pair AS (one events)", "column one of composite type public.pair"),
        ("CREATE DOMAIN good AS events CHECK (VALUE IS NOT NULL)", "type public.good"),
        ("CREATE VIEW rows AS SELECT e FROM events AS e", "column e of view public.rows"),
        (
            "CREATE TABLE other (a text); ALTER TABLE other ENABLE ROW LEVEL SECURITY;
             CREATE POLICY p ON other USING (EXISTS (SELECT FROM events WHERE trace_id = a))",
            "policy p on table public.other",
        ),
    ] {
        let found = refusals(&events(&store(sql)));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].0.starts_with(what), "{found:#?}");
        assert!(found[0].1.starts_with("take it off"), "{found:#?}");
    }
}

#[test]
fn sequences_that_give_positions_otherwise() {
    let seq = "ALTER SEQUENCE events_global_position_seq";
    for (change, statement) in [
        ("CACHE 20", "CACHE 1;"),
        ("INCREMENT BY 10", "INCREMENT BY 1;"),
        ("CYCLE", "NO CYCLE;"),
        ("AS integer", "AS bigint;"),
    ] {
        mended(
            &format!("{seq} {change}"),
            "the sequence public.events_global_position_seq: ",
            &format!("ALTER SEQUENCE \"public\".\"events_global_position_seq\" {statement}"),
        );
    }
    mended(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT 'A', 'Order', 'o', n, gen_random_uuid(), 'Placed', '' FROM generate_series(1, 9) AS n;
         ALTER TABLE events ALTER global_position DROP DEFAULT",
        "the column global_position: no sequence numbers it",
        "SET DEFAULT nextval(",
    );
}

#[test]
fn an_identity_becomes_a_sequence_that_goes_on() {
    let db = store(
        "ALTER TABLE events ALTER global_position DROP DEFAULT;
        DROP SEQUENCE events_global_position_seq;
        ALTER TABLE events ALTER global_position ADD GENERATED ALWAYS AS IDENTITY",
    );
    let insert = "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, payload)
        SELECT 'A', 'Order', gen_random_uuid(), 1, gen_random_uuid(), 'Placed', ''
        FROM generate_series(1, 3)";
    db.execute(insert);
    mended_in(
        &db,
        "the sequence public.events_global_position_seq: it belongs to",
        "DROP IDENTITY;",
    );
    db.execute(insert);
    assert_eq!(db.one::<i64>("SELECT max(global_position) FROM events"), 6);
    let seq = "SELECT pg_get_serial_sequence('events', 'global_position')";
    assert_eq!(db.one::<String>(seq), "public.events_global_position_seq");
}

#[test]
fn columns_that_are_not_those_of_a_store() {
    mended(
        "ALTER TABLE events ALTER created_at TYPE timestamp",
        "the column created_at: it is timestamp without time zone, and that of a store is timestamp \
         with time zone",
        "ALTER COLUMN \"created_at\" TYPE timestamp with time zone;",
    );
    mended(
        "ALTER TABLE events ALTER event_version DROP NOT NULL",
        "the column event_version: it takes NULL",
        "ALTER COLUMN \"event_version\" SET NOT NULL;",
    );
    mended(
        "ALTER TABLE events ALTER event_version DROP DEFAULT",
        "the column event_version: it has no default",
        "ALTER COLUMN \"event_version\" SET DEFAULT 1;",
    );
    mended(
        "ALTER TABLE events ALTER event_type TYPE varchar(200)",
        "the column event_type: it is character varying(200), and that of a store is text",
        "ALTER COLUMN \"event_type\" TYPE text;",
    );
    mended(
        "ALTER TABLE events ALTER correlation_id SET NOT NULL",
        "the column correlation_id: it refuses NULL",
        "ALTER COLUMN \"correlation_id\" DROP NOT NULL;",
    );
    mended(
        "ALTER TABLE events ADD COLUMN tenant text NOT NULL",
        "the column tenant text: it must be filled",
        "ALTER COLUMN \"tenant\" DROP NOT NULL;",
    );
    mended(
        "ALTER TABLE events DROP COLUMN trace_id",
        "the column trace_id: it is missing",
        "ADD COLUMN \"trace_id\" text;",
    );
    mended(
        "ALTER TABLE events ADD COLUMN n bigint GENERATED BY DEFAULT AS IDENTITY",
        "the column n bigint: partitions cannot number it themselves",
        "DROP IDENTITY;",
    );
}

#[test]
fn publications() {
    mended(
        "CREATE PUBLICATION feed FOR TABLE events WITH (publish = 'insert')",
        "the publication feed: without publish_via_partition_root",
        "ALTER PUBLICATION \"feed\" SET (publish_via_partition_root = true);",
    );
    mended(
        "CREATE PUBLICATION feed FOR TABLE events WITH (publish_via_partition_root)",
        "the publication feed: it sends updates and deletes",
        "ALTER TABLE \"public\".\"events\" REPLICA IDENTITY FULL;",
    );
    mended(
        "CREATE PUBLICATION every FOR ALL TABLES",
        "the publication every: FOR ALL TABLES",
        "DROP PUBLICATION \"every\";",
    );
    if version(&store("")) >= 150_000 {
        mended(
            "CREATE PUBLICATION part FOR TABLES IN SCHEMA public
                 WITH (publish = 'insert', publish_via_partition_root)",
            "the publication part: FOR TABLES IN SCHEMA",
            "ALTER PUBLICATION \"part\" DROP TABLES IN SCHEMA \"public\";",
        );
    }
}

#[test]
fn a_subscriber() {
    let db = store(
        "CREATE SUBSCRIPTION mirror CONNECTION 'host=localhost' PUBLICATION feed
        WITH (connect = false, slot_name = NONE)",
    );
    db.execute(
        "INSERT INTO pg_subscription_rel (srsubid, srrelid, srsubstate)
        SELECT oid, 'events'::regclass, 'r' FROM pg_subscription WHERE subname = 'mirror'",
    );
    let found = refusals(&events(&db));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].0.starts_with("the subscription mirror"), "{found:#?}");
    db.execute("DROP SUBSCRIPTION mirror");
}

#[test]
fn an_index_whose_build_failed_is_left() {
    let db = store("INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
            aggregate_version, event_id, event_type, payload)
        SELECT 'A', 'Order', 'o', n, gen_random_uuid(), 'Placed', '' FROM generate_series(1, 2) AS n");
    let failed =
        db.client().batch_execute("CREATE UNIQUE INDEX CONCURRENTLY half ON events (event_type)");
    failed.expect_err("a double");
    let found = events(&db);
    assert!(matches!(one(&found, "the index half").fate, Fate::Left { .. }), "{found:#?}");
    assert_eq!(refusals(&found), []);
}

#[test]
fn what_belongs_to_somebody_else() {
    let db = store("");
    let user = format!("app_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {user} LOGIN; CREATE ROLE {user}_o; GRANT ALL ON SCHEMA public TO {user}, {user}_o;
         ALTER TABLE events OWNER TO {user}; GRANT SELECT ON events TO {user}_o;
         CREATE VIEW theirs AS SELECT * FROM events; ALTER VIEW theirs OWNER TO {user}_o;
         CREATE FUNCTION theirs() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM events; END;
         ALTER FUNCTION theirs OWNER TO {user}_o;
         CREATE STATISTICS theirs ON event_type, event_version FROM events;
         ALTER STATISTICS theirs OWNER TO {user}_o;
         ALTER TABLE events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
    ));
    let mut client = db.client();
    client.batch_execute(&format!("SET ROLE {user}")).expect("a role");
    let seen = pupctl::db::surroundings::surroundings(&mut client, &name("events"));
    let found = examine(&months(), Role::Events, &seen.expect("a reading"));
    let refused = refusals(&found);
    let grant = format!("GRANT \"{user}_o\" TO \"{user}\";");
    for what in
        ["the view public.theirs", "the function public.theirs()", "the extended statistics"]
    {
        let (_, mend) = refused.iter().find(|(words, _)| words.starts_with(what)).expect("refused");
        assert_eq!(*mend, grant);
    }
    assert!(refused.iter().any(|(words, _)| words.starts_with("FORCE ROW LEVEL SECURITY")));
    assert_eq!(refused.len(), 4, "{refused:#?}");

    client.batch_execute(&format!("RESET ROLE; SET ROLE {user}_o")).expect("a role");
    let seen = pupctl::db::surroundings::surroundings(&mut client, &name("events"));
    let found = examine(&months(), Role::Events, &seen.expect("a reading"));
    let mend = hint(one(&found, "the owner").mend().expect("refused"));
    assert_eq!(mend, format!("GRANT \"{user}\" TO \"{user}_o\";"));

    // Nobody is told to get the rights of a superuser.
    let seen = pupctl::db::surroundings::surroundings(&mut client, &name("aggregate_heads"));
    let found = examine(&months(), Role::Heads, &seen.expect("a reading"));
    let mend = hint(one(&found, "the owner").mend().expect("refused"));
    assert_eq!(mend, "convert as postgres (--role postgres), or give it another owner");
    drop(client);
    db.execute(&format!("DROP OWNED BY {user}, {user}_o; DROP ROLE {user}, {user}_o"));
}

#[test]
fn one_error_says_all_of_it() {
    let db = store("CREATE RULE quiet AS ON DELETE TO events DO INSTEAD NOTHING");
    let error = refusal(&name("events"), &events(&db), hint).expect("an error");
    assert_eq!(
        error.to_string(),
        "public.events has what a partitioned table in its place would not"
    );
    assert!(refusal(&name("events"), &events(&store("")), hint).is_none());
}
