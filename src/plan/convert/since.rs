//! What has been changed on a table since its copy was built: the copy would not have it.

use std::collections::BTreeSet;

use crate::catalog::surroundings::Surroundings;

/// Rights, policies and checks that only one of two tables has, in words; `old` is in use, and `new`
/// takes its place. What follows by its name in the swap itself is not among them.
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
    let grants = facts
        .grants
        .iter()
        .map(|grant| format!("the right to {} of {}", grant.privilege, name(&grant.grantee)));
    let columns = facts.column_grants.iter().map(|own| {
        let (column, privilege) = (&own.column, &own.grant.privilege);
        format!("the right to {privilege} ({column}) of {}", name(&own.grant.grantee))
    });
    let policies = table.policies.iter().map(|policy| format!("the policy {}", policy.name));
    let security = [
        (facts.row_security, "row-level security"),
        (facts.force_row_security, "row-level security for its owner"),
    ];
    let security = security.into_iter().filter(|(is, _)| *is).map(|(_, words)| words.to_owned());
    grants.chain(columns).chain(policies).chain(security).collect()
}
