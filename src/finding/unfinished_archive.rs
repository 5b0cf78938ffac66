//! Archives that a run began and did not finish.

use crate::catalog::Catalog;
use crate::catalog::detached::UnfinishedArchive;

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
        format!("archive {}", quoted(&place.to_string()))
    };
    Finding::error("unfinished_archive", name, message)
        .remedy(format!("pupctl {go_on}, or pupctl operations abort {}", quoted(name)))
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "._/-".contains(character);
    if word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
