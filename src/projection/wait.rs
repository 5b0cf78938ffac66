//! Waits until a projection has handled what was just appended.

use std::time::{Duration, Instant};

use postgres::Client;
use postgres::error::SqlState;

use crate::error::{Error, Result};
use crate::render::environment::{render, values};
use crate::render::tables::wait_function;

/// So long a statement waits: the server keeps what was deleted since a statement began.
const SLICE: Duration = Duration::from_millis(500);

/// Waits until a projection has handled everything up to a position, as `pupctl_wait` does in SQL:
/// true, or false after the timeout. All its slots have to be there, also those that the events of
/// the position do not belong to.
///
/// An event that the projection put among its dead letters counts as handled. A projection that
/// nobody has registered is refused. The role needs to read `projection_checkpoints`, nothing else.
///
/// ```no_run
/// # use std::time::Duration;
/// # fn place_order(_: &mut postgres::Client) -> pupctl::Result<i64> { Ok(1) }
/// # fn example(client: &mut postgres::Client) -> pupctl::Result<()> {
/// use pupctl::projection::wait;
///
/// let position = place_order(client)?;
/// if !wait::for_position(client, "public", "orders", position, Duration::from_secs(2))? {
///     println!("the order will be shown soon");
/// }
/// # Ok(()) }
/// ```
pub fn for_position(
    client: &mut Client,
    schema: &str,
    projection: &str,
    position: i64,
    timeout: Duration,
) -> Result<bool> {
    let wait = wait_function(schema);
    let sql = render("projection/wait", &values! { wait });
    let statement = client.prepare(&sql).map_err(failed)?;
    let start = Instant::now();
    loop {
        let left = timeout.saturating_sub(start.elapsed());
        let seconds = left.min(SLICE).as_secs_f64();
        let row =
            client.query_one(&statement, &[&projection, &position, &seconds]).map_err(failed)?;
        if row.get(0) {
            return Ok(true);
        }
        if left <= SLICE {
            return Ok(false);
        }
    }
}

fn failed(error: postgres::Error) -> Error {
    let code = error.code().cloned();
    let error = Error::database("waiting for a projection", error);
    if code == Some(SqlState::UNDEFINED_FUNCTION) {
        return Error::refused("this store has no function pupctl_wait: an older pupctl made it")
            .hint("bring the tables up to date: pupctl projections init");
    }
    error
}
