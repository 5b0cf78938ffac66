//! `pupctl metrics`

mod exposition;
mod families;
mod http;
mod listen;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::cli::argument::duration;
use crate::cli::exit::Exit;
use crate::command::context::Context;
use crate::command::file;
use crate::command::overview::{Look, take};
use crate::error::{Error, Kind, Result};

use exposition::{Family, text};

/// Print the state of the store as metrics for Prometheus
///
/// On standard output, into a file that node_exporter picks up (--textfile), or over HTTP
/// (--listen). Findings are those of partitions check. pupctl_up is 1 when the store could be read.
/// When not, a file is written all the same, with pupctl_up 0 and nothing else of the store, and
/// the command fails. Reads only.
///
/// With --listen it serves GET /metrics and GET /-/healthy until it is stopped, connects anew when
/// the server was gone, and reads the store at most every --interval, however many ask. There is no
/// password and no TLS: it listens on this machine alone, unless --allow-remote says otherwise.
///
/// Examples:
///   pupctl metrics
///   pupctl metrics --textfile /var/lib/prometheus/node-exporter/pupctl.prom
///   pupctl metrics --listen 127.0.0.1:9187 --interval 15s
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct MetricsArgs {
    /// Write them to this file, whole or not at all
    #[arg(long, value_name = "FILE", conflicts_with = "listen")]
    textfile: Option<PathBuf>,

    /// Serve them over HTTP [without an address: 127.0.0.1:9187]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:9187")]
    listen: Option<String>,

    /// With --listen: read the store at most so often
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration,
        requires = "listen")]
    interval: Duration,

    /// With --listen: also on an address that other machines reach
    #[arg(long, requires = "listen")]
    allow_remote: bool,
}

#[derive(Serialize)]
struct Metrics {
    metrics: Vec<Family>,
}

pub(super) fn run(args: &MetricsArgs, context: &Context) -> anyhow::Result<Exit> {
    if let Some(address) = &args.listen {
        return listen::run(args, address, context);
    }
    if let Some(path) = &args.textfile {
        if path.as_os_str() == "-" {
            return Err(Error::invalid("--textfile wants a file, and - is none")
                .hint("leave it out: then the metrics go to standard output")
                .into());
        }
        // Before the store is read, which may take a while.
        file::refuse_unwritable(path)?;
    }
    let begun = Instant::now();
    let taken = read(context);
    // The file says so too, since what it said before is true no more.
    if taken.is_err() && (args.textfile.is_none() || context.interrupt.is_raised()) {
        return taken.map(|_| Exit::Done);
    }
    let metrics = match &taken {
        Ok(metrics) => families::with_scrape(metrics, begun.elapsed()),
        Err(_) => families::down(begun.elapsed()),
    };
    if let Some(path) = &args.textfile {
        write(context, path, &text(&metrics))?;
    }
    taken?;
    let metrics = Metrics { metrics };
    match &args.textfile {
        Some(_) => context.output.result(context.name, &metrics, "")?,
        // Asked for by itself, so it is printed with --quiet too.
        None if context.output.is_json() => context.output.json(context.name, &metrics)?,
        None => context.output.data(&text(&metrics.metrics))?,
    }
    Ok(Exit::Done)
}

fn read(context: &Context) -> anyhow::Result<Vec<Family>> {
    let mut store = context.open()?;
    let overview = take(context, &mut store, Look::Often)?;
    for note in &overview.notes {
        context.output.say(format!("note: {note}"));
    }
    Ok(families::of(&overview))
}

fn write(context: &Context, path: &Path, text: &str) -> Result<()> {
    if context.global.dry_run {
        context.output.say(format!("Dry run: {} was not written", path.display()));
        return Ok(());
    }
    file::replace(path, text)?;
    context.output.say(format!("Written: {}", path.display()));
    Ok(())
}

/// An address that cannot be listened on.
fn address_failed(address: &str, error: &std::io::Error) -> Error {
    use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    let message = format!("cannot listen on {address}: {error}");
    let failed = Error::new(Kind::System, message);
    match error.kind() {
        AddrInUse => failed.hint(
            "somebody listens there already, another pupctl maybe: end it, or choose another \
             port: --listen 127.0.0.1:9188",
        ),
        AddrNotAvailable => failed.hint("this machine has no such address"),
        PermissionDenied => failed.hint("ports below 1024 need rights: choose a higher one"),
        _ => failed,
    }
}
