//! Plans what an index lacks: everything, or what an interrupted run did not come to.

use std::collections::BTreeSet;

use crate::catalog::Catalog;
use crate::catalog::index::Index;
use crate::catalog::relation::Relation;
use crate::error::{Error, Result};
use crate::layout::name::{self, QualifiedName};
use crate::plan::budget;

use super::{
    Action, Build, IndexAction, Plan, Step, attach, concurrent, drop_leftover, is_left_by_reindex,
    rebuild, refuse_foreign,
};

/// An index that is wanted on one of the store's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name, where the user chose one.
    pub name: Option<String>,
    /// The ending of its name on each table, as `event_type_global_position_idx`.
    pub ending: String,
    /// What it is, from `USING` on, as the server prints it.
    pub definition: String,
}

impl Wanted {
    /// The ending that a chosen name gives the indexes of partitions: what follows the table's
    /// name, so that it reads on a partition as on the table.
    #[must_use]
    pub fn ending_of(table: &str, chosen: &str) -> String {
        let rest = chosen.strip_prefix(table).and_then(|rest| rest.strip_prefix('_'));
        let ending = rest.filter(|rest| !rest.is_empty()).unwrap_or(chosen);
        if name::is_like_an_index(ending) { ending.to_owned() } else { format!("{ending}_idx") }
    }
}

/// Plans an index on a table of the store and on all of its partitions.
pub fn add(catalog: &Catalog, root: &Relation, wanted: &Wanted) -> Result<Plan> {
    refuse_foreign(root)?;
    let there = find(catalog, root, wanted)?;
    refuse_too_many_locks(catalog, root, there)?;
    let plain =
        wanted.name.clone().unwrap_or_else(|| name::joined(&root.name.name, &wanted.ending));
    let name = there.map_or(plain, |index| index.name.clone());
    let mut builder = Builder::new(catalog, wanted);
    builder.root(root, there, &root.name.sibling(name));
    Ok(builder.plan)
}

/// Plans what an index of a partitioned table lacks, whoever began it.
pub(super) fn complete(catalog: &Catalog, parent: &Relation, index: &Index) -> Plan {
    let wanted = Wanted {
        name: Some(index.name.clone()),
        ending: Wanted::ending_of(&parent.name.name, &index.name),
        definition: index.definition.clone(),
    };
    let mut builder = Builder::new(catalog, &wanted);
    builder.root(parent, Some(index), &parent.name.sibling(index.name.as_str()));
    builder.plan
}

/// The index as it is there already, whole or begun; refuses a name that something else has.
fn find<'a>(catalog: &Catalog, root: &'a Relation, wanted: &Wanted) -> Result<Option<&'a Index>> {
    let is_same = |index: &&Index| {
        index.constraint.is_none() && index.definition == wanted.definition
            // One that is half built on a table without partitions is known by its name alone.
            && (index.valid || !root.is_leaf())
    };
    let same = root.indexes.iter().find(is_same);
    let name = match (&wanted.name, same) {
        (None, Some(same)) => return Ok(Some(same)),
        (Some(chosen), Some(same)) if *chosen == same.name => return Ok(Some(same)),
        (Some(chosen), Some(same)) => {
            return Err(Error::refused(format!(
                "{} is the same index under another name than {chosen}",
                root.name.sibling(same.name.as_str())
            ))
            .hint(format!(
                "leave out --name, or drop it first: pupctl schema index drop {}",
                same.name
            )));
        }
        (Some(chosen), None) => chosen.clone(),
        (None, None) => name::joined(&root.name.name, &wanted.ending),
    };
    let begun = root.indexes.iter().find(|index| index.name == name);
    if let Some(begun) = begun.filter(|index| index.definition == wanted.definition) {
        return Ok(Some(begun));
    }
    if let Some(other) = begun {
        return Err(Error::refused(format!(
            "{} is there, and is another index",
            root.name.sibling(name.as_str())
        ))
        .detail(format!("it is {}", other.definition))
        .detail(format!("wanted is {}", wanted.definition))
        .hint("choose another name with --name"));
    }
    if catalog.taken_names.contains(&name) {
        return Err(Error::refused(format!(
            "the name {} is taken by something else in the schema",
            root.name.sibling(name.as_str())
        ))
        .hint("choose another name with --name"));
    }
    Ok(None)
}

/// Refuses an index with which no statement could open the whole table any more.
fn refuse_too_many_locks(catalog: &Catalog, root: &Relation, there: Option<&Index>) -> Result<()> {
    let relations = root.walk().count();
    let have: usize = root.walk().map(|relation| 1 + relation.indexes.len()).sum();
    let capacity = catalog.server.lock_table();
    let locks = have + relations;
    if there.is_some() || relations == 1 || locks <= capacity {
        return Ok(());
    }
    Err(Error::refused(format!(
        "with one more index, a statement that opens all of {} would take {locks} locks; the \
         server's lock table holds {capacity}",
        root.name
    ))
    .hint(budget::raise(&catalog.server, locks)))
}

struct Builder<'a> {
    wanted: &'a Wanted,
    taken: BTreeSet<String>,
    plan: Plan,
}

impl<'a> Builder<'a> {
    fn new(catalog: &Catalog, wanted: &'a Wanted) -> Self {
        Self { wanted, taken: catalog.taken_names.clone(), plan: Plan::default() }
    }

