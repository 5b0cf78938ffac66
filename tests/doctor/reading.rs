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
    let (findings, rest) = page.split_once("\n\n").expect("groups");
    insta::assert_snapshot!(
        findings.lines().filter(|line| !line.contains("fsync")).collect::<Vec<_>>().join("\n"),
        @""
    );
    assert!(rest.contains("well: connection"), "{rest}");
    assert!(rest.contains("Each is explained: docs/reference/findings.md#"), "{rest}");
    assert_eq!(told.stderr.trim(), "3 problems found");
    let each = doctor(&db, &["--verbose"]).success().stdout;
    assert!(each.contains("well  partitions: every month, context and share is there"), "{each}");
    assert!(each.contains("found positions: see above"), "{each}");
    let quiet = db.pupctl(["--quiet", "doctor", "--exit-code"]).failure(3);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

#[test]
fn a_table_that_somebody_locks_is_a_finding_of_its_own() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "-q", "--partition-by", "none"]).success();
    append(&db, "A", "1");
    // A view in the place of the journal fails when it is read.
    db.execute(
        "ALTER TABLE pupctl_archives RENAME TO kept;
         CREATE VIEW pupctl_archives AS SELECT 1 / 0 AS id",
    );
    let told = crate::found(&db);
    assert!(told.iter().any(|line| line.starts_with("warning not_checked ")), "{told:?}");
    let page = doctor(&db, &[]).success().stdout;
    assert!(page.contains("not looked at:") && page.contains("well:"), "{page}");
}
