//! Mistakes are told with their line, and what mends them.

use crate::support::TestDatabase;
use crate::{ENSURE, configure, run, store};

/// What `schedule next` says to a job, which needs no server.
fn refused(job: &str) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("pupctl.toml"), job).expect("pupctl.toml");
    let output =
        crate::support::Pupctl::new(folder.path()).args(["schedule", "next"]).run().failure(2);
    assert_eq!(output.stdout, "");
    output.stderr
}

fn with_command(command: &str) -> String {
    refused(&format!(
        "[[schedule.jobs]]\nname = \"a\"\ncron = \"@daily\"\ncommand = '''{command}'''\n"
    ))
}

#[test]
fn a_time_that_never_comes() {
    let told = refused(
        "# Jobs.\n\n[[schedule.jobs]]\nname = \"a\"\ncommand = \"partitions ensure\"\n\
         cron = \"0 0 30 2 *\"\n",
    );
    insta::assert_snapshot!(told, @r#"
    error: pupctl.toml, line 6: the cron expression `0 0 30 2 *` never fires
      6 | cron = "0 0 30 2 *"
    hint: no such day is in any of its months
    "#);
}

#[test]
fn a_time_zone_that_nobody_lives_in() {
    let told = refused(
        "[[schedule.jobs]]\nname = \"a\"\ncommand = \"partitions ensure\"\ncron = \"@daily\"\n\
         time_zone = \"Europa/Berlin\"\n",
    );
    insta::assert_snapshot!(told, @r#"
    error: pupctl.toml, line 5: there is no time zone `Europa/Berlin`
      5 | time_zone = "Europa/Berlin"
    hint: did you mean Europe/Berlin?
    "#);
    let told = refused("[schedule]\ntime_zone = \"Mars/Olympus\"\n");
    assert!(told.contains("pupctl.toml, line 2: there is no time zone `Mars/Olympus`"), "{told}");
}

#[test]
fn a_job_that_is_no_command() {
    insta::assert_snapshot!(with_command("partitions ensre"), @r"
    error: pupctl.toml, line 4: the command of the job `a` is none of pupctl: unrecognized subcommand 'ensre'
      4 | command = '''partitions ensre'''
    hint: a similar subcommand exists: 'ensure'
    ");
    let told = with_command("partitions ensure --month 3");
    assert!(told.contains("unexpected argument '--month' found"), "{told}");
    assert!(told.contains("--months"), "{told}");
    for empty in ["", "  ", "pupctl"] {
        let told = with_command(empty);
        assert!(told.contains("the command of the job `a` is empty\n"), "{told}");
    }
    assert!(with_command("partitions ensure --help").contains("asks for help"));
}

#[test]
fn a_command_that_makes_no_sense_unattended() {
    let cases = [
        ("demo", "is `demo`, which makes no sense unattended"),
        ("schema init --partition-by none", "which makes no sense unattended"),
        ("schedule run", "which makes no sense unattended"),
        // It would go round what is asked of a job that drops tables.
        ("operations resume 3 --yes", "which makes no sense unattended"),
        ("embedded stop", "which makes no sense unattended"),
        ("projections run", "never ends"),
        ("partitions check | mail -s x", "`|` is for a shell, and there is none"),
        ("partitions check > log", "`>` is for a shell, and there is none"),
        ("partitions 'check", "a quote is not closed"),
        ("partitions ensure --database-url postgres://x", "has --database-url"),
        ("--schema es partitions ensure", "has --schema"),
        ("partitions ensure --dry-run", "has --dry-run"),
        ("archive --expired --drop --yes", "nothing says how many at most"),
        ("archive --expired --drop --max 3", "asks before it drops tables"),
        ("archive Gui --drop --yes --allow-split-streams", "drops every month that is over"),
        ("archive analytics --all --drop --yes", "drops every month that is over"),
        // Its months may lie below it.
        ("archive events_gui_2026_01 --drop --yes", "drops every month that is over"),
        ("archive gui --retire --drop --yes", "drops every month that is over"),
        ("archive 2026-01 --drop", "asks before it drops tables"),
    ];
    for (command, why) in cases {
        let told = with_command(command);
        assert!(told.contains(why) && told.contains("hint: "), "{command}: {told}");
        assert!(told.contains("pupctl.toml, line 4: "), "{command}: {told}");
    }
}

#[test]
fn a_job_that_drops_needs_a_limit_also_where_the_configuration_drops() {
    let drops = "[archive]\ndrop_after = \"7 days\"\n[[schedule.jobs]]\nname = \"a\"\n\
                 cron = \"@daily\"\ncommand = \"archive --expired --yes\"\n";
    assert!(refused(drops).contains("nothing says how many at most"));
    let db = TestDatabase::new();
    configure(&db, &drops.replace("[archive]\n", "[archive]\nmax = 3\n"));
    db.pupctl(["schedule", "next"]).success();
}

#[test]
fn a_job_that_drops_one_month_needs_no_limit() {
    let db = TestDatabase::new();
    for command in [
        "archive 2025-01 --drop --yes",
        "archive Gui/2025-01 --drop --yes",
        "archive Gui --yes",
        "archive Gui --copy-only",
    ] {
        let job = "[[schedule.jobs]]\nname = \"a\"\ncron = \"@daily\"\n";
        configure(&db, &format!("{job}command = \"{command}\"\n"));
        db.pupctl(["schedule", "next"]).success();
    }
}

#[test]
fn names_that_are_none() {
    for name in ["", "Ensure", "a b", "-a", "a'b", "ä", &"a".repeat(41)] {
        let told = refused(&format!(
            "[[schedule.jobs]]\nname = \"{name}\"\ncommand = \"partitions ensure\"\ncron = \"@daily\"\n"
        ));
        assert!(
            told.contains("line 2: ") && told.contains("cannot be the name of a job"),
            "{told}"
        );
    }
    let job =
        "[[schedule.jobs]]\nname = \"a\"\ncommand = \"partitions ensure\"\ncron = \"@daily\"\n";
    let told = refused(&format!("{job}{job}"));
    assert!(told.contains("line 6: there are two jobs `a`"), "{told}");
}

#[test]
fn keys_that_lack_or_are_unknown() {
    let told = refused("[[schedule.jobs]]\nname = \"a\"\n");
    assert!(told.contains("missing field `command`"), "{told}");
    let told = refused("[schedule]\ntimezone = \"UTC\"\n");
    assert!(told.contains("unknown field `timezone`"), "{told}");
    let told = refused("[schedule]\njitter = 30\n");
    assert!(told.contains("jitter"), "{told}");
}

#[test]
fn files_that_are_no_state_or_cannot_be_written() {
    let db = store(ENSURE);
    std::fs::write(db.folder().join("state.json"), "{\"version\": 1, \"jo").expect("a file");
    let output = run(&db).run().failure(2);
    assert!(output.stderr.contains("is no state of jobs"), "{output}");
    std::fs::write(db.folder().join("state.json"), "{\"version\": 2, \"jobs\": {}}")
        .expect("a file");
    let output = run(&db).run().failure(2);
    assert!(output.stderr.contains("has the version 2"), "{output}");
    std::fs::remove_file(db.folder().join("state.json")).expect("it is there");
    let output = db.command(["schedule", "run", "--health-file", "/dev/null/x"]).run();
    assert!(output.failure(1).stderr.contains("cannot write /dev/null"));
}

#[test]
fn a_daemon_has_no_sql_to_show() {
    let db = store(ENSURE);
    let output = run(&db).args(["--dry-run"]).run().failure(2);
    assert!(output.stderr.contains("no SQL to show"), "{output}");
}

#[test]
fn a_server_that_was_never_there_is_told_at_once() {
    let db = store(ENSURE);
    let output = run(&db).env("PUPCTL_DATABASE_URL", "postgres://127.0.0.1:1/x").run();
    assert!(output.failure(1).stderr.contains("127.0.0.1:1"));
}
