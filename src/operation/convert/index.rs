//! Keys, indexes and triggers of the new tables, when the rows are there.

use postgres::Client;

use crate::catalog::relation::Relation;
use crate::db::names::again_on_collision;
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::Role;
use crate::plan::convert::build::{Unindexed, branches, keyless, unindexed};
use crate::plan::protection::broken;
use crate::render::convert as statements;
use crate::render::convert::carry::{ExtraIndex, indexes_onto};

use super::{Converter, session};

impl Converter<'_> {
    /// Builds everything that the layout wants on the new table of events and that is not there.
    pub(super) fn index(&mut self) -> Result<()> {
        self.progress.phase("Building keys and indexes", None);
        self.complete_leaves()?;
        let events = self.events()?;
        let catalog = self.catalog()?;
        let Some(built) = events.built(&catalog) else { return Err(gone(&events.next)) };
        let keyless = keyless(&self.record.after, built);
        let brin = !built.indexes.iter().any(|index| index.is_on("brin", &["created_at"]));
        let extra = self.extra_indexes()?;
        let is_there = |name: &str| built.indexes.iter().any(|index| index.name == name);
        let extra: Vec<_> = extra.iter().filter(|index| !is_there(&index.building)).collect();
        if !keyless.is_empty() || brin || !extra.is_empty() {
            let step = statements::upper_indexes(&events, &branches(built), &keyless, brin, &extra);
            self.execute(&[step])?;
        }
        reach("convert::joined");
        self.protect(built)
    }

    /// The leaves, each on its own: several sessions build at the same time, the largest first.
    pub(super) fn complete_leaves(&mut self) -> Result<()> {
        let events = self.events()?;
        let catalog = self.catalog()?;
        let Some(built) = events.built(&catalog) else { return Err(gone(&events.next)) };
        let mut leaves = unindexed(built);
        let size = |leaf: &Unindexed| {
            let is_it = |relation: &&Relation| relation.name == leaf.table;
            built.leaves().find(is_it).and_then(|relation| relation.size).map_or(0, |s| s.table)
        };
        leaves.sort_by_key(|leaf| std::cmp::Reverse(size(leaf)));
        let extra = self.extra_indexes()?;
        leaves.retain(|leaf| !leaf.is_whole() || !missing(&extra, leaf).is_empty());
        if leaves.is_empty() {
            return Ok(());
        }
        let total = leaves.len();
        let work =
            |client: &mut Client, leaf: Unindexed| complete(client, &leaf, &missing(&extra, &leaf));
        self.progress.phase(&format!("Building keys and indexes of {total} partitions"), None);
        self.do_all(leaves, &work).map_err(explained)
    }

    /// The indexes of the old table that the layout does not make.
    fn extra_indexes(&mut self) -> Result<Vec<ExtraIndex>> {
        let events = self.events()?;
        let old = session::surroundings(self.locked.client(), &events.current)?;
        Ok(indexes_onto(&self.record.after, Role::Events, &old))
    }

    /// The triggers of partitions that came late.
    pub(super) fn protect_all(&mut self) -> Result<()> {
        let events = self.events()?;
        let catalog = self.catalog()?;
        let Some(built) = events.built(&catalog) else { return Err(gone(&events.next)) };
        self.give_triggers(built)
    }

    /// The triggers that tables lack: each is a statement of its own, and partitions are many.
    fn give_triggers(&mut self, built: &Relation) -> Result<()> {
        let (layout, schema) = (&self.record.after, self.locked.schema());
        let lacking = |table| broken(layout, schema, table).into_iter().map(move |t| (table, t));
        let triggers: Vec<_> = built
            .walk()
            .flat_map(lacking)
            .flat_map(|(table, trigger)| statements::protect(&table.name, trigger))
            .collect();
        self.run("protecting the new tables", &triggers)
    }

    fn protect(&mut self, built: &Relation) -> Result<()> {
        let events = self.events()?;
        if self.record.after.keeps_event_ids() {
            // Before the triggers: an id that is there already would refuse its own event.
            let collect = statements::collect_ids(&events, &self.record.after);
            self.run("collecting the ids of the events", &[collect])?;
        }
        self.give_triggers(built)
    }
}

/// The extra indexes that a leaf lacks.
fn missing<'a>(extra: &'a [ExtraIndex], leaf: &Unindexed) -> Vec<&'a ExtraIndex> {
    let lacks = |index: &&ExtraIndex| !leaf.there.contains(&index.name_on(&leaf.table));
    extra.iter().filter(lacks).collect()
}

fn complete(client: &mut Client, leaf: &Unindexed, extra: &[&ExtraIndex]) -> Result<()> {
    for statement in statements::indexes(leaf, extra) {
        let doing = format!("building keys and indexes of {}", leaf.table);
        again_on_collision(|| client.batch_execute(&statement.sql))
            .map_err(|error| Error::database(&doing, error))?;
        reach("convert::indexed");
    }
    Ok(())
}

fn explained(error: Error) -> Error {
    match error.sqlstate() {
        // unique_violation
        Some("23505") => error.hint(
            "the old table has this twice, and a key of the new one forbids it: remove one, after \
             pupctl convert rollback, and begin again",
        ),
        _ => error,
    }
}

pub(super) fn gone(table: &crate::layout::name::QualifiedName) -> Error {
    Error::refused(format!("the table {table} is missing, which was built for the conversion"))
        .hint("somebody dropped it: call the conversion off, pupctl convert rollback")
}
