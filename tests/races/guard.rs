//! The guard, one scenario at a time: which inserts it lets through, and what it says to others.

use postgres::error::{DbError, SqlState};
use postgres::{Client, IsolationLevel};

use crate::support::{Append, TestDatabase, event_id};
use crate::writers::violations;

/// A store by context and month, with the last month, this one and the next.
fn store() -> TestDatabase {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "context,month", "--months", "1"];
    db.pupctl(init.iter().chain(&["--contexts", "Sales,Billing"])).success();
    db.pupctl(["partitions", "ensure", "--from", &db.month(-1)]).success();
    db
}

/// The first day of the month that lies this far ahead.
fn day(db: &TestDatabase, ahead: i32) -> String {
    format!("{}-01 00:00:00+00", db.month(ahead))
}

/// `VALUES` rows of version and month for one aggregate.
fn rows(db: &TestDatabase, id: &str, versions: &[(i64, i32)]) -> String {
    let row = |(version, ahead): &(i64, i32)| {
        let at = day(db, *ahead);
        format!("('Sales', 'Order', '{id}', {version}, '{}', 'E', '{{}}', '{at}')", event_id())
    };
    versions.iter().map(row).collect::<Vec<_>>().join(", ")
}

fn insert(into: &str, rows: &str) -> String {
    format!(
        "INSERT INTO {into} (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, created_at) VALUES {rows}"
    )
}

#[track_caller]
fn refused(client: &mut Client, sql: &str) -> DbError {
    let error = client.batch_execute(sql).expect_err("must be refused");
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?}")).clone();
    assert_eq!(error.code(), &SqlState::UNIQUE_VIOLATION, "{error}");
    error
}

fn head(db: &TestDatabase, id: &str) -> i64 {
    db.one(&format!("SELECT aggregate_version FROM aggregate_heads WHERE aggregate_id = '{id}'"))
}

#[test]
fn heads_follow_inserts_of_every_form() {
    let db = store();
    db.execute(&insert("events", &rows(&db, "a", &[(1, 0)])));
    assert_eq!(head(&db, "a"), 1);
    // In any order, over two months, several aggregates in one statement.
    let several = [rows(&db, "a", &[(3, 1), (2, 0), (4, -1)]), rows(&db, "b", &[(2, 1), (1, 0)])];
    db.execute(&insert("events", &several.join(", ")));
    assert_eq!((head(&db, "a"), head(&db, "b")), (4, 2));
    // Straight into a leaf, and into a branch.
    let leaf = format!("events_sales_{}", db.month(1).replace('-', "_"));
    db.execute(&insert(&leaf, &rows(&db, "a", &[(5, 1)])));
    db.execute(&insert("events_sales", &rows(&db, "a", &[(6, -1)])));
    assert_eq!(head(&db, "a"), 6);
    // A statement that adds nothing.
    db.execute(&format!("{} ON CONFLICT DO NOTHING", insert("events", &rows(&db, "b", &[(3, 0)]))));
    db.execute("INSERT INTO events SELECT * FROM events WHERE false");
    assert_eq!(head(&db, "b"), 3);
    assert_eq!(violations(&db), Vec::<String>::new());
}

#[test]
fn copy_moves_heads_too() {
    let db = store();
    let at = [day(&db, 0), day(&db, 1)];
    let mut client = db.client();
    let mut writer = client
        .copy_in(
            "COPY events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
                event_id, event_type, payload, created_at) FROM STDIN",
        )
        .expect("a copy");
    for version in 1..=100 {
        for id in ["a", "b", "c"] {
            let at = &at[usize::from(version > 50)];
            let line = format!("Sales\tOrder\t{id}\t{version}\t{}\tE\tx\t{at}\n", event_id());
            std::io::Write::write_all(&mut writer, line.as_bytes()).expect("sent");
        }
    }
    assert_eq!(writer.finish().expect("copied"), 300);
    assert_eq!((head(&db, "a"), head(&db, "c")), (100, 100));
    assert_eq!(violations(&db), Vec::<String>::new());
}

