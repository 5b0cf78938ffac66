//! Which partitions an event goes to, told from the catalog. Pure.
//!
//! The server routes by itself; pupctl has to know beforehand what is missing, which partitions
//! hold events already, and how many locks a part of a file will take.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::error::{Error, Result};
use crate::layout::bounds::{Bound, Edge};
use crate::layout::levels::{AGGREGATE_COLUMNS, Level};
use crate::layout::month::Month;
use crate::layout::name::{QualifiedName, validate_context};
use crate::layout::{Context, Layout, Role};

/// What a partition costs beside itself and its indexes when it gets rows: the table for long
/// values and the index of that.
const TOAST_LOCKS: usize = 2;

/// A context may not take more places than this: the file is hardly what it seems.
const PLACES_MAX: usize = 200_000;

/// A partition that holds rows.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    /// Its OID.
    pub(super) oid: u32,
    /// Its name.
    pub(super) name: QualifiedName,
    /// The shares of hashes that it holds, from the root down.
    pub(super) shares: Vec<Share>,
}

/// One share of a hash.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Share {
    /// The OID of the table that is divided.
    parent: u32,
    modulus: u32,
    remainder: u32,
    /// By which columns.
    columns: Vec<String>,
}

/// Where events of one context and a span of time go.
#[derive(Debug)]
pub(super) struct Place {
    /// The context.
    pub(super) context: String,
    /// From when on, inclusive.
    from: Edge,
    /// Until when, exclusive.
    to: Edge,
    /// The month of its events, on the way to a partition that is missing.
    pub(super) month: Option<Month>,
    /// The partitions, as positions in [`Router::leaves`]; several where a hash decides. None
    /// where a partition is missing.
    pub(super) leaves: Option<Vec<usize>>,
    /// Which places share these partitions.
    pub(super) group: usize,
    /// Whether only a DEFAULT partition takes them.
    pub(super) by_default: bool,
    /// How many locks an insert into all of them takes.
    pub(super) locks: usize,
    /// The line of its first event.
    pub(super) first_line: u64,
    /// How many events it gets.
    pub(super) events: u64,
}

/// What places with the same partitions have in common.
#[derive(PartialEq, Eq, Hash)]
enum Group {
    /// They are there.
    Leaves(Vec<usize>),
    /// They will be made: for this context, where the layout has any, and this month.
    Missing(Option<String>, Option<Month>),
}

