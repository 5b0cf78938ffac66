//! Triggers on the tables of the store, and the functions that those of pupctl call.

use crate::layout::name::QualifiedName;
use crate::layout::protection::Trigger;

/// The bits of `pg_trigger.tgtype` that pupctl's triggers have, all FOR EACH STATEMENT.
mod timing {
    pub(super) const BEFORE: i16 = 1 << 1;
    pub(super) const INSERT: i16 = 1 << 2;
    pub(super) const DELETE: i16 = 1 << 3;
    pub(super) const UPDATE: i16 = 1 << 4;
    pub(super) const TRUNCATE: i16 = 1 << 5;
}

/// The bit of triggers that fire for each row.
const ROW: i16 = 1;

/// The name under which a trigger function sees the rows that a statement added.
const ADDED: &str = "pupctl_added";

/// What the guard asks before it does anything, as the server prints it.
const UNLESS_MAINTENANCE: &str =
    "(current_setting('pupctl.maintenance'::text, true) IS DISTINCT FROM 'on'::text)";

/// A trigger of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableTrigger {
    /// Its name.
    pub name: String,
    /// The function that it calls.
    pub function: QualifiedName,
    /// When it fires, as `pg_trigger.tgtype` has it.
    pub timing: i16,
    /// Whether it fires in sessions of applications (`ENABLE`, or `ENABLE ALWAYS`).
    pub enabled: bool,
    /// The name of its transition table of new rows.
    pub added: Option<String>,
    /// Its WHEN clause.
    pub condition: Option<String>,
}

impl TableTrigger {
    /// Whether it fires for each row: partitions get such a trigger from their parent.
    #[must_use]
    pub fn is_for_rows(&self) -> bool {
        self.timing & ROW != 0
    }

    /// A trigger of pupctl on a table of the store in `schema`, as it is made.
    #[must_use]
    pub fn of(trigger: Trigger, schema: &str) -> Self {
        let inserts = trigger != Trigger::Immutable;
        let changes = timing::BEFORE | timing::UPDATE | timing::DELETE | timing::TRUNCATE;
        Self {
            name: trigger.name().to_owned(),
            function: QualifiedName::new(schema, trigger.name()),
            timing: if inserts { timing::INSERT } else { changes },
            enabled: true,
            added: inserts.then(|| ADDED.to_owned()),
            condition: (trigger == Trigger::Guard).then(|| UNLESS_MAINTENANCE.to_owned()),
        }
    }
}

/// The key table of event ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventIds {
    /// Whether it is there.
    pub there: bool,
    /// Whether it has its key.
    pub key: bool,
    /// Whether it says that the id of every stored event is in it.
    pub complete: bool,
}

/// A function behind a trigger of pupctl.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    /// The trigger that calls it.
    pub trigger: Trigger,
    /// Whether it is as this version of pupctl makes it: body, owner, rights and settings.
    pub unchanged: bool,
}
