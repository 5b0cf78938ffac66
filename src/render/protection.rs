//! The statements that protect events: functions, triggers, the key table of event ids.

use minijinja::Value;

use crate::layout::name::{QualifiedName, Tables};
use crate::layout::protection::{EVENT_IDS, EVENT_IDS_COMPLETE, Trigger};
use crate::plan::Protect;

use super::environment::{render, values};
use super::script::{Lock, LockMode, Statement, plain};

/// The settings under which the functions run, as `pg_proc` keeps them: nobody's objects are taken
/// for those of the server.
pub const FUNCTION_SETTINGS: [&str; 1] = ["search_path=pg_catalog, pg_temp"];

/// Whether the function behind a trigger runs with the rights of its owner, so that a writer needs
/// none beyond INSERT on events.
#[must_use]
pub fn is_definer(trigger: Trigger) -> bool {
    trigger != Trigger::Immutable
}

/// The function behind a trigger, in the schema of the store.
#[must_use]
pub fn function(schema: &str, trigger: Trigger) -> QualifiedName {
    QualifiedName::new(schema, trigger.name())
}

/// The key table of event ids, in the schema of the store.
#[must_use]
pub fn event_ids_table(schema: &str) -> QualifiedName {
    QualifiedName::new(schema, EVENT_IDS)
}

/// `CREATE OR REPLACE FUNCTION`, and the withdrawal of PUBLIC's right to call it.
#[must_use]
pub fn create_function(schema: &str, tables: &Tables, trigger: Trigger) -> String {
    let template = match trigger {
        Trigger::Guard => "protection/guard",
        Trigger::EventIds => "protection/event_ids",
        Trigger::Immutable => "protection/immutable",
    };
    render(template, &names(schema, tables))
}

/// The body of the function behind a trigger, as `pg_proc` keeps it.
#[must_use]
pub fn function_body(schema: &str, tables: &Tables, trigger: Trigger) -> String {
    let created = create_function(schema, tables, trigger);
    // `AS $tag$ body $tag$`, with a tag that the body does not have.
    let quoted = created.split("\nAS $").nth(1).and_then(|quoted| quoted.split_once('$'));
    let body = quoted.and_then(|(tag, rest)| rest.split(&format!("${tag}$")).next());
    body.unwrap_or_default().to_owned()
}

/// The key table of event ids.
#[must_use]
pub fn create_event_ids(schema: &str, tables: &Tables) -> String {
    render("protection/event_ids_table", &names(schema, tables))
}

/// The key of the key table, where somebody took it away.
#[must_use]
pub fn add_event_ids_key(schema: &str) -> String {
    super::add_key(&event_ids_table(schema), &["event_id"], true)
}

/// Gives the function behind a trigger to the owner of the events.
#[must_use]
pub fn give_function(schema: &str, trigger: Trigger, owner: &str) -> String {
    let function = function(schema, trigger);
    format!("{};", render("protection/function_owner", &values! { function, owner }))
}

/// Collects the ids of the events that are there, refuses those that are there twice, and notes
/// that all are known.
#[must_use]
pub fn collect_event_ids(schema: &str, tables: &Tables) -> String {
    render("protection/event_ids_collect", &names(schema, tables))
}

/// `CREATE OR REPLACE TRIGGER`, on a table of events; mends one that is disabled or changed too.
#[must_use]
pub fn create_trigger(table: &QualifiedName, trigger: Trigger) -> String {
    let function = function(&table.schema, trigger);
    render("protection/trigger", &values! { table, trigger, function })
}

/// `DROP TRIGGER`.
#[must_use]
pub fn drop_trigger(table: &QualifiedName, name: &str) -> String {
    render("protection/drop_trigger", &values! { table, name })
}

/// What the templates of all protections name.
fn names(schema: &str, tables: &Tables) -> Value {
    values! {
        heads => QualifiedName::new(schema, tables.aggregate_heads.clone()),
        events => QualifiedName::new(schema, tables.events.clone()),
        guard => function(schema, Trigger::Guard),
        event_ids => event_ids_table(schema),
        keep_ids => function(schema, Trigger::EventIds),
        complete => EVENT_IDS_COMPLETE,
        immutable => function(schema, Trigger::Immutable),
    }
}

/// The statements of an action, with their locks.
pub(super) fn statements(action: &Protect) -> Vec<Statement> {
    match action {
        Protect::Function { schema, tables, trigger } => {
            vec![plain(create_function(schema, tables, *trigger), "What the triggers call")]
        }
        Protect::EventIds { schema, tables } => {
            vec![plain(
                create_event_ids(schema, tables),
                "One row for every event, whatever its leaf",
            )]
        }
        Protect::EventIdsKey { schema } => {
            vec![plain(add_event_ids_key(schema), "Without it ids could be there twice")]
        }
        Protect::EventIdsIncomplete { schema } => vec![plain(
            render("table/clear_comment", &values! { table => event_ids_table(schema) }),
            "Until all ids are collected again, whatever ends this run",
        )],
        Protect::CollectEventIds { schema, tables } => vec![plain(
            collect_event_ids(schema, tables),
            "The ids of the events that are there already",
        )],
        Protect::Trigger { table, trigger, live } => vec![Statement {
            sql: create_trigger(table, *trigger),
            why: "A statement on a table fires the triggers of that table alone".to_owned(),
            locks: lock(LockMode::ShareRowExclusive, table, *live),
        }],
        Protect::Drop { table, trigger } => vec![Statement {
            sql: drop_trigger(table, trigger.name()),
            why: "The layout does not name it".to_owned(),
            locks: lock(LockMode::AccessExclusive, table, true),
        }],
    }
}

fn lock(mode: LockMode, on: &QualifiedName, live: bool) -> Vec<Lock> {
    if live { vec![Lock { mode, on: on.clone() }] } else { Vec::new() }
}
