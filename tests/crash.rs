//! Killed at every fail point, at every time that it is reached: the same command, run again,
//! ends where an undisturbed run ends.

#![cfg(feature = "failpoints")]

mod support;

use std::collections::BTreeSet;

use pupctl::server::Embedded;
use support::{Output, Pupctl, TestDatabase, TestServer, open_folder};

/// The points that every writing run passes, for a run with so many steps, of which so many are
/// transactions of their own.
fn run(steps: usize, transactions: usize) -> Vec<(&'static str, usize)> {
    vec![
        ("lock::taken", 1),
        ("operation::started", 1),
        ("execute::before_step", steps),
        ("execute::before_commit", transactions),
        ("execute::after_step", steps),
        ("operation::before_end", 1),
    ]
}

/// The points that a run passes which applies so many migrations.
fn migrations(count: usize) -> Vec<(&'static str, usize)> {
    vec![
        ("migration::before_apply", count),
        ("migration::before_record", count),
        ("migration::after_apply", count),
    ]
}

/// A prepared store and the command that is killed.
struct Scenario<'a> {
    server: &'a TestServer,
    /// The files that the commands read.
    files: &'a [(&'a str, String)],
    preparation: &'a [&'a [&'a str]],
    command: &'a [&'a str],
    /// What must hold after every kill, before the second run.
    after_kill: fn(&TestDatabase),
}

impl Scenario<'_> {
    fn prepared(&self) -> TestDatabase {
        let db = TestDatabase::on(self.server);
        for (name, text) in self.files {
            let path = db.folder().join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        for arguments in self.preparation {
            db.pupctl(*arguments).success();
        }
        db
    }

    /// Kills at each point, at every time that it is reached: as often as is said here.
    fn kill_everywhere(&self, points: &[(&str, usize)]) {
        let undisturbed = self.prepared();
        // Each point would kill at the next time, if there were one.
        let next = points.iter().map(|(point, times)| format!("{point}={times}*off->return"));
        let next = next.collect::<Vec<_>>().join(";");
        undisturbed.command(self.command).failpoints(&next).run().success();
        let dump = whole(&undisturbed);
        for &(point, times) in points {
            for passed in 0..times {
                self.kill_at(point, passed, &dump);
            }
        }
    }

    fn kill_at(&self, point: &str, passed: usize, undisturbed: &str) {
        let db = self.prepared();
        let action = if passed == 0 { String::new() } else { format!("{passed}*off->") };
        let run = db.command(self.command).failpoints(&format!("{point}={action}return")).run();
        let run = run.killed();
        (self.after_kill)(&db);
        // The server may still be about to notice that the killed one is gone.
        let again = db.pupctl(self.command.iter().chain(&["--wait", "60s"])).success();
        assert_eq!(whole(&db), undisturbed, "{point} after {passed}\n{run}\n{again}");
        journal_tells_both(&db, self.preparation.len(), again.stderr.contains("Done:"), point);
    }
}

/// What a store is and holds. Positions may have gaps, so they count as an order alone.
fn whole(db: &TestDatabase) -> String {
    let rows = |rows: &str| format!("SELECT ({rows})::text FROM public.");
    let there = "SELECT to_regclass('public.events') IS NOT NULL";
    let mut lines = vec![db.dump()];
    if db.one(there) {
        let events = rows("to_jsonb(event) - 'global_position'") + "events AS event";
        lines.extend(db.texts(&(events + " ORDER BY global_position")));
        let heads = rows("to_jsonb(head) - 'updated_at'") + "aggregate_heads AS head";
        lines.extend(db.texts(&(heads + " ORDER BY 1")));
    }
    lines.join("\n")
}

/// The killed run says so, as far as it had begun a row; the next is done, if only because there
/// was nothing left to do.
fn journal_tells_both(db: &TestDatabase, prepared: usize, worked: bool, point: &str) {
    let journal = db.journal();
    let outcomes: Vec<_> = journal[prepared..]
        .iter()
        .map(|row| row.split_once(": ").expect("command and outcome").1)
        .collect();
    // A run that is killed before or while the journal is made leaves no row.
    let begun = outcomes == ["interrupted", "done"];
    // What had nothing to do is told by an earlier row of the same command, where there is one.
    let ended = outcomes == [if worked { "done" } else { "interrupted" }];
    assert!(begun || ended, "{point}: {journal:?}");
    // It takes the lock before it begins a row.
    if point == "lock::taken" || point.starts_with("operation::") {
        let first = if point == "lock::taken" { "done" } else { "interrupted" };
        assert_eq!(outcomes[0], first, "{point}: {journal:?}");
    }
}