    fn root(&mut self, root: &Relation, there: Option<&Index>, name: &QualifiedName) {
        self.taken.insert(name.name.clone());
        if root.is_leaf() {
            match there {
                Some(index) if index.valid => {}
                Some(index) => {
                    self.push(drop_leftover(root, index));
                    self.push(self.build(root, name));
                }
                None => self.push(self.build(root, name)),
            }
            return;
        }
        if there.is_none() {
            self.push(Step::new(
                format!("Make {} on {} alone", name.name, root.name.name),
                "partitions made from here on take it over; it is valid when the others have it",
                vec![self.create(root, name, Build::Parent)],
            ));
        }
        self.below(root, there, name);
    }

    /// What the partitions of one table lack.
    fn below(&mut self, parent: &Relation, parent_index: Option<&Index>, name: &QualifiedName) {
        let steps = self.plan.steps.len();
        for partition in &parent.partitions {
            let attached = parent_index
                .and_then(|parent| partition.indexes.iter().find(|i| i.parent == Some(parent.oid)));
            if partition.is_leaf() {
                self.leaf(partition, attached, name);
            } else {
                self.branch(partition, attached, name);
            }
        }
        let invalid = parent_index.is_some_and(|index| !index.valid);
        if invalid && self.plan.steps.len() == steps {
            self.look_again(parent, parent_index, name);
        }
    }

    /// Every partition has its index, and the parent's is invalid all the same: the last that
    /// lacked one was detached. The server looks again when one is attached that is attached.
    fn look_again(&mut self, parent: &Relation, index: Option<&Index>, name: &QualifiedName) {
        let oid = index.map(|index| index.oid);
        let last = parent.partitions.last().and_then(|partition| {
            let index = partition.indexes.iter().find(|i| i.parent.is_some() && i.parent == oid)?;
            Some(partition.name.sibling(index.name.as_str()))
        });
        self.plan.steps.extend(last.map(|last| attach(name, &last)));
    }

    fn branch(&mut self, branch: &Relation, attached: Option<&Index>, parent: &QualifiedName) {
        let there = attached.or_else(|| self.same(branch));
        let Some(index) = there else {
            let name = self.choose_name(branch);
            let create = self.create(branch, &name, Build::Parent);
            let attach = IndexAction::Attach { parent: parent.clone(), index: name.clone() };
            self.push(Step::new(
                format!("Make {} on {} alone", name.name, branch.name.name),
                "a branch has no rows itself; its index is valid when its partitions have it",
                vec![create, Action::Index(attach)],
            ));
            self.below(branch, None, &name);
            return;
        };
        let name = branch.name.sibling(index.name.as_str());
        if attached.is_none() {
            self.push(attach(parent, &name));
        }
        self.below(branch, Some(index), &name);
    }

    fn leaf(&mut self, leaf: &Relation, attached: Option<&Index>, parent: &QualifiedName) {
        if let Some(index) = attached {
            if !index.valid {
                self.push(rebuild(leaf, index));
                self.push(attach(parent, &leaf.name.sibling(index.name.as_str())));
            }
            return;
        }
        if let Some(index) = self.same(leaf) {
            self.push(attach(parent, &leaf.name.sibling(index.name.as_str())));
            return;
        }
        let left: Vec<_> = leaf.indexes.iter().filter(|index| self.is_left(leaf, index)).collect();
        for index in left {
            self.taken.remove(&index.name);
            self.push(drop_leftover(leaf, index));
        }
        let name = self.choose_name(leaf);
        self.push(self.build(leaf, &name));
        self.push(attach(parent, &name));
    }

    /// An index that is like the wanted one and belongs to nothing yet.
    fn same<'b>(&self, relation: &'b Relation) -> Option<&'b Index> {
        relation.indexes.iter().find(|index| {
            index.parent.is_none()
                && index.constraint.is_none()
                && index.definition == self.wanted.definition
                && (index.valid || !relation.is_leaf())
        })
    }

    /// Whether an interrupted run left it.
    fn is_left(&self, leaf: &Relation, index: &Index) -> bool {
        let ours = self.names(leaf).contains(&index.name) || is_left_by_reindex(index);
        ours && !index.valid && index.parent.is_none() && index.definition == self.wanted.definition
    }

    /// The names that its index may get, the second where the first is taken. Both are stable,
    /// so that a later run knows them again.
    fn names(&self, relation: &Relation) -> [String; 2] {
        let plain = name::joined(&relation.name.name, &self.wanted.ending);
        let other = name::hashed(&plain, &self.wanted.definition);
        [plain, other]
    }

    fn choose_name(&mut self, relation: &Relation) -> QualifiedName {
        let [plain, other] = self.names(relation);
        let chosen = if self.taken.contains(&plain) { other } else { plain };
        self.taken.insert(chosen.clone());
        relation.name.sibling(chosen)
    }

    fn create(&self, table: &Relation, name: &QualifiedName, build: Build) -> Action {
        Action::Index(IndexAction::Create {
            table: table.name.clone(),
            name: name.name.clone(),
            definition: self.wanted.definition.clone(),
            build,
        })
    }

    fn build(&self, table: &Relation, name: &QualifiedName) -> Step {
        let Action::Index(action) = self.create(table, name, Build::Concurrently) else {
            unreachable!("it is about an index");
        };
        concurrent(
            format!("Build {} on {}", name.name, table.name.name),
            "readers and writers go on; it waits for transactions that are older than it",
            action,
        )
    }

    fn push(&mut self, step: Step) {
        self.plan.steps.push(step);
    }
}
