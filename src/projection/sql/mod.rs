//! Projections that are written in SQL: a read model is a file, and no row leaves the server.
//!
//! A file has a header of comments, a part that makes the tables of the read model, and a part that
//! handles a batch: set-based statements over `batch`, a temporary table that holds exactly the
//! events of this batch.
//!
//! ```sql
//! -- name: order_totals
//! -- contexts: Sales
//! -- aggregates: Order
//! -- slots: 4
//! -- tables: order_totals
//! -- init
//! CREATE TABLE IF NOT EXISTS order_totals (order_id text PRIMARY KEY, lines bigint NOT NULL);
//! -- handle
//! INSERT INTO order_totals AS t
//! SELECT aggregate_id, count(*) FROM batch WHERE event_type = 'LineAdded' GROUP BY 1
//! ON CONFLICT (order_id) DO UPDATE SET lines = t.lines + excluded.lines;
//! ```
//!
//! [`Runner::add_sql`](super::Runner::add_sql) runs it, with all that other projections have: the
//! settled position, slots, retries, the search for an event that cannot be handled.

mod batch;
mod check;
mod file;
pub mod scaffold;
mod session;
pub mod setup;
pub mod trial;

use std::path::Path;

use ring::digest::{SHA256, digest};

use crate::archive::checksum::hexadecimal;
use crate::error::{Error, Result};
use crate::projection::definition::Scope;
use crate::render::parameters;
use crate::render::{quote, statements};

pub use crate::render::parameters::{Assignment, Parameter, Parameters};
pub(super) use batch::Size;
use file::{Source, SqlFile};
pub(super) use session::SqlSession;

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A projection that is written in SQL.
#[derive(Debug, Clone)]
pub struct SqlProjection {
    /// Where it is from, as errors show it.
    file: String,
    /// The file, with its parameters put in.
    text: String,
    parsed: SqlFile,
    definition: String,
    /// Where its tables are else, of one whose tables are elsewhere.
    home: Option<String>,
}

impl SqlProjection {
    /// Reads the text of a file. `file` is what errors call it.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with it, with file, line and column, as far as that shows without a
    /// server.
    pub fn parse(file: &str, text: &str, parameters: &Parameters) -> Result<Self> {
        let text = parameters::render(file, text, parameters)?;
        let parsed = file::parse(Source { file, text: &text })?;
        let definition = definition(&parsed);
        Ok(Self { file: file.to_owned(), text, parsed, definition, home: None })
    }

    /// Reads a file.
    pub fn read(path: &Path, parameters: &Parameters) -> Result<Self> {
        let shown = path.display().to_string();
        let failed = |error| Error::system(format!("{shown} cannot be read"), error);
        let bytes = std::fs::metadata(path).map_err(failed)?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(Error::invalid(format!(
                "{shown} has {bytes} bytes: that is no projection"
            )));
        }
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return Err(
                    Error::invalid(format!("{shown} is not UTF-8")).hint("save it as UTF-8")
                );
            }
            text => text.map_err(failed)?,
        };
        Self::parse(&shown, &text, parameters)
    }

    /// Reads the `.sql` files of a folder, by their names. Two projections of one name are refused,
    /// and two that fill the same table.
    pub fn read_folder(folder: &Path, parameters: &Parameters) -> Result<Vec<Self>> {
        let shown = folder.display();
        let failed = |error| {
            Error::system(format!("the folder {shown} cannot be read"), error)
                .hint("make a first projection: pupctl projections new order_totals")
        };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "sql") && path.is_file() {
                paths.push(path);
            }
        }
        paths.sort();
        let all: Vec<_> =
            paths.iter().map(|path| Self::read(path, parameters)).collect::<Result<_>>()?;
        refuse_doubles(&all)?;
        Ok(all)
    }

    /// Its name, under which its checkpoints are.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.parsed.name
    }

    /// The file, as errors show it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The bounded contexts that it reads; all when empty.
    #[must_use]
    pub fn contexts(&self) -> &[String] {
        &self.parsed.contexts
    }

    /// The types of aggregates that it reads; all when empty.
    #[must_use]
    pub fn aggregates(&self) -> &[String] {
        &self.parsed.aggregates
    }

    /// How many slots it begins with, where the file says so.
    #[must_use]
    pub fn slots(&self) -> Option<u32> {
        self.parsed.slots
    }

    /// The tables that it fills.
    #[must_use]
    pub fn tables(&self) -> &[String] {
        &self.parsed.tables
    }

    /// The schema of its tables; that of the store where the file says none.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        self.parsed.schema.as_deref()
    }

    /// What the file means: SHA-256 over header and statements, without comments and white space.
    #[must_use]
    pub fn definition(&self) -> &str {
        &self.definition
    }

    /// The same one under another name, with its tables in another schema.
    #[must_use]
    pub(super) fn shadow(&self, name: &str, schema: &str) -> Self {
        let mut shadow = self.clone();
        name.clone_into(&mut shadow.parsed.name);
        shadow.home = shadow.parsed.schema.replace(schema.to_owned());
        shadow
    }

    /// Its tables, as SQL names them.
    pub(super) fn read_model(&self) -> Vec<String> {
        let shown = |table: &String| match self.schema() {
            Some(schema) => format!("{}.{}", quote::shown(schema), quote::shown(table)),
            None => quote::shown(table),
        };
        self.tables().iter().map(shown).collect()
    }

    /// What it reads and fills, as its checkpoints have it.
    pub(super) fn scope(&self) -> Scope {
        Scope {
            contexts: self.contexts().to_vec(),
            types: self.aggregates().to_vec(),
            read_model: self.read_model(),
        }
    }

    fn source(&self) -> Source<'_> {
        Source { file: &self.file, text: &self.text }
    }
}

fn definition(parsed: &SqlFile) -> String {
    let SqlFile { name: _, contexts, aggregates, slots: _, schema, tables, init, handle } = parsed;
    let plain = |parts: &[file::Part]| -> Vec<String> {
        parts.iter().map(|part| statements::plain(&part.sql)).collect()
    };
    // As JSON nothing of it can run into each other.
    let whole =
        serde_json::json!([contexts, aggregates, schema, tables, plain(init), plain(handle)]);
    hexadecimal(digest(&SHA256, whole.to_string().as_bytes()).as_ref())
}

/// Refuses two of one name, and two that fill the same table.
pub(crate) fn refuse_doubles(all: &[SqlProjection]) -> Result<()> {
    for (number, one) in all.iter().enumerate() {
        for other in &all[..number] {
            if one.name() == other.name() {
                return Err(Error::invalid(format!("two files are called {}", one.name()))
                    .details([other.file.clone(), one.file.clone()])
                    .hint("give one of them another name"));
            }
            let shared = one.tables().iter().find(|table| other.tables().contains(table));
            if let Some(table) = shared.filter(|_| one.schema() == other.schema()) {
                return Err(Error::invalid(format!(
                    "{} and {} both fill the table {table}",
                    other.name(),
                    one.name()
                ))
                .details([other.file.clone(), one.file.clone()])
                .hint("a table has one projection: let the other one fill a table of its own"));
            }
        }
    }
    Ok(())
}
