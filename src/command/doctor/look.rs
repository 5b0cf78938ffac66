//! What a look at the database alone does not say: projections, closed months, the journal, and
//! archives on the disk.

use std::path::Path;

use chrono::TimeDelta;
use postgres::Client;

use crate::archive::folder::Archive as Folder;
use crate::catalog::Catalog;
use crate::catalog::health::{
    Archive, ArchiveFiles, Health, Keeps, Operation, Projection, ProjectionState,
};
use crate::command::context::{Context, Store};
use crate::db::health::{self, unseen};
use crate::db::inspect::Depth;
use crate::db::{Interrupt, closed};
use crate::error::{Error, Kind, Result};
use crate::operation::archives::{self, Phase, Record};
use crate::operation::journal;
use crate::projection::control::Tables;
use crate::projection::control::checkpoint;
use crate::projection::control::status::{self, ProjectionStatus, State, Status};

/// How many runs of the journal are looked at, the latest first.
const RUNS_MAX: i64 = 1000;

/// The catalog and all that can be seen beside it. What fails is noted, and the rest goes on.
pub(super) fn look(
    context: &Context,
    store: &mut Store,
    patience: TimeDelta,
    keeps: Keeps,
) -> Result<(Catalog, Health)> {
    let Store { client, schema } = store;
    let depth = Depth { default_rows: true, definitions: true, details: true, ..Depth::default() };
    let (catalog, mut health) =
        health::look(client, schema, &context.config.tables(), depth, patience, keeps)?;
    let mut unseen_here = Vec::new();
    let mut note = |area, what, error: &crate::error::Error| -> Result<()> {
        unseen_here.push(unseen(area, what, error)?);
        Ok(())
    };
    match projections(client, &catalog, &health, &context.interrupt) {
        Ok((found, unsettled)) => (health.projections, health.unsettled) = (found, unsettled),
        Err(error) => note("projections", "projections", &error)?,
    }
    if !health.sequences.is_empty()
        && let Some(events) = &catalog.events
    {
        match health::sequences(client, &events.root.name) {
            Ok(sequences) => health.sequences = sequences,
            Err(error) => note("positions", "the sequence of positions", &error)?,
        }
    }
    match closed::list(client, schema) {
        Ok(months) => {
            let open = months.into_iter().filter(|month| !month.sealed);
            health.unsealed = open.map(|month| month.name).collect();
        }
        Err(error) => note("partitions", "closed months", &error)?,
    }
    match journal::latest(client, schema, RUNS_MAX) {
        Ok(runs) => {
            let open = runs.into_iter().filter(journal::Operation::can_be_resumed);
            health.operations = open.map(operation).collect();
        }
        Err(error) => note("operations", "the journal", &error)?,
    }
    match archives::all(client, schema) {
        Ok(records) => {
            for record in records.iter().filter(|record| has_files(record)) {
                match files(record) {
                    Ok(files) => health.archives.push(archive(record, files)),
                    Err(error) => note("operations", "the files of an archive", &error)?,
                }
            }
        }
        Err(error) => note("operations", "the list of archives", &error)?,
    }
    health.unseen.append(&mut unseen_here);
    Ok((catalog, health))
}

/// The projections, and why nobody can tell what is settled, if so.
fn projections(
    client: &mut Client,
    catalog: &Catalog,
    health: &Health,
    interrupt: &Interrupt,
) -> Result<(Vec<Projection>, Option<String>)> {
    let Some(checkpoints) = &catalog.checkpoints else { return Ok((Vec::new(), None)) };
    if catalog.events.is_none() {
        return Ok((Vec::new(), None));
    }
    let Some(layout) = &catalog.layout else {
        let rows = checkpoint::read(client, &checkpoints.root.name, false)?;
        let head = health.sequences.first().and_then(|sequence| sequence.last).unwrap_or(0);
        let foreign = checkpoint::projections(rows).into_iter();
        return Ok((foreign.map(|projection| foreign_of(&projection, head)).collect(), None));
    };
    let tables = Tables::of(layout, &catalog.schema_name);
    let Status { head, projections } = status::look(client, &tables, None, true, interrupt)?;
    Ok((projections.into_iter().map(projection).collect(), head.problem))
}

