//! The server: its version, and the settings that matter to an event store.

use crate::catalog::Catalog;
use crate::catalog::health::Health;
use crate::catalog::relation::Relation;
use crate::render::health;

use super::Finding;

/// What findings about the whole server are about.
pub(super) const SERVER: &str = "the server";

/// Until when each major version gets fixes, of https://www.postgresql.org/support/versioning/.
const SUPPORTED: [(i32, &str); 5] = [
    (14, "2026-11-12"),
    (15, "2027-11-11"),
    (16, "2028-11-09"),
    (17, "2029-11-08"),
    (18, "2030-11-14"),
];

/// The version, and settings under which events may be lost or tables grow old.
#[must_use]
pub fn check(catalog: &Catalog, health: &Health) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(version(catalog));
    findings.extend(durability(health));
    findings.extend(autovacuum(catalog, health));
    findings.extend(idle_sessions(health));
    findings.extend(wal_level(catalog, health));
    findings
}

fn version(catalog: &Catalog) -> Option<Finding> {
    let (major, now) = (catalog.server.major(), catalog.server.now);
    let Some((_, until)) = SUPPORTED.iter().find(|(known, _)| *known == major) else {
        let message =
            format!("it is PostgreSQL {major}, with which this version of pupctl was not tested");
        return Some(Finding::notice("server_version", &SERVER, message));
    };
    if now.format("%F").to_string().as_str() <= *until {
        return None;
    }
    let message = format!("it is PostgreSQL {major}, which gets no fixes any more since {until}");
    Some(
        Finding::notice("server_version", &SERVER, message)
            .remedy("upgrade the server; tables and partitions stay as they are"),
    )
}

/// A crash must not take back what was committed.
fn durability(health: &Health) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (setting, why) in [
        ("fsync", "a crash of the machine may lose events, and damage tables"),
        ("full_page_writes", "a crash of the machine may damage tables"),
    ] {
        if health.is_off(setting) {
            let finding = Finding::error("durability", &SERVER, format!("{setting} is off: {why}"));
            findings.push(finding.remedy(on(setting)));
        }
    }
    if health.is_off("synchronous_commit") {
        let message = "synchronous_commit is off: a crash may take back events that writers were \
                       told are stored, and give their positions to others";
        findings.push(
            Finding::warning("durability", &SERVER, message).remedy(on("synchronous_commit")),
        );
    }
    findings
}

fn on(setting: &str) -> String {
    format!("set {setting} = on in postgresql.conf and reload the server")
}

/// Without autovacuum indexes grow, nothing is frozen, and BRIN is not summarised.
fn autovacuum(catalog: &Catalog, health: &Health) -> Vec<Finding> {
    let mut findings = Vec::new();
    for setting in ["autovacuum", "track_counts"] {
        if health.is_off(setting) {
            let message = format!(
                "{setting} is off: nothing is vacuumed or analyzed, and the times of new events \
                 are not summarised for BRIN"
            );
            findings.push(Finding::warning("autovacuum", &SERVER, message).remedy(on(setting)));
        }
    }
    for leaf in catalog.roots().flat_map(Relation::leaves) {
        let is_off = |option: &String| {
            ["off", "false", "no", "0"]
                .iter()
                .any(|word| *option == format!("autovacuum_enabled={word}"))
        };
        if leaf.details.options.iter().any(is_off) {
            let message = "autovacuum is switched off for it: it is not analyzed, and not frozen \
                           before it must be";
            findings.push(
                Finding::warning("autovacuum", &leaf.name, message)
                    .remedy(health::autovacuum(&leaf.name)),
            );
        }
    }
    findings
}

/// A session that is forgotten in a transaction holds up projections, detaches and VACUUM.
fn idle_sessions(health: &Health) -> Option<Finding> {
    let is_unlimited = health.number("idle_in_transaction_session_timeout") == Some(0);
    let message = "idle_in_transaction_session_timeout is 0: a session that is forgotten in a \
                   transaction holds up projections, detaches and VACUUM for as long as it lives";
    is_unlimited.then(|| {
        Finding::notice("idle_sessions", &SERVER, message)
            .remedy("set it for the role of the writers, for example to 60s")
    })
}

fn wal_level(catalog: &Catalog, health: &Health) -> Option<Finding> {
    let level = health.settings.get("wal_level")?;
    let published = catalog
        .roots()
        .flat_map(Relation::walk)
        .find_map(|relation| relation.details.publications.first())?;
    (level != "logical").then(|| {
        let message = format!(
            "wal_level is {level}, so the publication {published} sends nothing to anybody"
        );
        Finding::warning("wal_level", &SERVER, message)
            .remedy("set wal_level = logical in postgresql.conf and restart the server")
    })
}