const INIT: &[&str] =
    &["schema", "init", "--partition-by", "context,month", "--contexts", "A", "--months", "1"];

fn nothing_more(_: &TestDatabase) {}

#[test]
fn schema_init_is_finished_by_the_next_run() {
    let scenario = Scenario {
        server: TestServer::shared(),
        files: &[],
        preparation: &[],
        command: INIT,
        after_kill: nothing_more,
    };
    // pupctl's own tables and the store's by migrations; the layout and the partitions of two tables.
    scenario.kill_everywhere(&[run(10 + 3, 3), migrations(10)].concat());
}

#[test]
fn contexts_add_is_finished_by_the_next_run() {
    let scenario = Scenario {
        server: TestServer::shared(),
        files: &[],
        preparation: &[INIT],
        command: &["contexts", "add", "B"],
        after_kill: nothing_more,
    };
    // The layout, the heads, the events.
    scenario.kill_everywhere(&run(3, 3));
}

#[test]
fn partitions_ensure_is_finished_by_the_next_run() {
    // Room for three new partitions in a transaction.
    let settings = [("max_locks_per_transaction", "10"), ("max_connections", "12")];
    let server = TestServer::private(&settings);
    let scenario = Scenario {
        server: &server,
        files: &[],
        preparation: &[&["schema", "init", "--partition-by", "month", "--months", "0"]],
        command: &["partitions", "ensure", "--months", "9"],
        after_kill: nothing_more,
    };
    scenario.kill_everywhere(&run(3, 3));
}

#[test]
fn schema_migrate_is_finished_by_the_next_run() {
    let folder = open_folder();
    let generate = ["schema", "generate", "--partition-by", "context", "--contexts", "A"];
    Pupctl::new(folder.path()).args(generate).run().success();
    let generated = std::fs::read_dir(folder.path().join("migrations")).expect("the folder");
    let own = "V10__orders.sql, V11__index.sql";
    let texts = [
        "SET search_path = public; CREATE TABLE orders (id int); INSERT INTO orders VALUES (1)",
        "-- pupctl: no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY orders_id ON orders (id)",
    ];
    let names = generated.map(|entry| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        (format!("migrations/{name}"), std::fs::read_to_string(path).expect("the file"))
    });
    let own = own.split(", ").zip(texts);
    let own = own.map(|(name, text)| (format!("migrations/{name}"), text.to_owned()));
    let files: Vec<_> = names.chain(own).collect();
    let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    let scenario = Scenario {
        server: TestServer::shared(),
        files: &files,
        preparation: &[],
        command: &["schema", "migrate"],
        after_kill: nothing_more,
    };
    // pupctl's own tables but what the file of the layout brings, four generated files, two others.
    scenario.kill_everywhere(&[run(3 + 6, 0), migrations(3 + 6)].concat());
}

/// The points that an import passes in so many transactions.
fn import(transactions: usize) -> Vec<(&'static str, usize)> {
    vec![
        ("import::checked", 1),
        ("import::copied", transactions),
        ("import::before_commit", transactions),
        ("import::after_commit", transactions),
    ]
}

/// A file with an event of each of these months, the next versions of as many aggregates as there
/// are remainders, from version `1 + before` on.
fn monthly(months: std::ops::Range<u32>, before: u32, aggregates: u32) -> String {
    let line = |number: u32| {
        let (month, version) = (number % 18, before + number / aggregates + 1);
        format!(
            "{{\"bounded_context\":\"A\",\"aggregate_type\":\"T\",\"aggregate_id\":\"{}\",\
             \"aggregate_version\":{version},\"event_type\":\"E\",\"payload\":{number},\
             \"event_id\":\"00000000-0000-4000-8000-{before:06}{number:06}\",\
             \"created_at\":\"{}-{:02}-07T00:00:00Z\"}}\n",
            number % aggregates,
            2014 + month / 12,
            month % 12 + 1
        )
    };
    months.map(line).collect()
}

#[test]
fn an_import_of_several_transactions_is_finished_by_the_next_run() {
    // Room for the rows of seven partitions in a transaction.
    let settings = [("max_locks_per_transaction", "10"), ("max_connections", "12")];
    let server = TestServer::private(&settings);
    let create = &["events", "import", "first.ndjson", "--create-partitions"];
    let scenario = Scenario {
        server: &server,
        // Five aggregates of 18 months, three of which grow in the second file; what belongs
        // to one of them is in every transaction.
        files: &[("first.ndjson", monthly(0..18, 0, 5)), ("second.ndjson", monthly(0..18, 4, 3))],
        preparation: &[&["schema", "init", "--partition-by", "month", "--months", "0"], create],
        command: &["events", "import", "second.ndjson"],
        after_kill: nothing_more,
    };
    scenario.kill_everywhere(&[run(0, 0), import(3)].concat());
}

