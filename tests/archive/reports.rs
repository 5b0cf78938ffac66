//! What is listed, shown and told; what `--dry-run` writes: nothing.

use serde_json::{Value, json};

use crate::support::{TestDatabase, fingerprint};
use crate::{archive, checkpoint, count, events, everywhere, leaf, restore, store};

fn json(db: &TestDatabase, arguments: &[&str]) -> Value {
    db.pupctl(arguments.iter().chain(&["-o", "json"])).success().json()
}

#[test]
fn archives_and_operations_are_listed_and_shown() {
    let db = store("month", &[]);
    assert_eq!(json(&db, &["archive", "list"])["archives"], json!([]));
    events(&db, "A", -2, 2);
    events(&db, "B", -1, 2);
    let (old, newer) = (leaf(&db, "events", -2), leaf(&db, "events", -1));
    archive(&db, &[&db.month(-2), "--drop"]).success();
    archive(&db, &[&db.month(-1), "--format", "copy"]).success();
    let list = json(&db, &["archive", "list"]);
    assert_eq!(list["version"], 1);
    assert_eq!(list["command"], "archive list");
    let first = &list["archives"][0];
    let expected = [
        ("name", json!(old)),
        ("phase", json!("dropped")),
        ("rows", json!(4)),
        ("first_position", json!(1)),
        ("last_position", json!(4)),
        ("format", json!("parquet")),
        ("present", json!(true)),
    ];
    for (key, value) in expected {
        assert_eq!(first[key], value, "{key}: {first}");
    }
    assert_eq!(json(&db, &["archive", "list", &db.month(-1)])["archives"][0]["name"], newer);
    let table = db.pupctl(["archive", "list"]).success();
    assert!(table.stdout.contains("published") && table.stdout.contains(&old), "{table}");

    let shown = json(&db, &["archive", "show", &newer]).to_string();
    for part in ["\"copy\"", "sha256", "global_position", "rows.copy.zst"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let folder = format!("archives/{old}");
    assert!(
        db.pupctl(["archive", "show", &folder]).success().stdout.contains("Parquet")
            || db.pupctl(["archive", "show", &folder]).success().stdout.contains("parquet")
    );
    db.pupctl(["archive", "show", "nothing"]).failure(2);

    let verified = json(&db, &["archive", "verify"]);
    assert_eq!(verified["archives"][1]["events"], 4, "{verified}");
    assert_eq!(json(&db, &["archive", "verify", &folder])["archives"][0]["problem"], Value::Null);

    let operations = json(&db, &["operations", "list"]);
    let latest = &operations["operations"][0];
    assert_eq!((&latest["command"], &latest["outcome"]), (&json!("archive"), &json!("done")));
    let id = latest["id"].to_string();
    let shown = json(&db, &["operations", "show", &id]);
    assert_eq!(shown["archives"][0]["name"], newer, "{shown}");
    assert_eq!(shown["operation"]["state"]["subject"], newer, "{shown}");
    let text = db.pupctl(["operations", "show", &id]).success();
    assert!(text.stdout.contains("archive") && text.stdout.contains("--format=copy"), "{text}");
    db.pupctl(["operations", "show", "4711"]).failure(2);
    db.pupctl(["operations", "resume", "4711"]).failure(2);
    db.pupctl(["operations", "abort", "4711", "--yes"]).failure(2);
    assert!(db.pupctl(["operations", "resume", &id]).success().stderr.contains("Nothing to do"));
    db.pupctl(["operations", "abort", &id, "--yes"]).failure(1);
    db.pupctl(["operations", "abort", &old, "--yes"]).failure(1);
    assert_eq!(json(&db, &["operations", "list", "--unfinished"])["operations"], json!([]));

    let back = restore(&db, &[&db.month(-2), "-o", "json"]).success().json();
    assert_eq!(back["restored"][0]["how"], "attached", "{back}");
    assert_eq!(json(&db, &["archive", "list"])["archives"][0]["phase"], "restored");
}

#[test]
fn a_run_that_was_killed_is_told_by_list_and_check() {
    let db = store("month", &[]);
    events(&db, "A", -2, 2);
    let month = db.month(-2);
    archive(&db, &[&month]).success();
    // As kill -9 leaves it.
    db.execute(
        "UPDATE pupctl_operations SET outcome = 'running', ended_at = NULL,
            state = '{\"request\": [\"archive\"]}'
         WHERE command = 'archive'",
    );
    db.execute("UPDATE pupctl_archives SET phase = 'detached'");
    let list = json(&db, &["operations", "list", "--unfinished"]);
    assert_eq!(list["operations"][0]["outcome"], "interrupted", "{list}");
    let check = json(&db, &["partitions", "check"]);
    let found = check["findings"].as_array().expect("findings");
    let found = found.iter().find(|one| one["check"] == "unfinished_archive").expect("it");
    assert_eq!(found["severity"], "error");
    let remedy = found["remedy"].as_str().expect("a remedy");
    assert!(remedy.starts_with(&format!("pupctl archive {month}, or")), "{remedy}");
}

#[test]
fn a_kept_table_that_is_attached_by_hand_is_listed_as_restored() {
    let db = store("month", &[]);
    events(&db, "A", -2, 2);
    let month = db.month(-2);
    archive(&db, &[&month]).success();
    let table: String = db.one("SELECT table_name FROM pupctl_archives");
    db.pupctl(["partitions", "attach", &table, "--as", &month, "--behind-projections"]).success();
    assert_eq!(json(&db, &["archive", "list"])["archives"][0]["phase"], "restored");
    assert_eq!(count(&db, "events"), 4);
}

#[test]
fn a_refusal_is_in_the_journal_and_leaves_nothing_to_go_on_with() {
    let db = store("month", &[]);
    events(&db, "A", -2, 2);
    checkpoint(&db, "slow", 1);
    let refused =
        archive(&db, &[&db.month(-2), "--drop", "--ignore-projection", "slwo"]).failure(1);
    assert!(refused.stderr.contains("there is no projection slwo"), "{refused}");
    let list = json(&db, &["operations", "list"]);
    let failed = &list["operations"][0];
    assert_eq!(failed["outcome"], "failed", "{list}");
    assert!(failed["detail"].as_str().is_some_and(|detail| detail.contains("position")), "{list}");
    assert_eq!(json(&db, &["operations", "list", "--unfinished"])["operations"], json!([]));
    checkpoint(&db, "slow", 4);
    archive(&db, &[&db.month(-2), "--drop"]).success();
    assert_eq!(count(&db, "events"), 0);
}

#[test]
fn what_a_view_needs_is_not_detached_to_be_dropped() {
    let db = store("month", &[]);
    events(&db, "A", -2, 2);
    let (month, leaf) = (db.month(-2), leaf(&db, "events", -2));
    db.execute(&format!("CREATE VIEW seen AS SELECT * FROM {leaf}"));
    let refused = archive(&db, &[&month, "--drop"]).failure(1);
    assert!(refused.stderr.contains("view seen"), "{refused}");
    assert!(!refused.stderr.contains("CASCADE"), "{refused}");
    assert_eq!(count(&db, "events"), 4);
    archive(&db, &[&month]).success();
    let refused = archive(&db, &[&month, "--drop"]).failure(1);
    assert!(refused.stderr.contains("view seen"), "{refused}");
    db.execute("DROP VIEW seen");
    archive(&db, &[&month, "--drop"]).success();
}

#[test]
fn an_abort_by_name_forgets_its_operation_and_can_be_rehearsed() {
    let db = store("month", &[]);
    events(&db, "A", -2, 2);
    archive(&db, &[&db.month(-2)]).success();
    // As a run leaves it that was killed before the file was proven.
    db.execute("UPDATE pupctl_archives SET phase = 'detached', published_at = NULL");
    db.execute("UPDATE pupctl_operations SET outcome = 'interrupted' WHERE command = 'archive'");
    let name: String = db.one("SELECT name FROM pupctl_archives");
    let shown = json(&db, &["operations", "abort", &name, "--dry-run"]);
    assert_eq!(shown["undone"].as_array().map(Vec::len), Some(1), "{shown}");
    assert_eq!(count(&db, "events"), 0);
    db.pupctl(["operations", "abort", &name, "--yes"]).success();
    assert_eq!(count(&db, "events"), 4);
    assert_eq!(json(&db, &["operations", "list", "--unfinished"])["operations"], json!([]));
}

#[test]
fn what_was_detached_by_hand_is_named() {
    let db = store("month", &[]);
    let (month, leaf) = (db.month(-2), leaf(&db, "events", -2));
    db.pupctl(["partitions", "detach", &month, "--yes"]).success();
    let run = archive(&db, &[&month]);
    assert!(run.stderr.contains(&format!("pupctl partitions attach {leaf}")), "{run}");
}

#[test]
fn a_dry_run_writes_nothing_and_shows_the_statements() {
    for (layout, part, words) in [
        ("month", "month", "DETACH PARTITION"),
        ("context", "A", "RENAME TO"),
        ("context,month", "A", "DETACH PARTITION"),
    ] {
        let db = store(layout, &[]);
        events(&db, "A", -2, 2);
        let month = db.month(-2);
        let part = if part == "month" { month.as_str() } else { part };
        let before = fingerprint(&mut db.client());
        let run = archive(&db, &[part, "--drop", "--dry-run"]).success();
        assert!(run.stdout.contains(words), "{run}");
        assert!(run.stderr.contains("nothing was changed"), "{run}");
        let run = archive(&db, &[part, "--dry-run", "-o", "json"]).success().json();
        assert!(run["steps"][0]["statements"].is_array(), "{run}");
        assert_eq!(run["dry_run"], true);
        assert_eq!(fingerprint(&mut db.client()), before);
        assert_eq!(everywhere::names(db.folder()), Vec::<String>::new());
        archive(&db, &[part, "--drop"]).success();
        let before = fingerprint(&mut db.client());
        let files = everywhere::names(db.folder());
        let run = restore(&db, &[part, "--dry-run"]).success();
        assert!(run.stderr.contains("would be checked"), "{run}");
        restore(&db, &[part, "--dry-run", "--into", "elsewhere", "-o", "json"]).success();
        db.pupctl(["archive", "verify"]).success();
        db.pupctl(["operations", "list"]).success();
        assert_eq!(fingerprint(&mut db.client()), before);
        assert_eq!(everywhere::names(db.folder()), files);
    }
}

#[test]
fn twice_there_is_nothing_to_do() {
    for (layout, part) in [("month", "month"), ("context", "A"), ("context,hash", "A")] {
        let db = store(layout, &[]);
        events(&db, "A", -2, 4);
        let month = db.month(-2);
        let part = if part == "month" { month.as_str() } else { part };
        let all = everywhere::all(&db);
        for more in [&[][..], &["--drop"]] {
            archive(&db, &[&[part], more].concat()).success();
            let again = archive(&db, &[&[part], more].concat()).success();
            assert!(again.stderr.contains("Nothing to do"), "{layout}: {again}");
        }
        assert_eq!(everywhere::all(&db), all);
        restore(&db, &[part]).success();
        let again = restore(&db, &[part]).success();
        assert!(again.stderr.contains("Nothing to do"), "{layout}: {again}");
        assert_eq!(everywhere::of_store(&db), all);
    }
}

#[test]
fn of_a_context_with_months_the_past_ones_leave() {
    let db = store("context,month", &[]);
    for ahead in [-2, 0] {
        events(&db, "A", ahead, 2);
    }
    archive(&db, &["a", "--drop"]).success();
    assert_eq!(count(&db, "events"), 4);
    let nothing = archive(&db, &["a", "--drop"]).success();
    assert!(nothing.stderr.contains("Nothing to do"), "{nothing}");
    // The current one too: an empty one takes its place.
    archive(&db, &["a", "--all", "--drop"]).success();
    assert_eq!(count(&db, "events"), 0);
    assert_eq!(everywhere::outside(&db), Vec::<String>::new());
    events(&db, "A", -1, 1);
    restore(&db, &["a"]).success();
    assert_eq!(count(&db, "events"), 10);
}
