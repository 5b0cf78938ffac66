//! Changes the number of slots of a projection, or their hash, while its workers run: no event is
//! lost, and none is handled twice.
//!
//! A worker holds the row of its slot for as long as its batch takes, so whoever holds all rows
//! knows that nobody is at work, and where every slot stands. Where each new slot is a part of an
//! old one it begins at that one's position. Otherwise the old slots first have to stand at one
//! position: that is their barrier, `drain_to`, beyond which no worker moves them; the workers
//! bring those that are behind to it. Then the rows are replaced in one transaction, with the next
//! epoch.

mod plan;
mod wait;

pub use plan::{Drain, Plan, Target, Way};
pub use wait::Waiting;

use std::time::{Duration, Instant};

use postgres::{Client, GenericClient};

use super::checkpoints_ready;
use super::row::{self, Group, Held, Seen};
use crate::db::Interrupt;
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::name::QualifiedName;
use crate::projection::name;
use crate::render::environment::{render, values};
use crate::render::quote::shell_word;
use crate::render::{RenderedStep, Script, Statement};

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The table of checkpoints.
    pub checkpoints: &'a QualifiedName,
    /// The name of the projection.
    pub projection: &'a str,
    /// How many slots it is to have; none for as many as it has.
    pub slots: Option<u32>,
    /// By which hash; none for the one that it has.
    pub hash: Option<&'a str>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The plan that was executed; that of the beginning, where there was nothing to do.
    pub plan: Plan,
    /// Whether the rows were written.
    pub changed: bool,
}

impl Request<'_> {
    fn target(&self, group: &Group) -> Target {
        let hash = self.hash.map_or_else(|| group.hash.clone(), str::to_owned);
        Target { slots: self.slots.unwrap_or(group.slots), hash }
    }

    fn plan(&self, group: Group) -> Plan {
        let target = self.target(&group);
        Plan::of(self.projection, group, &target)
    }

    fn validate(&self) -> Result<()> {
        name::validate(self.projection)?;
        self.slots.map_or(Ok(()), name::validate_slots)?;
        if self.hash.is_some_and(|hash| hash.trim().is_empty()) {
            return Err(Error::invalid("the name of the hash is empty").hint(
                "leave --hash out to keep the present one, or name hashtextextended or fnv1a32",
            ));
        }
        Ok(())
    }

    /// What would be done, by the rows as they are now. Reads only.
    pub fn look(&self, client: &mut impl GenericClient) -> Result<Plan> {
        self.validate()?;
        checkpoints_ready(client, self.checkpoints)?;
        match row::read(client, self.checkpoints, self.projection)? {
            Some(group) => Ok(self.plan(group)),
            None => Err(row::unknown(client, self.checkpoints, self.projection)?),
        }
    }

    /// The statements of a plan.
    #[must_use]
    pub fn script(&self, plan: &Plan) -> Script {
        let mut steps = Vec::new();
        if plan.way != Way::Nothing {
            if !plan.is_ready() && plan.before.barriers() != plan.barriers() {
                steps.push(self.barrier_step(plan));
            }
            steps.push(self.replace_step(plan));
        }
        Script { steps }
    }

    fn barrier_step(&self, plan: &Plan) -> RenderedStep {
        let (checkpoints, drains) = (self.checkpoints, &plan.drains);
        let barrier = Statement {
            sql: render("projection/control/barrier", &values! { checkpoints, drains }),
            why: "Workers bring the slots so far, and no further".to_owned(),
            locks: row::row_exclusive(checkpoints),
        };
        let seen: Vec<_> = plan.before.rows.iter().map(Seen::from).collect();
        let statements = vec![
            row::lock_statement(checkpoints, self.projection),
            row::unchanged_statement(checkpoints, self.projection, &seen),
            barrier,
        ];
        RenderedStep::transaction(
            format!("Set the barrier of {}", self.projection),
            "Slots that become one have to stand at one position",
            false,
            statements,
        )
    }

    fn replace_step(&self, plan: &Plan) -> RenderedStep {
        // Those that are still to be drained stand at their barriers by then.
        let mut seen: Vec<_> = plan.before.rows.iter().map(Seen::from).collect();
        for (row, drain) in seen.iter_mut().zip(&plan.drains) {
            row.position = drain.to;
        }
        let (checkpoints, projection) = (self.checkpoints, self.projection);
        let statements = vec![
            row::lock_statement(checkpoints, projection),
            row::unchanged_statement(checkpoints, projection, &seen),
            row::remove_statement(checkpoints, &seen),
            row::write_statement(checkpoints, projection, &plan.after),
        ];
        RenderedStep::transaction(
            format!("Give {projection} {} slots", plan.after.len()),
            plan.way.reason(),
            false,
            statements,
        )
    }
}

