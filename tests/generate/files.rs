//! The files themselves.

use std::os::unix::fs::PermissionsExt;

use crate::support::Pupctl;
use crate::{files, generate};

const FORMATS: [&str; 5] = ["refinery", "flyway", "sqlx", "goose", "dbmate"];

/// All files of a folder in one text.
fn whole(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    generate(folder.path(), arguments).success();
    let files = files(&folder.path().join("migrations"));
    let texts: Vec<_> = files.iter().map(|(name, text)| format!("==== {name}\n{text}")).collect();
    texts.concat()
}

#[test]
fn refinery_without_partitions() {
    insta::assert_snapshot!(whole(&["--partition-by", "none"]));
}

#[test]
fn refinery_with_contexts_and_fixed_months() {
    let contexts = ["--partition-by", "context,month", "--contexts", "Identity,it's"];
    let months = ["--from", "2025-10", "--months", "2"];
    insta::assert_snapshot!(whole(&[contexts, months].concat()));
    let other = whole(&[&contexts[..], &["--schema", "Event \"Store"]].concat());
    assert!(other.contains("CREATE SCHEMA \"Event \"\"Store\""), "{other}");
}

#[test]
fn goose_and_dbmate_have_a_way_down_that_fails() {
    insta::assert_snapshot!(whole(&[
        "--partition-by",
        "hash",
        "--hash-partitions",
        "2",
        "--format",
        "goose"
    ]));
    let dbmate = whole(&["--partition-by", "none", "--format", "dbmate"]);
    for mark in ["-- migrate:up\n", "-- migrate:down\nDO", "RAISE EXCEPTION 'pupctl does not"] {
        assert_eq!(dbmate.matches(mark).count(), 4, "{mark}\n{dbmate}");
    }
}

#[test]
fn names_sort_in_the_order_of_the_versions() {
    let names = |format: &str| -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        generate(folder.path(), &["--partition-by", "none", "--format", format]).success();
        files(&folder.path().join("migrations")).into_keys().collect()
    };
    let second: Vec<_> = FORMATS.iter().map(|format| names(format)[1].clone()).collect();
    assert_eq!(
        second,
        [
            "V2__events.sql",
            "V002__events.sql",
            "0002_events.sql",
            "00002_events.sql",
            "00000000000002_events.sql"
        ]
    );
}

#[test]
fn the_bytes_are_the_same_every_time_and_everywhere() {
    for format in FORMATS {
        let arguments = ["--partition-by", "hash,month", "--from", "2025-10", "--format", format];
        let text = whole(&arguments);
        assert_eq!(text, whole(&arguments), "{format}");
        assert!(!text.contains('\r') && text.ends_with('\n') && !text.ends_with("\n\n"), "{text}");
    }
}

#[test]
fn a_second_run_writes_nothing_and_a_different_one_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let none = ["--partition-by", "none"];
    let first = generate(folder.path(), &none).success();
    assert!(first.stderr.contains("4 files written to migrations"), "{first}");
    assert!(first.stderr.contains("pupctl partitions ensure"), "{first}");
    let migrations = folder.path().join("migrations");
    let written = files(&migrations);
    let mode = std::fs::metadata(migrations.join("V2__events.sql")).expect("a file").permissions();
    assert_eq!(mode.mode() & 0o077 & !0o022, 0o044, "others may read it");
    let again = generate(folder.path(), &none).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");

    // A checkout on Windows is no change.
    let windows = written["V1__heads_and_checkpoints.sql"].replace('\n', "\r\n");
    std::fs::write(migrations.join("V1__heads_and_checkpoints.sql"), windows).expect("a file");
    let again = generate(folder.path(), &none).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");

    let other = generate(folder.path(), &["--partition-by", "month"]).failure(1);
    assert!(other.stderr.contains("files are there already and different"), "{other}");
    for name in ["V2__events.sql", "V5__layout.sql"] {
        assert!(other.stderr.contains(&format!("migrations/{name}")), "{other}");
    }
    std::fs::remove_file(migrations.join("V3__indexes.sql")).expect("a file less");
    let missing = generate(folder.path(), &none).success();
    assert!(missing.stderr.contains("1 file written"), "{missing}");
    assert_eq!(files(&migrations)["V3__indexes.sql"], written["V3__indexes.sql"]);
}

#[test]
fn a_version_that_another_file_has_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("migrations")).expect("a folder");
    std::fs::write(folder.path().join("migrations/V002__mine.sql"), "SELECT 1;\n").expect("a file");
    let refused = generate(folder.path(), &["--partition-by", "none"]).failure(1);
    assert!(refused.stderr.contains("migrations/V002__mine.sql"), "{refused}");
    assert_eq!(files(&folder.path().join("migrations")).len(), 1, "nothing was written");
}

#[test]
fn wrong_requests_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("file"), "").expect("a file");
    let refused = |arguments: &[&str], words: &str| {
        let output = generate(folder.path(), arguments).failure(2);
        assert!(output.stderr.contains(words), "{output}");
    };
    refused(&["--partition-by", "none", "--format", "liquibase"], "refinery, flyway, sqlx");
    refused(&["--partition-by", "none", "--dir", "file"], "file is a file, not a folder");
    refused(&["--partition-by", "none", "--from", "2025-10"], "has no months");
    let from = ["--partition-by", "month", "--from", "2025-10", "--months", "0"];
    refused(&from, "at least one month");
    refused(&[], "no layout was chosen");
    refused(&["--partition-by", "none", "--schema", "a$pupctl$b"], "cannot be made for the schema");
    assert!(!folder.path().join("migrations").exists());
}

#[test]
fn a_dry_run_shows_the_files_and_plain_goes_to_standard_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let dry = generate(folder.path(), &["--partition-by", "none", "--dry-run"]).success();
    assert!(dry.stdout.starts_with("-- V1__heads_and_checkpoints.sql\n"), "{dry}");
    assert!(dry.stderr.contains("nothing was written"), "{dry}");
    let plain = generate(folder.path(), &["--partition-by", "none", "--format", "plain"]).success();
    assert!(plain.stdout.contains("\nBEGIN;\n") && plain.stdout.ends_with("COMMIT;\n"), "{plain}");
    assert!(!folder.path().join("migrations").exists());

    let json = ["--partition-by", "none", "--format", "plain", "--dir", "sql", "-o", "json"];
    let json = generate(folder.path(), &json).success().json();
    assert_eq!(json["files"][0]["name"], "event_store.sql");
    assert_eq!(json["files"][0]["there"], false);
    let written = std::fs::read_to_string(folder.path().join("sql/event_store.sql"));
    assert_eq!(written.expect("the file"), plain.stdout);
}

#[test]
fn the_configuration_says_where_and_what() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "schema = \"es\"\n[migrations]\ndir = \"sql/store\"\n[layout]\n\
                  partition_by = \"context\"\n[[contexts]]\nname = \"A\"\n";
    std::fs::write(folder.path().join("pupctl.toml"), config).expect("a file");
    Pupctl::new(folder.path()).args(["schema", "generate"]).run().success();
    let files = files(&folder.path().join("sql/store"));
    assert!(files["V2__events.sql"].contains("\"es\".\"events_a\""), "{files:?}");
}
