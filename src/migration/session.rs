//! What refinery works through: the session, which runs a file statement by statement, so that a
//! failure knows where it happened.

use postgres::Client;
use refinery::Migration;
use refinery_core::traits::sync::{Migrate, Query, Transaction};

use crate::error::{Error, Result};
use crate::failpoint::reach;
use crate::render::statements::Statement;

/// A session for refinery.
pub(super) struct Session<'a> {
    pub(super) client: &'a mut Client,
    /// The text of the migration, and its statements.
    pub(super) sql: &'a str,
    pub(super) statements: &'a [Statement<'a>],
    /// Which of them failed.
    pub(super) failed: Option<usize>,
    /// The settings to which a file's transaction goes back before it is recorded.
    pub(super) settings: Option<&'a Settings>,
    /// Whether all statements were run, and what followed failed.
    pub(super) ran: bool,
}

impl Transaction for Session<'_> {
    type Error = postgres::Error;

    fn execute<'b, T: Iterator<Item = &'b str>>(
        &mut self,
        queries: T,
    ) -> Result<usize, Self::Error> {
        let mut transaction = self.client.transaction()?;
        let mut count = 0;
        for query in queries {
            if query == self.sql {
                for (number, statement) in self.statements.iter().enumerate() {
                    let outcome = transaction.batch_execute(statement.sql);
                    self.failed = outcome.is_err().then_some(number);
                    outcome?;
                }
                self.ran = true;
                if let Some(settings) = self.settings {
                    settings.restore_role(&mut transaction)?;
                }
                reach("migration::before_record");
            } else {
                transaction.batch_execute(query)?;
            }
            count += 1;
        }
        transaction.commit()?;
        Ok(count)
    }
}

impl Query<Vec<Migration>> for Session<'_> {
    fn query(&mut self, query: &str) -> Result<Vec<Migration>, Self::Error> {
        Query::query(&mut *self.client, query)
    }
}

impl Migrate for Session<'_> {}

/// The settings of a session, its role among them.
pub(super) struct Settings(Vec<(String, String)>);

impl Settings {
    /// What was set for the session.
    pub(super) fn of(client: &mut Client) -> Result<Self> {
        let rows = client
            .query(include_str!("../../sql/migration/settings.sql"), &[])
            .map_err(|error| Error::database("reading the settings of the session", error))?;
        Ok(Self(rows.iter().map(|row| (row.get("name"), row.get("value"))).collect()))
    }

    /// Puts the role back, in the transaction of the migration.
    fn restore_role(
        &self,
        transaction: &mut postgres::Transaction<'_>,
    ) -> std::result::Result<(), postgres::Error> {
        transaction.batch_execute(include_str!("../../sql/migration/role.sql"))?;
        for (name, value) in self.0.iter().filter(|(name, _)| name == "role") {
            transaction.execute(include_str!("../../sql/migration/set.sql"), &[name, value])?;
        }
        Ok(())
    }

    /// Puts the session back to them after a migration.
    pub(super) fn restore(&self, client: &mut Client) -> Result<()> {
        client
            .batch_execute(include_str!("../../sql/migration/reset.sql"))
            .and_then(|()| {
                self.0.iter().try_for_each(|(name, value)| {
                    client.execute(include_str!("../../sql/migration/set.sql"), &[name, value])?;
                    Ok(())
                })
            })
            .map_err(|error| Error::database("putting the session's settings back", error))
    }
}
