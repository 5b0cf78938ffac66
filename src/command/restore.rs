//! `pupctl restore`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::archive::folder::Archive;
use crate::archive::manifest::Role;
use crate::catalog::Catalog;
use crate::cli::exit::Exit;
use crate::cli::output::{self, count};
use crate::cli::progress::ArchiveBar;
use crate::db::Locked;
use crate::error::{Error, Result};
use crate::finding;
use crate::layout::Layout;
use crate::layout::name::validate_identifier;
use crate::operation::archive::HEADS;
use crate::operation::archives::{self, Phase, Record};
use crate::operation::restore::{Destination, Request, Restored, Restorer};
use crate::operation::{self, journal};
use crate::plan::{self, Plan};
use crate::render::Script;
use crate::render::quote::shell_word;

use super::context::{Context, layout_of};
use super::write;

/// How many rows join a leaf in one transaction unless told otherwise.
const BATCH: i64 = 10_000;

/// Bring the events of an archive back into the store
///
/// WHAT is the name of an archive, its folder, a bounded context or a month. The files are checked,
/// the rows loaded and compared with the manifest, then the table is attached without being read
/// again. A table that was kept is attached as it is. Where another leaf has taken the place, the
/// rows join it in batches. The archive stays.
///
/// Examples:
///   pupctl restore 2025-01
///   pupctl restore archives/events_billing_2025_01 --into rehearsal
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct RestoreArgs {
    /// An archive, its folder, a bounded context or a month
    #[arg(value_name = "WHAT")]
    what: String,

    /// The folder in which the archives lie now, where they were moved
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,

    /// Drop an empty leaf that has taken the place, instead of joining it
    #[arg(long, conflicts_with_all = ["into", "no_attach"])]
    replace: bool,

    /// Into a table of this schema, with keys, and not attached: a rehearsal
    #[arg(long, value_name = "SCHEMA", conflicts_with = "no_attach")]
    into: Option<String>,

    /// Into a table of the store's schema that is not attached
    #[arg(long)]
    no_attach: bool,

    /// Attach events of another store's archive although projections have passed their positions
    #[arg(long)]
    behind_projections: bool,

    /// How many rows join a leaf in one transaction
    #[arg(long, value_name = "ROWS", default_value_t = BATCH,
        value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    batch: i64,
}

/// What came back.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether nothing was written because of `--dry-run`.
    dry_run: bool,
    /// The archives that came back, or would.
    restored: Vec<Restored>,
    /// What the user should know.
    notes: Vec<String>,
}

/// All that a request means.
struct Meant {
    items: Vec<Item>,
    /// The contexts that come back from retirement.
    retired: Vec<String>,
    /// The rows of the journal of earlier runs of the same request that did not come to their end.
    stopped: Vec<i64>,
}

/// An archive, and what the store knows of it.
struct Item {
    archive: Archive,
    record: Option<Record>,
}

pub(super) fn run(args: &RestoreArgs, context: &Context) -> anyhow::Result<Exit> {
    if let Some(schema) = &args.into {
        validate_identifier("schema", schema)?;
    }
    let store = context.open_for_writing()?;
    if context.global.dry_run {
        let mut store = store;
        let records = archives::all(&mut store.client, &store.schema)?;
        let items = args.items(&records)?;
        return args.dry_run(context, &items);
    }
    let (mut locked, catalog) = write::lock(context, store)?;
    let exit = args.locked_run(context, &mut locked, &catalog)?;
    locked.release()?;
    Ok(exit)
}

impl RestoreArgs {
    fn locked_run(
        &self,
        context: &Context,
        locked: &mut Locked,
        catalog: &Catalog,
    ) -> anyhow::Result<Exit> {
        let layout = layout_of(catalog)?;
        plan::tables::refuse_differences(layout, catalog)?;
        finding::detach::refuse_pending(catalog)?;
        let records = archives::all(locked.client(), &catalog.schema_name)?;
        let mut items = self.items(&records)?;
        let retired = if self.destination() == (Destination::Store { replace: self.replace }) {
            self.with_heads(layout, &records, &mut items)?
        } else {
            Vec::new()
        };
        let stopped = self.stopped(locked, catalog)?;
        if items.is_empty() {
            operation::settle(locked, catalog, context.name, None)?;
            journal::forget(locked.client(), &catalog.schema_name, &stopped)?;
            return report(context, false, Vec::new(), Vec::new());
        }
        write::refuse_without_rights(catalog)?;
        let meant = Meant { items, retired, stopped };
        let restored = self.restore(context, locked, catalog, layout, &meant)?;
        report(context, false, restored, Vec::new())
    }

