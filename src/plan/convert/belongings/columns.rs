//! The columns of the table, and the sequences behind them.

use crate::catalog::surroundings::{Column, Sequence};
use crate::layout::Role;

use super::{Belonging, Examined, Mend};

/// A column as every store has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreColumn {
    /// Its name.
    pub name: &'static str,
    /// Its type, as `format_type` prints it.
    pub data_type: &'static str,
    /// Whether it refuses NULL.
    pub not_null: bool,
    /// Its default, as the server prints it; that of positions is a sequence.
    pub default: Option<&'static str>,
}

const fn column(
    name: &'static str,
    data_type: &'static str,
    not_null: bool,
    default: Option<&'static str>,
) -> StoreColumn {
    StoreColumn { name, data_type, not_null, default }
}

const TIME: &str = "timestamp with time zone";

const EVENTS: [StoreColumn; 14] = [
    column("global_position", "bigint", true, None),
    column("bounded_context", "text", true, None),
    column("aggregate_type", "text", true, None),
    column("aggregate_id", "text", true, None),
    column("aggregate_version", "bigint", true, None),
    column("event_id", "uuid", true, None),
    column("event_type", "text", true, None),
    column("event_version", "integer", true, Some("1")),
    column("payload", "bytea", true, None),
    column("trace_id", "text", false, None),
    column("correlation_id", "text", false, None),
    column("causation_id", "text", false, None),
    column("metadata", "jsonb", false, None),
    column("created_at", TIME, true, Some("now()")),
];

const HEADS: [StoreColumn; 5] = [
    column("bounded_context", "text", true, None),
    column("aggregate_type", "text", true, None),
    column("aggregate_id", "text", true, None),
    column("aggregate_version", "bigint", true, None),
    column("updated_at", TIME, true, Some("now()")),
];

/// The column of positions, which a sequence numbers.
const POSITION: &str = "global_position";

/// The columns that every store has, in their order.
#[must_use]
pub fn store_columns(role: Role) -> &'static [StoreColumn] {
    match role {
        Role::Events => &EVENTS,
        Role::Heads => &HEADS,
    }
}

pub(super) fn examine(examined: &Examined<'_>, found: &mut Vec<Belonging>) {
    for wanted in store_columns(examined.role) {
        match examined.surroundings.column(wanted.name) {
            Some(column) => store_column(examined, wanted, column, found),
            None => {
                let data_type = wanted.data_type.to_owned();
                let column = wanted.name.to_owned();
                let mend = Mend::AddColumn { table: examined.name(), column, data_type };
                let what = format!("the column {}", wanted.name);
                found.push(Belonging::refused(what, "it is missing", mend));
            }
        }
    }
    let is_extra =
        |column: &&Column| store_columns(examined.role).iter().all(|own| own.name != column.name);
    for column in examined.surroundings.columns.iter().filter(is_extra) {
        extra(examined, column, found);
    }
    for column in &examined.surroundings.columns {
        settings(column, found);
    }
    for sequence in &examined.surroundings.sequences {
        sequence_of(examined, sequence, found);
    }
}

/// Whether a column refuses NULL where writers of a store may leave it empty.
pub(super) fn must_take_null(role: Role, column: &Column) -> bool {
    let fills_itself =
        column.default.is_some() || !column.generated.is_empty() || !column.identity.is_empty();
    let may_be_empty = match store_columns(role).iter().find(|own| own.name == column.name) {
        Some(own) => !own.not_null,
        None => !fills_itself,
    };
    column.not_null && may_be_empty
}

fn store_column(
    examined: &Examined<'_>,
    wanted: &StoreColumn,
    column: &Column,
    found: &mut Vec<Belonging>,
) {
    let (table, name) = (examined.name(), column.name.clone());
    let what = format!("the column {name}");
    if !column.generated.is_empty() {
        let mend = Mend::DropExpression { table, column: name };
        found.push(Belonging::refused(what, "it is computed from others", mend));
        return;
    }
    if column.data_type != wanted.data_type {
        let why =
            format!("it is {}, and that of a store is {}", column.data_type, wanted.data_type);
        let data_type = wanted.data_type.to_owned();
        found.push(Belonging::refused(
            what,
            why,
            Mend::ColumnType { table, column: name, data_type },
        ));
        return;
    }
    if wanted.not_null && !column.not_null {
        let mend = Mend::ColumnNotNull { table: table.clone(), column: name.clone() };
        found.push(Belonging::refused(what.clone(), "it takes NULL, which no event has", mend));
    } else if must_take_null(examined.role, column) {
        let mend = Mend::ColumnNull { table: table.clone(), column: name.clone() };
        let why = "it refuses NULL, which writers of a store may leave there";
        found.push(Belonging::refused(what.clone(), why, mend));
    }
    if column.collation.is_some() {
        found.push(Belonging::carried(what.clone(), "keeps its collation"));
    }
    if !column.identity.is_empty() && name != POSITION {
        let mend = Mend::DropIdentity { table, column: name };
        found.push(Belonging::refused(what, "partitions cannot number it themselves", mend));
    } else if name == POSITION {
        position(examined, found);
    } else if let (None, Some(default)) = (&column.default, wanted.default) {
        let default = default.to_owned();
        let mend = Mend::ColumnDefault { table, column: name, default };
        found.push(Belonging::refused(what, "it has no default, and writers leave it out", mend));
    } else if column.default.as_deref() != wanted.default {
        let default = column.default.as_deref().unwrap_or("none");
        found.push(Belonging::carried(what, format!("keeps its default: {default}")));
    }
}

