//! The end of the store: how far projections can get.

use std::time::Duration;

use chrono::{DateTime, Utc};
use postgres::Client;
use serde::Serialize;

use crate::db::Interrupt;
use crate::db::settled::{self, Settled};
use crate::error::{Error, Kind, Result};
use crate::finding::holder::Holder;
use crate::layout::name::QualifiedName;
use crate::render::environment::{render, values};

/// The end of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Head {
    /// The last position that was drawn.
    pub position: i64,
    /// Whether everything up to it is settled, so that projections can get there.
    pub settled: bool,
    /// Whose transactions may still add events at or below it. Projections wait before the first
    /// position that these have drawn, if they have drawn one.
    pub held_by: Vec<Holder>,
    /// Why nobody can tell here what is settled; the position is that of the last event then.
    pub problem: Option<String>,
}

/// Looks once, and waits for nobody.
pub fn look(client: &mut Client, events: &QualifiedName, interrupt: &Interrupt) -> Result<Head> {
    let looked = settled::watch(client, events, Duration::ZERO, interrupt, &mut |_| {});
    match looked {
        Ok(Settled { position, held_by }) => {
            Ok(Head { position, settled: held_by.is_empty(), held_by, problem: None })
        }
        // A standby, say: how far projections are is still worth to be seen.
        Err(error) if error.kind() == Kind::Refused => Ok(Head {
            position: last_event(client, events)?,
            settled: false,
            held_by: Vec::new(),
            problem: Some(error.message().to_owned()),
        }),
        Err(error) => Err(error),
    }
}

fn last_event(client: &mut Client, events: &QualifiedName) -> Result<i64> {
    let row = client
        .query_one(&render("fence/last_position", &values! { leaf => events }), &[])
        .map_err(|error| Error::database("looking for the last event", error))?;
    Ok(row.get::<_, Option<i64>>("last").unwrap_or(0))
}

/// A worker of a projection that is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WorkerSession {
    /// Its process on the server.
    pub pid: i32,
    /// Its user.
    pub user: Option<String>,
    /// What it does, for example `idle in transaction`; not seen in sessions of other users.
    pub state: Option<String>,
    /// Since when it is connected.
    pub since: Option<DateTime<Utc>>,
    /// What it calls itself.
    #[serde(skip)]
    pub application_name: String,
}

/// All workers of projections that are connected to the database.
pub fn sessions(client: &mut Client) -> Result<Vec<WorkerSession>> {
    let rows = client
        .query(include_str!("../../../sql/projection/sessions.sql"), &[])
        .map_err(|error| Error::database("looking for the workers of projections", error))?;
    Ok(rows
        .iter()
        .map(|row| WorkerSession {
            pid: row.get("pid"),
            user: row.get("user"),
            state: row.get("state"),
            since: row.get("since"),
            application_name: row.get("application_name"),
        })
        .collect())
}

/// The longest name of a session that the server keeps, in bytes.
const NAME_BYTES_MAX: usize = 63;

/// Whether a session calls itself as the workers of a projection do. The server cuts long names,
/// and shows characters that are not of ASCII in another form: as `?`, or by their codes since
/// version 16.
#[must_use]
pub fn is_worker_of(application_name: &str, projection: &str) -> bool {
    let full = format!("pupctl/projection {projection}");
    let cut = |text: &str| {
        let mut end = text.len().min(NAME_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text[..end].to_owned()
    };
    let written = cut(&full);
    let spelled = |other: fn(u8) -> String| {
        let plain = |byte: u8| (b' '..=b'~').contains(&byte);
        let shown = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { other(byte) };
        cut(&written.bytes().map(shown).collect::<String>())
    };
    application_name == written
        || application_name == spelled(|_| "?".to_owned())
        || application_name == spelled(|byte| format!("\\x{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_known_by_the_names_of_their_sessions() {
        assert!(is_worker_of("pupctl/projection orders", "orders"));
        assert!(!is_worker_of("pupctl/projection orders", "order"));
        assert!(!is_worker_of("pupctl/projections list", "s list"));
        assert!(is_worker_of("pupctl/projection K??ufe", "Käufe"));
        assert!(is_worker_of("pupctl/projection K\\xc3\\xa4ufe", "Käufe"));
        let long = "x".repeat(100);
        assert!(is_worker_of(&format!("pupctl/projection {}", "x".repeat(45)), &long));
    }
}
