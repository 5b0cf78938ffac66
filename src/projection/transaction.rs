//! The transaction of a batch, as handlers get it.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

use postgres::types::ToSql;
use postgres::{Row, Statement};

/// The most statements that are kept prepared on a connection.
const STATEMENTS_MAX: usize = 256;

/// The transaction in which events are handled and the checkpoint moves: the driver's, with
/// statements that stay prepared.
///
/// [`execute`](Self::execute) and the queries prepare a text when it comes first on the connection
/// and keep it, so that a handler need not know on which connection it runs. All else is the
/// [`postgres::Transaction`] itself, to which this dereferences: `tx.copy_in(…)`,
/// `tx.batch_execute(…)`; where something wants that type, or a `GenericClient`, pass `&mut **tx`.
pub struct Transaction<'a> {
    inner: postgres::Transaction<'a>,
    statements: &'a mut Statements,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(inner: postgres::Transaction<'a>, statements: &'a mut Statements) -> Self {
        Self { inner, statements }
    }

    /// Runs a statement. The number of rows that it touched.
    pub fn execute(
        &mut self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, postgres::Error> {
        let statement = self.statement(sql)?;
        self.inner.execute(&statement, values)
    }

    /// Runs a query. All its rows.
    pub fn query(
        &mut self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, postgres::Error> {
        let statement = self.statement(sql)?;
        self.inner.query(&statement, values)
    }

    /// Runs a query that has one row.
    pub fn query_one(
        &mut self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, postgres::Error> {
        let statement = self.statement(sql)?;
        self.inner.query_one(&statement, values)
    }

    /// Runs a query that has one row or none.
    pub fn query_opt(
        &mut self,
        sql: &str,
        values: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, postgres::Error> {
        let statement = self.statement(sql)?;
        self.inner.query_opt(&statement, values)
    }

    /// A savepoint: [`commit`](Self::commit) keeps what was done in it, dropping it takes that
    /// back. For a statement that may fail: without it, the first error ends the whole batch.
    ///
    /// ```
    /// # use pupctl::projection::{HandlerError, Transaction};
    /// fn keep_first(tx: &mut Transaction<'_>, name: &str) -> Result<(), HandlerError> {
    ///     let mut savepoint = tx.savepoint()?;
    ///     if savepoint.execute("INSERT INTO names VALUES ($1)", &[&name]).is_ok() {
    ///         savepoint.commit()?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn savepoint(&mut self) -> Result<Transaction<'_>, postgres::Error> {
        Ok(Transaction { inner: self.inner.transaction()?, statements: &mut *self.statements })
    }

    /// Keeps what was done in a savepoint. The transaction of a batch is ended by the processor.
    pub fn commit(self) -> Result<(), postgres::Error> {
        self.inner.commit()
    }

    /// Takes back what was done in a savepoint.
    pub(super) fn rollback(self) -> Result<(), postgres::Error> {
        self.inner.rollback()
    }

    /// The statement, prepared now or before.
    fn statement(&mut self, sql: &str) -> Result<Statement, postgres::Error> {
        if let Some(statement) = self.statements.0.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.inner.prepare(sql)?;
        if self.statements.0.len() >= STATEMENTS_MAX {
            self.statements.0.clear();
        }
        self.statements.0.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}

impl<'a> Deref for Transaction<'a> {
    type Target = postgres::Transaction<'a>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}

impl std::fmt::Debug for Transaction<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Transaction").finish_non_exhaustive()
    }
}

/// The statements of handlers on a connection, by their texts.
#[derive(Default)]
pub(super) struct Statements(HashMap<String, Statement>);

impl Statements {
    /// Forgets them: a table may have changed, so that a plan does not fit any more.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
