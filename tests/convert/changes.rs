//! What a copy would miss is refused while it is made; heads that move are written to both.

use crate::support::TestDatabase;
use crate::{Kind, append, assert_same, assert_sound, convert, ready, rows, store, to};

#[track_caller]
fn refused(db: &TestDatabase, statement: &str) {
    let error = db.client().batch_execute(statement).expect_err(statement);
    let error = error.as_db_error().expect("an answer");
    assert_eq!(error.code().code(), "55000", "{statement}: {error:?}");
    assert!(error.message().contains("is refused while the store is converted"), "{error:?}");
    assert!(error.hint().expect("a hint").contains("pupctl convert rollback"), "{error:?}");
}

#[test]
fn changes_of_events_and_of_the_keys_of_heads() {
    for layout in ["context", "month"] {
        let db = ready(Kind::Pupctl, layout);
        let before = rows(&db);
        refused(&db, "UPDATE events SET payload = ''");
        refused(&db, "DELETE FROM events");
        refused(&db, "TRUNCATE events");
        if db.one::<i32>("SELECT current_setting('server_version_num')::int") >= 150_000 {
            let merge = "MERGE INTO events USING (SELECT 1) AS one ON false";
            refused(&db, &format!("{merge} WHEN MATCHED THEN DELETE"));
        }
        if layout == "context" {
            refused(
                &db,
                "UPDATE aggregate_heads SET aggregate_id = 'x' WHERE aggregate_id = 'o-1'",
            );
            refused(&db, "DELETE FROM aggregate_heads");
            refused(&db, "TRUNCATE aggregate_heads");
            refused(&db, "SET session_replication_role = origin; DELETE FROM aggregate_heads");
        }
        assert_same(&before, &rows(&db), layout);
        convert(&db, &["rollback"]).success();
        db.execute(
            "DELETE FROM events WHERE false; UPDATE aggregate_heads SET aggregate_id = 'x'
            WHERE false",
        );
    }
}

#[test]
fn a_head_that_is_changed_by_hand_is_changed_in_both() {
    let db = ready(Kind::Pupctl, "context,hash");
    db.execute(
        "UPDATE aggregate_heads SET updated_at = '2020-01-01T00:00:00Z' WHERE aggregate_id = 'o-4';
         UPDATE aggregate_heads SET aggregate_version = aggregate_version + 5
            WHERE aggregate_id = 'o-5';
         UPDATE aggregate_heads SET aggregate_version = aggregate_version - 5
            WHERE aggregate_id = 'o-5';
         INSERT INTO aggregate_heads VALUES ('Billing', 'Other', 'x', 0)",
    );
    append(&db, "Identity", "o-5", 3, 0);
    let before = rows(&db);
    convert(&db, &["swap"]).success();
    assert_same(&before, &rows(&db), "swap");
    db.execute("DELETE FROM aggregate_heads WHERE aggregate_type = 'Other'");
    append(&db, "Identity", "o-6", 3, 0);
    assert_sound(&db, "swap");
    convert(&db, &["finish"]).success();
}

/// Roles that may append, and nothing else.
#[test]
fn a_role_that_may_only_append_goes_on() {
    let db = store(Kind::Pupctl);
    let role = format!("writer_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role} LOGIN;
         GRANT SELECT, INSERT ON events TO {role};
         GRANT SELECT, INSERT, UPDATE ON aggregate_heads TO {role};
         GRANT USAGE ON SEQUENCE events_global_position_seq TO {role}"
    ));
    let append_as = |id: &str| {
        let mut client = db.client();
        client.batch_execute(&format!("SET ROLE {role}")).expect("the role");
        let created_at = format!("{}-04T00:00:00Z", db.month(0));
        let append = crate::support::Append {
            context: "Billing",
            id,
            head: None,
            events: 2,
            created_at: &created_at,
        };
        append.run(&mut client).unwrap_or_else(|error| panic!("{id}: {error:?}"));
    };
    append_as("before");
    convert(&db, &to("start", "context,month")).success();
    append_as("ready");
    convert(&db, &["swap"]).success();
    append_as("swapped");
    convert(&db, &["rollback"]).success();
    append_as("rolled back");
    convert(&db, &to("run", "context")).success();
    convert(&db, &["finish"]).success();
    append_as("finished");
    assert_sound(&db, "a role");
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
