//! The swap: one transaction in which the new tables take the place of the old ones, and the
//! checkpoint moves to where the new ones are.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use postgres::Transaction;

use crate::error::{Error, Result};
use crate::layout::name::QualifiedName;
use crate::projection::ServerHash;
use crate::projection::checkpoint::Tables;
use crate::projection::control::change::{Change, lock_rows, writing};
use crate::projection::control::read_model;
use crate::projection::control::row::{self, Group};
use crate::projection::sql::setup;
use crate::render::environment::{render, values};
use crate::render::quote::shell_word;
use crate::render::{RenderedStep, Statement};

use super::objects::{self, Object};
use super::shadow::{self, Shadow};
use super::{called_off, in_place};

/// What is swapped, and how.
pub(super) struct Swap<'a> {
    pub(super) shadow: &'a Shadow,
    /// Whether the tables stay and only their rows are exchanged.
    pub(super) in_place: bool,
    /// Where both stand afterwards, once that was planned.
    pub(super) position: Cell<i64>,
    /// The tables whose place is taken.
    pub(super) replaced: RefCell<Vec<QualifiedName>>,
}

impl<'a> Swap<'a> {
    pub(super) fn new(shadow: &'a Shadow, in_place: bool) -> Self {
        Self { shadow, in_place, position: Cell::new(0), replaced: RefCell::default() }
    }

    /// Plans it. Refuses what would lose anything.
    pub(super) fn plan(&self, transaction: &mut Transaction<'_>) -> Result<Option<Change>> {
        let group = self.made(transaction)?.ok_or_else(|| called_off(self.shadow.live.name()))?;
        self.plan_with(transaction, Some(&group)).map(Some)
    }

    /// What it would be, for a shadow that has no checkpoints yet.
    pub(super) fn preview(&self, transaction: &mut Transaction<'_>) -> Result<Change> {
        let group = self.made(transaction)?;
        self.plan_with(transaction, group.as_ref())
    }

    fn made(&self, transaction: &mut Transaction<'_>) -> Result<Option<Group>> {
        let Shadow { live, tables, .. } = self.shadow;
        let key = format!("{} {}", tables.checkpoints, live.name());
        transaction
            .execute(include_str!("../../../sql/projection/lock.sql"), &[&key])
            .map_err(objects::failed)?;
        row::read(transaction, &tables.checkpoints, self.shadow.name())
    }

    fn plan_with(&self, transaction: &mut Transaction<'_>, made: Option<&Group>) -> Result<Change> {
        let Shadow { live, tables, live_schema, schema, .. } = self.shadow;
        let name = live.name();
        let there = row::read(transaction, &tables.checkpoints, name)?;
        refuse_draining(name, there.as_ref())?;
        setup::refuse_shared(transaction, live, tables)?;
        let positions = made.into_iter().chain(&there).flat_map(|group| &group.rows);
        self.position.set(positions.map(|row| row.position).max().unwrap_or(0));
        let new = objects::of(transaction, schema)?;
        let old = objects::replaced(transaction, live_schema, &new)?;
        let known = self.known(transaction, there.as_ref())?;
        let begun = there.is_some() || !known.is_empty();
        objects::refuse_others(name, &old, &new, &known, begun)?;
        let tables_of = |objects: &[Object]| -> Vec<QualifiedName> {
            let own = objects.iter().filter(|object| object.is_table() && !object.partition);
            own.map(|object| object.name.clone()).collect()
        };
        let replaced = tables_of(&old);
        let mut notes = left_behind(&known, &tables_of(&new), live_schema);
        let groups = made.into_iter().chain(&there);
        let rows: Vec<_> =
            groups.flat_map(|group| &group.rows).map(|row| row.name.clone()).collect();
        let mut statements = vec![match rows.as_slice() {
            [] => shadow::lock_name(&format!("{} {name}", tables.checkpoints)),
            rows => lock_rows(&tables.checkpoints, rows),
        }];
        if self.in_place {
            statements.extend(in_place::exchange(transaction, self.shadow, &new)?);
        } else {
            let (more, told) = self.exchange(transaction, &old, &new)?;
            statements.extend(more);
            notes.extend(told);
        }
        statements.extend(self.rows(there.is_some()));
        let values = values! { schema, whole => self.in_place };
        statements.push(Statement {
            sql: render("projection/rebuild/drop_schema", &values),
            why: "Nothing is left in it that is needed".to_owned(),
            locks: Vec::new(),
        });
        *self.replaced.borrow_mut() = replaced;
        let step = RenderedStep::transaction(
            format!("Put the new tables of {name} in place"),
            format!("they are what the file makes of the events up to {}", self.position.get()),
            true,
            statements,
        );
        Ok(Change { step, rows, names: vec![name.to_owned()], notes })
    }

