//! Events on their way to the checks, many to a row.

use uuid::Uuid;

use super::encode::Rows;

/// How many events a row holds, so that it fits on a page of the server: 36 bytes each.
const EVENTS_MAX: usize = 192;

/// Events of lines that follow each other.
#[derive(Default)]
pub(super) struct Pack {
    first_line: u64,
    places: Vec<i32>,
    runs: Vec<i64>,
    versions: Vec<i64>,
    event_ids: Vec<Uuid>,
}

impl Pack {
    /// Adds the event of a line: where it goes, and of which run it is which version.
    pub(super) fn add(&mut self, line: u64, place: usize, run: i64, version: i64, id: Uuid) {
        if self.places.is_empty() {
            self.first_line = line;
        }
        self.places.push(i32::try_from(place).unwrap_or(i32::MAX));
        self.runs.push(run);
        self.versions.push(version);
        self.event_ids.push(id);
    }

    /// Whether it holds as many as it may.
    pub(super) fn is_full(&self) -> bool {
        self.places.len() >= EVENTS_MAX
    }

    /// Empties it into a row.
    pub(super) fn write(&mut self, rows: &mut Rows) {
        if self.places.is_empty() {
            return;
        }
        rows.row(5);
        rows.bigint(self.first_line.cast_signed());
        rows.integers(&self.places);
        rows.bigints(&self.runs);
        rows.bigints(&self.versions);
        rows.uuids(&self.event_ids);
        self.places.clear();
        self.runs.clear();
        self.versions.clear();
        self.event_ids.clear();
    }
}
