//! Names that the server makes up for indexes and constraints.

/// How often two sessions may hit the same one before it is not by chance.
const TRIES: u32 = 50;

/// Runs a statement, or a transaction, that lets the server name an index. The server looks for a
/// free name and then takes it: of two sessions that build on tables with long, similar names, one
/// may find it taken in between. It is run again then, and gets the next name.
pub fn again_on_collision<T>(
    mut run: impl FnMut() -> Result<T, postgres::Error>,
) -> Result<T, postgres::Error> {
    let mut tries = 1;
    loop {
        match run() {
            Err(error) if is_collision(&error) && tries < TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}

fn is_collision(error: &postgres::Error) -> bool {
    let Some(error) = error.as_db_error() else { return false };
    // duplicate_table and duplicate_object; or the index of the catalog is the first to notice.
    let constraint = error.constraint().unwrap_or_default();
    matches!(error.code().code(), "42P07" | "42710") || constraint == "pg_class_relname_nsp_index"
}
