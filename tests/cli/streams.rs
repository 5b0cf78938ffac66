//! What goes to which stream, in which colours, and what a reader that goes away does.

use std::io::Read;
use std::process::{Command, Stdio};

use super::store;
use crate::support::{Output, TestDatabase};

const READS: [[&str; 2]; 4] =
    [["partitions", "list"], ["partitions", "check"], ["contexts", "list"], ["schema", "status"]];

#[test]
fn quiet_prints_nothing_on_success() {
    let db = TestDatabase::new();
    let quiet = |output: Output| {
        let output = output.success();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "{output}");
    };
    quiet(db.pupctl(["-q", "schema", "init", "--partition-by", "context", "--contexts", "A"]));
    quiet(db.pupctl(["schema", "init", "--quiet"]));
    quiet(db.pupctl(["contexts", "add", "B", "-q"]));
    quiet(db.pupctl(["partitions", "ensure", "-q"]));
    for read in READS {
        quiet(db.command(read).args(["-q"]).run());
    }
    // A failure is told all the same, and asked-for JSON is no talk.
    let failed = db.pupctl(["-q", "partitions", "list", "--schema", "none"]).failure(1);
    assert!(failed.stderr.starts_with("error: "), "{failed}");
    assert!(db.pupctl(["-q", "partitions", "list", "-o", "json"]).success().json().is_object());
}

#[test]
fn quiet_tells_what_was_found() {
    let db = store();
    let leaf = db.leaves("public.events").remove(0);
    db.execute(&format!("ALTER TABLE {leaf} ADD CHECK (event_type <> 'x') NOT VALID"));
    let key: String = db.one(&format!(
        "SELECT quote_ident(conname) FROM pg_constraint
         WHERE conrelid = '{leaf}'::regclass AND contype = 'p'"
    ));
    db.execute(&format!("ALTER TABLE {leaf} DROP CONSTRAINT {key}"));
    let lost = format!("error [missing_key] {leaf}\n");
    let told: [(&[&str], &str, &str); 4] = [
        (&["partitions", "check"], &lost, "1 problem found\n"),
        (&["schema", "verify"], &lost, "2 differences found\n"),
        (&["doctor"], &lost, "problems found\n"),
        (&["report", "--html", "page.html"], &lost, "problems found\n"),
    ];
    for (command, line, last) in told {
        let run = |more: &[&str]| db.command(command).args(["-q", "--exit-code"]).args(more).run();
        let quiet = run(&[]).failure(3);
        assert_eq!(quiet.stdout, "", "{command:?}");
        assert!(quiet.stderr.contains(line) && quiet.stderr.ends_with(last), "{quiet}");
        let json = run(&["-o", "json"]).failure(3);
        assert!(json.json().is_object() && json.stderr.is_empty(), "{json}");
        let log = run(&["--log-format", "json"]).failure(3).stderr;
        assert_eq!(log.lines().count(), 1, "{log}");
        let log: serde_json::Value = serde_json::from_str(&log).expect("an object");
        assert!(log["message"].as_str().is_some_and(|told| told.contains(line)), "{log}");
        assert_eq!(log["level"], "WARN");
    }
    // Where nobody asked for the exit code, it is a success.
    let unasked = db.pupctl(["partitions", "check", "-q"]).success();
    assert_eq!((unasked.stdout.as_str(), unasked.stderr.as_str()), ("", ""));

    let empty = TestDatabase::new();
    let plan = empty.pupctl(["-q", "schema", "plan", "--exit-code"]).failure(3);
    assert_eq!(plan.stdout, "");
    assert!(plan.stderr.contains("V1__") && plan.stderr.ends_with(" pending\n"), "{plan}");
}

#[test]
fn logs_go_to_standard_error() {
    let db = store();
    let silent = db.pupctl(["partitions", "list"]).success();
    assert_eq!(silent.stderr, "");
    let told = db.pupctl(["partitions", "list", "-vv"]).success();
    assert_eq!(told.stdout, silent.stdout);
    assert!(told.stderr.contains("DEBUG connecting to "), "{told}");
    let told = db.pupctl(["partitions", "ensure", "--months", "2", "-v", "-o", "json"]).success();
    assert!(told.json().is_object() && told.stderr.contains("INFO Make "), "{told}");
}

#[test]
fn colours_are_asked_for() {
    let db = store();
    let coloured = |arguments: &[&str], variables: &[(&str, &str)]| {
        let command = db.command(["partitions", "list", "-vv", "--schema", "none"]).args(arguments);
        let command = variables.iter().fold(command, |c, (name, value)| c.env(name, value));
        command.run().failure(1).stderr.contains('\x1b')
    };
    assert!(!coloured(&[], &[]), "no terminal");
    assert!(coloured(&["--color", "always"], &[]));
    assert!(coloured(&["--color", "always"], &[("NO_COLOR", "1")]), "the option is stronger");
    assert!(!coloured(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[], &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]));

    let status = |choice| db.pupctl(["schema", "status", "--color", choice]).success().stdout;
    assert!(status("always").contains("\x1b[1m"));
    assert!(!status("never").contains('\x1b'));
    let json = db.pupctl(["schema", "status", "--color", "always", "-o", "json"]).success();
    assert!(json.json().is_object(), "{json}");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let db = store();
    for arguments in [["partitions", "list", "-otable"], ["partitions", "list", "-ojson"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pupctl"));
        command.env_clear().current_dir(db.folder()).env("PUPCTL_DATABASE_URL", db.url());
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        // Closed before anything was written.
        drop(child.stdout.take());
        let mut told = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut told).expect("text");
        let status = child.wait().expect("an end");
        assert_eq!((status.code(), told.as_str()), (Some(0), ""));
    }
    // The help goes the same way.
    let shell = format!("{} --help | head -1", env!("CARGO_BIN_EXE_pupctl"));
    let output = Output::of(Command::new("sh").args(["-c", &shell])).success();
    assert_eq!(output.stderr, "");
}