#[test]
fn an_import_that_makes_its_partitions_is_finished_by_the_next_run() {
    let scenario = Scenario {
        server: TestServer::shared(),
        files: &[("first.ndjson", monthly(0..18, 0, 5))],
        preparation: &[INIT],
        command: &["events", "import", "first.ndjson", "--create-partitions"],
        after_kill: |db| assert!([0, 18].contains(&db.one::<i64>("SELECT count(*) FROM events"))),
    };
    scenario.kill_everywhere(&[run(1, 1), import(1)].concat());
}

/// The months of the context B that writers can reach.
fn reachable(db: &TestDatabase) -> usize {
    let tree = db.tree("public.events");
    let lines = tree.lines().skip_while(|line| !line.contains("IN ('B')"));
    lines.skip(1).take_while(|line| line.starts_with("    ")).count()
}

#[test]
fn a_large_branch_is_attached_whole_or_not_at_all() {
    let settings = [("max_locks_per_transaction", "10"), ("max_connections", "12")];
    let server = TestServer::private(&settings);
    let init = &["schema", "init", "--partition-by", "context,month", "--months", "8"];
    let scenario = Scenario {
        server: &server,
        files: &[],
        preparation: &[init],
        command: &["contexts", "add", "B"],
        after_kill: |db| assert!([0, 9].contains(&reachable(db)), "{}", db.tree("public.events")),
    };
    // The layout, the heads, the branch in three batches, the attachment.
    scenario.kill_everywhere(&run(6, 6));
}

#[test]
fn check_tells_of_a_branch_that_was_left_half_built() {
    let settings = [("max_locks_per_transaction", "10"), ("max_connections", "12")];
    let server = TestServer::private(&settings);
    let db = TestDatabase::on(&server);
    db.pupctl(["schema", "init", "--partition-by", "context,month", "--months", "8"]).success();
    let killed =
        db.command(["contexts", "add", "B"]).failpoints("execute::after_step=3*off->return");
    killed.run().killed();
    let check = db.pupctl(["partitions", "check", "--exit-code", "-o", "json"]).failure(3);
    let findings = check.json()["findings"].clone();
    let list = findings.as_array().expect("a list");
    let names: Vec<_> = list.iter().filter_map(|finding| finding["check"].as_str()).collect();
    assert_eq!(names, ["missing_partition", "unfinished_branch"], "{check}");
    // The layout knows the context, so the command that makes what is missing finishes it too.
    db.pupctl(["partitions", "ensure", "--wait", "60s"]).success();
    assert_eq!(reachable(&db), 9);
    db.pupctl(["partitions", "check", "--exit-code"]).success();
}

/// The points of `pupctl embedded start` in their order, then that of `stop`.
const EMBEDDED: [(&str, &str); 5] = [
    ("start", "embedded::after_initdb"),
    ("start", "embedded::before_rename"),
    ("start", "embedded::after_rename"),
    ("start", "embedded::after_start"),
    ("stop", "embedded::after_stop"),
];

/// A folder whose server is removed at the end of the test.
struct Folder(tempfile::TempDir);

impl Folder {
    fn run(&self, verb: &str, points: &str) -> Output {
        Pupctl::new(self.0.path()).args(["embedded", verb]).failpoints(points).run()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let removed = Embedded::in_folder(self.0.path().join(".pupctl")).remove();
        assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
    }
}

#[test]
fn the_embedded_server_survives_one_kill_after_another() {
    let folder = Folder(open_folder());
    for (verb, point) in EMBEDDED {
        folder.run(verb, &format!("{point}=return")).killed();
    }
    let started = folder.run("start", "").success();
    let mut client = postgres::Client::connect(started.stdout.trim(), postgres::NoTls)
        .unwrap_or_else(|error| panic!("{error}\n{started}"));
    assert_eq!(client.query_one("SELECT 1", &[]).expect("an answer").get::<_, i32>(0), 1);
    folder.run("stop", "").success();
}

/// The points of `pupctl events export`.
const EXPORT: [&str; 2] = ["export::before_window", "export::before_rename"];

