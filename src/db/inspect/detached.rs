//! Tables beside the store: those that say that they were detached from it, and any other that is
//! to be attached.

use postgres::Client;
use postgres::types::Oid;

use crate::catalog::detached::{Detached, Standalone, UnfinishedArchive};
use crate::error::Result;
use crate::layout::name::QualifiedName;
use crate::layout::place::Place;
use crate::plan::lifecycle::{DETACHED_PREFIX, marked_place};
use crate::render::environment::{render, values};
use crate::render::tables::archives_table;

use super::{PIN_SETTINGS, Reader, details, failed, relation, snapshot};

impl Reader<'_, '_> {
    pub(super) fn detached(&mut self) -> Result<Vec<Detached>> {
        let schema = self.schema;
        let sql = include_str!("../../../sql/catalog/detached.sql");
        let rows = self.all(sql, &[&schema, &DETACHED_PREFIX])?;
        let of_row = |row: &postgres::Row| {
            let place = marked_place(row.get("mark"))?;
            let name = QualifiedName::new(schema, row.get::<_, String>("name"));
            Some(Detached { oid: row.get("oid"), name, place })
        };
        Ok(rows.iter().filter_map(of_row).collect())
    }

    /// The places whose rows are in archives; none where there is no list of them yet, or where it
    /// is not for the eyes of the role.
    pub(super) fn archived(&mut self, role: &str) -> Result<Vec<Place>> {
        let table = archives_table(self.schema);
        let there = self.all(&render("archive/exists", &values! { table }), &[])?;
        if !there.iter().any(|row| row.get("readable")) {
            return Ok(Vec::new());
        }
        let rows = self.all(&render("archive/gone", &values! { table }), &[&role])?;
        // What was changed by hand is told where the list is used.
        Ok(rows.iter().filter_map(|row| serde_json::from_value(row.get("place")).ok()).collect())
    }

    /// The archives that were begun and are in no file yet.
    pub(super) fn unfinished_archives(&mut self) -> Result<Vec<UnfinishedArchive>> {
        let table = archives_table(self.schema);
        let there = self.all(&render("archive/exists", &values! { table }), &[])?;
        if !there.iter().any(|row| row.get("readable")) {
            return Ok(Vec::new());
        }
        let rows = self.all(&render("archive/unfinished", &values! { table }), &[])?;
        let of_row = |row: &postgres::Row| {
            let place = serde_json::from_value(row.get("place")).ok()?;
            let (heads, detached) = (row.get("heads"), row.get("detached"));
            Some(UnfinishedArchive { name: row.get("name"), place, heads, detached })
        };
        Ok(rows.iter().filter_map(of_row).collect())
    }

    fn one_table(&mut self, name: &str) -> Result<Option<Standalone>> {
        let schema = self.schema;
        let sql = include_str!("../../../sql/catalog/table.sql");
        let rows = self.all(sql, &[&schema, &name])?;
        let Some(row) = rows.first() else { return Ok(None) };
        let mut found = relation(row);
        let oids: Vec<Oid> = vec![found.oid];
        let mut indexes = self.indexes(&oids)?;
        details::add_definitions(self.transaction, &oids, &mut indexes)?;
        found.indexes = indexes.remove(&found.oid).unwrap_or_default();
        found.triggers = self.triggers(&oids)?.remove(&found.oid).unwrap_or_default();
        found.foreign_keys = self.foreign_keys(&oids)?.remove(&found.oid).unwrap_or_default();
        let mut read = details::read(self.transaction, &oids)?;
        found.details = read.remove(&found.oid).unwrap_or_default();
        found.details.rules = row.get("rules");
        found.grants.clone_from(&found.details.grants);
        let parent = |schema: String, name: String| QualifiedName::new(schema, name);
        Ok(Some(Standalone {
            relation: found,
            comment: row.get("comment"),
            parent: row
                .get::<_, Option<String>>("parent_schema")
                .zip(row.get("parent_name"))
                .map(|(schema, name)| parent(schema, name)),
            has_children: row.get("has_children"),
            typed: row.get("typed"),
        }))
    }
}

/// Any table of a schema, a partition or not, with all that is compared when it is attached; none
/// where there is no relation of that name.
pub fn one_table(client: &mut Client, schema: &str, name: &str) -> Result<Option<Standalone>> {
    let mut transaction = snapshot(client)?;
    transaction.batch_execute(PIN_SETTINGS).map_err(failed)?;
    let found = Reader { transaction: &mut transaction, schema }.one_table(name)?;
    transaction.rollback().map_err(failed)?;
    Ok(found)
}
