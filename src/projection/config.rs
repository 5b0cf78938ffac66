//! How a projection is processed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};

use super::name::validate_slots;
use super::strategy::{Fnv1a, PartitionStrategy, ServerHash};

/// The most events that a batch may have.
pub const BATCH_SIZE_MAX: usize = 100_000;

/// How a projection is processed: what fits for most, to be changed one by one.
///
/// ```
/// use pupctl::projection::{ErrorPolicy, ProcessorConfig};
///
/// let config = ProcessorConfig::default().slots(4).batch_size(500).on_error(ErrorPolicy::Park);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct ProcessorConfig {
    /// The schema of the store. Default: `public`.
    pub schema: String,
    /// The most events of a batch, which is one transaction. Default: 100. Large batches are fast,
    /// small ones are soon done: a slow handler wants a small one.
    pub batch_size: usize,
    /// Whether a projection in SQL may take more than `batch_size` while it is behind, as many as
    /// it handles in a moment. Default: it does not.
    pub adaptive: bool,
    /// How the projection is divided.
    pub slots: Slots,
    /// By what its events are divided; none for what is stored, or what is usual for `slots`.
    pub strategy: Option<Arc<dyn PartitionStrategy>>,
    /// The longest pause between two looks for new events, on an idle store. Default: 50 ms.
    pub poll_interval: Duration,
    /// What to do when the server was away, or a transaction lost against another one. Default: try
    /// again without end.
    pub retry: RetryPolicy,
    /// What to do with an event that its handler refuses. Default: stop.
    pub on_error: ErrorPolicy,
    /// How long a handler may leave its transaction idle before the server ends it, so that a
    /// worker that hangs gives up its slots. Zero for ever. Default: 60 s.
    pub batch_timeout: Duration,
}

impl Default for ProcessorConfig {
    fn default() -> Self {
        Self {
            schema: "public".to_owned(),
            batch_size: 100,
            adaptive: false,
            slots: Slots::default(),
            strategy: None,
            poll_interval: Duration::from_millis(50),
            retry: RetryPolicy::default(),
            on_error: ErrorPolicy::default(),
            batch_timeout: Duration::from_mins(1),
        }
    }
}

impl ProcessorConfig {
    /// With the store in this schema.
    #[must_use]
    pub fn schema(self, schema: impl Into<String>) -> Self {
        Self { schema: schema.into(), ..self }
    }

    /// With at most this many events in a batch.
    #[must_use]
    pub fn batch_size(self, events: usize) -> Self {
        Self { batch_size: events, ..self }
    }

    /// With batches that grow while the projection is behind, from `batch_size` on: for projections
    /// in SQL, which handle 50,000 events as easily as 100.
    #[must_use]
    pub fn adaptive(self) -> Self {
        Self { adaptive: true, ..self }
    }

    /// With this many slots, which the workers share out among themselves. They are made when the
    /// projection starts for the first time; from then on a worker with another number is refused.
    #[must_use]
    pub fn slots(self, slots: u32) -> Self {
        Self { slots: Slots::Shared(slots), ..self }
    }

    /// With this many slots where the projection starts for the first time, and as many as are
    /// stored after that: `pupctl projections rescale` may change them.
    #[must_use]
    pub fn initial_slots(self, slots: u32) -> Self {
        Self { slots: Slots::Initial(slots), ..self }
    }

    /// Pinned to one slot of so many, as `PARTITION_KEY` and `TOTAL_PARTITIONS` say it. Divided by
    /// [`Fnv1a`] where the projection starts for the first time and no strategy is given.
    #[must_use]
    pub fn pinned(self, key: u32, total: u32) -> Self {
        Self { slots: Slots::Pinned { key, total }, ..self }
    }

    /// Pinned as the environment says: `PARTITION_KEY` and `TOTAL_PARTITIONS`, both or neither.
    pub fn pinned_by_environment(self) -> Result<Self> {
        Ok(match Slots::from_environment()? {
            Some(slots) => Self { slots, ..self },
            None => self,
        })
    }

    /// Divided by this strategy: one of one's own, or [`Fnv1a`] for slots that are shared. A
    /// projection that is divided otherwise already is refused.
    #[must_use]
    pub fn strategy(self, strategy: impl PartitionStrategy + 'static) -> Self {
        Self { strategy: Some(Arc::new(strategy)), ..self }
    }

    /// With this pause between two looks for new events, where there were none.
    #[must_use]
    pub fn poll_interval(self, poll_interval: Duration) -> Self {
        Self { poll_interval, ..self }
    }

    /// With other retries.
    #[must_use]
    pub fn retry(self, retry: RetryPolicy) -> Self {
        Self { retry, ..self }
    }

    /// With another way to treat an event that cannot be handled.
    #[must_use]
    pub fn on_error(self, on_error: ErrorPolicy) -> Self {
        Self { on_error, ..self }
    }

    /// With another limit for handlers that leave their transaction idle.
    #[must_use]
    pub fn batch_timeout(self, batch_timeout: Duration) -> Self {
        Self { batch_timeout, ..self }
    }

    /// Refuses what cannot be.
    pub(super) fn validate(&self) -> Result<()> {
        if !(1..=BATCH_SIZE_MAX).contains(&self.batch_size) {
            return Err(Error::invalid(format!(
                "a batch cannot have {} events: choose from 1 to {BATCH_SIZE_MAX}",
                self.batch_size
            )));
        }
        if self.poll_interval.is_zero() {
            return Err(Error::invalid("the poll interval is zero: choose some milliseconds"));
        }
        match self.slots {
            Slots::Stored => Ok(()),
            Slots::Initial(slots) | Slots::Shared(slots) => validate_slots(slots),
            Slots::Pinned { key, total } => {
                validate_slots(total)?;
                if key < total {
                    return Ok(());
                }
                Err(Error::invalid(format!("there is no partition {key} of {total}"))
                    .hint(format!("PARTITION_KEY goes from 0 to {}", total - 1)))
            }
        }
    }

