//! Tables with values of every kind, and their way into archives and back.

use std::path::Path;

use chrono::{DateTime, Utc};
use postgres::{Client, NoTls, Transaction};
use pupctl::archive::column::Column;
use pupctl::archive::contents::Contents;
use pupctl::archive::folder::{Archive, Draft};
use pupctl::archive::manifest::{Description, Role};
use pupctl::archive::select::{Loading, SETTINGS, Selection};
use pupctl::archive::{Format, Reader, Settings, Stream};
use pupctl::layout::name::QualifiedName;
use pupctl::layout::place::Place;

use crate::support::TestDatabase;

/// A table with a column for every way in which values travel, and every odd value.
pub(crate) const ODD: &str = r#"
    CREATE SCHEMA "O'Brien";
    CREATE TYPE "O'Brien"."mood; ""x""" AS ENUM ('fine', 'it''s', '');
    CREATE TYPE "O'Brien".uuid AS ENUM ('no uuid');
    CREATE DOMAIN "O'Brien".positive AS integer CHECK (VALUE > 0);
    CREATE TYPE "O'Brien".pair AS (a integer, b text);
    CREATE TABLE "O'Brien"."odd ""table""" (
        global_position bigint NOT NULL,
        "a ""quoted"" column" boolean,
        int2 smallint, int4 integer, float4 real, float8 double precision,
        "text" text, "varchar" character varying(20), bpchar character(4), free_bpchar bpchar,
        id uuid, bytea bytea, json json, jsonb jsonb,
        "date" date, "timestamp" timestamp, timestamp_3 timestamp(3),
        created_at timestamptz NOT NULL, created_at_0 timestamptz(0),
        "numeric" numeric, numeric_2 numeric(10, 2), texts text[], times timestamptz[][],
        mood "O'Brien"."mood; ""x""", other "O'Brien".uuid, moods "O'Brien"."mood; ""x"""[],
        domain "O'Brien".positive, pair "O'Brien".pair, "interval" interval, range tstzrange,
        inet inet, "char" "char", money money, xml xml, bits bit varying, "time" time with time zone,
        point point, floats double precision[], bytes bytea[], tsvector tsvector, regclass regclass,
        many integer GENERATED ALWAYS AS IDENTITY
    );
    INSERT INTO "O'Brien"."odd ""table""" OVERRIDING SYSTEM VALUE VALUES
    (-9223372036854775808, true, -32768, -2147483648, '-0', '-0', '', '', '', '',
        '00000000-0000-0000-0000-000000000000', '', ' {"a" : 1, "a":2} ', '{"b": 1e1000, "a": -0.0}',
        '-infinity', '-infinity', '4714-11-24 00:00:00 BC', '-infinity', '4714-11-24 00:00+00 BC',
        1.0, 1.00, '{}', '{}', 'it''s', 'no uuid', '{fine,"",NULL}', 1, '(1,"")', '1 mon -1 day',
        'empty', '::1/64', '', '-1.23', '<a/>', B'', '24:00:00+15:59', '(-0,1e300)', '{NaN,-0,NULL}',
        '{NULL,"\\x00ff"}', 'a b:1', 'pg_class', -1),
    (0, false, 32767, 2147483647, 'NaN', '-Infinity', E'tab\tnew\nline\\N', 'ü€😀', 'ab', 'ab ',
        'ffffffff-ffff-ffff-ffff-ffffffffffff', '\x00ff0a5c', 'null', '"\u00fc \ud83d\ude00 \\u0000"',
        'infinity', 'infinity', '1999-12-31 23:59:59.999', 'infinity',
        '0001-12-31 23:59:59+00 BC', 'NaN', -0.01, '{"a,b",NULL,"NULL","\"",""}',
        '{{infinity,-infinity},{"2020-02-29 12:00+14",NULL}}', '', NULL, NULL, 2147483647, '(,)',
        '-178000000 years 3 months 1.000001 sec', '[-infinity,"2020-01-01 00:00+00")', '10.0.0.1',
        'x', '92233720368547758.07', 'plain', B'101', '00:00:00-15:59', '(NaN,Infinity)',
        '{1.1,1e-300}', '{}', '', 'pg_catalog.pg_type', 2),
    (9223372036854775807, NULL, 0, 0, '3.4028235e38', '5e-324', repeat('x', 70000), ' ', '  ', ' ',
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', decode(repeat('00ff', 30000), 'hex'), '[1, 2]',
        '[1.0, 1.00, 12345678901234567890123456789, [], {}]',
        '5874897-12-31', '2262-04-11 23:47:16.854776', '2000-01-01', '2262-04-12 00:00+00',
        '294246-12-31 23:59:59+00', 1e-1000, 99999999.99,
        array_fill('y'::text, ARRAY[2, 3]), NULL, 'fine', 'no uuid', '{}', NULL, NULL, '0', '(,)',
        'fe80::1', NULL, '0', '', NULL, '12:00:00.000001+05:30', NULL, NULL, NULL, NULL, NULL, 3),
    (7, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, '2026-11-21 12:00:00.123456+00', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 4);
"#;

/// The columns of a table, as whoever archives it reads them.
pub(crate) fn columns(client: &mut Client, table: &QualifiedName) -> Vec<Column> {
    client.batch_execute("SET search_path = ''").expect("a setting");
    let rows = client.query(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull
         FROM pg_attribute
         JOIN pg_class ON pg_class.oid = attrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
         WHERE nspname = $1 AND relname = $2 AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        &[&table.schema, &table.name],
    );
    let column = |row: &postgres::Row| {
        Column::new(row.get::<_, String>(0), row.get::<_, String>(1), row.get(2))
    };
    rows.expect("columns").iter().map(column).collect()
}

