//! The statements by which the old table becomes a partition, and is taken out again.

use crate::layout::Role;
use crate::layout::name::QualifiedName;
use crate::plan::convert::attach::{Heap, HeapIndex, IndexState};
use crate::plan::convert::{Replaced, Target};
use crate::plan::lifecycle::{BOUNDS_CHECK, LifecycleAction};
use crate::plan::{Protect, Transaction};
use crate::render::environment::{quoted, render, values};
use crate::render::script::{Lock, LockMode, RenderedStep, Statement};
use crate::render::{lifecycle, protection, quote};

use super::swap::{self, Exchange};
use super::{carry, plain, statement, step};

/// The steps that prepare an old table while it is in use.
#[must_use]
pub fn prepare(heap: &Heap, checked: bool) -> Vec<RenderedStep> {
    let table = &heap.table.current;
    let missing = heap.builds.iter().filter(|index| index.state != IndexState::Done);
    let mut steps: Vec<_> = missing.map(|index| build(table, index)).collect();
    if !checked {
        let check = heap.check.clone();
        let add = LifecycleAction::AddBoundsCheck { table: table.clone(), check };
        let name = BOUNDS_CHECK.to_owned();
        let validate = LifecycleAction::ValidateCheck { table: table.clone(), name };
        steps.push(step(
            format!("Say what {} may hold", table.name),
            "the swap would read the whole table otherwise, while everybody waits",
            vec![
                plain(
                    render("convert/drop_check", &values! { table, constraint => BOUNDS_CHECK }),
                    "One that says something else",
                ),
                lifecycle::statement(&add),
            ],
        ));
        steps.push(step(
            format!("Prove that {} holds nothing else", table.name),
            "a read of the table that locks nobody out",
            vec![lifecycle::statement(&validate)],
        ));
    }
    steps
}

fn build(table: &QualifiedName, index: &HeapIndex) -> RenderedStep {
    let HeapIndex { name, columns, unique, brin, .. } = index;
    let locks = vec![Lock { mode: LockMode::ShareUpdateExclusive, on: table.clone() }];
    let values = values! { table, name, columns, unique, brin };
    let create = statement(
        render("convert/heap_index", &values),
        "Readers and writers go on; it waits for transactions that are open",
        locks,
    );
    let step = step(
        format!("Build {name}"),
        "partitions have this index: the swap would build it while everybody waits",
        vec![create],
    );
    RenderedStep { transaction: Transaction::Concurrent, ..step }
}

/// What `--dry-run` prints of the swap.
#[must_use]
pub fn shown(target: &Target, heaps: &[Heap]) -> RenderedStep {
    let tables: Vec<_> = heaps.iter().map(|heap| heap.table.current.clone()).collect();
    let schema = tables.first().map(|table| table.schema.as_str()).unwrap_or_default();
    let all = Role::ALL.map(|role| target.layout.table(schema, role));
    let mut statements =
        vec![swap::lock_maintenance(&all), swap::lock_writers(&all), swap::lock_all(&tables)];
    for heap in heaps {
        statements.extend(keys(heap));
        statements.extend(swap::renames(&heap.table));
        statements.push(attach(&heap.table, heap));
    }
    step(
        "Put the new tables in place (pupctl convert swap)".to_owned(),
        "nothing is read or built; indexes, sequence and triggers follow the names",
        statements,
    )
}

/// Drops an index that was built for the conversion, or is left of a build that failed.
#[must_use]
pub fn drop_index(index: &QualifiedName, table: &QualifiedName) -> RenderedStep {
    let locks = vec![Lock { mode: LockMode::ShareUpdateExclusive, on: table.clone() }];
    let values = values! { index, concurrently => true };
    let drop = statement(render("index/drop", &values), "Readers and writers go on", locks);
    let why = "it was built for a conversion";
    let step = step(format!("Drop {}", index.name), why, vec![drop]);
    RenderedStep { transaction: Transaction::Concurrent, ..step }
}

