//! What an archive holds, and how anybody can prove it, beside the rows as `manifest.json`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::layout::place::Place;
use crate::render::quote;

use super::Format;
use super::checksum;
use super::column::Column;
use super::contents::Contents;
use super::digest::{ALGORITHM, Digest};
use super::folder::is_plain_name;
use super::select::{SETTINGS, Selection};

/// The name of the file.
pub const FILE: &str = "manifest.json";

/// The form of manifests that this pupctl writes, and the last one that it reads.
pub const FORM: u32 = 1;

/// Which table of a store the rows are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A table of events.
    Events,
    /// A table of the current versions of aggregates.
    AggregateHeads,
}

/// What whoever archives a table knows about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// The version of the server, as `16.4`.
    pub server: String,
    /// When the rows were read, by the server's clock.
    pub archived_at: DateTime<Utc>,
    /// The database.
    pub database: String,
    /// The table.
    pub table: QualifiedName,
    /// Which table of a store it is.
    pub role: Role,
    /// Where it belongs in the table of the store.
    pub place: Place,
    /// Its columns, in the order of the rows.
    pub columns: Vec<Column>,
    /// Statements that make the table again, bare, with its schema in front of all names.
    pub ddl: Vec<String>,
    /// The layout of the store, as it is stored.
    pub layout: serde_json::Value,
}

/// How to prove the rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// How the digest is computed.
    pub algorithm: String,
    /// The digest.
    pub value: Digest,
    /// What psql runs to compute it of the table.
    pub sql: String,
}

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedFile {
    /// Its name in the folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
}

/// The manifest. What a newer pupctl adds to it without changing the form is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The number of this form.
    pub form: u32,
    /// The version of pupctl that wrote it.
    pub pupctl: String,
    /// The version of the server.
    pub server: String,
    /// When the rows were read, by the server's clock.
    pub archived_at: DateTime<Utc>,
    /// The database.
    pub database: String,
    /// The schema of the table.
    pub schema: String,
    /// The table.
    pub table: String,
    /// Which table of a store it is.
    pub role: Role,
    /// Where it belongs in the table of the store.
    pub place: Place,
    /// The form of the rows.
    pub format: Format,
    /// How they are compressed.
    pub compression: String,
    /// The columns.
    pub columns: Vec<Column>,
    /// How many rows.
    pub rows: u64,
    /// The lowest position.
    pub first_position: Option<i64>,
    /// The highest position.
    pub last_position: Option<i64>,
    /// The earliest time, as PostgreSQL prints it in UTC.
    pub first_created_at: Option<String>,
    /// The latest time.
    pub last_created_at: Option<String>,
    /// How to prove the rows.
    pub digest: Proof,
    /// The files beside the manifest; the one with the rows is the first.
    pub files: Vec<ArchivedFile>,
    /// Statements that make the table again, bare.
    pub ddl: Vec<String>,
    /// The layout of the store.
    pub layout: serde_json::Value,
    /// The SHA-256 of what it says of the rows; none where pupctl was older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

impl Manifest {
    /// The manifest of rows that were proven.
    #[must_use]
    pub fn new(
        description: &Description,
        format: Format,
        compression: String,
        contents: &Contents,
        files: Vec<ArchivedFile>,
    ) -> Self {
        let Description { table, columns, .. } = description.clone();
        let digest = Selection::all(table.clone(), columns.clone()).digest_sql();
        let sql = format!("BEGIN;\n{};\n{digest};\nROLLBACK;\n", SETTINGS.trim_end());
        let contents = contents.clone();
        let mut manifest = Self {
            form: FORM,
            pupctl: env!("CARGO_PKG_VERSION").to_owned(),
            server: description.server.clone(),
            archived_at: description.archived_at,
            database: description.database.clone(),
            schema: table.schema,
            table: table.name,
            role: description.role,
            place: description.place.clone(),
            format,
            compression,
            columns,
            rows: contents.rows,
            first_position: contents.first_position,
            last_position: contents.last_position,
            first_created_at: contents.first_created_at,
            last_created_at: contents.last_created_at,
            digest: Proof { algorithm: ALGORITHM.to_owned(), value: contents.digest, sql },
            files,
            ddl: description.ddl.clone(),
            layout: description.layout.clone(),
            checksum: None,
        };
        manifest.checksum = manifest.sealed();
        manifest
    }

