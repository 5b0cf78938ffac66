//! Rows of checkpoints, and the projections that they make up.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use postgres::{GenericClient, Row};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::render::environment::{render, values};

/// How many names an error lists.
const LISTED_MAX: usize = 20;

/// A row of `projection_checkpoints`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checkpoint {
    /// Its key, `projection_name`.
    pub row: String,
    /// Everything up to here was handled.
    pub position: i64,
    /// When it was written last.
    pub updated_at: Option<DateTime<Utc>>,
    /// Whether that was a moment ago, by the server's clock.
    #[serde(skip)]
    pub recent: bool,
    /// What pupctl keeps with it; none in the rows of other libraries.
    #[serde(flatten)]
    pub slot: Option<Slot>,
}

/// What pupctl keeps with the checkpoint of a slot.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slot {
    /// The projection.
    pub projection: String,
    /// Which slot…
    pub slot: i32,
    /// … of how many …
    pub slots: i32,
    /// … by which hash.
    pub slot_hash: String,
    /// How often the slots were changed.
    pub epoch: i32,
    /// The contexts that it reads; empty for all.
    pub bounded_contexts: Vec<String>,
    /// The types of aggregates that it reads; empty for all.
    pub aggregate_types: Vec<String>,
    /// The tables that it fills.
    pub read_model: Vec<String>,
    /// Since when nobody may work on it.
    pub paused_at: Option<DateTime<Utc>>,
    /// Nobody moves beyond this while the slots are changed.
    pub drain_to: Option<i64>,
    /// Whether some of its events may be among the dead letters.
    pub parked: bool,
    /// When its dead letters are to be handled again.
    pub replay_at: Option<DateTime<Utc>>,
    /// Who worked on it last.
    pub worker: Option<String>,
    /// How many events were handled in all.
    pub events_handled: i64,
    /// How many a second in the last batch.
    pub events_per_second: f32,
    /// The last failure, until a batch succeeds.
    pub last_error: Option<String>,
    /// When that was.
    pub failed_at: Option<DateTime<Utc>>,
    /// At which event.
    pub failed_position: Option<i64>,
}

/// The rows of one projection, in the order of its slots; or one row of another library, which
/// alone knows what belongs together.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// Its name.
    pub name: String,
    /// Its rows, never none.
    pub checkpoints: Vec<Checkpoint>,
}

/// Reads all rows. Without the columns of slots all are those of other libraries.
pub fn read(
    client: &mut impl GenericClient,
    checkpoints: &QualifiedName,
    extended: bool,
) -> Result<Vec<Checkpoint>> {
    let sql = render("projection/control/checkpoints", &values! { checkpoints, extended });
    let rows = client
        .query(&sql, &[])
        .map_err(|error| Error::database("reading the checkpoints of projections", error))?;
    Ok(rows
        .iter()
        .map(|row| Checkpoint {
            row: row.get("name"),
            position: row.get("position"),
            updated_at: row.get("updated_at"),
            recent: row.get("recent"),
            slot: extended.then(|| slot(row)).flatten(),
        })
        .collect())
}

/// None where one of the columns that say so is NULL.
fn slot(row: &Row) -> Option<Slot> {
    let texts = |column: &str| row.get::<_, Option<Vec<String>>>(column).unwrap_or_default();
    Some(Slot {
        projection: row.get::<_, Option<String>>("projection")?,
        slot: row.get::<_, Option<i32>>("slot")?,
        slots: row.get::<_, Option<i32>>("slots")?,
        slot_hash: row.get::<_, Option<String>>("slot_hash")?,
        epoch: row.get::<_, Option<i32>>("epoch")?,
        bounded_contexts: texts("bounded_contexts"),
        aggregate_types: texts("aggregate_types"),
        read_model: texts("read_model"),
        paused_at: row.get("paused_at"),
        drain_to: row.get("drain_to"),
        parked: row.get::<_, Option<bool>>("parked").unwrap_or(false),
        replay_at: row.get("replay_at"),
        worker: row.get("worker"),
        events_handled: row.get::<_, Option<i64>>("events_handled").unwrap_or(0),
        events_per_second: row.get::<_, Option<f32>>("events_per_second").unwrap_or(0.0),
        last_error: row.get("last_error"),
        failed_at: row.get("failed_at"),
        failed_position: row.get("failed_position"),
    })
}

