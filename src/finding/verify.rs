//! What `schema verify` looks at: everything that the layout says of the tables and of each of
//! their partitions, apart from which months there are.

use crate::catalog::{Catalog, missing_keys};
use crate::error::Result;
use crate::layout::levels::Level;
use crate::layout::{Layout, Role};
use crate::plan::ensure::months;
use crate::render;

use super::{
    Finding, columns, constraints, detach, grants, index_drift, keys, missing, owners, protections,
    publications, replica_identity, row_security, rules, storage, table, triggers,
};

/// All differences between a store and its layout, in an order in which they can be mended: what
/// stands in the way of another comes first. The catalog must hold definitions and details.
pub fn verify(layout: &Layout, catalog: &Catalog) -> Result<Vec<Finding>> {
    let mut findings = detach::check(catalog);
    findings.extend(constraints::check(catalog));
    findings.extend(keys::check(layout, catalog));
    findings.extend(keys_of_branches(catalog));
    findings.extend(table::check(layout, catalog));
    findings.extend(protections::check(layout, catalog));
    findings.extend(triggers::check(layout, catalog));
    findings.extend(rules::check(catalog));
    findings.extend(missing_partitions(layout, catalog)?);
    findings.extend(columns::check(catalog));
    findings.extend(owners::check(catalog));
    findings.extend(grants::check(catalog));
    findings.extend(row_security::check(catalog));
    findings.extend(replica_identity::check(catalog));
    findings.extend(publications::check(catalog));
    findings.extend(storage::check(catalog));
    findings.extend(index_drift::check(catalog));
    for finding in &mut findings {
        // A remedy that is a statement mends as well as any other.
        if let Some(statement) = finding.remedy.take_if(|remedy| remedy.ends_with(';')) {
            finding.mend.push(statement);
        }
    }
    Ok(findings)
}

/// Contexts and hash shares that are missing. Months come and go: they are the business of
/// `partitions ensure` and `partitions check`.
fn missing_partitions(layout: &Layout, catalog: &Catalog) -> Result<Vec<Finding>> {
    let months = months(catalog, 0, None)?;
    let mut findings = missing::check(layout, catalog, &months);
    findings.retain(|finding| finding.check == "missing_partition");
    Ok(findings)
}

/// Branches without months have the key of their leaves, so that `ON CONFLICT` works on them.
fn keys_of_branches(catalog: &Catalog) -> Vec<Finding> {
    let month = Level::Month.partition_key();
    let mut findings = Vec::new();
    for role in Role::ALL {
        let Some(table) = catalog.table(role) else { continue };
        let branches = table.root.walk().skip(1).filter(|relation| !relation.is_leaf());
        for branch in branches {
            let has_months = branch.walk().any(|r| r.partition_key.as_ref() == Some(&month));
            if has_months {
                continue;
            }
            for columns in missing_keys(branch, role) {
                let message = format!("no valid key on ({})", columns.join(", "));
                findings.push(
                    Finding::error("missing_key", &branch.name, message).remedy(render::add_key(
                        &branch.name,
                        &columns,
                        true,
                    )),
                );
            }
        }
    }
    findings
}
