use chrono::TimeDelta;

use super::*;
use crate::catalog::handmade::{layout, whole_store, wrap};
use crate::catalog::health::{
    Age, Keeps, Operation, Projection, ProjectionState, Sequence, Slot, Transaction, Unseen,
};
use crate::finding::{Severity, area};
use crate::layout::levels::PartitionBy;
use crate::layout::name::QualifiedName;
use crate::layout::retention::Retention;

/// A store by month, sound until the test changes it.
fn by_month() -> (Layout, Catalog) {
    let layout = layout(PartitionBy::Month, &[]);
    let catalog = whole_store(&layout);
    (layout, catalog)
}

/// What is found of how a store lives, where its catalog is sound.
fn lived(layout: &Layout, catalog: &Catalog, health: &Health) -> String {
    let findings = examine(Some(layout), catalog, health).expect("findings");
    let own = findings.iter().filter(|finding| !finding.check.ends_with("_differs"));
    let line = |finding: &Finding| {
        let Finding { check, object, message, remedy, .. } = finding;
        let remedy = remedy.as_deref().unwrap_or("nothing");
        let severity = format!("{:?}", finding.severity).to_lowercase();
        [format!("{severity} {check} {object}"), wrap(message), wrap(remedy)].join("\n  ")
    };
    own.map(line).collect::<Vec<_>>().join("\n")
}

/// A look that found nothing wrong.
fn well(catalog: &Catalog) -> Health {
    let sequence = Sequence {
        name: QualifiedName::new("public", "positions"),
        cache: 1,
        increment: 1,
        cycle: false,
        maximum: i64::MAX,
        last: Some(10),
        readable: true,
    };
    Health { here: catalog.server.now, sequences: vec![sequence], ..Health::default() }
}

#[test]
fn a_store_that_lives_well_has_no_findings() {
    for by in PartitionBy::ALL {
        let layout = layout(by, &["Identity", "Billing"]);
        let catalog = whole_store(&layout);
        let health = well(&catalog);
        let found = lived(&layout, &catalog, &health);
        // Catalogs made by hand have no definitions of their indexes.
        let lines = found.lines().filter(|line| line.contains(" public.") && !line.contains("idx"));
        let left: Vec<_> = lines.filter(|line| !line.contains("missing_index")).collect();
        assert_eq!(left, Vec::<&str>::new(), "{by}");
    }
}

#[test]
fn clocks_that_are_apart() {
    let (_, catalog) = by_month();
    let apart = |seconds| {
        let here = catalog.server.now + TimeDelta::seconds(seconds);
        let found = clock::check(&catalog, &Health { here, ..well(&catalog) });
        found.map(|finding| (finding.severity, finding.message.contains("apart")))
    };
    assert_eq!(apart(9), None);
    assert_eq!(apart(-9), None);
    assert_eq!(apart(11), Some((Severity::Warning, true)));
    assert_eq!(apart(-3600), Some((Severity::Error, true)));
}

#[test]
fn tables_that_nobody_freezes() {
    let age = |transactions, multixacts| {
        let name = QualifiedName::new("public", "it's \"old\"");
        let ages = vec![Age { name, transactions, multixacts }];
        let found = wraparound::check(&Health { ages, ..Health::default() });
        found.into_iter().next().map(|found| (found.severity, found.remedy.unwrap_or_default()))
    };
    let freeze = "VACUUM (FREEZE) \"public\".\"it's \"\"old\"\"\";".to_owned();
    // An anti-wraparound vacuum may take its time.
    assert_eq!(age(250_000_000, 0), None);
    assert_eq!(age(300_000_000, 0), Some((Severity::Warning, freeze.clone())));
    assert_eq!(age(0, 500_000_000), None);
    assert_eq!(age(0, 700_000_000), Some((Severity::Warning, freeze.clone())));
    assert_eq!(age(1_700_000_000, 0), Some((Severity::Error, freeze)));
}

