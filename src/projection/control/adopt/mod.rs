//! Takes over the checkpoints of a projection that pupsourcing's processors have worked on: `name`
//! where there was one, `name_p0`, `name_p1` … where there were more. How many there were is not
//! written down anywhere, so it has to be told.

mod count;
mod plan;

pub use count::Cost;
pub use plan::{Plan, Source, Start, Wish};

use std::time::Duration;

use chrono::{DateTime, Utc};
use postgres::{Client, GenericClient, Row};
use serde::Serialize;

use super::change::writing;
use super::checkpoint::{adopt_command, partition_of};
use super::init::validate_scope;
use super::row::{self, Group, Held, Seen};
use super::{beside, checkpoints_ready};
use crate::db::{Interrupt, settled};
use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::finding::holder::Holder;
use crate::layout::name::QualifiedName;
use crate::projection::name;
use crate::render::environment::{render, values};
use crate::render::quote::shell_word;
use crate::render::{RenderedStep, Script, Statement};

/// A row of the table of checkpoints that is not pupctl's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForeignRow {
    /// Its `projection_name`.
    #[serde(skip)]
    pub name: String,
    /// Where it stands.
    #[serde(skip)]
    pub position: i64,
    /// When it moved last.
    #[serde(rename = "updated_at")]
    pub moved_at: DateTime<Utc>,
    /// Whether that was less than a minute ago, by the server's clock.
    pub moves: bool,
}

impl ForeignRow {
    fn of(row: &Row) -> Result<Self, postgres::Error> {
        Ok(Self {
            name: row.try_get("name")?,
            position: row.try_get("position")?,
            moved_at: row.try_get("moved_at")?,
            moves: row.try_get("moves")?,
        })
    }
}

/// The rows of pupsourcing's that have the name of a projection, or of one of its partitions.
pub(super) fn foreign_rows(
    client: &mut impl GenericClient,
    checkpoints: &QualifiedName,
    projection: &str,
    lock: bool,
) -> Result<Vec<ForeignRow>> {
    let failed = |error| Error::database("reading the rows of pupsourcing's processors", error);
    let rows = client.query(&foreign_sql(checkpoints, projection, lock), &[]).map_err(failed)?;
    let mut found = Vec::new();
    for row in &rows {
        let row = ForeignRow::of(row).map_err(failed)?;
        let rest = row.name.strip_prefix(projection).unwrap_or_default();
        let key = rest.strip_prefix("_p").unwrap_or_default();
        let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
        if rest.is_empty() || is_key {
            found.push(row);
        }
    }
    Ok(found)
}

fn foreign_sql(checkpoints: &QualifiedName, projection: &str, lock: bool) -> String {
    let prefix = format!("{projection}_p");
    render("projection/control/foreign_rows", &values! { checkpoints, projection, prefix, lock })
}

/// The tables, and what is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The table of checkpoints.
    pub checkpoints: &'a QualifiedName,
    /// The table of events.
    pub events: &'a QualifiedName,
    /// What the projection is to be.
    pub wish: &'a Wish,
    /// Whether rows may have moved a moment ago.
    pub force: bool,
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It is pupctl's, with the slots that are wanted.
    Adopted(Group),
    /// There are rows to be taken over.
    Rows(Plan, Cost),
}

