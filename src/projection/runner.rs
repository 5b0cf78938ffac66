//! Many projections and workers in one process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::db::Interrupt;
use crate::error::{Error, Kind, Result};

use super::config::{ProcessorConfig, Slots};
use super::connect::Connect;
use super::definition::{Handler, Projection};
use super::failure::is_lasting;
use super::name;
use super::report::{Control, Report};
use super::shared::{Shared, follow, sleep};
use super::sql::SqlProjection;
use super::sql::setup::Change;
use super::worker::{Until, Worker, label};

/// How long batches at hand may take to end after the wish to stop.
const DEADLINE: Duration = Duration::from_secs(10);

/// The pause before a worker that failed is started again; each further one doubles it.
const RESTART_FIRST: Duration = Duration::from_secs(1);

/// The longest such pause.
const RESTART_LONGEST: Duration = Duration::from_mins(1);

/// Runs projections, each with as many workers as it was given: a thread and a connection each,
/// and one more for the settled position, which all of them share.
///
/// ```no_run
/// use pupctl::db::connect::{Sources, Target};
/// use pupctl::projection::{ProcessorConfig, Runner};
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
/// let mut runner = Runner::new(target);
/// runner.add(Orders, ProcessorConfig::default().slots(4), 4)?;
/// runner.stop_on_signals()?;
/// let reports = runner.run()?;
/// # Ok(()) }
/// ```
pub struct Runner {
    connect: Arc<dyn Connect>,
    jobs: Vec<Job>,
    stop: Interrupt,
    deadline: Duration,
    watch: Watch,
}

/// Shows how far a [`Runner`] is, from another thread while it runs.
#[derive(Debug, Clone, Default)]
pub struct Watch(Arc<Mutex<Watched>>);

#[derive(Debug, Default)]
struct Watched {
    reports: Vec<Arc<Mutex<Report>>>,
    shared: Option<Arc<Shared>>,
}

impl Watch {
    /// What each projection did so far, in the order in which they were added; empty before the
    /// runner runs.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.reports.iter().map(copied).collect()
    }

    /// Up to where everything is settled by now, as far as the runner knows.
    #[must_use]
    pub fn settled(&self) -> Option<i64> {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.shared.as_ref().and_then(|shared| shared.settled())
    }

    fn begin(&self, shared: &Arc<Shared>) {
        let shared = Some(Arc::clone(shared));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Watched { reports: Vec::new(), shared };
    }

    fn add(&self, report: &Arc<Mutex<Report>>) {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.reports.push(Arc::clone(report));
    }
}

