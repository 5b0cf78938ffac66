//! The shadow of a projection: the same one under another name, with its tables in a schema of
//! their own. It is begun, gone on with, and taken away.

use postgres::{Client, GenericClient, Transaction};

use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::layout::name::{QualifiedName, fold_context, hashed};
use crate::projection::checkpoint::{self, Tables, register};
use crate::projection::config::{ProcessorConfig, Slots};
use crate::projection::control::change::{Change, lock_rows, writing};
use crate::projection::control::row;
use crate::projection::name::REBUILD;
use crate::projection::sql::{SqlProjection, SqlSession, setup};
use crate::render::environment::{render, values};
use crate::render::quote::shell_word;
use crate::render::{RenderedStep, Statement};

use super::objects;

/// The longest name of a schema that needs no hash, in bytes.
const SCHEMA_BYTES_MAX: usize = 63;

/// The name under which a projection is rebuilt.
#[must_use]
pub fn shadow_name(projection: &str) -> String {
    format!("{projection}{REBUILD}")
}

/// The schema of the shadow's tables. Another store of the database may have a projection of the
/// same name.
#[must_use]
pub fn shadow_schema(store: &str, projection: &str) -> String {
    let safe = fold_context(projection);
    let name = format!("pupctl_rebuild_{safe}");
    if safe == projection && store == "public" && name.len() <= SCHEMA_BYTES_MAX {
        return name;
    }
    hashed(&name, &format!("{store} {projection}"))
}

/// A projection, and its shadow.
#[derive(Debug, Clone)]
pub(super) struct Shadow {
    /// The projection, as its file says.
    pub(super) live: SqlProjection,
    /// The same one aside.
    pub(super) projection: SqlProjection,
    /// The schema of the read model.
    pub(super) live_schema: String,
    /// The schema of the shadow's tables.
    pub(super) schema: String,
    /// The tables of the store.
    pub(super) tables: Tables,
}

/// How a rebuild that was begun stands to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Begun {
    /// There is none.
    No,
    /// It goes on, from this position.
    At(i64),
    /// It was begun with another file.
    Otherwise(i64),
}

impl Shadow {
    pub(super) fn new(live: &SqlProjection, tables: Tables) -> Self {
        let store = tables.events.schema.clone();
        let schema = shadow_schema(&store, live.name());
        let live_schema = live.schema().unwrap_or(&store).to_owned();
        let projection = live.shadow(&shadow_name(live.name()), &schema);
        Self { live: live.clone(), projection, live_schema, schema, tables }
    }

    pub(super) fn name(&self) -> &str {
        self.projection.name()
    }

    /// Whether it was begun already.
    pub(super) fn begun(&self, client: &mut impl GenericClient) -> Result<Begun> {
        let group = row::read(client, &self.tables.checkpoints, self.name())?;
        let Some(group) = group else { return Ok(Begun::No) };
        let position = group.rows.iter().map(|row| row.position).min().unwrap_or(0);
        let (definition, _) = definition(client, &self.tables.definitions, self.name())?;
        if definition.as_deref() == Some(self.projection.definition()) {
            return Ok(Begun::At(position));
        }
        Ok(Begun::Otherwise(position))
    }

    /// Makes its tables and its checkpoints, with so many slots where nobody says otherwise.
    pub(super) fn begin(&self, client: &mut Client, slots: Option<u32>) -> Result<()> {
        self.clear(client)?;
        reach("rebuild::cleared");
        let session = SqlSession::begin(client, &self.projection, &self.tables)?;
        setup::set_up(client, &session, &self.tables, setup::Change::Refuse)
            .map_err(|error| self.explain(error))?;
        reach("rebuild::made");
        let slots = slots.or(self.live.slots()).unwrap_or(1);
        let config = ProcessorConfig::default()
            .schema(&self.tables.events.schema)
            .strategy(crate::projection::ServerHash);
        let config = ProcessorConfig { slots: Slots::Initial(slots), ..config };
        let scope = self.projection.scope();
        register(client, &self.tables, self.name(), &scope, &config, true)?;
        Ok(())
    }

