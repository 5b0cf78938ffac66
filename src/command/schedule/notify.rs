//! Tells systemd how it goes: `sd_notify`, which is a datagram.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Where systemd listens; nowhere when something else has started the daemon.
#[derive(Debug)]
pub(super) struct Notify {
    place: Option<(UnixDatagram, SocketAddr)>,
    /// How often it wants to hear something.
    watchdog: Option<Duration>,
}

impl Notify {
    /// What the environment says.
    pub(super) fn from_environment() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let place = set("NOTIFY_SOCKET").and_then(|path| {
            open(&path)
                .inspect_err(|error| tracing::warn!("cannot tell systemd anything: {error}"))
                .ok()
        });
        let number = |value: OsString| value.to_str()?.parse::<u64>().ok();
        let ours = set("WATCHDOG_PID")
            .is_none_or(|pid| number(pid) == Some(u64::from(std::process::id())));
        let watchdog = set("WATCHDOG_USEC").filter(|_| ours).and_then(number);
        Self { place, watchdog: watchdog.map(Duration::from_micros) }
    }

    /// How often to tell that it lives: twice as often as is asked for.
    pub(super) fn beat(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    pub(super) fn ready(&self) {
        self.send("READY=1");
    }

    pub(super) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// That it lives, and what it does.
    pub(super) fn status(&self, status: &str) {
        let alive = if self.watchdog.is_some() { "WATCHDOG=1\n" } else { "" };
        self.send(&format!("{alive}STATUS={}", status.replace('\n', " ")));
    }

    fn send(&self, message: &str) {
        let Some((socket, address)) = &self.place else { return };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::debug!("cannot tell systemd anything: {error}");
        }
    }
}

fn open(path: &OsString) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => in_no_folder(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    Ok((UnixDatagram::unbound()?, address))
}

/// A socket that has a name without being a file.
#[cfg(target_os = "linux")]
fn in_no_folder(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn in_no_folder(_name: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}
