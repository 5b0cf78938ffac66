//! Where something is wrong, it is said in plain words, and nothing is dropped.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Output, TestDatabase};
use crate::{archive, archives, count, events, everywhere, leaf, restore, store};

/// A store of months, one of which was archived and its table kept.
fn kept() -> (TestDatabase, String, PathBuf) {
    let db = store("month", &[]);
    events(&db, "A", -2, 3);
    events(&db, "A", -1, 3);
    let month = db.month(-2);
    archive(&db, &[&month]).success();
    let folder = db.folder().join("archives").join(leaf(&db, "events", -2));
    (db, month, folder)
}

/// Neither dropped nor restored, and told without the driver's own words.
#[track_caller]
fn refused(db: &TestDatabase, run: Output, words: &[&str]) {
    let run = if run.code == Some(2) { run.failure(2) } else { run.failure(1) };
    for words in words {
        assert!(run.stderr.contains(words), "{words}: {run}");
    }
    assert!(!run.stderr.contains("db error") && !run.stderr.contains("panicked"), "{run}");
    assert_eq!(everywhere::outside(db).len(), 1, "{run}");
    assert_eq!(count(db, "events"), 6, "{run}");
}

#[test]
fn a_damaged_archive_drops_nothing() {
    let (db, month, folder) = kept();
    let all = everywhere::all(&db);
    let rows = folder.join("rows.parquet");
    let whole = std::fs::read(&rows).expect("the rows");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    let manifest = folder.join("manifest.json");
    let text = std::fs::read_to_string(&manifest).expect("the manifest");
    let write = |path: &PathBuf, bytes: &[u8]| std::fs::write(path, bytes).expect("a file");
    let drop = || archive(&db, &[&month, "--drop"]);

    write(&rows, &damaged);
    refused(&db, drop(), &["SHA-256"]);
    refused(&db, db.pupctl(["archive", "verify"]), &["cannot be trusted"]);
    write(&rows, &whole[..whole.len() - 1]);
    refused(&db, drop(), &["bytes"]);
    std::fs::remove_file(&rows).expect("it was there");
    refused(&db, drop(), &["is missing"]);
    write(&rows, &whole);

    write(&manifest, text.replace("\"rows\": 6", "\"rows\": 5").as_bytes());
    refused(&db, drop(), &[]);
    write(&manifest, b"{}");
    refused(&db, drop(), &["manifest.json"]);
    std::fs::remove_file(&manifest).expect("it was there");
    refused(&db, drop(), &["manifest.json"]);
    write(&manifest, text.as_bytes());

    let elsewhere = db.folder().join("elsewhere");
    std::fs::rename(&folder, &elsewhere).expect("a move");
    refused(&db, drop(), &[]);
    // Another archive under its name: whole, and not of this table.
    archive(&db, &[&db.month(-1), "--copy-only", "--to", "other"]).success();
    let other = db.folder().join("other").join(leaf(&db, "events", -1));
    let copied = Command::new("cp").arg("-a").args([&other, &folder]).status();
    assert!(copied.expect("cp").success());
    refused(&db, drop(), &[]);
    refused(&db, restore(&db, &[&month]), &["is not the archive that the store has listed"]);
    std::fs::remove_dir_all(&folder).expect("it was there");
    std::fs::rename(&elsewhere, &folder).expect("a move");
    drop().success();
    assert_eq!(everywhere::all(&db), all);
}

#[test]
fn a_damaged_archive_is_not_restored() {
    let (db, month, folder) = kept();
    archive(&db, &[&month, "--drop"]).success();
    let rows = folder.join("rows.parquet");
    let whole = std::fs::read(&rows).expect("the rows");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    for bytes in [&damaged[..], &whole[..10], &[]] {
        std::fs::write(&rows, bytes).expect("a file");
        for more in [&[][..], &["--into", "elsewhere"], &["--no-attach"]] {
            let run = restore(&db, &[&[month.as_str()], more].concat()).failure(1);
            assert!(run.stderr.contains("rows.parquet"), "{run}");
            assert_eq!(everywhere::outside(&db), Vec::<String>::new());
        }
    }
    assert_eq!(count(&db, "events"), 6);
    std::fs::write(&rows, whole).expect("a file");
    restore(&db, &[&month]).success();
    assert_eq!(count(&db, "events"), 12);
}

