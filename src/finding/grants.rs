//! Privileges on partitions that are not those of their table. Whoever comes through the table
//! needs none on a partition; one that only a partition has opens its rows beside the table.

use std::collections::BTreeMap;

use crate::catalog::Catalog;
use crate::catalog::relation::{ColumnGrant, Grant, Relation};
use crate::layout::Role;
use crate::render::mend;

use super::Finding;

/// The privileges with which events are changed.
const WRITES: [&str; 4] = ["INSERT", "UPDATE", "DELETE", "TRUNCATE"];

/// Partitions with more or fewer privileges than their table.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in Role::ALL.into_iter().filter_map(|role| catalog.table(role)) {
        let root = &table.root;
        for partition in root.walk().skip(1) {
            findings.extend(compare(root, partition));
        }
    }
    findings
}

/// Who may what, and whether they may pass it on.
fn by_grantee<'a>(grants: &'a [Grant], owner: &str) -> BTreeMap<(Option<&'a str>, &'a str), bool> {
    let mut found = BTreeMap::new();
    for grant in grants.iter().filter(|grant| grant.grantee.as_deref() != Some(owner)) {
        let key = (grant.grantee.as_deref(), grant.privilege.as_str());
        *found.entry(key).or_default() |= grant.grantable;
    }
    found
}

/// Whether a privilege on a column of a partition is one that nobody has through the table.
/// Partitions do not take over those of the table, and need none.
fn is_alone(root: &Relation, found: &ColumnGrant) -> bool {
    let is_owner = found.grant.grantee.as_deref() == Some(root.owner.as_str());
    let same = |other: &Grant| {
        other.grantee == found.grant.grantee && other.privilege == found.grant.privilege
    };
    let on_table = root.details.grants.iter().any(same);
    let on_column = |other: &ColumnGrant| other.column == found.column && same(&other.grant);
    let has = on_table || root.details.column_grants.iter().any(on_column);
    !is_owner && (root.row_security || !has)
}

fn compare(root: &Relation, partition: &Relation) -> Option<Finding> {
    // Policies hold for who comes through the table: there the partitions have no grants.
    let protected = root.row_security;
    let wanted =
        by_grantee(if protected { &[] } else { &root.details.grants }, root.owner.as_str());
    let have = by_grantee(&partition.details.grants, root.owner.as_str());
    let mut words = Vec::new();
    let mut mends = Vec::new();
    let mut opens = false;
    let grant = |(grantee, privilege): (Option<&str>, &str), grantable| Grant {
        grantee: grantee.map(str::to_owned),
        privilege: privilege.to_owned(),
        grantable,
    };
    let told = |(grantee, privilege): (Option<&str>, &str)| {
        format!("{privilege} to {}", grantee.unwrap_or("PUBLIC"))
    };
    for (&key, &grantable) in &have {
        let excess = match wanted.get(&key) {
            Some(wanted) if *wanted || !grantable => continue,
            Some(_) => true,
            None => false,
        };
        let option = if excess { " with the right to pass it on" } else { "" };
        words.push(format!("{}{option} is granted here alone", told(key)));
        mends.push(mend::revoke(&partition.name, &grant(key, grantable), excess));
        opens |= protected || key.0.is_none() || WRITES.contains(&key.1);
    }
    for (&key, &grantable) in &wanted {
        if have.get(&key).is_none_or(|have| grantable && !have) {
            words.push(format!("{} is not granted, as it is on the table", told(key)));
            mends.push(mend::grant(&partition.name, &grant(key, grantable)));
        }
    }
    for column in partition.details.column_grants.iter().filter(|one| is_alone(root, one)) {
        let ColumnGrant { column: name, grant } = column;
        let grantee = grant.grantee.as_deref();
        words.push(format!(
            "{} ({name}) to {} is granted here alone",
            grant.privilege,
            grantee.unwrap_or("PUBLIC")
        ));
        mends.push(mend::revoke_column(&partition.name, column));
        opens |= protected || grantee.is_none() || WRITES.contains(&grant.privilege.as_str());
    }
    if words.is_empty() {
        return None;
    }
    let message = words.join("; ");
    let finding = if opens {
        Finding::error("grants_differ", &partition.name, message)
    } else {
        Finding::warning("grants_differ", &partition.name, message)
    };
    Some(finding.mend(mends))
}