/// Routes events, and remembers what it saw.
pub(super) struct Router<'a> {
    root: &'a Relation,
    layout: &'a Layout,
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
    /// A router over the partitions of `events` as the catalog has them. Contexts of `configured`
    /// that the layout does not know yet will be divided as they say.
    pub(super) fn new(
        layout: &'a Layout,
        configured: &'a [Context],
        catalog: &'a Catalog,
    ) -> Result<Self> {
        let events = catalog.events.as_ref().ok_or_else(|| {
            let table = layout.table(&catalog.schema_name, Role::Events);
            Error::refused(format!("the table {table} is missing"))
                .hint("make it: pupctl schema init")
        })?;
        let root = &events.root;
        let mut leaves = Vec::new();
        collect(root, &mut Vec::new(), &mut leaves);
        let numbers = leaves.iter().enumerate().map(|(place, leaf)| (leaf.oid, place)).collect();
        let of_new = 1 + Role::Events.indexes_per_leaf();
        let most = root.leaves().map(|leaf| 1 + leaf.indexes.len()).max().unwrap_or(0);
        Ok(Self {
            root,
            layout,
            configured,
            leaves,
            numbers,
            places: Vec::new(),
            groups: HashMap::new(),
            by_context: HashMap::new(),
            last: None,
            leaf_locks: most.max(of_new) + TOAST_LOCKS,
        })
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

    /// The place of an event, by its number in [`Router::places`].
    pub(super) fn place(
        &mut self,
        context: &str,
        at: DateTime<Utc>,
        line: u64,
    ) -> Result<usize, String> {
        let at_edge = Edge::At(at);
        let known = self.last.filter(|last| self.places[*last].holds(context, at_edge));
        let found = known.or_else(|| {
            let (_, number) = self.by_context.get(context)?.range(..=at_edge).next_back()?;
            Some(*number).filter(|number| self.places[*number].holds(context, at_edge))
        });
        let number = match found {
            Some(number) => number,
            None => self.discover(context, at, line)?,
        };
        self.last = Some(number);
        self.places[number].events += 1;
        Ok(number)
    }

    fn discover(&mut self, context: &str, at: DateTime<Utc>, line: u64) -> Result<usize, String> {
        if self.places.len() >= PLACES_MAX {
            return Err(format!("the file has events of more than {PLACES_MAX} places"));
        }
        let mut walk = Walk {
            context,
            at,
            from: Edge::Min,
            to: Edge::Max,
            leaves: Vec::new(),
            by_default: false,
        };
        let reached = walk.down(self.root)?;
        if !reached && self.layout.has_context_level() {
            // Here the line is known; who makes the partition knows the name alone.
            validate_context(context).map_err(|error| error.message().to_owned())?;
        }
        let Walk { mut from, mut to, leaves, by_default, .. } = walk;
        let month = Month::of(at);
        let levels = self.levels_below(context);
        if (!reached || by_default) && levels.contains(&Level::Month) {
            // What is missing is a month.
            if let Some(month) = month {
                from = from.max(Edge::At(month.start()));
                to = to.min(Edge::At(month.end()));
            } else if !reached {
                let at = at.to_rfc3339();
                return Err(format!(
                    "`created_at` is {at}, outside of the years that are divided by month"
                ));
            }
        }
        let shares = levels.iter().map(|level| match level {
            Level::Hash(hash) => usize::try_from(hash.partitions).unwrap_or(usize::MAX),
            Level::Context | Level::Month => 1,
        });
        let count = if reached { leaves.len() } else { shares.product() };
        let leaves: Option<Vec<usize>> = reached
            .then(|| leaves.iter().filter_map(|oid| self.numbers.get(oid).copied()).collect());
        let number = self.places.len();
        let group = match &leaves {
            Some(leaves) => Group::Leaves(leaves.clone()),
            None => {
                let divides = self.layout.has_context_level();
                Group::Missing(divides.then(|| context.to_owned()), month)
            }
        };
        let group = *self.groups.entry(group).or_insert(number);
        self.places.push(Place {
            context: context.to_owned(),
            from,
            to,
            month,
            leaves,
            group,
            by_default,
            // One more for the branch above.
            locks: count.saturating_mul(self.leaf_locks + 1),
            first_line: line,
            events: 0,
        });
        self.by_context.entry(context.to_owned()).or_default().insert(from, number);
        Ok(number)
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

/// The leaves below a relation, each with the shares on the way to it.
fn collect(relation: &Relation, shares: &mut Vec<Share>, leaves: &mut Vec<Leaf>) {
    if relation.is_leaf() {
        let (oid, name) = (relation.oid, relation.name.clone());
        leaves.push(Leaf { oid, name, shares: shares.clone() });
    }
    let columns = hash_columns(relation);
    for partition in &relation.partitions {
        let share = match (&partition.bound, &columns) {
            (Some(Bound::Hash { modulus, remainder }), Some(columns)) => Some(Share {
                parent: relation.oid,
                modulus: *modulus,
                remainder: *remainder,
                columns: columns.clone(),
            }),
            _ => None,
        };
        let length = shares.len();
        shares.extend(share);
        collect(partition, shares, leaves);
        shares.truncate(length);
    }
}

/// The columns by which a relation is divided into shares, when they name the aggregate.
fn hash_columns(relation: &Relation) -> Option<Vec<String>> {
    let key = relation.partition_key.as_deref()?.strip_prefix("HASH (")?.strip_suffix(')')?;
    let columns: Vec<_> = key.split(", ").map(str::to_owned).collect();
    columns.iter().all(|column| AGGREGATE_COLUMNS.contains(&column.as_str())).then_some(columns)
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

impl Walk<'_> {
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
