//! The daemon: run twice, run together, stopped, killed in the middle.

use std::fs;
use std::time::Duration;

use chrono::{TimeDelta, Utc};

use crate::support::{TestDatabase, eventually};
use crate::{ENSURE, configure, covered, has_months, health, job, missed, run, store, waits};

/// A second daemon, with a state of its own.
const OTHER: [&str; 5] = ["schedule", "run", "--once", "--state", "other.json"];

/// The same as [`run`], for what is due now.
fn once(db: &TestDatabase) -> crate::support::Pupctl {
    run(db).args(["--once"])
}

#[test]
fn what_is_due_runs_once() {
    let db = store(ENSURE);
    missed(&db, &["ensure"], 40);
    let output = once(&db).run().success();
    assert!(has_months(&db), "{output}");
    assert!(Utc::now() - covered(&db, "ensure") < TimeDelta::minutes(5));
    assert_eq!(output.stderr.matches("ensure: pupctl partitions ensure").count(), 1, "{output}");
    assert_eq!(output.stdout, "");
    let dump = db.dump();
    let output = once(&db).run().success();
    assert_eq!(output.stderr, "Nothing is due any more\n");
    assert_eq!(db.dump(), dump);
}

#[test]
fn without_jobs_there_are_two_that_every_store_needs() {
    let db = TestDatabase::new();
    let output = db.pupctl(["schedule", "next", "--count", "30", "--output", "json"]).success();
    let json = output.json();
    let runs = json["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 30);
    let commands: std::collections::BTreeSet<_> =
        runs.iter().map(|run| run["command"].as_str().expect("a command")).collect();
    assert_eq!(
        commands.into_iter().collect::<Vec<_>>(),
        ["partitions check --exit-code", "partitions ensure"]
    );
    let times: Vec<_> = runs.iter().map(|run| run["at"].as_str().expect("a time")).collect();
    assert!(times.is_sorted(), "{times:?}");
    // The one that runs often does not hide the other.
    for (arguments, rows) in [(&[][..], 10), (&["--count", "1"], 2), (&["--count", "2"], 2)] {
        let words = ["schedule", "next", "--output", "json"];
        let output = db.pupctl(words.iter().chain(arguments)).success();
        let json = output.json();
        let runs = json["runs"].as_array().expect("runs");
        assert_eq!(runs.len(), rows, "{output}");
        for job in ["ensure", "check"] {
            assert!(runs.iter().any(|run| run["job"] == job), "{job}: {output}");
        }
    }
}

#[test]
fn the_journal_tells_what_was_missed_where_there_is_no_state() {
    let db = store(ENSURE);
    db.execute(
        "UPDATE pupctl_operations SET command = 'partitions ensure',
        started_at = now() - interval '3 days', ended_at = now() - interval '3 days'",
    );
    let start = |db: &TestDatabase| {
        let daemon = db.command(["schedule", "run", "--health-file", "health.json"]).spawn();
        eventually("it waits", || waits(db));
        daemon
    };
    let stop = |daemon: crate::support::Background| {
        daemon.signal("TERM");
        daemon.wait().success()
    };
    let daemon = start(&db);
    eventually("it has run", || has_months(&db) && job(&db, "ensure")["ended"].is_string());
    let output = stop(daemon);
    assert!(!output.stderr.contains("warning: "), "{output}");
    let output = stop(start(&db));
    assert!(!output.stderr.contains("ensure: pupctl"), "{output}");
    // What was never run is not missed, and nobody knows of a job that only reads.
    let check = "[[schedule.jobs]]\nname = \"check\"\ncommand = \"partitions check\"\n\
                 cron = \"@yearly\"\n";
    let db = store(&format!("{ENSURE}{check}"));
    let output = stop(start(&db));
    assert!(!has_months(&db));
    let warning = "warning: nobody knows which runs these jobs have missed: ensure, check (--state";
    assert_eq!(output.stderr.matches(warning).count(), 1, "{output}");
}

#[test]
fn one_look_needs_to_know_the_last_one() {
    let db = store(ENSURE);
    let output = db.pupctl(["schedule", "run", "--once"]).failure(2);
    assert!(output.stderr.contains("--state <FILE>"), "{output}");
    let output = once(&db).run().success();
    assert!(!output.stderr.contains("warning: "), "{output}");
}

#[test]
fn without_a_store_no_job_begins() {
    let db = TestDatabase::new();
    let output = run(&db).args(["--schema", "nope"]).run().failure(1);
    assert!(output.stderr.starts_with("error: there is no store in schema nope\n"), "{output}");
    assert!(!db.folder().join("state.json").exists() && health(&db).is_none());
}

#[test]
fn a_store_has_one_daemon() {
    let db = store(ENSURE);
    let daemon = run(&db).spawn();
    eventually("it waits", || waits(&db));
    let output = db.pupctl(OTHER).failure(4);
    assert!(
        output.stderr.contains("another daemon runs the jobs of the store in schema public"),
        "{output}"
    );
    assert!(output.stderr.contains("held by process"), "{output}");
    let output = run(&db).run().failure(4);
    assert!(output.stderr.contains("another daemon uses state.json"), "{output}");
    // Other commands are not in its way, nor it in theirs.
    db.pupctl(["partitions", "ensure"]).success();
    // One that was killed has left nothing behind.
    let _ = daemon.kill().killed();
    eventually("its session has ended", || once(&db).run().code == Some(0));
}

#[test]
fn two_that_begin_at_once_do_not_both_run() {
    let db = store(ENSURE);
    missed(&db, &["ensure"], 2);
    let slow = "operation::started=sleep(1500)";
    let both = [0, 1].map(|_| {
        db.command(["schedule", "run", "--once", "--state", "state.json"]).failpoints(slow).spawn()
    });
    let mut codes = both.map(|one| one.wait().code);
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(4)]);
    assert_eq!(db.journal().iter().filter(|line| line.starts_with("partitions")).count(), 1);
}

