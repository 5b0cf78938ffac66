//! What rows hold, told by the server of a table and by pupctl of a file, to be compared.

use postgres::Row as ServerRow;
use serde::Serialize;

use crate::error::{Error, Result};

use super::column::{Column, landmarks};
use super::digest::{Digest, Hasher};
use super::instant;
use super::wire::{Batch, Row};

/// What some rows hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// How many rows.
    pub rows: u64,
    /// The lowest position.
    pub first_position: Option<i64>,
    /// The highest position.
    pub last_position: Option<i64>,
    /// The earliest time, as PostgreSQL prints it in UTC.
    pub first_created_at: Option<String>,
    /// The latest time.
    pub last_created_at: Option<String>,
    /// The digest over all columns.
    pub digest: Digest,
}

impl Contents {
    /// What the server answers to [`Selection::digest_sql`](super::select::Selection::digest_sql).
    pub fn answered(row: &ServerRow) -> Result<Self> {
        let told = |error| Error::database("reading the digest of the table", error);
        let rows: i64 = row.try_get("rows").map_err(told)?;
        let digest: String = row.try_get("digest").map_err(told)?;
        Ok(Self {
            rows: u64::try_from(rows).unwrap_or_default(),
            first_position: row.try_get("first_position").map_err(told)?,
            last_position: row.try_get("last_position").map_err(told)?,
            first_created_at: row.try_get("first_created_at").map_err(told)?,
            last_created_at: row.try_get("last_created_at").map_err(told)?,
            digest: Digest::try_from(digest)?,
        })
    }

    /// In what they differ, a line each, as `rows: 10, must be 11`.
    #[must_use]
    pub fn differences(&self, expected: &Self) -> Vec<String> {
        fn shown<T: ToString>(value: Option<&T>) -> String {
            value.map_or_else(|| "none".to_owned(), T::to_string)
        }
        let (found, wanted) = (self, expected);
        let lines = [
            ("rows", found.rows.to_string(), wanted.rows.to_string()),
            (
                "first position",
                shown(found.first_position.as_ref()),
                shown(wanted.first_position.as_ref()),
            ),
            (
                "last position",
                shown(found.last_position.as_ref()),
                shown(wanted.last_position.as_ref()),
            ),
            (
                "first created_at",
                shown(found.first_created_at.as_ref()),
                shown(wanted.first_created_at.as_ref()),
            ),
            (
                "last created_at",
                shown(found.last_created_at.as_ref()),
                shown(wanted.last_created_at.as_ref()),
            ),
            ("digest", found.digest.to_string(), wanted.digest.to_string()),
        ];
        let differing = lines.into_iter().filter(|(_, found, wanted)| found != wanted);
        differing
            .map(|(what, found, wanted)| format!("{what}: {found}, must be {wanted}"))
            .collect()
    }
}

/// Finds out what rows hold while they pass.
#[derive(Debug)]
pub struct Tally {
    hasher: Hasher,
    position: Option<usize>,
    created_at: Option<usize>,
    rows: u64,
    digest: u64,
    positions: Option<(i64, i64)>,
    times: Option<(i64, i64)>,
}

impl Tally {
    /// No row has passed yet.
    #[must_use]
    pub fn new(columns: &[Column]) -> Self {
        let (position, created_at) = landmarks(columns);
        Self {
            hasher: Hasher::new(columns),
            position,
            created_at,
            rows: 0,
            digest: 0,
            positions: None,
            times: None,
        }
    }

    /// Adds rows.
    pub fn batch(&mut self, batch: &Batch) {
        for row in batch.rows() {
            self.row(row);
        }
    }

    /// Adds a row.
    pub fn row(&mut self, row: Row<'_>) {
        self.rows += 1;
        self.digest = self.digest.wrapping_add(self.hasher.hash(row));
        widen(&mut self.positions, self.position.and_then(|number| row.int8(number)));
        widen(&mut self.times, self.created_at.and_then(|number| row.int8(number)));
    }

    /// How many rows have passed.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// What the rows held so far.
    #[must_use]
    pub fn contents(&self) -> Contents {
        Contents {
            rows: self.rows,
            first_position: self.positions.map(|(first, _)| first),
            last_position: self.positions.map(|(_, last)| last),
            first_created_at: self.times.map(|(first, _)| instant::text(first)),
            last_created_at: self.times.map(|(_, last)| instant::text(last)),
            digest: Digest(self.digest),
        }
    }
}

fn widen(range: &mut Option<(i64, i64)>, value: Option<i64>) {
    let Some(value) = value else { return };
    let (first, last) = range.unwrap_or((value, value));
    *range = Some((first.min(value), last.max(value)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::wire::tests::row;

    #[test]
    fn rows_in_another_order_hold_the_same() {
        let columns =
            [Column::new("global_position", "bigint", true), Column::new("note", "text", false)];
        let rows: Vec<_> =
            (1..4_i64).map(|position| row(&[Some(&position.to_be_bytes()), Some(b"x")])).collect();
        let contents = |order: &[usize]| {
            let bytes = order.iter().flat_map(|&number| rows[number].clone()).collect();
            let mut tally = Tally::new(&columns);
            tally.batch(&Batch { bytes, rows: order.len() as u64 });
            tally.contents()
        };
        let found = contents(&[0, 1, 2]);
        assert_eq!((found.rows, found.first_position, found.last_position), (3, Some(1), Some(3)));
        assert_eq!(found, contents(&[2, 0, 1]));
        assert_ne!(found.digest, contents(&[0, 1, 1]).digest);
        assert_ne!(contents(&[0, 1, 1]).digest, contents(&[0, 0, 0]).digest);
        let differences = contents(&[0, 1]).differences(&contents(&[0, 1, 2]));
        assert_eq!(differences[..2], ["rows: 2, must be 3", "last position: 2, must be 3"]);
        assert!(differences[2].starts_with("digest: "), "{differences:?}");
    }
}
