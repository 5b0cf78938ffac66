//! A conversion that waits for others: for standbys that are behind, and for writers.

use pupctl::server::Programs;

use crate::support::{Background, Standby, TestDatabase, TestServer, eventually};
use crate::{Kind, append, assert_same, convert, empty_on, line, phase, ready, rows, to};

/// Enough events for several ranges, so that there is something left to wait with.
fn large(server: &TestServer) -> TestDatabase {
    let db = empty_on(server, Kind::Pupctl);
    db.execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT 'Billing', 'Order', 'o-' || number, version, gen_random_uuid(), 'x', ''
         FROM generate_series(1, 100) AS number, generate_series(1, 2100) AS version;
         INSERT INTO aggregate_heads SELECT 'Billing', 'Order', 'o-' || number, 2100
         FROM generate_series(1, 100) AS number;",
    );
    db
}

/// Begins a copy that is held in its first range until it was looked how others are.
fn begun(db: &TestDatabase, limit: [&str; 2], looks: &str) -> Background {
    let words = [&line(&to("start", "context"))[..], &["--jobs", "1"], &limit].concat();
    let mut run = db.command(words).hold_at("convert::before_range").spawn();
    run.reached();
    // The second look: what the first one saw holds the copy up by then.
    let looked = format!(
        "SELECT coalesce(max(query_start)::text, '') FROM pg_stat_activity
         WHERE pid <> pg_backend_pid() AND datname = current_database() AND query LIKE '%{looks}%'"
    );
    let look = || db.one::<String>(&looked);
    eventually("it looks how others are", || !look().is_empty());
    let first = look();
    eventually("it looks again", || !look().is_empty() && look() > first);
    run.release();
    eventually("the first range is copied", || ranges(db) == 1);
    run
}

fn ranges(db: &TestDatabase) -> i64 {
    db.one("SELECT count(*) FROM pupctl_conversion_ranges")
}

fn goes_on(db: &TestDatabase) {
    let before = rows(db);
    convert(db, &["resume"]).success();
    convert(db, &["swap"]).success();
    assert_same(&before, &rows(db), "swap");
}

#[test]
fn it_waits_while_commits_take_long() {
    let server = TestServer::private(&[]);
    let db = large(&server);
    let run = begun(&db, ["--max-latency", "1us"], "SET paused_at = paused_at");
    convert(&db, &["pause"]).success();
    let run = run.wait().success();
    assert!(run.stderr.contains("It waits now and then: a commit took"), "{run}");
    assert_eq!((ranges(&db), phase(&db).as_str()), (1, "copying"));
    goes_on(&db);
}

#[test]
fn it_waits_while_a_standby_is_behind() {
    let programs = Programs::find().expect("server programs");
    let server = TestServer::private_on(&programs, &[]);
    let standby = Standby::of(&server, &programs);
    let connect = |url: &str| postgres::Client::connect(url, postgres::NoTls).expect("a session");
    // In a database that stays.
    let mut session = connect(&standby.url_of("postgres"));
    let mut primary = connect(server.url());
    let is = |client: &mut postgres::Client, sql: &str| -> bool {
        client.query_one(sql, &[]).expect(sql).get(0)
    };
    let follows = "SELECT count(*) = 1 FROM pg_stat_replication WHERE replay_lsn IS NOT NULL";
    eventually("the standby follows", || is(&mut primary, follows));
    session.batch_execute("SELECT pg_wal_replay_pause()").expect("it stops");
    let paused = "SELECT pg_get_wal_replay_pause_state() = 'paused'";
    eventually("it replays nothing", || is(&mut session, paused));

    let db = large(&server);
    let run = begun(&db, ["--max-lag", "1kB"], "FROM pg_stat_replication");
    convert(&db, &["pause"]).success();
    let run = run.wait().success();
    assert!(run.stderr.contains("It waits now and then: a standby is"), "{run}");
    assert_eq!((ranges(&db), phase(&db).as_str()), (1, "copying"));
    session.batch_execute("SELECT pg_wal_replay_resume()").expect("it goes on");
    goes_on(&db);
}

/// A conversion may be ready for days before its swap.
#[test]
fn what_came_meanwhile_is_caught_up_with_in_pieces() {
    let db = ready(Kind::Pupctl, "month");
    let copied = || db.one::<i64>("SELECT count(*) FROM events_convert");
    let before = copied();
    append(&db, "Billing", "o-late", 300, 0);
    // Half a second of it is a piece.
    let words = line(&["swap", "--max-rate", "200"]);
    let mut run = db.command(words).hold_at_time("convert::caught_up", 2).spawn();
    run.reached();
    assert_eq!(copied(), before + 200);
    let _ = run.kill();
    let before = rows(&db);
    convert(&db, &["swap", "--max-rate", "1000", "--load", "50"]).success();
    assert_same(&before, &rows(&db), "swap");
}

#[test]
fn a_part_of_the_time_is_enough() {
    let server = TestServer::private(&[]);
    let db = large(&server);
    let before = rows(&db);
    let words = [&line(&to("run", "context,month"))[..], &["--load", "60"]].concat();
    db.pupctl(&words).success();
    assert_same(&before, &rows(&db), "run");
    convert(&db, &["start", "--partition-by", "context", "--load", "0"]).failure(2);
}