#[test]
fn a_version_that_does_not_follow_the_head_is_refused() {
    let db = store();
    let mut client = db.client();
    client
        .batch_execute(&insert("events", &rows(&db, "a", &[(1, 0), (2, 0), (3, 0)])))
        .expect("in");
    // There already, in another month.
    let error = refused(&mut client, &insert("events", &rows(&db, "a", &[(3, 1)])));
    assert_eq!(error.message(), "version 3 of Order a in Sales cannot follow its head");
    assert_eq!(error.detail(), Some("The head is at version 3."));
    assert_eq!(error.hint(), Some("Another writer was first: read the aggregate again."));
    assert_eq!(error.constraint(), Some("pupctl_guard"));
    // The first version once more.
    let error = refused(&mut client, &insert("events", &rows(&db, "a", &[(1, 1)])));
    assert_eq!(error.message(), "version 1 of Order a in Sales cannot follow its head");
    assert_eq!(error.constraint(), Some("pupctl_guard"));
    // A gap, a gap inside, twice in one statement.
    for versions in [&[(7, 0)][..], &[(5, 0)], &[(4, 0), (6, 0)], &[(4, 0), (4, 1)]] {
        refused(&mut client, &insert("events", &rows(&db, "a", versions)));
    }
    // One bad aggregate takes the statement with it.
    let mixed = [rows(&db, "b", &[(1, 0)]), rows(&db, "a", &[(9, 0)])].join(", ");
    refused(&mut client, &insert("events", &mixed));
    assert_eq!(head(&db, "a"), 3);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), 3);
}

/// Two that read the same head, and write into different months, in every order of commits.
#[test]
fn of_two_that_read_the_same_head_one_wins() {
    for (first, second) in [(1, 1), (1, 2), (2, 1), (2, 5), (5, 2)] {
        for moved_elsewhere in [false, true] {
            let db = store();
            let id = "contested";
            if moved_elsewhere {
                db.execute(&insert("events", &rows(&db, id, &[(1, -1)])));
            }
            let head = i64::from(moved_elsewhere);
            let (this, next) = (day(&db, 0), day(&db, 1));
            let append = |events, created_at| Append {
                context: "Sales",
                id,
                head: Some(head),
                events,
                created_at,
            };
            append(first, &this).run(&mut db.client()).expect("the first wins");
            let error = append(second, &next).run(&mut db.client()).expect_err("the second loses");
            assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION), "{error:?}");
            assert_eq!(violations(&db), Vec::<String>::new());
        }
    }
}

/// Waits until the guard of another session waits for a head.
fn until_somebody_waits(db: &TestDatabase) {
    crate::support::eventually("somebody waits for a head", || {
        db.one(
            "SELECT EXISTS (SELECT FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event = 'PgSleep')",
        )
    });
}

/// The second insert waits for the first transaction, and fails when that one commits.
#[test]
fn the_second_waits_and_loses_when_the_first_commits() {
    for isolation in [IsolationLevel::ReadCommitted, IsolationLevel::Serializable] {
        let db = store();
        db.execute(&insert("events", &rows(&db, "a", &[(1, 0)])));
        let mut first = db.client();
        let mut transaction = first.transaction().expect("begins");
        transaction.batch_execute(&insert("events", &rows(&db, "a", &[(2, 0)]))).expect("in");
        let sql = insert("events", &rows(&db, "a", &[(2, 1)]));
        let second = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let mut client = db.client();
                let mut other =
                    client.build_transaction().isolation_level(isolation).start().expect("begins");
                other.batch_execute(&sql)
            });
            until_somebody_waits(&db);
            transaction.commit().expect("commits");
            waiting.join().expect("the second ends")
        });
        let error = second.expect_err("it lost");
        let code = error.code().expect("a code");
        let lost = match isolation {
            IsolationLevel::ReadCommitted => [SqlState::UNIQUE_VIOLATION; 2],
            // Either it saw the change of the head, or it had given up before.
            _ => [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::UNIQUE_VIOLATION],
        };
        assert!(lost.contains(code), "{error:?}");
        assert_eq!(violations(&db), Vec::<String>::new());
        assert_eq!(head(&db, "a"), 2);
    }
}

