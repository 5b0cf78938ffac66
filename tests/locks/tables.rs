//! Readers, writers and other sessions that hold locks on the tables.

use insta::assert_snapshot;

use super::{has_store_lock, insert, leaves, months, plain, waiting};
use crate::support::{TestDatabase, fingerprint};

const ENSURE: [&str; 4] = ["partitions", "ensure", "--months", "3"];

/// As [`months`], with a DEFAULT partition, which an attach locks against everybody.
fn months_and_default() -> TestDatabase {
    let db = months();
    db.execute("CREATE TABLE events_rest PARTITION OF events DEFAULT");
    db
}

#[test]
fn a_reader_in_an_open_transaction_holds_nothing_up() {
    let db = months();
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT * FROM events").expect("it reads");
    let output = db.pupctl(ENSURE).success();
    assert!(!output.stderr.contains("Waiting for locks"), "{output}");
    assert_eq!(leaves(&db), 4);
    reader.batch_execute("SELECT * FROM events; COMMIT").expect("it reads on");
}

#[test]
fn a_writer_in_an_open_transaction_holds_nothing_up() {
    let db = months();
    let mut writer = db.client();
    writer.batch_execute("BEGIN").expect("it begins");
    insert(&mut writer);
    let output = db.pupctl(ENSURE).success();
    assert!(!output.stderr.contains("Waiting for locks"), "{output}");
    insert(&mut writer);
    writer.batch_execute("COMMIT").expect("it commits");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 3);
}

#[test]
fn a_reader_of_the_default_partition_is_named_when_the_budget_is_used_up() {
    let db = months_and_default();
    let mut reader = db.client();
    let begin = "SET application_name = 'reports'; BEGIN; SELECT * FROM events_rest";
    reader.batch_execute(begin).expect("it reads");
    let pid: i32 = reader.query_one("SELECT pg_backend_pid()", &[]).expect("a pid").get(0);
    let before = without_journal(&db);

    let output = db.command(ENSURE).args(["--lock-budget", "2s"]).run().failure(5);
    assert!(output.stderr.contains(&format!("process {pid} ")), "{output}");
    let _plain = plain();
    assert_snapshot!(output.stderr, @"");
    assert_eq!(without_journal(&db), before, "it changed something");
    assert_eq!(super::journal(&db), "schema init done\npartitions ensure failed");

    reader.batch_execute("COMMIT").expect("it ends");
    db.pupctl(ENSURE).success();
    assert_eq!(leaves(&db), 5);
}

/// The database without the journal, which tells of failures too.
fn without_journal(db: &TestDatabase) -> String {
    let all = fingerprint(&mut db.client());
    let is_other = |line: &&str| !line.starts_with("public.pupctl_operations");
    all.lines().filter(is_other).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_reader_that_ends_within_the_budget_is_waited_for() {
    let db = months_and_default();
    let mut reader = db.client();
    reader.batch_execute("BEGIN; SELECT * FROM events_rest").expect("it reads");
    let ensure = db.command(ENSURE).args(["--lock-budget", "60s"]).spawn();
    waiting(&db);
    reader.batch_execute("COMMIT").expect("it ends");
    let output = ensure.wait().success();
    assert_eq!(leaves(&db), 5, "{output}");
}

#[test]
fn an_explicit_lock_on_the_parent_is_named() {
    let db = months();
    let mut holder = db.client();
    let lock = "SET application_name = 'backup'; BEGIN; LOCK TABLE events IN SHARE MODE";
    holder.batch_execute(lock).expect("the lock");
    let output = db.command(ENSURE).args(["--lock-budget", "2s", "-o", "json"]).run().failure(5);
    let error = &output.json()["error"];
    let line = error["details"][0].as_str().expect("a line");
    assert!(line.contains("backup"), "{output}");
    assert!(line.contains("idle in transaction) holds ShareLock on public.events "), "{output}");
    assert_eq!(error["kind"], "LockTimeout");
    assert_eq!(leaves(&db), 2);
    // A reader got in while pupctl waited: it queues nobody behind itself for long.
    db.execute("SELECT * FROM events");
    holder.batch_execute("COMMIT").expect("it ends");
    db.pupctl(ENSURE).success();
    assert_eq!(leaves(&db), 4);
}

/// What a session has on the tables that others can reach.
const LOCKS_ON_LIVE: &str = "
SELECT relation::regclass::text || ' ' || mode
FROM pg_locks JOIN pg_class ON pg_class.oid = relation
WHERE locktype = 'relation' AND pid = $1 AND relation >= 16384
    AND (relation = ANY ($2) OR relkind NOT IN ('r', 'p'))
ORDER BY 1";

#[test]
fn no_lock_on_what_others_use_is_stronger_than_share_update_exclusive() {
    let db = months();
    let mut client = db.client();
    let live = "SELECT array_agg(relid::oid) FROM pg_partition_tree('events')";
    let live: Vec<u32> = client.query_one(live, &[]).expect("the tree").get(0);
    let held = db.command(ENSURE).failpoints("execute::before_commit=pause").spawn();
    let pid = "SELECT DISTINCT pid FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'pupctl/partitions ensure' AND relation = 'events'::regclass
            AND mode = 'ShareUpdateExclusiveLock' AND granted AND state = 'idle in transaction'
            AND query LIKE '%ATTACH PARTITION%[2]%'";
    let _ = pid;
    let mut found: Option<i32> = None;
    crate::support::eventually("the new partitions are attached, but not committed", || {
        let sql = "SELECT pid FROM pg_stat_activity
            WHERE application_name = 'pupctl/partitions ensure' AND datname = current_database()
                AND state = 'idle in transaction' AND query LIKE 'ALTER TABLE%ATTACH PARTITION%'";
        found = client.query_opt(sql, &[]).expect("the sessions").map(|row| row.get(0));
        found.is_some() && !client
            .query(LOCKS_ON_LIVE, &[&found.expect("a pid"), &live])
            .expect("the locks")
            .is_empty()
    });
    let rows = client.query(LOCKS_ON_LIVE, &[&found.expect("a pid"), &live]).expect("the locks");
    let locks: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let on_parent: Vec<_> = locks.iter().filter(|lock| lock.starts_with("events ")).collect();
    assert_eq!(on_parent, ["events AccessShareLock", "events ShareUpdateExclusiveLock"]);
    for strong in ["ShareLock", "ShareRowExclusiveLock", " ExclusiveLock", "AccessExclusiveLock"] {
        let on_live = locks.iter().filter(|lock| is_live(&mut client, lock, &live));
        let bad: Vec<_> = on_live.filter(|lock| lock.ends_with(strong)).collect();
        assert!(bad.is_empty(), "{bad:?}");
    }
    // Readers and writers of the live tables come through while pupctl stands there.
    client.batch_execute("SET lock_timeout = '5s'; SELECT * FROM events").expect("a reader");
    insert(&mut client);
    held.kill().killed();
    has_gone(&db);
    assert_eq!(leaves(&db), 2, "what was not committed is not there");
}

fn is_live(client: &mut postgres::Client, lock: &str, live: &[u32]) -> bool {
    let name = lock.split(' ').next().expect("a name");
    let row = client.query_one("SELECT to_regclass($1)::oid", &[&name]).expect("a relation");
    row.get::<_, Option<u32>>(0).is_some_and(|oid| live.contains(&oid))
}

fn has_gone(db: &TestDatabase) {
    crate::support::eventually("its session has ended", || {
        let sql = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name LIKE 'pupctl/%'";
        db.one::<i64>(sql) == 0
    });
    let _ = has_store_lock;
}
