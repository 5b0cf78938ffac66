//! Archives that a run began and did not finish.

use crate::catalog::Catalog;
use crate::catalog::detached::UnfinishedArchive;
use crate::render::quote::shell_word;

use super::Finding;

/// Archives that were begun, and whose file is not proven: what was to be in them has left the
/// store, or is about to, and nobody reads it anywhere.
#[must_use]
pub fn check(catalog: &Catalog) -> Vec<Finding> {
    catalog.unfinished_archives.iter().map(finding).collect()
}

fn finding(archive: &UnfinishedArchive) -> Finding {
    let UnfinishedArchive { name, place, heads, detached } = archive;
    let what = if *heads { "heads" } else { "events" };
    let message = if *detached {
        format!("its {what} are in no file and not in the store: a run was interrupted")
    } else {
        format!(
            "its {what} are in no file, and may not be in the store: a run was interrupted while \
             they left"
        )
    };
    let go_on = if *heads {
        "operations list --unfinished".to_owned()
    } else {
        format!("archive {}", shell_word(&place.to_string()))
    };
    Finding::error("unfinished_archive", name, message)
        .remedy(format!("pupctl {go_on}, or pupctl operations abort {}", shell_word(name)))
}