fn foreign_of(projection: &checkpoint::Projection, head: i64) -> Projection {
    let slowest = projection.checkpoints.iter().min_by_key(|row| row.position);
    Projection {
        name: projection.name.clone(),
        state: ProjectionState::Foreign,
        position: projection.position(),
        behind: (head - projection.position()).max(0),
        oldest: None,
        moved_at: slowest.and_then(|row| row.updated_at),
        paused_at: None,
        dead_letters: 0,
        error: None,
        problem: projection.problem(),
    }
}

fn projection(found: ProjectionStatus) -> Projection {
    let slowest = found.checkpoints.iter().min_by_key(|row| row.checkpoint.position);
    let moved_at = slowest.and_then(|row| row.checkpoint.updated_at);
    let mut errors = found.checkpoints.iter().filter_map(|row| row.checkpoint.slot.as_ref());
    let error = errors.find_map(|slot| slot.last_error.clone());
    let has_none_ahead = found.lag.as_ref().is_some_and(|lag| lag.events == 0 && !lag.at_least);
    #[expect(clippy::cast_possible_truncation, reason = "as many seconds as anybody has lived")]
    let oldest = found.lag.and_then(|lag| TimeDelta::try_seconds(lag.seconds? as i64));
    Projection {
        state: match found.state {
            State::Foreign => ProjectionState::Foreign,
            State::Paused => ProjectionState::Paused,
            State::Draining => ProjectionState::Draining,
            State::Failing => ProjectionState::Failing,
            State::Running => ProjectionState::Running,
            State::Idle => ProjectionState::Idle,
        },
        position: found.position,
        // Positions ahead, none of which is of its scope, are nothing to catch up with.
        behind: if has_none_ahead { 0 } else { found.lag_positions },
        oldest,
        moved_at,
        paused_at: found.paused_at,
        dead_letters: found.dead_letters.total(),
        error,
        problem: found.problem,
        name: found.name,
    }
}

fn operation(run: journal::Operation) -> Operation {
    Operation {
        id: run.id,
        subject: run.subject().map(str::to_owned),
        started_at: run.started_at,
        command: run.command,
        outcome: run.outcome,
    }
}

/// Whether files of it were proven, and are to be there.
fn has_files(record: &Record) -> bool {
    record.published_at.is_some() && record.phase != Phase::Aborted
}

fn archive(record: &Record, files: ArchiveFiles) -> Archive {
    Archive {
        name: record.name.clone(),
        path: record.path().display().to_string(),
        only_copy: record.phase == Phase::Dropped,
        files,
    }
}

/// Whether there is such a folder. One that may not be looked at is not one that is missing.
fn is_there(folder: &Path) -> Result<bool> {
    match std::fs::metadata(folder) {
        Ok(found) => Ok(found.is_dir()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::system(format!("cannot read {}", folder.display()), error)),
    }
}

/// What is found on this machine.
fn files(record: &Record) -> Result<ArchiveFiles> {
    if !is_there(&record.folder)? {
        return Ok(ArchiveFiles::Elsewhere);
    }
    if !is_there(&record.path())? {
        return Ok(ArchiveFiles::Missing);
    }
    let looked = Folder::open(&record.path()).and_then(|archive| {
        archive.check_sizes()?;
        Ok(archive.proven_at())
    });
    match looked {
        Ok(at) => Ok(ArchiveFiles::There(at)),
        // Somebody else's eyes may read it.
        Err(error) if error.kind() == Kind::System => Err(error),
        Err(error) => Ok(ArchiveFiles::Altered(error.message().to_owned())),
    }
}