/// Puts the rows of each projection together, those of pupctl first, by name.
#[must_use]
pub fn projections(rows: Vec<Checkpoint>) -> Vec<Projection> {
    let mut found: BTreeMap<(bool, String), Vec<Checkpoint>> = BTreeMap::new();
    for row in rows {
        let name = row.slot.as_ref().map_or(&row.row, |slot| &slot.projection).clone();
        found.entry((row.slot.is_none(), name)).or_default().push(row);
    }
    let sorted = found.into_iter().map(|((_, name), mut checkpoints)| {
        checkpoints.sort_by_key(|checkpoint| checkpoint.slot.as_ref().map(|slot| slot.slot));
        Projection { name, checkpoints }
    });
    sorted.collect()
}

impl Projection {
    /// What pupctl keeps with the first row: but for how far each slot is, all rows say the same.
    #[must_use]
    pub fn slot(&self) -> Option<&Slot> {
        self.checkpoints.first().and_then(|checkpoint| checkpoint.slot.as_ref())
    }

    /// Whether another library keeps it.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.slot().is_none()
    }

    /// How far it is: where its last slot is.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.checkpoints.iter().map(|checkpoint| checkpoint.position).min().unwrap_or(0)
    }

    /// The slots of its rows.
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.checkpoints.iter().filter_map(|checkpoint| checkpoint.slot.as_ref())
    }

    /// Whether nobody may work on it.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.slots().any(|slot| slot.paused_at.is_some())
    }

    /// Up to where it goes while its slots are changed.
    #[must_use]
    pub fn drain_to(&self) -> Option<i64> {
        self.slots().find_map(|slot| slot.drain_to)
    }

    /// Its rows by their keys.
    #[must_use]
    pub fn rows(&self) -> Vec<String> {
        self.checkpoints.iter().map(|checkpoint| checkpoint.row.clone()).collect()
    }

    /// What is wrong with the rows, where they do not make up one projection.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let first = self.slot()?;
        let same = |slot: &Slot| {
            (slot.slots, &slot.slot_hash, slot.epoch)
                == (first.slots, &first.slot_hash, first.epoch)
        };
        if !self.slots().all(same) {
            return Some("its rows do not agree on slots, hash and epoch".to_owned());
        }
        let missing: Vec<_> = (0..first.slots)
            .filter(|number| !self.slots().any(|slot| slot.slot == *number))
            .map(|number| number.to_string())
            .collect();
        if missing.is_empty() {
            return None;
        }
        Some(format!("slots without a row: {}", missing.join(", ")))
    }
}

/// Whether a row of another library may be one of this projection: pupsourcing's are called by its
/// name, or `name_p3`.
#[must_use]
pub fn is_foreign_row_of(row: &Checkpoint, projection: &str) -> bool {
    let is_partition = |rest: &str| {
        let number = rest.strip_prefix("_p").unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    row.slot.is_none()
        && row
            .row
            .strip_prefix(projection)
            .is_some_and(|rest| rest.is_empty() || is_partition(rest))
}

/// What fails, and which rows: an error that many slots have stands there once.
pub fn failures<'a>(rows: impl Iterator<Item = &'a Checkpoint>) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in rows {
        let Some(error) = row.slot.as_ref().and_then(|slot| slot.last_error.as_deref()) else {
            continue;
        };
        match found.iter_mut().find(|(known, _)| *known == error) {
            Some((_, names)) => names.push(&row.row),
            None => found.push((error, vec![&row.row])),
        }
    }
    found
}

/// The rows that other libraries may have of a projection.
#[must_use]
pub fn foreign_rows(rows: &[Checkpoint], projection: &str) -> Vec<String> {
    let is_one = |row: &&Checkpoint| is_foreign_row_of(row, projection);
    let mut names: Vec<_> = rows.iter().filter(is_one).map(|row| row.row.clone()).collect();
    names.sort();
    names
}

/// The projection by a name.
#[must_use]
pub fn find<'a>(projections: &'a [Projection], name: &str) -> Option<&'a Projection> {
    projections.iter().find(|projection| !projection.is_foreign() && projection.name == name)
}