    /// The SHA-256 of what it says of the rows: where they belong, what they are and how many.
    fn sealed(&self) -> Option<String> {
        let Self { schema, table, role, place, columns, rows, .. } = self;
        let positions = (self.first_position, self.last_position);
        let times = (&self.first_created_at, &self.last_created_at);
        let said = (schema, table, role, place, columns, rows, positions, times, self.digest.value);
        let text = serde_json::to_vec(&said).ok()?;
        checksum::of(text.as_slice(), |_| Ok(())).ok().map(|sealed| sealed.sha256)
    }

    /// The table that the rows are from.
    #[must_use]
    pub fn source(&self) -> QualifiedName {
        QualifiedName::new(&self.schema, &self.table)
    }

    /// What the rows hold.
    #[must_use]
    pub fn contents(&self) -> Contents {
        Contents {
            rows: self.rows,
            first_position: self.first_position,
            last_position: self.last_position,
            first_created_at: self.first_created_at.clone(),
            last_created_at: self.last_created_at.clone(),
            digest: self.digest.value,
        }
    }

    /// As it stands in the file.
    pub fn text(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self);
        let text =
            text.map_err(|error| Error::system("cannot write the manifest", error.into()))?;
        Ok(text + "\n")
    }

    /// Reads the manifest in a folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let shown = folder.display();
                if !folder.exists() {
                    return Err(Error::refused(format!("the folder {shown} is not there")).hint(
                        "where it was moved, name the folder in which it lies now: pupctl restore \
                         --from FOLDER, pupctl archive verify FOLDER",
                    ));
                }
                return Err(Error::refused(format!("{shown} is no archive: it has no {FILE}")));
            }
            Err(error) => {
                return Err(Error::system(format!("cannot read {}", path.display()), error));
            }
        };
        Self::parse(&text, &path)
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self> {
        /// All that forms have in common.
        #[derive(Deserialize)]
        struct AnyForm {
            form: Option<u32>,
        }
        let path = path.display();
        let broken = |error: serde_json::Error| {
            Error::refused(format!("{path} is no manifest of pupctl: {error}"))
                .hint("the file is damaged: take it from a copy of the archive")
        };
        let any: AnyForm = serde_json::from_slice(text).map_err(broken)?;
        match any.form {
            None | Some(0) => {
                return Err(Error::refused(format!("{path} is no manifest of pupctl")));
            }
            Some(form) if form > FORM => {
                return Err(Error::refused(format!(
                    "{path} is of form {form}, this pupctl knows forms up to {FORM}"
                ))
                .hint("use the pupctl that wrote it, or a newer one"));
            }
            Some(_) => {}
        }
        let manifest: Self = serde_json::from_slice(text).map_err(broken)?;
        manifest.validate().map_err(|error| error.context(&path))?;
        if manifest.checksum.is_some() && manifest.checksum != manifest.sealed() {
            return Err(Error::refused(format!("{path} was changed: its checksum differs"))
                .hint("take it from a copy of the archive"));
        }
        Ok(manifest)
    }

    /// Refuses what pupctl never writes, before any of it becomes a path or a statement.
    fn validate(&self) -> Result<()> {
        if let Some(column) =
            self.columns.iter().find(|column| quote::data_type(&column.data_type).is_none())
        {
            let Column { name, data_type, .. } = column;
            let what = format!("the type of column {name} reads `{data_type}`, which is none");
            return Err(Error::refused(what));
        }
        if let Some(file) = self.files.iter().find(|file| !is_plain_name(&file.name)) {
            let what = format!("`{}` is not the name of a file of an archive", file.name);
            return Err(Error::refused(what));
        }
        if !self.files.iter().any(|file| file.name == self.format.file_name()) {
            let what = format!("it does not list {}", self.format.file_name());
            return Err(Error::refused(what));
        }
        if self.digest.algorithm != ALGORITHM {
            let what = format!("it has a digest of another kind: {}", self.digest.algorithm);
            return Err(Error::refused(what).hint("use the pupctl that wrote it, or a newer one"));
        }
        Ok(())
    }
}
