//! Verifying reads only, waits for nobody, and takes no longer for many leaves.

use std::time::{Duration, Instant};

use crate::support::{TestDatabase, fingerprint};
use crate::{NOTHING, found, store, verify};

#[test]
fn people_and_machines_read_it() {
    let db = store();
    let leaf = format!("events_a_{}", db.month(0).replace('-', "_"));
    db.execute(&format!("ALTER TABLE {leaf} SET (fillfactor = 70), SET UNLOGGED"));
    let told = verify(&db, &[]).success();
    insta::assert_snapshot!(told.stdout.replace(&leaf, "events_a_m0"), @r#"
    error [unlogged] public.events_a_m0
      it is unlogged: a crash of the server empties it
      mend it: ALTER TABLE "public"."events_a_m0" SET LOGGED;
    warning [storage_differs] public.events_a_m0
      its storage parameters are fillfactor=70, those of most leaves none
      mend it: ALTER TABLE "public"."events_a_m0" RESET ("fillfactor");
    "#);
    insta::assert_snapshot!(told.stderr, @"2 differences found");
    let sql = verify(&db, &["--sql"]).success();
    insta::assert_snapshot!(sql.stdout.replace(&leaf, "events_a_m0"), @r#"
    -- pupctl schema verify
    \set ON_ERROR_STOP on

    -- storage_differs public.events_a_m0: its storage parameters are fillfactor=70, those of most leaves none.
    SET lock_timeout = '5s';
    ALTER TABLE "public"."events_a_m0" RESET ("fillfactor");

    -- unlogged public.events_a_m0: it is unlogged: a crash of the server empties it.
    SET lock_timeout = '5s';
    ALTER TABLE "public"."events_a_m0" SET LOGGED;
    "#);
    let json = verify(&db, &["-o", "json"]).success().json();
    let mend = &json["findings"][1]["mend"];
    assert_eq!(mend[0], format!("ALTER TABLE \"public\".\"{leaf}\" RESET (\"fillfactor\");"));
}

#[test]
fn it_writes_nothing_and_waits_for_nobody() {
    let db = store();
    let before = fingerprint(&mut db.client());
    let mut holder = db.client();
    let leaf = format!("events_a_{}", db.month(0).replace('-', "_"));
    holder.batch_execute(&format!("BEGIN; LOCK TABLE {leaf}")).expect("the locks");
    db.execute(&format!("ALTER DATABASE {} SET lock_timeout = '100ms'", db.name()));
    assert_eq!(found(&db), NOTHING);
    drop(holder);
    assert!(fingerprint(&mut db.client()) == before);
}

#[test]
fn a_store_that_is_not_there() {
    let refused = verify(&TestDatabase::new(), &[]).failure(1);
    assert!(refused.stderr.contains("there is no store in schema public"), "{refused}");
}

#[test]
fn many_leaves_take_no_longer() {
    let db = TestDatabase::new();
    let init = ["schema", "init", "--partition-by", "hash", "--hash-partitions", "1000"];
    db.pupctl(init).success();
    let begin = Instant::now();
    assert_eq!(found(&db), NOTHING);
    // Less than half a second, on a machine that does nothing else.
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    db.execute(
        "ALTER TABLE events_hash_77 SET (fillfactor = 70); DROP INDEX events_created_at_idx",
    );
    assert_eq!(found(&db).len(), 2);
}
