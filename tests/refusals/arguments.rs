//! Arguments that cannot be right.

use insta::assert_snapshot;

use super::{refused, store};
use crate::support::TestDatabase;

#[test]
fn another_way_to_partition_names_the_ways_there_are() {
    let db = TestDatabase::new();
    assert_snapshot!(refused(&db, ["schema", "init", "--partition-by", "weekly"], 2), @"
    error: invalid value 'weekly' for '--partition-by <LAYOUT>': `weekly` is not a way to partition; choose one of none | context | hash | month | context,hash | context,month | hash,month

    For more information, try '--help'.
    ");
    let added = refused(&db, ["contexts", "add", "A", "--partition-by", "week"], 2);
    assert_snapshot!(added, @"
    error: invalid value 'week' for '--partition-by <LEVEL>': `week` is not a way to divide a context; choose one of none | hash | month

    For more information, try '--help'.
    ");
}

#[test]
fn no_layout_at_all() {
    let db = TestDatabase::new();
    assert_snapshot!(refused(&db, ["schema", "init"], 2), @"
    error: no layout was chosen
    hint: say how to partition, for example --partition-by context
    ");
}

#[test]
fn names_of_contexts() {
    let db = TestDatabase::new();
    let init = |names| {
        refused(&db, ["schema", "init", "--partition-by", "context", "--contexts", names], 2)
    };
    let empty = init("A,,B");
    assert_snapshot!(empty, @"
    error: the name of a bounded context is empty
    hint: separate the names with single commas: --contexts Identity,Billing
    ");
    assert_eq!(init(""), empty);
    assert_eq!(init("A,"), empty);
    assert_eq!(init(" "), empty);
    assert_eq!(init(",,"), empty);
    assert_snapshot!(init("A, B"), @"error: the bounded context ` B` starts or ends with a space");
    assert_snapshot!(init("A,B,A"), @"error: the bounded context `A` is named twice");
    assert_snapshot!(init("A,B\tC"), @r#"error: the bounded context name "B\tC" holds a control character"#);
    assert_snapshot!(init("A\n"), @"
    error: the bounded context `A
    ` starts or ends with a space
    ");
    let long = init(&"é".repeat(101));
    assert!(long.contains("has 202 bytes; the limit is 200"), "{long}");
}

#[test]
fn names_of_contexts_that_are_added() {
    let db = store(["--partition-by", "context", "--contexts", "Identity"]);
    let add = |names| refused(&db, ["contexts", "add", names], 2);
    assert!(add("A,,B").contains("the name of a bounded context is empty"));
    assert!(add("A,A").contains("the bounded context `A` is named twice"));
    assert!(add("A\u{7f}").contains("holds a control character"));
    assert!(add(" A").contains("starts or ends with a space"));
}

#[test]
fn numbers_of_months() {
    let db = store(["--partition-by", "month"]);
    let ensure = |option, value| refused(&db, ["partitions", "ensure", option, value], 2);
    assert_snapshot!(ensure("--months", "-1"), @"
    error: invalid value '-1' for '--months <COUNT>': -1 is not in 0..2400

    For more information, try '--help'.
    ");
    assert_snapshot!(ensure("--months", "99999"), @"
    error: invalid value '99999' for '--months <COUNT>': 99999 is not in 0..2400

    For more information, try '--help'.
    ");
    assert!(ensure("--months", "many").contains("invalid value 'many' for '--months <COUNT>'"));
    assert_snapshot!(ensure("--from", "2026-13"), @"
    error: invalid value '2026-13' for '--from <YYYY-MM>': `2026-13` is not a month; write year and month, 2026-11, from 1900-01 to 2999-12

    For more information, try '--help'.
    ");
    assert!(ensure("--from", "1066-10").contains("from 1900-01 to 2999-12"));
    assert!(ensure("--from", "now").contains("`now` is not a month"));
    assert!(ensure("--lock-budget", "30").contains("write 500ms, 30s or 2m"));
    // Within the limits of the argument, but too many from the first month on.
    let far = refused(&db, ["partitions", "ensure", "--from", "1900-01", "--months", "2300"], 2);
    assert!(far.contains("one command makes at most 2400 months"), "{far}");
}

#[test]
fn hash_levels() {
    let db = TestDatabase::new();
    let init = |layout, option, value| {
        refused(&db, ["schema", "init", "--partition-by", layout, option, value], 2)
    };
    assert_snapshot!(init("hash", "--hash-partitions", "1"), @"
    error: a hash level cannot have 1 partitions
    hint: choose from 2 to 1024
    ");
    assert!(init("hash", "--hash-partitions", "1025").contains("choose from 2 to 1024"));
    assert!(init("hash", "--hash-partitions", "-4").contains("invalid value '-4'"));
    assert_snapshot!(init("hash", "--hash-columns", "event_id"), @"
    error: `event_id` cannot be a hash column here
    hint: name one or more of bounded_context, aggregate_type, aggregate_id: the key of an event must contain them
    ");
    let below = init("context,hash", "--hash-columns", "bounded_context");
    assert!(below.contains("`bounded_context` cannot be a hash column here"), "{below}");
    let twice = init("hash", "--hash-columns", "aggregate_id,aggregate_id");
    assert!(twice.contains("the hash column `aggregate_id` is named twice"), "{twice}");
    assert_snapshot!(init("month", "--hash-columns", "aggregate_id"), @"
    error: the layout month has no hash level
    hint: leave out --hash-partitions and --hash-columns, or choose a layout with hash
    ");
    assert!(init("context", "--hash-partitions", "8").contains("has no hash level"));
}

#[test]
fn hash_options_without_a_layout_are_not_ignored() {
    let db = store(["--partition-by", "context", "--contexts", "A"]);
    assert_snapshot!(refused(&db, ["schema", "init", "--hash-columns", "aggregate_id"], 2), @"
    error: --hash-partitions and --hash-columns need --partition-by
    hint: for example --partition-by hash
    ");
    let add = refused(&db, ["contexts", "add", "B", "--hash-partitions", "8"], 2);
    assert!(add.contains("--partition-by"), "{add}");
    let whole =
        ["contexts", "add", "B", "--partition-by", "none", "--hash-columns", "aggregate_id"];
    assert!(refused(&db, whole, 2).contains("--hash-columns needs --partition-by hash"));
}

#[test]
fn a_schema_that_cannot_be_one() {
    let db = TestDatabase::new();
    let long = "s".repeat(64);
    let init =
        |schema| refused(&db, ["schema", "init", "--partition-by", "none", "--schema", schema], 2);
    assert!(init(&long).contains("has 64 bytes; PostgreSQL keeps 63"));
    assert!(init("").contains("the schema name is empty"));
    assert!(init("a\tb").contains("control character"));
}

#[test]
fn embedded_and_a_url_are_two_servers() {
    let db = TestDatabase::new();
    let both = ["partitions", "list", "--embedded", "--database-url", db.url()];
    assert_snapshot!(refused(&db, both, 2), @"
    error: the argument '--embedded' cannot be used with '--database-url <URL>'

    Usage: pupctl partitions list --embedded

    For more information, try '--help'.
    ");
    assert!(!db.folder().join(".pupctl").exists(), "it started a server");
}
