//! Stores whose own tables an earlier pupctl made.

use crate::support::{Append, Output, TestDatabase};

const INIT: [&str; 6] = ["schema", "init", "--partition-by", "context,month", "--months", "0"];

/// The columns of the checkpoints that an earlier pupctl knew.
const KNOWN: [&str; 3] = ["projection_name", "last_global_position", "updated_at"];

/// A store as it was before the journal kept the state of operations.
fn without_state() -> TestDatabase {
    let db = without_projections();
    db.execute(
        "ALTER TABLE pupctl_operations DROP COLUMN state;
         DROP TABLE pupctl_archives, pupctl_closed_partitions;
         DELETE FROM pupctl_history WHERE version >= 2",
    );
    db
}

/// A store as it was before pupctl had projections.
fn without_projections() -> TestDatabase {
    let db = TestDatabase::new();
    db.pupctl(INIT.iter().chain(&["--contexts", "Identity"])).success();
    take_projections_back(&db, "projection_checkpoints");
    db
}

fn take_projections_back(db: &TestDatabase, checkpoints: &str) {
    let columns = columns(db, checkpoints);
    let drop: Vec<_> = columns
        .iter()
        .filter(|column| !KNOWN.contains(&column.as_str()))
        .map(|column| format!("DROP COLUMN {column}"))
        .collect();
    db.execute(&format!(
        "ALTER TABLE \"{checkpoints}\" {};
         DROP TABLE projection_dead_letters;
         DELETE FROM pupctl_history WHERE version >= 4",
        drop.join(", ")
    ));
}

fn columns(db: &TestDatabase, table: &str) -> Vec<String> {
    db.texts(&format!(
        "SELECT attname::text FROM pg_attribute
         WHERE attrelid = 'public.\"{table}\"'::regclass AND attnum > 0 AND NOT attisdropped
         ORDER BY attnum"
    ))
}

/// Fails unless pupctl's projections find all that they need.
#[track_caller]
fn has_projections(db: &TestDatabase, checkpoints: &str) {
    let columns = columns(db, checkpoints);
    assert_eq!((columns.len(), columns[3].as_str()), (21, "projection"), "{columns:?}");
    assert_eq!(db.one::<i64>("SELECT count(*) FROM projection_dead_letters"), 0);
    assert_eq!(migrations(db).0, 6);
}

/// The recorded migrations of pupctl's own tables, and those that wait.
fn migrations(db: &TestDatabase) -> (usize, Vec<String>) {
    let status = db.pupctl(["schema", "status", "-o", "json"]).success().json();
    let list = |key: &str| status[key].as_array().expect("a list").clone();
    let pending = list("pending_migrations");
    let name = |name: &serde_json::Value| name.as_str().expect("a name").to_owned();
    (list("own_migrations").len(), pending.iter().map(name).collect())
}

fn append(db: &TestDatabase, month: &str, id: &str) {
    let created_at = format!("{month}-01T00:00:00Z");
    let append = Append { context: "Identity", id, head: None, events: 2, created_at: &created_at };
    append.run(&mut db.client()).expect("events");
}

#[test]
fn the_next_command_that_writes_brings_the_journal_up_to_date() {
    let later = [
        "V2__operation_state",
        "V3__archives",
        "V4__projections",
        "V5__read_models",
        "V6__conversions",
    ]
    .map(str::to_owned);
    for command in [&["partitions", "ensure"][..], &["contexts", "add", "Billing"]] {
        let db = without_state();
        assert_eq!(migrations(&db), (1, later.to_vec()));
        let dry = db.pupctl(command.iter().chain(&["--dry-run"])).success();
        for table in ["pupctl_operations", "projection_checkpoints"] {
            let lock = format!("-- Lock: ACCESS EXCLUSIVE on public.{table}.");
            assert!(dry.stdout.contains(&lock), "{lock}: {dry}");
        }

        db.pupctl(command).success();
        assert_eq!(migrations(&db), (6, Vec::new()));
        let unused = "SELECT bool_and(state IS NULL) FROM pupctl_operations";
        assert!(db.one::<bool>(unused));
        assert_eq!(db.journal().len(), 2, "{command:?}");
        let again = db.pupctl(command).success();
        assert!(again.stderr.contains("Nothing to do"), "{again}");
    }
}

