//! Stores that are made of the files alone.

use crate::support::TestDatabase;
use crate::{files, generate};

const LAYOUTS: [&str; 7] =
    ["none", "context", "hash", "month", "context,hash", "context,month", "hash,month"];

fn arguments<'a>(layout: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["--partition-by", layout];
    if layout.contains("context") {
        arguments.extend(["--contexts", "Identity,it's"]);
    }
    if layout.contains("hash") {
        arguments.extend(["--hash-partitions", "3"]);
    }
    arguments.extend(more);
    arguments
}

/// Generates the files and gives them to psql one by one, each in a transaction, as other tools
/// do. What comes before and after a way up is left out.
fn apply(db: &TestDatabase, arguments: &[&str]) {
    generate(db.folder(), arguments).success();
    for (name, text) in files(&db.folder().join("migrations")) {
        let up = text.split("\n-- +goose Down").next().expect("a way up");
        let up = up.split("\n-- migrate:down").next().expect("a way up");
        let script = format!("up_{name}");
        std::fs::write(db.folder().join(&script), up).expect("a script");
        db.psql(["-1", "-f", &script]).success();
    }
}

/// All that later commands look at is as after `schema init`.
fn works(db: &TestDatabase) {
    db.pupctl(["partitions", "ensure"]).success();
    db.pupctl(["partitions", "check", "--exit-code"]).success();
    let init = db.pupctl(["schema", "init"]).success();
    assert!(init.stderr.contains("Nothing to do"), "{init}");
    let again = db.pupctl(["partitions", "ensure"]).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
    let status = db.pupctl(["schema", "status", "-o", "json"]).success().json();
    assert_eq!(status["pending_migrations"], serde_json::json!([]), "{status}");
}

/// The catalog and the layout, without the histories, which name the files.
fn dump(db: &TestDatabase) -> String {
    let dump = db.dump();
    let lines = dump.lines().filter(|line| !line.starts_with("pupctl_schema_history {"));
    lines
        .filter(|line| !line.starts_with("public.pupctl_schema_history {"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_layout_is_the_store_that_init_makes() {
    for layout in LAYOUTS {
        let by_files = TestDatabase::new();
        apply(&by_files, &arguments(layout, &["--format", "flyway"]));
        works(&by_files);
        let by_init = TestDatabase::new();
        by_init.pupctl([vec!["schema", "init"], arguments(layout, &[])].concat()).success();
        assert_eq!(dump(&by_files), dump(&by_init), "{layout}");
    }
}

#[test]
fn every_format_makes_the_same_store() {
    let by_init = TestDatabase::new();
    let layout = arguments("context,hash", &[]);
    by_init.pupctl([vec!["schema", "init"], layout.clone()].concat()).success();
    for format in ["refinery", "sqlx", "goose", "dbmate"] {
        let db = TestDatabase::new();
        apply(&db, &[&layout[..], &["--format", format]].concat());
        works(&db);
        assert_eq!(dump(&db), dump(&by_init), "{format}");
    }
    let plain = TestDatabase::new();
    generate(plain.folder(), &[&layout[..], &["--format", "plain", "--dir", "."]].concat())
        .success();
    plain.psql(["-f", "event_store.sql"]).success();
    works(&plain);
    assert_eq!(dump(&plain), dump(&by_init));
}

#[test]
fn fixed_months_are_there_and_the_rest_follows() {
    let db = TestDatabase::new();
    let months = ["--from", "2025-10", "--months", "4", "--format", "flyway"];
    apply(&db, &arguments("month", &months));
    assert_eq!(
        db.leaves("public.events"),
        [
            "public.events_2025_10",
            "public.events_2025_11",
            "public.events_2025_12",
            "public.events_2026_01"
        ]
    );
    works(&db);
}

#[test]
fn another_schema_is_made_on_the_way() {
    let db = TestDatabase::new();
    let schema = ["--schema", "Event \"Store", "--format", "flyway"];
    apply(&db, &arguments("context,month", &schema));
    // It is the only store, so it need not be named.
    db.pupctl(["partitions", "ensure"]).success();
    db.pupctl(["partitions", "check", "--exit-code"]).success();
}

#[test]
fn the_way_down_fails_and_drops_nothing() {
    let db = TestDatabase::new();
    apply(&db, &arguments("none", &["--format", "goose"]));
    let text = &files(&db.folder().join("migrations"))["00002_events.sql"];
    let down = text.split_once("-- +goose Down").expect("a way down").1;
    std::fs::write(db.folder().join("down.sql"), down).expect("a script");
    let failed = db.psql(["-f", "down.sql"]).failure(3);
    assert!(failed.stderr.contains("events would be lost"), "{failed}");
    assert!(db.one::<bool>("SELECT to_regclass('events') IS NOT NULL"));
}

#[test]
fn a_killed_run_is_finished_by_the_next() {
    let db = TestDatabase::new();
    let generate = ["schema", "generate", "--partition-by", "none"];
    // What an earlier one wrote stays, so each gets one file further.
    for action in ["return", "1*off->return", "1*off->return"] {
        let point = format!("generate::before_file={action}");
        db.command(generate).failpoints(&point).run().killed();
    }
    db.pupctl(generate).success();
    let alone = tempfile::tempdir().expect("a folder");
    crate::generate(alone.path(), &["--partition-by", "none"]).success();
    let written = files(&db.folder().join("migrations"));
    assert_eq!(written, files(&alone.path().join("migrations")));
}

#[test]
fn refinery_itself_applies_them_and_has_the_same_checksums() {
    let [by_refinery, by_pupctl] = [TestDatabase::new(), TestDatabase::new()];
    for db in [&by_refinery, &by_pupctl] {
        let layout = arguments("context,month", &["--from", "2025-10", "--months", "2"]);
        generate(db.folder(), &layout).success();
    }
    let folder = by_refinery.folder().join("migrations");
    let migrations = refinery_core::load_sql_migrations(folder).expect("migrations");
    let runner = refinery::Runner::new(&migrations);
    runner.run(&mut by_refinery.client()).expect("a run of refinery");
    works(&by_refinery);

    by_pupctl.pupctl(["schema", "migrate"]).success();
    let recorded = |db: &TestDatabase, table: &str| {
        db.texts(&format!(
            "SELECT concat_ws(' ', version, name, checksum) FROM public.{table} ORDER BY version"
        ))
    };
    assert_eq!(
        recorded(&by_refinery, "refinery_schema_history"),
        recorded(&by_pupctl, "pupctl_schema_history")
    );
}