#[test]
fn a_kept_table_that_somebody_changed_is_not_dropped() {
    let (db, month, _) = kept();
    let table = leaf(&db, "public.events", -2);
    for change in [
        format!("UPDATE {table} SET payload = 'other' WHERE global_position = 1"),
        format!("DELETE FROM {table} WHERE global_position = 1"),
    ] {
        let mut client = db.client();
        client
            .batch_execute(&format!("CREATE TABLE saved AS TABLE {table}; {change}"))
            .expect("it");
        client.batch_execute("ALTER TABLE saved DROP COLUMN global_position").expect("no event");
        refused(
            &db,
            archive(&db, &[&month, "--drop"]),
            &["nothing was dropped", "somebody changed"],
        );
        refused(&db, restore(&db, &[&month]), &["does not hold what its archive holds"]);
        client.batch_execute("DROP TABLE saved").expect("it");
    }
}

#[test]
fn a_table_that_was_attached_again_is_not_dropped() {
    let (db, month, _) = kept();
    let table = leaf(&db, "events", -2);
    db.pupctl(["partitions", "attach", &table, "--as", &month, "--yes", "--behind-projections"])
        .stderr
        .clear();
    // As it is when it was attached without pupctl.
    db.execute("UPDATE pupctl_archives SET phase = 'published'");
    if everywhere::outside(&db).is_empty() {
        let all = everywhere::of_store(&db);
        let run = archive(&db, &[&month, "--drop"]);
        assert!(run.code == Some(1) && run.stderr.contains("is a partition again"), "{run}");
        assert_eq!(everywhere::of_store(&db), all);
    }
}

#[test]
fn a_table_that_is_gone_is_told() {
    let (db, month, _) = kept();
    db.execute(&format!("DROP TABLE {}", leaf(&db, "events", -2)));
    let run = archive(&db, &[&month, "--drop"]).failure(1);
    assert!(run.stderr.contains("is gone"), "{run}");
    // The file is proven: the rows come back.
    restore(&db, &[&month]).success();
    assert_eq!(count(&db, "events"), 12);
}

#[test]
fn rows_outside_of_the_place_of_a_manifest_are_not_restored() {
    let (db, _, folder) = kept();
    let copy = db.folder().join("tam");
    std::fs::create_dir(&copy).expect("a folder");
    for name in ["manifest.json", "rows.parquet"] {
        std::fs::copy(folder.join(name), copy.join(name)).expect("a copy");
    }
    // A folder beside the archives is found by its name.
    restore(&db, &["tam", "--into", "rehearsal"]).success();

    let manifest = copy.join("manifest.json");
    let text = std::fs::read_to_string(&manifest).expect("the manifest");
    let mut json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let place = json["place"].to_string();
    let other = place.replace(&db.month(-2), &db.month(-1));
    assert_ne!(place, other);
    json["place"] = serde_json::from_str(&other).expect("a place");
    std::fs::write(&manifest, json.to_string()).expect("written");
    refused(&db, restore(&db, &["tam"]), &["was changed: its checksum differs"]);
    json.as_object_mut().expect("an object").remove("checksum");
    std::fs::write(&manifest, json.to_string()).expect("written");
    for _ in 0..2 {
        refused(&db, restore(&db, &["tam"]), &["do not belong to", "nothing was restored"]);
    }
    let left = "SELECT relname::text FROM pg_class WHERE relname LIKE '%\\_restored'";
    assert_eq!(db.texts(left), Vec::<String>::new());
}