    fn restore(
        &self,
        context: &Context,
        locked: &mut Locked,
        catalog: &Catalog,
        layout: &Layout,
        meant: &Meant,
    ) -> Result<Vec<Restored>> {
        let Meant { items, retired, stopped } = meant;
        // What a retired context gets back first is empty, and makes room.
        let destination = match self.destination() {
            Destination::Store { replace } => {
                Destination::Store { replace: replace || !retired.is_empty() }
            }
            other => other,
        };
        let request = Request {
            destination,
            // They have read what left this store: the fence saw to it.
            behind_projections: self.behind_projections
                || items.iter().all(|item| item.record.is_some()),
            batch: self.batch,
            limits: context.config.lock_limits(context.global.lock_budget)?,
        };
        let script = Script::of(&Plan {
            steps: plan::init::own_tables(layout, catalog)?,
            ..Plan::default()
        });
        let mut bar = ArchiveBar::new(&context.output);
        let mut steps = ArchiveBar::new(&context.output);
        let words = self.words();
        operation::run_with(
            locked,
            context.name,
            &script,
            request.limits,
            &context.interrupt,
            &mut steps,
            |locked, operation| {
                let mut done = Vec::new();
                for name in retired {
                    let mut restorer = Restorer {
                        locked: &mut *locked,
                        layout,
                        request: &request,
                        interrupt: &context.interrupt,
                        progress: &mut bar,
                    };
                    restorer.recall(name)?;
                }
                for Item { archive, record } in items {
                    let tables: Vec<_> = record.iter().map(|record| record.table_oid).collect();
                    let state =
                        json!({ "request": words, "subject": archive.name(), "tables": tables });
                    journal::note(locked.client(), &catalog.schema_name, operation, &state)?;
                    let mut restorer = Restorer {
                        locked: &mut *locked,
                        layout,
                        request: &request,
                        interrupt: &context.interrupt,
                        progress: &mut bar,
                    };
                    let outcome = restorer.run(archive, record.as_ref());
                    done.push(
                        outcome.map_err(|error| {
                            error.context(format!("restoring {}", archive.name()))
                        })?,
                    );
                }
                journal::forget(locked.client(), &catalog.schema_name, stopped)?;
                Ok(done)
            },
        )
    }

    /// The rows of the journal of earlier runs of the same request that did not come to their end.
    fn stopped(&self, locked: &mut Locked, catalog: &Catalog) -> Result<Vec<i64>> {
        if catalog.own_migrations.iter().all(|migration| migration.version < 2) {
            return Ok(Vec::new());
        }
        let words = json!(self.words());
        let rows = journal::unfinished(locked.client(), &catalog.schema_name, "restore")?;
        let same = rows.into_iter().filter(|(_, state)| state["request"] == words);
        Ok(same.map(|(id, _)| id).collect())
    }

    /// Adds the heads of the contexts that come back from retirement, and names these: without
    /// their heads their aggregates would begin again at version 1.
    fn with_heads(
        &self,
        layout: &Layout,
        records: &[Record],
        items: &mut Vec<Item>,
    ) -> Result<Vec<String>> {
        let is_wanted = |name: &String| {
            items.iter().any(|item| item.archive.manifest.place.context() == Some(name))
        };
        let retired = layout.contexts.iter().filter(|known| known.retired);
        let retired: Vec<_> = retired.map(|known| known.name.clone()).filter(is_wanted).collect();
        // They come first: no head is behind when the events follow.
        let mut heads = Vec::new();
        for record in records {
            let is_its = retired.iter().any(|name| record.place.context() == Some(name));
            let comes_back = matches!(record.phase, Phase::Published | Phase::Dropped);
            let there = items
                .iter()
                .any(|item| item.record.as_ref().is_some_and(|known| known.id == record.id));
            if record.role == HEADS && is_its && comes_back && !there {
                heads.push(self.item(record)?);
            }
        }
        items.splice(0..0, heads);
        Ok(retired)
    }

    fn item(&self, record: &Record) -> Result<Item> {
        let path = self.from.as_ref().map_or_else(|| record.path(), |f| f.join(&record.name));
        let archive = Archive::open(&path).map_err(|error| {
            if record.phase == Phase::Published && record.role != HEADS && !path.is_dir() {
                let table = shell_word(&record.table_name);
                let place = shell_word(&record.place.to_string());
                return error.hint(format!(
                    "its table was kept: pupctl partitions attach {table} --as {place}; or name \
                     the folder in which it lies now: --from FOLDER"
                ));
            }
            error
        })?;
        refuse_another(&archive, record)?;
        Ok(Item { archive, record: Some(record.clone()) })
    }

    fn destination(&self) -> Destination {
        match &self.into {
            Some(schema) => Destination::Schema(schema.clone()),
            None if self.no_attach => Destination::Beside,
            None => Destination::Store { replace: self.replace },
        }
    }

    /// The same request as words, so that it can be gone on with by its number.
    fn words(&self) -> Vec<String> {
        let mut words = vec!["restore".to_owned(), self.what.clone()];
        words.extend(self.from.iter().map(|from| format!("--from={}", from.display())));
        words.extend(self.replace.then(|| "--replace".to_owned()));
        words.extend(self.into.iter().map(|schema| format!("--into={schema}")));
        words.extend(self.no_attach.then(|| "--no-attach".to_owned()));
        words.extend(self.behind_projections.then(|| "--behind-projections".to_owned()));
        words.push(format!("--batch={}", self.batch));
        words
    }

