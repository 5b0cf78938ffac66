//! What the layout wants to be there: a tree of partitions for each table, given the months
//! of its branches.

use std::collections::BTreeSet;

use super::bounds::Bound;
use super::levels::Level;
use super::month::Month;
use super::name;
use super::{Layout, Role};

/// A partition that the layout wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredPartition {
    /// What it holds.
    pub bound: Bound,
    /// The ending of its name.
    pub suffix: String,
    /// How it is divided itself; `None` for a leaf.
    pub level: Option<Level>,
    /// Whether it must carry the aggregate key: leaves do, and branches without months below.
    pub key: bool,
    /// Its own partitions.
    pub partitions: Vec<DesiredPartition>,
}

impl DesiredPartition {
    /// How many leaves this is or has.
    #[must_use]
    pub fn leaves(&self) -> usize {
        if self.level.is_none() { 1 } else { self.partitions.iter().map(Self::leaves).sum() }
    }
}

/// The months of a branch that is divided by month, which the bounds from the root down lead to;
/// for the root itself there are none.
pub type MonthsOf<'a> = &'a dyn Fn(&[Bound]) -> BTreeSet<Month>;

/// The partitions of a table, for a layout and the months that its branches should have.
#[must_use]
pub fn partitions(layout: &Layout, role: Role, months: MonthsOf<'_>) -> Vec<DesiredPartition> {
    let levels = layout.levels_of(role);
    match levels.first() {
        Some(Level::Context) => layout
            .contexts
            .iter()
            // Its heads stay, so that no aggregate of it begins anew.
            .filter(|context| role == Role::Heads || !context.retired)
            .map(|context| {
                let below = layout.levels_below(role, context);
                let bound = Bound::context(&context.name);
                divided(&[], bound, name::fold_context(&context.name), &below, months)
            })
            .collect(),
        _ => below(&[], &levels, months),
    }
}

fn below(path: &[Bound], levels: &[Level], months: MonthsOf<'_>) -> Vec<DesiredPartition> {
    let Some((level, deeper)) = levels.split_first() else { return Vec::new() };
    match level {
        // The partitions of a context level come from the list of contexts.
        Level::Context => Vec::new(),
        Level::Hash(hash) => (0..hash.partitions)
            .map(|remainder| {
                let bound = Bound::Hash { modulus: hash.partitions, remainder };
                divided(path, bound, format!("hash_{remainder:02}"), deeper, months)
            })
            .collect(),
        Level::Month => months(path)
            .into_iter()
            .map(|month| divided(path, Bound::month(month), month.suffix(), deeper, months))
            .collect(),
    }
}

fn divided(
    parent: &[Bound],
    bound: Bound,
    suffix: String,
    levels: &[Level],
    months: MonthsOf<'_>,
) -> DesiredPartition {
    let path = [parent, std::slice::from_ref(&bound)].concat();
    DesiredPartition {
        bound,
        suffix,
        level: levels.first().cloned(),
        key: !levels.contains(&Level::Month),
        partitions: below(&path, levels, months),
    }
}
