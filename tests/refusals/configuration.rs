//! Files that cannot be right: the line is shown.

use insta::assert_snapshot;

use super::{refused, refused_as};
use crate::support::TestDatabase;

#[track_caller]
fn configured(text: &str) -> String {
    let db = TestDatabase::new();
    std::fs::write(db.folder().join("pupctl.toml"), text).expect("a file");
    refused(&db, ["schema", "init"], 2)
}

#[test]
fn an_unknown_key_is_shown_in_its_line() {
    assert_snapshot!(configured("schema = \"es\"\n\n[layout]\npartition_by = \"context\"\nmonth = 3\n"), @"
    error: pupctl.toml: TOML parse error at line 5, column 1
        |
      5 | month = 3
        | ^^^^^
      unknown field `month`, expected one of `partition_by`, `hash_partitions`, `hash_columns`, `months`, `guard`, `event_ids`, `immutable`
    hint: docs/reference/config.md lists all keys
    ");
}

#[test]
fn text_that_is_no_toml_is_shown() {
    assert_snapshot!(configured("[layout]\npartition_by = context\n"), @"
    error: pupctl.toml: TOML parse error at line 2, column 16
        |
      2 | partition_by = context
        |                ^^^^^^^
      string values must be quoted, expected literal string
    hint: docs/reference/config.md lists all keys
    ");
}

#[test]
fn a_wrong_type_is_shown() {
    assert_snapshot!(configured("[layout]\nmonths = \"three\"\n"), @r#"
    error: pupctl.toml: TOML parse error at line 2, column 10
        |
      2 | months = "three"
        |          ^^^^^^^
      invalid type: string "three", expected u32
    hint: docs/reference/config.md lists all keys
    "#);
    assert_snapshot!(configured("[locks]\nbudget = \"30\"\n"), @r#"
    error: pupctl.toml: TOML parse error at line 2, column 10
        |
      2 | budget = "30"
        |          ^^^^
      time unit needed, for example 30sec or 30ms; write 500ms, 30s or 2m
    hint: docs/reference/config.md lists all keys
    "#);
    assert!(configured("[layout]\nmonths = -1\n").contains("line 2, column 10"));
}

#[test]
fn wrong_values_are_told_before_the_server_is_asked() {
    assert_snapshot!(configured("[layout]\npartition_by = \"weekly\"\n"), @"
    error: `weekly` is not a way to partition
    hint: choose one of none | context | hash | month | context,hash | context,month | hash,month
    ");
    let context = configured(
        "[layout]\npartition_by = \"context\"\n[[contexts]]\nname = \"A\"\npartition_by = \"week\"\n",
    );
    assert!(context.contains("choose one of none | hash | month"), "{context}");
    let zero = "[layout]\npartition_by = \"none\"\n[locks]\nfirst_timeout = \"0s\"\n";
    assert!(configured(zero).contains("first_timeout must lie above 0"));
    let names = "[layout]\npartition_by = \"none\"\n[tables]\nevents = \"aggregate_heads\"\n";
    assert!(configured(names).contains("two of the store's tables have one name"));
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "none"];
    let missing = db.command(init).args(["--config", "shop.toml"]);
    assert_snapshot!(refused_as(&db, missing, 2), @"error: cannot read shop.toml: No such file or directory (os error 2)");
    let variable = db.command(init).env("PUPCTL_CONFIG", "shop.toml");
    assert!(refused_as(&db, variable, 2).contains("cannot read shop.toml"));
}
