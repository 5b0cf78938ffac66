//! What follows a table by its OID, and has to be turned to the one that takes its name: in the
//! transaction of the renames, behind them. The same leads back, with the tables exchanged.

use crate::catalog::surroundings::{Index, Statistics, Surroundings, Trigger, View};
use crate::layout::name::{QualifiedName, joined};
use crate::layout::{Layout, Role};
use crate::plan::convert::belongings::{Extra, extra_index};
use crate::render::environment::{quoted, render, values};
use crate::render::{Lock, LockMode, Statement};

use super::carry::parameters;

/// What an index is called while two exchange their names.
const ASIDE: &str = "aside";

/// Takes the locks of the views that [`in_swap`] replaces, and changes nothing. It comes before the
/// lock on the table that keeps readers out: they take the view first, and would hold it while they
/// wait for the table.
#[must_use]
pub fn lock_views(surroundings: &Surroundings) -> Vec<Statement> {
    let views = surroundings.views.iter().filter(|view| view.is_plain());
    let statement = |view: &View| Statement {
        // LOCK TABLE would take the tables below along.
        sql: render("convert/carry/lock_view", &values! { view => view.name, owner => view.owner }),
        why: "Readers come by the view to the table, and wait here".to_owned(),
        locks: vec![Lock { mode: LockMode::AccessExclusive, on: view.name.clone() }],
    };
    views.map(statement).collect()
}

/// What is turned from `old` to `new`, after both have got their names: `surroundings` are those of
/// the table that lies under `old` now, read before the renames, so that its definitions name what
/// is `new` now.
#[must_use]
pub fn in_swap(
    surroundings: &Surroundings,
    old: &QualifiedName,
    new: &QualifiedName,
) -> Vec<Statement> {
    let mut swap = Swap { old, new, statements: Vec::new() };
    for sequence in surroundings.sequences.iter().filter(|one| one.owned_by && !one.identity) {
        let (name, column) = (&sequence.name, &sequence.column);
        let values = values! { sequence => name, table => new, column };
        swap.add(
            "convert/carry/own_sequence",
            &values,
            "It would be dropped with the old table",
            name,
        );
    }
    for trigger in &surroundings.triggers {
        swap.trigger(trigger);
    }
    for statistics in &surroundings.statistics {
        swap.statistics(statistics);
    }
    for view in surroundings.views.iter().filter(|view| view.is_plain()) {
        let options = parameters(&view.options);
        let query = view.definition.clone().unwrap_or_default();
        let query = quoted(query.trim_end().trim_end_matches(';').to_owned());
        let values = values! { view => view.name, options, query };
        swap.add("convert/carry/replace_view", &values, "It keeps to the old table", &view.name);
    }
    for routine in &surroundings.routines {
        if let Some(definition) = routine.definition.clone().filter(|_| !routine.of_rows) {
            let sql = definition.trim_end().to_owned();
            let why = "Its body keeps to the old table".to_owned();
            swap.statements.push(Statement { sql, why, locks: Vec::new() });
        }
    }
    for publication in &surroundings.publications {
        let (name, columns) = (&publication.name, &publication.columns);
        let filter = publication.filter.clone().map(quoted);
        let values = values! { publication => name, table => old };
        swap.add("convert/carry/unpublish", &values, "Nobody writes to it any more", old);
        let values = values! { publication => name, table => new, columns, filter };
        swap.add("convert/carry/publish", &values, "Copied rows were not sent", new);
    }
    if let Some(comment) = &surroundings.table.comment {
        let (kind, relation, name): (_, _, Option<&str>) = ("TABLE", Some(new), None);
        let values = values! { kind, relation, name, comment };
        swap.add("convert/carry/comment", &values, "As on the old table", new);
    }
    for privilege in &surroundings.table.revoked {
        let (grantee, column): (_, Option<&str>) = (&surroundings.table.owner, None);
        let values = values! { table => new, privilege, grantee, option => false, column };
        swap.add("mend/revoke", &values, "As on the old table", new);
    }
    swap.statements
}

