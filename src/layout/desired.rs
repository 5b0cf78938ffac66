//! What the layout wants to be there: a tree of partitions for each table, given the months.

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

/// The partitions of a table, for a layout and the months that a month level should have.
#[must_use]
pub fn partitions(layout: &Layout, role: Role, months: &[Month]) -> Vec<DesiredPartition> {
    let levels = layout.levels_of(role);
    match levels.first() {
        Some(Level::Context) => layout
            .contexts
            .iter()
            .map(|context| {
                let below = layout.levels_below(role, context);
                let bound = Bound::context(&context.name);
                divided(bound, name::fold_context(&context.name), &below, months)
            })
            .collect(),
        _ => below(&levels, months),
    }
}

fn below(levels: &[Level], months: &[Month]) -> Vec<DesiredPartition> {
    let Some((level, deeper)) = levels.split_first() else { return Vec::new() };
    match level {
        // The partitions of a context level come from the list of contexts.
        Level::Context => Vec::new(),
        Level::Hash(hash) => (0..hash.partitions)
            .map(|remainder| {
                let bound = Bound::Hash { modulus: hash.partitions, remainder };
                divided(bound, format!("hash_{remainder:02}"), deeper, months)
            })
            .collect(),
        Level::Month => months
            .iter()
            .map(|month| divided(Bound::month(*month), month.suffix(), deeper, months))
            .collect(),
    }
}

fn divided(bound: Bound, suffix: String, levels: &[Level], months: &[Month]) -> DesiredPartition {
    DesiredPartition {
        bound,
        suffix,
        level: levels.first().cloned(),
        key: !levels.contains(&Level::Month),
        partitions: below(levels, months),
    }
}
