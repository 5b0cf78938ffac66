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
        ");
    });
    db.pupctl(["events", "import", long]).success();
    assert_eq!(heads(&db), ["Shop|Order|o-1|12000", "Shop|Order|o-9|1"]);
    // Only the second one had begun its row.
    let ends = ["events import: interrupted", "events import: done"];
    assert!(db.journal().ends_with(&ends.map(str::to_owned)), "{:?}", db.journal());
}
