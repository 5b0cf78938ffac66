//! A store that is not partitioned gets another layout while it is used: nothing is lost, doubled
//! or hidden at any time, and until the end the way back is open.

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code)]
#[path = "../projection/journal.rs"]
mod journal;

mod again;
mod attach;
mod attach_back;
mod attach_cutover;
mod attach_killed;
mod attach_prepare;
mod attach_snapshots;
mod attach_writers;
mod back;
mod basics;
mod changes;
mod crash;
mod gentle;
mod heads;
mod killed;
mod late;
mod load;
mod locks;
mod pause;
mod preflight;
mod refused;
mod since;
mod words;
mod writers;

use support::{Output, TestDatabase, TestServer};

/// Every layout that a store can be converted to.
pub(crate) const LAYOUTS: [&str; 6] =
    ["context", "hash", "month", "context,hash", "context,month", "hash,month"];

/// The contexts of the events that a test begins with.
pub(crate) const CONTEXTS: [&str; 3] = ["Billing", "Identity", "Quo'te \"d\""];

/// Whose tables a test begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As the Go library pupsourcing's own generator writes them.
    Pupsourcing,
    /// As `schema init --partition-by none` makes them.
    Pupctl,
}

const PUPSOURCING: &str = "
CREATE TABLE events (
    global_position BIGSERIAL PRIMARY KEY,
    bounded_context TEXT NOT NULL,
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    aggregate_version BIGINT NOT NULL,
    event_id UUID NOT NULL UNIQUE,
    event_type TEXT NOT NULL,
    event_version INT NOT NULL DEFAULT 1,
    payload BYTEA NOT NULL,
    trace_id TEXT,
    correlation_id TEXT,
    causation_id TEXT,
    metadata JSONB,
    created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    UNIQUE (bounded_context, aggregate_type, aggregate_id, aggregate_version)
);
CREATE INDEX idx_events_aggregate
    ON events (bounded_context, aggregate_type, aggregate_id, aggregate_version);
CREATE INDEX idx_events_event_type ON events (event_type, global_position);
CREATE INDEX idx_events_correlation ON events (correlation_id) WHERE correlation_id IS NOT NULL;
CREATE TABLE aggregate_heads (
    bounded_context TEXT NOT NULL,
    aggregate_type TEXT NOT NULL,
    aggregate_id TEXT NOT NULL,
    aggregate_version BIGINT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
    PRIMARY KEY (bounded_context, aggregate_type, aggregate_id)
);
CREATE INDEX idx_aggregate_heads_updated ON aggregate_heads (updated_at);
CREATE TABLE projection_checkpoints (
    projection_name TEXT PRIMARY KEY,
    last_global_position BIGINT NOT NULL DEFAULT 0,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT NOW()
);
CREATE INDEX idx_projection_checkpoints_updated ON projection_checkpoints (updated_at);
";

/// Empty tables.
pub(crate) fn empty(kind: Kind) -> TestDatabase {
    empty_on(TestServer::shared(), kind)
}

/// The same on a server of its own.
pub(crate) fn empty_on(server: &TestServer, kind: Kind) -> TestDatabase {
    let db = TestDatabase::on(server);
    match kind {
        Kind::Pupsourcing => db.execute(PUPSOURCING),
        Kind::Pupctl => {
            db.pupctl(["schema", "init", "--partition-by", "none"]).success();
        }
    }
    db
}

/// Tables with 3,360 events: three contexts, 14 months up to the next one, holes in the positions.
pub(crate) fn store(kind: Kind) -> TestDatabase {
    store_on(TestServer::shared(), kind)
}

/// The same on a server of its own.
pub(crate) fn store_on(server: &TestServer, kind: Kind) -> TestDatabase {
    let db = empty_on(server, kind);
    fill(&db);
    db
}

/// The same with 288 events of three months.
pub(crate) fn small(kind: Kind) -> TestDatabase {
    let db = store(kind);
    db.execute(&format!(
        "DELETE FROM events WHERE aggregate_version > 8 OR aggregate_id > 'o-2';
         DELETE FROM aggregate_heads WHERE aggregate_id > 'o-2';
         UPDATE aggregate_heads SET aggregate_version = 8;
         UPDATE events SET created_at = '{}-05T00:00:00Z'::timestamptz
            + aggregate_version * interval '9 days'",
        db.month(-2)
    ));
    db
}

