//! Commands that only read the catalog neither lock partitions nor wait for those who do.

mod support;

use support::TestDatabase;

/// Settings of a role or a database change how the server prints its catalog.
#[test]
fn settings_do_not_bend_what_is_read() {
    let db = TestDatabase::new();
    let _ = db.pupctl(["schema", "init", "--partition-by", "month"]).success();
    for setting in ["quote_all_identifiers = on", "TimeZone = 'Asia/Tokyo'", "DateStyle = 'German'"]
    {
        db.execute(&format!("ALTER DATABASE {} SET {setting}", db.name()));
    }
    let ensured = db.pupctl(["partitions", "ensure"]).success();
    assert!(ensured.stderr.contains("Nothing to do"), "{ensured}");
    let _ = db.pupctl(["partitions", "check", "--exit-code"]).success();
}

#[test]
fn a_locked_partition_holds_up_nobody_who_reads_the_catalog() {
    let db = TestDatabase::new();
    let _ = db.pupctl(["schema", "init", "--partition-by", "month"]).success();
    let leaf: String =
        db.one("SELECT min(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'events'::regclass");
    let mut holder = db.client();
    let mut transaction = holder.transaction().expect("a transaction");
    transaction
        .batch_execute(&format!("LOCK TABLE {leaf} IN ACCESS EXCLUSIVE MODE"))
        .expect("the lock");
    db.execute(&format!("ALTER DATABASE {} SET lock_timeout = '100ms'", db.name()));
    let _ = db.pupctl(["partitions", "ensure"]).success();
    let _ = db.pupctl(["partitions", "check"]).success();
    let _ = db.pupctl(["schema", "status"]).success();
}
