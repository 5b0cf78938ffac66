//! What has been changed on a table since its copy was built: the copy would not have it.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::catalog::surroundings::{Policy, Surroundings};
use crate::plan::lifecycle::BOUNDS_CHECK;

/// Rights, policies and checks that only one of two tables has, in words; `old` is in use, and
/// `new` takes its place. What follows by its name in the swap itself is not among them, nor what
/// one of two layouts has of its own.
#[must_use]
pub fn differences(old: &Surroundings, new: &Surroundings) -> Vec<String> {
    let (before, after) = (things(old), things(new));
    let only = |one: &BTreeSet<String>, other: &BTreeSet<String>, table: &Surroundings| {
        let table = table.name.to_string();
        one.difference(other).map(move |thing| format!("{thing}: only {table} has it")).collect()
    };
    let mut found: Vec<String> = only(&before, &after, old);
    found.extend::<Vec<String>>(only(&after, &before, new));
    found
}

fn things(table: &Surroundings) -> BTreeSet<String> {
    let facts = &table.table;
    let name = |grantee: &Option<String>| grantee.clone().unwrap_or_else(|| "PUBLIC".to_owned());
    let passed_on = |is: bool| if is { ", to be passed on" } else { "" };
    let grants = facts.grants.iter().map(|grant| {
        let (grantee, option) = (name(&grant.grantee), passed_on(grant.grantable));
        format!("the right to {} of {grantee}{option}", grant.privilege)
    });
    let columns = facts.column_grants.iter().map(|own| {
        let (column, privilege) = (&own.column, &own.grant.privilege);
        let (grantee, option) = (name(&own.grant.grantee), passed_on(own.grant.grantable));
        format!("the right to {privilege} ({column}) of {grantee}{option}")
    });
    let policies = table.policies.iter().map(policy);
    // Of those that are enforced: what pupctl adds itself says which rows a partition may have.
    let checks = table.constraints.iter().filter(|own| own.kind == "c" && own.name != BOUNDS_CHECK);
    let checks = checks.map(|own| format!("the check {} {}", own.name, own.definition));
    let security = [
        (facts.row_security, "row-level security"),
        (facts.force_row_security, "row-level security for its owner"),
    ];
    let security = security.into_iter().filter(|(is, _)| *is).map(|(_, words)| words.to_owned());
    grants.chain(columns).chain(policies).chain(checks).chain(security).collect()
}

fn policy(policy: &Policy) -> String {
    let roles = policy.roles.iter().map(|role| role.as_deref().unwrap_or("PUBLIC"));
    let roles = roles.collect::<Vec<_>>().join(", ");
    let mut words = format!("the policy {} for {} to {roles}", policy.name, policy.command);
    if !policy.permissive {
        words.push_str(", restrictive");
    }
    for (word, text) in [("USING", &policy.visible), ("WITH CHECK", &policy.writable)] {
        if let Some(text) = text {
            let _ = write!(words, ", {word} ({text})");
        }
    }
    words
}
