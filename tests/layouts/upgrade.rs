//! Stores whose own tables an earlier pupctl made.

use crate::support::TestDatabase;

/// A store as it was before the journal kept the state of operations.
fn without_state() -> TestDatabase {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "context,month", "--months", "0"];
    db.pupctl(init.iter().chain(&["--contexts", "Identity"])).success();
    db.execute(
        "ALTER TABLE pupctl_operations DROP COLUMN state;
         DROP TABLE pupctl_archives, pupctl_closed_partitions;
         DELETE FROM pupctl_history WHERE version >= 2",
    );
    db
}

/// The migrations that it lacks.
fn later() -> Vec<String> {
    ["V2__operation_state", "V3__archives"].map(str::to_owned).to_vec()
}

/// The recorded migrations of pupctl's own tables, and those that wait.
fn migrations(db: &TestDatabase) -> (usize, Vec<String>) {
    let status = db.pupctl(["schema", "status", "-o", "json"]).success().json();
    let list = |key: &str| status[key].as_array().expect("a list").clone();
    let pending = list("pending_migrations");
    let name = |name: &serde_json::Value| name.as_str().expect("a name").to_owned();
    (list("own_migrations").len(), pending.iter().map(name).collect())
}

#[test]
fn the_next_command_that_writes_brings_the_journal_up_to_date() {
    for command in [&["partitions", "ensure"][..], &["contexts", "add", "Billing"]] {
        let db = without_state();
        assert_eq!(migrations(&db), (1, later()));
        let dry = db.pupctl(command.iter().chain(&["--dry-run"])).success();
        let lock = "-- Lock: ACCESS EXCLUSIVE on public.pupctl_operations.";
        assert!(dry.stdout.contains(lock), "{dry}");

        db.pupctl(command).success();
        assert_eq!(migrations(&db), (3, Vec::new()));
        let unused = "SELECT bool_and(state IS NULL) FROM pupctl_operations";
        assert!(db.one::<bool>(unused));
        assert_eq!(db.journal().len(), 2, "{command:?}");
        let again = db.pupctl(command).success();
        assert!(again.stderr.contains("Nothing to do"), "{again}");
    }
}
