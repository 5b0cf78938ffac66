//! The format `parquet`: typed columns in groups of rows, compressed with zstd page by page.
//!
//! The file explains itself: its metadata hold the columns with their PostgreSQL types. Where
//! PostgreSQL and Parquet differ, the value is one that DuckDB reads as what it is, and that comes
//! back as it was: see [`value`]. What a file cannot hold is refused, never changed.

mod decode;
mod encode;
mod schema;
mod value;

pub(super) use decode::Decoder;
pub(super) use encode::Encoder;

/// Faster than zstd's usual 3, and pages of events become smaller (50.4 MB for 52.1 MB).
pub(super) const LEVEL: i32 = 1;

/// The number of this way to put PostgreSQL's values into Parquet, in the metadata of a file.
const FORM: &str = "1";

/// The keys of the metadata.
const FORM_KEY: &str = "pupctl.form";
const COLUMNS_KEY: &str = "pupctl.columns";
