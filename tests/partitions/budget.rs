//! The lock budget, on a server whose lock table is small.

use crate::support::{TestDatabase, TestServer};
use crate::{ensure, findings};

#[test]
fn a_small_lock_table_means_smaller_batches_a_warning_then_a_refusal() {
    // 10 × (12 + 0) locks: three partitions a transaction.
    let settings = [("max_locks_per_transaction", "10"), ("max_connections", "12")];
    let server = TestServer::private(&settings);
    let db = TestDatabase::on(&server);
    let init = ["schema", "init", "--partition-by", "month", "--months", "8"];
    let plan = db.pupctl(init.iter().chain(&["--dry-run", "-o", "json"])).success().json();
    let steps = plan["steps"].as_array().expect("steps").iter();
    let batches: Vec<_> = steps.filter_map(|step| step["partitions"].as_u64()).collect();
    let batches: Vec<_> = batches.into_iter().filter(|&partitions| partitions > 0).collect();
    assert_eq!(batches, [4, 4, 1]);
    db.pupctl(init).success();
    // 9 leaves with 4 indexes, the parent with one: 47 of 120.
    assert_eq!(findings(&db), Vec::<String>::new());

    ensure(&db, &["--months", "12"]).success();
    assert_eq!(findings(&db), ["lock_budget public.events"]);

    let before = db.dump();
    let refused = ensure(&db, &["--months", "40"]).failure(1);
    let message = "41 leaves of the events table would need 207 locks in a statement that opens \
        all of them; the server's lock table holds 120";
    assert!(refused.stderr.contains(message), "{refused}");
    let needed = "set max_locks_per_transaction = 64 in postgresql.conf";
    assert!(refused.stderr.contains(needed), "{refused}");
    assert_eq!(db.dump(), before, "refused before anything is made");
}
