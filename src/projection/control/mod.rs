//! What is done to projections from outside: functions for the commands, and for whoever wants to
//! do the same in a program.

pub mod adopt;
pub mod rescale;
pub mod row;

use postgres::GenericClient;

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;

/// Refuses a store whose checkpoints have no room for slots.
pub fn checkpoints_ready(
    client: &mut impl GenericClient,
    checkpoints: &QualifiedName,
) -> Result<()> {
    let failed = |error| Error::database("looking at the table of checkpoints", error);
    let sql = include_str!("../../../sql/projection/checkpoint_columns.sql");
    let row = client.query_one(sql, &[&checkpoints.schema, &checkpoints.name]).map_err(failed)?;
    let there: bool = row.try_get("there").map_err(failed)?;
    if !there {
        return Err(Error::refused(format!("the table {checkpoints} is missing"))
            .hint("make the tables of the store: pupctl schema init"));
    }
    if !row.try_get::<_, bool>("ready").map_err(failed)? {
        return Err(Error::refused(format!("{checkpoints} has no columns for slots yet"))
            .hint("add them: pupctl projections init"));
    }
    Ok(())
}
