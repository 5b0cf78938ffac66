//! Stores of other kinds than usual, and other ways in which a file comes.

use std::process::Command;

use insta::assert_snapshot;

use crate::event::{count, event, heads, lines, read, rows, text};
use crate::files::{gzip, order, zstd};
use crate::support::{Output, TestDatabase};
use crate::{excerpt, file, store, with_excerpt};

#[test]
fn a_store_whose_journal_has_no_state_yet() {
    let db = store(["--partition-by", "context,month", "--months", "0"]);
    db.execute(
        "ALTER TABLE pupctl_operations DROP COLUMN state;
         DROP TABLE pupctl_archives, pupctl_closed_partitions;
         DELETE FROM pupctl_history WHERE version >= 2",
    );
    let file = with_excerpt(&db);
    let import = ["events", "import", file, "--create-partitions"];
    let dry = db.pupctl(import.iter().chain(&["--dry-run"])).success();
    assert!(dry.stdout.contains("-- Lock: ACCESS EXCLUSIVE on public.pupctl_operations."), "{dry}");
    db.pupctl(import).success();
    assert_eq!(rows(&db).len(), 493);
    let state =
        "SELECT state ->> 'lines' FROM public.pupctl_operations WHERE command = 'events import'";
    assert_eq!(db.texts(state), ["493"]);
    assert_eq!(db.one::<i64>("SELECT count(*) FROM pupctl_history"), 6);
}

#[test]
fn names_that_need_quotes() {
    for layout in ["none", "context,hash", "hash,month"] {
        let db = TestDatabase::new();
        let config = "schema = 'Event \"Store\"'\n\n[tables]\nevents = 'My \"Events\"; --'\n\
            aggregate_heads = \"Köpfe's\"\nprojection_checkpoints = \"check points\"\n";
        std::fs::write(db.folder().join("pupctl.toml"), config).expect("a configuration");
        let mut init = vec!["schema", "init", "--partition-by", layout];
        if layout != "none" {
            init.extend(["--hash-partitions", "2"]);
        }
        db.pupctl(init).success();
        let odd = ["it's", "a\"; DROP TABLE events; --", "{{ x }} -- \\q", "Größe", "%s"];
        let events = (1..).zip(odd).flat_map(|(number, name)| {
            order(number, 2)
                .into_iter()
                .map(move |event| event.with("bounded_context", name).with("aggregate_id", name))
        });
        let content = lines(&events.collect::<Vec<_>>());
        let file = file(&db, &content);
        let import = ["events", "import", file, "--create-partitions"];
        db.pupctl(import).success();
        let stored = db.texts(
            r#"SELECT bounded_context || '|' || aggregate_id || '|' || aggregate_version
             FROM "Event ""Store"""."My ""Events""; --" ORDER BY global_position"#,
        );
        let expected = odd.iter().flat_map(|name| [1, 2].map(|n| format!("{name}|{name}|{n}")));
        assert_eq!(stored, expected.collect::<Vec<_>>(), "{layout}");
        let moved = r#"SELECT count(*) FROM "Event ""Store"""."Köpfe's"
            WHERE aggregate_version = 2"#;
        assert_eq!(db.one::<i64>(moved), 5);
        let again = db.pupctl(import.iter().chain(&["--skip-existing"])).success();
        assert!(again.stderr.contains("all 10 events"), "{again}");
        db.pupctl(["partitions", "check", "--exit-code"]).success();
    }
}

const OWN_LEVELS: &str = r#"
[[contexts]]
name = "Core"
partition_by = "hash"
hash_partitions = 3

[[contexts]]
name = "Gui"
partition_by = "none"
"#;

#[test]
fn contexts_are_made_with_the_levels_that_the_configuration_gives_them() {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "context,month", "--months", "0"];
    db.pupctl(init).success();
    std::fs::write(db.folder().join("pupctl.toml"), OWN_LEVELS).expect("a configuration");
    let file = with_excerpt(&db);
    db.pupctl(["events", "import", file, "--create-partitions"]).success();
    let held = db.texts(
        "SELECT tableoid::regclass::text || ' ' || count(*) FROM public.events
         WHERE bounded_context IN ('Core', 'Gui') GROUP BY tableoid ORDER BY 1",
    );
    assert_snapshot!(held.join("\n"), @"
    public.events_core_hash_00 126
    public.events_core_hash_01 46
    public.events_core_hash_02 38
    public.events_gui 7
    ");
    let text = text(&excerpt());
    assert_eq!(rows(&db), read(&text).iter().map(crate::event::Read::row).collect::<Vec<_>>());
    let ensure = db.pupctl(["partitions", "ensure"]).success();
    assert!(ensure.stderr.contains("Nothing to do"), "{ensure}");
    db.pupctl(["partitions", "check", "--exit-code"]).success();
}

#[test]
fn standard_input_plain_and_compressed() {
    let text = lines(&order(1, 1000));
    for input in [text.clone().into_bytes(), gzip(&text), zstd(&text)] {
        let db = store(["--partition-by", "none"]);
        let import = || db.command(["events", "import", "-", "--create-partitions"]);
        let dry = import().args(["--dry-run"]).stdin(input.clone()).run().success();
        assert!(dry.stderr.contains("1000 events would go in"), "{dry}");
        assert_eq!(count(&db), 0);
        import().stdin(input.clone()).run().success();
        assert_eq!(heads(&db), ["Shop|Order|o-1|1000"]);
        let again = import().stdin(input).run().failure(1);
        assert!(again.stderr.contains("error: standard input, line 1: the store has"), "{again}");
    }
    let db = store(["--partition-by", "none"]);
    let bad = db.command(["events", "import", "-"]).stdin("{}\n").run().failure(1);
    assert_eq!(bad.stderr, "error: standard input, line 1: the field `event_id` is missing\n");
    let closed = db.pupctl(["events", "import", "-"]).success();
    assert_eq!(closed.stderr, "Nothing to do: the file has no events\n");
}

#[cfg(unix)]
#[test]
fn a_named_pipe() {
    let db = store(["--partition-by", "none"]);
    let pipe = db.folder().join("pipe");
    Output::of(Command::new("mkfifo").arg(&pipe)).success();
    let writer = std::thread::spawn(move || std::fs::write(pipe, lines(&order(1, 1000))));
    db.pupctl(["events", "import", "pipe"]).success();
    writer.join().expect("a writer").expect("all was read");
    assert_eq!(count(&db), 1000);
}

#[test]
fn a_database_without_a_store_and_one_with_two() {
    let db = TestDatabase::new();
    let file = file(&db, lines(&[event(1, 1)]));
    assert_snapshot!(crate::refused_file(&db, &[file], 1), @"
    error: there is no store in schema public
    hint: make one: pupctl schema init --partition-by context --contexts Identity,Billing
    ");
    for schema in ["one", "two"] {
        db.pupctl(["schema", "init", "--partition-by", "none", "--schema", schema]).success();
    }
    db.pupctl(["events", "import", file, "--schema", "two"]).success();
    let counts = ["one", "two"].map(|s| db.one::<i64>(&format!("SELECT count(*) FROM {s}.events")));
    assert_eq!(counts, [0, 1]);
}
