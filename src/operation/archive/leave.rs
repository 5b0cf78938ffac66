//! The table leaves the store: the fence, and again under the locks of the departure.

use std::time::{Duration, Instant};

use postgres::{GenericClient, Row};

use crate::db::{execute, fence};
use crate::error::{Error, Kind, Result};
use crate::failpoint::reach;
use crate::finding::fence::{Fence, Laggard};
use crate::layout::name::QualifiedName;
use crate::operation::archives::{self, Phase, Record};
use crate::plan::archive::{Departure, departure};
use crate::plan::lifecycle::LifecycleAction;
use crate::plan::target::Located;
use crate::plan::{self, Plan, Step};
use crate::render::environment::{render, values};
use crate::render::{RenderedStep, Script};

use super::Archiver;

/// What may stay in the store of a leaf that is exchanged: moved under the lock for which writers
/// wait, so not many.
const TAIL_MAX: i64 = 2000;

/// How often projections are looked at while they are waited for.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How often the exchange is tried before the rows that come meanwhile are too many.
const TRIES: u32 = 5;

/// What has become of a table.
pub(in crate::operation) struct State {
    pub(in crate::operation) name: QualifiedName,
    pub(in crate::operation) attached: bool,
    pub(in crate::operation) pending: bool,
}

/// Looks for the table of a record. By its number, as names come and go; but a copy of the database
/// has other numbers, so the name has to be that of the record too.
pub(in crate::operation) fn state(
    client: &mut impl GenericClient,
    schema: &str,
    record: &Record,
) -> Result<Option<State>> {
    let row = client
        .query_opt(include_str!("../../../sql/archive/state.sql"), &[&record.table_oid])
        .map_err(|error| Error::database("looking for the table", error))?;
    let is_it = |row: &Row| {
        row.get::<_, &str>("schema") == schema && row.get::<_, &str>("name") == record.table_name
    };
    Ok(row.filter(is_it).map(|row| State {
        name: QualifiedName::new(row.get::<_, String>("schema"), row.get::<_, String>("name")),
        attached: row.get("attached"),
        pending: row.get("pending"),
    }))
}