#[test]
fn a_folder_that_is_gone_is_told_and_the_kept_table_named() {
    let (db, month, folder) = kept();
    std::fs::remove_dir_all(&folder).expect("it was there");
    let hint = format!("--as {month}");
    refused(&db, restore(&db, &[&month]), &["is not there", "partitions attach", &hint]);
    let verified = db.pupctl(["archive", "verify"]).failure(1);
    assert!(verified.stdout.contains("is not there"), "{verified}");
}

#[test]
fn a_type_that_is_not_there_becomes_text_in_a_rehearsal() {
    let db = store("month", &[]);
    db.execute("CREATE TYPE mood AS ENUM ('good', 'bad')");
    db.execute("ALTER TABLE events ADD COLUMN mood mood DEFAULT 'good'");
    events(&db, "A", -2, 2);
    let month = db.month(-2);
    archive(&db, &[&month, "--format", "copy"]).success();
    let name: String = db.one("SELECT name FROM pupctl_archives");
    let script = db.folder().join("archives").join(&name).join("restore.sql");
    let script = std::fs::read_to_string(script).expect("the script");
    assert!(script.contains("--   public.mood (column mood)"), "{script}");
    db.execute("DROP TYPE mood CASCADE");
    let run = restore(&db, &[&name, "--into", "rehearsal"]);
    run.success();
    assert_eq!(count(&db, &format!("rehearsal.{name} WHERE mood = 'good'")), 4);
}

#[test]
fn a_name_that_two_contexts_have_is_not_guessed() {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "context", "--contexts"];
    db.pupctl(init.iter().chain(&["Billing,billing,Ünï \"x\",it's"])).success();
    for context in ["Billing", "billing", "Ünï \"x\"", "it''s"] {
        events(&db, context, 0, 1);
    }
    let run = archive(&db, &["BILLING", "--drop"]).failure(2);
    assert!(run.stderr.contains("more than one thing"), "{run}");
    assert_eq!(count(&db, "events"), 8);
    archive(&db, &["billing", "--drop"]).success();
    assert_eq!(count(&db, "events WHERE bounded_context = 'billing'"), 0);
    assert_eq!(count(&db, "events"), 6);
    let all = everywhere::all(&db);
    for context in ["Ünï \"x\"", "it's"] {
        archive(&db, &[context, "--drop"]).success();
        db.pupctl(["archive", "verify"]).success();
        restore(&db, &[context]).success();
    }
    let back = restore(&db, &["BILLING"]);
    assert!([Some(0), Some(2)].contains(&back.code), "{back}");
    assert_eq!(everywhere::all(&db), all);
    let unknown = archive(&db, &["nothing"]).failure(2);
    assert!(unknown.stderr.contains("no context, partition or month"), "{unknown}");
}

#[test]
fn a_folder_without_rights_or_room_leaves_the_month_where_it_is() {
    let db = store("month", &[]);
    events(&db, "A", -2, 200);
    let (month, all) = (db.month(-2), everywhere::of_store(&db));
    std::fs::write(db.folder().join("file"), "no folder").expect("a file");
    let run = archive(&db, &[&month, "--drop", "--to", "file"]).failure(1);
    assert!(run.stderr.contains("file"), "{run}");
    assert_eq!(everywhere::of_store(&db), all, "{run}");
    // Two kibibytes are not enough for 400 events.
    let full = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_pupctl")])
        .args(["archive", &month, "--drop", "--yes", "--format", "copy"])
        .env("PUPCTL_DATABASE_URL", db.url())
        .current_dir(db.folder())
        .output()
        .expect("sh");
    let text = String::from_utf8_lossy(&full.stderr).into_owned();
    assert_eq!(full.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot write") || text.contains("too large"), "{text}");
    assert_eq!(everywhere::all(&db), all, "{text}");
    assert!(!everywhere::names(db.folder()).iter().any(|name| name.contains("rows")));
    // With room it is finished; where it was begun, it may have left already.
    archive(&db, &[&month, "--drop"]).success();
    assert_eq!(everywhere::all(&db), all);
    assert_eq!(everywhere::of_files(&db), all);
}

/// Whether the tests run as a user whom no mode of a folder keeps out.
fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id");
    id.stdout.trim_ascii() == b"0"
}

