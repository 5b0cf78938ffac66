//! What is looked at before a conversion begins.

use chrono::{DateTime, Utc};
use postgres::Client;

use crate::catalog::Catalog;
use crate::catalog::surroundings::Surroundings;
use crate::cli::output::count;
use crate::command::context::Context;
use crate::db::old_rows;
use crate::error::{Error, Result};
use crate::layout::protection::Protections;
use crate::layout::{Layout, Needs, Role};
use crate::operation::convert::heads_contexts;
use crate::operation::convert::session::surroundings;
use crate::plan::convert::attach;
use crate::plan::convert::belongings::{self, Mend, OfTable, store_columns};
use crate::plan::convert::build::{self, Build};
use crate::plan::convert::rows::{self, Rows, Terms};
use crate::plan::convert::survey::Survey;
use crate::plan::convert::{Strategy, Target};
use crate::plan::{self, Plan};
use crate::render::convert::mend::hint;

use super::start::WishArgs;

/// What is known before anything is written.
pub(super) struct Preflight {
    pub(super) before: Layout,
    pub(super) target: Target,
    pub(super) survey: Survey,
    pub(super) strategy: Strategy,
    pub(super) cutover: Option<DateTime<Utc>>,
    pub(super) plan: Plan,
    pub(super) build: Build,
    pub(super) belongings: Vec<OfTable>,
    pub(super) surroundings: Vec<Surroundings>,
    pub(super) notes: Vec<String>,
}

/// What hangs on the tables, and what is in their rows.
struct Seen {
    belongings: Vec<OfTable>,
    surroundings: Vec<Surroundings>,
    rows: Rows,
}

impl WishArgs {
    /// Looks at everything, and refuses what cannot be carried, all of it in one error.
    pub(super) fn preflight(
        &self,
        context: &Context,
        client: &mut Client,
        catalog: &Catalog,
        dry: bool,
    ) -> Result<Preflight> {
        let wanted = self.layout.layout(&context.config, Some(catalog))?;
        let target = Target::new(wanted, catalog)?;
        let before = before(&target, catalog)?;
        let seen = self.look(client, &target, &before, catalog)?;
        // What a role lacks is granted before the conversion begins, and is no reason not to plan.
        let is_rights = |mend: &Mend| matches!(mend, Mend::Membership { .. } | Mend::Rights { .. });
        let in_the_way = |one: &&OfTable| !(dry && one.belonging.mend().is_some_and(is_rights));
        let found: Vec<_> = seen.belongings.iter().filter(in_the_way).cloned().collect();
        if let Some(error) = belongings::refusal_of_all(&found, hint) {
            return Err(error);
        }
        let plan = own(&before, catalog)?;
        plan::tables::refuse_differences(&before, catalog)?;
        let survey = self.survey(client, &target, &seen.rows, catalog)?;
        let mut notes = Vec::new();
        notes.extend(self.contexts_found(&survey, &target.layout)?);
        let layout = survey.extended(&target.layout)?;
        let target = Target { layout, ..target };
        let strategy = self.strategy();
        let span = survey.span().filter(|_| target.layout.has_month_level());
        let months = span.map(|span| format!("the events are of {span}"));
        let (target, cutover, build) = built(strategy, target, &survey, catalog)
            .map_err(|error| error.details(months.clone()))?;
        notes.extend(months);
        notes.extend(build.partitions.notes.iter().cloned());
        let Seen { belongings, surroundings, .. } = seen;
        Ok(Preflight {
            before,
            target,
            survey,
            strategy,
            cutover,
            plan,
            build,
            belongings,
            surroundings,
            notes,
        })
    }