fn copied(report: &Arc<Mutex<Report>>) -> Report {
    report.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A projection, and its workers.
struct Job {
    handler: Handler,
    config: ProcessorConfig,
    workers: usize,
}

/// A worker that ended, by its number, and how.
type Ended = (usize, Result<()>);

impl Runner {
    /// A runner without projections.
    #[must_use]
    pub fn new(connect: impl Connect + 'static) -> Self {
        Self::sharing(Arc::new(connect))
    }

    /// The same with a connector that others use too.
    pub(super) fn sharing(connect: Arc<dyn Connect>) -> Self {
        Self {
            connect,
            jobs: Vec::new(),
            stop: Interrupt::default(),
            deadline: DEADLINE,
            watch: Watch::default(),
        }
    }

    /// What shows how far it is while it runs. Take it before the runner moves to its thread.
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Adds a projection with so many workers. More workers than slots have nothing to do, but take
    /// over when others fail.
    ///
    /// Its report has the place in which it was added. A projection is added once; one that is
    /// [pinned](ProcessorConfig::pinned) once for each key, and then has a report for each.
    pub fn add(
        &mut self,
        projection: impl Projection + 'static,
        config: ProcessorConfig,
        workers: usize,
    ) -> Result<&mut Self> {
        self.add_shared(Arc::new(projection), config, workers)
    }

    /// The same for a projection that the caller shares, to look at what it counts.
    pub fn add_shared(
        &mut self,
        projection: Arc<dyn Projection>,
        config: ProcessorConfig,
        workers: usize,
    ) -> Result<&mut Self> {
        name::validate(projection.name())?;
        self.add_handler(Handler::Code(projection), config, workers)
    }

    /// Adds a projection that is written in SQL. It begins with as many slots as its file says,
    /// where the configuration does not say otherwise; what its file was when it ran first is kept,
    /// and another one is refused, or taken on, as `change` says.
    pub fn add_sql(
        &mut self,
        projection: SqlProjection,
        config: ProcessorConfig,
        workers: usize,
        change: Change,
    ) -> Result<&mut Self> {
        let slots = match (config.slots, projection.slots()) {
            (Slots::Stored, Some(slots)) => Slots::Initial(slots),
            (slots, _) => slots,
        };
        let config = ProcessorConfig { slots, ..config };
        self.add_handler(Handler::Sql(Arc::new(projection), change), config, workers)
    }

    fn add_handler(
        &mut self,
        handler: Handler,
        config: ProcessorConfig,
        workers: usize,
    ) -> Result<&mut Self> {
        let name = handler.name();
        config.validate()?;
        if workers == 0 {
            return Err(Error::invalid(format!("the projection {name} has no worker")));
        }
        if let Some(other) = self.jobs.first().filter(|job| job.config.schema != config.schema) {
            return Err(Error::invalid(format!(
                "a runner serves one store, and {name} is of {}, not of {}",
                config.schema, other.config.schema
            ))
            .hint("take a Runner for each store"));
        }
        // Several keys of a projection that is pinned are one projection.
        let again = |job: &Job| {
            job.handler.name() == name
                && !(matches!(job.config.slots, Slots::Pinned { .. })
                    && matches!(config.slots, Slots::Pinned { .. })
                    && job.config.slots != config.slots)
        };
        if self.jobs.iter().any(again) {
            return Err(Error::invalid(format!("the projection {name} is there twice"))
                .hint("give it more workers instead"));
        }
        self.jobs.push(Job { handler, config, workers });
        Ok(self)
    }

    /// How long batches at hand may take to end after the wish to stop, before their statements are
    /// cancelled. Default: 10 s.
    pub fn deadline(&mut self, deadline: Duration) -> &mut Self {
        self.deadline = deadline;
        self
    }

    /// What stops it when raised, from any thread: a signal handler, a test, an asynchronous
    /// program that gave [`run`](Self::run) a thread that may block. Take it before the runner
    /// moves there.
    #[must_use]
    pub fn stopper(&self) -> Interrupt {
        self.stop.clone()
    }

    /// Stops on SIGINT, SIGTERM and SIGHUP. A process has one such handler: where it has another,
    /// raise [`stopper`](Self::stopper) in that.
    pub fn stop_on_signals(&self) -> Result<()> {
        let stop = self.stop.clone();
        ctrlc::set_handler(move || stop.raise()).map_err(|error| {
            Error::new(Kind::System, format!("signals cannot be caught: {error}"))
                .hint("raise Runner::stopper in the handler that the process has")
        })
    }

    /// Runs until it is stopped, or no projection is left that could go on. What each of them did.
    ///
    /// A worker that fails is started again after a pause. A projection that meets an event which
    /// cannot be handled stops, if it is told to; the others go on, and its report says why.
    ///
    /// # Errors
    ///
    /// The first failure, where the last projection has stopped though nobody wished it. And where
    /// a handler does not come back within the deadline after the wish to stop: its batch is not
    /// committed, and the server takes it back when the process ends.
    pub fn run(&self) -> Result<Vec<Report>> {
        self.work(Until::Stopped)
    }

    /// Processes what is there by now, and comes back.
    ///
    /// # Errors
    ///
    /// The first failure that does not pass by itself, after all others have caught up or failed;
    /// what they did is committed. A server that is away is waited for as long as
    /// [`RetryPolicy::attempts`](super::RetryPolicy::attempts) says: by default without end.
    pub fn run_until_caught_up(&self) -> Result<Vec<Report>> {
        self.work(Until::CaughtUp)
    }

    fn work(&self, until: Until) -> Result<Vec<Report>> {
        let Some(first) = self.jobs.first() else { return Ok(Vec::new()) };
        let shared = Arc::new(Shared::default());
        self.watch.begin(&shared);
        // Ends when the workers have, however they end.
        let follower_stop = Interrupt::default();
        let follower = self.follow(&shared, &first.config.schema, &follower_stop)?;
        let (sender, ended) = channel();
        let mut controls = Vec::new();
        for job in &self.jobs {
            let report = Arc::new(Mutex::new(Report::of(job.handler.name())));
            self.watch.add(&report);
            let projection_stopped = Arc::new(AtomicBool::new(false));
            for _ in 0..job.workers {
                let control = Arc::new(Control {
                    stop: self.stop.clone(),
                    projection_stopped: Arc::clone(&projection_stopped),
                    report: Arc::clone(&report),
                    ..Control::default()
                });
                self.start(job, &shared, &control, until, controls.len(), &sender)?;
                controls.push(control);
            }
        }
        drop(sender);
        let outcome = self.attend(&ended, &controls, until);
        follower_stop.raise();
        let _ = follower.join();
        if let Some(error) = shared.take_fatal() {
            return Err(error);
        }
        outcome?;
        Ok(self.watch.reports())
    }

    /// Starts the thread that follows the settled position.
    fn follow(
        &self,
        shared: &Arc<Shared>,
        schema: &str,
        stop: &Interrupt,
    ) -> Result<thread::JoinHandle<()>> {
        let (shared, connect, stop) = (Arc::clone(shared), Arc::clone(&self.connect), stop.clone());
        let everything = self.stop.clone();
        let interval = self.jobs.iter().map(|job| job.config.poll_interval).min();
        let interval = interval.unwrap_or(Duration::from_millis(50));
        let schema = schema.to_owned();
        spawn("settled position", move || {
            let followed = follow(&shared, &*connect, &schema, interval, &stop);
            if let Err(error) = followed {
                tracing::error!("there is no settled position: {error}");
                shared.give_up(error);
                // Nobody can go on without it.
                everything.raise();
            }
        })
    }

    /// Starts a worker, which starts again whenever it fails.
    fn start(
        &self,
        job: &Job,
        shared: &Arc<Shared>,
        control: &Arc<Control>,
        until: Until,
        number: usize,
        sender: &Sender<Ended>,
    ) -> Result<()> {
        let handler = job.handler.clone();
        let (config, connect) = (job.config.clone(), Arc::clone(&self.connect));
        let (shared, control, sender) = (Arc::clone(shared), Arc::clone(control), sender.clone());
        let name = format!("{} {number}", handler.name());
        spawn(&name, move || {
            let worker = Worker {
                handler: &handler,
                config: &config,
                connect: &*connect,
                shared: Some(&shared),
                control: &control,
                until,
                label: label(),
            };
            let _ = sender.send((number, supervise(&worker)));
        })?;
        Ok(())
    }

    /// Waits for the workers; after the wish to stop only until the deadline.
    fn attend(
        &self,
        ended: &Receiver<Ended>,
        controls: &[Arc<Control>],
        until: Until,
    ) -> Result<()> {
        let mut left: Vec<usize> = (0..controls.len()).collect();
        let mut failed = None;
        let mut stopping: Option<Instant> = None;
        while !left.is_empty() {
            match ended.recv_timeout(Duration::from_millis(50)) {
                Ok((number, outcome)) => {
                    left.retain(|&other| other != number);
                    if let Err(error) = outcome {
                        failed.get_or_insert(error);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if !self.stop.is_raised() {
                continue;
            }
            let since = *stopping.get_or_insert_with(Instant::now);
            if since.elapsed() > self.deadline {
                self.cancel(&left, controls);
            }
            if since.elapsed() > self.deadline + Duration::from_secs(2) {
                let what = if left.len() == 1 { "worker" } else { "workers" };
                return Err(Error::new(
                    Kind::Interrupted,
                    format!("{} {what} did not end in time", left.len()),
                )
                .detail("their batches are not committed, and will be handled again")
                .hint("give them more time: Runner::deadline"));
            }
        }
        match failed {
            // Whoever was not told to stop, and has nothing left to run, has failed.
            Some(error) if until == Until::CaughtUp || stopping.is_none() => Err(error),
            _ => Ok(()),
        }
    }

    fn cancel(&self, left: &[usize], controls: &[Arc<Control>]) {
        for &number in left {
            let token = controls[number].cancel.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(token) = &*token
                && let Err(error) = self.connect.cancel(token)
            {
                tracing::warn!("{error}");
            }
        }
    }
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.jobs.iter().map(|job| job.handler.name()).collect();
        formatter.debug_struct("Runner").field("projections", &names).finish_non_exhaustive()
    }
}

/// Runs a worker, and starts it again when it fails, but not when its projection is to stop.
fn supervise(worker: &Worker<'_>) -> Result<()> {
    let mut pause = RESTART_FIRST;
    loop {
        let begun = Instant::now();
        let Err(error) = worker.run() else { return Ok(()) };
        let name = worker.handler.name();
        tracing::error!(projection = name, "{error}");
        if is_lasting(&error) || worker.until == Until::CaughtUp {
            worker.control.projection_stopped.store(true, Ordering::Relaxed);
            let mut report = worker.control.report.lock().unwrap_or_else(PoisonError::into_inner);
            report.stopped.get_or_insert_with(|| error.message().to_owned());
            return Err(error);
        }
        if begun.elapsed() > RESTART_LONGEST {
            pause = RESTART_FIRST;
        }
        sleep(pause, &worker.control.stop);
        if worker.control.stop.is_raised() {
            return Ok(());
        }
        pause = (pause * 2).min(RESTART_LONGEST);
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>> {
    thread::Builder::new()
        .name(name.replace('\0', ""))
        .spawn(work)
        .map_err(|error| Error::system("a thread could not be started", error))
}