fn fill(db: &TestDatabase) {
    let contexts = CONTEXTS.map(|context| format!("'{}'", context.replace('\'', "''")));
    let contexts = contexts.join(", ");
    for (months, versions) in [("-12, -6", 1), ("-5, 1", 15)] {
        db.execute(&format!(
            "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
                event_id, event_type, event_version, payload, trace_id, correlation_id, metadata,
                created_at)
             SELECT context, 'Order', 'o-' || number,
                {versions} + 2 * (month - first_value(month) OVER (ORDER BY month)) + half,
                gen_random_uuid(), 'Type' || number % 5, 1 + number % 3,
                decode(md5(month || context || number), 'hex'), nullif(number % 4, 0)::text,
                CASE WHEN number % 7 = 0 THEN 'c-' || number END,
                CASE WHEN number % 2 = 0 THEN jsonb_build_object('number', number, 'x', context) END,
                (date_trunc('month', now() AT TIME ZONE 'UTC') + month * interval '1 month'
                    + interval '5 days 1.234567 seconds' * half + number * interval '1 minute')
                    AT TIME ZONE 'UTC'
             FROM generate_series({months}) AS month, unnest(ARRAY[{contexts}]) AS context,
                generate_series(0, 1) AS half, generate_series(1, 40) AS number
             ORDER BY month, half, number, context;
             SELECT nextval('events_global_position_seq') FROM generate_series(1, 37);"
        ));
    }
    db.execute(
        "INSERT INTO aggregate_heads (bounded_context, aggregate_type, aggregate_id,
            aggregate_version)
         SELECT bounded_context, aggregate_type, aggregate_id, max(aggregate_version) FROM events
         GROUP BY 1, 2, 3",
    );
}

/// A command of `pupctl convert`, sure of itself, that waits for a run that died a moment ago.
pub(crate) fn convert(db: &TestDatabase, arguments: &[&str]) -> Output {
    db.pupctl(line(arguments))
}

/// The words of such a command.
pub(crate) fn line<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let words = ["convert"].iter().chain(arguments).chain(&["--yes", "--wait", "60s"]);
    words.copied().collect()
}

/// `start` or `run` for a layout.
pub(crate) fn to<'a>(verb: &'a str, layout: &'a str) -> Vec<&'a str> {
    let mut words = vec![verb, "--partition-by", layout, "--months", "2"];
    if layout.contains("hash") {
        words.extend(["--hash-partitions", "4"]);
    }
    words
}

/// A store that is converted to a layout as far as before the swap.
pub(crate) fn ready(kind: Kind, layout: &str) -> TestDatabase {
    let db = store(kind);
    convert(&db, &to("start", layout)).success();
    db
}

/// A store whose new tables are in place.
pub(crate) fn swapped(kind: Kind, layout: &str) -> TestDatabase {
    let db = ready(kind, layout);
    convert(&db, &["swap"]).success();
    db
}

/// Everything that the two tables hold, a line for each row.
pub(crate) fn rows(db: &TestDatabase) -> Vec<String> {
    rows_of(db, "events", "aggregate_heads")
}

/// The same of tables with other names.
pub(crate) fn rows_of(db: &TestDatabase, events: &str, heads: &str) -> Vec<String> {
    let mut lines = db.texts(&format!(
        "SELECT to_jsonb(event)::text FROM public.{events} AS event ORDER BY global_position"
    ));
    lines.extend(
        db.texts(&format!("SELECT to_jsonb(head)::text FROM public.{heads} AS head ORDER BY 1")),
    );
    lines
}

/// The same rows, told in few words where they are not.
#[track_caller]
pub(crate) fn assert_same(before: &[String], after: &[String], place: &str) {
    let lacks = |these: &[String], those: &[String]| -> Vec<String> {
        let those: std::collections::BTreeSet<_> = those.iter().collect();
        these.iter().filter(|row| !those.contains(row)).take(3).cloned().collect()
    };
    let (lost, new) = (lacks(before, after), lacks(after, before));
    let (one, other) = (before.len(), after.len());
    assert!(before == after, "{place}: {one} rows, then {other}; lost {lost:#?}; new {new:#?}");
}

