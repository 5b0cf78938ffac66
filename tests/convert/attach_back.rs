//! The way back of an old table that is a partition, and what hangs on it there and back.

use crate::attach::{EACH, QUOTED, attach, attached, codes, fit};
use crate::support::TestDatabase;
use crate::{
    Kind, append, assert_checked, assert_nothing_left, assert_same, assert_same_text, assert_sound,
    convert, phase, rows, state, store,
};

#[test]
fn before_the_swap_nothing_is_left() {
    for (kind, layout) in EACH {
        let db = fit(kind, layout);
        // What belongs to the store is made, and stays.
        convert(&db, &attach("start", layout)).success();
        convert(&db, &["rollback"]).success();
        let before = state(&db);
        assert!(!before.contains("pupctl_bounds"), "{before}");
        assert!(!before.contains("history"), "{before}");
        convert(&db, &attach("start", layout)).success();
        convert(&db, &["rollback"]).success();
        assert_same_text(&before, &state(&db), &format!("{kind:?} {layout}"));
        assert_nothing_left(&db, layout);
        if kind == Kind::Pupctl {
            assert_checked(&db);
        }
    }
}

#[test]
fn before_the_swap_the_tables_are_as_they_were() {
    for layout in ["month", "context"] {
        let db = fit(Kind::Pupctl, layout);
        let before = state(&db);
        convert(&db, &attach("start", layout)).success();
        convert(&db, &["rollback"]).success();
        assert_same_text(&before, &state(&db), layout);
    }
}

#[test]
fn after_the_swap_everything_comes_back() {
    for (kind, layout) in EACH {
        let told = format!("{kind:?} {layout}");
        let db = attached(kind, layout);
        append(&db, QUOTED, "o-1", 3, 0);
        append(&db, QUOTED, "new one", 2, 1);
        // Beyond the cutover, where there is one.
        append(&db, QUOTED, "new one", 2, 2);
        append(&db, QUOTED, "o-2", 2, 2);
        let before = rows(&db);
        let run = convert(&db, &["rollback"]).success();
        assert_same(&before, &rows(&db), &format!("{told} {run}"));
        assert_sound(&db, &told);
        assert_nothing_left(&db, &told);
        assert_checked(&db);
        assert_eq!(phase(&db), "rolled_back");
        let kind_of: String =
            db.one("SELECT relkind::text FROM pg_class WHERE oid = 'events'::regclass");
        assert_eq!(kind_of, "r", "{told}");
        append(&db, QUOTED, "new one", 1, 2);
        append(&db, "Billing", "other", 1, 0);
        db.execute(
            "DELETE FROM events WHERE aggregate_id = 'other';
             DELETE FROM aggregate_heads WHERE aggregate_id = 'other'",
        );
        let before = rows(&db);
        convert(&db, &attach("run", layout)).success();
        convert(&db, &["finish"]).success();
        assert_same(&before, &rows(&db), &told);
        assert_sound(&db, &told);
        assert_checked(&db);
    }
}

/// After the way back, the tables have the names, keys and triggers that they had; an index that
/// was built stays, for the next time.
#[test]
fn after_the_swap_the_tables_are_as_they_were() {
    for layout in ["month", "context"] {
        let db = fit(Kind::Pupctl, layout);
        let before = state(&db);
        convert(&db, &attach("run", layout)).success();
        convert(&db, &["rollback"]).success();
        assert_same_text(&before, &state(&db), layout);
        let init = db.pupctl(["schema", "init"]).success();
        assert!(init.stderr.contains("Nothing to do"), "{init}");
    }
}

