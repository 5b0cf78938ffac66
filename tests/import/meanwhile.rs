//! What others do while a file is imported: writers, other imports, whoever holds a table, and
//! whoever writes to the file.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};

use insta::assert_snapshot;

use crate::event::{count, event, heads, lines};
use crate::files::{gzip, order};
use crate::support::{Append, Background, TestDatabase, eventually, fingerprint};
use crate::{file, store, told};

/// An import that waits where all checks have passed.
fn held(db: &TestDatabase, more: &[&str]) -> Background {
    let import = ["events", "import", "events.ndjson"].iter().chain(more);
    let run = db.command(import).failpoints("import::checked=pause").spawn();
    waits(db, "Client");
    run
}

/// Waits until the session of an import sleeps for this kind of thing.
fn waits(db: &TestDatabase, kind: &str) {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'pupctl/events import'
            AND wait_event_type = '{kind}' AND state <> 'active'"
    );
    eventually("the import waits", || db.one::<i64>(&sql) == 1);
}
