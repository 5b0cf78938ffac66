//! Archives and the runs that made them.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::support::TestDatabase;
use crate::{NOTHING, by_month, found, mend, suffix};

/// A store by month, with an archived month whose table is dropped.
fn archived() -> (TestDatabase, String) {
    let (db, month) = to_archive();
    db.pupctl(["archive", &month, "--drop", "--yes", "-q"]).success();
    assert_eq!(found(&db), NOTHING);
    let name = db.one::<String>("SELECT name FROM pupctl_archives");
    (db, name)
}

/// A store by month, and the name of a past month with an event.
fn to_archive() -> (TestDatabase, String) {
    let db = by_month();
    let month = db.month(-2);
    db.pupctl(["partitions", "ensure", "-q", "--from", &month]).success();
    db.execute(&format!(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload, created_at)
         VALUES ('A', 'B', 'C', 1, gen_random_uuid(), 'x', '', '{month}-05 00:00:00+00')"
    ));
    (db, month)
}

#[test]
fn files_that_are_gone_or_not_as_they_were() {
    let (db, name) = archived();
    let folder = db.folder().join("archives").join(&name);
    let hidden = db.folder().join("hidden");
    fs::rename(&folder, &hidden).expect("a move");
    assert_eq!(found(&db), [format!("error archive_missing {name}")]);
    fs::rename(&hidden, &folder).expect("a move");
    assert_eq!(found(&db), NOTHING);

    let rows = folder.join("rows.parquet");
    let whole = fs::read(&rows).expect("the rows");
    fs::write(&rows, &whole[1..]).expect("a file");
    assert_eq!(found(&db), [format!("error archive_altered {name}")]);
    fs::remove_file(&rows).expect("no file");
    assert_eq!(found(&db), [format!("error archive_altered {name}")]);
    fs::write(&rows, &whole).expect("a file");
    assert_eq!(found(&db), NOTHING);

    // Another machine may have them, and nobody else has these events.
    fs::rename(db.folder().join("archives"), &hidden).expect("a move");
    assert_eq!(found(&db), [format!("warning archive_elsewhere {name}")]);
}

#[test]
fn files_elsewhere_of_a_table_that_is_kept() {
    let (db, month) = to_archive();
    db.pupctl(["archive", &month, "--yes", "-q"]).success();
    fs::rename(db.folder().join("archives"), db.folder().join("hidden")).expect("a move");
    let name = db.one::<String>("SELECT name FROM pupctl_archives");
    assert_eq!(found(&db), [format!("notice archive_elsewhere {name}")]);
}

#[test]
fn one_that_nobody_has_read_back_for_a_year() {
    let (db, name) = archived();
    let manifest = db.folder().join("archives").join(&name).join("manifest.json");
    let year = Duration::from_hours(365 * 24);
    let file = fs::File::open(&manifest).expect("the manifest");
    file.set_modified(SystemTime::now() - year).expect("an old time");
    assert_eq!(found(&db), [format!("notice archive_unproven {name}")]);
    db.pupctl(["archive", "verify"]).success();
    assert_eq!(found(&db), NOTHING);
}

#[cfg(feature = "failpoints")]
#[test]
fn an_archive_that_was_killed() {
    let (db, month) = to_archive();
    let archive = ["archive", &month, "--yes", "-q"];
    db.command(archive).failpoints("archive::departed=return").run().killed();
    let told = found(&db);
    assert!(told[0].starts_with("error unfinished_archive "), "{told:?}");
    assert!(told.iter().any(|one| one.starts_with("warning unfinished_operation ")), "{told:?}");
    mend(&db, "unfinished_operation", &[]);
    assert_eq!(found(&db), NOTHING);
    assert!(!db.leaves("public.events").contains(&format!("public.events_{}", suffix(&db, -2))));
}
