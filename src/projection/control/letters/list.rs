//! The dead letters that there are.

use postgres::Client;
use serde::Serialize;

use crate::error::Result;
use crate::render::environment::{render, values};

use super::{Letter, failed, letter};
use crate::projection::control::checkpoint::{self, unknown};
use crate::projection::control::{Tables, are_extended};

/// What is wanted of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Of this projection only.
    pub projection: Option<String>,
    /// Of this aggregate only, as `context/type/id`.
    pub aggregate: Option<String>,
    /// At most so many.
    pub limit: i64,
}

/// Dead letters, in the order of their projections and positions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Letters {
    /// How many there are.
    pub total: i64,
    /// The first of them.
    pub letters: Vec<Letter>,
}

/// Lists dead letters. A store of an earlier version has none. A projection of which there is
/// neither a checkpoint nor a letter is refused.
pub fn list(client: &mut Client, tables: &Tables, filter: &Filter) -> Result<Letters> {
    let Tables { checkpoints, dead_letters, .. } = tables;
    let extended = are_extended(client, checkpoints)?;
    let mut found = Letters { total: 0, letters: Vec::new() };
    let Filter { projection, aggregate, limit } = filter;
    if extended {
        let sql = render("projection/letters/list", &values! { dead_letters });
        let rows = client.query(&sql, &[projection, aggregate, limit]).map_err(failed)?;
        found.total = rows.first().map_or(0, |row| row.get("total"));
        found.letters = rows.iter().map(letter).collect();
    }
    if let Some(name) = projection.as_ref().filter(|_| found.letters.is_empty()) {
        let rows = checkpoint::read(client, checkpoints, extended)?;
        let all = checkpoint::projections(rows);
        if !all.iter().any(|known| known.name == *name) {
            return Err(unknown(name, &all));
        }
    }
    Ok(found)
}
