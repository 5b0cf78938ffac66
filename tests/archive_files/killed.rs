//! Killed at every point: an archive is whole or absent, and the next run makes it.

#![cfg(feature = "failpoints")]

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use pupctl::archive::Format;
use pupctl::archive::folder::Archive;

use crate::support::TestDatabase;
use crate::table::Table;

/// The points in the writing of a file, in their order.
const POINTS: [&str; 5] = [
    "archive::begun",
    "archive::written",
    "archive::proven",
    "archive::before_rename",
    "archive::after_rename",
];

/// Where the child finds what it is to do.
const WORK: &str = "ARCHIVE_FILES_KILLED";

#[test]
fn a_killed_archive_is_whole_or_absent() {
    if let Ok(work) = std::env::var(WORK) {
        pupctl::failpoint::setup();
        let (url, parent) = work.split_once('\n').expect("two lines");
        let table = Table::of(url, "public", "events");
        let _ = table.archive(Path::new(parent), "a", Format::Copy);
        return;
    }
    let db = TestDatabase::new();
    let table = Table::events(&db, 100);
    for point in POINTS {
        let parent = tempfile::tempdir().expect("a folder");
        let status = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "killed::a_killed_archive_is_whole_or_absent"])
            .env(WORK, format!("{}\n{}", db.url(), parent.path().display()))
            .env("FAILPOINTS", format!("{point}=return"))
            .output()
            .expect("it runs")
            .status;
        assert_eq!(status.signal(), Some(9), "{point}: {status}");
        let destination = parent.path().join("a");
        let is_whole = point == "archive::after_rename";
        assert_eq!(destination.exists(), is_whole, "{point}");
        if !is_whole {
            table.archive(parent.path(), "a", Format::Copy).expect("an archive");
        }
        let archive = Archive::open(&destination).expect("an archive");
        assert_eq!(archive.verify(&mut |_| Ok(())).expect("verified"), table.contents());
        assert_eq!(std::fs::read_dir(parent.path()).expect("a folder").count(), 1, "{point}");
    }
}
