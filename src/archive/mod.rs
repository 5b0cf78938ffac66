//! Files of rows: a table is written into a folder that explains itself, read back, and proven.
//!
//! ```text
//! COPY … TO STDOUT ──▶ write ──▶ rows.parquet ──▶ Reader ──▶ prove
//!                                rows.copy.zst          └──▶ Stream ──▶ COPY … FROM STDIN
//! ```
//!
//! Nothing here holds a session. [`select`] has the statements, whose rows come in as the stream
//! of a binary COPY and go out as one. [`folder`] makes an archive appear under its name when all
//! of it is on the disk, and [`manifest`] says what it holds, with the digest that the server
//! computed of the table ([`digest`]).

pub(crate) mod checksum;
pub mod column;
pub mod contents;
mod copy;
pub mod digest;
pub mod folder;
mod glance;
mod instant;
pub mod manifest;
mod parquet;
mod read;
mod restore;
pub mod select;
mod source;
mod stream;
mod wire;
mod write;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub use read::{Reader, prove};
pub use restore::restore_sql;
pub use stream::{Piece, Stream};
pub use wire::{Batch, Row};
pub use write::{Settings, Written, write};

/// In which form the rows are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Parquet with zstd, for DuckDB, Polars, Spark and others.
    #[default]
    Parquet,
    /// PostgreSQL's binary COPY with zstd, which psql alone can take in.
    Copy,
}

impl Format {
    /// The name of the file with the rows.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Parquet => "rows.parquet",
            Self::Copy => "rows.copy.zst",
        }
    }
}

/// The names that options and manifests use.
impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Parquet => "parquet",
            Self::Copy => "copy",
        })
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "parquet" => Ok(Self::Parquet),
            "copy" => Ok(Self::Copy),
            _ => Err(Error::invalid(format!("there is no format `{text}`"))
                .hint("write parquet or copy")),
        }
    }
}