/// Exchanges the names of the indexes that are the same on both tables and that the layout does not
/// make, so that those of the table in use have the names that people know.
#[must_use]
pub fn exchange_index_names(
    layout: &Layout,
    role: Role,
    old: &Surroundings,
    new: &Surroundings,
) -> Vec<Statement> {
    let is_extra = |index: &&Index| extra_index(layout, role, old, index) == Extra::Carried;
    let mut taken: Vec<&str> = Vec::new();
    let mut statements = Vec::new();
    for index in old.indexes.iter().filter(is_extra) {
        let same = new.indexes.iter().find(|other| {
            other.unique == index.unique
                && other.definition == index.definition
                && !taken.contains(&other.name.as_str())
        });
        let Some(same) = same.filter(|same| same.name != index.name) else { continue };
        taken.push(&same.name);
        let schema = |name: &str| new.name.sibling(name);
        let aside = joined(&index.name, ASIDE);
        for (from, to) in [(&index.name, &aside), (&same.name, &index.name), (&aside, &same.name)] {
            statements.push(Statement {
                sql: render("convert/carry/rename_index", &values! { index => schema(from), to }),
                why: "Both have their place in one schema".to_owned(),
                locks: vec![Lock { mode: LockMode::ShareUpdateExclusive, on: schema(from) }],
            });
        }
        if let Some(comment) = &index.comment {
            let (kind, relation) = ("INDEX", Some(schema(&index.name)));
            let values = values! { kind, relation, name => None::<&str>, comment };
            let sql = render("convert/carry/comment", &values);
            let why = "As that of the old one".to_owned();
            statements.push(Statement { sql, why, locks: Vec::new() });
        }
    }
    statements
}

struct Swap<'a> {
    old: &'a QualifiedName,
    new: &'a QualifiedName,
    statements: Vec<Statement>,
}

impl Swap<'_> {
    fn add(&mut self, template: &str, values: &minijinja::Value, why: &str, on: &QualifiedName) {
        let locks = vec![Lock { mode: LockMode::AccessExclusive, on: on.clone() }];
        let sql = render(template, values);
        self.statements.push(Statement { sql, why: why.to_owned(), locks });
    }

    fn trigger(&mut self, trigger: &Trigger) {
        let (old, new, name) = (self.old, self.new, &trigger.name);
        let values = values! { table => old, name };
        self.add("convert/carry/drop_trigger", &values, "It goes to the new table", old);
        let locks = vec![Lock { mode: LockMode::ShareRowExclusive, on: new.clone() }];
        let (sql, why) = (trigger.definition.clone(), "As on the old table".to_owned());
        self.statements.push(Statement { sql, why, locks });
        let state = match trigger.enabled.as_str() {
            "D" => Some("DISABLE"),
            "R" => Some("ENABLE REPLICA"),
            "A" => Some("ENABLE ALWAYS"),
            _ => None,
        };
        if let Some(state) = state {
            let values = values! { table => new, state, name };
            self.add("convert/carry/enable_trigger", &values, "As on the old table", new);
        }
        if let Some(comment) = &trigger.comment {
            self.comment(
                "TRIGGER",
                &values! {
                    kind => "TRIGGER", relation => None::<&str>, name, on => new, comment
                },
            );
        }
    }

    fn statistics(&mut self, statistics: &Statistics) {
        let Statistics { name, owner, .. } = statistics;
        let why = "Their name is unique in the schema";
        self.add("convert/carry/drop_statistics", &values! { name }, why, self.old);
        let locks = vec![Lock { mode: LockMode::ShareUpdateExclusive, on: self.new.clone() }];
        let (sql, why) = (statistics.definition.clone(), "As on the old table".to_owned());
        self.statements.push(Statement { sql, why, locks });
        let values = values! { name, owner };
        self.add("convert/carry/statistics", &values, "As those of the old table", self.new);
        if let Some(target) = statistics.target {
            let values = values! { name, owner => None::<&str>, target };
            self.add("convert/carry/statistics", &values, "As those of the old table", self.new);
        }
        if let Some(comment) = &statistics.comment {
            self.comment(
                "STATISTICS",
                &values! {
                    kind => "STATISTICS", relation => name, name => None::<&str>, comment
                },
            );
        }
    }

    fn comment(&mut self, what: &str, values: &minijinja::Value) {
        let sql = render("convert/carry/comment", values);
        let why = format!("As on the old {}", what.to_lowercase());
        self.statements.push(Statement { sql, why, locks: Vec::new() });
    }
}
