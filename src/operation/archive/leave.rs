//! The table leaves the store: fence, detach, fence again.

use postgres::{Client, GenericClient};

use crate::db::{detach, execute, fence, inspect};
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::finding::fence::{Fence, Laggard};
use crate::layout::name::QualifiedName;
use crate::operation::archives::{self, Phase, Record};
use crate::plan::archive::{Departure, back, departure};
use crate::plan::lifecycle::{self, BoundsCheck};
use crate::plan::target::Located;
use crate::plan::{Plan, Step};
use crate::render::bounds_check::is_bounds;
use crate::render::environment::{render, values};
use crate::render::{RenderedStep, Script};

use super::Archiver;

/// What may stay in the store of a leaf that is exchanged: moved under the lock for which writers
/// wait, so not many.
const TAIL_MAX: i64 = 2000;

/// How often the exchange is tried before the rows that come meanwhile are too many.
const TRIES: u32 = 5;

/// What has become of a table.
pub(in crate::operation) struct State {
    pub(in crate::operation) name: QualifiedName,
    pub(in crate::operation) attached: bool,
    pub(in crate::operation) pending: bool,
}

/// Looks for a table by its number.
pub(in crate::operation) fn state(client: &mut Client, oid: u32) -> Result<Option<State>> {
    let row = client
        .query_opt(include_str!("../../../sql/archive/state.sql"), &[&oid])
        .map_err(|error| Error::database("looking for the table", error))?;
    Ok(row.map(|row| State {
        name: QualifiedName::new(row.get::<_, String>("schema"), row.get::<_, String>("name")),
        attached: row.get("attached"),
        pending: row.get("pending"),
    }))
}

/// Refuses what the fence does not let pass. Of a leaf that is exchanged the last events may
/// be unread: they stay.
pub(super) fn pass(fence: &Fence, replaced: bool) -> Result<()> {
    let mut fence = fence.clone();
    if replaced {
        let is_near = |laggard: &Laggard| match laggard {
            Laggard::Projection { behind, .. } => *behind <= TAIL_MAX,
            _ => false,
        };
        fence.laggards.retain(|laggard| !is_near(laggard));
    }
    fence.refusal().map_or(Ok(()), Err)
}

