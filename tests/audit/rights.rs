//! Stores of an older pupctl, and roles that may not do everything.

use postgres::{Client, NoTls};
use pupctl::db::Interrupt;
use pupctl::projection::{Processor, ProcessorConfig};

use crate::support::TestDatabase;
use crate::{Counts, append, assert_finds_nothing, handled, store, verify, work};

#[test]
fn an_older_store_is_brought_up_to_date_first() {
    let db = handled(1);
    db.execute(
        "DROP TABLE projection_audit, projection_definitions;
         DROP FUNCTION pupctl_wait, pupctl_json;
         DELETE FROM pupctl_history WHERE version = 5",
    );
    for command in [&["verify", "--all"][..], &["status"], &["reset", "code", "--yes"]] {
        let refused = db.pupctl(["projections"].iter().chain(command)).failure(1);
        assert!(refused.stderr.contains("pupctl projections init"), "{refused}");
    }
    let error = crate::runner(&db, 1).run_until_caught_up().expect_err("it is older");
    assert_eq!(error.hint_text(), Some("extend the store: pupctl projections init"));
    let error = pupctl::projection::wait::for_position(
        &mut db.client(),
        "public",
        "code",
        1,
        std::time::Duration::ZERO,
    );
    let error = error.expect_err("it is older");
    assert!(error.hint_text().is_some_and(|hint| hint.contains("projections init")), "{error}");
    db.pupctl(["projections", "init"]).success();
    append(&db, 0..5);
    // What the file meant was lost with the tables.
    db.execute("UPDATE projection_checkpoints SET paused_at = now() WHERE projection = 'sql'");
    let processor = Processor::new(connect(&db, None), Counts, ProcessorConfig::default());
    processor.expect("a worker").run_until_caught_up(&Interrupt::default()).expect("caught up");
    let found = verify(&db, &["code"]).success();
    assert!(found.stdout.contains("positions 61 to 65 compared, 5 events, all right"), "{found}");
}

fn connect(db: &TestDatabase, role: Option<&str>) -> impl pupctl::projection::Connect + 'static {
    let url = db.url().to_owned();
    let role = role.map_or_else(String::new, |role| format!("SET ROLE {role}"));
    move |_: &str| {
        let failed = |error| pupctl::Error::database("connecting", error);
        let mut client = Client::connect(&url, NoTls).map_err(failed)?;
        client.batch_execute(&role).map_err(failed)?;
        Ok(client)
    }
}

#[test]
fn a_worker_that_may_not_note_what_it_is_given() {
    for right in [
        "INSERT ON projection_definitions",
        "SELECT ON projection_definitions",
        "SELECT ON projection_audit",
        "INSERT ON projection_audit",
        "UPDATE ON projection_audit",
        "DELETE ON projection_audit",
    ] {
        let db = store("none");
        append(&db, 0..3);
        work(&db, 1);
        let role = format!("role_{}", db.name());
        db.execute(&format!(
            "CREATE ROLE {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
             GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA public TO {role};
             REVOKE {right} FROM {role}"
        ));
        append(&db, 0..3);
        let worker = Processor::new(connect(&db, Some(&role)), Counts, ProcessorConfig::default());
        let error = worker
            .expect("a worker")
            .run_until_caught_up(&Interrupt::default())
            .expect_err("it lacks a right");
        let hint = error.hint_text().unwrap_or_default();
        assert!(hint.contains("GRANT SELECT, INSERT, UPDATE, DELETE"), "{right}: {error}");
        assert!(hint.contains("projection_audit"), "{right}: {error}");
        db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
        work(&db, 1);
        assert_finds_nothing(&db);
    }
}