    /// The statements that put the new tables in the place of the old ones.
    fn exchange(
        &self,
        transaction: &mut Transaction<'_>,
        old: &[Object],
        new: &[Object],
    ) -> Result<(Vec<Statement>, Vec<String>)> {
        let Shadow { live, live_schema, schema, tables, .. } = self.shadow;
        let definitions = &tables.definitions;
        let mut lost = objects::dependents(transaction, old)?;
        let (accepted, _) = shadow::definition(transaction, definitions, live.name())?;
        let is_other_file = accepted.as_deref() != Some(live.definition());
        let (essential, other) = objects::extras(transaction, live_schema, schema, is_other_file)?;
        lost.extend(essential.into_iter().map(|extra| format!("{extra} is not made by the file")));
        if !lost.is_empty() {
            return Err(Error::refused(format!(
                "the old tables of {} cannot be replaced without losing what hangs on them",
                live.name()
            ))
            .details(lost)
            .hint(
                "let the file make it, or drop it and make it again afterwards; or let the tables \
                 stay and have only their rows exchanged: --in-place",
            ));
        }
        let mut statements: Vec<_> = objects::lock_old(old).into_iter().collect();
        statements.extend(objects::drop_old(old));
        if !shadow::exists(transaction, live_schema)? {
            let sql = render("projection/sql/make_schema", &values! { schema => live_schema });
            let why = "The schema of the read model".to_owned();
            statements.push(Statement { sql, why, locks: Vec::new() });
        }
        statements.extend(objects::move_new(new, live_schema));
        let (carried, mut notes) = objects::carry(transaction, live_schema, schema)?;
        statements.extend(carried);
        notes.extend(
            other.into_iter().map(|extra| {
                format!("{extra} is not made by the file, and goes with the old table")
            }),
        );
        Ok((statements, notes))
    }

    /// The tables of which it is known that the projection fills them.
    fn known(
        &self,
        transaction: &mut Transaction<'_>,
        there: Option<&Group>,
    ) -> Result<BTreeSet<QualifiedName>> {
        let Shadow { live, tables, live_schema, .. } = self.shadow;
        let store = &tables.events.schema;
        let Some(there) = there else {
            // Its first worker may have ended before it had a checkpoint.
            let (definition, _) =
                shadow::definition(transaction, &tables.definitions, live.name())?;
            let same = definition.as_deref() == Some(live.definition());
            let own = live.tables().iter().map(|table| QualifiedName::new(live_schema, table));
            return Ok(own.filter(|_| same).collect());
        };
        let texts = there.rows.iter().filter_map(|row| row.read_model.as_ref()).flatten();
        let mut known = BTreeSet::new();
        for name in texts.filter_map(|text| read_model::parse(text)) {
            if let Some(schema) = name.schema {
                known.insert(QualifiedName::new(schema, name.name));
                continue;
            }
            known.insert(QualifiedName::new(store, name.name.clone()));
            known.insert(QualifiedName::new(live_schema, name.name));
        }
        Ok(known)
    }

    /// The statements that hand the checkpoints over, and all that is kept with them.
    fn rows(&self, there: bool) -> Vec<Statement> {
        let Shadow { live, tables, live_schema, projection: own, .. } = self.shadow;
        let Tables { checkpoints, dead_letters, definitions, audit, .. } = tables;
        let (projection, shadow, schema) = (live.name(), own.name(), live_schema);
        let (position, slot_hash) = (self.position.get(), ServerHash::NAME);
        let scope = live.scope();
        let (contexts, aggregates, read_model) = (scope.contexts, scope.types, scope.read_model);
        let values = values! {
            checkpoints, dead_letters, definitions, audit, projection, shadow, schema, position,
            slot_hash, contexts, aggregates, read_model, after => None::<i64>,
        };
        let statement = |template: &str, why: &str, on: &QualifiedName| {
            writing(render(template, &values), why, on)
        };
        let rows = if there {
            vec![
                statement(
                    "projection/rebuild/take_rows",
                    "It goes on from where the new tables are; workers compare their file with the \
                     stored one when the epoch has changed",
                    checkpoints,
                ),
                {
                    let values = values! { checkpoints, projection => shadow };
                    let sql = render("projection/rebuild/forget_rows", &values);
                    writing(sql, "The rebuild is done", checkpoints)
                },
            ]
        } else {
            let why = "The checkpoints of the rebuild become those of the projection";
            vec![statement("projection/rebuild/become_rows", why, checkpoints)]
        };
        let mut statements = rows;
        statements.extend([
            statement(
                "projection/control/forget_letters",
                "Their events were handled again",
                dead_letters,
            ),
            statement(
                "projection/rebuild/take_letters",
                "Those that could not be handled",
                dead_letters,
            ),
            statement("projection/control/forget_audit", "What the old tables were given", audit),
            statement("projection/rebuild/take_audit", "What the new ones were given", audit),
            statement("projection/control/forget_definition", "What it was", definitions),
            statement("projection/rebuild/take_definition", "What it is now", definitions),
        ]);
        statements
    }
}

fn refuse_draining(name: &str, there: Option<&Group>) -> Result<()> {
    let barrier = there.and_then(|group| group.barriers().into_iter().flatten().max());
    let Some(barrier) = barrier else { return Ok(()) };
    let word = shell_word(name);
    Err(Error::refused(format!("the slots of {name} are being changed, at position {barrier}"))
        .hint(format!(
            "finish the rescale that was begun, or call it off: pupctl projections rescale {word} \
             --abort"
        )))
}

/// Tables that were filled so far and are not any more.
fn left_behind(
    known: &BTreeSet<QualifiedName>,
    new: &[QualifiedName],
    schema: &str,
) -> Vec<String> {
    let is_new = |table: &&QualifiedName| {
        let here = QualifiedName::new(schema, table.name.clone());
        !new.iter().any(|other| other.name == here.name)
    };
    let mut names: Vec<_> = known.iter().filter(is_new).map(|table| &table.name).collect();
    names.dedup();
    let note = |name: &&String| {
        format!("{name} is not filled any more, and stays as it is: drop it if nobody needs it")
    };
    names.iter().map(note).collect()
}
