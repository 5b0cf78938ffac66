//! `scripts/ensure-partitions.sh`, for those who want one line in cron.

use std::process::Command;

use crate::support::{Output, TestDatabase};
use crate::{ENSURE, has_months, store};

/// Runs it as cron does, with nearly no environment.
fn script(db: &TestDatabase, arguments: &[&str]) -> Output {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/ensure-partitions.sh");
    let mut command = Command::new(path);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", db.folder());
    command.env("PUPCTL", env!("CARGO_BIN_EXE_pupctl")).env("PUPCTL_DATABASE_URL", db.url());
    Output::of(command.args(arguments).current_dir(db.folder()))
}

#[test]
fn it_makes_partitions_and_tells_nothing() {
    let db = store(ENSURE);
    for arguments in
        [&[][..], &["--schema", "public", "--months", "6"], &["--months=6", "--schema=public"]]
    {
        let output = script(&db, arguments).success();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    }
    let last_month = db.month(0);
    script(&db, &["--from", &last_month, "--no-analyze"]).success();
    assert!(has_months(&db));
    let last = db.month(6).replace('-', "_");
    assert!(db.leaves("public.events").iter().any(|leaf| leaf.ends_with(&last)));
}

#[test]
fn it_passes_exit_codes_on() {
    let db = store(ENSURE);
    script(&db, &["--months", "many"]).failure(2);
    script(&db, &["--database-url", "postgres://127.0.0.1:1/x"]).failure(1);
    assert!(!has_months(&db));
    let leaf = db.leaves("public.events").remove(0);
    let key: String = db.one(&format!(
        "SELECT quote_ident(conname) FROM pg_constraint
         WHERE conrelid = '{leaf}'::regclass AND contype = 'p'"
    ));
    db.execute(&format!("ALTER TABLE {leaf} DROP CONSTRAINT {key}"));
    let found = script(&db, &[]).failure(3);
    assert_eq!(found.stdout, "");
    assert!(found.stderr.contains(&format!("error [missing_key] {leaf}\n")), "{found}");
    let mut command =
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/ensure-partitions.sh"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("PUPCTL", "/nowhere/pupctl");
    let output = Output::of(&mut command).failure(2);
    assert!(output.stderr.contains("there is no program /nowhere/pupctl"), "{output}");
}
