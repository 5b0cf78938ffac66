//! What the role may do and see.

use crate::catalog::Catalog;
use crate::catalog::health::Health;

use super::Finding;

/// What pupctl could do with other rights. Nothing is wrong with the store.
#[must_use]
pub fn check(catalog: &Catalog, health: &Health) -> Vec<Finding> {
    let role = &catalog.server.role;
    let mut findings = Vec::new();
    let mut notice = |message: String, remedy: String| {
        findings.push(Finding::notice("role_rights", role, message).remedy(remedy));
    };
    if catalog.server.read_only {
        let what = if catalog.server.standby {
            "the server is a standby"
        } else {
            "the session is read-only"
        };
        let remedy = "connect to the primary server, as a role that may write";
        notice(format!("{what}: commands that change something fail"), remedy.to_owned());
    }
    if let Some(root) = catalog.roots().find(|root| !root.owned) {
        let owner = &root.owner;
        notice(
            format!("{} belongs to {owner}: commands that change its tables fail", root.name),
            format!("work as the owner: --role {owner}"),
        );
    }
    if catalog.schema.exists && !catalog.schema.may_create {
        notice(
            format!(
                "it may not create tables in the schema {}: commands that make partitions fail",
                catalog.schema_name
            ),
            "work as the owner of the schema (--role), or ask for the right to create in it"
                .to_owned(),
        );
    }
    if !health.role.sees_sessions {
        notice(
            "it does not see what sessions of others do: what they hold up may be missed"
                .to_owned(),
            "make it a member of pg_read_all_stats".to_owned(),
        );
    }
    findings
}