    /// Takes away what is left of a rebuild that has no checkpoints: it was killed while it began,
    /// or somebody deleted them.
    fn clear(&self, client: &mut Client) -> Result<()> {
        let mut transaction = client.transaction().map_err(failed)?;
        let (definition, schema) =
            definition(&mut transaction, &self.tables.definitions, self.name())?;
        let own = definition.is_some() && schema.as_deref() == Some(self.schema.as_str());
        let there = exists(&mut transaction, &self.schema)?;
        if there && !own && !objects::of(&mut transaction, &self.schema)?.is_empty() {
            return Err(Error::refused(format!(
                "the schema {} is not empty, and no rebuild is known that made it",
                self.schema
            ))
            .hint(format!(
                "the tables of the rebuild are to be there: if nobody needs what it holds, drop it \
                 and run this again: pupctl projections rebuild {}",
                shell_word(self.live.name())
            )));
        }
        let own = (there && own).then_some(self.schema.as_str());
        for statement in removal(&self.tables, self.name(), own) {
            transaction.batch_execute(&statement.sql).map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    /// What is wrong with a file may only show when its tables are elsewhere.
    fn explain(&self, error: Error) -> Error {
        let detail = format!(
            "for the rebuild its tables are made in the schema {}, so names in the file must not \
             say a schema",
            self.schema
        );
        match error.sqlstate() {
            Some("42501") => error.hint(format!(
                "the rebuild makes its tables in a schema of its own: let somebody give this role \
                 the right to create schemas in the database, or make the schema {} for it",
                self.schema
            )),
            _ => error.detail(detail),
        }
    }
}

/// The statements that take a shadow away, with its schema where that is there.
pub(super) fn removal(tables: &Tables, shadow: &str, schema: Option<&str>) -> Vec<Statement> {
    let Tables { checkpoints, dead_letters, definitions, audit, .. } = tables;
    let values = values! {
        checkpoints, dead_letters, definitions, audit, projection => shadow,
        after => None::<i64>, schema, whole => true,
    };
    let statement =
        |template: &str, why: &str, on: &QualifiedName| writing(render(template, &values), why, on);
    let mut statements = vec![
        statement("projection/rebuild/forget_rows", "Its checkpoints", checkpoints),
        statement("projection/control/forget_letters", "Its dead letters", dead_letters),
        statement("projection/control/forget_audit", "What it was given", audit),
        statement("projection/control/forget_definition", "What it was", definitions),
    ];
    statements.extend(schema.map(|_| Statement {
        sql: render("projection/rebuild/drop_schema", &values),
        why: "Its tables, which nobody else uses".to_owned(),
        locks: Vec::new(),
    }));
    statements
}

/// Calls the rebuild of a projection off, under the locks of its rows. None where there is none.
pub(super) fn plan_abort(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    projection: &str,
) -> Result<Option<Change>> {
    let checkpoints = &tables.checkpoints;
    let shadow = shadow_name(projection);
    let key = format!("{checkpoints} {shadow}");
    transaction
        .execute(include_str!("../../../sql/projection/lock.sql"), &[&key])
        .map_err(failed)?;
    let group = row::read(transaction, checkpoints, &shadow)?;
    let (definition, schema) = definition(transaction, &tables.definitions, &shadow)?;
    if group.is_none() && definition.is_none() {
        return Ok(None);
    }
    let rows: Vec<_> =
        group.map(|group| group.rows.into_iter().map(|row| row.name).collect()).unwrap_or_default();
    let own = shadow_schema(&tables.events.schema, projection);
    let there = schema.as_ref() == Some(&own) && exists(transaction, &own)?;
    let lock = match rows.as_slice() {
        [] => lock_name(&key),
        rows => lock_rows(checkpoints, rows),
    };
    let mut statements = vec![lock];
    statements.extend(removal(tables, &shadow, there.then_some(own.as_str())));
    let step = RenderedStep::transaction(
        format!("Call off the rebuild of {projection}"),
        "the read model stays as it is",
        true,
        statements,
    );
    Ok(Some(Change { step, rows, names: vec![projection.to_owned()], notes: Vec::new() }))
}

/// The lock that whoever begins a projection holds.
pub(super) fn lock_name(key: &str) -> Statement {
    Statement {
        sql: render("projection/control/lock_name", &values! { key }),
        why: "Nobody begins it meanwhile".to_owned(),
        locks: Vec::new(),
    }
}

/// What a projection was when it was accepted last, and the schema of its tables.
pub(super) fn definition(
    client: &mut impl GenericClient,
    definitions: &QualifiedName,
    projection: &str,
) -> Result<(Option<String>, Option<String>)> {
    let sql = render("projection/rebuild/definition", &values! { definitions });
    let row = client.query_opt(&sql, &[&projection]).map_err(checkpoint::failed)?;
    Ok(row.map_or((None, None), |row| (row.get("definition"), row.get("model_schema"))))
}

/// Refuses to go on where the projection is of another file than the worker's: of none for one that
/// is a program.
pub(in crate::projection) fn refuse_other_file(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    name: &str,
    own: Option<&str>,
) -> Result<()> {
    let (accepted, _) = definition(transaction, &tables.definitions, name)?;
    if accepted.as_deref() == own {
        return Ok(());
    }
    Err(if own.is_some() {
        Error::refused(format!(
            "the projection {name} goes on with another file than this worker has"
        ))
        .hint("start the worker again, with the file as it is now")
    } else {
        Error::refused(format!("the projection {name} is run from a file of SQL now"))
            .hint(format!("start it so: pupctl projections run {}", shell_word(name)))
    })
}

/// Whether there is such a schema.
pub(super) fn exists(client: &mut impl GenericClient, schema: &str) -> Result<bool> {
    let sql = include_str!("../../../sql/projection/sql/may_create.sql");
    client.query_one(sql, &[&schema]).map(|row| row.get("is_there")).map_err(failed)
}

fn failed(error: postgres::Error) -> Error {
    Error::database("working on the rebuild", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_of_a_shadow_has_a_short_safe_name() {
        assert_eq!(shadow_schema("public", "order_totals"), "pupctl_rebuild_order_totals");
        let quoted = shadow_schema("public", "Order \"totals\"");
        assert!(quoted.starts_with("pupctl_rebuild_order__totals__"), "{quoted}");
        let long = shadow_schema("public", &"x".repeat(200));
        assert_eq!(long.len(), 63);
        assert_ne!(shadow_schema("es", "orders"), shadow_schema("public", "orders"));
        assert_ne!(shadow_schema("public", "a b"), shadow_schema("public", "a_b"));
    }
}
