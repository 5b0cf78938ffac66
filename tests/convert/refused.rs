//! What cannot be converted, and what is typed wrong: refused before anything is written.

use crate::support::{TestDatabase, fingerprint};
use crate::{CONTEXTS, Kind, convert, empty, ready, store, swapped, to};

/// Refused with this exit code and these words, and nothing is changed.
#[track_caller]
fn refused(db: &TestDatabase, words: &[&str], code: i32, told: &str) {
    let before = fingerprint(&mut db.client());
    for dry in [&[][..], &["--dry-run"]] {
        let mut words = words.to_vec();
        words.extend(dry);
        let run = convert(db, &words).failure(code);
        assert!(run.stderr.contains(told), "{run}");
        assert!(run.stderr.contains("hint: "), "{run}");
        crate::assert_same_text(&before, &fingerprint(&mut db.client()), told);
    }
}

#[test]
fn layouts_that_are_none() {
    let db = store(Kind::Pupctl);
    refused(&db, &["start", "--partition-by", "none"], 2, "the layout none has nothing to convert");
    refused(&db, &["start"], 2, "nothing to convert to");
    convert(&db, &["start", "--partition-by", "week"]).failure(2);
    convert(&db, &["start", "--partition-by", "context", "--jobs", "0"]).failure(2);
    convert(&db, &["start", "--partition-by", "context", "--max-rate", "0"]).failure(2);
    convert(&db, &["start", "--partition-by", "context", "--max-lag", "much"]).failure(2);
    let memory = ["start", "--partition-by", "context", "--index-memory", "much"];
    convert(&db, &memory).failure(2);
}

#[test]
fn stores_that_are_not_there_or_divided_already() {
    let db = TestDatabase::new();
    refused(&db, &to("start", "context"), 1, "there is no table of a store");
    for verb in ["swap", "resume", "rollback", "finish", "pause"] {
        let run = convert(&db, &[verb]).failure(1);
        assert!(!run.stderr.contains("db error"), "{run}");
    }
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "month", "--months", "0"]).success();
    refused(&db, &to("start", "context"), 1, "not a plain table");
    for verb in ["swap", "resume", "rollback", "finish", "pause"] {
        let run = convert(&db, &[verb]).failure(1);
        assert!(run.stderr.contains("no conversion goes on"), "{run}");
    }
    let status = convert(&db, &["status"]).success();
    assert!(status.stderr.contains("never converted"), "{status}");
}

#[test]
fn heads_that_deviate() {
    for change in [
        "UPDATE aggregate_heads SET aggregate_version = 99 WHERE aggregate_id = 'o-7'",
        "DELETE FROM aggregate_heads WHERE aggregate_id = 'o-7'",
        "DELETE FROM events WHERE aggregate_id = 'o-7' AND aggregate_version = 3",
        "INSERT INTO aggregate_heads VALUES ('Nowhere', 'Order', 'x', 3)",
    ] {
        let db = store(Kind::Pupctl);
        db.execute(change);
        refused(&db, &to("start", "context"), 1, "--allow-deviating-heads");
        let mut words = to("run", "context");
        words.push("--allow-deviating-heads");
        let before = crate::rows(&db);
        convert(&db, &words).success();
        crate::assert_same(&before, &crate::rows(&db), change);
        convert(&db, &["finish"]).success();
        crate::assert_same(&before, &crate::rows(&db), change);
    }
}

#[test]
fn times_that_lie_in_no_month() {
    let db = store(Kind::Pupctl);
    db.execute("UPDATE events SET created_at = 'infinity' WHERE aggregate_id = 'o-7'");
    for layout in ["month", "context,month", "hash,month"] {
        refused(&db, &to("start", layout), 1, "events outside every month");
    }
    // Those that do not ask for the time take them.
    let before = crate::rows(&db);
    convert(&db, &to("run", "context,hash")).success();
    crate::assert_same(&before, &crate::rows(&db), "infinity");
    convert(&db, &["finish"]).success();
}

#[test]
fn a_context_without_a_name() {
    let db = store(Kind::Pupctl);
    db.execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload) VALUES ('', 'Order', 'x', 1, gen_random_uuid(), 'x', '');
         INSERT INTO aggregate_heads VALUES ('', 'Order', 'x', 1)",
    );
    refused(&db, &to("start", "context"), 1, "contexts that cannot be named");
}

#[test]
fn another_conversion() {
    let db = ready(Kind::Pupctl, "context");
    refused(&db, &to("start", "month"), 1, "a conversion to context (copy) goes on");
    let run = convert(&db, &["finish"]).failure(1);
    assert!(run.stderr.contains("not swapped"), "{run}");
    convert(&db, &["swap"]).success();
    refused(&db, &to("start", "month"), 1, "a conversion to context (copy) goes on");
}

#[test]
fn a_swap_before_its_time() {
    let db = store(Kind::Pupctl);
    let words = ["convert"].into_iter().chain(to("start", "context"));
    db.command(words).failpoints("convert::copied_heads=return").run().killed();
    let run = convert(&db, &["swap"]).failure(1);
    assert!(run.stderr.contains("pupctl convert resume"), "{run}");
}

#[test]
fn a_role_without_rights() {
    let db = store(Kind::Pupctl);
    let role = format!("nobody_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    ));
    let url = db.url().replace("user=postgres", &format!("user={role}"));
    assert_ne!(url, db.url());
    let words = ["convert"].into_iter().chain(to("start", "context"));
    let run = db.command(words).env("PUPCTL_DATABASE_URL", &url).run();
    assert!([Some(1), Some(2)].contains(&run.code), "{run}");
    assert!(!run.stderr.contains("panicked") && run.stderr.contains("hint: "), "{run}");
    assert_eq!(crate::phase(&db), "none");
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn the_same_version_twice_in_the_old_table() {
    let db = empty(Kind::Pupctl);
    db.execute(
        "DO $$ DECLARE name text; BEGIN
            FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = 'events'::regclass
                AND contype IN ('p', 'u') LOOP
                EXECUTE format('ALTER TABLE events DROP CONSTRAINT %I', name);
            END LOOP; END $$;
         INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         SELECT 'Billing', 'Order', 'x', 1, gen_random_uuid(), 'x', '' FROM generate_series(1, 2);
         INSERT INTO aggregate_heads VALUES ('Billing', 'Order', 'x', 1)",
    );
    let run = convert(&db, &to("start", "context")).failure(1);
    assert!(!run.stderr.contains("db error"), "{run}");
    convert(&db, &["rollback"]);
}

#[test]
fn names_with_quotes() {
    let db = swapped(Kind::Pupctl, "context");
    let contexts = db.texts("SELECT DISTINCT bounded_context FROM public.events ORDER BY 1");
    assert_eq!(contexts, CONTEXTS);
    assert_eq!(db.leaves("public.events").len(), 3);
}