impl Request<'_> {
    fn validate(&self) -> Result<()> {
        let Wish { projection, total, target, .. } = self.wish;
        name::validate(projection)?;
        name::validate_slots(target.slots)?;
        if *total == 0 || *total > name::SLOTS_MAX {
            return Err(Error::invalid(format!("a projection cannot have {total} partitions"))
                .hint("say the TOTAL_PARTITIONS of its workers, or 1 where they have none"));
        }
        let wish = self.wish;
        validate_scope(&wish.contexts, &wish.aggregates)?;
        if wish.tables.iter().any(|text| text.trim().is_empty()) {
            return Err(Error::invalid("a name in a list is empty")
                .hint("write names with commas between them: --tables totals,sales.lines"));
        }
        Ok(())
    }

    /// What would be done: waits until what the rows stand at is settled, then reads them and
    /// counts. The client must not be in a transaction.
    pub fn look(
        &self,
        client: &mut Client,
        patience: Duration,
        interrupt: &Interrupt,
        on_wait: &mut dyn FnMut(&[Holder]),
    ) -> Result<Look> {
        self.validate()?;
        checkpoints_ready(client, self.checkpoints)?;
        if let Some(group) = self.adopted(client)? {
            return Ok(Look::Adopted(group));
        }
        // What cannot be is refused before anybody waits; positions may move meanwhile.
        if let Err(error) = self.plan(client) {
            // The rows may have been taken over since the first look.
            return self.adopted(client)?.map(Look::Adopted).ok_or(error);
        }
        let settled = settled::wait(client, self.events, patience, interrupt, on_wait)?;
        let plan = match self.plan(client) {
            Ok(plan) => plan,
            Err(error) => return self.adopted(client)?.map(Look::Adopted).ok_or(error),
        };
        refuse_beyond(&plan, settled)?;
        let cost = count::cost(client, self.events, self.wish, &plan)
            .map_err(|error| interrupt.explain(error))?;
        Ok(Look::Rows(plan, cost))
    }

    /// The slots, where the projection is pupctl's already.
    fn adopted(&self, client: &mut Client) -> Result<Option<Group>> {
        let projection = &self.wish.projection;
        let Some(group) = row::read(client, self.checkpoints, projection)? else {
            return Ok(None);
        };
        let foreign = foreign_rows(client, self.checkpoints, projection, false)?;
        adopted(self.wish, group, &foreign).map(Some)
    }

    fn plan(&self, client: &mut impl GenericClient) -> Result<Plan> {
        self.refuse_one_of_several(client)?;
        let rows = foreign_rows(client, self.checkpoints, &self.wish.projection, false)?;
        Plan::of(self.wish, &rows)
    }

    /// `orders_p1` is no projection of its own where `orders_p0` is there too.
    fn refuse_one_of_several(&self, client: &mut impl GenericClient) -> Result<()> {
        let projection = &self.wish.projection;
        let Some((base, _)) = partition_of(projection) else { return Ok(()) };
        if self.wish.total != 1 || self.force {
            return Ok(());
        }
        let rows = foreign_rows(client, self.checkpoints, base, false)?;
        let is_sibling = |row: &&ForeignRow| row.name != *projection && row.name != base;
        let siblings: Vec<_> = rows.iter().filter(is_sibling).collect();
        let is_there = rows.iter().any(|row| row.name == *projection);
        if siblings.is_empty() || !is_there {
            return Ok(());
        }
        let lines =
            siblings.iter().map(|row| format!("{} is at position {}", row.name, row.position));
        let command = adopt_command(projection, rows.iter().map(|row| row.name.as_str()));
        Err(Error::refused(format!(
            "{projection} is one of several partitions of the projection {base}"
        ))
        .details(lines)
        .hint(format!("take over all of it: {command}; or add --force if it is not")))
    }

    /// The statements of a plan.
    #[must_use]
    pub fn script(&self, plan: &Plan) -> Script {
        let (checkpoints, projection) = (self.checkpoints, &self.wish.projection);
        let seen = seen(plan);
        let mut statements = vec![
            Statement {
                sql: foreign_sql(checkpoints, projection, true),
                why: "Another processor that moves them waits here".to_owned(),
                locks: Vec::new(),
            },
            row::unchanged_statement(checkpoints, projection, &seen),
        ];
        match (seen.as_slice(), plan.after.as_slice()) {
            // The row keeps its name, and what others have added to it.
            ([old], [new]) if old.name == new.name => statements.push(Statement {
                sql: render(
                    "projection/control/extend_row",
                    &values! { checkpoints, projection, row => new },
                ),
                why: "The row becomes that of the only slot".to_owned(),
                locks: row::row_exclusive(checkpoints),
            }),
            _ => statements.extend([
                row::remove_statement(checkpoints, &seen),
                row::write_statement(checkpoints, projection, &plan.after),
            ]),
        }
        statements.extend(begin_audit(checkpoints, projection));
        let title = format!("Take {projection} over with {} slots", plan.after.len());
        let why = "The rows of pupsourcing's processors become rows of slots";
        Script { steps: vec![RenderedStep::transaction(title, why, false, statements)] }
    }

    /// Does what was looked at, if it is still so. The client must not be in a transaction.
    pub fn run(
        &self,
        client: &mut Client,
        plan: &Plan,
        patience: Duration,
        interrupt: &Interrupt,
    ) -> Result<()> {
        refuse_moving(self, plan)?;
        self.replace(client, plan, patience).map_err(|error| {
            let error = interrupt.explain(error);
            if error.is_lock_failure() {
                return row::locked_out(&self.wish.projection, patience, error);
            }
            error
        })
    }

    fn replace(&self, client: &mut Client, plan: &Plan, patience: Duration) -> Result<()> {
        let (checkpoints, projection) = (self.checkpoints, &self.wish.projection);
        let mut transaction = row::begin(client, patience)?;
        foreign_rows(&mut transaction, checkpoints, projection, true)?;
        // In a statement of its own, which sees what was written while the first waited.
        let now = self.plan_again(&mut transaction)?;
        if now != positions(plan) {
            return Err(moved(projection));
        }
        row::refuse_taken(&mut transaction, checkpoints, projection, &plan.after, &seen(plan))?;
        for step in &self.script(plan).steps {
            row::execute(&mut transaction, &step.statements[1..])?;
        }
        reach("adopt::before_commit");
        transaction
            .commit()
            .map_err(|error| Error::database("taking the projection over", error))?;
        reach("adopt::after_commit");
        Ok(())
    }

    fn plan_again(
        &self,
        transaction: &mut postgres::Transaction<'_>,
    ) -> Result<Vec<(String, i64)>> {
        let (checkpoints, projection) = (self.checkpoints, &self.wish.projection);
        if !matches!(row::lock(transaction, checkpoints, projection)?, Held::Nothing) {
            return Err(Error::refused(format!(
                "the projection {projection} was taken over by somebody else meanwhile"
            ))
            .hint("run the command again to see whether it is as you want it"));
        }
        Ok(positions(&self.plan(transaction)?))
    }
}

