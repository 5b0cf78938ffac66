//! Whether there is a store that pupctl knows.

use crate::catalog::health::Health;
use crate::catalog::{AppliedMigration, Catalog};
use crate::plan::init::is_own_name;

use super::Finding;

/// How a store is made; `pupctl advise` says which.
const INIT: &str = "pupctl schema init --partition-by context --contexts Identity,Billing";

/// A store without a layout: of other tools, half applied from files, or none at all.
#[must_use]
pub fn check(catalog: &Catalog, health: &Health) -> Option<Finding> {
    // Where the catalog could not be read, nobody knows.
    if catalog.layout.is_some() || health.unseen.iter().any(|one| one.area == "store") {
        return None;
    }
    let schema = &catalog.schema_name;
    let object = format!("the schema {schema}");
    let is_own = |row: &AppliedMigration| is_own_name(row.version, &row.name);
    if let Some(last) = catalog.store_migrations.iter().rfind(|row| is_own(row)) {
        let message = format!(
            "its store has no layout yet: its last migration is V{}__{}",
            last.version, last.name
        );
        return Some(Finding::error("no_layout", &object, message).remedy("pupctl schema migrate"));
    }
    let Some(events) = &catalog.events else {
        let message = "there is no store in it";
        return Some(Finding::error("no_store", &object, message).remedy(INIT));
    };
    let message = format!(
        "{} is not pupctl's: partitions, keys and indexes were not compared with any layout",
        events.root.name
    );
    Some(Finding::notice("unknown_store", &object, message).remedy(
        "pupctl schema baseline --partition-by none takes it over as it is, pupctl convert start \
         gives it another layout, pupctl advise says which",
    ))
}
