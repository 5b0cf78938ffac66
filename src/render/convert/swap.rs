//! The statements by which the tables change names, and back.

use crate::catalog::Catalog;
use crate::catalog::index::Index;
use crate::catalog::relation::Relation;
use crate::catalog::surroundings::{self, Surroundings};
use crate::layout::name::{self, QualifiedName};
use crate::layout::protection::Trigger;
use crate::layout::{Layout, Role};
use crate::plan::convert::belongings::{Extra, extra_index};
use crate::plan::convert::{Replaced, Target};
use crate::plan::init::store_migrations;
use crate::plan::{Migration, MigrationSet};
use crate::render::environment::{render, values};
use crate::render::script::{LockMode, Statement};
use crate::render::tables::{history_table, layout_table};
use crate::render::{RenderedMigration, protection};

use super::{follow, lock, mirror_function, plain, refuse, statement};

/// What is known of the tables when they change names.
#[derive(Debug, Clone)]
pub struct Exchange<'a> {
    /// What the store is to become.
    pub target: &'a Target,
    /// The layout that it had.
    pub before: &'a Layout,
    /// The catalog, with the new tables built.
    pub catalog: &'a Catalog,
    /// What hangs on the tables that the store has now, in the order of the target's.
    pub surroundings: &'a [Surroundings],
    /// What hangs on the tables that take their place.
    pub coming: &'a [Surroundings],
    /// The names of the indexes of the tables that were replaced, where they are to come back.
    pub retired_indexes: &'a [String],
}

const EVERYBODY: &str = "Everybody waits for the rest of this transaction";

/// Keeps everybody else's maintenance out, autovacuum too, which gives way to it. Readers and
/// writers go on.
#[must_use]
pub fn lock_maintenance(tables: &[QualifiedName]) -> Statement {
    locked(tables, LockMode::ShareUpdateExclusive, "Autovacuum gives way; nobody waits")
}

/// Keeps writers out.
#[must_use]
pub fn lock_writers(tables: &[QualifiedName]) -> Statement {
    locked(tables, LockMode::ShareRowExclusive, "Writers wait from here on, readers do not")
}

/// The same for their partitions too.
#[must_use]
pub fn lock_writers_below(tables: &[QualifiedName]) -> Statement {
    let why = "Writers wait from here on, those of partitions too; readers do not";
    locked_as(tables, LockMode::ShareRowExclusive, why, true)
}

/// Keeps everybody out.
#[must_use]
pub fn lock_all(tables: &[QualifiedName]) -> Statement {
    locked(tables, LockMode::AccessExclusive, EVERYBODY)
}

/// The same for their partitions too.
#[must_use]
pub fn lock_all_below(tables: &[QualifiedName]) -> Statement {
    locked_as(tables, LockMode::AccessExclusive, EVERYBODY, true)
}

fn locked(tables: &[QualifiedName], mode: LockMode, why: &str) -> Statement {
    locked_as(tables, mode, why, false)
}

fn locked_as(tables: &[QualifiedName], mode: LockMode, why: &str, below: bool) -> Statement {
    let locks = tables.iter().map(|table| lock(mode, table)).collect();
    let values = values! { tables, mode => mode.to_string(), below };
    statement(render("convert/lock", &values), why, locks)
}

