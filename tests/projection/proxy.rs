//! A network between a worker and its server that fails at the worst moment.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use postgres::config::Host;
use postgres::{Config, NoTls};
use pupctl::projection::Connect;

/// What the driver sends to commit.
const COMMIT: &[u8] = b"COMMIT\0";

/// Passes on what it gets, but fails some commits.
#[derive(Clone, Default)]
pub(crate) struct Proxy {
    /// How many commits still reach the server while their answers do not come back.
    pub(crate) unanswered: Arc<AtomicUsize>,
    /// How many commits still do not reach the server.
    pub(crate) unheard: Arc<AtomicUsize>,
}

impl Proxy {
    /// Connects through it.
    pub(crate) fn connect(&self, url: &str) -> impl Connect + 'static {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let server: Config = url.parse().expect("an address");
        let mut client = server.clone();
        let proxy = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (proxy, server) = (proxy.clone(), server.clone());
                std::thread::spawn(move || proxy.serve(&stream.expect("a client"), &server));
            }
        });
        // A new one, for the address of the server can only be added to.
        let old = std::mem::take(&mut client);
        client.user(old.get_user().unwrap_or("postgres"));
        client.dbname(old.get_dbname().expect("a database"));
        if let Some(password) = old.get_password() {
            client.password(password);
        }
        client.host("127.0.0.1").port(port);
        move |name: &str| {
            let mut config = client.clone();
            config.application_name(name);
            config.connect(NoTls).map_err(|error| pupctl::Error::database("connecting", error))
        }
    }

    fn serve(&self, client: &TcpStream, server: &Config) {
        let port = server.get_ports().first().copied().unwrap_or(5432);
        match server.get_hosts().first().expect("a host") {
            Host::Unix(folder) => {
                let socket = folder.join(format!(".s.PGSQL.{port}"));
                let Ok(stream) = UnixStream::connect(socket) else { return };
                let other = stream.try_clone().expect("a handle");
                let close = stream.try_clone().expect("a handle");
                self.pass(client, stream, other, &|| drop(close.shutdown(Shutdown::Both)));
            }
            Host::Tcp(name) => {
                let Ok(stream) = TcpStream::connect((name.as_str(), port)) else { return };
                let other = stream.try_clone().expect("a handle");
                let close = stream.try_clone().expect("a handle");
                self.pass(client, stream, other, &|| drop(close.shutdown(Shutdown::Both)));
            }
        }
    }

    fn pass<S: Read + Write + Send>(
        &self,
        client: &TcpStream,
        mut to: S,
        mut from: S,
        close_server: &(dyn Fn() + Sync),
    ) {
        let deaf = AtomicBool::new(false);
        let close = || {
            close_server();
            let _ = client.shutdown(Shutdown::Both);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut bytes, mut client) = ([0; 16384], client);
                while let Ok(count @ 1..) = from.read(&mut bytes) {
                    if deaf.load(Ordering::SeqCst) || client.write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
                close();
            });
            let (mut bytes, mut client) = ([0; 16384], client);
            while let Ok(count @ 1..) = client.read(&mut bytes) {
                let sent = &bytes[..count];
                if sent.windows(COMMIT.len()).any(|window| window == COMMIT) {
                    if take(&self.unheard) {
                        break;
                    }
                    deaf.store(take(&self.unanswered), Ordering::SeqCst);
                }
                if to.write_all(sent).is_err() {
                    break;
                }
            }
            close();
        });
    }
}

/// Takes one, where there is one.
fn take(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}
