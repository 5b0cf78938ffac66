//! What a command needs to begin: options, configuration, the way to the server.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use postgres::{CancelToken, Client};

use crate::catalog::{AppliedMigration, Catalog};
use crate::cli::config::Config;
use crate::cli::global::GlobalArgs;
use crate::cli::output::Output;
use crate::db::connect::{Session, Sources, Target};
use crate::db::inspect::{self, Depth, StoreSchema};
use crate::db::{Interrupt, Locked};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::layout::name::validate_identifier;
use crate::plan::init::is_own_name;
use crate::projection::Connect;
use crate::server::Embedded;

/// The folder of the embedded server, below the working folder.
pub const EMBEDDED_FOLDER: &str = ".pupctl";

/// What a command needs to begin.
#[derive(Debug, Clone)]
pub struct Context {
    /// The command, as the journal and `application_name` have it.
    pub name: &'static str,
    /// The options of every command.
    pub global: GlobalArgs,
    /// The configuration file.
    pub config: Config,
    /// Where results and messages go.
    pub output: Output,
    /// Raised by Ctrl-C.
    pub interrupt: Interrupt,
}

/// A session on the server, and the schema of the store.
#[allow(missing_debug_implementations)]
pub struct Store {
    /// The session.
    pub client: Client,
    /// The schema.
    pub schema: String,
}

impl Context {
    /// Reads the configuration.
    pub fn new(
        name: &'static str,
        global: GlobalArgs,
        output: Output,
        interrupt: Interrupt,
    ) -> anyhow::Result<Self> {
        let config = Config::load(global.config.as_deref())?;
        Ok(Self { name, global, config, output, interrupt })
    }

    /// The embedded server of the working folder.
    #[must_use]
    pub fn embedded(&self) -> Embedded {
        Embedded::in_folder(Path::new(EMBEDDED_FOLDER))
    }

    /// Connects, and finds the schema of the store, for reading.
    pub fn open(&self) -> anyhow::Result<Store> {
        self.connect(false)
    }

    /// Connects, and finds the schema of the store, for writing: a store that belongs to somebody
    /// else is not taken for the one that is meant just because it is there.
    pub fn open_for_writing(&self) -> anyhow::Result<Store> {
        self.connect(true)
    }

    /// Where to connect to, and as whom.
    fn target(&self) -> anyhow::Result<(Target, Session)> {
        let mut url = self.global.database_url.clone();
        if self.global.embedded {
            let running = self.embedded().start().context("starting the embedded server")?;
            url = Some(running.server.url);
        }
        let sources = Sources::from_process(url, self.config.database_url.clone());
        let target = Target::resolve(&sources)?;
        let role = self.global.role.clone().or_else(|| self.config.role.clone());
        Ok((target, Session { role, ..Session::of(self.name) }))
    }

    /// A second session, which looks what the first one waits for.
    pub(super) fn second_session(&self) -> anyhow::Result<Client> {
        let (target, session) = self.target()?;
        Ok(target.connect(&session)?)
    }

    /// What opens the connections of workers.
    pub(super) fn connector(&self) -> anyhow::Result<Connector> {
        let (target, session) = self.target()?;
        Ok(Connector { target, role: session.role })
    }

    fn connect(&self, writes: bool) -> anyhow::Result<Store> {
        let (target, session) = self.target()?;
        tracing::debug!("connecting to {target} ({})", target.origin());
        let mut client = target.connect(&session)?;
        let token = client.cancel_token();
        self.interrupt.on_raise(move || {
            // Whether it arrived shows in how the statement ends.
            let _ = target.cancel(&token);
        });
        // An old server would fail on a query of the catalog, with a message that helps nobody.
        inspect::server(&mut client)?;
        let schema = self.schema(&mut client, writes)?;
        Ok(Store { client, schema })
    }

    fn schema(&self, client: &mut Client, writes: bool) -> Result<String> {
        if let Some(schema) = self.global.schema.as_ref().or(self.config.schema.as_ref()) {
            validate_identifier("schema", schema)?;
            return Ok(schema.clone());
        }
        choose_schema(&inspect::store_schemas(client)?, writes)
    }

    /// Takes the lock of the store, or says who has it.
    pub fn lock(&self, store: Store) -> Result<Locked> {
        let wait = self.global.wait.or(self.config.locks.wait).unwrap_or(Duration::ZERO);
        Locked::acquire(store.client, &store.schema, wait, &self.interrupt)
    }