/// Changes the slots, and waits until the workers have brought them to their barrier where there
/// has to be one. After `patience` it refuses, and leaves the barrier in place: the next run goes
/// on. `on_wait` hears now and then how far they are.
///
/// The client must not be in a transaction.
pub fn run(
    client: &mut Client,
    request: &Request<'_>,
    patience: Duration,
    interrupt: &Interrupt,
    on_wait: &mut dyn FnMut(&Waiting),
) -> Result<Outcome> {
    let first = request.look(client)?;
    let mut run = Run { request, epoch: first.before.epoch, interrupt, patience };
    run.until_done(client, first, on_wait).map_err(|error| interrupt.explain(error))
}

struct Run<'a> {
    request: &'a Request<'a>,
    /// That of the beginning: with another one somebody else has changed the slots.
    epoch: i32,
    interrupt: &'a Interrupt,
    patience: Duration,
}

/// How far one look under the locks came.
enum Step {
    Done(Outcome),
    /// The barrier is set, and these are behind it.
    Draining(Plan),
    Again,
}

impl Run<'_> {
    fn until_done(
        &mut self,
        client: &mut Client,
        first: Plan,
        on_wait: &mut dyn FnMut(&Waiting),
    ) -> Result<Outcome> {
        if first.way == Way::Nothing {
            refuse_other_barrier(self.request.projection, &first)?;
            return Ok(Outcome { plan: first, changed: false });
        }
        let start = Instant::now();
        loop {
            self.interrupt.check()?;
            let left = self.patience.saturating_sub(start.elapsed());
            let step = match self.attempt(client, left) {
                Err(error) if error.is_lock_failure() => {
                    self.interrupt.check()?;
                    if start.elapsed() >= self.patience {
                        let projection = self.request.projection;
                        return Err(row::locked_out(projection, self.patience, error));
                    }
                    Step::Again
                }
                step => step?,
            };
            match step {
                Step::Done(outcome) => return Ok(outcome),
                Step::Draining(plan) => {
                    let deadline = start + self.patience;
                    wait::until_drained(
                        client,
                        self.request,
                        &plan,
                        deadline,
                        self.interrupt,
                        on_wait,
                    )?;
                }
                Step::Again => {}
            }
        }
    }

    /// Looks at the rows under their locks, and does what can be done at once.
    fn attempt(&self, client: &mut Client, patience: Duration) -> Result<Step> {
        let request = self.request;
        let (checkpoints, projection) = (request.checkpoints, request.projection);
        let mut transaction = row::begin(client, patience)?;
        let group = match row::lock(&mut transaction, checkpoints, projection)? {
            Held::Rows(group) => group,
            Held::Replaced => return Ok(Step::Again),
            Held::Nothing => return Err(row::unknown(&mut transaction, checkpoints, projection)?),
        };
        let plan = request.plan(group);
        if plan.before.epoch != self.epoch && plan.way != Way::Nothing {
            return Err(changed_meanwhile(projection, &plan));
        }
        refuse_other_barrier(projection, &plan)?;
        if plan.way == Way::Nothing {
            return Ok(Step::Done(Outcome { plan, changed: false }));
        }
        if !plan.is_ready() {
            refuse_paused(projection, &plan)?;
            if plan.before.barriers() != plan.barriers() {
                row::execute(&mut transaction, &request.barrier_step(&plan).statements[1..])?;
                reach("rescale::before_barrier");
                commit(transaction)?;
                reach("rescale::barrier");
            }
            return Ok(Step::Draining(plan));
        }
        let leaving: Vec<_> = plan.before.rows.iter().map(Seen::from).collect();
        row::refuse_taken(&mut transaction, checkpoints, projection, &plan.after, &leaving)?;
        row::execute(&mut transaction, &request.replace_step(&plan).statements[1..])?;
        reach("rescale::before_commit");
        commit(transaction)?;
        reach("rescale::after_commit");
        Ok(Step::Done(Outcome { plan, changed: true }))
    }
}

