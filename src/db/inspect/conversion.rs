//! The conversion that goes on.

use postgres::Row;

use crate::catalog::Conversion;
use crate::error::Result;
use crate::render::environment::{render, values};
use crate::render::tables::conversions_table;

use super::Reader;

impl Reader<'_, '_> {
    /// The conversion that goes on; none where there is no list of them yet, or where it is not for
    /// the eyes of the role.
    pub(super) fn conversion(&mut self) -> Result<Option<Conversion>> {
        let table = conversions_table(self.schema);
        let there = self.all(&render("archive/exists", &values! { table }), &[])?;
        if !there.iter().any(|row| row.get("readable")) {
            return Ok(None);
        }
        let rows = self.all(&render("convert/open", &values! { table }), &[])?;
        let conversion = |row: &Row| {
            let phase: String = row.get("phase");
            Conversion { swapped: phase == "swapped", phase, cutover: row.get("cutover") }
        };
        Ok(rows.first().map(conversion))
    }
}