impl Archiver<'_> {
    /// Refuses what the fence does not let pass. Projections are waited for: those that read all
    /// the time are a moment behind a leaf that is written to all the time. Of such a leaf what
    /// comes after the look may stay.
    pub(super) fn pass(&mut self, mut fence: Fence) -> Result<Fence> {
        let (Some(last), Some(checkpoints)) = (fence.last_position, self.checkpoints()) else {
            return fence.refusal().map_or(Ok(fence), Err);
        };
        let is_projection = |laggard: &Laggard| matches!(laggard, Laggard::Projection { .. });
        let start = Instant::now();
        while fence.laggards.iter().any(is_projection)
            && fence.laggards.iter().all(is_projection)
            && start.elapsed() < self.request.patience
        {
            self.interrupt.check()?;
            std::thread::sleep(POLL_INTERVAL);
            let (client, options) = (self.locked.client(), &self.request.fence);
            fence.laggards = fence::behind(client, &fence.leaf, &checkpoints, last, options)?.0;
        }
        fence.refusal().map_or(Ok(fence), Err)
    }

    /// From `detaching` to `detached`. The transaction in which the table leaves records it, so a
    /// table that is not where the record says was moved by somebody else.
    pub(super) fn leave(&mut self, record: &Record, leaf: Option<&Located<'_>>) -> Result<()> {
        let state = self.state(record)?;
        let name = &state.name;
        match leaf {
            Some(leaf) if state.attached && !state.pending => self.take_out(record, leaf),
            _ if state.pending => Err(Error::refused(format!("somebody else detaches {name}"))
                .hint(format!("finish that first: pupctl partitions detach {}", name.name))),
            _ => Err(Error::refused(format!(
                "{name} is not where the archive {} was to take it from",
                record.name
            ))
            .hint(format!(
                "attach it again: pupctl partitions attach {}; or call the archive off: pupctl \
                 operations abort {}",
                name.name, record.name
            ))),
        }
    }

    fn take_out(&mut self, record: &Record, leaf: &Located<'_>) -> Result<()> {
        let mut made = false;
        for _ in 0..TRIES {
            self.interrupt.check()?;
            let name = &leaf.relation.name;
            let fence = self.look(name)?;
            let fence = self.pass(fence)?;
            // What slots have confirmed is known of this position alone.
            let limited = fence::has_slots(self.locked.client(), &self.request.fence)?;
            let limit = fence.last_position.filter(|_| limited).unwrap_or(i64::MAX);
            reach("archive::looked");
            let (step, table) =
                match departure(self.layout, self.catalog, leaf, record.id, record.replaced)? {
                    Departure::AtOnce { step, table } => (step, table),
                    Departure::Exchange { before, exchange, table } => {
                        // It stays empty until the exchange, however often that is tried.
                        if !made {
                            self.execute(before)?;
                            reach("archive::replaced");
                        }
                        made = true;
                        (exchange, table)
                    }
                };
            if self.depart(record, name, &step, &table, limit)? {
                return Ok(());
            }
        }
        let name = &leaf.relation.name;
        Err(Error::refused(format!(
            "{name} gets more events than projections read: more than {TAIL_MAX} each time it was \
             to leave"
        ))
        .hint("run the command again when there is less to write"))
    }

    /// Leaves nothing behind of an archive whose table did not leave. What fails here is left to
    /// the next run.
    pub(super) fn call_off(&mut self, record: &Record, error: Error) -> Error {
        if !matches!(error.kind(), Kind::Refused | Kind::LockTimeout | Kind::Database) {
            return error;
        }
        if let Err(other) = self.try_call_off(record) {
            tracing::warn!("the archive {} is not called off: {other}", record.name);
        }
        error
    }

    fn try_call_off(&mut self, record: &Record) -> Result<()> {
        let state = self.state(record)?;
        if !state.attached || state.pending {
            return Ok(());
        }
        let next = plan::archive::next(&state.name, record.id);
        let there = self
            .locked
            .client()
            .query_opt(include_str!("../../../sql/archive/oid.sql"), &[&next.schema, &next.name])
            .map_err(|error| Error::database("looking for the table", error))?;
        if record.replaced && there.is_some() {
            self.execute(Step::new(
                format!("Drop {}", next.name),
                "it was to take the place of a leaf that stays",
                vec![LifecycleAction::DropEmpty(next).into()],
            ))?;
        }
        let schema = self.locked.schema().to_owned();
        archives::advance(self.locked.client(), &schema, record.id, Phase::Aborted, None)
    }

    /// The table of checkpoints, if the store has one.
    fn checkpoints(&self) -> Option<QualifiedName> {
        let checkpoints = self.layout.checkpoints(self.locked.schema());
        self.catalog.checkpoints.is_some().then_some(checkpoints)
    }

    /// The departure in one transaction, with a last look under its locks; false where too much
    /// would have to stay, and nothing was changed. What leaves is decided here, as long as nobody
    /// writes: the wait for the locks may have been long.
    fn depart(
        &mut self,
        record: &Record,
        leaf: &QualifiedName,
        step: &Step,
        table: &QualifiedName,
        limit: i64,
    ) -> Result<bool> {
        let schema = self.locked.schema().to_owned();
        let checkpoints = self.checkpoints();
        let checkpoints = checkpoints.as_ref();
        let options = &self.request.fence;
        let replaced = record.replaced;
        let step = rendered(step.clone());
        let mut crowded = false;
        let mut stays = 0;
        let exchanged = execute::execute_checked(
            self.locked,
            &step,
            self.request.limits,
            self.interrupt,
            &mut *self.progress,
            &mut |transaction| {
                if !replaced {
                    let fence =
                        fence::look_at_checkpoints(transaction, leaf, checkpoints, options)?;
                    crowded = fence.last_position.is_some_and(|last| last > limit);
                    let crowd = crowded.then(|| Error::refused("an event came since"));
                    return crowd.or_else(|| fence.refusal()).map_or(Ok(()), Err);
                }
                let cut = cut(transaction, leaf, checkpoints, options, limit)?;
                transaction
                    .execute(include_str!("../../../sql/archive/set_cut.sql"), &[&cut])
                    .map_err(|error| Error::database("saying what leaves", error))?;
                let sql = render("archive/has_tail", &values! { leaf });
                let row = transaction
                    .query_one(&sql, &[&cut, &(TAIL_MAX + 1)])
                    .map_err(|error| Error::database("counting what came since", error))?;
                stays = row.get::<_, i64>("rows");
                crowded = stays > TAIL_MAX;
                if crowded { Err(Error::refused("too much came since")) } else { Ok(()) }
            },
            &mut |transaction| {
                let name = Some(table.name.as_str());
                archives::advance(transaction, &schema, record.id, Phase::Detached, name)
            },
        );
        if crowded {
            return Ok(false);
        }
        exchanged?;
        if replaced && stays > 0 {
            self.notes.push(format!(
                "{stays} events of {leaf} came meanwhile: they stay in the store, in the leaf that \
                 took its place"
            ));
        }
        reach("archive::departed");
        Ok(true)
    }

    fn state(&mut self, record: &Record) -> Result<State> {
        let schema = self.locked.schema().to_owned();
        state(self.locked.client(), &schema, record)?.ok_or_else(|| {
            Error::refused(format!(
                "the table {} of the archive {} is gone, and no file was proven",
                record.table_name, record.name
            ))
            .hint(format!("if that is meant: pupctl operations abort {}", record.name))
        })
    }

    /// The table of a record as it is called now, provided that it has left the store.
    pub(super) fn detached_table(&mut self, record: &Record) -> Result<QualifiedName> {
        let state = self.state(record)?;
        if state.attached {
            return Err(Error::refused(format!(
                "{} is a partition again: somebody attached it since it was archived",
                state.name
            ))
            .hint("archive it again, or leave it where it is"));
        }
        Ok(state.name)
    }

    pub(super) fn execute(&mut self, step: Step) -> Result<()> {
        let step = rendered(step);
        let steps = std::slice::from_ref(&step);
        let limits = self.request.limits;
        execute::execute(self.locked, steps, limits, self.interrupt, &mut *self.progress)
    }
}

/// The last position that leaves: what every projection has handled, and no more than the limit.
fn cut(
    client: &mut impl GenericClient,
    leaf: &QualifiedName,
    checkpoints: Option<&QualifiedName>,
    options: &fence::Options,
    limit: i64,
) -> Result<i64> {
    let Some(checkpoints) = checkpoints else { return Ok(limit) };
    let lowest = fence::lowest(client, leaf, checkpoints, options)?;
    Ok(lowest.map_or(limit, |lowest| lowest.min(limit)))
}

pub(super) fn rendered(step: Step) -> RenderedStep {
    let script = Script::of(&Plan { steps: vec![step], ..Plan::default() });
    // One step was put in.
    script.steps.into_iter().next().unwrap_or_else(|| unreachable!("a step is a step"))
}