#[test]
fn commands_that_read_need_no_columns_and_make_none() {
    let db = without_projections();
    let month = db.month(0);
    append(&db, &month, "1");
    db.execute("INSERT INTO projection_checkpoints VALUES ('orders_p0', 1), ('orders_p1', 2)");
    let before = db.dump();
    for command in [
        &["schema", "status"][..],
        &["schema", "plan"],
        &["schema", "verify", "--exit-code"],
        &["contexts", "list"],
        &["partitions", "list"],
        &["partitions", "check", "--exit-code"],
        &["partitions", "explain", "--context", "Identity"],
        &["partitions", "ensure", "--dry-run", "--months", "2"],
        &["partitions", "detach", &month, "--dry-run"],
        &["schema", "init", "--dry-run"],
        &["archive", "list"],
        &["operations", "list"],
        &["events", "export", "events.ndjson", "-q"],
        &["events", "import", "events.ndjson", "--skip-existing", "--dry-run"],
    ] {
        let output = db.pupctl(command).success();
        assert!(!output.stderr.contains("projection"), "{output}");
    }
    // The fence knows the rows of others without the columns.
    let held = db.pupctl(["archive", &month, "--dry-run"]).success();
    assert!(held.stderr.contains("the projection orders_p0 is at position 1"), "{held}");
    assert!(!held.stderr.contains("orders_p1"), "{held}");
    assert_eq!(db.dump(), before);
}

#[test]
fn every_command_that_writes_brings_the_columns() {
    let past = TestDatabase::new().month(-2);
    let event = r#"{"bounded_context":"Identity","aggregate_type":"T","aggregate_id":"9",
        "aggregate_version":1,"event_type":"E","payload":1,
        "event_id":"00000000-0000-4000-8000-000000000009","created_at":"{past}-03T00:00:00Z"}"#;
    let event = event.replace('\n', "").replace("{past}", &past) + "\n";
    for command in [
        &["schema", "init"][..],
        &["partitions", "ensure"],
        &["partitions", "ensure", "--from", &past],
        &["contexts", "add", "Billing"],
        &["schema", "index", "add", "--columns", "event_type"],
        &["partitions", "detach", &past],
        &["partitions", "close", &past],
        &["archive", &past, "--copy-only"],
        &["events", "import", "one.ndjson"],
    ] {
        let db = without_projections();
        db.pupctl(["partitions", "ensure", "--from", &past]).success();
        append(&db, &past, "1");
        take_projections_back(&db, "projection_checkpoints");
        std::fs::write(db.folder().join("one.ndjson"), &event).expect("a file");
        db.execute("INSERT INTO projection_checkpoints VALUES ('orders_p0', 7)");
        let row = "SELECT (projection_name, last_global_position)::text FROM public.projection_checkpoints
            WHERE projection IS NULL AND slots IS NULL AND paused_at IS NULL";
        let output: Output = db.pupctl(command.iter().chain(&["--yes"])).success();
        assert!(!output.stderr.contains("warning"), "{output}");
        has_projections(&db, "projection_checkpoints");
        assert_eq!(db.texts(row), ["(orders_p0,7)"], "{command:?}");
    }
}

