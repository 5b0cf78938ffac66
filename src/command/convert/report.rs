//! What the commands tell of a conversion.

use serde::Serialize;

use crate::cli::exit::Exit;
use crate::cli::output::{count, green};
use crate::command::context::Context;
use crate::operation::convert::Outcome;
use crate::operation::convert::exchange::Stall;
use crate::operation::convert::record::Record;
use crate::plan::convert::{Phase, Strategy};

/// What a command did.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    pub(super) dry_run: bool,
    pub(super) changed: bool,
    pub(super) conversion: Option<&'a Record>,
    /// How long others waited for the swap.
    pub(super) stall: Option<Stall>,
}

impl<'a> Report<'a> {
    /// Of something that was done.
    pub(super) fn of(record: &'a Record) -> Self {
        Self { dry_run: false, changed: true, conversion: Some(record), stall: None }
    }
}

/// Tells that there is nothing to do, and why.
pub(super) fn tell_nothing(
    context: &Context,
    record: Option<&Record>,
    why: &str,
) -> anyhow::Result<Exit> {
    let report = Report { dry_run: false, changed: false, conversion: record, stall: None };
    context.output.result(context.name, &report, "")?;
    context.output.say(format!("Nothing to do: {why}"));
    Ok(Exit::Done)
}

/// Tells where a conversion stands that a dry run leaves there.
pub(super) fn tell_planned(context: &Context, record: &Record) -> anyhow::Result<Exit> {
    let report = Report { dry_run: true, changed: false, conversion: Some(record), stall: None };
    context.output.result(context.name, &report, "")?;
    Ok(Exit::Done)
}

/// Tells where a conversion stands that was begun or gone on with.
pub(super) fn tell(context: &Context, record: &Record, outcome: Outcome) -> anyhow::Result<Exit> {
    context.output.result(context.name, &Report::of(record), "")?;
    let rows = count(usize::try_from(record.rows).unwrap_or(usize::MAX), "event");
    match (outcome, record.phase) {
        (Outcome::Paused, _) => context.output.say(
            "Paused: nothing that was copied or built is lost; go on with pupctl convert resume",
        ),
        (Outcome::Done, Phase::Ready) if record.strategy == Strategy::Attach => {
            context.output.say(format!(
                "{} the old table can become a partition{}: pupctl convert swap",
                green("Done:"),
                before(record)
            ));
        }
        (Outcome::Done, Phase::Ready) => context.output.say(format!(
            "{} {rows} copied and compared; put the new tables in place: pupctl convert swap",
            green("Done:")
        )),
        (Outcome::Done, phase) => {
            context.output.say(format!("{} the conversion is {phase}", green("Done:")));
        }
    }
    Ok(Exit::Done)
}

/// Until when the swap has to come, where the old table takes no later events until then.
fn before(record: &Record) -> String {
    record.cutover.map_or(String::new(), |cutover| {
        format!(
            ", and has to before {}: it takes no events of later times until then",
            cutover.format("%F %H:%M UTC")
        )
    })
}

/// Tells of a swap, there or back.
pub(super) fn tell_swap(
    context: &Context,
    record: &Record,
    stall: Option<Stall>,
    words: &str,
) -> anyhow::Result<Exit> {
    context.output.result(context.name, &Report { stall, ..Report::of(record) }, "")?;
    let waited = stall.map(|stall| {
        format!(
            "; writers waited {}, readers {} (try {})",
            milliseconds(stall.writers_us),
            milliseconds(stall.everybody_us),
            stall.tries
        )
    });
    context.output.say(format!("{} {words}{}", green("Done:"), waited.unwrap_or_default()));
    Ok(Exit::Done)
}

fn milliseconds(microseconds: u64) -> String {
    format!("{}.{} ms", microseconds / 1000, microseconds % 1000 / 100)
}
