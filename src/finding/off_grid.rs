//! Partitions whose bounds the layout does not name. pupctl reports them and leaves them alone.

use crate::catalog::Catalog;
use crate::catalog::relation::Relation;
use crate::layout::bounds::Bound;
use crate::layout::levels::Level;
use crate::layout::{Layout, Role};

use super::{Finding, history};

/// Partitions that lie across the layout's grid: several contexts in one, ranges that are not a
/// month, another number of hash shares, another way to divide.
#[must_use]
pub fn check(layout: &Layout, catalog: &Catalog) -> Vec<Finding> {
    let mut findings = Vec::new();
    for role in Role::ALL {
        let Some(table) = catalog.table(role) else { continue };
        let levels = layout.levels_of(role);
        if table.root.partition_key == levels.first().map(Level::partition_key) {
            compare(layout, role, &table.root, &levels, &mut findings);
        }
    }
    findings
}

fn compare(
    layout: &Layout,
    role: Role,
    parent: &Relation,
    levels: &[Level],
    findings: &mut Vec<Finding>,
) {
    let Some((level, deeper)) = levels.split_first() else { return };
    for partition in &parent.partitions {
        let Some(bound) = &partition.bound else { continue };
        let below = match on_grid(layout, role, level, bound, deeper) {
            Ok(below) => below,
            Err(reason) => {
                let message = format!("its bounds ({bound}) {reason}");
                let finding = Finding::warning("off_grid", &partition.name, message);
                let can_be_split = *level == Level::Month && bound.as_months().is_some();
                findings.push(if can_be_split {
                    finding.remedy(history::split(&partition.name))
                } else {
                    finding
                });
                continue;
            }
        };
        if *bound != Bound::Default
            && partition.partition_key != below.first().map(Level::partition_key)
        {
            let have = partition.partition_key.as_deref().unwrap_or("not at all");
            let want = below.first().map_or("not at all".to_owned(), Level::partition_key);
            let message = format!("it is divided {have}; the layout says {want}");
            findings.push(Finding::warning("off_grid", &partition.name, message));
            continue;
        }
        compare(layout, role, partition, &below, findings);
    }
}

/// The levels below a partition that lies on the grid, or what is wrong with its bounds.
fn on_grid(
    layout: &Layout,
    role: Role,
    level: &Level,
    bound: &Bound,
    deeper: &[Level],
) -> Result<Vec<Level>, String> {
    if *bound == Bound::Default {
        return Ok(deeper.to_vec());
    }
    match level {
        Level::Context => {
            let name = bound.as_context().ok_or("are not one context")?;
            let context = layout
                .context(name)
                .ok_or("are a context that the layout does not know: pupctl contexts add")?;
            Ok(layout.levels_below(role, context))
        }
        Level::Hash(hash) => match bound {
            Bound::Hash { modulus, .. } if *modulus == hash.partitions => Ok(deeper.to_vec()),
            _ => Err(format!("are not one of {} hash shares", hash.partitions)),
        },
        // What holds all months before one has a finding of its own.
        Level::Month if bound.as_month().is_some() || bound.as_history().is_some() => {
            Ok(deeper.to_vec())
        }
        Level::Month => Err("are not one month in UTC".to_owned()),
    }
}