/// What others gave nobody knows: it is noted behind the highest of the rows.
fn begin_audit(checkpoints: &QualifiedName, projection: &str) -> [Statement; 2] {
    let (definitions, audit) = beside(checkpoints);
    let forget = render(
        "projection/control/forget_audit",
        &values! {
            audit, projection, after => None::<i64>,
        },
    );
    let begin = render(
        "projection/control/begin_audit",
        &values! {
            checkpoints, definitions, projection,
        },
    );
    [
        writing(forget, "Of an earlier projection of this name", &audit),
        writing(begin, "Behind all rows it is noted what it is given", &definitions),
    ]
}

fn positions(plan: &Plan) -> Vec<(String, i64)> {
    plan.rows().map(|row| (row.name.clone(), row.position)).collect()
}

fn seen(plan: &Plan) -> Vec<Seen> {
    let seen =
        |row: &ForeignRow| Seen { name: row.name.clone(), position: row.position, epoch: None };
    plan.rows().map(seen).collect()
}

/// Refuses while a worker of pupsourcing's seems to run.
pub fn refuse_moving(request: &Request<'_>, plan: &Plan) -> Result<()> {
    let moving: Vec<_> = plan.moving().collect();
    if moving.is_empty() || request.force {
        return Ok(());
    }
    let lines = moving
        .iter()
        .map(|row| format!("{} moved at {}", row.name, row.moved_at.format("%F %T UTC")));
    Err(Error::refused(format!(
        "a worker of pupsourcing's seems to run for the projection {}: rows moved less than a \
         minute ago",
        request.wish.projection
    ))
    .details(lines)
    .hint("stop its workers and wait a minute, or add --force if you know that they are stopped"))
}

fn moved(projection: &str) -> Error {
    Error::refused(format!("the rows of the projection {projection} have moved meanwhile"))
        .detail("a worker of pupsourcing's runs")
        .hint("stop its workers, and run the command again")
}

fn refuse_beyond(plan: &Plan, settled: i64) -> Result<()> {
    let beyond: Vec<_> = plan.sources.iter().filter(|source| source.position > settled).collect();
    if beyond.is_empty() {
        return Ok(());
    }
    let lines =
        beyond.iter().map(|source| format!("{} is at position {}", source.name, source.position));
    Err(Error::refused(format!(
        "rows stand beyond the last position of the store, which is {settled}"
    ))
    .details(lines)
    .hint("they are of another store, or the sequence of the positions was set back"))
}

/// It is pupctl's: as it is wanted, or not.
fn adopted(wish: &Wish, group: Group, foreign: &[ForeignRow]) -> Result<Group> {
    let Wish { projection, target, ignore_rows, .. } = wish;
    let name = shell_word(projection);
    let foreign: Vec<_> = foreign.iter().filter(|row| !ignore_rows.contains(&row.name)).collect();
    if !foreign.is_empty() {
        return Err(Error::refused(format!(
            "the projection {projection} is pupctl's already, and there are rows of pupsourcing's \
             beside"
        ))
        .details(foreign.iter().map(|row| format!("{} is at position {}", row.name, row.position)))
        .hint("its workers seem still to run: stop them, and remove these rows"));
    }
    if group.slots != target.slots {
        return Err(Error::refused(format!(
            "the projection {projection} is pupctl's already, with {} slots",
            group.slots
        ))
        .hint(format!(
            "change their number: pupctl projections rescale {name} --slots {}",
            target.slots
        )));
    }
    Ok(group)
}
