//! `pupctl metrics --listen`: a thread reads the store when somebody asks, a few others answer.

use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use crate::cli::exit::Exit;
use crate::command::context::{Context, Store};
use crate::command::overview::{Look, take};
use crate::error::{Error, Result};

use super::exposition::text;
use super::http::{self, Refusal};
use super::{MetricsArgs, address_failed, families};

/// How many clients are answered at the same time, and how many more may wait.
const ANSWERING: usize = 8;
const WAITING_MAX: usize = 32;

/// Prometheus gives up after 10 seconds; before that it is told that the store does not answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);

/// How often is looked whether to stop.
const TICK: Duration = Duration::from_millis(200);

/// The last page, and who wants a new one.
#[derive(Default)]
struct Page {
    text: Option<Arc<str>>,
    /// When its reading began, and ended.
    begun: Option<Instant>,
    taken: Option<Instant>,
    wanted: bool,
    stopped: bool,
}

struct Shared {
    page: Mutex<Page>,
    wanted: Condvar,
    taken: Condvar,
    interval: Duration,
}

#[derive(Serialize)]
struct Served {
    address: String,
    seconds: f64,
}

pub(super) fn run(args: &MetricsArgs, address: &str, context: &Context) -> anyhow::Result<Exit> {
    if context.global.dry_run {
        return Err(Error::invalid("there is nothing to show: metrics --listen changes nothing")
            .hint("leave out --dry-run")
            .into());
    }
    let listener = bind(address, args.allow_remote)?;
    let address = listener.local_addr().map_err(|error| address_failed(address, &error))?;
    context.output.say(format!("Listening on http://{address}/metrics until it is stopped"));
    let begun = Instant::now();
    let shared = Shared {
        page: Mutex::default(),
        wanted: Condvar::new(),
        taken: Condvar::new(),
        interval: args.interval,
    };
    let (send, receive) = sync_channel(WAITING_MAX);
    let receive = Mutex::new(receive);
    thread::scope(|scope| {
        for _ in 0..ANSWERING {
            scope.spawn(|| answer_all(&receive, &shared));
        }
        scope.spawn(|| accept_all(&listener, send, &shared));
        collect(context, &shared);
    });
    let served = Served { address: address.to_string(), seconds: begun.elapsed().as_secs_f64() };
    context.output.result(context.name, &served, "")?;
    context.output.say("Stopped");
    Ok(Exit::Done)
}