#[test]
fn many_events_beyond_are_not_moved() {
    let db = attached(Kind::Pupctl, "month");
    let many = |from: u32, to: u32| {
        db.execute(&format!(
            "INSERT INTO events (bounded_context, aggregate_type, aggregate_id, aggregate_version,
                event_id, event_type, payload, created_at)
             SELECT 'Billing', 'Order', 'many-' || number, 1, gen_random_uuid(), 'x', '',
                '{}-03T00:00:00Z' FROM generate_series({from}, {to}) AS number;
             INSERT INTO aggregate_heads SELECT 'Billing', 'Order', 'many-' || number, 1
             FROM generate_series({from}, {to}) AS number
             ON CONFLICT DO NOTHING",
            db.month(2)
        ));
    };
    many(1, 10_001);
    let before = rows(&db);
    let run = convert(&db, &["rollback"]).failure(1);
    assert!(run.stderr.contains("pupctl convert finish"), "{run}");
    assert_same(&before, &rows(&db), "refused");
    assert_eq!(phase(&db), "swapped");
    db.execute(
        "DELETE FROM events WHERE aggregate_id LIKE 'many-1%';
         DELETE FROM aggregate_heads WHERE aggregate_id LIKE 'many-1%'",
    );
    let before = rows(&db);
    convert(&db, &["rollback"]).success();
    assert_same(&before, &rows(&db), "fewer");
    assert_sound(&db, "fewer");
}

/// What hangs on the table.
fn hung(db: &TestDatabase) -> Vec<String> {
    db.texts(
        "SELECT concat_ws(' ', 'view', relname, pg_get_viewdef(oid)) FROM pg_class
            WHERE relname = 'orders'
         UNION ALL SELECT concat_ws(' ', 'trigger', tgname, tgenabled) FROM pg_trigger
            WHERE tgrelid = 'public.events'::regclass AND tgname = 'tell'
         UNION ALL SELECT concat_ws(' ', 'grant', grantee::regrole, privilege_type)
            FROM pg_class, aclexplode(relacl) WHERE oid = 'public.events'::regclass
         UNION ALL SELECT concat_ws(' ', 'published', pubname) FROM pg_publication_rel
            JOIN pg_publication ON prpubid = pg_publication.oid
            WHERE prrelid = 'public.events'::regclass
         UNION ALL SELECT concat_ws(' ', 'sequence', pg_get_serial_sequence('public.events',
            'global_position'))
         UNION ALL SELECT concat_ws(' ', 'comment',
            obj_description('public.events'::regclass, 'pg_class'))
         ORDER BY 1",
    )
}

#[test]
fn what_hangs_on_the_table_follows_its_name() {
    let db = store(Kind::Pupctl);
    db.execute(
        "CREATE VIEW orders AS SELECT global_position, aggregate_id FROM events;
         CREATE TABLE told (position bigint);
         CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO public.told VALUES (NEW.global_position); RETURN NULL; END $$;
         CREATE TRIGGER tell AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION tell();
         GRANT SELECT ON events TO pg_monitor;
         COMMENT ON TABLE events IS 'all of them';
         CREATE PUBLICATION told_of FOR TABLE events
            WITH (publish = 'insert', publish_via_partition_root = true)",
    );
    let before = hung(&db);
    let follows = |verb: &str| {
        assert_eq!(before, hung(&db), "{verb}");
        let (seen, told): (i64, i64) =
            (db.one("SELECT count(*) FROM orders"), db.one("SELECT count(*) FROM told"));
        append(&db, "Billing", "o-1", 1, 0);
        assert_eq!(db.one::<i64>("SELECT count(*) FROM orders"), seen + 1, "{verb}");
        assert_eq!(db.one::<i64>("SELECT count(*) FROM told"), told + 1, "{verb}");
    };
    convert(&db, &attach("start", "month")).success();
    follows("start");
    convert(&db, &["swap"]).success();
    follows("swap");
    append(&db, "Billing", "o-2", 1, 2);
    let told: i64 = db.one("SELECT count(*) FROM told");
    assert_eq!(told, 3, "also of an event beyond");
    convert(&db, &["rollback"]).success();
    assert_eq!(db.one::<i64>("SELECT count(*) FROM told"), told, "nothing is told twice");
    follows("rollback");
    convert(&db, &attach("run", "month")).success();
    convert(&db, &["finish"]).success();
    follows("finish");
    assert_sound(&db, "follows");
    assert!(!codes(&db).iter().any(|code| code.starts_with("error")), "{:?}", codes(&db));
}