    /// Reads the catalog of the store.
    pub fn inspect(&self, client: &mut Client, schema: &str, depth: Depth) -> Result<Catalog> {
        inspect::catalog(client, schema, &self.config.tables(), depth)
    }
}

/// Opens the connections of workers, as the role that was asked for.
#[derive(Debug, Clone)]
pub struct Connector {
    target: Target,
    role: Option<String>,
}

impl Connect for Connector {
    fn connect(&self, application_name: &str) -> Result<Client> {
        let role = self.role.clone();
        self.target.connect(&Session { application_name: application_name.to_owned(), role })
    }

    fn cancel(&self, token: &CancelToken) -> Result<()> {
        self.target.cancel(token)
    }
}

/// The schema of the only store that may be meant.
fn choose_schema(stores: &[StoreSchema], writes: bool) -> Result<String> {
    let mut meant: Vec<_> = stores.iter().filter(|store| store.own).collect();
    if meant.is_empty() && !writes {
        meant = stores.iter().collect();
    }
    let public = stores.iter().any(|store| store.name == "public");
    match (meant.as_slice(), stores) {
        ([only], _) => Ok(only.name.clone()),
        ([], []) => Ok("public".to_owned()),
        ([], _) if public => Ok("public".to_owned()),
        ([], [other, ..]) => Err(Error::invalid(format!(
            "the store in schema {} belongs to {}",
            other.name, other.owner
        ))
        .hint(format!("name it if you mean it: --schema {}", other.name))),
        (several, _) => {
            let names: Vec<_> = several.iter().map(|store| store.name.as_str()).collect();
            Err(Error::invalid("the database has more than one store")
                .detail(format!("in the schemas {}", names.join(", ")))
                .hint("choose one with --schema"))
        }
    }
}

/// Tells in which ways the tables differ from the stored layout, for commands that only read.
pub fn warn_of_differences(context: &Context, layout: &Layout, catalog: &Catalog) {
    for difference in crate::plan::tables::differences(layout, catalog) {
        context.output.warn(format!("not as the stored layout says: {difference}"));
    }
}

/// The stored layout, or how to get one.
pub fn layout_of(catalog: &Catalog) -> Result<&Layout> {
    catalog.layout.as_ref().ok_or_else(|| no_layout(catalog))
}

/// What lacks where there is no layout, and which command brings it: a store may be half applied
/// from files, or its tables may be others'.
#[must_use]
pub fn no_layout(catalog: &Catalog) -> Error {
    let schema = &catalog.schema_name;
    let is_own = |row: &AppliedMigration| is_own_name(row.version, &row.name);
    if let Some(last) = catalog.store_migrations.iter().rfind(|row| is_own(row)) {
        let title = format!("V{}__{}", last.version, last.name);
        return Error::refused(format!(
            "the store in schema {schema} has no layout: its last migration is {title}"
        ))
        .hint(
            "apply the rest of its files: pupctl schema migrate; where it has none: pupctl schema \
             baseline",
        );
    }
    if catalog.events.is_some() || catalog.heads.is_some() {
        return Error::refused(format!("the tables in schema {schema} are not pupctl's yet"))
            .hint("take them over: pupctl schema baseline --partition-by none");
    }
    Error::refused(format!("there is no store in schema {schema}"))
        .hint("make one: pupctl schema init --partition-by context --contexts Identity,Billing")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(name: &str, own: bool) -> StoreSchema {
        StoreSchema { name: name.to_owned(), owner: "app".to_owned(), own }
    }

    #[test]
    fn a_store_of_somebody_else_is_read_but_not_written_unasked() {
        let foreign = [store("es", false)];
        assert_eq!(choose_schema(&foreign, false).expect("for reading"), "es");
        let error = choose_schema(&foreign, true).expect_err("for writing");
        assert_eq!(error.message(), "the store in schema es belongs to app");
        // It does not hide one's own either.
        let both = [store("mine", true), store("theirs", false)];
        assert_eq!(choose_schema(&both, true).expect("mine"), "mine");
        assert_eq!(choose_schema(&both, false).expect("mine"), "mine");
    }

    #[test]
    fn public_is_where_a_store_is_looked_for_and_made() {
        assert_eq!(choose_schema(&[], true).expect("public"), "public");
        let public = [store("public", false), store("other", false)];
        assert_eq!(choose_schema(&public, true).expect("public"), "public");
    }

    #[test]
    fn of_several_one_must_be_named() {
        assert!(choose_schema(&[store("a", true), store("b", true)], true).is_err());
        assert!(choose_schema(&[store("a", false), store("b", false)], false).is_err());
    }
}
