//! A whole real history, where there is one: `PUPCTL_REAL_EVENTS` names its file. Without it these
//! tests have nothing to do.

use std::path::{Path, PathBuf};

use crate::support::{TestDatabase, TestServer};

/// The file, by its whole path.
fn real() -> Option<PathBuf> {
    let path = std::env::var_os("PUPCTL_REAL_EVENTS").filter(|path| !path.is_empty());
    if path.is_none() {
        crate::skipped("PUPCTL_REAL_EVENTS names no file of events");
    }
    Some(std::fs::canonicalize(path?).expect("the file that PUPCTL_REAL_EVENTS names"))
}

/// A store, and the import of the file into it .
fn import(server: &TestServer, init: &[&str], file: &Path) -> TestDatabase {
    let db = TestDatabase::on(server);
    db.pupctl(["schema", "init", "--partition-by"].iter().chain(init)).success();
    let file = file.to_str().expect("a path in UTF-8");
    let import = ["events", "import", file, "--create-partitions", "-o", "json"];
    let report = db.pupctl(import).success().json();
    assert_eq!(report["events"], report["imported"]);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM events"), report["events"]);
    // Versions begin with 1 and have no holes, so the heads know how many events there are.
    let heads = "SELECT sum(aggregate_version)::bigint FROM aggregate_heads";
    assert_eq!(db.one::<i64>(heads), report["events"]);
    let again = db.pupctl(["events", "import", file, "--skip-existing"]).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
    db
}

#[test]
fn every_layout_takes_it() {
    let Some(file) = real() else { return };
    let server = TestServer::private(&[("max_locks_per_transaction", "256")]);
    for layout in
        ["none", "context", "hash", "month", "context,hash", "context,month", "hash,month"]
    {
        let hash: &[&str] = if layout.contains("hash") { &["--hash-partitions", "4"] } else { &[] };
        let db = import(&server, &[&[layout][..], hash].concat(), &file);
        db.pupctl(["partitions", "check"]).success();
    }
}

#[test]
fn many_partitions_need_a_larger_lock_table() {
    let Some(file) = real() else { return };
    let init = ["hash,month", "--hash-partitions", "16"];
    // As servers are when nobody has changed them.
    let settings = [("max_locks_per_transaction", "64"), ("max_connections", "100")];
    let usual = TestServer::private(&settings);
    let db = TestDatabase::on(&usual);
    db.pupctl(["schema", "init", "--partition-by"].iter().chain(&init)).success();
    let path = file.to_str().expect("a path in UTF-8");
    let told = crate::refused_file(&db, &[path, "--create-partitions"], 1);
    assert!(told.contains("set max_locks_per_transaction = "), "{told}");
    import(&TestServer::private(&[("max_locks_per_transaction", "1024")]), &init, &file);
}