/// Lets the old table take every row again.
#[must_use]
pub fn drop_check(table: &QualifiedName) -> RenderedStep {
    let lock = Lock { mode: LockMode::AccessExclusive, on: table.clone() };
    let sql = render("convert/drop_check", &values! { table, constraint => BOUNDS_CHECK });
    let drop = statement(sql, "Nothing is proven by it any more", vec![lock]);
    step(format!("Let {} hold anything", table.name), "it stays as it is", vec![drop])
}

impl Exchange<'_> {
    /// The old tables become partitions of the new ones, which take their names.
    #[must_use]
    pub fn forth_attached(&self, heaps: &[Heap]) -> Vec<Statement> {
        let mut statements = Vec::new();
        for heap in heaps {
            let Heap { table, .. } = heap;
            // While it has its old name: what is dropped needs no other.
            statements.extend(keys(heap));
            statements.extend(self.exchange(table));
            statements.push(attach(table, heap));
            let check = values! { table => table.retired, constraint => BOUNDS_CHECK };
            let why = "It has spared the reading of the table";
            statements.push(plain(render("convert/drop_check", &check), why));
            if table.role == Role::Events {
                for trigger in self.target.layout.triggers() {
                    let table = table.retired.clone();
                    let protect = Protect::Trigger { table, trigger, live: false };
                    statements.extend(protection::statements(&protect));
                }
            }
        }
        statements.extend(self.following(|table| &table.retired));
        statements.extend(self.leaf_index_names());
        statements.extend(self.record());
        statements
    }

    /// Indexes that both tables have got have exchanged their names: those of the old table are now
    /// called as on any partition.
    fn leaf_index_names(&self) -> Vec<Statement> {
        let layout = &self.target.layout;
        let mut statements = Vec::new();
        for (table, old) in self.target.tables.iter().zip(self.surroundings) {
            for extra in carry::indexes_onto(layout, table.role, old) {
                let index = table.current.sibling(extra.building.as_str());
                let to = extra.name_on(&table.retired);
                let sql = render("convert/rename_index", &values! { index, to });
                statements.push(plain(sql, "As on every partition"));
            }
        }
        statements
    }

    /// They leave the new ones, and take their names back. What lies in other partitions goes into
    /// them.
    #[must_use]
    pub fn back_attached(&self, columns: &[(Role, Vec<String>)]) -> Vec<Statement> {
        let mut statements = Vec::new();
        for table in &self.target.tables {
            let Replaced { role, current, retired, .. } = table;
            let values = values! { parent => current, partition => retired, concurrently => false };
            let why = "It stands by itself again";
            statements.push(plain(render("partition/detach", &values), why));
            if *role == Role::Events {
                for trigger in self.target.layout.triggers() {
                    if self.before.triggers().contains(&trigger) {
                        continue;
                    }
                    let sql = protection::drop_trigger(retired, trigger.name());
                    statements.push(plain(sql, "The old layout does not name it"));
                }
            }
            let columns = columns.iter().find(|(of, _)| of == role).map(|(_, columns)| columns);
            let values = values! { heap => retired, next => current, columns };
            let why = "Nothing stays behind";
            statements.push(plain(render("convert/beyond", &values), why));
        }
        statements.extend(self.names_back());
        statements.extend(self.following(|table| &table.next));
        statements.push(self.layout_back());
        statements
    }
}

/// The primary key as its parent has it, made of the index that is there.
fn keys(heap: &Heap) -> Vec<Statement> {
    let table = &heap.table.current;
    let drop = |constraint: &String, why: &str| {
        plain(render("convert/drop_check", &values! { table, constraint }), why)
    };
    let mut statements = Vec::new();
    if let Some(old) = &heap.old_primary {
        statements.push(drop(old, "Another key takes its place; its column has one of its own"));
    }
    if let Some(index) = &heap.primary {
        let sql = render("attach/key_from_index", &values! { table, index });
        statements.push(plain(sql, "The index is there"));
        let redundant = heap.redundant.iter();
        statements.extend(redundant.map(|name| drop(name, "The primary key says the same")));
    }
    statements
}

fn attach(table: &Replaced, heap: &Heap) -> Statement {
    let bound = quoted(quote::bound(&heap.bound));
    let (parent, partition) = (&table.current, &table.retired);
    plain(
        render("partition/attach", &values! { parent, partition, bound }),
        "A CHECK proves its bounds: nothing is read",
    )
}
