//! The names of what pupctl makes for itself, beside the tables of the store.

use crate::layout::name::QualifiedName;
use crate::plan::MigrationSet;

/// The table that records the migrations of a set.
#[must_use]
pub fn history_table(schema: &str, set: MigrationSet) -> QualifiedName {
    QualifiedName::new(
        schema,
        match set {
            MigrationSet::Own => "pupctl_history",
            MigrationSet::Store => "pupctl_schema_history",
        },
    )
}

/// The table that holds the stored layout.
#[must_use]
pub fn layout_table(schema: &str) -> QualifiedName {
    QualifiedName::new(schema, "pupctl_layout")
}

/// The table that holds the journal of operations.
#[must_use]
pub fn operations_table(schema: &str) -> QualifiedName {
    QualifiedName::new(schema, "pupctl_operations")
}

/// The table that lists the archives.
#[must_use]
pub fn archives_table(schema: &str) -> QualifiedName {
    QualifiedName::new(schema, "pupctl_archives")
}

/// The table that lists the closed partitions.
#[must_use]
pub fn closed_table(schema: &str) -> QualifiedName {
    QualifiedName::new(schema, "pupctl_closed_partitions")
}

/// The table that lists the conversions.
#[must_use]
pub fn conversions_table(schema: &str) -> QualifiedName {
    QualifiedName::new(schema, "pupctl_conversions")
}

/// The table of what a conversion has copied.
#[must_use]
pub fn conversion_ranges_table(schema: &str) -> QualifiedName {
    QualifiedName::new(schema, "pupctl_conversion_ranges")
}

/// The function that waits for a projection.
#[must_use]
pub fn wait_function(schema: &str) -> QualifiedName {
    QualifiedName::new(schema, "pupctl_wait")
}

/// The function that reads a payload as JSON.
#[must_use]
pub fn json_function(schema: &str) -> QualifiedName {
    QualifiedName::new(schema, "pupctl_json")
}
