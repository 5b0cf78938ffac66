//! Servers that end in the middle, that are full, and that replay another one.

use std::process::Command;

use insta::assert_snapshot;

use crate::event::{count, heads, lines};
use crate::files::order;
use crate::support::{Output, TestDatabase, TestServer, eventually};
use crate::{file, told};

/// Ends a server as a power cut would, and waits until it is gone.
fn cut(server: &TestServer) {
    let folder = server.embedded().start().expect("it runs").server.folder;
    let pid_file = folder.join("data/postmaster.pid");
    let text = std::fs::read_to_string(&pid_file).expect("its process");
    let pid = text.lines().next().expect("a line").to_owned();
    Output::of(Command::new("kill").args(["-s", "QUIT", &pid])).success();
    eventually("the server is gone", || {
        !Command::new("kill").args(["-0", &pid]).output().expect("kill").status.success()
    });
}

#[test]
fn a_server_that_ends_in_the_middle() {
    let server = TestServer::private(&[]);
    let db = TestDatabase::on(&server);
    db.pupctl(["schema", "init", "--partition-by", "month", "--months", "0"]).success();
    let first = file(&db, lines(&order(9, 1)));
    db.pupctl(["events", "import", first, "--create-partitions"]).success();
    let long = file(&db, lines(&order(1, 12_000)));
    // Before the load, and while rows are copied.
    let mut messages = String::new();
    for table in ["pupctl_operations", "events_2024_02"] {
        let mut holder = db.client();
        let lock = format!("BEGIN; LOCK TABLE {table} IN SHARE MODE");
        holder.batch_execute(&lock).expect("a lock");
        let import = db.command(["events", "import", long]).spawn();
        let at_work = "SELECT count(*) FROM pg_stat_activity
            WHERE application_name = 'pupctl/events import' AND wait_event_type = 'Lock'";
        eventually("the import is at work", || db.one::<i64>(at_work) == 1);
        cut(&server);
        messages += &told(&import.wait().failure(1));
        server.embedded().start().expect("it starts again");
        assert_eq!(count(&db), 1, "{table}");
    }
    let mut settings = insta::Settings::clone_current();
    // Which words arrive last is a matter of luck.
    settings.add_filter(r"(journal|server): .+", "$1: [last words]");
    settings.bind(|| {
        assert_snapshot!(messages, @"
        error: failed while writing the journal: [last words]
        error: failed while copying events to the server: [last words]
        hint: run it again: what was loaded is whole, and the rest goes on from there
        ");
    });
    db.pupctl(["events", "import", long]).success();
    assert_eq!(heads(&db), ["Shop|Order|o-1|12000", "Shop|Order|o-9|1"]);
    // Only the second one had begun its row.
    let ends = ["events import: interrupted", "events import: done"];
    assert!(db.journal().ends_with(&ends.map(str::to_owned)), "{:?}", db.journal());
}

/// A small file system in memory, gone with the value. Making it needs root, and Linux.
#[cfg(target_os = "linux")]
struct SmallDisk {
    folder: tempfile::TempDir,
}

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn new(owner_of: &std::path::Path) -> Option<Self> {
        let folder = crate::support::open_folder();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs"])
            .arg(folder.path())
            .output();
        if !mount.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let disk = Self { folder };
        let inner = disk.path();
        std::fs::create_dir(&inner).expect("a folder");
        let like = format!("--reference={}", owner_of.display());
        Output::of(Command::new("chown").arg(like).arg(&inner)).success();
        Some(disk)
    }

    /// The folder for a tablespace.
    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("space")
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.folder.path()).status();
        let unmounted = unmounted.is_ok_and(|status| status.success());
        assert!(unmounted || std::thread::panicking(), "{} stays", self.folder.path().display());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_loads_nothing() {
    let server = TestServer::private(&[]);
    let data = server.embedded().start().expect("it runs").server.folder.join("data");
    let Some(disk) = SmallDisk::new(&data) else {
        crate::skipped("only root may mount a small file system");
        return;
    };
    let space = format!("CREATE TABLESPACE small LOCATION '{}'", disk.path().display());
    server.client().batch_execute(&space).expect("a tablespace");
    let large = lines(&order(1, 60_000));
    let mut messages = String::new();
    for setting in ["default_tablespace", "temp_tablespaces"] {
        let db = TestDatabase::on(&server);
        let set = |value: &str| {
            let name = db.name();
            db.execute(&format!("ALTER DATABASE {name} SET {setting} = {value}"));
        };
        set("small");
        db.pupctl(["schema", "init", "--partition-by", "none"]).success();
        let file = file(&db, &large);
        let output = db.pupctl(["events", "import", file]).failure(1);
        messages += &told(&output);
        assert_eq!((count(&db), heads(&db).len()), (0, 0));
        // With room it works.
        if setting == "default_tablespace" {
            db.execute("ALTER TABLE events SET TABLESPACE pg_default");
            db.execute("ALTER INDEX ALL IN TABLESPACE small SET TABLESPACE pg_default");
        }
        db.execute(&format!("ALTER DATABASE {} RESET {setting}", db.name()));
        db.pupctl(["events", "import", file]).success();
    }
    let mut settings = insta::Settings::clone_current();
    // Newer servers say how they extend it.
    settings.add_filter(r#"file "[^"]+"( with \w+\(\))?"#, "[file]");
    settings.add_filter(r"line \d+", "line [number]");
    settings.bind(|| {
        assert_snapshot!(messages, @"
        error: events.ndjson, line [number]: failed while copying events to the server: could not extend [file]: No space left on device (SQLSTATE 53100)
          where: COPY events, line [number]
        hint: Check free disk space.
        error: failed while checking the events of the file: could not extend [file]: No space left on device (SQLSTATE 53100)
          where: COPY pupctl_import_packs, line [number]
        hint: Check free disk space.
        ");
    });
    // The server needs it until its end.
    drop(server);
    drop(disk);
}
