//! What the catalog of a store does not say of how it lives: settings, open transactions, ages,
//! slots, projections, archives. Plain values, as those of the catalog.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::layout::name::QualifiedName;
use crate::layout::retention::Retention;

/// How long something may take before it is a finding, unless it is said otherwise.
pub const PATIENCE: TimeDelta = TimeDelta::minutes(5);

/// Everything that was looked at beside the catalog.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// The settings of the server and the session, by name, without their units.
    pub settings: BTreeMap<String, String>,
    /// What the role may do and see.
    pub role: Role,
    /// The sequences that positions come from.
    pub sequences: Vec<Sequence>,
    /// The position of the last event, where it was cheap to find.
    pub last_event: Option<i64>,
    /// Transactions that are open for longer than [`Health::patience`].
    pub transactions: Vec<Transaction>,
    /// The oldest tables, oldest first.
    pub ages: Vec<Age>,
    /// Replication slots of the database and of whole servers.
    pub slots: Vec<Slot>,
    /// The projections.
    pub projections: Vec<Projection>,
    /// Whether positions can be settled, as a projection would find out.
    pub unsettled: Option<String>,
    /// Archives whose files were proven.
    pub archives: Vec<Archive>,
    /// Runs that can be gone on with.
    pub operations: Vec<Operation>,
    /// How long events are to stay.
    pub keeps: Keeps,
    /// Leaves whose time is over, and that hold events.
    pub due: Vec<QualifiedName>,
    /// Months that were closed and have lost their CHECK.
    pub unsealed: Vec<String>,
    /// The clock of this machine, when that of the server was read.
    pub here: DateTime<Utc>,
    /// How long transactions may be open, and projections lag, without being told of.
    pub patience: TimeDelta,
    /// What could not be looked at.
    pub unseen: Vec<Unseen>,
}

impl Default for Health {
    /// Nothing that anything could be said of.
    fn default() -> Self {
        Self {
            settings: BTreeMap::new(),
            role: Role::default(),
            sequences: Vec::new(),
            last_event: None,
            transactions: Vec::new(),
            ages: Vec::new(),
            slots: Vec::new(),
            projections: Vec::new(),
            unsettled: None,
            archives: Vec::new(),
            operations: Vec::new(),
            keeps: Keeps::default(),
            due: Vec::new(),
            unsealed: Vec::new(),
            here: DateTime::UNIX_EPOCH,
            patience: PATIENCE,
            unseen: Vec::new(),
        }
    }
}

impl Health {
    /// A setting that is a number.
    #[must_use]
    pub fn number(&self, setting: &str) -> Option<i64> {
        self.settings.get(setting)?.parse().ok()
    }

    /// Whether a setting is there and off.
    #[must_use]
    pub fn is_off(&self, setting: &str) -> bool {
        self.settings.get(setting).is_some_and(|value| value == "off")
    }
}

/// What the role may do and see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Whether it sees what sessions of others do (`pg_read_all_stats`).
    pub sees_sessions: bool,
}

impl Default for Role {
    fn default() -> Self {
        Self { sees_sessions: true }
    }
}

/// A sequence from which positions are drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Its name.
    pub name: QualifiedName,
    /// How many values a session draws at a time.
    pub cache: i64,
    /// How far apart they are.
    pub increment: i64,
    /// Whether it begins anew at its end.
    pub cycle: bool,
    /// The last value that can be drawn.
    pub maximum: i64,
    /// The last one that was; none before the first, and where the role may not know.
    pub last: Option<i64>,
    /// Whether the role may know.
    pub readable: bool,
}

/// A transaction that is open for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Who it is, in words.
    pub who: String,
    /// Its process; a prepared transaction has none.
    pub pid: Option<i32>,
    /// The name of the prepared transaction, where it is one.
    pub prepared: Option<String>,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Whether it may have drawn positions, so that projections wait for it.
    pub writes: bool,
    /// How many transactions have begun since it holds back VACUUM; none where it does not.
    pub holds_back: Option<i64>,
}

/// How many transactions ago a table was frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Age {
    /// The table.
    pub name: QualifiedName,
    /// Age of its oldest transaction number.
    pub transactions: i64,
    /// Age of its oldest multixact number.
    pub multixacts: i64,
}

/// A replication slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Whether somebody reads from it.
    pub active: bool,
    /// What became of the log that it needs: `reserved`, `extended`, `unreserved`, `lost`.
    pub log: Option<String>,
    /// How much of the log it keeps, in bytes.
    pub retained: Option<i64>,
    /// Whether it is of this database, so that archives wait for it.
    pub logical: bool,
}

/// What a projection does.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// Its name.
    pub name: String,
    /// In one word.
    pub state: ProjectionState,
    /// How far it is.
    pub position: i64,
    /// How many positions that is behind the end of the store.
    pub behind: i64,
    /// How old the oldest event is that it has not handled; none where that is not known.
    pub oldest: Option<TimeDelta>,
    /// When its slowest row moved last.
    pub moved_at: Option<DateTime<Utc>>,
    /// Since when nobody may work on it.
    pub paused_at: Option<DateTime<Utc>>,
    /// Events that it could not handle, or that wait for such.
    pub dead_letters: i64,
    /// The last error.
    pub error: Option<String>,
    /// What is wrong with its rows.
    pub problem: Option<String>,
}

/// What a projection does, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProjectionState {
    /// Another library keeps it.
    Foreign,
    /// Nobody may work on it.
    Paused,
    /// Its slots are being changed.
    Draining,
    /// The last batch of a slot failed.
    Failing,
    /// A worker is connected.
    Running,
    /// No worker is connected.
    Idle,
}

/// An archive whose files were proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// Its name.
    pub name: String,
    /// Where its folder is to be.
    pub path: String,
    /// Whether its rows are nowhere else.
    pub only_copy: bool,
    /// What was found there.
    pub files: ArchiveFiles,
}

/// What was found of an archive on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveFiles {
    /// Nothing: not even the folder in which archives lie.
    Elsewhere,
    /// The folder of archives, and not this one in it.
    Missing,
    /// Files that are not as the manifest says.
    Altered(String),
    /// All files in their sizes; when they were proven last.
    There(Option<DateTime<Utc>>),
}

/// A run that was interrupted, or failed, and can be gone on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its number.
    pub id: i64,
    /// The command.
    pub command: String,
    /// What it was busy with.
    pub subject: Option<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// `failed` or `interrupted`.
    pub outcome: String,
}

/// How long events are to stay in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keeps {
    /// Those of contexts that have no time of their own.
    pub all: Option<Retention>,
    /// Those of single contexts; none is forever.
    pub contexts: BTreeMap<String, Option<Retention>>,
}

impl Keeps {
    /// How long the events of a context stay; none is forever.
    #[must_use]
    pub fn of(&self, context: Option<&str>) -> Option<Retention> {
        context.and_then(|name| self.contexts.get(name)).copied().unwrap_or(self.all)
    }
}

/// Something that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// The area that nobody can say of that it is well.
    pub area: &'static str,
    /// What, in words that complete "could not look at".
    pub what: &'static str,
    /// Why.
    pub why: String,
    /// What helps.
    pub hint: Option<String>,
    /// Whether the role lacks a right, so that nothing is wrong with the store.
    pub forbidden: bool,
}
