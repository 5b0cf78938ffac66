//! Runs that are stopped: by a signal, by the server, by an error. The journal says so, and the
//! next run goes on.

use insta::assert_snapshot;

use super::{journal, leaves, months, plain, waiting};
use crate::support::{Background, TestDatabase};

/// A step waits for its lock in one long try, so that only a cancelled statement ends it soon.
const PATIENT: &str =
    "[locks]\nfirst_timeout = \"10m\"\nlongest_timeout = \"10m\"\nbudget = \"20m\"\n";

/// A store, a session that holds its parent, and a pupctl that waits for it in a statement.
fn stuck() -> (TestDatabase, postgres::Client, Background) {
    let db = months();
    std::fs::write(db.folder().join("pupctl.toml"), PATIENT).expect("a file");
    let mut holder = db.client();
    holder.batch_execute("BEGIN; LOCK TABLE events IN SHARE MODE").expect("the lock");
    let ensure = db.command(["partitions", "ensure", "--months", "3"]).spawn();
    (db, holder, ensure)
}

#[test]
fn a_signal_cancels_the_statement_that_waits() {
    for signal in ["INT", "TERM"] {
        let (db, mut holder, ensure) = stuck();
        waiting(&db);
        ensure.signal(signal);
        let output = ensure.wait().failure(130);
        assert_eq!(output.stdout, "");
        let told = "error: interrupted\n\
            hint: what was done so far is complete: run the command again to go on\n";
        assert_eq!(output.stderr, told);
        assert_eq!(journal(&db), "schema init done\npartitions ensure interrupted");
        assert_eq!(leaves(&db), 2);
        holder.batch_execute("COMMIT").expect("it ends");
        db.pupctl(["partitions", "ensure", "--months", "3"]).success();
        assert_eq!(leaves(&db), 4);
    }
}

#[test]
fn a_signal_ends_the_ladder_of_short_tries() {
    let db = months();
    let mut holder = db.client();
    holder.batch_execute("BEGIN; LOCK TABLE events IN SHARE MODE").expect("the lock");
    let ensure = ["partitions", "ensure", "--months", "3", "--lock-budget", "1h"];
    let ensure = db.command(ensure).spawn();
    waiting(&db);
    ensure.signal("INT");
    let _ = ensure.wait().failure(130);
    assert_eq!(journal(&db), "schema init done\npartitions ensure interrupted");
}

#[test]
fn a_session_that_the_server_ends_is_told_in_plain_words() {
    let (db, mut holder, ensure) = stuck();
    let pid = waiting(&db);
    holder.execute("SELECT pg_terminate_backend($1)", &[&pid]).expect("it ends");
    let output = ensure.wait().failure(1);
    let _plain = plain();
    assert_snapshot!(output.stderr, @r#"
    error: the session ended during the step "Make 2 partitions, events_[month] to events_[month]"
      failed while running the step "Make 2 partitions, events_[month] to events_[month]": [last words]
    hint: run the command again: it finds out what was done
    "#);
    // Nobody was left to end the row: the next run does.
    assert_eq!(journal(&db), "schema init done\npartitions ensure running");
    holder.batch_execute("COMMIT").expect("it ends");
    db.pupctl(["partitions", "ensure", "--months", "3"]).success();
    assert_eq!(leaves(&db), 4);
    let ended = "schema init done\npartitions ensure interrupted\npartitions ensure done";
    assert_eq!(journal(&db), ended);
}

#[test]
fn a_run_that_fails_leaves_its_reason() {
    let db = months();
    // What the plan cannot see: a trigger of somebody else.
    db.execute(
        "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE 'not on a Friday'; END $$;
         CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE TABLE')
            EXECUTE FUNCTION refuse()",
    );
    let output = db.pupctl(["partitions", "ensure", "--months", "2"]).failure(1);
    assert!(output.stderr.contains("not on a Friday (SQLSTATE P0001)"), "{output}");
    assert_eq!(journal(&db), "schema init done\npartitions ensure failed");
    let detail: String = db.one("SELECT detail FROM pupctl_operations ORDER BY id DESC LIMIT 1");
    assert!(detail.contains("not on a Friday"), "{detail}");
    assert_eq!(leaves(&db), 2);
    db.execute("DROP EVENT TRIGGER refuse");
    db.pupctl(["partitions", "ensure", "--months", "2"]).success();
    assert_eq!(leaves(&db), 3);
}

#[test]
fn a_killed_run_is_noted_by_the_next_one() {
    let db = months();
    let ensure = ["partitions", "ensure", "--months", "3"];
    let _ = db.command(ensure).failpoints("execute::before_commit=return").run().killed();
    assert_eq!(journal(&db), "schema init done\npartitions ensure running");
    db.command(ensure).args(["--wait", "60s"]).run().success();
    let ended = "schema init done\npartitions ensure interrupted\npartitions ensure done";
    assert_eq!(journal(&db), ended);
}
