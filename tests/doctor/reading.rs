//! It reads only, waits for nobody for long, and people and machines understand it.

use crate::store::append;
use crate::support::{TestDatabase, fingerprint};
use crate::{by_month, doctor};

#[test]
fn it_writes_nothing() {
    let db = by_month();
    append(&db, "A", "1");
    let before = fingerprint(&mut db.client());
    doctor(&db, &["--dry-run", "--yes"]).success();
    doctor(&db, &[]).success();
    assert!(fingerprint(&mut db.client()) == before);
}

#[test]
fn people_read_a_page() {
    let db = by_month();
    let leaf = format!("events_{}", crate::suffix(&db, 0));
    db.execute(&format!(
        "ALTER TABLE {leaf} SET UNLOGGED; ALTER SEQUENCE events_global_position_seq CACHE 2"
    ));
    let told = doctor(&db, &[]).success();
    let page = told.stdout.replace(&leaf, "events_m0");
    // What the server is found to have is the tests' own.
    let page: Vec<_> = page.lines().skip_while(|line| !line.contains("[unlogged]")).collect();
    let page = page.join("\n");
    let is_own = |line: &&str| !line.contains("fsync") && !line.contains("[durability]");
    let (findings, rest) = page.split_once("\n\n").expect("groups");
    insta::assert_snapshot!(
        findings.lines().filter(is_own).collect::<Vec<_>>().join("\n"),
        @r#"
    error [unlogged] public.events_m0
      it is unlogged: a crash of the server empties it
      mend it: pupctl schema verify --sql prints the statements
    error [sequence] public.events_global_position_seq
      it has CACHE 2: sessions draw positions ahead of their use; projections refuse to run on it
      mend it: ALTER SEQUENCE "public"."events_global_position_seq" INCREMENT 1 NO CYCLE CACHE 1;
    "#
    );
    assert!(rest.contains("well: connection"), "{rest}");
    assert!(rest.contains("Each is explained: docs/reference/findings.md#"), "{rest}");
    assert!(told.stderr.trim().ends_with(" problems found"), "{told}");
    let each = doctor(&db, &["--verbose"]).success().stdout;
    assert!(each.contains("well  partitions: every month, context and share is there"), "{each}");
    assert!(each.contains("found positions: see above"), "{each}");
    let quiet = db.pupctl(["--quiet", "doctor", "--exit-code"]).failure(3);
    // Whoever is mailed what is told, as by cron, has to hear of it.
    let all = format!("{}{}", told.stdout, told.stderr);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", all.as_str()));
    let unasked = db.pupctl(["--quiet", "doctor"]).success();
    assert_eq!((unasked.stdout.as_str(), unasked.stderr.as_str()), ("", ""));
}

#[test]
fn a_table_that_somebody_locks_keeps_nobody_waiting() {
    let db = by_month();
    append(&db, "A", "1");
    let mut holder = db.client();
    let lock = format!("BEGIN; LOCK TABLE events_{}", crate::suffix(&db, 0));
    holder.batch_execute(&lock).expect("the lock");
    let told = crate::found_with(&db, &["--patience", "0s"]);
    let has = |start: &str| told.iter().any(|line| line.starts_with(start));
    assert!(has("warning not_checked the last event"), "{told:?}");
    assert!(has("warning long_transaction process "), "{told:?}");
    holder.batch_execute("ROLLBACK").expect("the end");
    assert_eq!(crate::found(&db), crate::NOTHING);
}

#[test]
fn a_look_that_fails_is_a_finding_of_its_own() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "-q", "--partition-by", "none"]).success();
    append(&db, "A", "1");
    // A view in the place of the list fails when it is read.
    db.execute(
        "ALTER TABLE pupctl_archives RENAME TO kept;
         CREATE VIEW pupctl_archives AS SELECT 1 / 0 AS id",
    );
    let told = crate::found(&db);
    assert!(told.iter().any(|line| line.starts_with("warning not_checked ")), "{told:?}");
    let page = doctor(&db, &[]).success().stdout;
    assert!(page.contains("not looked at:") && page.contains("well:"), "{page}");
}