fn commit(transaction: postgres::Transaction<'_>) -> Result<()> {
    transaction.commit().map_err(|error| Error::database("changing the slots", error))
}

fn abort_command(projection: &str) -> String {
    format!("pupctl projections rescale {} --abort", shell_word(projection))
}

/// Refuses where a barrier is in place that this change does not need: another one was begun.
fn refuse_other_barrier(projection: &str, plan: &Plan) -> Result<()> {
    let there = plan.before.barriers();
    if there.iter().all(Option::is_none) || there == plan.barriers() {
        return Ok(());
    }
    let lines = plan.before.rows.iter().filter_map(|row| {
        let to = row.drain_to?;
        Some(format!("{} is at {} and is to stop at {to}", row.name, row.position))
    });
    Err(Error::refused(format!(
        "another rescale of the projection {projection} was begun and not finished"
    ))
    .details(lines)
    .hint(format!(
        "run that one again to finish it, or call it off: {}",
        abort_command(projection)
    )))
}

fn changed_meanwhile(projection: &str, plan: &Plan) -> Error {
    let Group { slots, hash, .. } = &plan.before;
    Error::refused(format!(
        "the slots of the projection {projection} were changed meanwhile: there are {slots} by \
         {hash} now"
    ))
    .hint("run the command again if this is still what you want")
}

fn refuse_paused(projection: &str, plan: &Plan) -> Result<()> {
    let Some(since) = plan.before.paused_at() else { return Ok(()) };
    let behind = plan.behind().map(|drain| {
        format!(
            "{} is at {}, {} positions before {}",
            drain.name,
            drain.position,
            drain.left(),
            drain.to
        )
    });
    Err(Error::refused(format!(
        "the projection {projection} is paused since {}, and its slots have to move to one \
         position",
        since.format("%F %T UTC")
    ))
    .details(behind)
    .hint(format!("resume it: pupctl projections resume {}", shell_word(projection))))
}

/// The barrier that an unfinished rescale has left, by the rows that have one. Reads only.
pub fn barrier(
    client: &mut impl GenericClient,
    checkpoints: &QualifiedName,
    projection: &str,
) -> Result<Group> {
    checkpoints_ready(client, checkpoints)?;
    match row::read(client, checkpoints, projection)? {
        Some(group) => Ok(group),
        None => Err(row::unknown(client, checkpoints, projection)?),
    }
}

/// The statements that take the barrier away.
#[must_use]
pub fn abort_script(checkpoints: &QualifiedName, projection: &str) -> Script {
    let lift = Statement {
        sql: render("projection/control/lift_barrier", &values! { checkpoints, projection }),
        why: "Workers go on as far as there are events".to_owned(),
        locks: row::row_exclusive(checkpoints),
    };
    let statements = vec![row::lock_statement(checkpoints, projection), lift];
    let title = format!("Take the barrier of {projection} away");
    let step = RenderedStep::transaction(title, "The rescale is called off", false, statements);
    Script { steps: vec![step] }
}

/// Takes the barrier of an unfinished rescale away; the rows as they were before. The client must
/// not be in a transaction.
pub fn abort(
    client: &mut Client,
    checkpoints: &QualifiedName,
    projection: &str,
    patience: Duration,
    interrupt: &Interrupt,
) -> Result<Group> {
    let before = barrier(client, checkpoints, projection)?;
    if before.barriers().iter().all(Option::is_none) {
        return Ok(before);
    }
    let script = abort_script(checkpoints, projection);
    let mut lift = || {
        let mut transaction = row::begin(client, patience)?;
        let Held::Rows(group) = row::lock(&mut transaction, checkpoints, projection)? else {
            return Err(Error::refused(format!(
                "the slots of the projection {projection} were changed meanwhile"
            )));
        };
        for step in &script.steps {
            row::execute(&mut transaction, &step.statements[1..])?;
        }
        reach("rescale::before_abort");
        commit(transaction)?;
        Ok(group)
    };
    lift().map_err(|error| {
        let error = interrupt.explain(error);
        if error.is_lock_failure() {
            return row::locked_out(projection, patience, error);
        }
        error
    })
}
