//! Which partitions an event goes to, told from the catalog. Pure.
//!
//! The server routes by itself; pupctl has to know beforehand what is missing, which partitions
//! hold events already, and how many locks a part of a file will take.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};

use crate::catalog::relation::Relation;
use crate::layout::bounds::{Bound, Edge};
use crate::layout::levels::Level;
use crate::layout::month::Month;
use crate::layout::name::validate_context;
use crate::layout::{Context, Layout, Role};

use super::leaf::{self, Leaf};

/// What a partition costs beside itself and its indexes when it gets rows: the table for long
/// values and the index of that.
const TOAST_LOCKS: usize = 2;

/// A file may not have events for more places than this: it is hardly what it seems.
const PLACES_MAX: usize = 200_000;

/// More contexts than this are not counted one by one.
const CONTEXTS_MAX: usize = 10_000;

/// Where events of one context and a span of time go.
#[derive(Debug)]
pub(super) struct Place {
    /// The context; empty where the layout does not divide by it.
    pub(super) context: String,
    /// From when on, inclusive.
    from: Edge,
    /// Until when, exclusive.
    to: Edge,
    /// The month of its events, on the way to a partition that is missing.
    pub(super) month: Option<Month>,
    /// The partitions that are there, as positions in [`Router::leaves`]; several where a hash
    /// decides.
    pub(super) leaves: Vec<usize>,
    /// Whether a partition is missing, so that events have no place.
    pub(super) missing: bool,
    /// Whether partitions will be made for it.
    pub(super) to_make: bool,
    /// Which places share these partitions.
    pub(super) group: usize,
    /// How many locks an insert into all of them takes.
    pub(super) locks: usize,
    /// The line of its first event.
    pub(super) first_line: u64,
}

/// What places with the same partitions have in common.
#[derive(PartialEq, Eq, Hash)]
enum Group {
    /// These are there.
    There(Vec<usize>),
    /// They will be made, for this context and month.
    ToMake(String, Option<Month>),
}

/// Routes events, and remembers what it saw.
pub(super) struct Router<'a> {
    root: &'a Relation,
    layout: &'a Layout,
    creates: bool,
    contexts: HashMap<String, u64>,
    configured: &'a [Context],
    leaves: Vec<Leaf>,
    numbers: HashMap<u32, usize>,
    places: Vec<Place>,
    groups: HashMap<Group, usize>,
    by_context: HashMap<String, BTreeMap<Edge, usize>>,
    last: Option<usize>,
    leaf_locks: usize,
}

impl<'a> Router<'a> {
    /// A router over the partitions of `events` below its root. Contexts of `configured`
    /// that the layout does not know yet will be divided as they say; `creates` says whether
    /// partitions will be made.
    pub(super) fn new(
        layout: &'a Layout,
        configured: &'a [Context],
        root: &'a Relation,
        creates: bool,
    ) -> Self {
        let leaves = leaf::leaves(root);
        let numbers = leaves.iter().enumerate().map(|(place, leaf)| (leaf.oid, place)).collect();
        let of_new = 1 + Role::Events.indexes_per_leaf();
        let most = root.leaves().map(|leaf| 1 + leaf.indexes.len()).max().unwrap_or(0);
        Self {
            root,
            layout,
            creates,
            contexts: HashMap::new(),
            configured,
            leaves,
            numbers,
            places: Vec::new(),
            groups: HashMap::new(),
            by_context: HashMap::new(),
            last: None,
            leaf_locks: most.max(of_new) + TOAST_LOCKS,
        }
    }

    /// All leaves of the table.
    pub(super) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// The places that events went to so far.
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// How many locks one leaf takes at most.
    pub(super) fn leaf_locks(&self) -> usize {
        self.leaf_locks
    }

    /// How many events each context has, unless there are too many contexts to be told.
    pub(super) fn contexts(self) -> Option<BTreeMap<String, u64>> {
        (self.contexts.len() <= CONTEXTS_MAX).then(|| self.contexts.into_iter().collect())
    }

    /// The place of an event, by its number in [`Router::places`].
    pub(super) fn place(
        &mut self,
        context: &str,
        at: DateTime<Utc>,
        line: u64,
    ) -> Result<usize, String> {
        self.count(context);
        // Without a context level all contexts share their places.
        let key = if self.layout.has_context_level() { context } else { "" };
        let at_edge = Edge::At(at);
        let known = self.last.filter(|last| self.places[*last].holds(key, at_edge));
        let found = known.or_else(|| {
            let (_, number) = self.by_context.get(key)?.range(..=at_edge).next_back()?;
            Some(*number).filter(|number| self.places[*number].holds(key, at_edge))
        });
        let number = match found {
            Some(number) => number,
            None => self.discover(key, at, line)?,
        };
        self.last = Some(number);
        Ok(number)
    }

    fn count(&mut self, context: &str) {
        if let Some(events) = self.contexts.get_mut(context) {
            *events += 1;
        } else if self.contexts.len() <= CONTEXTS_MAX {
            self.contexts.insert(context.to_owned(), 1);
        }
    }