#[test]
fn a_running_job_is_given_its_time() {
    let db = store(ENSURE);
    missed(&db, &["ensure"], 2);
    let daemon = run(&db).failpoints("operation::started=sleep(2000)").spawn();
    eventually("the job runs", || job(&db, "ensure")["started"].is_string());
    eventually("it has begun", || db.journal().iter().any(|line| line.contains("running")));
    daemon.signal("TERM");
    let output = daemon.wait().success();
    assert!(output.stderr.contains("Waiting for ensure to end"), "{output}");
    assert!(output.stderr.ends_with("Stopped\n"), "{output}");
    assert!(has_months(&db));
    assert_eq!(db.journal().last().expect("a run"), "partitions ensure: done");
    assert!(Utc::now() - covered(&db, "ensure") < TimeDelta::minutes(5));
    assert_eq!(health(&db).expect("a file")["state"], "stopping");
}

#[test]
fn a_second_signal_ends_the_job_where_that_is_safe() {
    let db = store(ENSURE);
    missed(&db, &["ensure"], 2);
    let daemon = run(&db).failpoints("operation::started=sleep(1500)").spawn();
    eventually("it has begun", || db.journal().iter().any(|line| line.contains("running")));
    daemon.signal("INT");
    std::thread::sleep(Duration::from_millis(300));
    daemon.signal("INT");
    let output = daemon.wait().success();
    assert_eq!(db.journal().last().expect("a run"), "partitions ensure: interrupted", "{output}");
    // It was not done, so that the next daemon makes it up.
    once(&db).run().success();
    assert!(has_months(&db));
}

#[test]
fn an_idle_daemon_stops_at_once() {
    let db = store(ENSURE);
    let daemon = run(&db).spawn();
    eventually("it waits", || waits(&db));
    daemon.signal("TERM");
    let output = daemon.wait().success();
    assert!(output.stderr.contains("Next: ensure at "), "{output}");
    assert!(output.stderr.ends_with("Stopped\n"), "{output}");
}

#[test]
fn a_machine_is_told_at_the_end() {
    let db = store(ENSURE);
    missed(&db, &["ensure"], 2);
    let told = once(&db).args(["--output", "json"]).run().success().json();
    assert_eq!(told["command"], "schedule run");
    assert_eq!((&told["stopped"], &told["jobs"][0]["exit_code"]), (&false.into(), &0.into()));
    assert!(told["jobs"][0]["succeeded"].is_string(), "{told}");
}

#[test]
fn names_with_quotes_arrive() {
    let db = TestDatabase::new();
    let options = ["--schema", "o'd\"d $x"];
    db.command(["schema", "init", "--partition-by", "month", "--months", "0"])
        .args(options)
        .run()
        .success();
    configure(&db, &ENSURE.replace("partitions ensure", "partitions ensure --months 1"));
    missed(&db, &["ensure"], 2);
    once(&db).args(options).run().success();
    assert_eq!(db.leaves("\"o''d\"\"d $x\".events").len(), 2);
}

