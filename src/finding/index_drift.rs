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
    let (missing, replaced) = missing(catalog);
    findings.extend(missing);
    for root in catalog.roots() {
        let stays = |index: &&Index| !index.primary && !replaced.contains(&index.oid);
        for index in root.indexes.iter().filter(stays) {
            findings.extend(parts_of(catalog, root, index));
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

/// What is missing of them, and the indexes that would be made anew.
fn missing(catalog: &Catalog) -> (Vec<Finding>, Vec<u32>) {
    let mut findings = Vec::new();
    let mut replaced = Vec::new();
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
        replaced.extend(other.map(|other| other.oid));
        findings.push(finding.mend(instead(catalog, root, other, &wanted)));
    }
    (findings, replaced)
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

/// The parts of an index on the partitions that are stored in another way than the whole.
fn parts_of(catalog: &Catalog, root: &Relation, index: &Index) -> Vec<Finding> {
    let mut parts = Vec::new();
    collect(root, index, &mut parts);
    parts.retain(|(_, part)| part.options != index.options);
    let Some((branch, part)) = parts.iter().find(|(partition, _)| !partition.is_leaf()) else {
        return parts.iter().map(|(leaf, part)| differs(leaf, part, index)).collect();
    };
    // PostgreSQL changes no parameters of a partitioned index: it has to be made anew.
    let wanted = Wanted {
        name: Some(index.name.clone()),
        ending: Wanted::ending_of(&root.name.name, &index.name),
        definition: index.definition.clone(),
    };
    let finding = differing(branch, part, index);
    vec![finding.mend(instead(catalog, root, Some(index), &wanted))]
}

fn collect<'a>(relation: &'a Relation, index: &Index, parts: &mut Vec<(&'a Relation, &'a Index)>) {
    for partition in &relation.partitions {
        if let Some(part) = partition.indexes.iter().find(|part| part.parent == Some(index.oid)) {
            parts.push((partition, part));
            collect(partition, part, parts);
        }
    }
}

fn differing(partition: &Relation, part: &Index, index: &Index) -> Finding {
    let words = |options: &[String]| {
        if options.is_empty() { "none".to_owned() } else { options.join(", ") }
    };
    let message = format!(
        "its storage parameters are {}, those of the table's {}",
        words(&part.options),
        words(&index.options)
    );
    Finding::warning("index_differs", &partition.name.sibling(part.name.as_str()), message)
}

fn differs(leaf: &Relation, part: &Index, index: &Index) -> Finding {
    let name = leaf.name.sibling(part.name.as_str());
    let set = mend::parameters(&name, true, &part.options, &index.options);
    differing(leaf, part, index).mend(set).mend([render::reindex(&name)])
}