/// Listens on the address, which has to be this machine's alone unless that is wanted otherwise.
fn bind(address: &str, allow_remote: bool) -> Result<TcpListener> {
    let resolved: Vec<SocketAddr> = address
        .to_socket_addrs()
        .map_err(|error| {
            Error::invalid(format!("{address} is no address to listen on: {error}"))
                .hint("write 127.0.0.1:9187, [::1]:9187 or localhost:9187")
        })?
        .collect();
    if let Some(open) = resolved.iter().find(|one| !one.ip().is_loopback() && !allow_remote) {
        return Err(Error::invalid(format!("other machines reach {open}"))
            .detail("there is no password and no TLS: whoever connects sees the metrics")
            .hint("listen on 127.0.0.1, or say that it is wanted: --allow-remote"));
    }
    let listener =
        TcpListener::bind(&resolved[..]).map_err(|error| address_failed(address, &error))?;
    listener.set_nonblocking(true).map_err(|error| address_failed(address, &error))?;
    Ok(listener)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// The page: the last one, where it is new enough, else the next one.
    fn page(&self) -> Arc<str> {
        let asked = Instant::now();
        let mut page = self.lock();
        loop {
            if let (Some(text), Some(taken)) = (&page.text, page.taken)
                && (taken.elapsed() < self.interval || page.begun >= Some(asked))
            {
                return Arc::clone(text);
            }
            let left = ANSWER_WITHIN.saturating_sub(asked.elapsed());
            if page.stopped || left.is_zero() {
                // The server may be out of reach without a word: whoever asks gets to know it.
                return text(&families::down(asked.elapsed())).into();
            }
            page.wanted = true;
            self.wanted.notify_one();
            let waited = self.taken.wait_timeout(page, left);
            page = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Reads the store whenever somebody wants to know, until it is to stop.
fn collect(context: &Context, shared: &Shared) {
    let mut store: Option<Store> = None;
    let mut was_up = true;
    loop {
        let mut page = shared.lock();
        while !page.wanted && !context.interrupt.is_raised() {
            let waited = shared.wanted.wait_timeout(page, TICK);
            page = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if context.interrupt.is_raised() {
            page.stopped = true;
            shared.taken.notify_all();
            return;
        }
        page.wanted = false;
        drop(page);
        let begun = Instant::now();
        let read = read(context, &mut store);
        let families = match &read {
            Ok(families) => families::with_scrape(families, begun.elapsed()),
            Err(_) => families::down(begun.elapsed()),
        };
        if let Err(error) = &read {
            // Whatever it was, the next one begins anew.
            store = None;
            if was_up && !context.interrupt.is_raised() {
                context.output.tell_failure(error);
            }
        } else if !was_up {
            context.output.say("The store can be read again");
        }
        was_up = read.is_ok();
        let mut page = shared.lock();
        page.text = Some(text(&families).into());
        (page.begun, page.taken) = (Some(begun), Some(Instant::now()));
        shared.taken.notify_all();
    }
}

fn read(context: &Context, store: &mut Option<Store>) -> Result<Vec<super::Family>> {
    if store.as_ref().is_some_and(|store| store.client.is_closed()) {
        *store = None;
    }
    let opened = match store {
        Some(opened) => opened,
        None => store.insert(context.open().map_err(crate::command::failure)?),
    };
    let overview = take(context, opened, Look::Often)?;
    for note in &overview.notes {
        tracing::debug!("{note}");
    }
    Ok(families::of(&overview))
}

/// Takes connections and hands them to those who answer, until it is to stop.
fn accept_all(listener: &TcpListener, send: SyncSender<TcpStream>, shared: &Shared) {
    // Dropped at the end, which ends those who answer.
    let send = send;
    let tick = Timespec::try_from(TICK).ok();
    while !shared.is_stopped() {
        let mut fds = [PollFd::new(listener, PollFlags::IN)];
        // A signal ends it early, as good as a tick.
        let _ = poll(&mut fds, tick.as_ref());
        match listener.accept() {
            Ok((stream, _)) => match send.try_send(stream) {
                Ok(()) => {}
                Err(TrySendError::Full(mut stream)) => http::refuse(&mut stream, Refusal::Busy),
                Err(TrySendError::Disconnected(_)) => return,
            },
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => {
                // Too many open files, say: nothing is gained by trying at once.
                tracing::warn!("a connection could not be taken: {error}");
                thread::sleep(TICK);
            }
        }
    }
}

fn answer_all(receive: &Mutex<Receiver<TcpStream>>, shared: &Shared) {
    loop {
        let received = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut stream) = received else { return };
        // Accepted from a listener that does not block, which some systems pass on.
        if stream.set_nonblocking(false).is_err() {
            continue;
        }
        answer(&mut stream, shared);
    }
}

fn answer(stream: &mut TcpStream, shared: &Shared) {
    let Some(request) = http::read(stream, &|| shared.is_stopped()) else { return };
    match request {
        Ok(request) if request.path == "/metrics" => {
            http::answer(stream, &shared.page(), request.head_only);
        }
        Ok(request) if request.path == "/-/healthy" => {
            http::answer(stream, "pupctl is healthy\n", request.head_only);
        }
        Ok(_) => http::refuse(stream, Refusal::NotFound),
        Err(refusal) => http::refuse(stream, refusal),
    }
}