#[test]
fn a_folder_that_may_not_be_written_to_is_named() {
    let db = store("month", &[]);
    events(&db, "A", -2, 2);
    let locked = db.folder().join("locked");
    std::fs::create_dir(&locked).expect("a folder");
    std::fs::set_permissions(&locked, PermissionsExt::from_mode(0o500)).expect("a mode");
    if is_root() {
        return;
    }
    let all = everywhere::all(&db);
    let run = archive(&db, &[&db.month(-2), "--drop", "--to", "locked"]).failure(1);
    assert!(run.stderr.contains("locked"), "{run}");
    assert_eq!(everywhere::all(&db), all);
}

#[test]
fn a_role_without_rights_is_refused_before_anything_is_begun() {
    let db = store("month", &[]);
    events(&db, "A", -2, 2);
    let role = format!("reader_{}", db.name());
    db.execute(&format!(
        "CREATE ROLE {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    ));
    let before = db.dump();
    let month = db.month(-2);
    let run = archive(&db, &[&month, "--drop", "--role", &role]).failure(1);
    assert!(run.stderr.contains("hint"), "{run}");
    assert!(!run.stderr.contains("db error"), "{run}");
    assert_eq!((count(&db, "events"), db.dump()), (4, before));
    assert_eq!(everywhere::names(db.folder()), Vec::<String>::new());
    db.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn two_archives_at_once_take_turns() {
    let db = store("month", &[]);
    events(&db, "A", -2, 2);
    events(&db, "A", -1, 2);
    let all = everywhere::all(&db);
    // As another pupctl has it.
    let months = [db.month(-2), db.month(-1)];
    let runs = months
        .clone()
        .map(|month| db.command(["archive", &month, "--drop", "--yes", "--wait", "60s"]).spawn());
    for run in runs {
        run.wait().success();
    }
    assert_eq!(everywhere::of_files(&db), all);
    let mut dropped = archives(&db);
    dropped.sort();
    assert_eq!(dropped, [-2, -1].map(|ahead| format!("{}: dropped", leaf(&db, "events", ahead))));
    // The same month at once: one does it, the other finds nothing to do.
    let runs =
        [0, 1].map(|_| db.command(["restore", &months[0], "--yes", "--wait", "60s"]).spawn());
    for run in runs {
        run.wait().success();
    }
    assert_eq!(count(&db, "events"), 4);
}

#[cfg(feature = "failpoints")]
#[test]
fn the_second_archive_is_told_that_the_first_one_runs() {
    let db = store("month", &[]);
    events(&db, "A", -2, 2);
    let month = db.month(-2);
    let line = ["archive", &month, "--drop", "--yes"];
    let first = db.command(line).failpoints("lock::taken=sleep(1500)").spawn();
    crate::support::eventually("the lock is taken", || {
        db.one(
            "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory'
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
    });
    for command in [&line[..], &["restore", &month], &["operations", "abort", "1", "--yes"]] {
        let busy = db.pupctl(command).failure(4);
        assert!(busy.stderr.contains("pupctl"), "{busy}");
    }
    first.wait().success();
    assert_eq!(everywhere::of_files(&db).rows, 4);
}

#[test]
fn a_kept_table_of_a_context_in_another_case_is_not_dropped() {
    let db = store("context", &[]);
    db.pupctl(["contexts", "add", "a"]).success();
    events(&db, "A", 0, 2);
    events(&db, "a", 0, 2);
    archive(&db, &["A"]).success();
    archive(&db, &["a", "--drop"]).success();
    let phases = "SELECT place::text || ' ' || phase FROM public.pupctl_archives ORDER BY id";
    let expected = ["[{\"list\": [\"A\"]}] published", "[{\"list\": [\"a\"]}] dropped"];
    assert_eq!(db.texts(phases), expected);
}