/// The default of positions.
fn position(examined: &Examined<'_>, found: &mut Vec<Belonging>) {
    let surroundings = examined.surroundings;
    if surroundings.sequence(POSITION).is_none() {
        let (table, column) = (examined.name(), POSITION.to_owned());
        let why = "no sequence numbers it, and without one no position is known to be settled";
        let own = surroundings.sequences.iter().find(|sequence| sequence.column == POSITION);
        let own = own.map(|sequence| sequence.name.clone());
        let mend = Mend::NewSequence { table, column, own };
        found.push(Belonging::refused(format!("the column {POSITION}"), why, mend));
    }
}

fn extra(examined: &Examined<'_>, column: &Column, found: &mut Vec<Belonging>) {
    let what = format!("the column {} {}", column.name, column.data_type);
    if !column.identity.is_empty() {
        let (table, name) = (examined.name(), column.name.clone());
        let why = "partitions cannot number it themselves";
        let mend = match examined.surroundings.sequence(&name) {
            Some(sequence) => Mend::Serial { table, column: name, sequence: sequence.name.clone() },
            None => Mend::DropIdentity { table, column: name },
        };
        found.push(Belonging::refused(what, why, mend));
        return;
    }
    if must_take_null(examined.role, column) {
        let mend = Mend::ColumnNull { table: examined.name(), column: column.name.clone() };
        let why = "it must be filled, which the writers of a store do not";
        found.push(Belonging::refused(what, why, mend));
        return;
    }
    let how = if column.generated.is_empty() {
        "the new table gets it, with its values"
    } else {
        "the new table gets it, and computes it in the same way"
    };
    found.push(Belonging::carried(what, how));
}

fn settings(column: &Column, found: &mut Vec<Belonging>) {
    let mut words = Vec::new();
    words.extend(column.statistics.map(|target| format!("statistics target {target}")));
    words.extend(column.storage.as_ref().map(|storage| format!("storage {storage}")));
    words.extend(column.compression.as_ref().map(|method| format!("compression {method}")));
    words.extend(column.options.iter().cloned());
    words.extend(column.comment.as_ref().map(|_| "comment".to_owned()));
    if !words.is_empty() {
        let what = format!("the settings of the column {} ({})", column.name, words.join(", "));
        found.push(Belonging::carried(what, "the new table and its partitions get them"));
    }
}

fn sequence_of(examined: &Examined<'_>, sequence: &Sequence, found: &mut Vec<Belonging>) {
    let what = format!("the sequence {}", sequence.name);
    let name = || sequence.name.clone();
    let is_position = sequence.column == POSITION && sequence.drawn;
    let before = found.len();
    let mut refuse = |why: &str, mend| found.push(Belonging::refused(what.clone(), why, mend));
    if is_position {
        if sequence.identity {
            let (table, column) = (examined.name(), sequence.column.clone());
            let mend = Mend::Serial { table, column, sequence: name() };
            refuse("it belongs to GENERATED … AS IDENTITY, and cannot leave its table", mend);
        }
        if sequence.data_type != "bigint" {
            refuse(
                "it ends before the numbers of 64 bits do",
                Mend::SequenceType { sequence: name() },
            );
        }
        if sequence.cache > 1 {
            let why = "CACHE lets sessions commit positions that lie below others'";
            refuse(why, Mend::SequenceCache { sequence: name() });
        }
        if sequence.increment != 1 {
            let why = "every position must be the one before plus one: holes are waited for";
            refuse(why, Mend::SequenceIncrement { sequence: name() });
        }
        if sequence.cycle {
            refuse(
                "CYCLE gives positions a second time",
                Mend::SequenceNoCycle { sequence: name() },
            );
        }
    }
    if !sequence.owned && sequence.owned_by {
        let mend = examined.rights_of(&examined.surroundings.table.owner);
        refuse("it is somebody else's", mend);
    }
    if found.len() == before && !sequence.identity {
        let how = if sequence.owned_by {
            "goes on where it is, and belongs to the new table's column"
        } else {
            "goes on where it is"
        };
        found.push(Belonging::carried(what, how));
    }
}
