//! Servers that cannot be worked with, and the private one that holds data.

use std::path::PathBuf;

use insta::assert_snapshot;
use pupctl::server::Programs;

use super::{refused, told};
use crate::support::{
    Pupctl, Standby, TestDatabase, TestServer, eventually, fingerprint, open_folder,
};

/// The programs of PostgreSQL 13, which pupctl itself does not look for.
fn postgres_13() -> Programs {
    let home = |name, rest| std::env::var_os(name).map(|home| PathBuf::from(home).join(rest));
    let caches = [home("XDG_CACHE_HOME", ""), home("HOME", ".cache"), Some("/var/cache".into())];
    let fetched = caches.into_iter().flatten().map(|cache| cache.join("pupctl/postgresql/13/bin"));
    [PathBuf::from("/usr/lib/postgresql/13/bin"), PathBuf::from("/usr/pgsql-13/bin")]
        .into_iter()
        .chain(fetched)
        .find_map(|bin| Programs::in_folder(bin).ok())
        .expect("the programs of PostgreSQL 13: run scripts/setup --postgres 13")
}

#[test]
fn a_server_that_is_too_old() {
    let server = TestServer::private_on(&postgres_13(), &[]);
    let db = TestDatabase::on(&server);
    let version: String = db.one("SELECT current_setting('server_version')");
    let init = refused(&db, ["schema", "init", "--partition-by", "month"], 1);
    assert_snapshot!(init.replace(&version, "13"), @"
    error: the server is PostgreSQL 13; pupctl needs 14 or newer
    hint: upgrade the server: DETACH PARTITION … CONCURRENTLY came with version 14
    ");
    assert_eq!(refused(&db, ["schema", "status"], 1), init);
}

#[test]
fn a_standby_is_read_and_not_written() {
    let programs = Programs::find().expect("server programs");
    let primary = TestServer::private_on(&programs, &[]);
    let db = TestDatabase::on(&primary);
    db.pupctl(["schema", "init", "--partition-by", "context", "--contexts", "A"]).success();
    let standby = Standby::of(&primary, &programs);
    let url = standby.url_of(db.name());
    let session = || postgres::Client::connect(&url, postgres::NoTls).expect("a session");
    // It follows the primary.
    db.execute(
        "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
            event_id, event_type, payload)
         VALUES ('A', 'Order', '1', 1, gen_random_uuid(), 'OrderPlaced', '{}')",
    );
    db.pupctl(["contexts", "add", "B"]).success();
    eventually("the standby has the new partition", || {
        let there = "SELECT to_regclass('events_b') IS NOT NULL";
        session().query_one(there, &[]).is_ok_and(|row| row.get(0))
    });

    let pupctl = |arguments: &[&str]| db.command(arguments).env("PUPCTL_DATABASE_URL", &url).run();
    let before = fingerprint(&mut session());
    assert_snapshot!(told(&pupctl(&["contexts", "add", "C"]).failure(1)), @"
    error: the server is a standby: it replays another server and takes no writes
    hint: connect to the primary server
    ");
    let init = pupctl(&["schema", "init", "--schema", "other", "--partition-by", "none"]);
    assert!(told(&init.failure(1)).contains("is a standby"));
    assert!(told(&pupctl(&["partitions", "ensure"]).failure(1)).contains("is a standby"));
    std::fs::write(db.folder().join("events.ndjson"), "").expect("a file");
    let import = pupctl(&["events", "import", "events.ndjson"]);
    assert!(told(&import.failure(1)).contains("is a standby"));
    let import = told(&pupctl(&["events", "import", "events.ndjson", "--dry-run"]).failure(1));
    assert!(import.contains("no read-only session"), "{import}");
    for read in [["partitions", "list"], ["contexts", "list"], ["schema", "status"]] {
        assert!(pupctl(&read).success().stdout.contains("events"), "{read:?}");
    }
    let check = pupctl(&["partitions", "check", "--exit-code"]).success();
    assert!(check.stderr.contains("No problem found"), "{check}");
    let export = ["events", "export"];
    assert_eq!(pupctl(&export).success().stdout, db.pupctl(export).success().stdout);
    let planned = pupctl(&["contexts", "add", "C", "--dry-run"]).success();
    assert!(planned.stdout.contains("events_c"), "{planned}");
    assert_eq!(fingerprint(&mut session()), before);
}

#[test]
fn data_is_deleted_only_when_somebody_says_yes() {
    let folder = open_folder();
    let pupctl = |arguments: &[&str]| Pupctl::new(folder.path()).args(arguments).run();
    pupctl(&["embedded", "start"]).success();
    let delete = ["embedded", "stop", "--delete-data"];
    assert_snapshot!(told(&pupctl(&delete).failure(2)), @"
    error: This deletes the private server of this folder with all its data. There is no terminal to answer on
    hint: add --yes if you are sure
    ");
    // An answer that nobody can see the question to is none.
    let answered = Pupctl::new(folder.path()).args(delete).stdin("yes\n").run().failure(2);
    assert!(answered.stderr.contains("no terminal"), "{answered}");
    let status = pupctl(&["embedded", "status"]).success();
    assert!(status.stdout.starts_with("running: "), "{status}");

    pupctl(&delete).failure(2);
    let deleted = Pupctl::new(folder.path()).args(delete).args(["--yes"]).run().success();
    assert_eq!((deleted.stdout.as_str(), deleted.stderr.as_str()), ("", "Deleted\n"));
    let status = pupctl(&["embedded", "status"]).success();
    assert!(status.stdout.starts_with("absent: "), "{status}");
}