/// Versions are contiguous from 1 on, heads are the last of them, nothing is there twice.
#[track_caller]
pub(crate) fn assert_sound(db: &TestDatabase, place: &str) {
    let wrong: Vec<String> = db.texts(
        "SELECT concat_ws(' ', bounded_context, aggregate_id, events, last, head.aggregate_version)
         FROM (SELECT bounded_context, aggregate_type, aggregate_id, count(*) AS events,
                min(aggregate_version) AS first, max(aggregate_version) AS last,
                count(DISTINCT aggregate_version) AS versions
            FROM public.events GROUP BY 1, 2, 3) AS aggregate
         FULL JOIN public.aggregate_heads AS head
            USING (bounded_context, aggregate_type, aggregate_id)
         WHERE last IS DISTINCT FROM head.aggregate_version OR first <> 1 OR events <> last
            OR versions <> events
         UNION ALL SELECT 'position ' || global_position FROM public.events
            GROUP BY global_position HAVING count(*) > 1
         UNION ALL SELECT 'id ' || event_id FROM public.events GROUP BY event_id
            HAVING count(*) > 1",
    );
    assert!(wrong.is_empty(), "{place}: {wrong:#?}");
}

/// What pupctl's own checks say.
#[track_caller]
pub(crate) fn assert_checked(db: &TestDatabase) {
    db.pupctl(["schema", "verify", "--exit-code"]).success();
    db.pupctl(["partitions", "check", "--exit-code"]).success();
}

/// The plain tables of the store and all that hangs on them, without pupctl's own.
pub(crate) fn state(db: &TestDatabase) -> String {
    let all = support::fingerprint(&mut db.pinned());
    let own = ["public.pupctl_", "projection_", "public.projection_"];
    let lines = all.lines().filter(|line| !own.iter().any(|own| line.starts_with(own)));
    let mut lines: Vec<_> = lines.map(str::to_owned).collect();
    lines.extend(db.texts(
        "SELECT concat_ws(' ', tgname, 'on', tgrelid::regclass, tgenabled) FROM pg_trigger
         WHERE NOT tgisinternal ORDER BY 1",
    ));
    lines.extend(db.texts(
        "SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
            AND proname NOT IN ('pupctl_wait', 'pupctl_json')
         ORDER BY 1",
    ));
    lines.join("\n")
}

/// The lines in which two texts differ.
pub(crate) fn difference(before: &str, after: &str) -> String {
    let lacks = |these: &str, those: &str, mark: char| -> Vec<String> {
        let those: std::collections::BTreeSet<_> = those.lines().collect();
        let lines = these.lines().filter(|line| !those.contains(line));
        lines.take(20).map(|line| format!("{mark} {line}")).collect()
    };
    [lacks(before, after, '-'), lacks(after, before, '+')].concat().join("\n")
}

/// Two texts are the same, or the lines that differ are told.
#[track_caller]
pub(crate) fn assert_same_text(before: &str, after: &str, place: &str) {
    assert!(before == after, "{place}\n{}", difference(before, after));
}

/// No table, function or trigger of a conversion is there.
#[track_caller]
pub(crate) fn assert_nothing_left(db: &TestDatabase, place: &str) {
    let left = db.texts(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
            AND relname LIKE '%convert%'
         UNION ALL SELECT proname::text FROM pg_proc WHERE proname LIKE 'pupctl_convert%'
         UNION ALL SELECT tgname::text FROM pg_trigger WHERE tgname LIKE 'pupctl_convert%'",
    );
    assert!(left.is_empty(), "{place}: {left:?}");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM pupctl_conversion_ranges"), 0, "{place}");
}

/// The phase of the last conversion.
pub(crate) fn phase(db: &TestDatabase) -> String {
    let none = "none".to_owned();
    let sql = "SELECT phase FROM public.pupctl_conversions ORDER BY id DESC LIMIT 1";
    if !db.one::<bool>("SELECT to_regclass('public.pupctl_conversions') IS NOT NULL") {
        return none;
    }
    db.texts(sql).pop().unwrap_or(none)
}

/// Appends events of one aggregate as pupsourcing does.
pub(crate) fn append(db: &TestDatabase, context: &str, id: &str, events: i64, month: i32) {
    let created_at = format!("{}-03T04:05:06Z", db.month(month));
    let append = support::Append { context, id, head: None, events, created_at: &created_at };
    append.run(&mut db.client()).expect("events");
}