    /// By what the events are divided where nothing is stored yet.
    pub(super) fn usual_strategy(&self) -> Arc<dyn PartitionStrategy> {
        match (&self.strategy, self.slots) {
            (Some(strategy), _) => Arc::clone(strategy),
            (None, Slots::Pinned { .. }) => Arc::new(Fnv1a),
            (None, _) => Arc::new(ServerHash),
        }
    }
}

impl fmt::Debug for ProcessorConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strategy = self.strategy.as_ref().map(|strategy| strategy.name());
        formatter
            .debug_struct("ProcessorConfig")
            .field("schema", &self.schema)
            .field("batch_size", &self.batch_size)
            .field("adaptive", &self.adaptive)
            .field("slots", &self.slots)
            .field("strategy", &strategy)
            .field("poll_interval", &self.poll_interval)
            .field("retry", &self.retry)
            .field("on_error", &self.on_error)
            .field("batch_timeout", &self.batch_timeout)
            .finish()
    }
}

/// How a projection is divided among workers.
///
/// The number of slots is stored with the checkpoints. It is no matter of how many workers run:
/// it says how many can work at the same time at most. `pupctl projections rescale` changes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Slots {
    /// As many as are stored; one, where the projection starts for the first time.
    #[default]
    Stored,
    /// So many, where the projection starts for the first time; after that as many as are stored.
    Initial(u32),
    /// So many, and no other number: a worker refuses to start with others. Workers claim what is
    /// free, batch by batch.
    Shared(u32),
    /// This one of so many, always, as pupsourcing's workers do it. Nobody takes over from a worker
    /// that is gone, unless it is pinned to the same one.
    Pinned {
        /// Which, from 0.
        key: u32,
        /// Of how many.
        total: u32,
    },
}

impl Slots {
    /// What `PARTITION_KEY` and `TOTAL_PARTITIONS` say: none where neither is set.
    pub fn from_environment() -> Result<Option<Self>> {
        let read = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        Self::from_texts(read("PARTITION_KEY").as_deref(), read("TOTAL_PARTITIONS").as_deref())
    }

    fn from_texts(key: Option<&str>, total: Option<&str>) -> Result<Option<Self>> {
        let number = |name: &str, text: &str| {
            text.trim().parse::<u32>().map_err(|_| {
                Error::invalid(format!("{name} is {text:?}, which is not a number from 0 on"))
            })
        };
        match (key, total) {
            (None, None) => Ok(None),
            (Some(key), Some(total)) => Ok(Some(Self::Pinned {
                key: number("PARTITION_KEY", key)?,
                total: number("TOTAL_PARTITIONS", total)?,
            })),
            (Some(_), None) => Err(Error::invalid("PARTITION_KEY is set, TOTAL_PARTITIONS is not")),
            (None, Some(_)) => Err(Error::invalid("TOTAL_PARTITIONS is set, PARTITION_KEY is not")),
        }
    }
}

/// What to do when a batch fails for a reason that passes: the connection is lost, the server is
/// away (class 08, 57P01 to 57P03, 53300), the transaction lost against another one (40001, 40P01),
/// or a lock was not there in time (55P03). A handler adds to these with
/// [`Transient`](super::Transient).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The pause before the first repetition; each further one doubles it, with some chance in it.
    pub first: Duration,
    /// The longest pause.
    pub longest: Duration,
    /// How often in a row before the worker fails: by default without end. A batch that succeeds
    /// starts the count anew.
    pub attempts: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(30),
            attempts: u32::MAX,
        }
    }
}

impl RetryPolicy {
    /// The pause before a repetition, from 1, without the chance in it.
    pub(super) fn pause(&self, attempt: u32) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
        doubled.min(self.longest)
    }
}

/// What to do with an event whose handler fails for a reason that does not pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ErrorPolicy {
    /// Commit what comes before it and stop the projection: nothing is lost, nothing goes on.
    #[default]
    Stop,
    /// Note it among the dead letters and go on without it: later events of its aggregate are
    /// handled as if it were not there.
    Skip,
    /// Put it among the dead letters, and every later event of its aggregate after it, so that none
    /// is handled before it; other aggregates go on. `pupctl projections dead-letters replay` has
    /// them handled in order.
    Park,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_pins_with_both_or_neither() {
        let of = Slots::from_texts;
        assert_eq!(of(None, None).ok(), Some(None));
        let pinned = Slots::Pinned { key: 2, total: 4 };
        assert_eq!(of(Some("2"), Some("4")).ok(), Some(Some(pinned)));
        for (key, total) in [(Some("2"), None), (None, Some("4")), (Some("-1"), Some("4"))] {
            assert!(of(key, total).is_err(), "{key:?} {total:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let config = ProcessorConfig::default;
        for bad in [
            config().batch_size(0),
            config().slots(0),
            config().slots(1025),
            config().pinned(4, 4),
            config().pinned(0, 0),
            config().poll_interval(Duration::ZERO),
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
        assert!(config().pinned(3, 4).validate().is_ok());
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let retry = RetryPolicy::default();
        assert_eq!(retry.pause(1), Duration::from_millis(100));
        assert_eq!(retry.pause(3), Duration::from_millis(400));
        assert_eq!(retry.pause(60), retry.longest);
    }
}