#[test]
fn an_export_that_was_killed_leaves_the_file_of_before_or_none() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "none"]).success();
    let file = db.folder().join("events.jsonl");
    for before in [None, Some("of before\n")] {
        if let Some(text) = before {
            std::fs::write(&file, text).expect("a file");
        }
        for point in EXPORT {
            let export = db.command(["events", "export", "events.jsonl", "--overwrite"]);
            export.failpoints(&format!("{point}=return")).run().killed();
            assert_eq!(std::fs::read_to_string(&file).ok().as_deref(), before, "{point}");
        }
    }
    db.pupctl(["events", "export", "events.jsonl", "--overwrite"]).success();
    assert_eq!(std::fs::read_to_string(&file).expect("a file"), "");
}

const ARCHIVE: [&str; 5] = [
    "archive::begun",
    "archive::written",
    "archive::proven",
    "archive::before_rename",
    "archive::after_rename",
];

/// The points of archives and restores of a store, at which their own tests kill.
const ARCHIVES: [&str; 20] = [
    "archive::before_heads",
    "archive::departed",
    "archive::dropped",
    "archive::listed",
    "archive::looked",
    "archive::published",
    "archive::replaced",
    "archive::retired",
    "archive::took_heads",
    "restore::attached",
    "restore::before_heads",
    "restore::before_join",
    "restore::before_loaded",
    "restore::dropped",
    "restore::joined",
    "restore::loaded",
    "restore::recalled",
    "restore::recorded",
    "restore::rehearsed",
    "restore::replaced",
];

/// The points of `pupctl convert`, at which its own tests kill.
const CONVERT: [&str; 16] = [
    "convert::advanced",
    "convert::before_locks",
    "convert::before_range",
    "convert::before_swap",
    "convert::built",
    "convert::caught_up",
    "convert::copied",
    "convert::copied_heads",
    "convert::dropped",
    "convert::dropped_some",
    "convert::indexed",
    "convert::joined",
    "convert::prepared",
    "convert::proven",
    "convert::swapped",
    "convert::tail_copied",
];

/// The points of `pupctl partitions drain` and `split`, at which their own tests kill.
const TRANSFER: [&str; 7] = [
    "transfer::before_commit",
    "transfer::chunk_copied",
    "transfer::completed",
    "transfer::copied",
    "transfer::exchanged",
    "transfer::proven",
    "transfer::tail_copied",
];

/// The points of a batch of a projection, at which its own tests kill.
const PROJECTION: [&str; 4] = [
    "projection::before_commit",
    "projection::committed",
    "projection::handled",
    "projection::sql_made",
];

/// The points of commands on projections, at which their own tests kill.
const PROJECTIONS: [&str; 3] =
    ["projections::before_commit", "projections::before_file", "trial::handled"];

/// The points of `pupctl projections rebuild`, at which its own tests kill.
const REBUILD: [&str; 8] = [
    "rebuild::begun",
    "rebuild::cleared",
    "rebuild::compared",
    "rebuild::folded",
    "rebuild::folded_rest",
    "rebuild::locked",
    "rebuild::made",
    "rebuild::swapped",
];

/// The points of `pupctl schedule run`, at which its own tests kill.
const SCHEDULE: [&str; 3] = ["schedule::after_job", "schedule::before_job", "schedule::saved"];

/// The points of `pupctl projections rescale` and `adopt`, at which their own tests kill.
const SLOTS: [&str; 7] = [
    "adopt::after_commit",
    "adopt::before_commit",
    "rescale::after_commit",
    "rescale::barrier",
    "rescale::before_abort",
    "rescale::before_barrier",
    "rescale::before_commit",
];

#[test]
fn every_fail_point_is_one_of_those_above() {
    let all: BTreeSet<_> = pupctl::failpoint::NAMES.iter().copied().collect();
    let killed = [run(1, 1), migrations(1), import(1)].concat().into_iter().map(|(point, _)| point);
    // Where `schema generate` is killed, its own tests do that; so do those of archive files, of
    // reports and of metrics.
    let killed = killed.chain(EMBEDDED.map(|(_, point)| point)).chain(EXPORT);
    let killed = killed
        .chain(["file::before_rename", "generate::before_file"])
        .chain(ARCHIVE)
        .chain(ARCHIVES)
        .chain(TRANSFER);
    let killed = killed.chain(PROJECTION).chain(PROJECTIONS).chain(REBUILD).chain(SLOTS);
    let killed = killed.chain(CONVERT).chain(SCHEDULE);
    assert_eq!(killed.collect::<BTreeSet<_>>(), all);
}
