//! What must be so in the store before rows join it: positions that nobody draws again, ids that
//! nobody takes, heads that are not below them.

use crate::catalog::Catalog;
use crate::layout::name::QualifiedName;
use crate::layout::{Layout, Role};

use super::{Action, Request, Step};

/// Something about the rows of a table that is to be attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Move the sequence of positions beyond the table's, after the positions in between were
    /// looked for in the store.
    MoveSequence {
        /// The sequence.
        sequence: QualifiedName,
        /// The last number that it gave.
        last: i64,
        /// The highest position of the table.
        highest: i64,
        /// The table of events.
        events: QualifiedName,
        /// The table.
        table: QualifiedName,
    },
    /// Add the ids of the table to the key table, and look for them in the store.
    CollectIds {
        /// The schema of the store.
        schema: String,
        /// The table of events.
        events: QualifiedName,
        /// The table.
        table: QualifiedName,
    },
    /// Raise the heads of aggregates to their last versions in the table.
    RaiseHeads {
        /// The table of heads.
        heads: QualifiedName,
        /// The table of events, where other partitions may have versions of the same aggregates:
        /// what was raised is looked for there.
        events: Option<QualifiedName>,
        /// The table.
        table: QualifiedName,
    },
}

pub(super) fn move_sequence(catalog: &Catalog, request: &Request<'_>) -> Option<Step> {
    let sequence = request.survey.sequence.as_ref()?;
    let (_, highest) = request.survey.positions?;
    let admission = Admission::MoveSequence {
        sequence: sequence.name.clone(),
        last: sequence.last,
        highest,
        events: catalog.events.as_ref()?.root.name.clone(),
        table: request.table.relation.name.clone(),
    };
    Some(Step::new(
        format!("Move the sequence of positions beyond {highest}"),
        "new events would get positions of the table otherwise; writers wait for a moment, so that \
         none is under way with one",
        vec![Action::Admit(admission)],
    ))
}

pub(super) fn collect_ids(
    layout: &Layout,
    catalog: &Catalog,
    request: &Request<'_>,
) -> Option<Step> {
    if !layout.keeps_event_ids() || !request.survey.ids_missing {
        return None;
    }
    let admission = Admission::CollectIds {
        schema: catalog.schema_name.clone(),
        events: catalog.events.as_ref()?.root.name.clone(),
        table: request.table.relation.name.clone(),
    };
    Some(Step::new(
        "Collect the ids of its events",
        "an id that is stored may not come again, in whichever partition",
        vec![Action::Admit(admission)],
    ))
}

pub(super) fn raise_heads(
    layout: &Layout,
    catalog: &Catalog,
    request: &Request<'_>,
) -> Option<Action> {
    if request.survey.heads_behind == 0 {
        return None;
    }
    let events = layout.table(&catalog.schema_name, Role::Events);
    Some(Action::Admit(Admission::RaiseHeads {
        heads: layout.table(&catalog.schema_name, Role::Heads),
        // Without a month, all of an aggregate is in one leaf, whose key is enough.
        events: request.place.month().map(|_| events),
        table: request.table.relation.name.clone(),
    }))
}
