//! The end of a context: nothing takes its events any more, and its heads may go along.

use crate::db::execute;
use crate::db::inspect::{self, Depth};
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::bounds::Bound;
use crate::layout::place::Place;
use crate::operation::archives::{self, Beginning, Phase, Record};
use crate::plan;
use crate::render::Script;
use crate::render::environment::{render, values};

use super::{Archiver, Item, free_name};

/// How the list of archives names a table of heads.
pub const HEADS: &str = "aggregate_heads";

fn failed(error: postgres::Error) -> Error {
    Error::database("taking the heads of the context out of the store", error)
}

impl Archiver<'_> {
    /// Says in the layout that a context is retired, and drops what is left of its branch.
    pub fn retire(&mut self, name: &str) -> Result<()> {
        let schema = self.locked.schema().to_owned();
        let tables = &self.layout.tables;
        let depth = Depth::default();
        let catalog = inspect::catalog(self.locked.client(), &schema, tables, depth)?;
        let layout = catalog.layout.as_ref().unwrap_or(self.layout);
        let script = Script::of(&plan::contexts::retire(layout, &catalog, name));
        let limits = self.request.limits;
        execute::execute(self.locked, &script.steps, limits, self.interrupt, &mut *self.progress)?;
        reach("archive::retired");
        Ok(())
    }

    /// Archives the heads of a context that is retired; none where it has none.
    pub fn heads(&mut self, name: &str, drop: bool) -> Result<Option<Record>> {
        let schema = self.locked.schema().to_owned();
        let place = Place::new(vec![Bound::context(name)]);
        let records = archives::all(self.locked.client(), &schema)?;
        let begun = records.iter().rfind(|record| {
            record.role == HEADS
                && record.place == place
                && (record.phase.is_unfinished() || record.phase == Phase::Published)
        });
        let record = match begun {
            Some(record) => record.clone(),
            None => match self.take_heads(name, &place, &records)? {
                Some(record) => record,
                None => return Ok(None),
            },
        };
        let item = Item { leaf: None, record: Some(record.clone()), drop };
        self.advance(record, &item).map(Some)
    }

    /// Moves them into a table of their own, in the transaction that records it.
    fn take_heads(
        &mut self,
        context: &str,
        place: &Place,
        records: &[Record],
    ) -> Result<Option<Record>> {
        let schema = self.locked.schema().to_owned();
        let heads = self.layout.table(&schema, crate::layout::Role::Heads);
        let wanted = format!("{}_{}", heads.name, crate::layout::name::fold_context(context));
        let name = free_name(&wanted, records, &self.request.folder);
        let unique = name.replace('.', "_");
        let table = heads.sibling(crate::layout::name::joined(&unique, "archived"));
        let mut transaction = self.locked.client().transaction().map_err(failed)?;
        let make = render("archive/take_heads", &values! { table, heads, context });
        transaction.batch_execute(&make).map_err(failed)?;
        let row = transaction
            .query_one(include_str!("../../../sql/archive/oid.sql"), &[&table.schema, &table.name])
            .map_err(failed)?;
        let any = render("partition/has_rows", &values! { table });
        if !transaction.query_one(&any, &[]).map_err(failed)?.get::<_, bool>(0) {
            return Ok(None);
        }
        let begun = Beginning {
            name: &name,
            folder: &self.request.folder.to_string_lossy(),
            format: &self.request.format.to_string(),
            role: HEADS,
            place,
            leaf: &wanted,
            table_name: &table.name,
            table_oid: row.get("oid"),
            replaced: false,
            phase: Phase::Detached,
        };
        let id = archives::begin(&mut transaction, &schema, &begun)?;
        reach("archive::before_heads");
        transaction.commit().map_err(failed)?;
        reach("archive::took_heads");
        self.read_again(id).map(Some)
    }
}