#[test]
fn pupsourcing_goes_on_with_its_rows() {
    let db = without_projections();
    let moved = "INSERT INTO projection_checkpoints
            (projection_name, last_global_position, updated_at) VALUES ($1, $2, NOW())
        ON CONFLICT (projection_name)
        DO UPDATE SET last_global_position = $2, updated_at = NOW()";
    let mut worker = db.client();
    let moved = worker.prepare(moved).expect("its statement");
    worker.execute(&moved, &[&"orders_p0", &1_i64]).expect("a checkpoint");
    db.pupctl(["schema", "init"]).success();
    has_projections(&db, "projection_checkpoints");
    // The statement that it prepared before, and a new row.
    worker.execute(&moved, &[&"orders_p0", &2_i64]).expect("a checkpoint");
    worker.execute(&moved, &[&"orders_p1", &3_i64]).expect("a checkpoint");
    assert_eq!(
        db.one::<i64>("SELECT sum(last_global_position)::int8 FROM projection_checkpoints"),
        5
    );
    db.pupctl(["schema", "verify", "--exit-code"]).success();
}

#[test]
fn the_files_of_an_earlier_version_are_completed_by_the_next_command() {
    for layout in ["none", "context,month"] {
        let db = TestDatabase::new();
        db.pupctl(["schema", "generate", "--partition-by", layout]).success();
        let path = db.folder().join("migrations/V5__layout.sql");
        let text = std::fs::read_to_string(&path).expect("the file");
        let blocks: Vec<_> = text.split_inclusive("$pupctl$;\n\n").collect();
        let later = ["projection_dead_letters", "pupctl_conversions"];
        let is_older = |block: &&&str| !later.iter().any(|table| block.contains(table));
        let older = blocks.iter().filter(is_older);
        assert_eq!(older.clone().count() + 3, blocks.len());
        std::fs::write(&path, older.copied().collect::<String>()).expect("the file");
        db.pupctl(["schema", "migrate"]).success();
        let later = ["V4__projections", "V5__read_models", "V6__conversions"].map(str::to_owned);
        assert_eq!(migrations(&db), (3, later.to_vec()), "{layout}");
        let again = db.pupctl(["schema", "migrate"]).success();
        assert!(again.stderr.contains("Nothing to do") || migrations(&db).0 == 6, "{again}");
        db.pupctl(["schema", "init"]).success();
        has_projections(&db, "projection_checkpoints");
    }
}

#[test]
fn files_that_are_applied_in_pieces_bring_the_columns_with_the_last() {
    let config = "[tables]\nprojection_checkpoints = \"check points\"\n";
    for config in ["", config] {
        let db = TestDatabase::new();
        std::fs::write(db.folder().join("pupctl.toml"), config).expect("a configuration");
        db.pupctl(["schema", "generate", "--partition-by", "none"]).success();
        for version in ["1", "2", "3"] {
            db.pupctl(["schema", "migrate", "--to", version]).success();
            assert_eq!(migrations(&db).0, 3, "{version}");
        }
        db.pupctl(["schema", "migrate"]).success();
        let name = if config.is_empty() { "projection_checkpoints" } else { "check points" };
        has_projections(&db, name);
        let again = db.pupctl(["schema", "init"]).success();
        assert!(again.stderr.contains("Nothing to do"), "{again}");
    }
}

#[test]
fn a_table_of_checkpoints_with_another_name_gets_the_columns() {
    let db = TestDatabase::new();
    let config = "[tables]\nprojection_checkpoints = \"Check points\"\n";
    std::fs::write(db.folder().join("pupctl.toml"), config).expect("a configuration");
    db.pupctl(INIT.iter().chain(&["--contexts", "Identity"])).success();
    has_projections(&db, "Check points");
    take_projections_back(&db, "Check points");
    db.pupctl(["partitions", "ensure"]).success();
    has_projections(&db, "Check points");
    // It cannot be the name of the list of dead letters.
    let other = TestDatabase::new();
    let config = "[tables]\nprojection_checkpoints = \"projection_dead_letters\"\n";
    std::fs::write(other.folder().join("pupctl.toml"), config).expect("a configuration");
    let refused = other.pupctl(INIT).failure(2);
    assert!(refused.stderr.contains("is pupctl's own"), "{refused}");
}
