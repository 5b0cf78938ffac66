//! The fence: may the events of a leaf leave? Not before every projection and every replication
//! slot has read them, nor while somebody may still add to them.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::error::Error;
use crate::layout::name::QualifiedName;
use crate::render;

use super::holder::Holder;

/// What stands in the way of a leaf that is to leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fence {
    /// The leaf.
    pub leaf: QualifiedName,
    /// The position of its last event; none where it is empty.
    pub last_position: Option<i64>,
    /// Who has not passed that position.
    pub laggards: Vec<Laggard>,
    /// Who has not passed it either, and was to be ignored, in words.
    pub ignored: Vec<String>,
    /// Aggregates whose later versions lie elsewhere, where that was asked.
    pub split_streams: Option<SplitStreams>,
}

/// Somebody who has not passed the last event of a leaf.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Laggard {
    /// A row of `projection_checkpoints`, whoever wrote it.
    Projection {
        /// Its name.
        name: String,
        /// Where it is.
        position: i64,
        /// How many positions before the last event.
        behind: i64,
        /// When it moved last.
        moved_at: Option<DateTime<Utc>>,
        /// What removes a dead one: a statement, or pupctl's command for a projection of its own.
        remove: String,
        /// The projection, where the row is that of one of its slots.
        #[serde(skip_serializing_if = "Option::is_none")]
        projection: Option<String>,
    },
    /// Events of the leaf that a projection has put aside, because it could not handle them.
    DeadLetters {
        /// The projection.
        projection: String,
        /// How many.
        events: i64,
        /// The position of the first.
        position: i64,
    },
    /// A logical replication slot of this database.
    Slot {
        /// Its name.
        name: String,
        /// Whether somebody reads from it at the moment.
        active: bool,
        /// Whether the server still has what it needs; `lost` never comes back.
        log: Option<String>,
        /// What it has confirmed.
        confirmed: String,
        /// How many bytes of log lie between that and what it has to pass.
        behind_bytes: i64,
        /// The statement that drops a dead one.
        remove: String,
    },
    /// Transactions that may still add events below the last one.
    Unsettled {
        /// The position up to which they may.
        position: i64,
        /// Them.
        holders: Vec<Holder>,
    },
    /// Events with positions that the sequence has not reached.
    AheadOfSequence {
        /// Where the sequence is.
        position: i64,
    },
}

/// A row of `projection_checkpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its name.
    pub name: String,
    /// The projection of which it is a slot, where pupctl works on it.
    pub projection: Option<String>,
    /// Where it is.
    pub position: i64,
    /// When it moved last.
    pub moved_at: Option<DateTime<Utc>>,
}

/// Aggregates of which the leaf holds a part, and whose later versions lie elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitStreams {
    /// How many.
    pub total: i64,
    /// Some of them.
    pub examples: Vec<SplitStream>,
    /// Whether they may be split.
    pub allowed: bool,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitStream {
    /// Its context.
    pub bounded_context: String,
    /// Its type.
    pub aggregate_type: String,
    /// Its id.
    pub aggregate_id: String,
    /// Its last version in the leaf.
    pub last_version: i64,
    /// Its current version.
    pub head: i64,
}

impl Laggard {
    /// Of a row of the checkpoints that is behind the last position.
    #[must_use]
    pub fn projection(
        checkpoints: &QualifiedName,
        letters: Option<&QualifiedName>,
        row: Checkpoint,
        last: i64,
    ) -> Self {
        let Checkpoint { name, projection, position, moved_at } = row;
        // The slots of a projection are there together or not at all.
        let remove = match &projection {
            Some(projection) => format!("pupctl projections delete {}", word(projection)),
            None => render::forget_projection(checkpoints, letters, &name),
        };
        let behind = last.saturating_sub(position);
        Self::Projection { name, position, behind, moved_at, remove, projection }
    }