/// Who holds the head may go on in a month where the other one holds keys already: the server
/// would call that a deadlock if the other one waited in a lock.
#[test]
fn who_holds_the_head_wins_in_the_month_of_the_other_too() {
    for known in [false, true] {
        let db = store();
        let from = if known {
            db.execute(&insert("events", &rows(&db, "a", &[(1, 0)])));
            2
        } else {
            1
        };
        let mut first = db.client();
        let mut transaction = first.transaction().expect("begins");
        transaction.batch_execute(&insert("events", &rows(&db, "a", &[(from, 0)]))).expect("in");
        let both = insert("events", &rows(&db, "a", &[(from, 1), (from + 1, 1)]));
        let second = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| db.client().batch_execute(&both));
            until_somebody_waits(&db);
            transaction
                .batch_execute(&insert("events", &rows(&db, "a", &[(from + 1, 1)])))
                .expect("the first goes on");
            transaction.commit().expect("commits");
            waiting.join().expect("the second ends")
        });
        let error = second.expect_err("it lost");
        assert_eq!(error.code(), Some(&SqlState::UNIQUE_VIOLATION), "{error:?}");
        assert_eq!(violations(&db), Vec::<String>::new());
        assert_eq!(head(&db, "a"), from + 1);
    }
}

/// What somebody else puts first on the search path is not what the guard uses.
#[test]
fn the_guard_trusts_no_search_path_and_needs_no_right_on_heads() {
    let db = store();
    let role = format!("writer_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role};
         GRANT INSERT ON events TO {role};
         GRANT USAGE ON SEQUENCE events_global_position_seq TO {role};
         CREATE SCHEMA trap;
         CREATE TABLE trap.aggregate_heads (LIKE public.aggregate_heads);
         CREATE FUNCTION trap.count(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';
         GRANT USAGE ON SCHEMA trap TO {role};"
    ));
    let mut client = db.client();
    client
        .batch_execute(&format!("SET search_path = trap, public, pg_catalog; SET ROLE {role}"))
        .expect("another role");
    client.batch_execute(&insert("public.events", &rows(&db, "a", &[(1, 0), (2, 1)]))).expect("in");
    refused(&mut client, &insert("public.events", &rows(&db, "a", &[(2, -1)])));
    client.batch_execute("RESET ROLE").expect("back");
    assert_eq!(head(&db, "a"), 2);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM trap.aggregate_heads"), 0);
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// Thousands of new aggregates at once need no more locks than a few.
#[test]
fn a_statement_with_very_many_aggregates_does_not_fill_the_lock_table() {
    let db = store();
    db.execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT 'Sales', 'Order', number::text, 1, gen_random_uuid(), 'E', '{}'
         FROM generate_series(1, 20000) AS number",
    );
    assert_eq!(db.one::<i64>("SELECT count(*) FROM aggregate_heads"), 20_000);
}

/// The guard of a store whose names need quotes.
#[test]
fn names_with_quotes_are_guarded() {
    let db = TestDatabase::new();
    let config =
        "schema = 'a\"b$pupctl$'\n[tables]\nevents = \"e'v\"\naggregate_heads = 'he ads'\n";
    std::fs::write(db.folder().join("pupctl.toml"), config).expect("written");
    let init = ["schema", "init", "--partition-by", "month", "--event-ids", "--immutable"];
    db.pupctl(init).success();
    db.pupctl(["partitions", "check", "--exit-code"]).success();
    let table = "\"a\"\"b$pupctl$\".\"e'v\"";
    let mut client = db.client();
    client.batch_execute(&insert(table, &rows(&db, "a", &[(1, 0)]))).expect("in");
    refused(&mut client, &insert(table, &rows(&db, "a", &[(1, 1)])));
    let again = db.pupctl(init).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
}
