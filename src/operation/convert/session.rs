//! What the sessions of a conversion need.

use postgres::{Client, GenericClient};

use crate::catalog::Catalog;
use crate::catalog::surroundings::Surroundings;
use crate::db;
use crate::error::{Error, Result};
use crate::layout::Role;
use crate::layout::name::QualifiedName;
use crate::layout::protection::Trigger;
use crate::plan::convert::Replaced;
use crate::render::convert::{MIRROR, REFUSE};

use super::{Converter, planned};

impl Converter<'_> {
    /// Prepares all sessions: no policy may hide rows, no limit ends what takes long.
    pub(super) fn prepare(&mut self) -> Result<()> {
        let gently = self.options.pace.load.is_some();
        let memory = self.options.memory.clone();
        prepare(self.locked.client(), &memory, gently)?;
        self.workers.iter_mut().try_for_each(|worker| {
            prepare(&mut worker.client, &memory, gently)?;
            worker
                .client
                .batch_execute(include_str!("../../../sql/convert/worker.sql"))
                .map_err(preparing)
        })
    }

    /// The numbers of the sessions' processes.
    pub(super) fn pids(&mut self) -> Result<Vec<i32>> {
        let mut pids = vec![pid(self.locked.client())?];
        for worker in &mut self.workers {
            pids.push(pid(&mut worker.client)?);
        }
        Ok(pids)
    }

    /// What hangs on a table of each pair, but for what pupctl puts there itself.
    pub(super) fn surroundings(
        &mut self,
        of: impl Fn(&Replaced) -> &QualifiedName,
    ) -> Result<Vec<Surroundings>> {
        planned::surroundings(self.locked.client(), &self.record, of)
    }

    /// The columns that a copy of the heads has to carry; none where they are not replaced.
    pub(super) fn heads_columns(&self, catalog: &Catalog) -> Vec<String> {
        let heads = catalog.heads.as_ref().filter(|_| self.table(Role::Heads).is_some());
        let columns = heads.into_iter().flat_map(|table| &table.columns);
        columns.filter(|column| !column.generated).map(|column| column.name.clone()).collect()
    }
}

/// What hangs on a table, but for the triggers of pupctl: the layout says which the new table gets.
pub fn surroundings(client: &mut Client, table: &QualifiedName) -> Result<Surroundings> {
    let mut found = db::surroundings::surroundings(client, table)?;
    let own = Trigger::ALL.map(Trigger::name);
    let is_own = |name: &str| own.contains(&name) || name == REFUSE || name == MIRROR;
    found.triggers.retain(|trigger| !is_own(&trigger.name));
    Ok(found)
}

fn prepare(client: &mut Client, memory: &str, gently: bool) -> Result<()> {
    client.batch_execute(include_str!("../../../sql/transfer/session.sql")).map_err(preparing)?;
    if gently {
        // A session that may work some of its time may not let others of the server do it.
        let alone = include_str!("../../../sql/convert/alone.sql");
        client.batch_execute(alone).map_err(preparing)?;
    }
    client
        .query_one(include_str!("../../../sql/convert/memory.sql"), &[&memory])
        .map_err(preparing)?;
    Ok(())
}

fn preparing(error: postgres::Error) -> Error {
    Error::database("preparing the session", error)
}

fn pid(client: &mut Client) -> Result<i32> {
    let row = client
        .query_one(include_str!("../../../sql/lock/pid.sql"), &[])
        .map_err(|error| Error::database("asking for the number of the session", error))?;
    Ok(row.get("pid"))
}

/// The columns that a copy of a table has to carry.
pub(super) fn columns(
    client: &mut impl GenericClient,
    table: &QualifiedName,
) -> Result<Vec<String>> {
    let rows = client
        .query(include_str!("../../../sql/transfer/columns.sql"), &[&table.schema, &table.name])
        .map_err(|error| Error::database(&format!("reading the columns of {table}"), error))?;
    Ok(rows.iter().map(|row| row.get("name")).collect())
}