    /// One line that says who it is, where it is, and how to be rid of it.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Projection { name, position, behind, moved_at, remove, projection } => {
                let moved = moved_at.map_or_else(String::new, |moved| {
                    format!(", and moved last at {}", moved.format("%F %T UTC"))
                });
                format!(
                    "the projection {name} is at position {position}, {behind} behind{moved}; if \
                     it is dead: {remove} or --ignore-projection {}",
                    word(projection.as_ref().unwrap_or(name))
                )
            }
            Self::DeadLetters { projection, events, position } => {
                let are = if *events == 1 { "event is" } else { "events are" };
                let of = word(projection);
                format!(
                    "{events} {are} among the dead letters of the projection {projection}, the \
                     first at position {position}: pupctl projections dead-letters replay|discard \
                     {of} --all, or --ignore-projection {of}"
                )
            }
            Self::Slot { name, active, log, confirmed, behind_bytes, remove } => {
                let state = match (log.as_deref(), active) {
                    (Some("lost"), _) => "lost",
                    (_, true) => "active",
                    (_, false) => "inactive",
                };
                format!(
                    "the replication slot {name} ({state}) has confirmed {confirmed}, \
                     {behind_bytes} bytes behind; if it is dead: {remove} or --ignore-slot {}",
                    word(name)
                )
            }
            Self::Unsettled { position, holders } => {
                let holders: Vec<_> = holders.iter().map(ToString::to_string).collect();
                format!(
                    "events up to position {position} may still appear, from {}",
                    holders.join("; ")
                )
            }
            Self::AheadOfSequence { position } => format!(
                "the sequence of positions is at {position}, before the last event: what it gives \
                 out next lies below, and projections would not look for it"
            ),
        }
    }
}

impl Fence {
    /// Whether nothing stands in the way.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.refusal().is_none()
    }

    /// Why the leaf may not leave: one line for each laggard, and what helps.
    #[must_use]
    pub fn refusal(&self) -> Option<Error> {
        let split = self.split_streams.as_ref().filter(|split| split.total > 0 && !split.allowed);
        let last = self.last_position?;
        if self.laggards.is_empty() && split.is_none() {
            return None;
        }
        let lines = self.laggards.iter().map(Laggard::words);
        let message = if self.laggards.is_empty() {
            format!("aggregates of {} go on elsewhere", self.leaf)
        } else {
            format!("not everybody has passed position {last}, the last event of {}", self.leaf)
        };
        let hint = match (self.laggards.is_empty(), split) {
            (false, None) => "let them catch up, then run the command again",
            (true, _) => {
                "their streams would begin in the middle; if readers can do with that: \
                 --allow-split-streams"
            }
            (false, Some(_)) => {
                "let them catch up, then run the command again; streams that may begin in the \
                 middle: --allow-split-streams"
            }
        };
        let split = split.into_iter().flat_map(SplitStreams::lines);
        Some(Error::refused(message).details(lines).details(split).hint(hint))
    }
}

impl SplitStreams {
    /// How many there are, and some of them.
    fn lines(&self) -> Vec<String> {
        let plural = if self.total == 1 { "aggregate goes" } else { "aggregates go" };
        let mut lines = vec![format!("{} {plural} on after its last event there", self.total)];
        lines.extend(self.examples.iter().map(|example| {
            format!(
                "{}/{}/{} ends there at version {}, and is at {}",
                example.bounded_context,
                example.aggregate_type,
                example.aggregate_id,
                example.last_version,
                example.head
            )
        }));
        lines
    }
}

