//! Runs the binary, and sees what it holds, how far its conversion is, and what it says.

use std::io::Read;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use postgres::Client;
use serde_json::Value;

use crate::machine::{Database, high_water};

/// How often it is looked: phases that are shorter are not told apart.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A run of the binary.
pub(super) struct Run {
    pub(super) took: Duration,
    /// The most memory that it held, in bytes; 0 where the system does not tell.
    pub(super) peak: u64,
    pub(super) said: Value,
    pub(super) stderr: String,
    /// The phases of the conversion, and when each began.
    pub(super) phases: Vec<(String, SystemTime)>,
}

impl Run {
    /// From the beginning of a phase to that of another.
    pub(super) fn between(&self, first: &str, last: &str) -> Result<Duration> {
        let at = |name: &str| {
            let found = self.phases.iter().find(|(phase, _)| phase == name);
            found.map(|(_, at)| *at).with_context(|| format!("nobody saw the phase {name}"))
        };
        Ok(at(last)?.duration_since(at(first)?)?)
    }

    /// How long others waited for a swap, in the words of the report.
    pub(super) fn stall(&self, whom: &str) -> Result<Duration> {
        let micros = self.said["stall"][whom].as_u64().context("the report tells no stall")?;
        Ok(Duration::from_micros(micros))
    }
}

/// Runs the binary to its end, which must be a good one.
pub(super) fn run(database: &Database, arguments: &[&str]) -> Result<Run> {
    let mut client = database.client()?;
    let mut phases = Phases { before: newest(&mut client), seen: Vec::new() };
    let start = Instant::now();
    let mut command = database.command(arguments);
    command.args(["--output", "json", "--yes"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // Pipes are emptied all the while: a full one would stop it.
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (out, err) = (thread::spawn(|| read(out)), thread::spawn(|| read(err)));
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak = peak.max(high_water(&child).unwrap_or(0));
        phases.look(&mut client);
        thread::sleep(LOOK_EVERY);
    };
    let took = start.elapsed();
    phases.look(&mut client);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let stderr = text(err.join().expect("no panic")?);
    ensure!(status.success(), "pupctl {} failed: {stderr}", arguments.join(" "));
    let said = serde_json::from_slice(&out.join().expect("no panic")?).unwrap_or(Value::Null);
    Ok(Run { took, peak, said, stderr, phases: phases.seen })
}

fn read(pipe: Option<impl Read>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// What is seen of the conversion that a run begins.
struct Phases {
    /// The conversion that was there before.
    before: i64,
    seen: Vec<(String, SystemTime)>,
}

impl Phases {
    fn look(&mut self, client: &mut Client) {
        let found = client.query_opt(
            "SELECT phase, phase_since FROM pupctl_conversions WHERE id > $1 \
             ORDER BY id DESC LIMIT 1",
            &[&self.before],
        );
        // The table may not be there yet.
        let Ok(Some(row)) = found else { return };
        let found = (row.get(0), row.get(1));
        if self.seen.last() != Some(&found) {
            self.seen.push(found);
        }
    }
}

/// The last conversion, or 0.
fn newest(client: &mut Client) -> i64 {
    let row = client.query_one("SELECT coalesce(max(id), 0) FROM pupctl_conversions", &[]);
    row.map_or(0, |row| row.get(0))
}
