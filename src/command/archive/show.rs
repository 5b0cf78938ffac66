//! `pupctl archive show`

use clap::Args;

use crate::cli::exit::Exit;
use crate::cli::output::{bytes, table};
use crate::command::context::Context;

/// Show what an archive holds, from its manifest
///
/// WHAT is a folder, or the name of an archive that the store has listed. A folder needs no server.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A folder, or the name of an archive
    #[arg(value_name = "WHAT")]
    what: String,
}

pub(super) fn run(args: &ShowArgs, context: &Context) -> anyhow::Result<Exit> {
    let archive = super::one(context, &args.what)?;
    let manifest = &archive.manifest;
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let number = |number: Option<i64>| or_none(number.map(|number| number.to_string()));
    let mut rows = vec![
        ("folder", archive.folder.display().to_string()),
        ("table", format!("{}.{}", manifest.schema, manifest.table)),
        ("holds", manifest.place.to_string()),
        ("events", manifest.rows.to_string()),
        ("first position", number(manifest.first_position)),
        ("last position", number(manifest.last_position)),
        ("first created_at", or_none(manifest.first_created_at.clone())),
        ("last created_at", or_none(manifest.last_created_at.clone())),
        ("digest", manifest.contents().digest.to_string()),
        ("archived", manifest.archived_at.format("%F %T UTC").to_string()),
        ("database", manifest.database.clone()),
        ("server", manifest.server.clone()),
        ("pupctl", manifest.pupctl.clone()),
    ];
    for file in &manifest.files {
        rows.push((
            "file",
            format!("{} ({}, SHA-256 {})", file.name, bytes(file.bytes), file.sha256),
        ));
    }
    for column in &manifest.columns {
        rows.push(("column", format!("{} {}", column.name, column.data_type)));
    }
    let rows = rows.into_iter().map(|(key, value)| vec![key.to_owned(), value]).collect();
    context.output.result(context.name, manifest, &table(&["archive", ""], rows, 2))?;
    Ok(Exit::Done)
}
