//! Asks for dead letters to be handled once more, and waits for that.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use postgres::{Client, Transaction};
use serde::Serialize;

use crate::db::Interrupt;
use crate::error::Result;
use crate::projection::application_name;
use crate::projection::control::change::{Change, lock_rows, writing};
use crate::projection::control::checkpoint::{self, Projection, find, foreign, foreign_rows};
use crate::projection::control::{Tables, checkpoints_ready};
use crate::render::RenderedStep;
use crate::render::environment::{render, values};

use super::{Letter, Selection, Wish, count, failed, letter, letters, select};

/// How often it looks what has become of them.
const INTERVAL: Duration = Duration::from_millis(200);

/// Letters that are to be handled once more.
#[derive(Debug, Clone)]
pub struct Replay {
    /// What is to be done.
    pub change: Option<Change>,
    /// How many letters they are, also where it was asked for already.
    pub letters: i64,
    /// They, and the time by which they are there; none where there are none.
    pub selection: Option<(Selection, DateTime<Utc>)>,
}

/// Plans it. All letters of an aggregate before the one that is meant come along, as an event is
/// never handled before those in front of it; what was skipped is only meant by its own position.
pub fn plan(
    transaction: &mut Transaction<'_>,
    tables: &Tables,
    name: &str,
    wish: &Wish,
) -> Result<Replay> {
    let Tables { checkpoints, dead_letters, .. } = tables;
    checkpoints_ready(transaction, checkpoints)?;
    let rows = checkpoint::read(transaction, checkpoints, true)?;
    let all = checkpoint::projections(rows.clone());
    let Some(own) = find(&all, name) else {
        let others = foreign_rows(&rows, name);
        let why = "its workers know no dead letters";
        let is_foreign = !others.is_empty();
        return Err(if is_foreign {
            foreign(name, &rows, why)
        } else {
            checkpoint::unknown(name, &all)
        });
    };
    let selection = select(transaction, dead_letters, name, wish, true)?;
    let Some(which) = selection else {
        return Ok(Replay { change: None, letters: 0, selection: None });
    };
    let counted = count(transaction, dead_letters, &which)?;
    let asked = counted.unasked == 0 && own.slots().all(|slot| slot.replay_at.is_some());
    let change = (counted.letters > 0 && !asked).then(|| {
        let notes = note(own, name, wish, counted.letters);
        change(tables, own, &which, counted.letters, notes)
    });
    let selection = (counted.letters > 0).then_some((which, counted.now));
    Ok(Replay { change, letters: counted.letters, selection })
}

fn change(
    tables: &Tables,
    own: &Projection,
    which: &Selection,
    number: i64,
    notes: Vec<String>,
) -> Change {
    let Tables { checkpoints, dead_letters, .. } = tables;
    let (projection, rows) = (&own.name, own.rows());
    let ask = render("projection/letters/replay", &values! { dead_letters, which });
    let wake = render("projection/letters/wake", &values! { checkpoints, projection });
    let statements = vec![
        lock_rows(checkpoints, &rows),
        writing(ask, "What has this time is handled once more, in order", dead_letters),
        writing(wake, "Whoever claims one of the slots looks at its letters first", checkpoints),
    ];
    let title = format!("Ask for {} of {projection}", letters(number));
    let why = "only workers can handle them: they do it before their next batch";
    let step = RenderedStep::transaction(title, why, false, statements);
    Change { step, rows, names: vec![projection.clone()], notes }
}

fn note(own: &Projection, name: &str, wish: &Wish, number: i64) -> Vec<String> {
    let mut notes = Vec::new();
    if matches!(wish, Wish::Position(_)) && number > 1 {
        notes.push(format!(
            "{} before it, of the same aggregate, come along: events are handled in order",
            letters(number - 1)
        ));
    }
    if own.is_paused() {
        notes.push(format!(
            "{name} is paused: they are handled when it is resumed: pupctl projections resume {}",
            crate::render::quote::shell_word(name)
        ));
    }
    notes
}

/// How many workers of a projection are connected. Of names that begin alike the server may show
/// the same.
pub fn workers(client: &mut Client, projection: &str) -> Result<i64> {
    let sql = include_str!("../../../../sql/projection/workers.sql");
    let row = client.query_one(sql, &[&application_name(projection)]).map_err(failed)?;
    Ok(row.get("workers"))
}

/// What has become of letters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// How many were handled.
    pub handled: i64,
    /// How many nobody has looked at yet.
    pub pending: i64,
    /// How many wait behind one that failed again.
    pub waiting: i64,
    /// How many failed again.
    pub failed: i64,
    /// They; of many the first.
    pub failures: Vec<Letter>,
}

impl Outcome {
    /// Whether all were handled.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.pending == 0 && self.waiting == 0 && self.failed == 0
    }
}

/// Waits until letters that were asked for were handled, or failed once more. `progress` is told
/// how many are left.
pub fn wait(
    client: &mut Client,
    tables: &Tables,
    replay: &Replay,
    timeout: Duration,
    interrupt: &Interrupt,
    progress: &mut dyn FnMut(i64),
) -> Result<Outcome> {
    let start = Instant::now();
    let mut outcome = Outcome::default();
    let Some((which, since)) = &replay.selection else { return Ok(outcome) };
    let dead_letters = &tables.dead_letters;
    let left = render("projection/letters/left", &values! { dead_letters, which });
    loop {
        interrupt.check()?;
        let row = client.query_one(&left, &[since]).map_err(failed)?;
        let pending: i64 = row.get("pending");
        if pending > 0 && start.elapsed() < timeout {
            progress(pending);
            std::thread::sleep(INTERVAL.min(timeout.saturating_sub(start.elapsed())));
            continue;
        }
        outcome.pending = pending;
        outcome.waiting = row.get("waiting");
        outcome.failed = row.get("failed");
        if outcome.failed > 0 {
            let sql = render("projection/letters/failed", &values! { dead_letters, which });
            let rows = client.query(&sql, &[since]).map_err(failed)?;
            outcome.failures = rows.iter().map(letter).collect();
        }
        outcome.handled = (replay.letters - pending - outcome.waiting - outcome.failed).max(0);
        return Ok(outcome);
    }
}
