//! Plans what events of the past need before they are stored: their contexts, and their months.
//!
//! History stays apart from the present: what lies between them is made only where it is short,
//! so that `ensure` has nothing to add afterwards.

use crate::catalog::Catalog;
use crate::error::Result;
use crate::layout::{Context, Layout};

use super::{Plan, contexts, ensure};

pub use crate::layout::Needs;

/// Plans the contexts that the store does not know, and for every branch all months from the first
/// to the last that it needs; beside that what `ensure` makes. A layout without a context level
/// does not ask for contexts, one without months not for months.
///
/// A context of `configured` gets the levels that it has there, others those of the layout.
pub fn plan(
    layout: &Layout,
    catalog: &Catalog,
    needs: &Needs,
    configured: &[Context],
) -> Result<Plan> {
    let mut months = ensure::months(catalog, layout.months_ahead, None)?;
    if layout.has_month_level() {
        months = months.needing(needs)?;
    }
    let is_new = |name: &&str| layout.has_context_level() && layout.context(name).is_none();
    let context = |name: &str| {
        let known = configured.iter().find(|context| context.name == name);
        known.cloned().unwrap_or_else(|| Context::new(name))
    };
    let new: Vec<_> = needs.contexts().filter(is_new).map(context).collect();
    contexts::add(layout, catalog, &new, &months)
}

#[cfg(test)]
mod tests;