#[test]
fn quiet_means_quiet() {
    let db = store(ENSURE);
    missed(&db, &["ensure"], 2);
    let output = once(&db).args(["--quiet"]).run().success();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    assert!(has_months(&db));
    // What a job finds is told all the same.
    let last = db.month(1).replace('-', "_");
    db.execute(&format!("DROP TABLE events_{last}"));
    configure(&db, &ENSURE.replace("partitions ensure", "partitions check --exit-code"));
    missed(&db, &["ensure"], 2);
    let output = once(&db).args(["--quiet"]).run().success();
    assert_eq!(output.stdout, "");
    assert!(output.stderr.contains("ensure: warning [missing_month] public.events\n"), "{output}");
}

#[test]
fn killed_at_any_point_it_goes_on_where_it_was() {
    let undisturbed = store(ENSURE);
    missed(&undisturbed, &["ensure"], 2);
    once(&undisturbed).run().success();
    for point in ["schedule::before_job", "schedule::after_job", "schedule::saved"] {
        let db = store(ENSURE);
        missed(&db, &["ensure"], 2);
        once(&db).failpoints(&format!("{point}=return")).run().killed();
        eventually("the session has ended", || once(&db).run().code == Some(0));
        assert_eq!(db.dump(), undisturbed.dump(), "killed at {point}");
        assert!(Utc::now() - covered(&db, "ensure") < TimeDelta::minutes(5));
        assert_eq!(once(&db).run().success().stderr, "Nothing is due any more\n");
    }
}

#[test]
fn a_job_outlives_a_daemon_that_was_killed() {
    let db = store(ENSURE);
    missed(&db, &["ensure"], 2);
    let daemon = run(&db).failpoints("operation::started=sleep(2000)").spawn();
    eventually("it has begun", || db.journal().iter().any(|line| line.contains("running")));
    let _ = daemon.kill().killed();
    // The next one waits for it, and finds its work done.
    eventually("the session has ended", || once(&db).run().code == Some(0));
    assert!(has_months(&db));
    assert_eq!(db.journal().last().expect("a run"), "partitions ensure: done");
}

#[test]
fn a_job_that_fails_is_tried_again() {
    let db = store(&ENSURE.replace("partitions ensure", "partitions ensure --months 2"));
    missed(&db, &["ensure"], 2);
    db.execute("ALTER TABLE events RENAME TO hidden");
    let daemon = run(&db).spawn();
    eventually("it failed twice", || job(&db, "ensure")["failures"].as_u64() >= Some(2));
    let told = job(&db, "ensure");
    assert_eq!(told["exit_code"], 1, "{told}");
    assert!(told["message"].as_str().expect("words").starts_with("error: "), "{told}");
    db.execute("ALTER TABLE hidden RENAME TO events");
    eventually("it worked", || job(&db, "ensure")["failures"] == 0 && has_months(&db));
    daemon.signal("TERM");
    let output = daemon.wait().success();
    assert!(output.stderr.contains("Next again: ensure at"), "{output}");
}

#[test]
fn what_a_check_finds_is_no_failure_of_the_job() {
    let config = ENSURE
        .replace("name = \"ensure\"", "name = \"check\"")
        .replace("partitions ensure", "partitions check --exit-code");
    let db = store(&config);
    missed(&db, &["check"], 2);
    let output = once(&db).run().success();
    assert!(output.stderr.contains("check has found something (exit code 3)"), "{output}");
    assert!(output.stderr.contains("check: "), "{output}");
    assert_eq!(job(&db, "check")["exit_code"], 3);
    assert!(Utc::now() - covered(&db, "check") < TimeDelta::minutes(5));
    // A job that failed is told by the exit code.
    configure(&db, ENSURE);
    db.execute("ALTER TABLE events RENAME TO hidden");
    missed(&db, &["ensure"], 2);
    once(&db).run().failure(1);
}

#[test]
fn a_mistake_is_not_repeated_every_minute() {
    let config = "[schedule]\njitter = \"0s\"\nretry = \"1s\"\n[[schedule.jobs]]\n\
                  name = \"verify\"\ncron = \"@daily\"\ncommand = \"partitions close nobody\"\n";
    let db = store(config);
    missed(&db, &["verify"], 2);
    once(&db).run().failure(1);
    let told = job(&db, "verify");
    assert_eq!((&told["exit_code"], &told["failures"]), (&2.into(), &1.into()), "{told}");
    assert!(Utc::now() - covered(&db, "verify") < TimeDelta::minutes(5));
}