impl Exchange<'_> {
    /// The tables that writers and readers use, heads first, whether they are replaced or not.
    #[must_use]
    pub fn tables(&self) -> Vec<QualifiedName> {
        let schema = &self.catalog.schema_name;
        Role::ALL.map(|role| self.target.layout.table(schema, role)).to_vec()
    }

    /// The new tables take the names of the old ones.
    #[must_use]
    pub fn forth(&self) -> Vec<Statement> {
        let mut statements = Vec::new();
        for table in &self.target.tables {
            statements.extend(self.exchange(table));
            let Replaced { current, retired, .. } = table;
            if table.role == Role::Heads {
                statements.push(drop_trigger(retired, &mirror_function(current)));
            }
            let function = refuse(current);
            statements.push(plain(
                render("convert/retire", &values! { table => retired, function, current }),
                "What still writes to the old table fails instead of losing events",
            ));
        }
        statements.extend(self.following(|table| &table.retired));
        statements.extend(self.record());
        statements
    }

    /// What follows a table by its number, and has to follow its name.
    pub(super) fn following(&self, old: impl Fn(&Replaced) -> &QualifiedName) -> Vec<Statement> {
        let mut statements = Vec::new();
        let pairs = self.surroundings.iter().zip(self.coming);
        for (table, (now, coming)) in self.target.tables.iter().zip(pairs) {
            let layout = &self.target.layout;
            statements.extend(follow::in_swap(now, old(table), &table.current));
            statements.extend(follow::exchange_index_names(layout, table.role, now, coming));
        }
        statements
    }

    pub(super) fn exchange(&self, table: &Replaced) -> Vec<Statement> {
        let Replaced { role, current, next, retired } = table;
        let mut statements = vec![rename(current, retired, "Out of the way")];
        let old = self.catalog.table(*role).map(|table| &table.root);
        let new = table.built(self.catalog);
        let extra = self.extra_names(self.surroundings, *role);
        let indexes = old.into_iter().flat_map(|old| &old.indexes).map(|index| &index.name);
        let indexes = indexes.filter(|name| !extra.contains(&name.as_str()));
        statements.extend(indexes.filter_map(|name| renamed(*role, name, (current, retired), &[])));
        statements.push(rename(next, current, "Everybody finds the new table from here on"));
        let finals = |new| final_indexes(*role, new, current, &extra);
        statements.extend(new.into_iter().flat_map(finals));
        statements.push(plain(
            render("table/clear_comment", &values! { table => current }),
            "The mark of a table that is not ready yet",
        ));
        statements
    }

    /// The indexes of a table that the layout does not make. They exchange their names with those
    /// of the other table, also where one has the name that the server gives to one of the layout.
    fn extra_names<'b>(&self, of: &'b [Surroundings], role: Role) -> Vec<&'b str> {
        let layout = &self.target.layout;
        let position = self.target.tables.iter().position(|table| table.role == role);
        let Some(table) = position.and_then(|position| of.get(position)) else { return Vec::new() };
        let is_extra = |index: &&surroundings::Index| {
            extra_index(layout, role, table, index) == Extra::Carried
        };
        table.indexes.iter().filter(is_extra).map(|index| index.name.as_str()).collect()
    }

    /// What `schema init` would have recorded.
    pub(super) fn record(&self) -> Vec<Statement> {
        let schema = &self.catalog.schema_name;
        let layout = &self.target.layout;
        let history = history_table(schema, MigrationSet::Store);
        let mut statements = vec![store_layout(schema, layout)];
        for (version, name) in store_migrations(layout) {
            let migration = Migration {
                set: MigrationSet::Store,
                version,
                name,
                schema: schema.clone(),
                layout: Box::new(layout.clone()),
            };
            let checksum = RenderedMigration::of(&migration, true).migration.checksum().to_string();
            let values = values! { history, version, name, checksum };
            let why = "As if it had been made so";
            statements.push(plain(render("migration/record_once", &values), why));
        }
        statements
    }

    /// The old tables take their names back.
    #[must_use]
    pub fn back(&self) -> Vec<Statement> {
        let mut statements = self.names_back();
        for Replaced { current, .. } in &self.target.tables {
            statements.push(drop_trigger(current, &refuse(current)));
        }
        statements.extend(self.following(|table| &table.next));
        statements.push(self.layout_back());
        statements
    }

    pub(super) fn names_back(&self) -> Vec<Statement> {
        let mut statements = Vec::new();
        for table in &self.target.tables {
            let Replaced { role, current, next, retired } = table;
            let new = self.catalog.table(*role).map(|table| &table.root);
            statements.push(rename(current, next, "Out of the way"));
            let taken = self.extra_names(self.surroundings, *role);
            let indexes = new.into_iter().flat_map(|new| &new.indexes).map(|index| &index.name);
            let indexes = indexes.filter(|name| !taken.contains(&name.as_str()));
            statements
                .extend(indexes.filter_map(|name| renamed(*role, name, (current, next), &[])));
            statements.push(rename(retired, current, "Everybody finds the old table again"));
            let extra = self.extra_names(self.coming, *role);
            let indexes = self.retired_indexes.iter();
            let indexes = indexes.filter(|name| !extra.contains(&name.as_str()));
            let back = |name: &String| renamed(*role, name, (retired, current), &taken);
            statements.extend(indexes.filter_map(back));
            statements.push(plain(
                render("table/comment", &values! { table => next, comment => table.mark() }),
                "The next run finds it by this mark",
            ));
        }
        statements
    }

    pub(super) fn layout_back(&self) -> Statement {
        store_layout(&self.catalog.schema_name, self.before)
    }
}

/// The two names that change.
#[must_use]
pub fn renames(table: &Replaced) -> Vec<Statement> {
    vec![
        rename(&table.current, &table.retired, "Out of the way"),
        rename(&table.next, &table.current, "Everybody finds the new table from here on"),
    ]
}