    fn discover(&mut self, context: &str, at: DateTime<Utc>, line: u64) -> Result<usize, String> {
        if self.places.len() >= PLACES_MAX {
            return Err(format!("the file has events of more than {PLACES_MAX} places"));
        }
        let mut walk = Walk::new(context, at);
        let missing = !walk.down(self.root)?;
        if missing && self.layout.has_context_level() {
            // Here the line is known; who makes the partition knows the name alone.
            validate_context(context).map_err(|error| error.message().to_owned())?;
        }
        let to_make = missing || (walk.by_default && self.creates);
        let levels = self.levels_below(context);
        // Elsewhere a partition holds all months, and the month says nothing.
        let month = Month::of(at).filter(|_| levels.contains(&Level::Month));
        if missing || walk.by_default {
            walk.narrow_to_month(&levels, month, missing)?;
        }
        let place = Place {
            context: context.to_owned(),
            from: walk.from,
            to: walk.to,
            month,
            leaves: walk.leaves.iter().filter_map(|oid| self.numbers.get(oid).copied()).collect(),
            missing,
            to_make,
            group: 0,
            locks: 0,
            first_line: line,
        };
        Ok(self.enter(place, &levels))
    }

    /// Adds a place, with its group and what it costs.
    fn enter(&mut self, mut place: Place, levels: &[Level]) -> usize {
        let shares = levels.iter().map(|level| match level {
            Level::Hash(hash) => usize::try_from(hash.partitions).unwrap_or(usize::MAX),
            Level::Context | Level::Month => 1,
        });
        let (group, leaves) = if place.to_make {
            (Group::ToMake(place.context.clone(), place.month), shares.product())
        } else {
            (Group::There(place.leaves.clone()), place.leaves.len())
        };
        let number = self.places.len();
        place.group = *self.groups.entry(group).or_insert(number);
        // One more for the branch above.
        place.locks = leaves.saturating_mul(self.leaf_locks + 1);
        self.by_context.entry(place.context.clone()).or_default().insert(place.from, number);
        self.places.push(place);
        number
    }

    fn levels_below(&self, context: &str) -> Vec<Level> {
        if !self.layout.has_context_level() {
            return self.layout.levels_of(Role::Events);
        }
        let unknown = Context::new(context);
        let configured = || self.configured.iter().find(|known| known.name == context);
        let context = self.layout.context(context).or_else(configured).unwrap_or(&unknown);
        self.layout.levels_below(Role::Events, context)
    }
}

impl Place {
    fn holds(&self, context: &str, at: Edge) -> bool {
        self.from <= at && at < self.to && self.context == context
    }
}

/// One way from the root to the leaves. The span of time for which it is the same narrows on it.
struct Walk<'a> {
    context: &'a str,
    at: DateTime<Utc>,
    from: Edge,
    to: Edge,
    leaves: Vec<u32>,
    by_default: bool,
}

impl<'a> Walk<'a> {
    fn new(context: &'a str, at: DateTime<Utc>) -> Self {
        let (from, to) = (Edge::Min, Edge::Max);
        Self { context, at, from, to, leaves: Vec::new(), by_default: false }
    }

    /// What is missing in a level of months is one month.
    fn narrow_to_month(
        &mut self,
        levels: &[Level],
        month: Option<Month>,
        missing: bool,
    ) -> Result<(), String> {
        if let Some(month) = month {
            self.from = self.from.max(Edge::At(month.start()));
            self.to = self.to.min(Edge::At(month.end()));
            return Ok(());
        }
        if !missing || !levels.contains(&Level::Month) {
            return Ok(());
        }
        let at = self.at.to_rfc3339();
        Err(format!("`created_at` is {at}, outside of the years that are divided by month"))
    }

    /// Whether the event reaches a leaf.
    fn down(&mut self, relation: &Relation) -> Result<bool, String> {
        if relation.is_leaf() {
            self.leaves.push(relation.oid);
            return Ok(true);
        }
        let mut shares = Vec::new();
        let mut chosen = None;
        let at = Edge::At(self.at);
        for partition in &relation.partitions {
            match &partition.bound {
                Some(Bound::List(values)) => {
                    if values.iter().any(|value| value.as_deref() == Some(self.context)) {
                        chosen = Some(partition);
                    }
                }
                Some(Bound::Range { from, to }) => {
                    if *to <= at {
                        self.from = self.from.max(*to);
                    } else if *from > at {
                        self.to = self.to.min(*from);
                    } else {
                        self.from = self.from.max(*from);
                        self.to = self.to.min(*to);
                        chosen = Some(partition);
                    }
                }
                Some(Bound::Hash { .. }) => shares.push(partition),
                Some(Bound::Default) | None => {}
                Some(Bound::Other(bound)) => {
                    return Err(format!(
                        "it cannot be told which events go to {} ({bound})",
                        partition.name
                    ));
                }
            }
        }
        if !shares.is_empty() {
            return shares.into_iter().try_fold(true, |all, share| Ok(self.down(share)? && all));
        }
        if let Some(chosen) = chosen {
            return self.down(chosen);
        }
        let Some(default) = relation.default_partition() else { return Ok(false) };
        self.by_default = true;
        self.down(default)
    }
}