#[test]
fn the_server_goes_away_and_comes_back() {
    let db = store(ENSURE);
    let clock = db.folder().join("clock");
    fs::write(&clock, "0").expect("a clock");
    let daemon = run(&db).env("PUPCTL_TEST_CLOCK", &clock).spawn();
    eventually("it waits", || waits(&db));
    let mut admin = crate::support::TestServer::shared().client();
    let name = db.name();
    admin
        .batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        .expect("no more sessions");
    admin
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
            &[&name],
        )
        .expect("no session");
    fs::write(&clock, "90000").expect("a clock");
    eventually("it failed twice", || job(&db, "ensure")["failures"].as_u64() >= Some(2));
    assert_eq!(health(&db).expect("a file")["connected"], false);
    admin
        .batch_execute(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
        .expect("sessions again");
    eventually("it worked", || job(&db, "ensure")["failures"] == 0);
    assert!(has_months(&db));
    // It holds its lock again.
    db.pupctl(OTHER).failure(4);
    daemon.signal("TERM");
    let output = daemon.wait().success();
    assert!(output.stderr.contains("The server is back"), "{output}");
}

/// The network may lose a session that the server still keeps, with its lock.
#[test]
fn a_session_that_hangs_is_not_taken_for_another_daemon() {
    // A server of its own: one that hangs holds up all databases.
    let server = crate::support::TestServer::private(&[]);
    let db = TestDatabase::on(&server);
    db.pupctl(["schema", "init", "--partition-by", "month"]).success();
    configure(&db, ENSURE);
    let daemon = run(&db).env("WATCHDOG_USEC", "1000000").spawn();
    eventually("it waits", || waits(&db));
    let pid: i32 = db.one(
        "SELECT pid FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'pupctl/schedule run'",
    );
    let stopped = Stopped::begin(pid);
    eventually("it is missed", || health(&db).is_some_and(|health| health["connected"] == false));
    drop(stopped);
    eventually("it is back", || health(&db).is_some_and(|health| health["connected"] == true));
    db.pupctl(OTHER).failure(4);
    daemon.signal("TERM");
    let output = daemon.wait().success();
    assert!(output.stderr.contains("still keeps the session that was lost"), "{output}");
    assert!(output.stderr.contains("The server is back"), "{output}");
}

#[test]
fn jobs_run_as_they_are_told_and_show_no_password() {
    let db = store(ENSURE);
    missed(&db, &["ensure"], 2);
    configure(&db, &ENSURE.replace("ensure\"\ncron", "ensure --months 2\"\ncron"));
    let url = db.url().to_owned();
    let url = if url.contains('?') {
        format!("{url}&password=secret")
    } else {
        format!("{url}?password=secret")
    };
    let daemon = run(&db)
        .without_env("PUPCTL_DATABASE_URL")
        .args(["--wait", "90s", "--database-url", &url])
        .failpoints("operation::started=sleep(1500)")
        .spawn();
    eventually("it has begun", || db.journal().iter().any(|line| line.contains("running")));
    let words = children_of(daemon.id());
    assert_eq!(words.len(), 1, "{words:?}");
    let expected = "--schema=public --wait=1m30s partitions ensure --months 2";
    assert!(words[0].ends_with(expected), "{words:?}");
    daemon.signal("TERM");
    let output = daemon.wait().success();
    assert!(!output.stderr.contains("secret"), "{output}");
}

/// The command lines of the children of a process.
fn children_of(parent: u32) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("processes").flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name, in brackets, may hold anything.
        let after = stat.rsplit(") ").next().unwrap_or_default();
        if after.split(' ').nth(1) == Some(parent.to_string().as_str()) {
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            found.push(words.trim_end().to_owned());
        }
    }
    found
}

/// A process that hangs for as long as this lives, also when the test fails meanwhile.
struct Stopped(i32);

impl Stopped {
    fn begin(pid: i32) -> Self {
        signal(pid, "STOP");
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, "CONT");
    }
}

fn signal(pid: i32, name: &str) {
    let sent = std::process::Command::new("kill").args(["-s", name, &pid.to_string()]).status();
    assert!(sent.expect("kill").success(), "cannot send {name}");
}