/// A table that is archived.
pub(crate) struct Table {
    pub(crate) url: String,
    pub(crate) selection: Selection,
}

impl Table {
    pub(crate) fn of(url: &str, schema: &str, name: &str) -> Self {
        let mut client = Client::connect(url, NoTls).expect("a session");
        let table = QualifiedName::new(schema, name);
        let columns = columns(&mut client, &table);
        Self { url: url.to_owned(), selection: Selection::all(table, columns) }
    }

    /// The one with every odd value.
    pub(crate) fn odd(db: &TestDatabase) -> Self {
        db.execute(ODD);
        Self::of(db.url(), "O'Brien", "odd \"table\"")
    }

    /// Many events as a store has them.
    pub(crate) fn events(db: &TestDatabase, count: i64) -> Self {
        db.execute(&format!(
            "CREATE TABLE events (
                global_position bigserial, bounded_context text NOT NULL,
                aggregate_id text NOT NULL, event_id uuid NOT NULL, payload bytea NOT NULL,
                metadata jsonb, created_at timestamptz NOT NULL);
             INSERT INTO events (bounded_context, aggregate_id, event_id, payload, metadata, created_at)
             SELECT 'Billing', 'order-' || n / 10, md5(n::text)::uuid,
                 decode(repeat(md5(n::text), 4), 'hex'),
                 CASE WHEN n % 3 = 0 THEN jsonb_build_object('user', n % 100) END,
                 '2026-01-01 00:00+00'::timestamptz + n * interval '1 second'
             FROM generate_series(1, {count}) AS n"
        ));
        Self::of(db.url(), "public", "events")
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.selection.columns
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.url, NoTls).expect("a session")
    }

    /// What the server says that the table holds.
    pub(crate) fn contents(&self) -> Contents {
        let mut client = self.client();
        let mut transaction = pinned(&mut client);
        let row = transaction.query_one(&self.selection.digest_sql(), &[]).expect("a digest");
        Contents::answered(&row).expect("contents")
    }

    /// The rows as the server sends them.
    pub(crate) fn stream(&self) -> Vec<u8> {
        use std::io::Read;
        let mut client = self.client();
        let mut transaction = pinned(&mut client);
        let mut bytes = Vec::new();
        let mut reader = transaction.copy_out(&self.selection.read_sql()).expect("a copy");
        reader.read_to_end(&mut bytes).expect("rows");
        bytes
    }

    pub(crate) fn description(&self) -> Description {
        let QualifiedName { schema, name } = self.selection.table.clone();
        let table = format!("\"{schema}\".\"{}\"", name.replace('"', "\"\""));
        let column = |column: &Column| {
            let null = if column.not_null { " NOT NULL" } else { "" };
            format!("\"{}\" {}{null}", column.name.replace('"', "\"\""), column.data_type)
        };
        let columns: Vec<_> = self.columns().iter().map(column).collect();
        Description {
            server: "15.1".to_owned(),
            archived_at: DateTime::<Utc>::UNIX_EPOCH,
            database: "shop".to_owned(),
            table: self.selection.table.clone(),
            role: Role::Events,
            place: Place::default(),
            columns: self.columns().to_vec(),
            ddl: vec![format!("CREATE TABLE {table} ({})", columns.join(", "))],
            layout: serde_json::json!({"levels": []}),
        }
    }

    /// Writes, proves and publishes.
    pub(crate) fn archive(
        &self,
        parent: &Path,
        name: &str,
        format: Format,
    ) -> pupctl::Result<Archive> {
        let mut client = self.client();
        let mut transaction = pinned(&mut client);
        let mut draft = Draft::begin(parent, name)?;
        let rows = transaction.copy_out(&self.selection.read_sql()).expect("a copy");
        let settings = Settings { format, level: None };
        draft.write(rows, self.columns(), settings, &mut |_, _| Ok(()))?;
        draft.prove(self.columns(), &self.contents(), &mut |_| Ok(()))?;
        draft.publish(&self.description())
    }
}

pub(crate) fn pinned(client: &mut Client) -> Transaction<'_> {
    let mut transaction = client.transaction().expect("a transaction");
    transaction.query_one(SETTINGS, &[]).expect("settings");
    transaction
}

/// Loads the rows of an archive into a table.
pub(crate) fn load(client: &mut Client, archive: &Archive, table: &QualifiedName) -> Contents {
    let columns = &archive.manifest.columns;
    let loading = Loading::of(table, columns).expect("statements");
    let mut transaction = pinned(client);
    if let Some(stage) = &loading.stage {
        transaction.batch_execute(stage).expect("a stage");
    }
    let reader: Reader = archive.reader().expect("a reader");
    let mut stream = Stream::new(reader, columns);
    while stream.has_more().expect("rows") {
        let mut writer = transaction.copy_in(&loading.copy).expect("a copy");
        let piece = stream.piece(&mut writer, 1000).expect("a piece");
        assert_eq!(writer.finish().expect("rows"), piece.rows);
    }
    if let Some(unstage) = &loading.unstage {
        transaction.batch_execute(unstage).expect("casts");
    }
    transaction.commit().expect("a commit");
    stream.sent()
}