    /// The archives that are meant: those that the store has listed, or a folder.
    fn items(&self, records: &[Record]) -> Result<Vec<Item>> {
        let path = Path::new(&self.what);
        if self.what.contains('/') && path.is_dir() {
            return Ok(vec![in_folder(path, records)?]);
        }
        let is_name = records.iter().any(|record| record.name == self.what);
        let meant: Vec<_> =
            records
                .iter()
                // A name is one archive, whatever the partitions are called.
                .filter(|record| {
                    if is_name { record.name == self.what } else { record.is_meant_by(&self.what) }
                })
                .filter(|record| !matches!(record.phase, Phase::Aborted))
                .collect();
        if let Some(record) = meant.iter().find(|record| record.phase.is_unfinished()) {
            return Err(Error::refused(format!(
                "the archive {} is not finished: it is {}",
                record.name, record.phase
            ))
            .hint("finish it, or call it off: pupctl operations list --unfinished"));
        }
        let rehearsal = self.into.is_some() || self.no_attach;
        let comes_back = |record: &&&Record| match record.phase {
            Phase::Published | Phase::Dropped => true,
            // These are in the store: only a look at them makes sense.
            _ => rehearsal,
        };
        let items = meant.iter().filter(comes_back).map(|record| self.item(record));
        let items: Vec<_> = items.collect::<Result<_>>()?;
        if !items.is_empty() || !meant.is_empty() {
            return Ok(items);
        }
        let folder = self.from.clone().unwrap_or_else(|| PathBuf::from("archives"));
        let path = folder.join(&self.what);
        for path in [path.as_path(), Path::new(&self.what)] {
            if path.is_dir() {
                return Ok(vec![in_folder(path, records)?]);
            }
        }
        let known = records.iter().map(|record| format!("{} ({})", record.name, record.place));
        Err(Error::invalid(format!("there is no archive, context or month {}", self.what))
            .details(output::at_most(known.collect()))
            .hint("see what there is: pupctl archive list"))
    }

    fn dry_run(&self, context: &Context, items: &[Item]) -> anyhow::Result<Exit> {
        let what = match self.destination() {
            Destination::Schema(schema) => format!("a table of the schema {schema}"),
            Destination::Beside => "a table that is not attached".to_owned(),
            Destination::Store { .. } => "the store".to_owned(),
        };
        let notes = items.iter().map(|Item { archive, .. }| {
            let rows = match archive.manifest.role {
                Role::Events => "events",
                Role::AggregateHeads => "heads",
            };
            format!(
                "{}: {} {rows} of {} would be checked, loaded into {what} and compared",
                archive.folder.display(),
                archive.manifest.rows,
                archive.manifest.place
            )
        });
        report(context, true, Vec::new(), output::at_most(notes.collect()))
    }
}

fn in_folder(path: &Path, records: &[Record]) -> Result<Item> {
    let archive = Archive::open(path)?;
    let record = records.iter().find(|record| record.name == archive.name());
    if let Some(record) = record {
        refuse_another(&archive, record)?;
    }
    Ok(Item { archive, record: record.cloned() })
}

/// Refuses a folder that holds another archive than the store has listed under its name.
fn refuse_another(archive: &Archive, record: &Record) -> Result<()> {
    let found = archive.manifest.contents().digest.to_string();
    let place = &archive.manifest.place;
    if record.digest.as_ref() == Some(&found) && *place == record.place {
        return Ok(());
    }
    Err(Error::refused(format!(
        "{} is not the archive that the store has listed as {}",
        archive.folder.display(),
        record.name
    ))
    .detail(format!(
        "listed: {}, digest {}",
        record.place,
        record.digest.clone().unwrap_or_default()
    ))
    .detail(format!("found: {place}, digest {found}"))
    .hint("name the folder in which the right one lies: --from"))
}

fn report(
    context: &Context,
    dry_run: bool,
    restored: Vec<Restored>,
    notes: Vec<String>,
) -> anyhow::Result<Exit> {
    let output = &context.output;
    let report = Report { dry_run, restored, notes };
    let rows = report.restored.iter().map(|one| {
        vec![one.archive.clone(), one.table.clone(), one.rows.to_string(), one.how.to_owned()]
    });
    let rows: Vec<_> = rows.collect();
    let text = if rows.is_empty() {
        String::new()
    } else {
        output::table(&["archive", "table", "events", "how"], rows, 4)
    };
    output.result(context.name, &report, &text)?;
    let of_archives = report.restored.iter().flat_map(|one| &one.notes);
    let mut told = BTreeSet::new();
    for note in report.notes.iter().chain(of_archives) {
        // What is so of every archive is told once.
        if told.insert(note) {
            output.say(format!("note: {note}"));
        }
    }
    if dry_run {
        output.say("Dry run: nothing was changed");
    } else if report.restored.is_empty() {
        output.say("Nothing to do: it is in the store");
    } else {
        let events: u64 = report.restored.iter().map(|one| one.rows).sum();
        output.say(format!(
            "{} {} of {events} rows restored and proven",
            output::green("Done:"),
            count(report.restored.len(), "archive")
        ));
    }
    Ok(Exit::Done)
}
