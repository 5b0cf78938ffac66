//! One projection on one connection.

use std::sync::{Arc, PoisonError};

use crate::db::Interrupt;
use crate::error::Result;

use super::config::ProcessorConfig;
use super::connect::Connect;
use super::definition::{Handler, Projection};
use super::name;
use super::report::{Control, Report};
use super::sql::SqlProjection;
use super::sql::setup::Change;
use super::worker::{Until, Worker, label};

/// Processes one projection on one connection, in the thread that calls it: the settled position
/// is followed on the same connection, between batches.
///
/// For several projections or workers in one process take a [`Runner`](super::Runner), in which
/// they share what is settled.
///
/// ```no_run
/// use pupctl::db::connect::{Sources, Target};
/// use pupctl::projection::{Interrupt, Processor, ProcessorConfig};
/// # use pupctl::projection::{Event, HandlerError, Projection, Transaction};
/// # struct Orders;
/// # impl Projection for Orders {
/// #     fn name(&self) -> &str { "orders" }
/// #     fn handle(&self, _: &mut Transaction<'_>, _: &Event) -> Result<(), HandlerError> {
/// #         Ok(())
/// #     }
/// # }
///
/// # fn main() -> pupctl::Result<()> {
/// let target = Target::resolve(&Sources::from_process(None, None))?;
/// let processor = Processor::new(target, Orders, ProcessorConfig::default())?;
/// let report = processor.run_until_caught_up(&Interrupt::default())?;
/// assert_eq!(report.projection, "orders");
/// # Ok(()) }
/// ```
pub struct Processor {
    handler: Handler,
    config: ProcessorConfig,
    connect: Box<dyn Connect>,
}

impl Processor {
    /// A processor of this projection. Nothing is connected yet; a configuration that cannot be is
    /// refused.
    pub fn new(
        connect: impl Connect + 'static,
        projection: impl Projection + 'static,
        config: ProcessorConfig,
    ) -> Result<Self> {
        name::validate(projection.name())?;
        config.validate()?;
        let handler = Handler::Code(Arc::new(projection));
        Ok(Self { handler, config, connect: Box::new(connect) })
    }

    /// The same for a projection that is written in SQL.
    pub fn of_sql(
        connect: impl Connect + 'static,
        projection: SqlProjection,
        config: ProcessorConfig,
    ) -> Result<Self> {
        config.validate()?;
        let handler = Handler::Sql(Arc::new(projection), Change::Refuse);
        Ok(Self { handler, config, connect: Box::new(connect) })
    }

    /// Processes events as they come, until `stop` is raised: then the batch at hand is finished.
    ///
    /// # Errors
    ///
    /// An event that cannot be handled, with [`ErrorPolicy::Stop`](super::ErrorPolicy::Stop): the
    /// checkpoint stands right before it. A worker that does not fit the stored slots. What passes
    /// by itself is tried again, as [`RetryPolicy`](super::RetryPolicy) says.
    pub fn run(&self, stop: &Interrupt) -> Result<Report> {
        self.work(stop, Until::Stopped)
    }

    /// Processes what is there by now, and comes back. Waits for transactions that are open, and
    /// for other workers that have slots of the projection; a projection that is paused is
    /// an error.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run). A server that is away is waited for as long as
    /// [`RetryPolicy::attempts`](super::RetryPolicy::attempts) says: by default without end.
    pub fn run_until_caught_up(&self, stop: &Interrupt) -> Result<Report> {
        self.work(stop, Until::CaughtUp)
    }

    fn work(&self, stop: &Interrupt, until: Until) -> Result<Report> {
        let control = Control { stop: stop.clone(), ..Control::default() };
        *control.report.lock().unwrap_or_else(PoisonError::into_inner) =
            Report::of(self.handler.name());
        let worker = Worker {
            handler: &self.handler,
            config: &self.config,
            connect: &*self.connect,
            shared: None,
            control: &control,
            until,
            label: label(),
        };
        worker.run()?;
        let report = control.report.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(report)
    }
}

impl std::fmt::Debug for Processor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Processor")
            .field("projection", &self.handler.name())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
