//! The migrations of a new store as texts, before a format gives them names.
//!
//! A text may have several sections, each under a line of its own. One of them is exactly what
//! `schema init` applies and records under the same version, so that a store made by `init` and
//! files that were generated later are recognised as the same.

use std::fmt::Write as _;

use crate::error::{Error, Result};
use crate::layout::{Layout, Role};
use crate::plan::generate::Generated;
use crate::plan::init::LAYOUT_MIGRATION;
use crate::plan::{MigrationSet, Plan};

use super::environment::{render, values};
use super::protection::collect_event_ids;
use super::quote;
use super::script::{RenderedMigration, Script, migration_sql};
use super::statements::{self, Statement};
use super::tables::{
    archives_table, closed_table, conversion_ranges_table, conversions_table, history_table,
    json_function, layout_table, operations_table, wait_function,
};

/// How the line begins above a section.
pub const SECTION: &str = "-- pupctl: ";

/// The names of the sections.
pub const SECTIONS: [&str; 4] = ["schema", "tables", "partitions", "triggers"];

/// A migration as text: LF, no time in it, one newline at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its version.
    pub version: i64,
    /// Its name, of word characters.
    pub name: &'static str,
    /// Its SQL.
    pub text: String,
}

/// The migrations of the store, the last of which tells pupctl what it has to know.
#[must_use]
pub fn sources(generated: &Generated) -> Vec<Source> {
    let mut sources: Vec<_> = generated
        .store
        .iter()
        .map(|migration| Source {
            version: migration.version,
            name: migration.name,
            text: migration_sql(migration),
        })
        .collect();
    if let Some(first) = sources.first_mut().filter(|_| generated.schema != "public") {
        let schema = render("table/schema_once", &values! { schema => generated.schema });
        first.text = format!("{SECTION}schema\n{schema};\n\n{SECTION}tables\n{}", first.text);
    }
    let partitions = statements(&generated.partitions);
    if let Some(events) = sources.iter_mut().find(|source| source.name == "events") {
        add_section(&mut events.text, "partitions", &partitions);
    }
    if let Some(last) = sources.last_mut() {
        let triggers = added(&partitions, statements(&generated.protected));
        add_section(&mut last.text, "triggers", &triggers);
    }
    let layout = layout(generated, &sources);
    let (version, name) = LAYOUT_MIGRATION;
    sources.push(Source { version, name, text: layout });
    sources
}

fn add_section(text: &mut String, name: &str, statements: &[String]) {
    if !statements.is_empty() {
        let _ = write!(text, "\n{SECTION}{name}\n{}", statements.join("\n"));
    }
}

fn statements(plan: &Plan) -> Vec<String> {
    let steps = Script::of(plan).steps;
    steps.iter().flat_map(|step| &step.statements).map(|one| format!("{};\n", one.sql)).collect()
}

/// The statements that a longer list has beyond a shorter one, whose order it keeps.
fn added(shorter: &[String], longer: Vec<String>) -> Vec<String> {
    let mut shorter = shorter.iter().peekable();
    longer.into_iter().filter(|statement| shorter.next_if_eq(&statement).is_none()).collect()
}

/// What a later pupctl reads: its own tables with their history, which migrations made the
/// store's, and the layout. It may run where pupctl has made them before.
fn layout(generated: &Generated, sources: &[Source]) -> String {
    let schema = generated.schema.as_str();
    let history = history_table(schema, MigrationSet::Own);
    let own = generated.own.iter().map(|migration| {
        let rendered = RenderedMigration::of(migration, false).migration;
        let values = values! {
            history,
            version => migration.version,
            name => migration.name,
            checksum => rendered.checksum().to_string(),
            file => format!("migration/own/V{}__{}", migration.version, migration.name),
            layout => layout_table(schema),
            operations => operations_table(schema),
            archives => archives_table(schema),
            closed => closed_table(schema),
            conversions => conversions_table(schema),
            conversion_ranges => conversion_ranges_table(schema),
            checkpoints => generated.layout.checkpoints(schema),
            dead_letters => generated.layout.dead_letters(schema),
            definitions => generated.layout.definitions(schema),
            audit => generated.layout.audit(schema),
            wait => wait_function(schema),
            json => json_function(schema),
            events => generated.layout.table(schema, Role::Events),
        };
        render("migration/own_once", &values)
    });
    let own = [vec![render("migration/history", &values! { history })], own.collect()].concat();

    let history = history_table(schema, MigrationSet::Store);
    let store = sources.iter().map(|source| {
        let values = values! {
            history,
            version => source.version,
            name => source.name,
            checksum => checksum(source).to_string(),
        };
        render("migration/record_once", &values)
    });
    let store = [vec![render("migration/history", &values! { history })], store.collect()].concat();

    let table = layout_table(schema);
    let json = generated.layout.to_json().to_string();
    let mut layout = render("layout/store_once", &values! { table, layout => json });
    if generated.layout.keeps_event_ids() {
        // Nothing is stored yet where these files made the store.
        let collect = collect_event_ids(schema, &generated.layout.tables);
        let _ = write!(layout, ";\n\n{}", collect.trim_end().trim_end_matches(';'));
    }
    format!(
        "-- What pupctl reads of the store: its own tables, unless they are there.\n{};\n\n\
         -- The migrations before this one, as pupctl records them itself.\n{};\n\n\
         -- The layout, from which `pupctl partitions ensure` knows what is missing.\n{layout};\n",
        own.join(";\n\n"),
        store.join(";\n\n")
    )
}

/// The layout that a text stores, which [`sources`] wrote.
pub fn stored_layout(text: &str) -> Result<Option<Layout>> {
    let table = quote::ident(&layout_table("").name);
    let is_insert = |statement: &Statement<'_>| {
        statement.words.starts_with(&["INSERT".to_owned(), "INTO".to_owned()])
            && statement.words.contains(&table)
    };
    let statements = statements::split(text);
    let Some(insert) = statements.iter().find(|statement| is_insert(statement)) else {
        return Ok(None);
    };
    let json = insert.words.iter().find_map(|word| quote::unquoted(word)).unwrap_or_default();
    let value = serde_json::from_str(&json).map_err(|error| {
        Error::invalid(format!("its layout cannot be read: {error}"))
            .hint("generate the file again: pupctl schema generate")
    })?;
    Layout::from_json(value).map(Some)
}

fn checksum(source: &Source) -> u64 {
    RenderedMigration::unapplied(source.version, source.name, &source.text).checksum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_to_a_list_is_found() {
        let list = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(added(&list("a b a"), list("a x b y a z")), ["x", "y", "z"]);
        assert!(added(&list("a b"), list("a b")).is_empty());
    }
}
