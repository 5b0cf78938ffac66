//! Bounds are months in UTC whatever the database is set to.

use crate::support::{Append, TestDatabase};

#[test]
fn months_are_those_of_utc_whatever_the_settings_of_the_database() {
    let plain = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "month"];
    plain.pupctl(init).success();
    // On either side of Greenwich, once with a zone that changes its clocks.
    for zone in ["Europe/Warsaw", "Pacific/Kiritimati", "America/Los_Angeles"] {
        let db = TestDatabase::new();
        db.execute(&format!(
            "ALTER DATABASE {0} SET TimeZone = '{zone}';
             ALTER DATABASE {0} SET DateStyle = 'SQL, DMY';
             ALTER DATABASE {0} SET standard_conforming_strings = off;
             ALTER DATABASE {0} SET search_path = 'nowhere'",
            db.name()
        ));
        db.pupctl(init).success();
        assert_eq!(db.tree("public.events"), plain.tree("public.events"), "{zone}");
        let again = db.pupctl(["partitions", "ensure"]).success();
        assert!(again.stderr.contains("Nothing to do"), "{zone}: {again}");
        db.pupctl(["partitions", "check", "--exit-code"]).success();
    }
}

#[test]
fn the_first_and_last_instant_of_a_month_fall_into_its_partition() {
    let db = TestDatabase::new();
    db.pupctl(["schema", "init", "--partition-by", "month", "--months", "1"]).success();
    let mut client = db.client();
    let (this, next) = (db.month(0), db.month(1));
    let instants = [format!("{this}-01T00:00:00Z"), format!("{next}-01T00:00:00Z")];
    for (position, created_at) in instants.iter().enumerate() {
        let id = position.to_string();
        Append { context: "Any", id: &id, head: None, events: 1, created_at }
            .run(&mut client)
            .expect("an event");
    }
    let last = "INSERT INTO events (bounded_context, aggregate_type, aggregate_id,
        aggregate_version, event_id, event_type, payload, created_at)
        SELECT 'Any', 'Order', '2', 1, gen_random_uuid(), 'x', '', max(created_at) - interval '1 us'
        FROM events";
    client.execute(last, &[]).expect("the last instant");
    let leaves =
        db.texts("SELECT tableoid::regclass::text FROM public.events ORDER BY aggregate_id::int");
    let leaf = |month: &str| format!("public.events_{}", month.replace('-', "_"));
    assert_eq!(leaves, [leaf(&this), leaf(&next), leaf(&this)]);
}

#[test]
fn hash_levels_divide_by_the_columns_that_were_chosen() {
    let key = |db: &TestDatabase| db.texts("SELECT pg_get_partkeydef('public.events'::regclass)");
    let hash = ["schema", "init", "--partition-by", "hash", "--hash-partitions", "3"];

    let usual = TestDatabase::new();
    usual.pupctl(hash).success();
    assert_eq!(key(&usual), ["HASH (bounded_context, aggregate_type, aggregate_id)"]);

    let chosen = TestDatabase::new();
    let columns = ["--hash-columns", "aggregate_id,bounded_context"];
    chosen.pupctl(hash.iter().chain(&columns)).success();
    assert_eq!(key(&chosen), ["HASH (aggregate_id, bounded_context)"]);
    let heads = "SELECT pg_get_partkeydef('public.aggregate_heads'::regclass)";
    assert_eq!(chosen.texts(heads), ["HASH (aggregate_id, bounded_context)"]);
    let leaves = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass";
    assert_eq!(chosen.one::<i64>(leaves), 3);

    let other = TestDatabase::new();
    let columns = ["--hash-columns", "event_id"];
    let refused = other.pupctl(hash.iter().chain(&columns)).failure(2);
    assert!(refused.stderr.contains("`event_id` cannot be a hash column"), "{refused}");
}

#[test]
fn backslashes_in_contexts_are_read_as_they_are_whatever_the_settings() {
    let db = TestDatabase::new();
    db.execute(&format!("ALTER DATABASE {} SET standard_conforming_strings = off", db.name()));
    let init = ["schema", "init", "--partition-by", "context", "--contexts", "C:\\new\\'x"];
    db.pupctl(init).success();
    let again = db.pupctl(["partitions", "ensure"]).success();
    assert!(again.stderr.contains("Nothing to do"), "{again}");
    db.pupctl(["partitions", "check", "--exit-code"]).success();
}