/// Takes away what kept the old tables from being changed.
#[must_use]
pub fn thaw(target: &Target) -> Vec<Statement> {
    let mut statements = Vec::new();
    for table in &target.tables {
        for function in [mirror_function(&table.current), refuse(&table.current)] {
            let mut statement = drop_trigger(&table.current, &function);
            statement.locks = vec![lock(LockMode::AccessExclusive, &table.current)];
            statements.push(statement);
        }
    }
    statements
}

/// Drops the functions, when no trigger calls them any more.
#[must_use]
pub fn drop_functions(target: &Target) -> Vec<Statement> {
    let Some(events) = target.events() else { return Vec::new() };
    [mirror_function(&events.current), refuse(&events.current)]
        .into_iter()
        .map(|function| {
            plain(render("convert/drop_function", &values! { function }), "Nothing calls it")
        })
        .collect()
}

/// The triggers that only the new layout wants.
#[must_use]
pub fn dropped_triggers(before: &Layout, after: &Layout) -> Vec<Trigger> {
    let kept = before.triggers();
    after.triggers().into_iter().filter(|trigger| !kept.contains(trigger)).collect()
}

/// Drops the functions behind the triggers that only the new layout wants.
#[must_use]
pub fn drop_protection(schema: &str, before: &Layout, after: &Layout) -> Vec<Statement> {
    dropped_triggers(before, after)
        .into_iter()
        .map(|trigger| {
            let function = protection::function(schema, trigger);
            let sql = render("convert/drop_function", &values! { function });
            plain(sql, "The layout does not want it")
        })
        .collect()
}

/// Drops a table that nobody uses.
#[must_use]
pub fn drop_table(table: &QualifiedName, why: &str) -> Statement {
    drop_tables(std::slice::from_ref(table), why)
}

/// Drops several such tables.
#[must_use]
pub fn drop_tables(tables: &[QualifiedName], why: &str) -> Statement {
    plain(render("convert/drop_tables", &values! { tables }), why)
}

fn drop_trigger(table: &QualifiedName, function: &QualifiedName) -> Statement {
    let trigger = &function.name;
    plain(render("convert/thaw", &values! { trigger, table }), "It has done its work")
}

fn store_layout(schema: &str, layout: &Layout) -> Statement {
    let json = layout.to_json().to_string();
    let values = values! { table => layout_table(schema), layout => json };
    plain(render("layout/store", &values), "Later commands read it")
}

fn rename(table: &QualifiedName, to: &QualifiedName, why: &str) -> Statement {
    plain(render("partition/rename", &values! { table, to => to.name }), why)
}

/// The endings of the names that the server gives to the indexes of a table of the store.
fn endings(role: Role) -> [&'static str; 2] {
    match role {
        Role::Events => ["pkey", "created_at_idx"],
        Role::Heads => ["pkey", "updated_at_idx"],
    }
}

/// The endings of further keys, which partitions have too.
const KEYS: [&str; 2] = ["event_id_key", "global_position_key"];

/// An index that changes its name with its table, where it has the one that the server gives, and
/// no other has the new one.
fn renamed(
    role: Role,
    index: &str,
    (from, to): (&QualifiedName, &QualifiedName),
    taken: &[&str],
) -> Option<Statement> {
    let keys = if role == Role::Events { KEYS.as_slice() } else { &[] };
    let mut endings = endings(role).into_iter().chain(keys.iter().copied());
    let ending = endings.find(|ending| name::joined(&from.name, ending) == index)?;
    let new = name::joined(&to.name, ending);
    if taken.contains(&new.as_str()) {
        return None;
    }
    let index = from.sibling(index);
    Some(plain(render("convert/rename_index", &values! { index, to => new }), "Its name too"))
}

/// The indexes of the new table get the names that the server would have given them, next to those
/// that have their names already.
fn final_indexes(
    role: Role,
    new: &Relation,
    current: &QualifiedName,
    taken: &[&str],
) -> Vec<Statement> {
    let [key, time] = endings(role);
    let own_name = |index: &Index| {
        let ending = match role {
            _ if index.primary => key,
            Role::Events if index.is_on("brin", &["created_at"]) => time,
            Role::Heads if index.is_on("btree", &["updated_at"]) => time,
            _ => return None,
        };
        let new = name::joined(&current.name, ending);
        let is_taken = taken.contains(&new.as_str());
        let new = if is_taken { name::joined(&current.name, &format!("{ending}1")) } else { new };
        let index = current.sibling(index.name.as_str());
        Some(plain(render("convert/rename_index", &values! { index, to => new }), "Its own name"))
    };
    new.indexes.iter().filter_map(own_name).collect()
}
