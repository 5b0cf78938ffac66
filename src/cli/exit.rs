//! Exit codes, all in one place.

use std::process::ExitCode;

use crate::error::Kind;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done,
    /// Failed, or refused by a fence.
    Failed,
    /// Usage or configuration; a question without a terminal and without `--yes`.
    Usage,
    /// Changes pending or problems found, with `--exit-code`.
    Found,
    /// Another pupctl holds the lock of the store.
    Busy,
    /// Locks on tables not obtained within the budget.
    Locks,
    /// Interrupted by a signal.
    Interrupted,
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Found => 3,
            Self::Busy => 4,
            Self::Locks => 5,
            Self::Interrupted => 130,
        }
    }
}

impl From<Kind> for Exit {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Invalid => Self::Usage,
            Kind::Busy => Self::Busy,
            Kind::LockTimeout => Self::Locks,
            Kind::Interrupted => Self::Interrupted,
            Kind::Refused | Kind::Connection | Kind::Database | Kind::System => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