/// Nobody is called so.
#[must_use]
pub fn unknown(name: &str, projections: &[Projection]) -> Error {
    let error = Error::refused(format!("there is no projection {name}"));
    if projections.is_empty() {
        return error.hint(
            "there is none at all: workers make their rows when they start, or projections \
                   init does",
        );
    }
    let mut names: Vec<_> = projections.iter().map(|known| known.name.clone()).collect();
    let more = names.len().saturating_sub(LISTED_MAX);
    names.truncate(LISTED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    error
        .detail(format!("there are {}{more}", names.join(", ")))
        .hint("see them all: pupctl projections list")
}

/// Its rows, some of these, are those of another library.
#[must_use]
pub fn foreign(name: &str, rows: &[Checkpoint], why: &str) -> Error {
    let others: Vec<_> = rows.iter().filter(|row| row.slot.is_none()).collect();
    let command = adopt_command(name, others.iter().map(|row| row.row.as_str()));
    Error::refused(format!("the checkpoints of {name} are those of another library: {why}"))
        .detail(format!("the rows are called {}", foreign_rows(rows, name).join(", ")))
        .hint(format!("stop its workers and take it over: {command}"))
}

/// Which partition of which projection of pupsourcing's may have a row of this name.
#[must_use]
pub fn partition_of(row: &str) -> Option<(&str, u32)> {
    let (projection, key) = row.rsplit_once("_p")?;
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
    if projection.is_empty() || !is_key {
        return None;
    }
    Some((projection, key.parse().ok()?))
}

/// The command that takes a projection over, by the rows of other libraries: with their number, and
/// the whole projection where the name is that of one of several partitions.
#[must_use]
pub fn adopt_command<'a>(name: &str, rows: impl Iterator<Item = &'a str>) -> String {
    let partitions: Vec<_> = rows.filter_map(partition_of).collect();
    let of = |projection: &str| {
        let keys = partitions.iter().filter(|(base, _)| *base == projection);
        keys.map(|(_, key)| key.saturating_add(1)).max()
    };
    let whole = partition_of(name).and_then(|(base, _)| {
        let total = of(base).filter(|total| *total > 1)?;
        Some((base, total))
    });
    let (base, total) = whole.unwrap_or_else(|| (name, of(name).unwrap_or(1)));
    let base = crate::render::quote::shell_word(base);
    format!("pupctl projections adopt {base} --total {total}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, slot: Option<(&str, i32, i32)>) -> Checkpoint {
        let slot = slot.map(|(projection, slot, slots)| Slot {
            projection: projection.to_owned(),
            slot,
            slots,
            slot_hash: "hashtextextended".to_owned(),
            epoch: 1,
            bounded_contexts: Vec::new(),
            aggregate_types: Vec::new(),
            read_model: Vec::new(),
            paused_at: None,
            drain_to: None,
            parked: false,
            replay_at: None,
            worker: None,
            events_handled: 0,
            events_per_second: 0.0,
            last_error: None,
            failed_at: None,
            failed_position: None,
        });
        let position = 10;
        Checkpoint { row: name.to_owned(), position, updated_at: None, recent: false, slot }
    }

    #[test]
    fn rows_make_up_projections() {
        let found = projections(vec![
            row("totals", None),
            row("orders:10/11", Some(("orders", 10, 11))),
            row("orders:2/11", Some(("orders", 2, 11))),
            row("carts", Some(("carts", 0, 1))),
        ]);
        let names: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["carts", "orders", "totals"]);
        assert_eq!(found[1].rows(), ["orders:2/11", "orders:10/11"]);
        let missing = "slots without a row: 0, 1, 3, 4, 5, 6, 7, 8, 9";
        assert_eq!(found[1].problem().as_deref(), Some(missing));
        assert_eq!(found[0].problem(), None);
        assert!(found[2].is_foreign());
    }

    #[test]
    fn a_whole_projection_is_taken_over() {
        let command = |name: &str, rows: &[&str]| adopt_command(name, rows.iter().copied());
        let four = ["a_p0", "a_p1", "a_p2", "a_p3", "a", "a_pb_p7"];
        for name in ["a", "a_p2"] {
            assert_eq!(command(name, &four), "pupctl projections adopt a --total 4");
        }
        let one = "pupctl projections adopt a --total 1";
        assert_eq!(command("a", &["a", "b_p1"]), one);
        let alone = "pupctl projections adopt a_p0 --total 1";
        assert_eq!(command("a_p0", &["a_p0"]), alone);
    }

    #[test]
    fn rows_of_pupsourcing_are_known_by_their_names() {
        let is = |name: &str| is_foreign_row_of(&row(name, None), "orders");
        for name in ["orders", "orders_p0", "orders_p12"] {
            assert!(is(name), "{name}");
        }
        for name in ["order", "orders_p", "orders_px", "orders_p1x", "orders2", "my_orders"] {
            assert!(!is(name), "{name}");
        }
        assert!(!is_foreign_row_of(&row("orders", Some(("orders", 0, 1))), "orders"));
    }
}