#[test]
fn what_holds_others_up() {
    let (layout, catalog) = by_month();
    let hour = |hours| catalog.server.now - TimeDelta::hours(hours);
    let open = |pid, prepared: Option<&str>, writes, holds_back| Transaction {
        who: "process 17 (app)".to_owned(),
        pid,
        prepared: prepared.map(str::to_owned),
        since: hour(3),
        writes,
        holds_back,
    };
    let slot = |name: &str, active, log: &str, logical| Slot {
        name: name.to_owned(),
        active,
        log: Some(log.to_owned()),
        retained: Some(1 << 30),
        logical,
    };
    let health = Health {
        transactions: vec![
            open(Some(17), None, true, Some(1000)),
            open(None, Some("it's"), false, None),
        ],
        slots: vec![
            slot("used", true, "reserved", true),
            slot("forgotten", false, "extended", true),
            slot("gone", false, "lost", false),
        ],
        operations: vec![Operation {
            id: 7,
            command: "archive 2026-01".to_owned(),
            subject: Some("events_2026_01".to_owned()),
            started_at: hour(30),
            outcome: "interrupted".to_owned(),
        }],
        ..well(&catalog)
    };
    insta::assert_snapshot!(lived(&layout, &catalog, &health), @"
    error replication_slot gone
      the log that it needs is gone: it cannot go on
      SELECT pg_catalog.pg_drop_replication_slot('gone');
    warning long_transaction process 17 (app)
      it is open for 3 hours: projections, archives and conversions wait for it, since
        it may have drawn positions; VACUUM keeps what was deleted since it began, 1000
        transactions ago; a detach waits for it if it has used the table
      SELECT pg_catalog.pg_terminate_backend(17);
    warning prepared_transaction process 17 (app)
      it is open for 3 hours: a detach waits for it if it has used the table
      ROLLBACK PREPARED 'it''s';
    warning replication_slot forgotten
      nobody reads from it: it keeps 1073741824 bytes of log, until the disk is full,
        and archives wait for it
      SELECT pg_catalog.pg_drop_replication_slot('forgotten');
    warning unfinished_operation operation 7
      pupctl archive 2026-01 (events_2026_01) began at 2026-11-13 18:00:00 UTC and was
        interrupted
      pupctl operations resume 7
    ");
}

#[test]
fn projections_by_what_they_do() {
    let (layout, catalog) = by_month();
    let ago = |minutes| catalog.server.now - TimeDelta::minutes(minutes);
    let projection = |name: &str, state, behind, minutes| Projection {
        name: name.to_owned(),
        state,
        position: 10 - behind,
        behind,
        oldest: Some(TimeDelta::minutes(minutes)),
        moved_at: Some(ago(minutes)),
        paused_at: (state == ProjectionState::Paused).then(|| ago(minutes)),
        dead_letters: 0,
        error: (state == ProjectionState::Failing).then(|| "division by zero".to_owned()),
        problem: None,
    };
    let projections = vec![
        projection("done", ProjectionState::Idle, 0, 100),
        projection("soon", ProjectionState::Idle, 3, 4),
        projection("late", ProjectionState::Idle, 3, 6),
        projection("busy", ProjectionState::Running, 3, 6),
        projection("it's", ProjectionState::Failing, 3, 1),
        projection("waits", ProjectionState::Paused, 3, 300),
        projection("moves", ProjectionState::Draining, 3, 1),
        Projection { oldest: None, ..projection("go_p0", ProjectionState::Foreign, 3, 6) },
        Projection { dead_letters: 2, ..projection("letters", ProjectionState::Running, 0, 1) },
    ];
    let health = Health { projections, ..well(&catalog) };
    insta::assert_snapshot!(lived(&layout, &catalog, &health), @r"
    error projection_failing it's
      division by zero; it is 3 positions behind, and moved last 60 seconds ago:
        archives and closed months wait for it
      pupctl projections status 'it'\''s'
    warning projection_stopped late
      no worker is connected; it is 3 positions behind, and moved last 6 minutes ago:
        archives and closed months wait for it
      pupctl projections run late
    warning projection_stopped go_p0
      it is 3 positions behind, and moved last 6 minutes ago: archives and closed
        months wait for it
      start its program, or if it is dead: pupctl projections delete go_p0 --foreign
    warning dead_letters letters
      2 events are among its dead letters: its read model lacks them
      pupctl projections dead-letters replay letters --all
    notice projection_behind busy
      it is 3 positions behind, and moved last 6 minutes ago: archives and closed
        months wait for it
      nothing
    notice projection_paused waits
      it is paused since 2026-11-14 19:00:00 UTC; it is 3 positions behind, and moved
        last 5 hours ago: archives and closed months wait for it
      pupctl projections resume waits
    notice projection_draining moves
      its slots are being changed: it goes no further until that is done
      pupctl projections rescale moves --abort
    ");
}

#[test]
fn servers_as_they_are() {
    let (layout, mut catalog) = by_month();
    catalog.server.version_number = 140_005;
    let set = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Health { settings: pairs.collect(), ..well(&catalog) }
    };
    let off = [("fsync", "off"), ("track_counts", "off"), ("autovacuum", "on")];
    let unset = [("idle_in_transaction_session_timeout", "0")];
    let health = set(&[&off[..], &unset[..]].concat());
    insta::assert_snapshot!(lived(&layout, &catalog, &health), @"
    error durability the server
      fsync is off: a crash of the machine may lose events, and damage tables
      set fsync = on in postgresql.conf and reload the server
    warning autovacuum the server
      track_counts is off: nothing is vacuumed or analyzed, and the times of new
        events are not summarised for BRIN
      set track_counts = on in postgresql.conf and reload the server
    notice server_version the server
      it is PostgreSQL 14, which gets no fixes any more since 2026-11-12
      upgrade the server; tables and partitions stay as they are
    notice idle_sessions the server
      idle_in_transaction_session_timeout is 0: a session that is forgotten in a
        transaction holds up projections, detaches and VACUUM for as long as it lives
      set it for the role of the writers, for example to 60s
    ");
    catalog.server.version_number = 190_000;
    let found = settings::check(&catalog, &well(&catalog));
    assert!(found[0].message.contains("was not tested"), "{found:?}");
}

#[test]
fn a_lock_table_of_today_and_in_two_years() {
    let layout = layout(PartitionBy::ContextMonth, &["A", "B", "C"]);
    let mut catalog = whole_store(&layout);
    let forever = Keeps::default();
    let kept = Keeps { all: Some(Retention::Months(3)), ..Keeps::default() };
    let ahead = |catalog: &Catalog, keeps: &Keeps| {
        lock_budget::ahead(&layout, catalog, keeps).map(|found| (found.severity, found.message))
    };
    assert_eq!(ahead(&catalog, &forever), None);
    catalog.server.max_connections = 10;
    // Six leaves become 78: 24 months more for each of three contexts, five locks each.
    let (severity, message) = ahead(&catalog, &forever).expect("a finding");
    assert!(message.contains("about 78 leaves"), "{message}");
    assert_eq!(severity, Severity::Notice);
    assert_eq!(ahead(&catalog, &kept), None);
    catalog.server.max_connections = 5;
    assert_eq!(ahead(&catalog, &forever).map(|(severity, _)| severity), Some(Severity::Warning));
    // What is told of today is not told again.
    catalog.server.max_connections = 1;
    assert_eq!(ahead(&catalog, &forever), None);
}

#[test]
fn what_could_not_be_looked_at_is_told() {
    let (layout, catalog) = by_month();
    let unseen = |forbidden| Unseen {
        area: "replication",
        what: "replication slots",
        why: "because".to_owned(),
        hint: None,
        forbidden,
    };
    let of_store = Unseen { area: "operations", what: "the journal", ..unseen(true) };
    let health = Health { unseen: vec![unseen(true), unseen(false), of_store], ..well(&catalog) };
    insta::assert_snapshot!(lived(&layout, &catalog, &health), @"
    warning not_checked replication slots
      could not look at it: because
      nothing
    warning not_seen the journal
      the role owner may not look at it: because
      work as the owner of the tables (--role)
    notice not_seen replication slots
      the role owner may not look at it: because
      work as the owner of the tables (--role)
    ");
}

#[test]
fn every_check_belongs_to_one_area() {
    let mut checks: Vec<_> = area::AREAS.iter().flat_map(|area| area.checks).collect();
    checks.sort_unstable();
    let before = checks.len();
    checks.dedup();
    assert_eq!(checks.len(), before, "a check is in two areas");
}
