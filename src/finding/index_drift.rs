//! Indexes that are missing, half built, or not like those of the table. `ATTACH` does not look at
//! storage parameters: it takes a BRIN index of 128 pages beside one of 32.

use crate::catalog::Catalog;
use crate::catalog::index::Index;
use crate::catalog::relation::Relation;
use crate::plan::index::{Wanted, add, broken, unfinished};
use crate::render::{self, mend};

use super::Finding;

/// The indexes of the layout that are missing, all that the server does not use, and partitions'
/// indexes with other storage parameters than their table's.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (table, index, plan) in unfinished(catalog) {
        let name = table.name.sibling(index.name.as_str());
        let message = "not every partition has it yet, so the server does not use it";
        findings.push(
            Finding::warning("unfinished_index", &name, message).mend(mend::statements(&plan)),
        );
    }
    for (leaf, index, plan) in broken(catalog) {
        let name = leaf.name.sibling(index.name.as_str());
        let message = format!("invalid index on {}: the server does not use it", leaf.name);
        findings
            .push(Finding::warning("invalid_index", &name, message).mend(mend::statements(&plan)));
    }
    findings.extend(missing(catalog));
    for root in catalog.roots() {
        for index in root.indexes.iter().filter(|index| !index.primary) {
            parts(root, index, &mut findings);
        }
    }
    findings
}

/// The indexes that migrations make: the table, the method, the column, the whole.
fn of_the_layout(catalog: &Catalog) -> [(Option<&Relation>, &str, &str, &str); 3] {
    let brin = "USING brin (created_at) WITH (autosummarize='on', pages_per_range='32')";
    let updated = "USING btree (updated_at)";
    let roots = [&catalog.events, &catalog.heads, &catalog.checkpoints]
        .map(|table| table.as_ref().map(|table| &table.root));
    [
        (roots[0], "brin", "created_at", brin),
        (roots[1], "btree", "updated_at", updated),
        (roots[2], "btree", "updated_at", updated),
    ]
}

fn missing(catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (root, method, column, definition) in of_the_layout(catalog) {
        let Some(root) = root else { continue };
        if root.indexes.iter().any(|index| index.definition == definition) {
            continue;
        }
        let other = root.indexes.iter().find(|index| index.is_on(method, &[column]));
        let name = other.map(|other| other.name.clone());
        let ending = format!("{column}_idx");
        let wanted = Wanted { name, ending, definition: definition.to_owned() };
        let finding = match other {
            None => {
                let message = format!("no {method} index on ({column}): reads by it scan it whole");
                Finding::warning("missing_index", &root.name, message)
            }
            Some(other) => {
                let message = format!("it is {}, the layout says {definition}", other.definition);
                Finding::warning("index_differs", &root.name.sibling(other.name.as_str()), message)
            }
        };
        findings.push(finding.mend(instead(catalog, root, other, &wanted)));
    }
    findings
}

/// The statements that make an index in place of another.
fn instead(
    catalog: &Catalog,
    root: &Relation,
    other: Option<&Index>,
    wanted: &Wanted,
) -> Vec<String> {
    let mut bare = root.clone();
    let mut catalog = catalog.clone();
    let mut statements = Vec::new();
    if let Some(other) = other {
        let name = root.name.sibling(other.name.as_str());
        statements.push(mend::drop_index(&name, root.is_leaf()));
        remove(&mut bare, other.oid, &mut catalog);
    }
    // Where too many locks would be needed, there is nothing that would mend it.
    let Ok(plan) = add(&catalog, &bare, wanted) else { return Vec::new() };
    statements.extend(mend::statements(&plan));
    statements
}

/// Takes an index out of a tree, with its parts.
fn remove(relation: &mut Relation, oid: u32, catalog: &mut Catalog) {
    let part = relation.indexes.iter().position(|i| i.oid == oid || i.parent == Some(oid));
    let Some(part) = part else { return };
    let index = relation.indexes.remove(part);
    catalog.taken_names.remove(&index.name);
    for partition in &mut relation.partitions {
        remove(partition, index.oid, catalog);
    }
}

/// The parts of an index on the partitions that are stored in another way.
fn parts(relation: &Relation, index: &Index, findings: &mut Vec<Finding>) {
    for partition in &relation.partitions {
        let part = partition.indexes.iter().find(|part| part.parent == Some(index.oid));
        let Some(part) = part else { continue };
        if part.options != index.options {
            findings.push(differs(partition, part, index));
        }
        parts(partition, part, findings);
    }
}

fn differs(partition: &Relation, part: &Index, index: &Index) -> Finding {
    let words = |options: &[String]| {
        if options.is_empty() { "none".to_owned() } else { options.join(", ") }
    };
    let name = partition.name.sibling(part.name.as_str());
    let message = format!(
        "its storage parameters are {}, those of the table's {}",
        words(&part.options),
        words(&index.options)
    );
    let finding = Finding::warning("index_differs", &name, message);
    if !partition.is_leaf() {
        // PostgreSQL changes no parameters of a partitioned index.
        return finding.remedy(format!(
            "pupctl schema index drop and add the index of the table, {}, anew",
            index.name
        ));
    }
    let set = mend::parameters(&name, true, &part.options, &index.options);
    finding.mend(set).mend([render::reindex(&name)])
}
