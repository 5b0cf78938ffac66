//! Triggers, the functions behind those of pupctl, and the key table of event ids.

use std::collections::HashMap;

use postgres::Row;
use postgres::types::Oid;

use crate::catalog::trigger::{EventIds, Function, TableTrigger};
use crate::error::Result;
use crate::layout::name::{QualifiedName, Tables};
use crate::layout::protection::{EVENT_IDS, EVENT_IDS_COMPLETE, Trigger};
use crate::render::protection;

use super::Reader;

impl Reader<'_, '_> {
    pub(super) fn triggers(&mut self, oids: &[Oid]) -> Result<HashMap<Oid, Vec<TableTrigger>>> {
        let rows = self.all(include_str!("../../../sql/catalog/triggers.sql"), &[&oids])?;
        let mut triggers: HashMap<Oid, Vec<TableTrigger>> = HashMap::new();
        for row in &rows {
            let function = QualifiedName::new(
                row.get::<_, String>("schema"),
                row.get::<_, String>("function"),
            );
            triggers.entry(row.get("relation")).or_default().push(TableTrigger {
                name: row.get("name"),
                function,
                timing: row.get("timing"),
                enabled: row.get("enabled"),
                added: row.get("added"),
                condition: row.get("condition"),
            });
        }
        Ok(triggers)
    }

    /// The functions behind pupctl's triggers, compared with those that this version makes.
    pub(super) fn functions(&mut self, names: &Tables) -> Result<Vec<Function>> {
        let wanted = Trigger::ALL.map(Trigger::name);
        let schema = self.schema;
        let rows = self.all(
            include_str!("../../../sql/catalog/functions.sql"),
            &[&schema, &wanted.as_slice(), &names.events],
        )?;
        let of_row = |row: &Row| {
            let name: String = row.get("name");
            let trigger = Trigger::ALL.into_iter().find(|trigger| trigger.name() == name)?;
            let body = protection::function_body(schema, names, trigger);
            let settings: Vec<String> = row.get("settings");
            let unchanged = row.get::<_, bool>("plain")
                && row.get::<_, bool>("trusted")
                && row.get::<_, String>("body") == body
                && row.get::<_, bool>("definer") == protection::is_definer(trigger)
                && settings == protection::FUNCTION_SETTINGS;
            Some(Function { trigger, unchanged })
        };
        Ok(rows.iter().filter_map(of_row).collect())
    }

    pub(super) fn event_ids(&mut self) -> Result<EventIds> {
        let schema = self.schema;
        let row = self.one(
            include_str!("../../../sql/catalog/event_ids.sql"),
            &[&schema, &EVENT_IDS, &EVENT_IDS_COMPLETE],
        )?;
        Ok(EventIds { there: row.get("there"), key: row.get("key"), complete: row.get("complete") })
    }
}