impl Archiver<'_> {
    /// From `detaching` to `detached`, from wherever an earlier run has left it.
    pub(super) fn leave(&mut self, record: &Record, leaf: Option<&Located<'_>>) -> Result<()> {
        let state = self.state(record)?;
        if state.pending {
            let Some(leaf) = leaf else { return Err(not_in_catalog(&state.name)) };
            let step = lifecycle::finalize_detach(&leaf.parent.name, &state.name);
            self.execute(step)?;
            return self.gone(record, leaf, None);
        }
        if state.attached {
            let Some(leaf) = leaf else { return Err(not_in_catalog(&state.name)) };
            return self.take_out(record, leaf);
        }
        match leaf {
            Some(leaf) => self.gone(record, leaf, None),
            // Its detach was finished by hand, or by a run that could not say so any more.
            None => self.gone_before(record, &state.name),
        }
    }

    fn take_out(&mut self, record: &Record, leaf: &Located<'_>) -> Result<()> {
        let mut made = false;
        for _ in 0..TRIES {
            self.interrupt.check()?;
            let name = &leaf.relation.name;
            let fence = self.look(name)?;
            pass(&fence, record.replaced)?;
            // What slots have confirmed is known of this position alone.
            let limited =
                record.replaced && fence::has_slots(self.locked.client(), &self.request.fence)?;
            let limit = fence.last_position.filter(|_| limited).unwrap_or(i64::MAX);
            match departure(self.layout, self.catalog, leaf, record.id, record.replaced)? {
                Departure::Concurrently(step) => {
                    self.detach_concurrently(leaf, step)?;
                    reach("archive::detached");
                    return self.gone(record, leaf, Some(&fence));
                }
                Departure::AtOnce(step) => {
                    self.exchange(record, name, &step, name, limit)?;
                    return Ok(());
                }
                Departure::Exchange { before, exchange, table } => {
                    // It stays empty until the exchange, however often that is tried.
                    if !made {
                        self.execute(before)?;
                        reach("archive::replaced");
                    }
                    made = true;
                    if self.exchange(record, name, &exchange, &table, limit)? {
                        return Ok(());
                    }
                }
            }
        }
        let name = &leaf.relation.name;
        Err(Error::refused(format!(
            "{name} gets more events than projections read: more than {TAIL_MAX} each time it was \
             to leave"
        ))
        .hint("run the command again when there is less to write"))
    }

    /// Refuses to exchange a leaf of which nothing would leave: not one event is read by all.
    pub(super) fn refuse_unread(&mut self, leaf: &QualifiedName, fence: &Fence) -> Result<()> {
        let Some(last) = fence.last_position else { return Ok(()) };
        let checkpoints = self.checkpoints();
        let options = &self.request.fence;
        let cut = cut(self.locked.client(), checkpoints.as_ref(), options, last)?;
        let sql = render("archive/has_head", &values! { leaf });
        let row = self
            .locked
            .client()
            .query_one(&sql, &[&cut])
            .map_err(|error| Error::database("looking for events that all have read", error))?;
        if row.get("there") { Ok(()) } else { fence.refusal().map_or(Ok(()), Err) }
    }

    /// The table of checkpoints, if the store has one.
    fn checkpoints(&self) -> Option<QualifiedName> {
        let checkpoints = self.layout.checkpoints(self.locked.schema());
        self.catalog.checkpoints.is_some().then_some(checkpoints)
    }

    fn detach_concurrently(&mut self, leaf: &Located<'_>, step: Step) -> Result<()> {
        let progress = std::cell::RefCell::new(&mut *self.progress);
        detach::await_holders(
            self.locked.client(),
            leaf.parent,
            self.request.patience,
            self.interrupt,
            &|words| progress.borrow_mut().tell(words),
        )?;
        self.execute(step)
    }

    /// The exchange in one transaction, with a last look under its locks; false where too much
    /// would have to stay, and nothing was changed. What leaves is decided here, as long as nobody
    /// writes: the wait for the locks may have been long.
    fn exchange(
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
                    return fence.refusal().map_or(Ok(()), Err);
                }
                let cut = cut(transaction, checkpoints, options, limit)?;
                transaction
                    .execute(include_str!("../../../sql/archive/set_cut.sql"), &[&cut])
                    .map_err(|error| Error::database("saying what leaves", error))?;
                let sql = render("archive/has_tail", &values! { leaf });
                let row = transaction
                    .query_one(&sql, &[&cut, &(TAIL_MAX + 1)])
                    .map_err(|error| Error::database("counting what came since", error))?;
                crowded = row.get::<_, i64>("rows") > TAIL_MAX;
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
        reach("archive::exchanged");
        Ok(true)
    }

    /// Looks again at a table that has left, and attaches it back when something slipped in.
    fn gone(&mut self, record: &Record, leaf: &Located<'_>, before: Option<&Fence>) -> Result<()> {
        let table = self.state(record)?.name;
        let fence = self.look_again(&table, before)?;
        let Some(refusal) = fence.refusal() else {
            return self.record_departure(record, &table);
        };
        let checks = self.bounds_checks(leaf, &table)?;
        let Some(step) = back(leaf.parent, &table, leaf, &checks) else { return Err(refusal) };
        self.execute(step)?;
        reach("archive::attached_back");
        let schema = self.locked.schema().to_owned();
        archives::advance(self.locked.client(), &schema, record.id, Phase::Aborted, None)?;
        Err(refusal.detail(format!(
            "events came to {table} while it was being detached: it is attached again"
        )))
    }

    /// The CHECKs by which the detach keeps a table to its bounds.
    fn bounds_checks(&mut self, leaf: &Located<'_>, table: &QualifiedName) -> Result<Vec<String>> {
        let events = self.catalog.events.as_ref();
        let check = events.and_then(|events| BoundsCheck::of(&events.root, &leaf.place));
        let found = inspect::one_table(self.locked.client(), &table.schema, &table.name)?;
        let (Some(check), Some(found)) = (check, found) else { return Ok(Vec::new()) };
        let constraints = found.relation.details.constraints.into_iter();
        let theirs =
            constraints.filter(|one| one.kind == "c" && is_bounds(&one.definition, &check));
        Ok(theirs.map(|one| one.name).collect())
    }

    fn gone_before(&mut self, record: &Record, table: &QualifiedName) -> Result<()> {
        let fence = self.look_again(table, None)?;
        match fence.refusal() {
            None => self.record_departure(record, table),
            Some(refusal) => Err(refusal.detail(format!(
                "{table} has left the store already; pupctl operations abort brings it back"
            ))),
        }
    }

    fn record_departure(&mut self, record: &Record, table: &QualifiedName) -> Result<()> {
        let schema = self.locked.schema().to_owned();
        let name = Some(table.name.as_str());
        archives::advance(self.locked.client(), &schema, record.id, Phase::Detached, name)?;
        reach("archive::recorded");
        Ok(())
    }

    /// Where nothing was added since the first look, the checkpoints are enough.
    fn look_again(&mut self, table: &QualifiedName, before: Option<&Fence>) -> Result<Fence> {
        let schema = self.locked.schema().to_owned();
        let checkpoints = self.layout.checkpoints(&schema);
        let checkpoints = self.catalog.checkpoints.is_some().then_some(&checkpoints);
        let options = &self.request.fence;
        let now = fence::look_at_checkpoints(self.locked.client(), table, checkpoints, options)?;
        match before {
            Some(before) if before.last_position == now.last_position => Ok(now),
            _ => self.look(table),
        }
    }

    fn state(&mut self, record: &Record) -> Result<State> {
        state(self.locked.client(), record.table_oid)?.ok_or_else(|| {
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

/// The last position that leaves: what every projection has read, and no more than the limit.
fn cut(
    client: &mut impl GenericClient,
    checkpoints: Option<&QualifiedName>,
    options: &fence::Options,
    limit: i64,
) -> Result<i64> {
    let Some(checkpoints) = checkpoints else { return Ok(limit) };
    let ignored: Vec<_> = options.ignore_projections.iter().collect();
    let sql = render("archive/lowest_checkpoint", &values! { checkpoints });
    let row = client
        .query_one(&sql, &[&ignored])
        .map_err(|error| Error::database("reading the checkpoints of projections", error))?;
    Ok(row.get::<_, Option<i64>>("lowest").map_or(limit, |lowest| lowest.min(limit)))
}

pub(super) fn rendered(step: Step) -> RenderedStep {
    let script = Script::of(&Plan { steps: vec![step], ..Plan::default() });
    // One step was put in.
    script.steps.into_iter().next().unwrap_or_else(|| unreachable!("a step is a step"))
}

fn not_in_catalog(table: &QualifiedName) -> Error {
    Error::refused(format!("{table} is not a partition of the store's events"))
        .hint("see where it is: pupctl partitions list")
}