/// A word as a shell takes it.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:/@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence() -> Fence {
        Fence {
            leaf: QualifiedName::new("public", "events_2026_01"),
            last_position: Some(5000),
            laggards: Vec::new(),
            ignored: Vec::new(),
            split_streams: None,
        }
    }

    #[test]
    fn every_laggard_has_a_line_that_says_how_to_be_rid_of_it() {
        let checkpoints = QualifiedName::new("public", "projection_checkpoints");
        let moved = "2026-02-03T04:05:06Z".parse().ok();
        let name = "it's \"old\"_p3".to_owned();
        let row = Checkpoint { name, projection: None, position: 4711, moved_at: moved };
        let letters = QualifiedName::new("public", "projection_dead_letters");
        let projection = Laggard::projection(&checkpoints, Some(&letters), row, 5000);
        let slot = Laggard::Slot {
            name: "debezium".to_owned(),
            active: false,
            log: Some("extended".to_owned()),
            confirmed: "0/16B3748".to_owned(),
            behind_bytes: 4096,
            remove: render::drop_slot("debezium"),
        };
        let fence = Fence { laggards: vec![projection, slot], ..fence() };
        let error = fence.refusal().expect("a refusal");
        let message = "not everybody has passed position 5000, the last event of";
        assert_eq!(error.message(), format!("{message} public.events_2026_01"));
        let lines =
            error.detail_lines().join("\n").replace(" WHERE", "\nWHERE").replace("; ", ";\n");
        let lines = lines.replace(" AND NOT", "\nAND NOT");
        insta::assert_snapshot!(lines.replace(", ", ",\n"), @r#"
        the projection it's "old"_p3 is at position 4711,
        289 behind,
        and moved last at 2026-02-03 04:05:06 UTC;
        if it is dead: WITH letters AS (DELETE FROM "public"."projection_dead_letters"
        WHERE projection = 'it''s "old"_p3'
        AND NOT EXISTS (SELECT FROM "public"."projection_checkpoints"
        WHERE projection = 'it''s "old"_p3')) DELETE FROM "public"."projection_checkpoints"
        WHERE projection_name = 'it''s "old"_p3';
        or --ignore-projection 'it'\''s "old"_p3'
        the replication slot debezium (inactive) has confirmed 0/16B3748,
        4096 bytes behind;
        if it is dead: SELECT pg_catalog.pg_drop_replication_slot('debezium');
        or --ignore-slot debezium
        "#);
    }

    #[test]
    fn a_slot_is_told_with_the_commands_for_its_projection() {
        let checkpoints = QualifiedName::new("public", "projection_checkpoints");
        let row = Checkpoint {
            name: "it's:0/4".to_owned(),
            projection: Some("it's".to_owned()),
            position: 4711,
            moved_at: None,
        };
        let slot = Laggard::projection(&checkpoints, None, row, 5000);
        let letters =
            Laggard::DeadLetters { projection: "orders".to_owned(), events: 3, position: 17 };
        let one = Laggard::DeadLetters { projection: "it's".to_owned(), events: 1, position: 17 };
        let lines: Vec<_> = [slot, letters, one].iter().map(Laggard::words).collect();
        let lines = lines
            .join("\n")
            .replace("; ", ";\n")
            .replace(": pup", ":\npup")
            .replace(", or ", ",\nor ");
        insta::assert_snapshot!(lines, @r"
        the projection it's:0/4 is at position 4711, 289 behind;
        if it is dead:
        pupctl projections delete 'it'\''s' or --ignore-projection 'it'\''s'
        3 events are among the dead letters of the projection orders, the first at position 17:
        pupctl projections dead-letters replay|discard orders --all,
        or --ignore-projection orders
        1 event is among the dead letters of the projection it's, the first at position 17:
        pupctl projections dead-letters replay|discard 'it'\''s' --all,
        or --ignore-projection 'it'\''s'
        ");
    }

    #[test]
    fn split_streams_refuse_unless_they_are_allowed() {
        let example = SplitStream {
            bounded_context: "Billing".to_owned(),
            aggregate_type: "Invoice".to_owned(),
            aggregate_id: "17".to_owned(),
            last_version: 3,
            head: 5,
        };
        let split =
            |allowed| Some(SplitStreams { total: 1, examples: vec![example.clone()], allowed });
        let refused = Fence { split_streams: split(false), ..fence() }.refusal();
        insta::assert_snapshot!(refused.expect("a refusal").detail_lines().join("\n"), @"
        1 aggregate goes on after its last event there
        Billing/Invoice/17 ends there at version 3, and is at 5
        ");
        assert!(Fence { split_streams: split(true), ..fence() }.is_open());
        assert!(fence().is_open());
    }
}