    /// Looks at the tables and at their rows.
    fn look(
        &self,
        client: &mut Client,
        target: &Target,
        before: &Layout,
        catalog: &Catalog,
    ) -> Result<Seen> {
        let mut seen =
            Seen { belongings: Vec::new(), surroundings: Vec::new(), rows: Rows::default() };
        let mut roles = Vec::new();
        for table in &target.tables {
            let found = surroundings(client, &table.current)?;
            let examined = belongings::examine(&target.layout, table.role, &found);
            seen.belongings.extend(OfTable::all(&table.current, examined));
            seen.surroundings.push(found);
            roles.push(table.role);
        }
        let others = plan::tables::differences_beside_columns(before, catalog, &roles);
        seen.belongings.extend(belongings::differing(others));
        let Some(place) = target.tables.iter().position(|table| table.role == Role::Events) else {
            return Ok(seen);
        };
        let of_events = &seen.surroundings[place];
        if has_columns(Role::Events, of_events) {
            let heads = catalog.heads.as_ref().filter(|heads| {
                let column = |name: &str| heads.columns.iter().any(|own| own.name == name);
                store_columns(Role::Heads).iter().all(|own| column(own.name))
            });
            let heads = heads.map(|heads| &heads.root.name);
            seen.rows = old_rows::read(client, Role::Events, of_events, heads)?;
            let (strategy, free) = (self.strategy(), self.free_space);
            let terms = Terms { strategy, free, deviating: self.allow_deviating_heads };
            let judged = rows::judge(&target.layout, &seen.rows, terms);
            seen.belongings.extend(OfTable::all(&target.tables[place].current, judged));
        }
        Ok(seen)
    }

    /// The contexts and months of the events.
    fn survey(
        &self,
        client: &mut Client,
        target: &Target,
        rows: &Rows,
        catalog: &Catalog,
    ) -> Result<Survey> {
        let mut survey = Survey { parts: rows.parts.clone() };
        if self.allow_deviating_heads && target.layout.has_context_level() {
            let heads = target.layout.table(&catalog.schema_name, Role::Heads);
            survey.add_contexts(heads_contexts(client, &heads)?);
        }
        survey.refuse_homeless_at_first(&target.layout)?;
        Ok(survey)
    }

    /// Tells which contexts the events have beside those that are named, or refuses them.
    fn contexts_found(&self, survey: &Survey, layout: &Layout) -> Result<Option<String>> {
        let unknown = survey.unknown_contexts(layout);
        if unknown.is_empty() {
            return Ok(None);
        }
        if !self.layout.names_contexts() {
            return Ok(Some(format!("contexts found in the events: {}", unknown.join(", "))));
        }
        Err(Error::refused(format!(
            "the store has events of {} that are not named",
            count(unknown.len(), "context")
        ))
        .details(unknown)
        .hint("name them too, or leave out --contexts: they come from the events"))
    }
}

/// The layout that the store has: the stored one, or that of tables which are not divided.
fn before(target: &Target, catalog: &Catalog) -> Result<Layout> {
    if let Some(layout) = &catalog.layout {
        return Ok(layout.clone());
    }
    let Layout { tables, months_ahead, protections, .. } = target.layout.clone();
    // What protects events across partitions is chosen for the new layout.
    let protections = Protections { immutable: false, ..protections };
    let whole = Layout::new(tables, Vec::new(), Vec::new(), months_ahead)?.protected(protections);
    plan::baseline::refuse_missing(&whole, catalog)?;
    Ok(whole)
}

/// What pupctl needs beside the store's tables, and the adoption of those that it did not make.
fn own(before: &Layout, catalog: &Catalog) -> Result<Plan> {
    if catalog.layout.is_none() {
        return plan::baseline::plan(before, catalog);
    }
    let mut plan = Plan::default();
    plan.steps.extend(plan::init::own_tables(before, catalog)?);
    Ok(plan)
}

fn has_columns(role: Role, surroundings: &Surroundings) -> bool {
    store_columns(role).iter().all(|own| surroundings.column(own.name).is_some())
}

/// What is to be built, and when the months begin where the old table stays.
fn built(
    strategy: Strategy,
    target: Target,
    survey: &Survey,
    catalog: &Catalog,
) -> Result<(Target, Option<DateTime<Utc>>, Build)> {
    if strategy == Strategy::Copy {
        let build = build::plan(&target, catalog, &survey.needs(), true, None)?;
        return Ok((target, None, build));
    }
    attach::refuse_unfit(&target.layout, survey)?;
    let target = attach::named(target, catalog);
    let has_months = target.layout.has_month_level();
    let cutover = has_months.then(|| attach::cutover(catalog.server.now, survey).start());
    let bound = attach::bound(&target.layout, cutover);
    let build = build::plan(&target, catalog, &Needs::new(), false, bound.as_ref())?;
    Ok((target, cutover, build))
}
